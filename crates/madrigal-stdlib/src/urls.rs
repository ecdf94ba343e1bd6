//! URLs and queries.

use crate::encodings::form_decode;
use madrigal_vm::{Args, Cx, Dict, Fault, Str, Value};
use url::Url;
use url::form_urlencoded::byte_serialize;

madrigal_vm::builtins! {
    /// `{scheme, host, port, path, query, fragment, username, password}` of a URL.
    "url_parse" (text: string) -> dict = url_parse;
    /// The URL of such parts.
    "url_build" (parts: dict) -> string = url_build;
    /// The pairs `{key, value}` of a query, in order.
    "query_parse" (text: string) -> list = query_parse;
    /// The query of pairs `{key, value}`.
    "query_stringify" (pairs: list) -> string = query_stringify;
}

fn url_parse(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let url = Url::parse(&args.string(0)).map_err(|error| Fault::thrown(format!("url_parse: {error}")))?;
    let text = |part: Option<&str>| part.map_or(Value::Nil, Value::from);
    let username = Some(url.username()).filter(|it| !it.is_empty());
    Ok(Value::dict([
        ("scheme", Value::from(url.scheme())),
        ("host", text(url.host_str())),
        ("port", url.port().map_or(Value::Nil, |it| Value::Int(i64::from(it)))),
        ("path", Value::from(url.path())),
        ("query", text(url.query())),
        ("fragment", text(url.fragment())),
        ("username", text(username)),
        ("password", text(url.password())),
    ]))
}

/// The display form of a part; `None` when it is missing or nil.
fn part(parts: &Dict, key: &str) -> Option<Str> {
    parts.get(key).filter(|it| !it.is_nil()).map(Value::display)
}

fn url_build(_: &mut Cx<'_>, args: Args<'_>) -> Result<String, Fault> {
    let parts = args.dict(0).ok_or_else(|| Fault::thrown("url_build: expected a dict of url parts"))?;
    let scheme = part(parts, "scheme").filter(|it| !it.is_empty());
    let scheme = scheme.ok_or_else(|| Fault::thrown("url_build: 'scheme' is required"))?;
    built(&scheme, parts).map_err(|error| Fault::thrown(format!("url_build: {error}")))
}

fn built(scheme: &str, parts: &Dict) -> Result<String, String> {
    let path = part(parts, "path").unwrap_or_else(|| Str::from("/"));
    let host = part(parts, "host");
    let mut text = format!("{scheme}:");
    if let Some(host) = &host {
        text += &format!("//{host}");
        if !path.starts_with('/') && !path.is_empty() {
            text.push('/');
        }
    }
    let mut url = Url::parse(&text).or_else(|_| Url::parse(&format!("{text}{path}"))).map_err(|it| it.to_string())?;
    url.set_path(&path);
    let refused = |what: &str| format!("the URL cannot have a {what}");
    if let Some(port) = parts.get("port").filter(|it| !it.is_nil()) {
        let number = port.as_int().or_else(|| port.display().parse().ok());
        let number = number.and_then(|it| u16::try_from(it).ok());
        let number = number.ok_or_else(|| format!("invalid port {port}"))?;
        url.set_port(Some(number)).map_err(|()| refused("port"))?;
    }
    if let Some(username) = part(parts, "username") {
        url.set_username(&username).map_err(|()| refused("username"))?;
    }
    if let Some(password) = part(parts, "password") {
        url.set_password(Some(&password)).map_err(|()| refused("password"))?;
    }
    url.set_query(part(parts, "query").as_deref());
    url.set_fragment(part(parts, "fragment").as_deref());
    Ok(url.into())
}

fn query_parse(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let text = args.string(0);
    let query = text.strip_prefix('?').unwrap_or(&text);
    let pair = |it: &str| {
        let (key, value) = it.split_once('=').unwrap_or((it, ""));
        Value::dict([("key", Value::from(form_decode(key))), ("value", Value::from(form_decode(value)))])
    };
    Ok(Value::list(query.split('&').filter(|it| !it.is_empty()).map(pair).collect()))
}

fn query_stringify(_: &mut Cx<'_>, args: Args<'_>) -> Result<String, Fault> {
    let pairs = args.list(0);
    let pairs = pairs.ok_or_else(|| Fault::thrown("query_stringify: expected a list of {key, value} dicts"))?;
    let encoded = |it: &Value| byte_serialize(it.display().as_bytes()).collect::<String>();
    let pair = |it: &Value| match it {
        Value::Dict(pair) => Some(format!("{}={}", encoded(pair.get("key")?), encoded(pair.get("value")?))),
        _ => None,
    };
    let joined: Option<Vec<String>> = pairs.iter().map(pair).collect();
    let joined = joined.ok_or_else(|| Fault::thrown("query_stringify: each item must be a {key, value} dict"))?;
    Ok(joined.join("&"))
}
