//! VAPID: who sends, RFC 8292.

use crate::channels::jwt;
use crate::ports::{MetaError, SecretStore};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::json;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Its name among the secrets.
const SECRET: &str = "vapid";
/// A token is good for this long (RFC 8292 §2 allows 24 h), and used for half of it.
const VALID_US: i64 = 12 * 3_600_000_000;
const USED_US: i64 = VALID_US / 2;
/// Origins whose tokens are kept; above it all are made anew.
const ORIGINS_MAX: usize = 256;

struct Token {
    made_us: i64,
    header: String,
}

/// The server's key with the tokens made of it, one per origin.
pub struct VapidKey {
    key: EcdsaKeyPair,
    subject: Option<String>,
    tokens: Mutex<HashMap<String, Token>>,
}

impl VapidKey {
    /// The key of this store; the first call makes it. Browsers subscribe to it, so another key would end every
    /// subscription.
    ///
    /// # Errors
    /// If the store fails, the system gives no random bytes, or the stored key is damaged.
    pub async fn load(secrets: &dyn SecretStore, subject: Option<String>) -> Result<Self, MetaError> {
        let failed = |what: &str| MetaError::Failed(anyhow::anyhow!("{what}"));
        let fresh = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
        let fresh = fresh.map_err(|_| failed("the system gives no random bytes for the VAPID key"))?;
        let stored = secrets.get_or_create(SECRET, fresh.as_ref().to_vec()).await?;
        Self::from_pkcs8(&stored, subject).map_err(|error| failed(&format!("the stored VAPID key is damaged: {error}")))
    }

    fn from_pkcs8(pkcs8: &[u8], subject: Option<String>) -> Result<Self, ring::error::KeyRejected> {
        Ok(Self { key: jwt::p256_key(pkcs8)?, subject, tokens: Mutex::default() })
    }

    /// What browsers subscribe with: an uncompressed point in base64url.
    pub fn public_key(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.key.public_key())
    }

    /// The Authorization header for a push service. RFC 8292 §3.
    ///
    /// # Errors
    /// If the system gives no random bytes.
    pub fn authorization(&self, origin: &str, now_us: i64) -> Result<String, String> {
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        // A clock that was set back would give tokens from the future.
        if let Some(token) = tokens.get(origin).filter(|t| (0..USED_US).contains(&(now_us - t.made_us))) {
            return Ok(token.header.clone());
        }
        let mut claims = json!({ "aud": origin, "exp": (now_us + VALID_US) / 1_000_000 });
        if let Some(subject) = &self.subject {
            claims["sub"] = subject.as_str().into();
        }
        let signed = jwt::sign_es256(&self.key, &json!({ "typ": "JWT", "alg": "ES256" }), &claims);
        let token = signed.map_err(|_| "the VAPID token cannot be signed".to_owned())?;
        let header = format!("vapid t={token}, k={}", self.public_key());
        if tokens.len() >= ORIGINS_MAX {
            tokens.clear();
        }
        tokens.insert(origin.to_owned(), Token { made_us: now_us, header: header.clone() });
        Ok(header)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
    use serde_json::Value;

    const HOUR: i64 = 3_600_000_000;

    fn key() -> VapidKey {
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
        let subject = Some("mailto:ops@example.org".into());
        VapidKey::from_pkcs8(pkcs8.expect("random bytes").as_ref(), subject).expect("a key")
    }

    #[test]
    fn a_token_names_one_origin_and_ends_within_twelve_hours() {
        let key = key();
        let now = 1_800_000_000_000_000;
        let header = key.authorization("https://push.example.org", now).expect("signed");
        let (token, public) = header.strip_prefix("vapid t=").and_then(|h| h.split_once(", k=")).expect("two parts");
        assert_eq!(public, key.public_key());
        let (signed, signature) = token.rsplit_once('.').expect("a JWT");
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).expect("base64url");
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, decode(public))
            .verify(signed.as_bytes(), &decode(signature))
            .expect("the signature is right");
        let claims: Value = serde_json::from_slice(&decode(signed.split('.').nth(1).expect("claims"))).expect("JSON");
        let wanted = json!({
            "aud": "https://push.example.org", "exp": 1_800_000_000 + 12 * 3600, "sub": "mailto:ops@example.org"
        });
        assert_eq!(claims, wanted);
    }

    #[test]
    fn tokens_are_used_again_per_origin_for_half_their_life() {
        let key = key();
        let at = |origin, hours| key.authorization(origin, 1_800_000_000_000_000 + hours * HOUR).expect("signed");
        let first = at("https://a", 0);
        assert_eq!(at("https://a", 5), first);
        assert_ne!(at("https://b", 5), first);
        assert_ne!(at("https://a", 6), first);
    }
}
