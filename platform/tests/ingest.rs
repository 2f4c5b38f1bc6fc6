//! What ingest stores, answers and counts, with the real journal behind it and a switch that makes its appends fail.

use async_trait::async_trait;
use pulsewire::bus::in_process::InProcessBus;
use pulsewire::ingest::{
    IncomingBlock, Ingest, IngestOptions, IngestReply, Mailbox, MetricSetRef, Refusal, Rejected, Submission,
};
use pulsewire::ports::{
    Batch, Clock, Journal, JournalError, OpenedLane, OpenedStream, Receipt, StoreStatus, StreamKind,
};
use pulsewire::storage::telemetry::{StoreOptions, TelemetryStore};
use pulsewire_core::accounting::{Accounting, DropReason};
use pulsewire_core::block::{ReportHead, ValueRef};
use pulsewire_core::ids::{DeviceKey, Fence, Lane, MetricName, Position, Sequence, SeriesKey, StreamId};
use pulsewire_core::sample::{JournalRecord, MetricDeclaration, RejectReason, ReportKind};
use pulsewire_core::value::{Value, ValueType};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const DEVICE: DeviceKey = DeviceKey(1);
const NOW_US: i64 = 1_700_000_000_000_000;

struct FixedClock;

impl Clock for FixedClock {
    fn now_us(&self) -> i64 {
        NOW_US
    }
}

/// A journal that refuses appends while it is told to.
struct Refusing {
    inner: TelemetryStore,
    refuses: AtomicBool,
}

#[async_trait]
impl Journal for Refusing {
    async fn open_lane(&self, lane: Lane) -> Result<OpenedLane, JournalError> {
        self.inner.open_lane(lane).await
    }

    async fn append(&self, lane: Lane, fence: Fence, batch: Arc<Batch>) -> Result<Receipt, JournalError> {
        if self.refuses.load(Ordering::SeqCst) {
            return Err(JournalError::Retry(anyhow::anyhow!("told to")));
        }
        self.inner.append(lane, fence, batch).await
    }

    async fn open_stream(
        &self,
        lane: Lane,
        fence: Fence,
        device: DeviceKey,
        kind: StreamKind,
        now_us: i64,
        streams_max: usize,
    ) -> Result<OpenedStream, JournalError> {
        self.inner.open_stream(lane, fence, device, kind, now_us, streams_max).await
    }

    async fn read(&self, lane: Lane, after: Position, limit: usize) -> Result<Vec<JournalRecord>, JournalError> {
        self.inner.read(lane, after, limit).await
    }

    async fn forget_device(&self, device: DeviceKey) -> Result<(), JournalError> {
        self.inner.forget_device(device).await
    }

    fn hold(&self, after: Position) {
        self.inner.hold(after);
    }

    fn status(&self) -> StoreStatus {
        self.inner.status()
    }
}

struct World {
    ingest: Ingest,
    lane: tokio::task::JoinHandle<()>,
    journal: Arc<Refusing>,
}

impl World {
    async fn start(folder: &Path) -> Self {
        let inner =
            TelemetryStore::open(StoreOptions::new(folder.to_path_buf()), Duration::from_secs(30)).expect("opens");
        let journal = Arc::new(Refusing { inner, refuses: AtomicBool::new(false) });
        let limits = IngestOptions {
            queue_reports: 64,
            queue_bytes: 1 << 20,
            series_max: 100,
            series_per_device_max: 2,
            streams_per_device_max: 8,
            time_ahead_max_us: 0,
        };
        let bus = Arc::new(InProcessBus::new(16));
        let (ingest, _, lane) =
            Ingest::start(limits, journal.clone(), bus, Arc::new(FixedClock)).await.expect("starts");
        Self { ingest, lane, journal }
    }

    async fn stop(self) {
        drop(self.ingest);
        self.lane.await.expect("the lane ends");
        tokio::task::spawn_blocking(|| drop(self.journal)).await.expect("the journal closes");
    }

    fn refuse(&self, refuses: bool) {
        self.journal.refuses.store(refuses, Ordering::SeqCst);
    }

    async fn open_stream(&self) -> StreamId {
        let mailbox = Arc::new(Mailbox::default());
        let kind = StreamKind::Live;
        let open = Submission::OpenStream { device: DEVICE, mailbox: mailbox.clone(), request: 1, kind };
        self.ingest.submit(open, 0).await.expect("the lane runs");
        mailbox.arrived().await;
        let Some(IngestReply::StreamOpened { stream, .. }) = mailbox.try_take() else { panic!("no stream") };
        stream
    }

