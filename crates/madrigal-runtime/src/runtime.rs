//! The runtime: executor, clock, randomness and the tree of all tasks, as one value. Nothing here is process-global.
//! Not here: how tasks are scheduled (`executor/`). Invariant: a run does not end before every task beneath it has.

use std::fmt;
use std::future::Future;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use parking_lot::Mutex;

use crate::cancel::{CancelKind, CancelNode, CancelReason};
use crate::clock::Clock;
use crate::deadlock::DeadlockReport;
use crate::event::EventSink;
use crate::executor::{Executor, Stall};
use crate::failure::Failure;
use crate::handle::TaskHandle;
use crate::identity::{Lineage, TaskKind};
use crate::scope::{ScopeClosed, create_spawned};
use crate::task::{AnyTask, Birth, Outcome, Sink, TaskContext, TaskRef, TaskSpec, TaskStatus};
use crate::waiting::Waiting;

/// What schedules the tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExecutorKind {
    /// Tokio's scheduler, on several threads.
    Tokio,
    /// One thread, and every choice drawn from the seed.
    Simulated,
}

/// Settings of a new [`Runtime`].
#[derive(Clone)]
pub struct RuntimeBuilder {
    workers: Option<usize>,
    clock: Option<Clock>,
    seed: u64,
    executor: ExecutorKind,
    events: Option<Arc<dyn EventSink>>,
}

impl RuntimeBuilder {
    /// How many threads run tasks; as many as there are cores unless set. The simulator always has one.
    pub fn workers(self, workers: usize) -> Self {
        RuntimeBuilder { workers: Some(workers.max(1)), ..self }
    }

    /// The clock; unless set, a real one, or a virtual one for the simulator.
    pub fn clock(self, clock: Clock) -> Self {
        RuntimeBuilder { clock: Some(clock), ..self }
    }

    /// Where all random choices come from.
    pub fn seed(self, seed: u64) -> Self {
        RuntimeBuilder { seed, ..self }
    }

    /// What schedules the tasks.
    pub fn executor(self, executor: ExecutorKind) -> Self {
        RuntimeBuilder { executor, ..self }
    }

    /// Who reads the event stream.
    pub fn events(self, sink: Arc<dyn EventSink>) -> Self {
        RuntimeBuilder { events: Some(sink), ..self }
    }

    /// Starts the runtime.
    ///
    /// # Panics
    ///
    /// When the operating system refuses to start its threads.
    pub fn build(self) -> Runtime {
        let clock = self.clock.unwrap_or_else(|| match self.executor {
            ExecutorKind::Tokio => Clock::real(),
            ExecutorKind::Simulated => Clock::virtual_at(0),
        });
        let executor = match self.executor {
            ExecutorKind::Tokio => {
                let cores = || std::thread::available_parallelism().map_or(1, usize::from);
                Executor::tokio(self.workers.unwrap_or_else(cores))
            }
            ExecutorKind::Simulated => Executor::simulated(self.seed),
        };
        let stall = executor.stall();
        clock.on_idle(Box::new(move || stall.poke()));
        Runtime(Arc::new(Owner(Arc::new(RuntimeShared {
            executor,
            clock,
            events: self.events,
            root: CancelNode::root(),
            externals: AtomicUsize::new(0),
            random: Mutex::new(Random::new(self.seed)),
            turns_used_up: AtomicUsize::new(0),
            cycles: Mutex::new(()),
        }))))
    }
}

/// A seeded generator (splitmix64): small, fast, and not for secrets.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

pub(crate) struct RuntimeShared {
    pub(crate) executor: Executor,
    pub(crate) clock: Clock,
    pub(crate) events: Option<Arc<dyn EventSink>>,
    pub(crate) root: CancelNode,
    /// Outside operations in flight: while there are any, nothing is a deadlock.
    externals: AtomicUsize,
    random: Mutex<Random>,
    /// Turns that tasks used up without waiting since virtual time last moved.
    turns_used_up: AtomicUsize,
    /// Held by whoever breaks a circle of waits.
    pub(crate) cycles: Mutex<()>,
}

impl RuntimeShared {
    pub(crate) fn awaits_outside(&self) -> bool {
        self.externals.load(Ordering::Acquire) > 0
    }

