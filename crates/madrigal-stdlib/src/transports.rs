//! Transports that stay open: server-sent events and WebSockets, both sides, and their mocks. Handles come from the
//! counter they share with HTTP.

mod frames;
mod mocks;
mod sse;
mod sse_server;
mod websocket;
mod websocket_server;
mod wire;

use crate::http::Open;
use madrigal_vm::{Args, BuiltinTable, Dict, Value};
use std::time::Duration;

/// The open transports of a run.
#[derive(Default)]
pub(crate) struct Transports {
    mocks: mocks::Mocks,
    sse: Open<sse::Connection>,
    sse_servers: Open<sse_server::Sender>,
    sockets: Open<websocket::Socket>,
    servers: Open<websocket_server::Server>,
}

/// Adds the builtins of this area.
pub fn register_all(table: &mut BuiltinTable) {
    mocks::register(table);
    sse::register(table);
    sse_server::register(table);
    websocket::register(table);
    websocket_server::register(table);
}

/// How long a receive waits: milliseconds or a duration, 30 s unless given.
fn timeout(value: &Value) -> Duration {
    value.as_millis().map_or(Duration::from_secs(30), |it| Duration::from_millis(u64::try_from(it).unwrap_or(0)))
}

/// The option under `key`, unless it is nil.
fn option<'a>(options: Option<&'a Dict>, key: &str) -> Option<&'a Value> {
    options.and_then(|it| it.get(key)).filter(|it| !it.is_nil())
}

/// A limit from the options.
fn limit(options: Option<&Dict>, key: &str, default: usize) -> usize {
    option(options, key).and_then(Value::as_int).map_or(default, |it| usize::try_from(it.max(0)).unwrap_or(usize::MAX))
}

/// The dict in an argument.
fn options<'a>(args: &'a Args<'_>, index: usize) -> Option<&'a Dict> {
    args.dict(index)
}

/// `{type: kind}`.
fn only_type(kind: &str) -> Value {
    Value::dict([("type", Value::from(kind))])
}
