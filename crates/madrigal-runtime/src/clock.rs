//! Time as a parameter: one clock per runtime, real or virtual, and the timers that hang off it.
//! Not here: what a passed deadline means (`deadline.rs`), and when virtual time may jump (the executors).
//! Invariants: `now` never goes back, not even when the clock changes between real and virtual. A timer that was
//! dropped never fires. Real timers are fired by one thread of the clock's own, which exists once a timer does.

mod timers;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parking_lot::{Condvar, Mutex};

use self::timers::{Action, Due, TimerKey, Timers};

/// The clock of one runtime. Clones are the same clock.
#[derive(Clone)]
pub struct Clock(Arc<Shared>);

struct Shared {
    started: Instant,
    /// Mirrors `State::virtual_now.is_some()`, so that reading a real clock takes no lock.
    is_virtual: AtomicBool,
    /// Real time elapsed plus this is `now`, while time is real.
    offset: AtomicI64,
    state: Mutex<State>,
    /// Wakes the timer thread: an earlier timer, a change of mode, the end.
    changed: Condvar,
    /// Called when the last armed timer is gone; the deadlock monitor listens.
    on_idle: Mutex<Option<Box<dyn Fn() + Send + Sync>>>,
}

struct State {
    /// Nanoseconds of virtual time, while time is virtual.
    virtual_now: Option<u64>,
    /// Wall time at a virtual instant: (virtual ns, wall ms), while time is virtual.
    wall: (u64, i64),
    timers: Timers,
    /// Timers taken out whose wake-ups are still being delivered.
    firing: usize,
    /// Pending `advance`s: they let time jump even while outside events are awaited.
    advances: usize,
    has_thread: bool,
    ended: bool,
}

impl Clock {
    /// A clock that follows the machine's.
    pub fn real() -> Clock {
        Clock::new(None, 0)
    }

    /// A clock that stands still at `wall_ms` until it is advanced, or until nothing can run (then it jumps).
    pub fn virtual_at(wall_ms: i64) -> Clock {
        Clock::new(Some(0), wall_ms)
    }

    fn new(virtual_now: Option<u64>, wall_ms: i64) -> Clock {
        Clock(Arc::new(Shared {
            started: Instant::now(),
            is_virtual: AtomicBool::new(virtual_now.is_some()),
            offset: AtomicI64::new(0),
            state: Mutex::new(State {
                virtual_now,
                wall: (0, wall_ms),
                timers: Timers::default(),
                firing: 0,
                advances: 0,
                has_thread: false,
                ended: false,
            }),
            changed: Condvar::new(),
            on_idle: Mutex::new(None),
        }))
    }

    /// Whether time stands still unless moved.
    pub fn is_virtual(&self) -> bool {
        self.0.is_virtual.load(Ordering::Acquire)
    }

    /// Nanoseconds since the clock was made. Never goes back.
    pub fn now_ns(&self) -> u64 {
        if self.is_virtual() { self.0.now(&self.0.state.lock()) } else { self.0.real_now() }
    }

    /// Milliseconds since the clock was made. Never goes back.
    pub fn now_ms(&self) -> u64 {
        self.now_ns() / 1_000_000
    }

    /// Milliseconds since 1970.
    pub fn wall_ms(&self) -> i64 {
        let state = self.0.state.lock();
        match state.virtual_now {
            Some(now) => state.wall.1 + millis(now - state.wall.0),
            None => match SystemTime::now().duration_since(UNIX_EPOCH) {
                Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
                Err(before) => -i64::try_from(before.duration().as_millis()).unwrap_or(i64::MAX),
            },
        }
    }

    /// Switches to virtual time from this instant on, calling it `wall_ms`. Armed timers keep their distance from now.
    pub fn make_virtual(&self, wall_ms: i64) {
        let mut state = self.0.state.lock();
        let now = self.0.now(&state);
        state.virtual_now = Some(now);
        state.wall = (now, wall_ms);
        self.0.is_virtual.store(true, Ordering::Release);
        drop(state);
        self.0.changed.notify_all();
        self.0.report_idle();
    }

    /// Switches to real time; armed timers keep their distance from now.
    pub fn make_real(&self) {
        let mut state = self.0.state.lock();
        let Some(now) = state.virtual_now.take() else {
            return;
        };
        self.0.offset.store(now as i64 - elapsed_ns(self.0.started) as i64, Ordering::Release);
        self.0.is_virtual.store(false, Ordering::Release);
        self.ensure_thread(&mut state);
        drop(state);
        self.0.changed.notify_all();
    }

