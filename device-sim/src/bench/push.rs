//! From a sample that trips a rule to the request at a push provider: devices go above a threshold and back, each transition
//! is a message to a browser and two apps at the emulator, and the emulator says when each arrived.

use std::collections::HashSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use pulsewire_proto::{
    Metric, MetricSet, MetricType, Value,
    frame::{ReportBuilder, StreamKind},
    session::DeviceLogin,
};
use serde::Serialize;
use serde_json::{Value as Json, json};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Latency;
use super::children::{OwnServer, Program, Scratch, Usage};
use super::throughput;
use crate::api::{ApiClient, DeviceSpec};
use crate::client::{ClientOptions, ClientStats, DeviceClient, Next, Source, Spool};
use crate::error::blocking;
use crate::fleet::unix_us;
use crate::{ApiOptions, Shutdown, SimError, Target};

/// Endpoints of each person: one per provider.
const ENDPOINTS: u64 = 3;
/// Most messages that a person gets in a minute; what only takes the place of another does not count.
const PER_MINUTE: u64 = 60;
/// Shortest interval: see [`PushBench::interval`].
const INTERVAL_MIN: Duration = Duration::from_millis(500);
/// Devices connect and log in before the first sample is due.
const LEAD: Duration = Duration::from_secs(1);
/// How long the last messages may take.
const PATIENCE: Duration = Duration::from_secs(15);
const POLL: Duration = Duration::from_millis(500);
/// No grace between alert and push, and no rate but what the providers stand.
const VARIABLES: [(&str, &str); 2] = [("PULSEWIRE_PUSH_GRACE", "0ms"), ("PULSEWIRE_PUSH_PER_ORIGIN_RATE", "100000")];

/// A server that runs already.
#[derive(Clone)]
pub struct Running {
    /// Where devices connect.
    pub target: Target,
    /// Its HTTP API, with an admin who has no endpoints yet.
    pub api: ApiOptions,
    /// Page of the emulator that it sends to.
    pub emulator: String,
}

/// What to measure.
#[derive(Clone)]
pub struct PushBench {
    /// For how long.
    pub seconds: u64,
    /// How many devices take turns.
    pub devices: u32,
    /// Time between two transitions of one device, at least 500 ms: every second one is news, and there are at most
    /// [`PER_MINUTE`] of them.
    pub interval: Duration,
    /// Where; None starts server and emulator, with no grace between alert and push.
    pub running: Option<Running>,
}

/// What was measured.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs)] // DESIGN-level names, the same for every measurement
pub struct PushReport {
    pub bench: &'static str,
    pub seconds: f64,
    pub samples: u64,
    pub messages: u64,
    pub messages_per_s: f64,
    pub samples_per_s: f64,
    pub latency_ms: Option<Latency>,
    pub by_provider: Vec<ByProvider>,
    pub server_cpu_us_per_message: Option<f64>,
    pub server_rss_bytes: Option<u64>,
    pub errors: u64,
    pub missing: u64,
    pub doubled: u64,
    pub generator_ceiling_per_s: f64,
    pub queued_at_once: Option<u64>,
    pub push_per_s: Option<f64>,
    pub ceiling_per_s: Option<f64>,
    pub share_of_ceiling: Option<f64>,
    pub peers: Vec<Json>,
}

/// The same for one provider.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs)]
pub struct ByProvider {
    pub provider: &'static str,
    pub latency_ms: Option<Latency>,
}

impl PushReport {
    /// Whether everything arrived.
    pub fn is_success(&self) -> bool {
        self.errors == 0 && self.missing == 0 && self.messages > 0
    }
}

impl fmt::Display for PushReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let times = |l: &Option<Latency>| match l {
            Some(l) => format!("p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms of {}", l.p50, l.p99, l.max, l.count),
            None => "nothing arrived".into(),
        };
        writeln!(f, "sample in to request at the provider: {}", times(&self.latency_ms))?;
        for one in &self.by_provider {
            writeln!(f, "  {:<8} {}", one.provider, times(&one.latency_ms))?;
        }
        writeln!(
            f,
            "{} samples, {} messages in {:.1} s ({:.1} messages/s); {} errors, {} missing, {} doubled",
            self.samples, self.messages, self.seconds, self.messages_per_s, self.errors, self.missing, self.doubled
        )?;
        if let (Some(queued), Some(push), Some(ceiling)) = (self.queued_at_once, self.push_per_s, self.ceiling_per_s) {
            writeln!(f, "{queued} messages at once: {push:.0}/s; the same requests by a bare client: {ceiling:.0}/s")?;
        }
        match (self.server_cpu_us_per_message, self.server_rss_bytes) {
            (Some(cpu), Some(rss)) => {
                write!(f, "server: {cpu:.0} µs of processor time per message, {:.1} MB resident", rss as f64 / 1e6)
            }
            _ => write!(f, "server: not started here, so its use is not known"),
        }
    }
}

