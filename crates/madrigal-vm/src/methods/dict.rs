//! Methods of dicts that need no callback. Everything that lists entries does so in key order.

use crate::builtin::{Args, Cx};
use crate::fault::Fault;
use crate::value::{Dict, Str, Value};

crate::builtins! {
    /// The keys, sorted.
    "dict.keys" () -> list = keys;
    /// The values in key order.
    "dict.values" () -> list = values;
    /// A dict `{key, value}` for each entry, in key order.
    "dict.entries" () -> list = entries;
    /// Number of entries.
    "dict.count" () -> int = count;
    /// Whether the key is present, also with the value nil.
    "dict.has" (key: string) -> bool = has;
    /// The value under `key`, `default` when the key is absent.
    "dict.get" (key: string, default: any = nil) -> any = get;
    /// With the entries of `other` added, which win.
    "dict.merge" (other: dict) -> dict = merge;
    /// Without `key`.
    "dict.remove" (key: string) -> dict = remove;
}

fn receiver(args: &mut Args<'_>) -> Dict {
    match args.take(0) {
        Value::Dict(it) => it,
        _ => Dict::new(),
    }
}

fn keys(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<Value, Fault> {
    Ok(Value::list(receiver(&mut args).keys().cloned().map(Value::String).collect()))
}

fn values(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<Value, Fault> {
    Ok(Value::list(receiver(&mut args).values().cloned().collect()))
}

fn entries(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<Value, Fault> {
    let (key, value) = (Str::from("key"), Str::from("value"));
    let entry =
        |(k, v): (&Str, &Value)| Value::dict([(key.clone(), Value::String(k.clone())), (value.clone(), v.clone())]);
    Ok(Value::list(receiver(&mut args).iter().map(entry).collect()))
}

fn count(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<usize, Fault> {
    Ok(receiver(&mut args).len())
}

fn has(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<bool, Fault> {
    Ok(receiver(&mut args).has(&args.string(1)))
}

fn get(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<Value, Fault> {
    let entries = receiver(&mut args);
    let found = match args.get(1) {
        Value::String(key) => entries.get(key).cloned(),
        _ => entries.get(&args.string(1)).cloned(),
    };
    Ok(found.unwrap_or_else(|| args.take(2)))
}

fn merge(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<Value, Fault> {
    let mut merged = receiver(&mut args);
    match args.take(1) {
        Value::Dict(other) if merged.is_empty() => merged = other,
        Value::Dict(other) => {
            for (key, value) in other.iter() {
                merged.insert(key.clone(), value.clone());
            }
        }
        _ => {}
    }
    Ok(Value::Dict(merged))
}

fn remove(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<Value, Fault> {
    let mut entries = receiver(&mut args);
    entries.remove(&args.string(1));
    Ok(Value::Dict(entries))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::methods::tests::check;

    fn sample() -> Value {
        Value::dict([("b", Value::Int(2)), ("a", Value::Nil), ("1", Value::Int(3))])
    }

    #[test]
    fn entries_come_in_key_order() {
        check(sample(), "keys", [], "[1, a, b]");
        check(sample(), "values", [], "[3, nil, 2]");
        check(Value::dict([("k", Value::Int(1))]), "entries", [], "[{key: k, value: 1}]");
    }

    #[test]
    fn a_default_is_for_absent_keys_only() {
        check(sample(), "get", ["a".into(), 7i64.into()], "nil");
        check(sample(), "get", ["z".into(), 7i64.into()], "7");
        check(sample(), "get", [1i64.into()], "3");
        check(sample(), "get", [], "nil");
        check(sample(), "has", ["a".into()], "true");
    }

    #[test]
    fn merging_and_removing_leave_the_receiver_alone() {
        let shared = sample();
        check(shared.clone(), "merge", [Value::dict([("b", Value::Int(0))])], "{1: 3, a: nil, b: 0}");
        check(shared.clone(), "merge", [5i64.into()], "{1: 3, a: nil, b: 2}");
        check(shared.clone(), "remove", ["b".into()], "{1: 3, a: nil}");
        assert_eq!(shared.to_string(), "{1: 3, a: nil, b: 2}");
    }
}
