//! Devices in, dashboards out: how many updates a second reach how many subscribers, how late, at what cost to the server, and
//! whether each of them has in the end what was published.
//!
//! * [`feed`]: the devices; a sample's value is its number and its time the moment at which it was due
//! * [`crowd`], [`child`], [`subscriber`]: the subscribers, in processes of their own
//! * [`noop`]: a server that only writes the same frames, for what the machine can do at all
//! * [`reconnect`]: the same subscribers, all coming back at once

mod bed;
pub mod child;
mod crowd;
mod feed;
mod job;
mod noop;
pub mod reconnect;
mod report;
mod subscriber;
mod websocket;

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::Latency;
use super::ingest::{Running, Watch};
use super::peers::Broadcast;
use super::socket::Room;
use crate::error::blocking;
use crate::fleet::unix_us;
use crate::{Shutdown, SimError};
use bed::{Bed, grown, provision};
use crowd::{Counted, Crowd};
use feed::Feed;
use job::Job;
pub(super) use job::Speaks;
use noop::{Noop, Pace, Views};
pub use report::{Fanned, FanoutReport, PeerFanned, Stalled};

/// Most subscribers, over all processes.
pub const SUBSCRIBERS_MAX: u32 = 100_000;
/// Most series of a view: what a server allows a subscription by default.
pub const SERIES_MAX: u32 = 10_000;
/// Most views.
pub const VIEWS_MAX: u32 = 1_000;
/// Most reports a second, over all devices.
const REPORTS_MAX: f64 = 1e6;
/// A device has at most so many metrics, and a SUBSCRIBE names at most so many devices.
const METRICS: u32 = 50;
const DEVICES_PER_VIEW_MAX: u32 = 1_024;
const DEVICES_MAX: u32 = 9_000;
/// What comes first and is not counted.
const WARM_UP: Duration = Duration::from_secs(2);
/// How long the ceiling is looked for.
const CEILING: Duration = Duration::from_secs(2);
const CEILING_WARM_UP: Duration = Duration::from_millis(300);
/// How long subscribers may take to have the newest values once nothing is published any more.
const PATIENCE_MS: u64 = 10_000;
const POLL: Duration = Duration::from_millis(20);
/// An unfinished message is at most a frame of the largest size that a server sends, with its heads.
const ROOM: Room = Room { carry: 1024 * 1024 + 64, unwritten: 4 * 1024 * 1024 };
/// What one read takes at most.
const READ_BYTES: usize = ROOM.carry + 256 * 1024;

/// What to measure.
#[derive(Debug, Clone)]
pub struct FanoutBench {
    /// Live sockets that read.
    pub subscribers: u32,
    /// Different subscriptions; each subscriber has one, and they take turns.
    pub views: u32,
    /// Series of each view. No two views share one.
    pub series: u32,
    /// Samples of each series a second.
    pub rate: f64,
    /// Time between the batches of a subscription.
    pub interval: Duration,
    /// For how long, in each part of the measurement.
    pub seconds: u64,
    /// Ask for each sample instead of the newest per interval.
    pub every: bool,
    /// Further live sockets that never read, for a second measurement.
    pub stalled: u32,
    /// Processes that share the subscribers.
    pub processes: u32,
    /// Where; None starts a server.
    pub running: Option<Running>,
    /// Whom to measure as well.
    pub peers: Vec<Broadcast>,
    /// Folder of the package `ws`; None looks in the usual places.
    pub ws_package: Option<PathBuf>,
}

impl FanoutBench {
    fn check(&self) -> Result<(), SimError> {
        let range = |name, value: f64, least: f64, most: f64| {
            if (least..=most).contains(&value) {
                return Ok(());
            }
            Err(SimError::Invalid { name, value: value.to_string(), allowed: format!("{least} to {most}") })
        };
        range("--subscribers", self.subscribers.into(), 1.0, SUBSCRIBERS_MAX.into())?;
        range("--views", self.views.into(), 1.0, VIEWS_MAX.into())?;
        range("--series", self.series.into(), 1.0, SERIES_MAX.into())?;
        range("--interval in ms", self.interval.as_millis() as f64, 50.0, 60_000.0)?;
        range("--seconds", self.seconds as f64, 1.0, 86_400.0)?;
        range("--stalled", self.stalled.into(), 0.0, 10_000.0)?;
        range("--processes", self.processes.into(), 1.0, 64.0)?;
        let per_view = self.devices_per_view();
        if per_view > DEVICES_PER_VIEW_MAX || per_view * self.views > DEVICES_MAX {
            let allowed = format!(
                "at most {DEVICES_PER_VIEW_MAX} devices per view and {DEVICES_MAX} in all; with these options there are {per_view} \
                 per view, as a device has at most {METRICS} metrics and all have the same number"
            );
            return Err(SimError::Invalid { name: "--series", value: self.series.to_string(), allowed });
        }
        range("--rate", self.rate, 0.1, (REPORTS_MAX / f64::from(per_view * self.views)).min(1000.0))
    }

