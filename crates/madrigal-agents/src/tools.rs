//! Tools as values: registries and their entries, how they are offered to models, how calls are read from text.

mod execution;
mod literal;
mod permission;
mod registry;

pub use execution::{Runner, snipped};
pub use permission::{Guard, ceiling_of};
pub use registry::formatted_result;

use crate::extract::spans;
use crate::failure::LlmError;
use crate::messages::{field, items, some, text_field};
use crate::schema::to_json_schema;
use crate::transport::{OfferedTool, ToolCall};
use madrigal_stdlib::json;
use madrigal_vm::{BuiltinTable, Dict, Str, Value};
use std::collections::BTreeMap;

/// Adds the builtins about tools.
pub fn register(table: &mut BuiltinTable) {
    execution::register(table);
    registry::register(table);
}

/// Longest name of a tool.
const NAME_BYTES_MAX: usize = 64;

/// Whether a tool may have this name.
pub fn is_name(name: &str) -> bool {
    let fits = |it: char| it.is_ascii_alphanumeric() || "_:.-".contains(it);
    !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.chars().all(fits)
}

/// A name as protocols allow it.
pub fn wire_name(name: &str) -> String {
    name.replace([':', '.'], "_")
}

/// The entries of a registry, of a list of entries, or of a list of registries.
pub fn entries_of(tools: &Value) -> Result<Vec<Value>, LlmError> {
    let mut entries = Vec::new();
    match tools {
        Value::Dict(_) if text_field(tools, "_type") == Some("tool_registry") => {
            entries.extend_from_slice(items(field(tools, "tools")));
        }
        Value::Dict(_) if field(tools, "name").is_some() => entries.push(tools.clone()),
        Value::List(list) => {
            for it in list.iter() {
                entries.extend(entries_of(it)?);
            }
        }
        other => {
            let got = other.type_name();
            return Err(LlmError::invalid(format!("tools must be a tool registry or a list of tools, got {got}")));
        }
    }
    Ok(entries)
}

/// The entries as they are offered natively. Names that become the same on the wire are an error.
pub fn offered(entries: &[Value]) -> Result<Vec<OfferedTool>, LlmError> {
    let mut names = BTreeMap::new();
    let mut offered = Vec::new();
    for entry in entries {
        let name = text_field(entry, "name").unwrap_or_default().to_owned();
        if let Some(other) = names.insert(wire_name(&name), name.clone()) {
            return Err(LlmError::invalid(format!("the tools '{other}' and '{name}' have the same name on the wire")));
        }
        let description = text_field(entry, "description").unwrap_or_default().to_owned();
        offered.push(OfferedTool { name, description, schema: input_schema(entry) });
    }
    Ok(offered)
}

/// The JSON Schema of a tool's arguments.
pub fn input_schema(entry: &Value) -> Value {
    if let Some(schema) = field(entry, "inputSchema").or_else(|| field(entry, "input_schema")) {
        return schema.clone();
    }
    let Some(Value::Dict(parameters)) = field(entry, "parameters") else {
        return object_schema(Dict::new(), Vec::new());
    };
    if some(parameters, "type").and_then(Value::as_str) == Some("object") && some(parameters, "properties").is_some() {
        let given = Value::Dict(parameters.clone());
        return to_json_schema(&given).unwrap_or(given);
    }
    let mut properties = Dict::new();
    let mut required = Vec::new();
    for (name, schema) in parameters.iter() {
        let Value::Dict(schema) = schema else { continue };
        if is_required(schema) {
            required.push(Value::String(name.clone()));
        }
        let mut property = schema.clone();
        if matches!(property.get("required"), Some(Value::Bool(_))) {
            property.remove("required");
        }
        let property = Value::Dict(property);
        properties.insert(name.clone(), to_json_schema(&property).unwrap_or(property));
    }
    object_schema(properties, required)
}

/// Whether a parameter has to be given.
pub fn is_required(schema: &Dict) -> bool {
    match schema.get("required") {
        Some(Value::Bool(required)) => *required,
        _ => !schema.has("default"),
    }
}

fn object_schema(properties: Dict, required: Vec<Value>) -> Value {
    Value::dict([
        ("type", Value::from("object")),
        ("properties", Value::Dict(properties)),
        ("required", Value::list(required)),
        ("additionalProperties", Value::Bool(false)),
    ])
}

/// What a model is told about tools that are offered as text.
pub fn contract(entries: &[Value]) -> String {
    let mut text = "## Available Tools\n".to_owned();
    for entry in entries {
        let name = text_field(entry, "name").unwrap_or_default();
        let description = text_field(entry, "description").unwrap_or_default();
        text.push_str(&format!("\n### {name}\n"));
        if !description.is_empty() {
            text.push_str(&format!("{description}\n"));
        }
        text.push_str(&format!("Arguments (JSON schema): {}\n", json::stringify(&input_schema(entry))));
    }
    text.push_str(
        "\nTo call a tool, write exactly:\n<tool_call>{\"name\": \"TOOL\", \"arguments\": {\"ARGUMENT\": VALUE}}</tool_call>\n\
         The results come in the next message. When the whole task is finished, write <done>##DONE##</done>.",
    );
    text
}