    /// Virtual time moves although tasks could run: they have not waited for so long that they may never.
    pub(crate) fn move_time_past_busy_tasks(&self) -> bool {
        let used_up = self.turns_used_up.load(Ordering::Relaxed);
        if used_up < ADVANCE_TURNS || !self.clock.is_virtual() {
            return false;
        }
        let enough = if self.clock.is_advancing() { ADVANCE_TURNS } else { BUSY_TURNS };
        if used_up < enough {
            return false;
        }
        self.time_moved();
        self.clock.jump(self.awaits_outside())
    }

    pub(crate) fn time_moved(&self) {
        self.turns_used_up.store(0, Ordering::Relaxed);
    }
}

/// How many turns without a wait hold up virtual time: a loop that never waits must not stop it for ever.
const BUSY_TURNS: usize = 5_000;

/// As `BUSY_TURNS`, while somebody asks time to move.
const ADVANCE_TURNS: usize = 50;

/// One root task and everything beneath it.
pub(crate) struct Run {
    pub(crate) runtime: Arc<RuntimeShared>,
    /// Above the root task; background tasks are its siblings.
    pub(crate) node: CancelNode,
}

/// A runtime. Clones are the same one.
///
/// When the last clone is dropped, all its tasks are cancelled (reason `shutdown`), then dropped.
#[derive(Clone)]
pub struct Runtime(Arc<Owner>);

struct Owner(Arc<RuntimeShared>);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.root.cancel(CancelReason::new(CancelKind::Shutdown, "the runtime ended"));
        self.0.executor.shut_down(&self.0.root);
        self.0.clock.end();
    }
}

impl Default for Runtime {
    fn default() -> Self {
        Runtime::new()
    }
}

impl Runtime {
    /// A runtime on all cores and in real time.
    pub fn new() -> Runtime {
        Runtime::builder().build()
    }

    /// A runtime on one thread, in virtual time, whose every choice comes from `seed`.
    pub fn simulated(seed: u64) -> Runtime {
        Runtime::builder().executor(ExecutorKind::Simulated).seed(seed).build()
    }

    /// Settings for a new runtime.
    pub fn builder() -> RuntimeBuilder {
        RuntimeBuilder { workers: None, clock: None, seed: 0, executor: ExecutorKind::Tokio, events: None }
    }

    /// What tasks may hold of it.
    pub fn handle(&self) -> RuntimeHandle {
        RuntimeHandle(self.0.0.clone())
    }

    /// Runs a root task and everything it starts to the end, blocking this thread, and gives the root's outcome.
    ///
    /// Once the root has ended, what still lives (background tasks) is cancelled with reason `shutdown` and waited
    /// for. When all tasks wait for one another they are cancelled likewise and the report is returned.
    pub fn block_on_root<T, E, F>(
        &self,
        spec: TaskSpec,
        make: impl FnOnce(TaskContext) -> F,
    ) -> Result<Outcome<T, E>, DeadlockReport>
    where
        T: Send + 'static,
        E: Failure,
        F: Future + Send + 'static,
        F::Output: Into<Outcome<T, E>>,
    {
        let runtime = &self.0.0;
        let run = Arc::new(Run { runtime: runtime.clone(), node: runtime.root.child() });
        let result = Arc::new(Mutex::new(None));
        let stall = runtime.executor.stall();
        let label = spec.label.unwrap_or_else(|| Arc::new("task_root".to_owned()));
        let birth = Birth {
            identity: Lineage::of_run(run.clone()).next_child(spec.kind, Some(label)),
            parent: run.node.clone(),
            on_cancel: spec.on_cancel,
            inline_start: false,
            sink: RootSink { result: result.clone(), stall: stall.clone() },
        };
        let admitted: Result<_, std::convert::Infallible> = birth.create(make, || Ok(()));
        let Ok(root) = admitted;
        drop(root);
        let deadlock = RunToEnd { run: &run, stall, is_done: &|| result.lock().is_some() }.run();
        match (deadlock, result.lock().take()) {
            (None, Some(outcome)) => Ok(outcome),
            (Some(report), _) => Err(report),
            (None, None) => unreachable!("a run ends with an outcome or a report"),
        }
    }

    /// Runs `main` as a root task and everything it starts to the end, blocking this thread.
    ///
    /// ```
    /// use madrigal_runtime::{Runtime, TaskError};
    ///
    /// let answer = Runtime::new().run(async || Ok::<_, TaskError>(42));
    /// assert_eq!(answer.unwrap(), 42);
    /// ```
    ///
    /// # Panics
    ///
    /// When all tasks wait for one another; use `block_on_root` to get the report instead.
    pub fn run<T, E, M, F>(&self, main: M) -> Result<T, E>
    where
        T: Send + 'static,
        E: Failure,
        M: FnOnce() -> F,
        F: Future<Output = Result<T, E>> + Send + 'static,
    {
        match self.block_on_root(TaskSpec::new(TaskKind::ROOT), |_| main()) {
            Ok(outcome) => outcome.into_result(),
            Err(report) => panic!("{report}"),
        }
    }

