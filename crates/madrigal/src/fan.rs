//! `parallel` in all its forms: items of the source become children of a fan-out of the runtime.

use crate::driver::{fan_child, fan_mode};
use crate::stream::{self, Closing};
use madrigal_runtime::{
    CancelKind, CancelReason, Channel, FanMode, FanOptions, FanOut, OnCancel, Outcome, Receive, TaskKind,
};
use madrigal_stdlib::concurrency::channel_of;
use madrigal_stdlib::task::value_of;
use madrigal_stdlib::{Run, TaskFault, TaskHost};
use madrigal_vm::{Closure, Dict, Fault, List, ParallelMode, Seed, Value};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// How many children are started before they get a turn.
const BATCH: usize = 256;

/// A `parallel` statement under way.
pub(crate) struct Fan {
    fan: FanOut<Value, TaskFault>,
    mode: ParallelMode,
    /// `None` once the source has ended.
    items: Option<Items>,
    /// A stream that is pulled no more, until it has ended.
    closing: Option<Closing>,
    /// What the source failed with, when the items are read as a stream.
    failure: Option<Fault>,
    seed: Seed,
    /// Called with each item; `None` when the items are closures to be called themselves.
    body: Option<Closure>,
    run: Arc<Run>,
    values: Option<Dict>,
}

/// Where items come from.
enum Items {
    Ints {
        next: i64,
        last: i64,
    },
    List(List, usize),
    Dict(Dict, usize),
    Channel(Channel<Value>, Option<Pin<Box<Receive<Value>>>>),
    /// A stream, pulled as its next item is wanted.
    Stream(Value, Pulling),
    Empty,
}

type Pulling = Option<Pin<Box<dyn Future<Output = Result<Value, Fault>> + Send>>>;

impl Items {
    fn of_count(source: &Value) -> Result<Items, Fault> {
        match source.as_int() {
            Some(count) if count > 0 => Ok(Items::Ints { next: 0, last: count - 1 }),
            Some(_) => Ok(Items::Empty),
            None => Err(Fault::type_error(format!("parallel: expected an int, got {}", source.type_name()))),
        }
    }

    fn of(host: &TaskHost, seed: &Seed, source: Value) -> Result<Items, Fault> {
        if let Some(channel) = channel_of(&source) {
            return Ok(Items::Channel(channel.clone(), None));
        }
        match source {
            Value::List(items) => Ok(Items::List(items, 0)),
            Value::Set(items) => Ok(Items::List(items.iter().cloned().collect(), 0)),
            Value::Dict(entries) => Ok(Items::Dict(entries, 0)),
            Value::Range(range) => Ok(match range.last() {
                Some(last) => Items::Ints { next: range.start(), last },
                None => Items::Empty,
            }),
            Value::Handle(handle) if handle.is_iterable() => {
                let source = Value::Handle(handle);
                stream::start(host, seed, &source);
                Ok(Items::Stream(source, None))
            }
            other => Err(Fault::type_error(format!("parallel: value of type {} is not iterable", other.type_name()))),
        }
    }

    fn poll_next(&mut self, run: &Arc<Run>, cx: &mut Context<'_>) -> Poll<Option<Result<Value, Fault>>> {
        Poll::Ready(match self {
            Items::Stream(source, pulling) => {
                if pulling.is_none() {
                    *pulling = stream::next(run, source, None).map(|wait| wait.future);
                }
                let Some(waiting) = pulling else { return Poll::Ready(None) };
                let item = ready!(waiting.as_mut().poll(cx));
                *pulling = None;
                return Poll::Ready(match item {
                    Ok(Value::Unset) => None,
                    other => Some(other),
                });
            }
            Items::Empty => None,
            Items::Ints { next, last } => {
                let item = Value::Int(*next);
                if *next == *last {
                    *self = Items::Empty;
                } else {
                    *next += 1;
                }
                Some(Ok(item))
            }
            Items::List(items, at) => {
                *at += 1;
                items.get(*at - 1).cloned().map(Ok)
            }
            Items::Dict(entries, at) => {
                *at += 1;
                entries
                    .nth(*at - 1)
                    .map(|(key, value)| Ok(Value::dict([("key", Value::from(key.clone())), ("value", value.clone())])))
            }
            Items::Channel(channel, receiving) => {
                let waiting = receiving.get_or_insert_with(|| Box::pin(channel.receive()));
                let polled = waiting.as_mut().poll(cx);
                if polled.is_ready() {
                    *receiving = None;
                }
                return polled.map(|item| item.map(Ok));
            }
        })
    }
}

