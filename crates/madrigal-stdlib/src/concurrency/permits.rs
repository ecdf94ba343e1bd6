//! Named permits: mutexes, semaphores, gates and readers-writer locks of the run, by kind and key.
//! Not here: the resources and what is counted about them (`madrigal_runtime::sync::SyncRegistry`).
//! Invariant: a permit is given back once, by `sync_release`, by its last reference, or by the end of its task.

use super::host;
use super::shared::count as counter;
use super::timed::{timed, timeout_of};
use crate::task::{DEFAULT_KEY, TaskHost, deadlock, waited_on};
use madrigal_runtime::sync::{Access, NamedPermit, SyncError, SyncKind, SyncMetrics, SyncRegistry, SyncRequest};
use madrigal_vm::{Args, Cx, Fault, Handle, HandleObject, Outcome, Value, Wait};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;

madrigal_vm::builtins! {
    /// Takes the mutex of a key, waiting for it; nil when `timeout` passes first.
    "sync_mutex_acquire" (key: string = "__default__", timeout: duration = nil) -> sync_permit = mutex;
    /// Takes permits of the semaphore of a key, waiting for them; nil when `timeout` passes first.
    "sync_semaphore_acquire" (key: string, capacity: int, permits: int = 1, timeout: duration = nil) -> sync_permit = semaphore;
    /// Enters the gate of a key, which lets `limit` in at a time; nil when `timeout` passes first.
    "sync_gate_acquire" (key: string, limit: int, timeout: duration = nil) -> sync_permit = gate;
    /// Takes the lock of a key, shared for `read` and alone for `write`; nil when `timeout` passes first.
    "sync_rwlock_acquire" (key: string, mode: string, timeout: duration = nil) -> sync_permit = rwlock;
    /// Gives a permit back; whether it was still held.
    "sync_release" (permit: sync_permit) -> bool = release;
    /// Counters of a key, or of all keys (of a kind) as a list.
    "sync_metrics" (kind: string = nil, key: string = nil) -> any = metrics;
}

/// A permit, from before it is acquired until after it was given back.
pub(super) struct PermitState {
    kind: SyncKind,
    key: String,
    permit: Mutex<Option<NamedPermit>>,
}

impl PermitState {
    pub fn kind(&self) -> &'static str {
        self.kind.as_str()
    }

    pub fn key(&self) -> &str {
        &self.key
    }

    pub fn is_held(&self) -> bool {
        self.permit.lock().is_some()
    }

    /// Gives it back; whether it was held.
    pub fn release(&self) -> bool {
        let permit = self.permit.lock().take();
        permit.is_some()
    }
}

/// A permit as a value.
struct PermitObject(Arc<PermitState>);

impl HandleObject for PermitObject {
    fn type_name(&self) -> &'static str {
        "sync_permit"
    }

    fn display(&self) -> String {
        format!("<sync_permit:{}:{}>", self.0.kind(), self.0.key)
    }

    fn identity(&self) -> Option<u64> {
        // Never equal, not even to itself.
        None
    }
}

fn mutex(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    let key = if args.get(0).is_nil() { DEFAULT_KEY.to_owned() } else { args.string(0).to_string() };
    acquire(cx, "sync_mutex_acquire", &key, SyncRequest::Mutex, args.get(1))
}

fn semaphore(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    let name = "sync_semaphore_acquire";
    let capacity = count(name, "capacity", args.get(1))?;
    let permits = if args.get(2).is_nil() { 1 } else { count(name, "permits", args.get(2))? };
    acquire(cx, name, &args.string(0), SyncRequest::Semaphore { capacity, permits }, args.get(3))
}

fn gate(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    let limit = count("sync_gate_acquire", "limit", args.get(1))?;
    acquire(cx, "sync_gate_acquire", &args.string(0), SyncRequest::Gate { limit }, args.get(2))
}

fn rwlock(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    let access = match args.string(1).as_str() {
        "read" => Access::Read,
        "write" => Access::Write,
        _ => return Err(Fault::thrown("mode must be read or write")),
    };
    acquire(cx, "sync_rwlock_acquire", &args.string(0), SyncRequest::RwLock(access), args.get(2))
}

fn release(_: &mut Cx<'_>, args: Args<'_>) -> Result<bool, Fault> {
    match args.get(0) {
        Value::Handle(handle) if let Some(PermitObject(permit)) = handle.downcast() => Ok(permit.release()),
        other => Err(Fault::type_error(format!("sync_release: expected a permit, got {}", other.type_name()))),
    }
}

