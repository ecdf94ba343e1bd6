//! Server-sent events, server side: frames are buffered for an adapter to send; a test takes them out.

use super::frames::{frame, parsed};
use super::{limit, only_type, option};
use crate::host::{Run, run};
use crate::http::handle;
use madrigal_vm::{Args, Cx, Dict, Fault, Str, Value};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;

madrigal_vm::builtins! {
    /// The text of one frame.
    "sse_event" (event: any, options: dict) -> string = sse_event;
    /// A response that stays open for events.
    "sse_server_response" (options: dict) -> dict = response;
    /// Buffers an event; false once the response has ended.
    "sse_server_send" (response: dict, event: any, options: dict) -> bool = send;
    /// Buffers a comment that keeps the connection alive.
    "sse_server_heartbeat" (response: dict, comment: string = "heartbeat") -> bool = heartbeat;
    /// Marks all that was sent as flushed.
    "sse_server_flush" (response: dict) -> bool = flush;
    /// What became of the response so far.
    "sse_server_status" (response: dict) -> dict = status;
    /// Whether the client has left.
    "sse_server_disconnected" (response: dict) -> bool = disconnected;
    /// Whether the response was cancelled.
    "sse_server_cancelled" (response: dict) -> bool = cancelled;
    /// Cancels the response; false if it was already.
    "sse_server_cancel" (response: dict, reason: string) -> bool = cancel;
    /// Closes the response; false if it was already.
    "sse_server_close" (response: dict) -> bool = close;
    /// The next buffered frame as a client reads it.
    "sse_server_mock_receive" (response: dict) -> dict = mock_receive;
    /// Lets the client leave; false if it had already.
    "sse_server_mock_disconnect" (response: dict) -> bool = mock_disconnect;
}

/// Most responses open at a time.
const RESPONSES_MAX: usize = 100_000;

/// A response under way.
pub(super) struct Sender {
    id: String,
    status: i64,
    headers: Value,
    event_bytes_max: usize,
    buffered_max: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    frames: VecDeque<String>,
    sent: usize,
    flushed: usize,
    closed: bool,
    disconnected: bool,
    cancelled: bool,
    cancel_reason: Value,
}

impl State {
    fn has_ended(&self) -> bool {
        self.closed || self.disconnected || self.cancelled
    }
}

fn sse_event(_: &mut Cx<'_>, args: Args<'_>) -> Result<String, Fault> {
    frame(args.get(0), args.dict(1))
}

fn response(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let options = args.dict(0);
    let run = run(cx);
    let defaults = [
        ("content-type", "text/event-stream; charset=utf-8"),
        ("cache-control", "no-cache"),
        ("connection", "keep-alive"),
        ("x-accel-buffering", "no"),
    ];
    let mut headers: Dict = defaults.into_iter().map(|(key, value)| (Str::from(key), Value::from(value))).collect();
    if let Some(Value::Dict(own)) = option(options, "headers") {
        own.iter().for_each(|(key, value)| headers.insert(key.to_lowercase().into(), Value::String(value.display())));
    }
    let id = run.http.counter.next("sse-server");
    let sender = Sender {
        id: id.clone(),
        status: option(options, "status").and_then(Value::as_int).unwrap_or(200),
        headers: Value::Dict(headers),
        event_bytes_max: limit(options, "max_event_bytes", 1 << 20),
        buffered_max: limit(options, "max_buffered_events", 10_000),
        state: Mutex::default(),
    };
    let value = Value::dict([
        ("id", Value::from(id.as_str())),
        ("type", Value::from("sse_response")),
        ("status", Value::Int(sender.status)),
        ("headers", sender.headers.clone()),
        ("body", Value::Nil),
        ("streaming", Value::Bool(true)),
        ("max_event_bytes", Value::from(sender.event_bytes_max)),
        ("max_buffered_events", Value::from(sender.buffered_max)),
    ]);
    if !run.transports.sse_servers.add(&id, Arc::new(sender), RESPONSES_MAX) {
        return Err(Fault::thrown(format!("sse_server_response: maximum open responses ({RESPONSES_MAX}) reached")));
    }
    Ok(value)
}

fn sender(run: &Run, args: &Args<'_>, name: &str) -> Result<Arc<Sender>, Fault> {
    let id = handle(args, name)?;
    let unknown = || Fault::thrown(format!("{name}: unknown SSE response '{id}'"));
    run.transports.sse_servers.get(&id).ok_or_else(unknown)
}

