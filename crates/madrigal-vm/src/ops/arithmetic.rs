//! Arithmetic, comparison and membership of the language (language reference, operators), general cases.

use crate::bytecode::Instruction;
use crate::fault::Fault;
use crate::methods::RESULT_BYTES_MAX;
use crate::value::{List, Str, Value, compare, equal};
use std::cmp::Ordering;

/// Longest text that an operator makes, in bytes.
const TEXT_MAX: usize = RESULT_BYTES_MAX;
/// Longest list that an operator makes.
const LIST_MAX: usize = RESULT_BYTES_MAX / size_of::<Value>();

pub(crate) fn too_large(what: &str) -> Fault {
    Fault::categorised("budget_exceeded", format!("{what} is too large"))
}

fn kinds(a: &Value, b: &Value) -> (&'static str, &'static str) {
    (a.type_name(), b.type_name())
}

/// `a + b`.
pub fn add(a: &Value, b: &Value) -> Result<Value, Fault> {
    let mut sum = a.clone();
    add_to(&mut sum, b)?;
    Ok(sum)
}

/// `a += b`, in place when `a` is the only holder of its text, list or dict.
pub fn add_to(a: &mut Value, b: &Value) -> Result<(), Fault> {
    match (&mut *a, b) {
        (Value::String(text), Value::String(more)) => {
            if text.len() + more.len() > TEXT_MAX {
                return Err(too_large("text"));
            }
            text.push_str(more);
            return Ok(());
        }
        (Value::List(items), Value::List(more)) => {
            if items.len() + more.len() > LIST_MAX {
                return Err(too_large("list"));
            }
            items.make_mut().extend_from_slice(more);
            return Ok(());
        }
        (Value::Dict(entries), Value::Dict(more)) => {
            for (key, value) in more.iter() {
                entries.insert(key.clone(), value.clone());
            }
            return Ok(());
        }
        _ => {}
    }
    *a = numeric(a, b, i64::wrapping_add, |a, b| a + b).ok_or_else(|| {
        let (left, right) = kinds(a, b);
        Fault::type_error(format!("Cannot add {left} and {right}"))
    })?;
    Ok(())
}

fn numeric(a: &Value, b: &Value, ints: fn(i64, i64) -> i64, floats: fn(f64, f64) -> f64) -> Option<Value> {
    match (a.as_int(), b.as_int()) {
        (Some(a), Some(b)) => Some(Value::Int(ints(a, b))),
        _ => Some(Value::Float(floats(a.as_number()?, b.as_number()?))),
    }
}

/// `a - b`.
pub fn subtract(a: &Value, b: &Value) -> Result<Value, Fault> {
    numeric(a, b, i64::wrapping_sub, |a, b| a - b).ok_or_else(|| {
        let (left, right) = kinds(a, b);
        Fault::type_error(format!("Cannot subtract {right} from {left}"))
    })
}

/// `a * b`; a string and an int repeat the string.
pub fn multiply(a: &Value, b: &Value) -> Result<Value, Fault> {
    match (a, b) {
        (Value::String(text), other) | (other, Value::String(text)) if other.as_int().is_some() => {
            repeat(text, other.as_int().unwrap_or(0))
        }
        _ => numeric(a, b, i64::wrapping_mul, |a, b| a * b).ok_or_else(|| {
            let (left, right) = kinds(a, b);
            Fault::type_error(format!("Cannot multiply {left} and {right}"))
        }),
    }
}

/// `text * count`.
pub fn repeat(text: &Str, count: i64) -> Result<Value, Fault> {
    let count = usize::try_from(count).unwrap_or(0);
    match text.len().checked_mul(count) {
        Some(len) if len <= TEXT_MAX => Ok(Value::from(text.as_str().repeat(count))),
        _ => Err(too_large("text")),
    }
}

fn division_by_zero() -> Fault {
    Fault::plain("Division by zero")
}

/// `a / b`.
pub fn divide(a: &Value, b: &Value) -> Result<Value, Fault> {
    match (a.as_int(), b.as_int()) {
        (Some(_), Some(0)) => Err(division_by_zero()),
        (Some(a), Some(b)) => Ok(Value::Int(a.wrapping_div(b))),
        _ => numeric(a, b, i64::wrapping_div, |a, b| a / b).ok_or_else(|| {
            let (left, right) = kinds(a, b);
            Fault::runtime(format!("Cannot divide {left} by {right}"))
        }),
    }
}

