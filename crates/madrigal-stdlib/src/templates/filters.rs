//! Filters: `value | name: argument, argument`.

use super::expression::{is_truthy, shown};
use crate::json;
use madrigal_vm::{Str, Value};

/// The filters with the least and the most arguments they take.
const FILTERS: [(&str, usize, usize); 16] = [
    ("upper", 0, 0),
    ("lower", 0, 0),
    ("trim", 0, 0),
    ("capitalize", 0, 0),
    ("title", 0, 0),
    ("length", 0, 0),
    ("first", 0, 0),
    ("last", 0, 0),
    ("reverse", 0, 0),
    ("join", 1, 1),
    ("default", 1, 1),
    ("json", 0, 1),
    ("indent", 1, 2),
    ("lines", 0, 0),
    ("replace", 2, 2),
    ("escape_md", 0, 0),
];

pub(super) fn apply(name: &str, input: Value, arguments: &[Value]) -> Result<Value, String> {
    let Some((_, least, most)) = FILTERS.iter().find(|it| it.0 == name) else {
        return Err(format!("unknown filter `{name}`"));
    };
    if !(*least..=*most).contains(&arguments.len()) {
        return Err(format!("filter `{name}` got wrong number of arguments"));
    }
    Ok(match name {
        "upper" => Value::from(shown(&input).to_uppercase()),
        "lower" => Value::from(shown(&input).to_lowercase()),
        "trim" => Value::from(shown(&input).trim()),
        "capitalize" => Value::from(capitalized(&shown(&input))),
        "title" => Value::from(titled(&shown(&input))),
        "length" => length(&input)?,
        "first" => end(&input, true),
        "last" => end(&input, false),
        "reverse" => reversed(input),
        "join" => joined(input, &shown(&arguments[0]))?,
        "default" => {
            if is_truthy(&input) {
                input
            } else {
                arguments[0].clone()
            }
        }
        "json" if arguments.first().is_some_and(is_truthy) => Value::from(json::stringify_pretty(&input)),
        "json" => Value::from(json::stringify(&input)),
        "indent" => Value::from(indented(&shown(&input), arguments)?),
        "lines" => Value::list(shown(&input).split('\n').map(Value::from).collect()),
        "replace" => Value::from(shown(&input).replace(shown(&arguments[0]).as_str(), &shown(&arguments[1]))),
        _ => Value::from(escaped(&shown(&input))),
    })
}

fn capitalized(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters.next().map(char::to_uppercase).into_iter().flatten();
    first.chain(characters.as_str().to_lowercase().chars()).collect()
}

fn titled(text: &str) -> String {
    text.split_inclusive(char::is_whitespace).map(capitalized).collect()
}

fn length(input: &Value) -> Result<Value, String> {
    Ok(Value::from(match input {
        Value::Nil | Value::Unset => 0,
        Value::String(it) => it.count(),
        Value::List(it) => it.len(),
        Value::Dict(it) => it.len(),
        Value::Set(it) => it.len(),
        Value::Range(it) => return Ok(Value::from(i64::try_from(it.len()).unwrap_or(i64::MAX))),
        other => return Err(format!("`length` not defined for {}", other.type_name())),
    }))
}

fn end(input: &Value, first: bool) -> Value {
    let of = |items: &mut dyn DoubleEndedIterator<Item = Value>| if first { items.next() } else { items.next_back() };
    let found = match input {
        Value::List(it) => of(&mut it.iter().cloned()),
        Value::Set(it) => {
            let items: Vec<Value> = it.iter().cloned().collect();
            of(&mut items.into_iter())
        }
        Value::String(it) => of(&mut it.chars().map(|it| Value::String(Str::from(it)))),
        _ => None,
    };
    found.unwrap_or_default()
}

fn reversed(input: Value) -> Value {
    match input {
        Value::List(it) => Value::list(it.iter().rev().cloned().collect()),
        Value::String(it) => Value::from(it.chars().rev().collect::<String>()),
        other => other,
    }
}

fn joined(input: Value, separator: &str) -> Result<Value, String> {
    let items: Vec<Str> = match &input {
        Value::String(_) => return Ok(input),
        Value::List(it) => it.iter().map(shown).collect(),
        Value::Set(it) => it.iter().map(shown).collect(),
        other => return Err(format!("`join` requires a list (got {})", other.type_name())),
    };
    Ok(Value::from(items.join(separator)))
}

fn indented(text: &str, arguments: &[Value]) -> Result<String, String> {
    let width = arguments[0].as_int().and_then(|it| usize::try_from(it).ok()).filter(|it| *it <= 10_000);
    let blanks = " ".repeat(width.ok_or("`indent` requires an integer width")?);
    let first_too = arguments.get(1).is_some_and(is_truthy);
    let mut out = String::with_capacity(text.len());
    for (at, line) in text.split('\n').enumerate() {
        if at > 0 {
            out.push('\n');
        }
        if !line.is_empty() && (at > 0 || first_too) {
            out.push_str(&blanks);
        }
        out.push_str(line);
    }
    Ok(out)
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for it in text.chars() {
        if "\\`|*_{}[]()#+-.!<>".contains(it) {
            out.push('\\');
        }
        out.push(it);
    }
    out
}
