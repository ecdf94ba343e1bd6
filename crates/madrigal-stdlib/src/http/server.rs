//! The HTTP server inside a program: a router that opens no socket; an adapter or a test feeds it requests. Handlers
//! and hooks are called by `http_server_request` in `lib/prelude.harn`; here are the table of a server and the shape of
//! requests and responses.

use super::handles::handle;
use super::response::{self, is_response, respond};
use crate::host::{Run, run};
use madrigal_vm::{Args, Bytes, Cx, Dict, Fault, Str, Value};
use parking_lot::Mutex;
use std::collections::HashMap;

madrigal_vm::builtins! {
    /// Makes a server: a dict `{id, kind}`.
    "http_server" (options: dict) -> dict = http_server;
    /// Adds a route; `{name}` and `:name` in the template take any segment.
    "http_server_route" (server: dict, method: string, template: string, handler: any, options: dict) -> dict = route;
    /// Adds a hook that sees every request before its handler.
    "http_server_before" (server: dict, hook: any) -> dict = before;
    /// Adds a hook that sees every response.
    "http_server_after" (server: dict, hook: any) -> dict = after;
    /// Says whether the server takes requests.
    "http_server_set_ready" (server: dict, on: bool) -> bool = set_ready;
    /// Sets a callback that says whether the server takes requests.
    "http_server_readiness" (server: dict, callback: any) -> dict = readiness;
    /// Adds a hook that is called at shutdown.
    "http_server_on_shutdown" (server: dict, hook: any) -> dict = on_shutdown;
    /// A dict `{down, ready, readiness, refusal}`.
    "__http_server_state" (server: dict, name: string) -> dict = state;
    /// What to do with a request: a dict with `response`, or with `request`, `handler`, `before` and `after`.
    "__http_server_plan" (server: dict, request: dict) -> dict = plan;
    /// The response that a handler's result means.
    "__http_server_answer" (result: any) -> dict = answer;
    /// Whether a hook's result is a response.
    "__http_server_is_response" (result: any) -> bool = is_a_response;
    /// Marks the server shut down; the hooks to call.
    "__http_server_down" (server: dict) -> list = down;
}

/// The servers of a run by handle.
#[derive(Default)]
pub(crate) struct Servers(Mutex<HashMap<String, Server>>);

struct Server {
    limits: Limits,
    ready: bool,
    down: bool,
    readiness: Value,
    routes: Vec<Route>,
    before: Vec<Value>,
    after: Vec<Value>,
    on_shutdown: Vec<Value>,
}

#[derive(Clone, Copy)]
struct Limits {
    body_bytes_max: i64,
    retain_raw_body: bool,
}

impl Limits {
    /// These, unless the options say otherwise.
    fn or(self, options: Option<&Dict>) -> Limits {
        let option = |key: &str| options.and_then(|it| it.get(key)).filter(|it| !it.is_nil());
        Limits {
            body_bytes_max: option("max_body_bytes")
                .and_then(Value::as_int)
                .map_or(self.body_bytes_max, |it| it.max(0)),
            retain_raw_body: option("retain_raw_body").map_or(self.retain_raw_body, Value::is_truthy),
        }
    }
}

struct Route {
    method: String,
    template: Vec<Segment>,
    handler: Value,
    limits: Limits,
}

enum Segment {
    Literal(String),
    Parameter(String),
}

impl Route {
    /// The parameters in the path, when this route is meant.
    fn parameters(&self, method: &str, path: &str) -> Option<Dict> {
        if self.method != "*" && self.method != method {
            return None;
        }
        let segments: Vec<&str> = segments(path).collect();
        if segments.len() != self.template.len() {
            return None;
        }
        let mut parameters = Dict::new();
        for (template, segment) in self.template.iter().zip(segments) {
            match template {
                Segment::Literal(text) if text == segment => {}
                Segment::Literal(_) => return None,
                Segment::Parameter(name) => parameters.insert(Str::from(name), Value::from(percent_decoded(segment))),
            }
        }
        Some(parameters)
    }
}

fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|it| !it.is_empty())
}

/// With `%xx` decoded; a plus stays.
fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let code = after.get(..2).filter(|_| first == b'%').and_then(|it| std::str::from_utf8(it).ok());
        match code.and_then(|it| u8::from_str_radix(it, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn with_server<T>(
    run: &Run,
    args: &Args<'_>,
    name: &str,
    work: impl FnOnce(&mut Server) -> Result<T, Fault>,
) -> Result<T, Fault> {
    let id = handle(args, name)?;
    let mut servers = run.http.servers.0.lock();
    let unknown = || Fault::thrown(format!("{name}: unknown HTTP server '{id}'"));
    work(servers.get_mut(id.as_str()).ok_or_else(unknown)?)
}

fn handle_value(id: &str) -> Value {
    Value::dict([("id", Value::from(id)), ("kind", Value::from("http_server"))])
}

fn http_server(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let options = args.dict(0);
    let run = run(cx);
    let id = run.http.counter.next("http-server");
    let server = Server {
        limits: Limits { body_bytes_max: 1 << 20, retain_raw_body: true }.or(options),
        ready: options.and_then(|it| it.get("ready")).filter(|it| !it.is_nil()).is_none_or(Value::is_truthy),
        down: false,
        readiness: Value::Nil,
        routes: Vec::new(),
        before: Vec::new(),
        after: Vec::new(),
        on_shutdown: Vec::new(),
    };
    run.http.servers.0.lock().insert(id.clone(), server);
    Ok(handle_value(&id))
}

fn route(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let name = "http_server_route";
    let template = args.string(2);
    if !template.starts_with('/') {
        return Err(Fault::thrown("http_server_route: path template must start with '/'"));
    }
    let segment = |it: &str| {
        let braced = it.strip_prefix('{').and_then(|it| it.strip_suffix('}'));
        match braced.or_else(|| it.strip_prefix(':')) {
            Some(name) if !name.is_empty() => Segment::Parameter(name.to_owned()),
            _ => Segment::Literal(it.to_owned()),
        }
    };
    with_server(run(cx), &args, name, |server| {
        server.routes.push(Route {
            method: args.string(1).to_uppercase(),
            template: segments(&template).map(segment).collect(),
            handler: callable(&args, 3, name)?,
            limits: server.limits.or(args.dict(4)),
        });
        Ok(())
    })?;
    Ok(handle_value(&handle(&args, name)?))
}

fn callable(args: &Args<'_>, index: usize, name: &str) -> Result<Value, Fault> {
    let found = args.get(index);
    if found.is_callable() {
        return Ok(found.clone());
    }
    Err(Fault::thrown(format!("{name}: expected a function, got {}", found.type_name())))
}

/// Registers a callback.
fn add(cx: &mut Cx<'_>, args: &Args<'_>, name: &str, place: impl FnOnce(&mut Server, Value)) -> Result<Value, Fault> {
    let hook = callable(args, 1, name)?;
    with_server(run(cx), args, name, |server| {
        place(server, hook);
        Ok(())
    })?;
    Ok(handle_value(&handle(args, name)?))
}

fn before(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    add(cx, &args, "http_server_before", |server, hook| server.before.push(hook))
}

fn after(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    add(cx, &args, "http_server_after", |server, hook| server.after.push(hook))
}

fn readiness(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    add(cx, &args, "http_server_readiness", |server, hook| server.readiness = hook)
}

fn on_shutdown(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    add(cx, &args, "http_server_on_shutdown", |server, hook| server.on_shutdown.push(hook))
}

fn set_ready(cx: &mut Cx<'_>, args: Args<'_>) -> Result<bool, Fault> {
    let on = args.get(1).is_truthy();
    with_server(run(cx), &args, "http_server_set_ready", |server| {
        server.ready = on;
        Ok(on)
    })
}

fn state(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let name = args.string(1);
    with_server(run(cx), &args, &name, |server| {
        let refusal = match (server.down, server.ready) {
            (true, _) => response::text(503, "server is shut down"),
            (false, false) => response::text(503, "server is not ready"),
            (false, true) => Value::Nil,
        };
        Ok(Value::dict([
            ("down", Value::Bool(server.down)),
            ("ready", Value::Bool(server.ready)),
            ("readiness", server.readiness.clone()),
            ("refusal", refusal),
        ]))
    })
}

fn down(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    with_server(run(cx), &args, "http_server_shutdown", |server| {
        server.down = true;
        Ok(Value::list(server.on_shutdown.clone()))
    })
}

fn answer(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    Ok(respond(args.get(0)))
}

fn is_a_response(_: &mut Cx<'_>, args: Args<'_>) -> Result<bool, Fault> {
    Ok(is_response(args.get(0)))
}

fn plan(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let given = args.dict(1).cloned().unwrap_or_default();
    let some = |key: &str| given.get(key).filter(|it| !it.is_nil());
    let method = some("method").map_or_else(|| "GET".to_owned(), |it| it.display().to_uppercase());
    let target = some("path").map_or_else(|| Str::from("/"), Value::display);
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let body: Vec<u8> = match some("raw_body").or_else(|| some("body")) {
        None => Vec::new(),
        Some(Value::Bytes(bytes)) => bytes.to_vec(),
        Some(other) => other.display().as_bytes().to_vec(),
    };
    with_server(run(cx), &args, "http_server_request", |server| {
        let refused = |response: Value| Ok(Value::dict([("response", response)]));
        let found = server.routes.iter().find_map(|it| Some((it, it.parameters(&method, path)?)));
        let Some((route, parameters)) = found else {
            return refused(response::text(404, &format!("no route for {method} {path}")));
        };
        let limit = route.limits.body_bytes_max;
        if i64::try_from(body.len()).unwrap_or(i64::MAX) > limit {
            let text = format!("request body too large: {} > {limit} bytes", body.len());
            let headers = [("connection", "close".to_owned()), ("x-harn-body-limit", limit.to_string())];
            return refused(response::text_with(413, &text, headers));
        }
        let mut entries: Dict = url::form_urlencoded::parse(query.as_bytes())
            .map(|(key, value)| (Str::from(key.as_ref()), Value::from(value.as_ref())))
            .collect();
        if let Some(Value::Dict(explicit)) = some("query") {
            explicit.iter().for_each(|(key, value)| entries.insert(key.clone(), value.clone()));
        }
        let lower =
            |headers: &Dict| headers.iter().map(|(key, value)| (key.to_lowercase().into(), value.clone())).collect();
        let headers: Dict = match some("headers") {
            Some(Value::Dict(headers)) => lower(headers),
            _ => Dict::new(),
        };
        let raw = if route.limits.retain_raw_body { Value::Bytes(Bytes::from(body.clone())) } else { Value::Nil };
        let request = Value::dict([
            ("method", Value::from(method.as_str())),
            ("path", Value::from(path)),
            ("path_params", Value::Dict(parameters.clone())),
            ("params", Value::Dict(parameters)),
            ("query", Value::Dict(entries)),
            ("headers", Value::Dict(headers)),
            ("body_bytes", Value::from(body.len())),
            ("body", Value::from(String::from_utf8_lossy(&body).into_owned())),
            ("raw_body", raw),
            ("remote_addr", some("remote_addr").cloned().unwrap_or_default()),
            ("client_ip", some("client_ip").cloned().unwrap_or_default()),
        ]);
        Ok(Value::dict([
            ("request", request),
            ("handler", route.handler.clone()),
            ("before", Value::list(server.before.clone())),
            ("after", Value::list(server.after.clone())),
        ]))
    })
}
