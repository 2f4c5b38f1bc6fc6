//! Ways to people: Web Push, APNs, FCM and webhooks, all over one HTTP client, and e-mail. Each has its contract in a classifier of its own: a pure
//! function from the provider's answer to a verdict. `docs/adr/0003-push-dependencies.md` says why there is no library per
//! provider.

mod apns;
mod client;
mod email;
mod fcm;
mod fit;
mod jwt;
mod reply;
mod webhook;
mod webpush;

pub use apns::{ApnsChannel, ApnsKey};
pub use client::{ClientOptions, PushClient, Reach};
pub use email::{EmailChannel, EmailOptions, EmailTls};
pub use fcm::{FcmChannel, ServiceAccount};
pub use webhook::WebhookChannel;
pub use webpush::{PAYLOAD_BYTES_MAX, VapidKey, WebPushChannel};

/// Largest payload of any channel, before encryption: providers that pass messages on take no more.
pub const MESSAGE_BYTES_MAX: usize = 2048;

/// Why a channel cannot be used. The text names the configuration key and never a secret.
#[derive(Debug, thiserror::Error)]
#[error("{key}: {problem}")]
pub struct ChannelError {
    /// Configuration key.
    pub key: &'static str,
    /// What is wrong with what it names.
    pub problem: String,
}

impl ChannelError {
    fn new(key: &'static str, problem: impl Into<String>) -> Self {
        Self { key, problem: problem.into() }
    }
}
