//! All dashboards lose their connections at once and come back within a few seconds, each at a random moment that is fixed
//! beforehand: how long until each is live again, what the server has to make for that, and whether it still answers others.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::bed::{Bed, grown, provision};
use super::crowd::{Counted, Crowd};
use super::feed::Feed;
use super::job::{Job, Speaks};
use super::{PATIENCE_MS, WARM_UP, pass};
use crate::api::ApiClient;
use crate::bench::Latency;
use crate::bench::ingest::{Running, Watch};
use crate::error::blocking;
use crate::fleet::unix_us;
use crate::{ApiOptions, Shutdown, SimError};

/// Most dashboards.
pub const DASHBOARDS_MAX: u32 = 50_000;
/// Most views.
pub const VIEWS_MAX: u32 = 1_000;
/// What one dashboard shows: the metrics of so many devices.
const DEVICES: u32 = 4;
const METRICS: u32 = 50;
/// Each device reports so often a second, and each dashboard asks for batches as often.
const RATE: f64 = 1.0;
const INTERVAL_MS: u32 = 1_000;
/// How often each page is asked for, on a schedule.
const ASK: Duration = Duration::from_millis(50);
/// Pages that must keep answering.
const PAGES: [&str; 2] = ["/readyz", "/api/v1/devices?limit=50"];
/// Loopback addresses that dashboards come from, so that no pair of addresses runs out of ports.
const SOURCES: u32 = 8;

/// What to measure.
#[derive(Debug, Clone)]
pub struct ReconnectBench {
    /// Live sockets, each with one subscription.
    pub dashboards: u32,
    /// Different subscriptions; dashboards take turns.
    pub views: u32,
    /// All come back within this time.
    pub within: Duration,
    /// They say how far they had everything (SPEC §9.2), instead of beginning anew.
    pub resume: bool,
    /// Processes that share the dashboards.
    pub processes: u32,
    /// Where; None starts a server.
    pub running: Option<Running>,
}

/// What was measured.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs)] // DESIGN-level names, the same for every measurement
pub struct ReconnectReport {
    pub bench: &'static str,
    pub dashboards: u32,
    pub views: u32,
    pub series_per_view: u32,
    pub within_s: f64,
    pub resume: bool,
    /// How long all took to be live the first time, as fast as they could.
    pub opened_s: f64,
    pub live_again: u64,
    /// From the cut until the last was live again.
    pub live_again_s: f64,
    pub messages_per_s: f64,
    /// From the moment at which a dashboard was to connect until it was live.
    pub latency_ms: Option<Latency>,
    pub refused: u64,
    pub failed: u64,
    pub gaps: u64,
    pub server_cpu_s: Option<f64>,
    pub server_cpu_us_per_message: Option<f64>,
    pub server_rss_bytes: Option<u64>,
    pub server_rss_bytes_per_dashboard: Option<f64>,
    /// While all came back.
    pub server_counters: BTreeMap<String, f64>,
    pub pages: Vec<PageTimes>,
    pub errors: u64,
    /// Pairs of dashboard and series that did not have the newest value in the end.
    pub missing: u64,
    pub doubled: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// How long a page took, on a schedule of twenty a second, before the cut and while all came back.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs)]
pub struct PageTimes {
    pub page: &'static str,
    pub calm_ms: Option<Latency>,
    pub storm_ms: Option<Latency>,
    pub errors: u64,
}

impl ReconnectReport {
    /// Whether all are live again and have everything.
    pub fn is_success(&self) -> bool {
        self.live_again == u64::from(self.dashboards) && self.errors + self.missing + self.doubled == 0
    }
}

impl fmt::Display for ReconnectReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let times = |l: &Option<Latency>| match l {
            Some(l) => format!("p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms", l.p50, l.p99, l.max),
            None => "not measured".into(),
        };
        writeln!(
            f,
            "{} dashboards of {} views with {} series each, cut and back within {} s{}",
            self.dashboards,
            self.views,
            self.series_per_view,
            self.within_s,
            if self.resume { ", resuming" } else { "" }
        )?;
        writeln!(
            f,
            "{} live again after {:.2} s; each {}; {} refused, {} failed, {} gaps",
            self.live_again,
            self.live_again_s,
            times(&self.latency_ms),
            self.refused,
            self.failed,
            self.gaps
        )?;
        for (name, value) in &self.server_counters {
            writeln!(f, "  {name} {value}")?;
        }
        for page in &self.pages {
            let (calm, storm) = (times(&page.calm_ms), times(&page.storm_ms));
            writeln!(f, "GET {}: before {calm}; meanwhile {storm}; {} errors", page.page, page.errors)?;
        }
        if let (Some(cpu), Some(rss)) = (self.server_cpu_us_per_message, self.server_rss_bytes_per_dashboard) {
            writeln!(f, "server: {cpu:.0} µs of processor time and {:.1} kB resident per dashboard", rss / 1000.0)?;
        }
        write!(f, "{} errors, {} missing, {} doubled", self.errors, self.missing, self.doubled)?;
        match &self.problem {
            Some(problem) => write!(f, " (first problem: {problem})"),
            None => Ok(()),
        }
    }
}

