//! The protocol of OpenAI's chat completions, which many servers speak, and its older text completions.

use super::assembly::Assembly;
use super::lines::Framing;
use super::{Wire, errors};
use crate::config::Fields;
use crate::failure::LlmError;
use crate::messages::{field, items, message, text_field};
use crate::tools::wire_name;
use crate::transport::{ChatDelta, ChatRequest, OfferedTool};
use madrigal_stdlib::json;
use madrigal_vm::{Dict, Str, Value};

/// Chat completions.
pub struct OpenAi {
    /// OpenAI itself, not a server that speaks its protocol.
    pub own: bool,
}

/// Text completions.
pub struct Completions;

fn put(body: &mut Dict, key: &str, value: Value) {
    body.insert(Str::from(key), value);
}

fn common(request: &ChatRequest) -> Dict {
    let mut body = Dict::new();
    put(&mut body, "model", Value::from(request.model.as_str()));
    for (key, value) in request.settings.iter().filter(|it| it.0.as_str() != "top_k") {
        body.insert(key.clone(), value.clone());
    }
    if request.stream {
        put(&mut body, "stream", Value::Bool(true));
        put(&mut body, "stream_options", Value::dict([("include_usage", Value::Bool(true))]));
    }
    body
}

impl Wire for OpenAi {
    fn framing(&self) -> Framing {
        Framing::ServerSent
    }

    fn path<'a>(&self, fields: &'a Fields) -> &'a str {
        fields.text("chat_endpoint").unwrap_or("/chat/completions")
    }

    fn ignores(&self) -> &'static [&'static str] {
        &["top_k"]
    }

    fn body(&self, request: &ChatRequest) -> Result<Dict, LlmError> {
        let mut body = common(request);
        let system = request.system.as_ref().map(|it| message("system", it.as_str()));
        let messages = system.into_iter().chain(request.messages.iter().map(wire_message));
        put(&mut body, "messages", Value::list(messages.collect()));
        let reasons = self.own && ["o1", "o3", "o4", "gpt-5"].iter().any(|it| request.model.starts_with(it));
        let limit = if reasons { "max_completion_tokens" } else { "max_tokens" };
        put(&mut body, limit, Value::Int(request.max_tokens));
        if !request.tools.is_empty() {
            put(&mut body, "tools", Value::list(request.tools.iter().map(wire_tool).collect()));
            if let Some(parallel) = request.parallel_tool_calls {
                put(&mut body, "parallel_tool_calls", Value::Bool(parallel));
            }
            if let Some(choice) = &request.tool_choice {
                put(&mut body, "tool_choice", wire_choice(choice));
            }
        }
        if let Some(schema) = &request.schema {
            let schema = Value::dict([("name", Value::from("answer")), ("schema", schema.clone())]);
            let format = Value::dict([("type", Value::from("json_schema")), ("json_schema", schema)]);
            put(&mut body, "response_format", format);
        } else if request.json {
            put(&mut body, "response_format", Value::dict([("type", Value::from("json_object"))]));
        }
        if let Some(thinking) = &request.thinking
            && thinking.mode != "disabled"
        {
            let level = thinking.level.as_deref().unwrap_or("medium");
            put(&mut body, "reasoning_effort", Value::from(level));
        }
        Ok(body)
    }

    fn event(&self, data: &str, into: &mut Assembly) -> Result<Vec<ChatDelta>, LlmError> {
        let event = json::parse(data).map_err(|error| errors::malformed(&error))?;
        if let Some(error) = field(&event, "error") {
            return Err(errors::of_object(error));
        }
        usage(&event, into);
        let mut pieces = Vec::new();
        let Some(choice) = items(field(&event, "choices")).first() else { return Ok(pieces) };
        if let Some(delta) = field(choice, "delta") {
            take_message(delta, into, &mut pieces)?;
        }
        finish_reason(choice, into);
        Ok(pieces)
    }

    fn whole(&self, body: &Value, into: &mut Assembly) -> Result<(), LlmError> {
        usage(body, into);
        let choice = items(field(body, "choices")).first().ok_or_else(|| errors::malformed("no choices"))?;
        let message = field(choice, "message").ok_or_else(|| errors::malformed("no message"))?;
        take_message(message, into, &mut Vec::new())?;
        finish_reason(choice, into);
        Ok(())
    }
}

fn take_message(message: &Value, into: &mut Assembly, pieces: &mut Vec<ChatDelta>) -> Result<(), LlmError> {
    let reasoning = text_field(message, "reasoning_content").or_else(|| text_field(message, "reasoning"));
    pieces.extend(reasoning.and_then(|it| into.thinking(it)));
    pieces.extend(text_field(message, "content").and_then(|it| into.text(it)));
    pieces.extend(text_field(message, "refusal").and_then(|it| into.text(it)));
    for (at, call) in items(field(message, "tool_calls")).iter().enumerate() {
        let index = field(call, "index").and_then(Value::as_int).map_or(Some(at), |it| usize::try_from(it).ok());
        let index = index.ok_or_else(|| errors::malformed("a negative tool call index"))?;
        let function = field(call, "function").cloned().unwrap_or_default();
        let arguments = text_field(&function, "arguments").unwrap_or_default();
        pieces.push(into.call(index, text_field(call, "id"), text_field(&function, "name"), arguments)?);
    }
    Ok(())
}

fn finish_reason(choice: &Value, into: &mut Assembly) {
    if let Some(reason) = text_field(choice, "finish_reason") {
        reason.clone_into(&mut into.reply.stop_reason_raw);
        into.finished = true;
    }
}

