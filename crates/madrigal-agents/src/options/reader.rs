//! Reading single options. One of the wrong type is an error that names it.

use crate::failure::LlmError;
use crate::messages::some;
use madrigal_vm::{Dict, Value};
use std::time::Duration;

/// Reads options; nil counts as absent.
pub struct Reader<'a>(pub &'a Dict);

fn wrong(key: &str, wanted: &str, got: &Value) -> LlmError {
    LlmError::invalid(format!("{key} must be {wanted}, got {}", got.type_name()))
}

impl<'a> Reader<'a> {
    /// Whatever is given.
    pub fn some(&self, key: &str) -> Option<&'a Value> {
        some(self.0, key)
    }

    fn read<T>(&self, key: &str, wanted: &str, get: impl Fn(&'a Value) -> Option<T>) -> Result<Option<T>, LlmError> {
        self.some(key).map(|it| get(it).ok_or_else(|| wrong(key, wanted, it))).transpose()
    }

    /// A text; an empty one counts as absent.
    pub fn text(&self, key: &str) -> Result<Option<String>, LlmError> {
        let text = self.read(key, "a string", |it| it.as_str().map(str::to_owned))?;
        Ok(text.filter(|it| !it.is_empty()))
    }

    /// A whole number.
    pub fn int(&self, key: &str) -> Result<Option<i64>, LlmError> {
        self.read(key, "an int", Value::as_int)
    }

    /// A whole number of at least 0.
    pub fn count(&self, key: &str) -> Result<Option<u64>, LlmError> {
        let count = self.read(key, "an int", Value::as_millis)?;
        count
            .map(|it| u64::try_from(it).map_err(|_| LlmError::invalid(format!("{key} must not be negative"))))
            .transpose()
    }

    /// A number of any kind.
    pub fn number(&self, key: &str) -> Result<Option<Value>, LlmError> {
        self.read(key, "a number", |it| it.as_number().map(|_| it.clone()))
    }

    /// True or false.
    pub fn flag(&self, key: &str) -> Result<Option<bool>, LlmError> {
        self.read(key, "a bool", |it| match it {
            Value::Bool(it) => Some(*it),
            _ => None,
        })
    }

    /// A dict.
    pub fn dict(&self, key: &str) -> Result<Option<Dict>, LlmError> {
        self.read(key, "a dict", |it| match it {
            Value::Dict(it) => Some(it.clone()),
            _ => None,
        })
    }

    /// A list.
    pub fn list(&self, key: &str) -> Result<Option<&'a [Value]>, LlmError> {
        self.read(key, "a list", |it| match it {
            Value::List(it) => Some(&**it),
            _ => None,
        })
    }

    /// A duration, or an int of seconds.
    pub fn seconds(&self, key: &str) -> Result<Option<Duration>, LlmError> {
        let time = self.read(key, "a duration or an int of seconds", |it| match it {
            Value::Duration(millis) => Some(*millis),
            other => other.as_int().map(|it| it.saturating_mul(1000)),
        })?;
        Ok(time.map(|it| Duration::from_millis(u64::try_from(it).unwrap_or(0))))
    }

    /// Whether `response_format` or `output_format` asks for JSON.
    pub fn wants_json(&self) -> Result<bool, LlmError> {
        let by_format = match self.text("response_format")?.as_deref() {
            None | Some("text") => false,
            Some("json") => true,
            Some(other) => {
                return Err(LlmError::invalid(format!("response_format must be text or json, not '{other}'")));
            }
        };
        let kind = match self.dict("output_format")? {
            Some(format) => Reader(&format).text("kind")?,
            None => None,
        };
        match kind.as_deref() {
            None | Some("text") => Ok(by_format),
            Some("json_object" | "json_schema") => Ok(true),
            Some(other) => Err(LlmError::invalid(format!(
                "output_format.kind must be text, json_object or json_schema, not '{other}'"
            ))),
        }
    }
}
