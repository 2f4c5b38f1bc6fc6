//! What is well and what is not, in words that say what to do.

use super::process::ProcessJson;
use crate::ports::StoreStatus;
use serde::Serialize;
use std::net::SocketAddr;
use std::time::Duration;

/// How far the system's clock may move against a steady one before it is worth saying.
const CLOCK_JUMP_US: i64 = 2_000_000;
/// A clock before this is not set: 2025-01-01.
const CLOCK_EARLIEST_US: i64 = 1_735_689_600_000_000;
/// Free bytes on the disk of the data folder below which things will go wrong soon, and are about to.
const DISK_LOW_BYTES: u64 = 2 << 30;
const DISK_EMPTY_BYTES: u64 = 256 << 20;

/// One thing that was looked at.
#[derive(Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct HealthJson {
    pub name: &'static str,
    /// `ok`, `warn` or `bad`.
    pub state: &'static str,
    /// What is so, and what to do if it is not well.
    pub detail: String,
}

impl HealthJson {
    /// For who sees some devices only: whether it is well, and nothing of how much there is or whose.
    pub fn without_figures(self) -> Self {
        let detail = match self.state {
            "ok" => "well",
            _ => "not well; those who see every device are told what it is",
        };
        Self { detail: detail.into(), ..self }
    }
}

fn ok(name: &'static str, detail: impl Into<String>) -> HealthJson {
    HealthJson { name, state: "ok", detail: detail.into() }
}

fn warn(name: &'static str, detail: impl Into<String>) -> HealthJson {
    HealthJson { name, state: "warn", detail: detail.into() }
}

fn bad(name: &'static str, detail: impl Into<String>) -> HealthJson {
    HealthJson { name, state: "bad", detail: detail.into() }
}

/// How the doors are guarded.
#[derive(Debug, Clone)]
pub struct Doors {
    /// Where people connect.
    pub http: SocketAddr,
    /// A proxy with TLS stands before it.
    pub public_https: bool,
    /// Where devices connect.
    pub device: SocketAddr,
    /// It takes TLS.
    pub device_tls: bool,
    /// Devices may log in without TLS from elsewhere.
    pub allow_plaintext: bool,
}

/// A provider of messages that is not well.
#[derive(Debug)]
pub struct Trouble {
    /// Its name.
    pub provider: String,
    /// It refuses what is sent for a reason that a human has to mend.
    pub refuses: bool,
    /// What it said.
    pub reason: String,
}

/// Appending, which acknowledgements depend on.
pub fn journal(store: &StoreStatus) -> HealthJson {
    match &store.stopped {
        Some(why) => bad("journal", format!("nothing is acknowledged until the server is started again: {why}")),
        None => ok("journal", format!("reports are stored; {} of journal", size(store.journal_bytes))),
    }
}

/// Sealing and what was found damaged.
pub fn store(store: &StoreStatus) -> HealthJson {
    if let Some(why) = &store.failing {
        return bad("store", format!("samples stay in the journal instead of being sealed: {why}"));
    }
    if let Some(first) = store.damaged.first() {
        let count = store.damaged.len();
        return bad("store", format!("{count} damaged, `pulsewire check` says what is lost; first: {first}"));
    }
    let used = size(store.disk_bytes);
    if store.is_nearly_full() {
        let limit = size(store.size_bytes_max);
        return warn("store", format!("{used} of {limit} are in use; at the whole of it the oldest samples go"));
    }
    ok("store", format!("{used} on disk"))
}

/// Room on the disk of the data folder.
pub fn disk(free_bytes: Option<u64>) -> HealthJson {
    match free_bytes {
        None => ok("disk", "the system does not say how much is free"),
        Some(free) if free < DISK_EMPTY_BYTES => {
            bad("disk", format!("{} free; nothing can be stored soon: free some space", size(free)))
        }
        Some(free) if free < DISK_LOW_BYTES => warn("disk", format!("{} free; free some space", size(free))),
        Some(free) => ok("disk", format!("{} free", size(free))),
    }
}

/// The system's clock against a steady one since the start.
pub fn clock(started_us: i64, now_us: i64, elapsed: Duration) -> HealthJson {
    if now_us < CLOCK_EARLIEST_US {
        return bad("clock", "the clock is years behind: set it, for times of samples are judged by it");
    }
    let steady_us = started_us.saturating_add(i64::try_from(elapsed.as_micros()).unwrap_or(i64::MAX));
    let moved_us = now_us.saturating_sub(steady_us);
    if moved_us.abs() > CLOCK_JUMP_US {
        let (seconds, way) = (moved_us.unsigned_abs() / 1_000_000, if moved_us > 0 { "forward" } else { "back" });
        return warn("clock", format!("the clock was set {way} by {seconds} s since the start: is it kept by NTP?"));
    }
    ok("clock", "steady since the start")
}

/// TLS where strangers could listen.
pub fn tls(doors: &Doors) -> HealthJson {
    let mut open = Vec::new();
    let far = |address: &SocketAddr| !address.ip().is_loopback();
    if far(&doors.http) && !doors.public_https {
        open.push(format!(
            "people sign in at {} without TLS: put a proxy with TLS before it and set http.public_url",
            doors.http
        ));
    }
    if far(&doors.device) && !doors.device_tls && doors.allow_plaintext {
        open.push(format!("devices send to {} in the clear: set device.tls_cert_file", doors.device));
    }
    if !open.is_empty() {
        return warn("tls", open.join("; "));
    }
    if far(&doors.device) && !doors.device_tls {
        let detail = format!("logins at {} need TLS, which is not set up: set device.tls_cert_file", doors.device);
        return warn("tls", detail);
    }
    ok("tls", "nothing is sent in the clear beyond this machine by this server's own doors")
}

