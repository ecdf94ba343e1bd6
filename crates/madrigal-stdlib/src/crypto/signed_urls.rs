//! Signed URLs: links that expire and cannot be altered.

use super::signature;
use crate::encodings::{form_decode, is_unreserved, percent_encode};
use madrigal_vm::{Args, Cx, Dict, Fault, Str, Value};
use subtle::ConstantTimeEq;
use url::Url;

madrigal_vm::builtins! {
    /// `base` with `claims`, an expiry and a signature in its query.
    "signed_url" (base: string, claims: dict, secret: string, expires_at: int, options: dict) -> string = signed_url;
    /// What a signed URL says and whether to believe it: `{valid, reason, claims, ..}`.
    "verify_signed_url" (url: string, secret_or_keys: any, now: int, options: dict) -> dict = verify_signed_url;
}

/// Names of the query parameters that carry the signature.
struct Names {
    signature: Str,
    expires: Str,
    kid: Str,
}

fn failed(name: &str, what: impl std::fmt::Display) -> Fault {
    Fault::runtime(format!("{name}: {what}"))
}

impl Names {
    fn of(name: &str, options: &Dict) -> Result<Names, Fault> {
        let option = |key: &str, default: &str| match options.get(key) {
            None | Some(Value::Nil) => Ok(Str::from(default)),
            Some(Value::String(it)) if !it.is_empty() => Ok(it.clone()),
            Some(Value::String(_)) => Err(failed(name, format_args!("{key} must not be empty"))),
            Some(other) => Err(failed(name, format_args!("{key} must be a string, got {}", other.type_name()))),
        };
        let names = Names {
            signature: option("signature_param", "sig")?,
            expires: option("expires_param", "exp")?,
            kid: option("kid_param", "kid")?,
        };
        if names.signature == names.expires || names.signature == names.kid || names.expires == names.kid {
            return Err(failed(name, "signature_param, expires_param and kid_param must be distinct"));
        }
        Ok(names)
    }

    fn is_reserved(&self, key: &str) -> bool {
        [&self.signature, &self.expires, &self.kid].iter().any(|it| it.as_str() == key)
    }
}

/// A URL taken apart: what comes before the query, the resource that is signed, and the pairs of the query.
struct Parts {
    start: String,
    resource: String,
    pairs: Vec<(String, String)>,
}

impl Parts {
    fn of(name: &str, url: &str) -> Result<Parts, Fault> {
        let url = url.split('#').next().unwrap_or_default();
        let (start, query) = url.split_once('?').unwrap_or((url, ""));
        let resource = if start.starts_with('/') {
            encoded_path(start)
        } else {
            let parsed = Url::parse(start).map_err(|error| failed(name, format_args!("invalid URL: {error}")))?;
            if !parsed.has_host() {
                return Err(failed(name, "URL must be absolute with a host, or an absolute path"));
            }
            format!("{}{}", parsed.origin().ascii_serialization(), encoded_path(parsed.path()))
        };
        let pair = |it: &str| {
            let (key, value) = it.split_once('=').unwrap_or((it, ""));
            (form_decode(key), form_decode(value))
        };
        let pairs = query.split('&').filter(|it| !it.is_empty()).map(pair).collect();
        Ok(Parts { start: start.to_owned(), resource, pairs })
    }
}

/// Percent-encodes a path, leaving what is encoded but for the case of its digits.
fn encoded_path(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = rest.find('%') {
        out.push_str(&percent_encode(&rest[..at], keeps_in_path));
        let digits = rest.get(at + 1..at + 3).filter(|it| it.bytes().all(|digit| digit.is_ascii_hexdigit()));
        match digits {
            Some(digits) => {
                out.push('%');
                out.push_str(&digits.to_ascii_uppercase());
                rest = &rest[at + 3..];
            }
            None => {
                out.push_str("%25");
                rest = &rest[at + 1..];
            }
        }
    }
    out.push_str(&percent_encode(rest, keeps_in_path));
    out
}

fn keeps_in_path(byte: u8) -> bool {
    is_unreserved(byte) || byte == b'/'
}

/// The pairs in the form and order in which they are signed.
fn canonical(pairs: &[(String, String)]) -> String {
    let encode = |text: &str| percent_encode(text, is_unreserved);
    let mut encoded: Vec<(String, String)> = pairs.iter().map(|(key, value)| (encode(key), encode(value))).collect();
    encoded.sort();
    let joined: Vec<String> = encoded.into_iter().map(|(key, value)| format!("{key}={value}")).collect();
    joined.join("&")
}

fn sign(secret: &str, resource: &str, pairs: &[(String, String)]) -> String {
    signature(secret, &format!("harn-signed-url-v1\n{resource}\n{}", canonical(pairs)))
}

fn strict<'a>(args: &'a Args<'_>, index: usize, name: &str, what: &str) -> Result<&'a Str, Fault> {
    match args.get(index) {
        Value::String(it) => Ok(it),
        other => Err(failed(name, format_args!("{what} must be a string, got {}", other.type_name()))),
    }
}

fn strict_int(args: &Args<'_>, index: usize, name: &str, what: &str) -> Result<i64, Fault> {
    let found = args.get(index);
    found.as_int().ok_or_else(|| failed(name, format_args!("{what} must be an int, got {}", found.type_name())))
}

fn options(args: &Args<'_>, index: usize, name: &str) -> Result<Dict, Fault> {
    match args.get(index) {
        Value::Nil => Ok(Dict::new()),
        Value::Dict(it) => Ok(it.clone()),
        other => Err(failed(name, format_args!("options must be a dict, got {}", other.type_name()))),
    }
}

