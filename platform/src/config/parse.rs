//! From text to [`Config`], with every mistake named.

mod email;
mod map_tiles;
mod push;

use super::key::{Key, Kind};
use super::keys::KEYS;
use super::{Alerting, Commands, Config, Device, Http, Ingest, Journal, Live, Log, Store, Tls};
use pulsewire_core::retention::{RetentionPlan, Times};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// What overrides the file.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// Environment variables whose names begin with `PULSEWIRE_`.
    pub environment: Vec<(String, String)>,
    /// Flags: path of a key (`http.listen`) and value.
    pub flags: Vec<(&'static str, String)>,
}

/// Variables that are not keys.
const OTHER_VARIABLES: &[&str] = &["PULSEWIRE_ADMIN_PASSWORD", "PULSEWIRE_CONFIG", "PULSEWIRE_BIN"];

/// Every mistake in the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<String>);

impl std::fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the configuration has {} mistake(s):", self.0.len())?;
        self.0.iter().try_for_each(|one| write!(f, "\n  - {one}"))
    }
}

impl std::error::Error for ConfigErrors {}

#[derive(Debug, Clone, PartialEq)]
enum Setting {
    Integer(i64),
    Bool(bool),
    Text(String),
    Address(SocketAddr),
}

struct Reader {
    settings: HashMap<String, Setting>,
    mistakes: Vec<String>,
}

pub(super) fn read(file: &str, overrides: &Overrides) -> Result<Config, ConfigErrors> {
    let mut reader = Reader { settings: HashMap::new(), mistakes: Vec::new() };
    for key in KEYS {
        reader.set(key, key.default, "the default");
    }
    reader.read_file(file);
    reader.read_environment(&overrides.environment);
    for (path, value) in &overrides.flags {
        match KEYS.iter().find(|key| key.path() == *path) {
            Some(key) => reader.set(key, value, "the command line"),
            None => reader.mistakes.push(format!("there is no key {path}")),
        }
    }
    reader.finish()
}

impl Reader {
    fn read_file(&mut self, file: &str) {
        let table: toml::Table = match file.parse() {
            Ok(table) => table,
            Err(error) => {
                self.mistakes.push(format!("the file is not valid TOML: {}", error.to_string().trim()));
                return;
            }
        };
        for (name, value) in table {
            match value {
                toml::Value::Table(section) => {
                    for (inner, value) in section {
                        self.set_toml(&format!("{name}.{inner}"), &value);
                    }
                }
                value => self.set_toml(&name, &value),
            }
        }
    }

    fn set_toml(&mut self, path: &str, value: &toml::Value) {
        let Some(key) = KEYS.iter().find(|key| key.path() == path) else {
            self.mistakes.push(match nearest(path) {
                Some(near) => format!("unknown key {path} in the file; did you mean {near}?"),
                None => format!("unknown key {path} in the file"),
            });
            return;
        };
        let text = match value {
            toml::Value::String(text) => text.clone(),
            toml::Value::Integer(number) => number.to_string(),
            toml::Value::Boolean(truth) => truth.to_string(),
            other => {
                let kind = other.type_str();
                self.mistakes.push(format!("{path} in the file is a {kind}; {} is wanted", wanted(key.kind)));
                return;
            }
        };
        self.set(key, &text, "the file");
    }

    fn read_environment(&mut self, environment: &[(String, String)]) {
        for (name, value) in environment {
            if OTHER_VARIABLES.contains(&name.as_str()) {
                continue;
            }
            match KEYS.iter().find(|key| key.variable() == *name) {
                Some(key) => self.set(key, value, name),
                None => self.mistakes.push(format!("there is no setting for the environment variable {name}")),
            }
        }
    }

    fn set(&mut self, key: &Key, text: &str, source: &str) {
        match parse_value(key.kind, text) {
            Some(setting) => {
                self.settings.insert(key.path(), setting);
            }
            None => {
                self.mistakes.push(format!("{} is {text:?} in {source}; {} is wanted", key.path(), wanted(key.kind)))
            }
        }
    }

