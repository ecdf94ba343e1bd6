//! What a call asks for: URL, headers, body and the options of the HTTP builtins.

use super::clients::ClientKey;
use madrigal_vm::{Dict, Fault, Str, Value};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Method, Response, Url};
use std::time::Duration;

/// A request, ready to be sent any number of times.
pub(super) struct Request {
    method: Method,
    url: Url,
    headers: HeaderMap,
    basic: Option<(String, String)>,
    body: Option<Str>,
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

impl Request {
    pub(super) fn new(method: &str, url: &str, options: &Dict) -> Result<Request, Fault> {
        let method = method.to_uppercase();
        let parsed = Method::from_bytes(method.as_bytes());
        let parsed = parsed.map_err(|error| Fault::thrown(format!("http: invalid method '{method}': {error}")))?;
        let url = url_with_query(url, options)?;
        let mut headers = headers(options)?;
        let basic = authorise(options, &mut headers)?;
        let retry = some(options, "retry").and_then(as_dict);
        let retry_option = |key: &str, old: &str| retry.and_then(|it| some(it, key)).or_else(|| some(options, old));
        let millis = |value: Option<&Value>| value.and_then(Value::as_millis).and_then(|it| u64::try_from(it).ok());
        let limits = ["total_timeout_ms", "timeout_ms", "timeout"].into_iter();
        Ok(Request {
            client: ClientKey::of(&url, options)?,
            body: body(options)?,
            timeout: Duration::from_millis(limits.filter_map(|it| millis(some(options, it))).next().unwrap_or(30_000)),
            retries: retry_option("max", "retries").and_then(Value::as_int).map_or(0, |it| it.clamp(0, 1000) as u32),
            backoff: Duration::from_millis(millis(retry_option("backoff_ms", "backoff")).unwrap_or(1000)),
            retry_on: retry_on(options),
            may_retry: may_retry(options, &method),
            respect_retry_after: some(options, "respect_retry_after").is_none_or(Value::is_truthy),
            method: parsed,
            url,
            headers,
            basic,
        })
    }

    /// The request in the form the client sends.
    pub(super) fn build(&self) -> reqwest::Request {
        let mut request = reqwest::Request::new(self.method.clone(), self.url.clone());
        *request.headers_mut() = self.headers.clone();
        if let Some((user, password)) = &self.basic {
            let mut value = basic_credentials(user, password);
            value.set_sensitive(true);
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        *request.body_mut() = self.body.as_ref().map(|it| it.as_str().to_owned().into());
        request
    }

    /// How long the server asks us to wait before another attempt.
    pub(super) fn wanted_pause(&self, response: &Response) -> Option<Duration> {
        let asks = self.respect_retry_after && matches!(response.status().as_u16(), 429 | 503);
        let value = response.headers().get(RETRY_AFTER).filter(|_| asks)?;
        value.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
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

fn url_with_query(text: &str, options: &Dict) -> Result<Url, Fault> {
    if !text.starts_with("http://") && !text.starts_with("https://") {
        return Err(Fault::thrown(format!("http: URL must start with http:// or https://, got '{text}'")));
    }
    let parsed = Url::parse(text);
    let mut url = parsed.map_err(|error| Fault::thrown(format!("http: request failed: {error}: {text}")))?;
    let query = some(options, "query").and_then(as_dict);
    let entries: Vec<_> = query.iter().flat_map(|it| it.iter()).filter(|(_, value)| !value.is_nil()).collect();
    if !entries.is_empty() {
        let mut pairs = url.query_pairs_mut();
        for (key, value) in entries {
            pairs.append_pair(key, &value.display());
        }
    }
    Ok(url)
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
    let text = format!("Basic {}", base64(format!("{user}:{password}").as_bytes()));
    HeaderValue::from_str(&text).expect("base64 is plain ASCII")
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for digit in 0..4 {
            let index = (bits >> (18 - 6 * digit)) & 63;
            text.push(if digit <= group.len() { char::from(ALPHABET[index as usize]) } else { '=' });
        }
    }
    text
}

fn body(options: &Dict) -> Result<Option<Str>, Fault> {
    let body = some(options, "body").map(Value::display);
    match (some(options, "multipart"), body) {
        (None, body) => Ok(body),
        (Some(_), Some(_)) => Err(Fault::thrown("http: body and multipart options are mutually exclusive")),
        (Some(_), None) => Err(Fault::thrown("http: the multipart option is not supported")),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_pads() {
        let check = |bytes: &str, expected: &str| assert_eq!(base64(bytes.as_bytes()), expected);
        check("", "");
        check("a", "YQ==");
        check("user:pass", "dXNlcjpwYXNz");
        check("ab", "YWI=");
    }
}