/// Samples above and below the threshold by turns, at times that are known beforehand.
struct Pulses {
    spool: Spool,
    set: MetricSet,
    next: Instant,
    next_us: i64,
    interval: Duration,
    left: u64,
    high: bool,
}

fn metric_set() -> MetricSet {
    MetricSet { set: 0, metrics: vec![Metric::new("level", "", MetricType::F64)] }
}

impl Pulses {
    fn due(&mut self, now: Instant) {
        while self.left > 0 && self.next <= now {
            self.left -= 1;
            self.high = !self.high;
            let value = if self.high { 20.0 } else { 0.0 };
            let mut builder = ReportBuilder::dense(&self.set);
            let row = builder.sparse_row(self.next_us, &[Some(Value::F64(value))]);
            debug_assert!(row.is_ok(), "{row:?}");
            self.spool.push(&builder, 1);
            self.next += self.interval;
            self.next_us += self.interval.as_micros() as i64;
        }
        if self.left == 0 {
            self.spool.close();
        }
    }
}

impl Source for Pulses {
    fn metric_sets(&self) -> &[MetricSet] {
        self.spool.metric_sets()
    }

    fn kind(&self) -> StreamKind {
        StreamKind::Live
    }

    fn stream(&self) -> Option<u32> {
        self.spool.stream()
    }

    async fn opened(&mut self, stream: u32) -> Result<(), SimError> {
        self.spool.opened(stream).await
    }

    fn resumed(&mut self, durable: u64) -> u64 {
        self.spool.resumed(durable)
    }

    fn next(&mut self, now: Instant) -> Next<'_> {
        self.due(now);
        let at = self.next;
        match self.spool.next(now) {
            Next::Idle => Next::At(at),
            other => other,
        }
    }

    fn sent(&mut self) {
        self.spool.sent();
    }

    fn acked(&mut self, sequence: u64) -> u64 {
        self.spool.acked(sequence)
    }
}

/// A server and an emulator of our own, if none run already.
struct Bed {
    running: Running,
    server: Option<Program>,
    // Dropped after the server.
    emulator: Option<Program>,
    _scratch: Option<Scratch>,
}

impl Bed {
    fn make(given: Option<Running>) -> Result<Bed, SimError> {
        if let Some(running) = given {
            return Ok(Bed { running, server: None, emulator: None, _scratch: None });
        }
        let scratch = Scratch::make("push")?;
        let dir = scratch.0.join("emulator");
        let any = "127.0.0.1:0";
        let arguments = ["push-emulator", "--listen", any, "--page", any, "--dir", &dir.to_string_lossy(), "--json"];
        let emulator = Program::start(&arguments, &[])?;
        let config = PathBuf::from(emulator.text("config"));
        let server = OwnServer::start(&config, &scratch.0.join("data"), &VARIABLES)?;
        let OwnServer { program, target, api } = server;
        let running = Running { target, api, emulator: emulator.text("page") };
        Ok(Bed { running, server: Some(program), emulator: Some(emulator), _scratch: Some(scratch) })
    }

    fn usage(&self) -> Option<Usage> {
        self.server.as_ref().and_then(Program::usage)
    }
}

