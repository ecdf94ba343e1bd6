//! What a call asks for: URL, headers, body and the options of the HTTP builtins.

use super::clients::ClientKey;
use super::multipart::{self, Part};
use crate::host::Run;
use madrigal_vm::{Dict, Fault, Str, Value};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Url};
use std::time::{Duration, SystemTime};

/// A request, ready to be sent any number of times.
pub(crate) struct Request {
    /// The builtin that asks.
    pub(super) name: &'static str,
    method: Method,
    pub(super) url: Url,
    /// The URL as written, with the query of the options.
    pub(super) url_text: String,
    headers: HeaderMap,
    basic: Option<(String, String)>,
    body: Body,
    pub(super) client: ClientKey,
    /// Of one attempt.
    pub(super) timeout: Duration,
    /// How many attempts may follow the first.
    pub(super) retries: u32,
    pub(super) backoff: Duration,
    pub(super) retry_on: Vec<u16>,
    /// Whether the method is one that may be repeated.
    pub(super) may_retry: bool,
    respect_retry_after: bool,
}

/// What is sent with a request.
enum Body {
    None,
    Text(Str),
    Parts(Vec<Part>),
    /// Parts that were put together, and their content type.
    Encoded(Vec<u8>, String),
}

impl Request {
    pub(super) fn new(
        run: &Run,
        name: &'static str,
        method: &str,
        url: &str,
        options: &Dict,
    ) -> Result<Request, Fault> {
        let method = method.to_uppercase();
        let parsed = Method::from_bytes(method.as_bytes());
        let parsed = parsed.map_err(|error| Fault::thrown(format!("http: invalid method '{method}': {error}")))?;
        let url_text = url_with_query(url, options)?;
        let url = Url::parse(&url_text)
            .map_err(|error| Fault::thrown(format!("http: request failed: {error}: {url_text}")))?;
        let mut headers = headers(options)?;
        let basic = authorise(options, &mut headers)?;
        let retry = some(options, "retry").and_then(as_dict);
        let retry_option = |key: &str, old: &str| retry.and_then(|it| some(it, key)).or_else(|| some(options, old));
        let millis = |value: Option<&Value>| value.and_then(Value::as_millis).and_then(|it| u64::try_from(it).ok());
        let limits = ["total_timeout_ms", "timeout_ms", "timeout"].into_iter();
        Ok(Request {
            name,
            client: ClientKey::of(surface(name), &url, options)?,
            body: body(run, name, options)?,
            timeout: Duration::from_millis(limits.filter_map(|it| millis(some(options, it))).next().unwrap_or(30_000)),
            retries: retry_option("max", "retries").and_then(Value::as_int).map_or(0, |it| it.clamp(0, 1000) as u32),
            backoff: Duration::from_millis(millis(retry_option("backoff_ms", "backoff")).unwrap_or(1000)),
            retry_on: retry_on(options),
            may_retry: may_retry(options, &method),
            respect_retry_after: some(options, "respect_retry_after").is_none_or(Value::is_truthy),
            method: parsed,
            url,
            url_text,
            headers,
            basic,
        })
    }

    /// The name of this kind of traffic in reports of the egress policy.
    pub(super) fn surface(&self) -> &'static str {
        surface(self.name)
    }

    pub(super) fn method_name(&self) -> &str {
        self.method.as_str()
    }

    /// Puts the parts of the body together; reads files.
    pub(super) async fn prepare(&mut self, run: &Run) -> Result<(), Fault> {
        if matches!(self.body, Body::Parts(_))
            && let Body::Parts(parts) = std::mem::replace(&mut self.body, Body::None)
        {
            let work = run.external(async move {
                let joined = tokio::task::spawn_blocking(move || multipart::encode(&parts)).await;
                joined.unwrap_or_else(|failure| Err(std::io::Error::other(failure)))
            });
            let failed = |error| Fault::thrown(format!("http: request failed: {error}"));
            let (body, content_type) = work.await.map_err(failed)?;
            self.body = Body::Encoded(body, content_type);
        }
        Ok(())
    }

    /// All headers as they are sent, names in lower case.
    fn all_headers(&self) -> HeaderMap {
        let mut headers = self.headers.clone();
        if let Some((user, password)) = &self.basic {
            let mut value = basic_credentials(user, password);
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        if let Body::Encoded(_, content_type) = &self.body
            && let Ok(value) = HeaderValue::from_str(content_type)
        {
            headers.insert(CONTENT_TYPE, value);
        }
        headers
    }

    /// The headers for the record of mocked calls.
    pub(super) fn recorded_headers(&self) -> Vec<(String, String)> {
        let headers = self.all_headers();
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect()
    }

    /// The body for the record of mocked calls.
    pub(super) fn recorded_body(&self) -> Option<String> {
        match &self.body {
            Body::None | Body::Parts(_) => None,
            Body::Text(text) => Some(text.to_string()),
            Body::Encoded(bytes, _) => Some(String::from_utf8_lossy(bytes).into_owned()),
        }
    }

    /// The request in the form the client sends.
    pub(super) fn build(&self) -> reqwest::Request {
        let mut request = reqwest::Request::new(self.method.clone(), self.url.clone());
        *request.headers_mut() = self.all_headers();
        *request.body_mut() = match &self.body {
            Body::None | Body::Parts(_) => None,
            Body::Text(text) => Some(text.as_str().to_owned().into()),
            Body::Encoded(bytes, _) => Some(bytes.clone().into()),
        };
        request
    }

    /// How long the server asks us to wait before another attempt, given the header `retry-after`.
    pub(super) fn wanted_pause(&self, status: i64, header: Option<&str>, now_ms: i64) -> Option<Duration> {
        let value = header.filter(|_| self.respect_retry_after && matches!(status, 429 | 503))?.trim();
        if let Ok(seconds) = value.parse() {
            return Some(Duration::from_secs(seconds));
        }
        let until = httpdate::parse_http_date(value).ok()?.duration_since(SystemTime::UNIX_EPOCH).ok()?;
        Some(until.saturating_sub(Duration::from_millis(u64::try_from(now_ms).unwrap_or(0))))
    }
}

