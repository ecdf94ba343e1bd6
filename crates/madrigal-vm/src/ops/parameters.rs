//! Checks of arguments against the annotations of their parameters, on entry of a function. Recursion follows the
//! annotation, so its depth is that of the source text.

use crate::bytecode::{DictCheck, Simple, TypeCheck};
use crate::fault::Fault;
use crate::suggest;
use crate::value::{Str, Value, equal};
use std::fmt::Write;

/// Most failures that one message lists.
const DETAILS_MAX: usize = 100;

/// Whether the value passes.
#[inline]
pub(crate) fn admits(check: &TypeCheck, value: &Value) -> bool {
    match check {
        TypeCheck::Simple(kind) => is_of(*kind, value),
        other => admits_other(other, value),
    }
}

fn admits_other(check: &TypeCheck, value: &Value) -> bool {
    match check {
        TypeCheck::Simple(kind) => is_of(*kind, value),
        TypeCheck::List(item) => matches!(value, Value::List(items) if items.iter().all(|it| admits(item, it))),
        TypeCheck::Dict(check) => {
            is_dict_like(value)
                && check.required.iter().all(|name| entry(value, name).is_some())
                && check.fields.iter().all(|(name, field)| entry(value, name).is_none_or(|it| admits(field, it)))
                && others(check, value).all(|(_, it, other)| admits(other, it))
        }
        TypeCheck::Union(members) => members.iter().any(|it| admits(it, value)),
        TypeCheck::Literals(_, literals) => literals.iter().any(|it| equal(it, value)),
        TypeCheck::Constant(_, literal) => equal(literal, value),
        TypeCheck::Interface(_) => matches!(value, Value::Struct(_)),
    }
}

/// Ints and floats stand for each other, as do closures and builtins.
#[inline]
fn is_of(kind: Simple, value: &Value) -> bool {
    match kind {
        Simple::Int | Simple::Float => matches!(value, Value::Int(_) | Value::Float(_) | Value::Observed(_)),
        Simple::String => matches!(value, Value::String(_)),
        Simple::Bool => matches!(value, Value::Bool(_)),
        Simple::List => matches!(value, Value::List(_)),
        Simple::Set => matches!(value, Value::Set(_)),
        Simple::Nil => value.is_nil(),
        Simple::Closure => value.is_callable(),
        Simple::Bytes => matches!(value, Value::Bytes(_)),
    }
}

fn is_dict_like(value: &Value) -> bool {
    matches!(value, Value::Dict(_) | Value::Struct(_))
}

fn entry<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    match value {
        Value::Dict(entries) => entries.get(name),
        Value::Struct(it) => it.fields().find(|(field, _)| field.as_str() == name).map(|(_, value)| value),
        _ => None,
    }
}

/// Names and values of the entries in alphabetical order.
fn entries(value: &Value) -> Vec<(&Str, &Value)> {
    match value {
        Value::Dict(it) => it.iter().collect(),
        Value::Struct(it) => it.fields().collect(),
        _ => Vec::new(),
    }
}

/// The entries that are no declared fields, when something is asked of them.
fn others<'a>(check: &'a DictCheck, value: &'a Value) -> impl Iterator<Item = (&'a Str, &'a Value, &'a TypeCheck)> {
    let asked = check.others.as_ref().map(|other| (other, entries(value)));
    asked.into_iter().flat_map(|(other, entries)| {
        let undeclared = |(name, _): &(&'a Str, &'a Value)| check.fields.iter().all(|(field, _)| field != *name);
        entries.into_iter().filter(undeclared).map(move |(name, value)| (name, value, other))
    })
}

/// The name that messages give the kind asked for.
fn expected(check: &TypeCheck) -> String {
    match check {
        TypeCheck::Simple(kind) | TypeCheck::Literals(kind, _) | TypeCheck::Constant(kind, _) => kind.name().to_owned(),
        TypeCheck::List(_) => "list".to_owned(),
        TypeCheck::Dict(_) => "dict".to_owned(),
        TypeCheck::Union(members) => members.iter().map(expected).collect::<Vec<_>>().join("|"),
        TypeCheck::Interface(name) => name.to_string(),
    }
}

