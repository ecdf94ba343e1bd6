//! Bounded channels for any number of senders and receivers: first in, first out, fair on both ends.
//! Not here: waiting on several (`select.rs`). A value goes straight to the receiver that waits longest, so nobody
//! who comes later can overtake it. Invariants: receivers wait only while the buffer is empty, senders only while it
//! is full. A value handed to a receiver that is dropped goes to the next one, or back to the front.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::facade::Mutex;

use crate::frame::note_wait;
use crate::select::SelectShared;
use crate::wait_list::{WaitKey, WaitList};
use crate::waiting::{Describe, WaitKind};

/// A channel. Clones are the same channel; equal means the same channel. Dropping it does not close it.
pub struct Channel<T>(Arc<Shared<T>>);

struct Shared<T> {
    name: Option<Box<str>>,
    capacity: usize,
    state: Mutex<State<T>>,
}

pub(crate) struct State<T> {
    buffer: VecDeque<Buffered<T>>,
    /// Marks the values that came from parked senders, so that a sender that is dropped can take its value back.
    next_ticket: u64,
    closed: bool,
    pub(crate) receivers: WaitList<Receiver<T>>,
    senders: WaitList<Sender<T>>,
}

struct Buffered<T> {
    value: T,
    /// Of the parked sender it came from; 0: its sender did not wait.
    ticket: u64,
}

/// A parked receive.
pub(crate) enum Receiver<T> {
    Waiting(Waker),
    Handed(T),
    /// The channel was closed, or another waiter took over: look again.
    LookAgain,
    /// One of several channels a select waits on; the value goes to the select, with this index.
    Select(Arc<SelectShared<T>>, usize),
}

/// A parked send.
enum Sender<T> {
    Waiting(Waker, T),
    /// Its value went into the buffer, under this ticket.
    Sent(u64),
    Refused(T),
}

/// The value of a send that a closed channel refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed<T>(pub T);

/// Why `try_send` did not send; the value comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrySendError<T> {
    /// No room right now.
    Full(T),
    /// The channel is closed.
    Closed(T),
}

/// Why `try_receive` has no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TryReceiveError {
    /// Nothing there right now.
    Empty,
    /// The channel is closed and drained.
    Closed,
}

impl<T> State<T> {
    /// Gives `value` to the receiver that waits longest. `Err` when nobody waits.
    pub(crate) fn hand_to_receiver(&mut self, mut value: T) -> Result<Waker, T> {
        while let Some(receiver) = self.receivers.pop_front() {
            match receiver {
                Receiver::Waiting(_) => {
                    let Receiver::Waiting(waker) = std::mem::replace(receiver, Receiver::Handed(value)) else {
                        unreachable!("matched above")
                    };
                    return Ok(waker);
                }
                Receiver::Select(select, index) => match select.commit(*index, value) {
                    Ok(waker) => return Ok(waker),
                    // It has its value from another channel.
                    Err(refused) => value = refused,
                },
                Receiver::Handed(_) | Receiver::LookAgain => {
                    unreachable!("only waiting receivers are queued")
                }
            }
        }
        Err(value)
    }

    fn push_back(&mut self, value: T) {
        self.buffer.push_back(Buffered { value, ticket: 0 });
    }

    /// Takes a value, and lets the sender that waits longest into the room this makes.
    pub(crate) fn take(&mut self) -> Option<(T, Option<Waker>)> {
        let Buffered { value, .. } = self.buffer.pop_front()?;
        Some((value, self.admit_sender()))
    }

    fn admit_sender(&mut self) -> Option<Waker> {
        let sender = self.senders.pop_front()?;
        self.next_ticket += 1;
        match std::mem::replace(sender, Sender::Sent(self.next_ticket)) {
            Sender::Waiting(waker, value) => {
                self.buffer.push_back(Buffered { value, ticket: self.next_ticket });
                Some(waker)
            }
            Sender::Sent(_) | Sender::Refused(_) => unreachable!("only waiting senders are queued"),
        }
    }

    /// Forgets a parked sender; its value, unless a receiver has it.
    fn withdraw(&mut self, key: WaitKey) -> (Option<T>, Option<Waker>) {
        match self.senders.remove(key) {
            Some(Sender::Waiting(_, value) | Sender::Refused(value)) => (Some(value), None),
            Some(Sender::Sent(ticket)) => match self.buffer.iter().position(|entry| entry.ticket == ticket) {
                Some(place) => {
                    let value = self.buffer.remove(place).map(|entry| entry.value);
                    (value, self.admit_sender())
                }
                None => (None, None),
            },
            None => (None, None),
        }
    }

    /// Gives back a value whose receiver went away.
    pub(crate) fn give_back(&mut self, value: T) -> Option<Waker> {
        match self.hand_to_receiver(value) {
            Ok(waker) => Some(waker),
            Err(value) => {
                self.buffer.push_front(Buffered { value, ticket: 0 });
                None
            }
        }
    }

