//! Text encodings: base64, base32, hex, percent. Decoded bytes become text lossily.

use crate::strict::{Octets, sized};
use data_encoding::{BASE32, BASE64, BASE64URL_NOPAD, Encoding, HEXLOWER, HEXLOWER_PERMISSIVE};
use madrigal_vm::{Args, Cx, Fault, Outcome, Value};

madrigal_vm::builtins! {
    /// Standard, padded base64 of a text or of bytes.
    "base64_encode" (value: any) -> string = base64_encode;
    /// The text that standard, padded base64 describes.
    "base64_decode" (text: string) -> string = base64_decode;
    /// URL-safe base64 without padding.
    "base64url_encode" (value: any) -> string = base64url_encode;
    /// The text that URL-safe base64 without padding describes.
    "base64url_decode" (text: string) -> string = base64url_decode;
    /// Padded base32.
    "base32_encode" (value: any) -> string = base32_encode;
    /// The text that padded base32 describes.
    "base32_decode" (text: string) -> string = base32_decode;
    /// Lower-case hex digits.
    "hex_encode" (value: any) -> string = hex_encode;
    /// The text that hex digits describe.
    "hex_decode" (text: string) -> string = hex_decode;
    /// Everything but letters, digits and `-_.~` as `%XX`.
    "url_encode" (text: string) -> string = url_encode;
    /// `%XX` and `+` replaced by what they stand for.
    "url_decode" (text: string) -> string = url_decode;
}

fn encoded(cx: &mut Cx<'_>, args: &Args<'_>, by: Encoding) -> Result<Outcome, Fault> {
    let octets = Octets::of(args, 0);
    sized(cx, "encode", octets.len(), move || Ok(Value::from(by.encode(&octets))))
}

fn decoded(cx: &mut Cx<'_>, args: &Args<'_>, name: &'static str, by: Encoding) -> Result<Outcome, Fault> {
    let text = args.string(0);
    sized(cx, "decode", text.len(), move || match by.decode(text.as_bytes()) {
        Ok(bytes) => Ok(Value::from(lossy(bytes))),
        Err(error) => Err(Fault::runtime(format!("{name} decode error: {error}"))),
    })
}

fn lossy(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

fn base64_encode(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    encoded(cx, &args, BASE64)
}

fn base64_decode(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    decoded(cx, &args, "base64", BASE64)
}

fn base64url_encode(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    encoded(cx, &args, BASE64URL_NOPAD)
}

fn base64url_decode(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    decoded(cx, &args, "base64url", BASE64URL_NOPAD)
}

fn base32_encode(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    encoded(cx, &args, BASE32)
}

fn base32_decode(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    decoded(cx, &args, "base32", BASE32)
}

fn hex_encode(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    encoded(cx, &args, HEXLOWER)
}

fn hex_decode(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    decoded(cx, &args, "hex", HEXLOWER_PERMISSIVE)
}

/// Percent-encodes every byte that `keep` does not keep.
pub(crate) fn percent_encode(text: &str, keep: impl Fn(u8) -> bool) -> String {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if keep(byte) {
            out.push(char::from(byte));
        } else {
            let digit = |half: u8| char::from(DIGITS[usize::from(half)]);
            out.extend(['%', digit(byte >> 4), digit(byte & 15)]);
        }
    }
    out
}

/// Whether URLs may hold the byte as it is, everywhere.
pub(crate) fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte)
}

fn url_encode(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    let text = args.string(0);
    sized(cx, "encode", text.len(), move || Ok(Value::from(percent_encode(&text, is_unreserved))))
}

/// Replaces `%XX` and `+`; what is malformed stays as it is.
pub(crate) fn form_decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let digit = |at: usize| bytes.get(at).and_then(|it| char::from(*it).to_digit(16));
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match (byte, digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                at += 2;
            }
            (b'+', ..) => out.push(b' '),
            _ => out.push(*byte),
        }
        at += 1;
    }
    lossy(out)
}

fn url_decode(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    let text = args.string(0);
    sized(cx, "decode", text.len(), move || Ok(Value::from(form_decode(&text))))
}

#[cfg(test)]
mod tests {
    use crate::testing::check;

    #[test]
    fn urls_encode_bytes() {
        check("url_encode", ["a b/ü~".into()], "a%20b%2F%C3%BC~");
        check("url_decode", ["a%20b+%zz%C3%BC%".into()], "a b %zzü%");
        check("url_decode", ["%ff".into()], "\u{fffd}");
    }

    #[test]
    fn mistakes_name_the_encoding() {
        check("base64_encode", [5i64.into()], "NQ==");
        check("base64url_encode", ["??>".into()], "Pz8-");
        check("base32_encode", ["hi".into()], "NBUQ====");
        check("hex_decode", ["6G".into()], "Runtime error: hex decode error: invalid symbol at 1");
    }
}
