//! A scope: the owner of tasks. It never ends before all its tasks have ended, and no failure in it is lost.
//! Not here: how tasks run (`task.rs`), fan-outs (`fan_out.rs`). Invariant: `live` counts the tasks that have been
//! admitted and not ended; once `ENDED` is set in it no task is admitted any more.

use std::fmt;
use std::future::Future;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker, ready};

use parking_lot::Mutex;

use crate::cancel::{CancelKind, CancelNode, CancelReason};
use crate::failure::Failure;
use crate::handle::{SpawnSink, TaskHandle};
use crate::identity::{Identity, Lineage};
use crate::task::{AnyTask, Birth, Outcome, TaskCell, TaskContext, TaskRef, TaskSpec};
use crate::waiting::WaitKind;

/// What a failure does to a scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// It cancels nobody; the first one nobody observed surfaces when the scope closes. For the bodies of tasks.
    TaskBody,
    /// The first one cancels the rest and surfaces when the scope closes.
    FailFast,
}

/// The scope has ended or is failing, and takes no new task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("scope is closed")]
pub struct ScopeClosed;

pub(crate) struct ScopeShared<E> {
    node: CancelNode,
    /// Whom tasks spawned from outside of any task count as created by. Not the owner itself: its outcome may hold
    /// a handle of this scope, and the two would keep each other alive.
    owner: Arc<Lineage>,
    policy: Policy,
    /// Live tasks; the top bit says that the scope has ended.
    live: AtomicUsize,
    closer: Mutex<Option<Waker>>,
    /// How many of the live tasks are daemons, kept for who counts the others.
    daemon_count: AtomicUsize,
    daemons: Mutex<Vec<TaskRef>>,
    failures: Mutex<Vec<Failed<E>>>,
    /// Its body ended it early: it takes no new task.
    ended_early: AtomicBool,
}

struct Failed<E> {
    /// None: the body.
    task: Option<TaskRef>,
    error: E,
}

const ENDED: usize = 1 << (usize::BITS - 1);

impl<E> ScopeShared<E> {
    pub(crate) fn task_ended(&self) {
        // The last, or the last but daemons.
        let left = (self.live.fetch_sub(1, Ordering::AcqRel) & !ENDED) - 1;
        if left == 0 || left <= self.daemon_count.load(Ordering::Acquire) {
            let closer = self.closer.lock().take();
            if let Some(waker) = closer {
                waker.wake();
            }
        }
    }

    fn add_daemon(&self, task: TaskRef) {
        self.daemons.lock().push(task);
        self.daemon_count.fetch_add(1, Ordering::AcqRel);
    }

    /// Called before the task counts as ended.
    pub(crate) fn daemon_ended(&self, task: &Arc<AnyTask>) {
        let ended = {
            let mut daemons = self.daemons.lock();
            let at = daemons.iter().position(|it| Arc::ptr_eq(&it.0, task));
            at.map(|at| daemons.swap_remove(at))
        };
        if ended.is_some() {
            self.daemon_count.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// Nothing but daemons lives: they are not waited for.
    fn cancel_daemons(&self) {
        let daemons = self.daemons.lock().clone();
        for daemon in daemons {
            daemon.cancel(CancelReason::by_nobody(CancelKind::Shutdown, "its scope ended"));
        }
    }

    fn admit(&self) -> Result<(), ScopeClosed> {
        if self.live.fetch_add(1, Ordering::AcqRel) & ENDED != 0 || self.is_ending() {
            self.task_ended();
            return Err(ScopeClosed);
        }
        Ok(())
    }

    fn is_ending(&self) -> bool {
        self.policy == Policy::FailFast && (self.node.is_cancelled() || self.ended_early.load(Ordering::Acquire))
    }
}

impl<E: Failure> ScopeShared<E> {
    pub(crate) fn task_failed(&self, task: TaskRef, error: E) {
        {
            let mut failures = self.failures.lock();
            // A scope that was dropped has nobody left to tell.
            if self.live.load(Ordering::Acquire) & ENDED == 0 {
                failures.push(Failed { task: Some(task), error });
            }
        }
        if self.policy == Policy::FailFast {
            self.node.cancel(CancelReason::new(CancelKind::ScopeFailed, ""));
        }
    }

    fn take_failure(&self) -> Option<E> {
        let failures = std::mem::take(&mut *self.failures.lock());
        let counts = |failed: &Failed<E>| match (self.policy, &failed.task) {
            (Policy::TaskBody, Some(task)) => !task.is_observed(),
            (Policy::TaskBody, None) | (Policy::FailFast, _) => true,
        };
        let mut relevant = failures.into_iter().filter(counts);
        let mut first = relevant.next()?;
        relevant.for_each(|later| first.error.attach_suppressed(later.error));
        Some(first.error)
    }
}

/// What may be handed around of a scope: to spawn into it, to cancel it, to look at it. Clones are the same scope.
pub struct ScopeHandle<E> {
    shared: Arc<ScopeShared<E>>,
}

impl<E> Clone for ScopeHandle<E> {
    fn clone(&self) -> Self {
        ScopeHandle { shared: self.shared.clone() }
    }
}

impl<E> PartialEq for ScopeHandle<E> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }
}

