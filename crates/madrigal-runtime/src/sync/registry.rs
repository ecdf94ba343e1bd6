//! Locks and permits by name, with counters. Whoever names the same key means the same resource.
//! Not here: the resources themselves (`lock.rs`, `semaphore.rs`, `rwlock.rs`). Invariant: what the counters say is held
//! or queued is held or queued; a wait that was given up has left both.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::facade::Mutex;

use super::AlreadyHeld;
use super::lock::{Lock, LockAcquire, LockGuard};
use super::rwlock::{Access, RwAcquire, RwGuard, RwLock};
use super::semaphore::{Acquire, Permit, Semaphore};
use crate::clock::Clock;
use crate::task::TaskRef;
use crate::waiting::Describe;

/// What a key names. Keys of different kinds have nothing to do with one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SyncKind {
    /// Lets so many in at a time.
    Gate,
    /// One holder.
    Mutex,
    /// Many readers or one writer.
    RwLock,
    /// Counted permits.
    Semaphore,
}

impl SyncKind {
    /// The kind as reports spell it, for example `rwlock`.
    pub fn as_str(self) -> &'static str {
        match self {
            SyncKind::Gate => "gate",
            SyncKind::Mutex => "mutex",
            SyncKind::RwLock => "rwlock",
            SyncKind::Semaphore => "semaphore",
        }
    }
}

/// Why nothing was acquired.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SyncError {
    /// The key is known with another capacity.
    #[error("sync {} '{key}' already exists with capacity {known}, not {wanted}", .kind.as_str())]
    OtherCapacity {
        /// What the key names.
        kind: SyncKind,
        /// The key.
        key: String,
        /// What it has.
        known: usize,
        /// What was asked for.
        wanted: usize,
    },
    /// More than there is.
    #[error("sync {} '{key}' requested {permits} permits from capacity {capacity}", .kind.as_str())]
    TooMany {
        /// What the key names.
        kind: SyncKind,
        /// The key.
        key: String,
        /// What was asked for.
        permits: usize,
        /// What there is.
        capacity: usize,
    },
    /// The task would wait for itself.
    #[error("deadlock: sync {} '{key}' is held by this task already", .kind.as_str())]
    AlreadyHeld {
        /// What the key names.
        kind: SyncKind,
        /// The key.
        key: String,
    },
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncRequest {
    /// The mutex.
    Mutex,
    /// So many permits of a semaphore with this capacity.
    Semaphore {
        /// How many there are.
        capacity: usize,
        /// How many are wanted.
        permits: usize,
    },
    /// To be let through a gate with this limit.
    Gate {
        /// How many may be inside.
        limit: usize,
    },
    /// This access to a readers-writer lock.
    RwLock(Access),
}

impl SyncRequest {
    fn kind(self) -> SyncKind {
        match self {
            SyncRequest::Mutex => SyncKind::Mutex,
            SyncRequest::Semaphore { .. } => SyncKind::Semaphore,
            SyncRequest::Gate { .. } => SyncKind::Gate,
            SyncRequest::RwLock(_) => SyncKind::RwLock,
        }
    }

    /// Capacity of the resource and what is wanted of it.
    fn amounts(self) -> (usize, usize) {
        match self {
            SyncRequest::Mutex | SyncRequest::RwLock(_) => (1, 1),
            SyncRequest::Semaphore { capacity, permits } => (capacity, permits),
            SyncRequest::Gate { limit } => (limit, 1),
        }
    }
}

/// What happened to a key so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncMetrics {
    /// What it names.
    pub kind: SyncKind,
    /// The key.
    pub key: String,
    /// How much there is; none for readers-writer locks.
    pub capacity: Option<usize>,
    /// How often it was acquired.
    pub acquisition_count: u64,
    /// How many waits ended by their timeout.
    pub timeout_count: u64,
    /// How many waits were given up.
    pub cancellation_count: u64,
    /// How often it was given back.
    pub release_count: u64,
    /// How many permits are held.
    pub current_held: usize,
    /// How many wait.
    pub current_queue_depth: usize,
    /// The most that ever waited at a time.
    pub max_queue_depth: usize,
    /// Time spent waiting, by those who were served.
    pub total_wait_ms: u64,
    /// Time it was held, by those who gave it back.
    pub total_held_ms: u64,
}

