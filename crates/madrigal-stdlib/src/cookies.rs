//! Cookies and signed sessions. Signatures are compared as text and never decoded.

use crate::crypto::signature;
use crate::host::run;
use crate::json;
use data_encoding::BASE64URL_NOPAD;
use madrigal_vm::{Args, Cx, Dict, Fault, Str, Value};
use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};
use subtle::ConstantTimeEq;

madrigal_vm::builtins! {
    /// `{cookies, pairs, duplicates, invalid}` of `Cookie` headers.
    "cookie_parse" (headers: any) -> dict = cookie_parse;
    /// A `Set-Cookie` header.
    "cookie_serialize" (name: string, value: string, options: dict) -> string = cookie_serialize;
    /// A `Set-Cookie` header that removes a cookie.
    "cookie_delete" (name: string, options: dict) -> string = cookie_delete;
    /// `value` with its signature.
    "cookie_sign" (value: string, secret: string) -> string = cookie_sign;
    /// `{ok, value, error}` of a signed value.
    "cookie_verify" (signed: string, secret: string) -> dict = cookie_verify;
    /// A token that holds `payload` and its signature.
    "session_sign" (payload: any, secret: string) -> string = session_sign;
    /// `{ok, payload, error}` of a token.
    "session_verify" (token: string, secret: string) -> dict = session_verify;
    /// A `Set-Cookie` header that holds a session.
    "session_cookie" (name: string, payload: any, secret: string, options: dict) -> string = session_cookie;
    /// `{ok, payload, error}` of the session in `Cookie` headers.
    "session_from_cookies" (headers: any, name: string, secret: string) -> dict = session_from_cookies;
    /// `{cookie_header, cookies}` after a client took `Set-Cookie` headers in.
    "cookie_round_trip" (request: any, set_cookie: any) -> dict = cookie_round_trip;
}

fn failed(what: impl std::fmt::Display) -> Fault {
    Fault::runtime(format!("cookie: {what}"))
}

/// The string in an argument.
fn strict<'a>(args: &'a Args<'_>, index: usize, what: &str) -> Result<&'a Str, Fault> {
    match args.get(index) {
        Value::String(it) => Ok(it),
        other => Err(failed(format_args!("{what} must be a string, got {}", other.type_name()))),
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|it| it.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&it))
}

fn is_value(value: &str) -> bool {
    value.chars().all(|it| !it.is_control() && !matches!(it, ' ' | ';' | ',' | '\\' | '"'))
}

/// The lines of the header `name` in a string, a list of strings or a dict of headers.
fn header_lines(headers: &Value, name: &str) -> Vec<Str> {
    let mut lines = Vec::new();
    let mut waiting = vec![(headers, false)];
    while let Some((found, inside)) = waiting.pop() {
        match found {
            Value::Nil => {}
            Value::List(items) => waiting.extend(items.iter().rev().map(|it| (it, true))),
            Value::Dict(fields) if !inside => {
                let named = fields.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
                waiting.extend(named.map(|(_, value)| (value, true)));
            }
            other => lines.push(other.display()),
        }
    }
    lines
}

/// The cookies of `Cookie` headers.
#[derive(Default)]
struct Cookies {
    pairs: Vec<(Str, Str)>,
    /// Segments that are none, with the reason.
    invalid: Vec<(Str, &'static str)>,
}

impl Cookies {
    fn of(headers: &Value) -> Cookies {
        let mut cookies = Cookies::default();
        for line in header_lines(headers, "cookie") {
            for segment in line.split(';') {
                let segment = trimmed(segment);
                if !segment.is_empty() {
                    match pair(segment) {
                        Ok(pair) => cookies.pairs.push(pair),
                        Err(reason) => cookies.invalid.push((Str::from(segment), reason)),
                    }
                }
            }
        }
        cookies
    }

