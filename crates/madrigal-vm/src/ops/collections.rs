//! Reading properties, items and slices; making ranges, structs and interpolated text.

use crate::fault::Fault;
use crate::methods::RESULT_BYTES_MAX;
use crate::value::{EnumValue, List, Range, Shape, Str, Struct, Value};
use std::fmt::Write;
use triomphe::Arc;

/// `object.name`.
pub fn get_field(object: &Value, name: &Str) -> Result<Value, Fault> {
    field(object, name).ok_or_else(|| match object {
        Value::Pair(_) => {
            Fault::type_error(format!("cannot access property `{name}` on pair (expected `first` or `second`)"))
        }
        other => Fault::type_error(format!("cannot access property `{name}` on {}", other.type_name())),
    })
}

/// `object?.name`.
pub fn get_field_optional(object: &Value, name: &Str) -> Value {
    field(object, name).unwrap_or_default()
}

/// `None` where reading the property is an error.
fn field(object: &Value, name: &Str) -> Option<Value> {
    Some(match object {
        Value::Dict(entries) => entries.get(name).cloned().unwrap_or_default(),
        Value::Struct(it) => it.get(name).cloned().unwrap_or_default(),
        Value::List(items) => match name.as_str() {
            "count" => Value::from(items.len()),
            "empty" => Value::Bool(items.is_empty()),
            "first" => items.first().cloned().unwrap_or_default(),
            "last" => items.last().cloned().unwrap_or_default(),
            _ => Value::Nil,
        },
        Value::String(text) => match name.as_str() {
            "count" => Value::from(text.count()),
            "empty" => Value::Bool(text.is_empty()),
            _ => Value::Nil,
        },
        Value::Enum(it) => match name.as_str() {
            "variant" => Value::from(it.variant()),
            "fields" => Value::list(it.fields().to_vec()),
            _ => Value::Nil,
        },
        Value::Pair(pair) => match name.as_str() {
            "first" => pair.first().clone(),
            "second" => pair.second().clone(),
            _ => return None,
        },
        Value::Handle(handle) => return handle.property(name),
        _ => return None,
    })
}

/// `object[index]`.
pub fn get_index(object: &Value, index: &Value) -> Result<Value, Fault> {
    let wrong = || Fault::type_error(format!("cannot index into {} with {}", object.type_name(), index.type_name()));
    match object {
        Value::List(items) => {
            let index = index.as_int().ok_or_else(wrong)?;
            Ok(items.position(index).map_or(Value::Nil, |at| items[at].clone()))
        }
        Value::Dict(entries) => Ok(match index {
            Value::String(key) => entries.get(key),
            other => entries.get(&other.display()),
        }
        .cloned()
        .unwrap_or_default()),
        Value::String(text) => {
            let index = index.as_int().ok_or_else(wrong)?;
            let at = crate::value::list_position(index, text.count());
            Ok(at.and_then(|at| text.at(at)).map_or(Value::Nil, Value::String))
        }
        Value::Range(range) => {
            let index = index.as_int().ok_or_else(wrong)?;
            match crate::value::list_position(index, range.len()) {
                Some(at) => Ok(Value::Int(range.start().wrapping_add(at as i64))),
                None => Err(Fault::runtime(format!(
                    "range index out of range: index {index} for range of length {}",
                    range.len()
                ))),
            }
        }
        _ => Err(wrong()),
    }
}

/// Position of a slice bound among `len` items.
fn bound(value: &Value, default: usize, len: usize, which: &str) -> Result<usize, Fault> {
    if value.is_nil() {
        return Ok(default);
    }
    let index = value
        .as_int()
        .ok_or_else(|| Fault::type_error(format!("slice {which} must be an integer, got {}", value.type_name())))?;
    let from_start = if index < 0 { index.saturating_add(len as i64).max(0) } else { index };
    Ok(usize::try_from(from_start).unwrap_or(usize::MAX).min(len))
}

/// `object[start:end]`.
pub fn slice(object: &Value, start: &Value, end: &Value) -> Result<Value, Fault> {
    let len = match object {
        Value::List(items) => items.len(),
        Value::String(text) => text.count(),
        other => return Err(Fault::type_error(format!("cannot slice {}", other.type_name()))),
    };
    let start = bound(start, 0, len, "start")?;
    let end = bound(end, len, len, "end")?.max(start);
    Ok(match object {
        Value::List(items) => Value::List(List::from(items[start..end].to_vec())),
        Value::String(text) => Value::String(text.slice(start, end)),
        _ => Value::Nil,
    })
}

/// `start to end`.
pub fn range(start: &Value, end: &Value, exclusive: bool) -> Result<Value, Fault> {
    match (start.as_int(), end.as_int()) {
        (Some(start), Some(end)) => Ok(Value::Range(Range::new(start, end, exclusive))),
        _ => Err(Fault::type_error(format!(
            "range bounds must be ints, got {} and {}",
            start.type_name(),
            end.type_name()
        ))),
    }
}

/// Display forms joined.
pub fn interpolate(pieces: &[Value]) -> Result<Value, Fault> {
    let mut text = String::new();
    for piece in pieces {
        match piece {
            Value::String(it) => text.push_str(it),
            other => {
                let _ = write!(text, "{other}");
            }
        }
        if text.len() > RESULT_BYTES_MAX {
            return Err(super::arithmetic::too_large("text"));
        }
    }
    Ok(Value::from(text))
}

/// An instance with the declared entries of a dict.
pub fn struct_from(shape: &Arc<Shape>, src: &Value) -> Value {
    let slots = match src {
        Value::Dict(entries) => {
            shape.fields().iter().map(|field| entries.get(field).cloned().unwrap_or(Value::Unset)).collect()
        }
        Value::Struct(it) => {
            shape.fields().iter().map(|field| it.get(field).cloned().unwrap_or(Value::Unset)).collect()
        }
        _ => shape.fields().iter().map(|_| Value::Unset).collect(),
    };
    Value::Struct(Struct::new(shape.clone(), slots))
}

/// An instance of an undeclared struct.
pub fn open_struct(name: &Str, src: &Value) -> Value {
    let Value::Dict(entries) = src else {
        return Value::Struct(Struct::new(Shape::new(name.clone(), Vec::new()), Box::default()));
    };
    let shape = Shape::new(name.clone(), entries.keys().cloned().collect());
    Value::Struct(Struct::new(shape, entries.values().cloned().collect()))
}

/// `Result.Ok(value)` unless it is a `Result` already.
pub fn wrap_ok(value: Value) -> Value {
    match &value {
        Value::Enum(it) if it.is_result() => value,
        _ => Value::Enum(EnumValue::ok(value)),
    }
}

/// How often `retry` runs its body.
pub fn attempts(value: &Value) -> i64 {
    value.as_number().map_or(1, |it| it as i64).max(1)
}
