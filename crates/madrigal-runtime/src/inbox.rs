//! The inbox: per session, what reaches a running agent from outside of its turn, first in, first out.
//! A hub is a value owned by a runtime; there is no process-wide state. Not here: what a session's queue does
//! (`inbox/queue.rs`), waiting (`inbox/wait.rs`). Locks: the hub's, then a session's. No caller's code runs under either.

// Paths, so that the model test can compile these files with locks of its own.
#[path = "inbox/handle.rs"]
mod handle;
#[path = "inbox/queue.rs"]
mod queue;
#[path = "inbox/wait.rs"]
mod wait;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::facade::{Condvar, Mutex, MutexGuard};

pub use self::handle::{Inbox, Lease, Reservation};
use self::queue::Queue;
pub use self::wait::{InboxPush, InboxWait, NotHere, WaitOutcome};
use crate::clock::Clock;
use crate::sync::line::Line;

/// Something that waits for an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InboxEntry {
    /// Its number in its session, from 1, never used twice while the session lives.
    pub sequence: u64,
    /// Whose inbox it is in.
    pub session_id: String,
    /// What it is, for example `tool_result`.
    pub kind: String,
    /// The payload.
    pub content: String,
    /// Who pushed it.
    pub source: String,
    /// When it was pushed, in milliseconds since 1970 by the clock of the inbox.
    pub ts_ms: i64,
    /// The producer's name for it, or one made from session and sequence.
    pub id: String,
    /// How often it was handed out and not acknowledged.
    pub attempts: u32,
}

/// What a producer says of a new entry.
#[derive(Clone, Debug, Default)]
pub struct NewEntry {
    kind: String,
    content: String,
    source: String,
    id: Option<String>,
    priority: bool,
    replaces: Option<String>,
}

impl NewEntry {
    /// An entry of `kind` with this payload, from `source`.
    pub fn new(kind: impl Into<String>, content: impl Into<String>, source: impl Into<String>) -> NewEntry {
        NewEntry { kind: kind.into(), content: content.into(), source: source.into(), ..NewEntry::default() }
    }

    /// Names it: a second push of the same name adds nothing.
    pub fn id(self, id: impl Into<String>) -> NewEntry {
        NewEntry { id: Some(id.into()), ..self }
    }

    /// It is never dropped to make room.
    pub fn priority(self, priority: bool) -> NewEntry {
        NewEntry { priority, ..self }
    }

    /// It takes the place of a queued entry of the same kind and source that was pushed with the same `key`: for news
    /// of which only the last counts.
    pub fn replaces(self, key: impl Into<String>) -> NewEntry {
        NewEntry { replaces: Some(key.into()), ..self }
    }
}

/// What happens to a push when there is no room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// It is refused.
    #[default]
    Reject,
    /// It waits for room.
    Block,
    /// The oldest entry without priority goes.
    DropOldest,
}

/// Settings of a hub.
#[derive(Clone)]
pub struct InboxConfig {
    /// How many entries a session holds, those in flight and reserved included.
    pub capacity: usize,
    /// How much content a session holds.
    pub max_bytes: usize,
    /// How much content an entry may have.
    pub max_entry_bytes: usize,
    /// What happens when there is no room.
    pub overflow: Overflow,
    /// After how many fruitless attempts an entry is given up.
    pub max_attempts: u32,
    /// Where timestamps and the timeouts of asynchronous waits come from.
    pub clock: Clock,
    /// Whether somebody outside of the runtime's tasks may push: a task that waits is then never taken for deadlocked.
    pub outside_producers: bool,
    /// Who hears of entries that were dropped or given up. Called without any lock held; must not block.
    pub events: Option<Arc<dyn Fn(InboxEvent) + Send + Sync>>,
}

impl InboxConfig {
    /// The defaults: 10 000 entries and 8 MiB a session, 1 MiB an entry, pushes beyond that refused, 5 attempts.
    pub fn new(clock: &Clock) -> InboxConfig {
        InboxConfig {
            capacity: 10_000,
            max_bytes: 8 << 20,
            max_entry_bytes: 1 << 20,
            overflow: Overflow::Reject,
            max_attempts: 5,
            clock: clock.clone(),
            outside_producers: true,
            events: None,
        }
    }
}

