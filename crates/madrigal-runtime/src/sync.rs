//! Primitives that let one task keep others waiting. All are fair: whoever waits longest is served first, and a
//! running task cannot overtake a parked one. A wait that is dropped leaves no trace and loses no permit.

mod lock;
mod semaphore;

pub use self::lock::{AlreadyHeld, Lock, LockAcquire, LockGuard};
pub use self::semaphore::{Acquire, Permit, Semaphore};