/// `a % b`.
pub fn modulo(a: &Value, b: &Value) -> Result<Value, Fault> {
    match (a.as_int(), b.as_int()) {
        (Some(_), Some(0)) => Err(division_by_zero()),
        (Some(a), Some(b)) => Ok(Value::Int(a.wrapping_rem(b))),
        _ => match (a.as_number(), b.as_number()) {
            (Some(_), Some(0.0)) => Err(division_by_zero()),
            (Some(a), Some(b)) => Ok(Value::Float(a % b)),
            _ => {
                let (left, right) = kinds(a, b);
                Err(Fault::runtime(format!("Cannot modulo {left} by {right}")))
            }
        },
    }
}

/// `a ** b`.
pub fn power(a: &Value, b: &Value) -> Result<Value, Fault> {
    if let (Some(base), Some(exponent)) = (a.as_int(), b.as_int()) {
        return Ok(match u32::try_from(exponent) {
            Ok(exponent) => Value::Int(base.wrapping_pow(exponent)),
            Err(_) => Value::Float((base as f64).powf(exponent as f64)),
        });
    }
    match (a.as_number(), b.as_number()) {
        (Some(a), Some(b)) => Ok(Value::Float(a.powf(b))),
        _ => {
            let (left, right) = kinds(a, b);
            Err(Fault::type_error(format!("Cannot exponentiate {left} by {right}")))
        }
    }
}

/// `-a`.
pub fn negate(a: &Value) -> Result<Value, Fault> {
    match a {
        Value::Float(it) => Ok(Value::Float(-it)),
        other => match other.as_int() {
            Some(it) => Ok(Value::Int(it.wrapping_neg())),
            None => Err(Fault::runtime(format!("Cannot negate value of type {}", a.type_name()))),
        },
    }
}

/// `a < b`; NaN and unlike kinds compare as equal.
pub fn less(a: &Value, b: &Value) -> bool {
    compare(a, b) == Ordering::Less
}

/// `a <= b`.
pub fn less_equal(a: &Value, b: &Value) -> bool {
    compare(a, b) != Ordering::Greater
}

/// `a in b`.
pub fn contains(a: &Value, b: &Value) -> bool {
    match b {
        Value::List(items) => items.iter().any(|it| equal(it, a)),
        Value::Set(items) => items.contains(a),
        Value::Dict(entries) => entries.has(&a.display()),
        Value::String(text) => text.contains(a.display().as_str()),
        Value::Range(range) => a.as_int().is_some_and(|it| range.contains(it)),
        _ => false,
    }
}

/// The general case of a three-register operator.
pub fn binary(instruction: Instruction, a: &Value, b: &Value) -> Result<Value, Fault> {
    match instruction {
        Instruction::Add { .. } => add(a, b),
        Instruction::Subtract { .. } => subtract(a, b),
        Instruction::Multiply { .. } => multiply(a, b),
        Instruction::Divide { .. } => divide(a, b),
        Instruction::Modulo { .. } => modulo(a, b),
        _ => power(a, b),
    }
}

/// Splices `src` onto a list under construction.
pub fn extend(list: &mut Value, src: Value) -> Result<(), Fault> {
    match (list, src) {
        (Value::List(items), Value::List(more)) => {
            if items.len() + more.len() > LIST_MAX {
                return Err(too_large("list"));
            }
            items.make_mut().extend(more.into_vec());
            Ok(())
        }
        (_, other) => Err(super::places::not_a_list(&other)),
    }
}

/// `set = set.add(value)` for a set; `false` for anything else, `value` untouched.
pub fn add_member(set: &mut Value, value: &mut Value) -> bool {
    match set {
        Value::Set(members) => {
            members.add(value.take());
            true
        }
        _ => false,
    }
}

/// `set = set_add(set, value)` for a set; `false` for anything else, `value` untouched.
pub fn insert_member(set: &mut Value, value: &mut Value) -> bool {
    match set {
        Value::Set(members) => {
            members.insert(value.take());
            true
        }
        _ => false,
    }
}

/// `list = list.push(value)` for a list that has room; `false` for anything else, `value` untouched.
pub fn push(list: &mut Value, value: &mut Value) -> bool {
    match list {
        Value::List(items) if items.len() < LIST_MAX => {
            List::make_mut(items).push(value.take());
            true
        }
        _ => false,
    }
}
