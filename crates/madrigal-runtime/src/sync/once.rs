//! Work done once, on behalf of all who want its result. Invariants: at most one runs it; if the one that runs it goes
//! away without a result, the next in line runs it; a failure goes to all in line and leaves the work to be done.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::facade::Mutex;

use super::AlreadyHeld;
use super::line::{Left, Line};
use crate::frame::note_wait;
use crate::task::TaskRef;
use crate::wait_list::WaitKey;
use crate::waiting::{Describe, WaitKind};

/// A value made once. Clones are the same one.
///
/// ```
/// use madrigal_runtime::sync::Once;
/// use madrigal_runtime::{Runtime, TaskError};
///
/// let runtime = Runtime::new();
/// let sum = runtime.run(async || {
///     let settings: Once<i32, TaskError> = Once::new();
///     let first = settings.get(async || Ok(21)).await?;
///     let again = settings.get(async || Err("not run".into())).await?;
///     Ok::<_, TaskError>(first + again)
/// });
/// assert_eq!(sum.unwrap(), 42);
/// ```
pub struct Once<T, E>(Arc<Mutex<State<T, E>>>);

struct State<T, E> {
    stage: Stage<T>,
    line: Line<(), Turn<T, E>>,
}

enum Stage<T> {
    Empty,
    /// The task that runs it; None is somebody who is no task.
    Running(Option<TaskRef>),
    Done(T),
}

enum Turn<T, E> {
    Result(Result<T, E>),
    Run,
}

/// What [`Once::enter`] gives.
#[derive(Debug)]
pub enum Entered<T: Clone, E: Clone> {
    /// The result: of a run that is over, or of the one that was waited for.
    Result(Result<T, E>),
    /// It is up to the caller to run it.
    Run(OnceRun<T, E>),
}

impl<T, E> Clone for Once<T, E> {
    fn clone(&self) -> Self {
        Once(self.0.clone())
    }
}

impl<T, E> Default for Once<T, E> {
    fn default() -> Self {
        Once(Arc::new(Mutex::new(State { stage: Stage::Empty, line: Line::default() })))
    }
}

impl<T, E> fmt::Debug for Once<T, E> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let done = matches!(self.0.lock().stage, Stage::Done(_));
        out.debug_struct("Once").field("done", &done).finish_non_exhaustive()
    }
}

impl<T: Send, E: Send> Describe for Once<T, E> {
    fn describe(&self) -> String {
        "a value made once".to_owned()
    }

    fn holder(&self) -> Option<TaskRef> {
        match &self.0.lock().stage {
            Stage::Running(task) => task.clone(),
            Stage::Empty | Stage::Done(_) => None,
        }
    }
}

impl<T: Clone, E: Clone> Once<T, E> {
    /// Nothing made yet.
    pub fn new() -> Once<T, E> {
        Once::default()
    }

    /// The value, if it was made.
    pub fn try_get(&self) -> Option<T> {
        match &self.0.lock().stage {
            Stage::Done(value) => Some(value.clone()),
            Stage::Empty | Stage::Running(_) => None,
        }
    }

    /// Makes it hold `value`, whatever it held; whoever makes one still gives theirs to those who wait for it.
    pub fn set(&self, value: T) {
        let old = {
            let mut state = self.0.lock();
            match state.stage {
                Stage::Running(_) => None,
                Stage::Empty | Stage::Done(_) => Some(std::mem::replace(&mut state.stage, Stage::Done(value))),
            }
        };
        drop(old);
    }

    /// The value, made by `make` unless it exists or is being made by somebody else. A failure goes to all who wait
    /// for it now; who asks later makes it again.
    ///
    /// Dropping the future while it runs `make` drops that, and the next caller in line runs its own.
    ///
    /// # Panics
    ///
    /// When called by the task that is making it.
    pub async fn get(&self, make: impl AsyncFnOnce() -> Result<T, E>) -> Result<T, E> {
        match self.enter().await.expect("a value does not need itself to be made") {
            Entered::Result(result) => result,
            Entered::Run(run) => {
                let result = make().await;
                run.finish(result.clone());
                result
            }
        }
    }