    /// Waits for `duration`. Dropping the future disarms its timer at once.
    pub fn sleep(&self, duration: Duration) -> Sleep {
        Sleep { timer: Timer::after(self, duration), order: Order::Normal }
    }

    /// Moves virtual time by `duration`: every timer due until then fires in order, and the tasks each one wakes run
    /// until they wait again, before the future ends. On a real clock this waits like a sleep.
    ///
    /// Dropping the future leaves time where it got to.
    pub fn advance(&self, duration: Duration) -> Sleep {
        Sleep { timer: Timer::after(self, duration), order: Order::AfterAllOthers }
    }

    /// Arms a timer that calls `action` on the thread that fires it. Dropping the result disarms it.
    pub(crate) fn call_at(&self, deadline_ns: u64, action: Box<dyn FnOnce() + Send>) -> ArmedTimer {
        let key = self.arm(deadline_ns, Order::Normal, Action::Call(action));
        ArmedTimer { clock: self.clone(), key }
    }

    fn arm(&self, deadline_ns: u64, order: Order, action: Action) -> TimerKey {
        let mut state = self.0.state.lock();
        if order == Order::AfterAllOthers {
            state.advances += 1;
        }
        let (key, is_first) = state.timers.insert(deadline_ns, order == Order::AfterAllOthers, action);
        if state.virtual_now.is_none() {
            self.ensure_thread(&mut state);
            drop(state);
            if is_first {
                self.0.changed.notify_all();
            }
        }
        key
    }

    /// Has an armed timer wake `waker`. `false`: it is not armed any more.
    fn rearm(&self, key: TimerKey, waker: &Waker) -> bool {
        let mut state = self.0.state.lock();
        let known = state.timers.waker_mut(key);
        // The old one is dropped unlocked: it may be the last to know its task.
        let old = known.map(|known| match known.will_wake(waker) {
            true => None,
            false => Some(std::mem::replace(known, waker.clone())),
        });
        drop(state);
        old.is_some()
    }

    fn disarm(&self, key: TimerKey) {
        let (removed, idle) = {
            let mut state = self.0.state.lock();
            let removed = state.timers.remove(key);
            if removed.is_some() && key.after_all_others {
                state.advances -= 1;
            }
            (removed, state.timers.is_empty())
        };
        // The removed action is dropped here, outside the lock: it may own the last clone of a task.
        if removed.is_some() && idle {
            self.0.report_idle();
        }
    }

    /// How many timers are armed.
    pub fn armed(&self) -> usize {
        self.0.state.lock().timers.len()
    }

    /// Whether no timer is armed and none is being fired.
    pub(crate) fn is_idle(&self) -> bool {
        let state = self.0.state.lock();
        state.timers.is_empty() && state.firing == 0
    }

    /// Whether somebody asked time to move and waits until it has.
    pub(crate) fn is_advancing(&self) -> bool {
        self.0.state.lock().advances > 0
    }

    /// Virtual time only, called when nothing can run: moves to the next timer and fires all of that instant.
    ///
    /// While outside events are awaited (`outside_events`) only an `advance` may move time. `false`: nothing to fire.
    pub(crate) fn jump(&self, outside_events: bool) -> bool {
        let due = {
            let mut state = self.0.state.lock();
            let Some(now) = state.virtual_now else {
                return false;
            };
            if outside_events && state.advances == 0 {
                return false;
            }
            let Some(next) = state.timers.next_deadline() else {
                return false;
            };
            state.virtual_now = Some(now.max(next));
            self.0.take_due(&mut state, next)
        };
        let fired = !due.is_empty();
        self.0.fire(due);
        fired
    }

    /// Who to tell when the last timer is gone.
    pub(crate) fn on_idle(&self, listener: Box<dyn Fn() + Send + Sync>) {
        *self.0.on_idle.lock() = Some(listener);
    }

    /// Ends the timer thread. Timers still armed never fire.
    pub(crate) fn end(&self) {
        let timers = {
            let mut state = self.0.state.lock();
            state.ended = true;
            std::mem::take(&mut state.timers)
        };
        self.0.changed.notify_all();
        self.0.on_idle.lock().take();
        drop(timers);
    }

    fn ensure_thread(&self, state: &mut State) {
        if state.has_thread || state.ended || state.timers.is_empty() {
            return;
        }
        state.has_thread = true;
        let shared = self.0.clone();
        std::thread::Builder::new()
            .name("madrigal-timer".into())
            .stack_size(256 * 1024)
            .spawn(move || shared.run_timers())
            .expect("the system can start the timer thread");
    }
}

