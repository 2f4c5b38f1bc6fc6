//! This machine as a device: processor, memory, disk, network and temperatures.

use std::{
    collections::{BTreeMap, VecDeque},
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, RecvTimeoutError},
    },
    time::{Duration, Instant as StdInstant},
};

use pulsewire_proto::{
    Metric, MetricSet, MetricType, ReportBuilder, Value, frame::StreamKind, names, session::DeviceLogin,
};
use sysinfo::{Components, Disks, Networks, System};
use tokio::{
    sync::Notify,
    time::{Instant, sleep},
};

use crate::{
    Provisioner, Shutdown, SimError,
    api::DeviceSpec,
    client::{ClientOptions, ClientStats, DeviceClient, Next, Source, Spool, Target},
    error::blocking,
    fleet::{run_renewing, unix_us},
    summary::{Failed, Summary},
};

const SPOOL_REPORTS: usize = 3600;
/// Readings that may wait to be taken over into the spool, which happens only while connected.
const WAITING: usize = SPOOL_REPORTS;
/// Temperature sensors that are reported.
const TEMPERATURES_MAX: usize = 8;

/// What to report, and where.
#[derive(Debug, Clone)]
pub struct HostOptions {
    /// Where it connects.
    pub target: Target,
    /// Device id; [`default_device_id`] gives one.
    pub device: String,
    /// Time between reports, at least 200 ms: processor load over less time means nothing.
    pub interval: Duration,
    /// How long to run; `None`: until shut down.
    pub duration: Option<Duration>,
}

/// `host-` and this machine's name, as far as it is allowed in a device id.
pub fn default_device_id() -> String {
    let name = System::host_name().unwrap_or_default();
    let name: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || "._:-".contains(c) { c } else { '-' })
        .take(names::DEVICE_ID_BYTES - "host-".len())
        .collect();
    if name.is_empty() { "host".into() } else { format!("host-{name}") }
}

/// Creates the device and reports until `shutdown`, or for the duration asked for.
pub async fn run(
    options: HostOptions,
    mut provisioner: Provisioner,
    stats: Arc<ClientStats>,
    mut shutdown: Shutdown,
) -> Result<Summary, SimError> {
    if options.interval < Duration::from_millis(200) {
        let value = format!("{:?}", options.interval);
        return Err(SimError::Invalid { name: "--interval", value, allowed: "at least 200ms".into() });
    }
    let tags = [("kind", "host"), ("os", std::env::consts::OS)];
    let spec = DeviceSpec {
        id: options.device.clone(),
        name: Some(options.device.clone()),
        tags: BTreeMap::from(tags.map(|(key, value)| (key.to_owned(), value.to_owned()))),
        group: Some("hosts".into()),
    };
    let secret = provisioner.ensure(vec![spec]).await?.into_iter().next().unwrap_or_default();
    let probe = blocking(Probe::new).await?;
    let readings = Arc::new(Readings::default());
    // Nothing is ever sent: dropping the sender is the sign.
    let (stop_probe, probe_stopped) = mpsc::sync_channel::<()>(1);
    let source = HostSource {
        spool: Spool::new(vec![probe.metric_set()], StreamKind::Live, SPOOL_REPORTS),
        set: probe.metric_set(),
        readings: readings.clone(),
        stats: stats.clone(),
    };
    let probing = tokio::task::spawn_blocking({
        let (interval, stats) = (options.interval, stats.clone());
        move || probe.run(interval, &readings, &stats, &probe_stopped)
    });
    let client_options = ClientOptions {
        target: options.target,
        device: options.device.clone(),
        login: DeviceLogin::Secret(secret),
        firmware: format!("pulsewire-sim {}", env!("CARGO_PKG_VERSION")),
        seed: unix_us() as u64,
        give_up_after: None,
    };
    let start = Instant::now();
    let mut client = DeviceClient::new(client_options, source, stats.clone());
    let (stop, stopped) = Shutdown::channel();
    let provisioner = tokio::sync::Mutex::new(provisioner);
    let result = {
        let running = run_renewing(&mut client, &provisioner, stopped);
        tokio::pin!(running);
        let asked = async {
            match options.duration {
                Some(duration) => tokio::select! {
                    () = sleep(duration) => {}
                    () = shutdown.wait() => {}
                },
                None => shutdown.wait().await,
            }
        };
        tokio::select! {
            result = &mut running => result,
            () = asked => {
                stop.trigger();
                running.await
            }
        }
    };
    drop(stop_probe);
    probing.await.map_err(|error| SimError::Task(error.to_string()))?;
    let mut summary = Summary::new(1, start.elapsed(), &stats);
    summary.unacknowledged = client.source().spool.len() as u64;
    if let Err(error) = result {
        summary.failed_total = 1;
        summary.failed.push(Failed { device: options.device, error: error.to_string() });
    }
    Ok(summary)
}

/// One reading of this machine, in the order of the metric set.
#[derive(Debug)]
struct Reading {
    time_us: i64,
    values: Vec<Option<Value<'static>>>,
}

/// Readings on their way from the probe's thread to the client.
#[derive(Debug, Default)]
struct Readings {
    waiting: Mutex<VecDeque<Reading>>,
    arrived: Notify,
}

/// Asks the system. Blocking.
struct Probe {
    system: System,
    disks: Option<Disks>,
    networks: Option<Networks>,
    components: Option<Components>,
    temperatures: Vec<String>,
    last: StdInstant,
}

