//! The display form, and dropping of deeply nested values. Both without recursion, so depth is no limit.

use super::{HandleObject, Value};
use std::cell::RefCell;
use std::fmt::{self, Write};

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut parts, mut written) = (vec![Part::Value(self)], 0);
        while let Some(part) = parts.pop() {
            match part {
                Part::Value(value) => {
                    written += value.as_str().map_or(1, str::len);
                    shallow(value, &mut parts, f)?;
                }
                Part::Text(text) => {
                    written += text.len();
                    f.write_str(text)?;
                }
                Part::Items(mut items) => {
                    if let Some(item) = items.next() {
                        if items.len() > 0 {
                            parts.push(Part::Items(items));
                            parts.push(Part::Text(", "));
                        }
                        parts.push(Part::Value(item));
                    }
                }
            }
            if written > DISPLAY_MAX {
                return f.write_str("...");
            }
        }
        Ok(())
    }
}

/// Where a display form ends that does not end itself: parts that are shared count wherever they stand, so a small
/// value may have a form that nobody can hold. What makes texts refuses those that reach it.
const DISPLAY_MAX: usize = 1 << 30;

/// What is still to be written, last first.
enum Part<'a> {
    Value(&'a Value),
    Text(&'a str),
    /// The rest of a list.
    Items(std::slice::Iter<'a, Value>),
}

fn shallow<'a>(value: &'a Value, parts: &mut Vec<Part<'a>>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match value {
        Value::Nil | Value::Unset => f.write_str("nil"),
        Value::Bool(it) => write!(f, "{it}"),
        Value::Int(it) => write!(f, "{it}"),
        Value::Observed(it) => write!(f, "{}", it.value),
        Value::Float(it) => f.write_str(&display_float(*it)),
        Value::Duration(it) => f.write_str(&display_duration(*it)),
        Value::String(it) => f.write_str(it),
        Value::Bytes(it) => write!(f, "{it}"),
        Value::List(items) => {
            parts.extend([Part::Text("]"), Part::Items(items.iter())]);
            f.write_str("[")
        }
        Value::Set(items) => sequence("set(", items.iter(), ")", parts, f),
        Value::Dict(entries) => fields("{", entries.iter(), parts, f),
        Value::Struct(it) => {
            f.write_str(it.name())?;
            fields(" {", it.fields(), parts, f)
        }
        Value::Pair(pair) => sequence("(", [pair.first(), pair.second()].into_iter(), ")", parts, f),
        Value::Enum(it) => {
            write!(f, "{}.{}", it.name(), it.variant())?;
            if it.fields().is_empty() { Ok(()) } else { sequence("(", it.fields().iter(), ")", parts, f) }
        }
        Value::Range(it) => {
            write!(f, "{} to {}{}", it.start(), it.end(), if it.is_exclusive() { " exclusive" } else { "" })
        }
        Value::Closure(it) => write!(f, "<fn({})>", it.proto().param_names.join(", ")),
        Value::Builtin(it) => write!(f, "<builtin {}>", it.name),
        Value::Handle(it) => write!(f, "{it}"),
    }
}

fn sequence<'a>(
    open: &str,
    items: impl DoubleEndedIterator<Item = &'a Value> + ExactSizeIterator,
    close: &'static str,
    parts: &mut Vec<Part<'a>>,
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    f.write_str(open)?;
    parts.push(Part::Text(close));
    for (position, item) in items.enumerate().rev() {
        parts.push(Part::Value(item));
        if position > 0 {
            parts.push(Part::Text(", "));
        }
    }
    Ok(())
}

fn fields<'a>(
    open: &str,
    entries: impl Iterator<Item = (&'a super::Str, &'a Value)>,
    parts: &mut Vec<Part<'a>>,
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    f.write_str(open)?;
    parts.push(Part::Text("}"));
    let entries: Vec<_> = entries.collect();
    for (position, (key, value)) in entries.into_iter().enumerate().rev() {
        parts.push(Part::Value(value));
        parts.push(Part::Text(": "));
        parts.push(Part::Text(key));
        if position > 0 {
            parts.push(Part::Text(", "));
        }
    }
    Ok(())
}

/// The display form of a float: integral values below 10^15 with one decimal, others shortest, never an exponent.
pub fn display_float(it: f64) -> String {
    if it.is_nan() {
        "NaN".to_owned()
    } else if it.is_infinite() {
        if it > 0.0 { "inf".to_owned() } else { "-inf".to_owned() }
    } else if it.fract() == 0.0 && it.abs() < 1e15 {
        format!("{it:.1}")
    } else {
        let mut text = String::new();
        let _ = write!(text, "{it}");
        text
    }
}

/// The display form of a duration: the largest of h, m, s that divides it, else ms.
pub fn display_duration(millis: i64) -> String {
    let sign = if millis < 0 { "-" } else { "" };
    let size = millis.unsigned_abs();
    let unit = [(3_600_000, "h"), (60_000, "m"), (1000, "s")]
        .into_iter()
        .find(|(unit, _)| size != 0 && size.is_multiple_of(*unit));
    match unit {
        Some((unit, suffix)) => format!("{sign}{}{suffix}", size / unit),
        None => format!("{sign}{size}ms"),
    }
}

thread_local! {
    /// What is waiting to be dropped while a drop is going on further up on this thread's stack.
    static DROPPING: RefCell<Option<Vec<Dropped>>> = const { RefCell::new(None) };
}

/// The insides of something that is being dropped.
enum Dropped {
    Values(#[allow(dead_code)] Vec<Value>),
    Object(#[allow(dead_code)] Box<dyn HandleObject>),
}

/// Drops the contents of a container without recursing: the outermost drop on the stack works through a queue.
pub(super) fn drop_deep(values: Vec<Value>) {
    drop_queued(Dropped::Values(values));
}

/// Drops what stands behind a handle, which may hold values again, likewise.
pub(super) fn drop_object(object: Box<dyn HandleObject>) {
    drop_queued(Dropped::Object(object));
}

fn drop_queued(insides: Dropped) {
    let outermost = DROPPING.try_with(|cell| match cell.borrow_mut().as_mut() {
        Some(queue) => {
            queue.push(insides);
            None
        }
        None => Some(insides),
    });
    let Ok(Some(first)) = outermost else { return };
    DROPPING.with(|cell| *cell.borrow_mut() = Some(Vec::new()));
    drop(first);
    loop {
        // The borrow must end before the value is dropped: its drop comes back here.
        let next = DROPPING.with(|cell| cell.borrow_mut().as_mut().and_then(Vec::pop));
        match next {
            Some(insides) => drop(insides),
            None => break,
        }
    }
    DROPPING.with(|cell| *cell.borrow_mut() = None);
}
