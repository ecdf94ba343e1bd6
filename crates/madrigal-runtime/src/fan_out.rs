//! Fan-out: one task per item of a source, at most so many at a time, results in order or as they come.
//! Not here: where items come from beyond the `Source` seam. Children have no handles: an outcome goes straight to
//! its slot. Invariants: at most `limit` children exist; a fan-out ends after all of them did; after a failure or a
//! cancel no further child is started.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

use crate::cancel::{CancelKind, CancelNode, CancelReason};
use crate::channel::{Channel, Receive};
use crate::failure::Failure;
use crate::identity::{Identity, Lineage, NO_INDEX, TaskKind};
use crate::task::{AnyTask, Birth, OnCancel, Outcome, Sink, TaskContext};
use crate::waiting::WaitKind;

/// What becomes of the children's outcomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FanMode {
    /// Kept in order; the first failure cancels the rest and is the result.
    FailFast,
    /// Kept in order, whatever they are.
    Settle,
    /// Handed out in completion order, whatever they are.
    Stream,
    /// As `FailFast`, and values are dropped at once: for side effects, in constant memory.
    Discard,
}

/// What was kept of the outcomes, and the failure.
type End<T, E> = (Vec<Outcome<T, E>>, Option<E>);

/// Settings of a fan-out.
#[derive(Clone, Debug)]
pub struct FanOptions {
    /// What the children are created as.
    pub kind: &'static TaskKind,
    /// What becomes of the outcomes.
    pub mode: FanMode,
    /// How many children may exist at a time; none: any number.
    pub limit: Option<usize>,
    /// What a cancelled child's future may still do.
    pub on_cancel: OnCancel,
    /// As [`TaskSpec::inline_start`](crate::TaskSpec::inline_start), for the children.
    pub inline_start: bool,
}

impl Default for FanOptions {
    fn default() -> Self {
        FanOptions {
            kind: TaskKind::PARALLEL_EACH,
            mode: FanMode::FailFast,
            limit: None,
            on_cancel: OnCancel::Drop,
            inline_start: false,
        }
    }
}

/// How many children are started before others get a turn.
const BATCH_LEN_MAX: usize = 256;

struct Shared<T, E> {
    node: CancelNode,
    mode: FanMode,
    limit: usize,
    state: Mutex<State<T, E>>,
}

struct State<T, E> {
    in_flight: usize,
    /// By index; unused when streaming.
    slots: Vec<Option<Outcome<T, E>>>,
    /// In completion order; only when streaming.
    finished: VecDeque<(usize, Outcome<T, E>)>,
    failure: Option<E>,
    /// Discarding: some child was cancelled.
    cancelled: Option<Arc<CancelReason>>,
    owner: Option<(Waker, Interest)>,
    /// Who is told of failures that the owner will never see.
    lost: Option<Lost<E>>,
    /// The owner is gone.
    abandoned: bool,
}

/// Takes the failures that nobody will see otherwise.
pub type Lost<E> = Arc<dyn Fn(E) + Send + Sync>;

/// What the owner waits for; it is woken for nothing else but a failure.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Interest {
    FailureOnly,
    Room,
    AnyEnd,
    LastEnd,
}

