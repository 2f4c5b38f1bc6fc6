//! JSON Web Tokens, as far as providers want them: signing only.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use serde_json::Value;

fn unsigned(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}", part(header), part(claims))
}

/// Reads a P-256 key from PKCS#8, which must hold its public half, too.
pub(super) fn p256_key(pkcs8: &[u8]) -> Result<EcdsaKeyPair, ring::error::KeyRejected> {
    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8, &SystemRandom::new())
}

/// ES256: RFC 7518 §3.4.
pub(super) fn sign_es256(
    key: &EcdsaKeyPair,
    header: &Value,
    claims: &Value,
) -> Result<String, ring::error::Unspecified> {
    let text = unsigned(header, claims);
    let signature = key.sign(&SystemRandom::new(), text.as_bytes())?;
    Ok(format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

/// RS256: RFC 7518 §3.3.
pub(super) fn sign_rs256(key: &RsaKeyPair, header: &Value, claims: &Value) -> Result<String, ring::error::Unspecified> {
    let text = unsigned(header, claims);
    let mut signature = vec![0; key.public().modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature)?;
    Ok(format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature)))
}
