//! Keeps keys out of everything that leaves the runtime: messages of errors, events, logs.

use crate::config::Config;
use madrigal_stdlib::Run;
use madrigal_vm::{Dict, Value};

/// Shorter keys are not looked for: they occur by chance.
const KEY_BYTES_MIN: usize = 8;

/// What stands in the place of a key.
pub const HIDDEN: &str = "***";

/// Knows every key that is set now.
pub struct Redactor(Vec<String>);

impl Redactor {
    /// Reads the keys of all providers.
    pub fn new(run: &Run, config: &Config) -> Redactor {
        let variables = config.providers.keys().flat_map(|it| config.key_variables(it));
        let keys = variables.filter_map(|it| run.variable(&it)).filter(|it| it.len() >= KEY_BYTES_MIN);
        Redactor(keys.collect())
    }

    /// The text without keys.
    pub fn text(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, key| text.replace(key, HIDDEN))
    }

    /// The value with every text in it without keys.
    pub fn value(&self, value: Value) -> Value {
        if self.0.is_empty() { value } else { self.inside(value, 64) }
    }

    fn inside(&self, value: Value, depth: usize) -> Value {
        match value {
            Value::String(text) => Value::from(self.text(&text)),
            _ if depth == 0 => value,
            Value::List(items) => {
                Value::list(items.into_vec().into_iter().map(|it| self.inside(it, depth - 1)).collect())
            }
            Value::Dict(dict) => {
                let entries = dict.iter().map(|(key, it)| (key.clone(), self.inside(it.clone(), depth - 1)));
                Value::Dict(entries.collect::<Dict>())
            }
            other => other,
        }
    }
}