impl<T: Send + 'static, E: Failure> State<T, E> {
    fn record(&mut self, mode: FanMode, index: usize, outcome: Outcome<T, E>) -> bool {
        self.in_flight -= 1;
        match (mode, outcome) {
            (FanMode::FailFast | FanMode::Discard, Outcome::Failed(error)) if !error.ends_cancelled() => {
                return self.fail(error);
            }
            (FanMode::Discard, Outcome::Ok(_) | Outcome::Failed(_)) => {}
            (FanMode::Discard, Outcome::Cancelled(reason)) => self.cancelled = Some(reason),
            (FanMode::FailFast | FanMode::Settle, outcome) => self.slots[index] = Some(outcome),
            (FanMode::Stream, outcome) => self.finished.push_back((index, outcome)),
        }
        false
    }

    /// `true` for the first failure.
    fn fail(&mut self, error: E) -> bool {
        match &mut self.failure {
            Some(first) => {
                first.attach_suppressed(error);
                false
            }
            None => {
                self.failure = Some(error);
                true
            }
        }
    }

    fn owner_to_wake(&mut self, limit: usize) -> Option<Waker> {
        let wake = match self.owner.as_ref()?.1 {
            Interest::FailureOnly => false,
            Interest::Room => self.in_flight + self.finished.len() < limit,
            Interest::AnyEnd => true,
            Interest::LastEnd => self.in_flight == 0,
        };
        if wake { self.owner.take().map(|(waker, _)| waker) } else { None }
    }

    fn wait_for(&mut self, interest: Interest, cx: &Context<'_>) {
        match &mut self.owner {
            Some((waker, waited)) => {
                waker.clone_from(cx.waker());
                *waited = interest;
            }
            None => self.owner = Some((cx.waker().clone(), interest)),
        }
    }
}

struct FanSink<T, E>(Arc<Shared<T, E>>);

impl<T: Send + 'static, E: Failure> Sink<T, E> for FanSink<T, E> {
    fn ended(&self, task: &Arc<AnyTask>, outcome: Outcome<T, E>) {
        let header = &task.header;
        let state = header.end_state(&outcome);
        let index = header.identity.index as usize;
        header.finish(task, state);
        let shared = &self.0;
        let (first_failure, owner) = {
            let mut state = shared.state.lock();
            if state.abandoned {
                state.in_flight -= 1;
                let lost = state.lost.clone();
                drop(state);
                if let (Outcome::Failed(error), Some(lost)) = (outcome, lost) {
                    lost(error);
                }
                return;
            }
            let first_failure = state.record(shared.mode, index, outcome);
            let owner = state.owner_to_wake(shared.limit);
            (first_failure, owner)
        };
        if first_failure {
            // Wakes the owner too: the node is the owner's.
            shared.node.cancel(CancelReason::new(CancelKind::ScopeFailed, ""));
        }
        if let Some(waker) = owner {
            waker.wake();
        }
    }
}

/// A fan-out under way, driven by its owner: while [`FanOut::poll_room`] says so, take an item and `start` a child;
/// then poll for the end, or for the next outcome. [`map_concurrent`] does that for plain sources.
///
/// Dropping it cancels the children (reason `parent_cancelled`); the owner's task ends after they did.
pub struct FanOut<T: Send + 'static, E: Failure> {
    shared: Arc<Shared<T, E>>,
    creator: Arc<Lineage>,
    kind: &'static TaskKind,
    number: u32,
    on_cancel: OnCancel,
    inline_start: bool,
    started: usize,
}

