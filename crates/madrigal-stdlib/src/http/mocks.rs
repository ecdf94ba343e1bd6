//! Mocks of HTTP: what answers instead of a server, and a record of the attempts.

use super::redaction::{is_secret_header, redacted_url, shows_secrets};
use super::request::Request;
use crate::host::run;
use madrigal_vm::{Args, Cx, Dict, Fault, Str, Value};
use parking_lot::Mutex;

madrigal_vm::builtins! {
    /// Answers requests of a method whose URL matches a pattern: a dict `{status, body, headers}` or `{responses}`.
    "http_mock" (method: string, url_pattern: string, response: dict) -> nil = http_mock;
    /// The mocked attempts in order: dicts `{method, url, headers, body}`, secrets redacted.
    "http_mock_calls" (options: dict) -> list = http_mock_calls;
    /// Drops HTTP mocks, their calls and open HTTP streams.
    "http_mock_clear" () -> nil = http_mock_clear;
}

/// The mocks of a run.
#[derive(Default)]
pub(crate) struct Mocks(Mutex<State>);

#[derive(Default)]
struct State {
    mocks: Vec<Mock>,
    calls: Vec<Call>,
}

struct Mock {
    method: String,
    pattern: String,
    responses: Vec<Response>,
    /// How many were used.
    used: usize,
}

/// A mocked answer.
#[derive(Clone, Debug)]
pub(crate) struct Response {
    pub(crate) status: i64,
    pub(crate) headers: Dict,
    pub(crate) body: Str,
}

struct Call {
    method: String,
    url: String,
    headers: Vec<(String, String)>,
    body: Option<String>,
}

impl Response {
    fn of(value: &Value) -> Response {
        let dict = match value {
            Value::Dict(it) => it.clone(),
            _ => Dict::new(),
        };
        let part = |key: &str| dict.get(key).filter(|it| !it.is_nil());
        let headers = match part("headers") {
            Some(Value::Dict(it)) => {
                it.iter().map(|(key, value)| (key.clone(), Value::String(value.display()))).collect()
            }
            _ => Dict::new(),
        };
        let status = part("status").and_then(Value::as_int).unwrap_or(200);
        Response { status, headers, body: part("body").map_or_else(|| Str::from(""), Value::display) }
    }

    /// A header by its name, whatever its case.
    pub(super) fn header(&self, name: &str) -> Option<Str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.display())
    }
}

/// Whether a text matches a pattern whose `*` stand for any run of characters.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(first) else { return false };
    let mut pieces: Vec<&str> = rest.split('*').collect();
    let last = pieces.pop().unwrap_or_default();
    for piece in pieces {
        let Some(at) = text.find(piece) else { return false };
        text = &text[at + piece.len()..];
    }
    text.len() >= last.len() && text.ends_with(last)
}

impl Mocks {
    /// The answer to an attempt, which is noted; `None` when no mock matches.
    pub(super) fn answer(&self, request: &Request) -> Option<Response> {
        let mut state = self.0.lock();
        let found = state.mocks.iter_mut().find(|mock| {
            (mock.method == "*" || mock.method == request.method_name()) && matches(&mock.pattern, &request.url_text)
        })?;
        let at = found.used.min(found.responses.len() - 1);
        found.used += 1;
        let response = found.responses[at].clone();
        state.calls.push(Call {
            method: request.method_name().to_owned(),
            url: request.url_text.clone(),
            headers: request.recorded_headers(),
            body: request.recorded_body(),
        });
        Some(response)
    }
}

fn http_mock(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), Fault> {
    let (method, pattern) = (args.string(0).to_uppercase(), args.string(1).to_string());
    let several = args.dict(2).and_then(|it| it.get("responses")).and_then(|it| match it {
        Value::List(it) if !it.is_empty() => Some(it.iter().map(Response::of).collect()),
        _ => None,
    });
    let responses = several.unwrap_or_else(|| vec![Response::of(args.get(2))]);
    let mut state = run(cx).http.mocks.0.lock();
    let mock = Mock { method, pattern, responses, used: 0 };
    match state.mocks.iter_mut().find(|it| it.method == mock.method && it.pattern == mock.pattern) {
        Some(known) => *known = mock,
        None => state.mocks.push(mock),
    }
    Ok(())
}

fn http_mock_calls(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let open = shows_secrets(args.dict(0));
    let state = run(cx).http.mocks.0.lock();
    let header = |(name, value): &(String, String)| {
        let value = if !open && is_secret_header(name) { "[redacted]" } else { value.as_str() };
        (Str::from(name), Value::from(value))
    };
    let calls = state.calls.iter().map(|call| {
        Value::dict([
            ("method", Value::from(call.method.as_str())),
            ("url", Value::from(if open { call.url.clone() } else { redacted_url(&call.url) })),
            ("headers", Value::Dict(call.headers.iter().map(header).collect())),
            ("body", call.body.as_deref().map_or(Value::Nil, Value::from)),
        ])
    });
    Ok(Value::list(calls.collect()))
}

fn http_mock_clear(cx: &mut Cx<'_>, _: Args<'_>) -> Result<(), Fault> {
    let run = run(cx);
    *run.http.mocks.0.lock() = State::default();
    run.http.streams.clear();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_are_anchored_at_both_ends() {
        let check =
            |pattern: &str, text: &str, expected: bool| assert_eq!(matches(pattern, text), expected, "{pattern}");
        check("*", "anything", true);
        check("a", "a", true);
        check("a", "ab", false);
        check("a*", "abc", true);
        check("*c", "abc", true);
        check("a*b*c", "axbxc", true);
        check("a*b*c", "axc", false);
        check("ab*bc", "abc", false);
        check("a**c", "ac", true);
    }
}