/// Named locks and permits. Clones are the same registry.
///
/// ```
/// use madrigal_runtime::sync::{SyncRegistry, SyncRequest};
/// use madrigal_runtime::{Runtime, TaskError};
///
/// let runtime = Runtime::new();
/// let registry = SyncRegistry::new(runtime.clock());
/// let held = registry.clone();
/// let inside = runtime.run(async move || {
///     let _permit = held.acquire("printer", SyncRequest::Gate { limit: 2 }).map_err(|e| e.to_string())?.await;
///     Ok::<_, TaskError>(held.metrics()[0].current_held)
/// });
/// assert_eq!(inside.unwrap(), 1);
/// assert_eq!(registry.metrics()[0].current_held, 0);
/// ```
#[derive(Clone)]
pub struct SyncRegistry {
    clock: Clock,
    entries: Arc<Mutex<Entries>>,
}

type Entries = BTreeMap<(SyncKind, String), Arc<Entry>>;

struct Entry {
    kind: SyncKind,
    key: String,
    capacity: usize,
    resource: Resource,
    counters: Mutex<Counters>,
}

enum Resource {
    Lock(Lock),
    Semaphore(Semaphore),
    RwLock(RwLock),
}

#[derive(Default)]
struct Counters {
    acquisitions: u64,
    timeouts: u64,
    cancellations: u64,
    releases: u64,
    held: usize,
    queued: usize,
    queued_max: usize,
    wait_ms: u64,
    held_ms: u64,
}

impl SyncRegistry {
    /// An empty registry that tells time by `clock`.
    pub fn new(clock: &Clock) -> SyncRegistry {
        SyncRegistry { clock: clock.clone(), entries: Arc::default() }
    }

    /// The mutex of a key, for whoever takes it often.
    pub fn mutex(&self, key: &str) -> NamedMutex {
        let entry = self.entry(SyncKind::Mutex, key, 1).expect("mutexes have one capacity");
        NamedMutex { entry, clock: self.clock.clone() }
    }

    /// Asks for what a key names; the resource is made when it is first asked for. Errors when the key is known with
    /// another capacity, or more is wanted than there is.
    ///
    /// Dropping the future takes nothing and leaves the queue.
    pub fn acquire(&self, key: &str, request: SyncRequest) -> Result<NamedAcquire, SyncError> {
        let kind = request.kind();
        let (capacity, permits) = request.amounts();
        let entry = self.entry(kind, key, capacity)?;
        if permits > capacity {
            return Err(SyncError::TooMany { kind, key: key.to_owned(), permits, capacity });
        }
        let acquiring = match (&entry.resource, request) {
            (Resource::Lock(lock), _) => Acquiring::Lock(lock.acquire()),
            (Resource::Semaphore(semaphore), _) => Acquiring::Semaphore(semaphore.acquire(permits)),
            (Resource::RwLock(lock), SyncRequest::RwLock(access)) => Acquiring::RwLock(lock.acquire(access)),
            (Resource::RwLock(lock), _) => Acquiring::RwLock(lock.write()),
        };
        let clock = self.clock.clone();
        Ok(NamedAcquire { entry, clock, permits, acquiring: Some(acquiring), queued_at: None })
    }

