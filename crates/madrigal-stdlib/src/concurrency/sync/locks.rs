//! Locks, conditions and both together.

use super::super::held::Holdable;
use super::super::host;
use super::super::timed::{timed, timeout_of};
use super::{handle_object, held_by, receiver, wait_for};
use crate::task::deadlock;
use madrigal_runtime::sync::{Condvar, CondvarWait, Lock, LockGuard};
use madrigal_runtime::{Describe, TaskRef};
use madrigal_vm::{Args, Cx, Fault, Handle, Outcome, Value, Wait};
use parking_lot::Mutex;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

madrigal_vm::builtins! {
    /// A lock.
    "__sync_lock" () -> sync_lock = make_lock;
    /// A condition.
    "__sync_condvar" () -> sync_condvar = make_condvar;
    /// A lock with its condition.
    "__sync_monitor" () -> sync_monitor = make_monitor;
    /// Releases a lock or monitor if this task holds it.
    "__sync_leave" (lock: any) -> nil = leave;
    /// Takes the lock of a monitor.
    "__sync_monitor_enter" (monitor: sync_monitor) -> bool = monitor_enter;
    /// Takes the lock, waiting for it; false when `timeout` passes first.
    "sync_lock.acquire" (timeout: duration = nil) -> bool = acquire;
    /// Takes the lock if it is free.
    "sync_lock.try_acquire" () -> bool = try_acquire;
    /// Gives the lock back.
    "sync_lock.release" () -> nil = release;
    /// Whether somebody holds the lock.
    "sync_lock.held" () -> bool = held;
    /// Gives up the lock until notified; false when `timeout` passes first. Holds the lock again in any case.
    "sync_condvar.wait" (lock: sync_lock, timeout: duration = nil) -> bool = condvar_wait;
    /// Wakes the one that waits longest.
    "sync_condvar.notify" () -> nil = notify;
    /// Wakes all that wait.
    "sync_condvar.broadcast" () -> nil = broadcast;
    /// Gives up the monitor until notified; false when `timeout` passes first.
    "sync_monitor.wait" (timeout: duration = nil) -> bool = monitor_wait;
    /// Wakes the one that waits longest.
    "sync_monitor.notify" () -> nil = monitor_notify;
    /// Wakes all that wait.
    "sync_monitor.broadcast" () -> nil = monitor_broadcast;
}

/// A lock and, while it is held, what holds it.
struct Held {
    lock: Lock,
    guard: Mutex<Option<LockGuard>>,
    /// Tasks whose wait for a condition was cut off: they think they hold it, and may release it once.
    cut_off: Mutex<Vec<TaskRef>>,
}

impl Held {
    fn new() -> Arc<Held> {
        Arc::new(Held { lock: Lock::new(), guard: Mutex::default(), cut_off: Mutex::default() })
    }

    fn is_held_here(&self) -> bool {
        self.lock.holder().is_some_and(|it| it.is_current())
    }

    fn keep(&self, guard: LockGuard) {
        *self.guard.lock() = Some(guard);
    }

    fn release(&self) {
        // Dropped unlocked: the next holder fills the same place.
        let guard = self.guard.lock().take();
        drop(guard);
    }

    fn was_cut_off(&self) -> bool {
        let mut cut_off = self.cut_off.lock();
        let found = cut_off.iter().position(TaskRef::is_current).map(|at| cut_off.swap_remove(at));
        drop(cut_off);
        found.is_some()
    }
}

impl Describe for Held {
    fn describe(&self) -> String {
        "<sync_lock>".to_owned()
    }

    fn holder(&self) -> Option<TaskRef> {
        self.lock.holder()
    }
}

impl Holdable for Held {
    fn give_back_of(&self, task: &TaskRef) {
        if self.lock.holder().as_ref() == Some(task) {
            self.release();
        }
        let mut cut_off = self.cut_off.lock();
        let (gone, left) = std::mem::take(&mut *cut_off).into_iter().partition::<Vec<_>, _>(|it| it == task);
        *cut_off = left;
        drop(cut_off);
        drop(gone);
    }
}

