//! One process: its mailbox, its bonds to others, its death. Not here: where it belongs (`system.rs`).
//! Invariants: one lock per process, never two at once. A process ends once: whoever adds a bond later learns of the
//! end instead. A link exists while both ends hold it, and a signal through a link that one end gave up is nothing.

use std::any::Any;
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use parking_lot::Mutex;

use super::mailbox::{Mailbox, Received};
use super::member::{Member, Monitor, Monitoring, Watch, WatchKey};
use super::reason::{Reason, ReasonKind};
use super::system::{System, SystemShared};
use crate::cancel::{CancelKind, CancelReason};
use crate::clock::Timer;
use crate::failure::Failure;
use crate::task::{Outcome, TaskRef};
use crate::wait_list::{WaitKey, WaitList};
use crate::waiting::WaitKind;

pub(super) struct Cell<M, E: Failure> {
    pub(super) number: u64,
    pub(super) system: Arc<SystemShared<E>>,
    this: Weak<Cell<M, E>>,
    state: Mutex<State<M, E>>,
}

struct State<M, E> {
    mailbox: Mailbox<M, E>,
    /// Of the receive going on.
    waker: Option<Waker>,
    task: Option<TaskRef>,
    life: Life<E>,
    trap_exit: bool,
    /// Somebody else reports its failure.
    seen: bool,
    /// Its place among the members of its system.
    place: Option<WaitKey>,
    bonds: Option<Box<Bonds<E>>>,
}

enum Life<E> {
    Alive,
    /// It was told to end, for this reason.
    Exiting(Box<Reason<E>>),
    Ended(Box<Reason<E>>),
}

/// What few processes have.
struct Bonds<E> {
    links: BTreeMap<u64, Arc<dyn Member<E>>>,
    watches: WaitList<Arc<dyn Watch<E>>>,
    /// Those it monitors, by the number of the monitor.
    monitors: BTreeMap<u64, Arc<dyn Member<E>>>,
    timers: Vec<u64>,
    name: Option<Arc<str>>,
}

impl<E> Default for Bonds<E> {
    fn default() -> Self {
        Bonds {
            links: BTreeMap::new(),
            watches: WaitList::default(),
            monitors: BTreeMap::new(),
            timers: Vec::new(),
            name: None,
        }
    }
}

