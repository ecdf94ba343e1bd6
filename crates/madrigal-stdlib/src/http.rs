//! The HTTP client: builtins, attempts and retries. What a call asks for is read in `request.rs`, which connection
//! pool it uses in `clients.rs`, what answers instead of a server in `mocks.rs`. A status is a result; only what keeps
//! an answer from arriving throws.

mod clients;
mod guard;
mod handles;
mod mocks;
mod multipart;
mod redaction;
mod request;
mod response;
mod server;
mod streams;
mod tls;

pub(crate) use guard::permit;
pub(crate) use handles::{Counter, Open, handle};
pub(crate) use mocks::matches;
pub(crate) use redaction::redacted_url;

use crate::host::{Run, run};
use clients::Clients;
use guard::Blocked;
use madrigal_vm::{Args, BuiltinTable, Cx, Dict, Fault, Str, Value, Wait};
use mocks::Mocks;
use request::Request;
use server::Servers;
use std::error::Error;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use streams::Streams;
use tokio::io::AsyncWriteExt;

/// Connections, mocks and handles of a run.
#[derive(Default)]
pub(crate) struct Http {
    clients: Clients,
    mocks: Mocks,
    pub(crate) streams: Streams,
    servers: Servers,
    /// Numbers the handles of all transports.
    pub(crate) counter: Counter,
}

/// Adds the builtins of this area.
pub fn register_all(table: &mut BuiltinTable) {
    register(table);
    mocks::register(table);
    response::register(table);
    server::register(table);
    streams::register(table);
    tls::register(table);
}

madrigal_vm::builtins! {
    /// Gets a URL; a dict `{status, headers, body, ok}`.
    "http_get" (url: string, options: dict) -> dict, needs Net = http_get;
    /// Deletes a URL.
    "http_delete" (url: string, options: dict) -> dict, needs Net = http_delete;
    /// Posts a body to a URL.
    "http_post" (url: string, body: any, options: dict) -> dict, needs Net = http_post;
    /// Puts a body to a URL.
    "http_put" (url: string, body: any, options: dict) -> dict, needs Net = http_put;
    /// Patches a URL with a body.
    "http_patch" (url: string, body: any, options: dict) -> dict, needs Net = http_patch;
    /// Sends a request with any method.
    "http_request" (method: string, url: string, options: dict) -> dict, needs Net = http_request;
    /// Opens a session, whose options are defaults of its requests.
    "http_session" (options: dict) -> string, needs Net = http_session;
    /// Sends a request within a session.
    "http_session_request" (session: string, method: string, url: string, options: dict) -> dict, needs Net = http_session_request;
    /// Closes a session; false when there is none.
    "http_session_close" (session: string) -> bool, needs Net = http_session_close;
    /// Streams a response into a file; a dict `{status, headers, ok, bytes_written}`.
    "http_download" (url: string, path: string, options: dict) -> dict, needs Net = http_download;
}

/// The client, with its connections, that requests to `url` with these options share; `options` as of the builtins.
pub fn shared_client(run: &Arc<Run>, url: &reqwest::Url, options: &Dict) -> Result<reqwest::Client, Fault> {
    run.http.clients.client(run, &clients::ClientKey::of(guard::MODELS, url, options)?)
}

/// The longest body that is taken into memory.
const BODY_BYTES_MAX: usize = 1 << 30;

/// The longest pause between attempts.
const RETRY_DELAY_MAX: Duration = Duration::from_secs(60);

