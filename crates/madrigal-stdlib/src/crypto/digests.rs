//! Digests and message authentication codes, as lower-case hex.

use super::hmac_sha256;
use crate::strict::{Octets, sized};
use data_encoding::{BASE64, HEXLOWER};
use madrigal_vm::{Args, Cx, Fault, Outcome, Value};
use sha2::digest::Digest;
use subtle::ConstantTimeEq;

madrigal_vm::builtins! {
    /// SHA-256.
    "sha256" (value: any) -> string = sha256;
    /// SHA-224.
    "sha224" (value: any) -> string = sha224;
    /// SHA-384.
    "sha384" (value: any) -> string = sha384;
    /// SHA-512.
    "sha512" (value: any) -> string = sha512;
    /// SHA-512/256.
    "sha512_256" (value: any) -> string = sha512_256;
    /// MD5; not for secrets.
    "md5" (value: any) -> string = md5;
    /// SHA3-256 of a text or of bytes.
    "sha3_256" (value: any) -> string = sha3_256;
    /// SHA3-512 of a text or of bytes.
    "sha3_512" (value: any) -> string = sha3_512;
    /// BLAKE3 of a text or of bytes.
    "blake3" (value: any) -> string = blake3;
    /// HMAC-SHA256 of a message.
    "hmac_sha256" (key: string, message: string) -> string = hmac_sha256_hex;
    /// HMAC-SHA256 of a message, in base64.
    "hmac_sha256_base64" (key: string, message: string) -> string = hmac_sha256_base64;
    /// Whether two texts are equal, in a time that does not tell where they differ.
    "constant_time_eq" (a: string, b: string) -> bool = constant_time_eq;
}

fn digest(cx: &mut Cx<'_>, args: &Args<'_>, of: fn(&[u8]) -> Vec<u8>) -> Result<Outcome, Fault> {
    let octets = Octets::of(args, 0);
    sized(cx, "digest", octets.len(), move || Ok(Value::from(HEXLOWER.encode(&of(&octets)))))
}

/// Builtins that give the digest of a value by some algorithm.
macro_rules! digests {
    ($($name:ident = $algorithm:ty;)*) => { $(
        fn $name(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
            digest(cx, &args, |octets| <$algorithm>::digest(octets).to_vec())
        }
    )* };
}

digests! {
    sha256 = sha2::Sha256;
    sha224 = sha2::Sha224;
    sha384 = sha2::Sha384;
    sha512 = sha2::Sha512;
    sha512_256 = sha2::Sha512_256;
    md5 = md5::Md5;
    sha3_256 = sha3::Sha3_256;
    sha3_512 = sha3::Sha3_512;
}

fn blake3(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    digest(cx, &args, |octets| blake3::hash(octets).as_bytes().to_vec())
}

fn mac(cx: &mut Cx<'_>, args: &Args<'_>, show: fn(&[u8]) -> String) -> Result<Outcome, Fault> {
    let (key, message) = (Octets::of(args, 0), Octets::of(args, 1));
    sized(cx, "hmac", key.len() + message.len(), move || Ok(Value::from(show(&hmac_sha256(&key, &message)))))
}

fn hmac_sha256_hex(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    mac(cx, &args, |it| HEXLOWER.encode(it))
}

fn hmac_sha256_base64(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    mac(cx, &args, |it| BASE64.encode(it))
}

fn constant_time_eq(_: &mut Cx<'_>, args: Args<'_>) -> Result<bool, Fault> {
    Ok(Octets::of(&args, 0).ct_eq(&*Octets::of(&args, 1)).into())
}