fn usage(event: &Value, into: &mut Assembly) {
    if let Some(model) = text_field(event, "model").filter(|it| !it.is_empty()) {
        into.reply.model.get_or_insert_with(|| model.to_owned());
    }
    let Some(usage) = field(event, "usage") else { return };
    let count = |of: &Value, key: &str| field(of, key).and_then(Value::as_int).and_then(|it| u64::try_from(it).ok());
    let tokens = &mut into.reply.tokens;
    tokens.input = count(usage, "prompt_tokens").or(tokens.input);
    tokens.output = count(usage, "completion_tokens").or(tokens.output);
    let cached = field(usage, "prompt_tokens_details").and_then(|it| count(it, "cached_tokens"));
    tokens.cache_read = cached.unwrap_or(tokens.cache_read);
}

fn wire_tool(tool: &OfferedTool) -> Value {
    let function = Value::dict([
        ("name", Value::from(wire_name(&tool.name))),
        ("description", Value::from(tool.description.as_str())),
        ("parameters", tool.schema.clone()),
    ]);
    Value::dict([("type", Value::from("function")), ("function", function)])
}

fn wire_choice(choice: &Value) -> Value {
    match text_field(choice, "name") {
        Some(name) => Value::dict([
            ("type", Value::from("function")),
            ("function", Value::dict([("name", Value::from(wire_name(name)))])),
        ]),
        None => choice.clone(),
    }
}

/// A message as the protocol has it.
fn wire_message(message: &Value) -> Value {
    let role = text_field(message, "role").unwrap_or("user");
    let mut fields = vec![("role", Value::from(role)), ("content", wire_content(field(message, "content")))];
    match role {
        "tool" => {
            fields.extend(field(message, "tool_call_id").map(|it| ("tool_call_id", it.clone())));
        }
        "assistant" => {
            let calls: Vec<_> = items(field(message, "tool_calls")).iter().map(wire_call).collect();
            if !calls.is_empty() {
                fields.push(("tool_calls", Value::list(calls)));
            }
        }
        _ => {}
    }
    Value::dict(fields)
}

fn wire_call(call: &Value) -> Value {
    let arguments = match field(call, "arguments") {
        Some(Value::String(text)) => text.to_string(),
        Some(other) => json::stringify(other),
        None => "{}".to_owned(),
    };
    let name = wire_name(text_field(call, "name").unwrap_or_default());
    Value::dict([
        ("id", field(call, "id").cloned().unwrap_or_default()),
        ("type", Value::from("function")),
        ("function", Value::dict([("name", Value::from(name)), ("arguments", Value::from(arguments))])),
    ])
}

fn wire_content(content: Option<&Value>) -> Value {
    let Some(Value::List(blocks)) = content else { return content.cloned().unwrap_or_else(|| Value::from("")) };
    let part = |block: &Value| match text_field(block, "type") {
        Some("image") => {
            let mut image = vec![("url", Value::from(image_url(block)))];
            image.extend(field(block, "detail").map(|it| ("detail", it.clone())));
            Value::dict([("type", Value::from("image_url")), ("image_url", Value::dict(image))])
        }
        _ => {
            let text = text_field(block, "text").unwrap_or_default();
            Value::dict([("type", Value::from("text")), ("text", Value::from(text))])
        }
    };
    Value::list(blocks.iter().map(part).collect())
}

fn image_url(block: &Value) -> String {
    match (text_field(block, "url"), text_field(block, "base64")) {
        (Some(url), _) => url.to_owned(),
        (None, data) => {
            let kind = text_field(block, "media_type").unwrap_or("image/png");
            format!("data:{kind};base64,{}", data.unwrap_or_default())
        }
    }
}

impl Wire for Completions {
    fn framing(&self) -> Framing {
        Framing::ServerSent
    }

    fn path<'a>(&self, fields: &'a Fields) -> &'a str {
        fields.text("completion_endpoint").unwrap_or("/completions")
    }

    fn ignores(&self) -> &'static [&'static str] {
        &["top_k"]
    }

    fn body(&self, request: &ChatRequest) -> Result<Dict, LlmError> {
        let mut body = common(request);
        let (prefix, suffix) = request.infill.clone().unwrap_or_default();
        put(&mut body, "prompt", Value::from(prefix));
        if let Some(suffix) = suffix {
            put(&mut body, "suffix", Value::from(suffix));
        }
        put(&mut body, "max_tokens", Value::Int(request.max_tokens));
        Ok(body)
    }

    fn event(&self, data: &str, into: &mut Assembly) -> Result<Vec<ChatDelta>, LlmError> {
        let event = json::parse(data).map_err(|error| errors::malformed(&error))?;
        if let Some(error) = field(&event, "error") {
            return Err(errors::of_object(error));
        }
        usage(&event, into);
        let Some(choice) = items(field(&event, "choices")).first() else { return Ok(Vec::new()) };
        let piece = text_field(choice, "text").and_then(|it| into.text(it));
        finish_reason(choice, into);
        Ok(piece.into_iter().collect())
    }

    fn whole(&self, body: &Value, into: &mut Assembly) -> Result<(), LlmError> {
        usage(body, into);
        let choice = items(field(body, "choices")).first().ok_or_else(|| errors::malformed("no choices"))?;
        into.text(text_field(choice, "text").unwrap_or_default());
        finish_reason(choice, into);
        Ok(())
    }
}