impl<E> fmt::Debug for ScopeHandle<E> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let live = self.shared.live.load(Ordering::Relaxed);
        let (live, ended) = (live & !ENDED, live & ENDED != 0);
        out.debug_struct("Scope").field("live", &live).field("ended", &ended).finish_non_exhaustive()
    }
}

impl<E: Failure> ScopeHandle<E> {
    /// Creates a task in this scope. `make` gets the task's own context and makes its future, which starts when the
    /// creator next waits, yields or ends.
    ///
    /// A task cancelled before that never runs. Errors with [`ScopeClosed`] once the scope ended or is failing.
    pub fn spawn<T, F>(
        &self,
        spec: TaskSpec,
        make: impl FnOnce(TaskContext) -> F,
    ) -> Result<TaskHandle<T, E>, ScopeClosed>
    where
        T: Send + 'static,
        F: Future + Send + 'static,
        F::Output: Into<Outcome<T, E>>,
    {
        let identity = crate::frame::with_current(|task| {
            let creator = task.filter(|_| !spec.of_owner).map_or(&self.shared.owner, |task| task.header.lineage());
            creator.next_child(spec.kind, spec.label.clone())
        });
        let scope = Some(self.shared.clone());
        let daemon = spec.daemon;
        let handle = create_spawned(identity, spec, &self.shared.node, scope, make, || self.shared.admit())?;
        if daemon {
            self.shared.add_daemon(handle.task());
        }
        Ok(handle)
    }

    /// As `spawn`, for a future that needs no context: it is dropped when its task is cancelled.
    pub fn spawn_future<T, F>(&self, future: F) -> Result<TaskHandle<T, E>, ScopeClosed>
    where
        T: Send + 'static,
        F: Future + Send + 'static,
        F::Output: Into<Outcome<T, E>>,
    {
        self.spawn(TaskSpec::default(), |_| future)
    }

    /// The node its tasks belong beneath.
    pub fn node(&self) -> &CancelNode {
        &self.shared.node
    }

    /// Cancels its tasks, and the body of a fail-fast scope; what a fail-fast scope then closes with is no failure.
    pub fn cancel(&self, reason: Arc<CancelReason>) {
        match self.shared.policy {
            Policy::TaskBody => self.shared.node.cancel_below(&reason),
            Policy::FailFast => {
                self.shared.node.cancel(reason);
            }
        }
    }

    /// Ends a fail-fast scope early, for its body that goes on: cancels its tasks and takes no new ones.
    pub fn end_tasks(&self, reason: &Arc<CancelReason>) {
        self.shared.ended_early.store(true, Ordering::Release);
        self.shared.node.cancel_below(reason);
    }

