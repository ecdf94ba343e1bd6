//! The protocol of Anthropic's messages. It demands that roles alternate, so consecutive messages of one are merged here.

use super::assembly::Assembly;
use super::lines::Framing;
use super::{Wire, errors};
use crate::config::Fields;
use crate::failure::LlmError;
use crate::messages::{field, items, text_field, text_of};
use crate::tools::wire_name;
use crate::transport::{ChatDelta, ChatRequest, OfferedTool};
use madrigal_stdlib::json;
use madrigal_vm::{Dict, Str, Value};

/// Messages.
pub struct Anthropic;

/// Tokens of thinking unless the call says otherwise.
const THINKING_TOKENS: i64 = 4096;

fn put(body: &mut Dict, key: &str, value: Value) {
    body.insert(Str::from(key), value);
}

fn block(kind: &str, fields: impl IntoIterator<Item = (&'static str, Value)>) -> Value {
    Value::dict([("type", Value::from(kind))].into_iter().chain(fields))
}

impl Wire for Anthropic {
    fn framing(&self) -> Framing {
        Framing::ServerSent
    }

    fn path<'a>(&self, fields: &'a Fields) -> &'a str {
        fields.text("chat_endpoint").unwrap_or("/messages")
    }

    fn ignores(&self) -> &'static [&'static str] {
        &["frequency_penalty", "presence_penalty", "seed"]
    }

    fn body(&self, request: &ChatRequest) -> Result<Dict, LlmError> {
        let mut body = Dict::new();
        put(&mut body, "model", Value::from(request.model.as_str()));
        put(&mut body, "max_tokens", Value::Int(request.max_tokens));
        put(&mut body, "messages", Value::list(wire_messages(&request.messages)));
        if let Some(system) = system(request) {
            put(&mut body, "system", system);
        }
        for key in ["temperature", "top_p", "top_k"] {
            if let Some(value) = request.settings.get(key) {
                put(&mut body, key, value.clone());
            }
        }
        if let Some(stop) = request.settings.get("stop") {
            put(&mut body, "stop_sequences", stop.clone());
        }
        if !request.tools.is_empty() {
            put(&mut body, "tools", Value::list(request.tools.iter().map(wire_tool).collect()));
            if let Some(choice) = wire_choice(request) {
                put(&mut body, "tool_choice", choice);
            }
        }
        if let Some(thinking) = request.thinking.as_ref().filter(|it| it.mode != "disabled") {
            let budget = thinking.budget_tokens.unwrap_or(THINKING_TOKENS);
            put(&mut body, "thinking", block("enabled", [("budget_tokens", Value::Int(budget))]));
        }
        if request.stream {
            put(&mut body, "stream", Value::Bool(true));
        }
        Ok(body)
    }

    fn event(&self, data: &str, into: &mut Assembly) -> Result<Vec<ChatDelta>, LlmError> {
        let event = json::parse(data).map_err(|error| errors::malformed(&error))?;
        let mut pieces = Vec::new();
        match text_field(&event, "type").unwrap_or_default() {
            "error" => return Err(errors::of_object(field(&event, "error").unwrap_or(&event))),
            "message_start" => {
                let message = field(&event, "message").cloned().unwrap_or_default();
                into.reply.model = text_field(&message, "model").map(str::to_owned);
                usage(&message, into);
            }
            "content_block_start" => {
                let content = field(&event, "content_block").cloned().unwrap_or_default();
                start_block(&content, index_of(&event)?, into, &mut pieces)?;
            }
            "content_block_delta" => {
                let delta = field(&event, "delta").cloned().unwrap_or_default();
                match text_field(&delta, "type").unwrap_or_default() {
                    "text_delta" => pieces.extend(text_field(&delta, "text").and_then(|it| into.text(it))),
                    "thinking_delta" => pieces.extend(text_field(&delta, "thinking").and_then(|it| into.thinking(it))),
                    "signature_delta" => private(&delta, "signature", into),
                    "input_json_delta" => {
                        let part = text_field(&delta, "partial_json").unwrap_or_default();
                        pieces.push(into.call(index_of(&event)?, None, None, part)?);
                    }
                    _ => {}
                }
            }
            "message_delta" => {
                if let Some(reason) = field(&event, "delta").and_then(|it| text_field(it, "stop_reason")) {
                    reason.clone_into(&mut into.reply.stop_reason_raw);
                }
                usage(&event, into);
            }
            "message_stop" => {
                into.finished = true;
                into.closed = true;
            }
            _ => {}
        }
        Ok(pieces)
    }

    fn whole(&self, body: &Value, into: &mut Assembly) -> Result<(), LlmError> {
        into.reply.model = text_field(body, "model").map(str::to_owned);
        usage(body, into);
        text_field(body, "stop_reason").unwrap_or_default().clone_into(&mut into.reply.stop_reason_raw);
        for (index, content) in items(field(body, "content")).iter().enumerate() {
            start_block(content, index, into, &mut Vec::new())?;
            if let Some(input) = field(content, "input") {
                into.call(index, None, None, &json::stringify(input))?;
            }
        }
        Ok(())
    }
}

fn index_of(event: &Value) -> Result<usize, LlmError> {
    let index = field(event, "index").and_then(Value::as_int).unwrap_or(0);
    usize::try_from(index).map_err(|_| errors::malformed("a negative index"))
}

