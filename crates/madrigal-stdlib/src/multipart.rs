//! Bodies of forms (`multipart/form-data`), in both directions.

use crate::strict::sized;
use data_encoding::HEXLOWER;
use madrigal_vm::{Args, Bytes, Cx, Dict, Fault, Outcome, Str, Value};
use sha2::Sha256;
use sha2::digest::Digest;

madrigal_vm::builtins! {
    /// `{boundary, content_type, body}` of a form with these fields.
    "multipart_form_data" (fields: list, options: dict) -> dict = multipart_form_data;
    /// `{boundary, fields, field_count, total_bytes}` of a body.
    "multipart_parse" (body: any, content_type: string, options: dict) -> dict = multipart_parse;
    /// The bytes of a parsed field.
    "multipart_field_bytes" (field: dict) -> bytes = multipart_field_bytes;
    /// The text of a parsed field.
    "multipart_field_text" (field: dict) -> string = multipart_field_text;
}

const BUILD: &str = "multipart_form_data";
const PARSE: &str = "multipart_parse";

fn failed(name: &str, what: impl std::fmt::Display) -> Fault {
    Fault::runtime(format!("{name}: {what}"))
}

/// The entry of a dict, unless it is nil.
fn some<'a>(dict: &'a Dict, key: &str) -> Option<&'a Value> {
    dict.get(key).filter(|it| !it.is_nil())
}

fn check_boundary(name: &str, boundary: &str) -> Result<(), Fault> {
    let valid = |it: u8| it.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&it);
    if boundary.is_empty() {
        Err(failed(name, "boundary must not be empty"))
    } else if boundary.len() > 70 {
        Err(failed(name, "boundary must be at most 70 bytes"))
    } else if !boundary.bytes().all(valid) || boundary.ends_with(' ') {
        Err(failed(name, "boundary contains invalid characters"))
    } else {
        Ok(())
    }
}

/// A field as it is written.
struct Part {
    headers: String,
    content: Vec<u8>,
}

/// A text of a header; line ends in it would forge others.
fn header_text(value: &Value) -> Result<Str, Fault> {
    let text = value.display();
    if text.contains(['\r', '\n']) {
        return Err(failed(BUILD, "headers must not contain line ends"));
    }
    Ok(text)
}

fn part(field: &Value) -> Result<Part, Fault> {
    let Value::Dict(field) = field else {
        return Err(failed(BUILD, format_args!("field must be a dict, got {}", field.type_name())));
    };
    let name = some(field, "name").ok_or_else(|| failed(BUILD, "field is missing name"))?;
    let quoted = |value: &Value| Ok(header_text(value)?.replace('\\', "\\\\").replace('"', "\\\""));
    let mut headers = format!("Content-Disposition: form-data; name=\"{}\"", quoted(name)?);
    if let Some(filename) = some(field, "filename") {
        headers += &format!("; filename=\"{}\"", quoted(filename)?);
    }
    headers += "\r\n";
    if let Some(kind) = some(field, "content_type") {
        headers += &format!("Content-Type: {}\r\n", header_text(kind)?);
    }
    if let Some(Value::Dict(extra)) = some(field, "headers") {
        for (key, value) in extra.iter() {
            headers += &format!("{}: {}\r\n", header_text(&Value::from(key.clone()))?, header_text(value)?);
        }
    }
    let content = some(field, "content").or_else(|| some(field, "value"));
    let content = content.ok_or_else(|| failed(BUILD, "field is missing content"))?;
    let octets = content.as_octets();
    let octets = octets
        .ok_or_else(|| failed(BUILD, format_args!("content must be bytes or string, got {}", content.type_name())))?;
    Ok(Part { headers, content: octets.to_vec() })
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    position(haystack, needle).is_some()
}