/// Makes devices, each with a rule and a person of its own, so that nobody is told more than the cap of messages per minute
/// lets through; answers the devices' secrets.
fn set_up(bench: &PushBench, running: &Running) -> Result<Vec<(String, [u8; 32])>, SimError> {
    let api = ApiClient::sign_in(&running.api)?;
    let page = ApiClient::open(&running.emulator);
    // A name of its own, so that a server which runs already can be measured again.
    let run = format!("bench-push-{}", unix_us());
    let mut devices = Vec::new();
    for index in 0..bench.devices {
        let id = format!("{run}-{index}");
        let person = json!({ "name": id, "password": format!("password of {id}"), "role": "operator" });
        api.post("/api/v1/users", &person)?;
        api.put(&format!("/api/v1/push/preferences?user={id}"), &json!({ "per_minute": PER_MINUTE }))?;
        let browser = page.post("/api/subscriptions", &json!({ "label": "Browser" }))?;
        let browser = json!({ "kind": "webpush", "url": browser["endpoint"], "keys": browser["keys"], "user": id });
        api.post("/api/v1/push/endpoints", &browser)?;
        for kind in ["apns", "fcm"] {
            let app = page.post("/api/apps", &json!({ "kind": kind, "label": kind }))?;
            api.post("/api/v1/push/endpoints", &json!({ "kind": kind, "token": app["token"], "user": id }))?;
        }
        let spec = DeviceSpec { id: id.clone(), group: Some(run.clone()), ..DeviceSpec::default() };
        let secret = api.create_device(&spec)?.ok_or_else(|| SimError::Task(format!("device {id} exists already")))?;
        let rule = json!({ "name": "Bench", "metric": "level", "comparison": ">", "threshold": 10.0,
            "severity": "critical", "scope": { "device": id }, "allow_unknown_metric": true,
            // Each alert is told by itself and at once: what is measured is the way of one message.
            "notify": { "to": [format!("user:{id}")], "group_by": ["alert"], "wait": "0s", "interval": "1s" },
            "flapping": false });
        api.post("/api/v1/rules", &rule)?;
        devices.push((id, secret));
    }
    Ok(devices)
}

/// What arrived so far.
#[derive(Default)]
struct Arrivals {
    after: u64,
    seen: HashSet<(String, String)>,
    times: Vec<(&'static str, i64)>,
    errors: u64,
    doubled: u64,
}

impl Arrivals {
    fn fetch(&mut self, page: &ApiClient) -> Result<(), SimError> {
        let path = format!("/api/messages?after={}", self.after);
        let answer = page.get(&path)?;
        for message in answer["items"].as_array().into_iter().flatten() {
            self.after = message["seq"].as_u64().unwrap_or(self.after);
            self.take(message);
        }
        Ok(())
    }