struct LockObject(Arc<Held>);
struct CondvarObject(Condvar);
struct MonitorObject {
    held: Arc<Held>,
    changed: Condvar,
}

handle_object!(LockObject, "sync_lock");
handle_object!(CondvarObject, "sync_condvar");
handle_object!(MonitorObject, "sync_monitor");

fn make_lock(_: &mut Cx<'_>, _: Args<'_>) -> Result<Value, Fault> {
    Ok(Value::Handle(Handle::new(LockObject(Held::new()))))
}

fn make_condvar(_: &mut Cx<'_>, _: Args<'_>) -> Result<Value, Fault> {
    Ok(Value::Handle(Handle::new(CondvarObject(Condvar::new()))))
}

fn make_monitor(_: &mut Cx<'_>, _: Args<'_>) -> Result<Value, Fault> {
    Ok(Value::Handle(Handle::new(MonitorObject { held: Held::new(), changed: Condvar::new() })))
}

fn taken_twice(name: &str, args: &Args<'_>) -> Fault {
    deadlock(format!("{name}: this task holds {} already", args.get(0)))
}

/// Takes the lock now; `None` when it has to be waited for.
fn take(cx: &mut Cx<'_>, name: &str, args: &Args<'_>, held: &Arc<Held>) -> Result<Option<()>, Fault> {
    let host = host(cx);
    host.held.add_lock(host.context.task(), held);
    held.was_cut_off();
    let guard = held.lock.try_acquire().map_err(|_| taken_twice(name, args))?;
    Ok(guard.map(|it| held.keep(it)))
}

fn acquire_held(
    cx: &mut Cx<'_>,
    name: &'static str,
    args: &Args<'_>,
    held: Arc<Held>,
    timeout: &Value,
) -> Result<Outcome, Fault> {
    timeout_of(name, timeout)?;
    if take(cx, name, args, &held)?.is_some() {
        return Ok(Outcome::from(true));
    }
    let (acquiring, twice) = (held.lock.acquire(), taken_twice(name, args));
    let resource = held.clone();
    let waiting = wait_for(cx, name, args, timeout, Value::Bool(false), async move {
        held.keep(acquiring.await.map_err(|_| twice)?);
        Ok(Value::Bool(true))
    })?;
    // What time will end is no circle of waits.
    Ok(if timeout.is_nil() { held_by(waiting, resource) } else { waiting })
}

fn acquire(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    let held = receiver::<LockObject>("acquire", &args)?.0.clone();
    acquire_held(cx, "acquire", &args, held, args.get(1))
}

fn try_acquire(cx: &mut Cx<'_>, args: Args<'_>) -> Result<bool, Fault> {
    let held = receiver::<LockObject>("try_acquire", &args)?.0.clone();
    // A try does not wait, so it cannot wait for itself.
    Ok(take(cx, "try_acquire", &args, &held).is_ok_and(|it| it.is_some()))
}

fn release(_: &mut Cx<'_>, args: Args<'_>) -> Result<(), Fault> {
    let held = &receiver::<LockObject>("release", &args)?.0;
    if held.is_held_here() {
        held.release();
    } else if !held.was_cut_off() {
        return Err(Fault::thrown(format!("release: this task does not hold {}", args.get(0))));
    }
    Ok(())
}

fn held(_: &mut Cx<'_>, args: Args<'_>) -> Result<bool, Fault> {
    Ok(receiver::<LockObject>("held", &args)?.0.lock.is_held())
}

fn leave(_: &mut Cx<'_>, args: Args<'_>) -> Result<(), Fault> {
    let Value::Handle(handle) = args.get(0) else { return Ok(()) };
    let lock = handle.downcast::<LockObject>().map(|it| &it.0);
    if let Some(held) = lock.or_else(|| handle.downcast::<MonitorObject>().map(|it| &it.held)) {
        held.was_cut_off();
        if held.is_held_here() {
            held.release();
        }
    }
    Ok(())
}

