//! The runtime context: who this task is, and its task-local values.

use super::host;
use crate::task::{DEFAULT_KEY, TaskHost, key_of};
use madrigal_runtime::ExecutorKind;
use madrigal_vm::{Args, Cx, Dict, Fault, Str, Value};
use parking_lot::Mutex;
use std::collections::BTreeMap;

madrigal_vm::builtins! {
    /// Identity, lineage and task-local values of this task.
    "runtime_context" () -> dict = runtime_context;
    /// The same as `runtime_context`.
    "task_current" () -> dict = runtime_context;
    /// All task-local values.
    "runtime_context_values" () -> dict = values;
    /// A task-local value, or `default`.
    "runtime_context_get" (key: string, default: any) -> any = get;
    /// Sets a task-local value; the previous one or nil.
    "runtime_context_set" (key: string, value: any) -> any = set;
    /// Removes a task-local value; the previous one or nil.
    "runtime_context_clear" (key: string) -> any = clear;
}

/// What the runtime context says of the tasks of each agent session, besides its name.
#[derive(Default)]
pub struct SessionFields(pub Mutex<BTreeMap<String, Vec<(&'static str, Value)>>>);

/// Fields that only a host or an agent fills.
const ABSENT: [&str; 15] = [
    "workflow_id",
    "run_id",
    "stage_id",
    "worker_id",
    "agent_session_id",
    "parent_agent_session_id",
    "root_agent_session_id",
    "agent_name",
    "trigger_id",
    "trigger_event_id",
    "binding_key",
    "tenant_id",
    "provider",
    "scheduler_key",
    "capacity_class",
];

fn runtime_context(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Value, Fault> {
    let host = host(cx);
    let task = host.context.task();
    let id = task.id();
    let optional = |it: Option<String>| it.map_or(Value::Nil, Value::from);
    let root = id.split(':').next().unwrap_or("task_root").to_owned();
    let mut fields: Dict = ABSENT.iter().map(|name| (Str::from(*name), Value::Nil)).collect();
    let trace = host.run.tasks.trace(&host.context.runtime());
    let runner = match host.context.runtime().executor_kind() {
        ExecutorKind::Tokio => "tokio",
        ExecutorKind::Simulated => "simulated",
    };
    let entries = [
        ("task_id", Value::from(id.as_str())),
        ("parent_task_id", optional(task.creator_id())),
        ("root_task_id", Value::from(root.as_str())),
        ("task_name", Value::from(task.name())),
        ("task_group_id", optional(task.group_id())),
        ("scope_id", host.nodes.innermost().innermost_label().map_or(Value::Nil, |it| Value::from(&*it))),
        ("trace_id", Value::from(format!("{trace:032x}"))),
        ("span_id", Value::from(format!("{:016x}", (trace as u64 ^ key_of(&id)).max(1)))),
        ("runner", Value::from(runner)),
        ("context_values", Value::Dict(host.values.clone().unwrap_or_default())),
        ("cancelled", Value::Bool(host.nodes.is_cancelled())),
        ("debug", debug(host)),
    ];
    if let Some(session) = &host.session {
        fields.insert(Str::from("agent_session_id"), Value::from(&**session));
        let known = host.run.extension(SessionFields::default);
        for (name, value) in known.0.lock().get(&**session).into_iter().flatten() {
            fields.insert(Str::from(*name), value.clone());
        }
    }
    for (name, value) in entries {
        fields.insert(Str::from(name), value);
    }
    Ok(Value::Dict(fields))
}

fn debug(host: &TaskHost) -> Value {
    let supervisors = host.run.tasks.processes.live_supervisors();
    let own = host.context.task().id();
    let prefix = format!("{own}:");
    let tree = host.context.runtime().task_tree();
    let below = tree.iter().map(|it| it.task.id()).filter(|id| id.starts_with(&prefix));
    let block = host.in_mutex.then(|| ("mutex", DEFAULT_KEY.to_owned()));
    let held = block.into_iter().chain(host.held.named());
    // Rounded up: a deadline that has not passed is not zero away.
    let now_ns = host.context.runtime().clock().now_ns();
    let left = |at_ns: u64| Value::Int((at_ns.saturating_sub(now_ns).div_ceil(1_000_000)) as i64);
    let waiting = host.context.task().parent().and_then(|it| it.waiting());
    let entry = |(kind, key): (&str, String)| Value::dict([("kind", Value::from(kind)), ("key", Value::from(key))]);
    Value::dict([
        ("active_task_ids", Value::list(below.map(Value::from).collect())),
        ("waiting_reason", waiting.map_or(Value::Nil, |it| Value::from(it.what))),
        ("cancelled", Value::Bool(host.nodes.is_cancelled())),
        ("held_synchronization", Value::list(held.map(entry).collect())),
        ("supervisors", Value::list(supervisors.into_iter().map(Value::from).collect())),
        ("deadline_ms", host.nodes.innermost().earliest_deadline_ns().map_or(Value::Nil, left)),
    ])
}

fn key(name: &str, args: &Args<'_>) -> Result<Str, Fault> {
    match args.get(0) {
        Value::String(key) => Ok(key.clone()),
        _ => Err(Fault::thrown(format!("{name}: first argument must be a string key"))),
    }
}

fn values(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Value, Fault> {
    Ok(Value::Dict(host(cx).values.clone().unwrap_or_default()))
}

fn get(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let key = key("runtime_context_get", &args)?;
    Ok(host(cx).values.as_ref().and_then(|it| it.get(&key).cloned()).unwrap_or_else(|| args.get(1).clone()))
}

fn set(cx: &mut Cx<'_>, mut args: Args<'_>) -> Result<Value, Fault> {
    let key = key("runtime_context_set", &args)?;
    Ok(std::mem::replace(host(cx).values.get_or_insert_default().slot(&key), args.take(1)))
}

fn clear(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let key = key("runtime_context_clear", &args)?;
    Ok(host(cx).values.as_mut().and_then(|it| it.remove(&key)).unwrap_or_default())
}
