//! How a server speaks TLS: descriptors for whoever puts it behind a socket.

use crate::host::run;
use madrigal_vm::{Args, Cx, Dict, Fault, Str, Value};

madrigal_vm::builtins! {
    /// No TLS.
    "http_server_tls_plain" () -> dict = plain;
    /// TLS ends before the server.
    "http_server_tls_edge" (options: dict) -> dict = edge;
    /// TLS with a certificate and a key from files.
    "http_server_tls_pem" (cert_path: string, key_path: string) -> dict, needs FsRead = pem;
    /// TLS with a fresh self-signed certificate, for development.
    "http_server_tls_self_signed_dev" (hosts: list) -> dict = self_signed_dev;
    /// The headers that browsers should get with this descriptor.
    "http_server_security_headers" (tls: dict) -> dict = security_headers;
}

/// One year.
const MAX_AGE_SECONDS: i64 = 31_536_000;

fn descriptor(mode: &str, scheme: &str, terminates: bool, hsts: bool) -> Dict {
    let entries = [
        ("mode", Value::from(mode)),
        ("scheme", Value::from(scheme)),
        ("terminate_tls", Value::Bool(terminates)),
        ("hsts", Value::Bool(hsts)),
    ];
    entries.into_iter().map(|(key, value)| (Str::from(key), value)).collect()
}

fn plain(_: &mut Cx<'_>, _: Args<'_>) -> Result<Value, Fault> {
    Ok(Value::Dict(descriptor("plain", "http", false, false)))
}

fn edge(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let option = |key: &str| args.dict(0).and_then(|it| it.get(key)).filter(|it| !it.is_nil());
    let flag = |key: &str, default: bool| Value::Bool(option(key).map_or(default, Value::is_truthy));
    let mut tls = descriptor("edge", "https", false, true);
    let max_age = option("hsts_max_age_seconds").and_then(Value::as_int).unwrap_or(MAX_AGE_SECONDS);
    tls.insert("hsts".into(), flag("hsts", true));
    tls.insert("hsts_max_age_seconds".into(), Value::Int(max_age));
    tls.insert("hsts_include_subdomains".into(), flag("hsts_include_subdomains", false));
    tls.insert("hsts_preload".into(), flag("hsts_preload", false));
    Ok(Value::Dict(tls))
}

fn pem(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let name = "http_server_tls_pem";
    let run = run(cx);
    for (index, what) in [(0, "certificate"), (1, "private key")] {
        let path = run.resolve(&args.string(index));
        run.may_read(name, &path)?;
        if !path.is_file() {
            return Err(Fault::thrown(format!("{name}: {what} not found: {}", args.string(index))));
        }
    }
    let mut tls = descriptor("pem", "https", true, true);
    tls.insert("hsts_max_age_seconds".into(), Value::Int(MAX_AGE_SECONDS));
    tls.insert("cert_path".into(), Value::String(args.string(0)));
    tls.insert("key_path".into(), Value::String(args.string(1)));
    Ok(Value::Dict(tls))
}

fn self_signed_dev(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let hosts: Vec<Str> = match args.list(0) {
        Some(hosts) if !hosts.is_empty() => hosts.iter().map(Value::display).collect(),
        _ => vec!["localhost".into(), "127.0.0.1".into()],
    };
    let failed = |error| Fault::thrown(format!("http_server_tls_self_signed_dev: {error}"));
    let names: Vec<String> = hosts.iter().map(ToString::to_string).collect();
    let signed = rcgen::generate_simple_self_signed(names).map_err(failed)?;
    let mut tls = descriptor("self_signed_dev", "https", true, false);
    tls.insert("hosts".into(), Value::list(hosts.into_iter().map(Value::String).collect()));
    tls.insert("cert_pem".into(), Value::from(signed.cert.pem()));
    tls.insert("key_pem".into(), Value::from(signed.signing_key.serialize_pem()));
    Ok(Value::Dict(tls))
}

fn security_headers(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let flag = |key: &str| args.dict(0).and_then(|it| it.get(key)).is_some_and(Value::is_truthy);
    if !flag("hsts") {
        return Ok(Value::Dict(Dict::new()));
    }
    let max_age = args.dict(0).and_then(|it| it.get("hsts_max_age_seconds")).and_then(Value::as_int);
    let mut text = format!("max-age={}", max_age.unwrap_or(MAX_AGE_SECONDS));
    if flag("hsts_include_subdomains") {
        text.push_str("; includeSubDomains");
    }
    if flag("hsts_preload") {
        text.push_str("; preload");
    }
    Ok(Value::dict([("strict-transport-security", Value::from(text))]))
}