fn monitor_enter(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    let held = receiver::<MonitorObject>("with", &args)?.held.clone();
    acquire_held(cx, "with", &args, held, &Value::Nil)
}

/// Notes that the task lost the lock, unless the wait comes to its end.
struct CutOff(Option<(Arc<Held>, TaskRef)>);

impl Drop for CutOff {
    fn drop(&mut self) {
        if let Some((held, task)) = self.0.take() {
            held.cut_off.lock().push(task);
        }
    }
}

fn wait_on(
    cx: &mut Cx<'_>,
    args: &Args<'_>,
    held: Arc<Held>,
    changed: &Condvar,
    timeout: &Value,
) -> Result<Outcome, Fault> {
    let timeout = timeout_of("wait", timeout)?;
    let guard = if held.is_held_here() { held.guard.lock().take() } else { None };
    let Some(guard) = guard else {
        return Err(Fault::thrown("wait: this task does not hold the lock"));
    };
    let (run, task) = (host(cx).run.clone(), host(cx).context.task().clone());
    let mut waiting = changed.wait(guard);
    let future = async move {
        let mut cut_off = CutOff(Some((held.clone(), task)));
        let notified = match timeout {
            None => Some((&mut waiting).await),
            // Once it is notified, time does not matter any more: only the lock has to be had again.
            Some(_) => match timed(run, timeout, until_notified(&mut waiting)).await {
                None if !waiting.is_notified() => None,
                Some(Some(guard)) => Some(guard),
                Some(None) | None => Some((&mut waiting).await),
            },
        };
        drop(waiting);
        let in_time = notified.is_some();
        let guard = match notified {
            Some(guard) => guard,
            None => match held.lock.acquire().await {
                Ok(guard) => guard,
                Err(held) => return Err(Fault::thrown(held.to_string())),
            },
        };
        cut_off.0 = None;
        held.keep(guard);
        Ok(Value::Bool(in_time))
    };
    Ok(Wait::new("wait", future).on(args.get(0).clone()).into())
}

/// Ready with the guard, or without it once there only remains to wait for the lock.
fn until_notified(waiting: &mut CondvarWait) -> impl Future<Output = Option<LockGuard>> {
    poll_fn(|cx| match Pin::new(&mut *waiting).poll(cx) {
        Poll::Ready(guard) => Poll::Ready(Some(guard)),
        Poll::Pending if waiting.is_notified() => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    })
}

fn condvar_wait(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    let changed = receiver::<CondvarObject>("wait", &args)?.0.clone();
    let held = match args.get(1) {
        Value::Handle(handle) if let Some(LockObject(held)) = handle.downcast() => held.clone(),
        other => return Err(Fault::type_error(format!("wait: expected a lock, got {}", other.type_name()))),
    };
    wait_on(cx, &args, held, &changed, args.get(2))
}

fn notify(_: &mut Cx<'_>, args: Args<'_>) -> Result<(), Fault> {
    receiver::<CondvarObject>("notify", &args)?.0.notify();
    Ok(())
}

fn broadcast(_: &mut Cx<'_>, args: Args<'_>) -> Result<(), Fault> {
    receiver::<CondvarObject>("broadcast", &args)?.0.broadcast();
    Ok(())
}

fn monitor_wait(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    let monitor = receiver::<MonitorObject>("wait", &args)?;
    let (held, changed) = (monitor.held.clone(), monitor.changed.clone());
    wait_on(cx, &args, held, &changed, args.get(1))
}

fn monitor_notify(_: &mut Cx<'_>, args: Args<'_>) -> Result<(), Fault> {
    receiver::<MonitorObject>("notify", &args)?.changed.notify();
    Ok(())
}

fn monitor_broadcast(_: &mut Cx<'_>, args: Args<'_>) -> Result<(), Fault> {
    receiver::<MonitorObject>("broadcast", &args)?.changed.broadcast();
    Ok(())
}
