//! What goes wrong in a running program: a value a script can catch, with the trail of frames it left.
//! Not here: how it is rendered (`madrigal-syntax`), where it is caught (`unwind.rs`).

use crate::value::{Str, Value};

/// A failure on its way up. Cheap to move; made only when something fails.
#[derive(Clone, Debug)]
pub struct Fault(Box<Inner>);

#[derive(Clone, Debug)]
struct Inner {
    kind: FaultKind,
    frames: Vec<Frame>,
    /// Display form of the path of the task it left first, when that was not the root.
    task: Option<String>,
    suppressed: Vec<Fault>,
    /// How a task ended that was cancelled: not a failure of that task.
    ends_task: bool,
}

/// Which class of error it is; decides the text a `catch` sees and the uncaught message.
#[derive(Clone, Debug)]
pub enum FaultKind {
    /// `throw value`, and builtins that throw plain strings or dicts.
    Thrown(Value),
    /// `Runtime error: TEXT`.
    Runtime(String),
    /// `Type error: TEXT`.
    Type(String),
    /// A text without prefix when caught, prefixed by `Runtime error: ` when not: division by zero, unknown names,
    /// immutable assignment, call depth.
    Plain(String),
    /// `Error [category]: text`.
    Categorised {
        /// Such as `timeout`.
        category: &'static str,
        /// The rest.
        text: String,
    },
    /// The task is being cancelled.
    Cancelled {
        /// Why, for people.
        reason: String,
    },
    /// The deadline with this number passed; thrown as the string `Deadline exceeded`.
    Deadline,
    /// Nobody can ever wake this task; the text begins `deadlock: `.
    Deadlock(String),
}

/// A script frame a fault passed through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Function name, `<closure>`, `Type.method` or `pipeline`.
    pub function: Str,
    /// Index of the module in the program.
    pub module: u32,
    /// Byte offsets of the failing or calling expression in that module's source.
    pub span: (u32, u32),
}

/// The text of a delivered cancellation.
pub const CANCELLED: &str = "kind:cancelled:VM cancelled by host";

impl Fault {
    /// A fault of this kind, without a trail yet.
    pub fn new(kind: FaultKind) -> Fault {
        Fault(Box::new(Inner { kind, frames: Vec::new(), task: None, suppressed: Vec::new(), ends_task: false }))
    }

    /// `throw value`.
    pub fn thrown(value: impl Into<Value>) -> Fault {
        Fault::new(FaultKind::Thrown(value.into()))
    }

    /// A runtime error.
    pub fn runtime(text: impl Into<String>) -> Fault {
        Fault::new(FaultKind::Runtime(text.into()))
    }

    /// A type error.
    pub fn type_error(text: impl Into<String>) -> Fault {
        Fault::new(FaultKind::Type(text.into()))
    }

    /// An error without a prefix when caught.
    pub fn plain(text: impl Into<String>) -> Fault {
        Fault::new(FaultKind::Plain(text.into()))
    }

    /// `Error [category]: text`.
    pub fn categorised(category: &'static str, text: impl Into<String>) -> Fault {
        Fault::new(FaultKind::Categorised { category, text: text.into() })
    }

    /// The task is being cancelled.
    pub fn cancelled(reason: impl Into<String>) -> Fault {
        Fault::new(FaultKind::Cancelled { reason: reason.into() })
    }

    /// Its class.
    pub fn kind(&self) -> &FaultKind {
        &self.0.kind
    }

    /// Whether it is a delivered cancellation.
    pub fn is_cancelled(&self) -> bool {
        matches!(self.0.kind, FaultKind::Cancelled { .. })
    }

    /// Whether a script threw what it once caught of a delivered cancellation.
    pub fn is_text_of_cancellation(&self) -> bool {
        matches!(&self.0.kind, FaultKind::Thrown(Value::String(text)) if text.as_str() == CANCELLED)
    }

    /// What `catch`, `try {}` and `unwrap_err` see.
    pub fn caught(&self) -> Value {
        match &self.0.kind {
            FaultKind::Thrown(value) => value.clone(),
            FaultKind::Runtime(text) => Value::from(format!("Runtime error: {text}")),
            FaultKind::Type(text) => Value::from(format!("Type error: {text}")),
            FaultKind::Plain(text) | FaultKind::Deadlock(text) => Value::from(text.as_str()),
            FaultKind::Categorised { category, text } => Value::from(format!("Error [{category}]: {text}")),
            FaultKind::Cancelled { .. } => Value::from(CANCELLED),
            FaultKind::Deadline => Value::from("Deadline exceeded"),
        }
    }

    /// The first line of the report of an uncaught fault, without `error: `; `line` is that of the innermost frame.
    pub fn message(&self, line: Option<u32>) -> String {
        let at = line.map_or(String::new(), |line| format!(" (line {line})"));
        match &self.0.kind {
            FaultKind::Thrown(value) => format!("Thrown: {value}"),
            FaultKind::Runtime(text) => format!("Runtime error: {text}{at}"),
            FaultKind::Type(text) => format!("Type error: {text}{at}"),
            FaultKind::Plain(text) => format!("Runtime error: {text}{at}"),
            FaultKind::Categorised { category, text } => format!("Error [{category}]: {text}"),
            FaultKind::Cancelled { .. } => format!("Thrown: {CANCELLED}"),
            FaultKind::Deadline => "Thrown: Deadline exceeded".to_owned(),
            FaultKind::Deadlock(text) => text.clone(),
        }
    }

    /// The frames it left, innermost first.
    pub fn frames(&self) -> &[Frame] {
        &self.0.frames
    }

    /// Notes that it left `frame`. Only the first 64 and the last one are kept.
    pub fn pass(&mut self, frame: Frame) {
        if self.0.frames.len() > 64 {
            self.0.frames.pop();
        }
        self.0.frames.push(frame);
    }

    /// Path of the task it left first.
    pub fn task(&self) -> Option<&str> {
        self.0.task.as_deref()
    }

    /// Notes the task it leaves, unless it left one before.
    pub fn leave_task(&mut self, path: impl FnOnce() -> String) {
        if self.0.task.is_none() {
            self.0.task = Some(path());
        }
    }

    /// Later failures that it kept from being the outcome.
    pub fn suppressed(&self) -> &[Fault] {
        &self.0.suppressed
    }

    /// Whether it is how a cancelled task ended, with what its cleanups failed with attached.
    pub fn ends_task(&self) -> bool {
        self.0.ends_task
    }

    /// Says whether it is how a cancelled task ended. For whoever receives it, it is an error like any other.
    pub fn with_ends_task(mut self, ends_task: bool) -> Fault {
        self.0.ends_task = ends_task;
        self
    }

    /// Attaches a later failure.
    pub fn suppress(&mut self, other: Fault) {
        self.0.suppressed.push(other);
    }

    /// Attaches what is attached to `other`.
    pub fn suppress_those_of(&mut self, other: &Fault) {
        self.0.suppressed.extend_from_slice(&other.0.suppressed);
    }
}
