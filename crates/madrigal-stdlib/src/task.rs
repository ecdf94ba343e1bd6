//! What a script task is to the library: its state that builtins see, its failure type, its handle.
//! Not here: how tasks run (the driver in the `madrigal` crate).

use crate::concurrency::{Held, Items, SharedState};
use crate::host::Run;
use crate::process::{Own, Processes};
use madrigal_runtime::inbox::InboxHub;
use madrigal_runtime::sync::{NamedMutex, SyncRegistry};
use madrigal_runtime::{
    CancelReason, CancelStack, Clock, Describe, ExecutorKind, Failure, Lost, RuntimeHandle, ScopeHandle, TaskContext,
    TaskHandle, TaskRef,
};
use madrigal_vm::{Dict, Fault, FaultKind, Handle, HandleObject, Value};
use parking_lot::Mutex;
use std::hash::{BuildHasher, DefaultHasher, Hash, Hasher, RandomState};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// The failure of a script task.
#[derive(Clone, Debug)]
pub struct TaskFault(pub Fault);

impl Failure for TaskFault {
    fn from_panic(message: String) -> TaskFault {
        TaskFault(Fault::runtime(format!("internal error: {message}")))
    }

    fn cancelled(reason: &Arc<CancelReason>) -> TaskFault {
        TaskFault(Fault::cancelled(reason.to_string()))
    }

    fn ends_cancelled(&self) -> bool {
        self.0.ends_task()
    }

    fn attach_suppressed(&mut self, later: TaskFault) {
        self.0.suppress(later.0);
    }
}

/// The task-local value that names the agent session a task works for, which its children inherit.
pub const SESSION: &str = "agent.session_id";

/// The state of a task that builtins see.
pub struct TaskHost {
    /// The run it belongs to.
    pub run: Arc<Run>,
    /// Its runtime side.
    pub context: TaskContext,
    /// Its open cancellation nodes: its own, then those of deadlines and scopes, innermost last.
    pub nodes: CancelStack,
    /// Task-local values; none until one is set.
    pub values: Option<Dict>,
    /// The agent session it works for.
    pub session: Option<Arc<str>>,
    /// Permits and locks it acquired; given back at its end.
    pub held: Held,
    /// What it hands over, when it runs the body of a stream.
    pub stream: Option<Items>,
    /// What it is besides a task, when it is a process.
    pub process: Option<Box<Own>>,
    /// Whether it is in a `mutex` block.
    pub in_mutex: bool,
    /// Counts it, where there is a limit.
    _counted: Option<Counted>,
}

impl TaskHost {
    /// The state of a fresh task.
    pub fn new(run: Arc<Run>, context: TaskContext, values: Option<Dict>) -> TaskHost {
        let nodes = CancelStack::new(context.node());
        let session = values.as_ref().and_then(|it| it.get(SESSION)).map(|it| Arc::from(it.display().as_str()));
        let counted = run.tasks.limits.tasks.map(|_| Counted::new(run.clone()));
        TaskHost {
            run,
            context,
            nodes,
            values,
            session,
            held: Held::default(),
            stream: None,
            process: None,
            in_mutex: false,
            _counted: counted,
        }
    }
}

impl TaskHost {
    /// Instructions (roughly) that this task runs before others get a turn.
    pub fn fuel(&self) -> u32 {
        self.process.as_ref().and_then(|it| it.fuel()).unwrap_or(self.run.tasks.fuel)
    }
}

/// A task that counts.
struct Counted(Arc<Run>);

