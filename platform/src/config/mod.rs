//! Typed configuration: `pulsewire.toml`, overridden by `PULSEWIRE_*`, overridden by flags.
//!
//! Every key stands once in [`keys`](self::keys): its section, name, default, allowed range and meaning. Reading collects
//! all mistakes before it fails, and nothing reads the environment afterwards.

mod key;
mod keys;
mod parse;

pub use key::{Key, Kind};
pub use keys::KEYS;
pub use parse::{ConfigErrors, Overrides};

use lettre::message::Mailbox;
use pulsewire_core::retention::RetentionPlan;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Everything the server can be told. See `docs/configuration.md` for each key.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)] // the keys' table documents every field
pub struct Config {
    pub data_dir: PathBuf,
    pub name: String,
    pub http: Http,
    pub device: Device,
    pub ingest: Ingest,
    pub journal: Journal,
    pub store: Store,
    pub retention: RetentionPlan,
    pub alerting: Alerting,
    pub commands: Commands,
    pub live: Live,
    pub push: Push,
    pub email: Option<Email>,
    pub log: Log,
}

/// `[http]`
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct Http {
    pub listen: SocketAddr,
    pub public_url: Option<String>,
    pub workers: usize,
    pub body_bytes_max: usize,
    pub import_bytes_max: u64,
    pub connections_max: usize,
    pub session_ttl: Duration,
    pub sessions_per_user_max: usize,
    pub sign_ins_per_minute: u32,
    pub map_tiles: Option<MapTiles>,
}

/// Where browsers get the tiles of the map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MapTiles {
    /// With `{z}`, `{x}` and `{y}` in its path or query.
    pub url: String,
    /// Scheme, host and port of `url`: nothing in it has a meaning of its own in a Content-Security-Policy.
    pub origin: String,
    /// Whom the tiles are from, as text; may be empty.
    pub attribution: String,
    /// Deepest zoom that there is.
    pub zoom_max: u8,
}

/// `[device]`
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct Device {
    pub listen: SocketAddr,
    pub allow_plaintext: bool,
    pub tls: Option<Tls>,
    pub binding_certificate: Option<PathBuf>,
    pub connections_max: usize,
    pub connections_per_address_max: usize,
    pub login_timeout: Duration,
    pub write_timeout: Duration,
    pub heartbeat_interval: Duration,
    pub frame_bytes_max: u32,
    pub window_frames: u32,
    pub window_bytes: u32,
    pub stale_after: Duration,
}

/// Certificate and key of the device port.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct Tls {
    pub cert_file: PathBuf,
    pub key_file: PathBuf,
}

/// `[ingest]`
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct Ingest {
    pub queue_reports: usize,
    pub queue_bytes: usize,
    pub series_max: usize,
    pub series_per_device_max: usize,
    pub streams_per_device_max: usize,
    pub time_ahead_max: Duration,
}

/// `[journal]`
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct Journal {
    pub retain_bytes: u64,
    pub hold_bytes_max: u64,
}

/// `[store]`
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct Store {
    pub heads_bytes_max: usize,
    pub unsealed_bytes_max: u64,
    pub chunk_rows: usize,
    pub size_bytes_max: u64,
    pub query_samples_max: usize,
    pub query_time_max: Duration,
}

/// `[alerting]`
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct Alerting {
    pub rules_max: usize,
    pub gap_max: Duration,
    pub lateness_max: Duration,
    pub ahead_max: Duration,
    pub history_alerts: usize,
    pub alerts_per_rule_max: usize,
    pub group_silence_percent: u32,
    pub group_silence_window: Duration,
    pub rule_versions_max: usize,
    pub notifications_max: usize,
    pub backtests_max: usize,
    pub backtest_samples_max: u64,
}

/// `[commands]`
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct Commands {
    pub lease: Duration,
    pub attempts_max: u32,
    pub queued_per_device_max: usize,
    pub history_per_device: usize,
    pub queue_requests: usize,
}

/// `[live]`
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct Live {
    pub bus_events: usize,
    pub viewers_max: usize,
    pub viewers_per_user_max: usize,
    pub viewers_per_address_max: usize,
    pub heartbeat_interval: Duration,
    pub interval_min: Duration,
    pub subscriptions_max: usize,
    pub subscriptions_per_user_max: usize,
    pub subscribe_wait: Duration,
    pub resume_records_max: u64,
    pub resumes_max: usize,
    pub series_max: usize,
    pub across_inputs_max: usize,
    pub across_stale_after: Duration,
    pub views_max: usize,
    pub view_series_max: usize,
    pub view_linger: Duration,
    pub idle_series_max: usize,
    pub snapshot_reuse: Duration,
    pub ring_frames: usize,
    pub ring_bytes_max: usize,
    pub rings_bytes_max: usize,
    pub pending_samples_max: usize,
    pub events_kept_max: usize,
    pub slow_interval_max: Duration,
    pub history_samples_max: usize,
    pub slow_reader_timeout: Duration,
}

/// `[push]`
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct Push {
    pub grace: Duration,
    pub ttl_critical: Duration,
    pub ttl_warning: Duration,
    pub ttl_info: Duration,
    pub workers: usize,
    pub per_origin_max: usize,
    pub per_origin_rate: u32,
    pub bulk_queue_max: usize,
    pub lease: Duration,
    pub connect_timeout: Duration,
    pub request_timeout: Duration,
    pub attempts_max: u32,
    pub history_per_user: usize,
    pub endpoints_per_user_max: usize,
    pub endpoint_idle_max: Duration,
    pub allow_private_endpoints: bool,
    pub extra_root_file: Option<PathBuf>,
    pub vapid_subject: Option<String>,
    pub apns: Option<Apns>,
    pub fcm: Option<Fcm>,
}

/// Apple's push service.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct Apns {
    pub key_file: PathBuf,
    pub key_id: String,
    pub team_id: String,
    pub topic: String,
    pub url: String,
}

/// Firebase Cloud Messaging.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct Fcm {
    pub service_account_file: PathBuf,
    pub url: String,
}

/// `[email]`
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct Email {
    pub host: String,
    pub port: u16,
    pub tls: SmtpTls,
    /// User and the file with its password.
    pub login: Option<(String, PathBuf)>,
    pub from: Mailbox,
    pub timeout: Duration,
}

/// How a connection to a mail server is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SmtpTls {
    /// TLS from the start.
    Implicit,
    /// STARTTLS, or nothing is sent.
    Required,
    /// None.
    Off,
}

/// `[log]`
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct Log {
    pub level: String,
    pub json: bool,
}

impl Config {
    /// Reads the file's text (empty if there is none), the environment and the flags.
    ///
    /// # Errors
    /// [`ConfigErrors`] with every mistake found.
    pub fn read(file: &str, overrides: &Overrides) -> Result<Self, ConfigErrors> {
        parse::read(file, overrides)
    }
}