impl<T: Send + 'static, E: Failure> FanOut<T, E> {
    /// Opens a fan-out of the task that `cx` belongs to, beneath `parent`: the task's innermost open node.
    pub fn open(cx: &TaskContext, parent: &CancelNode, options: &FanOptions) -> FanOut<T, E> {
        let creator = cx.task().0.header.lineage().clone();
        let state = State {
            in_flight: 0,
            slots: Vec::new(),
            finished: VecDeque::new(),
            failure: None,
            cancelled: None,
            owner: None,
            lost: None,
            abandoned: false,
        };
        let shared = Shared {
            node: parent.child(),
            mode: options.mode,
            limit: options.limit.filter(|limit| *limit > 0).unwrap_or(usize::MAX),
            state: Mutex::new(state),
        };
        FanOut {
            shared: Arc::new(shared),
            number: creator.next_number(options.kind),
            creator,
            kind: options.kind,
            on_cancel: options.on_cancel,
            inline_start: options.inline_start,
            started: 0,
        }
    }

    /// Who is told of failures that the owner will never see, because it drops the fan-out before they come out of it.
    pub fn on_lost(&mut self, lost: Lost<E>) {
        self.shared.state.lock().lost = Some(lost);
    }

    /// The node the children are beneath. Cancelling it ends the fan-out early.
    pub fn node(&self) -> &CancelNode {
        &self.shared.node
    }

    /// What its children have in common: their ids without the index.
    pub fn group_id(&self) -> String {
        let creator = self.creator.clone();
        Identity { creator, kind: self.kind, number: self.number, index: NO_INDEX, label: None }.id()
    }

    /// How many children were started.
    pub fn started(&self) -> usize {
        self.started
    }

    /// How many children exist.
    pub fn in_flight(&self) -> usize {
        self.shared.state.lock().in_flight
    }

    /// Ready with `true` when another child may be started, with `false` when none may any more: it is failing or
    /// was cancelled. Whatever the answer, a failure of a child wakes `cx`.
    pub fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let mut state = self.shared.state.lock();
        if self.shared.node.is_cancelled() {
            return Poll::Ready(false);
        }
        // Of a stream, what was not read yet takes room too.
        if state.in_flight + state.finished.len() < self.shared.limit {
            state.wait_for(Interest::FailureOnly, cx);
            return Poll::Ready(true);
        }
        state.wait_for(Interest::Room, cx);
        crate::frame::note_wait(WaitKind::Tasks);
        Poll::Pending
    }

    /// Starts the next child. `make` gets its index and its context and makes its future.
    ///
    /// Only after `poll_room` answered `true`; a child of a cancelled fan-out never runs.
    pub fn start<F>(&mut self, make: impl FnOnce(usize, TaskContext) -> F)
    where
        F: Future + Send + 'static,
        F::Output: Into<Outcome<T, E>>,
    {
        let index = self.started;
        self.started += 1;
        let birth = Birth {
            identity: Identity {
                creator: self.creator.clone(),
                kind: self.kind,
                number: self.number,
                index: u32::try_from(index).expect("fewer than 2^32 children"),
                label: None,
            },
            parent: self.shared.node.clone(),
            on_cancel: self.on_cancel,
            inline_start: self.inline_start,
            sink: FanSink(self.shared.clone()),
        };
        let admit = || {
            let mut state = self.shared.state.lock();
            state.in_flight += 1;
            if matches!(self.shared.mode, FanMode::FailFast | FanMode::Settle) {
                state.slots.push(None);
            }
            Ok::<_, std::convert::Infallible>(())
        };
        let Ok(_) = birth.create(|cx| make(index, cx), admit);
    }

    /// The source failed: this is the fan-out's failure unless a child failed before. Cancels the children.
    pub fn fail(&mut self, error: E) {
        let first = self.shared.state.lock().fail(error);
        if first {
            self.shared.node.cancel(CancelReason::new(CancelKind::ScopeFailed, ""));
        }
    }

    /// Waits until all children ended; gives the values in order, or the first failure in time.
    ///
    /// When it was cancelled before all had a value, the failure is [`Failure::cancelled`].
    pub fn poll_values(&mut self, cx: &mut Context<'_>) -> Poll<Result<Vec<T>, E>> {
        let (slots, failure) = match self.poll_end(cx) {
            Poll::Ready(end) => end,
            Poll::Pending => return Poll::Pending,
        };
        if let Some(error) = failure {
            return Poll::Ready(Err(error));
        }
        Poll::Ready(slots.into_iter().map(Outcome::into_result).collect())
    }

    /// Discarding: waits until all children ended; the first failure in time, if there was one.
    ///
    /// When it was cancelled before all had a value, the failure is [`Failure::cancelled`].
    pub fn poll_done(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), E>> {
        let (_, failure) = std::task::ready!(self.poll_end(cx));
        let cancelled = self.shared.state.lock().cancelled.take();
        Poll::Ready(match (failure, cancelled) {
            (Some(error), _) => Err(error),
            (None, Some(reason)) => Err(E::cancelled(&reason)),
            (None, None) => Ok(()),
        })
    }

    /// Waits until all children ended; gives their outcomes in order, or the failure of the source.
    pub fn poll_outcomes(&mut self, cx: &mut Context<'_>) -> Poll<Result<Vec<Outcome<T, E>>, E>> {
        self.poll_end(cx).map(|(slots, failure)| match failure {
            Some(error) => Err(error),
            None => Ok(slots),
        })
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<End<T, E>> {
        let mut state = self.shared.state.lock();
        if state.in_flight > 0 {
            state.wait_for(Interest::LastEnd, cx);
            crate::frame::note_wait(WaitKind::Tasks);
            return Poll::Pending;
        }
        let failure = state.failure.take();
        let slots = std::mem::take(&mut state.slots);
        // With a failure the slots are not looked at, and may have gaps.
        let slots = if failure.is_some() { Vec::new() } else { slots.into_iter().flatten().collect() };
        Poll::Ready((slots, failure))
    }

    /// Streaming: the next outcome, with its index, in completion order. None: no child is in flight.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<(usize, Outcome<T, E>)>> {
        let mut state = self.shared.state.lock();
        if let Some(next) = state.finished.pop_front() {
            return Poll::Ready(Some(next));
        }
        if state.in_flight == 0 {
            return Poll::Ready(None);
        }
        state.wait_for(Interest::AnyEnd, cx);
        crate::frame::note_wait(WaitKind::Tasks);
        Poll::Pending
    }

    /// Cancels what is left (the consumer leaves early); poll for the end to wait for it.
    pub fn cancel(&mut self, reason: Arc<CancelReason>) {
        self.shared.node.cancel(reason);
    }

    /// Waits until no child is in flight, dropping their outcomes.
    pub fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_end(cx).map(|_| ())
    }
}