    /// Its live tasks and what lives beneath them, in creation order.
    pub fn tasks(&self) -> Vec<TaskRef> {
        let is_own = |(depth, _): &(usize, _)| *depth > 0 || self.shared.policy == Policy::FailFast;
        self.shared.node.tasks().into_iter().filter(is_own).map(|(_, task)| TaskRef(task)).collect()
    }

    /// How many of its tasks have not ended.
    pub fn live(&self) -> usize {
        self.shared.live.load(Ordering::Acquire) & !ENDED
    }

    /// Whether it takes new tasks.
    pub fn is_closed(&self) -> bool {
        self.shared.live.load(Ordering::Acquire) & ENDED != 0 || self.shared.is_ending()
    }
}

pub(crate) fn create_spawned<T: Send + 'static, E: Failure, F>(
    identity: Identity,
    spec: TaskSpec,
    node: &CancelNode,
    scope: Option<Arc<ScopeShared<E>>>,
    make: impl FnOnce(TaskContext) -> F,
    admit: impl FnOnce() -> Result<(), ScopeClosed>,
) -> Result<TaskHandle<T, E>, ScopeClosed>
where
    F: Future + Send + 'static,
    F::Output: Into<Outcome<T, E>>,
{
    let birth = Birth {
        identity,
        parent: spec.under.unwrap_or_else(|| node.clone()),
        on_cancel: spec.on_cancel,
        inline_start: spec.inline_start,
        sink: SpawnSink::new(scope, spec.settled, spec.daemon),
    };
    let cell: Arc<TaskCell<_>> = birth.create(make, admit)?;
    Ok(TaskHandle::new(cell))
}

/// An open scope, owned by the task that opened it. Close it to end it.
///
/// Dropping it unclosed cancels its tasks (reason `parent_cancelled`); the owner's task then ends after they did.
pub struct Scope<E: Failure> {
    handle: ScopeHandle<E>,
}

impl<E: Failure> Scope<E> {
    /// Opens a scope of the task that `cx` belongs to, beneath `parent`: the task's innermost open node.
    ///
    /// A `FailFast` scope opens a node of its own there. A `TaskBody` scope uses the task's own node: one per task.
    pub fn open(cx: &TaskContext, parent: &CancelNode, policy: Policy) -> Scope<E> {
        let node = match policy {
            Policy::TaskBody => cx.node(),
            Policy::FailFast => parent.child(),
        };
        let shared = ScopeShared {
            node,
            owner: cx.task().0.header.lineage().clone(),
            policy,
            live: AtomicUsize::new(0),
            closer: Mutex::new(None),
            daemon_count: AtomicUsize::new(0),
            daemons: Mutex::new(Vec::new()),
            failures: Mutex::new(Vec::new()),
            ended_early: AtomicBool::new(false),
        };
        Scope { handle: ScopeHandle { shared: Arc::new(shared) } }
    }

    /// What may be handed around.
    pub fn handle(&self) -> ScopeHandle<E> {
        self.handle.clone()
    }

    /// The body failed: cancels the tasks (reason `scope_failed`). Closing will surface this failure, unless one of a
    /// fail-fast scope's tasks failed before.
    pub fn fail(&self, error: E) {
        let shared = &self.handle.shared;
        {
            let mut failures = shared.failures.lock();
            let place = if shared.policy == Policy::TaskBody { 0 } else { failures.len() };
            failures.insert(place, Failed { task: None, error });
        }
        self.handle.cancel(CancelReason::new(CancelKind::ScopeFailed, ""));
    }

