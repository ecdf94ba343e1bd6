//! What a loop has done so far, and its result.

use crate::budget::{self, NanoUsd};
use crate::call::Answer;
use crate::config::Config;
use crate::sessions::Lease;
use crate::transcript;
use madrigal_stdlib::Run;
use madrigal_vm::Value;

/// Counts and texts of a loop.
#[derive(Default)]
pub(super) struct Outcome {
    pub iterations: u64,
    pub input_tokens: u64,
    pub output_tokens: u64,
    pub cost: NanoUsd,
    calls: u64,
    texts: Vec<String>,
    visible_text: String,
    pub data: Value,
    tool_calls: Vec<String>,
    pub successful: Vec<String>,
    rejected: Vec<String>,
    tool_errors: u64,
    pub compactions: u64,
    pub schema_retries: u64,
    pub text_fallbacks: u64,
    pub text_fallback_rejections: u64,
    pub empty_retries: u64,
    pub summary: Option<String>,
    pub drained: [u64; 2],
    pub transcript_events: Vec<Value>,
}

fn int(count: u64) -> Value {
    Value::Int(i64::try_from(count).unwrap_or(i64::MAX))
}

fn texts(list: &[String]) -> Value {
    Value::list(list.iter().map(|it| Value::from(it.as_str())).collect())
}

impl Outcome {
    /// Counts an answer.
    pub fn count(&mut self, config: &Config, answer: &Answer) {
        self.calls += 1;
        self.input_tokens += answer.reply.tokens.input.unwrap_or(0);
        self.output_tokens += answer.reply.tokens.output.unwrap_or(0);
        self.cost += budget::cost_of(config, &answer.model, &answer.reply.tokens);
    }

    /// Keeps what the model said.
    pub fn said(&mut self, text: &str, visible: &str) {
        if !text.is_empty() {
            self.texts.push(text.to_owned());
        }
        visible.clone_into(&mut self.visible_text);
    }

    /// Counts a call of a tool.
    pub fn tool_ran(&mut self, name: &str, status: &str) {
        self.tool_calls.push(name.to_owned());
        let list = match status {
            "ok" => &mut self.successful,
            "rejected" => &mut self.rejected,
            _ => {
                self.tool_errors += 1;
                return;
            }
        };
        if !list.iter().any(|it| it == name) {
            list.push(name.to_owned());
        }
    }

    /// Adds an event to the transcript.
    pub fn note(&mut self, run: &Run, kind: &str, visibility: &str, text: &str, metadata: Value) {
        let event = transcript::event(run, kind, "system", visibility, text, metadata);
        self.transcript_events.push(event);
    }

    /// The result of the loop.
    pub fn result(&self, status: &str, lease: &Lease, messages: &[Value], duration: i64, native: bool) -> Value {
        let llm = Value::dict([
            ("iterations", int(self.iterations)),
            ("duration_ms", Value::Int(duration)),
            ("input_tokens", int(self.input_tokens)),
            ("output_tokens", int(self.output_tokens)),
            ("cost_usd", Value::Float(budget::usd(self.cost))),
            ("calls", int(self.calls)),
        ]);
        let tools = Value::dict([
            ("calls", texts(&self.tool_calls)),
            ("successful", texts(&self.successful)),
            ("rejected", texts(&self.rejected)),
            ("mode", Value::from(if native { "native" } else { "text" })),
        ]);
        let inbox = Value::dict([
            ("drained_first", int(self.drained[0])),
            ("drained_second", int(self.drained[1])),
            ("pending", Value::from(lease.inbox.pending_count())),
        ]);
        let trace = Value::dict([
            ("compactions", int(self.compactions)),
            ("schema_retries", int(self.schema_retries)),
            ("tool_errors", int(self.tool_errors)),
            ("native_text_tool_fallbacks", int(self.text_fallbacks)),
            ("native_text_tool_fallback_rejections", int(self.text_fallback_rejections)),
            ("empty_completion_retries", int(self.empty_retries)),
            ("spans", Value::list(Vec::new())),
        ]);
        let optional = |it: &Option<String>| it.as_deref().map_or(Value::Nil, Value::from);
        let events = self.transcript_events.clone();
        let left = lease.inbox.snapshot().into_iter().filter(|it| it.kind == "user_message");
        let deferred = left.map(madrigal_stdlib::inbox::entry_value).collect();
        Value::dict([
            ("status", Value::from(status)),
            ("text", Value::from(self.texts.join("\n"))),
            ("visible_text", Value::from(self.visible_text.as_str())),
            ("data", self.data.clone()),
            ("llm", llm),
            ("tools", tools),
            ("inbox", inbox),
            ("trace", trace),
            ("session_id", Value::from(lease.id.as_str())),
            ("parent_session_id", optional(&lease.parent_id)),
            ("root_session_id", Value::from(lease.root_id.as_str())),
            ("deferred_user_messages", Value::list(deferred)),
            ("transcript", transcript::with_events(&lease.id, messages.to_vec(), events, self.summary.as_deref())),
        ])
    }
}