    fn integer<T: TryFrom<i64> + Default>(&self, path: &str) -> T {
        match self.settings.get(path) {
            Some(Setting::Integer(n)) => T::try_from(*n).unwrap_or_default(),
            _ => T::default(),
        }
    }

    fn duration(&self, path: &str) -> Duration {
        Duration::from_millis(self.integer(path))
    }

    fn text(&self, path: &str) -> String {
        match self.settings.get(path) {
            Some(Setting::Text(text)) => text.clone(),
            _ => String::new(),
        }
    }

    fn file_path(&self, path: &str) -> Option<PathBuf> {
        Some(self.text(path)).filter(|t| !t.is_empty()).map(PathBuf::from)
    }

    fn bool(&self, path: &str) -> bool {
        self.settings.get(path) == Some(&Setting::Bool(true))
    }

    fn address(&self, path: &str) -> SocketAddr {
        match self.settings.get(path) {
            Some(Setting::Address(address)) => *address,
            _ => SocketAddr::from(([127, 0, 0, 1], 0)),
        }
    }

    fn tls(&mut self) -> Option<Tls> {
        match (self.file_path("device.tls_cert_file"), self.file_path("device.tls_key_file")) {
            (Some(cert_file), Some(key_file)) => Some(Tls { cert_file, key_file }),
            (None, None) => None,
            _ => {
                self.mistakes.push("device.tls_cert_file and device.tls_key_file must be given together".into());
                None
            }
        }
    }

    fn public_url(&mut self) -> Option<String> {
        let url = self.text("http.public_url");
        if url.is_empty() {
            return None;
        }
        let host = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
        if host.is_none_or(|h| h.is_empty() || h.contains('/')) {
            self.mistakes.push(format!(
                "http.public_url is {url:?}; an origin like https://example.org is wanted, without a path"
            ));
        }
        Some(url)
    }

    fn retention(&mut self) -> RetentionPlan {
        let time = |path: &str| {
            let us = i64::try_from(self.duration(path).as_micros()).unwrap_or(i64::MAX);
            (us > 0).then_some(us)
        };
        let default = Times {
            raw_us: time("retention.raw"),
            minute_us: time("retention.minute"),
            hour_us: time("retention.hour"),
        };
        RetentionPlan::parse(default, &self.text("retention.overrides")).unwrap_or_else(|why| {
            self.mistakes.push(format!("retention.overrides: {why}"));
            RetentionPlan::default()
        })
    }

