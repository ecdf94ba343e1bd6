//! Supervisors: they start children in order, start them again by rule when they end, and stop them in reverse.
//! The rules are in `supervision.rs`, what others see of it in `supervisor/control.rs`. Invariant: a supervisor ends
//! after all its children did, whatever ends it.

mod book;
mod control;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use self::book::{Child, Running as RunningChild};
pub use self::book::{ChildReport, EventKind, Metrics, Report, SupervisorEvent, SupervisorStatus};
pub use self::control::Control;
use self::control::{Command, Input, Shared};
use super::member::Member;
use super::reason::{Detail, Reason, ReasonKind};
use super::supervision::{Backoff, Cap, Intensity, Restart, Strategy, WaitReason};
use crate::cancel::{CancelKind, CancelReason};
use crate::failure::Failure;
use crate::scope::{Policy, Scope, ScopeHandle};
use crate::task::TaskContext;

/// What starts a child: it makes the process in the scope it is given, and answers it. It fails when there is no place
/// for processes any more; the supervisor then ends.
pub type StartChild<E> = Arc<dyn Fn(ChildStart<E>) -> Result<Arc<dyn Member<E>>, E> + Send + Sync>;

/// Told of everything that happens; the supervisor goes on when the future ends.
pub type Logger<E> = Arc<dyn Fn(SupervisorEvent<E>) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// What a supervisor knows of a child before it runs.
#[derive(Clone)]
pub struct ChildSpec<E: Failure> {
    /// Its name, which no other child has.
    pub id: Arc<str>,
    /// For people.
    pub kind: Arc<str>,
    /// Starts it.
    pub start: StartChild<E>,
    /// After which ends it is started again.
    pub restart: Restart,
    /// How often.
    pub cap: Option<Cap>,
    /// After which time.
    pub backoff: Backoff,
    /// How long it may take to end once asked.
    pub shutdown: Duration,
    /// It says when it is ready, within this time; the next child waits for that.
    pub ready: Option<Duration>,
}

impl<E: Failure> ChildSpec<E> {
    /// A child that is always started again, without a wait.
    pub fn new(id: impl Into<Arc<str>>, start: StartChild<E>) -> ChildSpec<E> {
        ChildSpec {
            id: id.into(),
            kind: "task".into(),
            start,
            restart: Restart::default(),
            cap: None,
            backoff: Backoff::default(),
            shutdown: Duration::from_secs(5),
            ready: None,
        }
    }
}

/// What a child is started with.
pub struct ChildStart<E: Failure> {
    /// The scope its process has to be made in.
    pub scope: ScopeHandle<E>,
    /// Which start this is, from 1.
    pub attempt: u64,
    /// How often it was started again before.
    pub restart_count: u64,
    /// To say that it is ready.
    pub running: Running<E>,
}

/// One run of one child, as that child knows it. Clones are the same.
pub struct Running<E: Failure> {
    shared: Arc<Shared<E>>,
    key: u64,
    attempt: u64,
}

impl<E: Failure> Clone for Running<E> {
    fn clone(&self) -> Self {
        Running { shared: self.shared.clone(), ..*self }
    }
}

impl<E: Failure> Running<E> {
    /// The child is ready: the next one may start.
    pub fn ready(&self) {
        self.shared.push(Input::Ready { key: self.key, attempt: self.attempt });
    }

    /// Shows `pid` as the child: the one that does its work. The child answers for its end.
    pub fn show(&self, pid: Arc<dyn Member<E>>) {
        pid.taken_over();
        self.shared.book(|book| {
            if let Some(running) = book.children.get_mut(&self.key).and_then(|it| it.running.as_mut())
                && running.attempt == self.attempt
            {
                running.shown = pid;
            }
        });
    }
}

/// How a supervisor works.
pub struct Settings<E: Failure> {
    /// Its id, for people.
    pub id: Arc<str>,
    /// Its name, for people.
    pub name: Arc<str>,
    /// Whom a failure concerns.
    pub strategy: Strategy,
    /// How often all children together may be restarted.
    pub intensity: Option<Intensity>,
    /// Whether it ends once every child has ended for good.
    pub completes: bool,
    /// Whether children that are never started again are forgotten at their end, and are not restarted with siblings.
    pub forgets: bool,
    /// Whether it keeps what happened, to be read later.
    pub keeps_events: bool,
    /// Who else is told.
    pub logger: Option<Logger<E>>,
}

