//! One task: its state, how it is polled to its end, and the handles others hold on it.
//! Not here: who waits for it (`scope.rs`, `fan_out.rs`), what its futures wait for.
//! Invariants: a task's future is polled by its executor only. A task cancelled before its first poll never runs. It
//! ends once, after everything beneath it ended, and leaves the tree before anyone who waits for it is woken.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use parking_lot::Mutex;

use crate::cancel::{CancelKind, CancelNode, CancelReason, NodeCore};
use crate::clock::Timer;
use crate::context::ContextValues;
use crate::deadlock::DeadlockedTask;
use crate::event::Event;
use crate::failure::Failure;
use crate::identity::{Identity, Lineage, NO_INDEX, TaskKind};
use crate::runtime::{Run as RuntimeRun, RuntimeHandle, RuntimeShared};
use crate::waiting::{WaitKind, Waiting};

/// How a task ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome<T, E> {
    /// With a value.
    Ok(T),
    /// With a failure.
    Failed(E),
    /// By its own cancellation.
    Cancelled(Arc<CancelReason>),
}

impl<T, E> From<Result<T, E>> for Outcome<T, E> {
    fn from(result: Result<T, E>) -> Self {
        match result {
            Ok(value) => Outcome::Ok(value),
            Err(error) => Outcome::Failed(error),
        }
    }
}

impl<T, E: Failure> Outcome<T, E> {
    /// The value, or the failure; a cancellation becomes the failure [`Failure::cancelled`] makes of it.
    pub fn into_result(self) -> Result<T, E> {
        match self {
            Outcome::Ok(value) => Ok(value),
            Outcome::Failed(error) => Err(error),
            Outcome::Cancelled(reason) => Err(E::cancelled(&reason)),
        }
    }
}

/// Where a task is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskStatus {
    /// Created, not started.
    Pending,
    /// Running, or ready to.
    Running,
    /// In a wait.
    Waiting,
    /// Ended with a value.
    Done,
    /// Ended with a failure.
    Failed,
    /// Ended by its cancellation.
    Cancelled,
}

impl TaskStatus {
    /// The status as scripts and dumps spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            TaskStatus::Pending => "pending",
            TaskStatus::Running => "running",
            TaskStatus::Waiting => "waiting",
            TaskStatus::Done => "done",
            TaskStatus::Failed => "failed",
            TaskStatus::Cancelled => "cancelled",
        }
    }

    /// Whether the task has ended.
    pub fn is_ended(self) -> bool {
        matches!(self, TaskStatus::Done | TaskStatus::Failed | TaskStatus::Cancelled)
    }
}

/// What a cancelled task's future may still do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnCancel {
    /// Nothing: it is dropped, which is how Rust futures clean up.
    Drop,
    /// It is polled on and must look at its node itself; after the grace period it is dropped.
    Grace(Duration),
}

/// What a new task is to be.
#[derive(Clone)]
pub struct TaskSpec {
    /// How it is created.
    pub kind: &'static TaskKind,
    /// Replaces the kind and number in its id.
    pub label: Option<Arc<String>>,
    /// Its failure concerns only whoever asks for it, never its scope.
    pub settled: bool,
    /// It counts as created by the owner of its scope, whoever creates it.
    pub of_owner: bool,
    /// It only serves its scope: once nothing else of the scope lives it is cancelled instead of waited for.
    pub daemon: bool,
    /// What its future may do once cancelled.
    pub on_cancel: OnCancel,
    /// Its polls are short: it may be polled once right where it was created, after its creator's poll and before the
    /// executor sees it. A task that ends at once then costs no scheduling. The simulator ignores this.
    pub inline_start: bool,
    /// The node it belongs beneath, when that is not its scope's own: the creator's innermost open node.
    pub under: Option<CancelNode>,
}

impl TaskSpec {
    /// A task of `kind` whose future is dropped when it is cancelled.
    pub fn new(kind: &'static TaskKind) -> TaskSpec {
        TaskSpec {
            kind,
            label: None,
            settled: false,
            of_owner: false,
            daemon: false,
            on_cancel: OnCancel::Drop,
            inline_start: false,
            under: None,
        }
    }

