//! A handover: one producer gives items, one for each pull, to any number of consumers. The producer runs only on
//! demand: it is held back at an item until the next pull. Not here: who runs the producer.
//! Invariants: an item goes to the pull that waits longest; while a pull waits, no item and no end is held back.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

use crate::frame::note_wait;
use crate::wait_list::{WaitKey, WaitList};
use crate::waiting::WaitKind;

/// A handover. Clones are the same one.
pub struct Handover<T, E>(Arc<Mutex<State<T, E>>>);

struct State<T, E> {
    stage: Stage<T, E>,
    /// The producer, held back at an item.
    producer: Option<Waker>,
    pulls: WaitList<Pull<T, E>>,
    /// Nobody will pull any more.
    abandoned: bool,
}

enum Stage<T, E> {
    /// Nobody wants an item.
    Idle,
    Wanted,
    /// An item whose pull went away.
    Left(T),
    /// With the failure that nobody has received yet.
    Ended(Option<E>),
}

enum Pull<T, E> {
    Waiting(Waker),
    Handed(T),
    Ended(Option<E>),
}

impl<T, E> Clone for Handover<T, E> {
    fn clone(&self) -> Self {
        Handover(self.0.clone())
    }
}

impl<T, E> Default for Handover<T, E> {
    fn default() -> Self {
        Handover::new()
    }
}

impl<T, E> State<T, E> {
    /// Gives `item` to the pull that waits longest, or keeps it.
    fn give(&mut self, item: T) -> Option<Waker> {
        let Some(pull) = self.pulls.pop_front() else {
            self.stage = Stage::Left(item);
            return None;
        };
        let Pull::Waiting(waker) = std::mem::replace(pull, Pull::Handed(item)) else {
            unreachable!("only waiting pulls are queued")
        };
        self.stage = if self.pulls.is_empty() { Stage::Idle } else { Stage::Wanted };
        Some(waker)
    }
}

impl<T, E> Handover<T, E> {
    /// A handover whose producer is about to run for its first pull.
    pub fn new() -> Handover<T, E> {
        let pulls = WaitList::default();
        Handover(Arc::new(Mutex::new(State { stage: Stage::Wanted, producer: None, pulls, abandoned: false })))
    }

    /// The producer has an item. The future ends when the next one is wanted.
    ///
    /// Dropping the future takes nothing back.
    pub fn give(&self, item: T) -> Wanted<T, E> {
        let waker = self.0.lock().give(item);
        if let Some(waker) = waker {
            waker.wake();
        }
        Wanted { handover: self.clone() }
    }

    /// The producer is over. Its failure goes to one pull; it comes back when nobody will pull any more.
    pub fn end(&self, failure: Option<E>) -> Option<E> {
        let mut wakers = Vec::new();
        let lost = {
            let mut state = self.0.lock();
            let mut failure = failure;
            while let Some(pull) = state.pulls.pop_front() {
                if let Pull::Waiting(waker) = std::mem::replace(pull, Pull::Ended(failure.take())) {
                    wakers.push(waker);
                }
            }
            let lost = if state.abandoned { failure.take() } else { None };
            state.stage = Stage::Ended(failure);
            state.producer = None;
            lost
        };
        wakers.into_iter().for_each(Waker::wake);
        lost
    }

    /// Nobody will pull any more. Gives the failure that nobody received.
    pub fn abandon(&self) -> Option<E> {
        let mut state = self.0.lock();
        state.abandoned = true;
        match &mut state.stage {
            Stage::Ended(failure) => failure.take(),
            Stage::Idle | Stage::Wanted | Stage::Left(_) => None,
        }
    }

    /// The next item, or once the failure of the producer; None when it is over.
    ///
    /// Dropping the future takes nothing: an item handed to it goes to the next pull.
    pub fn next(&self) -> Next<T, E> {
        Next { handover: self.clone(), parked: None }
    }
}

/// Waits for the next item to be wanted: see [`Handover::give`].
#[must_use = "futures do nothing unless polled"]
pub struct Wanted<T, E> {
    handover: Handover<T, E>,
}

impl<T, E> Future for Wanted<T, E> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.handover.0.lock();
        if matches!(state.stage, Stage::Wanted) {
            return Poll::Ready(());
        }
        state.producer = Some(cx.waker().clone());
        note_wait(WaitKind::Send);
        Poll::Pending
    }
}