    fn take(&mut self, message: &Json) {
        let text = |name: &str| message[name].as_str().unwrap_or_default().to_owned();
        if !message["status"].as_u64().is_some_and(|status| (200..300).contains(&status)) {
            self.errors += 1;
            return;
        }
        if !self.seen.insert((text("target_id"), text("id"))) {
            self.doubled += 1;
            return;
        }
        let payload = &message["payload"];
        let time = payload["time"].as_str().or_else(|| payload["data"]["time"].as_str()).unwrap_or_default();
        let sampled = time.parse::<jiff::Timestamp>().map(jiff::Timestamp::as_microsecond);
        let provider = ["webpush", "apns", "fcm"].into_iter().find(|name| message["provider"] == *name);
        match (sampled, message["received_us"].as_i64(), provider) {
            (Ok(sampled), Some(received), Some(provider)) => self.times.push((provider, received - sampled)),
            _ => self.errors += 1,
        }
    }
}

/// How many samples a second this generator makes when it need not wait for anyone.
fn ceiling() -> f64 {
    const SHARE: Duration = Duration::from_millis(100);
    let (set, start, mut made) = (metric_set(), std::time::Instant::now(), 0_u64);
    let mut spool = Spool::new(vec![set.clone()], StreamKind::Live, 1);
    while start.elapsed() < SHARE {
        let mut builder = ReportBuilder::dense(&set);
        let row = builder.sparse_row(made as i64, &[Some(Value::F64(made as f64))]);
        made += u64::from(row.is_ok());
        // Full after the first; the encoding is what is measured.
        std::hint::black_box(spool.push(&builder, 1));
    }
    made as f64 / start.elapsed().as_secs_f64()
}

/// Measures.
pub async fn run(bench: PushBench, mut shutdown: Shutdown) -> Result<PushReport, SimError> {
    if bench.interval < INTERVAL_MIN || bench.devices == 0 || bench.seconds == 0 {
        let value = format!("{:?}, {} devices, {} s", bench.interval, bench.devices, bench.seconds);
        let allowed = "an interval of at least 500ms, and at least one device and second".into();
        return Err(SimError::Invalid { name: "bench push", value, allowed });
    }
    let given = bench.running.clone();
    let bed = blocking(move || Bed::make(given)).await?;
    let (setting, running) = (bench.clone(), bed.running.clone());
    let devices = blocking(move || set_up(&setting, &running)).await?;
    let pulses = (bench.seconds * 1_000_000).div_ceil(bench.interval.as_micros() as u64);
    let (before, begin, begin_us) = (bed.usage(), Instant::now() + LEAD, unix_us() + LEAD.as_micros() as i64);
    let stats = Arc::new(ClientStats::default());
    let mut clients = JoinSet::new();
    for (index, (device, secret)) in devices.iter().enumerate() {
        let phase = bench.interval.mul_f64(index as f64 / devices.len() as f64);
        let set = metric_set();
        let source = Pulses {
            spool: Spool::new(vec![set.clone()], StreamKind::Live, 1000),
            set,
            next: begin + phase,
            next_us: begin_us + phase.as_micros() as i64,
            interval: bench.interval,
            left: pulses,
            high: false,
        };
        let options = ClientOptions {
            target: bed.running.target.clone(),
            device: device.clone(),
            login: DeviceLogin::Secret(*secret),
            firmware: "pulsewire-sim bench".into(),
            seed: index as u64,
            give_up_after: Some(Duration::from_secs(30)),
        };
        let (mut client, stop) = (DeviceClient::new(options, source, stats.clone()), shutdown.clone());
        clients.spawn(async move { client.run(stop).await });
    }
    let page = ApiClient::open(&bed.running.emulator);
    let (samples, mut arrivals) = (pulses * u64::from(bench.devices), Arrivals::default());
    let mut errors = 0;
    let mut deadline: Option<Instant> = None;
    let mut last = begin;
    loop {
        tokio::select! {
            Some(ended) = clients.join_next() => errors += u64::from(!matches!(ended, Ok(Ok(_)))),
            () = shutdown.wait() => break,
            () = tokio::time::sleep(POLL) => {}
        }
        let (asked, before) = (page.clone(), arrivals.times.len());
        arrivals = blocking(move || arrivals.fetch(&asked).map(|()| arrivals)).await?;
        if arrivals.times.len() > before {
            last = Instant::now();
        }
        if clients.is_empty() {
            let until = *deadline.get_or_insert_with(|| Instant::now() + PATIENCE);
            if arrivals.seen.len() as u64 >= samples * ENDPOINTS || Instant::now() >= until {
                break;
            }
        }
    }
    let after = bed.usage();
    let ceiling = blocking(|| Ok(ceiling())).await?;
    let throughput = match &bed.emulator {
        Some(emulator) => Some(throughput::measure(&bed.running, emulator).await?),
        None => None,
    };
    let messages = arrivals.seen.len() as u64;
    let seconds = (last - begin).as_secs_f64().max(0.001);
    let of = |name: &'static str| {
        let times = arrivals.times.iter().filter(|(provider, _)| *provider == name).map(|(_, us)| *us).collect();
        ByProvider { provider: name, latency_ms: Latency::of_us(times) }
    };
    let cpu_us = before.zip(after).map(|(b, a)| (a.cpu_ms.saturating_sub(b.cpu_ms) * 1000) as f64);
    Ok(PushReport {
        bench: "push",
        seconds,
        samples,
        messages,
        messages_per_s: messages as f64 / seconds,
        samples_per_s: samples as f64 / seconds,
        latency_ms: Latency::of_us(arrivals.times.iter().map(|(_, us)| *us).collect()),
        by_provider: ["webpush", "apns", "fcm"].map(of).into(),
        server_cpu_us_per_message: cpu_us.filter(|_| messages > 0).map(|us| us / messages as f64),
        server_rss_bytes: after.map(|usage| usage.rss_bytes),
        errors: errors + arrivals.errors,
        missing: (samples * ENDPOINTS).saturating_sub(messages),
        doubled: arrivals.doubled,
        generator_ceiling_per_s: ceiling,
        queued_at_once: throughput.as_ref().map(|found| found.messages),
        push_per_s: throughput.as_ref().map(|found| found.push_per_s),
        ceiling_per_s: throughput.as_ref().map(|found| found.ceiling_per_s),
        share_of_ceiling: throughput.as_ref().map(|found| found.push_per_s / found.ceiling_per_s),
        peers: Vec::new(),
    })
}