/// The named resources of the run.
fn registry(host: &TaskHost) -> &SyncRegistry {
    host.run.tasks.registry(host.context.runtime().clock())
}

fn metrics(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let wanted = |at: usize, text: &str| args.get(at).is_nil() || args.string(at).as_str() == text;
    let mut found = registry(host(cx)).metrics();
    // The key of `mutex {}` is known once somebody asked for it by name.
    found.retain(|it| it.key != DEFAULT_KEY || it.acquisition_count + it.timeout_count + it.cancellation_count > 0);
    found.retain(|it| wanted(0, it.kind.as_str()) && wanted(1, &it.key));
    let mut found: Vec<Value> = found.into_iter().map(described).collect();
    if args.get(0).is_nil() || args.get(1).is_nil() {
        return Ok(Value::list(found));
    }
    Ok(found.pop().unwrap_or_default())
}

fn described(metrics: SyncMetrics) -> Value {
    Value::dict([
        ("kind", Value::from(metrics.kind.as_str())),
        ("key", Value::from(metrics.key)),
        ("capacity", metrics.capacity.map_or(Value::Nil, Value::from)),
        ("acquisition_count", counter(metrics.acquisition_count)),
        ("timeout_count", counter(metrics.timeout_count)),
        ("cancellation_count", counter(metrics.cancellation_count)),
        ("release_count", counter(metrics.release_count)),
        ("current_held", Value::from(metrics.current_held)),
        ("current_queue_depth", Value::from(metrics.current_queue_depth)),
        ("max_queue_depth", Value::from(metrics.max_queue_depth)),
        ("total_wait_ms", counter(metrics.total_wait_ms)),
        ("total_held_ms", counter(metrics.total_held_ms)),
    ])
}

fn count(name: &str, what: &str, value: &Value) -> Result<usize, Fault> {
    let Some(count) = value.as_int() else {
        return Err(Fault::type_error(format!("{name}: {what} must be an int, got {}", value.type_name())));
    };
    match usize::try_from(count) {
        Ok(count) if count > 0 => Ok(count),
        _ => Err(Fault::thrown(format!("{name}: {what} must be at least 1, got {count}"))),
    }
}

fn failed(name: &str, error: SyncError) -> Fault {
    match error {
        SyncError::AlreadyHeld { kind, key } => {
            deadlock(format!("{name}: this task holds the {} '{key}' already", kind.as_str()))
        }
        other => Fault::thrown(other.to_string()),
    }
}

fn acquire(
    cx: &mut Cx<'_>,
    name: &'static str,
    key: &str,
    request: SyncRequest,
    timeout: &Value,
) -> Result<Outcome, Fault> {
    let timeout = timeout_of(name, timeout)?;
    let host = host(cx);
    let mut acquiring = registry(host).acquire(key, request).map_err(|it| failed(name, it))?;
    let kind = acquiring.kind();
    let state = Arc::new(PermitState { kind, key: key.to_owned(), permit: Mutex::new(None) });
    host.held.add_permit(&state);
    let filled = |state: Arc<PermitState>, permit| {
        *state.permit.lock() = Some(permit);
        Value::Handle(Handle::new(PermitObject(state)))
    };
    let tries = timeout == Some(Duration::ZERO);
    match acquiring.try_now() {
        Ok(Some(permit)) => return Ok(Outcome::from(filled(state, permit))),
        Ok(None) => {}
        // A try does not wait, so it cannot wait for itself; a mutex taken twice is a mistake however it is taken.
        Err(SyncError::AlreadyHeld { .. }) if tries && kind != SyncKind::Mutex => {}
        Err(error) => return Err(failed(name, error)),
    }
    if tries {
        acquiring.timed_out();
        return Ok(Outcome::from(Value::Nil));
    }
    let run = host.run.clone();
    let resource = acquiring.resource();
    // What time will end is no circle of waits.
    let what = if timeout.is_none() { waited_on(resource) } else { Value::from(resource.describe()) };
    let future = async move {
        match timed(run, timeout, &mut acquiring).await {
            Some(permit) => permit.map(|it| filled(state, it)).map_err(|it| failed(name, it)),
            None => {
                acquiring.timed_out();
                Ok(Value::Nil)
            }
        }
    };
    Ok(Wait::new("permits", future).on(what).into())
}
