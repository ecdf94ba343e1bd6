//! Futures against one another and against the clock. Contenders run as child tasks, so that losers are cancelled *and
//! waited for* before the result is out. Not here: how children run (`fan_out.rs`).

use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::cancel::{CancelKind, CancelReason};
use crate::clock::Timer;
use crate::failure::Failure;
use crate::fan_out::{FanMode, FanOptions, FanOut};
use crate::handle::{Ended, TaskHandle};
use crate::identity::TaskKind;
use crate::task::{Outcome, TaskContext};

/// The time of a [`deadline`] has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Deadline exceeded")]
pub struct DeadlineExceeded;

fn contenders<T: Send + 'static, E: Failure>(kind: &'static TaskKind) -> (TaskContext, FanOut<T, E>) {
    let cx = TaskContext::current().expect("a race is run inside a task");
    let options = FanOptions { kind, mode: FanMode::Stream, ..FanOptions::default() };
    let fan = FanOut::open(&cx, &cx.node(), &options);
    (cx, fan)
}

/// Cancels what is left and waits for it.
async fn end_race<T: Send + 'static, E: Failure>(mut fan: FanOut<T, E>, why: CancelKind) {
    fan.cancel(CancelReason::new(why, ""));
    poll_fn(move |cx| fan.poll_closed(cx)).await;
}

/// Runs all contenders; gives the outcome of the first to end, whatever it is, after the others were cancelled (reason
/// `race_lost`) and have ended. None: there was no contender.
///
/// When the current task is cancelled, or the future dropped, so are the contenders.
///
/// ```
/// use madrigal_runtime::{Outcome, Runtime, TaskError, race};
/// use std::time::Duration;
///
/// let runtime = Runtime::simulated(1);
/// let clock = runtime.clock().clone();
/// let winner = runtime.run(async move || {
///     let after = |ms| {
///         let clock = clock.clone();
///         async move {
///             clock.sleep(Duration::from_millis(ms)).await;
///             Ok::<_, TaskError>(ms)
///         }
///     };
///     race([after(30), after(10), after(20)]).await.expect("three contenders").into_result()
/// });
/// assert_eq!(winner.unwrap(), 10);
/// ```
///
/// # Panics
///
/// When called outside of a task of a runtime.
pub async fn race<T, E, F>(contenders_in_order: impl IntoIterator<Item = F>) -> Option<Outcome<T, E>>
where
    T: Send + 'static,
    E: Failure,
    F: Future + Send + 'static,
    F::Output: Into<Outcome<T, E>>,
{
    let (_, mut fan) = contenders(TaskKind::RACE);
    for contender in contenders_in_order {
        fan.start(|_, _| contender);
    }
    let first = poll_fn(|cx| fan.poll_next(cx)).await;
    end_race(fan, CancelKind::RaceLost).await;
    first.map(|(_, outcome)| outcome)
}

/// The outcome of `work`; None when `time` passes first: `work` is then cancelled (reason `timeout`) and has ended. A
/// result that is ready when the time is up wins.
///
/// When the current task is cancelled, or the future dropped, so is `work`.
///
/// # Panics
///
/// When called outside of a task of a runtime.
pub async fn with_timeout<T, E, F>(time: Duration, work: F) -> Option<Outcome<T, E>>
where
    T: Send + 'static,
    E: Failure,
    F: Future + Send + 'static,
    F::Output: Into<Outcome<T, E>>,
{
    against_the_clock(time, work, CancelKind::Timeout).await
}

/// The outcome of `work`, or an error when `time` passes first: `work`, and all it started, is then cancelled (reason
/// `deadline`) and has ended.
///
/// When the current task is cancelled, or the future dropped, so is `work`.
///
/// ```
/// use madrigal_runtime::{DeadlineExceeded, Runtime, TaskError, deadline};
/// use std::time::Duration;
///
/// let runtime = Runtime::simulated(1);
/// let clock = runtime.clock().clone();
/// let ended = runtime.run(async move || {
///     let slow = async move {
///         clock.sleep(Duration::from_secs(60)).await;
///         Ok::<_, TaskError>(())
///     };
///     Ok::<_, TaskError>(deadline(Duration::from_secs(1), slow).await.map(|outcome| outcome.into_result().is_ok()))
/// });
/// assert_eq!(ended.unwrap(), Err(DeadlineExceeded));
/// ```
///
/// # Panics
///
/// When called outside of a task of a runtime.
pub async fn deadline<T, E, F>(time: Duration, work: F) -> Result<Outcome<T, E>, DeadlineExceeded>
where
    T: Send + 'static,
    E: Failure,
    F: Future + Send + 'static,
    F::Output: Into<Outcome<T, E>>,
{
    against_the_clock(time, work, CancelKind::Deadline).await.ok_or(DeadlineExceeded)
}

