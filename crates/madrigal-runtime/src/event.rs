//! What happens to tasks, as one stream. Traces, dumps and metrics are readers of it.
//! Invariant: without a sink an event costs one branch.

use crate::task::TaskRef;

/// One thing that happened to a task. The id text is built only if the sink asks the task for it.
#[derive(Clone, Copy)]
pub enum Event<'a> {
    /// The task exists; it has not run.
    Created(&'a TaskRef),
    /// Its first instruction is about to run.
    Started(&'a TaskRef),
    /// It stopped running and waits (what for: [`TaskRef::waiting`]).
    Waiting(&'a TaskRef),
    /// It runs again.
    Woken(&'a TaskRef),
    /// It ended (how: [`TaskRef::status`]).
    Ended(&'a TaskRef),
}

/// A reader of the event stream. Called on whatever thread the event happens on; it must not block.
pub trait EventSink: Send + Sync {
    /// Takes note of `event`.
    fn event(&self, event: Event<'_>);
}
