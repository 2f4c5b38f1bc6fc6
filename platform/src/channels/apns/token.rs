//! The provider token: one for all messages. Apple wants it renewed "no more than once every 20 minutes and no less than
//! once every 60".

use crate::channels::{ChannelError, jwt};
use ring::signature::EcdsaKeyPair;
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject;
use serde_json::json;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

const MINUTE_US: i64 = 60_000_000;
/// A token is used for this long.
const USED_US: i64 = 50 * MINUTE_US;
/// No token is made sooner than this after the last, whatever Apple says of that. A restart does not know of the last one:
/// Apple then answers `TooManyProviderTokenUpdates`, and the messages wait.
const APART_US: i64 = 20 * MINUTE_US;

#[derive(Default)]
struct Current {
    token: String,
    made_us: i64,
    refused: bool,
}

/// The team's key with the token made of it.
pub struct ApnsKey {
    key: EcdsaKeyPair,
    key_id: String,
    team_id: String,
    current: Mutex<Option<Current>>,
}

impl ApnsKey {
    /// Reads the `.p8` file.
    ///
    /// # Errors
    /// If it cannot be read or holds no P-256 key.
    pub fn read(file: &Path, key_id: String, team_id: String) -> Result<Self, ChannelError> {
        let wrong = |problem: String| ChannelError::new("push.apns_key_file", problem);
        let name = file.display();
        let pem = std::fs::read(file).map_err(|error| wrong(format!("{name} cannot be read: {error}")))?;
        Self::from_pem(&pem, key_id, team_id).map_err(|problem| wrong(format!("{name} {problem}")))
    }

    fn from_pem(pem: &[u8], key_id: String, team_id: String) -> Result<Self, String> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem)
            .map_err(|_| "is not a PKCS#8 key in PEM (-----BEGIN PRIVATE KEY-----)".to_owned())?;
        let key = jwt::p256_key(der.secret_pkcs8_der())
            .map_err(|error| format!("holds no P-256 key with its public half: {error}"))?;
        Ok(Self { key, key_id, team_id, current: Mutex::default() })
    }

    /// The token to send with.
    ///
    /// # Errors
    /// If the system gives no random bytes.
    pub(super) fn bearer(&self, now_us: i64) -> Result<String, String> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(made) = current.as_ref() {
            let age_us = now_us - made.made_us;
            let until_us = if made.refused { APART_US } else { USED_US };
            // A clock that was set back by little changes nothing; by more, Apple would refuse the time.
            if (-MINUTE_US..until_us).contains(&age_us) {
                return Ok(made.token.clone());
            }
        }
        let header = json!({ "alg": "ES256", "kid": self.key_id });
        let claims = json!({ "iss": self.team_id, "iat": now_us / 1_000_000 });
        let token = jwt::sign_es256(&self.key, &header, &claims);
        let token = token.map_err(|_| "the APNs token cannot be signed".to_owned())?;
        *current = Some(Current { token: token.clone(), made_us: now_us, refused: false });
        Ok(token)
    }

    /// Apple calls the token expired: it is renewed as soon as that is allowed.
    pub(super) fn refuse(&self, now_us: i64) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        // A verdict on the token before this one says nothing about it.
        if let Some(made) = current.as_mut().filter(|made| now_us - made.made_us > MINUTE_US) {
            made.refused = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring::rand::SystemRandom;
    use ring::signature::ECDSA_P256_SHA256_FIXED_SIGNING;

    fn key() -> ApnsKey {
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
        let key = jwt::p256_key(pkcs8.expect("random bytes").as_ref()).expect("a key");
        ApnsKey { key, key_id: "KEY".into(), team_id: "TEAM".into(), current: Mutex::default() }
    }

    #[test]
    fn over_three_hours_tokens_are_few_and_never_closer_than_twenty_minutes() {
        let key = key();
        let start = 1_800_000_000_000_000;
        let mut made: Vec<(i64, String)> = Vec::new();
        for second in 0..3 * 3600 {
            let now_us = start + second * 1_000_000;
            let token = key.bearer(now_us).expect("signed");
            if made.last().is_none_or(|(_, last)| *last != token) {
                made.push((now_us, token));
            }
            if second % 7 == 0 && second > 5000 {
                key.refuse(now_us);
            }
        }
        assert!((3..=9).contains(&made.len()), "{} tokens", made.len());
        let gaps: Vec<_> = made.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
        assert!(gaps.iter().all(|gap| (APART_US..=60 * MINUTE_US).contains(gap)), "{gaps:?}");
    }

    #[test]
    fn a_file_that_is_no_key_says_so_without_repeating_it() {
        for wrong in ["", "secret words", "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n"] {
            let problem = ApnsKey::from_pem(wrong.as_bytes(), "K".into(), "T".into()).err().expect("refused");
            assert!(!problem.contains("secret") && !problem.contains("c2Vj"), "{problem}");
        }
    }
}
