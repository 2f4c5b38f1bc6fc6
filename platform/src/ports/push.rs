use async_trait::async_trait;
use pulsewire_core::push::{ChannelKind, Notification, Verdict};
use serde::{Deserialize, Serialize};

/// Where an endpoint is. It is a secret: who knows it can send to it. So it has no `Debug`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum PushAddress {
    /// A browser's subscription.
    WebPush {
        /// Where messages are posted.
        url: String,
        /// The browser's public key, an uncompressed point of P-256, in base64url.
        p256dh: String,
        /// The browser's secret, 16 bytes in base64url.
        auth: String,
    },
    /// An app of Apple's.
    Apns {
        /// Device token, hex.
        token: String,
        /// The app's bundle id, if it is not the configured one.
        topic: Option<String>,
    },
    /// An app of Google's.
    Fcm {
        /// Registration token.
        token: String,
    },
    /// A mailbox.
    Email {
        /// `name@example.org`.
        mailbox: String,
    },
    /// A service of the user's own.
    Webhook {
        /// Where messages are posted.
        url: String,
        /// What signs them: `whsec_` and 32 bytes in base64, as the Standard Webhooks specification has it.
        secret: String,
    },
}

impl PushAddress {
    /// How it is reached.
    pub fn kind(&self) -> ChannelKind {
        match self {
            Self::WebPush { .. } => ChannelKind::WebPush,
            Self::Apns { .. } => ChannelKind::Apns,
            Self::Fcm { .. } => ChannelKind::Fcm,
            Self::Email { .. } => ChannelKind::Email,
            Self::Webhook { .. } => ChannelKind::Webhook,
        }
    }

    /// What makes it the same place again: URL, token or mailbox. Keys may change under it.
    pub fn place(&self) -> &str {
        match self {
            Self::WebPush { url, .. } | Self::Webhook { url, .. } => url,
            Self::Email { mailbox } => mailbox,
            Self::Apns { token, .. } | Self::Fcm { token } => token,
        }
    }
}

/// A field of an address that cannot be accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct AddressProblem {
    /// `url`, `keys.p256dh`, `keys.auth`, `token`, `topic`, `mailbox` or `secret`.
    pub field: &'static str,
    /// What is wrong, and what is wanted; never the address.
    pub detail: String,
    /// It leads into a private network.
    pub private: bool,
}

/// A way to people: one per kind.
#[async_trait]
pub trait PushChannel: Send + Sync {
    /// Which kind.
    fn kind(&self) -> ChannelKind;
    /// Checks an address before it is registered and answers it in its one form.
    ///
    /// # Errors
    /// [`AddressProblem`].
    fn check(&self, address: PushAddress) -> Result<PushAddress, AddressProblem>;
    /// The provider behind an address; messages to one provider share its bounds and its troubles. Of a browser's
    /// subscription and of a webhook the host, else the kind's name.
    fn provider(&self, address: &PushAddress) -> String;
    /// What a browser needs to subscribe: the public key in base64url. None for other kinds.
    fn public_key(&self) -> Option<String>;
    /// Hands a notification to the provider. Never fails and never takes much longer than the configured times: whatever
    /// happens is a verdict.
    async fn send(&self, address: &PushAddress, notification: &Notification, now_us: i64) -> Verdict;
}

/// Small secrets that the server makes for itself.
#[async_trait]
pub trait SecretStore: Send + Sync {
    /// The secret of this name; the first call stores `fresh` as it.
    ///
    /// # Errors
    /// [`MetaError`](super::MetaError) if the store fails.
    async fn get_or_create(&self, name: &str, fresh: Vec<u8>) -> Result<Vec<u8>, super::MetaError>;
}
