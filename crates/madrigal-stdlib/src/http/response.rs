//! Responses of the server inside a program: dicts `{status, headers, ok, body_kind, body, raw_body}`.

use crate::json;
use madrigal_vm::{Args, Bytes, Cx, Dict, Fault, Str, Value};

madrigal_vm::builtins! {
    /// A response with this status, body and headers.
    "http_response" (status: int = 200, body: any, headers: dict) -> dict = http_response;
    /// A response whose body is the display form of a value.
    "http_response_text" (value: any, options: dict) -> dict = http_response_text;
    /// A response whose body is the JSON text of a value.
    "http_response_json" (value: any, options: dict) -> dict = http_response_json;
    /// A response whose body is bytes.
    "http_response_bytes" (bytes: bytes, options: dict) -> dict = http_response_bytes;
    /// A header of a request, a response or a dict of headers, whatever its case.
    "http_header" (headers_or_message: dict, name: string) -> string = http_header;
}

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json; charset=utf-8";

/// A body with its kind and default content type.
struct Body {
    kind: &'static str,
    bytes: Vec<u8>,
    content_type: Option<&'static str>,
}

impl Body {
    fn text(value: &Value) -> Body {
        Body { kind: "text", bytes: value.display().as_bytes().to_vec(), content_type: Some(TEXT) }
    }

    fn json(value: &Value) -> Body {
        Body { kind: "json", bytes: json::stringify(value).into_bytes(), content_type: Some(JSON) }
    }

    fn raw(bytes: &[u8]) -> Body {
        Body { kind: "bytes", bytes: bytes.to_vec(), content_type: None }
    }

    fn of(value: &Value) -> Body {
        match value {
            Value::Nil => Body { kind: "empty", bytes: Vec::new(), content_type: None },
            Value::Bytes(bytes) => Body::raw(bytes),
            Value::Dict(_) | Value::List(_) => Body::json(value),
            other => Body::text(other),
        }
    }
}

fn build(status: i64, headers: Option<&Dict>, body: Body) -> Value {
    let status = if (100..=999).contains(&status) { status } else { 500 };
    let given = headers.into_iter().flat_map(|it| it.iter());
    let mut headers: Dict =
        given.map(|(key, value)| (Str::from(key.to_lowercase()), Value::String(value.display()))).collect();
    if let Some(content_type) = body.content_type.filter(|_| !headers.has("content-type")) {
        headers.insert("content-type".into(), Value::from(content_type));
    }
    Value::dict([
        ("status", Value::Int(status)),
        ("headers", Value::Dict(headers)),
        ("ok", Value::Bool((200..300).contains(&status))),
        ("body_kind", Value::from(body.kind)),
        ("body", Value::from(String::from_utf8_lossy(&body.bytes).into_owned())),
        ("raw_body", Value::Bytes(Bytes::from(body.bytes))),
    ])
}

/// A plain text response.
pub(super) fn text(status: i64, text: &str) -> Value {
    build(status, None, Body::text(&Value::from(text)))
}

/// A plain text response with headers.
pub(super) fn text_with<const N: usize>(status: i64, text: &str, headers: [(&str, String); N]) -> Value {
    let headers: Dict = headers.into_iter().map(|(key, value)| (Str::from(key), Value::from(value))).collect();
    build(status, Some(&headers), Body::text(&Value::from(text)))
}

/// Whether what a hook or handler gave is a response.
pub(super) fn is_response(value: &Value) -> bool {
    matches!(value, Value::Dict(it) if it.has("status"))
}

/// The response that a handler's result means.
pub(super) fn respond(result: &Value) -> Value {
    let response = match result {
        Value::Nil => return build(204, None, Body::of(&Value::Nil)),
        Value::Dict(it) if is_response(result) => it,
        other => return build(200, None, Body::text(other)),
    };
    let some = |key: &str| response.get(key).filter(|it| !it.is_nil());
    let kind = some("body_kind").map(Value::display);
    let mut body = match (some("raw_body"), some("body")) {
        (Some(raw @ Value::Bytes(_)), _) => Body::of(raw),
        (_, body) => Body::of(body.unwrap_or(&Value::Nil)),
    };
    // A finished response goes through as it is.
    match kind.as_deref() {
        Some("text") => body = Body { kind: "text", content_type: Some(TEXT), ..body },
        Some("json") => body = Body { kind: "json", content_type: Some(JSON), ..body },
        Some("empty") => body.kind = "empty",
        _ => {}
    }
    build(some("status").and_then(Value::as_int).unwrap_or(500), dict_of(some("headers")), body)
}

fn dict_of(value: Option<&Value>) -> Option<&Dict> {
    match value {
        Some(Value::Dict(it)) => Some(it),
        _ => None,
    }
}

fn with_options(args: &Args<'_>, body: Body) -> Value {
    let option = |key: &str| args.dict(1).and_then(|it| it.get(key));
    build(option("status").and_then(Value::as_int).unwrap_or(200), dict_of(option("headers")), body)
}

fn http_response(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    Ok(build(args.int(0).unwrap_or(200), args.dict(2), Body::of(args.get(1))))
}

fn http_response_text(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    Ok(with_options(&args, Body::text(&Value::String(args.string(0)))))
}

fn http_response_json(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    Ok(with_options(&args, Body::json(args.get(0))))
}

fn http_response_bytes(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let body = match args.get(0) {
        Value::Bytes(bytes) => Body::raw(bytes),
        other => Body::raw(other.display().as_bytes()),
    };
    Ok(with_options(&args, body))
}

fn http_header(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let Some(message) = args.dict(0) else { return Ok(Value::Nil) };
    let headers = dict_of(message.get("headers")).unwrap_or(message);
    let name = args.string(1);
    let found = headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(&name));
    Ok(found.filter(|(_, value)| !value.is_nil()).map_or(Value::Nil, |(_, value)| Value::String(value.display())))
}
