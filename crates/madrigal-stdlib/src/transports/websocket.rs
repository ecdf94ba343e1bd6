//! WebSockets: connecting, sending, receiving. A mock never touches the network.

use super::mocks::SocketMock;
use super::wire::{Message, NotSent, Received, Settings, Wire, config};
use super::{limit, only_type, option, options, timeout};
use crate::host::{Run, run};
use crate::http::{handle, permit};
use data_encoding::BASE64;
use madrigal_vm::{Args, Cx, Dict, Fault, Value, Wait};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue, Request};

madrigal_vm::builtins! {
    /// Connects to a WebSocket; a handle.
    "websocket_connect" (url: string, options: dict) -> string, needs Net = websocket_connect;
    /// Sends a text, bytes, or what the options say.
    "websocket_send" (socket: string, message: any, options: dict) -> bool = websocket_send;
    /// The next message, `{type: "timeout"}`, nil after the close.
    "websocket_receive" (socket: string, timeout: duration) -> dict = websocket_receive;
    /// Closes the socket.
    "websocket_close" (socket: string) -> bool = websocket_close;
}

/// Most sockets open at a time.
const SOCKETS_MAX: usize = 10_000;

/// A socket, real or mocked.
pub(super) struct Socket {
    url: String,
    message_bytes_max: usize,
    messages_max: usize,
    handed_out: AtomicUsize,
    /// A close was handed out, or a failure ended the connection.
    ended: AtomicBool,
    is_server: bool,
    kind: Kind,
}

enum Kind {
    Mock { ready: Mutex<VecDeque<Value>>, echo: bool },
    Real(Wire),
}

impl Socket {
    /// A real one.
    pub(super) fn real(url: String, wire: Wire, limits: (usize, usize), is_server: bool) -> Socket {
        Socket {
            url,
            messages_max: limits.0,
            message_bytes_max: limits.1,
            handed_out: AtomicUsize::new(0),
            ended: AtomicBool::new(false),
            is_server,
            kind: Kind::Real(wire),
        }
    }

    fn mock(url: String, mock: SocketMock, limits: (usize, usize)) -> Socket {
        let ready = Mutex::new(mock.messages.iter().map(mocked_message).collect());
        Socket {
            url,
            messages_max: limits.0,
            message_bytes_max: limits.1,
            handed_out: AtomicUsize::new(0),
            ended: AtomicBool::new(false),
            is_server: false,
            kind: Kind::Mock { ready, echo: mock.echo },
        }
    }
}

/// How many messages of how many bytes.
pub(super) fn limits(options: Option<&Dict>) -> (usize, usize) {
    (limit(options, "max_messages", 10_000), limit(options, "max_message_bytes", 1 << 20))
}

/// Registers a socket under a fresh handle.
pub(super) fn register_socket(run: &Run, name: &str, socket: Socket) -> Result<String, Fault> {
    let id = run.http.counter.next("websocket");
    let added = run.transports.sockets.add(&id, Arc::new(socket), SOCKETS_MAX);
    let full = || Fault::thrown(format!("{name}: maximum open sockets ({SOCKETS_MAX}) reached"));
    added.then_some(id).ok_or_else(full)
}

