//! Mailboxes: bounded queues found by name.

use super::host;
use super::shared::{Opening, count, handle, named, opening};
use madrigal_runtime::{Mailbox, TryReceiveError, TrySendError};
use madrigal_vm::{Args, Cx, Fault, Outcome, Value, Wait};

madrigal_vm::builtins! {
    /// The mailbox of a name, made when there is none or the old one is closed and drained.
    "mailbox_open" (name: any, capacity: int = 256) -> dict = mailbox_open;
    /// The mailbox of a name, nil when there is none.
    "mailbox_lookup" (name: any) -> dict = mailbox_lookup;
    /// Sends, waiting while the mailbox is full; false when it is closed or absent.
    "mailbox_send" (target: any, value: any) -> bool = mailbox_send;
    /// The next message, waiting for one; nil when the mailbox is closed and drained, or absent.
    "mailbox_receive" (target: any) -> any = mailbox_receive;
    /// The next message if there is one now, else nil.
    "mailbox_try_receive" (target: any) -> any = mailbox_try_receive;
    /// Closes the mailbox; true the first time. What is in it stays receivable.
    "mailbox_close" (target: any) -> bool = mailbox_close;
    /// Counters of a mailbox, nil when there is none.
    "mailbox_metrics" (target: any) -> dict = mailbox_metrics;
}

const CAPACITY: i64 = 256;

fn mailbox_open(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let opening = opening(cx, "mailbox_open", "name", args.get(0))?;
    let option = opening.options.as_ref().and_then(|it| it.get("capacity")).and_then(Value::as_int);
    let capacity = option.or_else(|| args.int(1)).unwrap_or(CAPACITY);
    let capacity = usize::try_from(capacity).unwrap_or(1).max(1);
    host(cx).run.tasks.shared.open(&opening.scope, |scoped| {
        let fresh = || Mailbox::new(opening.key.as_str(), capacity);
        let mailbox = scoped.mailboxes.entry(opening.key.clone()).or_insert_with(fresh);
        if mailbox.is_drained() {
            *mailbox = fresh();
        }
    });
    Ok(handle("mailbox", "name", &opening))
}

/// The mailbox that a handle or a name stands for, and its handle.
fn target(cx: &mut Cx<'_>, name: &str, value: &Value) -> Result<(Option<Mailbox<Value>>, Opening), Fault> {
    let opening = match named("mailbox", "name", value) {
        Some((scope, key)) => Opening { scope: scope.to_owned(), key: key.to_owned(), options: None },
        None => opening(cx, name, "name", value)?,
    };
    let found = host(cx).run.tasks.shared.find(&opening.scope, |it| it.mailboxes.get(&opening.key).cloned());
    Ok((found, opening))
}

fn mailbox_lookup(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let (found, opening) = target(cx, "mailbox_lookup", args.get(0))?;
    Ok(found.map_or(Value::Nil, |_| handle("mailbox", "name", &opening)))
}

fn mailbox_send(cx: &mut Cx<'_>, mut args: Args<'_>) -> Result<Outcome, Fault> {
    let (Some(mailbox), opening) = target(cx, "mailbox_send", args.get(0))? else { return Ok(Outcome::from(false)) };
    match mailbox.try_send(args.take(1)) {
        Ok(()) => Ok(Outcome::from(true)),
        Err(TrySendError::Closed(_)) => Ok(Outcome::from(false)),
        Err(TrySendError::Full(value)) => {
            let sending = mailbox.send(value);
            let future = async move { Ok(Value::Bool(sending.await.is_ok())) };
            Ok(Wait::new("mailbox_send", future).on(described(&opening)).into())
        }
    }
}

fn mailbox_receive(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    let (Some(mailbox), opening) = target(cx, "mailbox_receive", args.get(0))? else {
        return Ok(Outcome::from(Value::Nil));
    };
    match mailbox.try_receive() {
        Ok(value) => Ok(Outcome::from(value)),
        Err(TryReceiveError::Closed) => Ok(Outcome::from(Value::Nil)),
        Err(TryReceiveError::Empty) => {
            let receiving = mailbox.receive();
            let future = async move { Ok(receiving.await.unwrap_or_default()) };
            Ok(Wait::new("mailbox_receive", future).on(described(&opening)).into())
        }
    }
}

/// The mailbox in words, for reports.
fn described(opening: &Opening) -> Value {
    Value::from(format!("mailbox {}", opening.key))
}

fn mailbox_try_receive(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let (found, _) = target(cx, "mailbox_try_receive", args.get(0))?;
    Ok(found.and_then(|it| it.try_receive().ok()).unwrap_or_default())
}

fn mailbox_close(cx: &mut Cx<'_>, args: Args<'_>) -> Result<bool, Fault> {
    let (found, _) = target(cx, "mailbox_close", args.get(0))?;
    Ok(found.is_some_and(|it| it.close()))
}

fn mailbox_metrics(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let (found, _) = target(cx, "mailbox_metrics", args.get(0))?;
    Ok(found.map_or(Value::Nil, |mailbox| {
        let metrics = mailbox.metrics();
        Value::dict([
            ("capacity", Value::from(metrics.capacity)),
            ("depth", Value::from(metrics.depth)),
            ("sent_count", count(metrics.sent_count)),
            ("received_count", count(metrics.received_count)),
            ("failed_send_count", count(metrics.failed_send_count)),
            ("closed", Value::Bool(metrics.closed)),
        ])
    }))
}