    /// The first value of each name.
    fn first(&self) -> BTreeMap<Str, Str> {
        let mut first = BTreeMap::new();
        for (name, value) in &self.pairs {
            first.entry(name.clone()).or_insert_with(|| value.clone());
        }
        first
    }
}

fn trimmed(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

fn pair(segment: &str) -> Result<(Str, Str), &'static str> {
    let (name, value) = segment.split_once('=').ok_or("missing '='")?;
    let (name, value) = (trimmed(name), trimmed(value));
    let unquoted = value.strip_prefix('"').and_then(|it| it.strip_suffix('"')).unwrap_or(value);
    if !is_name(name) {
        Err("invalid name")
    } else if !is_value(unquoted) {
        Err("invalid value")
    } else {
        Ok((Str::from(name), Str::from(unquoted)))
    }
}

fn texts(entries: BTreeMap<Str, Str>) -> Value {
    Value::dict(entries.into_iter().map(|(name, value)| (name, Value::String(value))))
}

fn cookie_parse(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let cookies = Cookies::of(args.get(0));
    let mut values: BTreeMap<Str, Vec<Value>> = BTreeMap::new();
    for (name, value) in &cookies.pairs {
        values.entry(name.clone()).or_default().push(Value::String(value.clone()));
    }
    let duplicates = values.into_iter().filter(|(_, all)| all.len() > 1).map(|(name, all)| (name, Value::list(all)));
    let two = |first: (&'static str, &Str), second: (&'static str, Value)| {
        Value::dict([(first.0, Value::String(first.1.clone())), second])
    };
    let pairs = cookies.pairs.iter().map(|(name, value)| two(("name", name), ("value", Value::String(value.clone()))));
    let invalid = cookies.invalid.iter().map(|(segment, why)| two(("segment", segment), ("reason", Value::from(*why))));
    Ok(Value::dict([
        ("cookies", texts(cookies.first())),
        ("duplicates", Value::dict(duplicates)),
        ("invalid", Value::list(invalid.collect())),
        ("pairs", Value::list(pairs.collect())),
    ]))
}

/// Attributes: names of options, name in the header.
const ATTRIBUTES: [(&str, &str); 7] = [
    ("path", "Path"),
    ("domain", "Domain"),
    ("max_age", "Max-Age"),
    ("expires", "Expires"),
    ("http_only", "HttpOnly"),
    ("secure", "Secure"),
    ("same_site", "SameSite"),
];

/// The options with their names as in `ATTRIBUTES`, over `defaults`.
fn attributes(args: &Args<'_>, index: usize, defaults: &[(&str, Value)]) -> Result<Dict, Fault> {
    let mut found: Dict = defaults.iter().map(|(key, value)| (Str::from(*key), value.clone())).collect();
    let options = match args.get(index) {
        Value::Nil => return Ok(found),
        Value::Dict(options) => options,
        other => return Err(failed(format_args!("options must be a dict, got {}", other.type_name()))),
    };
    for (name, header) in ATTRIBUTES {
        let spellings = [name, header, &header.replace('-', "")];
        if let Some(value) = spellings.iter().find_map(|it| options.get(it)) {
            found.insert(Str::from(name), value.clone());
        }
    }
    Ok(found)
}

fn same_site(value: &Value) -> Result<&'static str, Fault> {
    let name = value.display();
    let known = ["Lax", "Strict", "None"].into_iter().find(|it| it.eq_ignore_ascii_case(&name));
    known.ok_or_else(|| failed("same_site must be one of Lax, Strict, or None"))
}

/// The header of a cookie.
fn serialize(name: &str, value: &str, attributes: &Dict) -> Result<String, Fault> {
    if !is_name(name) {
        return Err(failed(format_args!("invalid characters in name '{name}'")));
    }
    if !is_value(value) {
        return Err(failed(format_args!("invalid characters in value of '{name}'")));
    }
    let mut out = format!("{name}={value}");
    for (option, header) in ATTRIBUTES {
        let Some(value) = attributes.get(option).filter(|it| !it.is_nil()) else { continue };
        match option {
            "http_only" | "secure" if value.is_truthy() => out += &format!("; {header}"),
            "http_only" | "secure" => {}
            "max_age" => {
                let Some(seconds) = value.as_int() else {
                    return Err(failed(format_args!("max_age must be an int, got {}", value.type_name())));
                };
                out += &format!("; {header}={seconds}");
            }
            "expires" => out += &format!("; {header}={}", http_date(value)?),
            "same_site" => {
                let mode = same_site(value)?;
                if mode == "None" && !attributes.get("secure").is_some_and(Value::is_truthy) {
                    return Err(failed("SameSite=None requires Secure"));
                }
                out += &format!("; {header}={mode}");
            }
            _ => out += &format!("; {header}={}", plain(option, value)?),
        }
    }
    Ok(out)
}

/// The text of an attribute, which must not end it.
fn plain(option: &str, value: &Value) -> Result<Str, Fault> {
    let text = value.display();
    if text.chars().any(|it| it.is_control() || it == ';') {
        return Err(failed(format_args!("invalid characters in {option}")));
    }
    Ok(text)
}

/// A date as headers have it: Unix seconds are converted, texts taken as they are.
fn http_date(value: &Value) -> Result<Str, Fault> {
    match value.as_int() {
        Some(seconds) => {
            let seconds = u64::try_from(seconds).ok().filter(|it| *it < 253_402_300_800);
            let seconds = seconds.ok_or_else(|| failed("expires is out of range"))?;
            Ok(Str::from(httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds))))
        }
        None => plain("expires", value),
    }
}

fn cookie_serialize(_: &mut Cx<'_>, args: Args<'_>) -> Result<String, Fault> {
    serialize(strict(&args, 0, "name")?, strict(&args, 1, "value")?, &attributes(&args, 2, &[])?)
}