fn http_get(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Wait, Fault> {
    without_body(run(cx), "http_get", "GET", &args)
}

fn http_delete(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Wait, Fault> {
    without_body(run(cx), "http_delete", "DELETE", &args)
}

fn http_post(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Wait, Fault> {
    with_body(run(cx), "http_post", "POST", &args)
}

fn http_put(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Wait, Fault> {
    with_body(run(cx), "http_put", "PUT", &args)
}

fn http_patch(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Wait, Fault> {
    with_body(run(cx), "http_patch", "PATCH", &args)
}

fn needed(args: &Args<'_>, index: usize, name: &str, what: &str) -> Result<Str, Fault> {
    let text = args.string(index);
    let missing = text.is_empty() || args.get(index).is_nil();
    if missing { Err(Fault::thrown(format!("{name}: {what} is required"))) } else { Ok(text) }
}

fn options(args: &Args<'_>, index: usize) -> Dict {
    args.dict(index).cloned().unwrap_or_default()
}

fn without_body(run: &Arc<Run>, name: &'static str, method: &str, args: &Args<'_>) -> Result<Wait, Fault> {
    let url = needed(args, 0, name, "URL")?;
    start(run, name, method, &url, options(args, 1))
}

fn with_body(run: &Arc<Run>, name: &'static str, method: &str, args: &Args<'_>) -> Result<Wait, Fault> {
    let url = needed(args, 0, name, "URL")?;
    if args.dict(1).is_some() && !args.has(2) {
        return start(run, name, method, &url, options(args, 1));
    }
    let mut options = options(args, 2);
    if !args.get(1).is_nil() {
        options.insert(Str::from("body"), Value::String(args.string(1)));
    }
    start(run, name, method, &url, options)
}

fn http_request(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Wait, Fault> {
    let method = needed(&args, 0, "http_request", "method")?;
    let url = needed(&args, 1, "http_request", "URL")?;
    start(run(cx), "http_request", &method, &url, options(&args, 2))
}

fn http_session(cx: &mut Cx<'_>, args: Args<'_>) -> Result<String, Fault> {
    let run = run(cx);
    run.http.clients.open_session(&run.http.counter, options(&args, 0))
}

fn http_session_request(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Wait, Fault> {
    let name = "http_session_request";
    let run = run(cx);
    let id = handle(&args, name)?;
    let (method, url) = (needed(&args, 1, name, "method")?, needed(&args, 2, name, "URL")?);
    let mut options = options(&args, 3);
    options.insert(Str::from("session"), Value::String(id));
    start(run, name, &method, &url, options)
}

fn http_session_close(cx: &mut Cx<'_>, args: Args<'_>) -> Result<bool, Fault> {
    let id = handle(&args, "http_session_close")?;
    Ok(run(cx).http.clients.close_session(&id))
}

/// The options merged over those of the session they name.
fn with_session(run: &Run, options: Dict) -> Result<Dict, Fault> {
    let session = match options.get("session") {
        None | Some(Value::Nil) => return Ok(options),
        Some(Value::Dict(session)) => session.get("id").cloned().unwrap_or_default().display(),
        Some(other) => other.display(),
    };
    let defaults = run.http.clients.session(&session);
    let unknown = || Fault::thrown(format!("http_session_request: unknown HTTP session '{session}'"));
    let mut merged = defaults.ok_or_else(unknown)?;
    for (key, value) in options.iter() {
        merged.insert(key.clone(), value.clone());
    }
    Ok(merged)
}

/// The request that a call describes, checked as far as it can be before mocks are asked.
pub(crate) fn plan(
    run: &Arc<Run>,
    name: &'static str,
    method: &str,
    url: &str,
    options: Dict,
) -> Result<Request, Fault> {
    let request = Request::new(run, name, method, url, &with_session(run, options)?)?;
    if request.surface() == "http_request" {
        run.egress.check(run, request.surface(), &request.url_text)?;
    }
    Ok(request)
}

fn start(run: &Arc<Run>, name: &'static str, method: &str, url: &str, options: Dict) -> Result<Wait, Fault> {
    let request = plan(run, name, method, url, options)?;
    let run = Arc::clone(run);
    Ok(Wait::new(name, async move { answer(&run, request, BodyTo::Memory).await }))
}

fn http_download(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Wait, Fault> {
    let name = "http_download";
    let run = Arc::clone(run(cx));
    let (url, path) = (needed(&args, 0, name, "URL")?, needed(&args, 1, name, "path")?);
    let options = options(&args, 2);
    let method = options.get("method").filter(|it| !it.is_nil()).map_or_else(|| Str::from("GET"), Value::display);
    let request = plan(&run, name, &method, &url, options)?;
    let path = run.resolve(&path);
    run.may_write(name, &path)?;
    Ok(Wait::new(name, async move { answer(&run, request, BodyTo::File(path)).await }))
}

/// Where the body of an answer goes.
enum BodyTo {
    Memory,
    File(PathBuf),
    /// It stays to be read.
    Open,
}

/// Why an attempt brought no answer.
pub(crate) enum Failure {
    /// Another attempt may help.
    Passing(String),
    Final(Fault),
}

impl Failure {
    fn text(text: String) -> Failure {
        Failure::Final(Fault::thrown(text))
    }

    pub(crate) fn into_fault(self) -> Fault {
        match self {
            Failure::Passing(text) => Fault::thrown(text),
            Failure::Final(fault) => fault,
        }
    }
}

/// What the attempts of a request gave.
enum Done {
    Answer(Value),
    Open(Opened),
}

/// An answer whose body was not read.
pub(crate) enum Opened {
    Mocked(mocks::Response),
    Real(reqwest::Response),
}

/// The answer to a request as a value.
async fn answer(run: &Arc<Run>, request: Request, body_to: BodyTo) -> Result<Value, Fault> {
    match send(run, request, body_to).await? {
        Done::Answer(value) => Ok(value),
        Done::Open(_) => Ok(Value::Nil),
    }
}

/// The answer to a request with its body still to be read.
pub(crate) async fn open(run: &Arc<Run>, request: Request) -> Result<Opened, Fault> {
    match send(run, request, BodyTo::Open).await? {
        Done::Open(opened) => Ok(opened),
        Done::Answer(_) => Err(Fault::runtime("internal error: a response was read")),
    }
}

/// All attempts of a request.
async fn send(run: &Arc<Run>, mut request: Request, body_to: BodyTo) -> Result<Done, Fault> {
    request.prepare(run).await?;
    let mut attempt = 0;
    loop {
        let may_retry = attempt < request.retries && request.may_retry;
        let outcome = match run.http.mocks.answer(&request) {
            Some(mocked) => mocked_exchange(run, &request, mocked, &body_to, may_retry).await,
            None => {
                run.egress.check(run, request.surface(), &request.url_text)?;
                guard::permit(run, request.name, &request.url)?;
                let client = run.http.clients.client(run, &request.client)?;
                let work = run.external(exchange(run, &client, &request, &body_to, may_retry));
                within(run, request.timeout, work).await
            }
        };
        let hint = match outcome {
            Ok(Exchange::Done(done)) => return Ok(done),
            Ok(Exchange::Retry(hint)) => hint,
            Err(Failure::Passing(_)) if may_retry => None,
            Err(failure) => return Err(failure.into_fault()),
        };
        run.sleep(pause(run, request.backoff, attempt, hint)).await;
        attempt += 1;
    }
}

/// How long to wait before the next attempt.
fn pause(run: &Run, backoff: Duration, attempt: u32, hint: Option<Duration>) -> Duration {
    let spread = run.random(|generator| 0.75 + generator.fraction() / 2.0);
    let seconds =
        (backoff.as_secs_f64() * 2f64.powi(attempt.min(30) as i32) * spread).min(RETRY_DELAY_MAX.as_secs_f64());
    Duration::from_secs_f64(seconds).max(hint.unwrap_or_default()).min(RETRY_DELAY_MAX)
}

/// What a mock gives for one attempt.
async fn mocked_exchange(
    run: &Run,
    request: &Request,
    response: mocks::Response,
    body_to: &BodyTo,
    may_retry: bool,
) -> Result<Exchange, Failure> {
    let status = response.status;
    if may_retry && request.retry_on.iter().any(|it| i64::from(*it) == status) {
        let hint = request.wanted_pause(status, response.header("retry-after").as_deref(), run.now_ms());
        return Ok(Exchange::Retry(hint));
    }
    let body = match body_to {
        BodyTo::Memory => ("body", Value::String(response.body)),
        BodyTo::Open => return Ok(Exchange::Done(Done::Open(Opened::Mocked(response)))),
        BodyTo::File(path) => {
            let written = run.external(tokio::fs::write(path, response.body.as_bytes().to_vec())).await;
            written.map_err(|error| not_saved(path, &error))?;
            ("bytes_written", Value::from(response.body.len()))
        }
    };
    Ok(Exchange::Done(Done::Answer(answer_value(status, Value::Dict(response.headers), body))))
}

fn answer_value(status: i64, headers: Value, body: (&'static str, Value)) -> Value {
    let ok = Value::Bool((200..300).contains(&status));
    Value::dict([("status", Value::Int(status)), ("headers", headers), ("ok", ok), body])
}

/// Gives `work` up when it takes longer than `limit` on the clock of the run.
async fn within<T>(run: &Run, limit: Duration, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    run.within_outside(Some(limit), work).await.unwrap_or_else(|| {
        Err(Failure::Passing(format!(
            "http: request failed: no answer within {} ms: Deadline exceeded",
            limit.as_millis()
        )))
    })
}

/// What one attempt gave.
enum Exchange {
    Done(Done),
    /// A status that asks for another attempt, and how long the server wants us to wait.
    Retry(Option<Duration>),
}

async fn exchange(
    run: &Run,
    client: &reqwest::Client,
    request: &Request,
    body_to: &BodyTo,
    may_retry: bool,
) -> Result<Exchange, Failure> {
    let response = client.execute(request.build()).await.map_err(|error| failure("request failed", &error))?;
    let status = response.status().as_u16();
    if may_retry && request.retry_on.contains(&status) {
        let header = response.headers().get("retry-after").and_then(|it| it.to_str().ok());
        return Ok(Exchange::Retry(request.wanted_pause(status.into(), header, run.now_ms())));
    }
    let headers = headers(&response);
    let body = match body_to {
        BodyTo::Memory => ("body", Value::from(read_body(response).await?)),
        BodyTo::File(path) => ("bytes_written", Value::from(save_body(response, path).await?)),
        BodyTo::Open => return Ok(Exchange::Done(Done::Open(Opened::Real(response)))),
    };
    Ok(Exchange::Done(Done::Answer(answer_value(status.into(), headers, body))))
}

fn failure(what: &str, error: &reqwest::Error) -> Failure {
    if let Some(fault) = Blocked::within(error) {
        return Failure::Final(fault);
    }
    let text = format!("http: {what}: {}", with_causes(error));
    if error.is_connect() || error.is_timeout() { Failure::Passing(text) } else { Failure::text(text) }
}

/// The message of an error and of what caused it.
pub fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(it) = cause {
        let message = it.to_string();
        if !text.contains(&message) {
            text.push_str(": ");
            text.push_str(&message);
        }
        cause = it.source();
    }
    text
}

fn headers(response: &reqwest::Response) -> Value {
    let mut headers = Dict::new();
    for (name, value) in response.headers() {
        let value = String::from_utf8_lossy(value.as_bytes());
        match headers.slot(&Str::from(name.as_str())) {
            Value::String(several) => several.push_str(&format!(", {value}")),
            slot => *slot = Value::from(value.as_ref()),
        }
    }
    Value::Dict(headers)
}

pub(crate) async fn next_chunk(response: &mut reqwest::Response) -> Result<Option<impl AsRef<[u8]> + use<>>, Failure> {
    response.chunk().await.map_err(|error| failure("failed to read response body", &error))
}

async fn read_body(mut response: reqwest::Response) -> Result<String, Failure> {
    let mut body = Vec::new();
    while let Some(chunk) = next_chunk(&mut response).await? {
        body.extend_from_slice(chunk.as_ref());
        if body.len() > BODY_BYTES_MAX {
            return Err(Failure::text("http: failed to read response body: longer than 1 GiB".to_owned()));
        }
    }
    Ok(String::from_utf8(body).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}

fn not_saved(path: &Path, error: &std::io::Error) -> Failure {
    Failure::text(format!("http_download: {}: {error}", path.display()))
}

async fn save_body(mut response: reqwest::Response, path: &Path) -> Result<usize, Failure> {
    let failed = |error: std::io::Error| not_saved(path, &error);
    let mut file = tokio::fs::File::create(path).await.map_err(failed)?;
    let mut written = 0;
    while let Some(chunk) = next_chunk(&mut response).await? {
        file.write_all(chunk.as_ref()).await.map_err(failed)?;
        written += chunk.as_ref().len();
    }
    file.flush().await.map_err(failed)?;
    Ok(written)
}

#[cfg(test)]
mod tests {
    use crate::testing::Bench;
    use madrigal_vm::Value;
    use std::io::{Read, Write};
    use std::net::TcpListener;

    /// Serves these answers, one a connection, on loopback; gives the URL and later the requests.
    fn serve(answers: Vec<&'static str>) -> (String, std::thread::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback exists");
        let url = format!("http://{}/path", listener.local_addr().expect("it is bound"));
        let served = std::thread::spawn(move || {
            let serve = |answer: &'static str| {
                let (mut socket, _) = listener.accept().expect("the client connects");
                let mut request = Vec::new();
                let mut buffer = [0; 4096];
                while !request.windows(4).any(|it| it == b"\r\n\r\n") {
                    let len = socket.read(&mut buffer).expect("the client writes");
                    request.extend_from_slice(&buffer[..len]);
                }
                socket.write_all(answer.as_bytes()).expect("the client reads");
                String::from_utf8_lossy(&request).into_owned()
            };
            answers.into_iter().map(serve).collect()
        });
        (url, served)
    }

    const OK: &str = "HTTP/1.1 200 OK\r\nX-Kind: a\r\nX-Kind: b\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi";
    const BUSY: &str = "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

    #[test]
    fn answers_become_dicts_and_options_reach_the_wire() {
        let (url, served) = serve(vec![OK]);
        let query = Value::dict([("q", "a b".into()), ("skipped", Value::Nil)]);
        let auth = Value::dict([("bearer", "t".into())]);
        let options = Value::dict([("query", query), ("auth", auth)]);
        let answer = Bench::new().call("http_get", vec![url.into(), options]).expect("it answers");
        let expected =
            "{body: hi, headers: {connection: close, content-length: 2, x-kind: a, b}, ok: true, status: 200}";
        assert_eq!(answer.to_string(), expected);
        let request = &served.join().expect("the server ends")[0];
        assert!(request.starts_with("GET /path?q=a+b HTTP/1.1\r\n"), "{request}");
        assert!(request.contains("authorization: Bearer t\r\n"), "{request}");
    }

    #[test]
    fn listed_statuses_are_tried_again_for_safe_methods() {
        let retry = || Value::dict([("retry", Value::dict([("max", 1i64.into()), ("backoff_ms", 0i64.into())]))]);
        let (url, served) = serve(vec![BUSY, OK]);
        let answer = Bench::new().call("http_get", vec![url.into(), retry()]).expect("it answers");
        assert!(answer.to_string().contains("status: 200"));
        assert_eq!(served.join().expect("the server ends").len(), 2);
        let (url, served) = serve(vec![BUSY]);
        let answer = Bench::new().call("http_post", vec![url.into(), "x".into(), retry()]).expect("it answers");
        assert!(answer.to_string().contains("status: 503"));
        served.join().expect("the server ends");
    }

    #[test]
    fn transport_failures_throw_texts() {
        let closed = TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("loopback exists");
        let thrown = |args: Vec<Value>| Bench::new().call("http_get", args).expect_err("it fails").caught().to_string();
        let refused = thrown(vec![format!("http://{closed}/").into()]);
        assert!(refused.starts_with("http: request failed: ") && refused.contains("refused"), "{refused}");
        assert_eq!(thrown(vec![]), "http_get: URL is required");
        assert_eq!(thrown(vec!["ftp://x".into()]), "http: URL must start with http:// or https://, got 'ftp://x'");
    }
}