    /// Lets the future clean up by itself, for at most `grace` after a cancel.
    pub fn with_grace(self, grace: Duration) -> TaskSpec {
        TaskSpec { on_cancel: OnCancel::Grace(grace), ..self }
    }

    /// Lets it be polled once right where it was created: for futures whose polls are short.
    pub fn inline_start(self) -> TaskSpec {
        TaskSpec { inline_start: true, ..self }
    }

    /// Puts the task beneath `node`.
    pub fn under(self, node: &CancelNode) -> TaskSpec {
        TaskSpec { under: Some(node.clone()), ..self }
    }

    /// Lets its scope end without it: it is cancelled when nothing else of the scope lives.
    pub fn daemon(self) -> TaskSpec {
        TaskSpec { daemon: true, ..self }
    }

    /// Keeps its failure from its scope.
    pub fn settled(self) -> TaskSpec {
        TaskSpec { settled: true, ..self }
    }

    /// Gives it a name of its own in ids.
    pub fn label(self, label: impl Into<String>) -> TaskSpec {
        TaskSpec { label: Some(Arc::new(label.into())), ..self }
    }
}

impl Default for TaskSpec {
    fn default() -> Self {
        TaskSpec::new(TaskKind::SPAWN)
    }
}

/// How many tasks a circle of waits is looked for in.
const CYCLE_LEN_MAX: usize = 10_000;

const PENDING: u8 = 0;
const RUNNING: u8 = 1;
const PARKED: u8 = 2;
const DONE: u8 = 3;
const FAILED: u8 = 4;
const CANCELLED: u8 = 5;

/// Everything about a task that does not depend on its types.
pub(crate) struct TaskHeader {
    pub(crate) node: NodeCore,
    pub(crate) identity: Identity,
    /// What this task's own children share; made when it first creates one.
    lineage: OnceLock<Arc<Lineage>>,
    state: AtomicU8,
    /// The `WaitKind` that ended the last poll.
    wait: AtomicU8,
    observed: AtomicBool,
    aborted: AtomicBool,
    pub(crate) inline_start: bool,
    parked: Mutex<Parked>,
}

#[derive(Default)]
struct Parked {
    /// The executor's, from the first poll to the end.
    waker: Option<Waker>,
    /// The box is made at the first wait that is published, and then kept.
    waiting: Option<Box<Option<Waiting>>>,
    /// The task's own values; its children start with them.
    values: Option<ContextValues>,
}

impl Parked {
    fn waiting(&self) -> Option<&Waiting> {
        self.waiting.as_ref().and_then(|waiting| Option::as_ref(waiting))
    }
}

/// A task: the header and, behind it, whatever its types need. One allocation.
pub(crate) struct TaskCell<B: ?Sized> {
    pub(crate) header: TaskHeader,
    pub(crate) body: B,
}

pub(crate) type AnyTask = TaskCell<dyn Body>;

/// What the executor needs of a task.
pub(crate) trait Body: Send + Sync {
    /// Runs the task until it waits or ended.
    fn poll(&self, task: &Arc<AnyTask>, cx: &mut Context<'_>) -> Poll<()>;
    /// Ends a task that never ran and was cancelled.
    fn end_unstarted(&self, task: &Arc<AnyTask>);
    /// Ends a task whose executor went away.
    fn abandon(&self, task: &Arc<AnyTask>);
}

/// Where the outcome of a task goes.
pub(crate) trait Sink<T, E>: Send + Sync {
    /// Called once. Must call `task.header.finish(..)` before it wakes anyone.
    fn ended(&self, task: &Arc<AnyTask>, outcome: Outcome<T, E>);
}

impl TaskHeader {
    pub(crate) fn new(identity: Identity, inline_start: bool) -> TaskHeader {
        TaskHeader {
            node: NodeCore::default(),
            identity,
            lineage: OnceLock::new(),
            state: AtomicU8::new(PENDING),
            wait: AtomicU8::new(0),
            observed: AtomicBool::new(false),
            aborted: AtomicBool::new(false),
            inline_start,
            parked: Mutex::default(),
        }
    }

