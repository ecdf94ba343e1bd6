//! A handover: one producer gives items, one for each pull, to any number of consumers. The producer runs only on
//! demand: it is held back at an item until the next pull, or until fewer are left than it may be ahead. Not here: who
//! runs the producer.
//! Invariants: an item goes to the pull that waits longest; while a pull waits, no item and no end is held back.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Wake, Waker};

use parking_lot::Mutex;

use crate::frame::note_wait;
use crate::wait_list::{WaitKey, WaitList};
use crate::waiting::WaitKind;

/// A handover. Clones are the same one.
pub struct Handover<T, E>(Arc<Mutex<State<T, E>>>);

struct State<T, E> {
    /// Items that no pull waited for, or whose pull went away.
    left: VecDeque<T>,
    /// How many may be left before the producer is held back.
    ahead: usize,
    /// Once over: the failure that nobody has received yet.
    ended: Option<Option<E>>,
    /// The producer, held back at an item.
    producer: Option<Waker>,
    pulls: WaitList<Pull<T, E>>,
    /// Nobody will pull any more.
    abandoned: bool,
    activity: Activity,
    /// What the producer pulls itself, while it waits for it.
    reading: Vec<Weak<Mutex<State<T, E>>>>,
    /// Those who want to know when the producer waits.
    watchers: Vec<Waker>,
}

/// Whether the producer can go on by itself.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Activity {
    Waiting,
    Polled,
    Woken,
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
    /// Gives `item` to the pull that waits longest; gives it back when none does.
    fn hand(&mut self, item: T) -> Result<Waker, T> {
        let Some(pull) = self.pulls.pop_front() else { return Err(item) };
        let Pull::Waiting(waker) = std::mem::replace(pull, Pull::Handed(item)) else {
            unreachable!("only waiting pulls are queued")
        };
        Ok(waker)
    }

    fn is_wanted(&self) -> bool {
        !self.pulls.is_empty() || self.left.len() < self.ahead
    }

    /// The producer, when it is to go on.
    fn wanted(&mut self) -> Option<Waker> {
        if self.is_wanted() { self.producer.take() } else { None }
    }
}

impl<T, E> Handover<T, E> {
    /// A handover whose producer is about to run for its first pull.
    pub fn new() -> Handover<T, E> {
        Handover(Arc::new(Mutex::new(State {
            left: VecDeque::new(),
            ahead: 0,
            ended: None,
            producer: None,
            pulls: WaitList::default(),
            abandoned: false,
            activity: Activity::Woken,
            reading: Vec::new(),
            watchers: Vec::new(),
        })))
    }

    /// Lets the producer run until `ahead` items wait for a pull.
    pub fn set_ahead(&self, ahead: usize) {
        let producer = {
            let mut state = self.0.lock();
            state.ahead = ahead;
            state.wanted()
        };
        producer.into_iter().for_each(Waker::wake);
    }

    /// The producer as a future: polling it keeps track of whether it can go on by itself.
    pub fn producing<F>(&self, producer: F) -> Producing<T, E, F> {
        Producing { producer, handover: self.clone(), waker: None }
    }

    /// Ready when neither the producer nor a producer it waits for can go on by itself: no item comes without time
    /// passing or somebody else acting. Wakes `cx` when that may have changed.
    pub fn poll_settled(&self, cx: &Context<'_>) -> Poll<()> {
        let mut seen = vec![self.clone()];
        let mut at = 0;
        while let Some(handover) = seen.get(at).cloned() {
            at += 1;
            let mut state = handover.0.lock();
            if state.ended.is_some() {
                continue;
            }
            if state.activity != Activity::Waiting {
                state.watchers.retain(|it| !it.will_wake(cx.waker()));
                state.watchers.push(cx.waker().clone());
                return Poll::Pending;
            }
            let read = state.reading.iter().filter_map(Weak::upgrade);
            let new: Vec<_> = read.filter(|it| !seen.iter().any(|known| Arc::ptr_eq(&known.0, it))).collect();
            drop(state);
            seen.extend(new.into_iter().map(Handover));
        }
        Poll::Ready(())
    }

