//! The keys of a run with their locks and counters, and who holds what.

use crate::host::Run;
use madrigal_runtime::sync::{AlreadyHeld, Lock, LockGuard, Permit, Semaphore};
use madrigal_vm::{Fault, Value};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Weak};

/// The key that `mutex {}` uses.
pub const DEFAULT_KEY: &str = "__default__";

/// How many may read at a time; a writer takes them all.
pub const READERS_MAX: usize = 1 << 30;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Gate,
    Mutex,
    RwLock,
    Semaphore,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Gate => "gate",
            Kind::Mutex => "mutex",
            Kind::RwLock => "rwlock",
            Kind::Semaphore => "semaphore",
        }
    }
}

/// All keys of a run, ordered by kind and key.
#[derive(Default)]
pub struct Registry(Mutex<BTreeMap<(Kind, String), Arc<Entry>>>);

impl Registry {
    pub(super) fn entries(&self) -> Vec<Arc<Entry>> {
        self.0.lock().values().cloned().collect()
    }

    /// The entry of a key, made when first asked for.
    pub(super) fn entry(&self, kind: Kind, key: &str, capacity: usize, default: &Lock) -> Result<Arc<Entry>, Fault> {
        let mut entries = self.0.lock();
        let entry = entries.entry((kind, key.to_owned())).or_insert_with(|| {
            let resource = match (kind, key) {
                (Kind::Mutex, DEFAULT_KEY) => Resource::Lock(default.clone()),
                (Kind::Mutex, _) => Resource::Lock(Lock::named(key)),
                _ => Resource::Semaphore(Semaphore::new(capacity)),
            };
            Arc::new(Entry { kind, key: key.to_owned(), capacity, resource, counters: Mutex::default() })
        });
        if entry.capacity != capacity {
            let (name, known) = (kind.name(), entry.capacity);
            return Err(Fault::thrown(format!(
                "sync {name} '{key}' already exists with capacity {known}, not {capacity}"
            )));
        }
        Ok(entry.clone())
    }
}

/// One key.
pub struct Entry {
    pub kind: Kind,
    pub key: String,
    capacity: usize,
    resource: Resource,
    counters: Mutex<Counters>,
}

enum Resource {
    Lock(Lock),
    Semaphore(Semaphore),
}

#[derive(Default)]
struct Counters {
    acquisitions: i64,
    timeouts: i64,
    cancellations: i64,
    releases: i64,
    held: usize,
    queued: i64,
    queued_max: i64,
    wait_ms: i64,
    held_ms: i64,
}

/// What is held of a key; dropping it gives it back.
pub enum Guard {
    Lock { _guard: LockGuard },
    Semaphore { _permit: Permit },
}

type Acquiring = Pin<Box<dyn Future<Output = Result<Guard, AlreadyHeld>> + Send>>;

impl Entry {
    pub fn try_acquire(&self, permits: usize) -> Result<Option<Guard>, AlreadyHeld> {
        Ok(match &self.resource {
            Resource::Lock(lock) => lock.try_acquire()?.map(|it| Guard::Lock { _guard: it }),
            Resource::Semaphore(it) => it.try_acquire(permits).map(|it| Guard::Semaphore { _permit: it }),
        })
    }

    pub fn acquire(&self, permits: usize) -> Acquiring {
        match &self.resource {
            Resource::Lock(lock) => {
                let acquire = lock.acquire();
                Box::pin(async move { acquire.await.map(|it| Guard::Lock { _guard: it }) })
            }
            Resource::Semaphore(semaphore) => {
                let acquire = semaphore.acquire(permits);
                Box::pin(async move { Ok(Guard::Semaphore { _permit: acquire.await }) })
            }
        }
    }

    pub fn timed_out(&self) {
        self.counters.lock().timeouts += 1;
    }

    /// How many permits count as held when `permits` are: a writer is one.
    fn counted(&self, permits: usize) -> usize {
        if self.kind == Kind::RwLock { 1 } else { permits }
    }

