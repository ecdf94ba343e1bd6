//! The part of the library that is written in Harn, and the natives only it calls (names beginning `__`).
//!
//! A callback may wait, so whatever calls one has to be bytecode. Convention of `lib/prelude.harn`: a top-level
//! function `list_map(self, f)` implements the method `map` of lists (prefixes `list_`, `dict_`, `set_`, `range_`, `string_`),
//! `sync_lock__with(self, f)` that of a handle whose type has several words, `function_flat_map(xs, f)` the builtin function `flat_map`. Such functions use statements, operators, natives and
//! builtins only: no other prelude function, no captured or module-level variable.

use crate::lists::wrong_list;
use madrigal_vm::value::{compare, structural_key};
use madrigal_vm::{Args, Cx, Dict, Fault, Handle, HandleObject, List, Value, methods};
use std::cmp::Ordering;
use std::collections::HashSet;

/// Source of the prelude.
pub const PRELUDE: &str = include_str!("lib/prelude.harn");

madrigal_vm::builtins! {
    /// Whether `f` can be called.
    "__is_callable" (f: any) -> bool = is_callable;
    /// Stands for an argument that was not passed.
    "__missing" () -> any = missing;
    /// Checks the arguments of a list builtin with a callback.
    "__check_callback" (name: string, items: any, f: any) -> nil = check_callback;
    /// Fails with a type error.
    "__type_error" (text: string) -> never = type_error;
    /// The items in the order of their keys.
    "__sort_by_keys" (items: list, keys: list) -> list = sort_by_keys;
    /// The item with the smallest key, the first of equals.
    "__min_by_keys" (items: list, keys: list) -> any = min_by_keys;
    /// The item with the largest key, the first of equals.
    "__max_by_keys" (items: list, keys: list) -> any = max_by_keys;
    /// A dict of lists of items by the display form of their keys.
    "__group_by_keys" (items: list, keys: list) -> dict = group_by_keys;
    /// The first item of each structurally equal key.
    "__dedup_by_keys" (items: list, keys: list) -> list = dedup_by_keys;
    /// The dict with these keys, by display form, and values; later ones win.
    "__dict_of" (keys: list, values: list) -> dict = dict_of;
    /// The results of callbacks, lists among them replaced by their items.
    "__splice" (results: list) -> list = splice;
}

/// What `__missing` gives.
struct Missing;

impl HandleObject for Missing {
    fn type_name(&self) -> &'static str {
        "missing"
    }

    fn display(&self) -> String {
        "<missing>".to_owned()
    }

    fn identity(&self) -> Option<u64> {
        None
    }
}

fn is_callable(_: &mut Cx<'_>, args: Args<'_>) -> Result<bool, Fault> {
    Ok(args.get(0).is_callable())
}

fn missing(_: &mut Cx<'_>, _: Args<'_>) -> Result<Value, Fault> {
    Ok(Value::Handle(Handle::new(Missing)))
}

/// The argument, unless it is what `__missing` gave.
pub(crate) fn passed(value: &Value) -> Option<&Value> {
    match value {
        Value::Handle(it) if it.downcast::<Missing>().is_some() => None,
        other => Some(other),
    }
}

fn check_callback(_: &mut Cx<'_>, args: Args<'_>) -> Result<(), Fault> {
    let name = args.string(0);
    if args.list(1).is_none() {
        return Err(wrong_list(&name, passed(args.get(1))));
    }
    match passed(args.get(2)) {
        None => Err(Fault::runtime(format!("{name}: callback is required"))),
        Some(it) if !it.is_callable() => {
            Err(Fault::type_error(format!("{name}: callback must be callable, got {}", it.type_name())))
        }
        Some(_) => Ok(()),
    }
}

fn type_error(_: &mut Cx<'_>, args: Args<'_>) -> Result<(), Fault> {
    Err(Fault::type_error(args.string(0).as_str()))
}