/// Waits for an item: see [`Handover::next`].
#[must_use = "futures do nothing unless polled"]
pub struct Next<T, E> {
    handover: Handover<T, E>,
    parked: Option<WaitKey>,
}

impl<T, E> Next<T, E> {
    fn poll_parked(&mut self, key: WaitKey, cx: &Context<'_>) -> Poll<Option<Result<T, E>>> {
        let mut state = self.handover.0.lock();
        if let Some(Pull::Waiting(waker)) = state.pulls.get_mut(key) {
            waker.clone_from(cx.waker());
            note_wait(WaitKind::Receive);
            return Poll::Pending;
        }
        self.parked = None;
        Poll::Ready(match state.pulls.remove(key) {
            Some(Pull::Handed(item)) => Some(Ok(item)),
            Some(Pull::Ended(failure)) => failure.map(Err),
            Some(Pull::Waiting(_)) | None => unreachable!("a parked pull is in the list"),
        })
    }
}

impl<T, E> Future for Next<T, E> {
    type Output = Option<Result<T, E>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<T, E>>> {
        if let Some(key) = self.parked {
            return self.poll_parked(key, cx);
        }
        let handover = self.handover.clone();
        let mut state = handover.0.lock();
        match std::mem::replace(&mut state.stage, Stage::Wanted) {
            Stage::Left(item) => {
                state.stage = Stage::Idle;
                return Poll::Ready(Some(Ok(item)));
            }
            Stage::Ended(failure) => {
                state.stage = Stage::Ended(None);
                return Poll::Ready(failure.map(Err));
            }
            Stage::Idle | Stage::Wanted => {}
        }
        self.parked = Some(state.pulls.push_back(Pull::Waiting(cx.waker().clone())));
        let producer = state.producer.take();
        drop(state);
        note_wait(WaitKind::Receive);
        if let Some(producer) = producer {
            producer.wake();
        }
        Poll::Pending
    }
}

impl<T, E> Drop for Next<T, E> {
    fn drop(&mut self) {
        let Some(key) = self.parked else { return };
        let (left, waker) = {
            let mut state = self.handover.0.lock();
            match state.pulls.remove(key) {
                Some(Pull::Handed(item)) => (None, state.give(item)),
                Some(Pull::Ended(failure @ Some(_))) => {
                    state.stage = Stage::Ended(failure);
                    (None, None)
                }
                left => (left, None),
            }
        };
        drop(left);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn poll<F: Future>(future: &mut Pin<Box<F>>) -> Poll<F::Output> {
        future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_pull_that_goes_away_takes_nothing() {
        let handover: Handover<i32, &str> = Handover::new();
        let (mut first, mut second) = (Box::pin(handover.next()), Box::pin(handover.next()));
        assert!(poll(&mut first).is_pending() && poll(&mut second).is_pending());
        let mut wanted = Box::pin(handover.give(1));
        assert!(poll(&mut wanted).is_ready(), "the second pull wants one");
        drop(first);
        assert_eq!(poll(&mut second), Poll::Ready(Some(Ok(1))));
        let mut wanted = Box::pin(handover.give(2));
        assert!(poll(&mut wanted).is_pending(), "nobody pulls");
        assert_eq!(poll(&mut Box::pin(handover.next())), Poll::Ready(Some(Ok(2))));
    }

    #[test]
    fn a_failure_is_received_once_or_comes_back() {
        let handover: Handover<i32, &str> = Handover::new();
        let (mut first, mut second) = (Box::pin(handover.next()), Box::pin(handover.next()));
        assert!(poll(&mut first).is_pending() && poll(&mut second).is_pending());
        assert_eq!(handover.end(Some("bad")), None);
        drop(first);
        assert_eq!(poll(&mut second), Poll::Ready(None));
        assert_eq!(poll(&mut Box::pin(handover.next())), Poll::Ready(Some(Err("bad"))));
        assert_eq!(poll(&mut Box::pin(handover.next())), Poll::Ready(None));
        let unread: Handover<i32, &str> = Handover::new();
        assert_eq!(unread.abandon(), None);
        assert_eq!(unread.end(Some("bad")), Some("bad"));
    }
}
