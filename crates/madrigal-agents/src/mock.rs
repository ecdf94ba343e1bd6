//! The mock provider: answers from a queue, from patterns, or by a default, without network and without keys. The
//! embedded default. A call to another provider that finds an entry here is served by it too.

mod builtins;
mod entry;
mod files;
mod log;

pub use builtins::register;
pub use files::Recorder;

use crate::failure::LlmError;
use crate::messages::{joined_text, some, text_of};
use crate::transport::{
    CallCx, ChatDelta, ChatReply, ChatRequest, ChatTransport, Deltas, OfferedTool, Pending, Tokens, ToolCall,
};
use entry::{Entry, Latency};
use log::{Record, Recording};
use madrigal_stdlib::json;
use madrigal_vm::{Dict, Value};
use parking_lot::Mutex;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

/// Output tokens of an answer whose spec does not say.
const OUTPUT_TOKENS: u64 = 30;

/// The mock of a run. Clones are the same.
#[derive(Clone, Default)]
pub struct Mock(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// From the command line: consulted first, kept by scopes.
    outer: Vec<Entry>,
    scope: Scope,
    saved: Vec<Scope>,
    strict: bool,
}

/// What `llm_mock_push_scope` saves.
#[derive(Default)]
struct Scope {
    entries: Vec<Entry>,
    log: Vec<Arc<Mutex<Record>>>,
    /// Prompts that a call with `cache: true` has sent.
    cached: HashSet<String>,
}

/// An entry that was taken for a request.
pub struct Taken(Dict);

impl Mock {
    /// Takes the entry that serves this request: the first of the queue, else the first pattern that fits.
    pub fn take(&self, request: &ChatRequest) -> Option<Taken> {
        let text = request_text(request);
        let mut state = self.0.lock();
        let State { outer, scope, .. } = &mut *state;
        entry::take(outer, &text).or_else(|| entry::take(&mut scope.entries, &text)).map(Taken)
    }

    /// Serves a request with an entry, or with the default reply.
    pub async fn serve(
        &self,
        taken: Option<Taken>,
        request: &ChatRequest,
        cx: &CallCx,
        deltas: &mut dyn Deltas,
    ) -> Result<ChatReply, LlmError> {
        let (recording, index) = self.record(request, cx);
        let outcome = self.answer(taken, request, index, cx, deltas).await;
        recording.finish(if outcome.is_ok() { "ok" } else { "error" });
        outcome
    }

    async fn answer(
        &self,
        taken: Option<Taken>,
        request: &ChatRequest,
        index: usize,
        cx: &CallCx,
        deltas: &mut dyn Deltas,
    ) -> Result<ChatReply, LlmError> {
        let spec = match taken {
            Some(Taken(spec)) => match some(&spec, "respond") {
                Some(closure) => {
                    let answer = cx.asker.call(closure.clone(), respond_argument(request, index)).await;
                    let given = match answer.map_err(|thrown| LlmError::of_thrown(&thrown))? {
                        Value::Dict(given) => given,
                        other => [("text".into(), Value::String(other.display()))].into_iter().collect(),
                    };
                    // What the entry says besides holds for every answer.
                    let mut spec = spec.clone();
                    for (key, value) in given.iter() {
                        spec.insert(key.clone(), value.clone());
                    }
                    spec
                }
                None => spec,
            },
            None if self.is_strict() => {
                let message = format!("no mock fits this call: {}", last_text(request));
                return Err(LlmError::new("not_found", message).because("unmatched_mock"));
            }
            None => default_spec(request),
        };
        self.play(&spec, request, cx, deltas).await
    }

    fn is_strict(&self) -> bool {
        let state = self.0.lock();
        state.strict || !state.outer.is_empty()
    }

    /// Notes the start of an attempt; its position in the log.
    fn record(&self, request: &ChatRequest, cx: &CallCx) -> (Recording, usize) {
        let record = Arc::new(Mutex::new(Record::new(request, cx.run.now_ms())));
        let log = &mut self.0.lock().scope.log;
        log.push(record.clone());
        (Recording::new(record, cx.run.clone()), log.len() - 1)
    }