async fn against_the_clock<T, E, F>(time: Duration, work: F, why: CancelKind) -> Option<Outcome<T, E>>
where
    T: Send + 'static,
    E: Failure,
    F: Future + Send + 'static,
    F::Output: Into<Outcome<T, E>>,
{
    let (cx, mut fan) = contenders(TaskKind::RACE);
    fan.start(|_, _| work);
    let mut timer = Timer::after(cx.runtime().clock(), time);
    let first = poll_fn(|cx| match fan.poll_next(cx) {
        Poll::Ready(first) => Poll::Ready(first),
        Poll::Pending => timer.poll_due(cx).map(|()| None),
    })
    .await;
    drop(timer);
    end_race(fan, why).await;
    first.map(|(_, outcome)| outcome)
}

/// The first of several tasks to end, ties in list order: its place in the list and its outcome. The others go on, and
/// only this one counts as observed. None: the list is empty.
///
/// Dropping the future has no effect on the tasks.
pub async fn select_first<T, E>(tasks: &[TaskHandle<T, E>]) -> Option<(usize, Outcome<T, E>)>
where
    T: Clone + 'static,
    E: Failure,
{
    as_completed(tasks).next().await
}

/// Tasks in the order in which they end. Only what it hands out counts as observed.
///
/// Dropping it has no effect on the tasks.
pub fn as_completed<T: 'static, E: 'static>(tasks: &[TaskHandle<T, E>]) -> AsCompleted<T, E> {
    let waiting = tasks.iter().map(|task| Some((task.clone(), task.ended()))).collect();
    AsCompleted { waiting }
}

/// Tasks in the order in which they end: see [`as_completed`].
pub struct AsCompleted<T, E> {
    waiting: Vec<Option<Awaited<T, E>>>,
}

type Awaited<T, E> = (TaskHandle<T, E>, Ended<T, E>);

impl<T: Clone + 'static, E: Failure> AsCompleted<T, E> {
    /// The next task to end, with its place in the list; None when all were handed out.
    ///
    /// Dropping the future hands out nothing.
    pub async fn next(&mut self) -> Option<(usize, Outcome<T, E>)> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// As polling `next`.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<(usize, Outcome<T, E>)>> {
        let mut is_empty = true;
        for (index, slot) in self.waiting.iter_mut().enumerate() {
            let Some((task, ended)) = slot else { continue };
            is_empty = false;
            if std::pin::Pin::new(ended).poll(cx).is_ready() {
                task.mark_observed();
                let outcome = task.try_outcome();
                *slot = None;
                return Poll::Ready(outcome.map(|outcome| (index, outcome)));
            }
        }
        if is_empty { Poll::Ready(None) } else { Poll::Pending }
    }
}

/// When a merge of several sources ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Exhaustive {
    /// When the first source has ended.
    #[default]
    No,
    /// When all have.
    Yes,
}

/// Merges sources: their items as they come, ready sources in rotation. A failure of a source ends the merge.
///
/// It pulls only when it is pulled, and has no tasks of its own: dropping it drops the sources.
///
/// ```
/// use madrigal_runtime::{Exhaustive, Items, Runtime, TaskError, merge};
///
/// let runtime = Runtime::new();
/// let merged = runtime.run(async || {
///     let mut merged = merge(vec![Items(1..=3), Items(10..=11)], Exhaustive::Yes);
///     let mut all = Vec::new();
///     while let Some(item) = merged.next::<TaskError>().await {
///         all.push(item?);
///     }
///     Ok::<_, TaskError>(all)
/// });
/// assert_eq!(merged.unwrap(), [1, 10, 2, 11, 3]);
/// ```
pub fn merge<S>(sources: Vec<S>, exhaustive: Exhaustive) -> Merge<S> {
    Merge { sources: sources.into_iter().map(Some).collect(), exhaustive, turn: 0 }
}

