//! What a supervisor knows of its children. Changed by the supervisor only, read by anybody.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use super::{ChildSpec, Settings};
use crate::failure::Failure;
use crate::process::member::Member;
use crate::process::reason::Reason;
use crate::process::supervision::{Cap, ChildState, History, Strategy, WaitReason};

/// How many events are kept.
const EVENTS_MAX: usize = 10_000;

pub(in crate::process) struct Child<E: Failure> {
    pub(super) spec: ChildSpec<E>,
    pub(super) state: ChildState,
    pub(super) wait: Option<WaitReason>,
    pub(super) running: Option<Running<E>>,
    /// How often it was started.
    pub(super) attempts: u64,
    pub(super) restart_count: u64,
    pub(super) due: Option<u64>,
    ends: History,
    last_error: Option<Reason<E>>,
}

/// A child that runs.
pub(super) struct Running<E: Failure> {
    pub(super) pid: Arc<dyn Member<E>>,
    /// The process that does its work, when that is another.
    pub(super) shown: Arc<dyn Member<E>>,
    pub(super) attempt: u64,
    ready: bool,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum EventKind {
    SupervisorStarted,
    ChildStarted,
    ChildRestartStarted,
    ChildReady,
    ChildFailed,
    ChildStopped,
    ChildRestarting,
    ChildRestarted,
    ChildSuppressed,
    ChildEscalated,
    MaxRestartsReached,
    SupervisorStopping,
    SupervisorStopped,
    SupervisorCompleted,
}

impl EventKind {
    /// As scripts spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            EventKind::SupervisorStarted => "supervisor_started",
            EventKind::ChildStarted => "child_started",
            EventKind::ChildRestartStarted => "child_restart_started",
            EventKind::ChildReady => "child_ready",
            EventKind::ChildFailed => "child_failed",
            EventKind::ChildStopped => "child_stopped",
            EventKind::ChildRestarting => "child_restarting",
            EventKind::ChildRestarted => "child_restarted",
            EventKind::ChildSuppressed => "child_suppressed",
            EventKind::ChildEscalated => "child_escalated",
            EventKind::MaxRestartsReached => "max_restarts_reached",
            EventKind::SupervisorStopping => "supervisor_stopping",
            EventKind::SupervisorStopped => "supervisor_stopped",
            EventKind::SupervisorCompleted => "supervisor_completed",
        }
    }
}

impl EventKind {
    /// Whether it is one of those that are kept and numbered; others are for loggers.
    fn is_kept(self) -> bool {
        !matches!(self, EventKind::ChildReady | EventKind::ChildRestarting | EventKind::MaxRestartsReached)
    }
}

/// One thing that happened.
#[derive(Clone)]
pub struct SupervisorEvent<E: Failure> {
    /// Counted from 1.
    pub seq: u64,
    /// Wall time.
    pub at_ms: i64,
    /// To which child.
    pub child: Option<Arc<str>>,
    /// The process of the child, at the time.
    pub pid: Option<Arc<dyn Member<E>>>,
    /// What.
    pub kind: EventKind,
    /// How the child ended.
    pub reason: Option<Reason<E>>,
    /// How often the child was started again, this time included.
    pub attempt: u64,
    /// In words; may be empty.
    pub message: String,
}

/// Where a supervisor is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum SupervisorStatus {
    Running,
    Draining,
    Stopped,
    Completed,
    Escalated,
}

impl SupervisorStatus {
    /// As scripts spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            SupervisorStatus::Running => "running",
            SupervisorStatus::Draining => "draining",
            SupervisorStatus::Stopped => "stopped",
            SupervisorStatus::Completed => "completed",
            SupervisorStatus::Escalated => "escalated",
        }
    }
}

/// Counts of what happened to children.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Metrics {
    pub started: u64,
    pub stopped: u64,
    pub failed: u64,
    pub restarted: u64,
    pub suppressed: u64,
    pub escalated: u64,
}

/// A child as others see it.
#[derive(Clone)]
pub struct ChildReport<E: Failure> {
    /// Its name.
    pub id: Arc<str>,
    /// Its kind.
    pub kind: Arc<str>,
    /// Its process, while it runs.
    pub pid: Option<Arc<dyn Member<E>>>,
    /// Where it is in its life.
    pub state: ChildState,
    /// What it waits for.
    pub wait: Option<WaitReason>,
    /// How often it was started again.
    pub restart_count: u64,
    /// How it failed last.
    pub last_error: Option<Reason<E>>,
    /// When it will be started again, in the clock's nanoseconds.
    pub due_ns: Option<u64>,
}

