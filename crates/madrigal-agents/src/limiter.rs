//! Rate limits: requests and tokens a minute, requests in flight. Requests beyond a limit wait in the order in which
//! they came. The head of a queue holds the one timer; whoever makes room wakes it.

mod window;

pub use window::Metrics;

use crate::config::Layer;
use madrigal_stdlib::Run;
use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;
use window::{Ticket, Window};

/// A timer under way.
type Alarm = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The limits of a provider; none is unlimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Requests a minute.
    pub rpm: Option<u64>,
    /// Tokens a minute.
    pub tpm: Option<u64>,
    /// Requests in flight.
    pub max_concurrent: Option<u64>,
    /// Where they came from.
    pub source: Layer,
}

/// The limits of a provider at work.
#[derive(Debug)]
pub struct Limiter(Mutex<State>);

#[derive(Debug)]
struct State {
    window: Window,
    wakers: HashMap<Ticket, Waker>,
    /// Granted to waiters that have not been woken yet.
    pumped: Vec<Ticket>,
    /// The head and its turn, as its timer was last set.
    armed: Option<(Ticket, i64)>,
    in_flight: u64,
    /// Who waits for a slot.
    slots: VecDeque<(Ticket, Option<Waker>)>,
    /// Slots given to waiters that have not looked yet.
    given: Vec<Ticket>,
    next_slot: Ticket,
}

/// What `llm_rate_limit(provider, "status")` tells.
#[derive(Clone, Copy, Debug)]
pub struct Status {
    /// The limits.
    pub limits: Limits,
    /// Permits granted in the last minute.
    pub in_window: usize,
    /// Their tokens.
    pub tokens_in_window: u64,
    /// Requests in flight.
    pub in_flight: u64,
    /// Waiters, for slots and permits.
    pub waiting: usize,
    /// How long until the next permit.
    pub next_grant_ms: i64,
}

/// A permit that was granted.
#[derive(Clone, Copy, Debug)]
pub struct Permit {
    ticket: Ticket,
    /// How long it was waited for.
    pub waited_ms: u64,
    /// How many waited when it was asked for, itself included.
    pub queue_depth: usize,
}

impl Limiter {
    /// A limiter that has granted nothing yet.
    pub fn new(limits: Limits) -> Limiter {
        Limiter(Mutex::new(State {
            window: Window::new(limits),
            wakers: HashMap::new(),
            pumped: Vec::new(),
            armed: None,
            in_flight: 0,
            slots: VecDeque::new(),
            given: Vec::new(),
            next_slot: 0,
        }))
    }

    /// The limits as they are.
    pub fn limits(&self) -> Limits {
        self.0.lock().window.limits
    }

    /// Changes the limits. What was granted in the last minute stays counted; waiters proceed as far as they now may.
    pub fn set(&self, limits: Limits, now: i64) {
        self.change(now, |state| state.window.limits = limits);
    }

    /// What happened so far.
    pub fn metrics(&self) -> Metrics {
        self.0.lock().window.metrics
    }

    /// How things stand.
    pub fn status(&self, now: i64) -> Status {
        let mut state = self.0.lock();
        let (in_window, tokens_in_window, next_grant_ms) = state.window.usage(now);
        Status {
            limits: state.window.limits,
            in_window,
            tokens_in_window,
            in_flight: state.in_flight,
            waiting: state.window.waiting() + state.slots.len(),
            next_grant_ms,
        }
    }

    /// Nobody starts for `time`.
    pub fn pause(&self, time: Duration, now: i64) {
        let until = now.saturating_add(i64::try_from(time.as_millis()).unwrap_or(i64::MAX));
        self.change(now, |state| state.window.pause(until, now));
    }

    /// The tokens a request really took.
    pub fn settle(&self, permit: Permit, tokens: u64, now: i64) {
        self.change(now, |state| state.window.settle(permit.ticket, tokens));
    }

    /// Changes something and wakes whoever may now go on.
    fn change<T>(&self, now: i64, change: impl FnOnce(&mut State) -> T) -> T {
        let (result, wakers) = {
            let mut state = self.0.lock();
            let result = change(&mut state);
            (result, state.advance(now))
        };
        wakers.into_iter().for_each(Waker::wake);
        result
    }

