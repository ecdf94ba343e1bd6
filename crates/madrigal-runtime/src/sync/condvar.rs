//! Waiting for a condition that holders of a lock change. Invariants: a waiter is in line before it gives up the lock,
//! so no notification falls between the two; a notification whose waiter goes away is given to the next one.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::facade::Mutex;

use super::line::{Left, Line};
use super::lock::{LockAcquire, LockGuard};
use crate::frame::note_wait;
use crate::wait_list::WaitKey;
use crate::waiting::{Describe, WaitKind};

/// A condition variable. Clones are the same one.
///
/// ```
/// use madrigal_runtime::sync::{Condvar, Lock};
/// use madrigal_runtime::{Runtime, SharedCell, TaskError, scope};
///
/// let runtime = Runtime::new();
/// let answer = runtime.run(async || {
///     let (lock, changed, ready) = (Lock::new(), Condvar::new(), SharedCell::new(false));
///     scope(async |s| {
///         let (of_task, tell, set) = (lock.clone(), changed.clone(), ready.clone());
///         s.spawn_future(async move {
///             let _guard = of_task.acquire().await.expect("not held");
///             set.set(true);
///             tell.notify();
///             Ok(())
///         })?;
///         let mut guard = lock.acquire().await.expect("not held");
///         while !ready.get() {
///             guard = changed.wait(guard).await;
///         }
///         Ok::<_, TaskError>(42)
///     })
///     .await
/// });
/// assert_eq!(answer.unwrap(), 42);
/// ```
#[derive(Clone, Default)]
pub struct Condvar(Arc<Mutex<Waiters>>);

/// What a waiter is given says whether the notification was meant for one only.
type Waiters = Line<(), ForOne>;
type ForOne = bool;

impl Condvar {
    /// A condition nobody waits for.
    pub fn new() -> Condvar {
        Condvar::default()
    }

    /// How many wait for a notification.
    pub fn waiting(&self) -> usize {
        self.0.lock().len()
    }

    /// Releases the lock, waits for a notification, and takes the lock again.
    ///
    /// Dropping the future leaves the lock released; a notification it got meanwhile goes to the next waiter.
    pub fn wait(&self, guard: LockGuard) -> CondvarWait {
        CondvarWait { condvar: self.clone(), stage: Stage::New(guard) }
    }

    /// Wakes the one that waits longest; nobody if nobody waits.
    pub fn notify(&self) {
        let served = self.0.lock().serve(true);
        if let Ok((waker, ())) = served {
            waker.wake();
        }
    }

    /// Wakes all that wait now.
    pub fn broadcast(&self) {
        let mut wakers = Vec::new();
        {
            let mut waiters = self.0.lock();
            while let Ok((waker, ())) = waiters.serve(false) {
                wakers.push(waker);
            }
        }
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl fmt::Debug for Condvar {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Condvar").field("waiting", &self.waiting()).finish()
    }
}

impl Describe for Condvar {
    fn describe(&self) -> String {
        "a condition".to_owned()
    }
}

/// Waits for a notification: see [`Condvar::wait`].
#[must_use = "futures do nothing unless polled"]
pub struct CondvarWait {
    condvar: Condvar,
    stage: Stage,
}

enum Stage {
    New(LockGuard),
    Waiting(WaitKey, super::Lock),
    /// Notified; the lock is to be had again.
    Locking(LockAcquire, ForOne),
    Over,
}

impl CondvarWait {
    /// Whether it was notified, and only has to get the lock again.
    pub fn is_notified(&self) -> bool {
        matches!(self.stage, Stage::Locking(..))
    }
}

impl Future for CondvarWait {
    type Output = LockGuard;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<LockGuard> {
        let this = &mut *self;
        loop {
            this.stage = match std::mem::replace(&mut this.stage, Stage::Over) {
                Stage::New(guard) => {
                    let key = this.condvar.0.lock().join(cx, ());
                    let lock = guard.lock().clone();
                    // Only now that it is in line.
                    drop(guard);
                    Stage::Waiting(key, lock)
                }
                Stage::Waiting(key, lock) => match this.condvar.0.lock().poll(key, cx) {
                    Poll::Ready(for_one) => Stage::Locking(lock.acquire_again(), for_one),
                    Poll::Pending => {
                        this.stage = Stage::Waiting(key, lock);
                        note_wait(WaitKind::Notification);
                        return Poll::Pending;
                    }
                },
                Stage::Locking(mut acquire, for_one) => match Pin::new(&mut acquire).poll(cx) {
                    Poll::Ready(guard) => {
                        return Poll::Ready(guard.expect("nobody is refused the second time"));
                    }
                    Poll::Pending => {
                        this.stage = Stage::Locking(acquire, for_one);
                        return Poll::Pending;
                    }
                },
                Stage::Over => panic!("polled after it was ready"),
            };
        }
    }
}

impl Drop for CondvarWait {
    fn drop(&mut self) {
        let for_one = match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Waiting(key, _) => {
                matches!(self.condvar.0.lock().leave(key), Some(Left::Served(true)))
            }
            // It was told of the change and will not look: somebody else has to.
            Stage::Locking(_, for_one) => for_one,
            Stage::New(_) | Stage::Over => false,
        };
        if for_one {
            self.condvar.notify();
        }
    }
}
