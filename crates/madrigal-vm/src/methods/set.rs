//! Methods of sets that need no callback. Membership is by `==`; what the free functions do is in the library.

use crate::builtin::{Args, Cx};
use crate::fault::Fault;
use crate::value::{Set, Value};

crate::builtins! {
    /// Number of members.
    "set.count" () -> int = count;
    /// Number of members.
    "set.len" () -> int = count;
    /// Whether there is none.
    "set.empty" () -> bool = empty;
    /// Whether a member equals `value`.
    "set.contains" (value: any) -> bool = contains;
    /// With `value`, unless a member equals it.
    "set.add" (value: any) -> set = add;
    /// Without the member that equals `value`.
    "set.remove" (value: any) -> set = remove;
    /// Without the member that equals `value`.
    "set.delete" (value: any) -> set = remove;
    /// The members, then those of `other` that are new.
    "set.union" (other: set) -> set = union;
    /// The members that `other` has as well.
    "set.intersect" (other: set) -> set = intersect;
    /// The members that `other` has as well.
    "set.intersection" (other: set) -> set = intersect;
    /// The members that `other` has not.
    "set.difference" (other: set) -> set = difference;
    /// The members that `other` has not, then those of `other` that this has not.
    "set.symmetric_difference" (other: set) -> set = symmetric_difference;
    /// Whether `other` has every member.
    "set.is_subset" (other: set) -> bool = is_subset;
    /// Whether this has every member of `other`.
    "set.is_superset" (other: set) -> bool = is_superset;
    /// Whether there is no common member.
    "set.is_disjoint" (other: set) -> bool = is_disjoint;
    /// The members as a list.
    "set.to_list" () -> list = to_list;
}

fn take(args: &mut Args<'_>, index: usize) -> Option<Set> {
    match args.take(index) {
        Value::Set(it) => Some(it),
        _ => None,
    }
}

fn receiver(args: &mut Args<'_>) -> Set {
    take(args, 0).unwrap_or_default()
}

fn count(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<usize, Fault> {
    Ok(receiver(&mut args).len())
}

fn empty(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<bool, Fault> {
    Ok(receiver(&mut args).is_empty())
}

fn contains(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<bool, Fault> {
    Ok(receiver(&mut args).contains(args.get(1)))
}

fn add(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<Value, Fault> {
    let mut members = receiver(&mut args);
    members.add(args.take(1));
    Ok(Value::Set(members))
}

fn remove(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<Value, Fault> {
    let mut members = receiver(&mut args);
    members.remove_equal(args.get(1));
    Ok(Value::Set(members))
}

fn union(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<Value, Fault> {
    let mut members = receiver(&mut args);
    if let Some(other) = take(&mut args, 1) {
        other.iter().for_each(|it| members.add(it.clone()));
    }
    Ok(Value::Set(members))
}

fn intersect(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<Value, Fault> {
    let mut members = receiver(&mut args);
    let other = take(&mut args, 1).unwrap_or_default();
    members.retain(|it| other.contains(it));
    Ok(Value::Set(members))
}

fn difference(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<Value, Fault> {
    let mut members = receiver(&mut args);
    if let Some(other) = take(&mut args, 1) {
        members.retain(|it| !other.contains(it));
    }
    Ok(Value::Set(members))
}

fn symmetric_difference(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<Value, Fault> {
    let own = receiver(&mut args);
    let Some(other) = take(&mut args, 1) else { return Ok(Value::Set(own)) };
    let mut members = own.clone();
    members.retain(|it| !other.contains(it));
    other.iter().filter(|it| !own.contains(it)).for_each(|it| members.insert(it.clone()));
    Ok(Value::Set(members))
}

fn is_subset(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<bool, Fault> {
    let members = receiver(&mut args);
    Ok(take(&mut args, 1).is_some_and(|other| members.iter().all(|it| other.contains(it))))
}

fn is_superset(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<bool, Fault> {
    let members = receiver(&mut args);
    Ok(take(&mut args, 1).is_some_and(|other| other.iter().all(|it| members.contains(it))))
}

fn is_disjoint(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<bool, Fault> {
    let members = receiver(&mut args);
    Ok(take(&mut args, 1).is_none_or(|other| !members.iter().any(|it| other.contains(it))))
}

fn to_list(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<Value, Fault> {
    Ok(Value::list(receiver(&mut args).iter().cloned().collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::methods::tests::check;

    fn set(values: impl IntoIterator<Item = i64>) -> Value {
        Value::set(values.into_iter().map(Value::Int))
    }

    #[test]
    fn results_keep_the_receivers_order_then_what_is_new() {
        check(set([3, 1]), "union", [set([2, 1])], "set(3, 1, 2)");
        check(set([3, 1, 2]), "intersect", [set([2, 3])], "set(3, 2)");
        check(set([3, 1, 2]), "remove", [3i64.into()], "set(1, 2)");
        check(set([3, 1]), "symmetric_difference", [set([1, 4])], "set(3, 4)");
        check(set([3, 1]), "add", [Value::Float(1.0)], "set(3, 1)");
    }

    #[test]
    fn other_kinds_of_argument_have_fixed_answers() {
        for (name, expected) in [
            ("union", "set(1)"),
            ("difference", "set(1)"),
            ("symmetric_difference", "set(1)"),
            ("intersect", "set()"),
            ("is_subset", "false"),
            ("is_superset", "false"),
            ("is_disjoint", "true"),
        ] {
            check(set([1]), name, [Value::Nil], expected);
        }
    }
}
