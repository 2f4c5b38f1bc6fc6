//! Many simulated devices.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use pulsewire_proto::{
    MetricSet, ReportBuilder,
    frame::{Command, CommandSet, StreamKind},
    session::DeviceLogin,
};
use tokio::{
    sync::Mutex,
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::{
    Provisioner, Shutdown, SimError,
    api::DeviceSpec,
    behaviour::{Answers, Behaviour, Machine, Profile},
    client::{Answer, ClientOptions, ClientStats, DeviceClient, Next, Source, Spool, Target},
    summary::{Failed, Summary},
};

/// Reports that a device keeps while it is not connected.
const SPOOL_REPORTS: usize = 600;
/// New connections per second, so that the start of a large fleet is no storm.
const CONNECTS_PER_S: u32 = 1000;
/// Most devices of a fleet.
pub const DEVICES_MAX: u32 = 200_000;

/// What fleet to run.
#[derive(Debug, Clone)]
pub struct FleetOptions {
    /// Where it connects.
    pub target: Target,
    /// 1 to 200,000. Profiles take turns: five devices are one of each.
    pub devices: u32,
    /// Same seed, same behaviour.
    pub seed: u64,
    /// Time between the reports of one device, at least 1 ms.
    pub interval: Duration,
    /// Beginning of the device ids: `sim-` gives `sim-0001`.
    pub prefix: String,
    /// How long to run; `None`: until shut down.
    pub duration: Option<Duration>,
    /// After this time the compressor of the first cold room trips: it warms up until `restart_compressor` succeeds.
    pub fault_after: Option<Duration>,
    /// What the devices answer to commands.
    pub answers: Answers,
}

impl FleetOptions {
    /// The id of device `index`, counted from 0.
    pub fn device_id(&self, index: u32) -> String {
        format!("{}{:04}", self.prefix, index + 1)
    }

    /// What device `index` is created with.
    pub fn device_spec(&self, index: u32) -> DeviceSpec {
        let behaviour = Behaviour::new(self.seed, index);
        let tags = [("kind", behaviour.profile.kind()), ("site", behaviour.site())];
        DeviceSpec {
            id: self.device_id(index),
            name: Some(format!("{} {}", behaviour.profile.title(), index + 1)),
            tags: BTreeMap::from(tags.map(|(key, value)| (key.to_owned(), value.to_owned()))),
            group: Some(behaviour.profile.group().to_owned()),
        }
    }

    fn check(&self) -> Result<(), SimError> {
        let invalid =
            |name, value: String, allowed: &str| Err(SimError::Invalid { name, value, allowed: allowed.into() });
        if !(1..=DEVICES_MAX).contains(&self.devices) {
            return invalid("--devices", self.devices.to_string(), "1 to 200000 devices");
        }
        if self.interval < Duration::from_millis(1) {
            return invalid("--interval", format!("{:?}", self.interval), "at least 1ms");
        }
        let longest = self.device_id(DEVICES_MAX);
        if !pulsewire_proto::names::is_device_id(&longest) {
            return invalid("--prefix", self.prefix.clone(), pulsewire_proto::names::DEVICE_ID_RULE);
        }
        Ok(())
    }
}

/// Creates the devices and runs them until `shutdown`, or for the duration asked for. What `stats` counts can be watched
/// meanwhile. A single device's end does not end the others.
pub async fn run(
    options: FleetOptions,
    mut provisioner: Provisioner,
    stats: Arc<ClientStats>,
    mut shutdown: Shutdown,
) -> Result<Summary, SimError> {
    options.check()?;
    let specs: Vec<DeviceSpec> = (0..options.devices).map(|index| options.device_spec(index)).collect();
    let secrets = provisioner.ensure(specs).await?;
    let provisioner = Arc::new(Mutex::new(provisioner));
    let (stop, stopped) = Shutdown::channel();
    let start = Instant::now();
    let mut devices = JoinSet::new();
    for (index, secret) in (0..options.devices).zip(secrets) {
        let source = FleetSource::new(&options, index, stats.clone());
        let client_options = ClientOptions {
            target: options.target.clone(),
            device: options.device_id(index),
            login: DeviceLogin::Secret(secret),
            firmware: format!("pulsewire-sim {}", env!("CARGO_PKG_VERSION")),
            seed: options.seed ^ u64::from(index),
            give_up_after: None,
        };
        let client = DeviceClient::new(client_options, source, stats.clone());
        let delay = Duration::from_secs(1) * index / CONNECTS_PER_S;
        devices.spawn(run_device(client, delay, provisioner.clone(), stopped.clone()));
    }
    let ended = async {
        let mut results = Vec::new();
        while let Some(result) = devices.join_next().await {
            results.push(result);
        }
        results
    };
    let asked = async {
        match options.duration {
            Some(duration) => tokio::select! {
                () = sleep(duration) => {}
                () = shutdown.wait() => {}
            },
            None => shutdown.wait().await,
        }
    };
    tokio::pin!(ended);
    let results = tokio::select! {
        results = &mut ended => results,
        () = asked => {
            stop.trigger();
            ended.await
        }
    };
    let mut summary = Summary::new(options.devices, start.elapsed(), &stats);
    for result in results {
        let (device, unacknowledged, result) = result.map_err(|error| SimError::Task(error.to_string()))?;
        summary.unacknowledged += unacknowledged;
        if let Err(error) = result {
            summary.failed_total += 1;
            if summary.failed.len() < Summary::FAILED_LISTED {
                summary.failed.push(Failed { device, error: error.to_string() });
            }
        }
    }
    Ok(summary)
}

async fn run_device(
    mut client: DeviceClient<FleetSource>,
    delay: Duration,
    provisioner: Arc<Mutex<Provisioner>>,
    mut shutdown: Shutdown,
) -> (String, u64, Result<(), SimError>) {
    let device = client.options().device.clone();
    tokio::select! {
        () = sleep(delay) => {}
        () = shutdown.wait() => {}
    }
    let result = run_renewing(&mut client, &provisioner, shutdown).await;
    if !client.ended_live() {
        // What would have been reported since the connection was lost counts as not delivered.
        client.source_mut().take_readings(Instant::now());
    }
    let unacknowledged = client.source().spool.len() as u64;
    (device, unacknowledged, result)
}

/// Runs a client; if the server does not take its secret, once more with a new one from the API.
pub(crate) async fn run_renewing<S: Source>(
    client: &mut DeviceClient<S>,
    provisioner: &Mutex<Provisioner>,
    shutdown: Shutdown,
) -> Result<(), SimError> {
    match client.run(shutdown.clone()).await {
        Err(error) if error.is_bad_credentials() => {
            let device = client.options().device.clone();
            let Some(secret) = provisioner.lock().await.renew(&device).await? else {
                return Err(error);
            };
            client.set_login(DeviceLogin::Secret(secret));
            client.run(shutdown).await
        }
        result => result,
    }
}

/// A behaviour that is read at every tick. While the device is not connected the spool fills; what no longer fits is
/// dropped and counted.
#[derive(Debug)]
struct FleetSource {
    machine: Machine,
    set: MetricSet,
    spool: Spool,
    interval: Duration,
    next_tick: Instant,
    next_tick_us: i64,
    stats: Arc<ClientStats>,
}

impl FleetSource {
    fn new(options: &FleetOptions, index: u32, stats: Arc<ClientStats>) -> FleetSource {
        let profile = Behaviour::new(options.seed, index).profile;
        // Profiles take turns, so the first cold room is among the first few.
        let is_first = profile == Profile::ColdRoom && (index as usize) < Profile::ALL.len();
        let fault_after = options.fault_after.filter(|_| is_first);
        let fault_at_us = fault_after.map(|after| unix_us().saturating_add(micros(after)));
        let machine = Machine::new(options.seed, index, options.answers, fault_at_us);
        let set = profile.metric_set();
        // Devices do not report at the same moment.
        let phase = options.interval.mul_f64(f64::from(index) / f64::from(options.devices));
        FleetSource {
            spool: Spool::new(vec![set.clone()], StreamKind::Live, SPOOL_REPORTS),
            set,
            machine,
            interval: options.interval,
            next_tick: Instant::now() + phase,
            next_tick_us: unix_us().saturating_add(micros(phase)),
            stats,
        }
    }

    fn take_readings(&mut self, now: Instant) {
        // After a long outage only what the spool can hold is worth making.
        let missed = now.saturating_duration_since(self.next_tick).as_nanos() / self.interval.as_nanos().max(1);
        let spare = u128::try_from(SPOOL_REPORTS).unwrap_or(u128::MAX);
        if missed > spare {
            let skipped = u32::try_from(missed - spare).unwrap_or(u32::MAX);
            // At most: the device may have been silent at some of them.
            ClientStats::add(&self.stats.dropped, u64::from(skipped));
            self.next_tick += self.interval * skipped;
            self.next_tick_us = self.next_tick_us.saturating_add(micros(self.interval * skipped));
        }
        while self.next_tick <= now {
            let time_us = self.next_tick_us;
            self.next_tick += self.interval;
            self.next_tick_us = time_us.saturating_add(micros(self.interval));
            if !self.machine.is_silent(time_us) {
                self.read_at(time_us);
            }
        }
    }

    fn read_at(&mut self, time_us: i64) {
        let values = self.machine.values(time_us);
        let samples = values.iter().flatten().count() as u32;
        let dense = samples as usize == values.len();
        let mut builder = if dense { ReportBuilder::dense(&self.set) } else { ReportBuilder::sparse(&self.set) };
        let row = builder.sparse_row(time_us, &values);
        debug_assert!(row.is_ok(), "{row:?}");
        if !self.spool.push(&builder, samples) {
            ClientStats::add(&self.stats.dropped, 1);
        }
    }
}

impl Source for FleetSource {
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
        self.take_readings(now);
        let at = self.next_tick;
        match self.spool.next(now) {
            Next::Idle => Next::At(at),
            next => next,
        }
    }

    fn sent(&mut self) {
        self.spool.sent();
    }

    fn acked(&mut self, sequence: u64) -> u64 {
        self.spool.acked(sequence)
    }

    fn commands(&self) -> Option<CommandSet> {
        self.machine.commands()
    }

    fn command(&mut self, command: &Command) -> Option<Vec<Answer>> {
        self.machine.command(unix_us(), command)
    }

    fn cancel(&mut self, id: [u8; 16]) -> Vec<Answer> {
        self.machine.cancel(unix_us(), id)
    }

    fn answers(&mut self) -> Vec<Answer> {
        self.machine.due(unix_us())
    }

    fn answers_at(&self) -> Option<Instant> {
        let wait_us = self.machine.next_due_us()?.saturating_sub(unix_us()).max(0);
        Some(Instant::now() + Duration::from_micros(wait_us.unsigned_abs()))
    }
}

