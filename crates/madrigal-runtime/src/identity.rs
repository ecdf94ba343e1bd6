//! Who a task is: the kind it was created as, its number among its creator's tasks, and the path of its creators.
//! Nothing here builds text until somebody asks for an id. A lineage exists only for tasks that created others, and
//! does not keep the creator itself alive, only its place in the path.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::runtime::Run;

/// How a task was created: what its id and its name say, and which counter of its creator numbers it.
#[derive(Debug, PartialEq, Eq)]
pub struct TaskKind {
    /// The word in the id, for example `parallel_each`.
    pub label: &'static str,
    /// The task's name, for example `parallel each`.
    pub name: &'static str,
    /// Which of a creator's counters numbers it: kinds with the same counter share their numbers. Below 4.
    pub counter: u8,
}

impl TaskKind {
    /// The root of a run.
    pub const ROOT: &'static TaskKind = &TaskKind { label: "root", name: "root", counter: 3 };
    /// A task spawned by itself.
    pub const SPAWN: &'static TaskKind = &TaskKind { label: "spawn", name: "spawn", counter: 0 };
    /// One of a counted fan-out.
    pub const PARALLEL: &'static TaskKind = &TaskKind { label: "parallel", name: "parallel", counter: 1 };
    /// One of a fan-out over a source.
    pub const PARALLEL_EACH: &'static TaskKind =
        &TaskKind { label: "parallel_each", name: "parallel each", counter: 1 };
    /// One of a fan-out whose failures are collected.
    pub const PARALLEL_SETTLE: &'static TaskKind =
        &TaskKind { label: "parallel_settle", name: "parallel settle", counter: 1 };
    /// One of a fan-out read as a stream.
    pub const PARALLEL_EACH_STREAM: &'static TaskKind =
        &TaskKind { label: "parallel_each_stream", name: "parallel each as stream", counter: 1 };
    /// A contender of a race.
    pub const RACE: &'static TaskKind = &TaskKind { label: "race", name: "race", counter: 1 };
    /// One that outlives the scope it was created in.
    pub const BACKGROUND: &'static TaskKind = &TaskKind { label: "background", name: "background", counter: 2 };
    /// The producer of a stream.
    pub const STREAM: &'static TaskKind = &TaskKind { label: "stream", name: "stream", counter: 3 };
    /// A process.
    pub const PROCESS: &'static TaskKind = &TaskKind { label: "process", name: "process", counter: 3 };
    /// What a supervisor is, and its children.
    pub const SUPERVISOR: &'static TaskKind = &TaskKind { label: "supervisor", name: "supervisor", counter: 3 };
}

pub(crate) const NO_INDEX: u32 = u32::MAX;

/// A task's place in the family tree.
pub(crate) struct Identity {
    pub(crate) creator: Arc<Lineage>,
    pub(crate) kind: &'static TaskKind,
    pub(crate) number: u32,
    pub(crate) index: u32,
    /// Replaces `kind:number` in the id.
    pub(crate) label: Option<Arc<String>>,
}

/// What the tasks created by one task share.
pub(crate) struct Lineage {
    pub(crate) run: Arc<Run>,
    /// None: the runtime itself, which creates the root tasks.
    creator: Option<Identity>,
    counters: [AtomicU32; 4],
}

impl Lineage {
    pub(crate) fn of_run(run: Arc<Run>) -> Arc<Lineage> {
        Arc::new(Lineage { run, creator: None, counters: Default::default() })
    }

    pub(crate) fn of_task(identity: &Identity) -> Arc<Lineage> {
        let run = identity.creator.run.clone();
        Arc::new(Lineage { run, creator: Some(identity.share()), counters: Default::default() })
    }

    /// The identity of the next task created with `kind`.
    pub(crate) fn next_child(self: &Arc<Lineage>, kind: &'static TaskKind, label: Option<Arc<String>>) -> Identity {
        Identity { creator: self.clone(), kind, number: self.next_number(kind), index: NO_INDEX, label }
    }

    /// The next number for a task of this kind, from 1.
    pub(crate) fn next_number(&self, kind: &TaskKind) -> u32 {
        self.counters[usize::from(kind.counter & 3)].fetch_add(1, Ordering::Relaxed) + 1
    }
}

impl Drop for Lineage {
    fn drop(&mut self) {
        // Unlinks a long path step by step; dropping it recursively would use as much stack as the path is long.
        let mut next = self.creator.take().map(|identity| identity.creator);
        while let Some(mut lineage) = next.and_then(Arc::into_inner) {
            next = lineage.creator.take().map(|identity| identity.creator);
        }
    }
}

impl Identity {
    pub(crate) fn share(&self) -> Identity {
        Identity { creator: self.creator.clone(), label: self.label.clone(), ..*self }
    }

    /// The full id, for example `task_root:parallel_each:2:0`.
    pub(crate) fn id(&self) -> String {
        let mut path = vec![self];
        while let Some(creator) = &path[path.len() - 1].creator.creator {
            path.push(creator);
        }
        let mut id = String::new();
        for (depth, identity) in path.into_iter().rev().enumerate() {
            if depth > 0 {
                id.push(':');
            }
            identity.push_own_part(&mut id);
        }
        id
    }

    fn push_own_part(&self, id: &mut String) {
        use std::fmt::Write as _;
        match &self.label {
            Some(label) => id.push_str(label),
            None => {
                let _ = write!(id, "{}:{}", self.kind.label, self.number);
            }
        }
        if self.index != NO_INDEX {
            let _ = write!(id, ":{}", self.index);
        }
    }

    pub(crate) fn creator_id(&self) -> Option<String> {
        self.creator.creator.as_ref().map(Identity::id)
    }

    /// The id without its index, for tasks that were created as one of a group.
    pub(crate) fn group_id(&self) -> Option<String> {
        if self.index == NO_INDEX {
            return None;
        }
        let id = self.id();
        id.rfind(':').map(|end| id[..end].to_owned())
    }
}
