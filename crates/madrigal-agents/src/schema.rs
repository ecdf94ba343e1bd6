//! JSON Schema for answers and arguments: the spelling of the library made into it, and values checked against it. The
//! subset: types, `enum`, `const`, properties, items, bounds, `pattern`, `anyOf`, `oneOf`, `allOf`, `not` and `$ref`
//! within the document.

use crate::messages::{field, items, some};
use madrigal_stdlib::json;
use madrigal_vm::{Dict, Str, Value};

/// Deepest nesting of schemas that is followed.
const DEPTH_MAX: usize = 128;

/// Keys of the library's spelling and their JSON Schema names.
const KEYS: [(&str, &str); 10] = [
    ("additional_properties", "additionalProperties"),
    ("min", "minimum"),
    ("max", "maximum"),
    ("min_length", "minLength"),
    ("max_length", "maxLength"),
    ("min_items", "minItems"),
    ("max_items", "maxItems"),
    ("union", "anyOf"),
    ("all_of", "allOf"),
    ("definitions", "$defs"),
];

/// A schema in either spelling as JSON Schema; the error says what is wrong with it.
pub fn to_json_schema(schema: &Value) -> Result<Value, String> {
    match schema {
        Value::Dict(dict) => convert(dict, 0).map(Value::Dict),
        other => Err(format!("schema must be a dict or a type, got {}", other.type_name())),
    }
}

fn convert(schema: &Dict, depth: usize) -> Result<Dict, String> {
    if depth > DEPTH_MAX {
        return Err("schema is nested too deeply".to_owned());
    }
    let inner = |it: &Value| match it {
        Value::Dict(dict) => convert(dict, depth + 1).map(Value::Dict),
        other => Ok(other.clone()),
    };
    let mut out = Dict::new();
    for (key, value) in schema.iter() {
        let key = KEYS.iter().find(|it| it.0 == key.as_str()).map_or(key.as_str(), |it| it.1);
        let value = match (key, value) {
            ("nullable" | "x-harn-type", _) => continue,
            ("type", Value::String(name)) => match name.as_str() {
                "any" | "closure" | "builtin" => continue,
                "set" => {
                    out.insert(Str::from("uniqueItems"), Value::Bool(true));
                    Value::from("array")
                }
                name => Value::from(type_name(name)),
            },
            ("type", Value::List(names)) => {
                Value::list(names.iter().map(|it| Value::from(type_name(&it.display()))).collect())
            }
            ("$ref", Value::String(target)) if !target.starts_with('#') => {
                return Err(format!("schema: the reference '{target}' leads out of the document"));
            }
            ("$ref", Value::String(target)) => Value::from(target.replace("#/definitions/", "#/$defs/")),
            ("properties" | "$defs" | "patternProperties", Value::Dict(entries)) => {
                let entries = entries.iter().map(|(name, it)| Ok((name.clone(), inner(it)?)));
                Value::Dict(entries.collect::<Result<Dict, String>>()?)
            }
            ("items" | "additionalProperties" | "not" | "contains", it) => inner(it)?,
            ("anyOf" | "oneOf" | "allOf" | "prefixItems", Value::List(list)) => {
                Value::list(list.iter().map(inner).collect::<Result<_, _>>()?)
            }
            ("required", Value::Bool(_)) => continue,
            (_, other) => other.clone(),
        };
        out.insert(Str::from(key), value);
    }
    if some(schema, "nullable").is_some_and(Value::is_truthy) {
        match out.get("type").cloned() {
            Some(Value::String(name)) => {
                out.insert(Str::from("type"), Value::list(vec![Value::String(name), Value::from("null")]));
            }
            _ => {
                let null = Value::dict([("type", Value::from("null"))]);
                let branches = Value::list(vec![Value::Dict(out), null]);
                return Ok([(Str::from("anyOf"), branches)].into_iter().collect());
            }
        }
    }
    Ok(out)
}

/// The JSON Schema name of a type.
pub fn type_name(name: &str) -> &str {
    match name {
        "int" => "integer",
        "float" => "number",
        "bool" => "boolean",
        "list" => "array",
        "dict" => "object",
        "nil" => "null",
        other => other,
    }
}

/// What is wrong with a value, each as `pointer: message`.
pub fn validate(value: &Value, schema: &Value) -> Vec<String> {
    let mut checker = Checker { root: schema, errors: Vec::new() };
    checker.check(value, schema, &mut String::new(), 0);
    checker.errors
}

struct Checker<'a> {
    root: &'a Value,
    errors: Vec<String>,
}

fn shown(value: &Value) -> String {
    json::stringify(value)
}

fn is_of(value: &Value, name: &str) -> bool {
    match name {
        "string" => matches!(value, Value::String(_)),
        "integer" => matches!(value, Value::Int(_)) || matches!(value, Value::Float(it) if it.fract() == 0.0),
        "number" => matches!(value, Value::Int(_) | Value::Float(_)),
        "boolean" => matches!(value, Value::Bool(_)),
        "array" => matches!(value, Value::List(_)),
        "object" => matches!(value, Value::Dict(_)),
        "null" => value.is_nil(),
        _ => true,
    }
}

