//! Shared and exclusive access. Invariants: a writer excludes everybody; nobody waits whom the present holders and
//! those before it in line would let in; whoever comes later waits behind a waiting writer.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::facade::Mutex;

use super::AlreadyHeld;
use super::line::{Left, Line};
use crate::frame::note_wait;
use crate::task::TaskRef;
use crate::wait_list::WaitKey;
use crate::waiting::{Describe, WaitKind};

/// Which access is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Beside other readers.
    Read,
    /// Alone.
    Write,
}

/// A fair readers-writer lock. Clones are the same lock.
#[derive(Clone, Default)]
pub struct RwLock(Arc<Shared>);

#[derive(Default)]
struct Shared {
    name: Option<Box<str>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Held for writing ⇔ some; the inner None is a holder that is no task.
    writer: Option<Option<TaskRef>>,
    /// One entry for each read access held.
    readers: Vec<Option<TaskRef>>,
    line: Line<(Access, Option<TaskRef>), ()>,
}

impl State {
    fn admits(&self, access: Access) -> bool {
        self.writer.is_none() && (access == Access::Read || self.readers.is_empty())
    }

    fn enter(&mut self, access: Access, task: Option<TaskRef>) {
        match access {
            Access::Read => self.readers.push(task),
            Access::Write => self.writer = Some(task),
        }
    }

    /// Lets in whoever may come in, in order.
    fn serve(&mut self, wakers: &mut Vec<Waker>) {
        while let Some((access, task)) = self.line.front() {
            let (access, task) = (*access, task.clone());
            if !self.admits(access) {
                return;
            }
            self.enter(access, task);
            if let Ok((waker, _)) = self.line.serve(()) {
                wakers.push(waker);
            }
        }
    }

    fn holds(&self, access: Access, task: &TaskRef) -> bool {
        match access {
            Access::Read => self.readers.iter().any(|reader| reader.as_ref() == Some(task)),
            Access::Write => self.writer.as_ref().is_some_and(|writer| writer.as_ref() == Some(task)),
        }
    }

    /// Whether the task would wait for itself. A reader may read again unless it had to wait behind a writer.
    fn waits_for_itself(&self, access: Access, task: Option<&TaskRef>) -> bool {
        let Some(task) = task else { return false };
        self.holds(Access::Write, task)
            || self.holds(Access::Read, task) && (access == Access::Write || !self.line.is_empty())
    }

    /// Takes back an access; the holder is to be dropped unlocked.
    fn release(&mut self, access: Access, task: Option<&TaskRef>, wakers: &mut Vec<Waker>) -> Option<TaskRef> {
        let holder = match access {
            Access::Write => self.writer.take().flatten(),
            Access::Read => {
                let at = self.readers.iter().position(|reader| reader.as_ref() == task);
                at.and_then(|at| self.readers.swap_remove(at))
            }
        };
        self.serve(wakers);
        holder
    }
}

impl RwLock {
    /// A free lock.
    pub fn new() -> RwLock {
        RwLock::default()
    }

    /// As `new`, with a name for reports.
    pub fn named(name: impl Into<Box<str>>) -> RwLock {
        RwLock(Arc::new(Shared { name: Some(name.into()), state: Mutex::default() }))
    }

    /// How many read accesses are held.
    pub fn readers(&self) -> usize {
        self.0.state.lock().readers.len()
    }

    /// Whether it is held for writing.
    pub fn is_written(&self) -> bool {
        self.0.state.lock().writer.is_some()
    }

    /// How many acquires are parked.
    pub fn waiting(&self) -> usize {
        self.0.state.lock().line.len()
    }

    /// Takes it without waiting; None when that is not possible now. Errors when the task would wait for itself.
    pub fn try_acquire(&self, access: Access) -> Result<Option<RwGuard>, AlreadyHeld> {
        let task = TaskRef::current();
        let mut state = self.0.state.lock();
        if state.waits_for_itself(access, task.as_ref()) {
            return Err(AlreadyHeld);
        }
        if !state.line.is_empty() || !state.admits(access) {
            return Ok(None);
        }
        state.enter(access, task.clone());
        Ok(Some(self.guard(access, task)))
    }

    /// Waits for shared access: see [`RwLock::acquire`].
    pub fn read(&self) -> RwAcquire {
        self.acquire(Access::Read)
    }

