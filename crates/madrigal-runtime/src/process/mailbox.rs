//! What a process receives, in the order it came. Messages are numbered, so that a scan can go on where it stopped
//! even when the process took others out meanwhile. Not here: waiting (`cell.rs`).

use std::collections::VecDeque;
use std::sync::Arc;

use super::member::Member;
use super::reason::Reason;

/// What a mailbox holds.
pub enum Received<M, E> {
    /// A message somebody sent.
    Message(M),
    /// The exit signal of another process, for those that trap exits.
    Exit {
        /// Who ended or asked; none when it was no process.
        from: Option<Arc<dyn Member<E>>>,
        /// Why.
        reason: Reason<E>,
    },
    /// A monitored process has ended.
    Down {
        /// The number of the monitor, which is used up.
        monitor: u64,
        /// Who ended.
        pid: Arc<dyn Member<E>>,
        /// Why.
        reason: Reason<E>,
    },
}

impl<M: Clone, E: Clone> Clone for Received<M, E> {
    fn clone(&self) -> Self {
        match self {
            Received::Message(message) => Received::Message(message.clone()),
            Received::Exit { from, reason } => Received::Exit { from: from.clone(), reason: reason.clone() },
            Received::Down { monitor, pid, reason } => {
                Received::Down { monitor: *monitor, pid: pid.clone(), reason: reason.clone() }
            }
        }
    }
}

/// Messages by rising number.
pub(super) struct Mailbox<M, E> {
    messages: VecDeque<(u64, Received<M, E>)>,
    last: u64,
}

impl<M, E> Mailbox<M, E> {
    pub(super) fn new() -> Mailbox<M, E> {
        Mailbox { messages: VecDeque::new(), last: 0 }
    }

    pub(super) fn push(&mut self, message: Received<M, E>) {
        self.last += 1;
        self.messages.push_back((self.last, message));
    }

    pub(super) fn pop(&mut self) -> Option<Received<M, E>> {
        let (_, message) = self.messages.pop_front()?;
        if self.messages.is_empty() && self.messages.capacity() > 64 {
            // Gives the memory of a flood back.
            self.messages = VecDeque::new();
        }
        Some(message)
    }

    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }

    /// The number of the last message that ever came.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// Position of the first message with a number above `number`.
    fn after(&self, number: u64) -> usize {
        self.messages.partition_point(|(known, _)| *known <= number)
    }

    /// The first message that came after the one with this number.
    pub(super) fn next_after(&self, number: u64) -> Option<&(u64, Received<M, E>)> {
        self.messages.get(self.after(number))
    }

    /// Takes out the message with this number.
    pub(super) fn take(&mut self, number: u64) -> Option<Received<M, E>> {
        let at = self.after(number.checked_sub(1)?);
        match self.messages.get(at) {
            Some((known, _)) if *known == number => self.messages.remove(at).map(|it| it.1),
            _ => None,
        }
    }

    /// Takes out the first message that `wanted` holds for, among those after `number`.
    pub(super) fn take_where(
        &mut self,
        number: u64,
        wanted: impl FnMut(&Received<M, E>) -> bool,
    ) -> Option<Received<M, E>> {
        let mut wanted = wanted;
        let from = self.after(number);
        let at = (from..self.messages.len()).find(|at| wanted(&self.messages[*at].1))?;
        self.messages.remove(at).map(|it| it.1)
    }

    /// Everything, for a process that is gone.
    pub(super) fn clear(&mut self) -> VecDeque<(u64, Received<M, E>)> {
        std::mem::take(&mut self.messages)
    }
}