    /// Waits until the value exists or it is the caller's turn to make it. Errors for the task that is making it.
    ///
    /// Dropping the future has no effect, but that a turn it was given goes to the next in line.
    pub fn enter(&self) -> OnceEnter<T, E> {
        OnceEnter { once: self.clone(), parked: None }
    }

    /// The run is over without a result: somebody else's turn.
    fn pass_on(&self) {
        let mut state = self.0.lock();
        let (served, old) = match state.line.serve(Turn::Run) {
            // Who it is will be known at its next poll.
            Ok((waker, ())) => (Some(waker), std::mem::replace(&mut state.stage, Stage::Running(None))),
            Err(_) => (None, std::mem::replace(&mut state.stage, Stage::Empty)),
        };
        drop(state);
        drop(old);
        served.into_iter().for_each(Waker::wake);
    }
}

/// The duty to make the value. Dropping it passes the duty on.
pub struct OnceRun<T: Clone, E: Clone> {
    once: Once<T, E>,
    finished: bool,
}

impl<T: Clone, E: Clone> fmt::Debug for OnceRun<T, E> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("OnceRun")
    }
}

impl<T: Clone, E: Clone> OnceRun<T, E> {
    /// Says how it went, to all who wait.
    pub fn finish(mut self, result: Result<T, E>) {
        self.finished = true;
        let mut wakers: Vec<Waker> = Vec::new();
        let old = {
            let mut state = self.once.0.lock();
            while let Ok((waker, ())) = state.line.serve(Turn::Result(result.clone())) {
                wakers.push(waker);
            }
            std::mem::replace(&mut state.stage, result.map_or(Stage::Empty, Stage::Done))
        };
        drop(old);
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl<T: Clone, E: Clone> Drop for OnceRun<T, E> {
    fn drop(&mut self) {
        if !self.finished {
            self.once.pass_on();
        }
    }
}

/// Waits for the value or the turn to make it: see [`Once::enter`].
#[must_use = "futures do nothing unless polled"]
pub struct OnceEnter<T: Clone, E: Clone> {
    once: Once<T, E>,
    parked: Option<WaitKey>,
}

impl<T: Clone, E: Clone> Future for OnceEnter<T, E> {
    type Output = Result<Entered<T, E>, AlreadyHeld>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let mut state = this.once.0.lock();
        if let Some(key) = this.parked {
            let Poll::Ready(turn) = state.line.poll(key, cx) else {
                note_wait(WaitKind::Once);
                return Poll::Pending;
            };
            this.parked = None;
            return match turn {
                Turn::Result(result) => Poll::Ready(Ok(Entered::Result(result))),
                Turn::Run => {
                    state.stage = Stage::Running(TaskRef::current());
                    drop(state);
                    Poll::Ready(Ok(this.run()))
                }
            };
        }
        match &state.stage {
            Stage::Done(value) => return Poll::Ready(Ok(Entered::Result(Ok(value.clone())))),
            Stage::Empty => {
                state.stage = Stage::Running(TaskRef::current());
                drop(state);
                return Poll::Ready(Ok(this.run()));
            }
            Stage::Running(task) if task.as_ref().is_some_and(TaskRef::is_current) => {
                return Poll::Ready(Err(AlreadyHeld));
            }
            Stage::Running(_) => {}
        }
        this.parked = Some(state.line.join(cx, ()));
        note_wait(WaitKind::Once);
        Poll::Pending
    }
}

impl<T: Clone, E: Clone> OnceEnter<T, E> {
    fn run(&self) -> Entered<T, E> {
        Entered::Run(OnceRun { once: self.once.clone(), finished: false })
    }
}

impl<T: Clone, E: Clone> Drop for OnceEnter<T, E> {
    fn drop(&mut self) {
        let Some(key) = self.parked else { return };
        let left = self.once.0.lock().line.leave(key);
        if matches!(left, Some(Left::Served(Turn::Run))) {
            self.once.pass_on();
        }
    }
}
