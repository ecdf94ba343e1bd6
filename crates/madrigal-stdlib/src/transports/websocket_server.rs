//! WebSocket servers: a listener whose upgrades are checked against routes, and a queue of accepted connections. The
//! listening task ends when the server is closed.

use super::websocket::{Socket, limits, register_socket};
use super::wire::{Settings, Wire, config};
use super::{limit, only_type, option, options, timeout};
use crate::host::{Run, run};
use crate::http::handle;
use madrigal_vm::{Args, Cx, Dict, Fault, Str, Value, Wait};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::StatusCode;

madrigal_vm::builtins! {
    /// Listens for WebSockets: a dict `{id, addr, url}`.
    "websocket_server" (bind: string = "127.0.0.1:0", options: dict) -> dict, needs Net = websocket_server;
    /// Lets clients connect to a path.
    "websocket_route" (server: dict, path: string, options: dict) -> bool = websocket_route;
    /// The next connection: a dict `{id, path, peer, headers}`; `{type: "timeout"}`, nil when the server is gone.
    "websocket_accept" (server: dict, timeout: duration) -> dict = websocket_accept;
    /// Stops listening.
    "websocket_server_close" (server: dict) -> bool = websocket_server_close;
}

/// Most servers open at a time.
const SERVERS_MAX: usize = 256;

/// Connections that wait to be accepted.
const WAITING_MAX: usize = 128;

/// How long a client may take over its upgrade.
const UPGRADE_PATIENCE: Duration = Duration::from_secs(10);

