//! Archives: tar and zip, made from and turned into lists of entries `{path, content}`. Nothing touches the disk.

use crate::compression::{finished, read_bounded};
use crate::strict::{bytes, given, sized};
use madrigal_vm::{Args, Bytes, Cx, Fault, Outcome, Str, Value};
use std::io::{Cursor, Error, Read, Result as IoResult, Write};
use zip::write::SimpleFileOptions;

madrigal_vm::builtins! {
    /// A tar archive of entries `{path, content, mode}`.
    "tar_create" (entries: list) -> bytes = tar_create;
    /// The entries `{path, content, mode}` of a tar archive.
    "tar_extract" (bytes: bytes) -> list = tar_extract;
    /// A zip archive of entries `{path, content}`.
    "zip_create" (entries: list) -> bytes = zip_create;
    /// The entries `{path, content}` of a zip archive.
    "zip_extract" (bytes: bytes) -> list = zip_extract;
}

/// A file of an archive.
struct Entry {
    path: Str,
    content: Vec<u8>,
    mode: u32,
}

/// Most bytes that the files of an archive may have together.
const EXTRACTED_MAX: usize = 1 << 30;

fn member<'a>(entry: &'a Value, key: &str) -> Option<&'a Value> {
    let found = match entry {
        Value::Dict(it) => it.get(key),
        Value::Struct(it) => it.get(&Str::from(key)),
        _ => None,
    };
    found.filter(|it| !it.is_nil())
}

fn entries(args: &Args<'_>, name: &str) -> Result<Vec<Entry>, Fault> {
    let value = given(args, name, 0)?;
    let Value::List(entries) = value else {
        return Err(Fault::runtime(format!("{name}: entries must be a list, got {}", value.type_name())));
    };
    let numbered = |(at, it)| entry(it).map_err(|what| Fault::runtime(format!("{name}: entry {} {what}", at + 1)));
    entries.iter().enumerate().map(numbered).collect()
}

fn entry(value: &Value) -> Result<Entry, String> {
    let path = match member(value, "path") {
        Some(Value::String(path)) if path.is_empty() => return Err("path must not be empty".to_owned()),
        Some(Value::String(path)) => path.clone(),
        Some(other) => return Err(format!("path must be a string, got {}", other.type_name())),
        None => return Err("is missing path".to_owned()),
    };
    let content = member(value, "content").ok_or("is missing content")?;
    let octets = content.as_octets();
    let octets = octets.ok_or_else(|| format!("content must be bytes or string, got {}", content.type_name()))?;
    let mode = member(value, "mode").map_or(Some(420), Value::as_int).filter(|it| (0..=4095).contains(it));
    let mode = mode.ok_or("mode must be between 0 and 4095")?;
    Ok(Entry { path, content: octets.to_vec(), mode: mode as u32 })
}

fn create(
    cx: &mut Cx<'_>,
    args: &Args<'_>,
    name: &'static str,
    pack: fn(&[Entry]) -> IoResult<Vec<u8>>,
) -> Result<Outcome, Fault> {
    let entries = entries(args, name)?;
    let size = entries.iter().map(|it| it.content.len() + 512).sum();
    sized(cx, name, size, move || finished(name, pack(&entries)))
}

fn extract(
    cx: &mut Cx<'_>,
    args: &Args<'_>,
    name: &'static str,
    unpack: fn(&[u8]) -> IoResult<Vec<Value>>,
) -> Result<Outcome, Fault> {
    let archive = bytes(args, name, 0)?.clone();
    sized(cx, name, archive.len().saturating_mul(16), move || {
        unpack(&archive).map(Value::list).map_err(|error| Fault::runtime(format!("{name}: {error}")))
    })
}

fn tar_create(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    create(cx, &args, "tar_create", |entries| {
        let mut archive = tar::Builder::new(Vec::new());
        for entry in entries {
            let mut header = tar::Header::new_gnu();
            header.set_size(entry.content.len() as u64);
            header.set_mode(entry.mode);
            header.set_mtime(0);
            header.set_uid(0);
            header.set_gid(0);
            archive.append_data(&mut header, entry.path.as_str(), &entry.content[..])?;
        }
        archive.into_inner()
    })
}

/// Content of a file, whose predecessors have `total` bytes together.
fn content(file: impl Read, total: &mut usize) -> IoResult<Value> {
    let content = read_bounded(file)?;
    *total += content.len();
    if *total > EXTRACTED_MAX {
        return Err(Error::other(format!("more than {EXTRACTED_MAX} bytes in the archive")));
    }
    Ok(Value::from(Bytes::from(content)))
}

fn tar_extract(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    extract(cx, &args, "tar_extract", |archive| {
        let (mut found, mut total) = (Vec::new(), 0);
        for file in tar::Archive::new(archive).entries()? {
            let mut file = file?;
            if file.header().entry_type().is_dir() {
                continue;
            }
            let path = String::from_utf8_lossy(&file.path_bytes()).into_owned();
            let mode = i64::from(file.header().mode()?);
            let content = content(&mut file, &mut total)?;
            found.push(Value::dict([("path", Value::from(path)), ("content", content), ("mode", Value::Int(mode))]));
        }
        Ok(found)
    })
}

fn zip_create(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    create(cx, &args, "zip_create", |entries| {
        let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
        for entry in entries {
            archive.start_file(entry.path.as_str(), SimpleFileOptions::default())?;
            archive.write_all(&entry.content)?;
        }
        Ok(archive.finish()?.into_inner())
    })
}

fn zip_extract(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    extract(cx, &args, "zip_extract", |archive| {
        let (mut found, mut total) = (Vec::new(), 0);
        let mut archive = zip::ZipArchive::new(Cursor::new(archive))?;
        for at in 0..archive.len() {
            let mut file = archive.by_index(at)?;
            if file.is_dir() {
                continue;
            }
            let path = file.name()?.into_owned();
            let content = content(&mut file, &mut total)?;
            found.push(Value::dict([("path", Value::from(path)), ("content", content)]));
        }
        Ok(found)
    })
}
