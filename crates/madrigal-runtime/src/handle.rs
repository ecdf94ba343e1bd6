//! The handles others hold on a task: to await it, to look at it, to cancel it.
//! Dropping a handle does nothing to the task. An outcome stays with its task as long as any handle does.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

use crate::cancel::{CancelNode, CancelReason};
use crate::failure::Failure;
use crate::scope::ScopeShared;
use crate::task::{AnyTask, Body, FutureBody, Outcome, Sink, TaskCell, TaskRef, TaskStatus};
use crate::waiting::WaitKind;

/// Where a spawned task leaves its outcome.
pub(crate) struct SpawnSink<T, E> {
    result: Mutex<ResultState<T, E>>,
    settled: bool,
    daemon: bool,
}

struct ResultState<T, E> {
    /// Until the end: a handle that outlives its task must not keep the scope, and through it the owner, alive.
    /// None from the start for a background task, which no scope waits for.
    scope: Option<Arc<ScopeShared<E>>>,
    outcome: Option<Outcome<T, E>>,
    /// Nearly every task is awaited once: the first waiter needs no allocation.
    first: Option<Waker>,
    others: Option<Box<Others>>,
}

/// The key of the waiter in `ResultState::first`; all others have one of their own.
const FIRST: u32 = 0;

#[derive(Default)]
struct Others {
    waiting: Vec<(u32, Waker)>,
    last_key: u32,
}

/// What a handle needs of a task of known types.
pub(crate) trait TypedBody<T, E>: Body {
    fn sink(&self) -> &SpawnSink<T, E>;
}

impl<T, E, F> TypedBody<T, E> for FutureBody<T, E, F, SpawnSink<T, E>>
where
    T: Send + 'static,
    E: Failure,
    F: Future + Send + 'static,
    F::Output: Into<Outcome<T, E>>,
{
    fn sink(&self) -> &SpawnSink<T, E> {
        &self.sink
    }
}

impl<T, E> SpawnSink<T, E> {
    pub(crate) fn new(scope: Option<Arc<ScopeShared<E>>>, settled: bool, daemon: bool) -> Self {
        let result = ResultState { scope, outcome: None, first: None, others: None };
        SpawnSink { result: Mutex::new(result), settled, daemon }
    }
}

impl<T: Send + 'static, E: Failure> Sink<T, E> for SpawnSink<T, E> {
    fn ended(&self, task: &Arc<AnyTask>, outcome: Outcome<T, E>) {
        let status = task.header.end_state(&outcome);
        let (scope, failure, first, others) = {
            let mut result = self.result.lock();
            let scope = result.scope.take();
            let failure = match &outcome {
                Outcome::Failed(error) if scope.is_some() && !self.settled && !error.ends_cancelled() => {
                    Some(error.clone())
                }
                _ => None,
            };
            result.outcome = Some(outcome);
            (scope, failure, result.first.take(), result.others.take())
        };
        // The failure is known to the scope before the task counts as ended; whoever waits is woken last.
        if let (Some(scope), Some(error)) = (&scope, failure) {
            scope.task_failed(TaskRef(task.clone()), error);
        }
        task.header.finish(task, status);
        if let Some(scope) = &scope {
            if self.daemon {
                scope.daemon_ended(task);
            }
            scope.task_ended();
        }
        if let Some(waker) = first {
            waker.wake();
        }
        let others = others.into_iter().flat_map(|others| others.waiting);
        others.for_each(|(_, waker)| waker.wake());
    }
}

/// A handle on a task. Clones are the same handle; equal means the same task.
///
/// Dropping it does nothing to the task.
pub struct TaskHandle<T, E> {
    cell: Arc<TaskCell<dyn TypedBody<T, E>>>,
}

impl<T, E> Clone for TaskHandle<T, E> {
    fn clone(&self) -> Self {
        TaskHandle { cell: self.cell.clone() }
    }
}

impl<T, E> PartialEq for TaskHandle<T, E> {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::addr_eq(Arc::as_ptr(&self.cell), Arc::as_ptr(&other.cell))
    }
}

impl<T, E> Eq for TaskHandle<T, E> {}

impl<T: 'static, E: 'static> fmt::Debug for TaskHandle<T, E> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.task(), out)
    }
}

impl<T: 'static, E: 'static> TaskHandle<T, E> {
    pub(crate) fn new(cell: Arc<TaskCell<dyn TypedBody<T, E>>>) -> Self {
        TaskHandle { cell }
    }

    /// Whether it is the task being polled on this thread: waiting for it there would never end.
    pub fn is_current(&self) -> bool {
        crate::frame::is_current_header(&self.cell.header)
    }

    /// The task, without its types.
    pub fn task(&self) -> TaskRef {
        TaskRef(self.cell.clone())
    }

    /// Its id, for example `task_root:spawn:1`. Built anew at every call.
    pub fn id(&self) -> String {
        self.cell.header.identity.id()
    }