/// A supervisor as others see it.
#[derive(Clone)]
pub struct Report<E: Failure> {
    /// Its id.
    pub id: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// Its strategy.
    pub strategy: Strategy,
    /// Where it is in its life.
    pub status: SupervisorStatus,
    /// Counts.
    pub metrics: Metrics,
    /// Its children, in the order they were started.
    pub children: Vec<ChildReport<E>>,
}

pub(in crate::process) struct Book<E: Failure> {
    id: Arc<str>,
    name: Arc<str>,
    strategy: Strategy,
    pub(super) status: SupervisorStatus,
    pub(super) metrics: Metrics,
    /// By rising key: the order they are started in.
    pub(super) children: BTreeMap<u64, Child<E>>,
    pub(super) by_id: HashMap<Arc<str>, u64>,
    /// Children that will be started later.
    pub(super) waiting: BTreeSet<u64>,
    /// Children that have not ended for good.
    unfinished: usize,
    last_key: u64,
    /// Restarts of all children.
    pub(super) restarts: History,
    events: VecDeque<SupervisorEvent<E>>,
    last_seq: u64,
}

impl<E: Failure> Book<E> {
    pub(super) fn new(settings: &Settings<E>) -> Book<E> {
        Book {
            id: settings.id.clone(),
            name: settings.name.clone(),
            strategy: settings.strategy,
            status: SupervisorStatus::Running,
            metrics: Metrics::default(),
            children: BTreeMap::new(),
            by_id: HashMap::new(),
            waiting: BTreeSet::new(),
            unfinished: 0,
            last_key: 0,
            restarts: History::default(),
            events: VecDeque::new(),
            last_seq: 0,
        }
    }

    /// Enters a child; none when one of its name is there.
    pub(super) fn add(&mut self, spec: ChildSpec<E>) -> Option<u64> {
        if self.by_id.contains_key(&spec.id) {
            return None;
        }
        self.last_key += 1;
        self.by_id.insert(spec.id.clone(), self.last_key);
        let child = Child {
            spec,
            state: ChildState::Pending,
            wait: None,
            running: None,
            attempts: 0,
            restart_count: 0,
            due: None,
            ends: History::default(),
            last_error: None,
        };
        self.children.insert(self.last_key, child);
        self.unfinished += 1;
        Some(self.last_key)
    }

    pub(super) fn remove(&mut self, key: u64) {
        if let Some(child) = self.children.remove(&key) {
            self.by_id.remove(&child.spec.id);
            self.waiting.remove(&key);
            self.unfinished -= usize::from(!child.state.is_final());
        }
    }

    /// Whether every child has ended for good.
    pub(super) fn is_finished(&self) -> bool {
        self.unfinished == 0
    }

    fn set(&mut self, key: u64, state: ChildState, wait: Option<WaitReason>, due: Option<u64>) {
        let Some(child) = self.children.get_mut(&key) else { return };
        match (child.state.is_final(), state.is_final()) {
            (false, true) => self.unfinished -= 1,
            (true, false) => self.unfinished += 1,
            _ => {}
        }
        (child.state, child.wait, child.due) = (state, wait, due);
        match due {
            Some(_) => self.waiting.insert(key),
            None => self.waiting.remove(&key),
        };
    }

    /// A child is about to be started: what it is, which start this is, how often it was started again.
    pub(super) fn starting(&mut self, key: u64) -> Option<(ChildSpec<E>, u64, u64)> {
        let child = self.children.get_mut(&key)?;
        if child.running.is_some() {
            return None;
        }
        child.attempts += 1;
        child.restart_count = child.attempts - 1;
        self.metrics.restarted += u64::from(child.attempts > 1);
        self.metrics.started += 1;
        let answer = (child.spec.clone(), child.attempts, child.restart_count);
        self.set(key, ChildState::Running, None, None);
        Some(answer)
    }

    pub(super) fn started(&mut self, key: u64, attempt: u64, pid: Arc<dyn Member<E>>) {
        if let Some(child) = self.children.get_mut(&key) {
            child.running = Some(Running { shown: pid.clone(), pid, attempt, ready: child.spec.ready.is_none() });
        }
    }

    /// Notes that a child is ready; `false` when it was, or is another by now.
    pub(super) fn ready(&mut self, key: u64, attempt: u64) -> bool {
        let running = self.children.get_mut(&key).and_then(|it| it.running.as_mut());
        running.filter(|it| it.attempt == attempt).is_some_and(|it| !std::mem::replace(&mut it.ready, true))
    }

    /// Whether others wait until a child is ready.
    pub(super) fn is_awaited(&self, key: u64) -> bool {
        self.children.get(&key).is_some_and(|it| {
            let ready = it.running.as_ref().is_some_and(|it| it.ready);
            it.spec.ready.is_some() && !ready && !it.state.is_final()
        })
    }