    /// Its clock.
    pub fn clock(&self) -> &Clock {
        &self.0.0.clock
    }

    /// All its live tasks.
    pub fn task_tree(&self) -> Vec<TaskInfo> {
        self.handle().task_tree()
    }
}

struct RootSink<T, E> {
    result: Arc<Mutex<Option<Outcome<T, E>>>>,
    stall: Arc<Stall>,
}

impl<T: Send + 'static, E: Failure> Sink<T, E> for RootSink<T, E> {
    fn ended(&self, task: &Arc<AnyTask>, outcome: Outcome<T, E>) {
        let state = task.header.end_state(&outcome);
        *self.result.lock() = Some(outcome);
        task.header.finish(task, state);
        self.stall.poke();
    }
}

/// Drives the executor until a run is over.
struct RunToEnd<'a> {
    run: &'a Run,
    stall: Arc<Stall>,
    is_done: &'a dyn Fn() -> bool,
}

impl RunToEnd<'_> {
    fn run(&self) -> Option<DeadlockReport> {
        let runtime = &self.run.runtime;
        let waker = Waker::from(Arc::new(PokeOnWake(self.stall.clone())));
        let mut cx = Context::from_waker(&waker);
        let mut drained = self.run.node.drained();
        let mut shutting_down = false;
        let mut report = None;
        loop {
            // Polled before the executor goes on: the last task to end pokes it.
            let is_empty = Pin::new(&mut drained).poll(&mut cx).is_ready();
            if is_empty && (self.is_done)() {
                return report;
            }
            if (self.is_done)() && !shutting_down {
                shutting_down = true;
                self.run.node.cancel_below(&CancelReason::new(CancelKind::Shutdown, "the program ended"));
            }
            let stop = || self.run.node.is_drained() || ((self.is_done)() && !shutting_down);
            if let ControlFlow::Break(found) = runtime.executor.run_until_stalled(runtime, &stop) {
                if report.is_some() {
                    // Even the cleanup waits for nobody.
                    self.abort_all();
                    continue;
                }
                report = Some(found);
                let message = "all tasks wait for one another";
                self.run.node.cancel_below(&CancelReason::new(CancelKind::Shutdown, message));
            }
        }
    }

    fn abort_all(&self) {
        let reason = CancelReason::new(CancelKind::Shutdown, "cleanup made no progress");
        for (_, task) in self.run.node.tasks() {
            TaskRef(task).abort(reason.clone());
        }
    }
}

struct PokeOnWake(Arc<Stall>);

impl Wake for PokeOnWake {
    fn wake(self: Arc<Self>) {
        self.0.poke();
    }
}

/// What tasks may hold of their runtime. Does not keep it running.
#[derive(Clone)]
pub struct RuntimeHandle(Arc<RuntimeShared>);

/// One line of a task tree.
#[derive(Clone, Debug)]
pub struct TaskInfo {
    /// How many tasks are above it.
    pub depth: usize,
    /// The task.
    pub task: TaskRef,
    /// Where it is in its life.
    pub status: TaskStatus,
    /// What it waits for.
    pub waiting: Option<Waiting>,
}

impl RuntimeHandle {
    pub(crate) fn new(shared: Arc<RuntimeShared>) -> RuntimeHandle {
        RuntimeHandle(shared)
    }

    /// The clock.
    pub fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// What schedules the tasks.
    pub fn executor_kind(&self) -> ExecutorKind {
        self.0.executor.kind()
    }

    /// The next number of the runtime's seeded generator. Not for secrets.
    pub fn random(&self) -> u64 {
        self.0.random.lock().next()
    }

    /// All live tasks, each before those beneath it.
    pub fn task_tree(&self) -> Vec<TaskInfo> {
        let info = |(depth, task): (usize, Arc<AnyTask>)| {
            let task = TaskRef(task);
            TaskInfo { depth, status: task.status(), waiting: task.waiting(), task }
        };
        self.0.root.tasks().into_iter().map(info).collect()
    }