/// The cap as written: none when it is zero, negative or nil.
fn limit(cap: &Value) -> Result<Option<usize>, Fault> {
    match (cap, cap.as_int()) {
        (Value::Nil, _) => Ok(None),
        (_, Some(cap)) => Ok(usize::try_from(cap).ok().filter(|it| *it > 0)),
        (other, None) => {
            Err(Fault::thrown(format!("parallel max_concurrent must be an int; got {}", other.type_name())))
        }
    }
}

impl Fan {
    pub fn open(
        host: &TaskHost,
        seed: Seed,
        mode: ParallelMode,
        source: Value,
        body: Closure,
        max_concurrent: &Value,
    ) -> Result<Fan, Fault> {
        let items =
            if mode == ParallelMode::Count { Items::of_count(&source)? } else { Items::of(host, &seed, source)? };
        let (fan_mode, kind) = fan_mode(mode);
        let options = FanOptions { kind, mode: fan_mode, limit: limit(max_concurrent)?, ..FanOptions::default() };
        Ok(Fan::with(host, seed, mode, items, Some(body), options))
    }

    /// Contenders of a race: one call of `body` for each item of `source`.
    pub fn of_race(
        host: &TaskHost,
        seed: Seed,
        source: Value,
        body: Option<Closure>,
        max_concurrent: &Value,
    ) -> Result<Fan, Fault> {
        let (kind, mode) = (TaskKind::RACE, FanMode::Stream);
        let options = FanOptions { kind, mode, limit: limit(max_concurrent)?, ..FanOptions::default() };
        let items = Items::of(host, &seed, source)?;
        Ok(Fan::with(host, seed, ParallelMode::Stream, items, body, options))
    }

    fn with(
        host: &TaskHost,
        seed: Seed,
        mode: ParallelMode,
        items: Items,
        body: Option<Closure>,
        options: FanOptions,
    ) -> Fan {
        let options = FanOptions { on_cancel: OnCancel::Grace(host.run.tasks.grace), ..options };
        let mut fan = FanOut::open(&host.context, host.nodes.innermost(), &options);
        fan.on_lost(host.run.tasks.lost.clone());
        Fan {
            fan,
            mode,
            items: Some(items),
            closing: None,
            failure: None,
            seed,
            body,
            run: host.run.clone(),
            values: host.values.clone(),
        }
    }

    /// Starts children while there is room and the source has items.
    fn start(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        for _ in 0..BATCH {
            let Some(items) = &mut self.items else { return Poll::Ready(()) };
            match self.fan.poll_room(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(false) => self.stop(),
                Poll::Ready(true) => match items.poll_next(&self.run, cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(None) => self.items = None,
                    Poll::Ready(Some(Err(fault))) => self.source_failed(fault),
                    Poll::Ready(Some(Ok(item))) => {
                        if let Err(fault) = self.run.tasks.admit_task() {
                            self.stop();
                            self.source_failed(fault);
                            continue;
                        }
                        let (seed, body, run, values) = (&self.seed, &self.body, &self.run, &self.values);
                        self.fan.start(|_, context| fan_child(seed, body.as_ref(), item, run, context, values));
                    }
                },
            }
        }
        // The children started so far run before more are made.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Starts children now. Whether more could be started at once, after those had a turn; then `cx` is woken.
    pub fn has_more_to_start(&mut self, cx: &mut Context<'_>) -> bool {
        let before = self.fan.started();
        self.start(cx).is_pending() && self.fan.started() - before == BATCH
    }

    /// No further item comes, or no further child may be started.
    fn source_failed(&mut self, fault: Fault) {
        self.items = None;
        if self.mode == ParallelMode::Stream {
            self.failure = Some(fault);
        } else {
            self.fan.fail(TaskFault(fault));
        }
    }

    /// Takes no further item. A stream that was the source is closed.
    fn stop(&mut self) {
        if let Some(Items::Stream(source, _)) = self.items.take() {
            self.closing = stream::close(&source);
        }
    }

    /// Waits until a source that was closed has ended.
    fn poll_source(&mut self, cx: &mut Context<'_>) -> Poll<Vec<Fault>> {
        let Some(closing) = &mut self.closing else { return Poll::Ready(Vec::new()) };
        let failures = ready!(closing.as_mut().poll(cx));
        self.closing = None;
        Poll::Ready(failures)
    }

    /// The value of the statement.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Value, Fault>> {
        ready!(self.start(cx));
        for failure in ready!(self.poll_source(cx)) {
            self.fan.fail(TaskFault(failure));
        }
        if self.mode == ParallelMode::Discard {
            return self.fan.poll_done(cx).map(|done| done.map(|()| Value::Nil).map_err(|failure| failure.0));
        }
        if self.mode != ParallelMode::Settle {
            return self.fan.poll_values(cx).map(|values| values.map(Value::list).map_err(|failure| failure.0));
        }
        match ready!(self.fan.poll_outcomes(cx)) {
            Err(failure) => Poll::Ready(Err(failure.0)),
            Ok(outcomes) => Poll::Ready(self.settle(outcomes)),
        }
    }