impl ReconnectBench {
    fn check(&self) -> Result<(), SimError> {
        let range = |name, value: u64, least: u64, most: u64| {
            if (least..=most).contains(&value) {
                return Ok(());
            }
            Err(SimError::Invalid { name, value: value.to_string(), allowed: format!("{least} to {most}") })
        };
        range("--dashboards", self.dashboards.into(), 1, DASHBOARDS_MAX.into())?;
        range("--views", self.views.into(), 1, VIEWS_MAX.into())?;
        range("--within in ms", self.within.as_millis() as u64, 1, 600_000)?;
        range("--processes", self.processes.into(), 1, 64)
    }
}

/// Measures.
pub async fn run(bench: ReconnectBench, watch: Watch, shutdown: Shutdown) -> Result<ReconnectReport, SimError> {
    bench.check()?;
    watch.until(shutdown, measure(bench, &watch)).await
}

async fn measure(bench: ReconnectBench, watch: &Watch) -> Result<ReconnectReport, SimError> {
    watch.enter("starting the server");
    let (given, viewers) = (bench.running.clone(), bench.dashboards);
    // While all come back, the server may not have noticed yet that they were gone.
    let bed = blocking(move || Bed::make(given, "reconnect", 2 * viewers)).await?;
    let run = format!("bench-reconnect-{}", unix_us());
    let names: Vec<Vec<String>> =
        (0..bench.views).map(|view| (0..DEVICES).map(|device| format!("{run}-{view:03}-{device}")).collect()).collect();
    let devices = provision(&bed.running, &run, &names.concat(), |_| watch.enter("making devices")).await?;
    let watch = watch.clone();
    blocking(move || storm(&bench, &bed, devices, names, &watch)).await
}