    /// A task has used up its turn without waiting. Virtual time does not stand still for such tasks for ever.
    pub fn turn_used_up(&self) {
        self.0.turns_used_up.fetch_add(1, Ordering::Relaxed);
    }

    /// Switches to virtual time from this instant on, calling it `wall_ms`.
    pub fn mock_time(&self, wall_ms: i64) {
        self.0.clock.make_virtual(wall_ms);
    }

    /// Switches back to real time.
    pub fn unmock_time(&self) {
        self.0.clock.make_real();
    }

    /// Cancels every task of the runtime.
    pub fn cancel_all(&self, reason: Arc<CancelReason>) {
        self.0.root.cancel_below(&reason);
    }

    /// Wraps a future that something outside of the runtime completes: a socket, a process, another thread.
    ///
    /// While one is in flight (first polled, not ended, not dropped) the runtime is never taken for deadlocked and
    /// virtual time does not jump. Tokio's I/O works inside, under the simulator too.
    pub fn external<F: Future>(&self, future: F) -> External<F> {
        External { runtime: self.clone(), future: Box::pin(future), in_flight: None }
    }

    /// Counts as an outside operation in flight until the result is dropped.
    pub fn external_guard(&self) -> ExternalGuard {
        self.0.externals.fetch_add(1, Ordering::AcqRel);
        ExternalGuard { runtime: self.clone() }
    }

    /// Runs `work` on a thread where it may block. A panic in it resumes in the task that awaits it.
    ///
    /// Dropping the future does not stop work that has begun.
    pub fn blocking<R: Send + 'static>(&self, work: impl FnOnce() -> R + Send + 'static) -> External<Blocking<R>> {
        let handle = self.0.executor.io().spawn_blocking(work);
        self.external(Blocking { handle })
    }
}

impl fmt::Debug for RuntimeHandle {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Runtime").field("executor", &self.executor_kind()).finish_non_exhaustive()
    }
}

/// An outside operation in flight: see [`RuntimeHandle::external_guard`].
pub struct ExternalGuard {
    runtime: RuntimeHandle,
}

impl Drop for ExternalGuard {
    fn drop(&mut self) {
        if self.runtime.0.externals.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.runtime.0.executor.stall().poke();
        }
    }
}

/// A future completed from outside: see [`RuntimeHandle::external`]. Dropping it drops the future inside.
#[must_use = "futures do nothing unless polled"]
pub struct External<F> {
    runtime: RuntimeHandle,
    future: Pin<Box<F>>,
    in_flight: Option<ExternalGuard>,
}

impl<F: Future> Future for External<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = &mut *self;
        this.in_flight.get_or_insert_with(|| this.runtime.external_guard());
        let polled = {
            let io = this.runtime.0.executor.io_to_enter();
            let _entered = io.as_ref().map(tokio::runtime::Handle::enter);
            this.future.as_mut().poll(cx)
        };
        if polled.is_ready() {
            this.in_flight = None;
        }
        polled
    }
}

/// Work on a thread of its own: see [`RuntimeHandle::blocking`].
#[must_use = "futures do nothing unless polled"]
pub struct Blocking<R> {
    handle: tokio::task::JoinHandle<R>,
}

impl<R> Future for Blocking<R> {
    type Output = R;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<R> {
        match Pin::new(&mut self.handle).poll(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(value)) => Poll::Ready(value),
            Poll::Ready(Err(error)) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // Only a runtime that is shutting down refuses work; the task is about to be dropped.
                Err(_) => Poll::Pending,
            },
        }
    }
}

impl TaskContext {
    /// The node above the root task of this run: cancelling it ends the run.
    pub fn run_node(&self) -> CancelNode {
        self.task().0.header.run().node.clone()
    }

    /// Creates a task that belongs to the run instead of a scope: when the root ends, it is cancelled (reason
    /// `shutdown`) and waited for. Its failure is seen by whoever joins it, and by nobody else.
    pub fn spawn_background<T, E, F>(&self, spec: TaskSpec, make: impl FnOnce(TaskContext) -> F) -> TaskHandle<T, E>
    where
        T: Send + 'static,
        E: Failure,
        F: Future + Send + 'static,
        F::Output: Into<Outcome<T, E>>,
    {
        let header = &self.task().0.header;
        let identity = header.lineage().next_child(spec.kind, spec.label.clone());
        let node = &header.run().node;
        let admitted: Result<_, ScopeClosed> = create_spawned(identity, spec, node, None, make, || Ok(()));
        admitted.expect("no scope, nothing to refuse it")
    }
}
