//! Waitpoints: named one-shot signals of a run, which any number of tasks wait for, before or after they are
//! completed. Two front ends: builtins that report what happened, and `std/waitpoint`, which throws.

use crate::host::{Run, run};
use crate::ids::time_ordered;
use crate::plain::plain;
use crate::time::rfc3339;
use madrigal_vm::{Args, Cx, Dict, Fault, Outcome, Value, Wait};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

madrigal_vm::builtins! {
    /// Makes a waitpoint, or gives the one of this id.
    "waitpoint_create" (id_or_options: any) -> dict = waitpoint_create;
    /// Completes a waitpoint.
    "waitpoint_complete" (waitpoint: any, options: dict) -> dict = waitpoint_complete;
    /// Cancels a waitpoint.
    "waitpoint_cancel" (waitpoint: any, options: dict) -> dict = waitpoint_cancel;
    /// Waits for one or all of a list of waitpoints; a dict that says how it ended.
    "waitpoint_wait" (waitpoints: any, options: dict) -> dict = waitpoint_wait;
    /// The builtin of this name, for `std/waitpoints`.
    "__waitpoints_create" (id_or_options: any) -> dict = waitpoint_create;
    /// The builtin of this name, for `std/waitpoints`.
    "__waitpoints_complete" (waitpoint: any, options: dict) -> dict = waitpoint_complete;
    /// The builtin of this name, for `std/waitpoints`.
    "__waitpoints_cancel" (waitpoint: any, options: dict) -> dict = waitpoint_cancel;
    /// The builtin of this name, for `std/waitpoints`.
    "__waitpoints_wait" (waitpoints: any, options: dict) -> dict = waitpoint_wait;
    /// Makes a waitpoint, or gives the one of this id, with its value.
    "__waitpoint_create" (id_or_options: any) -> dict = create;
    /// Completes a known waitpoint.
    "__waitpoint_complete" (waitpoint: any, value: any, options: dict) -> dict = complete;
    /// Cancels a known waitpoint.
    "__waitpoint_cancel" (waitpoint: any, options: dict) -> dict = cancel;
    /// Waits, and gives the outcome with the records.
    "__waitpoint_wait" (waitpoints: any, options: dict) -> dict = wait;
}

/// The waitpoints of a run.
#[derive(Default)]
pub(crate) struct Waitpoints {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    points: HashMap<String, Waitpoint>,
    /// Outcomes of finished waits by their id.
    outcomes: HashMap<String, Dict>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    Open,
    Completed,
    Cancelled,
}

impl Status {
    fn name(self) -> &'static str {
        match self {
            Status::Open => "open",
            Status::Completed => "completed",
            Status::Cancelled => "cancelled",
        }
    }
}

#[derive(Clone, Debug)]
struct Waitpoint {
    id: String,
    status: Status,
    created_at: Value,
    created_by: Value,
    ended_at: Value,
    ended_by: Value,
    value: Value,
    reason: Value,
    metadata: Value,
}

impl Waitpoint {
    fn new(run: &Run, id: String, options: Option<&Dict>) -> Waitpoint {
        Waitpoint {
            id,
            status: Status::Open,
            created_at: now(run),
            created_by: option(options, "created_by").or_else(|| option(options, "by")).unwrap_or_default(),
            ended_at: Value::Nil,
            ended_by: Value::Nil,
            value: Value::Nil,
            reason: Value::Nil,
            metadata: option(options, "metadata").unwrap_or_else(|| Value::Dict(Dict::new())),
        }
    }

    fn end(&mut self, run: &Run, status: Status, value: Value, options: Option<&Dict>) {
        self.status = status;
        self.ended_at = now(run);
        self.value = value;
        self.ended_by = option(options, "by").unwrap_or_default();
        self.reason = option(options, "reason").unwrap_or_default();
        if let Some(metadata) = option(options, "metadata") {
            self.metadata = metadata;
        }
    }