fn signed_url(_: &mut Cx<'_>, args: Args<'_>) -> Result<String, Fault> {
    const NAME: &str = "signed_url";
    let base = strict(&args, 0, NAME, "base")?;
    let claims = args.dict(1);
    let claims =
        claims.ok_or_else(|| failed(NAME, format_args!("claims must be a dict, got {}", args.get(1).type_name())))?;
    let secret = strict(&args, 2, NAME, "secret")?;
    let expires_at = strict_int(&args, 3, NAME, "expires_at")?;
    let options = options(&args, 4, NAME)?;
    let names = Names::of(NAME, &options)?;
    let Parts { start, resource, mut pairs } = Parts::of(NAME, base)?;
    pairs.retain(|(key, _)| !names.is_reserved(key));
    for (key, value) in claims.iter() {
        if names.is_reserved(key) {
            return Err(failed(NAME, format_args!("claim '{key}' uses a reserved parameter name")));
        }
        pairs.push((key.to_string(), value.to_string()));
    }
    pairs.push((names.expires.to_string(), expires_at.to_string()));
    match options.get("kid") {
        None | Some(Value::Nil) => {}
        Some(Value::String(kid)) => pairs.push((names.kid.to_string(), kid.to_string())),
        Some(other) => return Err(failed(NAME, format_args!("kid must be a string, got {}", other.type_name()))),
    }
    let signed = sign(secret, &resource, &pairs);
    pairs.push((names.signature.to_string(), signed));
    Ok(format!("{start}?{}", canonical(&pairs)))
}

/// What verification found out.
struct Verdict {
    reason: &'static str,
    signature_valid: bool,
    expired: bool,
    expires_at: Option<i64>,
    kid: Option<String>,
    claims: Vec<(String, String)>,
}

impl Verdict {
    fn early(reason: &'static str) -> Verdict {
        Verdict { reason, signature_valid: false, expired: false, expires_at: None, kid: None, claims: Vec::new() }
    }

    fn into_value(self) -> Value {
        let claims = self.claims.into_iter().map(|(key, value)| (Str::from(key), Value::from(value)));
        Value::dict([
            ("valid", Value::Bool(self.reason == "ok")),
            ("reason", Value::from(self.reason)),
            ("signature_valid", Value::Bool(self.signature_valid)),
            ("expired", Value::Bool(self.expired)),
            ("expires_at", self.expires_at.map_or(Value::Nil, Value::Int)),
            ("kid", self.kid.map_or(Value::Nil, Value::from)),
            ("claims", Value::Dict(claims.collect())),
        ])
    }
}

fn verify_signed_url(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    const NAME: &str = "verify_signed_url";
    let url = strict(&args, 0, NAME, "url")?;
    let keys = args.get(1);
    if !matches!(keys, Value::String(_) | Value::Dict(_)) {
        return Err(failed(NAME, format_args!("secret must be a string or a dict of keys, got {}", keys.type_name())));
    }
    let now = strict_int(&args, 2, NAME, "now")?;
    let options = options(&args, 3, NAME)?;
    let names = Names::of(NAME, &options)?;
    let skew = match options.get("skew_seconds") {
        None | Some(Value::Nil) => 0,
        Some(it) => {
            it.as_int().filter(|it| *it >= 0).ok_or_else(|| failed(NAME, "skew_seconds must be a non-negative int"))?
        }
    };
    Ok(verdict(Parts::of(NAME, url)?, &names, keys, now.saturating_sub(skew)).into_value())
}

fn verdict(parts: Parts, names: &Names, keys: &Value, now: i64) -> Verdict {
    let values = |name: &Str| -> Vec<String> {
        parts.pairs.iter().filter(|(key, _)| key == name.as_str()).map(|(_, value)| value.clone()).collect()
    };
    let (signatures, expiries, mut kids) = (values(&names.signature), values(&names.expires), values(&names.kid));
    let [given] = &signatures[..] else { return Verdict::early("missing_signature") };
    let Some(expiry) = expiries.first() else { return Verdict::early("missing_expiry") };
    let expires_at = match expiry.parse::<i64>() {
        Ok(it) if expiries.len() == 1 => it,
        _ => return Verdict::early("invalid_expiry"),
    };
    let claims = parts.pairs.iter().filter(|(key, _)| !names.is_reserved(key)).cloned().collect();
    let duplicate = kids.len() > 1;
    let kid = kids.pop().filter(|_| !duplicate);
    let expired = now > expires_at;
    let mut verdict =
        Verdict { reason: "ok", signature_valid: false, expired, expires_at: Some(expires_at), kid, claims };
    if duplicate {
        verdict.reason = "duplicate_kid";
        return verdict;
    }
    let secret = match keys {
        Value::Dict(keys) => verdict.kid.as_deref().and_then(|kid| keys.get(kid)).and_then(Value::as_str),
        other => other.as_str(),
    };
    let Some(secret) = secret else {
        verdict.reason = "unknown_key";
        return verdict;
    };
    let signed: Vec<_> = parts.pairs.iter().filter(|(key, _)| key != names.signature.as_str()).cloned().collect();
    let right = sign(secret, &parts.resource, &signed);
    verdict.signature_valid = right.as_bytes().ct_eq(given.as_bytes()).into();
    verdict.reason = match (verdict.signature_valid, expired) {
        (false, _) => "bad_signature",
        (true, true) => "expired",
        (true, false) => "ok",
    };
    verdict
}
