//! Canonical schemas as JSON Schema or as OpenAPI writes them.

use madrigal_vm::{Dict, Str, Value};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    JsonSchema,
    OpenApi,
}

/// The schema in a dialect. Canonical schemas are bounded in depth, so recursion is fine.
pub(super) fn json_schema(schema: &Dict, dialect: Dialect) -> Dict {
    let part = |value: &Value| match value {
        Value::Dict(it) => Value::Dict(json_schema(it, dialect)),
        other => other.clone(),
    };
    let parts = |value: &Value| match value {
        Value::Dict(all) => Value::Dict(all.iter().map(|(name, it)| (name.clone(), part(it))).collect()),
        other => other.clone(),
    };
    let mut out = Dict::new();
    let mut set = |key: &str, value: Value| out.insert(Str::from(key), value);
    for (key, value) in schema.iter() {
        match key.as_str() {
            "type" => exported_type(&value.display()).into_iter().for_each(|(key, value)| set(key, value)),
            "properties" | "definitions" => set(key, parts(value)),
            "components" => set(key, parts_of_components(value, parts)),
            "items" => set("items", part(value)),
            "additional_properties" => set("additionalProperties", part(value)),
            "min" => set("minimum", value.clone()),
            "max" => set("maximum", value.clone()),
            "min_length" => set("minLength", value.clone()),
            "max_length" => set("maxLength", value.clone()),
            "min_items" => set("minItems", value.clone()),
            "max_items" => set("maxItems", value.clone()),
            "union" => set("oneOf", each(value, part)),
            "all_of" => set("allOf", each(value, part)),
            "nullable" if dialect == Dialect::JsonSchema => {}
            _ => set(key, value.clone()),
        }
    }
    if dialect == Dialect::JsonSchema && schema.has("nullable") {
        admit_null(&mut out);
    }
    out
}

fn each(branches: &Value, part: impl Fn(&Value) -> Value) -> Value {
    match branches {
        Value::List(branches) => Value::list(branches.iter().map(part).collect()),
        other => other.clone(),
    }
}

fn parts_of_components(components: &Value, parts: impl Fn(&Value) -> Value) -> Value {
    match components {
        Value::Dict(it) => Value::Dict(it.iter().map(|(key, value)| (key.clone(), parts(value))).collect()),
        other => other.clone(),
    }
}

/// The entries that stand for a type.
fn exported_type(name: &str) -> Vec<(&'static str, Value)> {
    let plain = |name: &str| vec![("type", Value::from(name))];
    match name {
        "int" => plain("integer"),
        "float" => plain("number"),
        "bool" => plain("boolean"),
        "list" => plain("array"),
        "dict" => plain("object"),
        "nil" => plain("null"),
        "string" => plain("string"),
        "set" => vec![("type", Value::from("array")), ("uniqueItems", Value::Bool(true))],
        // Without a type everything fits.
        "any" => Vec::new(),
        other => vec![("type", Value::from("string")), ("x-harn-type", Value::from(other))],
    }
}

fn admit_null(schema: &mut Dict) {
    let null = Value::from("null");
    let found = schema.get("type").cloned();
    if let Some(name @ Value::String(_)) = found {
        schema.insert(Str::from("type"), Value::list(vec![name, null]));
    } else if let Some(Value::List(branches)) = schema.get("oneOf") {
        let mut branches = branches.to_vec();
        branches.push(Value::dict([("type", null)]));
        schema.insert(Str::from("oneOf"), Value::list(branches));
    }
}