impl<E: Failure> Default for Settings<E> {
    fn default() -> Self {
        Settings {
            id: "supervisor".into(),
            name: "supervisor".into(),
            strategy: Strategy::default(),
            intensity: Some(Intensity { max_restarts: 3, within: Duration::from_secs(5) }),
            completes: false,
            forgets: true,
            keeps_events: false,
            logger: None,
        }
    }
}

/// Why a supervisor ended.
#[derive(Clone, Debug)]
pub enum ChildEnd<E> {
    /// It was stopped.
    Stopped(Reason<E>),
    /// Every child has ended for good.
    Completed,
    /// More restarts than its intensity allows.
    MaxRestarts,
    /// A child failed, and that is the failure of the supervisor.
    Escalated(E),
}

/// A supervisor about to run.
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU32, Ordering};
/// use madrigal_runtime::process::{ChildSpec, Process, Restart, Settings, StartChild, Supervisor, System, ProcessSpec};
/// use madrigal_runtime::{Runtime, TaskContext, TaskError, scope};
///
/// let tries = Arc::new(AtomicU32::new(0));
/// let counted = tries.clone();
/// Runtime::new()
///     .run(async || {
///         scope(async |s| {
///             let system = System::new(s);
///             let start: StartChild<TaskError> = Arc::new(move |start| {
///                 let tries = counted.clone();
///                 let spec = ProcessSpec { scope: Some(start.scope), seen: true, ..ProcessSpec::default() };
///                 let worker = system.spawn_with(spec, |_, _: Process<(), TaskError>| {
///                     Box::pin(async move {
///                         match tries.fetch_add(1, Ordering::Relaxed) {
///                             0 | 1 => Err(TaskError::new("not yet")),
///                             _ => Ok(()),
///                         }
///                     })
///                 })?;
///                 Ok(worker.pid().member())
///             });
///             let child = ChildSpec { restart: Restart::OnFailure, ..ChildSpec::new("worker", start) };
///             let settings = Settings { completes: true, ..Settings::default() };
///             let (supervisor, control) = Supervisor::new(settings, vec![child]);
///             supervisor.run(TaskContext::current().expect("in a task")).await;
///             assert_eq!(control.report().metrics.restarted, 2);
///             Ok::<_, TaskError>(())
///         })
///         .await
///     })
///     .unwrap();
/// assert_eq!(tries.load(Ordering::Relaxed), 3);
/// ```
pub struct Supervisor<E: Failure> {
    settings: Settings<E>,
    shared: Arc<Shared<E>>,
}

/// What the supervisor does next.
enum Next<E: Failure> {
    GoOn,
    End(ChildEnd<E>),
}

impl<E: Failure> Supervisor<E> {
    /// A supervisor of `children`, and the handle to talk to it.
    pub fn new(settings: Settings<E>, children: Vec<ChildSpec<E>>) -> (Supervisor<E>, Control<E>) {
        let shared = Arc::new(Shared::new(&settings));
        shared.book(|book| {
            for child in children {
                book.add(child);
            }
        });
        (Supervisor { settings, shared: shared.clone() }, Control::new(shared))
    }

    /// Supervises until it is stopped, has nothing left to do, or gives up. It is to be polled by the task of `cx`.
    ///
    /// A cancellation of that task reaches all children at once; this then waits for them. Dropping the future
    /// cancels them, and the task ends after they did.
    pub async fn run(self, cx: TaskContext) -> ChildEnd<E> {
        let mut scope = Scope::open(&cx, &cx.node(), Policy::FailFast);
        let mut work = Work { supervisor: &self, scope: scope.handle(), cx: cx.clone() };
        work.emit(EventKind::SupervisorStarted, None, None, "").await;
        let end = work.supervise().await;
        work.conclude(&end).await;
        if scope.live() > 0 {
            scope.cancel(CancelReason::new(CancelKind::Shutdown, "the supervisor ended"));
        }
        drop(scope.close().await);
        self.shared.close();
        end
    }
}

/// A supervisor at work.
struct Work<'a, E: Failure> {
    supervisor: &'a Supervisor<E>,
    scope: ScopeHandle<E>,
    cx: TaskContext,
}