    async fn play(
        &self,
        spec: &Dict,
        request: &ChatRequest,
        cx: &CallCx,
        deltas: &mut dyn Deltas,
    ) -> Result<ChatReply, LlmError> {
        let latency = Latency::of(spec);
        if latency.first > 0 {
            cx.run.sleep(Duration::from_millis(latency.first)).await;
        }
        let failure = some(spec, "error").and_then(entry::failure_of);
        if let Some((error, None)) = failure {
            return Err(error);
        }
        let mut reply = self.reply(spec, request);
        reply.first_token_at = Some(cx.run.now_monotonic());
        let says_tokens = some(spec, "output_tokens").and_then(Value::as_int).is_some_and(|it| it > 0);
        if says_tokens && reply.is_empty() {
            let message = format!("the model reported output tokens but delivered no content ({})", request.model);
            return Err(LlmError::new("server_error", message).because("empty_completion"));
        }
        if let Some(thinking) = &reply.thinking {
            deltas.take(ChatDelta::Thinking(thinking.clone())).await?;
        }
        let mut sent = String::new();
        for (at, chunk) in entry::chunks(spec, &reply.text).into_iter().enumerate() {
            if let Some((error, Some(after))) = &failure
                && at >= *after
            {
                return Err(error.clone().with(|it| it.partial_text = Some(sent)));
            }
            if at > 0 && latency.per_chunk > 0 {
                cx.run.sleep(Duration::from_millis(latency.per_chunk)).await;
            }
            sent.push_str(&chunk);
            deltas.take(ChatDelta::Text(chunk)).await?;
        }
        if let Some((error, _)) = failure {
            return Err(error.with(|it| it.partial_text = Some(sent)));
        }
        for (index, call) in reply.tool_calls.iter().enumerate() {
            let part = ChatDelta::ToolCallPart {
                index,
                id: Some(call.id.clone()),
                name: Some(call.name.clone()),
                arguments: json::stringify(&call.arguments),
            };
            deltas.take(part).await?;
            deltas.take(ChatDelta::ToolCall(call.clone())).await?;
        }
        Ok(reply)
    }

    fn reply(&self, spec: &Dict, request: &ChatRequest) -> ChatReply {
        let text = |key: &str| some(spec, key).map(ToString::to_string);
        let tool_calls = entry::tool_calls(spec);
        let stop = if tool_calls.is_empty() { "end_turn" } else { "tool_use" };
        ChatReply {
            text: entry::text(spec),
            thinking: text("thinking"),
            thinking_summary: text("thinking_summary"),
            private_reasoning: text("private_reasoning"),
            stop_reason_raw: text("stop_reason").unwrap_or_else(|| stop.to_owned()),
            tokens: self.tokens(spec, request),
            model: text("model"),
            provider: text("provider"),
            blocks: some(spec, "blocks").cloned(),
            tool_calls,
            ..ChatReply::default()
        }
    }

    fn tokens(&self, spec: &Dict, request: &ChatRequest) -> Tokens {
        let given = |key: &str| some(spec, key).and_then(Value::as_int).map(|it| u64::try_from(it).unwrap_or(0));
        let input = given("input_tokens").unwrap_or(request_text(request).len() as u64);
        let (mut read, mut written) = (0, 0);
        if request.cache {
            let key = [&request.model, request.system.as_deref().unwrap_or_default()].join("\n")
                + &json::stringify(&Value::list(request.messages.clone()));
            let first = self.0.lock().scope.cached.insert(key);
            (read, written) = if first { (0, input) } else { (input, 0) };
        }
        Tokens {
            input: Some(input),
            output: Some(given("output_tokens").unwrap_or(OUTPUT_TOKENS)),
            cache_read: given("cache_read_tokens").unwrap_or(read),
            cache_write: given("cache_write_tokens").unwrap_or(written),
        }
    }
}

/// The text that patterns are compared with.
fn request_text(request: &ChatRequest) -> String {
    match &request.infill {
        Some((prefix, suffix)) => [prefix.as_str(), suffix.as_deref().unwrap_or_default()].concat(),
        None => joined_text(&request.messages),
    }
}