impl<M: Send + 'static, E: Failure> Cell<M, E> {
    pub(super) fn new(number: u64, system: Arc<SystemShared<E>>, seen: bool) -> Arc<Cell<M, E>> {
        let state = State {
            mailbox: Mailbox::new(),
            waker: None,
            task: None,
            life: Life::Alive,
            trap_exit: false,
            seen,
            place: None,
            bonds: None,
        };
        Arc::new_cyclic(|this| Cell { number, system, this: this.clone(), state: Mutex::new(state) })
    }

    fn this(&self) -> Arc<Cell<M, E>> {
        self.this.upgrade().expect("called through a strong reference")
    }

    fn member(&self) -> Arc<dyn Member<E>> {
        self.this()
    }

    pub(super) fn born(&self, task: TaskRef, place: Option<WaitKey>) {
        let mut state = self.state.lock();
        state.task = Some(task);
        state.place = place;
    }

    /// `false` when it has ended.
    fn push(&self, message: Received<M, E>) -> bool {
        let mut state = self.state.lock();
        if matches!(state.life, Life::Ended(_)) {
            drop(state);
            drop(message);
            return false;
        }
        state.mailbox.push(message);
        let waker = state.waker.take();
        drop(state);
        waker.into_iter().for_each(Waker::wake);
        true
    }

    /// Tells it to end. The first reason wins; the task is cancelled all the same.
    fn die(&self, reason: Reason<E>) {
        let orderly = reason.kind == ReasonKind::Shutdown;
        let task = {
            let mut state = self.state.lock();
            if matches!(state.life, Life::Alive) {
                state.life = Life::Exiting(Box::new(reason));
            }
            state.task.clone()
        };
        if let Some(task) = task {
            let kind = if orderly { CancelKind::Shutdown } else { CancelKind::Cancel };
            task.cancel(CancelReason::new(kind, "exit"));
        }
    }

    /// An exit signal arrives.
    fn signalled(&self, from: Option<Arc<dyn Member<E>>>, reason: Reason<E>) {
        let itself = from.as_ref().is_some_and(|it| it.number() == self.number);
        let trapping = self.state.lock().trap_exit;
        if trapping {
            self.push(Received::Exit { from, reason });
        } else if !reason.is_normal() || itself {
            self.die(reason);
        }
    }

    /// The end. Frees the name, disarms timers, tells linked and watching ones.
    pub(super) fn end(&self, outcome: Option<Outcome<(), E>>) {
        let (reason, bonds, left, place, seen) = {
            let mut state = self.state.lock();
            let reason = match std::mem::replace(&mut state.life, Life::Alive) {
                Life::Exiting(reason) => *reason,
                ended @ Life::Ended(_) => {
                    state.life = ended;
                    return;
                }
                Life::Alive => reason_of(outcome),
            };
            state.life = Life::Ended(Box::new(reason.clone()));
            let left = (state.mailbox.clear(), state.waker.take(), state.task.take());
            (reason, state.bonds.take(), left, state.place.take(), state.seen)
        };
        drop(left);
        let this = self.member();
        let unseen = bonds.as_ref().is_none_or(|it| it.links.is_empty() && it.watches.is_empty());
        if let Some(bonds) = bonds {
            let Bonds { links, mut watches, monitors, timers, name } = *bonds;
            if let Some(name) = name {
                self.system.forget_name(&name, self.number);
            }
            self.system.disarm(&timers);
            drop(monitors);
            for other in links.into_values() {
                other.link_ended(&this, reason.clone());
            }
            while let Some(watch) = watches.pop_front() {
                watch.ended(this.clone(), reason.clone());
            }
        }
        if unseen && !seen && reason.kind == ReasonKind::Error {
            self.system.report(&this, &reason);
        }
        if let Some(place) = place {
            self.system.leave(place);
        }
    }
}

fn reason_of<E: Failure>(outcome: Option<Outcome<(), E>>) -> Reason<E> {
    match outcome {
        Some(Outcome::Ok(())) => Reason::normal(),
        Some(Outcome::Failed(error)) => Reason::error(error),
        Some(Outcome::Cancelled(reason)) => match reason.kind {
            CancelKind::Cancel => Reason::killed(),
            _ => Reason::shutdown(),
        },
        None if std::thread::panicking() => Reason::error(E::from_panic("a process panicked".to_owned())),
        None => Reason::killed(),
    }
}

