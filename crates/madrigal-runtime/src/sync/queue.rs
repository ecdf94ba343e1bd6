//! A bounded queue: a channel under the names that collections use.

use std::fmt;
use std::future::Future;

use crate::channel::{Channel, Closed, TryReceiveError, TrySendError};

/// A bounded queue, first in, first out. Clones are the same queue.
pub struct Queue<T>(Channel<T>);

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Self {
        Queue(self.0.clone())
    }
}

impl<T> fmt::Debug for Queue<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = out.debug_struct("Queue");
        debug.field("len", &self.len()).field("capacity", &self.capacity()).finish()
    }
}

impl<T> Queue<T> {
    /// A queue with room for `capacity` items, at least one.
    pub fn new(capacity: usize) -> Queue<T> {
        Queue(Channel::new(capacity))
    }

    /// How many items it has room for.
    pub fn capacity(&self) -> usize {
        self.0.capacity()
    }

    /// How many items are in it.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it was closed. Items may still be in it.
    pub fn is_closed(&self) -> bool {
        self.0.is_closed()
    }

    /// Closes it: parked puts get their item back, what is in it can still be taken.
    pub fn close(&self) {
        self.0.close();
    }

    /// Waits for room and puts. Errors with the item when the queue is closed, before or while it waits.
    ///
    /// Dropping the future puts nothing, unless somebody has already taken the item.
    pub fn put(&self, item: T) -> impl Future<Output = Result<(), Closed<T>>> + use<T> {
        self.0.send(item)
    }

    /// Puts without waiting, if there is room now.
    pub fn try_put(&self, item: T) -> Result<(), TrySendError<T>> {
        self.0.try_send(item)
    }

    /// Waits for an item; None when the queue is closed and drained.
    ///
    /// Dropping the future takes nothing: an item already handed to it goes to the next in line, or back in front.
    pub fn take(&self) -> impl Future<Output = Option<T>> + use<T> {
        self.0.receive()
    }

    /// Takes without waiting, if there is an item now.
    pub fn try_take(&self) -> Result<T, TryReceiveError> {
        self.0.try_receive()
    }

    /// The channel underneath, for `select`.
    pub fn channel(&self) -> &Channel<T> {
        &self.0
    }
}
