//! The table of configuration keys.

/// What a key takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// A whole number within these bounds.
    Integer(i64, i64),
    /// A time like `500ms`, `10s`, `5m`, `24h`, within these bounds in milliseconds.
    Duration(i64, i64),
    /// A size like `4096`, `64KiB`, `256MiB`, within these bounds in bytes.
    Bytes(i64, i64),
    /// `true` or `false`.
    Bool,
    /// `ADDRESS:PORT`.
    Address,
    /// A path; empty = none.
    Path,
    /// One of these words.
    Word(&'static [&'static str]),
    /// Any text.
    Text,
}

/// One key.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Its table in the file; empty = the top level.
    pub section: &'static str,
    /// Its name there.
    pub name: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// As written in the file.
    pub default: &'static str,
    /// What it does, and what happens at a bound.
    pub meaning: &'static str,
}

impl Key {
    /// `section.name`, as used in messages.
    pub fn path(&self) -> String {
        if self.section.is_empty() { self.name.to_owned() } else { format!("{}.{}", self.section, self.name) }
    }

    /// The environment variable that overrides it.
    pub fn variable(&self) -> String {
        format!("PULSEWIRE_{}", self.path().replace('.', "_").to_uppercase())
    }
}

const fn key(
    section: &'static str,
    name: &'static str,
    kind: Kind,
    default: &'static str,
    meaning: &'static str,
) -> Key {
    Key { section, name, kind, default, meaning }
}