/// An entry that will not be delivered.
#[derive(Clone, Debug)]
pub enum InboxEvent {
    /// It made room for another.
    Dropped(InboxEntry),
    /// It was given up after too many attempts.
    DeadLetter(InboxEntry),
}

/// Why an entry was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PushError {
    /// There is no room.
    #[error("inbox full: it has room for {capacity} entries")]
    Full {
        /// How many entries the session holds.
        capacity: usize,
    },
    /// The content is too large.
    #[error("inbox entry too large: at most {max_bytes} bytes")]
    TooLarge {
        /// How much content an entry may have.
        max_bytes: usize,
    },
    /// The session was closed.
    #[error("inbox session is closed")]
    Closed,
}

/// Numbers of a hub.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InboxMetrics {
    /// Open sessions.
    pub sessions: usize,
    /// Entries ready in all of them.
    pub queued: usize,
    /// Entries handed out and not acknowledged.
    pub in_flight: usize,
    /// Entries dropped to make room, ever.
    pub dropped: usize,
    /// Entries given up, ever.
    pub dead: usize,
}

/// All inboxes of a runtime. Clones are the same hub. Any thread may push.
///
/// ```
/// use madrigal_runtime::inbox::{InboxConfig, InboxHub, NewEntry, WaitOutcome};
/// use madrigal_runtime::{Runtime, TaskError};
/// use std::time::Duration;
///
/// let runtime = Runtime::new();
/// let hub = InboxHub::new(InboxConfig::new(runtime.clock()));
/// let inbox = hub.open("desk");
/// let pusher = std::thread::spawn(move || hub.try_push("desk", NewEntry::new("note", "hello", "thread")));
/// let entries = runtime.run(async move || {
///     assert_eq!(inbox.wait_async(Some(Duration::from_secs(60))).await, WaitOutcome::Ready);
///     Ok::<_, TaskError>(inbox.drain())
/// });
/// assert_eq!(entries.unwrap()[0].content, "hello");
/// # pusher.join().unwrap().unwrap();
/// ```
#[derive(Clone)]
pub struct InboxHub(Arc<HubShared>);

struct HubShared {
    config: InboxConfig,
    sessions: Mutex<HashMap<String, Arc<Session>>>,
    dropped: AtomicUsize,
    dead: AtomicUsize,
}

/// One session.
struct Session {
    id: String,
    state: Mutex<State>,
    /// Wakes threads in `wait_sync`.
    changed: Condvar,
}

struct State {
    queue: Queue,
    /// No longer in the hub.
    closed: bool,
    /// How often it was cleared: a waiter that finds another number than at its start was told so.
    clears: u64,
    /// Handles that keep the session alive.
    handles: usize,
    /// Slots that will be filled whatever happens.
    reserved: usize,
    waiters: Line<(), ()>,
    /// Threads in `wait_sync`.
    threads: usize,
    /// Pushes that wait for room, by ticket; only moved up, never served.
    pushers: Line<u64, ()>,
    last_ticket: u64,
}

impl InboxHub {
    /// A hub without sessions.
    pub fn new(config: InboxConfig) -> InboxHub {
        let (sessions, zero) = (Mutex::default(), AtomicUsize::default);
        InboxHub(Arc::new(HubShared { config, sessions, dropped: zero(), dead: zero() }))
    }

    /// Its settings.
    pub fn config(&self) -> &InboxConfig {
        &self.0.config
    }

    /// Opens a session, making it if there is none. It lives until it is closed, or until the last handle on it goes
    /// while it is empty.
    pub fn open(&self, id: &str) -> Inbox {
        let session = self.session(id, true).expect("it is made when it is absent");
        Inbox::keeping(self.clone(), session)
    }

    /// The session, if it is open. The handle does not keep it alive.
    pub fn find(&self, id: &str) -> Option<Inbox> {
        self.session(id, false).map(|session| Inbox::looking(self.clone(), session))
    }