    /// The record; with `value`, or with `created_by`.
    fn record(&self, with_value: bool) -> Value {
        let when = |status: Status, value: &Value| if self.status == status { value.clone() } else { Value::Nil };
        let own = if with_value { ("value", self.value.clone()) } else { ("created_by", self.created_by.clone()) };
        Value::dict([
            ("id", Value::from(self.id.as_str())),
            ("status", Value::from(self.status.name())),
            ("created_at", self.created_at.clone()),
            ("completed_at", when(Status::Completed, &self.ended_at)),
            ("cancelled_at", when(Status::Cancelled, &self.ended_at)),
            ("completed_by", when(Status::Completed, &self.ended_by)),
            ("cancelled_by", when(Status::Cancelled, &self.ended_by)),
            ("reason", self.reason.clone()),
            ("metadata", self.metadata.clone()),
            own,
        ])
    }
}

fn now(run: &Run) -> Value {
    Value::from(rfc3339(run.now_ms()))
}

fn option(options: Option<&Dict>, key: &str) -> Option<Value> {
    options.and_then(|it| it.get(key)).filter(|it| !it.is_nil()).map(plain)
}

/// The id that a text or a record gives.
fn id_of(value: &Value) -> Option<String> {
    let id = match value {
        Value::Dict(it) => it.get("id").filter(|it| !it.is_nil())?.display(),
        Value::Nil => return None,
        other => other.display(),
    };
    Some(id.to_string()).filter(|it| !it.is_empty())
}

fn created(run: &Run, argument: &Value, with_value: bool) -> Result<Value, Fault> {
    let id = match id_of(argument) {
        Some(id) => id,
        None => format!("waitpoint_{}", time_ordered(run)?),
    };
    let options = match argument {
        Value::Dict(it) => Some(it),
        _ => None,
    };
    let mut state = run.waitpoints.state.lock();
    let point = state.points.entry(id.clone()).or_insert_with(|| Waitpoint::new(run, id, options));
    Ok(point.record(with_value))
}

fn waitpoint_create(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    created(run(cx), args.get(0), false)
}

fn create(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    created(run(cx), args.get(0), true)
}

fn needed_id(value: &Value, name: &str) -> Result<String, Fault> {
    id_of(value).ok_or_else(|| Fault::runtime(format!("{name}: waitpoint id is required")))
}

/// Ends a waitpoint for the builtins: an unknown one is made, one that has ended stays as it is.
fn end(cx: &mut Cx<'_>, args: &Args<'_>, name: &str, status: Status) -> Result<Value, Fault> {
    let id = needed_id(args.get(0), name)?;
    let run = run(cx);
    let mut state = run.waitpoints.state.lock();
    let point = state.points.entry(id.clone()).or_insert_with(|| Waitpoint::new(run, id, None));
    if point.status == Status::Open {
        let value = option(args.dict(1), "value").unwrap_or_default();
        point.end(run, status, value, args.dict(1));
    }
    let record = point.record(false);
    drop(state);
    run.waitpoints.changed.notify_waiters();
    Ok(record)
}

fn waitpoint_complete(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    end(cx, &args, "waitpoint_complete", Status::Completed)
}

fn waitpoint_cancel(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    end(cx, &args, "waitpoint_cancel", Status::Cancelled)
}

/// Ends a waitpoint for the module: it has to be known and must not have ended otherwise.
fn end_known(
    run: &Run,
    args: &Args<'_>,
    name: &str,
    status: Status,
    (value, options): (Value, Option<&Dict>),
) -> Result<Value, Fault> {
    let id = needed_id(args.get(0), name)?;
    let mut state = run.waitpoints.state.lock();
    let unknown = || Fault::runtime(format!("{name}: unknown waitpoint '{id}'"));
    let point = state.points.get_mut(&id).ok_or_else(unknown)?;
    if point.status == Status::Open {
        point.end(run, status, value, options);
    } else if point.status != status {
        return Err(Fault::runtime(format!("{name}: waitpoint '{id}' is already {}", point.status.name())));
    }
    let record = point.record(true);
    drop(state);
    run.waitpoints.changed.notify_waiters();
    Ok(record)
}

fn complete(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    end_known(run(cx), &args, "waitpoint.complete", Status::Completed, (plain(args.get(1)), args.dict(2)))
}

fn cancel(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    end_known(run(cx), &args, "waitpoint.cancel", Status::Cancelled, (Value::Nil, args.dict(1)))
}

