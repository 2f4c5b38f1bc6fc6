//! Reports in, acknowledgements out: how many a second a server stores, how long that takes, and whether all of them are
//! there in the end.

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::json;

use super::children::{OwnServer, Scratch, Usage};
use super::device::DeviceWire;
use super::generator::{self, Load, METRICS_MAX, Mark, Outcome, Progress};
use super::noop::{self, Noop};
use super::viewers::Viewers;
use super::{Figures, Peer, PeerReport};
use crate::api::{Accounting, ApiClient, DeviceSpec};
use crate::error::blocking;
use crate::fleet::unix_us;
use crate::{ApiOptions, Provisioner, SecretStore, Shutdown, SimError, Target};

/// Most connections: each takes two of the 20,000 files that a process commonly may open, while the ceiling is measured.
pub const CONNECTIONS_MAX: u32 = 9_000;
/// Most reports in flight: the default window of a server.
pub const IN_FLIGHT_MAX: u32 = 1_024;
/// Most rules.
pub const RULES_MAX: u32 = 100;
/// Most live sockets: what a server allows one user by default.
pub const VIEWERS_MAX: u32 = 100;
/// A device says something at least this often, so that no heartbeat is needed.
const QUIET_MAX_S: f64 = 10.0;
const WARM_UP: Duration = Duration::from_secs(2);
/// For the generator's ceiling.
const CEILING: Duration = Duration::from_secs(2);
const CEILING_WARM_UP: Duration = Duration::from_millis(300);
/// How long the server's books may take to show what it acknowledged.
const BOOKS_LIMIT: Duration = Duration::from_secs(10);
const BOOKS_POLL: Duration = Duration::from_millis(200);
/// Devices created between two looks at the progress.
const PROVISION: usize = 100;
/// Bytes of a report beside its values, while stream and sequence are small.
const REPORT_BYTES: usize = 20;

/// A server that runs already.
#[derive(Debug, Clone)]
pub struct Running {
    /// Where devices connect; raw TCP only.
    pub target: Target,
    /// Its HTTP API, with an admin.
    pub api: ApiOptions,
}

/// What to measure.
#[derive(Debug, Clone)]
pub struct IngestBench {
    /// Devices, each with a connection; at most [`CONNECTIONS_MAX`].
    pub connections: u32,
    /// Messages a second in all; None as fast as they are acknowledged.
    pub rate: Option<f64>,
    /// For how long, after two seconds that do not count.
    pub seconds: u64,
    /// Most unacknowledged messages of a connection; at most [`IN_FLIGHT_MAX`].
    pub in_flight: u32,
    /// f32 metrics of a device, at most 64.
    pub metrics: u32,
    /// Rules that each match every device and never fire.
    pub rules: u32,
    /// Live sockets, each with ten devices.
    pub viewers: u32,
    /// Threads of the generator.
    pub threads: u32,
    /// Where; None starts a server.
    pub running: Option<Running>,
    /// Whom to measure as well.
    pub peers: Vec<Peer>,
}

/// What was measured.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs)] // DESIGN-level names, the same for every measurement
pub struct IngestReport {
    pub bench: &'static str,
    pub connections: u32,
    pub in_flight: u32,
    pub rate: Option<f64>,
    pub metrics: u32,
    pub rules: u32,
    pub viewers: u32,
    pub message_bytes: usize,
    #[serde(flatten)]
    pub figures: Figures,
    /// What the server says that it stored, warm-up included, and what it acknowledged times metrics.
    pub samples_stored: u64,
    pub samples_acknowledged: u64,
    pub viewer_frames_per_s: f64,
    pub generator_ceiling_per_s: f64,
    /// Of the generator against the no-op server.
    pub generator_ceiling_cpu_us_per_message: Option<f64>,
    pub peers: Vec<PeerReport>,
}

/// Where a measurement is; for a progress bar.
#[derive(Debug, Clone, Default)]
pub struct Watch(Arc<Watched>);

#[derive(Debug, Default)]
struct Watched {
    stage: std::sync::Mutex<String>,
    progress: Progress,
}

impl Watch {
    /// In words.
    pub fn stage(&self) -> String {
        self.0.stage.lock().map(|stage| stage.clone()).unwrap_or_default()
    }

    /// Messages acknowledged so far, over all stages.
    pub fn acknowledged(&self) -> u64 {
        self.0.progress.acked.load(Ordering::Relaxed)
    }