    /// Submits and waits until the lane has dealt with it.
    async fn submit(&self, mailbox: &Arc<Mailbox>, blocks: Vec<IncomingBlock>) -> Vec<IngestReply> {
        let submission = Submission::Reports { device: DEVICE, mailbox: mailbox.clone(), blocks };
        self.ingest.submit(submission, 100).await.expect("the lane runs");
        self.answers(mailbox).await
    }

    async fn answers(&self, mailbox: &Mailbox) -> Vec<IngestReply> {
        // A question behind it in the queue; what is in one round with it is answered when the next one is.
        for _ in 0..2 {
            self.ingest.positions(DEVICE, Vec::new()).await.expect("the lane runs");
        }
        std::iter::from_fn(|| mailbox.try_take()).collect()
    }

    fn account(&self) -> Accounting {
        let account = self.ingest.accounts().of(DEVICE);
        assert!(account.balances(), "{account:?}");
        assert_eq!(account, self.ingest.accounts().total());
        account
    }
}

fn set(metrics: &[(&str, ValueType)]) -> Arc<MetricSetRef> {
    let declare = |(name, value_type): &(&str, ValueType)| MetricDeclaration {
        name: MetricName::parse(name).expect("valid"),
        unit: String::new(),
        value_type: *value_type,
    };
    Arc::new(MetricSetRef::new(metrics.iter().map(declare).collect()))
}

/// Appends a report of rows of (time, values).
fn add(block: &mut IncomingBlock, stream: StreamId, sequence: u64, rows: &[(i64, &[Option<f64>])]) {
    let (digest, kind) = (rows.iter().map(|(time_us, _)| time_us.unsigned_abs() + 1).sum(), ReportKind::Live);
    let count = u32::try_from(rows.len()).expect("few");
    block.heads.push(ReportHead { stream, sequence: Sequence(sequence), digest, kind, rows: count });
    for (time_us, values) in rows {
        block.rows.begin_row(*time_us);
        values.iter().for_each(|value| block.rows.push_value(value.map(ValueRef::F64)));
    }
}

fn one(set: &Arc<MetricSetRef>, stream: StreamId, sequence: u64, rows: &[(i64, &[Option<f64>])]) -> Vec<IncomingBlock> {
    let mut block = IncomingBlock::new(set.clone());
    add(&mut block, stream, sequence, rows);
    vec![block]
}

fn dropped(account: &Accounting, reason: DropReason) -> u64 {
    account.dropped[reason as usize]
}

fn ack(stream: StreamId, sequence: u64) -> IngestReply {
    IngestReply::Ack { stream, sequence: Sequence(sequence) }
}

const A: &[Option<f64>] = &[Some(1.0)];

#[tokio::test]
async fn every_value_is_accounted_for_and_a_restart_knows_the_same() {
    let folder = tempfile::tempdir().expect("a folder");
    let world = World::start(folder.path()).await;
    let stream = world.open_stream().await;
    let set = set(&[("a", ValueType::F64)]);
    let session = || Arc::new(Mailbox::default());
    let mailbox = session();

    let fresh = one(&set, stream, 1, &[(10, A), (20, A)]);
    assert_eq!(world.submit(&mailbox, fresh.clone()).await, [ack(stream, 1)]);
    assert_eq!(world.submit(&mailbox, fresh).await, [ack(stream, 1)]);
    assert_eq!((world.account().stored, world.account().duplicate), (2, 2));

    world.submit(&mailbox, one(&set, stream, 2, &[(15, A), (20, A), (30, A)])).await;
    assert_eq!((world.account().late, world.account().replaced), (1, 1));

    let clone = world.submit(&mailbox, one(&set, stream, 2, &[(99, A)])).await;
    assert!(matches!(clone[..], [IngestReply::Refused(Refusal::Clone { .. })]), "{clone:?}");
    assert_eq!(world.submit(&mailbox, one(&set, stream, 3, &[(40, A), (41, A)])).await, []);
    let account = world.account();
    assert_eq!((dropped(&account, DropReason::Clone), dropped(&account, DropReason::SessionEnded)), (1, 2));

    let gap = world.submit(&session(), one(&set, stream, 9, &[(50, A)])).await;
    assert!(matches!(gap[..], [IngestReply::Refused(Refusal::Gap { expected: Sequence(3), .. })]), "{gap:?}");
    let unknown = world.submit(&session(), one(&set, StreamId(77), 1, &[(60, A), (61, A), (62, A)])).await;
    assert!(matches!(unknown[..], [IngestReply::Refused(Refusal::UnknownStream(_))]), "{unknown:?}");
    let account = world.account();
    assert_eq!((dropped(&account, DropReason::SequenceGap), dropped(&account, DropReason::UnknownStream)), (1, 3));

    world.refuse(true);
    let refused = world.submit(&session(), one(&set, stream, 3, &[(70, A), (71, A)])).await;
    assert!(matches!(refused[..], [IngestReply::Refused(Refusal::Unavailable { stopped: false })]), "{refused:?}");
    assert_eq!(dropped(&world.account(), DropReason::NotStored), 2, "told at once");
    world.refuse(false);
    assert_eq!(world.submit(&session(), one(&set, stream, 3, &[(70, A), (71, A)])).await, [ack(stream, 3)]);
    let account = world.account();
    assert_eq!((account.reports, account.stored, account.late), (3, 7, 1), "what was not stored was not the newest");
    assert_eq!(account.received, 7 + 2 + 1 + 2 + 1 + 3 + 2);

    // A repeat after the last commit is written at the end.
    world.submit(&session(), one(&set, stream, 3, &[(70, A), (71, A)])).await;
    let account = world.account();
    world.stop().await;
    let world = World::start(folder.path()).await;
    assert_eq!(world.account(), account);
    world.stop().await;
}