    fn entry(&self, kind: SyncKind, key: &str, capacity: usize) -> Result<Arc<Entry>, SyncError> {
        let mut entries = self.entries.lock();
        let entry = entries.entry((kind, key.to_owned())).or_insert_with(|| {
            let resource = match kind {
                SyncKind::Mutex => Resource::Lock(Lock::named(key)),
                SyncKind::RwLock => Resource::RwLock(RwLock::named(key)),
                SyncKind::Gate | SyncKind::Semaphore => Resource::Semaphore(Semaphore::new(capacity)),
            };
            Arc::new(Entry { kind, key: key.to_owned(), capacity, resource, counters: Mutex::default() })
        });
        if entry.capacity != capacity {
            return Err(SyncError::OtherCapacity {
                kind,
                key: key.to_owned(),
                known: entry.capacity,
                wanted: capacity,
            });
        }
        Ok(entry.clone())
    }

    /// The counters of all keys, by kind and key.
    pub fn metrics(&self) -> Vec<SyncMetrics> {
        self.entries.lock().values().map(|entry| entry.metrics()).collect()
    }
}

/// The mutex of a key: see [`SyncRegistry::mutex`].
#[derive(Clone)]
pub struct NamedMutex {
    entry: Arc<Entry>,
    clock: Clock,
}

impl NamedMutex {
    /// As [`SyncRegistry::acquire`].
    pub fn acquire(&self) -> NamedAcquire {
        let Resource::Lock(lock) = &self.entry.resource else { unreachable!("mutexes are locks") };
        let acquiring = Some(Acquiring::Lock(lock.acquire()));
        NamedAcquire { entry: self.entry.clone(), clock: self.clock.clone(), permits: 1, acquiring, queued_at: None }
    }
}

impl Describe for Entry {
    fn describe(&self) -> String {
        format!("{} '{}'", self.kind.as_str(), self.key)
    }

    fn holder(&self) -> Option<TaskRef> {
        match &self.resource {
            Resource::Lock(lock) => lock.holder(),
            Resource::RwLock(lock) => Describe::holder(lock),
            Resource::Semaphore(_) => None,
        }
    }
}

impl fmt::Debug for SyncRegistry {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("SyncRegistry").field("keys", &self.entries.lock().len()).finish()
    }
}

impl Entry {
    fn metrics(&self) -> SyncMetrics {
        let counters = self.counters.lock();
        SyncMetrics {
            kind: self.kind,
            key: self.key.clone(),
            capacity: (self.kind != SyncKind::RwLock).then_some(self.capacity),
            acquisition_count: counters.acquisitions,
            timeout_count: counters.timeouts,
            cancellation_count: counters.cancellations,
            release_count: counters.releases,
            current_held: counters.held,
            current_queue_depth: counters.queued,
            max_queue_depth: counters.queued_max,
            total_wait_ms: counters.wait_ms,
            total_held_ms: counters.held_ms,
        }
    }

    fn already_held(&self, _: AlreadyHeld) -> SyncError {
        SyncError::AlreadyHeld { kind: self.kind, key: self.key.clone() }
    }
}

enum Acquiring {
    Lock(LockAcquire),
    Semaphore(Acquire),
    RwLock(RwAcquire),
}

impl Acquiring {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Guard, AlreadyHeld>> {
        match self {
            Acquiring::Lock(it) => Pin::new(it).poll(cx).map_ok(Guard::Lock),
            Acquiring::Semaphore(it) => Pin::new(it).poll(cx).map(|permit| Ok(Guard::Semaphore(permit))),
            Acquiring::RwLock(it) => Pin::new(it).poll(cx).map_ok(Guard::RwLock),
        }
    }
}

/// What is held of a resource; dropping it gives it back.
#[derive(Debug)]
#[allow(dead_code, reason = "held, never looked at")]
enum Guard {
    Lock(LockGuard),
    Semaphore(Permit),
    RwLock(RwGuard),
}

/// Waits for what a key names: see [`SyncRegistry::acquire`].
#[must_use = "futures do nothing unless polled"]
pub struct NamedAcquire {
    entry: Arc<Entry>,
    clock: Clock,
    permits: usize,
    /// None once it is over.
    acquiring: Option<Acquiring>,
    /// Since when it waits.
    queued_at: Option<u64>,
}

