//! Waiting for entries and for room. The shape of every wait: take a place in line, look, and only then sleep; so a push
//! that completes before or during a wait is seen by it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::{InboxEntry, InboxHub, NewEntry, Overflow, PushError, Room, Session, State};
use crate::clock::Timer;
use crate::frame::note_wait;
use crate::wait_list::WaitKey;
use crate::waiting::WaitKind;

/// How a wait for an entry ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitOutcome {
    /// An entry is ready.
    Ready,
    /// Time has passed.
    TimedOut,
    /// The session was cleared.
    Cleared,
    /// The session was closed.
    Closed,
}

/// A thread that runs tasks must not be blocked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("wait_sync would block the thread that runs tasks")]
pub struct NotHere;

/// What a wait without a match learns from the state.
fn interrupted(state: &State, clears: u64) -> Option<WaitOutcome> {
    match (state.closed, state.clears != clears) {
        (true, _) => Some(WaitOutcome::Closed),
        (false, true) => Some(WaitOutcome::Cleared),
        (false, false) => None,
    }
}

/// Waits for an entry: see [`Inbox::wait_async`](super::Inbox::wait_async).
#[must_use = "futures do nothing unless polled"]
pub struct InboxWait<F> {
    hub: InboxHub,
    session: Arc<Session>,
    wanted: Option<F>,
    timer: Option<Timer>,
    /// How often the session had been cleared when the wait began.
    clears: u64,
    parked: Option<WaitKey>,
}

impl<F> Unpin for InboxWait<F> {}

impl<F> InboxWait<F> {
    pub(super) fn new(
        hub: InboxHub,
        session: Arc<Session>,
        wanted: Option<F>,
        timeout: Option<Duration>,
    ) -> InboxWait<F> {
        let timer = timeout.map(|time| Timer::after(&hub.config().clock, time));
        let clears = session.state.lock().clears;
        InboxWait { hub, session, wanted, timer, clears, parked: None }
    }

    /// Goes to the end of the line, unless it is in it.
    fn park(&mut self, cx: &Context<'_>) {
        let mut state = self.session.state.lock();
        if let Some(key) = self.parked
            && state.waiters.poll(key, cx).is_pending()
        {
            return;
        }
        self.parked = Some(state.waiters.join(cx, ()));
    }

    fn leave(&mut self) {
        if let Some(key) = self.parked.take() {
            let left = self.session.state.lock().waiters.leave(key);
            drop(left);
        }
    }
}

impl<F: FnMut(&InboxEntry) -> bool> InboxWait<F> {
    fn look(&mut self) -> Option<WaitOutcome> {
        let state = self.session.state.lock();
        let interruption = interrupted(&state, self.clears);
        let Some(wanted) = &mut self.wanted else {
            return if state.queue.len() > 0 { Some(WaitOutcome::Ready) } else { interruption };
        };
        let entries = state.queue.snapshot();
        drop(state);
        if entries.iter().any(wanted) { Some(WaitOutcome::Ready) } else { interruption }
    }
}

impl<F: FnMut(&InboxEntry) -> bool> Future for InboxWait<F> {
    type Output = WaitOutcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<WaitOutcome> {
        let this = &mut *self;
        this.park(cx);
        let due = this.timer.as_mut().is_some_and(|timer| timer.poll_due(cx).is_ready());
        let outcome = this.look().or(due.then_some(WaitOutcome::TimedOut));
        if let Some(outcome) = outcome {
            this.leave();
            return Poll::Ready(outcome);
        }
        // With producers outside, only they know whether it can ever end.
        let kind = if this.hub.config().outside_producers { WaitKind::Unknown } else { WaitKind::Inbox };
        note_wait(kind);
        Poll::Pending
    }
}

impl<F> Drop for InboxWait<F> {
    fn drop(&mut self) {
        self.leave();
    }
}

pub(super) fn wait_sync(session: &Session, timeout: Duration) -> Result<WaitOutcome, NotHere> {
    if crate::frame::current().is_some() {
        return Err(NotHere);
    }
    let until = Instant::now().checked_add(timeout);
    let mut state = session.state.lock();
    let clears = state.clears;
    state.threads += 1;
    let outcome = loop {
        if state.queue.len() > 0 {
            break WaitOutcome::Ready;
        }
        if let Some(outcome) = interrupted(&state, clears) {
            break outcome;
        }
        let Some(until) = until else {
            session.changed.wait(&mut state);
            continue;
        };
        if session.changed.wait_until(&mut state, until).timed_out() {
            break if state.queue.len() > 0 { WaitOutcome::Ready } else { WaitOutcome::TimedOut };
        }
    };
    state.threads -= 1;
    Ok(outcome)
}

/// Waits for room and pushes: see [`InboxHub::push`].
#[must_use = "futures do nothing unless polled"]
pub struct InboxPush {
    hub: InboxHub,
    id: String,
    entry: NewEntry,
    timer: Option<Timer>,
    waits: bool,
    /// The session it waits for room in, its place in line, and its ticket.
    parked: Option<(Arc<Session>, WaitKey, u64)>,
}

impl InboxPush {
    pub(super) fn new(hub: InboxHub, id: String, entry: NewEntry, wait: Option<Duration>) -> InboxPush {
        let waits = wait.is_some() || hub.config().overflow == Overflow::Block;
        let timer = wait.map(|time| Timer::after(&hub.config().clock, time));
        InboxPush { hub, id, entry, timer, waits, parked: None }
    }

    fn leave(&mut self) {
        if let Some((session, key, _)) = self.parked.take() {
            // Wakes the next in line: it may have been the first.
            let left = session.change(|state| state.pushers.leave(key));
            drop(left);
        }
    }

    fn attempt(&self, session: &Session) -> Result<u64, PushError> {
        let room = self.parked.as_ref().map_or(Room::Needed, |(_, _, ticket)| Room::Ticket(*ticket));
        self.hub.push_into(session, &self.entry, room)
    }

    fn park(&mut self, session: &Arc<Session>, cx: &Context<'_>) {
        let mut state = session.state.lock();
        if let Some((_, key, _)) = &self.parked {
            let _ = state.pushers.poll(*key, cx);
            return;
        }
        state.last_ticket += 1;
        let ticket = state.last_ticket;
        let key = state.pushers.join(cx, ticket);
        drop(state);
        self.parked = Some((session.clone(), key, ticket));
    }
}

impl Future for InboxPush {
    type Output = Result<u64, PushError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if let Err(refused) = this.hub.check_size(&this.entry) {
            return Poll::Ready(Err(refused));
        }
        loop {
            let session = match &this.parked {
                Some((session, ..)) => session.clone(),
                None => this.hub.made_session(&this.id),
            };
            match this.attempt(&session) {
                // Closed meanwhile: a push by name goes to the next session of that name.
                Err(PushError::Closed) => {
                    this.leave();
                    continue;
                }
                Err(PushError::Full { .. }) if this.waits => {}
                pushed => {
                    this.leave();
                    return Poll::Ready(pushed);
                }
            }
            let is_parked = this.parked.is_some();
            this.park(&session, cx);
            if is_parked {
                break;
            }
            // Room may have come between the attempt and the place in line.
        }
        if this.timer.as_mut().is_some_and(|timer| timer.poll_due(cx).is_ready()) {
            this.leave();
            return Poll::Ready(Err(PushError::Full { capacity: this.hub.config().capacity }));
        }
        let kind = if this.hub.config().outside_producers { WaitKind::Unknown } else { WaitKind::Send };
        note_wait(kind);
        Poll::Pending
    }
}

impl Drop for InboxPush {
    fn drop(&mut self) {
        self.leave();
    }
}
