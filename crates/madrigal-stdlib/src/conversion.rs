//! Types, conversion and identity.

use madrigal_vm::methods::check_bytes;
use madrigal_vm::value::structural_key;
use madrigal_vm::{Args, Cx, Dict, Fault, Pair, Range, Str, Value};

madrigal_vm::builtins! {
    /// Name of the kind of `value`.
    "type_of" (value: any) -> string = type_of;
    /// The display form.
    "to_string" (value: any) -> string = to_string;
    /// An int, truncated or parsed; nil when `value` is none.
    "to_int" (value: any) -> int = to_int;
    /// A float, widened or parsed; nil when `value` is none.
    "to_float" (value: any) -> float = to_float;
    /// A list as it is, any other value as a list of one item.
    "to_list" (value: any) -> list = to_list;
    /// Number of characters, items or entries; 0 for everything else.
    "len" (value: any) -> int = len;
    /// The keys of a dict, sorted.
    "keys" (dict: dict) -> list = keys;
    /// The values of a dict in key order.
    "values" (dict: dict) -> list = values;
    /// A dict `{key, value}` for each entry, in key order.
    "entries" (dict: dict) -> list = entries;
    /// `range(n)` is `0 to n exclusive`, `range(a, b)` is `a to b exclusive`.
    "range" (start: int, end: int) -> range = range;
    /// A pair of two values.
    "pair" (first: any, second: any) -> pair = pair;
    /// Whether both are the same object.
    "is_same" (a: any, b: any) -> bool = is_same;
    /// A text that identifies the object.
    "addr_of" (value: any) -> string = addr_of;
    /// A hash of the value; equal values of one kind have equal hashes.
    "hash_value" (value: any) -> int = hash_value;
}

fn type_of(_: &mut Cx<'_>, args: Args<'_>) -> Result<&'static str, Fault> {
    Ok(args.get(0).type_name())
}

