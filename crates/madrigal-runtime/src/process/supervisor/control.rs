//! Talking to a supervisor: what it is told, what it is asked, what it shows.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use parking_lot::Mutex;

use super::book::{Book, Report, SupervisorEvent, SupervisorStatus};
use super::{ChildSpec, Settings};
use crate::failure::Failure;
use crate::process::member::{Member, Watch};
use crate::process::reason::Reason;
use crate::waiting::WaitKind;

/// What a supervisor reacts to.
pub(super) enum Input<E: Failure> {
    Ended { key: u64, attempt: u64, reason: Reason<E> },
    Ready { key: u64, attempt: u64 },
    Command(Command<E>),
    End(Reason<E>),
}

pub(super) enum Command<E: Failure> {
    Start(ChildSpec<E>, Reply<Result<Arc<dyn Member<E>>, String>>),
    Stop(Arc<str>, Reply<bool>),
}

pub(super) struct Shared<E: Failure> {
    book: Mutex<Book<E>>,
    talk: Mutex<Talk<E>>,
}

struct Talk<E: Failure> {
    inputs: VecDeque<Input<E>>,
    waker: Option<Waker>,
    /// All first children have been started.
    started: bool,
    /// The time its children have together once it stops, when somebody gave one.
    limit: Option<Duration>,
    ended: bool,
    /// Those who wait for its start or its end.
    waiters: Vec<Waker>,
}

impl<E: Failure> Shared<E> {
    pub(super) fn new(settings: &Settings<E>) -> Shared<E> {
        let talk = Talk {
            inputs: VecDeque::new(),
            waker: None,
            started: false,
            limit: None,
            ended: false,
            waiters: Vec::new(),
        };
        Shared { book: Mutex::new(Book::new(settings)), talk: Mutex::new(talk) }
    }

    /// Reads or changes the book. Whatever is removed is dropped by the caller.
    pub(super) fn book<T>(&self, with: impl FnOnce(&mut Book<E>) -> T) -> T {
        with(&mut self.book.lock())
    }

    /// `false` when the supervisor has ended.
    pub(super) fn push(&self, input: Input<E>) -> bool {
        let mut talk = self.talk.lock();
        if talk.ended {
            drop(talk);
            drop(input);
            return false;
        }
        talk.inputs.push_back(input);
        let waker = talk.waker.take();
        drop(talk);
        waker.into_iter().for_each(Waker::wake);
        true
    }

    /// The first input that `wanted` holds for. A cancelled supervisor is told to end before anything else.
    pub(super) fn poll_input(
        &self,
        wanted: &impl Fn(&Input<E>) -> bool,
        cancelled: bool,
        cx: &Context<'_>,
    ) -> Option<Input<E>> {
        let mut talk = self.talk.lock();
        let end = || Input::End(Reason::shutdown());
        if cancelled && wanted(&end()) {
            return Some(end());
        }
        // What ends because all is ending must not be started again first.
        let ends = talk.inputs.iter().position(|it| matches!(it, Input::End(_)) && wanted(it));
        if let Some(at) = ends.or_else(|| talk.inputs.iter().position(wanted)) {
            return talk.inputs.remove(at);
        }
        talk.waker = Some(cx.waker().clone());
        None
    }

    pub(super) fn started(&self) {
        self.change(|talk| talk.started = true);
    }

    pub(super) fn begin_stop(&self, cancelled: bool) -> Option<Duration> {
        self.book(|book| {
            if book.status == SupervisorStatus::Running {
                book.status = SupervisorStatus::Draining;
            }
        });
        let limit = self.talk.lock().limit;
        if cancelled { None } else { limit }
    }

    pub(super) fn close(&self) {
        let left = self.change(|talk| {
            talk.ended = true;
            std::mem::take(&mut talk.inputs)
        });
        // Whoever still waits for an answer learns that there is none.
        drop(left);
    }

    fn change<T>(&self, with: impl FnOnce(&mut Talk<E>) -> T) -> T {
        let (changed, waiters) = {
            let mut talk = self.talk.lock();
            (with(&mut talk), std::mem::take(&mut talk.waiters))
        };
        waiters.into_iter().for_each(Waker::wake);
        changed
    }
}

/// Tells the supervisor that a run of a child is over.
pub(super) struct Ending<E: Failure> {
    pub(super) shared: Weak<Shared<E>>,
    pub(super) key: u64,
    pub(super) attempt: u64,
}