/// The calls written into a text.
#[derive(Clone, Debug, Default)]
pub struct ParsedCalls {
    /// In order.
    pub calls: Vec<ToolCall>,
    /// What is wrong with the spans that are none.
    pub errors: Vec<String>,
}

/// The calls in the `<tool_call>` spans of a text.
pub fn calls_in(text: &str) -> ParsedCalls {
    let mut parsed = ParsedCalls::default();
    for span in spans(text, "tool_call") {
        match call_in(span.trim()) {
            Ok((name, arguments)) => {
                let id = format!("text_call_{}", parsed.calls.len() + 1);
                parsed.calls.push(ToolCall { id, name, arguments: Value::Dict(arguments) });
            }
            Err(error) => parsed.errors.push(error),
        }
    }
    parsed
}

/// A call as JSON, or as `NAME({key: value})`.
fn call_in(span: &str) -> Result<(String, Dict), String> {
    let malformed = |what: &str| {
        let shown: String = span.chars().take(200).collect();
        format!("malformed tool call ({what}): {shown}")
    };
    if span.starts_with('{') {
        let value = json::parse(span).map_err(|error| malformed(&error))?;
        let name = text_field(&value, "name").filter(|it| !it.is_empty()).ok_or_else(|| malformed("no name"))?;
        return match field(&value, "arguments") {
            None => Ok((name.to_owned(), Dict::new())),
            Some(Value::Dict(arguments)) => Ok((name.to_owned(), arguments.clone())),
            Some(_) => Err(malformed("arguments must be an object")),
        };
    }
    let (name, rest) = span.split_once('(').ok_or_else(|| malformed("neither JSON nor NAME({..})"))?;
    let (name, inside) = (name.trim(), rest.trim_end().strip_suffix(')').ok_or_else(|| malformed("no ')'"))?);
    if !is_name(name) {
        return Err(malformed("no name"));
    }
    let inside = inside.trim();
    if inside.is_empty() {
        return Ok((name.to_owned(), Dict::new()));
    }
    match literal::parse(inside) {
        Ok(Value::Dict(arguments)) => Ok((name.to_owned(), arguments)),
        Ok(_) => Err(malformed("arguments must be a dict")),
        Err(error) => Err(malformed(&error)),
    }
}

/// The dict of a parameter that is given as a word or a schema.
pub fn parameter(schema: &Value) -> Option<Value> {
    match schema {
        Value::String(word) => Some(Value::dict([("type", Value::String(word.clone()))])),
        Value::Dict(_) => Some(schema.clone()),
        _ => None,
    }
}

/// The parameters of a tool from what its definition gives: names with words or schemas, or a whole object schema.
pub fn parameters(given: &Dict) -> Option<Dict> {
    let properties = match (some(given, "type"), some(given, "properties")) {
        (Some(Value::String(kind)), Some(Value::Dict(properties)))
            if kind.as_str() == "object" || kind.as_str() == "dict" =>
        {
            properties
        }
        (Some(Value::String(kind)), None) if kind.as_str() == "object" => return Some(Dict::new()),
        _ => return given.iter().map(|(name, it)| Some((name.clone(), parameter(it)?))).collect(),
    };
    let required = items(some(given, "required"));
    let mut parameters = Dict::new();
    for (name, schema) in properties.iter() {
        let Value::Dict(mut schema) = parameter(schema)? else { continue };
        if !required.iter().any(|it| it.as_str() == Some(name.as_str())) {
            schema.insert(Str::from("required"), Value::Bool(false));
        }
        parameters.insert(name.clone(), Value::Dict(schema));
    }
    Some(parameters)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_read_in_both_forms() {
        let text = "x <tool_call>\n{\"name\": \"a\", \"arguments\": {\"n\": 1}}\n</tool_call> \
                    <tool_call> lookup({ city: \"Bern\", days: 2 }) </tool_call><tool_call>{oops</tool_call>";
        let parsed = calls_in(text);
        let shown: Vec<_> = parsed.calls.iter().map(|it| format!("{} {} {}", it.id, it.name, it.arguments)).collect();
        assert_eq!(shown, ["text_call_1 a {n: 1}", "text_call_2 lookup {city: Bern, days: 2}"]);
        assert_eq!(parsed.errors.len(), 1);
    }

    #[test]
    fn names_have_a_form() {
        assert!(is_name("a:b.c-d_1"));
        assert!(!is_name("") && !is_name("a b") && !is_name(&"x".repeat(65)));
    }
}
