//! A mailbox: a channel that counts what goes through it. Not here: who finds it by what name.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::channel::{Channel, Closed, TryReceiveError, TrySendError};

/// A bounded mailbox for any number of senders and receivers. Clones are the same mailbox.
///
/// Dropping it does not close it. Fair and in order like the [`Channel`] it is made of.
pub struct Mailbox<T>(Arc<Shared<T>>);

struct Shared<T> {
    channel: Channel<T>,
    sent: AtomicU64,
    received: AtomicU64,
    failed_sends: AtomicU64,
}

/// What went through a mailbox so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MailboxMetrics {
    /// How many messages it has room for.
    pub capacity: usize,
    /// How many are in it.
    pub depth: usize,
    /// How many were put into it.
    pub sent_count: u64,
    /// How many were taken out of it.
    pub received_count: u64,
    /// How many it refused because it was closed.
    pub failed_send_count: u64,
    /// Whether it was closed.
    pub closed: bool,
}

impl<T> Clone for Mailbox<T> {
    fn clone(&self) -> Self {
        Mailbox(self.0.clone())
    }
}

impl<T> fmt::Debug for Mailbox<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_tuple("Mailbox").field(&self.metrics()).finish()
    }
}

impl<T> Mailbox<T> {
    /// A mailbox with room for `capacity` messages, at least one.
    pub fn new(name: impl Into<Box<str>>, capacity: usize) -> Mailbox<T> {
        let channel = Channel::named(name, capacity);
        let zero = AtomicU64::default;
        Mailbox(Arc::new(Shared { channel, sent: zero(), received: zero(), failed_sends: zero() }))
    }

    /// The channel underneath, for `select`. What is taken from it directly is not counted.
    pub fn channel(&self) -> &Channel<T> {
        &self.0.channel
    }

    /// Waits for room and sends. Errors with the message when the mailbox is closed, before or while it waits.
    ///
    /// Dropping the future sends nothing, unless a receiver has already taken the message.
    pub fn send(&self, message: T) -> impl Future<Output = Result<(), Closed<T>>> + use<T> {
        let (shared, sending) = (self.0.clone(), self.0.channel.send(message));
        async move {
            let sent = sending.await;
            shared.count_send(sent.is_ok());
            sent
        }
    }

    /// Sends without waiting, if there is room now.
    pub fn try_send(&self, message: T) -> Result<(), TrySendError<T>> {
        let sent = self.0.channel.try_send(message);
        // Full is no refusal: the sender may wait.
        if !matches!(sent, Err(TrySendError::Full(_))) {
            self.0.count_send(sent.is_ok());
        }
        sent
    }

    /// Waits for a message; None when the mailbox is closed and drained.
    ///
    /// Dropping the future takes nothing: a message already handed to it goes to the next receiver, or back in front.
    pub fn receive(&self) -> impl Future<Output = Option<T>> + use<T> {
        let (shared, receiving) = (self.0.clone(), self.0.channel.receive());
        async move {
            let received = receiving.await;
            shared.count_receive(received.is_some());
            received
        }
    }

    /// Takes a message without waiting, if there is one now.
    pub fn try_receive(&self) -> Result<T, TryReceiveError> {
        let received = self.0.channel.try_receive();
        self.0.count_receive(received.is_ok());
        received
    }

    /// Closes it: parked sends get their message back, what is in it stays receivable. `true` the first time.
    pub fn close(&self) -> bool {
        self.0.channel.close_first()
    }

    /// Whether it was closed and no message is left.
    pub fn is_drained(&self) -> bool {
        self.0.channel.is_drained()
    }

    /// What went through it so far.
    pub fn metrics(&self) -> MailboxMetrics {
        let shared = &self.0;
        MailboxMetrics {
            capacity: shared.channel.capacity(),
            depth: shared.channel.len(),
            sent_count: shared.sent.load(Ordering::Relaxed),
            received_count: shared.received.load(Ordering::Relaxed),
            failed_send_count: shared.failed_sends.load(Ordering::Relaxed),
            closed: shared.channel.is_closed(),
        }
    }
}

impl<T> Shared<T> {
    fn count_send(&self, sent: bool) {
        let counter = if sent { &self.sent } else { &self.failed_sends };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    fn count_receive(&self, received: bool) {
        self.received.fetch_add(u64::from(received), Ordering::Relaxed);
    }
}