    pub(crate) fn runtime(&self) -> &Arc<RuntimeShared> {
        &self.identity.creator.run.runtime
    }

    pub(crate) fn run(&self) -> &Arc<RuntimeRun> {
        &self.identity.creator.run
    }

    pub(crate) fn lineage(&self) -> &Arc<Lineage> {
        self.lineage.get_or_init(|| Lineage::of_task(&self.identity))
    }

    /// Has the executor poll the task. A task not yet polled needs no waking.
    pub(crate) fn wake(&self) {
        let waker = self.parked.lock().waker.clone();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn emit(&self, event: impl for<'a> FnOnce(&'a TaskRef) -> Event<'a>, task: &Arc<AnyTask>) {
        if let Some(sink) = &self.runtime().events {
            sink.event(event(&TaskRef(task.clone())));
        }
    }

    pub(crate) fn parked(&self, task: &Arc<AnyTask>, wait: WaitKind) {
        self.wait.store(wait as u8, Ordering::Relaxed);
        self.state.store(PARKED, Ordering::Release);
        self.emit(|task| Event::Waiting(task), task);
    }

    /// The state an outcome ends a task in, for `finish`.
    pub(crate) fn end_state<T, E: Failure>(&self, outcome: &Outcome<T, E>) -> u8 {
        match outcome {
            Outcome::Ok(_) => DONE,
            Outcome::Failed(error) if error.ends_cancelled() => CANCELLED,
            Outcome::Failed(_) => FAILED,
            Outcome::Cancelled(_) => CANCELLED,
        }
    }

    /// Marks the end and leaves the tree.
    pub(crate) fn finish(&self, task: &Arc<AnyTask>, state: u8) {
        self.state.store(state, Ordering::Release);
        // Dropped unlocked: the waker may own the executor's part of the task.
        let parked = std::mem::take(&mut *self.parked.lock());
        drop(parked);
        self.emit(|task| Event::Ended(task), task);
        self.node.detach_task();
    }

    pub(crate) fn context_values(&self) -> Option<ContextValues> {
        self.parked.lock().values.clone()
    }

    /// Replaces the values; the previous ones, to be dropped unlocked.
    pub(crate) fn set_context_values(&self, values: Option<ContextValues>) -> Option<ContextValues> {
        std::mem::replace(&mut self.parked.lock().values, values)
    }

    fn clear_waiting(&self) {
        let waiting = self.parked.lock().waiting.as_mut().and_then(|waiting| waiting.take());
        drop(waiting);
    }

    pub(crate) fn status(&self) -> TaskStatus {
        match self.state.load(Ordering::Acquire) {
            PENDING => TaskStatus::Pending,
            PARKED if self.is_waiting() => TaskStatus::Waiting,
            DONE => TaskStatus::Done,
            FAILED => TaskStatus::Failed,
            CANCELLED => TaskStatus::Cancelled,
            _ => TaskStatus::Running,
        }
    }

    fn is_waiting(&self) -> bool {
        self.wait.load(Ordering::Relaxed) != 0 || self.parked.lock().waiting().is_some()
    }
}

/// The future of a task, or what is left of it.
enum Stage<T, E, F> {
    /// The task's future is being made.
    Empty,
    /// A box of its own: a handle keeps the task's memory long after this is gone.
    Running(Pin<Box<F>>),
    /// The future is gone; what lives beneath the task has to end first.
    Draining(Outcome<T, E>),
    Ended,
}

struct Run<T, E, F> {
    stage: Stage<T, E, F>,
    started: bool,
    /// The executor's waker is in the header.
    has_waker: bool,
    on_cancel: OnCancel,
    grace: Option<Box<Timer>>,
}

/// A task's body made of a future and a place for its outcome.
pub(crate) struct FutureBody<T, E, F, S> {
    run: Mutex<Run<T, E, F>>,
    pub(crate) sink: S,
}

impl<T, E, F, S> FutureBody<T, E, F, S> {
    pub(crate) fn new(sink: S, on_cancel: OnCancel) -> Self {
        FutureBody {
            run: Mutex::new(Run { stage: Stage::Empty, started: false, has_waker: false, on_cancel, grace: None }),
            sink,
        }
    }

