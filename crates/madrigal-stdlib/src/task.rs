//! What a script task is to the library: its state that builtins see, its failure type, its handle.
//! Not here: how tasks run (the driver in the `madrigal` crate).

use crate::concurrency::{Held, Items, SharedState};
use crate::host::Run;
use crate::process::{Own, Processes};
use madrigal_runtime::inbox::InboxHub;
use madrigal_runtime::sync::{Lock, SyncRegistry};
use madrigal_runtime::{CancelReason, CancelStack, Failure, Lost, ScopeHandle, TaskContext, TaskHandle};
use madrigal_vm::{Dict, Fault, FaultKind, HandleObject, Value};
use parking_lot::Mutex;
use std::hash::{DefaultHasher, Hash, Hasher};
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
}

impl TaskHost {
    /// The state of a fresh task.
    pub fn new(run: Arc<Run>, context: TaskContext, values: Option<Dict>) -> TaskHost {
        let nodes = CancelStack::new(context.node());
        let session = values.as_ref().and_then(|it| it.get(SESSION)).map(|it| Arc::from(it.display().as_str()));
        TaskHost { run, context, nodes, values, session, held: Held::default(), stream: None, process: None }
    }
}

impl TaskHost {
    /// Instructions (roughly) that this task runs before others get a turn.
    pub fn fuel(&self) -> u32 {
        self.process.as_ref().and_then(|it| it.fuel()).unwrap_or(self.run.tasks.fuel)
    }
}

/// State of a run that only tasks need.
pub struct TaskState {
    /// Instructions (roughly) that a task runs before others get a turn.
    pub fuel: u32,
    /// How long a cancelled task may clean up.
    pub grace: Duration,
    /// Most script frames of a task.
    pub depth_max: usize,
    /// The lock of `mutex { .. }`.
    pub mutex: Lock,
    /// Named permits.
    pub permits: OnceLock<SyncRegistry>,
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
            grace: Duration::from_secs(5),
            depth_max: 10_000,
            mutex: Lock::named("mutex"),
            permits: OnceLock::new(),
            exit: Mutex::new(None),
            inbox: OnceLock::new(),
            shared: SharedState::default(),
            processes: Processes::default(),
            lost: Arc::new(|_| {}),
        }
    }
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
