//! Shared cells of the run: a value with a version, by key.

use super::host;
use crate::task::key_of;
use madrigal_vm::{Args, Cx, Fault, Handle, HandleObject, Value};
use parking_lot::Mutex;

madrigal_vm::builtins! {
    /// The shared cell of a key; the first opener's initial value counts.
    "shared_cell" (key: any, initial: any) -> dict = shared_cell;
    /// Its value.
    "shared_get" (cell: dict) -> any = shared_get;
    /// Sets it; the previous value.
    "shared_set" (cell: dict, value: any) -> any = shared_set;
    /// `{value, version}`.
    "shared_snapshot" (cell: dict) -> dict = shared_snapshot;
    /// Sets it to `new` if it holds `expected` (or is at the version of a snapshot); whether it did.
    "shared_cas" (cell: dict, expected: any, new: any) -> bool = shared_cas;
}

/// What stands behind a cell.
struct CellObject {
    name: String,
    state: Mutex<(Value, i64)>,
}

impl HandleObject for CellObject {
    fn type_name(&self) -> &'static str {
        "shared_cell"
    }

    fn display(&self) -> String {
        format!("<shared_cell:{}>", self.name)
    }

    fn identity(&self) -> Option<u64> {
        Some(key_of(&self.name))
    }
}

fn shared_cell(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let (scope, key, initial) = match args.get(0) {
        Value::Dict(options) => {
            let text = |name: &str| options.get(name).map(|it| it.display().to_string());
            let key = text("key").ok_or_else(|| Fault::thrown("shared_cell: key is required"))?;
            let initial = options.get("initial").cloned().unwrap_or_else(|| args.get(1).clone());
            (text("scope").unwrap_or_else(|| "task_group".to_owned()), key, initial)
        }
        _ => ("task_group".to_owned(), args.string(0).to_string(), args.get(1).clone()),
    };
    let host = host(cx);
    let owner = match scope.as_str() {
        "task" => host.context.task().id(),
        "task_group" => host.context.task().group_id().unwrap_or_else(|| "task_root".to_owned()),
        "process" | "workflow_run" => "runtime".to_owned(),
        other => return Err(Fault::thrown(format!("shared_cell: unknown scope '{other}'"))),
    };
    let name = format!("{scope}:{owner}/{key}");
    let mut cells = host.run.tasks.cells.lock();
    cells.entry(name.clone()).or_insert_with(|| Handle::new(CellObject { name, state: Mutex::new((initial, 0)) }));
    Ok(Value::dict([
        ("_type", Value::from("shared_cell")),
        ("key", Value::from(key)),
        ("scope", Value::from(format!("{scope}:{owner}"))),
    ]))
}

fn with_cell<T>(
    cx: &mut Cx<'_>,
    name: &str,
    cell: &Value,
    read: impl FnOnce(&mut (Value, i64)) -> T,
) -> Result<T, Fault> {
    let wrong = || Fault::thrown(format!("{name}: first argument must be a shared cell"));
    let Value::Dict(cell) = cell else { return Err(wrong()) };
    let (Some(Value::String(scope)), Some(Value::String(key))) = (cell.get("scope"), cell.get("key")) else {
        return Err(wrong());
    };
    let handle = host(cx).run.tasks.cells.lock().get(&format!("{scope}/{key}")).cloned().ok_or_else(wrong)?;
    let object = handle.downcast::<CellObject>().ok_or_else(wrong)?;
    Ok(read(&mut object.state.lock()))
}

fn shared_get(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    with_cell(cx, "shared_get", args.get(0), |cell| cell.0.clone())
}

fn shared_set(cx: &mut Cx<'_>, mut args: Args<'_>) -> Result<Value, Fault> {
    let value = args.take(1);
    with_cell(cx, "shared_set", args.get(0), |cell| {
        cell.1 += 1;
        std::mem::replace(&mut cell.0, value)
    })
}

fn shared_snapshot(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    with_cell(cx, "shared_snapshot", args.get(0), |cell| {
        Value::dict([("value", cell.0.clone()), ("version", Value::Int(cell.1))])
    })
}

fn shared_cas(cx: &mut Cx<'_>, mut args: Args<'_>) -> Result<bool, Fault> {
    let (expected, new) = (args.take(1), args.take(2));
    with_cell(cx, "shared_cas", args.get(0), |cell| {
        let same = match &expected {
            Value::Dict(snapshot) if snapshot.has("version") && snapshot.has("value") && snapshot.len() == 2 => {
                snapshot.get("version").and_then(Value::as_int) == Some(cell.1)
            }
            value => *value == cell.0,
        };
        if same {
            *cell = (new, cell.1 + 1);
        }
        same
    })
}
