//! TCP: listeners and connections. Reader and writer of a connection have a lock each, so a read and a write can be
//! under way together while two reads take turns. Closing shuts the socket down first, which ends what is under way.
//! Lines are decoded lossily; all else is read as bytes.

mod connection;

use crate::host::{Run, run};
use connection::Connection;
use madrigal_vm::value::Bytes;
use madrigal_vm::{Args, Cx, Fault, Handle, HandleObject, Outcome, Value, Wait};
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};

madrigal_vm::builtins! {
    /// Listens on an address; port 0 picks a free one.
    "tcp_listen" (address: string, port: int) -> tcp_listener, needs Net = tcp_listen;
    /// Waits for the next connection to a listener.
    "tcp_accept" (listener: tcp_listener) -> tcp_connection, needs Net = tcp_accept;
    /// Connects to a server.
    "tcp_connect" (host: string, port: int, options: dict) -> tcp_connection, needs Net = tcp_connect;
    /// Stops listening.
    "tcp_listener.close" () -> nil = listener_close;
    /// Up to `max` bytes, nil when the other side is done.
    "tcp_connection.read" (max: int = 65536) -> bytes = read;
    /// Exactly `n` bytes.
    "tcp_connection.read_exact" (n: int) -> bytes = read_exact;
    /// The next line without its end, nil when the other side is done.
    "tcp_connection.read_line" () -> string = read_line;
    /// Everything until the other side is done, at most `limit` bytes.
    "tcp_connection.read_to_end" (limit: int) -> bytes = read_to_end;
    /// Writes bytes or a text.
    "tcp_connection.write" (content: any) -> nil = write;
    /// Tells the other side that nothing more is coming.
    "tcp_connection.shutdown" () -> nil = shutdown;
    /// Closes the connection.
    "tcp_connection.close" () -> nil = close;
    /// The lines, for `for`.
    "tcp_connection.lines" () -> tcp_lines = lines;
}

/// The longest line or text taken in one read, unless the call says otherwise.
const READ_BYTES_MAX: usize = 1 << 30;

/// Something went wrong with this address.
fn failed(what: &str, address: &str, error: &std::io::Error) -> Fault {
    Fault::categorised("transient_network", format!("{what}: {address}: {error}"))
}

/// A listening socket.
struct Listener {
    id: u64,
    address: String,
    port: u16,
    /// Empty once closed.
    socket: parking_lot::Mutex<Option<Arc<TcpListener>>>,
    closed: tokio::sync::Notify,
}

/// The handle of a listener.
struct ListenerHandle(Arc<Listener>);

impl HandleObject for ListenerHandle {
    fn type_name(&self) -> &'static str {
        "tcp_listener"
    }

    fn display(&self) -> String {
        format!("<tcp_listener:{}>", self.0.address)
    }

    fn property(&self, name: &str) -> Option<Value> {
        match name {
            "port" => Some(Value::Int(i64::from(self.0.port))),
            "local" => Some(Value::from(self.0.address.as_str())),
            _ => None,
        }
    }

    fn identity(&self) -> Option<u64> {
        Some(self.0.id)
    }
}

/// The handle of a connection.
pub(crate) struct ConnectionHandle(Arc<Connection>);

impl HandleObject for ConnectionHandle {
    fn type_name(&self) -> &'static str {
        "tcp_connection"
    }

    fn display(&self) -> String {
        format!("<tcp_connection:{}>", self.0.peer)
    }

    fn property(&self, name: &str) -> Option<Value> {
        match name {
            "peer" => Some(Value::from(self.0.peer.as_str())),
            "local" => Some(Value::from(self.0.local.as_str())),
            _ => None,
        }
    }

    fn identity(&self) -> Option<u64> {
        Some(self.0.id)
    }
}

/// The lines of a connection, for `for`.
struct LinesHandle(Arc<Connection>);

impl HandleObject for LinesHandle {
    fn type_name(&self) -> &'static str {
        "tcp_lines"
    }

    fn display(&self) -> String {
        "<tcp_lines>".to_owned()
    }

    fn identity(&self) -> Option<u64> {
        None
    }

    fn is_iterable(&self) -> bool {
        true
    }
}

/// The next item of `source` for `for`, `Unset` at the end; `None` when it is no iterable of this file.
pub fn next(run: &Arc<Run>, source: &Value) -> Option<Wait> {
    let Value::Handle(handle) = source else { return None };
    let connection = Arc::clone(&handle.downcast::<LinesHandle>()?.0);
    Some(Wait::new(
        "read_line",
        run.external(async move { Ok(connection.read_line(READ_BYTES_MAX).await?.map_or(Value::Unset, Value::from)) }),
    ))
}

fn port(args: &Args<'_>, index: usize, name: &str) -> Result<u16, Fault> {
    let port = args.int(index).and_then(|it| u16::try_from(it).ok());
    port.ok_or_else(|| Fault::thrown(format!("{name}: port must be an int from 0 to 65535, got {}", args.get(index))))
}

