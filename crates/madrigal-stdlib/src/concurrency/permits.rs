//! Named permits: mutexes, semaphores, gates and readers-writer locks of the run, by kind and key.
//! Not here: what is counted about them (`permits/registry.rs`).
//! Invariant: a permit is given back once, by `sync_release`, by its last reference, or by the end of its task.

mod registry;

pub use registry::{HeldPermits, Registry};

use super::host;
use crate::host::Run;
use crate::task::deadlock;
use madrigal_vm::{Args, Cx, Fault, Handle, HandleObject, Outcome, Value, Wait};
use registry::{Entry, Guard, Kind, PermitState, Queued};
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
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

/// A permit as a value.
struct PermitObject(Arc<PermitState>);

impl HandleObject for PermitObject {
    fn type_name(&self) -> &'static str {
        "sync_permit"
    }

    fn display(&self) -> String {
        let entry = &self.0.entry;
        format!("<sync_permit:{}:{}>", entry.kind.name(), entry.key)
    }

    fn identity(&self) -> Option<u64> {
        Some(Arc::as_ptr(&self.0) as u64)
    }
}

fn mutex(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    let key = if args.get(0).is_nil() { registry::DEFAULT_KEY.to_owned() } else { args.string(0).to_string() };
    let timeout = timeout_of("sync_mutex_acquire", args.get(1))?;
    acquire(cx, Kind::Mutex, &key, 1, 1, timeout)
}

fn semaphore(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    let name = "sync_semaphore_acquire";
    let capacity = count(name, "capacity", args.get(1))?;
    let permits = if args.get(2).is_nil() { 1 } else { count(name, "permits", args.get(2))? };
    acquire(cx, Kind::Semaphore, &args.string(0), capacity, permits, timeout_of(name, args.get(3))?)
}

fn gate(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    let limit = count("sync_gate_acquire", "limit", args.get(1))?;
    acquire(cx, Kind::Gate, &args.string(0), limit, 1, timeout_of("sync_gate_acquire", args.get(2))?)
}

fn rwlock(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    let permits = match args.string(1).as_str() {
        "read" => 1,
        "write" => registry::READERS_MAX,
        _ => return Err(Fault::thrown("mode must be read or write")),
    };
    let timeout = timeout_of("sync_rwlock_acquire", args.get(2))?;
    acquire(cx, Kind::RwLock, &args.string(0), registry::READERS_MAX, permits, timeout)
}

fn release(_: &mut Cx<'_>, args: Args<'_>) -> Result<bool, Fault> {
    match args.get(0) {
        Value::Handle(handle) if let Some(PermitObject(permit)) = handle.downcast() => Ok(permit.release()),
        other => Err(Fault::type_error(format!("sync_release: expected a permit, got {}", other.type_name()))),
    }
}

fn metrics(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let entries = host(cx).run.tasks.permits.entries();
    let wanted = |at: usize, text: &str| args.get(at).is_nil() || args.string(at).as_str() == text;
    let found = entries.iter().filter(|it| wanted(0, it.kind.name()) && wanted(1, &it.key));
    let mut found: Vec<Value> = found.map(|it| it.metrics()).collect();
    if args.get(0).is_nil() || args.get(1).is_nil() {
        return Ok(Value::list(found));
    }
    Ok(found.pop().unwrap_or_default())
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

/// How long to wait: for ever, unless given as a time or as `{timeout_ms}` or `{max_wait_ms}`.
fn timeout_of(name: &str, value: &Value) -> Result<Option<Duration>, Fault> {
    let time = match value {
        Value::Dict(options) => options.get("timeout_ms").or_else(|| options.get("max_wait_ms")).unwrap_or(&Value::Nil),
        other => other,
    };
    match (time, time.as_millis()) {
        (Value::Nil, _) => Ok(None),
        (_, Some(millis)) => Ok(Some(Duration::from_millis(u64::try_from(millis).unwrap_or(0)))),
        (other, None) => {
            let got = other.type_name();
            Err(Fault::type_error(format!("{name}: timeout must be a duration or int milliseconds, got {got}")))
        }
    }
}

fn acquire(
    cx: &mut Cx<'_>,
    kind: Kind,
    key: &str,
    capacity: usize,
    permits: usize,
    timeout: Option<Duration>,
) -> Result<Outcome, Fault> {
    let host = host(cx);
    let run = host.run.clone();
    let entry = run.tasks.permits.entry(kind, key, capacity, &run.tasks.mutex)?;
    if permits > capacity {
        let name = kind.name();
        return Err(Fault::thrown(format!("sync {name} '{key}' requested {permits} permits from capacity {capacity}")));
    }
    let permit = PermitState::new(entry.clone(), permits, run.clone());
    host.held.add(&permit);
    let held = |_| deadlock(format!("sync_mutex_acquire: this task holds the mutex '{key}' already"));
    if let Some(guard) = entry.try_acquire(permits).map_err(held)? {
        permit.fill(guard, 0);
        return Ok(Outcome::from(Value::Handle(Handle::new(PermitObject(permit)))));
    }
    if timeout == Some(Duration::ZERO) {
        entry.timed_out();
        return Ok(Outcome::from(Value::Nil));
    }
    let what = Value::from(format!("{} '{key}'", kind.name()));
    Ok(Wait::new("permits", wait_for(run, entry, permit, permits, timeout)).on(what).into())
}

async fn wait_for(
    run: Arc<Run>,
    entry: Arc<Entry>,
    permit: Arc<PermitState>,
    permits: usize,
    timeout: Option<Duration>,
) -> Result<Value, Fault> {
    let since = run.now_monotonic();
    let queued = Queued::new(entry.clone());
    let mut acquiring = entry.acquire(permits);
    let mut timer = timeout.map(|time| {
        let run = run.clone();
        Box::pin(async move { run.sleep(time).await })
    });
    let guard: Option<Guard> = poll_fn(|cx| {
        if let Poll::Ready(guard) = acquiring.as_mut().poll(cx) {
            return Poll::Ready(guard.map(Some));
        }
        match timer.as_mut().map(|it| it.as_mut().poll(cx)) {
            Some(Poll::Ready(())) => Poll::Ready(Ok(None)),
            _ => Poll::Pending,
        }
    })
    .await
    .map_err(|_| deadlock("sync_mutex_acquire: this task holds the mutex already"))?;
    queued.served(guard.is_some());
    Ok(match guard {
        Some(guard) => {
            permit.fill(guard, run.now_monotonic() - since);
            Value::Handle(Handle::new(PermitObject(permit)))
        }
        None => Value::Nil,
    })
}