    /// A child ended by itself; none when that is known.
    pub(super) fn ended(&mut self, key: u64, attempt: u64, reason: &Reason<E>, failed: bool) -> Option<ChildSpec<E>> {
        let child = self.children.get_mut(&key)?;
        if child.attempts != attempt || child.state != ChildState::Running {
            return None;
        }
        child.running = None;
        if failed {
            child.last_error = Some(reason.clone());
            self.metrics.failed += 1;
        } else {
            self.metrics.stopped += 1;
        }
        Some(child.spec.clone())
    }

    /// A child has ended for good.
    pub(super) fn settled(&mut self, key: u64, failed: bool, forget: bool) {
        let state = if failed { ChildState::Failed } else { ChildState::Stopped };
        self.set(key, state, None, None);
        if forget {
            self.remove(key);
        }
    }

    pub(super) fn over_cap(&mut self, key: u64, now: u64, cap: Cap) -> bool {
        self.children.get_mut(&key).is_some_and(|it| it.ends.exceeds(now, cap.max_restarts, cap.window))
    }

    /// A child is over its cap: it rests until `due`, or for good.
    pub(super) fn rest(&mut self, key: u64, due: Option<u64>) {
        match due {
            Some(_) => self.set(key, ChildState::CircuitOpen, Some(WaitReason::CircuitOpen), due),
            None => {
                self.metrics.suppressed += 1;
                self.set(key, ChildState::Suppressed, Some(WaitReason::RestartCapExceeded), None);
            }
        }
    }

    pub(super) fn wait(&mut self, key: u64, reason: WaitReason, due: u64) {
        self.set(key, ChildState::Waiting, Some(reason), Some(due));
    }

    /// The live siblings that share the restart of a child, in the order they were started.
    pub(super) fn concerned(&self, key: u64, strategy: Strategy) -> Vec<u64> {
        let from = match strategy {
            Strategy::OneForOne | Strategy::EscalateToParent => return Vec::new(),
            Strategy::OneForAll => 0,
            Strategy::RestForOne => key,
        };
        let lives = |it: &Child<E>| matches!(it.state, ChildState::Running | ChildState::Waiting);
        self.children.range(from..).filter(|(it, child)| **it != key && lives(child)).map(|(it, _)| *it).collect()
    }

    /// A child is being stopped: its process and which run of it, when it runs.
    pub(super) fn draining(&mut self, key: u64) -> Option<(Arc<dyn Member<E>>, u64)> {
        let running = self.children.get(&key)?.running.as_ref()?;
        let found = (running.pid.clone(), running.attempt);
        self.set(key, ChildState::Draining, Some(WaitReason::Shutdown), None);
        Some(found)
    }

    /// A child was stopped, or was not running.
    pub(super) fn halted(&mut self, key: u64) {
        let Some(child) = self.children.get_mut(&key) else { return };
        if child.running.take().is_some() {
            self.metrics.stopped += 1;
        }
        if !child.state.is_final() {
            self.set(key, ChildState::Stopped, None, None);
        }
    }

    pub(super) fn event(
        &mut self,
        kind: EventKind,
        key: Option<u64>,
        reason: Option<Reason<E>>,
        message: &str,
        at_ms: i64,
        keep: bool,
    ) -> SupervisorEvent<E> {
        let kept = kind.is_kept();
        self.last_seq += u64::from(kept);
        let child = key.and_then(|it| self.children.get(&it));
        let attempt = child.map_or(0, |it| match kind {
            EventKind::ChildRestarting => it.restart_count + 1,
            _ => it.restart_count,
        });
        let event = SupervisorEvent {
            seq: self.last_seq,
            at_ms,
            child: child.map(|it| it.spec.id.clone()),
            pid: child.and_then(|it| it.running.as_ref()).map(|it| it.pid.clone()),
            kind,
            reason,
            attempt,
            message: message.to_owned(),
        };
        if keep && kept {
            if self.events.len() == EVENTS_MAX {
                self.events.pop_front();
            }
            self.events.push_back(event.clone());
        }
        event
    }

    pub(super) fn events(&self) -> Vec<SupervisorEvent<E>> {
        self.events.iter().cloned().collect()
    }

    pub(super) fn report(&self) -> Report<E> {
        let child = |it: &Child<E>| ChildReport {
            id: it.spec.id.clone(),
            kind: it.spec.kind.clone(),
            pid: it.running.as_ref().map(|it| it.shown.clone()),
            state: it.state,
            wait: it.wait,
            restart_count: it.restart_count,
            last_error: it.last_error.clone(),
            due_ns: it.due,
        };
        Report {
            id: self.id.clone(),
            name: self.name.clone(),
            strategy: self.strategy,
            status: self.status,
            metrics: self.metrics,
            children: self.children.values().map(child).collect(),
        }
    }
}
