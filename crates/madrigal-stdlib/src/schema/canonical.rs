//! The canonical form of schemas: aliases of keys and types resolved at every depth, unknown keys dropped.

use madrigal_vm::{Dict, Str, Value};

/// How deep schemas may nest.
const DEPTH_MAX: usize = 64;

/// The canonical form, or what is wrong with the schema.
pub(super) fn canonical(schema: &Value) -> Result<Dict, String> {
    node(schema, 0)
}

/// The canonical key of a key, if schemas have it.
fn canonical_key(key: &str) -> Option<&'static str> {
    Some(match key {
        "type" => "type",
        "properties" => "properties",
        "required" => "required",
        "additional_properties" | "additionalProperties" => "additional_properties",
        "items" => "items",
        "min" | "minimum" => "min",
        "max" | "maximum" => "max",
        "min_length" | "minLength" => "min_length",
        "max_length" | "maxLength" => "max_length",
        "min_items" | "minItems" => "min_items",
        "max_items" | "maxItems" => "max_items",
        "pattern" => "pattern",
        "enum" => "enum",
        "const" => "const",
        "default" => "default",
        "nullable" => "nullable",
        "union" | "oneOf" | "anyOf" => "union",
        "all_of" | "allOf" => "all_of",
        "$ref" => "$ref",
        "definitions" => "definitions",
        "components" => "components",
        "title" => "title",
        "description" => "description",
        "format" => "format",
        "deprecated" => "deprecated",
        "readOnly" => "readOnly",
        "writeOnly" => "writeOnly",
        "example" => "example",
        "examples" => "examples",
        "x-harn-type" => "x-harn-type",
        _ => return None,
    })
}

fn canonical_type(name: &str) -> &str {
    match name {
        "object" => "dict",
        "array" => "list",
        "integer" => "int",
        "number" => "float",
        "boolean" => "bool",
        "null" => "nil",
        other => other,
    }
}

fn node(schema: &Value, depth: usize) -> Result<Dict, String> {
    let Value::Dict(entries) = schema else { return Err("schema must be a dict".to_owned()) };
    if depth > DEPTH_MAX {
        return Err(format!("schema nests deeper than {DEPTH_MAX} levels"));
    }
    let mut out = Dict::new();
    for (written, value) in entries.iter() {
        let Some(key) = canonical_key(written) else { continue };
        // The canonical spelling wins over its aliases.
        if written.as_str() != key && entries.has(key) {
            continue;
        }
        if let Some((key, value)) = entry(key, value, depth)? {
            out.insert(Str::from(key), value);
        }
    }
    let of_list = out.get("type").and_then(Value::as_str) == Some("list");
    let unique = of_list && matches!(entries.get("uniqueItems"), Some(Value::Bool(true)));
    if unique || entries.get("x-harn-type").and_then(Value::as_str) == Some("set") {
        out.insert(Str::from("type"), Value::from("set"));
    }
    Ok(out)
}

/// What an entry becomes; `None` when it is dropped.
fn entry(key: &'static str, value: &Value, depth: usize) -> Result<Option<(&'static str, Value)>, String> {
    let value = match (key, value) {
        ("type", Value::List(names)) => {
            let branch = |name: &Value| Value::dict([("type", Value::from(canonical_type(&name.display())))]);
            return Ok(Some(("union", Value::list(names.iter().map(branch).collect()))));
        }
        ("type", name) => Value::from(canonical_type(&name.display())),
        ("properties" | "definitions", Value::Dict(parts)) => Value::Dict(nodes(parts, depth)?),
        ("properties" | "definitions", _) => return Ok(None),
        ("components", Value::Dict(parts)) => match parts.get("schemas") {
            Some(Value::Dict(schemas)) => Value::dict([("schemas", Value::Dict(nodes(schemas, depth)?))]),
            _ => return Ok(None),
        },
        ("components", _) => return Ok(None),
        ("required", Value::List(names)) => Value::list(names.iter().map(|it| Value::from(it.display())).collect()),
        ("required", _) => Value::list(Vec::new()),
        ("additional_properties", Value::Bool(allowed)) => Value::Bool(*allowed),
        ("additional_properties" | "items", part) => Value::Dict(node(part, depth + 1)?),
        ("union" | "all_of", Value::List(branches)) => {
            let branches = branches.iter().map(|it| node(it, depth + 1).map(Value::Dict));
            Value::list(branches.collect::<Result<_, _>>()?)
        }
        ("union" | "all_of", _) => return Err("schema union/all_of must be a list".to_owned()),
        ("nullable", Value::Bool(true)) => Value::Bool(true),
        ("nullable", _) => return Ok(None),
        (_, other) => other.clone(),
    };
    Ok(Some((key, value)))
}

fn nodes(parts: &Dict, depth: usize) -> Result<Dict, String> {
    parts.iter().map(|(name, part)| Ok((name.clone(), Value::Dict(node(part, depth + 1)?)))).collect()
}

/// A canonical schema without `required`, at every depth.
pub(super) fn partial(schema: &Dict) -> Dict {
    let part = |value: &Value| match value {
        Value::Dict(it) => Value::Dict(partial(it)),
        other => other.clone(),
    };
    let mut out = Dict::new();
    for (key, value) in schema.iter().filter(|(key, _)| key.as_str() != "required") {
        let value = match (key.as_str(), value) {
            ("properties", Value::Dict(parts)) => {
                Value::Dict(parts.iter().map(|(name, it)| (name.clone(), part(it))).collect())
            }
            ("union" | "all_of", Value::List(branches)) => Value::list(branches.iter().map(part).collect()),
            ("items" | "additional_properties", it) => part(it),
            (_, other) => other.clone(),
        };
        out.insert(key.clone(), value);
    }
    out
}