impl<T: Send + 'static, E: Failure> Drop for FanOut<T, E> {
    fn drop(&mut self) {
        let (in_flight, failures, outcomes, lost) = {
            let mut state = self.shared.state.lock();
            state.abandoned = true;
            let slots = std::mem::take(&mut state.slots).into_iter().flatten();
            let outcomes: Vec<_> =
                std::mem::take(&mut state.finished).into_iter().map(|it| it.1).chain(slots).collect();
            (state.in_flight, state.failure.take(), outcomes, state.lost.clone())
        };
        if in_flight > 0 {
            self.shared.node.cancel(CancelReason::new(CancelKind::ParentCancelled, "its fan-out was dropped"));
        }
        let Some(lost) = lost else { return };
        failures.into_iter().for_each(|it| lost(it));
        for outcome in outcomes {
            if let Outcome::Failed(error) = outcome {
                lost(error);
            }
        }
    }
}

/// Where a fan-out takes its items from, one by one, only when there is room for another child.
pub trait Source<E> {
    /// What it gives.
    type Item;

    /// The next item, its failure, or None at the end; wakes `cx` when there is something to ask for again.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Self::Item, E>>>;
}

/// The items of an iterator, as a [`Source`].
pub struct Items<I>(pub I);

impl<E, I: Iterator> Source<E> for Items<I> {
    type Item = I::Item;

    fn poll_next(&mut self, _: &mut Context<'_>) -> Poll<Option<Result<I::Item, E>>> {
        Poll::Ready(self.0.next().map(Ok))
    }
}

/// The values of a channel until it is closed and drained, as a [`Source`].
pub struct Received<T> {
    channel: Channel<T>,
    receiving: Option<Receive<T>>,
}

impl<T> Received<T> {
    /// Takes values out of `channel`.
    pub fn new(channel: Channel<T>) -> Received<T> {
        Received { channel, receiving: None }
    }
}

impl<E, T> Source<E> for Received<T> {
    type Item = T;

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<T, E>>> {
        let receiving = self.receiving.get_or_insert_with(|| self.channel.receive());
        let polled = std::pin::Pin::new(receiving).poll(cx);
        if polled.is_ready() {
            self.receiving = None;
        }
        polled.map(|received| received.map(Ok))
    }
}