impl<M: Send + 'static, E: Failure> Member<E> for Cell<M, E> {
    fn number(&self) -> u64 {
        self.number
    }

    fn is_alive(&self) -> bool {
        !matches!(self.state.lock().life, Life::Ended(_))
    }

    fn task(&self) -> Option<TaskRef> {
        self.state.lock().task.clone()
    }

    fn ended(&self) -> Option<Reason<E>> {
        match &self.state.lock().life {
            Life::Ended(reason) => Some(Reason::clone(reason)),
            Life::Alive | Life::Exiting(_) => None,
        }
    }

    fn exit(&self, from: Option<Arc<dyn Member<E>>>, reason: Reason<E>) {
        match reason.kind {
            ReasonKind::Killed => self.die(reason),
            _ => self.signalled(from, reason),
        }
    }

    fn watch(&self, watch: Arc<dyn Watch<E>>) -> Option<WatchKey> {
        let mut state = self.state.lock();
        if matches!(state.life, Life::Ended(_)) {
            drop(state);
            watch.ended(self.member(), Reason::noproc());
            return None;
        }
        Some(WatchKey(state.bonds.get_or_insert_default().watches.push_back(watch)))
    }

    fn unwatch(&self, key: WatchKey) {
        let removed = self.state.lock().bonds.as_mut().and_then(|it| it.watches.remove(key.0));
        drop(removed);
    }

    fn links(&self) -> Vec<Arc<dyn Member<E>>> {
        let state = self.state.lock();
        state.bonds.as_ref().map(|it| it.links.values().cloned().collect()).unwrap_or_default()
    }

    fn link_ended(&self, other: &Arc<dyn Member<E>>, reason: Reason<E>) {
        let (held, trapping) = {
            let mut state = self.state.lock();
            let held = state.bonds.as_mut().and_then(|it| it.links.remove(&other.number()));
            (held, state.trap_exit)
        };
        if held.is_none() {
            return;
        }
        if trapping {
            self.push(Received::Exit { from: Some(other.clone()), reason });
        } else if !reason.is_normal() {
            self.die(Reason::linked(reason));
        }
    }

    fn add_link(&self, other: Arc<dyn Member<E>>) -> bool {
        let mut state = self.state.lock();
        if matches!(state.life, Life::Ended(_)) {
            return false;
        }
        state.bonds.get_or_insert_default().links.insert(other.number(), other);
        true
    }

    fn remove_link(&self, other: u64) {
        let removed = self.state.lock().bonds.as_mut().and_then(|it| it.links.remove(&other));
        drop(removed);
    }

    fn monitor_fired(&self, monitor: u64, pid: Arc<dyn Member<E>>, reason: Reason<E>) {
        let known = self.state.lock().bonds.as_mut().and_then(|it| it.monitors.remove(&monitor));
        if known.is_some() {
            self.push(Received::Down { monitor, pid, reason });
        }
    }

    fn name(&self) -> Option<Arc<str>> {
        self.state.lock().bonds.as_ref().and_then(|it| it.name.clone())
    }

    fn set_name(&self, name: Option<Arc<str>>) -> Option<Arc<str>> {
        let mut state = self.state.lock();
        if matches!(state.life, Life::Ended(_)) {
            return None;
        }
        std::mem::replace(&mut state.bonds.get_or_insert_default().name, name)
    }

    fn taken_over(&self) {
        let place = self.state.lock().place.take();
        if let Some(place) = place {
            self.system.leave(place);
        }
    }

    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}

/// A process as others know it. Clones are the same process; dropping one changes nothing for it.
pub struct Pid<M, E: Failure>(pub(super) Arc<Cell<M, E>>);

impl<M, E: Failure> Clone for Pid<M, E> {
    fn clone(&self) -> Self {
        Pid(self.0.clone())
    }
}

impl<M, E: Failure> PartialEq for Pid<M, E> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl<M: Send + 'static, E: Failure> Pid<M, E> {
    /// The process of this type behind `member`.
    pub fn of(member: Arc<dyn Member<E>>) -> Option<Pid<M, E>> {
        member.into_any().downcast::<Cell<M, E>>().ok().map(Pid)
    }

    /// Its number.
    pub fn number(&self) -> u64 {
        self.0.number
    }

    /// As one process among others of any type.
    pub fn member(&self) -> Arc<dyn Member<E>> {
        self.0.clone()
    }

    /// Puts a message in its mailbox, which has no bound. `false` when it has ended.
    pub fn send(&self, message: M) -> bool {
        self.0.push(Received::Message(message))
    }

    /// Puts a message in its mailbox after `delay`, unless it has ended or the timer was cancelled; the timer's number.
    pub fn send_after(&self, delay: Duration, message: M) -> u64 {
        let timer = self.0.system.next_number();
        {
            let mut state = self.0.state.lock();
            if matches!(state.life, Life::Ended(_)) {
                return timer;
            }
            state.bonds.get_or_insert_default().timers.push(timer);
        }
        let target = Arc::downgrade(&self.0);
        self.0.system.arm(timer, delay, move || {
            if let Some(target) = target.upgrade() {
                target.timer_fired(timer);
                target.push(Received::Message(message));
            }
        });
        timer
    }

    /// Disarms a timer of `send_after`; `false` when it has fired or was disarmed.
    pub fn cancel_timer(&self, timer: u64) -> bool {
        self.0.timer_fired(timer);
        self.0.system.disarm(&[timer]) > 0
    }

    /// Whether it has not ended.
    pub fn is_alive(&self) -> bool {
        self.0.is_alive()
    }

    /// Sends it an exit signal from nobody: see [`Process::exit`].
    pub fn exit(&self, reason: Reason<E>) {
        Member::exit(&*self.0, None, reason);
    }

    /// Whether it gets exit signals as messages.
    pub fn is_trapping_exits(&self) -> bool {
        self.0.state.lock().trap_exit
    }

    /// How many messages wait in its mailbox.
    pub fn mailbox_len(&self) -> usize {
        self.0.state.lock().mailbox.len()
    }

    /// Those it monitors, in the order it began to.
    pub fn monitored(&self) -> Vec<Arc<dyn Member<E>>> {
        let state = self.0.state.lock();
        state.bonds.as_ref().map(|it| it.monitors.values().cloned().collect()).unwrap_or_default()
    }

    /// Whether somebody else reports its failure, from now on.
    pub fn set_seen(&self, seen: bool) {
        self.0.state.lock().seen = seen;
    }

    /// The system it belongs to.
    pub fn system(&self) -> System<E> {
        System(self.0.system.clone())
    }
}

