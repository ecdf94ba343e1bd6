//! Bytes: to and from text, hex and base64, slicing. All arguments have to be of their kind.

use crate::strict::{bytes, int, sized, string};
use data_encoding::{BASE64, Encoding, HEXLOWER, HEXLOWER_PERMISSIVE};
use madrigal_vm::{Args, Bytes, Cx, Fault, Outcome, Value, methods};
use subtle::ConstantTimeEq;

madrigal_vm::builtins! {
    /// The UTF-8 of a text.
    "bytes_from_string" (text: string) -> bytes = bytes_from_string;
    /// The text of UTF-8.
    "bytes_to_string" (bytes: bytes) -> string = bytes_to_string;
    /// The text of UTF-8, with U+FFFD for what is malformed.
    "bytes_to_string_lossy" (bytes: bytes) -> string = bytes_to_string_lossy;
    /// The bytes that hex digits describe.
    "bytes_from_hex" (text: string) -> bytes = bytes_from_hex;
    /// The bytes as lower-case hex digits.
    "bytes_to_hex" (bytes: bytes) -> string = bytes_to_hex;
    /// The bytes that standard, padded base64 describes.
    "bytes_from_base64" (text: string) -> bytes = bytes_from_base64;
    /// The bytes in standard, padded base64.
    "bytes_to_base64" (bytes: bytes) -> string = bytes_to_base64;
    /// Number of bytes.
    "bytes_len" (bytes: bytes) -> int = bytes_len;
    /// The bytes of `a`, then those of `b`.
    "bytes_concat" (a: bytes, b: bytes) -> bytes = bytes_concat;
    /// The bytes from `start` up to, not including, `end`.
    "bytes_slice" (bytes: bytes, start: int, end: int) -> bytes = bytes_slice;
    /// Whether both are equal, in a time that does not tell where they differ.
    "bytes_eq" (a: bytes, b: bytes) -> bool = bytes_eq;
}

fn bytes_from_string(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    Ok(Value::from(Bytes::from(string(&args, "bytes_from_string", 0)?.as_bytes())))
}

fn bytes_to_string(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let text = std::str::from_utf8(bytes(&args, "bytes_to_string", 0)?);
    text.map(Value::from).map_err(|error| Fault::runtime(format!("bytes_to_string: {error}")))
}

fn bytes_to_string_lossy(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let bytes = bytes(&args, "bytes_to_string_lossy", 0)?;
    Ok(Value::from(String::from_utf8_lossy(bytes).into_owned()))
}

/// Decodes the text in the first argument.
fn decoded(cx: &mut Cx<'_>, args: &Args<'_>, name: &'static str, by: Encoding) -> Result<Outcome, Fault> {
    let text = string(args, name, 0)?.clone();
    sized(cx, name, text.len(), move || match by.decode(text.as_bytes()) {
        Ok(bytes) => Ok(Value::from(Bytes::from(bytes))),
        Err(error) => Err(Fault::runtime(format!("{name}: {error}"))),
    })
}

/// Encodes the bytes in the first argument.
fn encoded(cx: &mut Cx<'_>, args: &Args<'_>, name: &'static str, by: Encoding) -> Result<Outcome, Fault> {
    let bytes = bytes(args, name, 0)?.clone();
    sized(cx, name, bytes.len(), move || Ok(Value::from(by.encode(&bytes))))
}

fn bytes_from_hex(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    decoded(cx, &args, "bytes_from_hex", HEXLOWER_PERMISSIVE)
}

fn bytes_to_hex(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    encoded(cx, &args, "bytes_to_hex", HEXLOWER)
}

fn bytes_from_base64(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    decoded(cx, &args, "bytes_from_base64", BASE64)
}

fn bytes_to_base64(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    encoded(cx, &args, "bytes_to_base64", BASE64)
}

fn bytes_len(_: &mut Cx<'_>, args: Args<'_>) -> Result<usize, Fault> {
    Ok(bytes(&args, "bytes_len", 0)?.len())
}

fn bytes_concat(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let (a, b) = (bytes(&args, "bytes_concat", 0)?, bytes(&args, "bytes_concat", 1)?);
    methods::check_bytes("bytes_concat", a.len().checked_add(b.len()))?;
    Ok(Value::from(Bytes::from([&a[..], &b[..]].concat())))
}

fn bytes_slice(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let bytes = bytes(&args, "bytes_slice", 0)?;
    let clamped = |index| {
        Ok(usize::try_from(int(&args, "bytes_slice", index)?.max(0)).map_or(bytes.len(), |it| it.min(bytes.len())))
    };
    let (start, end): (usize, usize) = (clamped(1)?, clamped(2)?);
    Ok(Value::from(Bytes::from(bytes.get(start..end).unwrap_or_default())))
}

fn bytes_eq(_: &mut Cx<'_>, args: Args<'_>) -> Result<bool, Fault> {
    let (a, b) = (bytes(&args, "bytes_eq", 0)?, bytes(&args, "bytes_eq", 1)?);
    Ok(a[..].ct_eq(&b[..]).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Bench, check};

    fn bytes(of: &[u8]) -> Value {
        Value::from(Bytes::from(of))
    }

    #[test]
    fn arguments_have_to_be_of_their_kind() {
        check("bytes_len", ["ab".into()], "Runtime error: bytes_len: expected bytes at argument 1, got string");
        check("bytes_concat", [bytes(b"a")], "Runtime error: bytes_concat: missing argument 2");
        check(
            "bytes_slice",
            [bytes(b"a"), 0i64.into(), "x".into()],
            "Runtime error: bytes_slice: expected int at argument 3, got string",
        );
    }

    #[test]
    fn slices_are_clamped() {
        check("bytes_slice", [bytes(b"abc"), (-3i64).into(), 2i64.into()], "b\"6162\"");
        check("bytes_slice", [bytes(b"abc"), 2i64.into(), i64::MAX.into()], "b\"63\"");
        check("bytes_slice", [bytes(b"abc"), 2i64.into(), 1i64.into()], "b\"\"");
        check("bytes_from_string", ["x".repeat(34).into()], &format!("b\"{}...+2\"", "78".repeat(32)));
    }

    #[test]
    fn large_input_gives_the_same() {
        let large = Value::from("00ff".repeat(200_000));
        let found = Bench::new().call("bytes_from_hex", vec![large]).expect("good digits");
        assert!(matches!(found, Value::Bytes(it) if it.len() == 400_000 && it[1] == 255));
    }
}
