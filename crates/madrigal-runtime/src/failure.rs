//! What a task can fail with: the contract for a user's own error type, and a ready one for those who have none.

use std::fmt;
use std::sync::Arc;

use crate::cancel::CancelReason;

/// An error type that tasks can fail with.
pub trait Failure: Clone + Send + Sync + 'static {
    /// The failure of a task that panicked.
    fn from_panic(message: String) -> Self;
    /// What somebody gets who needs the value of a task that ended cancelled.
    fn cancelled(reason: &Arc<CancelReason>) -> Self;
    /// Whether it is how a cancelled task ended, with failures of its cleanups attached: it fails no scope.
    fn ends_cancelled(&self) -> bool {
        false
    }
    /// Keeps a later failure beside this one, without changing what this one is.
    fn attach_suppressed(&mut self, later: Self);
}

/// The [`Failure`] for programs that have no error type of their own.
#[derive(Clone, Debug)]
pub struct TaskError(Box<Content>);

#[derive(Clone, Debug)]
struct Content {
    cause: Cause,
    suppressed: Vec<TaskError>,
}

#[derive(Clone, Debug)]
enum Cause {
    Message(Arc<str>),
    Panic(Arc<str>),
    Cancelled(Arc<CancelReason>),
}

impl TaskError {
    /// An error that says `message`.
    pub fn new(message: impl Into<String>) -> TaskError {
        TaskError::caused_by(Cause::Message(message.into().into()))
    }

    fn caused_by(cause: Cause) -> TaskError {
        TaskError(Box::new(Content { cause, suppressed: Vec::new() }))
    }

    /// The reason, when this stands for a cancellation.
    pub fn cancel_reason(&self) -> Option<&Arc<CancelReason>> {
        match &self.0.cause {
            Cause::Cancelled(reason) => Some(reason),
            Cause::Message(_) | Cause::Panic(_) => None,
        }
    }

    /// Whether this is a panic that was caught.
    pub fn is_panic(&self) -> bool {
        matches!(self.0.cause, Cause::Panic(_))
    }

    /// Failures that came after this one, in time order.
    pub fn suppressed(&self) -> &[TaskError] {
        &self.0.suppressed
    }
}

impl fmt::Display for TaskError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.cause {
            Cause::Message(message) => out.write_str(message),
            Cause::Panic(message) => write!(out, "task panicked: {message}"),
            Cause::Cancelled(reason) => write!(out, "task cancelled: {reason}"),
        }
    }
}

impl std::error::Error for TaskError {}

impl Failure for TaskError {
    fn from_panic(message: String) -> Self {
        TaskError::caused_by(Cause::Panic(message.into()))
    }

    fn cancelled(reason: &Arc<CancelReason>) -> Self {
        TaskError::caused_by(Cause::Cancelled(reason.clone()))
    }

    fn attach_suppressed(&mut self, later: Self) {
        self.0.suppressed.push(later);
    }
}

impl From<&str> for TaskError {
    fn from(message: &str) -> Self {
        TaskError::new(message)
    }
}

impl From<String> for TaskError {
    fn from(message: String) -> Self {
        TaskError::new(message)
    }
}

impl From<crate::scope::ScopeClosed> for TaskError {
    fn from(closed: crate::scope::ScopeClosed) -> Self {
        TaskError::new(closed.to_string())
    }
}
