//! Multipart bodies of requests.

use crate::host::Run;
use madrigal_vm::{Dict, Fault, Value};
use std::path::PathBuf;

/// The boundary; content that contains it gets another one.
const BOUNDARY: &str = "harn-boundary";

/// A part of the body.
pub(super) struct Part {
    name: String,
    content: Content,
    filename: Option<String>,
    content_type: Option<String>,
}

enum Content {
    Here(Vec<u8>),
    /// Read when the request is sent.
    File(PathBuf),
}

/// The parts that the option `multipart` describes.
pub(super) fn parts(run: &Run, option: &Value, name: &str) -> Result<Vec<Part>, Fault> {
    let Value::List(entries) = option else { return Err(Fault::thrown("http: multipart must be a list")) };
    entries.iter().map(|entry| part(run, entry, name)).collect()
}

fn part(run: &Run, entry: &Value, builtin: &str) -> Result<Part, Fault> {
    let empty = Dict::new();
    let entry = match entry {
        Value::Dict(it) => it,
        _ => &empty,
    };
    let some = |key: &str| entry.get(key).filter(|it| !it.is_nil());
    let text = |key: &str| some(key).map(|it| it.display().to_string());
    let name = text("name").filter(|it| !it.is_empty());
    let name = name.ok_or_else(|| Fault::thrown("http: multipart entry requires name"))?;
    let mut filename = text("filename");
    let content = match (some("value"), some("value_base64"), some("path")) {
        (Some(Value::Bytes(bytes)), ..) => Content::Here(bytes.to_vec()),
        (Some(value), ..) => Content::Here(value.display().as_bytes().to_vec()),
        (None, Some(encoded), _) => {
            let decoded = data_encoding::BASE64.decode(encoded.display().as_bytes());
            let invalid = |error| Fault::thrown(format!("http: multipart value_base64 is invalid: {error}"));
            Content::Here(decoded.map_err(invalid)?)
        }
        (None, None, Some(path)) => {
            let path = run.resolve(&path.display());
            run.may_read(builtin, &path)?;
            let own = || path.file_name().map(|it| it.to_string_lossy().into_owned());
            filename = filename.or_else(own);
            Content::File(path)
        }
        (None, None, None) => {
            return Err(Fault::thrown("http: multipart entry requires value, value_base64, or path"));
        }
    };
    Ok(Part { name, content, filename, content_type: text("content_type") })
}

/// The body and its content type. Reads the files.
pub(super) fn encode(parts: &[Part]) -> std::io::Result<(Vec<u8>, String)> {
    let mut contents = Vec::new();
    for part in parts {
        contents.push(match &part.content {
            Content::Here(bytes) => bytes.clone(),
            Content::File(path) => std::fs::read(path)
                .map_err(|error| std::io::Error::new(error.kind(), format!("{}: {error}", path.display())))?,
        });
    }
    let used = |boundary: &str| {
        contents.iter().any(|it| it.windows(boundary.len()).any(|window| window == boundary.as_bytes()))
    };
    let mut boundary = BOUNDARY.to_owned();
    let mut number = 0;
    while used(&boundary) {
        number += 1;
        boundary = format!("{BOUNDARY}-{number}");
    }
    let mut body = Vec::new();
    for (part, content) in parts.iter().zip(contents) {
        let filename = part.filename.as_ref().map_or(String::new(), |it| format!("; filename=\"{}\"", quoted(it)));
        let content_type = part.content_type.as_ref().map_or(String::new(), |it| format!("Content-Type: {it}\r\n"));
        let name = quoted(&part.name);
        let head =
            format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"{filename}\r\n{content_type}\r\n");
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(&content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    Ok((body, format!("multipart/form-data; boundary={boundary}")))
}

fn quoted(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace(['\r', '\n'], " ")
}
