//! Methods of ranges that need no callback. Ends and length take constant time; what lists the ints is bounded in size.

use super::check_items;
use crate::builtin::{Args, Cx};
use crate::fault::Fault;
use crate::value::{Range, Value};

crate::builtins! {
    /// Number of ints.
    "range.len" () -> int = count;
    /// Number of ints.
    "range.count" () -> int = count;
    /// Whether there is none.
    "range.empty" () -> bool = empty;
    /// Whether `value` lies inside.
    "range.contains" (value: any) -> bool = contains;
    /// The first int, nil when empty.
    "range.first" () -> int = first;
    /// The last int, nil when empty.
    "range.last" () -> int = last;
    /// The smallest int, nil when empty.
    "range.min" () -> int = first;
    /// The largest int, nil when empty.
    "range.max" () -> int = last;
    /// As written.
    "range.to_string" () -> string = to_string;
    /// The ints as a list.
    "range.to_list" () -> list = to_list;
    /// Sum of the ints.
    "range.sum" () -> int = sum;
}

fn receiver(args: &mut Args<'_>) -> Range {
    match args.take(0) {
        Value::Range(it) => it,
        _ => Range::new(0, 0, true),
    }
}

/// The ints of a range as values, unless they would take too much memory.
fn items(range: &Range) -> Result<Vec<Value>, Fault> {
    check_items("range", Some(range.len()))?;
    Ok(range.iter().map(Value::Int).collect())
}

fn count(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<usize, Fault> {
    Ok(receiver(&mut args).len())
}

fn empty(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<bool, Fault> {
    Ok(receiver(&mut args).is_empty())
}

fn contains(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<bool, Fault> {
    let range = receiver(&mut args);
    Ok(args.int(1).is_some_and(|it| range.contains(it)))
}

fn first(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<Value, Fault> {
    let range = receiver(&mut args);
    Ok(if range.is_empty() { Value::Nil } else { Value::Int(range.start()) })
}

fn last(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<Value, Fault> {
    Ok(receiver(&mut args).last().map_or(Value::Nil, Value::Int))
}

fn to_string(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    Ok(Value::String(args.string(0)))
}

fn to_list(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<Value, Fault> {
    Ok(Value::list(items(&receiver(&mut args))?))
}

/// By Gauss, in wide arithmetic; wraps like `+`.
fn sum(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<i64, Fault> {
    let range = receiver(&mut args);
    let Some(last) = range.last() else { return Ok(0) };
    let (first, last) = (i128::from(range.start()), i128::from(last));
    let (ends, count) = (first + last, last - first + 1);
    // One of both is even, so halving it first loses nothing.
    let product = if ends % 2 == 0 { (ends / 2).wrapping_mul(count) } else { ends.wrapping_mul(count / 2) };
    Ok(product as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::methods::tests::check;

    fn range(start: i64, end: i64) -> Value {
        Value::Range(Range::new(start, end, false))
    }

    #[test]
    fn ends_and_sums_take_no_walk() {
        check(range(i64::MIN, i64::MAX), "last", [], "9223372036854775807");
        check(range(i64::MIN, i64::MAX), "sum", [], "-9223372036854775808");
        check(range(i64::MIN, i64::MAX), "len", [], "9223372036854775807");
        check(range(1, 4), "sum", [], "10");
        check(range(3, 1), "sum", [], "0");
        check(range(3, 1), "first", [], "nil");
        check(range(1, 4), "contains", [Value::Float(2.0)], "false");
        check(range(1, 4), "to_string", [], "1 to 4");
    }

    #[test]
    fn lists_are_made_on_demand_and_bounded() {
        check(range(1, 3), "to_list", [], "[1, 2, 3]");
        check(range(0, i64::MAX), "to_list", [], "Error [budget_exceeded]: range: the result would exceed 1 GiB");
    }
}