fn start_block(
    content: &Value,
    index: usize,
    into: &mut Assembly,
    pieces: &mut Vec<ChatDelta>,
) -> Result<(), LlmError> {
    match text_field(content, "type").unwrap_or_default() {
        "text" => pieces.extend(text_field(content, "text").and_then(|it| into.text(it))),
        "thinking" => {
            pieces.extend(text_field(content, "thinking").and_then(|it| into.thinking(it)));
            private(content, "signature", into);
        }
        "redacted_thinking" => private(content, "data", into),
        "tool_use" => pieces.push(into.call(index, text_field(content, "id"), text_field(content, "name"), "")?),
        _ => {}
    }
    Ok(())
}

/// Reasoning that is not for reading.
fn private(content: &Value, key: &str, into: &mut Assembly) {
    if let Some(text) = text_field(content, key).filter(|it| !it.is_empty()) {
        into.reply.private_reasoning.get_or_insert_default().push_str(text);
    }
}

fn usage(event: &Value, into: &mut Assembly) {
    let Some(usage) = field(event, "usage") else { return };
    let count = |key: &str| field(usage, key).and_then(Value::as_int).and_then(|it| u64::try_from(it).ok());
    let tokens = &mut into.reply.tokens;
    if let Some(input) = count("input_tokens") {
        tokens.cache_read = count("cache_read_input_tokens").unwrap_or(0);
        tokens.cache_write = count("cache_creation_input_tokens").unwrap_or(0);
        // Here the cached parts are not counted as input.
        tokens.input = Some(input + tokens.cache_read + tokens.cache_write);
    }
    tokens.output = count("output_tokens").or(tokens.output);
}

fn system(request: &ChatRequest) -> Option<Value> {
    let within = request.messages.iter().filter(|it| text_field(it, "role") == Some("system")).map(text_of);
    let all: Vec<String> = request.system.iter().cloned().chain(within).collect();
    let text = Value::from(all.join("\n\n"));
    match (all.is_empty(), request.cache) {
        (true, _) => None,
        (false, false) => Some(text),
        (false, true) => {
            let control = Value::dict([("type", Value::from("ephemeral"))]);
            Some(Value::list(vec![block("text", [("text", text), ("cache_control", control)])]))
        }
    }
}

fn wire_tool(tool: &OfferedTool) -> Value {
    Value::dict([
        ("name", Value::from(wire_name(&tool.name))),
        ("description", Value::from(tool.description.as_str())),
        ("input_schema", tool.schema.clone()),
    ])
}

fn wire_choice(request: &ChatRequest) -> Option<Value> {
    let choice = match request.tool_choice.as_ref() {
        Some(Value::String(word)) if word.as_str() == "required" => block("any", []),
        Some(Value::String(word)) => block(word, []),
        Some(named) => block("tool", [("name", Value::from(wire_name(text_field(named, "name")?)))]),
        None if request.parallel_tool_calls == Some(false) => block("auto", []),
        None => return None,
    };
    let Value::Dict(mut dict) = choice else { return None };
    if request.parallel_tool_calls == Some(false) {
        put(&mut dict, "disable_parallel_tool_use", Value::Bool(true));
    }
    Some(Value::Dict(dict))
}

/// The messages with roles that alternate.
fn wire_messages(messages: &[Value]) -> Vec<Value> {
    let mut merged: Vec<(&str, Vec<Value>)> = Vec::new();
    for message in messages {
        let role = match text_field(message, "role") {
            Some("system") => continue,
            Some("assistant") => "assistant",
            _ => "user",
        };
        let blocks = wire_blocks(message);
        match merged.last_mut() {
            Some((last, before)) if *last == role => before.extend(blocks),
            _ => merged.push((role, blocks)),
        }
    }
    let message = |(role, blocks)| Value::dict([("role", Value::from(role)), ("content", Value::list(blocks))]);
    merged.into_iter().map(message).collect()
}

fn wire_blocks(message: &Value) -> Vec<Value> {
    if text_field(message, "role") == Some("tool") {
        let mut fields = vec![
            ("tool_use_id", field(message, "tool_call_id").cloned().unwrap_or_default()),
            ("content", Value::from(text_of(message))),
        ];
        fields.extend(field(message, "is_error").map(|it| ("is_error", it.clone())));
        return vec![block("tool_result", fields)];
    }
    let mut blocks = match field(message, "content") {
        Some(Value::List(given)) => given.iter().map(wire_block).collect(),
        _ => vec![block("text", [("text", Value::from(text_of(message)))])],
    };
    // A text block may not be empty.
    blocks.retain(|it| text_field(it, "type") != Some("text") || text_field(it, "text") != Some(""));
    for call in items(field(message, "tool_calls")) {
        let name = wire_name(text_field(call, "name").unwrap_or_default());
        let input = match field(call, "arguments") {
            Some(arguments @ Value::Dict(_)) => arguments.clone(),
            _ => Value::dict::<&str>([]),
        };
        let id = field(call, "id").cloned().unwrap_or_default();
        blocks.push(block("tool_use", [("id", id), ("name", Value::from(name)), ("input", input)]));
    }
    blocks
}

fn wire_block(content: &Value) -> Value {
    if text_field(content, "type") != Some("image") {
        return block("text", [("text", Value::from(text_field(content, "text").unwrap_or_default()))]);
    }
    let source = match text_field(content, "url") {
        Some(url) => block("url", [("url", Value::from(url))]),
        None => {
            let kind = text_field(content, "media_type").unwrap_or("image/png");
            let data = text_field(content, "base64").unwrap_or_default();
            block("base64", [("media_type", Value::from(kind)), ("data", Value::from(data))])
        }
    };
    block("image", [("source", source)])
}