impl<E: Failure> Work<'_, E> {
    fn shared(&self) -> &Arc<Shared<E>> {
        &self.supervisor.shared
    }

    fn now(&self) -> u64 {
        self.cx.runtime().clock().now_ns()
    }

    async fn supervise(&mut self) -> ChildEnd<E> {
        let keys = self.shared().book(|book| book.children.keys().copied().collect::<Vec<_>>());
        for key in keys {
            let mut next = self.start(key).await;
            // It may have ended before it was ready: the one after it waits until it has been started again.
            loop {
                match next {
                    Next::End(end) => return end,
                    Next::GoOn if !self.shared().book(|book| book.is_awaited(key)) => break,
                    Next::GoOn => next = self.turn().await,
                }
            }
        }
        self.shared().started();
        loop {
            if self.supervisor.settings.completes && self.shared().book(|book| book.is_finished()) {
                return ChildEnd::Completed;
            }
            if let Next::End(end) = self.turn().await {
                return end;
            }
        }
    }

    /// Starts the child that is due, or handles what comes next.
    async fn turn(&mut self) -> Next<E> {
        match self.due() {
            Some(key) => self.start(key).await,
            None => match self.input().await {
                Some(input) => self.handle(input).await,
                None => Next::GoOn,
            },
        }
    }

    /// The first child in order whose time has come.
    fn due(&self) -> Option<u64> {
        let now = self.now();
        self.shared().book(|book| {
            book.waiting
                .iter()
                .copied()
                .find(|key| book.children.get(key).and_then(|it| it.due).is_some_and(|it| it <= now))
        })
    }

    /// The next input; none when some child is due.
    async fn input(&self) -> Option<Input<E>> {
        let due = self
            .shared()
            .book(|book| book.waiting.iter().filter_map(|key| book.children.get(key).and_then(|it| it.due)).min());
        self.next(due, |_| true).await
    }

    /// The first input that `wanted` holds for; none when the clock reaches `until`, or this task was cancelled and
    /// nothing else is to come.
    async fn next(&self, until: Option<u64>, wanted: impl Fn(&Input<E>) -> bool) -> Option<Input<E>> {
        let clock = self.cx.runtime().clock().clone();
        let mut timer = until.map(|until| {
            let left = until.saturating_sub(clock.now_ns());
            crate::clock::Timer::after(&clock, Duration::from_nanos(left))
        });
        std::future::poll_fn(|cx| {
            use std::task::Poll;
            if let Some(input) = self.shared().poll_input(&wanted, self.cx.is_cancelled(), cx) {
                return Poll::Ready(Some(input));
            }
            match timer.as_mut().map(|it| it.poll_due(cx)) {
                Some(Poll::Ready(())) => Poll::Ready(None),
                Some(Poll::Pending) | None => {
                    crate::frame::note_wait(crate::WaitKind::Receive);
                    Poll::Pending
                }
            }
        })
        .await
    }

    async fn handle(&mut self, input: Input<E>) -> Next<E> {
        match input {
            Input::Ended { key, attempt, reason } => self.ended(key, attempt, reason).await,
            Input::Ready { key, attempt } => {
                self.is_ready(key, attempt).await;
                Next::GoOn
            }
            Input::Command(Command::Start(child, answer)) => {
                let id = child.id.clone();
                let added = self.shared().book(|book| book.add(child));
                let Some(key) = added else {
                    answer.give(Err(format!("child '{id}' already exists")));
                    return Next::GoOn;
                };
                let next = self.start(key).await;
                let pid = self.shared().book(|book| book.children.get(&key).and_then(Child::pid));
                answer.give(pid.ok_or_else(|| format!("child '{id}' ended before it was ready")));
                next
            }
            Input::Command(Command::Stop(id, answer)) => {
                let key = self.shared().book(|book| book.by_id.get(&id).copied());
                if let Some(key) = key {
                    let limit = self.shared().book(|book| book.children.get(&key).map(|it| it.spec.shutdown));
                    self.stop(key, limit.unwrap_or_default()).await;
                    self.shared().book(|book| book.remove(key));
                }
                answer.give(key.is_some());
                Next::GoOn
            }
            Input::End(reason) => Next::End(ChildEnd::Stopped(reason)),
        }
    }

    /// Starts a child, and waits until it is ready when that is asked for.
    async fn start(&mut self, key: u64) -> Next<E> {
        let Some((child, attempt, restart_count)) = self.shared().book(|book| book.starting(key)) else {
            return Next::GoOn;
        };
        let running = Running { shared: self.shared().clone(), key, attempt };
        let start = ChildStart { scope: self.scope.clone(), attempt, restart_count, running };
        let kind = if attempt == 1 { EventKind::ChildStarted } else { EventKind::ChildRestartStarted };
        match (child.start)(start) {
            Ok(pid) => {
                self.shared().book(|book| book.started(key, attempt, pid.clone()));
                let watch = control::Ending { shared: Arc::downgrade(self.shared()), key, attempt };
                pid.watch(Arc::new(watch));
                self.emit(kind, Some(key), None, "").await;
                if attempt > 1 {
                    self.emit(EventKind::ChildRestarted, Some(key), None, "").await;
                }
            }
            // No place for it any more: all is ending.
            Err(_) => return Next::End(ChildEnd::Stopped(Reason::shutdown())),
        }
        match child.ready {
            Some(time) => self.until_ready(key, attempt, time).await,
            None => Next::GoOn,
        }
    }

    async fn until_ready(&mut self, key: u64, attempt: u64, time: Duration) -> Next<E> {
        let until = self.now().saturating_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
        let wanted = |input: &Input<E>| match input {
            Input::Ready { key: of, .. } | Input::Ended { key: of, .. } => *of == key,
            Input::End(_) => true,
            Input::Command(_) => false,
        };
        match self.next(Some(until), wanted).await {
            Some(Input::Ready { .. }) => {
                self.is_ready(key, attempt).await;
                Next::GoOn
            }
            Some(Input::Ended { key, attempt, reason }) => Box::pin(self.ended(key, attempt, reason)).await,
            Some(other) => Box::pin(self.handle(other)).await,
            None => {
                // As if it had failed: what is not ready in time is of no use.
                let pid = self.shared().book(|book| book.children.get(&key).and_then(|it| it.member()));
                if let Some(pid) = pid {
                    let late = E::from_panic("not ready in time".to_owned());
                    pid.exit(None, Reason { kind: ReasonKind::Killed, detail: Detail::Error(late) });
                }
                Next::GoOn
            }
        }
    }

    async fn is_ready(&self, key: u64, attempt: u64) {
        if self.shared().book(|book| book.ready(key, attempt)) {
            self.emit(EventKind::ChildReady, Some(key), None, "").await;
        }
    }

    /// A child has ended by itself.
    async fn ended(&mut self, key: u64, attempt: u64, reason: Reason<E>) -> Next<E> {
        let failed = reason.is_failure();
        let Some(child) = self.shared().book(|book| book.ended(key, attempt, &reason, failed)) else {
            return Next::GoOn;
        };
        let kind = if failed { EventKind::ChildFailed } else { EventKind::ChildStopped };
        self.emit(kind, Some(key), Some(reason.clone()), "").await;
        let settings = &self.supervisor.settings;
        if failed && settings.strategy == Strategy::EscalateToParent {
            self.shared().book(|book| book.metrics.escalated += 1);
            self.emit(EventKind::ChildEscalated, Some(key), Some(reason.clone()), "").await;
            return Next::End(ChildEnd::Escalated(error_of(reason)));
        }
        if !child.restart.applies(failed) {
            let forget = settings.forgets && child.restart == Restart::Never;
            self.shared().book(|book| book.settled(key, failed, forget));
            return Next::GoOn;
        }
        let now = self.now();
        if let Some(cap) = child.cap
            && self.shared().book(|book| book.over_cap(key, now, cap))
        {
            return self.over_cap(key, cap).await;
        }
        if let Some(limit) = settings.intensity
            && self.shared().book(|book| book.restarts.exceeds(now, limit.max_restarts, limit.within))
        {
            self.emit(EventKind::MaxRestartsReached, Some(key), Some(reason), "").await;
            return Next::End(ChildEnd::MaxRestarts);
        }
        self.restart(key, &child).await
    }

    async fn over_cap(&mut self, key: u64, cap: Cap) -> Next<E> {
        let due = cap.circuit_open.map(|rest| self.now().saturating_add(rest.as_nanos() as u64));
        self.shared().book(|book| book.rest(key, due));
        if due.is_none() {
            self.emit(EventKind::ChildSuppressed, Some(key), None, "restart cap exceeded").await;
        }
        Next::GoOn
    }

    /// Has a child, and the siblings its end concerns, started again once its wait is over.
    async fn restart(&mut self, key: u64, child: &ChildSpec<E>) -> Next<E> {
        let restarts = self.shared().book(|book| book.children.get(&key).map_or(0, |it| it.restart_count));
        let delay = child.backoff.delay(restarts, self.cx.runtime().random());
        let due = self.now().saturating_add(u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX));
        let settings = &self.supervisor.settings;
        let siblings = self.shared().book(|book| book.concerned(key, settings.strategy));
        self.shared().book(|book| book.wait(key, WaitReason::RestartBackoff, due));
        self.emit(EventKind::ChildRestarting, Some(key), None, "").await;
        for sibling in siblings.into_iter().rev() {
            let spec = self.shared().book(|book| book.children.get(&sibling).map(|it| it.spec.clone()));
            let Some(spec) = spec else { continue };
            self.stop(sibling, spec.shutdown).await;
            let forget = settings.forgets && spec.restart == Restart::Never;
            self.shared().book(|book| match forget {
                true => book.remove(sibling),
                false => book.wait(sibling, WaitReason::PropagationRestart, due),
            });
        }
        Next::GoOn
    }

    /// Asks a child to end, drops it after `limit`, and waits until it has ended.
    async fn stop(&mut self, key: u64, limit: Duration) {
        let Some((pid, attempt)) = self.shared().book(|book| book.draining(key)) else {
            self.shared().book(|book| book.halted(key));
            return;
        };
        pid.exit(None, Reason::shutdown());
        let until = self.now().saturating_add(u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX));
        let is_end = |input: &Input<E>| matches!(input, Input::Ended { key: of, attempt: at, .. } if (*of, *at) == (key, attempt));
        let mut ended = self.next(Some(until), is_end).await;
        if ended.is_none() {
            pid.exit(None, Reason::killed());
            if let Some(task) = pid.task() {
                task.abort(CancelReason::new(CancelKind::Shutdown, "it did not stop in time"));
            }
            ended = self.next(None, is_end).await;
        }
        self.shared().book(|book| book.halted(key));
        if let Some(Input::Ended { reason, .. }) = ended {
            self.emit(EventKind::ChildStopped, Some(key), Some(reason), "").await;
        }
    }

    /// Stops what still runs, in reverse, and settles how the supervisor ends.
    async fn conclude(&mut self, end: &ChildEnd<E>) {
        let limit = self.shared().begin_stop(self.cx.is_cancelled());
        if matches!(end, ChildEnd::Stopped(_)) {
            self.emit(EventKind::SupervisorStopping, None, None, "").await;
        }
        let until = limit.map(|limit| self.now().saturating_add(u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX)));
        let keys = self.shared().book(|book| book.children.keys().rev().copied().collect::<Vec<_>>());
        for key in keys {
            let own = self.shared().book(|book| book.children.get(&key).map(|it| it.spec.shutdown)).unwrap_or_default();
            let left = until.map(|until| Duration::from_nanos(until.saturating_sub(self.now())));
            self.stop(key, left.unwrap_or(own)).await;
        }
        let (status, kind) = match end {
            ChildEnd::Stopped(_) => (SupervisorStatus::Stopped, Some(EventKind::SupervisorStopped)),
            ChildEnd::Completed => (SupervisorStatus::Completed, Some(EventKind::SupervisorCompleted)),
            ChildEnd::MaxRestarts => (SupervisorStatus::Stopped, None),
            ChildEnd::Escalated(_) => (SupervisorStatus::Escalated, None),
        };
        self.shared().book(|book| book.status = status);
        if let Some(kind) = kind {
            self.emit(kind, None, None, "").await;
        }
    }

    async fn emit(&self, kind: EventKind, key: Option<u64>, reason: Option<Reason<E>>, message: &str) {
        let at_ms = self.cx.runtime().clock().wall_ms();
        let keeps = self.supervisor.settings.keeps_events;
        let event = self.shared().book(|book| book.event(kind, key, reason, message, at_ms, keeps));
        if let Some(logger) = &self.supervisor.settings.logger {
            logger(event).await;
        }
    }
}

fn error_of<E: Failure>(reason: Reason<E>) -> E {
    match &reason.detail {
        Detail::Error(error) => error.clone(),
        Detail::None | Detail::Reason(_) => E::from_panic(format!("a child ended: {}", reason.kind.as_str())),
    }
}

impl<E: Failure> Child<E> {
    /// The process shown as this child.
    fn pid(&self) -> Option<Arc<dyn Member<E>>> {
        self.running.as_ref().map(|it: &RunningChild<E>| it.shown.clone())
    }

    fn member(&self) -> Option<Arc<dyn Member<E>>> {
        self.running.as_ref().map(|it| it.pid.clone())
    }
}
