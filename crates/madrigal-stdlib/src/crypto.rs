//! Cryptography: digests, keys, tokens and signed URLs, each in its file. What secrets are compared with takes a time
//! that does not tell where they differ.

mod digests;
mod keys;
mod signed_urls;
mod tokens;

use data_encoding::BASE64URL_NOPAD;
use hmac::{Hmac, KeyInit, Mac};
use madrigal_vm::BuiltinTable;
use sha2::Sha256;

/// Adds the builtins of all files.
pub fn register(table: &mut BuiltinTable) {
    digests::register(table);
    keys::register(table);
    signed_urls::register(table);
    tokens::register(table);
}

/// HMAC-SHA256.
pub(crate) fn hmac_sha256(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("keys of all lengths are fine");
    mac.update(message);
    mac.finalize().into_bytes().into()
}

/// HMAC-SHA256 in URL-safe base64, as cookies and URLs carry it.
pub(crate) fn signature(secret: &str, text: &str) -> String {
    BASE64URL_NOPAD.encode(&hmac_sha256(secret.as_bytes(), text.as_bytes()))
}
