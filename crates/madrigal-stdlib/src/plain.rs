//! Values as they survive being written down: texts, numbers, truth values, nil, lists and dicts. Every other kind
//! becomes nil. Unlike JSON texts for others, floats keep their point, so that they are floats when read again.

use crate::json;
use madrigal_vm::{Dict, List, Str, Value};

/// How deep lists and dicts nest; what lies deeper becomes nil.
const DEPTH_MAX: usize = 500;

/// The part of a value that can be written down.
pub(crate) fn plain(value: &Value) -> Value {
    reduced(value, 0)
}

fn reduced(value: &Value, depth: usize) -> Value {
    if depth > DEPTH_MAX {
        return Value::Nil;
    }
    match value {
        Value::Observed(it) => Value::Int(it.value),
        Value::Float(it) if !it.is_finite() => Value::Nil,
        Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::String(_) => value.clone(),
        Value::List(items) => {
            Value::List(List::from(items.iter().map(|it| reduced(it, depth + 1)).collect::<Vec<_>>()))
        }
        Value::Dict(entries) => {
            let entries = entries.iter().map(|(key, value)| (key.clone(), reduced(value, depth + 1)));
            Value::Dict(entries.collect::<Dict>())
        }
        _ => Value::Nil,
    }
}

/// The text of a plain dict, over several lines.
pub(crate) fn written(entries: &Dict) -> String {
    let mut out = String::new();
    write_entries(&mut out, entries);
    json::indented(&out)
}

fn write(out: &mut String, value: &Value) {
    match value {
        Value::Float(it) => out.push_str(&madrigal_vm::value::display_float(*it)),
        Value::List(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write(out, item);
            }
            out.push(']');
        }
        Value::Dict(entries) => write_entries(out, entries),
        other => out.push_str(&json::stringify(other)),
    }
}

fn write_entries(out: &mut String, entries: &Dict) {
    out.push('{');
    for (at, (key, value)) in entries.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        write_key(out, key);
        write(out, value);
    }
    out.push('}');
}

fn write_key(out: &mut String, key: &Str) {
    json::write_text(out, key);
    out.push(':');
}