fn websocket_connect(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Wait, Fault> {
    let name = "websocket_connect";
    let url = args.string(0).to_string();
    let failed = |text: String| Fault::thrown(format!("websocket_connect: {text}"));
    if !url.starts_with("ws://") && !url.starts_with("wss://") {
        return Err(failed(format!("URL must start with ws:// or wss://, got '{url}'")));
    }
    let options = options(&args, 1);
    let limits = limits(options);
    let run = Arc::clone(run(cx));
    if let Some(mock) = run.transports.mocks.socket(&url) {
        let id = register_socket(&run, name, Socket::mock(url.clone(), mock, limits))?;
        run.transports.mocks.note(name, &id, &url, None);
        return Ok(Wait::new(name, async move { Ok(Value::from(id)) }));
    }
    run.egress.check(&run, name, &url)?;
    let parsed = url::Url::parse(&url).map_err(|error| failed(format!("failed: {error}")))?;
    permit(&run, name, &parsed)?;
    let request = request(&url, options)?;
    let patience = option(options, "timeout_ms").and_then(Value::as_millis);
    let patience = Duration::from_millis(patience.and_then(|it| u64::try_from(it).ok()).unwrap_or(30_000));
    Ok(Wait::new(name, async move {
        let work = run.external(connect(run.clone(), request, parsed, limits.1));
        let wire = match run.within_outside(Some(patience), work).await {
            Some(wire) => wire?,
            None => return Err(failed(format!("timed out after {}ms", patience.as_millis()))),
        };
        register_socket(&run, name, Socket::real(url, wire, limits, false)).map(Value::from)
    }))
}

async fn connect(run: Arc<Run>, request: Request<()>, url: url::Url, message_bytes_max: usize) -> Result<Wire, Fault> {
    let failed = |error: &dyn std::fmt::Display| Fault::thrown(format!("websocket_connect: failed: {error}"));
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let port = url.port_or_known_default().unwrap_or(80);
    let found = tokio::net::lookup_host((host.as_str(), port)).await.map_err(|error| failed(&error))?.collect();
    let addresses = run.reachable("websocket_connect", &host, found)?;
    let socket = tokio::net::TcpStream::connect(&addresses[..]).await.map_err(|error| failed(&error))?;
    let _ = rustls::crypto::ring::default_provider().install_default();
    let config = Some(config(message_bytes_max));
    let connected = tokio_tungstenite::client_async_tls_with_config(request, socket, config, None).await;
    let (stream, _) = connected.map_err(|error| failed(&error))?;
    let settings = Settings { message_bytes_max, queue_len: None, idle_timeout: None, is_server: false };
    Ok(Wire::new(stream, settings))
}

/// The request that opens a connection.
fn request(url: &str, options: Option<&Dict>) -> Result<Request<()>, Fault> {
    let failed = |error: &dyn std::fmt::Display| Fault::thrown(format!("websocket_connect: failed: {error}"));
    let mut request = url.into_client_request().map_err(|error| failed(&error))?;
    let mut add = |name: &str, value: &str| {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|error| failed(&error))?;
        let value = HeaderValue::from_str(value).map_err(|error| failed(&error))?;
        request.headers_mut().insert(name, value);
        Ok::<(), Fault>(())
    };
    if let Some(Value::Dict(headers)) = option(options, "headers") {
        headers.iter().try_for_each(|(name, value)| add(name, &value.display()))?;
    }
    match option(options, "auth") {
        Some(Value::Dict(auth)) => {
            if let Some(token) = option(Some(auth), "bearer") {
                add("authorization", &format!("Bearer {token}"))?;
            }
        }
        Some(text) => add("authorization", &text.display())?,
        None => {}
    }
    Ok(request)
}

/// The message that an entry of a mock describes.
fn mocked_message(entry: &Value) -> Value {
    let text = |data: Value| Value::dict([("type", Value::from("text")), ("data", data)]);
    match entry {
        Value::Dict(fields) if fields.has("type") => match fields.get("data") {
            Some(Value::Bytes(data)) => {
                let mut message = fields.clone();
                message.remove("data");
                message.insert("data_base64".into(), Value::from(BASE64.encode(data)));
                Value::Dict(message)
            }
            _ => entry.clone(),
        },
        Value::Dict(fields) if fields.has("data") => {
            text(Value::String(fields.get("data").cloned().unwrap_or_default().display()))
        }
        Value::Bytes(data) => message_value(&Message::binary(data.to_vec())),
        other => text(Value::String(other.display())),
    }
}