    pub(crate) fn set_future(&self, future: F) {
        self.run.lock().stage = Stage::Running(Box::pin(future));
    }

    /// Breaks the cycle of a task that was refused: its future owns its context, which owns the task.
    fn forget_future(&self) {
        self.run.lock().stage = Stage::Ended;
    }
}

impl<T, E, F, S> Body for FutureBody<T, E, F, S>
where
    T: Send + 'static,
    E: Failure,
    F: Future + Send + 'static,
    F::Output: Into<Outcome<T, E>>,
    S: Sink<T, E>,
{
    fn poll(&self, task: &Arc<AnyTask>, cx: &mut Context<'_>) -> Poll<()> {
        let header = &task.header;
        let mut run = self.run.lock();
        // The waker of an inline poll does nothing; the executor polls again, with its own. (Asking the waker whether it
        // is the one that does nothing is no way to tell: its table may exist several times.)
        if !run.has_waker && !crate::frame::is_inline() {
            run.has_waker = true;
            header.parked.lock().waker = Some(cx.waker().clone());
        }
        if !run.started {
            run.started = true;
            // After the waker is in place: a cancel from here on either is seen below or wakes us.
            if let Some(reason) = header.node.reason() {
                run.end_future(Outcome::Cancelled(reason.clone()));
            } else {
                header.emit(|task| Event::Started(task), task);
            }
        } else {
            header.emit(|task| Event::Woken(task), task);
        }
        header.state.store(RUNNING, Ordering::Relaxed);
        if run.poll_future(header, cx).is_pending() || header.poll_beneath(cx).is_pending() {
            return Poll::Pending;
        }
        let outcome = run.take_outcome();
        drop(run);
        if let Some(outcome) = outcome {
            self.sink.ended(task, outcome);
        }
        Poll::Ready(())
    }

    fn end_unstarted(&self, task: &Arc<AnyTask>) {
        let Some(reason) = task.header.node.reason().cloned() else {
            return;
        };
        self.run.lock().end_future(Outcome::Cancelled(reason));
        self.finish(task);
    }

    fn abandon(&self, task: &Arc<AnyTask>) {
        // Locked only when the runtime is dropped inside this very task, which then ends by itself.
        let Some(mut run) = self.run.try_lock() else {
            return;
        };
        if matches!(run.stage, Stage::Ended) {
            return;
        }
        if matches!(run.stage, Stage::Running(_) | Stage::Empty) {
            let shutdown = || CancelReason::new(CancelKind::Shutdown, "the runtime ended");
            let reason = task.header.node.reason().cloned().unwrap_or_else(shutdown);
            run.end_future(Outcome::Cancelled(reason));
        }
        drop(run);
        self.finish(task);
    }
}

impl<T, E, F, S: Sink<T, E>> FutureBody<T, E, F, S> {
    fn finish(&self, task: &Arc<AnyTask>) {
        let outcome = self.run.lock().take_outcome();
        if let Some(outcome) = outcome {
            self.sink.ended(task, outcome);
        }
    }
}

impl<T, E, F> Run<T, E, F> {
    /// Drops the future; whatever the drop does, the task then ends with `outcome`.
    fn end_future(&mut self, outcome: Outcome<T, E>) {
        self.grace = None;
        // A panic in a destructor is reported by the panic hook; the outcome stands.
        let _ = catch_unwind(AssertUnwindSafe(|| self.stage = Stage::Empty));
        self.stage = Stage::Draining(outcome);
    }

    fn take_outcome(&mut self) -> Option<Outcome<T, E>> {
        match std::mem::replace(&mut self.stage, Stage::Ended) {
            Stage::Draining(outcome) => Some(outcome),
            Stage::Empty | Stage::Running(_) | Stage::Ended => None,
        }
    }
}

impl<T, E, F> Run<T, E, F>
where
    E: Failure,
    F: Future,
    F::Output: Into<Outcome<T, E>>,
{
    fn poll_future(&mut self, header: &TaskHeader, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(reason) = self.must_drop(header, cx) {
            self.end_future(Outcome::Cancelled(reason));
        }
        let Stage::Running(future) = &mut self.stage else {
            return Poll::Ready(());
        };
        let outcome = match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
            Ok(Poll::Pending) => return self.arm_grace(header, cx),
            Ok(Poll::Ready(output)) => output.into(),
            Err(panic) => Outcome::Failed(E::from_panic(panic_message(&*panic))),
        };
        self.end_future(outcome);
        Poll::Ready(())
    }

