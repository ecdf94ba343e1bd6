//! A process system: the owner of processes, their names and their timers. It lives in a scope, whose end it does not
//! outlive. Not here: what a process is (`cell.rs`).

use std::collections::HashMap;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use parking_lot::Mutex;

use super::cell::{Cell, Pid, Process};
use super::member::Member;
use super::reason::{Detail, Reason, ReasonKind};
use crate::cancel::{CancelKind, CancelNode, CancelReason};
use crate::clock::{ArmedTimer, Clock, Timer};
use crate::failure::Failure;
use crate::handle::TaskHandle;
use crate::identity::TaskKind;
use crate::scope::{ScopeClosed, ScopeHandle};
use crate::task::{Outcome, TaskContext, TaskSpec};
use crate::wait_list::{WaitKey, WaitList};

/// Told of a failure.
pub type Crashed<E> = Box<dyn Fn(&Arc<dyn Member<E>>, &Reason<E>) + Send + Sync>;

/// What a system shares with others, and whom it tells of crashes.
pub struct SystemHooks<E> {
    /// Where the numbers of processes, monitors and timers come from; shared by the systems of one program.
    pub numbers: Arc<AtomicU64>,
    /// Called with every failure that no link and no monitor saw.
    pub on_crash: Crashed<E>,
}

impl<E> Default for SystemHooks<E> {
    fn default() -> Self {
        SystemHooks { numbers: Arc::default(), on_crash: Box::new(|_, _| {}) }
    }
}

pub(super) struct SystemShared<E: Failure> {
    scope: ScopeHandle<E>,
    clock: Clock,
    hooks: SystemHooks<E>,
    names: Mutex<HashMap<Arc<str>, Arc<dyn Member<E>>>>,
    /// Those that belong to no supervisor, in the order they were made.
    members: Mutex<WaitList<Arc<dyn Member<E>>>>,
    timers: Mutex<HashMap<u64, ArmedTimer>>,
    ended: AtomicBool,
}

/// How a process is made.
#[derive(Clone)]
pub struct ProcessSpec<E> {
    /// Its task.
    pub task: TaskSpec,
    /// The scope it belongs to when that is not its system's: a supervisor's.
    pub scope: Option<ScopeHandle<E>>,
    /// Somebody else reports its failure.
    pub seen: bool,
    /// Linked from the start with this one.
    pub link: Option<Arc<dyn Member<E>>>,
}

impl<E> Default for ProcessSpec<E> {
    fn default() -> Self {
        ProcessSpec { task: TaskSpec::new(TaskKind::PROCESS), scope: None, seen: false, link: None }
    }
}

/// A new process: its pid, and the task that runs it.
pub struct Spawned<M, E: Failure, T> {
    pid: Pid<M, E>,
    task: TaskHandle<T, E>,
}

impl<M: Send + 'static, E: Failure, T: Clone + 'static> Spawned<M, E, T> {
    /// Its pid.
    pub fn pid(&self) -> Pid<M, E> {
        self.pid.clone()
    }

    /// Its task, whose outcome is that of the body.
    pub fn task(&self) -> &TaskHandle<T, E> {
        &self.task
    }
}

/// Finds a system again as long as it exists.
pub struct WeakSystem<E: Failure>(Weak<SystemShared<E>>);

impl<E: Failure> WeakSystem<E> {
    /// The system, while somebody holds it.
    pub fn upgrade(&self) -> Option<System<E>> {
        self.0.upgrade().map(System)
    }
}

/// A process system. Clones are the same one; dropping them ends nothing: its scope's end does.
pub struct System<E: Failure>(pub(super) Arc<SystemShared<E>>);

impl<E: Failure> Clone for System<E> {
    fn clone(&self) -> Self {
        System(self.0.clone())
    }
}

impl<E: Failure> PartialEq for System<E> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl<E: Failure> System<E> {
    /// A system whose processes belong to `scope`.
    ///
    /// # Panics
    ///
    /// When called outside of a task of a runtime.
    pub fn new(scope: ScopeHandle<E>) -> System<E> {
        System::with_hooks(scope, SystemHooks::default())
    }

    /// As `new`, as one of several of a program.
    ///
    /// # Panics
    ///
    /// When called outside of a task of a runtime.
    pub fn with_hooks(scope: ScopeHandle<E>, hooks: SystemHooks<E>) -> System<E> {
        let cx = TaskContext::current().expect("a process system is made inside a task");
        System(Arc::new(SystemShared {
            scope,
            clock: cx.runtime().clock().clone(),
            hooks,
            names: Mutex::default(),
            members: Mutex::new(WaitList::default()),
            timers: Mutex::default(),
            ended: AtomicBool::new(false),
        }))
    }

