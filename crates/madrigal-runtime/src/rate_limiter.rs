//! A budget of starts per period, exact and fair. Invariant: in no window of one period do more than `limit` starts lie;
//! only the first in line has a timer, everybody else waits for it to go on.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use parking_lot::Mutex;

use crate::clock::{Clock, Timer};
use crate::sync::line::Line;
use crate::wait_list::WaitKey;

/// Lets at most so many start in any window of a period: a sliding window, first come, first served.
///
/// A start counts from when it was granted, whatever becomes of it. Clones are the same limiter.
///
/// ```
/// use madrigal_runtime::{RateLimiter, Runtime, TaskError};
/// use std::time::Duration;
///
/// let runtime = Runtime::simulated(1);
/// let limiter = RateLimiter::new(runtime.clock(), 2, Duration::from_secs(60));
/// let clock = runtime.clock().clone();
/// let took = runtime.run(async move || {
///     for _ in 0..5 {
///         limiter.acquire().await;
///     }
///     Ok::<_, TaskError>(clock.now_ms())
/// });
/// assert_eq!(took.unwrap(), 120_000);
/// ```
#[derive(Clone)]
pub struct RateLimiter(Arc<Shared>);

struct Shared {
    clock: Clock,
    state: Mutex<State>,
}

struct State {
    limit: usize,
    period_ns: u64,
    /// When the starts that still count were granted.
    granted: VecDeque<u64>,
    /// Waiters by ticket; never served from outside, only moved up.
    line: Line<u64, ()>,
    last_ticket: u64,
}

impl State {
    /// Forgets the starts that count no more; the time until there is room, if there is none now.
    fn wait_ns(&mut self, now: u64) -> Option<u64> {
        while self.granted.front().is_some_and(|at| at.saturating_add(self.period_ns) <= now) {
            self.granted.pop_front();
        }
        if self.granted.len() < self.limit {
            return None;
        }
        let leaving = self.granted.get(self.granted.len() - self.limit.max(1))?;
        Some(leaving.saturating_add(self.period_ns) - now)
    }
}

impl RateLimiter {
    /// At most `limit` starts, and at least one, in any window of `period`.
    pub fn new(clock: &Clock, limit: usize, period: Duration) -> RateLimiter {
        let period_ns = u64::try_from(period.as_nanos()).unwrap_or(u64::MAX);
        let (granted, line) = (VecDeque::new(), Line::default());
        let state = State { limit: limit.max(1), period_ns, granted, line, last_ticket: 0 };
        RateLimiter(Arc::new(Shared { clock: clock.clone(), state: Mutex::new(state) }))
    }

    /// Changes the limit. Starts already granted keep counting; who waits is served at once where that is possible now.
    pub fn set_limit(&self, limit: usize) {
        let front = {
            let mut state = self.0.state.lock();
            state.limit = limit.max(1);
            state.line.front_waker()
        };
        front.into_iter().for_each(Waker::wake);
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.0.state.lock().line.len()
    }

    /// How many starts count at present.
    pub fn in_window(&self) -> usize {
        let now = self.0.clock.now_ns();
        let mut state = self.0.state.lock();
        state.wait_ns(now);
        state.granted.len()
    }

    /// Takes a start without waiting, if there is room and nobody waits.
    pub fn try_acquire(&self) -> bool {
        let now = self.0.clock.now_ns();
        let mut state = self.0.state.lock();
        if !state.line.is_empty() || state.wait_ns(now).is_some() {
            return false;
        }
        state.granted.push_back(now);
        true
    }

    /// Waits for a start. Dropping the future takes none, and lets those behind it move up.
    pub fn acquire(&self) -> RateAcquire {
        RateAcquire { limiter: self.clone(), parked: None, timer: None }
    }
}

impl fmt::Debug for RateLimiter {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.0.state.lock();
        let mut debug = out.debug_struct("RateLimiter");
        debug.field("limit", &state.limit).field("waiting", &state.line.len()).finish_non_exhaustive()
    }
}

/// Waits for a start: see [`RateLimiter::acquire`].
#[must_use = "futures do nothing unless polled"]
pub struct RateAcquire {
    limiter: RateLimiter,
    parked: Option<(WaitKey, u64)>,
    timer: Option<Timer>,
}

impl Future for RateAcquire {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let shared = &this.limiter.0;
        let wait_ns = {
            let now = shared.clock.now_ns();
            let mut state = shared.state.lock();
            let is_first = match this.parked {
                Some((_, ticket)) => state.line.front() == Some(&ticket),
                None => state.line.is_empty(),
            };
            let wait_ns = state.wait_ns(now);
            if is_first && wait_ns.is_none() {
                state.granted.push_back(now);
                let left = this.parked.take().and_then(|(key, _)| state.line.leave(key));
                let next = state.line.front_waker();
                drop(state);
                drop(left);
                this.timer = None;
                next.into_iter().for_each(Waker::wake);
                return Poll::Ready(());
            }
            match this.parked {
                Some((key, _)) => {
                    let _ = state.line.poll(key, cx);
                }
                None => {
                    state.last_ticket += 1;
                    let ticket = state.last_ticket;
                    this.parked = Some((state.line.join(cx, ticket), ticket));
                }
            }
            is_first.then_some(wait_ns).flatten()
        };
        crate::frame::note_wait(crate::WaitKind::Sleep);
        if let Some(wait_ns) = wait_ns {
            let wait = Duration::from_nanos(wait_ns);
            let mut timer = Timer::after(&shared.clock, wait);
            if timer.poll_due(cx).is_ready() {
                cx.waker().wake_by_ref();
            }
            this.timer = Some(timer);
        }
        Poll::Pending
    }
}

impl Drop for RateAcquire {
    fn drop(&mut self) {
        let Some((key, _)) = self.parked else { return };
        let (left, next) = {
            let mut state = self.limiter.0.state.lock();
            (state.line.leave(key), state.line.front_waker())
        };
        drop(left);
        next.into_iter().for_each(Waker::wake);
    }
}