    pub(crate) fn is_drained(&self) -> bool {
        self.closed && self.buffer.is_empty()
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

impl<T> Channel<T> {
    /// A channel with room for `capacity` values, at least one.
    pub fn new(capacity: usize) -> Channel<T> {
        Channel::build(None, capacity)
    }

    /// As `new`, with a name for reports.
    pub fn named(name: impl Into<Box<str>>, capacity: usize) -> Channel<T> {
        Channel::build(Some(name.into()), capacity)
    }

    fn build(name: Option<Box<str>>, capacity: usize) -> Channel<T> {
        let state = State {
            buffer: VecDeque::new(),
            next_ticket: 0,
            closed: false,
            receivers: WaitList::default(),
            senders: WaitList::default(),
        };
        Channel(Arc::new(Shared { name, capacity: capacity.max(1), state: Mutex::new(state) }))
    }

    /// Its name, if it has one.
    pub fn name(&self) -> Option<&str> {
        self.0.name.as_deref()
    }

    /// How many values it has room for.
    pub fn capacity(&self) -> usize {
        self.0.capacity
    }

    /// How many values are in it.
    pub fn len(&self) -> usize {
        self.0.state.lock().buffer.len()
    }

    /// Whether no value is in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether it was closed. Values may still be in it.
    pub fn is_closed(&self) -> bool {
        self.0.state.lock().closed
    }

    /// Whether it was closed and no value is left.
    pub fn is_drained(&self) -> bool {
        self.0.state.lock().is_drained()
    }

    /// Closes it: parked sends get their value back, parked receives end, what is in it stays receivable. Idempotent.
    pub fn close(&self) {
        self.close_first();
    }

    /// As `close`; `true` when it was not closed before.
    pub(crate) fn close_first(&self) -> bool {
        let mut wakers = Vec::new();
        let first = {
            let mut state = self.0.state.lock();
            let first = !std::mem::replace(&mut state.closed, true);
            while let Some(receiver) = state.receivers.pop_front() {
                match std::mem::replace(receiver, Receiver::LookAgain) {
                    Receiver::Waiting(waker) => wakers.push(waker),
                    Receiver::Select(select, _) => wakers.extend(select.waker()),
                    Receiver::Handed(_) | Receiver::LookAgain => {
                        unreachable!("only waiting receivers are queued")
                    }
                }
            }
            while let Some(sender) = state.senders.pop_front() {
                if let Sender::Waiting(waker, value) = std::mem::replace(sender, Sender::Sent(0)) {
                    *sender = Sender::Refused(value);
                    wakers.push(waker);
                }
            }
            first
        };
        wakers.into_iter().for_each(Waker::wake);
        first
    }

    /// Sends without waiting, if there is room now.
    pub fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        let waker = {
            let mut state = self.0.state.lock();
            if state.closed {
                return Err(TrySendError::Closed(value));
            }
            match state.hand_to_receiver(value) {
                Ok(waker) => Some(waker),
                Err(value) if state.buffer.len() < self.0.capacity => {
                    state.push_back(value);
                    None
                }
                Err(value) => return Err(TrySendError::Full(value)),
            }
        };
        wake(waker);
        Ok(())
    }

    /// Waits for room and sends. Errors with the value when the channel is closed, before or while it waits.
    ///
    /// Dropping the future sends nothing, unless a receiver has already taken the value. To know which of the two it
    /// was, end the wait with [`Send::withdraw`].
    pub fn send(&self, value: T) -> Send<T> {
        Send { channel: self.clone(), state: SendState::New(value) }
    }

    /// Receives without waiting, if there is a value now.
    pub fn try_receive(&self) -> Result<T, TryReceiveError> {
        let (value, waker) = {
            let mut state = self.0.state.lock();
            match state.take() {
                Some(taken) => taken,
                None if state.closed => return Err(TryReceiveError::Closed),
                None => return Err(TryReceiveError::Empty),
            }
        };
        wake(waker);
        Ok(value)
    }

    /// Waits for a value; None when the channel is closed and drained.
    ///
    /// Dropping the future receives nothing: a value already handed to it goes to the next receiver, or back in front.
    pub fn receive(&self) -> Receive<T> {
        Receive { channel: self.clone(), parked: None }
    }

    pub(crate) fn with_state<R>(&self, act: impl FnOnce(&mut State<T>) -> R) -> R {
        act(&mut self.0.state.lock())
    }
}

impl<T> Clone for Channel<T> {
    fn clone(&self) -> Self {
        Channel(self.0.clone())
    }
}

impl<T> PartialEq for Channel<T> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl<T> Eq for Channel<T> {}

impl<T> fmt::Debug for Channel<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.0.state.lock();
        let mut debug = out.debug_struct("Channel");
        debug.field("name", &self.0.name).field("len", &state.buffer.len());
        debug.field("capacity", &self.0.capacity).field("closed", &state.closed).finish_non_exhaustive()
    }
}

