//! Mutual exclusion between tasks. The lock knows who holds it, so taking it twice is an error and not a standstill.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::facade::Mutex;

use crate::frame::note_wait;
use crate::task::TaskRef;
use crate::wait_list::{WaitKey, WaitList};
use crate::waiting::{Describe, WaitKind};

/// A fair lock. Clones are the same lock.
#[derive(Clone)]
pub struct Lock(Arc<Shared>);

struct Shared {
    name: Option<Box<str>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Held ⇔ some; the inner None is a holder that is no task.
    holder: Option<Option<TaskRef>>,
    waiters: WaitList<Waiter>,
}

enum Waiter {
    Waiting(Waker, Option<TaskRef>),
    Granted,
}

/// The task that asks for a lock holds it: it would wait for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("deadlock: the task already holds this lock")]
pub struct AlreadyHeld;

impl State {
    /// Frees the lock, or passes it to whoever waits longest. Answers the old holder, to be dropped unlocked.
    fn release(&mut self) -> (Option<Waker>, Option<Option<TaskRef>>) {
        let Some(first) = self.waiters.pop_front() else {
            return (None, self.holder.take());
        };
        match std::mem::replace(first, Waiter::Granted) {
            Waiter::Waiting(waker, task) => (Some(waker), self.holder.replace(task)),
            Waiter::Granted => unreachable!("only waiting waiters are queued"),
        }
    }

    fn is_held_by(&self, task: Option<&TaskRef>) -> bool {
        task.is_some() && matches!(&self.holder, Some(holder) if holder.as_ref() == task)
    }
}

impl Default for Lock {
    fn default() -> Self {
        Lock::new()
    }
}

impl Lock {
    /// A free lock.
    pub fn new() -> Lock {
        Lock(Arc::new(Shared { name: None, state: Mutex::default() }))
    }

    /// As `new`, with a name for reports.
    pub fn named(name: impl Into<Box<str>>) -> Lock {
        Lock(Arc::new(Shared { name: Some(name.into()), state: Mutex::default() }))
    }

    /// Whether somebody holds it.
    pub fn is_held(&self) -> bool {
        self.0.state.lock().holder.is_some()
    }

    /// The task that holds it.
    pub fn holder(&self) -> Option<TaskRef> {
        self.0.state.lock().holder.clone().flatten()
    }

    /// How many acquires are parked.
    pub fn waiting(&self) -> usize {
        self.0.state.lock().waiters.len()
    }

    /// Takes it for the current task without waiting; None when it is held. Errors when the task holds it itself.
    pub fn try_acquire(&self) -> Result<Option<LockGuard>, AlreadyHeld> {
        let task = TaskRef::current();
        let mut state = self.0.state.lock();
        if state.is_held_by(task.as_ref()) {
            return Err(AlreadyHeld);
        }
        if state.holder.is_some() {
            return Ok(None);
        }
        state.holder = Some(task);
        Ok(Some(LockGuard { lock: self.clone() }))
    }

    /// Waits for it, first come, first served, for the task that polls. Errors when that task holds it itself.
    ///
    /// Dropping the future takes nothing.
    pub fn acquire(&self) -> LockAcquire {
        LockAcquire { lock: self.clone(), parked: None, again: false }
    }

    /// As `acquire`, for a task that gave the lock up in order to wait: whatever else it does meanwhile, it waits.
    pub(super) fn acquire_again(&self) -> LockAcquire {
        LockAcquire { lock: self.clone(), parked: None, again: true }
    }

    fn release(&self) {
        let (waker, old) = self.0.state.lock().release();
        drop(old);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl fmt::Debug for Lock {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Lock").field("name", &self.0.name).field("holder", &self.holder()).finish_non_exhaustive()
    }
}

impl Describe for Lock {
    fn describe(&self) -> String {
        match &self.0.name {
            Some(name) => format!("lock {name}"),
            None => "a lock".to_owned(),
        }
    }

    fn holder(&self) -> Option<TaskRef> {
        Lock::holder(self)
    }
}

/// The lock, held. Dropping it releases the lock.
#[derive(Debug)]
pub struct LockGuard {
    lock: Lock,
}

impl LockGuard {
    /// What it holds.
    pub fn lock(&self) -> &Lock {
        &self.lock
    }
}

impl Drop for LockGuard {
    fn drop(&mut self) {
        self.lock.release();
    }
}

/// Waits for a lock: see [`Lock::acquire`].
#[must_use = "futures do nothing unless polled"]
pub struct LockAcquire {
    lock: Lock,
    parked: Option<WaitKey>,
    again: bool,
}

impl Future for LockAcquire {
    type Output = Result<LockGuard, AlreadyHeld>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let Some(key) = this.parked else {
            return this.poll_new(cx);
        };
        let mut state = this.lock.0.state.lock();
        if let Some(Waiter::Waiting(waker, _)) = state.waiters.get_mut(key) {
            waker.clone_from(cx.waker());
            note_wait(WaitKind::Lock);
            return Poll::Pending;
        }
        state.waiters.remove(key);
        this.parked = None;
        drop(state);
        Poll::Ready(Ok(LockGuard { lock: this.lock.clone() }))
    }
}

impl LockAcquire {
    fn poll_new(&mut self, cx: &mut Context<'_>) -> Poll<Result<LockGuard, AlreadyHeld>> {
        let task = TaskRef::current();
        let mut state = self.lock.0.state.lock();
        if !self.again && state.is_held_by(task.as_ref()) {
            return Poll::Ready(Err(AlreadyHeld));
        }
        if state.holder.is_none() {
            state.holder = Some(task);
            return Poll::Ready(Ok(LockGuard { lock: self.lock.clone() }));
        }
        self.parked = Some(state.waiters.push_back(Waiter::Waiting(cx.waker().clone(), task)));
        note_wait(WaitKind::Lock);
        Poll::Pending
    }
}

impl Drop for LockAcquire {
    fn drop(&mut self) {
        let Some(key) = self.parked else { return };
        let left = self.lock.0.state.lock().waiters.remove(key);
        if matches!(left, Some(Waiter::Granted)) {
            self.lock.release();
        }
    }
}
