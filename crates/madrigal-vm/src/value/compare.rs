//! Equality, ordering and structural keys. All iterative where values nest, so depth is no limit.

use super::{Set, Value};
use std::cell::Cell;
use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt::Write;
use std::ptr::from_ref;

/// How deep comparing sets inside sets may nest; beyond, their structural keys decide.
const SETS_MAX: u32 = 8;

thread_local! {
    /// How many comparisons of sets are under way on this thread's stack.
    static SETS: Cell<u32> = const { Cell::new(0) };
}

/// Whether each member of one set has an equal in the other. Looking up a member compares, so sets inside sets nest,
/// within bounds; the one member of a set is left to the caller's loop.
fn equal_sets<'a>(a: &'a Set, b: &'a Set, pending: &mut Vec<(&'a Value, &'a Value)>) -> bool {
    if a.len() != b.len() {
        return false;
    }
    if let (1, Some(a), Some(b)) = (a.len(), a.nth(0), b.nth(0)) {
        pending.push((a, b));
        return true;
    }
    SETS.with(|depth| {
        if depth.get() >= SETS_MAX {
            return a.iter().all(|it| b.has(it));
        }
        depth.set(depth.get() + 1);
        let mut found = vec![false; b.len()];
        let all = a.iter().all(|it| b.position(it).map(|at| found[at] = true).is_some());
        // Two members may equal the same one: whatever nobody found has to be looked up itself.
        let all = all && b.iter().zip(&found).all(|(it, found)| *found || a.contains(it));
        depth.set(depth.get() - 1);
        all
    })
}

/// `a == b` of the language.
pub fn equal(a: &Value, b: &Value) -> bool {
    let mut pending: Vec<(&Value, &Value)> = Vec::new();
    let mut next = Some((a, b));
    let mut seen = Seen::default();
    while let Some((a, b)) = next {
        if !seen.before(a, b) && !equal_shallow(a, b, &mut pending) {
            return false;
        }
        next = pending.pop();
    }
    true
}

/// Pairs that a long comparison has met. One need not be compared again: it is equal, or the whole is not. Without
/// this, values that share their parts would be compared once for every path to a part.
#[derive(Default)]
struct Seen {
    steps: usize,
    pairs: HashSet<(*const Value, *const Value)>,
}

impl Seen {
    /// How many steps a comparison takes before it keeps account.
    const FREE: usize = 10_000;

    fn before(&mut self, a: &Value, b: &Value) -> bool {
        self.steps += 1;
        self.steps > Seen::FREE && !a.is_immediate() && !self.pairs.insert((from_ref(a), from_ref(b)))
    }
}

/// Compares without descending; nested pairs go to `pending`.
fn equal_shallow<'a>(a: &'a Value, b: &'a Value, pending: &mut Vec<(&'a Value, &'a Value)>) -> bool {
    match (a, b) {
        (Value::Nil | Value::Unset, Value::Nil | Value::Unset) => true,
        (Value::Bool(a), Value::Bool(b)) => a == b,
        (Value::Int(a), Value::Int(b)) => a == b,
        (Value::Float(a), Value::Float(b)) => a == b,
        (Value::Duration(a), Value::Duration(b)) => a == b,
        (Value::String(a), Value::String(b)) => a == b,
        (Value::Bytes(a), Value::Bytes(b)) => a == b,
        (Value::List(a), Value::List(b)) => {
            pending.extend(a.iter().zip(b.iter()));
            a.len() == b.len()
        }
        (Value::Pair(a), Value::Pair(b)) => {
            pending.push((a.first(), b.first()));
            pending.push((a.second(), b.second()));
            true
        }
        (Value::Dict(a), Value::Dict(b)) => {
            a.len() == b.len() && {
                a.iter().zip(b.iter()).all(|((ka, va), (kb, vb))| {
                    pending.push((va, vb));
                    ka == kb
                })
            }
        }
        (Value::Set(a), Value::Set(b)) => equal_sets(a, b, pending),
        (Value::Struct(a), Value::Struct(b)) => {
            a.name() == b.name() && a.fields().count() == b.fields().count() && {
                a.fields().zip(b.fields()).all(|((ka, va), (kb, vb))| {
                    pending.push((va, vb));
                    ka == kb
                })
            }
        }
        (Value::Enum(a), Value::Enum(b)) => {
            pending.extend(a.fields().iter().zip(b.fields()));
            a.name() == b.name() && a.variant() == b.variant() && a.fields().len() == b.fields().len()
        }
        (Value::Range(a), Value::Range(b)) => a == b,
        (Value::Builtin(a), Value::Builtin(b)) => a.name == b.name,
        (Value::Handle(a), Value::Handle(b)) => a.equals(b),
        (Value::Closure(_), Value::Closure(_)) => false,
        (a, b) => match (a.as_int(), b.as_int()) {
            (Some(a), Some(b)) => a == b,
            _ => matches!((a.as_number(), b.as_number()), (Some(a), Some(b)) if a == b),
        },
    }
}

/// The ordering of `<`, sorting, `min` and `max`; unlike kinds compare as equal.
pub fn compare(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => a.cmp(b),
        (Value::String(a), Value::String(b)) => a.cmp(b),
        (Value::Duration(a), Value::Duration(b)) => a.cmp(b),
        (Value::Pair(first), Value::Pair(second)) => compare_pairs(first, second),
        (a, b) => match (a.as_int(), b.as_int()) {
            (Some(a), Some(b)) => a.cmp(&b),
            _ => match (a.as_number(), b.as_number()) {
                (Some(a), Some(b)) => a.partial_cmp(&b).unwrap_or(Ordering::Equal),
                _ => Ordering::Equal,
            },
        },
    }
}