fn to_string(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<Str, Fault> {
    Ok(match args.take(0) {
        Value::String(text) => text,
        _ if args.is_empty() => Str::from(""),
        other => {
            let text = other.display();
            check_bytes("to_string", Some(text.len()))?;
            text
        }
    })
}

fn to_int(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    Ok(match args.get(0) {
        Value::Float(it) => Value::Int(*it as i64),
        Value::String(text) => text.parse().map_or(Value::Nil, Value::Int),
        other => other.as_int().map_or(Value::Nil, Value::Int),
    })
}

fn to_float(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    Ok(match args.get(0) {
        Value::String(text) => text.parse().map_or(Value::Nil, Value::Float),
        other => other.as_number().map_or(Value::Nil, Value::Float),
    })
}

fn to_list(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<Value, Fault> {
    Ok(match args.take(0) {
        Value::List(items) => Value::List(items),
        Value::Set(items) => Value::list(items.iter().cloned().collect()),
        other => Value::list(vec![other]),
    })
}

fn len(_: &mut Cx<'_>, args: Args<'_>) -> Result<usize, Fault> {
    Ok(match args.get(0) {
        Value::String(it) => it.count(),
        Value::Bytes(it) => it.len(),
        Value::List(it) => it.len(),
        Value::Dict(it) => it.len(),
        Value::Set(it) => it.len(),
        Value::Range(it) => it.len(),
        _ => 0,
    })
}

fn dict(mut args: Args<'_>) -> Dict {
    match args.take(0) {
        Value::Dict(it) => it,
        _ => Dict::new(),
    }
}

fn keys(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    Ok(Value::list(dict(args).keys().cloned().map(Value::String).collect()))
}

fn values(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    Ok(Value::list(dict(args).values().cloned().collect()))
}

fn entries(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let entry =
        |(key, value): (&Str, &Value)| Value::dict([("key", Value::from(key.clone())), ("value", value.clone())]);
    Ok(Value::list(dict(args).iter().map(entry).collect()))
}

fn range(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let range = match args.len() {
        1 => match args.int(0) {
            Some(end) => Range::new(0, end, true),
            None => return Err(Fault::type_error("range(n): expected integer argument")),
        },
        2 => match (args.int(0), args.int(1)) {
            (Some(start), Some(end)) => Range::new(start, end, true),
            _ => return Err(Fault::type_error("range(a, b): expected integer arguments")),
        },
        n => return Err(Fault::type_error(format!("range expects 1 or 2 integer arguments, got {n}"))),
    };
    Ok(Value::Range(range))
}

fn pair(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<Value, Fault> {
    if args.len() != 2 {
        return Err(Fault::type_error(format!("pair: expected 2 arguments, got {}", args.len())));
    }
    Ok(Value::Pair(Pair::new(args.take(0), args.take(1))))
}

fn is_same(_: &mut Cx<'_>, args: Args<'_>) -> Result<bool, Fault> {
    Ok(match (args.get(0), args.get(1)) {
        (Value::List(a), Value::List(b)) => a.same(b),
        (Value::Dict(a), Value::Dict(b)) => a.same(b),
        (Value::Set(a), Value::Set(b)) => a.same(b),
        (Value::Closure(a), Value::Closure(b)) => a.same(b),
        (Value::Pair(a), Value::Pair(b)) => std::ptr::eq(a.first(), b.first()),
        (a, b) => a.kind() == b.kind() && a == b,
    })
}

fn addr_of(_: &mut Cx<'_>, args: Args<'_>) -> Result<String, Fault> {
    let value = args.get(0);
    Ok(match value {
        Value::List(it) => format!("list@{:p}", it.address()),
        Value::Dict(it) => format!("dict@{:p}", it.address()),
        Value::Set(it) => format!("set@{:p}", it.address()),
        Value::String(it) => format!("string@{:p}", it.address()),
        Value::Bytes(it) => format!("bytes@{:p}", it.address()),
        Value::Closure(it) => format!("closure@{:p}", it.address()),
        Value::Builtin(it) => format!("builtin@{}", it.name),
        other => format!("{}@{other}", other.type_name()),
    })
}

fn hash_value(_: &mut Cx<'_>, args: Args<'_>) -> Result<i64, Fault> {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
    Ok(structural_key(args.get(0)).as_bytes().iter().fold(0xcbf2_9ce4_8422_2325, step) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Bench, check};

    #[test]
    fn texts_parse_strictly() {
        check("to_int", ["+5".into()], "5");
        check("to_int", [" 5".into()], "nil");
        check("to_int", ["3.5".into()], "nil");
        check("to_int", [Value::Float(1e300)], "9223372036854775807");
        check("to_int", [true.into()], "nil");
        check("to_float", ["1e3".into()], "1000.0");
        check("len", ["äö".into()], "2");
        check("len", [5i64.into()], "0");
        check("to_list", [], "[nil]");
        check(
            "range",
            [1i64.into(), 2i64.into(), 3i64.into()],
            "Type error: range expects 1 or 2 integer arguments, got 3",
        );
        check("range", ["x".into()], "Type error: range(n): expected integer argument");
        check("pair", [1i64.into()], "Type error: pair: expected 2 arguments, got 1");
    }

    #[test]
    fn identity_is_about_objects() {
        let list = Value::list(vec![1i64.into()]);
        check("is_same", [list.clone(), list.clone()], "true");
        check("is_same", [list, Value::list(vec![1i64.into()])], "false");
        check("is_same", ["a".into(), "a".into()], "true");
        check("addr_of", [42i64.into()], "int@42");
        let mut bench = Bench::new();
        let mut hash = |value: Value| bench.call("hash_value", vec![value]).expect("a hash").to_string();
        assert_eq!(hash("1".into()), hash("1".into()));
        assert_ne!(hash("1".into()), hash(1i64.into()));
    }
}
