//! The log of calls that the mock served.

use crate::transport::{ChatRequest, OfferedTool};
use madrigal_stdlib::Run;
use madrigal_vm::Value;
use parking_lot::Mutex;
use std::sync::Arc;

/// One attempt.
pub(super) struct Record {
    request: ChatRequest,
    started_ms: i64,
    finished: Option<(i64, &'static str)>,
}

impl Record {
    pub fn new(request: &ChatRequest, started_ms: i64) -> Record {
        Record { request: request.clone(), started_ms, finished: None }
    }

    /// As scripts see it.
    pub fn to_value(&self) -> Value {
        let request = &self.request;
        let thinking = request.thinking.as_ref().map_or(Value::Nil, |it| {
            let mut fields = vec![("mode", Value::from(it.mode.as_str()))];
            fields.extend(it.budget_tokens.map(|it| ("budget_tokens", Value::Int(it))));
            fields.extend(it.level.as_deref().map(|it| ("level", Value::from(it))));
            Value::dict(fields)
        });
        Value::dict([
            ("messages", Value::list(request.messages.clone())),
            ("system", request.system.as_deref().map_or(Value::Nil, Value::from)),
            ("tools", tools_value(&request.tools)),
            ("thinking", thinking),
            ("model", Value::from(request.model.as_str())),
            ("options", Value::Dict(request.options.clone())),
            ("started_ms", Value::Int(self.started_ms)),
            ("finished_ms", self.finished.map_or(Value::Nil, |it| Value::Int(it.0))),
            ("outcome", self.finished.map_or(Value::Nil, |it| Value::from(it.1))),
        ])
    }
}

/// Offered tools as scripts see them; nil when there is none.
pub(super) fn tools_value(tools: &[OfferedTool]) -> Value {
    let entry = |tool: &OfferedTool| {
        Value::dict([
            ("name", Value::from(tool.name.as_str())),
            ("description", Value::from(tool.description.as_str())),
            ("parameters", tool.schema.clone()),
        ])
    };
    if tools.is_empty() { Value::Nil } else { Value::list(tools.iter().map(entry).collect()) }
}

/// Ends a record; one that is dropped before was cancelled.
pub(super) struct Recording {
    record: Arc<Mutex<Record>>,
    run: Arc<Run>,
}

impl Recording {
    pub fn new(record: Arc<Mutex<Record>>, run: Arc<Run>) -> Recording {
        Recording { record, run }
    }

    pub fn finish(&self, outcome: &'static str) {
        self.record.lock().finished.get_or_insert((self.run.now_ms(), outcome));
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        self.finish("cancelled");
    }
}