    /// As few as there can be, all with the same number of metrics.
    fn devices_per_view(&self) -> u32 {
        let least = self.series.div_ceil(METRICS);
        (least..=self.series).find(|devices| self.series.is_multiple_of(*devices)).unwrap_or(self.series)
    }

    fn period_us(&self) -> u64 {
        (1e6 / self.rate) as u64
    }

    /// Bytes of the frame with one sample of every series.
    fn frame_bytes(&self) -> usize {
        let devices = self.devices_per_view();
        noop::batch(devices as usize, (self.series / devices) as usize, 1, 0).len()
    }

    /// Names of the devices of each view.
    fn names(&self, run: &str) -> Vec<Vec<String>> {
        let devices = self.devices_per_view();
        (0..self.views)
            .map(|view| (0..devices).map(|device| format!("{run}-{view:03}-{device:04}")).collect())
            .collect()
    }

    fn job(&self, speaks: Speaks, views: Vec<Vec<String>>, address: std::net::SocketAddr, token: String) -> Job {
        Job {
            speaks,
            address,
            token,
            first: 0,
            count: self.subscribers,
            series_per_device: if speaks == Speaks::Pulsewire { self.series / self.devices_per_view() } else { 1 },
            views,
            every: self.every,
            interval_ms: self.interval.as_millis() as u32,
            period_us: self.period_us(),
            sources: if address.ip().is_loopback() && self.subscribers > 20_000 { 8 } else { 0 },
            unchecked: false,
        }
    }
}

/// Waits, or ends early when someone asks for that.
pub(super) fn pass(time: Duration, watch: &Watch) -> Result<(), SimError> {
    let until = Instant::now() + time;
    while Instant::now() < until {
        if watch.is_stopped() {
            return Err(SimError::Task("stopped before the end, as asked".into()));
        }
        // The measurement is over when its time is: there is nothing else to wait for.
        std::thread::sleep(POLL.min(until.saturating_duration_since(Instant::now())));
    }
    Ok(())
}

/// Measures.
pub async fn run(bench: FanoutBench, watch: Watch, shutdown: Shutdown) -> Result<FanoutReport, SimError> {
    bench.check()?;
    watch.until(shutdown, measure(bench, &watch)).await
}

async fn measure(bench: FanoutBench, watch: &Watch) -> Result<FanoutReport, SimError> {
    watch.enter("starting the server");
    let (given, viewers) = (bench.running.clone(), bench.subscribers + bench.stalled);
    let bed = blocking(move || Bed::make(given, "fanout", viewers)).await?;
    // A name of its own, so that a server which runs already can be measured again.
    let run = format!("bench-fanout-{}", unix_us());
    let names = bench.names(&run);
    let ids: Vec<String> = names.concat();
    let total = ids.len();
    let note = |made| watch.enter(format!("making devices: {made} of {total}"));
    let devices = provision(&bed.running, &run, &ids, note).await?;
    let watch = watch.clone();
    blocking(move || {
        let mut report = FanoutReport::of(&bench);
        ours(&bench, bed, devices, &names, &watch, &mut report)?;
        ceiling(&bench, &names, &watch, &mut report)?;
        for peer in &bench.peers {
            watch.enter(peer.name());
            report.peers.push(theirs(&bench, *peer, &watch)?);
        }
        Ok(report)
    })
    .await
}

/// Cost and count of a crowd over some time.
struct Span {
    begin: Instant,
    server_ms: Option<u64>,
    crowd_ms: Option<u64>,
}

impl Span {
    fn begin(crowd: &mut Crowd, server_ms: Option<u64>) -> Result<Span, SimError> {
        crowd.begin()?;
        Ok(Span { begin: Instant::now(), server_ms, crowd_ms: crowd.cpu_ms() })
    }