impl Sender {
    fn push(&self, frame: String) -> Result<bool, Fault> {
        let mut state = self.state.lock();
        if state.has_ended() {
            return Ok(false);
        }
        if frame.len() > self.event_bytes_max {
            let max = self.event_bytes_max;
            return Err(Fault::thrown(format!("sse_server_send: event exceeded max_event_bytes ({max})")));
        }
        if state.frames.len() >= self.buffered_max {
            let max = self.buffered_max;
            return Err(Fault::thrown(format!(
                "sse_server_send: buffered events exceeded max_buffered_events ({max})"
            )));
        }
        state.frames.push_back(frame);
        state.sent += 1;
        Ok(true)
    }
}

fn send(cx: &mut Cx<'_>, args: Args<'_>) -> Result<bool, Fault> {
    let sender = sender(run(cx), &args, "sse_server_send")?;
    if sender.state.lock().has_ended() {
        return Ok(false);
    }
    sender.push(frame(args.get(1), args.dict(2))?)
}

fn heartbeat(cx: &mut Cx<'_>, args: Args<'_>) -> Result<bool, Fault> {
    let comment = if args.get(1).is_nil() { Value::from("heartbeat") } else { Value::String(args.string(1)) };
    let frame = frame(&Value::dict([("comment", comment)]), None)?;
    sender(run(cx), &args, "sse_server_heartbeat")?.push(frame)
}

fn flush(cx: &mut Cx<'_>, args: Args<'_>) -> Result<bool, Fault> {
    let sender = sender(run(cx), &args, "sse_server_flush")?;
    let mut state = sender.state.lock();
    if state.has_ended() {
        return Ok(false);
    }
    state.flushed = state.sent;
    Ok(true)
}

fn status(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let sender = sender(run(cx), &args, "sse_server_status")?;
    let state = sender.state.lock();
    Ok(Value::dict([
        ("id", Value::from(sender.id.as_str())),
        ("status", Value::Int(sender.status)),
        ("headers", sender.headers.clone()),
        ("buffered_events", Value::from(state.frames.len())),
        ("sent_events", Value::from(state.sent)),
        ("flushed_events", Value::from(state.flushed)),
        ("closed", Value::Bool(state.closed)),
        ("disconnected", Value::Bool(state.disconnected)),
        ("cancelled", Value::Bool(state.cancelled)),
        ("cancel_reason", state.cancel_reason.clone()),
        ("max_event_bytes", Value::from(sender.event_bytes_max)),
        ("max_buffered_events", Value::from(sender.buffered_max)),
    ]))
}

fn disconnected(cx: &mut Cx<'_>, args: Args<'_>) -> Result<bool, Fault> {
    Ok(sender(run(cx), &args, "sse_server_disconnected")?.state.lock().disconnected)
}

fn cancelled(cx: &mut Cx<'_>, args: Args<'_>) -> Result<bool, Fault> {
    Ok(sender(run(cx), &args, "sse_server_cancelled")?.state.lock().cancelled)
}

fn cancel(cx: &mut Cx<'_>, args: Args<'_>) -> Result<bool, Fault> {
    let sender = sender(run(cx), &args, "sse_server_cancel")?;
    let mut state = sender.state.lock();
    let was = std::mem::replace(&mut state.cancelled, true);
    if !was && !args.get(1).is_nil() {
        state.cancel_reason = Value::String(args.string(1));
    }
    Ok(!was)
}

fn close(cx: &mut Cx<'_>, args: Args<'_>) -> Result<bool, Fault> {
    let sender = sender(run(cx), &args, "sse_server_close")?;
    let was = std::mem::replace(&mut sender.state.lock().closed, true);
    Ok(!was)
}

fn mock_disconnect(cx: &mut Cx<'_>, args: Args<'_>) -> Result<bool, Fault> {
    let sender = sender(run(cx), &args, "sse_server_mock_disconnect")?;
    let was = std::mem::replace(&mut sender.state.lock().disconnected, true);
    Ok(!was)
}

fn mock_receive(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let sender = sender(run(cx), &args, "sse_server_mock_receive")?;
    let mut state = sender.state.lock();
    Ok(match state.frames.pop_front() {
        Some(frame) => parsed(&frame),
        None if state.has_ended() => {
            Value::dict([("type", Value::from("close")), ("server_closed", Value::Bool(true))])
        }
        None => only_type("timeout"),
    })
}