impl<M, E: Failure> Cell<M, E> {
    fn timer_fired(&self, timer: u64) {
        if let Some(bonds) = &mut self.state.lock().bonds {
            bonds.timers.retain(|it| *it != timer);
        }
    }
}

/// A process as it knows itself: what its body may do. Belongs inside the body; dropping it does not end the process.
pub struct Process<M, E: Failure>(pub(super) Arc<Cell<M, E>>);

impl<M, E: Failure> Clone for Process<M, E> {
    fn clone(&self) -> Self {
        Process(self.0.clone())
    }
}

impl<M: Send + 'static, E: Failure> Process<M, E> {
    /// Its pid, to hand around.
    pub fn pid(&self) -> Pid<M, E> {
        Pid(self.0.clone())
    }

    /// The first message, if there is one now.
    pub fn try_recv(&self) -> Option<Received<M, E>> {
        self.0.state.lock().mailbox.pop()
    }

    /// Waits for the first message. Dropping the future takes nothing.
    pub fn recv(&self) -> Recv<M, E> {
        Recv(self.recv_within(None))
    }

    /// As `recv`, for at most `time` if there is one; none when it passes.
    pub fn recv_within(&self, time: Option<Duration>) -> RecvWithin<M, E> {
        let timer = time.map(|time| Timer::after(self.0.system.clock(), time));
        RecvWithin { cell: self.0.clone(), timer }
    }

    /// Waits for the first message that `wanted` holds for; the others keep their order. Each is looked at once.
    ///
    /// `wanted` runs under the lock of the mailbox and must not touch processes. Dropping the future takes nothing.
    pub async fn recv_match(&self, mut wanted: impl FnMut(&Received<M, E>) -> bool) -> Received<M, E> {
        let mut seen = 0;
        poll_fn(|cx| {
            let mut state = self.0.state.lock();
            if let Some(found) = state.mailbox.take_where(seen, &mut wanted) {
                return Poll::Ready(found);
            }
            seen = state.mailbox.last();
            state.park(cx)
        })
        .await
    }

    /// The first message after the one with number `seen` (0: the first of all), with its number.
    pub fn peek_after(&self, seen: u64) -> Option<(u64, Received<M, E>)>
    where
        M: Clone,
    {
        self.0.state.lock().mailbox.next_after(seen).cloned()
    }

    /// Waits until there is a message after the one with number `seen`, for at most `time` if there is one.
    pub fn arrival(&self, seen: u64, time: Option<Duration>) -> impl Future<Output = ()> + Send + use<M, E> {
        let cell = self.0.clone();
        let mut timer = time.map(|time| Timer::after(cell.system.clock(), time));
        poll_fn(move |cx| {
            let parked = {
                let mut state = cell.state.lock();
                match state.mailbox.next_after(seen) {
                    Some(_) => return Poll::Ready(()),
                    None => state.park(cx),
                }
            };
            timer.as_mut().map_or(parked, |it| it.poll_due(cx))
        })
    }

    /// Takes out the message with this number.
    pub fn take(&self, number: u64) -> Option<Received<M, E>> {
        self.0.state.lock().mailbox.take(number)
    }

    /// Ends this process: its task is cancelled, so cleanups run. For the first reason only.
    pub fn exit(&self, reason: Reason<E>) {
        self.0.die(reason);
    }

    /// The reason it was told to end for, if it was.
    pub fn exiting(&self) -> Option<Reason<E>> {
        match &self.0.state.lock().life {
            Life::Exiting(reason) | Life::Ended(reason) => Some(Reason::clone(reason)),
            Life::Alive => None,
        }
    }

    /// Settles why this process ends, once its body does.
    pub fn end_with(&self, reason: Reason<E>) {
        let mut state = self.0.state.lock();
        if matches!(state.life, Life::Alive) {
            state.life = Life::Exiting(Box::new(reason));
        }
    }

    /// Whether exit signals arrive as messages from now on; how it was.
    pub fn trap_exit(&self, trap: bool) -> bool {
        std::mem::replace(&mut self.0.state.lock().trap_exit, trap)
    }

    /// Links this process with another: the abnormal end of one reaches the other. An ended one counts as `noproc`.
    pub fn link(&self, other: &Arc<dyn Member<E>>) {
        let this: Arc<dyn Member<E>> = self.0.clone();
        if other.number() == self.0.number || !self.0.add_link(other.clone()) {
            return;
        }
        if !other.add_link(this) {
            self.0.link_ended(other, Reason::noproc());
        }
    }

    /// Undoes a link, on both sides.
    pub fn unlink(&self, other: &Arc<dyn Member<E>>) {
        self.0.remove_link(other.number());
        other.remove_link(self.0.number);
    }

    /// Has the end of `target` arrive as a message, exactly once; at once when it has ended.
    pub fn monitor(&self, target: &Arc<dyn Member<E>>) -> Monitor<E> {
        let number = self.0.system.next_number();
        self.0.state.lock().bonds.get_or_insert_default().monitors.insert(number, target.clone());
        let watcher: Arc<dyn Member<E>> = self.0.clone();
        let key = target.watch(Arc::new(Monitoring { number, watcher: Arc::downgrade(&watcher) }));
        Monitor { number, target: Arc::downgrade(target), key }
    }

    /// Undoes a monitor; with `flush` its message is taken out of the mailbox when it has come already.
    pub fn demonitor(&self, monitor: &Monitor<E>, flush: bool) {
        let known = {
            let mut state = self.0.state.lock();
            let known = state.bonds.as_mut().and_then(|it| it.monitors.remove(&monitor.number));
            let is_it =
                |it: &Received<M, E>| matches!(it, Received::Down { monitor: number, .. } if *number == monitor.number);
            let flushed = if flush && known.is_none() { state.mailbox.take_where(0, is_it) } else { None };
            drop(state);
            drop(flushed);
            known
        };
        if let (Some(_), Some(target), Some(key)) = (known, monitor.target.upgrade(), monitor.key) {
            target.unwatch(key);
        }
    }
}

