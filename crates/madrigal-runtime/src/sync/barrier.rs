//! A meeting point. Invariant: fewer than `size` wait; the one that makes the round complete goes on at once.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::facade::Mutex;

use super::line::Line;
use crate::frame::note_wait;
use crate::wait_list::WaitKey;
use crate::waiting::{Describe, WaitKind};

/// A barrier for rounds of `size` tasks, to be used again and again. Clones are the same one.
#[derive(Clone)]
pub struct Barrier(Arc<Shared>);

struct Shared {
    size: usize,
    line: Mutex<Line<(), ()>>,
}

impl Barrier {
    /// A barrier that lets tasks go on `size` at a time; at least one.
    pub fn new(size: usize) -> Barrier {
        Barrier(Arc::new(Shared { size: size.max(1), line: Mutex::default() }))
    }

    /// How many make a round.
    pub fn size(&self) -> usize {
        self.0.size
    }

    /// How many of the present round have arrived.
    pub fn waiting(&self) -> usize {
        self.0.line.lock().len()
    }

    /// Waits until the round is complete; `true` for the one that completed it.
    ///
    /// Dropping the future before that leaves the round: somebody else has to come instead.
    pub fn wait(&self) -> BarrierWait {
        BarrierWait { barrier: self.clone(), parked: None, over: false }
    }
}

impl fmt::Debug for Barrier {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Barrier").field("size", &self.0.size).field("waiting", &self.waiting()).finish()
    }
}

impl Describe for Barrier {
    fn describe(&self) -> String {
        format!("a barrier of {}", self.0.size)
    }
}

/// Waits for a round: see [`Barrier::wait`].
#[must_use = "futures do nothing unless polled"]
pub struct BarrierWait {
    barrier: Barrier,
    parked: Option<WaitKey>,
    over: bool,
}

impl Future for BarrierWait {
    type Output = bool;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<bool> {
        let this = &mut *self;
        assert!(!this.over, "polled after it was ready");
        let mut wakers: Vec<Waker> = Vec::new();
        let mut line = this.barrier.0.line.lock();
        if let Some(key) = this.parked {
            if line.poll(key, cx).is_pending() {
                note_wait(WaitKind::Barrier);
                return Poll::Pending;
            }
            (this.parked, this.over) = (None, true);
            return Poll::Ready(false);
        }
        if line.len() + 1 < this.barrier.0.size {
            this.parked = Some(line.join(cx, ()));
            note_wait(WaitKind::Barrier);
            return Poll::Pending;
        }
        while let Ok((waker, ())) = line.serve(()) {
            wakers.push(waker);
        }
        drop(line);
        this.over = true;
        wakers.into_iter().for_each(Waker::wake);
        Poll::Ready(true)
    }
}

impl Drop for BarrierWait {
    fn drop(&mut self) {
        if let Some(key) = self.parked {
            let left = self.barrier.0.line.lock().leave(key);
            drop(left);
        }
    }
}