    /// The producer has an item. The future ends when the next one is wanted.
    ///
    /// Dropping the future takes nothing back.
    pub fn give(&self, item: T) -> Wanted<T, E> {
        let waker = {
            let mut state = self.0.lock();
            state.hand(item).map_err(|item| state.left.push_back(item)).ok()
        };
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
            state.ended = Some(failure);
            state.producer = None;
            wakers.append(&mut state.watchers);
            lost
        };
        wakers.into_iter().for_each(Waker::wake);
        lost
    }

    /// Nobody will pull any more. Gives the failure that nobody received.
    pub fn abandon(&self) -> Option<E> {
        let mut state = self.0.lock();
        state.abandoned = true;
        state.ended.as_mut().and_then(Option::take)
    }

    /// The next item, or once the failure of the producer; None when it is over.
    ///
    /// Dropping the future takes nothing: an item handed to it goes to the next pull.
    pub fn next(&self) -> Next<T, E> {
        Next { handover: self.clone(), parked: None, reader: None }
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
        if state.is_wanted() {
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
    reader: Option<Weak<Mutex<State<T, E>>>>,
}

impl<T, E> Next<T, E> {
    /// It is the producer of `reader` that pulls.
    pub fn for_producer_of(mut self, reader: Option<&Handover<T, E>>) -> Self {
        self.reader = reader.map(|it| Arc::downgrade(&it.0));
        self
    }

    fn note_reading(&self) {
        note_wait(WaitKind::Receive);
        if let Some(reader) = self.reader.as_ref().and_then(Weak::upgrade) {
            reader.lock().reading.push(Arc::downgrade(&self.handover.0));
        }
    }

    fn poll_parked(&mut self, key: WaitKey, cx: &Context<'_>) -> Poll<Option<Result<T, E>>> {
        let mut state = self.handover.0.lock();
        if let Some(Pull::Waiting(waker)) = state.pulls.get_mut(key) {
            waker.clone_from(cx.waker());
            drop(state);
            self.note_reading();
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
        if let Some(item) = state.left.pop_front() {
            let producer = state.wanted();
            drop(state);
            producer.into_iter().for_each(Waker::wake);
            return Poll::Ready(Some(Ok(item)));
        }
        if let Some(failure) = &mut state.ended {
            return Poll::Ready(failure.take().map(Err));
        }
        self.parked = Some(state.pulls.push_back(Pull::Waiting(cx.waker().clone())));
        let producer = state.producer.take();
        drop(state);
        self.note_reading();
        producer.into_iter().for_each(Waker::wake);
        Poll::Pending
    }
}

impl<T, E> Drop for Next<T, E> {
    fn drop(&mut self) {
        let Some(key) = self.parked else { return };
        let (left, waker) = {
            let mut state = self.handover.0.lock();
            match state.pulls.remove(key) {
                Some(Pull::Handed(item)) => (None, state.hand(item).map_err(|item| state.left.push_front(item)).ok()),
                Some(Pull::Ended(failure @ Some(_))) => {
                    state.ended = Some(failure);
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

/// A producer under way: see [`Handover::producing`].
#[must_use = "futures do nothing unless polled"]
pub struct Producing<T, E, F> {
    producer: F,
    handover: Handover<T, E>,
    /// The waker of the task, and the one its future gets.
    waker: Option<(Waker, Waker)>,
}

/// Notes that the producer can go on before it wakes its task.
struct ProducerWaker<T, E> {
    handover: Weak<Mutex<State<T, E>>>,
    task: Waker,
}

impl<T: std::marker::Send + 'static, E: std::marker::Send + 'static> Wake for ProducerWaker<T, E> {
    fn wake(self: Arc<Self>) {
        if let Some(state) = self.handover.upgrade() {
            state.lock().activity = Activity::Woken;
        }
        self.task.wake_by_ref();
    }
}

impl<T, E, F> Future for Producing<T, E, F>
where
    T: std::marker::Send + 'static,
    E: std::marker::Send + 'static,
    F: Future + Unpin,
{
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = &mut *self;
        {
            let mut state = this.handover.0.lock();
            state.activity = Activity::Polled;
            state.reading.clear();
        }
        if this.waker.as_ref().is_none_or(|it| !it.0.will_wake(cx.waker())) {
            let waker = ProducerWaker { handover: Arc::downgrade(&this.handover.0), task: cx.waker().clone() };
            this.waker = Some((cx.waker().clone(), Waker::from(Arc::new(waker))));
        }
        let Some((_, waker)) = &this.waker else { unreachable!("made above") };
        let polled = Pin::new(&mut this.producer).poll(&mut Context::from_waker(waker));
        let watchers = {
            let mut state = this.handover.0.lock();
            if polled.is_pending() && state.activity == Activity::Polled {
                state.activity = Activity::Waiting;
                std::mem::take(&mut state.watchers)
            } else {
                Vec::new()
            }
        };
        watchers.into_iter().for_each(Waker::wake);
        polled
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
    fn a_producer_may_be_so_many_items_ahead() {
        let handover: Handover<i32, &str> = Handover::new();
        handover.set_ahead(2);
        assert!(poll(&mut Box::pin(handover.give(1))).is_ready(), "one is left");
        let mut wanted = Box::pin(handover.give(2));
        assert!(poll(&mut wanted).is_pending(), "two are left");
        assert_eq!(poll(&mut Box::pin(handover.next())), Poll::Ready(Some(Ok(1))));
        assert!(poll(&mut wanted).is_ready());
        assert_eq!(handover.end(Some("bad")), None);
        assert_eq!(poll(&mut Box::pin(handover.next())), Poll::Ready(Some(Ok(2))));
        assert_eq!(poll(&mut Box::pin(handover.next())), Poll::Ready(Some(Err("bad"))));
    }

    #[test]
    fn a_producer_has_settled_once_it_waits() {
        let handover: Handover<i32, &str> = Handover::new();
        let cx = Context::from_waker(Waker::noop());
        assert!(handover.poll_settled(&cx).is_pending(), "it did not run yet");
        let inner: Handover<i32, &str> = Handover::new();
        let mut producer = Box::pin(handover.producing(Box::pin(inner.next().for_producer_of(Some(&handover)))));
        assert!(poll(&mut producer).is_pending());
        assert!(handover.poll_settled(&cx).is_pending(), "what it waits for may run");
        assert!(poll(&mut Box::pin(inner.producing(std::future::pending::<()>()))).is_pending());
        assert!(handover.poll_settled(&cx).is_ready());
        drop(inner.give(1));
        assert!(handover.poll_settled(&cx).is_pending(), "it was woken");
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
