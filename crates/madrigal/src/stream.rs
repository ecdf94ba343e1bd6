//! Streams: bodies of `gen fn` as tasks that run on demand, and `parallel .. as stream`. How they are pulled, and how
//! they are closed when a loop over them is left. Not here: what the body does (`driver.rs`), the children (`fan.rs`).

use crate::driver::ScriptTask;
use crate::fan::Fan;
use madrigal_runtime::{CancelKind, TaskKind, TaskSpec};
use madrigal_stdlib::concurrency::{Items, StreamTask, next_completed, next_item, next_of_branch, source_of};
use madrigal_stdlib::{Run, TaskFault, TaskHost};
use madrigal_vm::{Fault, GeneratorObject, Handle, HandleObject, Seed, StreamBody, Value, Wait};
use parking_lot::Mutex;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

/// What is left to do until a stream is closed; ends with what its cleanups failed with.
pub(crate) type Closing = Pin<Box<dyn Future<Output = Vec<Fault>> + Send>>;

/// Starts the body of a stream that was not pulled before, beneath what the first puller has open.
pub(crate) fn start(host: &TaskHost, seed: &Seed, source: &Value) {
    let source = source_of(source).unwrap_or(source);
    if let Value::Handle(handle) = source
        && let Some(object) = handle.downcast::<GeneratorObject>()
    {
        object.start_task(|body| start_body(host, seed, body));
    }
}

fn start_body(host: &TaskHost, seed: &Seed, body: StreamBody) -> StreamTask {
    let items = Items::new();
    let spec = TaskSpec::new(TaskKind::STREAM).with_grace(host.run.tasks.grace).under(host.nodes.innermost());
    let (vm, run, values) = (body.task(seed), host.run.clone(), host.values.clone());
    let own = items.clone();
    let make = |context| items.producing(ScriptTask::of_stream(vm, run, context, values, own));
    let task = host.context.spawn_background(spec, make);
    StreamTask { items, task, lost: host.run.tasks.lost.clone() }
}

/// The wait for the next item of a stream that was started, `Unset` at its end; none when `source` is no stream.
/// `reader` is what the task that pulls hands over itself.
pub(crate) fn next(run: &Arc<Run>, source: &Value, reader: Option<&Items>) -> Option<Wait> {
    let Value::Handle(handle) = source else { return None };
    if handle.downcast::<GeneratorObject>().is_some() {
        return Some(Wait::new("the next item of a stream", next_item(handle.clone(), reader.cloned())));
    }
    StreamObject::next(handle)
        .or_else(|| next_completed(source))
        .or_else(|| next_of_branch(source, reader.cloned()))
        .or_else(|| madrigal_stdlib::tcp::next(run, source))
}

/// Ends a stream at once; the future waits for what is left of it. None when nothing is left.
pub(crate) fn close(source: &Value) -> Option<Closing> {
    let Value::Handle(handle) = source else { return None };
    if let Some(object) = handle.downcast::<GeneratorObject>() {
        let task = object.end_task::<StreamTask>()?;
        task.cancel();
        return Some(Box::pin(async move {
            task.task.ended().await;
            task.items.abandon().into_iter().map(|it| it.0).collect()
        }));
    }
    let mut fan = handle.downcast::<StreamObject>()?.0.lock().take()?.fan;
    fan.cancel(CancelKind::Cancel);
    let mut failures = Vec::new();
    Some(Box::pin(poll_fn(move |cx| {
        fan.poll_drained(cx, &mut |fault| failures.push(fault)).map(|()| std::mem::take(&mut failures))
    })))
}

/// `parallel each .. as stream` as a value.
pub(crate) struct StreamObject(Mutex<Option<Parallel>>);

struct Parallel {
    fan: Fan,
    /// A failure was thrown: the stream has ended, and its children are on their way.
    failed: bool,
}

impl StreamObject {
    pub fn new(fan: Fan) -> StreamObject {
        StreamObject(Mutex::new(Some(Parallel { fan, failed: false })))
    }

    fn next(handle: &Handle) -> Option<Wait> {
        handle.downcast::<StreamObject>()?;
        let handle = handle.clone();
        Some(Wait::new(
            "the next item of a stream",
            poll_fn(move |cx| {
                let Some(stream) = handle.downcast::<StreamObject>() else { return Poll::Ready(Ok(Value::Unset)) };
                let mut state = stream.0.lock();
                let Some(parallel) = state.as_mut().filter(|it| !it.failed) else {
                    return Poll::Ready(Ok(Value::Unset));
                };
                let polled = parallel.fan.poll_item(cx);
                match &polled {
                    Poll::Ready(Err(_)) => {
                        parallel.failed = true;
                        parallel.fan.cancel(CancelKind::ScopeFailed);
                    }
                    Poll::Ready(Ok(Value::Unset)) => *state = None,
                    Poll::Ready(Ok(_)) | Poll::Pending => {}
                }
                polled
            }),
        ))
    }
}

impl HandleObject for StreamObject {
    fn type_name(&self) -> &'static str {
        "stream"
    }

    fn display(&self) -> String {
        let is_open = self.0.lock().as_ref().is_some_and(|it| !it.failed);
        if is_open { "<stream>".to_owned() } else { "<stream (done)>".to_owned() }
    }

    fn identity(&self) -> Option<u64> {
        None
    }

    fn is_iterable(&self) -> bool {
        true
    }

    fn ends_with_loop(&self) -> bool {
        true
    }
}

/// Reports failures that nobody will see otherwise.
pub(crate) fn report_lost(run: &Run, failures: Vec<Fault>) {
    failures.into_iter().for_each(|it| (run.tasks.lost)(TaskFault(it)));
}