    /// Waits until all its tasks have ended and ends it: with the failure its policy surfaces, others attached. What
    /// else lives beneath a fail-fast scope then (helper tasks) is cancelled, reason `shutdown`, and waited for.
    ///
    /// Waits on when its owner is cancelled: so are its tasks then. Dropping the future leaves the scope open.
    pub fn close(&mut self) -> Close<'_, E> {
        Close { scope: self }
    }

    /// As polling `close`.
    pub fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), E>> {
        let shared = &self.handle.shared;
        *shared.closer.lock() = Some(cx.waker().clone());
        // The waker is in place first: the last task to end either sees it or is seen to have ended.
        match shared.live.compare_exchange(0, ENDED, Ordering::AcqRel, Ordering::Acquire) {
            Err(live) if live & ENDED == 0 => {
                if live <= shared.daemon_count.load(Ordering::Acquire) {
                    shared.cancel_daemons();
                }
                crate::frame::note_wait(WaitKind::Tasks);
                return Poll::Pending;
            }
            Ok(_) | Err(_) => {}
        }
        if shared.policy == Policy::FailFast {
            // What is left beneath only served the scope: bodies of streams.
            if !shared.node.is_drained() {
                shared.node.cancel_below(&CancelReason::new(CancelKind::Shutdown, "its scope ended"));
                ready!(Pin::new(&mut shared.node.drained()).poll(cx));
            }
            shared.node.detach();
        }
        Poll::Ready(match shared.take_failure() {
            Some(error) => Err(error),
            None => Ok(()),
        })
    }
}

impl<E: Failure> Deref for Scope<E> {
    type Target = ScopeHandle<E>;

    fn deref(&self) -> &ScopeHandle<E> {
        &self.handle
    }
}

impl<E: Failure> Drop for Scope<E> {
    fn drop(&mut self) {
        let live = self.handle.shared.live.fetch_or(ENDED, Ordering::AcqRel);
        let forgotten = std::mem::take(&mut *self.handle.shared.failures.lock());
        drop(forgotten);
        if live & !ENDED != 0 {
            self.handle.cancel(CancelReason::new(CancelKind::ParentCancelled, "its scope was dropped"));
        }
    }
}

/// Ends a scope: see [`Scope::close`].
#[must_use = "futures do nothing unless polled"]
pub struct Close<'a, E: Failure> {
    scope: &'a mut Scope<E>,
}

impl<E: Failure> Future for Close<'_, E> {
    type Output = Result<(), E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), E>> {
        self.scope.poll_close(cx)
    }
}

/// Runs `body` in a fail-fast scope of the current task, waits for all it spawned, and gives the body's value.
///
/// The first failure, of the body or of any task, cancels everything else and is returned. When the current task is
/// cancelled, or the returned future is dropped, so are the scope's tasks; the current task ends after they did.
///
/// ```
/// use madrigal_runtime::{Runtime, TaskError, scope};
///
/// let runtime = Runtime::new();
/// let sum = runtime.run(async || {
///     scope(async |s| {
///         let a = s.spawn_future(async { Ok(20) }).expect("open");
///         let b = s.spawn_future(async { Ok(22) }).expect("open");
///         Ok::<_, TaskError>(a.await.into_result()? + b.await.into_result()?)
///     })
///     .await
/// });
/// assert_eq!(sum.unwrap(), 42);
/// ```
///
/// # Panics
///
/// When called outside of a task of a runtime.
pub async fn scope<E, R>(body: impl AsyncFnOnce(ScopeHandle<E>) -> Result<R, E>) -> Result<R, E>
where
    E: Failure,
{
    let cx = TaskContext::current().expect("scope is called inside a task");
    let mut scope = Scope::open(&cx, &cx.node(), Policy::FailFast);
    let ended = {
        let mut body = std::pin::pin!(body(scope.handle()));
        let node = scope.node();
        std::future::poll_fn(move |cx| match body.as_mut().poll(cx) {
            Poll::Ready(ended) => Poll::Ready(Some(ended)),
            Poll::Pending if node.is_cancelled() => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        })
        .await
    };
    let value = match ended {
        Some(Ok(value)) => Some(value),
        Some(Err(error)) => {
            scope.fail(error);
            None
        }
        None => None,
    };
    scope.close().await?;
    match (value, scope.node().reason()) {
        (Some(value), _) => Ok(value),
        (None, Some(reason)) => Err(E::cancelled(reason)),
        (None, None) => unreachable!("a body without a value failed or was cancelled"),
    }
}
