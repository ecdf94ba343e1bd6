//! Shared maps: values by key, each with a version of its own.

use super::host;
use super::shared::{handle, opening, resolve, snapshot, snapshot_version};
use madrigal_runtime::SharedMap;
use madrigal_vm::{Args, Cx, Fault, Value};

madrigal_vm::builtins! {
    /// The shared map of a key; the first opener's initial entries count.
    "shared_map" (key: any, initial: dict = nil) -> dict = shared_map;
    /// The value of `key`, or `default`.
    "shared_map_get" (map: dict, key: string, default: any = nil) -> any = shared_map_get;
    /// Sets `key`; its previous value or nil.
    "shared_map_set" (map: dict, key: string, value: any) -> any = shared_map_set;
    /// Removes `key`; its previous value or nil.
    "shared_map_delete" (map: dict, key: string) -> any = shared_map_delete;
    /// All entries as `{key, value}`, in key order.
    "shared_map_entries" (map: dict) -> list = shared_map_entries;
    /// `{value, version}` of `key`.
    "shared_map_snapshot" (map: dict, key: string) -> dict = shared_map_snapshot;
    /// Sets `key` to `new` if it holds `expected` (or is at the version of a snapshot); whether it did.
    "shared_map_cas" (map: dict, key: string, expected: any, new: any) -> bool = shared_map_cas;
}

fn shared_map(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let opening = opening(cx, "shared_map", "key", args.get(0))?;
    let given = opening.options.as_ref().and_then(|it| it.get("initial").cloned());
    let initial = match given.unwrap_or_else(|| args.get(1).clone()) {
        Value::Dict(entries) => Some(entries),
        Value::Nil => None,
        other => {
            let got = other.type_name();
            return Err(Fault::type_error(format!("shared_map: initial must be a dict, got {got}")));
        }
    };
    host(cx).run.tasks.shared.open(&opening.scope, |scoped| {
        scoped.maps.entry(opening.key.clone()).or_insert_with(|| {
            let entries = initial.iter().flat_map(|it| it.iter());
            SharedMap::with_entries(entries.map(|(key, value)| (key.to_string(), value.clone())))
        });
    });
    Ok(handle("shared_map", "key", &opening))
}

pub(super) fn map(cx: &mut Cx<'_>, name: &str, args: &Args<'_>) -> Result<SharedMap<Value>, Fault> {
    let what = ("shared_map", "shared map");
    resolve(cx, name, what, args.get(0), |scoped, key| scoped.maps.get(key).cloned())
}

fn shared_map_get(cx: &mut Cx<'_>, mut args: Args<'_>) -> Result<Value, Fault> {
    let found = map(cx, "shared_map_get", &args)?.get(args.string(1).as_str());
    Ok(found.unwrap_or_else(|| args.take(2)))
}

fn shared_map_set(cx: &mut Cx<'_>, mut args: Args<'_>) -> Result<Value, Fault> {
    let (key, value) = (args.string(1), args.take(2));
    Ok(map(cx, "shared_map_set", &args)?.set(key.as_str(), value).unwrap_or_default())
}

fn shared_map_delete(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    Ok(map(cx, "shared_map_delete", &args)?.delete(args.string(1).as_str()).unwrap_or_default())
}

fn shared_map_entries(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let entries = map(cx, "shared_map_entries", &args)?.entries().into_iter();
    Ok(Value::list(entries.map(|(key, value)| Value::dict([("key", Value::from(key)), ("value", value)])).collect()))
}

fn shared_map_snapshot(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let seen = map(cx, "shared_map_snapshot", &args)?.snapshot(args.string(1).as_str());
    Ok(snapshot(seen.value.unwrap_or_default(), seen.version))
}

fn shared_map_cas(cx: &mut Cx<'_>, mut args: Args<'_>) -> Result<bool, Fault> {
    let (key, expected, new) = (args.string(1), args.take(2), args.take(3));
    let map = map(cx, "shared_map_cas", &args)?;
    Ok(match snapshot_version(&expected) {
        Some(version) => map.compare_version_and_set(key.as_str(), version, new),
        // An absent key reads as nil, so nil stands for it.
        None => map.set_when(key.as_str(), new, |present| *present.unwrap_or(&Value::Nil) == expected),
    })
}
