//! The protocol of Ollama: lines of JSON, settings in a dict of their own.

use super::assembly::Assembly;
use super::lines::Framing;
use super::{Wire, errors};
use crate::config::Fields;
use crate::failure::LlmError;
use crate::messages::{field, items, message, text_field, text_of};
use crate::tools::wire_name;
use crate::transport::{ChatDelta, ChatRequest};
use madrigal_stdlib::json;
use madrigal_vm::{Dict, Str, Value};

/// Chats.
pub struct Ollama;

/// Completions.
pub struct Generate;

fn put(body: &mut Dict, key: &str, value: Value) {
    body.insert(Str::from(key), value);
}

fn common(request: &ChatRequest) -> Dict {
    let mut body = Dict::new();
    put(&mut body, "model", Value::from(request.model.as_str()));
    put(&mut body, "stream", Value::Bool(request.stream));
    let mut options = request.settings.clone();
    put(&mut options, "num_predict", Value::Int(request.max_tokens));
    put(&mut body, "options", Value::Dict(options));
    if let Some(schema) = &request.schema {
        put(&mut body, "format", schema.clone());
    } else if request.json {
        put(&mut body, "format", Value::from("json"));
    }
    if let Some(thinking) = &request.thinking {
        put(&mut body, "think", Value::Bool(thinking.mode != "disabled"));
    }
    body
}

/// Takes an event or a whole body, which have the same form but for the place of the text.
fn take(event: &Value, text: Option<&str>, into: &mut Assembly) -> Result<Vec<ChatDelta>, LlmError> {
    if let Some(error) = field(event, "error") {
        return Err(errors::of_object(&Value::dict([("message", Value::String(error.display()))])));
    }
    let mut pieces = Vec::new();
    let message = field(event, "message").cloned().unwrap_or_default();
    let thinking = text_field(&message, "thinking").or_else(|| text_field(event, "thinking"));
    pieces.extend(thinking.and_then(|it| into.thinking(it)));
    pieces.extend(text.and_then(|it| into.text(it)));
    for call in items(field(&message, "tool_calls")) {
        let function = field(call, "function").cloned().unwrap_or_default();
        let arguments = match field(&function, "arguments") {
            Some(Value::String(text)) => text.to_string(),
            Some(other) => json::stringify(other),
            None => String::new(),
        };
        let index = into.calls_len();
        pieces.push(into.call(index, text_field(call, "id"), text_field(&function, "name"), &arguments)?);
    }
    into.reply.model = text_field(event, "model").map(str::to_owned).or(into.reply.model.take());
    if field(event, "done").is_some_and(Value::is_truthy) {
        let count = |key: &str| field(event, key).and_then(Value::as_int).and_then(|it| u64::try_from(it).ok());
        into.reply.tokens.input = count("prompt_eval_count");
        into.reply.tokens.output = count("eval_count");
        let reason = text_field(event, "done_reason").unwrap_or("stop");
        let reason = if into.calls_len() > 0 && reason == "stop" { "tool_calls" } else { reason };
        reason.clone_into(&mut into.reply.stop_reason_raw);
        into.finished = true;
        into.closed = true;
    }
    Ok(pieces)
}

impl Wire for Ollama {
    fn framing(&self) -> Framing {
        Framing::JsonLines
    }

    fn path<'a>(&self, fields: &'a Fields) -> &'a str {
        fields.text("chat_endpoint").unwrap_or("/api/chat")
    }

    fn ignores(&self) -> &'static [&'static str] {
        &[]
    }

    fn body(&self, request: &ChatRequest) -> Result<Dict, LlmError> {
        let mut body = common(request);
        let system = request.system.as_ref().map(|it| message("system", it.as_str()));
        let mut messages: Vec<Value> = system.into_iter().collect();
        for it in &request.messages {
            messages.push(wire_message(it)?);
        }
        put(&mut body, "messages", Value::list(messages));
        if !request.tools.is_empty() {
            let tool = |it: &crate::transport::OfferedTool| {
                let function = Value::dict([
                    ("name", Value::from(wire_name(&it.name))),
                    ("description", Value::from(it.description.as_str())),
                    ("parameters", it.schema.clone()),
                ]);
                Value::dict([("type", Value::from("function")), ("function", function)])
            };
            put(&mut body, "tools", Value::list(request.tools.iter().map(tool).collect()));
        }
        Ok(body)
    }

    fn event(&self, data: &str, into: &mut Assembly) -> Result<Vec<ChatDelta>, LlmError> {
        let event = json::parse(data).map_err(|error| errors::malformed(&error))?;
        let text = field(&event, "message").and_then(|it| text_field(it, "content")).map(str::to_owned);
        take(&event, text.as_deref(), into)
    }

    fn whole(&self, body: &Value, into: &mut Assembly) -> Result<(), LlmError> {
        let text = field(body, "message").and_then(|it| text_field(it, "content")).map(str::to_owned);
        take(body, text.as_deref(), into).map(drop)
    }
}

fn wire_message(message: &Value) -> Result<Value, LlmError> {
    let role = text_field(message, "role").unwrap_or("user");
    let mut fields = vec![("role", Value::from(role)), ("content", Value::from(text_of(message)))];
    let mut images = Vec::new();
    for block in items(field(message, "content")) {
        match (text_field(block, "type"), text_field(block, "base64")) {
            (Some("image"), Some(data)) => images.push(Value::from(data)),
            (Some("image"), None) => {
                return Err(LlmError::invalid("Ollama takes images as base64 only, not by url"));
            }
            _ => {}
        }
    }
    if !images.is_empty() {
        fields.push(("images", Value::list(images)));
    }
    if role == "tool" {
        fields.extend(field(message, "name").map(|it| ("tool_name", it.clone())));
    }
    let call = |call: &Value| {
        let name = wire_name(text_field(call, "name").unwrap_or_default());
        let arguments = field(call, "arguments").cloned().unwrap_or_default();
        Value::dict([("function", Value::dict([("name", Value::from(name)), ("arguments", arguments)]))])
    };
    let calls: Vec<_> = items(field(message, "tool_calls")).iter().map(call).collect();
    if !calls.is_empty() {
        fields.push(("tool_calls", Value::list(calls)));
    }
    Ok(Value::dict(fields))
}

impl Wire for Generate {
    fn framing(&self) -> Framing {
        Framing::JsonLines
    }

    fn path<'a>(&self, fields: &'a Fields) -> &'a str {
        fields.text("completion_endpoint").unwrap_or("/api/generate")
    }

    fn ignores(&self) -> &'static [&'static str] {
        &[]
    }

    fn body(&self, request: &ChatRequest) -> Result<Dict, LlmError> {
        let mut body = common(request);
        let (prefix, suffix) = request.infill.clone().unwrap_or_default();
        put(&mut body, "prompt", Value::from(prefix));
        if let Some(suffix) = suffix {
            put(&mut body, "suffix", Value::from(suffix));
        }
        if let Some(system) = &request.system {
            put(&mut body, "system", Value::from(system.as_str()));
        }
        Ok(body)
    }

    fn event(&self, data: &str, into: &mut Assembly) -> Result<Vec<ChatDelta>, LlmError> {
        let event = json::parse(data).map_err(|error| errors::malformed(&error))?;
        take(&event, text_field(&event, "response"), into)
    }

    fn whole(&self, body: &Value, into: &mut Assembly) -> Result<(), LlmError> {
        take(body, text_field(body, "response"), into).map(drop)
    }
}
