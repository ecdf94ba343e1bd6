//! Messages of a conversation: dicts with a role and a content of text or blocks.

use crate::failure::LlmError;
use madrigal_vm::{Dict, Str, Value};

/// A message of this role.
pub fn message(role: &str, content: impl Into<Value>) -> Value {
    Value::dict([("role", Value::from(role)), ("content", content.into())])
}

/// The entry under `key`, unless it is nil.
pub fn some<'a>(dict: &'a Dict, key: &str) -> Option<&'a Value> {
    dict.get(key).filter(|it| !it.is_nil())
}

/// The field of a dict value, unless it is nil.
pub fn field<'a>(value: &'a Value, key: &str) -> Option<&'a Value> {
    match value {
        Value::Dict(it) => some(it, key),
        _ => None,
    }
}

/// The text of a field.
pub fn text_field<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    field(value, key).and_then(Value::as_str)
}

/// The items of a list; none for other values.
pub fn items(value: Option<&Value>) -> &[Value] {
    match value {
        Some(Value::List(it)) => it,
        _ => &[],
    }
}

/// The messages of a list, in the form requests have.
pub fn normalised(messages: &[Value]) -> Result<Vec<Value>, LlmError> {
    messages.iter().enumerate().map(|(at, it)| normal(at, it)).collect()
}

fn normal(at: usize, message: &Value) -> Result<Value, LlmError> {
    let Value::Dict(dict) = message else {
        return Err(LlmError::invalid(format!("messages[{at}] must be a dict, got {}", message.type_name())));
    };
    let role = some(dict, "role").map(ToString::to_string).unwrap_or_default();
    let role = match role.as_str() {
        "tool_result" => "tool",
        "system" | "user" | "assistant" | "tool" => role.as_str(),
        "" => return Err(LlmError::invalid(format!("messages[{at}] has no role"))),
        other => return Err(LlmError::invalid(format!("messages[{at}] has the unknown role '{other}'"))),
    };
    let mut dict = dict.clone();
    dict.insert(Str::from("role"), Value::from(role));
    match dict.get("content") {
        None | Some(Value::Nil) => {
            dict.insert(Str::from("content"), Value::from(""));
        }
        Some(Value::String(_)) => {}
        Some(Value::List(blocks)) => check_blocks(at, blocks)?,
        Some(other) => {
            let text = other.display();
            dict.insert(Str::from("content"), Value::String(text));
        }
    }
    Ok(Value::Dict(dict))
}

fn check_blocks(at: usize, blocks: &[Value]) -> Result<(), LlmError> {
    for block in blocks {
        let kind = text_field(block, "type").unwrap_or_default();
        if kind == "image" && text_field(block, "url").is_some() == text_field(block, "base64").is_some() {
            return Err(LlmError::invalid(format!("messages[{at}]: an image needs exactly one of url and base64")));
        }
    }
    Ok(())
}

/// The text of a message: its content, or its text blocks joined.
pub fn text_of(message: &Value) -> String {
    match field(message, "content") {
        Some(Value::String(text)) => text.to_string(),
        Some(Value::List(blocks)) => {
            blocks.iter().filter_map(|it| text_field(it, "text")).collect::<Vec<_>>().join("\n")
        }
        _ => String::new(),
    }
}

/// The text of all messages.
pub fn joined_text(messages: &[Value]) -> String {
    messages.iter().map(text_of).collect::<Vec<_>>().join("\n")
}

/// Whether an image is among the contents.
pub fn has_image(messages: &[Value]) -> bool {
    let is_image = |it: &Value| text_field(it, "type") == Some("image");
    messages.iter().any(|it| items(field(it, "content")).iter().any(is_image))
}