impl<M, E> State<M, E> {
    fn park<T>(&mut self, cx: &Context<'_>) -> Poll<T> {
        match &mut self.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        crate::frame::note_wait(WaitKind::Receive);
        Poll::Pending
    }
}

/// Waits for a message: see [`Process::recv`].
#[must_use = "futures do nothing unless polled"]
pub struct Recv<M, E: Failure>(RecvWithin<M, E>);

impl<M: Send + 'static, E: Failure> Future for Recv<M, E> {
    type Output = Received<M, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Received<M, E>> {
        Pin::new(&mut self.0).poll(cx).map(|it| it.expect("without a timer it does not give up"))
    }
}

/// Waits for a message for some time: see [`Process::recv_within`].
#[must_use = "futures do nothing unless polled"]
pub struct RecvWithin<M, E: Failure> {
    cell: Arc<Cell<M, E>>,
    timer: Option<Timer>,
}

impl<M: Send + 'static, E: Failure> Future for RecvWithin<M, E> {
    type Output = Option<Received<M, E>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Received<M, E>>> {
        let parked = {
            let mut state = self.cell.state.lock();
            match state.mailbox.pop() {
                Some(message) => return Poll::Ready(Some(message)),
                None => state.park(cx),
            }
        };
        match self.timer.as_mut().map(|it| it.poll_due(cx)) {
            Some(Poll::Ready(())) => Poll::Ready(None),
            Some(Poll::Pending) | None => parked,
        }
    }
}