/// The dict that scripts see.
fn message_value(message: &Message) -> Value {
    let binary = |kind: &str, data: &[u8]| {
        Value::dict([("type", Value::from(kind)), ("data_base64", Value::from(BASE64.encode(data)))])
    };
    match message {
        Message::Text(text) => Value::dict([("type", Value::from("text")), ("data", Value::from(text.as_str()))]),
        Message::Binary(data) => binary("binary", data),
        Message::Ping(data) => binary("ping", data),
        Message::Pong(data) => binary("pong", data),
        Message::Close(frame) => {
            let mut entries = vec![("type", Value::from("close"))];
            if let Some(frame) = frame {
                entries.push(("code", Value::Int(i64::from(u16::from(frame.code)))));
                entries.push(("reason", Value::from(frame.reason.as_str())));
            }
            Value::dict(entries)
        }
        Message::Frame(_) => only_type("frame"),
    }
}

/// What `websocket_send` sends.
struct Outgoing {
    kind: String,
    data: Vec<u8>,
    close: (u16, String),
}

impl Outgoing {
    fn of(args: &Args<'_>) -> Result<Outgoing, Fault> {
        let options = options(args, 2);
        let mut kind = "text";
        let mut data = match args.get(1) {
            Value::Bytes(bytes) => {
                kind = "binary";
                bytes.to_vec()
            }
            other => other.display().as_bytes().to_vec(),
        };
        if option(options, "base64").is_some_and(Value::is_truthy) {
            let decoded = BASE64.decode(&data);
            data = decoded.map_err(|error| Fault::thrown(format!("websocket_send: invalid base64: {error}")))?;
            kind = "binary";
        }
        let kind = option(options, "type").map_or_else(|| kind.to_owned(), |it| it.display().to_string());
        if !["text", "binary", "ping", "pong", "close"].contains(&kind.as_str()) {
            return Err(Fault::thrown(format!("websocket_send: unsupported message type '{kind}'")));
        }
        let code = option(options, "code").and_then(Value::as_int).and_then(|it| u16::try_from(it).ok());
        let reason = option(options, "reason").map_or(String::new(), |it| it.display().to_string());
        Ok(Outgoing { kind, data, close: (code.unwrap_or(1000), reason) })
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.data).into_owned()
    }

    fn message(&self) -> Message {
        match self.kind.as_str() {
            "binary" => Message::binary(self.data.clone()),
            "ping" => Message::Ping(self.data.clone().into()),
            "pong" => Message::Pong(self.data.clone().into()),
            _ => Message::text(self.text()),
        }
    }

    /// What the record of mocked calls shows.
    fn shown(&self) -> Value {
        match self.kind.as_str() {
            "text" => Value::from(self.text()),
            "close" => Value::Nil,
            _ => Value::from(BASE64.encode(&self.data)),
        }
    }
}

fn socket(run: &Run, args: &Args<'_>, name: &str) -> Result<(String, Arc<Socket>), Fault> {
    let id = handle(args, name)?;
    let unknown = || Fault::thrown(format!("{name}: unknown websocket '{id}'"));
    Ok((id.to_string(), run.transports.sockets.get(&id).ok_or_else(unknown)?))
}