    /// Starts a process that runs `body`. Its future is dropped when the process is told to end.
    pub fn spawn<M, T, F>(&self, body: impl FnOnce(Process<M, E>) -> F) -> Result<Spawned<M, E, T>, ScopeClosed>
    where
        M: Send + 'static,
        T: Send + Clone + 'static,
        F: Future<Output = Result<T, E>> + Send + 'static,
    {
        self.spawn_with(ProcessSpec::default(), |_, process| Box::pin(body(process)))
    }

    /// As `spawn`, for a future the caller has boxed, with everything that can be set.
    pub fn spawn_with<M, T, F>(
        &self,
        spec: ProcessSpec<E>,
        body: impl FnOnce(TaskContext, Process<M, E>) -> F,
    ) -> Result<Spawned<M, E, T>, ScopeClosed>
    where
        M: Send + 'static,
        T: Send + Clone + 'static,
        F: Future + Unpin + Send + 'static,
        F::Output: Into<Outcome<T, E>>,
    {
        let shared = &self.0;
        if shared.ended.load(Ordering::Acquire) {
            return Err(ScopeClosed);
        }
        let cell = Cell::<M, E>::new(shared.next_number(), shared.clone(), spec.seen);
        let scope = spec.scope.as_ref().unwrap_or(&shared.scope);
        let make = |context: TaskContext| {
            let body = body(context, Process(cell.clone()));
            Living { body: Some(body), cell: cell.clone(), gives: PhantomData }
        };
        // Processes start one another in long chains, which their ids must not grow with.
        let task = scope.spawn(TaskSpec { of_owner: true, ..spec.task.settled() }, make)?;
        let member: Arc<dyn Member<E>> = cell.clone();
        let place = spec.scope.is_none().then(|| shared.members.lock().push_back(member.clone()));
        cell.born(task.task(), place);
        if let Some(other) = spec.link
            && cell.add_link(other.clone())
            && !other.add_link(member)
        {
            cell.link_ended(&other, Reason::noproc());
        }
        Ok(Spawned { pid: Pid(cell), task })
    }

    /// Runs `body` as the first process; once it has ended, all others are told to shut down, and dropped after their
    /// grace. The value or the failure of the first process.
    ///
    /// Dropping the future ends nothing: the system's scope does, at its end.
    pub async fn start<M, T, F>(&self, body: impl FnOnce(Process<M, E>) -> F) -> Result<T, E>
    where
        M: Send + 'static,
        T: Send + Clone + 'static,
        F: Future<Output = Result<T, E>> + Send + 'static,
    {
        let spec = ProcessSpec { seen: true, ..ProcessSpec::default() };
        let first = match self.spawn_with(spec, |_, process| Box::pin(body(process))) {
            Ok(first) => first,
            Err(_) => return Err(E::cancelled(&CancelReason::new(CancelKind::Cancel, "scope is closed"))),
        };
        let outcome = first.task.join().await;
        self.shut_down(Duration::from_secs(5)).await;
        match first.pid.0.ended().map(|it| it.detail.clone()) {
            Some(Detail::Error(error)) => Err(error),
            _ => outcome.into_result(),
        }
    }

    /// Tells every process that belongs to no supervisor to shut down, waits until all have ended, and drops those that
    /// still live after `grace`. No process can be started any more.
    ///
    /// Dropping the future leaves those that were told to end ending.
    pub fn shut_down(&self, grace: Duration) -> ShutDown<E> {
        self.0.ended.store(true, Ordering::Release);
        let members: Vec<_> = {
            let members = self.0.members.lock();
            members.queued().cloned().collect()
        };
        for member in members {
            member.exit(None, Reason::shutdown());
        }
        ShutDown { system: self.clone(), timer: Timer::after(&self.0.clock, grace) }
    }

    /// Whether it is shutting down.
    pub fn is_ending(&self) -> bool {
        self.0.ended.load(Ordering::Acquire)
    }

    /// Registers `pid` by `name`; `false` when another has the name. A former name of it is given up.
    pub fn register(&self, name: &str, pid: &Arc<dyn Member<E>>) -> bool {
        let name: Arc<str> = name.into();
        {
            let mut names = self.0.names.lock();
            if names.get(&name).is_some_and(|it| it.number() != pid.number() && it.is_alive()) {
                return false;
            }
            names.insert(name.clone(), pid.clone());
        }
        if let Some(former) = pid.set_name(Some(name.clone()))
            && former != name
        {
            self.0.forget_name(&former, pid.number());
        }
        // It ended meanwhile, perhaps before it knew of its name.
        if !pid.is_alive() {
            self.0.forget_name(&name, pid.number());
        }
        true
    }

    /// Frees `name`; `false` when nobody has it.
    pub fn unregister(&self, name: &str) -> bool {
        let known = self.0.names.lock().remove(name);
        known.map(|it| it.set_name(None)).is_some()
    }

