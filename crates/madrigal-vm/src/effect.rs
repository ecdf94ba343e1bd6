//! What the interpreter asks of the outside world when it stops, and what it is told when it goes on.

use crate::fault::Fault;
use crate::value::Value;
use std::fmt;
use std::future::Future;
use std::pin::Pin;

/// How a call of [`crate::Vm::step`] ended.
#[derive(Debug)]
pub enum Step {
    /// The entry function returned.
    Done(Value),
    /// A fault left the entry function.
    Faulted(Fault),
    /// Go on with [`crate::Vm::resume`] once this is done.
    Suspended(Effect),
    /// The budget is used up; call `step` again.
    OutOfBudget,
}

/// What is asked for.
#[derive(Debug)]
pub enum Effect {
    /// Wait for a future; resume with its outcome.
    Wait(Wait),
    /// Start a task that calls `body`; resume with its handle.
    Spawn {
        /// A closure without parameters.
        body: Value,
        /// Where it belongs.
        how: Spawning,
    },
    /// Run a `parallel` statement; resume with its value.
    Parallel {
        /// Which form.
        mode: ParallelMode,
        /// The count or the items.
        source: Value,
        /// A closure of at most one parameter.
        body: Value,
        /// The cap as written, nil when none.
        max_concurrent: Value,
    },
    /// Run contenders against each other; resume with what the winner gave, once the losers have ended.
    Race(Racing),
    /// Enter a region; resume with its handle (or nil).
    Enter {
        /// Which.
        region: Region,
        /// The duration of a deadline, the key of a mutex.
        operand: Value,
    },
    /// Leave the innermost region; resume with [`Resume::Left`].
    Leave {
        /// Which.
        region: Region,
        /// How.
        outcome: Leaving,
    },
    /// Wait for one of several channels; resume with the pair (index, value), index -1 for timeout or default and -2
    /// when all are closed.
    Select {
        /// The channels in source order.
        channels: Vec<Value>,
        /// `timeout` operand; nil when there is none.
        timeout: Value,
        /// Whether there is a `default`.
        default: bool,
    },
    /// The next item of an iterable handle; resume with it, or with `Unset` at the end.
    Next {
        /// The handle.
        source: Value,
    },
    /// A loop over a stream is left: end the stream and wait for it; resume with [`Resume::Closed`].
    Close {
        /// The stream.
        source: Value,
    },
    /// Make sure that the bodies of these streams are running, then wait.
    Pull {
        /// The streams.
        sources: Vec<Value>,
        /// For what.
        wait: Wait,
    },
    /// Hand an item to whoever pulls this stream, and wait for the next pull; resume with nil.
    Emit {
        /// The item.
        item: Value,
    },
    /// Give others a turn; resume with nil.
    Yield,
    /// End the run with this status; not resumed but by a fault.
    Exit(i64),
}

/// Something to wait for.
pub struct Wait {
    /// What resolves it.
    pub future: Pin<Box<dyn Future<Output = Result<Value, Fault>> + Send>>,
    /// What the task does meanwhile, for people: `receive`, `sleep`, `await`.
    pub what: &'static str,
    /// What it waits on, for people.
    pub on: Option<Value>,
    /// Whether nothing but tasks of the same run can end it, although it is no wait that the runtime knows.
    pub inside: bool,
}

impl Wait {
    /// Waits for `future`.
    pub fn new(what: &'static str, future: impl Future<Output = Result<Value, Fault>> + Send + 'static) -> Wait {
        Wait { future: Box::pin(future), what, on: None, inside: false }
    }

    /// Only tasks of the same run can end it.
    pub fn inside(mut self) -> Wait {
        self.inside = true;
        self
    }

    /// Names the thing waited on.
    pub fn on(mut self, thing: Value) -> Wait {
        self.on = Some(thing);
        self
    }
}

impl fmt::Debug for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Wait({}, {:?})", self.what, self.on)
    }
}

/// Where a new task belongs.
#[derive(Debug)]
pub enum Spawning {
    /// To the innermost scope of the running task.
    Child,
    /// To the innermost scope of the running task, as one that only serves others: it is cancelled when the scope ends.
    Helper,
    /// To the run.
    Background,
    /// To a scope given by its handle.
    Into {
        /// The handle.
        scope: Value,
        /// Whether its failure is kept from the scope.
        settled: bool,
    },
    /// Wherever the library puts it, which decides what to resume with; `body` is whatever the library calls.
    Placed {
        /// The library's instructions.
        place: Value,
    },
}

/// The forms of `parallel`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum ParallelMode {
    Count,
    Each,
    Settle,
    Stream,
    /// As `Each`, without the results. Asked for by the library only.
    Discard,
}

/// Who runs in a race, and what winning is.
#[derive(Debug)]
pub enum Racing {
    /// The first to end, whatever it gives.
    Ends {
        /// Closures without parameters, and task handles.
        contenders: Vec<Value>,
    },
    /// One closure against the clock.
    Timeout {
        /// How long it may take.
        millis: u64,
        /// A closure without parameters.
        body: Value,
        /// The value when it takes longer.
        fallback: Value,
    },
    /// The first to succeed among one call for each item.
    Succeeds {
        /// The items.
        source: Value,
        /// A closure of one parameter.
        body: Value,
        /// The cap, nil when none.
        max_concurrent: Value,
    },
}

/// Statements that the outside world opens and closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Region {
    /// `scope { .. }`
    Scope,
    /// `deadline d { .. }`
    Deadline,
    /// `mutex { .. }`
    Mutex,
}

/// How a region is left.
#[derive(Clone, Debug)]
pub enum Leaving {
    /// By its end.
    Completed,
    /// By `return`, `break`, `continue` or `?`.
    Jumped,
    /// By a fault.
    Failed(Fault),
}

/// With what the interpreter goes on.
#[derive(Debug)]
pub enum Resume {
    /// The value asked for.
    Value(Value),
    /// The wait failed.
    Fault(Fault),
    /// The region is left; go on as before.
    Left,
    /// The region is left; its failure is absorbed and this is its value.
    Absorbed(Value),
    /// The stream is closed; what its cleanups failed with is attached to the failure that leaves the loop.
    Closed(Vec<Fault>),
}
