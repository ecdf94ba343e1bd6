//! Ed25519 signatures and X25519 key agreement. Keys and signatures are lower-case hex.

use crate::host::run;
use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use madrigal_vm::{Args, Cx, Fault, Value};
use x25519_dalek::{PublicKey, StaticSecret};

madrigal_vm::builtins! {
    /// A new key pair `{private, public}` for signatures.
    "ed25519_keypair" () -> dict = ed25519_keypair;
    /// The signature of a message.
    "ed25519_sign" (private_hex: string, message: string) -> string = ed25519_sign;
    /// Whether a signature belongs to the message and the key.
    "ed25519_verify" (public_hex: string, message: string, signature_hex: string) -> bool = ed25519_verify;
    /// A new key pair `{private, public}` for key agreement.
    "x25519_keypair" () -> dict = x25519_keypair;
    /// The secret that the owners of two key pairs share.
    "x25519_agree" (private_hex: string, peer_public_hex: string) -> string = x25519_agree;
}

fn pair(private: &[u8], public: &[u8]) -> Value {
    Value::dict(
        [("private", HEXLOWER.encode(private)), ("public", HEXLOWER.encode(public))].map(|(k, v)| (k, Value::from(v))),
    )
}

/// The key of 32 bytes in an argument; `invalid` and `what` name it in mistakes.
fn key(args: &Args<'_>, index: usize, name: &str, invalid: &str, what: &str) -> Result<[u8; 32], Fault> {
    let decoded = HEXLOWER_PERMISSIVE.decode(args.string(index).as_bytes());
    let bytes = decoded.map_err(|error| Fault::thrown(format!("{name}: {invalid}: {error}")))?;
    <[u8; 32]>::try_from(bytes).map_err(|_| Fault::thrown(format!("{name}: {what} must be 32 bytes")))
}

fn ed25519_keypair(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Value, Fault> {
    let key = SigningKey::from_bytes(&run(cx).entropy()?);
    Ok(pair(key.as_bytes(), key.verifying_key().as_bytes()))
}

fn ed25519_sign(_: &mut Cx<'_>, args: Args<'_>) -> Result<String, Fault> {
    if !args.has(1) {
        return Err(Fault::thrown("ed25519_sign: expected (private_hex, message)"));
    }
    let private = key(&args, 0, "ed25519_sign", "invalid hex private key", "private key")?;
    let signature = SigningKey::from_bytes(&private).sign(args.string(1).as_bytes());
    Ok(HEXLOWER.encode(&signature.to_bytes()))
}

fn ed25519_verify(_: &mut Cx<'_>, args: Args<'_>) -> Result<bool, Fault> {
    if !args.has(2) {
        return Err(Fault::thrown("ed25519_verify: expected (public_hex, message, signature_hex)"));
    }
    let bytes = |index| HEXLOWER_PERMISSIVE.decode(args.string(index).as_bytes()).ok();
    let public = bytes(0).and_then(|it| VerifyingKey::from_bytes(&it.try_into().ok()?).ok());
    let signature = bytes(2).and_then(|it| Signature::from_slice(&it).ok());
    let (Some(public), Some(signature)) = (public, signature) else { return Ok(false) };
    Ok(public.verify_strict(args.string(1).as_bytes(), &signature).is_ok())
}

fn x25519_keypair(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Value, Fault> {
    let private = StaticSecret::from(run(cx).entropy::<32>()?);
    Ok(pair(private.as_bytes(), PublicKey::from(&private).as_bytes()))
}

fn x25519_agree(_: &mut Cx<'_>, args: Args<'_>) -> Result<String, Fault> {
    if !args.has(1) {
        return Err(Fault::thrown("x25519_agree: expected (private_hex, peer_public_hex)"));
    }
    let private = key(&args, 0, "x25519_agree", "invalid private hex", "private")?;
    let public = key(&args, 1, "x25519_agree", "invalid public hex", "public")?;
    let secret = StaticSecret::from(private).diffie_hellman(&PublicKey::from(public));
    Ok(HEXLOWER.encode(secret.as_bytes()))
}
