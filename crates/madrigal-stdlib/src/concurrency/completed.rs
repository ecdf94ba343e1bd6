//! `as_completed`: tasks as a stream in the order in which they end. Only what it hands out counts as observed.

use super::joining::Joining;
use super::tasks::{settled, tasks_of};
use crate::task::TaskFault;
use madrigal_runtime::{Ended, TaskHandle};
use madrigal_vm::{Args, Cx, Fault, Handle, HandleObject, Received, Value, Wait};
use parking_lot::Mutex;
use std::future::poll_fn;
use std::task::{Context, Poll, ready};

madrigal_vm::builtins! {
    /// A stream of `{index, handle, result}` in the order in which the tasks end.
    "as_completed" (tasks: list) -> stream = as_completed;
}

/// Such a stream as a value.
struct Completed {
    tasks: Vec<TaskHandle<Value, TaskFault>>,
    handles: Vec<Value>,
    received: Received,
    /// `None` once all have ended.
    joining: Mutex<Option<Joining<Ended<Value, TaskFault>>>>,
}

impl HandleObject for Completed {
    fn type_name(&self) -> &'static str {
        "stream"
    }

    fn display(&self) -> String {
        if self.joining.lock().is_some() { "<stream>".to_owned() } else { "<stream (done)>".to_owned() }
    }

    fn identity(&self) -> Option<u64> {
        None
    }

    fn is_iterable(&self) -> bool {
        true
    }
}

impl Completed {
    fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Value> {
        let mut joining = self.joining.lock();
        let ended = match joining.as_mut() {
            Some(joining) => ready!(joining.poll_next(cx)),
            None => None,
        };
        let Some((index, ())) = ended else {
            *joining = None;
            return Poll::Ready(Value::Unset);
        };
        let task = &self.tasks[index];
        task.mark_observed();
        Poll::Ready(Value::dict([
            ("index", Value::from(index)),
            ("handle", self.handles[index].clone()),
            ("result", task.try_outcome().map_or(Value::Nil, |it| settled(it, &self.received))),
        ]))
    }
}

fn as_completed(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let tasks = tasks_of("as_completed", args.get(0))?;
    let handles = args.list(0).map(|it| it.to_vec()).unwrap_or_default();
    let received = cx.received.get_or_insert_default().clone();
    let joining = Mutex::new(Some(Joining::new(tasks.iter().map(TaskHandle::ended))));
    Ok(Value::Handle(Handle::new(Completed { tasks, handles, received, joining })))
}

/// The wait for the next item, when `source` is such a stream.
pub fn next_completed(source: &Value) -> Option<Wait> {
    let Value::Handle(handle) = source else { return None };
    handle.downcast::<Completed>()?;
    let handle = handle.clone();
    Some(Wait::new(
        "the next task to end",
        poll_fn(move |cx| match handle.downcast::<Completed>() {
            Some(completed) => completed.poll_next(cx).map(Ok),
            None => Poll::Ready(Ok(Value::Unset)),
        }),
    ))
}
