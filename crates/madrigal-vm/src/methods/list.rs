//! Methods of lists that need no callback.

use super::{check_bytes, check_items, count_from, order, slice_bounds};
use crate::builtin::{Args, Cx};
use crate::fault::Fault;
use crate::value::{Dict, List, Str, Value, compare, equal, structural_key};
use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt::Write;

crate::builtins! {
    /// Number of items.
    "list.count" () -> int = count;
    /// Number of items.
    "list.len" () -> int = count;
    /// Whether there is no item.
    "list.empty" () -> bool = empty;
    /// Sorted, equal items in their order.
    "list.sort" () -> list = sort;
    /// The smallest item, the first of equals; nil when empty.
    "list.min" () -> any = min;
    /// The largest item, the first of equals; nil when empty.
    "list.max" () -> any = max;
    /// Sum of the numbers.
    "list.sum" () -> number = sum;
    /// In reverse order.
    "list.reverse" () -> list = reverse;
    /// The display forms, separated.
    "list.join" (separator: string = "") -> string = join_method;
    /// Whether an item equals `value`.
    "list.contains" (value: any) -> bool = contains;
    /// Position of the first item that equals `value`, or -1.
    "list.index_of" (value: any) -> int = index_of;
    /// A dict `{index, value}` for each item.
    "list.enumerate" () -> list = enumerate;
    /// Lists of two items, up to the shorter of both lists.
    "list.zip" (other: list) -> list = zip;
    /// The items from `start` up to, not including, `end`; negative bounds count from the end.
    "list.slice" (start: int = 0, end: int) -> list = slice;
    /// The first item or nil; with `n` a list of up to n items.
    "list.first" (n: int) -> any = first;
    /// The last item or nil; with `n` a list of up to n items.
    "list.last" (n: int) -> any = last;
    /// The first `n` items.
    "list.take" (n: int = 0) -> list = take;
    /// All but the first `n` items.
    "list.skip" (n: int = 0) -> list = skip;
    /// The first of each group of structurally equal items.
    "list.unique" () -> list = unique;
    /// Items that are lists replaced by their items, one level deep.
    "list.flatten" () -> list = flatten;
    /// With `value` appended.
    "list.push" (value: any) -> list = push;
    /// Without the last item.
    "list.pop" () -> list = pop;
    /// Consecutive slices of `size` items, the last may be shorter.
    "list.chunk" (size: int = 1) -> list = chunk;
    /// Consecutive slices of `size` items, the last may be shorter.
    "list.each_slice" (size: int = 1) -> list = chunk;
    /// All slices of exactly `size` items that start every `step` items.
    "list.window" (size: int = 2, step: int = 1) -> list = window;
    /// All slices of exactly `size` items that start every `step` items.
    "list.each_cons" (size: int = 2, step: int = 1) -> list = window;
    /// All slices of exactly `size` items that start every `step` items.
    "list.sliding_window" (size: int = 2, step: int = 1) -> list = window;
    /// Without nils.
    "list.compact" () -> list = compact;
    /// How often each display form occurs.
    "list.tally" () -> dict = tally;
}

/// The display forms of `items`, separated.
pub fn join(items: &[Value], separator: &str) -> Result<Str, Fault> {
    let known = items.iter().map(|it| it.as_str().map_or(1, str::len)).sum::<usize>();
    check_bytes("join", separator.len().checked_mul(items.len()).and_then(|it| it.checked_add(known)))?;
    let mut text = String::with_capacity(known + separator.len() * items.len());
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            text.push_str(separator);
        }
        match item {
            Value::String(it) => text.push_str(it),
            other => write!(text, "{other}").expect("writing to a string cannot fail"),
        }
        check_bytes("join", Some(text.len()))?;
    }
    Ok(Str::from(text))
}

/// Consecutive slices of `size` items (at least one), the last may be shorter.
pub fn chunks(items: &[Value], size: i64) -> Value {
    let slices = items.chunks(count_from(size.max(1))).map(|it| Value::list(it.to_vec()));
    Value::list(slices.collect())
}

/// All slices of exactly `size` items that start every `step` items; both are at least one.
pub fn windows(items: &[Value], size: i64, step: i64) -> Result<Value, Fault> {
    let (size, step) = (count_from(size.max(1)), count_from(step.max(1)));
    let slices = items.windows(size).step_by(step);
    check_items("window", slices.len().checked_mul(size.saturating_add(4)))?;
    Ok(Value::list(slices.map(|it| Value::list(it.to_vec())).collect()))
}

fn receiver(args: &mut Args<'_>) -> List {
    match args.take(0) {
        Value::List(it) => it,
        _ => List::from(Vec::new()),
    }
}

