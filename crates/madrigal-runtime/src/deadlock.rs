//! The report of a program in which every task waits for another.
//! Not here: noticing that nothing runs (`executor/`). This is called only when no task can run, no timer is armed
//! and no outside operation is in flight; it then asks whether every task is in a wait that only tasks could end.

use std::fmt;

use crate::cancel::CancelNode;
use crate::task::TaskRef;

/// All tasks of a run wait, and nothing can wake any of them.
#[derive(Clone, Debug, thiserror::Error)]
pub struct DeadlockReport {
    /// The waiting tasks, each before those beneath it.
    pub tasks: Vec<DeadlockedTask>,
}

/// One task of a deadlock.
#[derive(Clone, Debug)]
pub struct DeadlockedTask {
    /// Its id.
    pub id: String,
    /// What it waits for, in words.
    pub waiting: String,
    /// The id of the task that holds what it waits for.
    pub holder: Option<String>,
    /// Where in the program: (file, line) as the task published it.
    pub location: Option<(u32, u32)>,
}

impl fmt::Display for DeadlockReport {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "deadlock: all tasks wait for one another")?;
        for task in &self.tasks {
            write!(out, "\n  {} waits for {}", task.id, task.waiting)?;
            if let Some(holder) = &task.holder {
                write!(out, ", held by {holder}")?;
            }
        }
        Ok(())
    }
}

/// The report, if every live task is parked in a wait of this library.
pub(crate) fn find_deadlock(root: &CancelNode) -> Option<DeadlockReport> {
    let tasks: Vec<TaskRef> = root.tasks().into_iter().map(|(_, task)| TaskRef(task)).collect();
    if tasks.is_empty() || !tasks.iter().all(TaskRef::is_parked_inside) {
        return None;
    }
    Some(DeadlockReport { tasks: tasks.iter().map(DeadlockedTask::of).collect() })
}

impl DeadlockedTask {
    pub(crate) fn of(task: &TaskRef) -> DeadlockedTask {
        let waiting = task.published();
        let holder = waiting.as_ref().and_then(|waiting| waiting.on.as_ref()).and_then(|on| on.holder());
        DeadlockedTask {
            id: task.id(),
            waiting: waiting.as_ref().map_or_else(|| "something".to_owned(), ToString::to_string),
            holder: holder.map(|task| task.id()),
            location: waiting.and_then(|waiting| waiting.location),
        }
    }
}