/// Merged sources: see [`merge`]. A [`Source`](crate::Source) itself.
pub struct Merge<S> {
    /// None: it has ended.
    sources: Vec<Option<S>>,
    exhaustive: Exhaustive,
    /// Whose turn is next.
    turn: usize,
}

impl<S> Merge<S> {
    /// The next item, a failure, or None at the end. Dropping the future takes nothing.
    pub async fn next<E>(&mut self) -> Option<Result<S::Item, E>>
    where
        S: crate::Source<E>,
    {
        poll_fn(|cx| crate::Source::<E>::poll_next(self, cx)).await
    }
}

impl<E, S: crate::Source<E>> crate::Source<E> for Merge<S> {
    type Item = S::Item;

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<S::Item, E>>> {
        let count = self.sources.len();
        for step in 0..count {
            let at = (self.turn + step) % count;
            let Some(source) = &mut self.sources[at] else { continue };
            match source.poll_next(cx) {
                Poll::Pending => {}
                Poll::Ready(Some(Ok(item))) => {
                    self.turn = at + 1;
                    return Poll::Ready(Some(Ok(item)));
                }
                Poll::Ready(Some(Err(error))) => {
                    self.sources.clear();
                    return Poll::Ready(Some(Err(error)));
                }
                Poll::Ready(None) if self.exhaustive == Exhaustive::No => {
                    self.sources.clear();
                    return Poll::Ready(None);
                }
                Poll::Ready(None) => self.sources[at] = None,
            }
        }
        if self.sources.iter().all(Option::is_none) { Poll::Ready(None) } else { Poll::Pending }
    }
}

/// Runs ready-made futures as child tasks, at most `options.limit` at a time; their values in order. Fails fast like
/// [`map_concurrent`](crate::map_concurrent).
///
/// # Panics
///
/// When called outside of a task of a runtime.
pub async fn join_concurrent<T, E, F>(options: FanOptions, futures: impl IntoIterator<Item = F>) -> Result<Vec<T>, E>
where
    T: Send + 'static,
    E: Failure,
    F: Future + Send + 'static,
    F::Output: Into<Outcome<T, E>>,
{
    crate::map_concurrent(options, crate::Items(futures.into_iter()), |_, future| future).await
}

/// As [`join_concurrent`], but gives every outcome.
///
/// # Panics
///
/// When called outside of a task of a runtime.
pub async fn join_concurrent_settled<T, E, F>(
    options: FanOptions,
    futures: impl IntoIterator<Item = F>,
) -> Vec<Outcome<T, E>>
where
    T: Send + 'static,
    E: Failure,
    F: Future + Send + 'static,
    F::Output: Into<Outcome<T, E>>,
{
    let settled = crate::map_concurrent_settled(options, crate::Items(futures.into_iter()), |_, future| future).await;
    settled.unwrap_or_default()
}

impl<T: Clone + 'static, E: Failure> TaskHandle<T, E> {
    /// Asks it to end, waits for at most `time`, then has it dropped: its outcome, or None when it had to be dropped.
    ///
    /// Dropping the future leaves it with the request.
    ///
    /// # Panics
    ///
    /// When called outside of a task of a runtime.
    pub async fn cancel_graceful(&self, reason: Arc<CancelReason>, time: Duration) -> Option<Outcome<T, E>> {
        let cx = TaskContext::current().expect("a task is cancelled from inside a task");
        let mut timer = Timer::after(cx.runtime().clock(), time);
        self.cancel(reason.clone());
        let mut join = std::pin::pin!(self.join());
        let ended = poll_fn(|cx| match join.as_mut().poll(cx) {
            Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
            Poll::Pending => timer.poll_due(cx).map(|()| None),
        })
        .await;
        if ended.is_none() {
            self.abort(reason);
        }
        ended
    }
}