    /// The session; with `keep` it is made if absent, and one more handle is counted.
    fn session(&self, id: &str, keep: bool) -> Option<Arc<Session>> {
        let mut sessions = self.0.sessions.lock();
        if !keep {
            return sessions.get(id).cloned();
        }
        let session = self.made(&mut sessions, id);
        session.state.lock().handles += 1;
        Some(session)
    }

    fn made(&self, sessions: &mut HashMap<String, Arc<Session>>, id: &str) -> Arc<Session> {
        sessions.entry(id.to_owned()).or_insert_with(|| Arc::new(Session::new(id))).clone()
    }

    /// The session, made if it is absent.
    fn made_session(&self, id: &str) -> Arc<Session> {
        self.made(&mut self.0.sessions.lock(), id)
    }

    /// Pushes without waiting, opening the session if there is none: the entry's sequence, or that of the entry it
    /// repeats or replaces.
    pub fn try_push(&self, id: &str, entry: NewEntry) -> Result<u64, PushError> {
        self.check_size(&entry)?;
        loop {
            let session = self.made_session(id);
            match self.push_into(&session, &entry, Room::Needed) {
                // It went between the look and the push: there is a new one by now, or will be.
                Err(PushError::Closed) => continue,
                pushed => return pushed,
            }
        }
    }

    /// Pushes, waiting for room: with the policy `Block` as long as it takes, else at most for `wait`.
    ///
    /// Dropping the future pushes nothing.
    pub fn push(&self, id: &str, entry: NewEntry, wait: Option<Duration>) -> InboxPush {
        InboxPush::new(self.clone(), id.to_owned(), entry, wait)
    }

    /// Sets a slot aside, so that a later push through the reservation cannot be refused. Errors when there is none.
    ///
    /// Dropping the reservation gives the slot back.
    pub fn reserve(&self, id: &str) -> Result<Reservation, PushError> {
        loop {
            let session = self.made_session(id);
            let mut state = session.state.lock();
            if state.closed {
                continue;
            }
            if !state.has_room(&self.0.config, 0) {
                return Err(PushError::Full { capacity: self.0.config.capacity });
            }
            state.reserved += 1;
            state.handles += 1;
            drop(state);
            return Ok(Reservation::new(self.clone(), session));
        }
    }

    /// Drops all entries of a session: how many. Its sequences go on; who waits is told.
    pub fn clear_session(&self, id: &str) -> usize {
        let Some(session) = self.session(id, false) else { return 0 };
        session.change(|state| {
            state.clears += 1;
            state.queue.clear()
        })
    }

    /// Drops a session with all its entries: how many. Who waits is told; pushes through its handles are refused.
    pub fn close_session(&self, id: &str) -> usize {
        let removed = self.0.sessions.lock().remove(id);
        let Some(session) = removed else { return 0 };
        session.change(|state| {
            state.closed = true;
            state.queue.clear()
        })
    }

    /// How many sessions are open.
    pub fn sessions(&self) -> usize {
        self.0.sessions.lock().len()
    }

    /// Its numbers.
    pub fn metrics(&self) -> InboxMetrics {
        let sessions: Vec<_> = self.0.sessions.lock().values().cloned().collect();
        let counts = sessions.iter().map(|session| {
            let state = session.state.lock();
            (state.queue.len(), state.queue.in_flight())
        });
        let (queued, in_flight) = counts.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        let (dropped, dead) = (self.0.dropped.load(Ordering::Relaxed), self.0.dead.load(Ordering::Relaxed));
        InboxMetrics { sessions: sessions.len(), queued, in_flight, dropped, dead }
    }

    /// Before a session is made for it.
    fn check_size(&self, entry: &NewEntry) -> Result<(), PushError> {
        let max_bytes = self.0.config.max_entry_bytes;
        if entry.content.len() > max_bytes { Err(PushError::TooLarge { max_bytes }) } else { Ok(()) }
    }

