//! Compression. Encoders take text or bytes, decoders bytes; both work on the blocking pool when there is much to do.

use crate::strict::{given, sized};
use flate2::read::MultiGzDecoder;
use flate2::{Compression, GzBuilder};
use madrigal_vm::{Args, Bytes, Cx, Fault, Outcome, Value};
use std::io::{Read, Write};
use std::ops::RangeInclusive;

madrigal_vm::builtins! {
    /// Compressed as gzip.
    "gzip_encode" (value: any, level: int = 6) -> bytes = gzip_encode;
    /// What gzip was made of.
    "gzip_decode" (bytes: bytes) -> bytes = gzip_decode;
    /// Compressed as Zstandard.
    "zstd_encode" (value: any, level: int = 3) -> bytes = zstd_encode;
    /// What Zstandard was made of.
    "zstd_decode" (bytes: bytes) -> bytes = zstd_decode;
    /// Compressed as Brotli.
    "brotli_encode" (value: any, quality: int = 11) -> bytes = brotli_encode;
    /// What Brotli was made of.
    "brotli_decode" (bytes: bytes) -> bytes = brotli_decode;
}

/// Most bytes that decoding gives; a small input can stand for very many.
const DECODED_MAX: u64 = 1 << 30;

/// The bytes of a bytes or string argument.
pub(crate) fn octets(args: &Args<'_>, name: &str, index: usize) -> Result<Vec<u8>, Fault> {
    let value = given(args, name, index)?;
    value.as_octets().map(<[u8]>::to_vec).ok_or_else(|| {
        let kind = value.type_name();
        Fault::runtime(format!("{name}: expected bytes or string at argument {}, got {kind}", index + 1))
    })
}

/// The strength in the second argument.
fn strength(args: &Args<'_>, name: &str, what: &str, default: i32, range: RangeInclusive<i32>) -> Result<i32, Fault> {
    let value = args.get(1);
    if value.is_nil() {
        return Ok(default);
    }
    let Some(number) = value.as_int() else {
        return Err(Fault::runtime(format!("{name}: {what} must be an int, got {}", value.type_name())));
    };
    let small = i32::try_from(number).ok().filter(|it| range.contains(it));
    small.ok_or_else(|| {
        let (least, most) = (range.start(), range.end());
        Fault::runtime(format!("{name}: {what} must be between {least} and {most}, got {number}"))
    })
}

/// Encodes the first argument; `effort` is how much longer that takes than other work on as many bytes.
fn encode<E>(cx: &mut Cx<'_>, args: &Args<'_>, name: &'static str, effort: usize, encode: E) -> Result<Outcome, Fault>
where
    E: FnOnce(&[u8]) -> std::io::Result<Vec<u8>> + Send + 'static,
{
    let bytes = octets(args, name, 0)?;
    sized(cx, name, bytes.len().saturating_mul(effort), move || finished(name, encode(&bytes)))
}

/// Decodes the first argument.
fn decode<D>(cx: &mut Cx<'_>, args: &Args<'_>, name: &'static str, decode: D) -> Result<Outcome, Fault>
where
    D: FnOnce(&[u8]) -> std::io::Result<Vec<u8>> + Send + 'static,
{
    let bytes = crate::strict::bytes(args, name, 0)?.clone();
    // A small input can stand for very many bytes.
    sized(cx, name, bytes.len().saturating_mul(256), move || finished(name, decode(&bytes)))
}

pub(crate) fn finished(name: &str, bytes: std::io::Result<Vec<u8>>) -> Result<Value, Fault> {
    let bytes = bytes.map_err(|error| Fault::runtime(format!("{name}: {error}")))?;
    Ok(Value::from(Bytes::from(bytes)))
}

/// Everything `source` gives, within bounds.
pub(crate) fn read_bounded(source: impl Read) -> std::io::Result<Vec<u8>> {
    let mut out = Vec::new();
    source.take(DECODED_MAX + 1).read_to_end(&mut out)?;
    if out.len() as u64 > DECODED_MAX {
        return Err(std::io::Error::other(format!("more than {DECODED_MAX} bytes when decoded")));
    }
    Ok(out)
}

fn gzip_encode(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    given(&args, "gzip_encode", 0)?;
    let level = strength(&args, "gzip_encode", "level", 6, 0..=9)?;
    encode(cx, &args, "gzip_encode", 16, move |bytes| {
        // The builder leaves the time 0, so that equal input gives equal output.
        let mut encoder = GzBuilder::new().write(Vec::new(), Compression::new(level as u32));
        encoder.write_all(bytes)?;
        encoder.finish()
    })
}

fn gzip_decode(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    decode(cx, &args, "gzip_decode", |bytes| read_bounded(MultiGzDecoder::new(bytes)))
}

fn zstd_encode(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    given(&args, "zstd_encode", 0)?;
    let level = strength(&args, "zstd_encode", "level", 3, zstd::compression_level_range())?;
    encode(cx, &args, "zstd_encode", 64, move |bytes| zstd::encode_all(bytes, level))
}

fn zstd_decode(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    decode(cx, &args, "zstd_decode", |bytes| read_bounded(zstd::Decoder::new(bytes)?))
}

fn brotli_encode(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    given(&args, "brotli_encode", 0)?;
    let quality = strength(&args, "brotli_encode", "quality", 11, 0..=11)?;
    encode(cx, &args, "brotli_encode", 256, move |bytes| {
        let mut out = Vec::new();
        let mut encoder = brotli::CompressorWriter::new(&mut out, 4096, quality as u32, 22);
        encoder.write_all(bytes)?;
        drop(encoder);
        Ok(out)
    })
}

fn brotli_decode(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    decode(cx, &args, "brotli_decode", |bytes| read_bounded(brotli::Decompressor::new(bytes, 4096)))
}