fn storm(
    bench: &ReconnectBench,
    bed: &Bed,
    devices: Vec<(String, [u8; 32])>,
    names: Vec<Vec<String>>,
    watch: &Watch,
) -> Result<ReconnectReport, SimError> {
    let feed = Feed::start(bed.device_address()?, devices, METRICS as usize, RATE)?;
    pass(WARM_UP, watch)?;
    let empty = bed.usage().map(|usage| usage.rss_bytes);
    watch.enter(format!("opening {} dashboards", bench.dashboards));
    let client = ApiClient::sign_in(&bed.running.api)?;
    let address = bed.live_address()?;
    let job = Job {
        speaks: Speaks::Pulsewire,
        address,
        token: client.token().to_owned(),
        first: 0,
        count: bench.dashboards,
        views: names,
        series_per_device: METRICS,
        every: false,
        interval_ms: INTERVAL_MS,
        period_us: (1e6 / RATE) as u64,
        sources: if address.ip().is_loopback() && address.is_ipv4() { SOURCES } else { 0 },
        unchecked: false,
    };
    let began = Instant::now();
    let mut crowd = Crowd::open(&job, bench.processes)?;
    let opened_s = began.elapsed().as_secs_f64();
    let calm = Asking::start(&bed.running.api)?;
    pass(WARM_UP, watch)?;
    let calm = calm.stop()?;
    let rss = bed.usage().map(|usage| usage.rss_bytes);

    watch.enter("all are cut and come back");
    let (before, counted, asking) = (bed.usage(), bed.counters(), Asking::start(&bed.running.api)?);
    let (storm, times) = crowd.storm(bench.within.as_millis() as u64, bench.resume)?;
    let (after, asked) = (bed.usage(), asking.stop()?);
    let server_counters = grown(&counted, bed.counters());

    watch.enter("comparing what everyone has with what was published");
    pass(WARM_UP, watch)?;
    let (outcome, last) = feed.stop()?;
    let counters: Vec<Vec<u64>> = last.chunks(DEVICES as usize).map(<[u64]>::to_vec).collect();
    let missing = crowd.missing(&counters, PATIENCE_MS)?;
    let Counted { tally, .. } = crowd.end()?;
    let cpu_ms = before.zip(after).map(|(before, after)| after.cpu_ms.saturating_sub(before.cpu_ms) as f64);
    let live_again_s = storm.last_us as f64 / 1e6;
    let pages = calm.into_iter().zip(asked).zip(PAGES).map(|((calm, storm), page)| PageTimes {
        page,
        errors: calm.errors + storm.errors,
        calm_ms: Latency::of_us(calm.times),
        storm_ms: Latency::of_us(storm.times),
    });
    let pages: Vec<PageTimes> = pages.collect();
    Ok(ReconnectReport {
        bench: "reconnect",
        dashboards: bench.dashboards,
        views: bench.views,
        series_per_view: DEVICES * METRICS,
        within_s: bench.within.as_secs_f64(),
        resume: bench.resume,
        opened_s,
        live_again: storm.live,
        live_again_s,
        messages_per_s: storm.live as f64 / live_again_s.max(1e-3),
        latency_ms: Latency::of_histogram(&times),
        refused: storm.refused,
        failed: storm.failed,
        gaps: storm.gaps,
        server_cpu_s: cpu_ms.map(|ms| ms / 1000.0),
        server_cpu_us_per_message: cpu_ms.map(|ms| ms * 1000.0 / f64::from(bench.dashboards)),
        server_rss_bytes: after.map(|usage| usage.rss_bytes),
        server_rss_bytes_per_dashboard: rss
            .zip(empty)
            .map(|(all, empty)| all.saturating_sub(empty) as f64 / f64::from(bench.dashboards)),
        server_counters,
        errors: tally.errors + tally.broken + outcome.errors + pages.iter().map(|page| page.errors).sum::<u64>(),
        pages,
        missing: tally.missing + missing + outcome.missing,
        doubled: tally.doubled,
        problem: tally.problem.or(storm.problem).or(outcome.problem),
    })
}

/// Asks for the pages on a schedule, each from a thread of its own, until stopped.
struct Asking {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Asked>>,
}

/// Microseconds from the moment at which a page was to be asked for until it was there.
#[derive(Debug, Default)]
struct Asked {
    times: Vec<i64>,
    errors: u64,
}

impl Asking {
    fn start(api: &ApiOptions) -> Result<Asking, SimError> {
        let stop = Arc::new(AtomicBool::new(false));
        let client = ApiClient::sign_in(api)?;
        let ask = |page: &'static str| {
            let (client, stop) = (client.clone(), stop.clone());
            std::thread::spawn(move || ask(&client, page, &stop))
        };
        let threads = PAGES.into_iter().map(ask).collect();
        Ok(Asking { stop, threads })
    }

    fn stop(self) -> Result<Vec<Asked>, SimError> {
        self.stop.store(true, Ordering::Relaxed);
        let join = |thread: JoinHandle<Asked>| thread.join().map_err(|_| SimError::Task("asking for pages".into()));
        self.threads.into_iter().map(join).collect()
    }
}

fn ask(client: &ApiClient, page: &str, stop: &AtomicBool) -> Asked {
    let (mut asked, start) = (Asked::default(), Instant::now());
    for number in 0.. {
        let due = start + ASK * number;
        // Open loop: the next question is due at its time, whatever became of the one before.
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        if stop.load(Ordering::Relaxed) {
            break;
        }
        match client.text(page) {
            Ok(_) => asked.times.push(due.elapsed().as_micros() as i64),
            Err(_) => asked.errors += 1,
        }
    }
    asked
}