impl Counted {
    fn new(run: Arc<Run>) -> Counted {
        run.tasks.live.fetch_add(1, Ordering::Relaxed);
        Counted(run)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.tasks.live.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a run may use at most.
#[derive(Clone, Debug, Default)]
pub struct Limits {
    /// Tasks at a time.
    pub tasks: Option<usize>,
    /// Instructions (roughly) of all tasks together.
    pub fuel: Option<u64>,
    /// Capacity of one channel.
    pub channel_capacity: Option<usize>,
}

/// Counts the points at which a cancellation can be delivered, and cancels the run at one of them: for tests that
/// cancel a program everywhere.
#[derive(Default)]
pub struct Probe {
    /// At which point, from 1; never when 0.
    pub cancel_at: u64,
    passed: AtomicU64,
    /// What the run left behind that should have ended with it.
    pub left: Mutex<Vec<String>>,
}

impl Probe {
    /// A probe that cancels at this point.
    pub fn new(cancel_at: u64) -> Arc<Probe> {
        Arc::new(Probe { cancel_at, ..Probe::default() })
    }

    /// A point is reached: whether to cancel there.
    pub fn pass(&self) -> bool {
        self.passed.fetch_add(1, Ordering::Relaxed) + 1 == self.cancel_at
    }

    /// How many points were reached.
    pub fn passed(&self) -> u64 {
        self.passed.load(Ordering::Relaxed)
    }
}

/// State of a run that only tasks need.
pub struct TaskState {
    /// Instructions (roughly) that a task runs before others get a turn.
    pub fuel: u32,
    /// What the run may use at most.
    pub limits: Limits,
    /// Watches the delivery points.
    pub probe: Option<Arc<Probe>>,
    /// Live tasks, where there is a limit.
    live: AtomicUsize,
    /// Instructions spent, where there is a limit.
    spent: AtomicU64,
    /// Why the run was ended, when it went beyond a limit.
    pub stopped: OnceLock<String>,
    /// How long a cancelled task may clean up.
    pub grace: Duration,
    /// Most script frames of a task.
    pub depth_max: usize,
    /// Named permits, and the one of `mutex { .. }`.
    permits: OnceLock<(SyncRegistry, NamedMutex)>,
    /// What all tasks of the run have in common in traces.
    trace: OnceLock<u128>,
    /// Status that `exit` asked for.
    pub exit: Mutex<Option<i64>>,
    /// The agent inboxes; see [`crate::inbox::hub`].
    pub inbox: OnceLock<InboxHub>,
    /// Shared cells, maps and mailboxes.
    pub shared: SharedState,
    /// Process systems and supervisors.
    pub processes: Processes,
    /// Takes failures that nobody will see otherwise: reports them, and fails the run.
    pub lost: Lost<TaskFault>,
}

impl Default for TaskState {
    fn default() -> TaskState {
        TaskState {
            fuel: 10_000,
            limits: Limits::default(),
            probe: None,
            live: AtomicUsize::new(0),
            spent: AtomicU64::new(0),
            stopped: OnceLock::new(),
            grace: Duration::from_secs(5),
            depth_max: 10_000,
            permits: OnceLock::new(),
            trace: OnceLock::new(),
            exit: Mutex::new(None),
            inbox: OnceLock::new(),
            shared: SharedState::default(),
            processes: Processes::default(),
            lost: Arc::new(|_| {}),
        }
    }
}

/// The key of `mutex {}`.
pub const DEFAULT_KEY: &str = "__default__";

impl TaskState {
    /// Whether one more task may be created.
    pub fn admit_task(&self) -> Result<(), Fault> {
        match self.limits.tasks {
            Some(limit) if self.live.load(Ordering::Relaxed) >= limit => {
                Err(Fault::categorised("budget_exceeded", format!("more than {limit} tasks at a time")))
            }
            _ => Ok(()),
        }
    }

    /// Counts instructions; whether that was more than the run may use.
    pub fn spend(&self, instructions: u32) -> Option<String> {
        let limit = self.limits.fuel?;
        let spent = self.spent.fetch_add(u64::from(instructions), Ordering::Relaxed) + u64::from(instructions);
        (spent > limit).then(|| format!("the program used more than {limit} instructions"))
    }

    fn permits(&self, clock: &Clock) -> &(SyncRegistry, NamedMutex) {
        self.permits.get_or_init(|| {
            let registry = SyncRegistry::new(clock);
            let mutex = registry.mutex(DEFAULT_KEY);
            (registry, mutex)
        })
    }

    /// The named resources of the run.
    pub fn registry(&self, clock: &Clock) -> &SyncRegistry {
        &self.permits(clock).0
    }

    /// The mutex of `mutex { .. }`.
    pub fn mutex(&self, clock: &Clock) -> &NamedMutex {
        &self.permits(clock).1
    }

    /// The trace that all tasks of the run belong to; never zero.
    pub fn trace(&self, runtime: &RuntimeHandle) -> u128 {
        *self.trace.get_or_init(|| {
            let simulated = runtime.executor_kind() == ExecutorKind::Simulated;
            let half = |salt: u64| if simulated { runtime.random() } else { RandomState::new().hash_one(salt) };
            u128::from(half(1)) << 64 | u128::from(half(2)) | 1
        })
    }
}

/// A thing that tasks wait on, as the interpreter hands it on.
struct WaitedOn(Arc<dyn Describe>);

impl HandleObject for WaitedOn {
    fn type_name(&self) -> &'static str {
        "resource"
    }

    fn display(&self) -> String {
        self.0.describe()
    }

    fn identity(&self) -> Option<u64> {
        None
    }
}

/// A value that stands for what a task waits on.
pub fn waited_on(resource: Arc<dyn Describe>) -> Value {
    Value::Handle(Handle::new(WaitedOn(resource)))
}

/// The task that has to go on before a wait on this ends: the one awaited, or the one that holds it.
pub fn holder_of(waited_on: &Value) -> Option<TaskRef> {
    let Value::Handle(handle) = waited_on else { return None };
    if let Some(TaskObject(task)) = handle.downcast() {
        return Some(task.task());
    }
    handle.downcast::<WaitedOn>().and_then(|it| it.0.holder())
}

/// Whether a wait on this may be part of a circle of waits.
pub fn has_holder(waited_on: &Value) -> bool {
    let Value::Handle(handle) = waited_on else { return false };
    handle.downcast::<TaskObject>().is_some() || handle.downcast::<WaitedOn>().is_some()
}

/// A task as a value.
pub struct TaskObject(pub TaskHandle<Value, TaskFault>);

impl HandleObject for TaskObject {
    fn type_name(&self) -> &'static str {
        "task_handle"
    }

