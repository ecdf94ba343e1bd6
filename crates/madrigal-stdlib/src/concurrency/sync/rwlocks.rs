//! Readers-writer locks.

use super::super::held::Holdable;
use super::super::host;
use super::super::timed::timeout_of;
use super::{handle_object, held_by, receiver, wait_for};
use crate::task::deadlock;
use madrigal_runtime::sync::{Access, RwGuard, RwLock};
use madrigal_runtime::{Describe, TaskRef};
use madrigal_vm::{Args, Cx, Fault, Handle, Outcome, Value};
use parking_lot::Mutex;
use std::sync::Arc;

madrigal_vm::builtins! {
    /// A lock for many readers or one writer.
    "__sync_rwlock" () -> sync_rwlock = make_rwlock;
    /// Waits to read; false when `timeout` passes first.
    "sync_rwlock.read_acquire" (timeout: duration = nil) -> bool = read_acquire;
    /// Ends reading.
    "sync_rwlock.read_release" () -> nil = read_release;
    /// Waits to write; false when `timeout` passes first.
    "sync_rwlock.write_acquire" (timeout: duration = nil) -> bool = write_acquire;
    /// Ends writing.
    "sync_rwlock.write_release" () -> nil = write_release;
}

/// A lock and what holds it.
struct Held {
    lock: RwLock,
    guards: Mutex<Vec<RwGuard>>,
}

impl Held {
    fn release(&self, is_it: impl Fn(&RwGuard) -> bool) -> bool {
        let mut guards = self.guards.lock();
        let found = guards.iter().position(is_it).map(|at| guards.swap_remove(at));
        drop(guards);
        found.is_some()
    }
}

impl Describe for Held {
    fn describe(&self) -> String {
        "<sync_rwlock>".to_owned()
    }

    fn holder(&self) -> Option<TaskRef> {
        self.lock.holder()
    }
}

impl Holdable for Held {
    fn give_back_of(&self, task: &TaskRef) {
        while self.release(|it| it.holder() == Some(task)) {}
    }
}

struct RwLockObject(Arc<Held>);

handle_object!(RwLockObject, "sync_rwlock");

fn make_rwlock(_: &mut Cx<'_>, _: Args<'_>) -> Result<Value, Fault> {
    let held = Held { lock: RwLock::new(), guards: Mutex::default() };
    Ok(Value::Handle(Handle::new(RwLockObject(Arc::new(held)))))
}

fn acquire(cx: &mut Cx<'_>, name: &'static str, access: Access, args: &Args<'_>) -> Result<Outcome, Fault> {
    let held = receiver::<RwLockObject>(name, args)?.0.clone();
    timeout_of(name, args.get(1))?;
    let host = host(cx);
    host.held.add_lock(host.context.task(), &held);
    let twice = deadlock(format!("{name}: this task holds {} already", args.get(0)));
    match held.lock.try_acquire(access) {
        Ok(Some(guard)) => {
            held.guards.lock().push(guard);
            return Ok(Outcome::from(true));
        }
        Ok(None) => {}
        Err(_) => return Err(twice),
    }
    let acquiring = held.lock.acquire(access);
    let resource = held.clone();
    let waiting = wait_for(cx, name, args, args.get(1), Value::Bool(false), async move {
        let guard = acquiring.await.map_err(|_| twice)?;
        held.guards.lock().push(guard);
        Ok(Value::Bool(true))
    })?;
    // What time will end is no circle of waits.
    Ok(if args.get(1).is_nil() { held_by(waiting, resource) } else { waiting })
}

fn release(name: &str, access: Access, args: &Args<'_>) -> Result<(), Fault> {
    let held = &receiver::<RwLockObject>(name, args)?.0;
    if held.release(|it| it.access() == access && it.holder().is_some_and(TaskRef::is_current)) {
        return Ok(());
    }
    Err(Fault::thrown(format!("{name}: this task does not hold {}", args.get(0))))
}

fn read_acquire(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    acquire(cx, "read_acquire", Access::Read, &args)
}

fn write_acquire(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    acquire(cx, "write_acquire", Access::Write, &args)
}

fn read_release(_: &mut Cx<'_>, args: Args<'_>) -> Result<(), Fault> {
    release("read_release", Access::Read, &args)
}

fn write_release(_: &mut Cx<'_>, args: Args<'_>) -> Result<(), Fault> {
    release("write_release", Access::Write, &args)
}
