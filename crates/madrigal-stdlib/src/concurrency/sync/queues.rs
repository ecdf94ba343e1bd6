//! Bounded queues.

use super::super::timed::timeout_of;
use super::{count_from, handle_object, receiver, wait_for};
use madrigal_runtime::sync::Queue;
use madrigal_runtime::{TryReceiveError, TrySendError};
use madrigal_vm::{Args, Cx, Fault, Handle, Outcome, Value};

madrigal_vm::builtins! {
    /// A bounded queue.
    "__sync_queue" (cap: int) -> sync_queue = make_queue;
    /// Puts an item, waiting for room; false when the queue is closed or `timeout` passes first.
    "sync_queue.put" (item: any, timeout: duration = nil) -> bool = put;
    /// Takes an item, waiting for one; nil when the queue is closed and drained or `timeout` passes first.
    "sync_queue.take" (timeout: duration = nil) -> any = take;
    /// Puts an item if there is room.
    "sync_queue.try_put" (item: any) -> bool = try_put;
    /// Takes an item if there is one, else nil.
    "sync_queue.try_take" () -> any = try_take;
    /// Closes the queue; what is in it can still be taken.
    "sync_queue.close" () -> nil = close;
    /// Whether the queue was closed.
    "sync_queue.is_closed" () -> bool = is_closed;
    /// How many items are in the queue.
    "sync_queue.len" () -> int = len;
}

struct QueueObject(Queue<Value>);

handle_object!(QueueObject, "sync_queue");

fn queue<'a>(name: &str, args: &'a Args<'_>) -> Result<&'a Queue<Value>, Fault> {
    receiver::<QueueObject>(name, args).map(|it| &it.0)
}

fn make_queue(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let capacity = count_from("make_queue", 1, args.get(0))?;
    Ok(Value::Handle(Handle::new(QueueObject(Queue::new(capacity)))))
}

fn put(cx: &mut Cx<'_>, mut args: Args<'_>) -> Result<Outcome, Fault> {
    let item = args.take(1);
    let queue = queue("put", &args)?;
    timeout_of("put", args.get(2))?;
    let item = match queue.try_put(item) {
        Ok(()) => return Ok(Outcome::from(true)),
        Err(TrySendError::Closed(_)) => return Ok(Outcome::from(false)),
        Err(TrySendError::Full(item)) => item,
    };
    let putting = queue.put(item);
    wait_for(cx, "put", &args, args.get(2), Value::Bool(false), async move { Ok(Value::Bool(putting.await.is_ok())) })
}

fn take(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    let queue = queue("take", &args)?;
    timeout_of("take", args.get(1))?;
    match queue.try_take() {
        Ok(item) => return Ok(Outcome::from(item)),
        Err(TryReceiveError::Closed) => return Ok(Outcome::from(Value::Nil)),
        Err(TryReceiveError::Empty) => {}
    }
    let taking = queue.take();
    wait_for(cx, "take", &args, args.get(1), Value::Nil, async move { Ok(taking.await.unwrap_or_default()) })
}

fn try_put(_: &mut Cx<'_>, mut args: Args<'_>) -> Result<bool, Fault> {
    let item = args.take(1);
    Ok(queue("try_put", &args)?.try_put(item).is_ok())
}

fn try_take(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    Ok(queue("try_take", &args)?.try_take().unwrap_or_default())
}

fn close(_: &mut Cx<'_>, args: Args<'_>) -> Result<(), Fault> {
    queue("close", &args)?.close();
    Ok(())
}

fn is_closed(_: &mut Cx<'_>, args: Args<'_>) -> Result<bool, Fault> {
    Ok(queue("is_closed", &args)?.is_closed())
}

fn len(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    Ok(Value::from(queue("len", &args)?.len()))
}
