//! Iterating in `for`: two registers, the position and what is iterated over.

use crate::value::{Dict, Str, Value};

/// Prepares the pair (position, source); what is not iterable yields nothing.
pub fn start(iterable: Value) -> (Value, Value) {
    match iterable {
        Value::Range(range) => match range.last() {
            Some(last) => (Value::Int(range.start()), Value::Int(last)),
            None => (Value::Nil, Value::Nil),
        },
        Value::List(_) | Value::Dict(_) | Value::Set(_) => (Value::Int(0), iterable),
        Value::Handle(ref handle) if handle.is_iterable() => (Value::Int(0), iterable),
        _ => (Value::Nil, Value::Nil),
    }
}

/// The next item of anything but a handle.
#[inline]
pub fn next(position: &mut Value, source: &mut Value) -> Option<Value> {
    let Value::Int(at) = position else { return None };
    let current = *at;
    match source {
        Value::Int(last) => {
            if current == *last {
                *source = Value::Nil;
            } else {
                *at = current + 1;
            }
            Some(Value::Int(current))
        }
        Value::List(items) => {
            let item = items.get(current as usize)?.clone();
            *at = current + 1;
            Some(item)
        }
        Value::Set(items) => {
            let item = items.nth(current as usize)?.clone();
            *at = current + 1;
            Some(item)
        }
        Value::Dict(entries) => {
            let (key, value) = entries.nth(current as usize)?;
            let item = entry(key, value);
            *at = current + 1;
            Some(item)
        }
        _ => None,
    }
}

/// `{key: K, value: V}`.
fn entry(key: &Str, value: &Value) -> Value {
    let mut item = Dict::new();
    item.insert(Str::from("key"), Value::String(key.clone()));
    item.insert(Str::from("value"), value.clone());
    Value::Dict(item)
}
