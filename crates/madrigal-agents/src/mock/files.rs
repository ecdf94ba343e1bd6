//! Mocks from a file and replies into one, as the command line asks: one spec a line, as JSON.

use super::Mock;
use crate::call::Answer;
use crate::reply::call_value;
use madrigal_stdlib::json;
use madrigal_vm::Value;
use parking_lot::Mutex;
use std::fs::File;
use std::io::Write;
use std::path::Path;

/// Appends replies to a file.
#[derive(Default)]
pub struct Recorder(Mutex<Option<File>>);

impl Recorder {
    /// Records from now on; the error is ready to be shown.
    pub fn open(&self, path: &Path) -> Result<(), String> {
        let file = File::options().create(true).append(true).open(path);
        *self.0.lock() = Some(file.map_err(|error| format!("{}: {error}", path.display()))?);
        Ok(())
    }

    /// Keeps a reply as the spec that would give it again.
    pub fn record(&self, answer: &Answer) {
        let mut file = self.0.lock();
        let Some(file) = file.as_mut() else { return };
        let reply = &answer.reply;
        let int = |it: Option<u64>| it.map_or(Value::Nil, |it| Value::Int(i64::try_from(it).unwrap_or(i64::MAX)));
        let mut fields = vec![
            ("text", Value::from(reply.text.as_str())),
            ("model", Value::from(answer.model.as_str())),
            ("provider", Value::from(answer.provider.as_str())),
            ("input_tokens", int(reply.tokens.input)),
            ("output_tokens", int(reply.tokens.output)),
            ("stop_reason", Value::from(reply.stop_reason_raw.as_str())),
        ];
        if !reply.tool_calls.is_empty() {
            fields.push(("tool_calls", Value::list(reply.tool_calls.iter().map(call_value).collect())));
        }
        fields.extend(reply.thinking.as_deref().map(|it| ("thinking", Value::from(it))));
        // A recording that cannot be written does not fail the call it records.
        let _ = writeln!(file, "{}", json::stringify(&Value::dict(fields)));
    }
}

impl Mock {
    /// Queues the specs of a file before those of the script; the error is ready to be shown.
    pub fn load(&self, path: &Path) -> Result<(), String> {
        let shown = path.display();
        let text = std::fs::read_to_string(path).map_err(|error| format!("{shown}: {error}"))?;
        for (number, line) in text.lines().enumerate().filter(|it| !it.1.trim().is_empty()) {
            let spec = json::parse(line).map_err(|error| format!("{shown}:{}: {error}", number + 1))?;
            self.add_outer(&spec).map_err(|error| format!("{shown}:{}: {error}", number + 1))?;
        }
        Ok(())
    }
}
