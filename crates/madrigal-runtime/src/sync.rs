//! Primitives that let one task keep others waiting. All are fair: whoever waits longest is served first, and a
//! running task cannot overtake a parked one. A wait that is dropped leaves no trace and loses no permit.
//!
//! | operation | on cancel or drop of the wait | on drop of what it gave | on panic of the holder |
//! |---|---|---|---|
//! | [`Lock::acquire`] | takes nothing | [`LockGuard`] releases | released by unwinding; nothing is poisoned |
//! | [`RwLock::acquire`] | takes nothing; readers behind a writer that left go on | [`RwGuard`] releases | released |
//! | [`Semaphore::acquire`] | takes nothing | [`Permit`] gives back | given back |
//! | [`Condvar::wait`] | the lock stays released; a notification goes to the next | [`LockGuard`] releases | released |
//! | [`Barrier::wait`] | leaves the round | – | leaves the round |
//! | [`Latch::wait`] | no effect | – | no effect |
//! | [`Once::enter`], [`Once::get`] | the next in line makes the value | [`OnceRun`] passes the duty on | the next in line makes it |
//! | [`Queue::put`], [`Queue::take`] | nothing was put; nothing was taken | – | – |
//! | [`SyncRegistry::acquire`] | leaves the queue and its depth | [`NamedPermit`] gives back | given back |

mod barrier;
mod condvar;
mod latch;
pub(crate) mod line;
mod lock;
mod once;
mod queue;
mod registry;
mod rwlock;
mod semaphore;

pub use self::barrier::{Barrier, BarrierWait};
pub use self::condvar::{Condvar, CondvarWait};
pub use self::latch::{Latch, LatchWait};
pub use self::lock::{AlreadyHeld, Lock, LockAcquire, LockGuard};
pub use self::once::{Entered, Once, OnceEnter, OnceRun};
pub use self::queue::Queue;
pub use self::registry::{
    NamedAcquire, NamedMutex, NamedPermit, SyncError, SyncKind, SyncMetrics, SyncRegistry, SyncRequest,
};
pub use self::rwlock::{Access, RwAcquire, RwGuard, RwLock};
pub use self::semaphore::{Acquire, Permit, Semaphore};