    /// Waits for a permit for a request of so many tokens. Dropping the future leaves the queue and takes none.
    pub async fn permit(self: &Arc<Self>, run: &Arc<Run>, tokens: u64) -> Permit {
        let now = run.now_monotonic();
        let (ticket, queue_depth) = self.change(now, |state| {
            let ticket = state.window.join(tokens, now);
            (ticket, state.window.waiting())
        });
        let mut waiting = Waiting { limiter: Arc::clone(self), run: Arc::clone(run), ticket, slot: false, done: false };
        let mut timer: Option<(i64, Alarm)> = None;
        let waited_ms = poll_fn(|cx| {
            loop {
                let now = run.now_monotonic();
                let (waited, turn) = self.change(now, |state| {
                    state.window.pump(now).iter().filter(|it| **it != ticket).for_each(|it| state.pumped.push(*it));
                    let waited = state.window.taken(ticket);
                    if waited.is_none() {
                        state.wakers.insert(ticket, cx.waker().clone());
                    }
                    (waited, state.window.turn_of(ticket, now))
                });
                if let Some(waited) = waited {
                    return Poll::Ready(waited);
                }
                // Only the head has a timer, and only one that fires when its turn comes.
                let Some(at) = turn else { return Poll::Pending };
                if timer.as_ref().is_none_or(|it| it.0 != at) {
                    let (run, time) = (Arc::clone(run), Duration::from_millis(u64::try_from(at - now).unwrap_or(0)));
                    timer = Some((at, Box::pin(async move { run.sleep(time).await })));
                }
                match timer.as_mut().map(|it| it.1.as_mut().poll(cx)) {
                    Some(Poll::Ready(())) => timer = None,
                    _ => return Poll::Pending,
                }
            }
        })
        .await;
        waiting.done = true;
        Permit { ticket, waited_ms, queue_depth }
    }

    /// Waits for room for one more request in flight. Dropping the future leaves the queue.
    pub async fn slot(self: &Arc<Self>, run: &Arc<Run>) -> Slot {
        let now = run.now_monotonic();
        let ticket = self.change(now, |state| {
            state.next_slot += 1;
            state.slots.push_back((state.next_slot, None));
            state.next_slot
        });
        let mut waiting = Waiting { limiter: Arc::clone(self), run: Arc::clone(run), ticket, slot: true, done: false };
        poll_fn(|cx| {
            let mut state = self.0.lock();
            if let Some(at) = state.given.iter().position(|it| *it == ticket) {
                state.given.swap_remove(at);
                return Poll::Ready(());
            }
            if let Some(waiter) = state.slots.iter_mut().find(|it| it.0 == ticket) {
                waiter.1 = Some(cx.waker().clone());
            }
            Poll::Pending
        })
        .await;
        waiting.done = true;
        Slot { limiter: Arc::clone(self), run: Arc::clone(run) }
    }
}

impl State {
    /// Grants what can be granted; whom to wake.
    fn advance(&mut self, now: i64) -> Vec<Waker> {
        let mut wakers = Vec::new();
        let limit = self.window.limits.max_concurrent.unwrap_or(u64::MAX);
        while self.in_flight < limit
            && let Some((ticket, waker)) = self.slots.pop_front()
        {
            self.in_flight += 1;
            self.given.push(ticket);
            wakers.extend(waker);
        }
        let pumped = std::mem::take(&mut self.pumped).into_iter().chain(self.window.pump(now));
        wakers.extend(pumped.filter_map(|it| self.wakers.remove(&it)));
        // The head arms a timer for its turn whenever that changed.
        let head = self.window.head().and_then(|it| Some((it, self.window.turn_of(it, now)?)));
        if head != self.armed {
            self.armed = head;
            wakers.extend(head.and_then(|it| self.wakers.get(&it.0).cloned()));
        }
        wakers
    }
}

/// A place in a queue, left when dropped before its turn came.
struct Waiting {
    limiter: Arc<Limiter>,
    run: Arc<Run>,
    ticket: Ticket,
    slot: bool,
    done: bool,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        let (ticket, slot) = (self.ticket, self.slot);
        self.limiter.change(self.run.now_monotonic(), |state| {
            if !slot {
                state.wakers.remove(&ticket);
                return state.window.leave(ticket);
            }
            state.slots.retain(|it| it.0 != ticket);
            if let Some(at) = state.given.iter().position(|it| *it == ticket) {
                state.given.swap_remove(at);
                state.in_flight -= 1;
            }
        });
    }
}

/// Room for one request in flight, given back when dropped.
pub struct Slot {
    limiter: Arc<Limiter>,
    run: Arc<Run>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.limiter.change(self.run.now_monotonic(), |state| state.in_flight -= 1);
    }
}
