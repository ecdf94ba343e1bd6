//! What schedules tasks, behind one seam: tokio's threads, or the seeded simulator.
//! The contract both keep: a task is polled by one thread at a time; `run_until_stalled` returns `Break` only at an
//! instant at which no task could run, no timer was armed and no outside operation was in flight.

mod simulated;
mod tokio;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use self::simulated::Simulated;
use self::tokio::Tokio;
use crate::cancel::CancelNode;
use crate::deadlock::DeadlockReport;
use crate::runtime::{ExecutorKind, RuntimeShared};
use crate::task::AnyTask;

pub(crate) enum Executor {
    Tokio(Tokio),
    Simulated(Arc<Simulated>),
}

impl Executor {
    pub(crate) fn tokio(workers: usize) -> Executor {
        Executor::Tokio(Tokio::new(workers))
    }

    pub(crate) fn simulated(seed: u64) -> Executor {
        Executor::Simulated(Simulated::new(seed))
    }

    pub(crate) fn kind(&self) -> ExecutorKind {
        match self {
            Executor::Tokio(_) => ExecutorKind::Tokio,
            Executor::Simulated(_) => ExecutorKind::Simulated,
        }
    }

    /// Has `tasks` polled until they ended; they start in this order. Leaves the list empty.
    pub(crate) fn spawn_all(&self, tasks: &mut Vec<Arc<AnyTask>>) {
        match self {
            Executor::Tokio(tokio) => tokio.spawn_all(tasks),
            Executor::Simulated(simulated) => simulated.spawn_all(tasks),
        }
    }

    /// What wakes the thread that watches over a run.
    pub(crate) fn stall(&self) -> Arc<Stall> {
        match self {
            Executor::Tokio(tokio) => tokio.stall(),
            Executor::Simulated(simulated) => simulated.stall(),
        }
    }

    /// Runs, or watches the running, until `stop` (`Continue`) or until all tasks wait for one another (`Break`).
    pub(crate) fn run_until_stalled(
        &self,
        runtime: &RuntimeShared,
        stop: &dyn Fn() -> bool,
    ) -> ControlFlow<DeadlockReport> {
        match self {
            Executor::Tokio(tokio) => tokio.run_until_stalled(runtime, stop),
            Executor::Simulated(simulated) => simulated.run_until_stalled(runtime, stop),
        }
    }

    /// Where I/O and blocking work run.
    pub(crate) fn io(&self) -> ::tokio::runtime::Handle {
        match self {
            Executor::Tokio(tokio) => tokio.handle().clone(),
            Executor::Simulated(simulated) => simulated.io(),
        }
    }

    /// What has to be entered before a future with tokio I/O inside is polled; none where tokio itself polls.
    pub(crate) fn io_to_enter(&self) -> Option<::tokio::runtime::Handle> {
        match self {
            Executor::Tokio(_) => None,
            Executor::Simulated(simulated) => Some(simulated.io()),
        }
    }

    /// Drops every task that is left.
    pub(crate) fn shut_down(&self, root: &CancelNode) {
        match self {
            Executor::Tokio(tokio) => tokio.shut_down(),
            Executor::Simulated(simulated) => simulated.shut_down(root),
        }
    }
}

/// Wakes whoever watches over a run. A poke between two looks is never missed: it raises a count.
#[derive(Default)]
pub(crate) struct Stall {
    pokes: Mutex<u64>,
    changed: Condvar,
}

impl Stall {
    pub(crate) fn poke(&self) {
        *self.pokes.lock() += 1;
        self.changed.notify_all();
    }

    /// How often it was poked.
    fn pokes(&self) -> u64 {
        *self.pokes.lock()
    }

    /// Blocks until it has been poked since `pokes` answered `seen`.
    fn wait(&self, seen: u64) {
        let mut pokes = self.pokes.lock();
        self.changed.wait_while(&mut pokes, |pokes| *pokes == seen);
    }

    /// As `wait`, for at most `time`.
    fn wait_for(&self, seen: u64, time: Duration) {
        let mut pokes = self.pokes.lock();
        self.changed.wait_while_for(&mut pokes, |pokes| *pokes == seen, time);
    }
}
