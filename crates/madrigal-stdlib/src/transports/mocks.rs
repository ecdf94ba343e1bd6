//! Mocks of server-sent events and WebSockets, and a record of what was done with them.

use crate::host::run;
use crate::http::matches;
use madrigal_vm::{Args, Cx, Dict, Fault, Value};
use parking_lot::Mutex;

madrigal_vm::builtins! {
    /// Answers `sse_connect` to matching URLs with these events.
    "sse_mock" (url_pattern: string, events: any) -> nil = sse_mock;
    /// Answers `websocket_connect` to matching URLs: a list of messages, or a dict `{messages, echo}`.
    "websocket_mock" (url_pattern: string, config: any) -> nil = websocket_mock;
    /// What was done with mocked transports, in order: dicts `{kind, handle, url, type, data}`.
    "transport_mock_calls" () -> list = transport_mock_calls;
    /// Drops mocks, handles, servers and the record.
    "transport_mock_clear" () -> nil = transport_mock_clear;
}

#[derive(Default)]
pub(super) struct Mocks(Mutex<State>);

#[derive(Default)]
struct State {
    /// Patterns with events, the earliest first.
    sse: Vec<(String, Vec<Value>)>,
    sockets: Vec<(String, SocketMock)>,
    calls: Vec<Value>,
}

/// What a mocked WebSocket says.
#[derive(Clone)]
pub(super) struct SocketMock {
    pub messages: Vec<Value>,
    pub echo: bool,
}

impl Mocks {
    pub(super) fn sse(&self, url: &str) -> Option<Vec<Value>> {
        self.0.lock().sse.iter().find(|(pattern, _)| matches(pattern, url)).map(|(_, events)| events.clone())
    }

    pub(super) fn socket(&self, url: &str) -> Option<SocketMock> {
        self.0.lock().sockets.iter().find(|(pattern, _)| matches(pattern, url)).map(|(_, mock)| mock.clone())
    }

    pub(super) fn note(&self, kind: &str, handle: &str, url: &str, message: Option<(&str, Value)>) {
        let (of, data) = message.map_or((Value::Nil, Value::Nil), |(of, data)| (Value::from(of), data));
        self.0.lock().calls.push(Value::dict([
            ("kind", Value::from(kind)),
            ("handle", Value::from(handle)),
            ("url", Value::from(url)),
            ("type", of),
            ("data", data),
        ]));
    }
}

/// The list in a config: itself, or under `key`.
fn listed(value: &Value, key: &str) -> Vec<Value> {
    match value {
        Value::List(items) => items.to_vec(),
        Value::Dict(config) => match config.get(key) {
            Some(Value::List(items)) => items.to_vec(),
            _ => Vec::new(),
        },
        Value::Nil => Vec::new(),
        one => vec![one.clone()],
    }
}

fn put<T>(mocks: &mut Vec<(String, T)>, pattern: String, mock: T) {
    match mocks.iter_mut().find(|it| it.0 == pattern) {
        Some(known) => known.1 = mock,
        None => mocks.push((pattern, mock)),
    }
}

fn sse_mock(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Fault> {
    let events = listed(args.get(1), "events");
    put(&mut run(cx).transports.mocks.0.lock().sse, args.string(0).to_string(), events);
    Ok(())
}

fn websocket_mock(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Fault> {
    let echo = args.dict(1).and_then(|it: &Dict| it.get("echo")).is_some_and(Value::is_truthy);
    let mock = SocketMock { messages: listed(args.get(1), "messages"), echo };
    put(&mut run(cx).transports.mocks.0.lock().sockets, args.string(0).to_string(), mock);
    Ok(())
}

fn transport_mock_calls(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Value, Fault> {
    Ok(Value::list(run(cx).transports.mocks.0.lock().calls.clone()))
}

fn transport_mock_clear(cx: &mut Cx<'_>, _: Args<'_>) -> Result<(), Fault> {
    let run = run(cx);
    let transports = &run.transports;
    *transports.mocks.0.lock() = State::default();
    transports.sse.drain();
    transports.sse_servers.drain();
    transports.sockets.drain();
    transports.servers.drain();
    run.http.streams.clear();
    Ok(())
}