    fn end(self, crowd: &mut Crowd, server_ms: Option<u64>) -> Result<Fanned, SimError> {
        let (seconds, crowd_ms) = (self.begin.elapsed().as_secs_f64(), crowd.cpu_ms());
        let Counted { tally, times } = crowd.end()?;
        let per_frame = |from: Option<u64>, to: Option<u64>| {
            let ms = to?.saturating_sub(from?);
            (tally.frames > 0).then(|| ms as f64 * 1000.0 / tally.frames as f64)
        };
        Ok(Fanned {
            seconds,
            frames: tally.frames,
            messages_per_s: tally.frames as f64 / seconds,
            frames_per_s: tally.frames as f64 / seconds,
            updates_per_s: tally.updates as f64 / seconds,
            bytes_per_s: tally.bytes as f64 / seconds,
            latency_ms: Latency::of_histogram(&times),
            server_cpu_us_per_frame: per_frame(self.server_ms, server_ms),
            subscribers_cpu_us_per_frame: per_frame(self.crowd_ms, crowd_ms),
            server_rss_bytes: None,
            conflated: tally.conflated,
            errors: tally.errors,
            missing: tally.missing,
            doubled: tally.doubled,
            broken: tally.broken,
            gaps: tally.gaps,
            problem: tally.problem,
        })
    }
}

/// The server itself: without subscribers, with them, and with others that do not read.
fn ours(
    bench: &FanoutBench,
    bed: Bed,
    devices: Vec<(String, [u8; 32])>,
    names: &[Vec<String>],
    watch: &Watch,
    report: &mut FanoutReport,
) -> Result<(), SimError> {
    let time = Duration::from_secs(bench.seconds);
    let cpu_ms = || bed.usage().map(|usage| usage.cpu_ms);
    let rss = || bed.usage().map(|usage| usage.rss_bytes);
    watch.enter("publishing, nobody looks on");
    let feed =
        Feed::start(bed.device_address()?, devices, (bench.series / bench.devices_per_view()) as usize, bench.rate)?;
    pass(WARM_UP, watch)?;
    let (before, begin, acked) = (cpu_ms(), Instant::now(), feed.acked());
    pass(time, watch)?;
    let alone_s = begin.elapsed().as_secs_f64();
    let alone_ms = before.zip(cpu_ms()).map(|(before, after)| (after - before) as f64 / alone_s);
    report.feed_messages_per_s = (feed.acked() - acked) as f64 / alone_s;
    report.feed_samples_per_s = report.feed_messages_per_s * f64::from(bench.series / bench.devices_per_view());
    report.feed_server_cores = alone_ms.map(|ms| ms / 1000.0);
    report.server_rss_bytes_without_subscribers = rss();

    watch.enter("publishing, beside a server that only writes");
    let (noop, feed_ms) = written(bench, names, watch, &cpu_ms)?;
    let feed_ms_per_s = feed_ms.map(|ms| ms as f64 / noop.seconds);
    report.feed_server_cores_under_load = feed_ms_per_s.map(|ms| ms / 1000.0);
    report.noop = Some(noop);

    watch.enter("subscribing");
    let client = crate::api::ApiClient::sign_in(&bed.running.api)?;
    let job = bench.job(Speaks::Pulsewire, names.to_vec(), bed.live_address()?, client.token().to_owned());
    let counted = bed.counters();
    let began = Instant::now();
    let mut crowd = Crowd::open(&job, bench.processes)?;
    report.subscribed_s = began.elapsed().as_secs_f64();
    pass(WARM_UP, watch)?;
    watch.enter(format!("{} subscribers", bench.subscribers));
    let span = Span::begin(&mut crowd, cpu_ms())?;
    pass(time, watch)?;
    let mut fanned = span.end(&mut crowd, cpu_ms())?;
    fanned.server_rss_bytes = rss();
    report.server_counters = grown(&counted, bed.counters());
    let feed_us = feed_ms_per_s.map(|ms| ms * 1000.0 * fanned.seconds / fanned.frames.max(1) as f64);
    report.server_cpu_us_per_frame_without_feed =
        fanned.server_cpu_us_per_frame.zip(feed_us).map(|(all, feed)| (all - feed).max(0.0));

    let mut stalled = None;
    if bench.stalled > 0 {
        watch.enter(format!("{} subscribers, and {} that do not read", bench.subscribers, bench.stalled));
        let mut idle = Crowd::open(&Job { first: bench.subscribers, count: bench.stalled, ..job }, 1)?;
        idle.stall()?;
        // Until the system's buffers are full as well.
        pass(2 * WARM_UP, watch)?;
        let span = Span::begin(&mut crowd, cpu_ms())?;
        pass(time, watch)?;
        let mut beside = span.end(&mut crowd, cpu_ms())?;
        beside.server_rss_bytes = rss();
        report.stalled = Some(Stalled { stalled: bench.stalled, fanned: beside });
        stalled = Some(idle);
    }

    watch.enter("comparing what everyone has with what was published");
    let (outcome, last) = feed.stop()?;
    let per_view = bench.devices_per_view() as usize;
    let counters: Vec<Vec<u64>> = last.chunks(per_view).map(<[u64]>::to_vec).collect();
    let missing = crowd.missing(&counters, PATIENCE_MS)?;
    let Counted { tally, .. } = crowd.end()?;
    drop(stalled);
    // Wrong is wrong at any time of the run.
    (fanned.errors, fanned.doubled, fanned.broken) = (tally.errors + outcome.errors, tally.doubled, tally.broken);
    (fanned.missing, fanned.gaps) = (tally.missing + missing + outcome.missing, tally.gaps);
    fanned.problem = tally.problem.or(outcome.problem);
    report.fanned = fanned;
    Ok(())
}