/// The clock, in µs since 1970.
pub(crate) fn unix_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> FleetOptions {
        FleetOptions {
            target: Target::Tcp("127.0.0.1:1".into()),
            devices: 10,
            seed: 1,
            interval: Duration::from_secs(1),
            prefix: "sim-".into(),
            duration: None,
            fault_after: None,
            answers: Answers::Normal,
        }
    }

    #[test]
    fn devices_have_names_tags_and_groups() {
        let spec = options().device_spec(1);
        assert_eq!((spec.id.as_str(), spec.name.as_deref()), ("sim-0002", Some("Pump 2")));
        assert_eq!((spec.group.as_deref(), spec.tags["kind"].as_str()), (Some("pumps"), "pump"));
        assert!(spec.tags.contains_key("site"));
        assert_eq!(options().device_spec(1), spec, "the same in every run");
    }

    #[test]
    fn impossible_options_are_named() {
        let bad = [
            FleetOptions { devices: 0, ..options() },
            FleetOptions { interval: Duration::ZERO, ..options() },
            FleetOptions { prefix: "a b".into(), ..options() },
        ];
        for (options, name) in bad.into_iter().zip(["--devices", "--interval", "--prefix"]) {
            let error = options.check().expect_err(name).to_string();
            assert!(error.contains(name), "{error}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn readings_come_at_each_interval_and_a_long_outage_is_bounded() {
        let stats = Arc::new(ClientStats::default());
        let mut source = FleetSource::new(&options(), 0, stats.clone());
        source.opened(1).await.expect("opened");
        let mut count = 0;
        let mut drain = |source: &mut FleetSource| {
            let before = count;
            while let Next::Report { .. } = source.next(Instant::now()) {
                source.sent();
                count += 1;
                source.acked(count);
            }
            count - before
        };
        drain(&mut source);
        sleep(Duration::from_secs(10)).await;
        assert!((8..=10).contains(&drain(&mut source)));
        sleep(Duration::from_secs(7200)).await;
        let after_outage = drain(&mut source);
        assert!((SPOOL_REPORTS as u64 - 60..=SPOOL_REPORTS as u64).contains(&after_outage), "{after_outage}");
        assert!(ClientStats::get(&stats.dropped) > 6000);
    }
}