impl<T: std::marker::Send> Describe for Channel<T> {
    fn describe(&self) -> String {
        match self.name() {
            Some(name) => format!("channel {name}"),
            None => "a channel".to_owned(),
        }
    }
}

/// Waits for room and sends: see [`Channel::send`].
#[must_use = "futures do nothing unless polled"]
pub struct Send<T> {
    channel: Channel<T>,
    state: SendState<T>,
}

enum SendState<T> {
    New(T),
    Parked(WaitKey),
    Over,
}

// The value is never pinned: it is moved out of the future, or into the channel, as a whole.
impl<T> Unpin for Send<T> {}

impl<T> Future for Send<T> {
    type Output = Result<(), Closed<T>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        match std::mem::replace(&mut this.state, SendState::Over) {
            SendState::New(value) => this.poll_new(value, cx),
            SendState::Parked(key) => this.poll_parked(key, cx),
            SendState::Over => panic!("polled after it was ready"),
        }
    }
}

impl<T> Send<T> {
    fn poll_new(&mut self, value: T, cx: &mut Context<'_>) -> Poll<Result<(), Closed<T>>> {
        let waker = {
            let mut state = self.channel.0.state.lock();
            if state.closed {
                return Poll::Ready(Err(Closed(value)));
            }
            match state.hand_to_receiver(value) {
                Ok(waker) => Some(waker),
                Err(value) if state.buffer.len() < self.channel.0.capacity => {
                    state.push_back(value);
                    None
                }
                Err(value) => {
                    let key = state.senders.push_back(Sender::Waiting(cx.waker().clone(), value));
                    self.state = SendState::Parked(key);
                    note_wait(WaitKind::Send);
                    return Poll::Pending;
                }
            }
        };
        wake(waker);
        Poll::Ready(Ok(()))
    }

    fn poll_parked(&mut self, key: WaitKey, cx: &mut Context<'_>) -> Poll<Result<(), Closed<T>>> {
        let mut state = self.channel.0.state.lock();
        if let Some(Sender::Waiting(waker, _)) = state.senders.get_mut(key) {
            waker.clone_from(cx.waker());
            self.state = SendState::Parked(key);
            note_wait(WaitKind::Send);
            return Poll::Pending;
        }
        match state.senders.remove(key) {
            Some(Sender::Refused(value)) => Poll::Ready(Err(Closed(value))),
            Some(Sender::Sent(_)) | None => Poll::Ready(Ok(())),
            Some(Sender::Waiting(..)) => unreachable!("handled above"),
        }
    }
}

impl<T> Send<T> {
    /// Gives up: the value, which is then not sent; or None when it has been sent.
    pub fn withdraw(mut self) -> Option<T> {
        self.leave()
    }

    fn leave(&mut self) -> Option<T> {
        match std::mem::replace(&mut self.state, SendState::Over) {
            SendState::New(value) => Some(value),
            SendState::Parked(key) => {
                let (value, admitted) = self.channel.0.state.lock().withdraw(key);
                wake(admitted);
                value
            }
            SendState::Over => None,
        }
    }
}

impl<T> Drop for Send<T> {
    fn drop(&mut self) {
        drop(self.leave());
    }
}

/// Waits for a value: see [`Channel::receive`].
#[must_use = "futures do nothing unless polled"]
pub struct Receive<T> {
    channel: Channel<T>,
    parked: Option<WaitKey>,
}

impl<T> Future for Receive<T> {
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let this = &mut *self;
        let (value, waker) = {
            let mut state = this.channel.0.state.lock();
            if let Some(key) = this.parked {
                if let Some(Receiver::Waiting(waker)) = state.receivers.get_mut(key) {
                    waker.clone_from(cx.waker());
                    note_wait(WaitKind::Receive);
                    return Poll::Pending;
                }
                this.parked = None;
                if let Some(Receiver::Handed(value)) = state.receivers.remove(key) {
                    return Poll::Ready(Some(value));
                }
            }
            match state.take() {
                Some((value, waker)) => (value, waker),
                None if state.closed => return Poll::Ready(None),
                None => {
                    this.parked = Some(state.receivers.push_back(Receiver::Waiting(cx.waker().clone())));
                    note_wait(WaitKind::Receive);
                    return Poll::Pending;
                }
            }
        };
        wake(waker);
        Poll::Ready(Some(value))
    }
}

impl<T> Drop for Receive<T> {
    fn drop(&mut self) {
        let Some(key) = self.parked else { return };
        let (left, waker) = {
            let mut state = self.channel.0.state.lock();
            match state.receivers.remove(key) {
                Some(Receiver::Handed(value)) => (None, state.give_back(value)),
                left => (left, None),
            }
        };
        drop(left);
        wake(waker);
    }
}