    pub fn metrics(&self) -> Value {
        let counters = self.counters.lock();
        let capacity = if self.kind == Kind::RwLock { Value::Nil } else { Value::from(self.capacity) };
        Value::dict([
            ("kind", Value::from(self.kind.name())),
            ("key", Value::from(self.key.as_str())),
            ("capacity", capacity),
            ("acquisition_count", Value::Int(counters.acquisitions)),
            ("timeout_count", Value::Int(counters.timeouts)),
            ("cancellation_count", Value::Int(counters.cancellations)),
            ("release_count", Value::Int(counters.releases)),
            ("current_held", Value::from(counters.held)),
            ("current_queue_depth", Value::Int(counters.queued)),
            ("max_queue_depth", Value::Int(counters.queued_max)),
            ("total_wait_ms", Value::Int(counters.wait_ms)),
            ("total_held_ms", Value::Int(counters.held_ms)),
        ])
    }
}

/// A place in the queue of a key. Left without being served: the waiter was cancelled.
pub struct Queued {
    entry: Arc<Entry>,
    served: bool,
}

impl Queued {
    pub fn new(entry: Arc<Entry>) -> Queued {
        let mut counters = entry.counters.lock();
        counters.queued += 1;
        counters.queued_max = counters.queued_max.max(counters.queued);
        drop(counters);
        Queued { entry, served: false }
    }

    /// The wait is over, with a permit or by its timeout.
    pub fn served(mut self, acquired: bool) {
        self.served = true;
        if !acquired {
            self.entry.timed_out();
        }
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        let mut counters = self.entry.counters.lock();
        counters.queued -= 1;
        counters.cancellations += i64::from(!self.served);
    }
}

/// A permit, from before it is acquired until after it was given back.
pub struct PermitState {
    pub entry: Arc<Entry>,
    permits: usize,
    run: Arc<Run>,
    /// With the time at which it was acquired.
    guard: Mutex<Option<(Guard, i64)>>,
}

impl PermitState {
    pub fn new(entry: Arc<Entry>, permits: usize, run: Arc<Run>) -> Arc<PermitState> {
        Arc::new(PermitState { entry, permits, run, guard: Mutex::new(None) })
    }

    /// It is acquired, after a wait.
    pub fn fill(&self, guard: Guard, waited_ms: i64) {
        {
            let mut counters = self.entry.counters.lock();
            counters.acquisitions += 1;
            counters.held += self.entry.counted(self.permits);
            counters.wait_ms += waited_ms;
        }
        *self.guard.lock() = Some((guard, self.run.now_monotonic()));
    }

    /// Gives it back; whether it was held.
    pub fn release(&self) -> bool {
        let Some((guard, since)) = self.guard.lock().take() else { return false };
        {
            let mut counters = self.entry.counters.lock();
            counters.releases += 1;
            counters.held -= self.entry.counted(self.permits);
            counters.held_ms += self.run.now_monotonic() - since;
        }
        // Last: whoever gets it next finds the counters right.
        drop(guard);
        true
    }
}

impl Drop for PermitState {
    fn drop(&mut self) {
        self.release();
    }
}

/// What a task holds: dropping this gives back the permits that are left, and ends what belongs to the task.
#[derive(Default)]
pub struct HeldPermits {
    permits: Vec<Weak<PermitState>>,
    /// The task has shared state of its own, to be freed at its end.
    scope: Option<(Arc<Run>, String)>,
}

impl HeldPermits {
    pub(super) fn add(&mut self, permit: &Arc<PermitState>) {
        if self.permits.len() == self.permits.capacity() {
            self.permits.retain(|it| it.strong_count() > 0);
        }
        self.permits.push(Arc::downgrade(permit));
    }

    /// The task opened state in its own scope.
    pub(in super::super) fn own(&mut self, run: &Arc<Run>, scope: &str) {
        self.scope.get_or_insert_with(|| (run.clone(), scope.to_owned()));
    }

    /// What is held now: kind and key, in the order in which it was asked for.
    pub fn held(&self) -> Vec<(&'static str, String)> {
        let permits = self.permits.iter().filter_map(Weak::upgrade).filter(|it| it.guard.lock().is_some());
        permits.map(|it| (it.entry.kind.name(), it.entry.key.clone())).collect()
    }
}

impl Drop for HeldPermits {
    fn drop(&mut self) {
        self.permits.iter().filter_map(Weak::upgrade).for_each(|it| {
            it.release();
        });
        if let Some((run, scope)) = self.scope.take() {
            run.tasks.shared.end(&scope);
        }
    }
}
