//! What was acknowledged is there after the power fails, and nothing is there twice.
//!
//! Ingest and journal run as in the server, on a file layer that loses unsynced writes at the crash. kill -9 alone would
//! prove less: the kernel's cache survives it.

#[path = "../engine/tests/support/disk/mod.rs"]
mod disk;

use disk::{At, Disk, Part};
use pulsewire::bus::in_process::InProcessBus;
use pulsewire::ingest::{IncomingBlock, Ingest, IngestOptions, IngestReply, Mailbox, MetricSetRef, Submission};
use pulsewire::ports::{Clock, History, Journal, RangeQuery, StreamKind};
use pulsewire::storage::telemetry::{StoreOptions, Synchronous, TelemetryStore};
use pulsewire_core::block::ReportHead;
use pulsewire_core::ids::{DeviceKey, Lane, MetricName, Position, Sequence, SeriesKey, StreamId};
use pulsewire_core::sample::{JournalRecord, MetricDeclaration, ReportKind};
use pulsewire_core::value::ValueType;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const DEVICE: DeviceKey = DeviceKey(1);
const REPORTS: u64 = 400;

struct FixedClock;

impl Clock for FixedClock {
    fn now_us(&self) -> i64 {
        1_700_000_000_000_000
    }
}

/// Xorshift: the same seed, the same run.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n.max(1)
    }
}

struct Running {
    ingest: Ingest,
    lane: tokio::task::JoinHandle<()>,
    journal: Arc<TelemetryStore>,
}

async fn start(path: &Path, disk: &Disk, synchronous: Synchronous) -> anyhow::Result<Running> {
    let options = StoreOptions {
        vfs: Some(disk.vfs_name()),
        synchronous,
        retain_bytes: 1 << 30,
        ..StoreOptions::new(path.to_path_buf())
    };
    let journal = Arc::new(TelemetryStore::open(options, Duration::from_secs(30))?);
    let limits = IngestOptions {
        queue_reports: 64,
        queue_bytes: 1 << 20,
        series_max: 100,
        series_per_device_max: 100,
        streams_per_device_max: 8,
        time_ahead_max_us: 0,
    };
    let bus = Arc::new(InProcessBus::new(16));
    let (ingest, _, lane) = Ingest::start(limits, journal.clone(), bus, Arc::new(FixedClock)).await?;
    Ok(Running { ingest, lane, journal })
}

impl Running {
    async fn stop(self) {
        drop(self.ingest);
        self.lane.await.expect("the lane ends");
        tokio::task::spawn_blocking(|| drop(self.journal)).await.expect("the journal closes");
    }
}

fn metric_set() -> Arc<MetricSetRef> {
    let name = MetricName::parse("v").expect("valid");
    Arc::new(MetricSetRef::new(vec![MetricDeclaration { name, unit: String::new(), value_type: ValueType::F64 }]))
}

/// What a device would do: submit reports from `first` on, in groups, until all are acknowledged or the journal is gone.
/// Answers the highest number acknowledged.
async fn send(running: &Running, stream: StreamId, first: u64, random: &mut Random) -> u64 {
    let mailbox = Arc::new(Mailbox::default());
    let set = metric_set();
    let (mut next, mut acknowledged) = (first, first - 1);
    while acknowledged < REPORTS {
        let group = 1 + random.below(30);
        while next <= REPORTS && next <= acknowledged + group {
            let mut block = IncomingBlock::new(set.clone());
            let (sequence, kind) = (Sequence(next), ReportKind::Live);
            block.heads.push(ReportHead { stream, sequence, digest: next, kind, rows: 1 });
            block.rows.push_dense(next.cast_signed() * 1000, std::iter::once((next as f64 / 3.0).to_bits()));
            let blocks = vec![block];
            let submission = Submission::Reports { device: DEVICE, mailbox: mailbox.clone(), blocks };
            running.ingest.submit(submission, 100).await.expect("the lane runs");
            next += 1;
        }
        mailbox.arrived().await;
        while let Some(reply) = mailbox.try_take() {
            match reply {
                IngestReply::Ack { sequence, .. } => acknowledged = sequence.0,
                IngestReply::Refused(_) => return acknowledged,
                other => panic!("unexpected {other:?}"),
            }
        }
    }
    acknowledged
}

async fn open_stream(running: &Running) -> Option<StreamId> {
    let mailbox = Arc::new(Mailbox::default());
    let submission =
        Submission::OpenStream { device: DEVICE, mailbox: mailbox.clone(), request: 1, kind: StreamKind::Live };
    running.ingest.submit(submission, 0).await.expect("the lane runs");
    mailbox.arrived().await;
    match mailbox.try_take() {
        Some(IngestReply::StreamOpened { stream, .. }) => Some(stream),
        _ => None,
    }
}

