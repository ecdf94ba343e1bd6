//! What consumers and producers hold: a handle on a session, entries on loan, a slot set aside.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::wait::{self, InboxWait, NotHere, WaitOutcome};
use super::{InboxEntry, InboxEvent, InboxHub, NewEntry, PushError, Room, Session};

/// A handle on a session. Unless it came from [`InboxHub::find`] it keeps the session alive; dropping the last such
/// handle of an empty session frees it.
pub struct Inbox {
    hub: InboxHub,
    session: Arc<Session>,
    keeps: bool,
}

impl Inbox {
    pub(super) fn keeping(hub: InboxHub, session: Arc<Session>) -> Inbox {
        Inbox { hub, session, keeps: true }
    }

    pub(super) fn looking(hub: InboxHub, session: Arc<Session>) -> Inbox {
        Inbox { hub, session, keeps: false }
    }

    /// Whose inbox it is.
    pub fn session_id(&self) -> &str {
        &self.session.id
    }

    /// Pushes into this very session; refused once it was closed, even if there is another of its name.
    pub fn try_push(&self, entry: NewEntry) -> Result<u64, PushError> {
        self.hub.push_into(&self.session, &entry, Room::Needed)
    }

    /// Takes all entries that are ready, in order. Each entry goes to one taker only.
    pub fn drain(&self) -> Vec<InboxEntry> {
        self.session.change(|state| state.queue.take(None, usize::MAX, false))
    }

    /// Takes the entries that `wanted` accepts; the others keep their order.
    ///
    /// `wanted` runs without any lock held and may use the inbox; if it panics, nothing was taken.
    pub fn drain_where(&self, wanted: impl FnMut(&InboxEntry) -> bool) -> Vec<InboxEntry> {
        self.take_where(wanted, usize::MAX, false)
    }

    /// As `drain_where`, at most `max` of them; with `lease` they are in flight until [`Inbox::acknowledge`] or
    /// [`Inbox::refuse`].
    pub fn take_where(&self, mut wanted: impl FnMut(&InboxEntry) -> bool, max: usize, lease: bool) -> Vec<InboxEntry> {
        let seen = self.snapshot();
        let sequences: HashSet<u64> = seen.iter().filter(|it| wanted(it)).map(|it| it.sequence).collect();
        self.session.change(|state| state.queue.take(Some(&sequences), max, lease))
    }

    /// Takes the first `max` entries on loan.
    pub fn lease(&self, max: usize) -> Lease {
        let entries = self.session.change(|state| state.queue.take(None, max, true));
        Lease { inbox: Inbox::looking(self.hub.clone(), self.session.clone()), entries, open: true }
    }

    /// Entries in flight are done with: how many of them were.
    pub fn acknowledge(&self, sequences: &[u64]) -> usize {
        self.session.change(|state| state.queue.acknowledge(sequences))
    }

    /// Entries in flight go back to where they were, with one more attempt; or to the dead ones, after too many. How
    /// many were in flight.
    pub fn refuse(&self, sequences: &[u64]) -> usize {
        let config = self.hub.config();
        let refuse = |state: &mut super::State| state.queue.refuse(sequences, config.max_attempts, config.capacity);
        let (count, given_up) = self.session.change(refuse);
        self.hub.0.dead.fetch_add(given_up.len(), Ordering::Relaxed);
        given_up.into_iter().for_each(|entry| self.hub.tell(InboxEvent::DeadLetter(entry)));
        count
    }

    /// Puts a taken entry at the head, with its sequence. Dropped if the session was cleared meanwhile.
    pub fn requeue_front(&self, entry: InboxEntry) {
        self.session.change(|state| state.queue.put_back(entry, true, None));
    }

    /// Puts taken entries back to where they were: how many had a place to go back to.
    pub fn requeue(&self, entries: Vec<InboxEntry>) -> usize {
        let put_back = |state: &mut super::State| {
            let back = entries.into_iter().filter_map(|it| state.queue.put_back(it, false, None).then_some(()));
            back.count()
        };
        self.session.change(put_back)
    }

    /// How many entries are ready.
    pub fn pending_count(&self) -> usize {
        self.session.state.lock().queue.len()
    }

    /// The entries that are ready.
    pub fn snapshot(&self) -> Vec<InboxEntry> {
        self.session.state.lock().queue.snapshot()
    }

    /// The entries given up; with `take` they are forgotten.
    pub fn dead(&self, take: bool) -> Vec<InboxEntry> {
        self.session.state.lock().queue.dead(take)
    }

    /// Waits until an entry is ready, at most for `timeout` by the clock of the hub; zero only looks.
    ///
    /// Dropping the future has no effect.
    pub fn wait_async(&self, timeout: Option<Duration>) -> InboxWait<fn(&InboxEntry) -> bool> {
        InboxWait::new(self.hub.clone(), self.session.clone(), None, timeout)
    }

    /// As `wait_async`, for an entry that `wanted` accepts, which runs without any lock held.
    pub fn wait_where<F>(&self, wanted: F, timeout: Option<Duration>) -> InboxWait<F>
    where
        F: FnMut(&InboxEntry) -> bool + Send,
    {
        InboxWait::new(self.hub.clone(), self.session.clone(), Some(wanted), timeout)
    }

    /// Blocks this thread until an entry is ready, at most for `timeout` of wall time. Refused inside a task: it would
    /// keep other tasks from running.
    pub fn wait_sync(&self, timeout: Duration) -> Result<WaitOutcome, NotHere> {
        wait::wait_sync(&self.session, timeout)
    }
}

impl Clone for Inbox {
    fn clone(&self) -> Inbox {
        if self.keeps {
            self.session.state.lock().handles += 1;
        }
        Inbox { hub: self.hub.clone(), session: self.session.clone(), keeps: self.keeps }
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        if self.keeps {
            self.hub.released(&self.session);
        }
    }
}

impl fmt::Debug for Inbox {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pending = self.pending_count();
        out.debug_struct("Inbox").field("session", &self.session.id).field("pending", &pending).finish()
    }
}

/// Entries on loan. Dropping it gives them back, with one more attempt.
#[derive(Debug)]
pub struct Lease {
    inbox: Inbox,
    entries: Vec<InboxEntry>,
    open: bool,
}

impl Lease {
    /// What is on loan.
    pub fn entries(&self) -> &[InboxEntry] {
        &self.entries
    }

    fn sequences(&self) -> Vec<u64> {
        self.entries.iter().map(|it| it.sequence).collect()
    }

    /// They are done with.
    pub fn commit(mut self) {
        self.open = false;
        self.inbox.acknowledge(&self.sequences());
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.open {
            self.inbox.refuse(&self.sequences());
        }
    }
}

/// A slot set aside: see [`InboxHub::reserve`].
pub struct Reservation {
    hub: InboxHub,
    session: Arc<Session>,
}

impl Reservation {
    pub(super) fn new(hub: InboxHub, session: Arc<Session>) -> Reservation {
        Reservation { hub, session }
    }

    /// Pushes into the slot: refused only if the session was closed, or the content is too large.
    pub fn push(self, entry: NewEntry) -> Result<u64, PushError> {
        // The slot is given back after it was used, so that nobody gets in between.
        self.hub.push_into(&self.session, &entry, Room::Reserved)
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.session.change(|state| state.reserved -= 1);
        self.hub.released(&self.session);
    }
}

impl fmt::Debug for Reservation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Reservation").field("session", &self.session.id).finish()
    }
}