    fn must_drop(&mut self, header: &TaskHeader, cx: &mut Context<'_>) -> Option<Arc<CancelReason>> {
        let reason = header.node.reason()?;
        let mut grace_is_over = || self.grace.as_mut().is_some_and(|timer| timer.poll_due(cx).is_ready());
        let drop_it = self.on_cancel == OnCancel::Drop || header.aborted.load(Ordering::Acquire) || grace_is_over();
        drop_it.then(|| reason.clone())
    }

    /// The first time a cancelled task waits, its grace period begins to count.
    fn arm_grace(&mut self, header: &TaskHeader, cx: &mut Context<'_>) -> Poll<()> {
        let OnCancel::Grace(grace) = self.on_cancel else {
            return Poll::Pending;
        };
        if self.grace.is_none() && header.node.is_cancelled() {
            let wait = crate::frame::noted_wait();
            let mut timer = Box::new(Timer::after(&header.runtime().clock, grace));
            if timer.poll_due(cx).is_ready() {
                cx.waker().wake_by_ref();
            }
            self.grace = Some(timer);
            crate::frame::note_wait(wait);
        }
        Poll::Pending
    }
}

impl TaskHeader {
    /// Waits for what still lives beneath an ended body: tasks of scopes that were dropped instead of closed.
    fn poll_beneath(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.node.is_drained() {
            return Poll::Ready(());
        }
        let reason = CancelReason::new(CancelKind::ParentCancelled, "its owner ended");
        if let Some(this) = crate::frame::current() {
            CancelNode::of_task(this).cancel_below(&reason);
        }
        let polled = self.node.poll_drained(cx.waker());
        if polled.is_pending() {
            crate::frame::note_wait(WaitKind::Tasks);
        }
        polled
    }
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(message), _) => (*message).to_owned(),
        (None, Some(message)) => message.clone(),
        (None, None) => "a panic without a message".to_owned(),
    }
}

/// A task whatever its types: to name it, to look at it, to cancel it. Equal to itself only.
#[derive(Clone)]
pub struct TaskRef(pub(crate) Arc<AnyTask>);

impl TaskRef {
    /// The task being polled on this thread.
    pub fn current() -> Option<TaskRef> {
        crate::frame::current().map(TaskRef)
    }

    /// Whether this is the task being polled on this thread.
    pub fn is_current(&self) -> bool {
        crate::frame::is_current(&self.0)
    }

    /// Its id, for example `task_root:spawn:1`. Built anew at every call.
    pub fn id(&self) -> String {
        self.0.header.identity.id()
    }

    /// The id of the task that created it; none for a root task.
    pub fn creator_id(&self) -> Option<String> {
        self.0.header.identity.creator_id()
    }

    /// What the tasks of its fan-out have in common: the id without the index. None outside of fan-outs.
    pub fn group_id(&self) -> Option<String> {
        self.0.header.identity.group_id()
    }

    /// Its number within its fan-out.
    pub fn index(&self) -> Option<usize> {
        let index = self.0.header.identity.index;
        (index != NO_INDEX).then_some(index as usize)
    }

