//! A deadline block: a nested cancellation node with a timer that cancels it.
//! Not here: what expiry means for the block's result. The owner looks at its outermost cancelled node: if that is
//! the deadline's, the block's deadline passed; if it lies further out, somebody else wants the task to stop.

use std::time::Duration;

use crate::cancel::{CancelKind, CancelNode, CancelReason};
use crate::clock::{ArmedTimer, Clock};

/// An open deadline block. Dropping it disarms it; what was spawned inside lives on beneath the enclosing node.
pub struct Deadline {
    node: CancelNode,
    at_ns: u64,
    _timer: Option<ArmedTimer>,
}

impl Deadline {
    /// Opens a block beneath `parent` that is cancelled (kind `deadline`) once `after` has passed; zero: at once.
    pub fn open(parent: &CancelNode, clock: &Clock, after: Duration) -> Deadline {
        let distance = u64::try_from(after.as_nanos()).unwrap_or(u64::MAX);
        Deadline::open_at(parent, clock, clock.now_ns().saturating_add(distance), CancelKind::Deadline)
    }

    /// As `open`, at an instant of the clock and with the `kind` of cancellation it causes.
    pub fn open_at(parent: &CancelNode, clock: &Clock, at_ns: u64, kind: CancelKind) -> Deadline {
        let node = parent.child_until(at_ns);
        let reason = CancelReason::by_nobody(kind, "");
        if at_ns <= clock.now_ns() {
            node.cancel(reason);
            return Deadline { node, at_ns, _timer: None };
        }
        let expired = node.clone();
        let timer = clock.call_at(
            at_ns,
            Box::new(move || {
                expired.cancel(reason);
            }),
        );
        Deadline { node, at_ns, _timer: Some(timer) }
    }

    /// The block's node: children spawned inside belong beneath it.
    pub fn node(&self) -> &CancelNode {
        &self.node
    }

    /// When it passes, in the clock's nanoseconds.
    pub fn at_ns(&self) -> u64 {
        self.at_ns
    }

    /// Whether the block was cancelled, by its timer or from further out.
    pub fn is_cancelled(&self) -> bool {
        self.node.is_cancelled()
    }
}
