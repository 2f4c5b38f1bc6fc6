//! Delivery of messages to people: what a message is, whether it is pushed at all, and what follows from a provider's answer.

mod address;
mod announcement;
mod deliver;
mod document;
mod gate;
mod notification;
mod preferences;
mod retry;

pub use address::{
    APNS_TOKEN_CHARS, AddressError, FCM_TOKEN_CHARS_MAX, URL_BYTES_MAX, apns_token, fcm_token, host_of, is_public,
    webpush_url,
};
pub use announcement::{
    Addressees, Announcement, AnnouncementAct, AnnouncementError, AnnouncementState, Progress, TTL_US,
};
pub use deliver::{About, Course, Held, Unwanted, deliver};
pub use document::{EndpointPreferencesDocument, PreferencesDocument, PreferencesError, QuietHoursDocument};
pub use gate::{Decision, Gate, Suppression, decide};
pub use notification::{ChannelKind, Look, Notification, OpenAlerts, Priority, clip};
pub use preferences::{
    DIGEST_US, EndpointPreferences, GROUPS_MAX, Language, Preferences, QuietHours, Severities, Sound, Stay,
};
pub use retry::{BACKOFF_MAX_US, BACKOFF_MIN_US, Next, RETRY_AFTER_MAX_US, Try, Verdict, backoff_us, settle};