const MIB: i64 = 1 << 20;
const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// Every key, in the order of the documentation.
pub const KEYS: &[Key] = &[
    key("", "data_dir", Kind::Path, "pulsewire-data", "Data folder. Made if missing; one server at a time."),
    key("", "name", Kind::Text, "Pulsewire", "Name of this server, shown in the dashboard."),
    key(
        "http",
        "listen",
        Kind::Address,
        "127.0.0.1:8080",
        "Where people and services connect. Port 0 picks a free one.",
    ),
    key(
        "http",
        "public_url",
        Kind::Text,
        "",
        "How browsers reach the dashboard, when a proxy stands before it (`https://example.org`). Writes and live sockets from browsers must come from this origin or from the address asked for. With https, cookies are marked Secure.",
    ),
    key("http", "workers", Kind::Integer(1, 64), "2", "Threads that serve HTTP."),
    key("http", "body_bytes_max", Kind::Bytes(1024, 64 * MIB), "1MiB", "Largest request body; above it 413."),
    key(
        "http",
        "import_bytes_max",
        Kind::Bytes(1024, 1 << 50),
        "1GiB",
        "Largest file of one import, which is read as a stream; above it 413. A file whose size is announced is then refused as a whole; of another, part of what came before the limit may be stored, and the answer says up to which line.",
    ),
    key(
        "http",
        "connections_max",
        Kind::Integer(1, 1_000_000),
        "10000",
        "Most open HTTP connections per thread; further ones wait.",
    ),
    key("http", "session_ttl", Kind::Duration(MINUTE, 365 * DAY), "168h", "How long a sign-in is good."),
    key(
        "http",
        "sessions_per_user_max",
        Kind::Integer(1, 10_000),
        "50",
        "Most sign-ins of one user; the one that ends first is dropped.",
    ),
    key(
        "http",
        "sign_ins_per_minute",
        Kind::Integer(1, 10_000),
        "30",
        "Most sign-ins and changes of passwords per address (IPv6: per /64) and minute; above it 429 with Retry-After.",
    ),
    key("device", "listen", Kind::Address, "127.0.0.1:7410", "Where devices connect, on every transport."),
    key(
        "device",
        "allow_plaintext",
        Kind::Bool,
        "false",
        "Accept logins without TLS on an address that is not loopback. Without it such logins close with 4016.",
    ),
    key(
        "device",
        "tls_cert_file",
        Kind::Path,
        "",
        "Certificate chain (PEM). With it and `tls_key_file` the port accepts TLS around every transport.",
    ),
    key("device", "tls_key_file", Kind::Path, "", "Private key (PEM)."),
    key(
        "device",
        "binding_cert_file",
        Kind::Path,
        "",
        "Certificate (PEM) of a proxy that ends TLS, for the channel binding of logins (SPEC section 4.3).",
    ),
    key(
        "device",
        "connections_max",
        Kind::Integer(1, 10_000_000),
        "100000",
        "Most device connections; further ones close with 4014.",
    ),
    key(
        "device",
        "connections_per_address_max",
        Kind::Integer(1, 10_000_000),
        "20000",
        "Most device connections from one address; further ones close with 4014.",
    ),
    key(
        "device",
        "login_timeout",
        Kind::Duration(100, 10 * MINUTE),
        "10s",
        "Time to log in; then the connection closes with 4001.",
    ),
    key(
        "device",
        "write_timeout",
        Kind::Duration(100, 10 * MINUTE),
        "10s",
        "Longest wait for a device to take what is sent; then the connection is dropped.",
    ),
    key(
        "device",
        "heartbeat_interval",
        Kind::Duration(100, 24 * HOUR),
        "30s",
        "A device sends something at least this often; silence of twice that closes with 4008.",
    ),
    key(
        "device",
        "frame_bytes_max",
        Kind::Bytes(4096, 16 * MIB),
        "1MiB",
        "Largest payload of a logged-in device; above it 4006.",
    ),
    key(
        "device",
        "window_frames",
        Kind::Integer(1, 65_536),
        "1024",
        "Most unacknowledged reports of a session; more closes with 4013.",
    ),
    key(
        "device",
        "window_bytes",
        Kind::Bytes(4096, 256 * MIB),
        "4MiB",
        "Most unacknowledged payload bytes of a session; more closes with 4013.",
    ),
    key(
        "device",
        "stale_after",
        Kind::Duration(1000, 30 * DAY),
        "60s",
        "A connected device without telemetry for this long is shown as stale.",
    ),
    key(
        "ingest",
        "queue_reports",
        Kind::Integer(1, 10_000_000),
        "16384",
        "Most submissions (the reports of one socket read each) that wait for a commit; above it sockets are not read.",
    ),
    key(
        "ingest",
        "queue_bytes",
        Kind::Bytes(65_536, 2047 * MIB),
        "64MiB",
        "Most bytes of reports in memory that wait for a commit; above it sockets are not read.",
    ),
    key(
        "ingest",
        "series_max",
        Kind::Integer(1, 100_000_000),
        "1000000",
        "Most series in the store; values of further ones are rejected (NACK reason 0).",
    ),
    key(
        "ingest",
        "series_per_device_max",
        Kind::Integer(1, 1_000_000),
        "4096",
        "Most series of one device; values of further ones are rejected (NACK reason 0).",
    ),
    key(
        "ingest",
        "streams_per_device_max",
        Kind::Integer(1, 65_536),
        "256",
        "Most streams of one device; opening one more retires the one unused for longest.",
    ),
    key(
        "ingest",
        "time_ahead_max",
        Kind::Duration(0, 366 * DAY),
        "24h",
        "How far ahead of the server's clock a row may be; later ones are rejected (NACK reason 1).",
    ),
    key(
        "journal",
        "retain_bytes",
        Kind::Bytes(MIB, 1 << 40),
        "64MiB",
        "Records kept for readers that are behind, beyond those whose samples are not sealed yet; the oldest are deleted first. Samples are not touched.",
    ),
    key(
        "journal",
        "hold_bytes_max",
        Kind::Bytes(MIB, 1 << 40),
        "1GiB",
        "Records kept at most for rules that have not judged them yet; above it the oldest are deleted all the same, and counted as lost to alerting.",
    ),
    key(
        "store",
        "heads_bytes_max",
        Kind::Bytes(4 * MIB, 1 << 40),
        "256MiB",
        "Memory for samples that are not sealed into chunks yet. At three quarters of it they are sealed early; at the whole of it reports wait for the disk.",
    ),
    key(
        "store",
        "unsealed_bytes_max",
        Kind::Bytes(MIB, 1 << 40),
        "256MiB",
        "Journal records whose samples are not sealed. Above it those that wait longest are sealed early, so that a start has little to read again.",
    ),
    key(
        "store",
        "chunk_rows",
        Kind::Integer(64, 8192),
        "4096",
        "Rows of a device at which they are sealed into a chunk. More compress a little better and take more memory.",
    ),
    key(
        "store",
        "size_bytes_max",
        Kind::Bytes(0, 1 << 50),
        "0",
        "Disk for all telemetry; 0 = no limit. A warning comes at 80 %. Above it the oldest samples go first, once they are rolled up, then the oldest minutes, then the oldest hours.",
    ),
    key(
        "store",
        "query_samples_max",
        Kind::Integer(1000, 10_000_000_000),
        "20000000",
        "Most samples that one query may look at; more is refused with 400, naming what to do.",
    ),
    key(
        "store",
        "query_time_max",
        Kind::Duration(100, HOUR),
        "30s",
        "Longest that one query may take; then it ends with 400.",
    ),
    key(
        "retention",
        "raw",
        Kind::Duration(0, 36_500 * DAY),
        "0s",
        "How long samples are kept; 0s = for ever. They go once their minutes are rolled up.",
    ),
    key(
        "retention",
        "minute",
        Kind::Duration(0, 36_500 * DAY),
        "0s",
        "How long rollups by minute are kept; 0s = for ever. They go once their hours are rolled up, eight days at a time.",
    ),
    key(
        "retention",
        "hour",
        Kind::Duration(0, 36_500 * DAY),
        "0s",
        "How long rollups by hour are kept; 0s = for ever.",
    ),
    key(
        "retention",
        "overrides",
        Kind::Text,
        "",
        "Other times for some: entries separated by `;`, each of words like `group=cold-store`, `tag.site=berlin`, `metric=temperature` that must all fit, and `raw=7d`, `minute=90d`, `hour=0s`. The first entry that fits counts; what it does not name is as above.",
    ),
    key(
        "alerting",
        "rules_max",
        Kind::Integer(1, 10_000),
        "500",
        "Most rules; making further ones is refused with 429.",
    ),
    key(
        "alerting",
        "gap_max",
        Kind::Duration(1_000, 30 * DAY),
        "15m",
        "After a silence longer than this `for` of a rule begins anew. Must be longer than the devices' reporting interval.",
    ),
    key(
        "alerting",
        "lateness_max",
        Kind::Duration(0, 30 * DAY),
        "60s",
        "Samples further behind the newest of their device are late: stored, but never judged.",
    ),
    key(
        "alerting",
        "ahead_max",
        Kind::Duration(0, DAY),
        "60s",
        "Samples further ahead of their arrival are judged as if they were of the time they arrived.",
    ),
    key(
        "alerting",
        "history_alerts",
        Kind::Integer(100, 10_000_000),
        "100000",
        "Resolved alerts kept; above it the oldest are deleted.",
    ),
    key(
        "commands",
        "lease",
        Kind::Duration(100, 10 * MINUTE),
        "10s",
        "How long a device may take to confirm a command; then it is sent again.",
    ),
    key(
        "commands",
        "attempts_max",
        Kind::Integer(1, 1000),
        "10",
        "How often a command is sent; one that is never confirmed is dead after that.",
    ),
    key(
        "commands",
        "queued_per_device_max",
        Kind::Integer(1, 100_000),
        "100",
        "Most commands of one device that are not finished; further ones get 429.",
    ),
    key(
        "commands",
        "history_per_device",
        Kind::Integer(1, 100_000),
        "100",
        "Finished commands kept per device. Older ones are deleted a day after their deadline and their end, and at the latest when there are ten times as many.",
    ),
    key(
        "commands",
        "queue_requests",
        Kind::Integer(1, 1_000_000),
        "1024",
        "Most requests and devices' messages about commands that wait to be stored; above it callers wait, and sockets are not read.",
    ),
    key(
        "live",
        "bus_events",
        Kind::Integer(16, 1_000_000),
        "1024",
        "Events a service may be behind before it reads the journal instead.",
    ),
    key("live", "viewers_max", Kind::Integer(1, 1_000_000), "5000", "Most live sockets; further ones get 503."),
    key(
        "live",
        "viewers_per_user_max",
        Kind::Integer(1, 100_000),
        "100",
        "Most live sockets of one user; further ones get 429.",
    ),
    key(
        "live",
        "heartbeat_interval",
        Kind::Duration(100, 10 * MINUTE),
        "5s",
        "The server sends something at least this often; a viewer silent for four intervals closes with 4008.",
    ),
    key(
        "live",
        "interval_min",
        Kind::Duration(10, MINUTE),
        "50ms",
        "Shortest interval between batches; shorter wishes are raised to it.",
    ),
    key(
        "live",
        "subscriptions_max",
        Kind::Integer(1, 10_000),
        "64",
        "Most subscriptions of one socket; further ones are refused (code 1).",
    ),
    key(
        "live",
        "series_max",
        Kind::Integer(1, 1_000_000),
        "10000",
        "Most series of one subscription; a selector with more is refused (code 4), and series that appear later are left out.",
    ),
    key(
        "live",
        "pending_samples_max",
        Kind::Integer(16, 10_000_000),
        "16384",
        "Most samples that wait for a slow viewer per subscription, a text counting for one more per KiB; above it the oldest are dropped and a GAP is sent.",
    ),
    key(
        "live",
        "pending_events_max",
        Kind::Integer(16, 1_000_000),
        "4096",
        "Most alerts whose change waits for a slow viewer; of further ones it is told that they are missing, and it asks anew.",
    ),
    key(
        "live",
        "history_samples_max",
        Kind::Integer(16, 10_000_000),
        "200000",
        "Most samples of history sent for one subscription; the oldest are left out and a GAP is sent.",
    ),
    key(
        "live",
        "slow_reader_timeout",
        Kind::Duration(1000, 10 * MINUTE),
        "30s",
        "A viewer that takes nothing for this long closes with 4020.",
    ),
    key(
        "push",
        "grace",
        Kind::Duration(0, 10 * MINUTE),
        "10s",
        "Time between an alert and its push, in which someone may see it on a page or acknowledge it.",
    ),
    key(
        "push",
        "ttl_critical",
        Kind::Duration(MINUTE, 28 * DAY),
        "24h",
        "How long a message about a critical alert is worth telling.",
    ),
    key("push", "ttl_warning", Kind::Duration(MINUTE, 28 * DAY), "6h", "The same for a warning."),
    key("push", "ttl_info", Kind::Duration(MINUTE, 28 * DAY), "1h", "The same for an information."),
    key("push", "workers", Kind::Integer(1, 1000), "64", "Most messages on their way at once; more wait."),
    key(
        "push",
        "per_origin_max",
        Kind::Integer(1, 1000),
        "16",
        "Most messages on their way to one provider at once; more wait, and other providers go on.",
    ),
    key(
        "push",
        "lease",
        Kind::Duration(1000, 10 * MINUTE),
        "60s",
        "A message of whose sending nothing was heard is sent again after this, under the same id; after a restart, at once. Must be longer than `request_timeout` and `connect_timeout` together.",
    ),
    key(
        "push",
        "connect_timeout",
        Kind::Duration(100, MINUTE),
        "5s",
        "A provider that does not take the connection for this long counts as down.",
    ),
    key(
        "push",
        "request_timeout",
        Kind::Duration(100, 5 * MINUTE),
        "15s",
        "A provider that has not answered for this long is tried again later.",
    ),
    key(
        "push",
        "attempts_max",
        Kind::Integer(1, 10_000),
        "300",
        "Attempts per message and endpoint; then it is dead and can be replayed.",
    ),
    key(
        "push",
        "history_per_user",
        Kind::Integer(10, 100_000),
        "1000",
        "Messages kept per user; the oldest finished ones go first.",
    ),
    key(
        "push",
        "endpoints_per_user_max",
        Kind::Integer(1, 1000),
        "20",
        "Browsers and apps per user; above it 429 `too_many_endpoints`.",
    ),
    key(
        "push",
        "allow_private_endpoints",
        Kind::Bool,
        "false",
        "Lets browsers' push services be at private and local addresses. For tests and demonstrations: with it every user can make the server call into its own network.",
    ),
    key(
        "push",
        "extra_root_file",
        Kind::Path,
        "",
        "PEM file with further certificate authorities that push providers may have.",
    ),
    key(
        "push",
        "vapid_subject",
        Kind::Text,
        "",
        "How a push service reaches you: `mailto:you@example.org` or an https address. Default: `http.public_url` if it is https. Apple's service refuses messages without one.",
    ),
    key(
        "push",
        "apns_key_file",
        Kind::Path,
        "",
        "Key of Apple's push service: the `.p8` file from the developer account. Needs `apns_key_id`, `apns_team_id` and `apns_topic`.",
    ),
    key("push", "apns_key_id", Kind::Text, "", "The key's id, ten characters."),
    key("push", "apns_team_id", Kind::Text, "", "The team's id, ten characters."),
    key("push", "apns_topic", Kind::Text, "", "The app's bundle id."),
    key(
        "push",
        "apns_url",
        Kind::Text,
        "https://api.push.apple.com",
        "Origin of Apple's push service; `https://api.sandbox.push.apple.com` for apps in development.",
    ),
    key(
        "push",
        "fcm_service_account_file",
        Kind::Path,
        "",
        "Service account of the Firebase project: the JSON file from its console.",
    ),
    key("push", "fcm_url", Kind::Text, "https://fcm.googleapis.com", "Origin of Firebase Cloud Messaging."),
    key(
        "log",
        "level",
        Kind::Text,
        "info",
        "Log filter: error, warn, info, debug, trace, or per module (`info,pulsewire::hub=debug`).",
    ),
    key(
        "log",
        "format",
        Kind::Word(&["text", "json"]),
        "text",
        "Log lines for people or for machines; both go to standard error.",
    ),
];