/// Equality of JSON, for which 1 and 1.0 are the same.
fn same(a: &Value, b: &Value) -> bool {
    match (a.as_number(), b.as_number()) {
        (Some(a), Some(b)) => a == b,
        _ => a == b,
    }
}

impl Checker<'_> {
    fn fail(&mut self, at: &str, message: String) {
        let at = if at.is_empty() { "(root)" } else { at };
        self.errors.push(format!("{at}: {message}"));
    }

    fn fits(&self, value: &Value, schema: &Value, depth: usize) -> bool {
        let mut inner = Checker { root: self.root, errors: Vec::new() };
        inner.check(value, schema, &mut String::new(), depth + 1);
        inner.errors.is_empty()
    }

    fn check(&mut self, value: &Value, schema: &Value, at: &mut String, depth: usize) {
        let schema = match schema {
            Value::Bool(false) => return self.fail(at, format!("{} is not allowed", shown(value))),
            Value::Dict(it) => it,
            _ => return,
        };
        if depth > DEPTH_MAX {
            return self.fail(at, "is nested too deeply".to_owned());
        }
        if let Some(target) = some(schema, "$ref").and_then(Value::as_str) {
            match self.resolve(target) {
                Some(target) => self.check(value, &target, at, depth + 1),
                None => self.fail(at, format!("unresolved schema reference '{target}'")),
            }
        }
        self.check_type(value, schema, at);
        if let Some(wanted) = schema.get("const")
            && !same(value, wanted)
        {
            self.fail(at, format!("{} was expected", shown(wanted)));
        }
        if let Some(Value::List(allowed)) = some(schema, "enum")
            && !allowed.iter().any(|it| same(it, value))
        {
            let allowed: Vec<_> = allowed.iter().map(shown).collect();
            self.fail(at, format!("{} is not one of {}", shown(value), allowed.join(", ")));
        }
        self.check_branches(value, schema, at, depth);
        match value {
            Value::Dict(entries) => self.check_object(entries, schema, at, depth),
            Value::List(list) => self.check_array(list, schema, at, depth),
            Value::String(text) => self.check_string(text, schema, at),
            Value::Int(_) | Value::Float(_) => self.check_number(value, schema, at),
            _ => {}
        }
    }

    fn resolve(&self, target: &str) -> Option<Value> {
        let mut found = self.root;
        for step in target.trim_start_matches('#').split('/').filter(|it| !it.is_empty()) {
            let step = step.replace("~1", "/").replace("~0", "~");
            found = match found {
                Value::List(list) => list.get(step.parse::<usize>().ok()?)?,
                other => field(other, &step)?,
            };
        }
        Some(found.clone())
    }

    fn check_type(&mut self, value: &Value, schema: &Dict, at: &str) {
        match some(schema, "type") {
            Some(Value::String(name)) if !is_of(value, name) => {
                self.fail(at, format!("{} is not of type \"{name}\"", shown(value)));
            }
            Some(Value::List(names)) if !names.iter().any(|it| is_of(value, &it.display())) => {
                let names: Vec<_> = names.iter().map(shown).collect();
                self.fail(at, format!("{} is not of types {}", shown(value), names.join(", ")));
            }
            _ => {}
        }
    }

    fn check_branches(&mut self, value: &Value, schema: &Dict, at: &mut String, depth: usize) {
        for branch in items(some(schema, "allOf")) {
            self.check(value, branch, at, depth + 1);
        }
        let count = |key: &str| {
            let branches = items(some(schema, key));
            let fitting = branches.iter().filter(|it| self.fits(value, it, depth)).count();
            (!branches.is_empty()).then_some(fitting)
        };
        let (any, one) = (count("anyOf"), count("oneOf"));
        let not = some(schema, "not").is_some_and(|it| self.fits(value, it, depth));
        if any == Some(0) || one == Some(0) {
            self.fail(at, format!("{} is not valid under any of the given schemas", shown(value)));
        }
        if one.is_some_and(|it| it > 1) {
            self.fail(at, format!("{} is valid under more than one of the given schemas", shown(value)));
        }
        if not {
            self.fail(at, format!("{} is not allowed", shown(value)));
        }
    }

    fn check_object(&mut self, entries: &Dict, schema: &Dict, at: &mut String, depth: usize) {
        for name in items(some(schema, "required")) {
            if !entries.has(&name.display()) {
                self.fail(at, format!("{} is a required property", shown(name)));
            }
        }
        let properties = some(schema, "properties");
        let others = some(schema, "additionalProperties");
        for (name, value) in entries.iter() {
            let len = at.len();
            at.push('/');
            at.push_str(&name.replace('~', "~0").replace('/', "~1"));
            match (properties.and_then(|it| field(it, name)), others) {
                (Some(property), _) => self.check(value, property, at, depth + 1),
                (None, Some(Value::Bool(false))) => {
                    let parent = at[..len].to_owned();
                    self.fail(&parent, format!("additional properties are not allowed ('{name}' was unexpected)"));
                }
                (None, Some(other)) => self.check(value, other, at, depth + 1),
                (None, None) => {}
            }
            at.truncate(len);
        }
        self.check_bounds(entries.len() as f64, schema, ["minProperties", "maxProperties"], "properties", at);
    }

    fn check_array(&mut self, list: &[Value], schema: &Dict, at: &mut String, depth: usize) {
        let prefix = items(some(schema, "prefixItems"));
        for (index, value) in list.iter().enumerate() {
            let Some(item) = prefix.get(index).or_else(|| some(schema, "items")) else { continue };
            let len = at.len();
            at.push_str(&format!("/{index}"));
            self.check(value, item, at, depth + 1);
            at.truncate(len);
        }
        self.check_bounds(list.len() as f64, schema, ["minItems", "maxItems"], "items", at);
        if some(schema, "uniqueItems").is_some_and(Value::is_truthy) {
            let mut seen = std::collections::HashSet::new();
            if !list.iter().all(|it| seen.insert(shown(it))) {
                self.fail(at, "has items that are not unique".to_owned());
            }
        }
    }

    fn check_string(&mut self, text: &Str, schema: &Dict, at: &str) {
        self.check_bounds(text.count() as f64, schema, ["minLength", "maxLength"], "characters", at);
        if let Some(pattern) = some(schema, "pattern").and_then(Value::as_str) {
            match regex::Regex::new(pattern) {
                Ok(regex) if !regex.is_match(text) => {
                    self.fail(at, format!("{} does not match \"{pattern}\"", shown(&Value::from(text.clone()))));
                }
                Ok(_) => {}
                Err(_) => self.fail(at, format!("invalid regex pattern '{pattern}'")),
            }
        }
    }

    fn check_number(&mut self, value: &Value, schema: &Dict, at: &str) {
        let number = value.as_number().unwrap_or(0.0);
        let bound = |key: &str| some(schema, key).and_then(Value::as_number);
        let checks = [
            (bound("minimum").filter(|it| number < *it), "is less than the minimum of"),
            (bound("maximum").filter(|it| number > *it), "is greater than the maximum of"),
            (bound("exclusiveMinimum").filter(|it| number <= *it), "is not greater than"),
            (bound("exclusiveMaximum").filter(|it| number >= *it), "is not less than"),
        ];
        for (broken, words) in checks {
            if let Some(bound) = broken {
                self.fail(at, format!("{} {words} {bound}", shown(value)));
            }
        }
    }

    fn check_bounds(&mut self, count: f64, schema: &Dict, keys: [&str; 2], what: &str, at: &str) {
        let bound = |key: &str| some(schema, key).and_then(Value::as_number);
        if let Some(least) = bound(keys[0]).filter(|it| count < *it) {
            self.fail(at, format!("has {count} {what}, needs at least {least}"));
        }
        if let Some(most) = bound(keys[1]).filter(|it| count > *it) {
            self.fail(at, format!("has {count} {what}, may have at most {most}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Value {
        json::parse(text).expect("it is JSON")
    }

    #[track_caller]
    fn check(value: &str, schema: &str, expected: &[&str]) {
        let schema = to_json_schema(&parsed(schema)).expect("it is a schema");
        assert_eq!(validate(&parsed(value), &schema), expected, "{value}");
    }

    #[test]
    fn errors_point_at_the_place() {
        let schema = r#"{"type":"dict","properties":{"a":{"type":"list","items":{"type":"int","min":2}}},
            "required":["a","b"],"additional_properties":false}"#;
        check(r#"{"a":[3],"b":1}"#, schema, &["(root): additional properties are not allowed ('b' was unexpected)"]);
        check(
            r#"{"a":[1,"x"]}"#,
            schema,
            &[
                r#"(root): "b" is a required property"#,
                "/a/0: 1 is less than the minimum of 2",
                r#"/a/1: "x" is not of type "integer""#,
            ],
        );
    }

    #[test]
    fn both_spellings_mean_the_same() {
        let schema = to_json_schema(&parsed(r#"{"type":"string","nullable":true,"max_length":3}"#));
        assert_eq!(schema.expect("it is one").to_string(), "{maxLength: 3, type: [string, null]}");
        check("null", r#"{"type":"string","nullable":true}"#, &[]);
        check(
            "1",
            r#"{"union":[{"type":"string"},{"type":"nil"}]}"#,
            &["(root): 1 is not valid under any of the given schemas"],
        );
    }

    #[test]
    fn references_stay_within_the_document() {
        check(
            r#"{"next":{"next":1}}"#,
            r##"{"$defs":{"n":{"type":"object","properties":{"next":{"$ref":"#/$defs/n"}}}},"$ref":"#/$defs/n"}"##,
            &[r#"/next/next: 1 is not of type "object""#],
        );
        assert!(to_json_schema(&parsed(r#"{"$ref":"https://example.org/x"}"#)).is_err());
    }

    #[test]
    fn a_schema_that_refers_to_itself_ends() {
        let schema = parsed(r##"{"$ref":"#"}"##);
        assert_eq!(validate(&Value::Nil, &schema).len(), 1);
    }
}