fn count(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<usize, Fault> {
    Ok(receiver(&mut args).len())
}

fn empty(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<bool, Fault> {
    Ok(receiver(&mut args).is_empty())
}

fn sort(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<Value, Fault> {
    let mut items = receiver(&mut args);
    order::sort(items.make_mut());
    Ok(Value::List(items))
}

/// The first item that is on the side `wanted` of all earlier ones.
fn extreme(items: &[Value], wanted: Ordering) -> Value {
    let better = |best, item| if compare(item, best) == wanted { item } else { best };
    items.iter().reduce(better).cloned().unwrap_or_default()
}

fn min(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<Value, Fault> {
    Ok(extreme(&receiver(&mut args), Ordering::Less))
}

fn max(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<Value, Fault> {
    Ok(extreme(&receiver(&mut args), Ordering::Greater))
}

fn sum(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<Value, Fault> {
    let add = |total: Value, item: &Value| match (total, item) {
        (Value::Int(total), Value::Float(it)) => Value::Float(total as f64 + it),
        (Value::Float(total), it) => Value::Float(it.as_number().map_or(total, |it| total + it)),
        (Value::Int(total), it) => Value::Int(total.wrapping_add(it.as_int().unwrap_or(0))),
        (total, _) => total,
    };
    Ok(receiver(&mut args).iter().fold(Value::Int(0), add))
}

fn reverse(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<Value, Fault> {
    let mut items = receiver(&mut args);
    items.make_mut().reverse();
    Ok(Value::List(items))
}

fn join_method(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<Str, Fault> {
    join(&receiver(&mut args), &args.string(1))
}

fn contains(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<bool, Fault> {
    Ok(receiver(&mut args).iter().any(|it| equal(it, args.get(1))))
}

fn index_of(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<i64, Fault> {
    let position = receiver(&mut args).iter().position(|it| equal(it, args.get(1)));
    Ok(position.and_then(|it| i64::try_from(it).ok()).unwrap_or(-1))
}

fn enumerate(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<Value, Fault> {
    let (index, value) = (Str::from("index"), Str::from("value"));
    let items = receiver(&mut args).into_vec().into_iter().enumerate();
    let dicts = items.map(|(at, item)| Value::dict([(index.clone(), Value::from(at)), (value.clone(), item)]));
    Ok(Value::list(dicts.collect()))
}

fn zip(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<Value, Fault> {
    let items = receiver(&mut args);
    let other = args.list(1).map_or(&[][..], |it| it);
    let zipped = items.iter().zip(other).map(|(a, b)| Value::list(vec![a.clone(), b.clone()]));
    Ok(Value::list(zipped.collect()))
}

/// The items `start..end`, in place when nobody else holds the list.
fn part(mut items: List, start: usize, end: usize) -> Value {
    if start == 0 && end >= items.len() {
        return Value::List(items);
    }
    if start == 0 && end > items.len() / 2 {
        items.make_mut().truncate(end);
        return Value::List(items);
    }
    Value::list(items[start..end].to_vec())
}

fn slice(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<Value, Fault> {
    let items = receiver(&mut args);
    let (start, end) = slice_bounds(items.len(), args.int(1), args.int(2));
    Ok(part(items, start, end))
}

fn first(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<Value, Fault> {
    let items = receiver(&mut args);
    Ok(match args.int(1) {
        Some(n) => {
            let end = count_from(n).min(items.len());
            part(items, 0, end)
        }
        None => items.first().cloned().unwrap_or_default(),
    })
}

fn last(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<Value, Fault> {
    let items = receiver(&mut args);
    Ok(match args.int(1) {
        Some(n) => {
            let (start, end) = (items.len().saturating_sub(count_from(n)), items.len());
            part(items, start, end)
        }
        None => items.last().cloned().unwrap_or_default(),
    })
}

fn take(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<Value, Fault> {
    let items = receiver(&mut args);
    let end = count_from(args.int(1).unwrap_or(0)).min(items.len());
    Ok(part(items, 0, end))
}

fn skip(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<Value, Fault> {
    let items = receiver(&mut args);
    let (start, end) = (count_from(args.int(1).unwrap_or(0)).min(items.len()), items.len());
    Ok(part(items, start, end))
}

/// A cheap form of the structural key for the kinds that lists mostly hold.
#[derive(PartialEq, Eq, Hash)]
enum UniqueKey {
    Int(i64),
    Text(Str),
    Other(String),
}

impl UniqueKey {
    fn of(value: &Value) -> UniqueKey {
        match value {
            Value::String(it) => UniqueKey::Text(it.clone()),
            other => match other.as_int() {
                Some(it) => UniqueKey::Int(it),
                None => UniqueKey::Other(structural_key(other)),
            },
        }
    }
}

fn unique(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<Value, Fault> {
    let mut items = receiver(&mut args);
    let mut seen = HashSet::with_hasher(foldhash::fast::RandomState::default());
    items.make_mut().retain(|it| seen.insert(UniqueKey::of(it)));
    Ok(Value::List(items))
}

fn flatten(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<Value, Fault> {
    let items = receiver(&mut args);
    let len_of = |it: &Value| if let Value::List(inner) = it { inner.len() } else { 1 };
    let len = items.iter().map(len_of).try_fold(0usize, usize::checked_add);
    check_items("flatten", len)?;
    let mut flat = Vec::with_capacity(len.unwrap_or(0));
    for item in items.into_vec() {
        match item {
            Value::List(inner) => flat.extend(inner.into_vec()),
            other => flat.push(other),
        }
    }
    Ok(Value::list(flat))
}

fn push(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<Value, Fault> {
    let mut items = receiver(&mut args);
    check_items("push", Some(items.len() + 1))?;
    items.make_mut().push(args.take(1));
    Ok(Value::List(items))
}

fn pop(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<Value, Fault> {
    let mut items = receiver(&mut args);
    items.make_mut().pop();
    Ok(Value::List(items))
}

fn chunk(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<Value, Fault> {
    Ok(chunks(&receiver(&mut args), args.int(1).unwrap_or(1)))
}

fn window(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<Value, Fault> {
    windows(&receiver(&mut args), args.int(1).unwrap_or(2), args.int(2).unwrap_or(1))
}

fn compact(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<Value, Fault> {
    let mut items = receiver(&mut args);
    if items.iter().any(Value::is_nil) {
        items.make_mut().retain(|it| !it.is_nil());
    }
    Ok(Value::List(items))
}

fn tally(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<Value, Fault> {
    let mut counts = Dict::new();
    for item in receiver(&mut args).iter() {
        let slot = counts.slot(&item.display());
        *slot = Value::Int(slot.as_int().unwrap_or(0) + 1);
    }
    Ok(Value::Dict(counts))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::methods::tests::{check, ints};

    #[test]
    fn parts_clamp_their_bounds() {
        check(ints(1..=4), "slice", [1i64.into()], "[2, 3, 4]");
        check(ints(1..=4), "slice", [(-2i64).into(), (-1i64).into()], "[3]");
        check(ints(1..=4), "slice", [3i64.into(), 1i64.into()], "[]");
        check(ints(1..=4), "take", [(-1i64).into()], "[]");
        check(ints(1..=4), "take", [3i64.into()], "[1, 2, 3]");
        check(ints(1..=4), "skip", [i64::MAX.into()], "[]");
        check(ints(1..=4), "first", [], "1");
        check(ints(1..=4), "first", [9i64.into()], "[1, 2, 3, 4]");
        check(ints(1..=4), "last", [2i64.into()], "[3, 4]");
        check(ints([]), "last", [], "nil");
    }

    #[test]
    fn slices_and_windows() {
        check(ints(1..=5), "chunk", [2i64.into()], "[[1, 2], [3, 4], [5]]");
        check(ints(1..=2), "chunk", [0i64.into()], "[[1], [2]]");
        check(ints(1..=4), "window", [], "[[1, 2], [2, 3], [3, 4]]");
        check(ints(1..=5), "window", [2i64.into(), 3i64.into()], "[[1, 2], [4, 5]]");
        check(ints(1..=2), "each_cons", [3i64.into()], "[]");
        check(ints(1..=2), "each_cons", [i64::MAX.into()], "[]");
    }

    #[test]
    fn extremes_and_sums_follow_the_ordering_of_the_language() {
        let mixed = || Value::list(vec![1i64.into(), Value::from("x"), Value::Float(0.5), Value::Nil]);
        check(mixed(), "sum", [], "1.5");
        check(ints([i64::MAX, 1]), "sum", [], "-9223372036854775808");
        check(ints([]), "sum", [], "0");
        check(ints([]), "min", [], "nil");
        check(Value::list(vec![Value::Int(1), Value::Float(1.0)]), "max", [], "1");
        check(ints([3, -1, 2]), "sort", [], "[-1, 2, 3]");
    }

    #[test]
    fn equal_and_structurally_equal_are_different_things() {
        let ones = || Value::list(vec![1i64.into(), Value::Float(1.0), "1".into(), 1i64.into()]);
        check(ones(), "unique", [], "[1, 1.0, 1]");
        check(ones(), "index_of", [Value::Float(1.0)], "0");
        check(ones(), "tally", [], "{1: 3, 1.0: 1}");
        check(ones(), "contains", [Value::from("2")], "false");
    }

    #[test]
    fn collections_are_combined() {
        check(ints(1..=3), "zip", [ints(4..=5)], "[[1, 4], [2, 5]]");
        check(ints(1..=3), "zip", [1i64.into()], "[]");
        check(ints(5..=6), "enumerate", [], "[{index: 0, value: 5}, {index: 1, value: 6}]");
        check(Value::list(vec![ints(1..=2), Value::Nil, ints([])]), "flatten", [], "[1, 2, nil]");
        check(Value::list(vec![Value::Nil, 1i64.into()]), "compact", [], "[1]");
        check(ints(1..=3), "join", ["-".into()], "1-2-3");
        check(ints(1..=2), "push", [], "[1, 2, nil]");
        check(ints([]), "pop", [], "[]");
    }
}
