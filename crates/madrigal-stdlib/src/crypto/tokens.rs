//! JSON web tokens: signing with ES256 and RS256, checking signatures of these and HS256. Expiry is not looked at.

use super::hmac_sha256;
use crate::json;
use data_encoding::BASE64URL_NOPAD;
use madrigal_vm::{Args, Cx, Fault, Str, Value};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_SHA256, RsaKeyPair, UnparsedPublicKey,
};
use rustls::pki_types::pem::{PemObject, SectionKind};
use subtle::ConstantTimeEq;

madrigal_vm::builtins! {
    /// A signed token; `algorithm` is `ES256` or `RS256`, the key is PEM.
    "jwt_sign" (algorithm: string, claims: dict, private_key: string) -> string = jwt_sign;
    /// `{valid, claims}` of a token whose signature is right; the algorithm is `HS256`, `ES256` or `RS256`.
    "jwt_verify" (algorithm: string, token: string, key: string) -> dict = jwt_verify;
}

/// The first block of a PEM text.
fn block(pem: &str) -> Result<(SectionKind, Vec<u8>), String> {
    match <(SectionKind, Vec<u8>)>::from_pem_slice(pem.as_bytes()) {
        Ok(block) => Ok(block),
        Err(error) => Err(error.to_string()),
    }
}

fn jwt_sign(_: &mut Cx<'_>, args: Args<'_>) -> Result<String, Fault> {
    if !args.has(2) {
        return Err(Fault::runtime("jwt_sign: requires 3 arguments: alg, claims, private_key"));
    }
    let algorithm = strict(&args, 0, "alg")?;
    let Some(_) = args.dict(1) else {
        return Err(Fault::runtime(format!("jwt_sign: claims must be a dict, got {}", args.get(1).type_name())));
    };
    let key = strict(&args, 2, "private_key")?;
    let sign = match algorithm.as_str() {
        "ES256" => sign_es256,
        "RS256" => sign_rs256,
        other => {
            return Err(Fault::runtime(format!("jwt_sign: unsupported algorithm `{other}`; expected ES256 or RS256")));
        }
    };
    let header = format!("{{\"typ\":\"JWT\",\"alg\":\"{algorithm}\"}}");
    let encode = |part: &[u8]| BASE64URL_NOPAD.encode(part);
    let message = format!("{}.{}", encode(header.as_bytes()), encode(json::stringify(args.get(1)).as_bytes()));
    match sign(&key, message.as_bytes()) {
        Ok(signature) => Ok(format!("{message}.{}", encode(&signature))),
        Err(error) => Err(Fault::runtime(format!("jwt_sign: invalid {algorithm} PEM private key: {error}"))),
    }
}

fn strict(args: &Args<'_>, index: usize, what: &str) -> Result<Str, Fault> {
    match args.get(index) {
        Value::String(it) => Ok(it.clone()),
        other => Err(Fault::runtime(format!("jwt_sign: {what} must be a string, got {}", other.type_name()))),
    }
}

fn sign_es256(pem: &str, message: &[u8]) -> Result<Vec<u8>, String> {
    let (kind, der) = block(pem)?;
    if kind != SectionKind::PrivateKey {
        return Err("expected a PKCS#8 private key".to_owned());
    }
    let random = SystemRandom::new();
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &der, &random);
    let key = key.map_err(|error| error.to_string())?;
    key.sign(&random, message).map(|it| it.as_ref().to_vec()).map_err(|error| error.to_string())
}

fn sign_rs256(pem: &str, message: &[u8]) -> Result<Vec<u8>, String> {
    let key = match block(pem)? {
        (SectionKind::PrivateKey, der) => RsaKeyPair::from_pkcs8(&der),
        (SectionKind::RsaPrivateKey, der) => RsaKeyPair::from_der(&der),
        _ => return Err("expected a PKCS#1 or PKCS#8 private key".to_owned()),
    };
    let key = key.map_err(|error| error.to_string())?;
    let mut signature = vec![0; key.public().modulus_len()];
    let signed = key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature);
    signed.map(|()| signature).map_err(|error| error.to_string())
}

fn jwt_verify(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let claims = verified(&args.string(0), &args.string(1), &args.string(2));
    let claims = claims.map_err(|error| Fault::thrown(format!("jwt_verify: {error}")))?;
    Ok(Value::dict([("valid", Value::Bool(true)), ("claims", claims)]))
}

/// The claims of a token whose signature is right.
fn verified(algorithm: &str, token: &str, key: &str) -> Result<Value, String> {
    let (message, signature) = token.rsplit_once('.').ok_or("malformed token")?;
    let (header, payload) = message.split_once('.').ok_or("malformed token")?;
    let decode =
        |part: &str| BASE64URL_NOPAD.decode(part.as_bytes()).map_err(|error| format!("malformed token: {error}"));
    let document = |part: &str| {
        let text = String::from_utf8(decode(part)?).map_err(|error| format!("malformed token: {error}"))?;
        json::parse(&text).map_err(|error| format!("malformed token: {error}"))
    };
    let signature = decode(signature)?;
    let declared = match document(header)? {
        Value::Dict(fields) => fields.get("alg").map(Value::display),
        _ => None,
    };
    if declared.as_deref() != Some(algorithm) {
        return Err(format!("the token is not signed with {algorithm}"));
    }
    let right = match algorithm {
        "HS256" => hmac_sha256(key.as_bytes(), message.as_bytes()).ct_eq(&signature).into(),
        "ES256" => UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, public_key(key)?)
            .verify(message.as_bytes(), &signature)
            .is_ok(),
        "RS256" => {
            let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, public_key(key)?);
            key.verify(message.as_bytes(), &signature).is_ok()
        }
        other => return Err(format!("unsupported algorithm `{other}`; expected HS256, ES256 or RS256")),
    };
    if right { document(payload) } else { Err("invalid signature".to_owned()) }
}

/// The key itself out of a PEM public key: the bit string at the end of its structure.
fn public_key(pem: &str) -> Result<Vec<u8>, String> {
    let (kind, der) = block(pem)?;
    if kind != SectionKind::PublicKey {
        return Err("expected a PEM public key".to_owned());
    }
    let outer = content(&der, 0x30).ok_or("malformed public key")?;
    let algorithm = content(outer.0, 0x30).ok_or("malformed public key")?;
    let (bits, _) = content(algorithm.1, 0x03).ok_or("malformed public key")?;
    // The first byte of a bit string counts its unused bits.
    Ok(bits.get(1..).unwrap_or_default().to_vec())
}

/// Content of the DER element with this tag at the start, and what follows it.
fn content(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, rest) = der.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(*first), rest),
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    (*found == tag).then(|| rest.split_at_checked(length))?
}
