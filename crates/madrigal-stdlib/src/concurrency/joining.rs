//! Waiting for many futures at once: each wakes only its own turn, so that a million cost a million polls.

use parking_lot::Mutex;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

/// Futures under way. Ended ones are handed out in the order in which they ended, ties in the order given.
pub struct Joining<F> {
    futures: Vec<Option<Pin<Box<F>>>>,
    ready: Arc<Ready>,
}

struct Ready {
    indices: Mutex<Vec<usize>>,
    waker: Mutex<Option<Waker>>,
}

struct Turn {
    index: usize,
    ready: Arc<Ready>,
}

impl Wake for Turn {
    fn wake(self: Arc<Self>) {
        self.ready.indices.lock().push(self.index);
        let waker = self.ready.waker.lock().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<F: Future> Joining<F> {
    pub fn new(futures: impl IntoIterator<Item = F>) -> Joining<F> {
        let futures: Vec<_> = futures.into_iter().map(|it| Some(Box::pin(it))).collect();
        let indices = (0..futures.len()).rev().collect();
        let ready = Ready { indices: Mutex::new(indices), waker: Mutex::new(None) };
        Joining { futures, ready: Arc::new(ready) }
    }

    /// The next one to end, with its index; `None` once all have.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<(usize, F::Output)>> {
        *self.ready.waker.lock() = Some(cx.waker().clone());
        loop {
            // The lock must be free while the future is polled: it may wake itself.
            let next = self.ready.indices.lock().pop();
            let Some(index) = next else { break };
            let Some(future) = &mut self.futures[index] else { continue };
            let waker = Waker::from(Arc::new(Turn { index, ready: self.ready.clone() }));
            if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                self.futures[index] = None;
                return Poll::Ready(Some((index, output)));
            }
        }
        if self.futures.iter().all(Option::is_none) { Poll::Ready(None) } else { Poll::Pending }
    }
}