fn waitpoint_wait(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    start(run(cx), &args, "waitpoint_wait", false)
}

fn wait(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    start(run(cx), &args, "waitpoint.wait", true)
}

/// A wait for all of some waitpoints.
struct Waiting {
    run: Arc<Run>,
    wait_id: String,
    ids: Vec<String>,
    started_at: Value,
    with_value: bool,
}

fn start(run: &Arc<Run>, args: &Args<'_>, name: &'static str, with_value: bool) -> Result<Outcome, Fault> {
    let mut ids = Vec::new();
    let given = match args.get(0) {
        Value::List(it) => it.to_vec(),
        one => vec![one.clone()],
    };
    for value in &given {
        let id = needed_id(value, name)?;
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    let wait_id = match option(args.dict(1), "wait_id") {
        Some(id) => id.to_string(),
        None => format!("wait_{}", time_ordered(run)?),
    };
    if let Some(outcome) = run.waitpoints.state.lock().outcomes.get(&wait_id) {
        return Ok(Outcome::Value(Value::Dict(outcome.clone())));
    }
    let limit = args.dict(1).and_then(|it| it.get("timeout")).and_then(Value::as_millis);
    let limit = limit.map(|it| Duration::from_millis(u64::try_from(it).unwrap_or(0)));
    let waiting = Waiting { run: Arc::clone(run), wait_id, ids, started_at: now(run), with_value };
    match waiting.ended() {
        Some((status, cancelled)) => Ok(Outcome::Value(waiting.outcome(status, cancelled))),
        None => Ok(Outcome::from(Wait::new("waitpoint", async move {
            let (status, cancelled) = waiting.until(limit).await;
            Ok(waiting.outcome(status, cancelled))
        }))),
    }
}

impl Waiting {
    /// How it ended, if it did, and the waitpoint that was cancelled.
    fn ended(&self) -> Option<(&'static str, Option<String>)> {
        let state = self.run.waitpoints.state.lock();
        let status_of = |id: &String| state.points.get(id).map_or(Status::Open, |it| it.status);
        if let Some(id) = self.ids.iter().find(|id| status_of(id) == Status::Cancelled) {
            return Some(("cancelled", Some(id.clone())));
        }
        self.ids.iter().all(|id| status_of(id) == Status::Completed).then_some(("completed", None))
    }

    async fn until(&self, limit: Option<Duration>) -> (&'static str, Option<String>) {
        self.run.within(limit, self.end()).await.unwrap_or(("timed_out", None))
    }

    async fn end(&self) -> (&'static str, Option<String>) {
        loop {
            // Registered before looking: a change in between must not be missed.
            let mut changed = pin!(self.run.waitpoints.changed.notified());
            changed.as_mut().enable();
            if let Some(ended) = self.ended() {
                return ended;
            }
            changed.await;
        }
    }

    /// The record of the wait, which later waits of this id get as well.
    fn outcome(&self, status: &str, cancelled: Option<String>) -> Value {
        let mut state = self.run.waitpoints.state.lock();
        let reason = match (status, &cancelled) {
            ("timed_out", _) => Value::from("deadline elapsed"),
            (_, Some(id)) => state.points.get(id).map_or(Value::Nil, |it| it.reason.clone()),
            _ => Value::Nil,
        };
        let records = self.ids.iter().filter_map(|id| state.points.get(id)).map(|it| it.record(self.with_value));
        let entries = [
            ("wait_id", Value::from(self.wait_id.as_str())),
            ("waitpoint_ids", Value::list(self.ids.iter().map(|it| Value::from(it.as_str())).collect())),
            ("status", Value::from(status)),
            ("started_at", self.started_at.clone()),
            ("resolved_at", now(&self.run)),
            ("waitpoints", Value::list(records.collect())),
            ("cancelled_waitpoint_id", cancelled.map_or(Value::Nil, Value::from)),
            ("trace_id", Value::Nil),
            ("replay_of_event_id", Value::Nil),
            ("reason", reason),
        ];
        let outcome: Dict = entries.into_iter().map(|(key, value)| (key.into(), value)).collect();
        state.outcomes.insert(self.wait_id.clone(), outcome.clone());
        Value::Dict(outcome)
    }
}
