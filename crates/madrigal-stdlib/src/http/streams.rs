//! Responses whose body is read piece by piece.

use super::handles::{Open, handle};
use super::{Failure, Opened, needed, next_chunk, open, options, plan};
use crate::host::{Run, run};
use madrigal_vm::{Args, Bytes, Cx, Fault, Str, Value, Wait};
use reqwest::Response;
use std::sync::Arc;
use tokio::sync::Mutex;

madrigal_vm::builtins! {
    /// Sends a request and leaves its body to be read; a handle.
    "http_stream_open" (url: string, options: dict) -> string, needs Net = http_stream_open;
    /// The next bytes of the body, nil at its end.
    "http_stream_read" (stream: string, max_bytes: int = 1048576) -> bytes = http_stream_read;
    /// A dict `{status, headers, ok}`.
    "http_stream_info" (stream: string) -> dict = http_stream_info;
    /// Closes the stream.
    "http_stream_close" (stream: string) -> bool = http_stream_close;
}

/// Most streams open at a time.
const STREAMS_MAX: usize = 64;

/// The open streams of a run.
#[derive(Default)]
pub(crate) struct Streams(Open<Stream>);

impl Streams {
    /// Closes all of them.
    pub(crate) fn clear(&self) {
        self.0.drain();
    }
}

struct Stream {
    info: Value,
    body: Mutex<Body>,
}

struct Body {
    /// Bytes that were received and not read yet.
    rest: Vec<u8>,
    /// Gone once the body has ended.
    response: Option<Response>,
}

fn http_stream_open(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Wait, Fault> {
    let name = "http_stream_open";
    let run = Arc::clone(run(cx));
    let url = needed(&args, 0, name, "URL")?;
    if !run.http.streams.0.has_room(STREAMS_MAX) {
        return Err(full());
    }
    let options = options(&args, 1);
    let method = options.get("method").filter(|it| !it.is_nil()).map_or_else(|| Str::from("GET"), Value::display);
    let request = plan(&run, name, &method, &url, options)?;
    Ok(Wait::new(name, async move {
        let (status, headers, rest, response) = match open(&run, request).await? {
            Opened::Mocked(it) => (it.status, Value::Dict(it.headers.clone()), it.body.as_bytes().to_vec(), None),
            Opened::Real(it) => (i64::from(it.status().as_u16()), super::headers(&it), Vec::new(), Some(it)),
        };
        let info = Value::dict([
            ("status", Value::Int(status)),
            ("headers", headers),
            ("ok", Value::Bool((200..300).contains(&status))),
        ]);
        let id = run.http.counter.next("http-stream");
        let stream = Stream { info, body: Mutex::new(Body { rest, response }) };
        if !run.http.streams.0.add(&id, Arc::new(stream), STREAMS_MAX) {
            return Err(full());
        }
        Ok(Value::from(id))
    }))
}

fn full() -> Fault {
    Fault::thrown(format!("http_stream_open: maximum open streams ({STREAMS_MAX}) reached"))
}

fn stream(run: &Run, args: &Args<'_>, name: &str) -> Result<Arc<Stream>, Fault> {
    let id = handle(args, name)?;
    run.http.streams.0.get(&id).ok_or_else(|| Fault::thrown(format!("{name}: unknown stream '{id}'")))
}

fn http_stream_read(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Wait, Fault> {
    let run = Arc::clone(run(cx));
    let stream = stream(&run, &args, "http_stream_read")?;
    let max = args.int(1).map_or(1 << 20, |it| usize::try_from(it.max(1)).unwrap_or(usize::MAX));
    let work = run.clone();
    Ok(Wait::new("http_stream_read", async move {
        let mut body = stream.body.lock().await;
        while body.rest.is_empty()
            && let Some(response) = &mut body.response
        {
            match work.external(next_chunk(response)).await.map_err(Failure::into_fault)? {
                Some(chunk) => body.rest = chunk.as_ref().to_vec(),
                None => body.response = None,
            }
        }
        let len = body.rest.len().min(max);
        let piece: Vec<u8> = body.rest.drain(..len).collect();
        Ok(if piece.is_empty() { Value::Nil } else { Value::Bytes(Bytes::from(piece)) })
    }))
}

fn http_stream_info(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    Ok(stream(run(cx), &args, "http_stream_info")?.info.clone())
}

fn http_stream_close(cx: &mut Cx<'_>, args: Args<'_>) -> Result<bool, Fault> {
    let id = handle(&args, "http_stream_close")?;
    Ok(run(cx).http.streams.0.remove(&id).is_some())
}
