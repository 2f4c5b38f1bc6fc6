//! What a measurement of the fan-out says.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::FanoutBench;
use crate::bench::Latency;

/// What subscribers received, and what that cost.
#[derive(Debug, Clone, Default, Serialize)]
#[allow(missing_docs)] // DESIGN-level names, the same for every measurement
pub struct Fanned {
    pub seconds: f64,
    pub frames: u64,
    pub messages_per_s: f64,
    pub frames_per_s: f64,
    pub updates_per_s: f64,
    pub bytes_per_s: f64,
    pub latency_ms: Option<Latency>,
    pub server_cpu_us_per_frame: Option<f64>,
    pub subscribers_cpu_us_per_frame: Option<f64>,
    pub server_rss_bytes: Option<u64>,
    /// Left out for a newer sample, which is what was asked for.
    pub conflated: u64,
    pub errors: u64,
    pub missing: u64,
    pub doubled: u64,
    /// Frames that do not follow the one before.
    pub broken: u64,
    pub gaps: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// The same subscribers beside others that do not read.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs)]
pub struct Stalled {
    pub stalled: u32,
    #[serde(flatten)]
    pub fanned: Fanned,
}

/// What was measured of a peer, or why nothing was.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs)]
pub struct PeerFanned {
    pub peer: &'static str,
    pub version: Option<String>,
    pub payload_bytes: usize,
    #[serde(flatten)]
    pub fanned: Option<Fanned>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skipped: Option<String>,
}

/// What was measured.
#[derive(Debug, Clone, Default, Serialize)]
#[allow(missing_docs)]
pub struct FanoutReport {
    pub bench: &'static str,
    pub subscribers: u32,
    pub views: u32,
    pub series_per_view: u32,
    pub rate: f64,
    pub interval_ms: u64,
    pub aggregate: &'static str,
    #[serde(flatten)]
    pub fanned: Fanned,
    /// After subtracting what the server used for the same reports while another server wrote the same frames.
    pub server_cpu_us_per_frame_without_feed: Option<f64>,
    pub server_rss_bytes_without_subscribers: Option<u64>,
    pub feed_messages_per_s: f64,
    pub feed_samples_per_s: f64,
    /// Cores that the server used for the reports alone.
    pub feed_server_cores: Option<f64>,
    /// The same while another server wrote the same frames to the same subscribers.
    pub feed_server_cores_under_load: Option<f64>,
    /// How long it took until all had subscribed.
    pub subscribed_s: f64,
    /// Of the server's `/metrics`: what begins with `pulsewire_live_`, without that. Counters since before the subscribers.
    pub server_counters: BTreeMap<String, f64>,
    pub stalled: Option<Stalled>,
    /// A server that only writes the same frames.
    pub noop: Option<Fanned>,
    pub generator_ceiling_per_s: f64,
    pub generator_ceiling_updates_per_s: f64,
    pub peers: Vec<PeerFanned>,
}

impl FanoutReport {
    pub(super) fn of(bench: &FanoutBench) -> FanoutReport {
        FanoutReport {
            bench: "fanout",
            subscribers: bench.subscribers,
            views: bench.views,
            series_per_view: bench.series,
            rate: bench.rate,
            interval_ms: bench.interval.as_millis() as u64,
            aggregate: if bench.every { "every" } else { "last" },
            ..FanoutReport::default()
        }
    }

    /// Whether everyone has everything, once and in order.
    pub fn is_success(&self) -> bool {
        let Fanned { frames, errors, missing, doubled, broken, gaps, .. } = self.fanned;
        frames > 0 && errors + missing + doubled + broken + gaps == 0
    }
}

impl fmt::Display for Fanned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.0} frames/s, {:.0} MB/s", self.frames_per_s, self.bytes_per_s / 1e6)?;
        if let Some(l) = &self.latency_ms {
            write!(f, "; p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms", l.p50, l.p99, l.max)?;
        }
        if let Some(cpu) = self.server_cpu_us_per_frame {
            write!(f, "; {cpu:.2} µs of the server's processor time per frame")?;
        }
        if let Some(rss) = self.server_rss_bytes {
            write!(f, ", {:.0} MB resident", rss as f64 / 1e6)?;
        }
        let Fanned { errors, missing, doubled, broken, gaps, .. } = self;
        write!(f, "; {errors} errors, {missing} missing, {doubled} doubled")?;
        if broken + gaps > 0 {
            write!(f, ", {broken} frames that do not follow the one before, {gaps} gaps")?;
        }
        match &self.problem {
            Some(problem) => write!(f, " (first problem: {problem})"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for FanoutReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} subscribers of {} views with {} series each; {} samples/s of each series, {} of them every {} ms",
            self.subscribers, self.views, self.series_per_view, self.rate, self.aggregate, self.interval_ms
        )?;
        writeln!(f, "pulsewire: {:.2} M updates/s, {}", self.fanned.updates_per_s / 1e6, self.fanned)?;
        if let (Some(cpu), Some(cores)) = (self.server_cpu_us_per_frame_without_feed, self.feed_server_cores_under_load)
        {
            writeln!(
                f,
                "  {cpu:.2} µs per frame without what {:.0} reports/s ({:.0} samples/s) cost: {cores:.2} cores while another server \
                 writes the frames, {:.2} on an idle machine",
                self.feed_messages_per_s,
                self.feed_samples_per_s,
                self.feed_server_cores.unwrap_or(f64::NAN)
            )?;
        }
        if let Some(Stalled { stalled, fanned }) = &self.stalled {
            let p99 = |fanned: &Fanned| fanned.latency_ms.map_or(f64::NAN, |l| l.p99);
            writeln!(f, "  beside {stalled} that do not read: {fanned}")?;
            writeln!(
                f,
                "  p99 of the others without them {:.1} ms, with them {:.1} ms",
                p99(&self.fanned),
                p99(fanned)
            )?;
        }
        for (name, value) in &self.server_counters {
            writeln!(f, "  {name} {value}")?;
        }
        if let Some(noop) = &self.noop {
            writeln!(f, "a server that only writes the same frames: {noop}")?;
        }
        for peer in &self.peers {
            match (&peer.fanned, &peer.skipped) {
                (Some(fanned), _) => {
                    let version = peer.version.as_deref().unwrap_or("version unknown");
                    writeln!(
                        f,
                        "{} ({version}; {} bytes handed on as they are): {fanned}",
                        peer.peer, peer.payload_bytes
                    )?;
                }
                (None, skipped) => writeln!(f, "{}: {}", peer.peer, skipped.as_deref().unwrap_or("not measured"))?,
            }
        }
        write!(
            f,
            "ceiling of machine and subscribers: {:.0} frames/s, {:.1} M updates/s",
            self.generator_ceiling_per_s,
            self.generator_ceiling_updates_per_s / 1e6
        )
    }
}