fn websocket_send(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Wait, Fault> {
    let name = "websocket_send";
    let run = Arc::clone(run(cx));
    let (id, socket) = socket(&run, &args, name)?;
    let outgoing = Outgoing::of(&args)?;
    if outgoing.data.len() > socket.message_bytes_max {
        let max = socket.message_bytes_max;
        return Err(Fault::thrown(format!("websocket_send: message exceeded max_message_bytes ({max})")));
    }
    Ok(Wait::new(name, async move {
        let wire = match &socket.kind {
            Kind::Mock { ready, echo } => {
                return Ok(Value::Bool(socket.send_to_mock(&run, &id, &outgoing, ready, *echo)));
            }
            Kind::Real(wire) => wire,
        };
        if outgoing.kind == "close" {
            wire.close(outgoing.close.0, &outgoing.close.1);
            return Ok(Value::Bool(true));
        }
        match run.external(wire.send(outgoing.message())).await {
            Ok(()) => Ok(Value::Bool(true)),
            Err(NotSent::Full) => Err(Fault::thrown("websocket_send: send buffer full")),
            Err(NotSent::Closed) if socket.is_server => Ok(Value::Bool(false)),
            Err(NotSent::Closed) => Err(Fault::thrown("websocket_send: connection closed")),
        }
    }))
}

impl Socket {
    fn send_to_mock(
        &self,
        run: &Run,
        id: &str,
        outgoing: &Outgoing,
        ready: &Mutex<VecDeque<Value>>,
        echo: bool,
    ) -> bool {
        if self.ended.load(Ordering::Relaxed) {
            return false;
        }
        run.transports.mocks.note("websocket_send", id, &self.url, Some((&outgoing.kind, outgoing.shown())));
        if outgoing.kind == "close" {
            self.ended.store(true, Ordering::Relaxed);
        } else if echo {
            ready.lock().push_back(message_value(&outgoing.message()));
        }
        true
    }

    /// The next thing for the script.
    async fn next(&self, run: &Run) -> Result<Value, Fault> {
        if self.ended.load(Ordering::Relaxed) {
            return Ok(Value::Nil);
        }
        let (message, size) = match &self.kind {
            Kind::Mock { ready, .. } => match ready.lock().pop_front() {
                None => return Ok(only_type("timeout")),
                Some(message) => {
                    let size = size_of_message(&message);
                    (message, size)
                }
            },
            Kind::Real(wire) => match run.external(wire.receive()).await {
                None => {
                    self.ended.store(true, Ordering::Relaxed);
                    return Ok(Value::Nil);
                }
                Some(Received::TooLong) => return Err(self.too_long()),
                Some(Received::Message(message)) => (message_value(&message), message.len()),
            },
        };
        if size > self.message_bytes_max {
            return Err(self.too_long());
        }
        if self.handed_out.fetch_add(1, Ordering::Relaxed) >= self.messages_max {
            self.ended.store(true, Ordering::Relaxed);
            return Err(Fault::thrown("websocket_receive: socket exceeded max_messages"));
        }
        if matches!(&message, Value::Dict(it) if it.get("type").is_some_and(|it| it.as_str() == Some("close"))) {
            self.ended.store(true, Ordering::Relaxed);
        }
        Ok(message)
    }

    fn too_long(&self) -> Fault {
        self.ended.store(true, Ordering::Relaxed);
        let max = self.message_bytes_max;
        Fault::thrown(format!("websocket_receive: message exceeded max_message_bytes ({max})"))
    }
}

fn size_of_message(message: &Value) -> usize {
    let Value::Dict(fields) = message else { return 0 };
    match (fields.get("data"), fields.get("data_base64")) {
        (Some(Value::String(data)), _) => data.len(),
        (_, Some(Value::String(data))) => data.len() / 4 * 3,
        _ => 0,
    }
}

fn websocket_receive(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Wait, Fault> {
    let name = "websocket_receive";
    let limit = timeout(args.get(1));
    let run = Arc::clone(run(cx));
    let (_, socket) = socket(&run, &args, name)?;
    Ok(Wait::new(name, async move {
        run.within_outside(Some(limit), socket.next(&run)).await.unwrap_or_else(|| Ok(only_type("timeout")))
    }))
}

fn websocket_close(cx: &mut Cx<'_>, args: Args<'_>) -> Result<bool, Fault> {
    let id = handle(&args, "websocket_close")?;
    let run = run(cx);
    let Some(socket) = run.transports.sockets.remove(&id) else { return Ok(false) };
    match &socket.kind {
        Kind::Mock { .. } => run.transports.mocks.note("websocket_close", &id, &socket.url, None),
        Kind::Real(wire) => wire.close(1000, ""),
    }
    Ok(true)
}
