//! Waiting on several channels at once: exactly one value is taken, from exactly one of them.
//! A waiting select is parked in every channel with one shared place for the value. Whoever fills that place first
//! has committed the select; every other channel finds it filled and goes on to its next receiver.
//! Locks: a channel's, then the select's; never two channels' at once.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::facade::Mutex;

use crate::channel::{Channel, Receiver};
use crate::frame::note_wait;
use crate::wait_list::WaitKey;
use crate::waiting::WaitKind;

/// How a select ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selected<T> {
    /// The channel with this index gave this value.
    Value(usize, T),
    /// All channels are closed and drained.
    AllClosed,
}

pub(crate) struct SelectShared<T>(Mutex<Place<T>>);

enum Place<T> {
    Waiting(Waker),
    Filled(usize, T),
    /// The select is over, or has not parked yet.
    Closed,
}

impl<T> SelectShared<T> {
    /// Fills the place, unless another channel did.
    pub(crate) fn commit(&self, index: usize, value: T) -> Result<Waker, T> {
        let mut place = self.0.lock();
        if !matches!(*place, Place::Waiting(_)) {
            return Err(value);
        }
        match std::mem::replace(&mut *place, Place::Filled(index, value)) {
            Place::Waiting(waker) => Ok(waker),
            Place::Filled(..) | Place::Closed => unreachable!("checked above"),
        }
    }

    /// Whom to tell that a channel was closed.
    pub(crate) fn waker(&self) -> Option<Waker> {
        match &*self.0.lock() {
            Place::Waiting(waker) => Some(waker.clone()),
            Place::Filled(..) | Place::Closed => None,
        }
    }
}

/// Waits for a value from any of `channels`; of several that are ready, the first in order gives it.
///
/// Channels that are closed and drained are skipped. Dropping the future takes nothing from any channel.
pub fn select<T>(channels: Vec<Channel<T>>) -> Select<T> {
    Select { channels, parked: Vec::new(), shared: None }
}

/// Takes a value from the first of `channels` that has one, without waiting. None: nothing there right now.
pub fn try_select<T>(channels: &[Channel<T>]) -> Option<Selected<T>> {
    let mut all_closed = true;
    for (index, channel) in channels.iter().enumerate() {
        let taken = channel.with_state(|state| {
            all_closed &= state.is_drained();
            state.take()
        });
        if let Some((value, sender)) = taken {
            sender.into_iter().for_each(Waker::wake);
            return Some(Selected::Value(index, value));
        }
    }
    all_closed.then_some(Selected::AllClosed)
}

/// Waits for a value from any of several channels: see [`select`].
#[must_use = "futures do nothing unless polled"]
pub struct Select<T> {
    channels: Vec<Channel<T>>,
    /// Where it is parked: (channel, key).
    parked: Vec<(usize, WaitKey)>,
    shared: Option<Arc<SelectShared<T>>>,
}

impl<T> Future for Select<T> {
    type Output = Selected<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Selected<T>> {
        let this = &mut *self;
        if this.shared.is_none() {
            match try_select(&this.channels) {
                Some(selected) => return Poll::Ready(selected),
                None => this.park(cx),
            }
        } else if let Some(shared) = &this.shared {
            let mut place = shared.0.lock();
            if let Place::Waiting(waker) = &mut *place {
                waker.clone_from(cx.waker());
            }
        }
        match this.take_committed() {
            Some(selected) => Poll::Ready(selected),
            None if this.channels.iter().all(Channel::is_drained) => this.end_closed(),
            None => {
                note_wait(WaitKind::Select);
                Poll::Pending
            }
        }
    }
}

impl<T> Select<T> {
    fn park(&mut self, cx: &Context<'_>) {
        let shared = Arc::new(SelectShared(Mutex::new(Place::Waiting(cx.waker().clone()))));
        self.shared = Some(shared.clone());
        for (index, channel) in self.channels.iter().enumerate() {
            // A value may have come since the last look: take it as a sender would hand it over.
            let (key, sender, committed) = channel.with_state(|state| {
                let Some((value, sender)) = state.take() else {
                    let open = !state.is_drained();
                    let key = open.then(|| state.receivers.push_back(Receiver::Select(shared.clone(), index)));
                    return (key, None, false);
                };
                match shared.commit(index, value) {
                    Ok(_) => (None, sender, true),
                    Err(value) => (None, state.give_back(value).or(sender), true),
                }
            });
            sender.into_iter().for_each(Waker::wake);
            self.parked.extend(key.map(|key| (index, key)));
            if committed {
                break;
            }
        }
    }

    fn take_committed(&mut self) -> Option<Selected<T>> {
        let shared = self.shared.as_ref()?;
        let mut place = shared.0.lock();
        if !matches!(*place, Place::Filled(..)) {
            return None;
        }
        let filled = std::mem::replace(&mut *place, Place::Closed);
        drop(place);
        self.leave();
        match filled {
            Place::Filled(index, value) => Some(Selected::Value(index, value)),
            Place::Waiting(_) | Place::Closed => unreachable!("checked above"),
        }
    }

    fn end_closed(&mut self) -> Poll<Selected<T>> {
        // Closed channels hand out nothing, so the place cannot be filled any more unless it was just before.
        let selected = self.take_committed().unwrap_or(Selected::AllClosed);
        self.leave();
        Poll::Ready(selected)
    }

    fn leave(&mut self) {
        for (index, key) in self.parked.drain(..) {
            let left = self.channels[index].with_state(|state| state.receivers.remove(key));
            drop(left);
        }
    }
}

impl<T> Drop for Select<T> {
    fn drop(&mut self) {
        let Some(shared) = self.shared.take() else {
            return;
        };
        let place = std::mem::replace(&mut *shared.0.lock(), Place::Closed);
        self.leave();
        if let Place::Filled(index, value) = place {
            let waker = self.channels[index].with_state(|state| state.give_back(value));
            waker.into_iter().for_each(Waker::wake);
        }
    }
}
