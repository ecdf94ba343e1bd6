//! What counts: semaphores, barriers, latches.

use super::super::timed::timeout_of;
use super::{count_from, handle_object, receiver, wait_for};
use madrigal_runtime::sync::{Barrier, Latch, Semaphore};
use madrigal_vm::{Args, Cx, Fault, Handle, Outcome, Value};

madrigal_vm::builtins! {
    /// A semaphore.
    "__sync_semaphore" (n: int) -> sync_semaphore = make_semaphore;
    /// A barrier.
    "__sync_barrier" (n: int) -> sync_barrier = make_barrier;
    /// A latch.
    "__sync_latch" () -> sync_latch = make_latch;
    /// Takes `k` permits, waiting for them; false when `timeout` passes first.
    "sync_semaphore.acquire" (k: int = 1, timeout: duration = nil) -> bool = acquire;
    /// Takes `k` permits if they are free.
    "sync_semaphore.try_acquire" (k: int = 1) -> bool = try_acquire;
    /// Gives back `k` permits.
    "sync_semaphore.release" (k: int = 1) -> nil = release;
    /// How many permits are free.
    "sync_semaphore.permits" () -> int = permits;
    /// Waits for the round to be complete: true for one task of it, false for the others, nil when `timeout` passes first.
    "sync_barrier.wait" (timeout: duration = nil) -> bool = barrier_wait;
    /// Waits until the latch is open; false when `timeout` passes first.
    "sync_latch.wait" (timeout: duration = nil) -> bool = latch_wait;
    /// Opens the latch for ever.
    "sync_latch.open" () -> nil = open;
    /// Whether the latch is open.
    "sync_latch.is_open" () -> bool = is_open;
}

struct SemaphoreObject(Semaphore);
struct BarrierObject(Barrier);
struct LatchObject(Latch);

handle_object!(SemaphoreObject, "sync_semaphore");
handle_object!(BarrierObject, "sync_barrier");
handle_object!(LatchObject, "sync_latch");

fn make_semaphore(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let capacity = count_from("make_semaphore", 0, args.get(0))?;
    Ok(Value::Handle(Handle::new(SemaphoreObject(Semaphore::new(capacity)))))
}

fn make_barrier(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let size = count_from("make_barrier", 1, args.get(0))?;
    Ok(Value::Handle(Handle::new(BarrierObject(Barrier::new(size)))))
}

fn make_latch(_: &mut Cx<'_>, _: Args<'_>) -> Result<Value, Fault> {
    Ok(Value::Handle(Handle::new(LatchObject(Latch::new()))))
}

/// The semaphore and how many permits are meant.
fn counted<'a>(name: &str, args: &'a Args<'_>) -> Result<(&'a Semaphore, usize), Fault> {
    let semaphore = &receiver::<SemaphoreObject>(name, args)?.0;
    let count = match args.get(1) {
        Value::Nil | Value::Duration(_) | Value::Dict(_) => 1,
        given => count_from(name, 0, given)?,
    };
    Ok((semaphore, count))
}

/// As `counted`, when no more are meant than there are.
fn wanted<'a>(name: &str, args: &'a Args<'_>) -> Result<(&'a Semaphore, usize), Fault> {
    let (semaphore, count) = counted(name, args)?;
    let capacity = semaphore.capacity();
    if count > capacity {
        return Err(Fault::thrown(format!("{name}: requested {count} permits from capacity {capacity}")));
    }
    Ok((semaphore, count))
}

fn acquire(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    let (semaphore, count) = wanted("acquire", &args)?;
    // The only argument may be the timeout.
    let timeout = if matches!(args.get(1), Value::Duration(_) | Value::Dict(_)) { args.get(1) } else { args.get(2) };
    timeout_of("acquire", timeout)?;
    if let Some(permit) = semaphore.try_acquire(count) {
        permit.forget();
        return Ok(Outcome::from(true));
    }
    let acquiring = semaphore.acquire(count);
    wait_for(cx, "acquire", &args, timeout, Value::Bool(false), async move {
        acquiring.await.forget();
        Ok(Value::Bool(true))
    })
}

fn try_acquire(_: &mut Cx<'_>, args: Args<'_>) -> Result<bool, Fault> {
    let (semaphore, count) = wanted("try_acquire", &args)?;
    Ok(semaphore.try_acquire(count).is_some_and(|permit| {
        permit.forget();
        true
    }))
}

fn release(_: &mut Cx<'_>, args: Args<'_>) -> Result<(), Fault> {
    let (semaphore, count) = counted("release", &args)?;
    if semaphore.give_back(count) {
        return Ok(());
    }
    let (free, capacity) = (semaphore.available(), semaphore.capacity());
    Err(Fault::thrown(format!("release: {count} permits back to {free} free ones exceed the capacity {capacity}")))
}

fn permits(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    Ok(Value::from(receiver::<SemaphoreObject>("permits", &args)?.0.available()))
}

fn barrier_wait(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    let barrier = &receiver::<BarrierObject>("wait", &args)?.0;
    let waiting = barrier.wait();
    wait_for(cx, "wait", &args, args.get(1), Value::Nil, async move { Ok(Value::Bool(waiting.await)) })
}

fn latch_wait(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    let latch = &receiver::<LatchObject>("wait", &args)?.0;
    timeout_of("wait", args.get(1))?;
    if latch.is_open() {
        return Ok(Outcome::from(true));
    }
    let waiting = latch.wait();
    wait_for(cx, "wait", &args, args.get(1), Value::Bool(false), async move {
        waiting.await;
        Ok(Value::Bool(true))
    })
}

fn open(_: &mut Cx<'_>, args: Args<'_>) -> Result<(), Fault> {
    receiver::<LatchObject>("open", &args)?.0.open();
    Ok(())
}

fn is_open(_: &mut Cx<'_>, args: Args<'_>) -> Result<bool, Fault> {
    Ok(receiver::<LatchObject>("is_open", &args)?.0.is_open())
}