/// Host and port as one text; addresses of version 6 need brackets.
fn joined(host: &str, port: u16) -> String {
    if host.contains(':') && !host.starts_with('[') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

fn tcp_listen(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Wait, Fault> {
    let run = run(cx);
    let id = run.next_id();
    let port = port(&args, 1, "tcp_listen")?;
    run.may_use_address("tcp_listen", &args.string(0), port)?;
    let address = joined(&args.string(0), port);
    Ok(Wait::new(
        "tcp_listen",
        run.external(async move {
            let bound = async {
                let socket = TcpListener::bind(&address).await?;
                let local = socket.local_addr()?;
                Ok((socket, local))
            };
            let (socket, local) = bound.await.map_err(|error| failed("tcp_listen", &address, &error))?;
            let listener = Listener {
                id,
                address: local.to_string(),
                port: local.port(),
                socket: parking_lot::Mutex::new(Some(Arc::new(socket))),
                closed: tokio::sync::Notify::new(),
            };
            Ok(Value::Handle(Handle::new(ListenerHandle(Arc::new(listener)))))
        }),
    ))
}

fn listener(args: &Args<'_>, name: &str) -> Result<Arc<Listener>, Fault> {
    let found = match args.get(0) {
        Value::Handle(it) => it.downcast::<ListenerHandle>().map(|it| Arc::clone(&it.0)),
        _ => None,
    };
    found.ok_or_else(|| Fault::type_error(format!("{name}: expected tcp_listener, got {}", args.get(0).type_name())))
}

fn tcp_accept(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Wait, Fault> {
    let listener = listener(&args, "tcp_accept")?;
    let run = run(cx);
    let id = run.next_id();
    Ok(Wait::new("tcp_accept", run.external(accept(listener, id))).on(args.get(0).clone()))
}

async fn accept(listener: Arc<Listener>, id: u64) -> Result<Value, Fault> {
    let gone = || {
        let text = format!("tcp_accept: {}: the listener is closed", listener.address);
        Fault::categorised("transient_network", text)
    };
    // Registered before looking at the socket: a close in between must not be missed.
    let mut closed = std::pin::pin!(listener.closed.notified());
    closed.as_mut().enable();
    let socket = listener.socket.lock().clone().ok_or_else(gone)?;
    let accepted = std::future::poll_fn(|cx| {
        if closed.as_mut().poll(cx).is_ready() {
            return std::task::Poll::Ready(None);
        }
        socket.poll_accept(cx).map(Some)
    });
    let (stream, _) =
        accepted.await.ok_or_else(gone)?.map_err(|error| failed("tcp_accept", &listener.address, &error))?;
    connection_value(stream, id).map_err(|error| failed("tcp_accept", &listener.address, &error))
}

fn listener_close(_: &mut Cx<'_>, args: Args<'_>) -> Result<(), Fault> {
    let listener = listener(&args, "close")?;
    listener.socket.lock().take();
    listener.closed.notify_waiters();
    Ok(())
}

fn connection_value(stream: TcpStream, id: u64) -> std::io::Result<Value> {
    Ok(Value::Handle(Handle::new(ConnectionHandle(Arc::new(Connection::new(stream, id)?)))))
}

fn tcp_connect(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Wait, Fault> {
    if args.dict(2).and_then(|it| it.get("tls")).is_some_and(Value::is_truthy) {
        return Err(Fault::thrown("tcp_connect: the option tls is not supported"));
    }
    let run = Arc::clone(run(cx));
    let id = run.next_id();
    let (host, port) = (args.string(0), port(&args, 1, "tcp_connect")?);
    run.may_use_address("tcp_connect", &host, port)?;
    let address = joined(&host, port);
    let work = Arc::clone(&run);
    Ok(Wait::new(
        "tcp_connect",
        run.external(async move {
            let failed = |error| failed("tcp_connect", &address, &error);
            let found = tokio::net::lookup_host(&address).await.map_err(failed)?.collect();
            let allowed = work.reachable("tcp_connect", &host, found)?;
            let connected = TcpStream::connect(&allowed[..]).await.and_then(|stream| connection_value(stream, id));
            connected.map_err(failed)
        }),
    ))
}

fn connection(args: &Args<'_>) -> Result<Arc<Connection>, Fault> {
    let found = match args.get(0) {
        Value::Handle(it) => it.downcast::<ConnectionHandle>().map(|it| Arc::clone(&it.0)),
        _ => None,
    };
    found.ok_or_else(|| Fault::type_error(format!("expected tcp_connection, got {}", args.get(0).type_name())))
}

/// A size from an argument, `default` when missing.
fn size(args: &Args<'_>, default: usize) -> usize {
    args.int(1).map_or(default, |it| usize::try_from(it.max(0)).unwrap_or(usize::MAX)).min(READ_BYTES_MAX)
}

/// Waits for something to happen on a connection.
fn on_connection<F>(cx: &mut Cx<'_>, what: &'static str, args: &Args<'_>, work: F) -> Outcome
where
    F: Future<Output = Result<Value, Fault>> + Send + 'static,
{
    Outcome::from(Wait::new(what, run(cx).external(work)).on(args.get(0).clone()))
}

fn received(bytes: Vec<u8>) -> Value {
    Value::Bytes(Bytes::from(bytes))
}

fn read(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    let (connection, max) = (connection(&args)?, size(&args, 65536).max(1));
    Ok(on_connection(cx, "read", &args, async move { Ok(connection.read(max).await?.map_or(Value::Nil, received)) }))
}

fn read_exact(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    let (connection, n) = (connection(&args)?, size(&args, 0));
    Ok(on_connection(cx, "read_exact", &args, async move { connection.read_exact(n).await.map(received) }))
}

fn read_line(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    let connection = connection(&args)?;
    if let Some(line) = connection.try_read_line() {
        return Ok(Outcome::Value(Value::from(line)));
    }
    Ok(on_connection(cx, "read_line", &args, async move {
        Ok(connection.read_line(READ_BYTES_MAX).await?.map_or(Value::Nil, Value::from))
    }))
}

fn read_to_end(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    let (connection, limit) = (connection(&args)?, size(&args, READ_BYTES_MAX));
    Ok(on_connection(cx, "read_to_end", &args, async move { connection.read_to_end(limit).await.map(received) }))
}

fn write(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    let (connection, content) = (connection(&args)?, args.get(1).clone());
    let Some(octets) = content.as_octets() else {
        return Err(Fault::type_error(format!("write: expected bytes or string, got {}", content.type_name())));
    };
    let begun = connection.begin_write(octets);
    if begun.as_ref().is_some_and(|(written, _)| *written == octets.len()) {
        return Ok(Outcome::Value(Value::Nil));
    }
    Ok(on_connection(cx, "write", &args, async move {
        let (written, turn) = match begun {
            Some(begun) => begun,
            None => (0, connection.turn().await),
        };
        let octets = content.as_octets().unwrap_or_default();
        connection.write(&octets[written..], turn).await?;
        Ok(Value::Nil)
    }))
}

fn shutdown(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    let connection = connection(&args)?;
    Ok(on_connection(cx, "shutdown", &args, async move {
        connection.shutdown().await?;
        Ok(Value::Nil)
    }))
}

fn close(_: &mut Cx<'_>, args: Args<'_>) -> Result<(), Fault> {
    connection(&args)?.close();
    Ok(())
}

fn lines(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    Ok(Value::Handle(Handle::new(LinesHandle(connection(&args)?))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Bench;
    use madrigal_vm::Str;

    fn connected(bench: &mut Bench) -> (Value, Value) {
        let listener = bench.call("tcp_listen", vec!["127.0.0.1".into(), 0i64.into()]).expect("loopback exists");
        let Value::Handle(handle) = &listener else { panic!("a handle") };
        let port = handle.property(&Str::from("port")).expect("it has a port");
        let client = bench.call("tcp_connect", vec!["127.0.0.1".into(), port]).expect("somebody listens");
        let server = bench.call("tcp_accept", vec![listener]).expect("somebody connected");
        (client, server)
    }

    #[test]
    fn lines_cross_and_the_end_is_nil() {
        let mut bench = Bench::new();
        let (client, server) = connected(&mut bench);
        let mut call = |name: &str, args: Vec<Value>| bench.call(name, args).expect("it works").to_string();
        call("tcp_connection.write", vec![client.clone(), "one\r\ntwo\nrest".into()]);
        assert_eq!(call("tcp_connection.read_line", vec![server.clone()]), "one");
        assert_eq!(call("tcp_connection.read_exact", vec![server.clone(), 3i64.into()]), "b\"74776f\"");
        call("tcp_connection.shutdown", vec![client.clone()]);
        assert_eq!(call("tcp_connection.read_to_end", vec![server.clone(), 99i64.into()]), "b\"0a72657374\"");
        assert_eq!(call("tcp_connection.read", vec![server.clone()]), "nil");
        call("tcp_connection.write", vec![server.clone(), "back\n".into()]);
        call("tcp_connection.close", vec![server]);
        assert_eq!(call("tcp_connection.read_line", vec![client.clone()]), "back");
        assert_eq!(call("tcp_connection.read_line", vec![client]), "nil");
    }

    #[test]
    fn closing_ends_a_read_under_way() {
        let mut bench = Bench::new();
        let (client, server) = connected(&mut bench);
        let started = bench.start("tcp_connection.read_line", vec![client.clone()]).expect("it starts");
        let Outcome::Effect(madrigal_vm::Effect::Wait(wait)) = started else { panic!("nothing was sent") };
        let reading = bench.runtime().spawn(wait.future);
        bench.runtime().block_on(tokio::task::yield_now());
        bench.call("tcp_connection.close", vec![client]).expect("it closes");
        assert!(bench.runtime().block_on(reading).expect("no panic").is_ok_and(|it| it.is_nil()));
        drop(server);
    }

    #[test]
    fn failures_name_the_address() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("loopback exists");
        let fault = Bench::new().call("tcp_connect", vec!["127.0.0.1".into(), i64::from(free.port()).into()]);
        let text = fault.expect_err("nobody listens").caught().to_string();
        assert!(text.starts_with(&format!("Error [transient_network]: tcp_connect: {free}: ")), "{text}");
    }
}
