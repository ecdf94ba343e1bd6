//! Streams as the library sees them: what is kept of the task that runs a body, and the combinators of the `stream`
//! namespace that wait for several sources, or for time.
//! Not here: how bodies run (the `madrigal` crate), combinators that need neither (`lib/streams.harn`).
//! Invariant: a stream that nobody can pull any more is cancelled; what it failed with is then reported.

mod broadcast;

use super::host;
use crate::task::TaskFault;
use crate::time::waiting_time;
use madrigal_runtime::{CancelKind, CancelReason, Handover, Lost, TaskHandle};
use madrigal_vm::{Args, BuiltinTable, Cx, Effect, Fault, GeneratorObject, Handle, Outcome, Value, Wait};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

pub use broadcast::{next_of_branch, source_of};

madrigal_vm::builtins! {
    /// The next item of whichever stream has one, asked in turn from `start` on: `[index, done, value]`.
    "__next_of" (streams: list, start: int) -> list = next_of;
    /// As `.next()`, but nil when nothing comes within `time`.
    "__next_within" (source: stream, time: duration) -> any = next_within;
    /// Starts the body of a stream and lets it run up to `count` items ahead of its reader.
    "__ahead" (source: stream, count: int) -> nil = let_ahead;
    /// Ends a stream, and waits for its body to end.
    "__close" (source: stream) -> nil = close;
}

/// Adds the builtins of streams.
pub(super) fn register_all(table: &mut BuiltinTable) {
    register(table);
    broadcast::register(table);
}

/// The two ends of a stream's handover.
pub type Items = Handover<Value, TaskFault>;

/// A stream whose body runs as a task, as its consumers see it.
pub struct StreamTask {
    /// What the body hands over.
    pub items: Items,
    /// The task.
    pub task: TaskHandle<Value, TaskFault>,
    /// Takes a failure that nobody will see otherwise.
    pub lost: Lost<TaskFault>,
}

impl StreamTask {
    /// Asks the body to end.
    pub fn cancel(&self) {
        self.task.cancel(CancelReason::new(CancelKind::Cancel, "nobody reads the stream any more"));
    }

    fn of(handle: &Handle) -> Option<Arc<StreamTask>> {
        handle.downcast::<GeneratorObject>()?.task()
    }
}

impl Drop for StreamTask {
    fn drop(&mut self) {
        self.cancel();
        if let Some(failure) = self.items.abandon() {
            (self.lost)(failure);
        }
    }
}

/// The next item of a stream that was started, `Unset` at its end. `reader` is what the task that pulls hands over.
pub async fn next_item(handle: Handle, reader: Option<Items>) -> Result<Value, Fault> {
    let Some(task) = StreamTask::of(&handle) else { return Ok(Value::Unset) };
    let item = task.items.next().for_producer_of(reader.as_ref()).await;
    if !matches!(item, Some(Ok(_)))
        && let Some(object) = handle.downcast::<GeneratorObject>()
    {
        object.end();
    }
    item.map_or(Ok(Value::Unset), |it| it.map_err(|failure| failure.0))
}

/// A pull of one of several streams.
struct Pull {
    handle: Handle,
    item: Pin<Box<dyn Future<Output = Result<Value, Fault>> + Send>>,
}

impl Pull {
    fn new(source: &Value, reader: Option<Items>) -> Option<Pull> {
        let Value::Handle(handle) = source else { return None };
        Some(Pull { handle: handle.clone(), item: Box::pin(next_item(handle.clone(), reader)) })
    }

    /// Ready when no item comes without time passing or somebody else acting.
    fn poll_settled(&self, cx: &Context<'_>) -> Poll<()> {
        StreamTask::of(&self.handle).map_or(Poll::Ready(()), |it| it.items.poll_settled(cx))
    }
}

fn next_of(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    let sources = args.list(0).map(|it| it.to_vec()).unwrap_or_default();
    let start = args.int(1).and_then(|it| usize::try_from(it).ok()).unwrap_or(0);
    let reader = &host(cx).stream;
    let mut pulls: Vec<Pull> = sources.iter().filter_map(|it| Pull::new(it, reader.clone())).collect();
    let next = poll_fn(move |cx| {
        let count = pulls.len();
        for index in (start..count).chain(0..start.min(count)) {
            let pull = &mut pulls[index];
            let (done, item) = match pull.item.as_mut().poll(cx) {
                Poll::Ready(Err(fault)) => return Poll::Ready(Err(fault)),
                Poll::Ready(Ok(Value::Unset)) => (true, Value::Nil),
                Poll::Ready(Ok(item)) => (false, item),
                Poll::Pending if pull.poll_settled(cx).is_pending() => return Poll::Pending,
                Poll::Pending => continue,
            };
            return Poll::Ready(Ok(Value::list(vec![Value::from(index), Value::Bool(done), item])));
        }
        Poll::Pending
    });
    Ok(Effect::Pull { sources, wait: Wait::new("the next item of several streams", next).inside() }.into())
}

fn next_within(cx: &mut Cx<'_>, mut args: Args<'_>) -> Result<Outcome, Fault> {
    let time = waiting_time(args.get(1));
    let source = args.take(0);
    let host = host(cx);
    let run = host.run.clone();
    let Some(mut pull) = Pull::new(&source, host.stream.clone()) else { return Ok(Value::Nil.into()) };
    let mut quiet = Box::pin(async move {
        if !time.is_zero() {
            run.sleep(time).await;
        }
    });
    let mut passed = false;
    let next = poll_fn(move |cx| {
        if let Poll::Ready(item) = pull.item.as_mut().poll(cx) {
            return Poll::Ready(item.map(|item| {
                let done = matches!(item, Value::Unset);
                let value = if done { Value::Nil } else { item };
                Value::dict([("done", Value::Bool(done)), ("value", value)])
            }));
        }
        passed = passed || quiet.as_mut().poll(cx).is_ready();
        if passed && pull.poll_settled(cx).is_ready() { Poll::Ready(Ok(Value::Nil)) } else { Poll::Pending }
    });
    Ok(Effect::Pull { sources: vec![source], wait: Wait::new("the next item of a stream", next).inside() }.into())
}

fn let_ahead(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<Outcome, Fault> {
    let count = args.int(1).and_then(|it| usize::try_from(it).ok()).unwrap_or(0);
    let source = args.take(0);
    let stream = source.clone();
    let wait = Wait::new("a stream to start", async move {
        if let Value::Handle(handle) = &stream
            && let Some(task) = StreamTask::of(handle)
        {
            task.items.set_ahead(count);
        }
        Ok(Value::Nil)
    });
    Ok(Effect::Pull { sources: vec![source], wait }.into())
}

fn close(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<Outcome, Fault> {
    Ok(Effect::Close { source: args.take(0) }.into())
}