/// Where `needle`, which must not be empty, first occurs.
fn position(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    let mut from = 0;
    while let Some(at) = haystack[from..].iter().position(|it| *it == needle[0]) {
        if haystack[from + at..].starts_with(needle) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}

/// A boundary that no content contains, the same for equal fields.
fn chosen_boundary(fields: &[Value], parts: &[Part]) -> String {
    let mut digest = Sha256::new();
    for field in fields {
        digest.update(field.display().as_bytes());
        digest.update([0]);
    }
    let base = format!("----harn-boundary-{}", HEXLOWER.encode(&digest.finalize()[..8]));
    let is_free = |it: &String| !parts.iter().any(|part| contains(&part.content, it.as_bytes()));
    let numbered = (1..).map(|number| format!("{base}-{number}"));
    std::iter::once(base.clone()).chain(numbered).find(is_free).unwrap_or(base)
}

fn multipart_form_data(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let Some(fields) = args.list(0) else {
        return Err(failed(BUILD, format_args!("fields must be a list, got {}", args.get(0).type_name())));
    };
    let parts: Vec<Part> = fields.iter().map(part).collect::<Result<_, _>>()?;
    let boundary = match args.dict(1).and_then(|it| some(it, "boundary")) {
        Some(given) => given.display().to_string(),
        None => chosen_boundary(fields, &parts),
    };
    check_boundary(BUILD, &boundary)?;
    let mut body = Vec::new();
    for part in &parts {
        body.extend_from_slice(format!("--{boundary}\r\n{}\r\n", part.headers).as_bytes());
        body.extend_from_slice(&part.content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    Ok(Value::dict([
        ("content_type", Value::from(format!("multipart/form-data; boundary={boundary}"))),
        ("boundary", Value::from(boundary)),
        ("body", Value::from(Bytes::from(body))),
    ]))
}

/// The value before the first `;` and the parameters behind it, quotes removed.
fn parameters(header: &str) -> (String, Vec<(String, String)>) {
    let mut pieces = Vec::new();
    let (mut piece, mut quoted, mut escaped) = (String::new(), false, false);
    for it in header.chars() {
        match it {
            _ if escaped => {
                piece.push(it);
                escaped = false;
            }
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ';' if !quoted => pieces.push(std::mem::take(&mut piece)),
            it => piece.push(it),
        }
    }
    pieces.push(piece);
    let mut pieces = pieces.into_iter();
    let value = pieces.next().unwrap_or_default().trim().to_owned();
    let pair = |it: String| {
        let (key, value) = it.split_once('=')?;
        Some((key.trim().to_ascii_lowercase(), value.trim().to_owned()))
    };
    (value, pieces.filter_map(pair).collect())
}

fn parameter(all: &[(String, String)], key: &str) -> Option<String> {
    all.iter().find(|(name, _)| name == key).map(|(_, value)| value.clone())
}

/// Limits of a body.
struct Limits {
    total: usize,
    field: usize,
    fields: usize,
}

impl Limits {
    fn of(options: Option<&Dict>) -> Limits {
        let limit = |key: &str, default: usize| {
            let given = options.and_then(|it| it.get(key)).and_then(Value::as_int);
            given.map_or(default, |it| usize::try_from(it).unwrap_or(0))
        };
        const BYTES: usize = 8 << 20;
        Limits {
            total: limit("max_total_bytes", BYTES),
            field: limit("max_field_bytes", BYTES),
            fields: limit("max_fields", 128),
        }
    }
}

fn multipart_parse(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    let body = args.get(0).as_octets();
    let body = body
        .ok_or_else(|| failed(PARSE, format_args!("body must be bytes or string, got {}", args.get(0).type_name())))?;
    let content_type = args.string(1);
    let (kind, given) = parameters(&content_type);
    if !kind.eq_ignore_ascii_case("multipart/form-data") {
        return Err(failed(PARSE, format_args!("expected multipart/form-data content type, got {kind}")));
    }
    let boundary = parameter(&given, "boundary").ok_or_else(|| failed(PARSE, "content type is missing boundary"))?;
    check_boundary(PARSE, &boundary)?;
    let limits = Limits::of(args.dict(2));
    if body.len() > limits.total {
        let (size, most) = (body.len(), limits.total);
        return Err(failed(PARSE, format_args!("total body size {size} exceeds max_total_bytes {most}")));
    }
    let (len, body) = (body.len(), args.get(0).clone());
    sized(cx, PARSE, len, move || {
        let fields = fields(body.as_octets().unwrap_or_default(), &boundary, &limits)?;
        Ok(Value::dict([
            ("boundary", Value::from(boundary)),
            ("field_count", Value::from(fields.len())),
            ("fields", Value::list(fields)),
            ("total_bytes", Value::from(len)),
        ]))
    })
}

fn fields(body: &[u8], boundary: &str, limits: &Limits) -> Result<Vec<Value>, Fault> {
    let opening = format!("--{boundary}");
    let delimiter = format!("\r\n{opening}");
    let mut rest =
        body.strip_prefix(opening.as_bytes()).ok_or_else(|| failed(PARSE, "body does not start with the boundary"))?;
    let mut fields = Vec::new();
    while !rest.starts_with(b"--") {
        let part = rest.strip_prefix(b"\r\n").ok_or_else(|| failed(PARSE, "malformed boundary line"))?;
        if fields.len() >= limits.fields {
            return Err(failed(PARSE, format_args!("field count exceeds max_fields {}", limits.fields)));
        }
        let end = position(part, b"\r\n\r\n").ok_or_else(|| failed(PARSE, "part is missing the header terminator"))?;
        let (headers, content) = (&part[..end], &part[end + 4..]);
        let length = position(content, delimiter.as_bytes());
        let length = length.ok_or_else(|| failed(PARSE, "part is missing the closing boundary"))?;
        if length > limits.field {
            let most = limits.field;
            return Err(failed(PARSE, format_args!("field size {length} exceeds max_field_bytes {most}")));
        }
        fields.push(field(&String::from_utf8_lossy(headers), &content[..length])?);
        rest = &content[length + delimiter.len()..];
    }
    Ok(fields)
}

fn field(headers: &str, content: &[u8]) -> Result<Value, Fault> {
    let mut entries = Dict::new();
    for line in headers.split("\r\n").filter(|it| !it.is_empty()) {
        let (key, value) = line.split_once(':').ok_or_else(|| failed(PARSE, "malformed part header"))?;
        entries.insert(Str::from(key.trim().to_ascii_lowercase()), Value::from(value.trim()));
    }
    let disposition = entries.get("content-disposition").map(Value::display);
    let (kind, given) = parameters(&disposition.ok_or_else(|| failed(PARSE, "part is missing content-disposition"))?);
    if !kind.eq_ignore_ascii_case("form-data") {
        return Err(failed(PARSE, format_args!("expected form-data content-disposition, got {kind}")));
    }
    let name = parameter(&given, "name").ok_or_else(|| failed(PARSE, "part is missing a name"))?;
    let optional = |text: Option<String>| text.map_or(Value::Nil, Value::from);
    Ok(Value::dict([
        ("name", Value::from(name)),
        ("filename", optional(parameter(&given, "filename"))),
        ("content_type", entries.get("content-type").cloned().unwrap_or_default()),
        ("headers", Value::Dict(entries)),
        ("text", std::str::from_utf8(content).map_or(Value::Nil, Value::from)),
        ("bytes", Value::from(Bytes::from(content))),
    ]))
}

fn field_bytes(args: &Args<'_>, name: &str) -> Result<Bytes, Fault> {
    match args.dict(0).and_then(|it| it.get("bytes")) {
        Some(Value::Bytes(it)) => Ok(it.clone()),
        _ => Err(failed(name, "expected a field of multipart_parse")),
    }
}

fn multipart_field_bytes(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    field_bytes(&args, "multipart_field_bytes").map(Value::from)
}

fn multipart_field_text(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    const NAME: &str = "multipart_field_text";
    let text = std::str::from_utf8(&field_bytes(&args, NAME)?).map(Value::from);
    text.map_err(|error| failed(NAME, error))
}