    fn finish(mut self) -> Result<Config, ConfigErrors> {
        let tls = self.tls();
        let public_url = self.public_url();
        let push = self.push(public_url.as_deref());
        let email = self.email();
        let map_tiles = self.map_tiles();
        let retention = self.retention();
        let config = Config {
            data_dir: PathBuf::from(self.text("data_dir")),
            name: self.text("name"),
            http: Http {
                listen: self.address("http.listen"),
                public_url,
                workers: self.integer("http.workers"),
                body_bytes_max: self.integer("http.body_bytes_max"),
                import_bytes_max: self.integer("http.import_bytes_max"),
                connections_max: self.integer("http.connections_max"),
                session_ttl: self.duration("http.session_ttl"),
                sessions_per_user_max: self.integer("http.sessions_per_user_max"),
                sign_ins_per_minute: self.integer("http.sign_ins_per_minute"),
                map_tiles,
            },
            device: Device {
                listen: self.address("device.listen"),
                allow_plaintext: self.bool("device.allow_plaintext"),
                tls,
                binding_certificate: self.file_path("device.binding_cert_file"),
                connections_max: self.integer("device.connections_max"),
                connections_per_address_max: self.integer("device.connections_per_address_max"),
                login_timeout: self.duration("device.login_timeout"),
                write_timeout: self.duration("device.write_timeout"),
                heartbeat_interval: self.duration("device.heartbeat_interval"),
                frame_bytes_max: self.integer("device.frame_bytes_max"),
                window_frames: self.integer("device.window_frames"),
                window_bytes: self.integer("device.window_bytes"),
                stale_after: self.duration("device.stale_after"),
            },
            ingest: Ingest {
                queue_reports: self.integer("ingest.queue_reports"),
                queue_bytes: self.integer("ingest.queue_bytes"),
                series_max: self.integer("ingest.series_max"),
                series_per_device_max: self.integer("ingest.series_per_device_max"),
                streams_per_device_max: self.integer("ingest.streams_per_device_max"),
                time_ahead_max: self.duration("ingest.time_ahead_max"),
            },
            journal: Journal {
                retain_bytes: self.integer("journal.retain_bytes"),
                hold_bytes_max: self.integer("journal.hold_bytes_max"),
            },
            store: Store {
                heads_bytes_max: self.integer("store.heads_bytes_max"),
                unsealed_bytes_max: self.integer("store.unsealed_bytes_max"),
                chunk_rows: self.integer("store.chunk_rows"),
                size_bytes_max: self.integer("store.size_bytes_max"),
                query_samples_max: self.integer("store.query_samples_max"),
                query_time_max: self.duration("store.query_time_max"),
            },
            retention,
            alerting: Alerting {
                rules_max: self.integer("alerting.rules_max"),
                gap_max: self.duration("alerting.gap_max"),
                lateness_max: self.duration("alerting.lateness_max"),
                ahead_max: self.duration("alerting.ahead_max"),
                history_alerts: self.integer("alerting.history_alerts"),
                alerts_per_rule_max: self.integer("alerting.alerts_per_rule_max"),
                group_silence_percent: self.integer("alerting.group_silence_percent"),
                group_silence_window: self.duration("alerting.group_silence_window"),
                rule_versions_max: self.integer("alerting.rule_versions_max"),
                notifications_max: self.integer("alerting.notifications_max"),
                backtests_max: self.integer("alerting.backtests_max"),
                backtest_samples_max: self.integer("alerting.backtest_samples_max"),
            },
            commands: Commands {
                lease: self.duration("commands.lease"),
                attempts_max: self.integer("commands.attempts_max"),
                queued_per_device_max: self.integer("commands.queued_per_device_max"),
                history_per_device: self.integer("commands.history_per_device"),
                queue_requests: self.integer("commands.queue_requests"),
            },
            live: Live {
                bus_events: self.integer("live.bus_events"),
                viewers_max: self.integer("live.viewers_max"),
                viewers_per_user_max: self.integer("live.viewers_per_user_max"),
                viewers_per_address_max: self.integer("live.viewers_per_address_max"),
                heartbeat_interval: self.duration("live.heartbeat_interval"),
                interval_min: self.duration("live.interval_min"),
                subscriptions_max: self.integer("live.subscriptions_max"),
                subscriptions_per_user_max: self.integer("live.subscriptions_per_user_max"),
                subscribe_wait: self.duration("live.subscribe_wait"),
                resume_records_max: self.integer("live.resume_records_max"),
                resumes_max: self.integer("live.resumes_max"),
                series_max: self.integer("live.series_max"),
                across_inputs_max: self.integer("live.across_inputs_max"),
                across_stale_after: self.duration("live.across_stale_after"),
                views_max: self.integer("live.views_max"),
                view_series_max: self.integer("live.view_series_max"),
                view_linger: self.duration("live.view_linger"),
                idle_series_max: self.integer("live.idle_series_max"),
                snapshot_reuse: self.duration("live.snapshot_reuse"),
                ring_frames: self.integer("live.ring_frames"),
                ring_bytes_max: self.integer("live.ring_bytes_max"),
                rings_bytes_max: self.integer("live.rings_bytes_max"),
                pending_samples_max: self.integer("live.pending_samples_max"),
                events_kept_max: self.integer("live.events_kept_max"),
                slow_interval_max: self.duration("live.slow_interval_max"),
                history_samples_max: self.integer("live.history_samples_max"),
                slow_reader_timeout: self.duration("live.slow_reader_timeout"),
            },
            push,
            email,
            log: Log { level: self.text("log.level"), json: self.text("log.format") == "json" },
        };
        if config.data_dir.as_os_str().is_empty() {
            self.mistakes.push("data_dir is empty; a folder is wanted".into());
        }
        if self.mistakes.is_empty() { Ok(config) } else { Err(ConfigErrors(self.mistakes)) }
    }
}