impl NamedAcquire {
    /// What the key names.
    pub fn kind(&self) -> SyncKind {
        self.entry.kind
    }

    /// What it waits for, for reports.
    pub fn resource(&self) -> Arc<dyn Describe> {
        self.entry.clone()
    }

    /// Takes it without waiting, unless it has begun to wait; None when that is not possible now.
    pub fn try_now(&mut self) -> Result<Option<NamedPermit>, SyncError> {
        if self.queued_at.is_some() {
            return Ok(None);
        }
        let taken = match (&self.entry.resource, &self.acquiring) {
            (Resource::Lock(lock), _) => lock.try_acquire().map(|it| it.map(Guard::Lock)),
            (Resource::Semaphore(semaphore), _) => Ok(semaphore.try_acquire(self.permits).map(Guard::Semaphore)),
            (Resource::RwLock(lock), Some(Acquiring::RwLock(asked))) => {
                lock.try_acquire(asked.access()).map(|it| it.map(Guard::RwLock))
            }
            (Resource::RwLock(_), _) => Ok(None),
        };
        let taken = taken.map_err(|held| self.entry.already_held(held))?;
        Ok(taken.map(|guard| self.permit(guard, 0)))
    }

    fn permit(&self, guard: Guard, waited_ms: u64) -> NamedPermit {
        let mut counters = self.entry.counters.lock();
        counters.acquisitions += 1;
        counters.held += self.permits;
        counters.wait_ms += waited_ms;
        drop(counters);
        let (entry, clock, since) = (self.entry.clone(), self.clock.clone(), self.clock.now_ms());
        NamedPermit { entry, clock, permits: self.permits, since, guard: Some(guard) }
    }

    /// Gives up because time has passed: counted as that, and not as cancelled.
    pub fn timed_out(mut self) {
        self.entry.counters.lock().timeouts += 1;
        self.leave_queue();
    }

    fn leave_queue(&mut self) -> Option<u64> {
        self.acquiring = None;
        let since = self.queued_at.take()?;
        self.entry.counters.lock().queued -= 1;
        Some(since)
    }
}

impl Future for NamedAcquire {
    type Output = Result<NamedPermit, SyncError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let polled = this.acquiring.as_mut().expect("polled after it was ready").poll(cx);
        let acquired = match polled {
            Poll::Ready(acquired) => acquired,
            Poll::Pending => {
                if this.queued_at.is_none() {
                    this.queued_at = Some(this.clock.now_ms());
                    let mut counters = this.entry.counters.lock();
                    counters.queued += 1;
                    counters.queued_max = counters.queued_max.max(counters.queued);
                }
                return Poll::Pending;
            }
        };
        let waited = this.leave_queue().map_or(0, |since| this.clock.now_ms() - since);
        Poll::Ready(match acquired {
            Ok(guard) => Ok(this.permit(guard, waited)),
            Err(held) => Err(this.entry.already_held(held)),
        })
    }
}

impl Drop for NamedAcquire {
    fn drop(&mut self) {
        if self.leave_queue().is_some() {
            self.entry.counters.lock().cancellations += 1;
        }
    }
}

/// What was acquired by name. Dropping it gives it back.
#[derive(Debug)]
pub struct NamedPermit {
    entry: Arc<Entry>,
    clock: Clock,
    permits: usize,
    since: u64,
    guard: Option<Guard>,
}

impl NamedPermit {
    /// What the key names.
    pub fn kind(&self) -> SyncKind {
        self.entry.kind
    }

    /// The key.
    pub fn key(&self) -> &str {
        &self.entry.key
    }
}

impl Drop for NamedPermit {
    fn drop(&mut self) {
        {
            let mut counters = self.entry.counters.lock();
            counters.releases += 1;
            counters.held -= self.permits;
            counters.held_ms += self.clock.now_ms() - self.since;
        }
        // Last: whoever gets it next finds the counters right.
        self.guard = None;
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} '{}'", self.kind.as_str(), self.key)
    }
}