/// The name that messages give the kind found.
fn actual(value: &Value) -> &'static str {
    match value {
        Value::Struct(_) => "dict",
        other => other.type_name(),
    }
}

/// Whether a value that does not pass is at least of the kind, so that what it contains is wrong.
fn is_of_kind(check: &TypeCheck, value: &Value) -> bool {
    match check {
        TypeCheck::Simple(kind) | TypeCheck::Literals(kind, _) | TypeCheck::Constant(kind, _) => is_of(*kind, value),
        TypeCheck::List(_) => is_of(Simple::List, value),
        TypeCheck::Dict(_) => is_dict_like(value),
        TypeCheck::Union(_) | TypeCheck::Interface(_) => false,
    }
}

/// The fault of an argument that does not pass.
#[cold]
pub(crate) fn failure(name: &str, check: &TypeCheck, value: &Value) -> Fault {
    match check {
        TypeCheck::Dict(fields) => Fault::type_error(wrong_dict(name, fields, value)),
        TypeCheck::Interface(interface) => Fault::type_error(format!(
            "parameter '{name}': expected value satisfying interface '{interface}', got {}",
            actual(value)
        )),
        _ if is_of_kind(check, value) => {
            Fault::runtime(format!("TypeError: {}", wrong_content(name, "root", check, value)))
        }
        _ => Fault::runtime(format!(
            "TypeError: parameter '{name}' expected {}, got {} ({value})",
            expected(check),
            actual(value)
        )),
    }
}

/// What is wrong inside a value of the right kind.
fn wrong_content(name: &str, path: &str, check: &TypeCheck, value: &Value) -> String {
    let mut details = Vec::new();
    collect(path, check, value, &mut details);
    let details = details.join("; ");
    format!("parameter '{name}': {}", details.strip_prefix("at root: ").unwrap_or(&details))
}

/// What is wrong with a dict or struct, or with what is none. `path` names it in the message.
fn wrong_dict(path: &str, check: &DictCheck, value: &Value) -> String {
    if !is_dict_like(value) {
        return format!("parameter '{path}': expected dict or struct, got {}", actual(value));
    }
    if let Some(missing) = check.required.iter().find(|name| entry(value, name).is_none()) {
        return missing_field(path, missing, check, value);
    }
    let declared = check.fields.iter().filter_map(|(name, field)| Some((name, entry(value, name)?, field)));
    let wrong = declared.chain(others(check, value)).find(|(_, it, check)| !admits(check, it));
    wrong.map_or_else(String::new, |(name, it, check)| wrong_field(path, name, check, it))
}

fn missing_field(path: &str, name: &Str, check: &DictCheck, value: &Value) -> String {
    let field = check.fields.iter().find(|(field, _)| field == name);
    let kind = field.map_or_else(String::new, |(_, check)| expected(check));
    let mut text = format!("parameter '{path}': missing field '{name}' ({kind})");
    let present = entries(value).into_iter().map(|(present, _)| present.as_str());
    let alike = present.filter(|it| it.chars().next() == name.chars().next());
    if let Some(near) = suggest::runtime_name(name, alike) {
        let _ = write!(text, ", did you mean '{near}'?");
    }
    text
}

fn wrong_field(path: &str, name: &Str, check: &TypeCheck, value: &Value) -> String {
    match check {
        TypeCheck::Dict(fields) if is_dict_like(value) => wrong_dict(&format!("{path}.{name}"), fields, value),
        TypeCheck::Dict(_) => {
            format!("parameter '{path}': field '{name}' expected dict or struct, got {}", actual(value))
        }
        _ if is_of_kind(check, value) => wrong_content(path, &format!("root.{name}"), check, value),
        _ => format!("parameter '{path}': field '{name}' expected {}, got {}", expected(check), actual(value)),
    }
}