    /// Pushes now, or says why not.
    fn push_into(&self, session: &Session, entry: &NewEntry, room: Room) -> Result<u64, PushError> {
        self.check_size(entry)?;
        let config = &self.0.config;
        let ts_ms = config.clock.wall_ms();
        let mut dropped = Vec::new();
        let mut state = session.state.lock();
        let pushed = self.push_locked(&mut state, &session.id, entry, (room, ts_ms), &mut dropped);
        if pushed.is_ok() || !dropped.is_empty() {
            session.tell_of_change(state);
        } else {
            // Nothing changed, and whoever waits for room may be the one that tries.
            drop(state);
        }
        self.0.dropped.fetch_add(dropped.len(), Ordering::Relaxed);
        dropped.into_iter().for_each(|entry| self.tell(InboxEvent::Dropped(entry)));
        pushed
    }

    fn push_locked(
        &self,
        state: &mut State,
        id: &str,
        entry: &NewEntry,
        (room, ts_ms): (Room, i64),
        dropped: &mut Vec<InboxEntry>,
    ) -> Result<u64, PushError> {
        let config = &self.0.config;
        if state.closed {
            return Err(PushError::Closed);
        }
        if let Some(sequence) = state.queue.repeated_or_replaced(entry, ts_ms) {
            return Ok(sequence);
        }
        let full = PushError::Full { capacity: config.capacity };
        let in_turn = match room {
            Room::Reserved => true,
            Room::Needed => state.pushers.is_empty(),
            Room::Ticket(ticket) => state.pushers.front() == Some(&ticket),
        };
        if !in_turn {
            return Err(full);
        }
        while room != Room::Reserved && !state.has_room(config, entry.content.len()) {
            let oldest = match config.overflow {
                Overflow::DropOldest => state.queue.drop_oldest(),
                Overflow::Reject | Overflow::Block => None,
            };
            dropped.push(oldest.ok_or(full)?);
        }
        Ok(state.queue.push(id, entry, ts_ms))
    }

    fn tell(&self, event: InboxEvent) {
        if let Some(events) = &self.0.config.events {
            events(event);
        }
    }

    /// A handle on a session has gone.
    fn released(&self, session: &Arc<Session>) {
        let mut sessions = self.0.sessions.lock();
        let mut state = session.state.lock();
        state.handles -= 1;
        if state.handles == 0 && state.is_unused() && !state.closed {
            state.closed = true;
            sessions.remove(&session.id);
        }
    }
}

/// With what right an entry is pushed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Room {
    /// None: there has to be room, and nobody waiting for it.
    Needed,
    /// It waited for room under this ticket.
    Ticket(u64),
    /// A slot was set aside.
    Reserved,
}

impl fmt::Debug for InboxHub {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("InboxHub").field("sessions", &self.sessions()).finish_non_exhaustive()
    }
}

impl Session {
    fn new(id: &str) -> Session {
        let state = State {
            queue: Queue::default(),
            closed: false,
            clears: 0,
            handles: 0,
            reserved: 0,
            waiters: Line::default(),
            threads: 0,
            pushers: Line::default(),
            last_ticket: 0,
        };
        Session { id: id.to_owned(), state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Changes the state, then wakes all that wait for entries, and the first that waits for room.
    fn change<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.state.lock();
        let result = change(&mut state);
        self.tell_of_change(state);
        result
    }

    fn tell_of_change(&self, mut state: MutexGuard<'_, State>) {
        let mut wakers = Vec::new();
        // Whoever finds nothing new waits again; nobody has to be told what the change was.
        while let Ok((waker, ())) = state.waiters.serve(()) {
            wakers.push(waker);
        }
        wakers.extend(state.pushers.front_waker());
        let threads = state.threads;
        drop(state);
        if threads > 0 {
            self.changed.notify_all();
        }
        wakers.into_iter().for_each(std::task::Waker::wake);
    }
}

impl State {
    fn has_room(&self, config: &InboxConfig, bytes: usize) -> bool {
        let taken = self.queue.len() + self.queue.in_flight() + self.reserved;
        taken < config.capacity && self.queue.bytes() + bytes <= config.max_bytes
    }

    /// Nothing in it and nothing to come.
    fn is_unused(&self) -> bool {
        self.queue.len() + self.queue.in_flight() + self.reserved == 0 && self.pushers.is_empty()
    }
}
