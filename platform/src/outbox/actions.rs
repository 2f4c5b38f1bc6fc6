//! What a device may do for its person without signing in: the token that comes with a message is the right to acknowledge or
//! silence what the message is about, and to say what became of it. Nothing is stored for it: a signature over the delivery's id
//! and an end.

use crate::ports::{MetaError, SecretStore};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use pulsewire_core::ids::DeliveryId;
use pulsewire_core::ulid::Ulid;
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};

/// Its name among the secrets.
const SECRET: &str = "push_actions";
/// What is signed begins with this, so that no other signature of the same key passes for one.
const LABEL: &[u8] = b"pulsewire push action";
/// A token is good for this long at most: a day.
const GOOD_US: i64 = 86_400_000_000;
const ID: usize = 16;
const SIGNED: usize = ID + 8;
const TOKEN: usize = SIGNED + 32;

/// What a device says or asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Take note of the alerts.
    Acknowledge,
    /// Do not tell of them for an hour.
    Silence,
    /// The message was shown.
    Shown,
    /// A person opened it.
    Opened,
    /// A person put it away.
    Dismissed,
}

impl Action {
    /// Every action.
    pub const ALL: [Self; 5] = [Self::Acknowledge, Self::Silence, Self::Shown, Self::Opened, Self::Dismissed];

    /// The name used in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Acknowledge => "acknowledge",
            Self::Silence => "silence",
            Self::Shown => "shown",
            Self::Opened => "opened",
            Self::Dismissed => "dismissed",
        }
    }

    /// The action with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.name() == name)
    }

    /// What is written into the delivery's timeline.
    pub fn event(self) -> &'static str {
        match self {
            Self::Acknowledge => "acknowledged",
            Self::Silence => "silenced",
            other => other.name(),
        }
    }
}

/// Why a token is no right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenError {
    /// It is none of this server's.
    Bad,
    /// It was one.
    Expired,
}

/// Makes tokens and checks them.
#[derive(Clone)]
pub struct ActionKey(hmac::Key);

impl ActionKey {
    /// The key of this store; the first call makes it.
    ///
    /// # Errors
    /// If the store fails or the system gives no random bytes.
    pub async fn load(secrets: &dyn SecretStore) -> Result<Self, MetaError> {
        let mut fresh = [0; 32];
        let random = SystemRandom::new().fill(&mut fresh);
        random.map_err(|_| MetaError::Failed(anyhow::anyhow!("the system gives no random bytes")))?;
        Ok(Self::new(&secrets.get_or_create(SECRET, fresh.to_vec()).await?))
    }

    fn new(key: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// A token for a delivery, good until its message expires, a day at most. 75 characters.
    pub fn seal(&self, delivery: DeliveryId, expires_us: i64, now_us: i64) -> String {
        let until_us = expires_us.min(now_us.saturating_add(GOOD_US));
        let until_s = u64::try_from(until_us / 1_000_000).unwrap_or(0);
        let mut bytes = Vec::with_capacity(TOKEN);
        bytes.extend_from_slice(&delivery.0.to_bytes());
        bytes.extend_from_slice(&until_s.to_be_bytes());
        let signature = hmac::sign(&self.0, &[LABEL, &bytes].concat());
        bytes.extend_from_slice(signature.as_ref());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The delivery that a token is for. The signature is compared in constant time, and before anything it says is looked at.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn open(&self, token: &str, now_us: i64) -> Result<DeliveryId, TokenError> {
        let bytes = URL_SAFE_NO_PAD.decode(token).ok().filter(|bytes| bytes.len() == TOKEN).ok_or(TokenError::Bad)?;
        let (signed, signature) = bytes.split_at(SIGNED);
        hmac::verify(&self.0, &[LABEL, signed].concat(), signature).map_err(|_| TokenError::Bad)?;
        let (id, until) = signed.split_at(ID);
        let id: [u8; ID] = id.try_into().map_err(|_| TokenError::Bad)?;
        let until_s = u64::from_be_bytes(until.try_into().map_err(|_| TokenError::Bad)?);
        if u64::try_from(now_us / 1_000_000).unwrap_or(0) >= until_s {
            return Err(TokenError::Expired);
        }
        Ok(DeliveryId(Ulid::from_bytes(id)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW_US: i64 = 1_800_000_000_000_000;
    const HOUR_US: i64 = 3_600_000_000;

    fn delivery() -> DeliveryId {
        DeliveryId(Ulid::from_bytes([0xab; 16]))
    }

    #[test]
    fn a_token_is_good_until_its_message_expires_and_a_day_at_most() {
        let key = ActionKey::new(&[7; 32]);
        let short = key.seal(delivery(), NOW_US + HOUR_US, NOW_US);
        assert_eq!(short.len(), 75);
        assert_eq!(key.open(&short, NOW_US + HOUR_US - 1), Ok(delivery()));
        assert_eq!(key.open(&short, NOW_US + HOUR_US), Err(TokenError::Expired));
        let long = key.seal(delivery(), i64::MAX, NOW_US);
        assert_eq!(key.open(&long, NOW_US + 24 * HOUR_US - 1), Ok(delivery()));
        assert_eq!(key.open(&long, NOW_US + 24 * HOUR_US), Err(TokenError::Expired));
    }

    #[test]
    fn another_server_s_token_is_none() {
        let token = ActionKey::new(&[8; 32]).seal(delivery(), NOW_US + HOUR_US, NOW_US);
        assert_eq!(ActionKey::new(&[7; 32]).open(&token, NOW_US), Err(TokenError::Bad));
    }

    proptest! {
        #[test]
        fn a_token_with_one_other_bit_is_none(byte in 0..TOKEN, bit in 0u32..8) {
            let key = ActionKey::new(&[7; 32]);
            let token = key.seal(delivery(), NOW_US + HOUR_US, NOW_US);
            let mut bytes = URL_SAFE_NO_PAD.decode(&token).expect("base64url");
            bytes[byte] ^= 1u8 << bit;
            prop_assert_eq!(key.open(&URL_SAFE_NO_PAD.encode(bytes), NOW_US), Err(TokenError::Bad));
        }

        #[test]
        fn no_text_is_a_token(text in "\\PC{0,100}") {
            prop_assert_eq!(ActionKey::new(&[7; 32]).open(&text, NOW_US), Err(TokenError::Bad));
        }
    }
}
