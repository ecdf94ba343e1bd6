//! Counted permits. Invariant: nobody waits while the permits free cover what the first waiter wants.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::facade::Mutex;

use crate::frame::note_wait;
use crate::wait_list::{WaitKey, WaitList};
use crate::waiting::{Describe, WaitKind};

/// A fair semaphore. Clones are the same one.
#[derive(Clone)]
pub struct Semaphore(Arc<Shared>);

struct Shared {
    capacity: usize,
    state: Mutex<State>,
}

struct State {
    free: usize,
    waiters: WaitList<Waiter>,
}

enum Waiter {
    Waiting(Waker, usize),
    Granted,
}

impl State {
    fn release(&mut self, permits: usize, wakers: &mut Vec<Waker>) {
        self.free += permits;
        self.serve(wakers);
    }

    fn serve(&mut self, wakers: &mut Vec<Waker>) {
        while let Some(Waiter::Waiting(_, wanted)) = self.waiters.front() {
            if *wanted > self.free {
                return;
            }
            self.free -= *wanted;
            let first = self.waiters.pop_front().expect("seen above");
            if let Waiter::Waiting(waker, _) = std::mem::replace(first, Waiter::Granted) {
                wakers.push(waker);
            }
        }
    }
}

impl Semaphore {
    /// A semaphore with `capacity` permits, all free.
    pub fn new(capacity: usize) -> Semaphore {
        let state = State { free: capacity, waiters: WaitList::default() };
        Semaphore(Arc::new(Shared { capacity, state: Mutex::new(state) }))
    }

    /// How many permits there are.
    pub fn capacity(&self) -> usize {
        self.0.capacity
    }

    /// How many permits are free.
    pub fn available(&self) -> usize {
        self.0.state.lock().free
    }

    /// How many acquires are parked.
    pub fn waiting(&self) -> usize {
        self.0.state.lock().waiters.len()
    }

    /// Takes `permits` without waiting, if they are free and nobody waits.
    pub fn try_acquire(&self, permits: usize) -> Option<Permit> {
        let mut state = self.0.state.lock();
        if state.free < permits || !state.waiters.is_empty() {
            return None;
        }
        state.free -= permits;
        Some(Permit { semaphore: self.clone(), permits })
    }

    /// Waits for `permits`, first come, first served. More than the capacity waits for ever.
    ///
    /// Dropping the future takes nothing.
    pub fn acquire(&self, permits: usize) -> Acquire {
        Acquire { semaphore: self.clone(), permits, parked: None }
    }

    /// Gives back permits whose [`Permit`] was forgotten; `false`, and nothing, if that makes more than there are.
    pub fn give_back(&self, permits: usize) -> bool {
        let mut wakers = Vec::new();
        let fits = {
            let mut state = self.0.state.lock();
            let fits = state.free.checked_add(permits).is_some_and(|free| free <= self.0.capacity);
            if fits {
                state.release(permits, &mut wakers);
            }
            fits
        };
        wakers.into_iter().for_each(Waker::wake);
        fits
    }

    fn release(&self, permits: usize) {
        let mut wakers = Vec::new();
        self.0.state.lock().release(permits, &mut wakers);
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl fmt::Debug for Semaphore {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.0.state.lock();
        let mut debug = out.debug_struct("Semaphore");
        debug.field("capacity", &self.0.capacity).field("free", &state.free).finish_non_exhaustive()
    }
}

impl Describe for Semaphore {
    fn describe(&self) -> String {
        format!("a semaphore of {}", self.0.capacity)
    }
}

/// Permits taken. Dropping them gives them back.
#[derive(Debug)]
pub struct Permit {
    semaphore: Semaphore,
    permits: usize,
}

impl Permit {
    /// How many.
    pub fn permits(&self) -> usize {
        self.permits
    }

    /// Keeps them taken until somebody calls [`Semaphore::give_back`].
    pub fn forget(mut self) {
        self.permits = 0;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.permits > 0 {
            self.semaphore.release(self.permits);
        }
    }
}

/// Waits for permits: see [`Semaphore::acquire`].
#[must_use = "futures do nothing unless polled"]
pub struct Acquire {
    semaphore: Semaphore,
    permits: usize,
    parked: Option<WaitKey>,
}

impl Future for Acquire {
    type Output = Permit;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Permit> {
        let this = &mut *self;
        let permits = this.permits;
        let mut state = this.semaphore.0.state.lock();
        match this.parked {
            None if state.free >= permits && state.waiters.is_empty() => state.free -= permits,
            None => {
                this.parked = Some(state.waiters.push_back(Waiter::Waiting(cx.waker().clone(), permits)));
                note_wait(WaitKind::Permits);
                return Poll::Pending;
            }
            Some(key) => {
                if let Some(Waiter::Waiting(waker, _)) = state.waiters.get_mut(key) {
                    waker.clone_from(cx.waker());
                    note_wait(WaitKind::Permits);
                    return Poll::Pending;
                }
                state.waiters.remove(key);
                this.parked = None;
            }
        }
        drop(state);
        Poll::Ready(Permit { semaphore: this.semaphore.clone(), permits })
    }
}

impl Drop for Acquire {
    fn drop(&mut self) {
        let Some(key) = self.parked else { return };
        let mut wakers = Vec::new();
        let left = {
            let mut state = self.semaphore.0.state.lock();
            let left = state.waiters.remove(key);
            match &left {
                Some(Waiter::Granted) => state.release(self.permits, &mut wakers),
                // It may have been the one that held up those behind it.
                Some(Waiter::Waiting(..)) => state.serve(&mut wakers),
                None => {}
            }
            left
        };
        drop(left);
        wakers.into_iter().for_each(Waker::wake);
    }
}