    /// Who has this name.
    pub fn whereis(&self, name: &str) -> Option<Arc<dyn Member<E>>> {
        self.0.names.lock().get(name).filter(|it| it.is_alive()).cloned()
    }

    /// To find it again, without keeping it.
    pub fn downgrade(&self) -> WeakSystem<E> {
        WeakSystem(Arc::downgrade(&self.0))
    }

    /// The node its processes are beneath.
    pub fn node(&self) -> &CancelNode {
        self.0.scope.node()
    }

    /// Its clock.
    pub fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// A number that no process, monitor or timer has.
    pub fn next_number(&self) -> u64 {
        self.0.next_number()
    }
}

impl<E: Failure> SystemShared<E> {
    pub(super) fn clock(&self) -> &Clock {
        &self.clock
    }

    pub(super) fn next_number(&self) -> u64 {
        self.hooks.numbers.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(super) fn report(&self, pid: &Arc<dyn Member<E>>, reason: &Reason<E>) {
        debug_assert_eq!(reason.kind, ReasonKind::Error, "only failures are reported");
        (self.hooks.on_crash)(pid, reason);
    }

    pub(super) fn forget_name(&self, name: &str, number: u64) {
        let mut names = self.names.lock();
        let removed = match names.get(name) {
            Some(owner) if owner.number() == number => names.remove(name),
            _ => None,
        };
        drop(names);
        drop(removed);
    }

    pub(super) fn leave(&self, place: WaitKey) {
        let removed = self.members.lock().remove(place);
        drop(removed);
    }

    pub(super) fn arm(self: &Arc<Self>, number: u64, delay: Duration, fire: impl FnOnce() + Send + 'static) {
        let distance = u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX);
        let due = self.clock.now_ns().saturating_add(distance);
        let system = Arc::downgrade(self);
        // Held while the timer is armed: one that fires at once finds itself here, and is forgotten.
        let mut timers = self.timers.lock();
        let action = move || {
            let armed = system.upgrade().and_then(|it| it.timers.lock().remove(&number));
            if armed.is_some() {
                fire();
            }
        };
        timers.insert(number, self.clock.call_at(due, Box::new(action)));
    }

    /// How many of these timers were still armed.
    pub(super) fn disarm(&self, numbers: &[u64]) -> usize {
        if numbers.is_empty() {
            return 0;
        }
        let removed: Vec<ArmedTimer> = {
            let mut timers = self.timers.lock();
            numbers.iter().filter_map(|it| timers.remove(it)).collect()
        };
        removed.len()
    }
}

/// The task of a process: its body, and the end that follows.
struct Living<F, T, M: Send + 'static, E: Failure> {
    /// Dropped before the end is told: whatever it held is released by then.
    body: Option<F>,
    cell: Arc<Cell<M, E>>,
    gives: PhantomData<fn() -> T>,
}

impl<F, T, M, E> Future for Living<F, T, M, E>
where
    F: Future<Output: Into<Outcome<T, E>>> + Unpin,
    M: Send + 'static,
    E: Failure,
    T: Send + Clone + 'static,
{
    type Output = Outcome<T, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome<T, E>> {
        let Some(body) = &mut self.body else { return Poll::Pending };
        let Poll::Ready(ended) = Pin::new(body).poll(cx) else { return Poll::Pending };
        self.body = None;
        let outcome = ended.into();
        self.cell.end(Some(match &outcome {
            Outcome::Ok(_) => Outcome::Ok(()),
            Outcome::Failed(error) => Outcome::Failed(error.clone()),
            Outcome::Cancelled(reason) => Outcome::Cancelled(reason.clone()),
        }));
        Poll::Ready(outcome)
    }
}

impl<F, T, M: Send + 'static, E: Failure> Drop for Living<F, T, M, E> {
    fn drop(&mut self) {
        if let Some(body) = self.body.take() {
            // Given up: cancelled before it began, or over its grace.
            drop(body);
            self.cell.end(None);
        }
    }
}

/// Waits for the end of all processes: see [`System::shut_down`].
#[must_use = "futures do nothing unless polled"]
pub struct ShutDown<E: Failure> {
    system: System<E>,
    timer: Timer,
}

impl<E: Failure> Future for ShutDown<E> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let node = self.system.node().clone();
        let mut drained = node.drained();
        if Pin::new(&mut drained).poll(cx).is_ready() {
            return Poll::Ready(());
        }
        if self.timer.poll_due(cx).is_ready() {
            for task in self.system.0.scope.tasks() {
                task.abort(CancelReason::new(CancelKind::Shutdown, "the process system ended"));
            }
        }
        crate::frame::note_wait(crate::WaitKind::Tasks);
        Poll::Pending
    }
}