    /// Its name, for example `parallel each`.
    pub fn name(&self) -> &'static str {
        self.0.header.identity.kind.name
    }

    /// Where it is in its life.
    pub fn status(&self) -> TaskStatus {
        self.0.header.status()
    }

    /// Its node in the cancellation tree.
    pub fn node(&self) -> CancelNode {
        CancelNode::of_task(self.0.clone())
    }

    /// Asks it, and everything beneath it, to end. Returns at once; an ended task is unaffected.
    pub fn cancel(&self, reason: Arc<CancelReason>) -> bool {
        !self.status().is_ended() && self.node().cancel(reason)
    }

    /// As `cancel`, and its future is dropped at its next poll, whatever its grace period.
    pub fn abort(&self, reason: Arc<CancelReason>) {
        if self.status().is_ended() {
            return;
        }
        self.0.header.aborted.store(true, Ordering::Release);
        if !self.node().cancel(reason) {
            self.0.header.wake();
        }
    }

    /// As `abort`, with every task beneath it.
    pub fn abort_all(&self, reason: &Arc<CancelReason>) {
        for (_, task) in self.node().tasks() {
            TaskRef(task).abort(reason.clone());
        }
    }

    /// What it waits for, while it does: what it published, else the kind of wait.
    pub fn waiting(&self) -> Option<Waiting> {
        let header = &self.0.header;
        if header.state.load(Ordering::Acquire) != PARKED {
            return None;
        }
        self.published()
    }

    /// What it published to wait for, else the kind of its last wait.
    pub(crate) fn published(&self) -> Option<Waiting> {
        let header = &self.0.header;
        let published = header.parked.lock().waiting().cloned();
        published.or_else(|| match WaitKind::from_u8(header.wait.load(Ordering::Relaxed)) {
            WaitKind::Unknown => None,
            kind => Some(Waiting { what: kind.as_str(), on: None, location: None }),
        })
    }

    /// Who holds what it has published to wait for.
    fn published_holder(&self) -> Option<TaskRef> {
        let on = self.0.header.parked.lock().waiting().and_then(|waiting| waiting.on.clone());
        on.and_then(|on| on.holder())
    }

    /// Whether it waits until the tasks beneath it have ended, and `task` is one of them.
    fn waits_for_tasks_above(&self, task: &TaskRef) -> bool {
        let header = &self.0.header;
        header.state.load(Ordering::Acquire) == PARKED
            && header.wait.load(Ordering::Relaxed) == WaitKind::Tasks as u8
            && task.node().tasks_above().any(|above| TaskRef(above) == *self)
    }

    /// The task that it lies beneath: it ends after this one.
    pub fn parent(&self) -> Option<TaskRef> {
        self.node().tasks_above().next().map(TaskRef)
    }

    /// Whether it is parked where only this runtime's tasks and timers can wake it.
    pub(crate) fn is_parked_inside(&self) -> bool {
        let header = &self.0.header;
        header.state.load(Ordering::Acquire) == PARKED && header.wait.load(Ordering::Relaxed) != 0
    }

    /// Whether somebody has taken note of how it ends: its failure is then not reported again.
    pub fn is_observed(&self) -> bool {
        self.0.header.observed.load(Ordering::Acquire)
    }

    /// Takes note of how it ends.
    pub fn mark_observed(&self) {
        self.0.header.observed.store(true, Ordering::Release);
    }

    /// The runtime it belongs to.
    pub fn runtime(&self) -> RuntimeHandle {
        RuntimeHandle::new(self.0.header.runtime().clone())
    }
}

impl PartialEq for TaskRef {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::addr_eq(Arc::as_ptr(&self.0), Arc::as_ptr(&other.0))
    }
}

impl Eq for TaskRef {}

impl fmt::Debug for TaskRef {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "<task:{}>", self.id())
    }
}

/// A task whose future's type is still known.
pub(crate) type FutureTask<T, E, F, S> = Arc<TaskCell<FutureBody<T, E, F, S>>>;

/// Everything that makes a new task, apart from its future.
pub(crate) struct Birth<S> {
    pub(crate) identity: Identity,
    pub(crate) parent: CancelNode,
    pub(crate) on_cancel: OnCancel,
    pub(crate) inline_start: bool,
    pub(crate) sink: S,
}