    /// Waits for a measurement, which looks at `is_stopped` and ends early once the shutdown comes.
    pub(super) async fn until<T>(&self, mut shutdown: Shutdown, measured: impl Future<Output = T>) -> T {
        let watched = self.0.clone();
        let stopper = tokio::spawn(async move {
            shutdown.wait().await;
            watched.progress.stop();
        });
        // Measurements keep a lot across their waits; who runs one keeps only where that is.
        let answer = Box::pin(measured).await;
        stopper.abort();
        answer
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.0.progress.is_stopped()
    }

    pub(super) fn enter(&self, stage: impl Into<String>) {
        if let Ok(mut now) = self.0.stage.lock() {
            *now = stage.into();
        }
    }
}

impl IngestReport {
    /// Whether everything that was sent is stored, once.
    pub fn is_success(&self) -> bool {
        let Figures { messages, errors, missing, doubled, .. } = self.figures;
        messages > 0 && errors == 0 && missing == 0 && doubled == 0
    }
}

impl fmt::Display for IngestReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let window = match self.rate {
            Some(rate) => format!("{rate:.0} messages/s asked for"),
            None => "as fast as acknowledged".into(),
        };
        writeln!(
            f,
            "{} connections, {} metrics per message ({} bytes), at most {} in flight each, {} rules, {} live sockets, {window}",
            self.connections, self.metrics, self.message_bytes, self.in_flight, self.rules, self.viewers
        )?;
        writeln!(f, "pulsewire: {}", self.figures)?;
        writeln!(
            f,
            "  {:.0} samples/s; {} samples acknowledged, {} stored",
            self.figures.samples_per_s.unwrap_or_default(),
            self.samples_acknowledged,
            self.samples_stored
        )?;
        for peer in &self.peers {
            let version = peer.version.as_deref().unwrap_or("version unknown");
            match (&peer.figures, &peer.skipped) {
                (Some(figures), _) => {
                    writeln!(f, "{} ({version}; acknowledged when {}): {figures}", peer.peer, peer.acknowledged)?;
                }
                (None, skipped) => writeln!(f, "{}: {}", peer.peer, skipped.as_deref().unwrap_or("not measured"))?,
            }
        }
        write!(
            f,
            "generator's ceiling: {:.0} messages/s against a server that does nothing",
            self.generator_ceiling_per_s
        )
    }
}

impl IngestBench {
    fn check(&self) -> Result<(), SimError> {
        let range = |name, value: u32, least: u32, most: u32| {
            if (least..=most).contains(&value) {
                return Ok(());
            }
            Err(SimError::Invalid { name, value: value.to_string(), allowed: format!("{least} to {most}") })
        };
        range("--connections", self.connections, 1, CONNECTIONS_MAX)?;
        range("--in-flight", self.in_flight, 1, IN_FLIGHT_MAX)?;
        range("--metrics", self.metrics, 1, METRICS_MAX as u32)?;
        range("--rules", self.rules, 0, RULES_MAX)?;
        range("--viewers", self.viewers, 0, VIEWERS_MAX)?;
        range("--threads", self.threads, 1, 64)?;
        range("--seconds", u32::try_from(self.seconds).unwrap_or(u32::MAX), 1, 86_400)?;
        let least = f64::from(self.connections) / QUIET_MAX_S;
        if let Some(rate) = self.rate
            && !(least..=1e8).contains(&rate)
        {
            let allowed = format!("at least {least} (a message per connection every ten seconds), at most 100000000");
            return Err(SimError::Invalid { name: "--rate", value: rate.to_string(), allowed });
        }
        match &self.running {
            Some(Running { target: target @ Target::WebSocket { .. }, .. }) => Err(SimError::Invalid {
                name: "--connect",
                value: target.to_string(),
                allowed: "this measurement speaks raw TCP: HOST:PORT".into(),
            }),
            _ => Ok(()),
        }
    }

    fn load(&self) -> Load {
        Load {
            rate: self.rate,
            in_flight: self.in_flight,
            metrics: self.metrics as usize,
            warm_up: WARM_UP,
            measured: Duration::from_secs(self.seconds),
            threads: self.threads as usize,
        }
    }

    fn message_bytes(&self) -> usize {
        REPORT_BYTES + 4 * self.metrics as usize
    }
}

/// A server, ours or one that runs already.
struct Bed {
    running: Running,
    server: Option<OwnServer>,
    // Dropped after the server.
    _scratch: Option<Scratch>,
}

impl Bed {
    fn make(given: Option<Running>) -> Result<Bed, SimError> {
        if let Some(running) = given {
            return Ok(Bed { running, server: None, _scratch: None });
        }
        let scratch = Scratch::make("ingest")?;
        // Nothing in it: a pulsewire.toml in the current folder is not meant for this server.
        let config = scratch.write("pulsewire.toml", "")?;
        let server = OwnServer::start(&config, &scratch.0.join("data"), &[])?;
        let running = Running { target: server.target.clone(), api: server.api.clone() };
        Ok(Bed { running, server: Some(server), _scratch: Some(scratch) })
    }

