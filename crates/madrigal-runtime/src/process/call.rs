//! A question to a process: one place for one answer, and the end of the process seen meanwhile.
//! Not here: what the question looks like. Invariant: an answer that comes after the caller gave up is discarded.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

use super::member::{Member, Watch, WatchKey};
use super::reason::Reason;
use crate::failure::Failure;
use crate::waiting::WaitKind;

enum Place<T, E> {
    Open(Option<Waker>),
    Answered(T),
    Down(Reason<E>),
    /// The caller has its answer, or gave up.
    Over,
}

struct Shared<T, E>(Mutex<Place<T, E>>);

impl<T, E> Shared<T, E> {
    fn settle(&self, with: Place<T, E>) -> bool {
        let mut place = self.0.lock();
        let Place::Open(waker) = &mut *place else {
            drop(place);
            drop(with);
            return false;
        };
        let waker = waker.take();
        *place = with;
        drop(place);
        waker.into_iter().for_each(Waker::wake);
        true
    }
}

impl<T: Send, E: Failure> Watch<E> for Shared<T, E> {
    fn ended(&self, _: Arc<dyn Member<E>>, reason: Reason<E>) {
        self.settle(Place::Down(reason));
    }
}

/// Where the answer goes. Clones are the same place; dropping one answers nothing.
pub struct Answer<T, E>(Arc<Shared<T, E>>);

impl<T, E> Clone for Answer<T, E> {
    fn clone(&self) -> Self {
        Answer(self.0.clone())
    }
}

impl<T, E> PartialEq for Answer<T, E> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl<T, E> Answer<T, E> {
    /// Gives the answer. `false` when there was one before, or nobody waits for it any more.
    pub fn give(&self, answer: T) -> bool {
        self.0.settle(Place::Answered(answer))
    }
}

/// How a call ended.
pub type Answered<T, E> = Result<T, Reason<E>>;

/// Opens a call of `server`: the place for its answer, and the wait for it. The caller sends the question itself.
pub fn call<T: Send + 'static, E: Failure>(server: &Arc<dyn Member<E>>) -> (Answer<T, E>, Call<T, E>) {
    let shared = Arc::new(Shared(Mutex::new(Place::Open(None))));
    let watched = server.watch(shared.clone());
    let call = Call { shared: shared.clone(), server: Arc::downgrade(server), watched };
    (Answer(shared), call)
}

/// Waits for the answer, or for the end of the server. Dropping it gives the call up.
#[must_use = "futures do nothing unless polled"]
pub struct Call<T, E: 'static> {
    shared: Arc<Shared<T, E>>,
    server: Weak<dyn Member<E>>,
    watched: Option<WatchKey>,
}

impl<T, E: 'static> Call<T, E> {
    /// The answer, if it has come already.
    pub fn try_take(&mut self) -> Option<Answered<T, E>> {
        let mut place = self.shared.0.lock();
        match &*place {
            Place::Answered(_) | Place::Down(_) => {}
            Place::Open(_) | Place::Over => return None,
        }
        match std::mem::replace(&mut *place, Place::Over) {
            Place::Answered(answer) => Some(Ok(answer)),
            Place::Down(reason) => Some(Err(reason)),
            Place::Open(_) | Place::Over => None,
        }
    }
}

impl<T, E: 'static> Future for Call<T, E> {
    type Output = Answered<T, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answered<T, E>> {
        if let Some(answered) = self.try_take() {
            return Poll::Ready(answered);
        }
        if let Place::Open(waker) = &mut *self.shared.0.lock() {
            *waker = Some(cx.waker().clone());
        }
        // Settled in between: whoever did found no waker.
        if let Some(answered) = self.try_take() {
            return Poll::Ready(answered);
        }
        crate::frame::note_wait(WaitKind::Receive);
        Poll::Pending
    }
}

impl<T, E: 'static> Drop for Call<T, E> {
    fn drop(&mut self) {
        let left = std::mem::replace(&mut *self.shared.0.lock(), Place::Over);
        drop(left);
        if let (Some(server), Some(key)) = (self.server.upgrade(), self.watched) {
            server.unwatch(key);
        }
    }
}