/// Providers of messages.
pub fn push(troubles: &[Trouble]) -> HealthJson {
    let Some(worst) = troubles.iter().max_by_key(|trouble| trouble.refuses) else {
        return ok("push", "no provider is known to be in trouble");
    };
    let more = match troubles.len() {
        1 => String::new(),
        many => format!("; {} more in trouble", many - 1),
    };
    let (provider, reason) = (&worst.provider, &worst.reason);
    match worst.refuses {
        true => bad("push", format!("{provider} refuses what is sent, which needs a human: {reason}{more}")),
        false => warn("push", format!("{provider} is left alone for a while: {reason}{more}")),
    }
}

/// Viewers that do not keep up.
pub fn viewers(open: usize, slow: usize) -> HealthJson {
    match slow {
        0 => ok("viewers", format!("live pages: {open}, all keep up")),
        _ => warn("viewers", format!("live pages: {open}, of which {slow} are slow and get fewer frames")),
    }
}

/// Files that may be open: each connection is one.
pub fn files(process: &ProcessJson) -> HealthJson {
    match (process.open_files, process.open_files_max) {
        (Some(open), Some(most)) if process.is_short_of_files() => warn(
            "files",
            format!("{open} of {most} open files; further connections will fail: raise the limit (ulimit -n)"),
        ),
        (Some(open), Some(most)) => ok("files", format!("{open} of {most} open files")),
        _ => ok("files", "the system does not say how many are open"),
    }
}

/// In the units of the page beside it.
fn size(bytes: u64) -> String {
    let units = [("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1_000)];
    match units.into_iter().find(|(_, one)| bytes >= *one) {
        Some((unit, one)) => format!("{}.{} {unit}", bytes / one, bytes % one * 10 / one),
        None => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_trouble_is_named_and_what_is_well_is_ok() {
        let well = StoreStatus::default();
        assert_eq!((journal(&well).state, store(&well).state), ("ok", "ok"));
        let stopped = StoreStatus { stopped: Some("sync failed".into()), ..StoreStatus::default() };
        assert_eq!((journal(&stopped).state, journal(&stopped).detail.contains("sync failed")), ("bad", true));
        let failing = StoreStatus { failing: Some("disk full".into()), ..StoreStatus::default() };
        assert_eq!(store(&failing).state, "bad");
        let damaged = StoreStatus { damaged: vec!["chunk 7".into()], ..StoreStatus::default() };
        assert!(store(&damaged).detail.contains("chunk 7"));
        let full = StoreStatus { disk_bytes: 90 << 20, size_bytes_max: 100 << 20, ..StoreStatus::default() };
        assert_eq!(store(&full).detail, "94.3 MB of 104.8 MB are in use; at the whole of it the oldest samples go");
        assert_eq!(
            [disk(None), disk(Some(1)), disk(Some(1 << 30)), disk(Some(1 << 40))].map(|h| h.state),
            ["ok", "bad", "warn", "ok"]
        );
        assert_eq!([viewers(3, 0).state, viewers(3, 1).state], ["ok", "warn"]);
    }

    #[test]
    fn a_clock_that_was_set_or_never_was_is_seen() {
        let start = 1_800_000_000_000_000;
        let state = |now_us, elapsed| clock(start, now_us, Duration::from_secs(elapsed)).state;
        assert_eq!(state(start + 10_000_000, 10), "ok");
        assert_eq!(state(start + 11_500_000, 10), "ok");
        assert_eq!(state(start + 3_600_000_000, 10), "warn");
        assert_eq!(state(start - 3_600_000_000, 10), "warn");
        assert_eq!(state(7, 10), "bad");
    }

    #[test]
    fn doors_beyond_this_machine_want_tls() {
        let near: SocketAddr = "127.0.0.1:1".parse().expect("an address");
        let far: SocketAddr = "0.0.0.0:1".parse().expect("an address");
        let doors = |http, https, device, tls, plain| Doors {
            http,
            public_https: https,
            device,
            device_tls: tls,
            allow_plaintext: plain,
        };
        assert_eq!(tls(&doors(near, false, near, false, true)).state, "ok");
        assert_eq!(tls(&doors(far, true, far, true, false)).state, "ok");
        for open in [
            doors(far, false, near, false, false),
            doors(near, false, far, false, true),
            doors(near, false, far, false, false),
        ] {
            assert_eq!(tls(&open).state, "warn", "{open:?}");
        }
    }

    #[test]
    fn a_provider_that_refuses_is_worse_than_one_that_rests() {
        let trouble = |provider: &str, refuses| Trouble { provider: provider.into(), refuses, reason: "why".into() };
        assert_eq!(push(&[]).state, "ok");
        assert_eq!(push(&[trouble("fcm", false)]).state, "warn");
        let both = push(&[trouble("fcm", false), trouble("apns", true)]);
        assert_eq!((both.state, both.detail.starts_with("apns refuses")), ("bad", true));
        assert!(both.detail.ends_with("1 more in trouble"));
    }
}