    fn usage(&self) -> Option<Usage> {
        self.server.as_ref().and_then(|server| server.program.usage())
    }

    fn address(&self) -> Result<SocketAddr, SimError> {
        let name = self.running.target.to_string();
        let failed = |problem: String| SimError::Measurement { what: name.clone(), problem };
        let mut addresses = name.to_socket_addrs().map_err(|error| failed(error.to_string()))?;
        addresses.next().ok_or_else(|| failed("no such host".into()))
    }
}

/// Makes the devices, in steps that the watch shows, and the rules.
async fn set_up(
    bench: &IngestBench,
    api: &ApiOptions,
    run: &str,
    watch: &Watch,
) -> Result<Vec<(String, [u8; 32])>, SimError> {
    let mut provisioner = Provisioner::sign_in(api.clone(), SecretStore::in_memory()).await?;
    let ids: Vec<String> = (0..bench.connections).map(|index| format!("{run}-{index:05}")).collect();
    let mut devices = Vec::new();
    for ids in ids.chunks(PROVISION) {
        watch.enter(format!("making devices: {} of {}", devices.len(), bench.connections));
        let spec = |id: &String| DeviceSpec { id: id.clone(), group: Some(run.into()), ..DeviceSpec::default() };
        let secrets = provisioner.ensure(ids.iter().map(spec).collect()).await?;
        devices.extend(ids.iter().cloned().zip(secrets));
    }
    let (api, rules, metrics, group) = (api.clone(), bench.rules, bench.metrics, run.to_owned());
    blocking(move || {
        if rules == 0 {
            return Ok(());
        }
        let api = ApiClient::sign_in(&api)?;
        for rule in 0..rules {
            // Values are at most 100: judged for every sample, and never firing.
            let rule = json!({ "name": format!("{group} {rule}"), "metric": format!("m{}", rule % metrics),
                "comparison": ">", "threshold": 1000.0 + f64::from(rule), "severity": "warning",
                "scope": { "group": group }, "allow_unknown_metric": true });
            api.post("/api/v1/rules", &rule)?;
        }
        Ok(())
    })
    .await?;
    Ok(devices)
}

/// What the server's books say of the devices of this run, once they show everything that was acknowledged.
fn books(api: &ApiOptions, run: &str, reports: u64) -> Result<Accounting, SimError> {
    let (api, until) = (ApiClient::sign_in(api)?, Instant::now() + BOOKS_LIMIT);
    loop {
        let sum = api.accounting_of_all(run)?;
        if sum.reports >= reports || Instant::now() > until {
            return Ok(sum);
        }
        // The server writes its books some time after it acknowledges, and tells nobody when.
        std::thread::sleep(BOOKS_POLL);
    }
}

/// What the generator reaches against a server that does nothing.
fn ceiling(bench: &IngestBench, progress: &Progress) -> Result<Outcome, SimError> {
    let noop = Noop::start()?;
    let measured = CEILING.min(Duration::from_secs(bench.seconds));
    let load = Load { rate: None, warm_up: CEILING_WARM_UP, measured, ..bench.load() };
    let devices = (0..bench.connections).map(|index| (format!("bench-{index}"), noop::SECRET));
    generator::run(wires(bench, devices)?, noop.address, &load, progress, |_| {})
}

fn wires(bench: &IngestBench, devices: impl Iterator<Item = (String, [u8; 32])>) -> Result<Vec<DeviceWire>, SimError> {
    devices
        .map(|(id, secret)| DeviceWire::new(id, secret, bench.metrics as usize, bench.in_flight))
        .collect::<Result<_, _>>()
        .map_err(SimError::Task)
}

/// Measures.
pub async fn run(bench: IngestBench, watch: Watch, shutdown: Shutdown) -> Result<IngestReport, SimError> {
    bench.check()?;
    watch.until(shutdown, measure(&bench, &watch)).await
}