fn noop_views(bench: &FanoutBench, names: &[Vec<String>]) -> Views {
    Views {
        devices: names.to_vec(),
        series_per_device: bench.series / bench.devices_per_view(),
        interval: bench.interval,
    }
}

/// The same frames at the same rate from a server that does nothing else; and what `cpu_ms` grew by meanwhile: the machine is
/// then as busy as with subscribers, and a server that is fed takes in more at a time the busier it is.
fn written(
    bench: &FanoutBench,
    names: &[Vec<String>],
    watch: &Watch,
    cpu_ms: &dyn Fn() -> Option<u64>,
) -> Result<(Fanned, Option<u64>), SimError> {
    let noop = Noop::start(noop_views(bench, names))?;
    let job = bench.job(Speaks::Pulsewire, names.to_vec(), noop.address, String::new());
    let mut crowd = Crowd::open(&job, bench.processes)?;
    noop.pace(Pace::Interval);
    pass(WARM_UP, watch)?;
    let (span, before, fed) = (Span::begin(&mut crowd, None)?, noop.cpu_us(), cpu_ms());
    pass(Duration::from_secs(bench.seconds), watch)?;
    let (after, fed_after) = (noop.cpu_us(), cpu_ms());
    let mut fanned = span.end(&mut crowd, None)?;
    let per_frame = |(before, after): (f64, f64)| (after - before) / fanned.frames as f64;
    fanned.server_cpu_us_per_frame = before.zip(after).filter(|_| fanned.frames > 0).map(per_frame);
    Ok((fanned, fed.zip(fed_after).map(|(before, after)| after.saturating_sub(before))))
}

/// The machine itself: as many frames as go through.
fn ceiling(
    bench: &FanoutBench,
    names: &[Vec<String>],
    watch: &Watch,
    report: &mut FanoutReport,
) -> Result<(), SimError> {
    watch.enter("the machine's ceiling");
    let noop = Noop::start(noop_views(bench, names))?;
    let job = bench.job(Speaks::Pulsewire, names.to_vec(), noop.address, String::new());
    let mut crowd = Crowd::open(&Job { unchecked: true, ..job }, bench.processes)?;
    noop.pace(Pace::Flood);
    pass(CEILING_WARM_UP, watch)?;
    let span = Span::begin(&mut crowd, None)?;
    pass(Duration::from_secs(bench.seconds).min(CEILING), watch)?;
    let fanned = span.end(&mut crowd, None)?;
    report.generator_ceiling_per_s = fanned.frames_per_s;
    report.generator_ceiling_updates_per_s = fanned.updates_per_s;
    Ok(())
}

