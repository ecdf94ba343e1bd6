//! A line of parked waiters: what each wants until it is its turn, what it was given after that. What the primitives
//! of this folder have in common. Invariants: only waiters not yet served are in the queue; who leaves after having been
//! served hands back what it was given, and the caller passes it on.

use std::task::{Context, Poll, Waker};

use crate::wait_list::{WaitKey, WaitList};

pub(crate) struct Line<X, G> {
    places: WaitList<Place<X, G>>,
}

enum Place<X, G> {
    Waiting(Waker, X),
    Served(G),
}

/// What somebody who left the line early leaves behind.
pub(crate) enum Left<X, G> {
    /// It was still waiting; this is what it wanted, and whom its turn would have woken.
    Waiting(X, #[allow(dead_code, reason = "to be dropped where no lock is held")] Waker),
    /// It had been given this and never knew.
    Served(G),
}

impl<X, G> Default for Line<X, G> {
    fn default() -> Self {
        Line { places: WaitList::default() }
    }
}

impl<X, G> Line<X, G> {
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// What the first in line wants.
    pub(crate) fn front(&self) -> Option<&X> {
        match self.places.front() {
            Some(Place::Waiting(_, wants)) => Some(wants),
            Some(Place::Served(_)) | None => None,
        }
    }

    /// The waker of the first in line.
    pub(crate) fn front_waker(&self) -> Option<Waker> {
        match self.places.front() {
            Some(Place::Waiting(waker, _)) => Some(waker.clone()),
            Some(Place::Served(_)) | None => None,
        }
    }

    /// Goes to the end of the line.
    pub(crate) fn join(&mut self, cx: &Context<'_>, wants: X) -> WaitKey {
        self.places.push_back(Place::Waiting(cx.waker().clone(), wants))
    }

    /// Serves the first in line: its waker, to be woken unlocked, and what it wanted. `Err`: nobody is in line.
    pub(crate) fn serve(&mut self, given: G) -> Result<(Waker, X), G> {
        let Some(first) = self.places.pop_front() else {
            return Err(given);
        };
        match std::mem::replace(first, Place::Served(given)) {
            Place::Waiting(waker, wants) => Ok((waker, wants)),
            Place::Served(_) => unreachable!("only waiting places are queued"),
        }
    }

    /// What the waiter was given, once it was served; it is then out of the line.
    pub(crate) fn poll(&mut self, key: WaitKey, cx: &Context<'_>) -> Poll<G> {
        if let Some(Place::Waiting(waker, _)) = self.places.get_mut(key) {
            waker.clone_from(cx.waker());
            return Poll::Pending;
        }
        match self.places.remove(key) {
            Some(Place::Served(given)) => Poll::Ready(given),
            Some(Place::Waiting(..)) | None => unreachable!("a waiter keeps its place until it leaves"),
        }
    }

    /// Leaves the line, served or not. The result may own a task and is to be dropped unlocked.
    pub(crate) fn leave(&mut self, key: WaitKey) -> Option<Left<X, G>> {
        self.places.remove(key).map(|place| match place {
            Place::Waiting(waker, wants) => Left::Waiting(wants, waker),
            Place::Served(given) => Left::Served(given),
        })
    }
}
