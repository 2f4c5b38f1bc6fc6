//! JSON Web Tokens, as far as they have to be checked.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey, VerificationAlgorithm};
use serde_json::Value;
use std::time::{SystemTime, UNIX_EPOCH};

/// Longest token that is read.
const TOKEN_BYTES_MAX: usize = 4096;

/// A token whose signature is right.
pub struct Token {
    pub header: Value,
    pub claims: Value,
}

impl Token {
    /// A claim that is a text.
    pub fn text(&self, name: &str) -> &str {
        self.claims[name].as_str().unwrap_or_default()
    }
}

/// Seconds since the Unix epoch.
pub fn now_s() -> i64 {
    now_us() / 1_000_000
}

/// Microseconds since the Unix epoch.
pub fn now_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// Base64url without padding.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// ES256 with a public key that is an uncompressed point.
pub fn es256(token: &str, key: &[u8]) -> Result<Token, String> {
    verify(token, "ES256", &ECDSA_P256_SHA256_FIXED, key)
}

/// RS256 with a public key that is an RSAPublicKey.
pub fn rs256(token: &str, key: &[u8]) -> Result<Token, String> {
    verify(token, "RS256", &RSA_PKCS1_2048_8192_SHA256, key)
}

fn verify(token: &str, name: &str, algorithm: &'static dyn VerificationAlgorithm, key: &[u8]) -> Result<Token, String> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err("the token is too long".into());
    }
    let parts: Vec<_> = token.split('.').collect();
    let [header_text, claims_text, signature] = parts[..] else { return Err("the token has not three parts".into()) };
    let json = |text: &str| decode(text).and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
    let header = json(header_text).filter(Value::is_object).ok_or("the token's header is not JSON")?;
    let claims = json(claims_text).filter(Value::is_object).ok_or("the token's claims are not JSON")?;
    if header["alg"] != name {
        return Err(format!("the token's alg is {}, not {name}", header["alg"]));
    }
    let signature = decode(signature).ok_or("the token's signature is not base64url")?;
    let signed = &token[..header_text.len() + 1 + claims_text.len()];
    UnparsedPublicKey::new(algorithm, key)
        .verify(signed.as_bytes(), &signature)
        .map_err(|_| "the token's signature is not right".to_owned())?;
    Ok(Token { header, claims })
}