/// One crash. Answers whether it came in the middle of the run, or what does not hold after it.
async fn round(seed: u64, synchronous: Synchronous) -> Result<bool, String> {
    let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let disk = Disk::register(&format!("losing-{synchronous:?}-{seed}"));
    // The store exists before the crashes begin: making one is a moment nobody is acknowledged in.
    start(folder.path(), &disk, Synchronous::Full).await.expect("a new store").stop().await;

    let running = start(folder.path(), &disk, synchronous).await.expect("opens");
    disk.crash_at(At::nth(&Part::ALL, 1 + random.below(250)));
    let stream = open_stream(&running).await;
    let acknowledged = match stream {
        Some(stream) => send(&running, stream, 1, &mut random).await,
        None => 0,
    };
    disk.power_off();
    running.stop().await;
    disk.settle(Some(&mut |n| random.below(n)));
    // The index of the WAL is memory shared by processes; it does not outlive the machine.
    let _ = std::fs::remove_file(folder.path().join("journal.db-shm"));

    let running =
        start(folder.path(), &disk, Synchronous::Full).await.map_err(|e| format!("does not open again: {e:#}"))?;
    let Some(stream) = stream else {
        running.stop().await;
        return Ok(true);
    };
    let positions = running.ingest.positions(DEVICE, vec![stream]).await.expect("the lane runs");
    let Some((_, durable)) = positions.first().copied() else {
        running.stop().await;
        return Err(format!("stream {stream} was issued and is gone"));
    };
    if durable.0 < acknowledged {
        running.stop().await;
        return Err(format!("{acknowledged} reports were acknowledged, {durable} are there"));
    }
    // The device goes on where the server says, and all of it is there exactly once.
    let done = send(&running, stream, durable.0 + 1, &mut random).await;
    let verdict = check_all(&running, stream, done).await;
    running.stop().await;
    verdict.map(|()| acknowledged < REPORTS)
}

async fn check_all(running: &Running, stream: StreamId, done: u64) -> Result<(), String> {
    if done != REPORTS {
        return Err(format!("after the restart only {done} of {REPORTS} reports were acknowledged"));
    }
    let range = RangeQuery { series: SeriesKey(0), from_us: i64::MIN, to_us: i64::MAX, limit: usize::MAX };
    let samples = running.journal.range(range).await.map_err(|e| e.to_string())?;
    let expected = (1..=REPORTS).map(|n| (n.cast_signed() * 1000, n as f64 / 3.0));
    let found = samples.iter().map(|s| (s.time_us, s.value.as_f64().unwrap_or(f64::NAN)));
    if !found.eq(expected) {
        return Err(format!("{} samples are stored, not the {REPORTS} that were sent", samples.len()));
    }
    let mut records = Vec::new();
    loop {
        let after = records.last().map_or(Position(0), |r: &JournalRecord| r.position);
        let more = running.journal.read(Lane(0), after, 100).await.map_err(|e| e.to_string())?;
        if more.is_empty() {
            break;
        }
        records.extend(more);
    }
    let sequences = records
        .iter()
        .flat_map(|r| &r.blocks)
        .flat_map(|b| &b.reports)
        .filter(|r| r.stream == stream)
        .map(|r| r.sequence.0);
    if !sequences.eq(1..=REPORTS) {
        return Err("the journal does not hold each report once and in order".into());
    }
    Ok(())
}

fn rounds() -> u64 {
    if std::env::var_os("PULSEWIRE_LONG").is_some() { 400 } else { 40 }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_or_doubled_when_unsynced_writes_are_lost() {
    let mut midway = 0;
    for seed in 1..=rounds() {
        let done = tokio::time::timeout(Duration::from_secs(60), round(seed, Synchronous::Full)).await;
        match done.expect("a round ends") {
            Ok(in_the_middle) => midway += u64::from(in_the_middle),
            Err(problem) => panic!("seed {seed}: {problem}"),
        }
    }
    assert!(midway * 2 > rounds(), "only {midway} of {} crashes came while reports were under way", rounds());
    println!("{} crashes ({midway} midway): nothing acknowledged was lost, nothing stored twice", rounds());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_sync_this_test_notices_the_loss() {
    let mut noticed = 0;
    for seed in 1..=10 {
        noticed += u64::from(round(seed, Synchronous::Off).await.is_err());
    }
    assert!(noticed > 0, "ten crashes without any sync lost nothing: the file layer does not do its work");
    println!("without the sync, {noticed} of 10 crashes lost what was acknowledged");
}