async fn measure(bench: &IngestBench, watch: &Watch) -> Result<IngestReport, SimError> {
    watch.enter("the generator's ceiling");
    let (setting, watched) = (bench.clone(), watch.clone());
    let ceiling = blocking(move || ceiling(&setting, &watched.0.progress)).await?;

    watch.enter("starting the server");
    let given = bench.running.clone();
    let bed = blocking(move || Bed::make(given)).await?;
    // A name of its own, so that a server which runs already can be measured again.
    let run = format!("bench-ingest-{}", unix_us());
    let api = bed.running.api.clone();
    let devices = set_up(bench, &api, &run, watch).await?;
    let ids: Vec<String> = devices.iter().map(|(id, _)| id.clone()).collect();
    let viewers = match bench.viewers {
        0 => None,
        count => {
            let options = api.clone();
            let client = blocking(move || ApiClient::sign_in(&options)).await?;
            Some(Viewers::open(&api.url, client.token(), count, &ids).await?)
        }
    };

    watch.enter("sending");
    let (setting, watched, frames) = (bench.clone(), watch.clone(), viewers.as_ref().map(Viewers::counter));
    let (outcome, before, after, seen, bed) = blocking(move || {
        let (address, wires) = (bed.address()?, wires(&setting, devices.into_iter())?);
        let (mut usage, mut seen) = ([None; 2], [0; 2]);
        let mark = |mark| {
            let at = usize::from(mark == Mark::End);
            usage[at] = bed.usage();
            seen[at] = frames.as_ref().map_or(0, |frames| frames.load(Ordering::Relaxed));
        };
        let outcome = generator::run(wires, address, &setting.load(), &watched.0.progress, mark)?;
        let [before, after] = usage;
        Ok((outcome, before, after, seen[1] - seen[0], bed))
    })
    .await?;

    let mut figures = Figures::of(&outcome, Some(bench.metrics as usize), before, after);
    if let Some(viewers) = viewers {
        let (ended, problem) = viewers.close().await;
        figures.errors += ended;
        figures.problem = figures.problem.take().or(problem);
    }
    watch.enter("comparing with the server's books");
    let (acked, named) = (outcome.acked, run.clone());
    let books = blocking(move || books(&api, &named, acked)).await?;
    let acknowledged = acked * u64::from(bench.metrics);
    // Nothing was sent twice or with a time that was used before. What was stored and not acknowledged is missing already.
    let expected = acknowledged..=(acked + outcome.missing) * u64::from(bench.metrics);
    if !expected.contains(&books.stored) || books.replaced + books.rejected + books.duplicate > 0 {
        figures.errors += 1;
        let text = format!("{acknowledged} samples were acknowledged, and the server's books say {books:?}");
        figures.problem.get_or_insert(text);
    }
    drop(bed);

    let mut peers = Vec::new();
    for peer in &bench.peers {
        if watch.0.progress.is_stopped() {
            break;
        }
        watch.enter(peer.name());
        let (peer, setting, watched) = (*peer, bench.clone(), watch.clone());
        let measured = move || {
            let (connections, bytes) = (setting.connections as usize, setting.message_bytes());
            peer.measure(connections, &setting.load(), bytes, &watched.0.progress)
        };
        peers.push(blocking(measured).await?);
    }
    Ok(IngestReport {
        bench: "ingest",
        connections: bench.connections,
        in_flight: bench.in_flight,
        rate: bench.rate,
        metrics: bench.metrics,
        rules: bench.rules,
        viewers: bench.viewers,
        message_bytes: bench.message_bytes(),
        viewer_frames_per_s: seen as f64 / figures.seconds.max(1e-3),
        figures,
        samples_stored: books.stored,
        samples_acknowledged: acknowledged,
        generator_ceiling_per_s: ceiling.per_second(),
        generator_ceiling_cpu_us_per_message: ceiling.cpu_us_per_message(),
        peers,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bench() -> IngestBench {
        IngestBench {
            connections: 100,
            rate: None,
            seconds: 1,
            in_flight: 100,
            metrics: 10,
            rules: 0,
            viewers: 0,
            threads: 1,
            running: None,
            peers: Vec::new(),
        }
    }

    #[test]
    fn what_cannot_be_measured_is_named() {
        assert!(bench().check().is_ok());
        let api = ApiOptions { url: "http://h:1".into(), user: "u".into(), password: "p".into() };
        let websocket = Running { target: "ws://h:1/device".parse().expect("a URL"), api };
        let bad = [
            ("--connections", IngestBench { connections: 0, ..bench() }),
            ("--in-flight", IngestBench { in_flight: 2_000, ..bench() }),
            ("--metrics", IngestBench { metrics: 65, ..bench() }),
            ("--rate", IngestBench { rate: Some(9.0), ..bench() }),
            ("--rate", IngestBench { rate: Some(f64::NAN), ..bench() }),
            ("--seconds", IngestBench { seconds: 0, ..bench() }),
            ("--connect", IngestBench { running: Some(websocket), ..bench() }),
        ];
        for (name, bench) in bad {
            let error = bench.check().expect_err(name).to_string();
            assert!(error.contains(name), "{error}");
        }
    }
}