impl<S> Birth<S> {
    /// Creates the task; it reaches the executor when the poll going on returns. `admit` has the last word.
    pub(crate) fn create<T, E, F, X>(
        self,
        make: impl FnOnce(TaskContext) -> F,
        admit: impl FnOnce() -> Result<(), X>,
    ) -> Result<FutureTask<T, E, F, S>, X>
    where
        T: Send + 'static,
        E: Failure,
        F: Future + Send + 'static,
        F::Output: Into<Outcome<T, E>>,
        S: Sink<T, E> + 'static,
    {
        let header = TaskHeader::new(self.identity, self.inline_start);
        if let Some(values) = crate::frame::context_values() {
            header.set_context_values(Some(values));
        }
        let cell = Arc::new(TaskCell { header, body: FutureBody::new(self.sink, self.on_cancel) });
        let task: Arc<AnyTask> = cell.clone();
        // Before anything counts the task: a panic in `make` leaves no trace.
        cell.body.set_future(make(TaskContext::new(task.clone())));
        if let Err(refused) = admit() {
            cell.body.forget_future();
            return Err(refused);
        }
        self.parent.attach_task(&task);
        task.header.emit(|task| Event::Created(task), &task);
        crate::frame::hand_over_later(task);
        Ok(cell)
    }
}

/// What a task's own future knows about its task. Given to whoever makes the future.
///
/// It keeps the task's memory alive, so it belongs inside the future, which the task drops when it ends.
#[derive(Clone, Debug)]
pub struct TaskContext {
    task: TaskRef,
}

impl TaskContext {
    pub(crate) fn new(task: Arc<AnyTask>) -> TaskContext {
        TaskContext { task: TaskRef(task) }
    }

    /// The context of the task being polled on this thread.
    pub fn current() -> Option<TaskContext> {
        TaskRef::current().map(|task| TaskContext { task })
    }

    /// The task.
    pub fn task(&self) -> &TaskRef {
        &self.task
    }

    /// The runtime it runs in.
    pub fn runtime(&self) -> RuntimeHandle {
        self.task.runtime()
    }

    /// Its node in the cancellation tree.
    pub fn node(&self) -> CancelNode {
        self.task.node()
    }

    /// Whether the task itself (not only one of its nested blocks) was cancelled. One load.
    pub fn is_cancelled(&self) -> bool {
        self.task.0.header.node.is_cancelled()
    }

    /// Why, once cancelled.
    pub fn cancel_reason(&self) -> Option<Arc<CancelReason>> {
        self.task.0.header.node.reason().cloned()
    }

    /// Publishes what the task is about to wait for; stands until replaced or cleared.
    ///
    /// This is for people. Whether the wait can be ended from outside is known from the future that waits.
    pub fn set_waiting(&self, waiting: Waiting) {
        let previous = {
            let mut parked = self.task.0.header.parked.lock();
            parked.waiting.get_or_insert_default().replace(waiting)
        };
        drop(previous);
    }

    /// The tasks that wait for one another in a circle which the wait this task has just published closes: each waits
    /// for the next, the last for this one. Also when the last waits for the tasks beneath it and this is one of them.
    ///
    /// Answers one of them only: whoever gets the circle has stopped waiting and is to fail.
    pub fn break_cycle(&self) -> Option<Vec<DeadlockedTask>> {
        self.cycle()?;
        let _one_at_a_time = self.task.0.header.runtime().cycles.lock();
        let cycle = self.cycle()?;
        let described = cycle.iter().map(DeadlockedTask::of).collect();
        self.clear_waiting();
        Some(described)
    }

    fn cycle(&self) -> Option<Vec<TaskRef>> {
        let mut path = vec![self.task.clone()];
        while path.len() <= CYCLE_LEN_MAX {
            let last = path.last().expect("begins with this task");
            let next = match last.published_holder() {
                Some(next) => next,
                None if path.len() > 1 && last.waits_for_tasks_above(&self.task) => return Some(path),
                None => return None,
            };
            // What it waits for was handed to it meanwhile: it goes on.
            if next == *last {
                return None;
            }
            if next == self.task {
                return Some(path);
            }
            path.push(next);
        }
        None
    }

    /// The wait is over.
    pub fn clear_waiting(&self) {
        self.task.0.header.clear_waiting();
    }
}

/// Gives other tasks a turn. Dropping it has no effect.
pub fn yield_now() -> YieldNow {
    YieldNow { yielded: false }
}

/// Ready at its second poll: see [`yield_now`].
#[must_use = "futures do nothing unless polled"]
pub struct YieldNow {
    yielded: bool,
}

impl Future for YieldNow {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.yielded {
            return Poll::Ready(());
        }
        self.yielded = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