impl std::fmt::Debug for Clock {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Clock").field("virtual", &self.is_virtual()).finish_non_exhaustive()
    }
}

impl Shared {
    fn now(&self, state: &State) -> u64 {
        match state.virtual_now {
            Some(now) => now,
            None => self.real_now(),
        }
    }

    fn real_now(&self) -> u64 {
        (elapsed_ns(self.started) as i64 + self.offset.load(Ordering::Acquire)).max(0) as u64
    }

    fn take_due(&self, state: &mut State, until_ns: u64) -> Due {
        let due = state.timers.take_due(until_ns);
        state.advances -= due.iter().filter(|(key, _)| key.after_all_others).count();
        state.firing += 1;
        due
    }

    fn fire(&self, due: Due) {
        for (_, action) in due {
            match action {
                Action::Wake(waker) => waker.wake(),
                Action::Call(call) => call(),
            }
        }
        let idle = {
            let mut state = self.state.lock();
            state.firing -= 1;
            state.firing == 0 && state.timers.is_empty()
        };
        if idle {
            self.report_idle();
        }
    }

    fn report_idle(&self) {
        if let Some(listener) = &*self.on_idle.lock() {
            listener();
        }
    }

    fn run_timers(&self) {
        let mut state = self.state.lock();
        while !state.ended {
            let next = state.timers.next_deadline();
            let now = self.now(&state);
            match (state.virtual_now, next) {
                (None, Some(next)) if next <= now => {
                    let due = self.take_due(&mut state, now);
                    drop(state);
                    self.fire(due);
                    state = self.state.lock();
                }
                (None, Some(next)) => {
                    self.changed.wait_for(&mut state, Duration::from_nanos(next - now));
                }
                (Some(_), _) | (None, None) => self.changed.wait(&mut state),
            }
        }
    }
}

fn elapsed_ns(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

fn millis(ns: u64) -> i64 {
    i64::try_from(ns / 1_000_000).unwrap_or(i64::MAX)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    Normal,
    /// Behind every other timer of the same instant.
    AfterAllOthers,
}

/// An armed call-back timer; dropping it disarms it.
pub(crate) struct ArmedTimer {
    clock: Clock,
    key: TimerKey,
}

impl Drop for ArmedTimer {
    fn drop(&mut self) {
        self.clock.disarm(self.key);
    }
}

/// A timer that can be set again and again without an allocation. Dropping it disarms it.
pub struct Timer {
    clock: Clock,
    deadline_ns: u64,
    armed: Option<TimerKey>,
}

impl Timer {
    /// A timer that is due in `duration`; it is armed when first polled.
    pub fn after(clock: &Clock, duration: Duration) -> Timer {
        let mut timer = Timer { clock: clock.clone(), deadline_ns: 0, armed: None };
        timer.reset(duration);
        timer
    }

    /// Makes it due `duration` from now, whatever it was set to before.
    pub fn reset(&mut self, duration: Duration) {
        self.disarm();
        let distance = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.deadline_ns = self.clock.now_ns().saturating_add(distance);
    }

    /// When it is due, in the clock's nanoseconds.
    pub fn deadline_ns(&self) -> u64 {
        self.deadline_ns
    }

    /// Ready once due; otherwise wakes `cx` then.
    pub fn poll_due(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_ordered(cx, Order::Normal)
    }

    fn poll_ordered(&mut self, cx: &mut Context<'_>, order: Order) -> Poll<()> {
        let now = self.clock.now_ns();
        // An advance ends by its timer, never by a glance at the clock: others of its instant may not have run.
        if now >= self.deadline_ns && (order == Order::Normal || self.fired()) {
            self.disarm();
            return Poll::Ready(());
        }
        if !self.armed.is_some_and(|key| self.clock.rearm(key, cx.waker())) {
            self.armed = Some(self.clock.arm(self.deadline_ns, order, Action::Wake(cx.waker().clone())));
        }
        crate::frame::note_wait(crate::WaitKind::Sleep);
        Poll::Pending
    }

    fn fired(&self) -> bool {
        self.armed.is_some_and(|key| !self.clock.0.state.lock().timers.contains(key))
    }

    fn disarm(&mut self) {
        if let Some(key) = self.armed.take() {
            self.clock.disarm(key);
        }
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.disarm();
    }
}

/// Waits for a duration: see [`Clock::sleep`] and [`Clock::advance`].
///
/// Zero ends at the first poll. Dropping it disarms its timer.
#[must_use = "futures do nothing unless polled"]
pub struct Sleep {
    timer: Timer,
    order: Order,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let order = self.order;
        self.timer.poll_ordered(cx, order)
    }
}