fn parse_value(kind: Kind, text: &str) -> Option<Setting> {
    let within = |n: i64, min, max| (n >= min && n <= max).then_some(Setting::Integer(n));
    match kind {
        Kind::Integer(min, max) => within(text.parse().ok()?, min, max),
        Kind::Duration(min, max) => within(parse_scaled(text, DURATIONS)?, min, max),
        Kind::Bytes(min, max) => within(parse_scaled(text, SIZES)?, min, max),
        Kind::Bool => text.parse().ok().map(Setting::Bool),
        Kind::Address => text.parse().ok().map(Setting::Address),
        Kind::Word(words) => words.contains(&text).then(|| Setting::Text(text.to_owned())),
        Kind::Path | Kind::Text => Some(Setting::Text(text.to_owned())),
    }
}

const DURATIONS: &[(&str, i64)] = &[("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
const SIZES: &[(&str, i64)] = &[("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("", 1)];

fn parse_scaled(text: &str, units: &[(&str, i64)]) -> Option<i64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let (_, scale) = units.iter().find(|(name, _)| *name == unit.trim())?;
    number.parse::<i64>().ok()?.checked_mul(*scale)
}

fn wanted(kind: Kind) -> String {
    match kind {
        Kind::Integer(min, max) => format!("a whole number from {min} to {max}"),
        Kind::Duration(min, max) => format!("a time like 500ms, 10s, 5m or 24h, from {min}ms to {max}ms"),
        Kind::Bytes(min, max) => format!("a size like 4096, 64KiB or 256MiB, from {min} to {max} bytes"),
        Kind::Bool => "true or false".into(),
        Kind::Address => "ADDRESS:PORT like 127.0.0.1:8080".into(),
        Kind::Path => "a path".into(),
        Kind::Word(words) => format!("one of {}", words.join(", ")),
        Kind::Text => "a text".into(),
    }
}

/// The key that shares the longest beginning within the same section, if any.
fn nearest(path: &str) -> Option<String> {
    let shared = |a: &str| a.bytes().zip(path.bytes()).take_while(|(x, y)| x == y).count();
    let best = KEYS.iter().map(Key::path).max_by_key(|p| shared(p))?;
    let section = path.find('.').map_or(0, |i| i + 1);
    (shared(&best) > section + 2).then_some(best)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SmtpTls;

    fn mistakes(file: &str) -> Vec<String> {
        read(file, &Overrides::default()).expect_err("has mistakes").0
    }

    #[test]
    fn the_defaults_are_within_their_own_bounds() {
        let config = read("", &Overrides::default()).expect("the defaults are valid");
        assert_eq!(config.device.listen.port(), 7410);
        assert_eq!(config.http.session_ttl, Duration::from_secs(7 * 86_400));
    }

    #[test]
    fn all_mistakes_are_reported_at_once_with_what_is_allowed() {
        let found = mistakes("[http]\nlisten = \"nowhere\"\nworkerz = 3\n[live]\nheartbeat_interval = \"5 parsecs\"\n");
        assert_eq!(
            found,
            [
                "http.listen is \"nowhere\" in the file; ADDRESS:PORT like 127.0.0.1:8080 is wanted",
                "unknown key http.workerz in the file; did you mean http.workers?",
                "live.heartbeat_interval is \"5 parsecs\" in the file; a time like 500ms, 10s, 5m or 24h, from 100ms \
                 to 600000ms is wanted",
            ]
        );
    }

    #[test]
    fn flags_win_over_the_environment_and_the_environment_over_the_file() {
        let overrides = Overrides {
            environment: vec![
                ("PULSEWIRE_HTTP_LISTEN".into(), "127.0.0.1:2".into()),
                ("PULSEWIRE_DEVICE_LISTEN".into(), "127.0.0.1:3".into()),
                ("PULSEWIRE_ADMIN_PASSWORD".into(), "is not a key".into()),
            ],
            flags: vec![("device.listen", "127.0.0.1:4".into())],
        };
        let config = read("[http]\nlisten = \"127.0.0.1:1\"", &overrides).expect("valid");
        assert_eq!((config.http.listen.port(), config.device.listen.port()), (2, 4));
    }

    #[test]
    fn an_unknown_variable_and_a_lone_certificate_are_mistakes() {
        let overrides =
            Overrides { environment: vec![("PULSEWIRE_HTPP_LISTEN".into(), "x".into())], flags: Vec::new() };
        let found = read("[device]\ntls_cert_file = \"a.pem\"", &overrides).expect_err("two mistakes").0;
        assert_eq!(found.len(), 2, "{found:?}");
    }

    #[test]
    fn a_mail_server_is_reached_over_tls_unless_it_is_on_this_machine() {
        let email = |url: &str, more: &str| {
            let file = format!("[email]\nsmtp_url = \"{url}\"\nfrom = \"Pulsewire <a@example.org>\"\n{more}");
            read(&file, &Overrides::default()).map(|config| config.email.map(|e| (e.host, e.port, e.tls)))
        };
        let good = |host: &str, port, tls| Ok(Some((host.to_owned(), port, tls)));
        assert_eq!(email("smtps://mail.example.org", ""), good("mail.example.org", 465, SmtpTls::Implicit));
        assert_eq!(email("smtp://mail.example.org?tls=required", ""), good("mail.example.org", 587, SmtpTls::Required));
        assert_eq!(email("smtp://127.0.0.1:2525", ""), good("127.0.0.1", 2525, SmtpTls::Off));
        assert_eq!(email("smtp://[::1]:25", ""), good("::1", 25, SmtpTls::Off));
        assert_eq!(email("smtp://relay:25", "allow_plaintext = true"), good("relay", 25, SmtpTls::Off));
        for (url, more, word) in [
            ("smtp://mail.example.org:25", "", "allow_plaintext"),
            ("smtp://user:secret@mail.example.org", "", "email.user"),
            ("http://mail.example.org", "", "smtps://"),
            ("smtps://mail.example.org:0", "", "smtps://"),
            ("smtps://mail.example.org/path", "", "smtps://"),
            ("smtps://mail.example.org", "user = \"u\"", "email.password_file"),
            ("smtps://mail.example.org", "timeout = \"5m\"", "push.lease"),
            ("smtps://mail.example.org", "timeout = \"60s\"\n[push]\nlease = \"61s\"", "push.lease"),
        ] {
            let found = email(url, more).expect_err("a mistake").0;
            assert!(found.len() == 1 && found[0].contains(word) && !found[0].contains("secret"), "{url}: {found:?}");
        }
        let found = mistakes("[email]\nuser = \"u\"\npassword_file = \"p\"");
        assert!(found.len() == 1 && found[0].contains("email.smtp_url, email.from"), "{found:?}");
        let found = mistakes("[email]\nsmtp_url = \"smtps://x.org\"\nfrom = \"a@b\\r\\nBcc: c@d\"");
        assert!(found.len() == 1 && found[0].contains("email.from"), "{found:?}");
    }

    #[test]
    fn half_a_provider_and_a_subject_that_reaches_nobody_are_mistakes() {
        let found =
            mistakes("[push]\napns_key_id = \"K\"\nvapid_subject = \"me\"\nfcm_url = \"http://x\"\nlease = \"1s\"");
        let words =
            ["apns_key_file, push.apns_team_id, push.apns_topic", "push.fcm_url", "push.vapid_subject", "push.lease"];
        assert_eq!(found.len(), words.len(), "{found:?}");
        assert!(found.iter().zip(words).all(|(text, word)| text.contains(word)), "{found:?}");
    }
}