    fn display(&self) -> String {
        format!("<task:{}>", self.0.id())
    }

    fn property(&self, name: &str) -> Option<Value> {
        Some(match name {
            "id" => Value::from(self.0.id()),
            "status" => Value::from(self.0.status().as_str()),
            _ => Value::Nil,
        })
    }

    fn identity(&self) -> Option<u64> {
        Some(key_of(&self.0.id()))
    }
}

/// A `scope` block as a value.
pub struct ScopeObject {
    /// The scope.
    pub scope: ScopeHandle<TaskFault>,
    /// Id of the task that opened it, for printing.
    pub owner: String,
}

impl HandleObject for ScopeObject {
    fn type_name(&self) -> &'static str {
        "scope"
    }

    fn display(&self) -> String {
        format!("<scope:{}>", self.owner)
    }

    fn identity(&self) -> Option<u64> {
        Some(key_of(&self.owner))
    }
}

/// A number that equal texts share.
pub fn key_of(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

/// The outcome of a task as its awaiter sees it.
pub fn value_of(outcome: madrigal_runtime::Outcome<Value, TaskFault>) -> Result<Value, Fault> {
    outcome.into_result().map_err(|failure| failure.0.with_ends_task(false))
}

/// The error of waiting for what can never come.
pub fn deadlock(text: impl std::fmt::Display) -> Fault {
    Fault::new(FaultKind::Deadlock(format!("deadlock: {text}")))
}