/// A listening server.
pub(super) struct Server {
    address: String,
    routes: Arc<Mutex<HashMap<String, Route>>>,
    accepted: tokio::sync::Mutex<mpsc::Receiver<Accepted>>,
    listening: AbortHandle,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

#[derive(Clone)]
struct Route {
    bearer: Option<String>,
    limits: (usize, usize),
    queue_len: usize,
    idle_timeout: Option<Duration>,
}

/// A connection whose upgrade is done.
struct Accepted {
    wire: Wire,
    path: String,
    peer: String,
    headers: Value,
    limits: (usize, usize),
}

impl Route {
    fn of(options: Option<&Dict>) -> Route {
        let bearer = match option(options, "auth") {
            Some(Value::Dict(auth)) => option(Some(auth), "bearer").map(|it| it.display().to_string()),
            _ => None,
        };
        let idle = limit(options, "idle_timeout_ms", 30_000) as u64;
        Route {
            bearer,
            limits: limits(options),
            queue_len: limit(options, "send_buffer_messages", 64),
            idle_timeout: (idle > 0).then(|| Duration::from_millis(idle)),
        }
    }
}

fn websocket_server(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Wait, Fault> {
    let name = "websocket_server";
    let bind = if args.get(0).is_nil() { Str::from("127.0.0.1:0") } else { args.string(0) };
    let options = options(&args, 1).cloned();
    let run = Arc::clone(run(cx));
    let failed = |error: std::io::Error| Fault::thrown(format!("websocket_server: {error}"));
    let (host, port) = bind.rsplit_once(':').unwrap_or((&bind, "0"));
    run.may_use_address(name, host, port.parse().unwrap_or(0))?;
    let work = run.clone();
    Ok(Wait::new(
        name,
        run.external(async move {
            let listener = TcpListener::bind(bind.as_str()).await.map_err(failed)?;
            let address = listener.local_addr().map_err(failed)?.to_string();
            let routes = Arc::new(Mutex::new(HashMap::new()));
            if let Some(path) = option(options.as_ref(), "path") {
                routes.lock().insert(path.display().to_string(), Route::of(options.as_ref()));
            }
            let (sender, accepted) = mpsc::channel(WAITING_MAX);
            let listening = tokio::spawn(listen(listener, routes.clone(), sender)).abort_handle();
            let id = work.http.counter.next("websocket-server");
            let accepted = tokio::sync::Mutex::new(accepted);
            let server = Server { address: address.clone(), routes, accepted, listening };
            if !work.transports.servers.add(&id, Arc::new(server), SERVERS_MAX) {
                return Err(Fault::thrown(format!("websocket_server: maximum open servers ({SERVERS_MAX}) reached")));
            }
            Ok(Value::dict([
                ("id", Value::from(id)),
                ("url", Value::from(format!("ws://{address}"))),
                ("addr", Value::from(address)),
            ]))
        }),
    ))
}

/// Takes connections until the server is dropped. Each upgrade has a task of its own, so none holds up the others.
async fn listen(listener: TcpListener, routes: Arc<Mutex<HashMap<String, Route>>>, accepted: mpsc::Sender<Accepted>) {
    let mut upgrades = tokio::task::JoinSet::new();
    loop {
        let Ok((stream, peer)) = listener.accept().await else {
            // Too many open files, say: they may become fewer.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let (routes, accepted) = (routes.clone(), accepted.clone());
        upgrades.spawn(async move {
            let upgrade = tokio::time::timeout(UPGRADE_PATIENCE, upgrade(stream, peer.to_string(), &routes));
            if let Ok(Some(connection)) = upgrade.await {
                let _ = accepted.send(connection).await;
            }
        });
        while upgrades.try_join_next().is_some() {}
    }
}

// The library fixes the type of a refusal.
#[allow(clippy::result_large_err)]
async fn upgrade(stream: TcpStream, peer: String, routes: &Mutex<HashMap<String, Route>>) -> Option<Accepted> {
    let mut found = None;
    // How long messages may be is known only once the path is.
    let longest = routes.lock().values().map(|it| it.limits.1).max().unwrap_or(1 << 20);
    let check = |request: &Request, response: Response| {
        let path = request.uri().path().to_owned();
        let route = routes.lock().get(&path).cloned().ok_or_else(|| refusal(StatusCode::NOT_FOUND))?;
        if let Some(bearer) = &route.bearer {
            let given = request.headers().get("authorization").and_then(|it| it.to_str().ok());
            if given != Some(&format!("Bearer {bearer}")) {
                return Err(refusal(StatusCode::UNAUTHORIZED));
            }
        }
        let headers = request.headers().iter().map(|(name, value)| {
            (Str::from(name.as_str()), Value::from(String::from_utf8_lossy(value.as_bytes()).into_owned()))
        });
        found = Some((route, path, Value::Dict(headers.collect())));
        Ok(response)
    };
    let connected = tokio_tungstenite::accept_hdr_async_with_config(stream, check, Some(config(longest))).await.ok()?;
    let (route, path, headers) = found?;
    let settings = Settings {
        message_bytes_max: route.limits.1,
        queue_len: Some(route.queue_len),
        idle_timeout: route.idle_timeout,
        is_server: true,
    };
    Some(Accepted { wire: Wire::new(connected, settings), path, peer, headers, limits: route.limits })
}

fn refusal(status: StatusCode) -> ErrorResponse {
    let mut response = ErrorResponse::new(None);
    *response.status_mut() = status;
    response
}

fn server(run: &Run, args: &Args<'_>, name: &str) -> Result<Option<Arc<Server>>, Fault> {
    Ok(run.transports.servers.get(&handle(args, name)?))
}

fn websocket_route(cx: &mut Cx<'_>, args: Args<'_>) -> Result<bool, Fault> {
    let name = "websocket_route";
    let path = args.string(1);
    let unknown = || Fault::thrown("websocket_route: unknown websocket server");
    let server = server(run(cx), &args, name)?.ok_or_else(unknown)?;
    server.routes.lock().insert(path.to_string(), Route::of(options(&args, 2)));
    Ok(true)
}

fn websocket_accept(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Wait, Fault> {
    let name = "websocket_accept";
    let limit = timeout(args.get(1));
    let run = Arc::clone(run(cx));
    let server = server(&run, &args, name)?;
    Ok(Wait::new(name, async move {
        let Some(server) = server else { return Ok(Value::Nil) };
        let work = run.external(async { server.accepted.lock().await.recv().await });
        let accepted = match run.within_outside(Some(limit), work).await {
            None => return Ok(only_type("timeout")),
            Some(None) => return Ok(Value::Nil),
            Some(Some(accepted)) => accepted,
        };
        let Accepted { wire, path, peer, headers, limits } = accepted;
        let url = format!("ws://{}{path}", server.address);
        let id = register_socket(&run, name, Socket::real(url, wire, limits, true))?;
        Ok(Value::dict([
            ("id", Value::from(id)),
            ("path", Value::from(path)),
            ("peer", Value::from(peer)),
            ("headers", headers),
        ]))
    }))
}

fn websocket_server_close(cx: &mut Cx<'_>, args: Args<'_>) -> Result<bool, Fault> {
    let id = handle(&args, "websocket_server_close")?;
    let Some(server) = run(cx).transports.servers.remove(&id) else { return Ok(false) };
    // Those who wait in `websocket_accept` hold the server: the end of the listening task ends their wait.
    server.listening.abort();
    Ok(true)
}