    /// Waits for exclusive access: see [`RwLock::acquire`].
    pub fn write(&self) -> RwAcquire {
        self.acquire(Access::Write)
    }

    /// Waits for access, first come, first served, for the task that polls. Errors when that task would wait for
    /// itself: it writes already, or reads and wants to write, or reads and would have to wait behind a writer.
    ///
    /// Dropping the future takes nothing.
    pub fn acquire(&self, access: Access) -> RwAcquire {
        RwAcquire { lock: self.clone(), access, task: None, parked: None }
    }

    fn guard(&self, access: Access, task: Option<TaskRef>) -> RwGuard {
        RwGuard { lock: self.clone(), access, task }
    }

    fn release(&self, access: Access, task: Option<&TaskRef>) {
        let mut wakers = Vec::new();
        let holder = self.0.state.lock().release(access, task, &mut wakers);
        drop(holder);
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl fmt::Debug for RwLock {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.0.state.lock();
        let mut debug = out.debug_struct("RwLock");
        debug.field("readers", &state.readers.len()).field("written", &state.writer.is_some()).finish_non_exhaustive()
    }
}

impl Describe for RwLock {
    fn describe(&self) -> String {
        match &self.0.name {
            Some(name) => format!("readers-writer lock {name}"),
            None => "a readers-writer lock".to_owned(),
        }
    }

    fn holder(&self) -> Option<TaskRef> {
        self.0.state.lock().writer.clone().flatten()
    }
}

/// Access to what the lock protects. Dropping it releases it.
#[derive(Debug)]
pub struct RwGuard {
    lock: RwLock,
    access: Access,
    task: Option<TaskRef>,
}

impl RwGuard {
    /// Which access it is.
    pub fn access(&self) -> Access {
        self.access
    }

    /// The task that was let in.
    pub fn holder(&self) -> Option<&TaskRef> {
        self.task.as_ref()
    }
}

impl Drop for RwGuard {
    fn drop(&mut self) {
        self.lock.release(self.access, self.task.as_ref());
    }
}

/// Waits for access: see [`RwLock::acquire`].
#[must_use = "futures do nothing unless polled"]
pub struct RwAcquire {
    lock: RwLock,
    access: Access,
    /// Who asked, once it is parked.
    task: Option<TaskRef>,
    parked: Option<WaitKey>,
}

impl Future for RwAcquire {
    type Output = Result<RwGuard, AlreadyHeld>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let Some(key) = this.parked else {
            return this.poll_new(cx);
        };
        if this.lock.0.state.lock().line.poll(key, cx).is_pending() {
            note_wait(WaitKind::Lock);
            return Poll::Pending;
        }
        this.parked = None;
        Poll::Ready(Ok(this.lock.guard(this.access, this.task.take())))
    }
}

impl RwAcquire {
    /// Which access it asks for.
    pub fn access(&self) -> Access {
        self.access
    }

    fn poll_new(&mut self, cx: &mut Context<'_>) -> Poll<Result<RwGuard, AlreadyHeld>> {
        let task = TaskRef::current();
        let mut state = self.lock.0.state.lock();
        if state.waits_for_itself(self.access, task.as_ref()) {
            return Poll::Ready(Err(AlreadyHeld));
        }
        if state.line.is_empty() && state.admits(self.access) {
            state.enter(self.access, task.clone());
            drop(state);
            return Poll::Ready(Ok(self.lock.guard(self.access, task)));
        }
        self.parked = Some(state.line.join(cx, (self.access, task.clone())));
        self.task = task;
        note_wait(WaitKind::Lock);
        Poll::Pending
    }
}

impl Drop for RwAcquire {
    fn drop(&mut self) {
        let Some(key) = self.parked else { return };
        let mut wakers = Vec::new();
        let left = {
            let mut state = self.lock.0.state.lock();
            let left = state.line.leave(key);
            let holder = match &left {
                Some(Left::Served(())) => state.release(self.access, self.task.as_ref(), &mut wakers),
                // It may have been the writer that held up the readers behind it.
                Some(Left::Waiting(..)) | None => {
                    state.serve(&mut wakers);
                    None
                }
            };
            (left, holder)
        };
        drop(left);
        wakers.into_iter().for_each(Waker::wake);
    }
}
