//! A gate that opens once. Invariant: nobody is in line once it is open.

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

/// A latch. Clones are the same one.
#[derive(Clone, Default)]
pub struct Latch(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    open: bool,
    line: Line<(), ()>,
}

impl Latch {
    /// A closed latch.
    pub fn new() -> Latch {
        Latch::default()
    }

    /// Opens it for ever: all that wait go on.
    pub fn open(&self) {
        let mut wakers: Vec<Waker> = Vec::new();
        {
            let mut state = self.0.lock();
            state.open = true;
            while let Ok((waker, ())) = state.line.serve(()) {
                wakers.push(waker);
            }
        }
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Whether it is open.
    pub fn is_open(&self) -> bool {
        self.0.lock().open
    }

    /// Waits until it is open. Dropping the future has no effect.
    pub fn wait(&self) -> LatchWait {
        LatchWait { latch: self.clone(), parked: None }
    }
}

impl fmt::Debug for Latch {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Latch").field("open", &self.is_open()).finish()
    }
}

impl Describe for Latch {
    fn describe(&self) -> String {
        "a latch".to_owned()
    }
}

/// Waits for a latch to open: see [`Latch::wait`].
#[must_use = "futures do nothing unless polled"]
pub struct LatchWait {
    latch: Latch,
    parked: Option<WaitKey>,
}

impl Future for LatchWait {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let mut state = this.latch.0.lock();
        let is_over = match this.parked {
            None => state.open,
            Some(key) => state.line.poll(key, cx).is_ready(),
        };
        if is_over {
            this.parked = None;
            return Poll::Ready(());
        }
        if this.parked.is_none() {
            this.parked = Some(state.line.join(cx, ()));
        }
        note_wait(WaitKind::Latch);
        Poll::Pending
    }
}

impl Drop for LatchWait {
    fn drop(&mut self) {
        if let Some(key) = self.parked {
            let left = self.latch.0.lock().line.leave(key);
            drop(left);
        }
    }
}