impl<E: Failure> Watch<E> for Ending<E> {
    fn ended(&self, _: Arc<dyn Member<E>>, reason: Reason<E>) {
        if let Some(shared) = self.shared.upgrade() {
            shared.push(Input::Ended { key: self.key, attempt: self.attempt, reason });
        }
    }
}

/// One answer on its way. Dropped without one, whoever waits learns that none comes.
pub(super) struct Reply<T>(Arc<Mutex<ReplyState<T>>>);

struct ReplyState<T> {
    answer: Option<T>,
    gone: bool,
    waker: Option<Waker>,
}

impl<T> Reply<T> {
    fn new() -> (Reply<T>, Replied<T>) {
        let state = Arc::new(Mutex::new(ReplyState { answer: None, gone: false, waker: None }));
        (Reply(state.clone()), Replied(state))
    }

    pub(super) fn give(self, answer: T) {
        self.0.lock().answer = Some(answer);
    }
}

impl<T> Drop for Reply<T> {
    fn drop(&mut self) {
        let waker = {
            let mut state = self.0.lock();
            state.gone = true;
            state.waker.take()
        };
        waker.into_iter().for_each(Waker::wake);
    }
}

/// Waits for an answer of a supervisor; none when it ended without giving one. Dropping it asks for nothing less.
#[must_use = "futures do nothing unless polled"]
pub struct Replied<T>(Arc<Mutex<ReplyState<T>>>);

impl<T> Future for Replied<T> {
    type Output = Option<T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let mut state = self.0.lock();
        if state.gone {
            return Poll::Ready(state.answer.take());
        }
        state.waker = Some(cx.waker().clone());
        crate::frame::note_wait(WaitKind::Receive);
        Poll::Pending
    }
}

/// A supervisor as others know it. Clones are the same one; dropping it changes nothing for the supervisor.
pub struct Control<E: Failure>(Arc<Shared<E>>);

impl<E: Failure> Clone for Control<E> {
    fn clone(&self) -> Self {
        Control(self.0.clone())
    }
}

impl<E: Failure> Control<E> {
    pub(super) fn new(shared: Arc<Shared<E>>) -> Control<E> {
        Control(shared)
    }

    /// Starts one more child, behind all others: its process, once it is ready, or why there is none. None when the
    /// supervisor has ended.
    pub fn start_child(&self, child: ChildSpec<E>) -> Replied<Result<Arc<dyn Member<E>>, String>> {
        let (reply, replied) = Reply::new();
        self.0.push(Input::Command(Command::Start(child, reply)));
        replied
    }

    /// Stops a child and forgets it; whether there was one.
    pub fn stop_child(&self, id: impl Into<Arc<str>>) -> Replied<bool> {
        let (reply, replied) = Reply::new();
        self.0.push(Input::Command(Command::Stop(id.into(), reply)));
        replied
    }

    /// Tells the supervisor to stop all children and end, for `reason`. `limit` is the time they have together, instead
    /// of each its own. Returns at once; see `ended`.
    pub fn stop(&self, reason: Reason<E>, limit: Option<Duration>) {
        self.0.talk.lock().limit = limit;
        self.0.push(Input::End(reason));
    }

    /// What it is and does.
    pub fn report(&self) -> Report<E> {
        self.0.book(|book| book.report())
    }

    /// What happened, oldest first; the newest 10 000 are kept.
    pub fn events(&self) -> Vec<SupervisorEvent<E>> {
        self.0.book(|book| book.events())
    }

    /// Whether it has ended.
    pub fn is_ended(&self) -> bool {
        self.0.talk.lock().ended
    }

    /// Waits until all first children have been started, or it has ended. Dropping the future has no effect.
    pub fn started(&self) -> impl Future<Output = ()> + Send + use<E> {
        self.until(|talk| talk.started || talk.ended)
    }

    /// Waits until it has ended. Dropping the future has no effect.
    pub fn ended(&self) -> impl Future<Output = ()> + Send + use<E> {
        self.until(|talk| talk.ended)
    }

    fn until(&self, done: fn(&Talk<E>) -> bool) -> impl Future<Output = ()> + Send + use<E> {
        let shared = self.0.clone();
        std::future::poll_fn(move |cx| {
            let mut talk = shared.talk.lock();
            if done(&talk) {
                return Poll::Ready(());
            }
            talk.waiters.retain(|it| !it.will_wake(cx.waker()));
            talk.waiters.push(cx.waker().clone());
            crate::frame::note_wait(WaitKind::Tasks);
            Poll::Pending
        })
    }
}