    fn settle(&self, outcomes: Vec<Outcome<Value, TaskFault>>) -> Result<Value, Fault> {
        if self.fan.node().is_cancelled() {
            return Err(Fault::cancelled("the task is being cancelled"));
        }
        let total = outcomes.len();
        let results: Vec<Value> = outcomes
            .into_iter()
            .map(|outcome| match value_of(outcome) {
                Ok(value) => Value::ok(value),
                Err(fault) => Value::err(fault.caught()),
            })
            .collect();
        let failed = results.iter().filter(|it| matches!(it, Value::Enum(it) if it.variant() == "Err")).count();
        Ok(Value::dict([
            ("failed", Value::from(failed)),
            ("results", Value::list(results)),
            ("succeeded", Value::from(total - failed)),
        ]))
    }

    /// Streaming: the next outcome in completion order, `None` at the end.
    pub fn poll_outcome(&mut self, cx: &mut Context<'_>) -> Poll<Option<Outcome<Value, TaskFault>>> {
        let starting = self.start(cx).is_pending();
        match self.fan.poll_next(cx) {
            Poll::Ready(Some((_, outcome))) => {
                // The room that this makes is taken at once.
                let _ = self.start(cx);
                Poll::Ready(Some(outcome))
            }
            Poll::Ready(None) if !starting => Poll::Ready(None),
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }

    /// Streaming: the next value in completion order, `Unset` at the end.
    pub fn poll_item(&mut self, cx: &mut Context<'_>) -> Poll<Result<Value, Fault>> {
        match (self.poll_outcome(cx), &mut self.failure) {
            (Poll::Ready(Some(outcome)), _) => Poll::Ready(value_of(outcome)),
            (_, Some(_)) => Poll::Ready(self.take_failure().map_or(Ok(Value::Unset), Err)),
            (Poll::Ready(None), None) => Poll::Ready(Ok(Value::Unset)),
            (Poll::Pending, None) => Poll::Pending,
        }
    }

    /// What the source failed with, when the outcomes are taken one by one.
    pub fn take_failure(&mut self) -> Option<Fault> {
        self.failure.take()
    }

    /// How many children there were so far.
    pub fn started(&self) -> usize {
        self.fan.started()
    }

    /// Takes no further item, and stops the children.
    pub fn cancel(&mut self, kind: CancelKind) {
        self.stop();
        self.fan.cancel(CancelReason::new(kind, ""));
    }

    /// Takes no further item, and waits for the children; gives what they failed with.
    pub fn poll_drained(&mut self, cx: &mut Context<'_>, failed: &mut dyn FnMut(Fault)) -> Poll<()> {
        self.stop();
        ready!(self.poll_source(cx)).into_iter().for_each(&mut *failed);
        while let Some(outcome) = ready!(self.fan.poll_next(cx)).map(|it| it.1) {
            if let Outcome::Failed(failure) = outcome {
                failed(failure.0);
            }
        }
        Poll::Ready(())
    }
}

impl Drop for Fan {
    fn drop(&mut self) {
        self.run.tasks.shared.end_group(|| self.fan.group_id());
    }
}