/// Walks down second halves in a loop; first halves nest only as deep as this bound, beyond which they tie.
fn compare_pairs(a: &super::Pair, b: &super::Pair) -> Ordering {
    fn bounded(a: &Value, b: &Value, depth: usize) -> Ordering {
        let (mut a, mut b) = (a, b);
        loop {
            match (a, b) {
                (Value::Pair(pa), Value::Pair(pb)) if pa.same(pb) => return Ordering::Equal,
                (Value::Pair(pa), Value::Pair(pb)) if depth < 200 => {
                    let first = bounded(pa.first(), pb.first(), depth + 1);
                    if first != Ordering::Equal {
                        return first;
                    }
                    (a, b) = (pa.second(), pb.second());
                }
                (Value::Pair(_), Value::Pair(_)) => return Ordering::Equal,
                _ => return compare(a, b),
            }
        }
    }
    match bounded(a.first(), b.first(), 0) {
        Ordering::Equal => bounded(a.second(), b.second(), 0),
        other => other,
    }
}

/// Where keys end, in bytes: parts that are shared count wherever they stand.
const KEY_MAX: usize = 1 << 28;

/// The structural key of a value: equal for values that set membership and `unique` take as the same.
pub fn structural_key(value: &Value) -> String {
    enum Part<'a> {
        Value(&'a Value),
        Text(&'static str),
        Key(&'a str),
        /// The key of a set's member ends here.
        Member,
        /// All members of a set have been written.
        EndSet,
    }
    let mut out = String::new();
    let mut parts = vec![Part::Value(value)];
    // Sets under way: where the key of the current member begins, and the keys of those before.
    let mut sets: Vec<(usize, Vec<String>)> = Vec::new();
    while let Some(part) = parts.pop() {
        if out.len() > KEY_MAX {
            break;
        }
        let value = match part {
            Part::Text(text) => {
                out.push_str(text);
                continue;
            }
            Part::Key(key) => {
                let _ = write!(out, "{}:{key}=", key.len());
                continue;
            }
            Part::Member => {
                if let Some((start, keys)) = sets.last_mut() {
                    keys.push(out.split_off(*start));
                }
                continue;
            }
            Part::EndSet => {
                let (_, mut keys) = sets.pop().unwrap_or_default();
                keys.sort_unstable();
                out.push('S');
                keys.iter().for_each(|key| out.extend([key.as_str(), ","]));
                out.push('}');
                continue;
            }
            Part::Value(value) => value,
        };
        let _ = match value {
            Value::Nil | Value::Unset => out.write_str("N"),
            Value::Bool(it) => out.write_str(if *it { "T" } else { "F" }),
            Value::Int(it) => write!(out, "i{it};"),
            Value::Observed(it) => write!(out, "i{};", it.value),
            Value::Float(it) => write!(out, "f{};", it.to_bits()),
            Value::Duration(it) => write!(out, "d{it};"),
            Value::String(it) => write!(out, "s{}:{it}", it.len()),
            Value::Bytes(it) => {
                out.push('b');
                let _ = it.iter().try_for_each(|byte| write!(out, "{byte:02x}"));
                out.write_char(';')
            }
            Value::List(items) => {
                parts.push(Part::Text("]"));
                for item in items.iter().rev() {
                    parts.push(Part::Text(","));
                    parts.push(Part::Value(item));
                }
                out.write_str("L")
            }
            Value::Set(items) if items.len() > 1 => {
                sets.push((out.len(), Vec::with_capacity(items.len())));
                parts.push(Part::EndSet);
                for item in items.iter() {
                    parts.push(Part::Member);
                    parts.push(Part::Value(item));
                }
                Ok(())
            }
            Value::Set(items) => {
                parts.push(Part::Text("}"));
                for item in items.iter() {
                    parts.push(Part::Text(","));
                    parts.push(Part::Value(item));
                }
                out.write_str("S")
            }
            Value::Dict(entries) => {
                parts.push(Part::Text("}"));
                let entries: Vec<_> = entries.iter().collect();
                for (key, value) in entries.into_iter().rev() {
                    parts.push(Part::Text(","));
                    parts.push(Part::Value(value));
                    parts.push(Part::Key(key));
                }
                out.write_str("D")
            }
            Value::Pair(pair) => {
                parts.push(Part::Value(pair.second()));
                parts.push(Part::Value(pair.first()));
                out.write_str("P")
            }
            Value::Struct(it) => {
                parts.push(Part::Text("}"));
                let fields: Vec<_> = it.fields().collect();
                for (key, value) in fields.into_iter().rev() {
                    parts.push(Part::Text(","));
                    parts.push(Part::Value(value));
                    parts.push(Part::Key(key));
                }
                write!(out, "O{}:{}", it.name().len(), it.name())
            }
            Value::Enum(it) => {
                parts.push(Part::Text(")"));
                for field in it.fields().iter().rev() {
                    parts.push(Part::Text(","));
                    parts.push(Part::Value(field));
                }
                write!(out, "E{}.{}(", it.name(), it.variant())
            }
            Value::Range(_) | Value::Builtin(_) | Value::Handle(_) => write!(out, "X{value};"),
            Value::Closure(it) => write!(out, "C{:p};", it.object()),
        };
    }
    out
}