fn last_text(request: &ChatRequest) -> String {
    request.messages.last().map(text_of).unwrap_or_default()
}

fn respond_argument(request: &ChatRequest, index: usize) -> Value {
    Value::dict([
        ("messages", Value::list(request.messages.clone())),
        ("system", request.system.as_deref().map_or(Value::Nil, Value::from)),
        ("tools", log::tools_value(&request.tools)),
        ("model", Value::from(request.model.as_str())),
        ("call_index", Value::from(index)),
    ])
}

/// What is answered when no entry fits.
fn default_spec(request: &ChatRequest) -> Dict {
    if let Some((prefix, suffix)) = &request.infill {
        let (before, after) = (prefix.chars().count(), suffix.as_ref().map_or(0, |it| it.chars().count()));
        let text = format!("Mock completion after {before} chars before {after} chars");
        return [("text".into(), Value::from(text))].into_iter().collect();
    }
    if let Some(tool) = request.tools.first() {
        let call = Value::dict([("name", Value::from(tool.name.as_str())), ("arguments", empty_arguments(tool))]);
        return [("tool_calls".into(), Value::list(vec![call]))].into_iter().collect();
    }
    let prompt = last_text(request);
    let mut text = match prompt.split_whitespace().count() {
        0 => "Mock LLM response".to_owned(),
        words => {
            let start: String = prompt.chars().take(100).collect();
            format!("Mock response to {words}-word prompt: {start}")
        }
    };
    if request.system.as_ref().is_some_and(|it| it.contains("<done>")) {
        text = format!("<assistant_prose>{text}</assistant_prose>\n<done>##DONE##</done>");
    }
    [("text".into(), Value::from(text))].into_iter().collect()
}

/// The required arguments of a tool, each the emptiest value of its type.
fn empty_arguments(tool: &OfferedTool) -> Value {
    let Value::Dict(schema) = &tool.schema else { return Value::dict::<&str>([]) };
    let properties = some(schema, "properties");
    let required = crate::messages::items(some(schema, "required"));
    let empty = |name: &Value| {
        let property = properties.and_then(|it| crate::messages::field(it, name.as_str().unwrap_or_default()));
        let value = match property.and_then(|it| crate::messages::text_field(it, "type")) {
            Some("integer" | "int") => Value::Int(0),
            Some("number" | "float") => Value::Float(0.0),
            Some("boolean" | "bool") => Value::Bool(false),
            Some("array" | "list") => Value::list(Vec::new()),
            Some("object" | "dict") => Value::dict::<&str>([]),
            _ => Value::from(""),
        };
        (name.display(), value)
    };
    Value::dict(required.iter().map(empty))
}

impl ChatTransport for Mock {
    fn chat<'a>(
        &'a self,
        request: &'a ChatRequest,
        cx: &'a CallCx,
        deltas: &'a mut dyn Deltas,
    ) -> Pending<'a, Result<ChatReply, LlmError>> {
        Box::pin(async move { self.serve(self.take(request), request, cx, deltas).await })
    }

    fn complete<'a>(&'a self, request: &'a ChatRequest, cx: &'a CallCx) -> Pending<'a, Result<ChatReply, LlmError>> {
        Box::pin(async move { self.serve(self.take(request), request, cx, &mut crate::transport::NoDeltas).await })
    }

    fn completes(&self) -> bool {
        true
    }

    fn list_models<'a>(&'a self, _: &'a CallCx) -> Pending<'a, Result<Vec<String>, LlmError>> {
        Box::pin(std::future::ready(Ok(vec!["mock-model".to_owned()])))
    }
}

/// The calls in a reply's spec, for entries.
fn call_of(call: &Value, number: usize) -> ToolCall {
    let field = |key: &str| crate::messages::field(call, key);
    ToolCall {
        id: field("id").map_or_else(|| format!("mock_call_{number}"), ToString::to_string),
        name: field("name").map(ToString::to_string).unwrap_or_default(),
        arguments: field("arguments").cloned().unwrap_or_else(|| Value::dict::<&str>([])),
    }
}