#[tokio::test]
async fn of_a_block_with_everything_in_it_what_can_be_stored_is_stored() {
    let folder = tempfile::tempdir().expect("a folder");
    let world = World::start(folder.path()).await;
    let stream = world.open_stream().await;
    // There is room for two series.
    let set = set(&[("a", ValueType::F64), ("full", ValueType::F64), ("b", ValueType::F64)]);
    let both = |a, full| [Some(a), full, None];
    let mut block = IncomingBlock::new(set);
    add(&mut block, stream, 1, &[(10, &both(1.0, Some(0.0)))]);
    add(&mut block, stream, 1, &[(10, &both(1.0, Some(0.0)))]);
    add(
        &mut block,
        stream,
        2,
        &[
            (NOW_US + 1, &both(2.0, Some(0.0))),
            (20, &[None, None, None]),
            (30, &[None, None, Some(3.0)]),
            (-1, &both(4.0, None)),
            (40, &both(5.0, Some(6.0))),
        ],
    );
    let answers = world.submit(&Arc::default(), vec![block]).await;
    let whole = |row, reason| Rejected { row, metric: None, reason };
    let items = vec![
        whole(0, RejectReason::TimeInFuture),
        Rejected { row: 2, metric: Some(2), reason: RejectReason::Other },
        whole(3, RejectReason::TimeOutOfRange),
    ];
    let nack = IngestReply::Nack { stream, sequence: Sequence(2), items, total: 4 };
    assert_eq!(answers, [nack, ack(stream, 2)]);
    let account = world.account();
    assert_eq!((account.reports, account.received, account.stored, account.duplicate), (2, 10, 4, 2));
    assert_eq!(account.rejected, [1, 2, 0, 1]);
    let records = world.journal.read(Lane(0), Position(0), 10).await.expect("reads");
    let [record] = &records[..] else { panic!("one record, not {records:?}") };
    let rows = record.blocks.iter().flat_map(|block| block.reports()).flat_map(|report| report.rows());
    let rows: Vec<_> = rows
        .map(|row| (row.time_us(), row.values().map(|(key, value)| (key.0, value.to_value())).collect::<Vec<_>>()))
        .collect();
    let cell = |key, value| (key, Value::F64(value));
    assert_eq!(
        rows,
        [(10, vec![cell(0, 1.0), cell(1, 0.0)]), (40, vec![cell(0, 5.0), cell(1, 6.0)])],
        "the row of the metric without a series is empty, and left out"
    );
    let heads: Vec<_> = record.blocks.iter().flat_map(|b| &b.reports).map(|r| (r.sequence.0, r.rows)).collect();
    assert_eq!(heads, [(1, 1), (2, 1)]);
    assert_eq!(record.blocks[0].set.series, [SeriesKey(0), SeriesKey(1)]);
    world.stop().await;
}