/// The kind of traffic that a builtin causes, in reports of the egress policy.
fn surface(name: &'static str) -> &'static str {
    match name {
        "http_download" | "http_stream_open" | "sse_connect" => name,
        _ => "http_request",
    }
}

/// The option under `key`, unless it is nil.
pub(super) fn some<'a>(options: &'a Dict, key: &str) -> Option<&'a Value> {
    options.get(key).filter(|it| !it.is_nil())
}

pub(super) fn as_dict(value: &Value) -> Option<&Dict> {
    match value {
        Value::Dict(it) => Some(it),
        _ => None,
    }
}

fn as_list(value: &Value) -> Option<&[Value]> {
    match value {
        Value::List(it) => Some(it),
        _ => None,
    }
}

/// The URL with the query of the options; all else stays as written.
fn url_with_query(text: &str, options: &Dict) -> Result<String, Fault> {
    if !text.starts_with("http://") && !text.starts_with("https://") {
        return Err(Fault::thrown(format!("http: URL must start with http:// or https://, got '{text}'")));
    }
    let query = some(options, "query").and_then(as_dict);
    let mut pairs = url::form_urlencoded::Serializer::new(String::new());
    for (key, value) in query.iter().flat_map(|it| it.iter()).filter(|(_, value)| !value.is_nil()) {
        pairs.append_pair(key, &value.display());
    }
    let pairs = pairs.finish();
    if pairs.is_empty() {
        return Ok(text.to_owned());
    }
    let (before, fragment) = text.find('#').map_or((text, ""), |at| text.split_at(at));
    let joint = match before.split_once('?') {
        None => "?",
        Some((_, query)) if query.is_empty() || query.ends_with('&') => "",
        Some(_) => "&",
    };
    Ok(format!("{before}{joint}{pairs}{fragment}"))
}

fn header(key: &str, value: &str) -> Result<(HeaderName, HeaderValue), Fault> {
    let name = HeaderName::from_bytes(key.as_bytes());
    let name = name.map_err(|error| Fault::thrown(format!("http: invalid header name '{key}': {error}")))?;
    let value = HeaderValue::from_bytes(value.as_bytes());
    let value = value.map_err(|error| Fault::thrown(format!("http: invalid header value for '{key}': {error}")))?;
    Ok((name, value))
}

fn headers(options: &Dict) -> Result<HeaderMap, Fault> {
    let mut headers = HeaderMap::new();
    let given = some(options, "headers").and_then(as_dict);
    for (key, value) in given.iter().flat_map(|it| it.iter()) {
        let (name, value) = header(key, &value.display())?;
        headers.insert(name, value);
    }
    Ok(headers)
}

/// Adds the `auth` option to the headers; user and password of basic authorisation are given back.
fn authorise(options: &Dict, headers: &mut HeaderMap) -> Result<Option<(String, String)>, Fault> {
    let text = match some(options, "auth") {
        Some(Value::Dict(auth)) => match (some(auth, "bearer"), some(auth, "basic").and_then(as_dict)) {
            (Some(token), _) => format!("Bearer {token}"),
            (None, Some(basic)) => {
                let part = |key: &str| some(basic, key).map_or(String::new(), |it| it.to_string());
                return Ok(Some((part("user"), part("password"))));
            }
            (None, None) => return Ok(None),
        },
        Some(other) => other.to_string(),
        None => return Ok(None),
    };
    let (name, mut value) = header("authorization", &text)?;
    value.set_sensitive(true);
    headers.insert(name, value);
    Ok(None)
}

/// `Basic` and the base64 of `user:password`, which is always a valid header.
fn basic_credentials(user: &str, password: &str) -> HeaderValue {
    let encoded = data_encoding::BASE64.encode(format!("{user}:{password}").as_bytes());
    HeaderValue::from_str(&format!("Basic {encoded}")).expect("base64 is plain ASCII")
}

fn body(run: &Run, name: &str, options: &Dict) -> Result<Body, Fault> {
    match (some(options, "multipart"), some(options, "body")) {
        (None, None) => Ok(Body::None),
        (None, Some(body)) => Ok(Body::Text(body.display())),
        (Some(_), Some(_)) => Err(Fault::thrown("http: body and multipart options are mutually exclusive")),
        (Some(parts), None) => Ok(Body::Parts(multipart::parts(run, parts, name)?)),
    }
}

fn retry_on(options: &Dict) -> Vec<u16> {
    match some(options, "retry_on").and_then(as_list) {
        Some(codes) => codes.iter().filter_map(Value::as_int).filter_map(|it| u16::try_from(it).ok()).collect(),
        None => vec![408, 429, 500, 502, 503, 504],
    }
}

fn may_retry(options: &Dict, method: &str) -> bool {
    match some(options, "retry_methods").and_then(as_list) {
        Some(methods) => methods.iter().any(|it| it.display().eq_ignore_ascii_case(method)),
        None => ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"].contains(&method),
    }
}