/// Runs one child per item of `source`, at most `options.limit` at a time, and gives their values in order.
///
/// Fails fast: the first failure cancels the rest, no further item is taken, and all children are waited for first.
/// When the owner is cancelled, or the future dropped, so are the children.
///
/// ```
/// use madrigal_runtime::{FanOptions, Items, Runtime, TaskError, map_concurrent};
///
/// let runtime = Runtime::new();
/// let options = FanOptions { limit: Some(2), ..FanOptions::default() };
/// let squares = runtime.run(async || {
///     map_concurrent(options, Items(1..=4), |_, n| async move { Ok::<_, TaskError>(n * n) }).await
/// });
/// assert_eq!(squares.unwrap(), [1, 4, 9, 16]);
/// ```
///
/// # Panics
///
/// When called outside of a task of a runtime.
pub async fn map_concurrent<S, T, E, F>(
    options: FanOptions,
    mut source: S,
    mut work: impl FnMut(usize, S::Item) -> F,
) -> Result<Vec<T>, E>
where
    T: Send + 'static,
    E: Failure,
    S: Source<E>,
    F: Future + Send + 'static,
    F::Output: Into<Outcome<T, E>>,
{
    let mut fan = open_here(FanOptions { mode: FanMode::FailFast, ..options });
    let mut taken = false;
    poll_fn(move |cx| {
        if !taken {
            std::task::ready!(poll_start_all(&mut fan, &mut source, &mut work, cx));
            taken = true;
        }
        fan.poll_values(cx)
    })
    .await
}

/// As [`map_concurrent`], for side effects: values are dropped as they come, so memory does not grow with the source.
///
/// # Panics
///
/// When called outside of a task of a runtime.
pub async fn for_each_concurrent<S, E, F>(
    options: FanOptions,
    mut source: S,
    mut work: impl FnMut(usize, S::Item) -> F,
) -> Result<(), E>
where
    E: Failure,
    S: Source<E>,
    F: Future + Send + 'static,
    F::Output: Into<Outcome<(), E>>,
{
    let mut fan = open_here(FanOptions { mode: FanMode::Discard, ..options });
    let mut taken = false;
    poll_fn(move |cx| {
        if !taken {
            std::task::ready!(poll_start_all(&mut fan, &mut source, &mut work, cx));
            taken = true;
        }
        fan.poll_done(cx)
    })
    .await
}

/// As [`map_concurrent`], but gives every child's outcome, in order; fails only when the source does.
///
/// # Panics
///
/// When called outside of a task of a runtime.
pub async fn map_concurrent_settled<S, T, E, F>(
    options: FanOptions,
    mut source: S,
    mut work: impl FnMut(usize, S::Item) -> F,
) -> Result<Vec<Outcome<T, E>>, E>
where
    T: Send + 'static,
    E: Failure,
    S: Source<E>,
    F: Future + Send + 'static,
    F::Output: Into<Outcome<T, E>>,
{
    let mut fan = open_here(FanOptions { mode: FanMode::Settle, ..options });
    let mut taken = false;
    poll_fn(move |cx| {
        if !taken {
            std::task::ready!(poll_start_all(&mut fan, &mut source, &mut work, cx));
            taken = true;
        }
        fan.poll_outcomes(cx)
    })
    .await
}

fn open_here<T: Send + 'static, E: Failure>(options: FanOptions) -> FanOut<T, E> {
    let cx = TaskContext::current().expect("a fan-out is opened inside a task");
    FanOut::open(&cx, &cx.node(), &options)
}

/// Starts children until the source is exhausted or the fan-out is failing.
fn poll_start_all<S, T, E, F>(
    fan: &mut FanOut<T, E>,
    source: &mut S,
    work: &mut impl FnMut(usize, S::Item) -> F,
    cx: &mut Context<'_>,
) -> Poll<()>
where
    T: Send + 'static,
    E: Failure,
    S: Source<E>,
    F: Future + Send + 'static,
    F::Output: Into<Outcome<T, E>>,
{
    for _ in 0..BATCH_LEN_MAX {
        if !std::task::ready!(fan.poll_room(cx)) {
            return Poll::Ready(());
        }
        match std::task::ready!(source.poll_next(cx)) {
            Some(Ok(item)) => fan.start(|index, _| work(index, item)),
            Some(Err(error)) => fan.fail(error),
            None => return Poll::Ready(()),
        }
    }
    cx.waker().wake_by_ref();
    Poll::Pending
}