impl Probe {
    /// An error only if the system says nothing at all; what it does not know otherwise is left out of the reports.
    fn new() -> Result<Probe, SimError> {
        let mut system =
            System::new().map_err(|error| SimError::Task(format!("this machine cannot be read: {error:?}")))?;
        system.refresh_cpu_usage();
        let components = Components::new_with_refreshed_list().ok();
        let labels = components.iter().flat_map(|components| components.iter());
        let labels = labels.filter(|component| component.temperature().is_some());
        let mut temperatures: Vec<String> = labels.map(|component| component.label().trim().to_owned()).collect();
        temperatures.sort();
        temperatures.dedup();
        temperatures.retain(|label| names::is_metric_name(&format!("temperature {label}")));
        temperatures.truncate(TEMPERATURES_MAX);
        Ok(Probe {
            system,
            disks: Disks::new_with_refreshed_list().ok(),
            networks: Networks::new_with_refreshed_list().ok(),
            components,
            temperatures,
            last: StdInstant::now(),
        })
    }

    fn metric_set(&self) -> MetricSet {
        let fixed = [
            ("cpu", "%", MetricType::F32),
            ("load 1 min", "", MetricType::F32),
            ("memory used", "B", MetricType::I64),
            ("memory", "%", MetricType::F32),
            ("swap used", "B", MetricType::I64),
            ("disk free", "B", MetricType::I64),
            ("disk", "%", MetricType::F32),
            ("network in", "B/s", MetricType::F64),
            ("network out", "B/s", MetricType::F64),
            ("uptime", "s", MetricType::I64),
        ];
        let fixed = fixed.iter().map(|(name, unit, kind)| Metric::new(*name, *unit, *kind));
        let temperatures =
            self.temperatures.iter().map(|label| Metric::new(format!("temperature {label}"), "°C", MetricType::F32));
        MetricSet { set: 0, metrics: fixed.chain(temperatures).collect() }
    }

    fn read(&mut self) -> Reading {
        self.system.refresh_cpu_usage();
        self.system.refresh_memory();
        if let Some(disks) = &mut self.disks {
            disks.refresh(false);
        }
        if let Some(networks) = &mut self.networks {
            networks.refresh(false);
        }
        if let Some(components) = &mut self.components {
            components.refresh(false);
        }
        let seconds = self.last.elapsed().as_secs_f64().max(1e-3);
        self.last = StdInstant::now();
        let percent =
            |part: u64, whole: u64| (whole > 0).then(|| Value::F32((part as f64 * 100.0 / whole as f64) as f32));
        let bytes = |count: u64| Value::I64(i64::try_from(count).unwrap_or(i64::MAX));
        let networks = self.networks.iter().flat_map(|networks| networks.iter());
        let (received, sent) =
            networks.filter(|(name, _)| *name != "lo").fold((0, 0), |(received, sent), (_, network)| {
                (received + network.received(), sent + network.transmitted())
            });
        // The disk that holds the root, or else the largest.
        let disks = || self.disks.iter().flat_map(|disks| disks.iter());
        let disk = disks()
            .find(|disk| disk.mount_point() == Path::new("/"))
            .or_else(|| disks().max_by_key(|disk| disk.total_space()));
        let memory_used = self.system.used_memory();
        let mut values = vec![
            Some(Value::F32(self.system.global_cpu_usage())),
            System::load_average().ok().map(|load| Value::F32(load.one as f32)),
            Some(bytes(memory_used)),
            percent(memory_used, self.system.total_memory()),
            Some(bytes(self.system.used_swap())),
            disk.map(|disk| bytes(disk.available_space())),
            disk.and_then(|disk| {
                percent(disk.total_space().saturating_sub(disk.available_space()), disk.total_space())
            }),
            Some(Value::F64(received as f64 / seconds)),
            Some(Value::F64(sent as f64 / seconds)),
            System::uptime().ok().map(bytes),
        ];
        values.extend(self.temperatures.iter().map(|label| {
            let component = self.components.as_ref()?.iter().find(|component| component.label().trim() == label)?;
            component.temperature().map(Value::F32)
        }));
        Reading { time_us: unix_us(), values }
    }

    /// Reads at each interval until `stopped` is dropped at the other end.
    fn run(mut self, interval: Duration, readings: &Readings, stats: &ClientStats, stopped: &mpsc::Receiver<()>) {
        while stopped.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
            let reading = self.read();
            let mut waiting = readings.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            if waiting.len() >= WAITING {
                // Nobody takes them while the server is away: the oldest goes.
                waiting.pop_front();
                ClientStats::add(&stats.dropped, 1);
            }
            waiting.push_back(reading);
            drop(waiting);
            readings.arrived.notify_one();
        }
    }
}

/// Readings through a spool.
#[derive(Debug)]
struct HostSource {
    spool: Spool,
    set: MetricSet,
    readings: Arc<Readings>,
    stats: Arc<ClientStats>,
}

impl HostSource {
    fn take_readings(&mut self) {
        let taken = std::mem::take(&mut *self.readings.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        for Reading { time_us, values } in taken {
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
}

impl Source for HostSource {
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
        self.take_readings();
        self.spool.next(now)
    }

    fn sent(&mut self) {
        self.spool.sent();
    }

    fn acked(&mut self, sequence: u64) -> u64 {
        self.spool.acked(sequence)
    }

    async fn ready(&self, _at: Option<Instant>) {
        self.readings.arrived.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_can_be_read() {
        let mut probe = Probe::new().expect("this machine");
        let set = probe.metric_set();
        set.validate().expect("a sound metric set");
        let reading = probe.read();
        assert_eq!(reading.values.len(), set.metrics.len());
        for (metric, value) in set.metrics.iter().zip(&reading.values) {
            assert!(value.is_none_or(|value| value.metric_type() == metric.metric_type), "{}", metric.name);
        }
        assert!(matches!(reading.values[2], Some(Value::I64(used)) if used > 0), "memory is in use");
    }

    #[test]
    fn the_default_id_is_a_device_id() {
        assert!(names::is_device_id(&default_device_id()));
    }
}