/// Another server: the same bytes to the same number of subscribers as often, but made by whoever publishes.
fn theirs(bench: &FanoutBench, peer: Broadcast, watch: &Watch) -> Result<PeerFanned, SimError> {
    let mut report = PeerFanned {
        peer: peer.name(),
        version: None,
        payload_bytes: bench.frame_bytes(),
        fanned: None,
        skipped: None,
    };
    let running = match peer.start(bench.ws_package.as_deref())? {
        Ok(running) => running,
        Err(missing) => {
            report.skipped = Some(missing);
            return Ok(report);
        }
    };
    report.version.clone_from(&running.version);
    let views = vec![vec![String::new()]; bench.views as usize];
    let rate = 1.0 / bench.interval.as_secs_f64();
    let period_us = bench.interval.as_micros() as u64;
    let job = Job { every: true, period_us, ..bench.job(peer.speaks(), views, running.address, String::new()) };
    let mut crowd = Crowd::open(&job, bench.processes)?;
    let stop = AtomicBool::new(false);
    let (last, fanned) = std::thread::scope(|scope| {
        let publisher = scope.spawn(|| running.publish(bench.views as usize, rate, bench.frame_bytes(), &stop));
        let cpu_ms = || running.usage().map(|usage| usage.cpu_ms);
        let mut counted = || {
            pass(WARM_UP, watch)?;
            let span = Span::begin(&mut crowd, cpu_ms())?;
            pass(Duration::from_secs(bench.seconds), watch)?;
            span.end(&mut crowd, cpu_ms())
        };
        let fanned = counted();
        stop.store(true, Ordering::Relaxed);
        let last = publisher.join().map_err(|_| SimError::Task("the publisher".into()));
        Ok::<_, SimError>((last??, fanned?))
    })?;
    let counters: Vec<Vec<u64>> = last.into_iter().map(|last| vec![last]).collect();
    let missing = crowd.missing(&counters, PATIENCE_MS)?;
    let Counted { tally, .. } = crowd.end()?;
    report.fanned = Some(Fanned {
        server_rss_bytes: running.usage().map(|usage| usage.rss_bytes),
        missing: tally.missing + missing,
        errors: tally.errors,
        doubled: tally.doubled,
        problem: tally.problem,
        ..fanned
    });
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bench() -> FanoutBench {
        FanoutBench {
            subscribers: 1000,
            views: 10,
            series: 2100,
            rate: 10.0,
            interval: Duration::from_millis(100),
            seconds: 10,
            every: false,
            stalled: 0,
            processes: 2,
            running: None,
            peers: Vec::new(),
            ws_package: None,
        }
    }

    #[test]
    fn what_cannot_be_measured_is_named() {
        assert!(bench().check().is_ok());
        let bad = [
            ("--subscribers", FanoutBench { subscribers: 0, ..bench() }),
            ("--views", FanoutBench { views: 0, ..bench() }),
            ("--series", FanoutBench { series: 20_000, ..bench() }),
            ("--series", FanoutBench { series: 2003, ..bench() }),
            ("--rate", FanoutBench { rate: f64::NAN, ..bench() }),
            ("--interval", FanoutBench { interval: Duration::from_millis(1), ..bench() }),
            ("--seconds", FanoutBench { seconds: 0, ..bench() }),
            ("--processes", FanoutBench { processes: 0, ..bench() }),
        ];
        for (name, bench) in bad {
            let error = bench.check().expect_err(name).to_string();
            assert!(error.contains(name), "{error}");
        }
    }

    #[test]
    fn devices_share_the_series_of_a_view_evenly() {
        for (series, devices) in [(1, 1), (50, 1), (51, 3), (100, 2), (2000, 40), (2100, 42), (53, 53)] {
            assert_eq!(FanoutBench { series, ..bench() }.devices_per_view(), devices, "{series}");
        }
        let names = FanoutBench { series: 100, views: 2, ..bench() }.names("r");
        assert_eq!(names, [["r-000-0000", "r-000-0001"], ["r-001-0000", "r-001-0001"]]);
    }

    #[test]
    fn a_frame_is_as_long_as_the_spec_draws_it() {
        // Head; series as u16; times, of which runs would be no shorter; values as f32.
        assert_eq!(FanoutBench { series: 3, ..bench() }.frame_bytes(), 8 + 40 + 8 + 16 + 16);
        // The 42 devices have a time each.
        assert_eq!(bench().frame_bytes(), 8 + 40 + 4200 + (8 + 2 * 168) + 8400);
    }
}
