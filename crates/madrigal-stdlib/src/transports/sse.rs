//! Server-sent events, client side. A mock never touches the network.

use super::frames::{Event, Reader};
use super::{limit, only_type, option, timeout};
use crate::host::{Run, run};
use crate::http::{self, Opened, handle};
use madrigal_vm::{Args, Cx, Fault, Str, Value, Wait};
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::Mutex;

madrigal_vm::builtins! {
    /// Connects to a source of events; a handle.
    "sse_connect" (method: string, url: string, options: dict) -> string, needs Net = sse_connect;
    /// The next thing: `{type: "open"}`, events, `{type: "timeout"}`, nil at the end.
    "sse_receive" (stream: string, timeout: duration) -> dict = sse_receive;
    /// Closes the connection.
    "sse_close" (stream: string) -> bool = sse_close;
}

/// Most connections open at a time.
const CONNECTIONS_MAX: usize = 1024;

/// A connection to a source of events.
pub(super) struct Connection {
    events_max: usize,
    message_bytes_max: usize,
    state: Mutex<State>,
}

struct State {
    opened: bool,
    ended: bool,
    handed_out: usize,
    ready: VecDeque<Event>,
    /// `None` for a mock, whose events are all ready.
    source: Option<(reqwest::Response, Reader)>,
}

fn sse_connect(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Wait, Fault> {
    let name = "sse_connect";
    let url = args.string(1);
    if url.is_empty() || args.get(1).is_nil() {
        return Err(Fault::thrown("sse_connect: URL is required"));
    }
    if !url.starts_with("http://") && !url.starts_with("https://") {
        return Err(Fault::thrown(format!("sse_connect: URL must start with http:// or https://, got '{url}'")));
    }
    let method = if args.get(0).is_nil() || args.string(0).is_empty() { Str::from("GET") } else { args.string(0) };
    let options = args.dict(2).cloned().unwrap_or_default();
    let (events_max, message_bytes_max) =
        (limit(Some(&options), "max_events", 10_000), limit(Some(&options), "max_message_bytes", 1 << 20));
    let run = Arc::clone(run(cx));
    let mocked = run.transports.mocks.sse(&url);
    let request = match mocked {
        Some(_) => None,
        None => Some(http::plan(&run, name, &method, &url, options)?),
    };
    Ok(Wait::new(name, async move {
        let (ready, source) = match (mocked, request) {
            (Some(events), _) => (events.iter().map(mocked_event).collect(), None),
            (None, Some(request)) => match http::open(&run, request).await? {
                Opened::Real(response) if response.status().is_success() => {
                    (VecDeque::new(), Some((response, Reader::default())))
                }
                Opened::Real(response) => {
                    let status = response.status().as_u16();
                    return Err(Fault::thrown(format!("sse_connect: unexpected status {status}")));
                }
                Opened::Mocked(response) => (Reader::default().feed(response.body.as_bytes()).into(), None),
            },
            (None, None) => (VecDeque::new(), None),
        };
        let is_mock = source.is_none();
        let id = run.http.counter.next("sse");
        let state = State { opened: false, ended: false, handed_out: 0, ready, source };
        let connection = Connection { events_max, message_bytes_max, state: Mutex::new(state) };
        if !run.transports.sse.add(&id, Arc::new(connection), CONNECTIONS_MAX) {
            return Err(Fault::thrown(format!("sse_connect: maximum open streams ({CONNECTIONS_MAX}) reached")));
        }
        if is_mock {
            run.transports.mocks.note(name, &id, &url, None);
        }
        Ok(Value::from(id))
    }))
}

/// The event that an entry of a mock describes.
fn mocked_event(entry: &Value) -> Event {
    let Value::Dict(fields) = entry else {
        return Event { data: Some(entry.display().to_string()), ..Event::default() };
    };
    let text = |key: &str| option(Some(fields), key).map(|it| it.display().to_string());
    Event {
        event: text("event").or_else(|| text("type")),
        data: Some(text("data").unwrap_or_default()),
        id: text("id"),
        retry_ms: option(Some(fields), "retry_ms").and_then(Value::as_millis),
        comment: None,
    }
}

impl Connection {
    /// The next thing for the script.
    async fn next(&self, run: &Run, id: &str) -> Result<Value, Fault> {
        let mut state = self.state.lock().await;
        if !state.opened {
            state.opened = true;
            return Ok(only_type("open"));
        }
        loop {
            if state.ended {
                return Ok(Value::Nil);
            }
            if let Some(event) = state.ready.pop_front() {
                let size = event.data.as_ref().map_or(0, String::len);
                if size > self.message_bytes_max {
                    return Err(self.end(&mut state, self.too_long()));
                }
                if state.handed_out >= self.events_max {
                    let text = format!("sse_receive: stream '{id}' exceeded max_events");
                    return Err(self.end(&mut state, text));
                }
                state.handed_out += 1;
                return Ok(event.value());
            }
            let State { source, ready, .. } = &mut *state;
            let Some((response, reader)) = source else {
                state.ended = true;
                continue;
            };
            match run.external(http::next_chunk(response)).await {
                Ok(Some(piece)) => {
                    ready.extend(reader.feed(piece.as_ref()));
                    if reader.pending > self.message_bytes_max.saturating_mul(2).saturating_add(1024) {
                        return Err(self.end(&mut state, self.too_long()));
                    }
                }
                Ok(None) => state.ended = true,
                Err(failure) => {
                    state.ended = true;
                    return Err(failure.into_fault());
                }
            }
        }
    }

    fn too_long(&self) -> String {
        format!("sse_receive: message exceeded max_message_bytes ({})", self.message_bytes_max)
    }

    /// Nothing more comes after this failure.
    fn end(&self, state: &mut State, text: String) -> Fault {
        state.ended = true;
        state.source = None;
        Fault::thrown(text)
    }
}

fn sse_receive(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Wait, Fault> {
    let id = handle(&args, "sse_receive")?;
    let limit = timeout(args.get(1));
    let run = Arc::clone(run(cx));
    let unknown = || Fault::thrown(format!("sse_receive: unknown stream '{id}'"));
    let connection = run.transports.sse.get(&id).ok_or_else(unknown)?;
    Ok(Wait::new("sse_receive", async move {
        run.within_outside(Some(limit), connection.next(&run, &id)).await.unwrap_or_else(|| Ok(only_type("timeout")))
    }))
}

fn sse_close(cx: &mut Cx<'_>, args: Args<'_>) -> Result<bool, Fault> {
    let id = handle(&args, "sse_close")?;
    Ok(run(cx).transports.sse.remove(&id).is_some())
}