#[tokio::test]
async fn one_commit_answers_a_stream_once_however_many_reports_it_has() {
    let folder = tempfile::tempdir().expect("a folder");
    let world = World::start(folder.path()).await;
    let (first, second) = (world.open_stream().await, world.open_stream().await);
    let set = set(&[("a", ValueType::F64)]);
    let mut block = IncomingBlock::new(set.clone());
    for n in 1..=50 {
        add(&mut block, first, n, &[(n.cast_signed(), A)]);
        add(&mut block, second, n, &[(n.cast_signed(), A)]);
    }
    let answers = world.submit(&Arc::default(), vec![block]).await;
    assert_eq!(answers, [ack(first, 50), ack(second, 50)]);
    assert_eq!((world.account().reports, world.account().stored), (100, 100));
    world.stop().await;
}

#[tokio::test]
async fn whatever_comes_again_and_however_often_the_store_fails_the_counts_add_up() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut world = World::start(folder.path()).await;
    let stream = world.open_stream().await;
    let mut seed = 0x2545_F491_4F6C_DD1D_u64;
    let mut random = move |n: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % n
    };
    let set = set(&[("a", ValueType::F64)]);
    let (mut mailbox, mut done, mut sent) = (Arc::new(Mailbox::default()), 0, 0);
    for step in 0..300 {
        world.refuse(random(5) == 0);
        let mut block = IncomingBlock::new(set.clone());
        let from = (done + random(3)).saturating_sub(random(4)).max(1);
        for n in from..from + 1 + random(6) {
            // Some rows lie before 1970.
            let time_us = if n % 7 == 0 { -1 } else { n.cast_signed() };
            add(&mut block, stream, n, &[(time_us, A)]);
            sent += 1;
        }
        for answer in world.submit(&mailbox, vec![block]).await {
            match answer {
                IngestReply::Ack { sequence, .. } => done = sequence.0,
                IngestReply::Refused(_) => mailbox = Arc::default(),
                _ => {}
            }
        }
        assert_eq!(world.account().received, sent, "step {step}");
        if step % 100 == 99 {
            world.refuse(false);
            let account = world.account();
            world.stop().await;
            world = World::start(folder.path()).await;
            assert_eq!(world.account(), account, "step {step}");
        }
    }
    let account = world.account();
    assert_eq!((account.reports, account.stored + account.rejected_in_all()), (done, done));
    assert!(account.duplicate > 0 && account.dropped.iter().filter(|n| **n > 0).count() >= 2, "{account:?}");
    world.stop().await;
}

#[tokio::test]
async fn rows_of_a_file_are_stored_counted_and_answered_after_their_commit() {
    let folder = tempfile::tempdir().expect("a folder");
    let world = World::start(folder.path()).await;
    let set = set(&[("a", ValueType::F64)]);
    let block = |times: &[i64]| {
        let mut rows = pulsewire_core::block::Rows::new(1);
        times.iter().for_each(|time| rows.push_dense(*time, [1.5_f64.to_bits()].into_iter()));
        IncomingBlock::of_file(set.clone(), rows)
    };
    let import = async |blocks: Vec<IncomingBlock>| {
        let mailbox = Arc::new(Mailbox::default());
        let submission = Submission::Import { device: DEVICE, mailbox: mailbox.clone(), blocks };
        world.ingest.submit(submission, 100).await.expect("the lane runs");
        world.answers(&mailbox).await
    };
    world.refuse(true);
    let refused = IngestReply::Refused(Refusal::Unavailable { stopped: false });
    assert_eq!(import(vec![block(&[1, 2])]).await, [refused]);
    assert_eq!(world.account().dropped[DropReason::NotStored as usize], 2);
    world.refuse(false);
    let stored = |stored| IngestReply::Imported { stored, items: Vec::new(), rejected: 0 };
    // Twice the same: nothing of it is a repeat, the later takes the place of the earlier.
    for _ in 0..2 {
        assert_eq!(import(vec![block(&[1, 2]), block(&[3])]).await, [stored(3)]);
    }
    let item = Rejected { row: 1, metric: None, reason: RejectReason::TimeInFuture };
    let expected = IngestReply::Imported { stored: 1, items: vec![(1, item)], rejected: 1 };
    assert_eq!(import(vec![block(&[]), block(&[4, NOW_US + 1])]).await, [expected]);
    let account = world.account();
    assert_eq!((account.stored, account.replaced, account.reports, account.late), (7, 3, 0, 0), "{account:?}");
    assert_eq!(account.rejected[RejectReason::TimeInFuture as usize], 1);
    world.ingest.forget(DEVICE).await.expect("the lane runs");
    assert_eq!(import(vec![block(&[5])]).await, [IngestReply::Refused(Refusal::DeviceGone)]);
    world.stop().await;
}