/// Everything that is wrong with a value, in the form of schema failures.
fn collect(path: &str, check: &TypeCheck, value: &Value, details: &mut Vec<String>) {
    if details.len() >= DETAILS_MAX || admits(check, value) {
        return;
    }
    if let TypeCheck::Union(_) = check {
        details.push(format!("at {path}: value did not match any union branch"));
        return;
    }
    if !is_of_kind(check, value) {
        details.push(format!("at {path}: expected type '{}', got '{}'", expected(check), actual(value)));
        return;
    }
    match (check, value) {
        (TypeCheck::List(item), Value::List(items)) => {
            for (position, it) in items.iter().enumerate() {
                if details.len() >= DETAILS_MAX {
                    break;
                }
                collect(&format!("{path}[{position}]"), item, it, details);
            }
        }
        (TypeCheck::Dict(fields), _) => {
            for name in fields.required.iter().filter(|name| entry(value, name).is_none()) {
                details.push(format!("at {path}: missing required key '{name}'"));
            }
            let declared = fields.fields.iter().filter_map(|(name, field)| Some((name, entry(value, name)?, field)));
            for (name, it, check) in declared.chain(others(fields, value)) {
                collect(&format!("{path}.{name}"), check, it, details);
            }
        }
        (TypeCheck::Literals(_, literals), _) => {
            let listed = literals.iter().map(Value::to_string).collect::<Vec<_>>().join(", ");
            details.push(format!("at {path}: value must be one of [{listed}]"));
        }
        (TypeCheck::Constant(_, literal), _) => {
            details.push(format!("at {path}: expected constant {literal}, got {value}"));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn int() -> TypeCheck {
        TypeCheck::Simple(Simple::Int)
    }

    fn told(check: &TypeCheck, value: Value) -> String {
        assert!(!admits(check, &value), "{check:?} admits {value}");
        failure("p", check, &value).caught().to_string()
    }

    #[test]
    fn what_is_wrong_is_told_in_order() {
        let inner =
            DictCheck { required: vec![Str::from("port")], fields: vec![(Str::from("port"), int())], others: None };
        let outer = DictCheck {
            required: vec![Str::from("db")],
            fields: vec![(Str::from("db"), TypeCheck::Dict(Box::new(inner)))],
            others: Some(TypeCheck::Simple(Simple::String)),
        };
        let check = TypeCheck::Dict(Box::new(outer));
        let db = |it: Value| Value::dict([("db", it)]);
        assert_eq!(told(&check, 1i64.into()), "Type error: parameter 'p': expected dict or struct, got int");
        assert_eq!(
            told(&check, Value::dict([("dbs", Value::Nil)])),
            "Type error: parameter 'p': missing field 'db' (dict), did you mean 'dbs'?"
        );
        assert_eq!(
            told(&check, db(1i64.into())),
            "Type error: parameter 'p': field 'db' expected dict or struct, got int"
        );
        assert_eq!(told(&check, db(db(Value::Nil))), "Type error: parameter 'p.db': missing field 'port' (int)");
        let port = Value::dict([("port", Value::from("x"))]);
        assert_eq!(told(&check, db(port)), "Type error: parameter 'p.db': field 'port' expected int, got string");
    }

    #[test]
    fn lists_of_failures_are_bounded() {
        let check = TypeCheck::List(Box::new(int()));
        let strings = Value::list((0..1000).map(|_| Value::from("x")).collect());
        assert_eq!(told(&check, strings).matches("at root").count(), DETAILS_MAX);
        let mixed = Value::list(vec![1i64.into(), "x".into(), Value::Float(0.5), Value::Nil]);
        let expected = "Runtime error: TypeError: parameter 'p': at root[1]: expected type 'int', got 'string'; at root[3]: expected type 'int', got 'nil'";
        assert_eq!(told(&check, mixed), expected);
    }
}