fn list(args: &mut Args<'_>, index: usize) -> List {
    match args.take(index) {
        Value::List(it) => it,
        _ => List::from(Vec::new()),
    }
}

fn sort_by_keys(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<Value, Fault> {
    let (items, keys) = (list(&mut args, 0), list(&mut args, 1));
    let positions = methods::sorted_positions(&keys);
    Ok(Value::list(positions.into_iter().filter_map(|at| items.get(at).cloned()).collect()))
}

fn extreme(mut args: Args<'_>, wanted: Ordering) -> Value {
    let (items, keys) = (list(&mut args, 0), list(&mut args, 1));
    let better = |best: usize, at: usize| if compare(&keys[at], &keys[best]) == wanted { at } else { best };
    let best = (0..keys.len()).reduce(better);
    best.and_then(|at| items.get(at).cloned()).unwrap_or_default()
}

fn min_by_keys(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    Ok(extreme(args, Ordering::Less))
}

fn max_by_keys(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    Ok(extreme(args, Ordering::Greater))
}

fn group_by_keys(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<Value, Fault> {
    let (items, keys) = (list(&mut args, 0), list(&mut args, 1));
    let mut groups = Dict::new();
    for (item, key) in items.into_vec().into_iter().zip(keys.iter()) {
        match groups.slot(&key.display()) {
            Value::List(group) => group.make_mut().push(item),
            slot => *slot = Value::list(vec![item]),
        }
    }
    Ok(Value::Dict(groups))
}

fn dedup_by_keys(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<Value, Fault> {
    let (items, keys) = (list(&mut args, 0), list(&mut args, 1));
    let mut seen = HashSet::new();
    let first = items.iter().zip(keys.iter()).filter(|(_, key)| seen.insert(structural_key(key)));
    Ok(Value::list(first.map(|(item, _)| item.clone()).collect()))
}

fn dict_of(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<Value, Fault> {
    let (keys, values) = (list(&mut args, 0), list(&mut args, 1));
    Ok(Value::Dict(keys.iter().map(Value::display).zip(values.into_vec()).collect()))
}

fn splice(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<Value, Fault> {
    let results = list(&mut args, 0);
    let mut all = Vec::with_capacity(results.len());
    for result in results.into_vec() {
        match result {
            Value::List(items) => all.extend(items.into_vec()),
            one => all.push(one),
        }
        methods::check_items("flat_map", Some(all.len()))?;
    }
    Ok(Value::list(all))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Bench, check};

    fn items() -> Value {
        Value::list(vec!["b".into(), "a".into(), "c".into()])
    }

    fn keys() -> Value {
        Value::list(vec![2i64.into(), 1i64.into(), 2i64.into()])
    }

    #[test]
    fn items_follow_their_keys() {
        check("__sort_by_keys", [items(), keys()], "[a, b, c]");
        check("__min_by_keys", [items(), keys()], "a");
        check("__max_by_keys", [items(), keys()], "b");
        check("__max_by_keys", [Value::list(vec![]), Value::list(vec![])], "nil");
        check("__group_by_keys", [items(), keys()], "{1: [a], 2: [b, c]}");
        check("__dedup_by_keys", [items(), keys()], "[b, a]");
        check("__splice", [Value::list(vec![keys(), 5i64.into()])], "[2, 1, 2, 5]");
    }

    #[test]
    fn missing_and_wrong_callbacks_are_told_apart() {
        let missing = || Bench::new().call("__missing", vec![]).expect("a stand-in");
        let check = |args: [Value; 2], expected: &str| {
            let [list, callback] = args;
            check("__check_callback", ["f".into(), list, callback], expected);
        };
        check([missing(), missing()], "Runtime error: f: first argument must be a list");
        check([1i64.into(), missing()], "Type error: f: first argument must be a list, got int");
        check([items(), missing()], "Runtime error: f: callback is required");
        check([items(), Value::Nil], "Type error: f: callback must be callable, got nil");
    }
}
