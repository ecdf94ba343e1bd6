//! The tools of a turn: run at the same time as children of the task, results in the order of the calls.

use super::Agent;
use crate::job::{Asker, job};
use crate::messages::{field, text_field};
use crate::tools::Runner;
use crate::transport::ToolCall;
use madrigal_stdlib::json;
use madrigal_vm::Value;
use std::sync::Arc;

/// What became of a call.
#[derive(Clone, Debug)]
pub(super) struct Result {
    pub id: String,
    pub name: String,
    pub arguments: Value,
    pub content: String,
    pub is_error: bool,
    /// `ok`, `error` or `rejected`.
    pub status: String,
}

impl Result {
    /// As callbacks see it.
    pub fn to_value(&self) -> Value {
        Value::dict([
            ("tool_name", Value::from(self.name.as_str())),
            ("tool_call_id", Value::from(self.id.as_str())),
            ("arguments", self.arguments.clone()),
            ("status", Value::from(self.status.as_str())),
            ("content", Value::from(self.content.as_str())),
        ])
    }
}

const HINT: &str = "[loop detected: this call with these arguments gave the same result before; try something else]";

impl Agent {
    /// Runs the calls of a turn and appends their results.
    pub(super) async fn run_tools(&mut self, calls: &[ToolCall]) -> Vec<Result> {
        let mut results = Vec::new();
        let mut rest = calls;
        while !rest.is_empty() {
            let (group, after) = rest.split_at(self.group_len(rest));
            rest = after;
            results.extend(self.run_group(group).await);
        }
        for result in &mut results {
            self.detect_loop(result);
            self.outcome.tool_ran(&result.name, &result.status);
            let message = self.result_message(result);
            self.append(message);
            let fields = vec![
                ("tool", Value::from(result.name.as_str())),
                ("tool_call_id", Value::from(result.id.as_str())),
                ("status", Value::from(result.status.as_str())),
            ];
            self.emitter.emit("tool_call_update", fields).await;
        }
        for (kind, tool, text) in self.guard.take_noted() {
            let metadata = Value::dict([("tool", Value::from(tool)), ("reason", Value::from(text.as_str()))]);
            self.outcome.note(&self.cx.run, kind, "internal", &text, metadata.clone());
            self.emitter.emit("permission", vec![("kind", Value::from(kind)), ("metadata", metadata)]).await;
        }
        results
    }

    /// How many of the next calls may run at the same time.
    fn group_len(&self, calls: &[ToolCall]) -> usize {
        let alone = |call: &ToolCall| {
            let entry = self.options.entries.iter().find(|it| text_field(it, "name") == Some(call.name.as_str()));
            self.options.serial || entry.is_some_and(|it| matches!(field(it, "parallel"), Some(Value::Bool(false))))
        };
        if alone(&calls[0]) {
            return 1;
        }
        calls.iter().position(alone).unwrap_or(calls.len())
    }

    async fn run_group(&mut self, calls: &[ToolCall]) -> Vec<Result> {
        let runner = Runner {
            run: self.cx.run.clone(),
            models: self.cx.models.clone(),
            asker: self.cx.asker.clone(),
            entries: Arc::new(self.options.entries.clone()),
            guard: self.guard.clone(),
            retries: self.options.tool_retries,
            backoff_ms: self.options.tool_backoff_ms,
            ends_at: self.options.ends_at,
        };
        let mut jobs = Vec::new();
        for call in calls {
            let fields = vec![
                ("tool", Value::from(call.name.as_str())),
                ("tool_call_id", Value::from(call.id.as_str())),
                ("arguments", call.arguments.clone()),
            ];
            self.emitter.emit("tool_call", fields).await;
            if self.is_to_be_skipped(call) {
                continue;
            }
            let (runner, call) = (runner.clone(), call.clone());
            jobs.push(job(move |asker: Asker| async move {
                let runner = Runner { asker, ..runner };
                let ran = runner.call(&call.id, &call.name, &call.arguments).await;
                Ok(Value::dict([
                    ("content", Value::from(ran.content)),
                    ("is_error", Value::Bool(ran.is_error)),
                    ("status", Value::from(ran.status)),
                ]))
            }));
        }
        let ran = match jobs.is_empty() {
            true => Vec::new(),
            false => {
                let settled = self.cx.asker.drive_all(jobs, self.options.max_parallel_tools).await.unwrap_or_default();
                crate::messages::items(field(&settled, "results")).to_vec()
            }
        };
        let mut ran = ran.into_iter();
        calls
            .iter()
            .map(|call| {
                let ended = if self.is_to_be_skipped(call) { None } else { ran.next() };
                self.result_of(call, ended)
            })
            .collect()
    }

    fn result_of(&self, call: &ToolCall, ended: Option<Value>) -> Result {
        let inside = match &ended {
            Some(Value::Enum(it)) if it.variant() == "Ok" => it.fields().first().cloned(),
            _ => None,
        };
        let (content, is_error, status) = match (&inside, &ended) {
            (Some(ran), _) => (
                text_field(ran, "content").unwrap_or_default().to_owned(),
                field(ran, "is_error").is_some_and(Value::is_truthy),
                text_field(ran, "status").unwrap_or("error").to_owned(),
            ),
            // A handler that was cancelled still has a result: every call needs one.
            (None, Some(_)) => ("{\"error\":\"cancelled\"}".to_owned(), true, "error".to_owned()),
            (None, None) => (HINT.to_owned(), true, "error".to_owned()),
        };
        Result {
            id: call.id.clone(),
            name: call.name.clone(),
            arguments: call.arguments.clone(),
            content,
            is_error,
            status,
        }
    }

    fn is_to_be_skipped(&self, call: &ToolCall) -> bool {
        let skip = self.options.loop_detect[2];
        skip > 0 && self.streak.0 == key_of(&call.name, &call.arguments) && self.streak.2 + 1 >= skip
    }

    /// Counts repeats of a call with the same result, and says so in the result.
    fn detect_loop(&mut self, result: &mut Result) {
        let key = key_of(&result.name, &result.arguments);
        let skipped = result.content == HINT;
        if self.streak.0 == key && (skipped || self.streak.1 == result.content) {
            self.streak.2 += 1;
        } else {
            self.streak = (key, result.content.clone(), 1);
        }
        let repeats = self.streak.2;
        let [warn, block, _] = self.options.loop_detect;
        if skipped {
            return;
        }
        if block > 0 && repeats >= block {
            HINT.clone_into(&mut result.content);
        } else if warn > 0 && repeats >= warn {
            result.content = format!("{}\n{HINT}", result.content);
        }
    }
}

fn key_of(name: &str, arguments: &Value) -> String {
    format!("{name} {}", json::stringify(arguments))
}