fn cookie_delete(_: &mut Cx<'_>, args: Args<'_>) -> Result<String, Fault> {
    let defaults = [
        ("path", Value::from("/")),
        ("max_age", Value::Int(0)),
        ("expires", Value::from("Thu, 01 Jan 1970 00:00:00 GMT")),
        ("http_only", Value::Bool(true)),
        ("secure", Value::Bool(true)),
        ("same_site", Value::from("Lax")),
    ];
    serialize(strict(&args, 0, "name")?, "", &attributes(&args, 1, &defaults)?)
}

/// Whether `given` is the signature of `text`.
fn is_signature(given: &str, text: &str, secret: &str) -> bool {
    signature(secret, text).as_bytes().ct_eq(given.as_bytes()).into()
}

fn verdict(key: &'static str, outcome: Result<Value, &str>) -> Value {
    let (ok, value, error) = match outcome {
        Ok(value) => (true, value, Value::Nil),
        Err(error) => (false, Value::Nil, Value::from(error)),
    };
    Value::dict([("ok", Value::Bool(ok)), (key, value), ("error", error)])
}

fn cookie_sign(_: &mut Cx<'_>, args: Args<'_>) -> Result<String, Fault> {
    let (value, secret) = (strict(&args, 0, "value")?, strict(&args, 1, "secret")?);
    Ok(format!("{value}.{}", signature(secret, value)))
}

fn cookie_verify(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let (signed, secret) = (strict(&args, 0, "value")?, strict(&args, 1, "secret")?);
    Ok(verdict(
        "value",
        match signed.rsplit_once('.') {
            None => Err("malformed"),
            Some((value, given)) if is_signature(given, value, secret) => Ok(Value::from(value)),
            Some(_) => Err("invalid_signature"),
        },
    ))
}

fn token(payload: &Value, secret: &str) -> String {
    let payload = BASE64URL_NOPAD.encode(json::stringify(payload).as_bytes());
    format!("v1.{payload}.{}", signature(secret, &payload))
}

fn verified_token(token: &str, secret: &str) -> Result<Value, &'static str> {
    let parts: Vec<&str> = token.split('.').collect();
    let ["v1", payload, given] = parts[..] else { return Err("malformed") };
    if !is_signature(given, payload, secret) {
        return Err("invalid_signature");
    }
    let bytes = BASE64URL_NOPAD.decode(payload.as_bytes()).map_err(|_| "malformed_payload")?;
    let text = String::from_utf8(bytes).map_err(|_| "malformed_payload")?;
    json::parse(&text).map_err(|_| "malformed_payload")
}

fn session_sign(_: &mut Cx<'_>, args: Args<'_>) -> Result<String, Fault> {
    Ok(token(args.get(0), strict(&args, 1, "secret")?))
}

fn session_verify(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    Ok(verdict("payload", verified_token(strict(&args, 0, "token")?, strict(&args, 1, "secret")?)))
}

fn session_cookie(_: &mut Cx<'_>, args: Args<'_>) -> Result<String, Fault> {
    let defaults = [
        ("path", Value::from("/")),
        ("http_only", Value::Bool(true)),
        ("secure", Value::Bool(true)),
        ("same_site", Value::from("Lax")),
    ];
    let token = token(args.get(1), strict(&args, 2, "secret")?);
    serialize(strict(&args, 0, "name")?, &token, &attributes(&args, 3, &defaults)?)
}

fn session_from_cookies(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let (name, secret) = (strict(&args, 1, "name")?, strict(&args, 2, "secret")?);
    let token = Cookies::of(args.get(0)).first().remove(name.as_str());
    Ok(verdict("payload", token.ok_or("missing_cookie").and_then(|it| verified_token(&it, secret))))
}

fn cookie_round_trip(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let now = UNIX_EPOCH + Duration::from_millis(u64::try_from(run(cx).now_ms()).unwrap_or(0));
    let (request, set_cookie) = if args.has(1) { (args.get(0), args.get(1)) } else { (&Value::Nil, args.get(0)) };
    let mut cookies = Cookies::of(request).first();
    for line in header_lines(set_cookie, "set-cookie") {
        let mut segments = line.split(';').map(trimmed);
        let Ok((name, value)) = pair(segments.next().unwrap_or_default()) else { continue };
        let (mut max_age, mut expired) = (None, false);
        for attribute in segments {
            let (key, value) = attribute.split_once('=').unwrap_or((attribute, ""));
            if key.eq_ignore_ascii_case("max-age") {
                max_age = value.trim().parse::<i64>().ok();
            } else if key.eq_ignore_ascii_case("expires") {
                expired = httpdate::parse_http_date(value.trim()).is_ok_and(|it| it <= now);
            }
        }
        if max_age.map_or(expired, |it| it <= 0) {
            cookies.remove(&name);
        } else {
            cookies.insert(name, value);
        }
    }
    let header: Vec<String> = cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
    Ok(Value::dict([("cookie_header", Value::from(header.join("; "))), ("cookies", texts(cookies))]))
}