    /// Its name, for example `spawn`.
    pub fn name(&self) -> &'static str {
        self.cell.header.identity.kind.name
    }

    /// Where it is in its life.
    pub fn status(&self) -> TaskStatus {
        self.cell.header.status()
    }

    /// Its node in the cancellation tree.
    pub fn node(&self) -> CancelNode {
        self.task().node()
    }

    /// Asks it, and everything beneath it, to end; counts as observing it. Returns at once.
    ///
    /// `false` when it had ended or was cancelled already.
    pub fn cancel(&self, reason: Arc<CancelReason>) -> bool {
        self.mark_observed();
        self.task().cancel(reason)
    }

    /// As `cancel`, and its future is dropped at its next poll, whatever its grace period.
    pub fn abort(&self, reason: Arc<CancelReason>) {
        self.mark_observed();
        self.task().abort(reason);
    }

    /// Takes note of how it ends: its scope no longer reports its failure.
    pub fn mark_observed(&self) {
        self.task().mark_observed();
    }

    /// Whether it has ended. Does not count as observing it.
    pub fn is_ended(&self) -> bool {
        self.cell.body.sink().result.lock().outcome.is_some()
    }

    /// Waits for its end without taking note of the outcome: for those who wait for several tasks at once.
    ///
    /// Dropping the future has no effect.
    pub fn ended(&self) -> Ended<T, E> {
        Ended { handle: self.clone(), key: None }
    }
}

impl<T: Clone + 'static, E: Failure> TaskHandle<T, E> {
    /// The outcome, once there is one. Does not count as observing it.
    pub fn try_outcome(&self) -> Option<Outcome<T, E>> {
        self.cell.body.sink().result.lock().outcome.clone()
    }

    /// Waits for the outcome; counts as observing it. Any number of tasks may, any number of times.
    ///
    /// Dropping the future has no effect on the task. A task must not wait for itself: see [`TaskRef::is_current`].
    pub fn join(&self) -> Join<T, E> {
        self.mark_observed();
        Join { ended: self.ended() }
    }
}

/// Waits for a task's end: see [`TaskHandle::ended`].
#[must_use = "futures do nothing unless polled"]
pub struct Ended<T, E> {
    handle: TaskHandle<T, E>,
    key: Option<u32>,
}

impl<T, E> ResultState<T, E> {
    fn park(&mut self, key: Option<u32>, waker: &Waker) -> u32 {
        match (key, &mut self.first, &mut self.others) {
            (Some(FIRST) | None, first, _) if key.is_some() || first.is_none() => {
                *first = Some(waker.clone());
                FIRST
            }
            (key, _, others) => others.get_or_insert_default().park(key, waker),
        }
    }

    fn leave(&mut self, key: u32) -> Option<Waker> {
        match key {
            FIRST => self.first.take(),
            key => self.others.as_mut().and_then(|others| others.leave(key)),
        }
    }
}

impl Others {
    fn park(&mut self, key: Option<u32>, waker: &Waker) -> u32 {
        if let Some((key, known)) = self.waiting.iter_mut().find(|(known, _)| Some(*known) == key) {
            known.clone_from(waker);
            return *key;
        }
        self.last_key += 1;
        self.waiting.push((self.last_key, waker.clone()));
        self.last_key
    }

    fn leave(&mut self, key: u32) -> Option<Waker> {
        let place = self.waiting.iter().position(|(waiting, _)| *waiting == key)?;
        Some(self.waiting.remove(place).1)
    }
}

impl<T, E> Future for Ended<T, E> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let key = self.key;
        let mut result = self.handle.cell.body.sink().result.lock();
        if result.outcome.is_some() {
            return Poll::Ready(());
        }
        let key = result.park(key, cx.waker());
        drop(result);
        self.key = Some(key);
        crate::frame::note_wait(WaitKind::Join);
        Poll::Pending
    }
}

impl<T, E> Drop for Ended<T, E> {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            let left = self.handle.cell.body.sink().result.lock().leave(key);
            drop(left);
        }
    }
}

/// Waits for a task's outcome: see [`TaskHandle::join`].
#[must_use = "futures do nothing unless polled"]
pub struct Join<T, E> {
    ended: Ended<T, E>,
}

impl<T: Clone + 'static, E: Failure> Future for Join<T, E> {
    type Output = Outcome<T, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome<T, E>> {
        match Pin::new(&mut self.ended).poll(cx) {
            Poll::Ready(()) => Poll::Ready(self.ended.handle.try_outcome().expect("an ended task has an outcome")),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<T: Clone + 'static, E: Failure> IntoFuture for TaskHandle<T, E> {
    type Output = Outcome<T, E>;
    type IntoFuture = Join<T, E>;

    fn into_future(self) -> Join<T, E> {
        self.join()
    }
}
