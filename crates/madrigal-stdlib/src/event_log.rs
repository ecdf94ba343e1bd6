//! The event log: topics of events with ids from 1, kept in memory for the run. A subscription is a stream written in
//! Harn (`lib/prelude.harn`) that asks for one event after another, so past and live events come without a gap.

use crate::host::run;
use crate::plain::plain;
use crate::prelude::passed;
use madrigal_vm::{Args, Cx, Fault, Outcome, Value, Wait};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::Notify;

madrigal_vm::builtins! {
    /// Appends an event to a topic; its id.
    "__event_emit" (topic: string, kind: string, payload: any, headers: dict) -> int = emit;
    /// Id of the last event of a topic, nil when there is none.
    "__event_latest" (topic: string) -> int = latest;
    /// Topic and cursor of a subscription, checked.
    "__event_subscription" (topic: any, cursor: any) -> list = subscription;
    /// Waits for the first event of a topic after a cursor.
    "__event_next" (topic: string, cursor: int) -> dict = next;
}

/// The topics of a run by name.
#[derive(Default)]
pub(crate) struct EventLog(Mutex<HashMap<String, Arc<Topic>>>);

#[derive(Default)]
struct Topic {
    events: Mutex<Vec<Value>>,
    grown: Notify,
}

impl EventLog {
    fn topic(&self, name: &str) -> Arc<Topic> {
        Arc::clone(self.0.lock().entry(name.to_owned()).or_default())
    }
}

/// The topic in an argument.
fn topic_name(value: &Value, function: &str) -> Result<String, Fault> {
    let name = match passed(value) {
        Some(Value::String(name)) => name.to_string(),
        Some(other) => {
            let found = other.type_name();
            return Err(Fault::type_error(format!("event_log.{function}: topic must be a string, got {found}")));
        }
        None => return Err(Fault::type_error(format!("event_log.{function}: missing topic"))),
    };
    let fits = |it: char| it.is_ascii_alphanumeric() || matches!(it, '.' | '_' | '-');
    if name.is_empty() || !name.chars().all(fits) {
        let allowed = "only ASCII letters, digits, '.', '_' and '-' are allowed";
        return Err(Fault::runtime(format!("event_log: invalid topic '{name}': {allowed}")));
    }
    Ok(name)
}

fn emit(cx: &mut Cx<'_>, args: Args<'_>) -> Result<i64, Fault> {
    let name = topic_name(args.get(0), "emit")?;
    let kind = match passed(args.get(1)) {
        Some(kind @ Value::String(_)) => kind.clone(),
        Some(other) => {
            let found = other.type_name();
            return Err(Fault::type_error(format!("event_log.emit: kind must be a string, got {found}")));
        }
        None => return Err(Fault::type_error("event_log.emit: missing kind")),
    };
    let headers = match args.get(3) {
        Value::Nil => Value::dict::<&str>([]),
        Value::Dict(_) => plain(args.get(3)),
        other => {
            let found = other.type_name();
            return Err(Fault::type_error(format!("event_log.emit: headers must be a dict, got {found}")));
        }
    };
    let run = run(cx);
    let topic = run.events.topic(&name);
    let mut events = topic.events.lock();
    let id = Value::from(events.len() + 1);
    events.push(Value::dict([
        ("id", id.clone()),
        ("cursor", id.clone()),
        ("topic", Value::from(name)),
        ("kind", kind),
        ("payload", plain(args.get(2))),
        ("headers", headers),
        ("occurred_at_ms", Value::Int(run.now_ms())),
    ]));
    drop(events);
    topic.grown.notify_waiters();
    Ok(id.as_int().unwrap_or_default())
}

fn latest(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let name = topic_name(args.get(0), "latest")?;
    let count = run(cx).events.topic(&name).events.lock().len();
    Ok(if count == 0 { Value::Nil } else { Value::from(count) })
}

fn subscription(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let name = "subscribe";
    let (topic, cursor) = match args.dict(0) {
        Some(options) => {
            let missing = || Fault::type_error("event_log.subscribe: missing topic");
            (options.get("topic").ok_or_else(missing)?, options.get("from_cursor").unwrap_or(&Value::Nil))
        }
        None => (args.get(0), args.get(1)),
    };
    let topic = topic_name(topic, name)?;
    let from = match cursor {
        Value::Nil => 0,
        other => other.as_int().filter(|it| *it >= 0).ok_or_else(|| {
            let found = cursor.type_name();
            let text = format!("event_log.subscribe: from_cursor must be a non-negative int or nil, got {found}");
            Fault::type_error(text)
        })?,
    };
    Ok(Value::list(vec![Value::from(topic), Value::Int(from)]))
}

fn next(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    let topic = run(cx).events.topic(&args.string(0));
    let after = usize::try_from(args.int(1).unwrap_or(0)).unwrap_or(usize::MAX);
    let event = move |topic: &Topic| topic.events.lock().get(after).cloned();
    if let Some(event) = event(&topic) {
        return Ok(Outcome::Value(event));
    }
    Ok(Outcome::from(Wait::new("the next event", async move {
        loop {
            // Registered before looking: an event in between must not be missed.
            let mut grown = std::pin::pin!(topic.grown.notified());
            grown.as_mut().enable();
            if let Some(event) = event(&topic) {
                return Ok(event);
            }
            grown.await;
        }
    })))
}
