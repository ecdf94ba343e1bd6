//! Sets as free functions: membership is by structural key, so int 1 and float 1.0 are two members. Methods of sets
//! are in `madrigal-vm`, `methods/set.rs`.

use madrigal_vm::{Args, Cx, Fault, Set, Value};

madrigal_vm::builtins! {
    /// A set of the arguments; lists and sets among them are replaced by their items.
    "set" (items: any) -> set = set;
    /// The set with `value`.
    "set_add" (members: set, value: any) -> set = set_add;
    /// The set without `value`.
    "set_remove" (members: set, value: any) -> set = set_remove;
    /// Whether `value` is a member.
    "set_contains" (members: set, value: any) -> bool = set_contains;
    /// The members of `a`, then those of `b` that are new.
    "set_union" (a: set, b: set) -> set = set_union;
    /// The members of `a` that `b` has.
    "set_intersect" (a: set, b: set) -> set = set_intersect;
    /// The members of `a` that `b` has not.
    "set_difference" (a: set, b: set) -> set = set_difference;
    /// The members of `a` that `b` has not, then those of `b` that `a` has not.
    "set_symmetric_difference" (a: set, b: set) -> set = set_symmetric_difference;
    /// Whether `b` has every member of `a`.
    "set_is_subset" (a: set, b: set) -> bool = set_is_subset;
    /// Whether `a` has every member of `b`.
    "set_is_superset" (a: set, b: set) -> bool = set_is_superset;
    /// Whether `a` and `b` have no common member.
    "set_is_disjoint" (a: set, b: set) -> bool = set_is_disjoint;
}

fn set(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<Value, Fault> {
    let mut members = Set::new();
    for argument in args.rest(0) {
        match argument {
            Value::List(items) => items.into_vec().into_iter().for_each(|it| members.insert(it)),
            Value::Set(items) if members.is_empty() => members = items,
            Value::Set(items) => items.iter().for_each(|it| members.insert(it.clone())),
            other => members.insert(other),
        }
    }
    Ok(Value::Set(members))
}

/// The set in the first argument, which has to be one.
fn strict(args: &mut Args<'_>, name: &str) -> Result<Set, Fault> {
    match args.take(0) {
        Value::Set(it) => Ok(it),
        _ => Err(Fault::thrown(format!("{name}: first argument must be a set"))),
    }
}

fn set_add(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<Value, Fault> {
    let mut members = strict(&mut args, "set_add")?;
    members.insert(args.take(1));
    Ok(Value::Set(members))
}

fn set_remove(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<Value, Fault> {
    let mut members = strict(&mut args, "set_remove")?;
    members.remove(args.get(1));
    Ok(Value::Set(members))
}

fn set_contains(_: &mut Cx<'_>, args: Args<'_>) -> Result<bool, Fault> {
    Ok(matches!(args.get(0), Value::Set(members) if members.has(args.get(1))))
}

/// Both arguments, when they are sets.
fn both(args: &mut Args<'_>) -> Option<(Set, Set)> {
    match (args.take(0), args.take(1)) {
        (Value::Set(a), Value::Set(b)) => Some((a, b)),
        _ => None,
    }
}

fn both_strict(args: &mut Args<'_>, name: &str) -> Result<(Set, Set), Fault> {
    both(args).ok_or_else(|| Fault::thrown(format!("{name}: arguments must be sets")))
}

fn set_union(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<Value, Fault> {
    let (mut a, b) = both_strict(&mut args, "set_union")?;
    b.iter().for_each(|it| a.insert(it.clone()));
    Ok(Value::Set(a))
}

fn set_intersect(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<Value, Fault> {
    let (mut a, b) = both_strict(&mut args, "set_intersect")?;
    a.retain(|it| b.has(it));
    Ok(Value::Set(a))
}

fn set_difference(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<Value, Fault> {
    let (mut a, b) = both_strict(&mut args, "set_difference")?;
    a.retain(|it| !b.has(it));
    Ok(Value::Set(a))
}

fn set_symmetric_difference(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<Value, Fault> {
    let (a, b) = both_strict(&mut args, "set_symmetric_difference")?;
    let mut members = a.clone();
    members.retain(|it| !b.has(it));
    b.iter().filter(|it| !a.has(it)).for_each(|it| members.insert(it.clone()));
    Ok(Value::Set(members))
}

fn set_is_subset(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<bool, Fault> {
    Ok(both(&mut args).is_some_and(|(a, b)| a.iter().all(|it| b.has(it))))
}

fn set_is_superset(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<bool, Fault> {
    Ok(both(&mut args).is_some_and(|(a, b)| b.iter().all(|it| a.has(it))))
}

fn set_is_disjoint(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<bool, Fault> {
    Ok(both(&mut args).is_none_or(|(a, b)| !a.iter().any(|it| b.has(it))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::check;

    fn ints(values: impl IntoIterator<Item = i64>) -> Value {
        Value::set(values.into_iter().map(Value::Int))
    }

    #[test]
    fn construction_spreads_one_level() {
        let nested = Value::list(vec![1i64.into(), Value::list(vec![2i64.into()])]);
        check("set", [nested, 1i64.into(), ints([3])], "set(1, [2], 3)");
        check("set", [Value::Float(1.0), 1i64.into()], "set(1.0, 1)");
        check("set", [], "set()");
    }

    #[test]
    fn other_kinds_are_refused_or_have_fixed_answers() {
        check("set_add", [1i64.into()], "set_add: first argument must be a set");
        check("set_union", [ints([1]), 1i64.into()], "set_union: arguments must be sets");
        check("set_is_disjoint", [ints([1])], "true");
        check("set_is_subset", [ints([1])], "false");
        check("set_contains", [1i64.into(), 1i64.into()], "false");
    }
}
