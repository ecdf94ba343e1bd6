//! Shared cells: a value with a version, by key.

use super::host;
use super::shared::{count, handle, named, opening, resolve, snapshot, snapshot_version};
use madrigal_runtime::{SharedCell, SharedMetrics};
use madrigal_vm::{Args, Cx, Fault, Value};

madrigal_vm::builtins! {
    /// The shared cell of a key; the first opener's initial value counts.
    "shared_cell" (key: any, initial: any = nil) -> dict = shared_cell;
    /// Its value.
    "shared_get" (cell: dict) -> any = shared_get;
    /// Sets it; the previous value.
    "shared_set" (cell: dict, value: any) -> any = shared_set;
    /// `{value, version}`.
    "shared_snapshot" (cell: dict) -> dict = shared_snapshot;
    /// Sets it to `new` if it holds `expected` (or is at the version of a snapshot); whether it did.
    "shared_cas" (cell: dict, expected: any, new: any) -> bool = shared_cas;
    /// Sets it to `new` if it is at this version; whether it did.
    "__shared_cas_version" (cell: dict, version: int, new: any) -> bool = cas_version;
    /// Counters of a shared cell or map.
    "shared_metrics" (handle: dict) -> dict = shared_metrics;
}

fn shared_cell(cx: &mut Cx<'_>, mut args: Args<'_>) -> Result<Value, Fault> {
    let opening = opening(cx, "shared_cell", "key", args.get(0))?;
    let given = opening.options.as_ref().and_then(|it| it.get("initial").cloned());
    let initial = given.unwrap_or_else(|| args.take(1));
    host(cx).run.tasks.shared.open(&opening.scope, |scoped| {
        scoped.cells.entry(opening.key.clone()).or_insert_with(|| SharedCell::new(initial));
    });
    Ok(handle("shared_cell", "key", &opening))
}

fn cell(cx: &mut Cx<'_>, name: &str, args: &Args<'_>) -> Result<SharedCell<Value>, Fault> {
    let what = ("shared_cell", "shared cell");
    resolve(cx, name, what, args.get(0), |scoped, key| scoped.cells.get(key).cloned())
}

fn shared_get(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    Ok(cell(cx, "shared_get", &args)?.get())
}

fn shared_set(cx: &mut Cx<'_>, mut args: Args<'_>) -> Result<Value, Fault> {
    let value = args.take(1);
    Ok(cell(cx, "shared_set", &args)?.set(value))
}

fn shared_snapshot(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let seen = cell(cx, "shared_snapshot", &args)?.snapshot();
    Ok(snapshot(seen.value, seen.version))
}

fn shared_cas(cx: &mut Cx<'_>, mut args: Args<'_>) -> Result<bool, Fault> {
    let (expected, new) = (args.take(1), args.take(2));
    let cell = cell(cx, "shared_cas", &args)?;
    Ok(match snapshot_version(&expected) {
        Some(version) => cell.compare_version_and_set(version, new),
        None => cell.compare_and_set(&expected, new),
    })
}

fn cas_version(cx: &mut Cx<'_>, mut args: Args<'_>) -> Result<bool, Fault> {
    let (version, new) = (args.int(1), args.take(2));
    let version = version.and_then(|it| u64::try_from(it).ok()).unwrap_or(u64::MAX);
    Ok(cell(cx, "shared_update", &args)?.compare_version_and_set(version, new))
}

fn shared_metrics(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let name = "shared_metrics";
    if named("shared_map", "key", args.get(0)).is_some() {
        return Ok(described(super::maps::map(cx, name, &args)?.metrics()));
    }
    if named("shared_cell", "key", args.get(0)).is_none() {
        return Err(Fault::thrown(format!("{name}: first argument must be a shared cell or map")));
    }
    Ok(described(cell(cx, name, &args)?.metrics()))
}

fn described(metrics: SharedMetrics) -> Value {
    Value::dict([
        ("version", count(metrics.version)),
        ("read_count", count(metrics.read_count)),
        ("write_count", count(metrics.write_count)),
        ("cas_success_count", count(metrics.cas_success_count)),
        ("cas_failure_count", count(metrics.cas_failure_count)),
        ("stale_read_count", count(metrics.stale_read_count)),
    ])
}
