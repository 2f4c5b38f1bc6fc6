//! The lane task: one batch after the other.

use super::accounts::Accounts;
use super::mailbox::{IngestReply, Mailbox, Refusal, Rejected};
use super::report::{IncomingReport, Submission};
use super::{IngestOptions, Request};
use crate::ports::{Batch, Bus, BusEvent, Clock, Committed, Journal, JournalError, StreamKind, StreamPosition};
use crate::telemetry::names;
use futures_util::future::join_all;
use pulsewire_core::accounting::Accounting;
use pulsewire_core::catalogue::{Catalogue, Resolved, SeriesLimits};
use pulsewire_core::ids::{DeviceKey, Fence, Lane, Sequence, SeriesKey, StreamId};
use pulsewire_core::sample::{RejectReason, ReportKind, Series, StoredReport, StoredRow, check_time};
use pulsewire_core::sequence::{StreamProgress, Verdict};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, RwLock};
use tokio::sync::mpsc;

/// Most requests taken into one batch.
const BATCH_REQUESTS_MAX: usize = 4096;
/// Most rejections listed in one NACK. SPEC §6.6.
const NACK_ITEMS_MAX: usize = 64;

pub(super) type Streams = HashMap<(DeviceKey, StreamId), StreamProgress>;

/// Dedup state as the journal knows it.
pub(super) fn recover_streams(
    positions: &[StreamPosition],
    digests: &[(DeviceKey, StreamId, Sequence, u64)],
) -> Streams {
    let mut streams: Streams =
        positions.iter().map(|p| ((p.device, p.stream), StreamProgress::recovered(p.sequence))).collect();
    for (device, stream, sequence, digest) in digests {
        if let Some(progress) = streams.get_mut(&(*device, *stream)) {
            progress.remember(*sequence, *digest);
        }
    }
    streams
}

/// What must go into the next append whatever it brings: series whose append failed, and counts of repeats, which need no
/// commit of their own.
#[derive(Default)]
pub(super) struct Unwritten {
    series: Vec<Arc<Series>>,
    accounting: HashMap<DeviceKey, Accounting>,
}

pub(super) struct LaneTask {
    pub lane: Lane,
    pub fence: Fence,
    pub options: IngestOptions,
    pub journal: Arc<dyn Journal>,
    pub bus: Arc<dyn Bus>,
    pub clock: Arc<dyn Clock>,
    pub catalogue: Arc<RwLock<Catalogue>>,
    pub accounts: Arc<Accounts>,
    pub streams: Streams,
    pub unwritten: Unwritten,
    /// Devices deleted since the start: their numbers are not used again, and nothing more of them is taken.
    pub forgotten: HashSet<DeviceKey>,
}

/// What one round gathers.
#[derive(Default)]
struct Round {
    batch: Batch,
    accounting: HashMap<DeviceKey, Accounting>,
    rejected: HashMap<RejectReason, u64>,
    // Streams with something to commit or to roll back.
    touched: Vec<(DeviceKey, StreamId)>,
    // Answers due after the commit, in the order of submissions.
    answers: Vec<Answer>,
}

enum Answer {
    Ack { mailbox: Arc<Mailbox>, device: DeviceKey, stream: StreamId },
    Nack { mailbox: Arc<Mailbox>, reply: IngestReply },
    Refused { mailbox: Arc<Mailbox>, refusal: Refusal },
}

impl Round {
    /// Ends a session: nothing more of it is taken from now on, and it is told after what it is still owed.
    fn refuse(&mut self, mailbox: Arc<Mailbox>, refusal: Refusal) {
        mailbox.set_refused();
        self.answers.push(Answer::Refused { mailbox, refusal });
    }
}

struct Opening {
    device: DeviceKey,
    mailbox: Arc<Mailbox>,
    request: u32,
    kind: StreamKind,
}

impl LaneTask {
    pub(super) async fn run(mut self, mut receiver: mpsc::Receiver<Request>) {
        let mut requests = Vec::new();
        while receiver.recv_many(&mut requests, BATCH_REQUESTS_MAX).await > 0 {
            let mut round = Round::default();
            round.batch.received_us = self.clock.now_us();
            let (mut permits, mut openings) = (Vec::with_capacity(requests.len()), Vec::new());
            let mut forgets = Vec::new();
            for request in requests.drain(..) {
                match request {
                    Request::Submit(submission, permit) => {
                        permits.push(permit);
                        self.take(&mut round, &mut openings, submission);
                    }
                    Request::Positions { device, streams, reply } => {
                        // The session that asked may be gone.
                        let _ = reply.send(self.positions(device, &streams));
                    }
                    Request::Forget { device, reply } => {
                        self.forgotten.insert(device);
                        forgets.push((device, reply));
                    }
                }
            }
            self.commit(round).await;
            // After the commit: it may retire a stream whose reports this round has taken.
            self.open_streams(openings).await;
            // After the commit too: nothing of a forgotten device may be appended once the journal is told to forget it.
            for (device, reply) in forgets {
                self.forget(device);
                let _ = reply.send(());
            }
        }
        self.write_rest().await;
    }

    fn positions(&self, device: DeviceKey, streams: &[StreamId]) -> Vec<(StreamId, Sequence)> {
        streams.iter().filter_map(|s| self.streams.get(&(device, *s)).map(|p| (*s, p.durable()))).collect()
    }

    fn forget(&mut self, device: DeviceKey) {
        self.streams.retain(|(owner, _), _| *owner != device);
        self.unwritten.accounting.remove(&device);
        self.unwritten.series.retain(|s| s.device != device);
        self.accounts.forget(device);
        if let Ok(mut catalogue) = self.catalogue.write() {
            catalogue.remove_device(device);
        }
    }

    async fn open_streams(&mut self, openings: Vec<Opening>) {
        // All at once, so that the journal makes them in one commit.
        let calls = openings.iter().map(|o| {
            let (lane, fence, max) = (self.lane, self.fence, self.options.streams_per_device_max);
            self.journal.open_stream(lane, fence, o.device, o.kind, self.clock.now_us(), max)
        });
        let results = join_all(calls).await;
        for (opening, result) in openings.iter().zip(results) {
            match result {
                Ok(opened) => {
                    if let Some(retired) = opened.retired {
                        self.streams.remove(&(opening.device, retired));
                    }
                    self.streams.insert((opening.device, opened.stream), StreamProgress::default());
                    let reply = IngestReply::StreamOpened { request: opening.request, stream: opened.stream };
                    opening.mailbox.put(reply);
                }
                Err(error) => opening.mailbox.put(IngestReply::Refused(unavailable(&error))),
            }
        }
    }

    fn take(&mut self, round: &mut Round, openings: &mut Vec<Opening>, submission: Submission) {
        let (device, mailbox) = submission.sender();
        let mailbox = mailbox.clone();
        if mailbox.is_refused() {
            return;
        }
        if self.forgotten.contains(&device) {
            round.refuse(mailbox, Refusal::DeviceGone);
            return;
        }
        match submission {
            Submission::OpenStream { device, mailbox, request, kind } => {
                openings.push(Opening { device, mailbox, request, kind });
            }
            Submission::Report { device, mailbox, report } => self.take_report(round, device, mailbox, report),
            Submission::Skip { device, mailbox, stream, from, to } => {
                let Some(progress) = self.streams.get_mut(&(device, stream)) else {
                    round.refuse(mailbox, Refusal::UnknownStream(stream));
                    return;
                };
                let before = progress.taken();
                match progress.skip(from, to) {
                    Verdict::Fresh => {
                        let skipped = Accounting { skipped: to.0 - before.0, ..Accounting::default() };
                        round.accounting.entry(device).or_default().add(&skipped);
                        round.touched.push((device, stream));
                        round.batch.reports.push(StoredReport {
                            device,
                            stream,
                            sequence: to,
                            kind: ReportKind::Live,
                            digest: 0,
                            rows: Vec::new(),
                        });
                        round.answers.push(Answer::Ack { mailbox, device, stream });
                    }
                    Verdict::Gap { expected } => {
                        round.refuse(mailbox, Refusal::Gap { stream, expected, got: from });
                    }
                    Verdict::Repeat | Verdict::Clone => {
                        round.answers.push(Answer::Ack { mailbox, device, stream });
                    }
                }
            }
        }
    }

    fn take_report(&mut self, round: &mut Round, device: DeviceKey, mailbox: Arc<Mailbox>, report: IncomingReport) {
        let stream = report.stream;
        let Some(progress) = self.streams.get_mut(&(device, stream)) else {
            round.refuse(mailbox, Refusal::UnknownStream(stream));
            return;
        };
        match progress.admit(report.sequence, report.digest) {
            Verdict::Fresh => {
                round.touched.push((device, stream));
                let (sequence, digest, kind) = (report.sequence, report.digest, report.kind);
                let (rows, nack) = self.check_rows(round, device, report);
                if let Some(reply) = nack {
                    round.answers.push(Answer::Nack { mailbox: mailbox.clone(), reply });
                }
                round.batch.reports.push(StoredReport { device, stream, sequence, kind, digest, rows });
                round.answers.push(Answer::Ack { mailbox, device, stream });
            }
            Verdict::Repeat => {
                self.unwritten.accounting.entry(device).or_default().duplicate += 1;
                metrics::counter!(names::REPORTS_DUPLICATE).increment(1);
                let duplicate = Accounting { duplicate: 1, ..Accounting::default() };
                self.accounts.add(&[(device, duplicate)], round.batch.received_us);
                round.answers.push(Answer::Ack { mailbox, device, stream });
            }
            Verdict::Clone => {
                let sequence = report.sequence;
                round.refuse(mailbox, Refusal::Clone { stream, sequence });
            }
            Verdict::Gap { expected } => {
                round.refuse(mailbox, Refusal::Gap { stream, expected, got: report.sequence });
            }
        }
    }

    /// Splits a fresh report into what is stored and what is rejected.
    fn check_rows(
        &mut self,
        round: &mut Round,
        device: DeviceKey,
        report: IncomingReport,
    ) -> (Vec<StoredRow>, Option<IngestReply>) {
        let series = self.series_of(round, device, &report);
        let (now_us, ahead_us) = (round.batch.received_us, self.options.time_ahead_max_us);
        let mut rejected = Rejections::default();
        let mut received = 0;
        let mut rows = Vec::with_capacity(report.rows.len());
        for (index, row) in report.rows.into_iter().enumerate() {
            let index = u32::try_from(index).unwrap_or(u32::MAX);
            received += row.values.len() as u64;
            if let Err(reason) = check_time(row.time_us, now_us, ahead_us) {
                rejected.add(Rejected { row: index, metric: None, reason }, row.values.len());
                continue;
            }
            let mut values = Vec::with_capacity(row.values.len());
            for (metric, value) in row.values {
                match series.get(usize::from(metric)) {
                    Some(Ok(key)) => values.push((*key, value)),
                    Some(Err(reason)) => {
                        let one = Rejected { row: index, metric: Some(metric.into()), reason: *reason };
                        rejected.add(one, 1);
                    }
                    // The hub decodes rows by their set, so an index is always inside it.
                    None => rejected.add(Rejected { row: index, metric: None, reason: RejectReason::Other }, 1),
                }
            }
            if !values.is_empty() {
                rows.push(StoredRow { time_us: row.time_us, values });
            }
        }
        let account = round.accounting.entry(device).or_default();
        account.reports += 1;
        account.received += received;
        account.rejected += u64::from(rejected.total);
        account.stored += received - u64::from(rejected.total);
        for (reason, n) in &rejected.by_reason {
            *round.rejected.entry(*reason).or_default() += n;
        }
        (rows, rejected.into_nack(report.stream, report.sequence))
    }

    fn series_of(
        &mut self,
        round: &mut Round,
        device: DeviceKey,
        report: &IncomingReport,
    ) -> Vec<Result<SeriesKey, RejectReason>> {
        if let Some(known) = report.set.series.get() {
            return known.iter().map(|key| Ok(*key)).collect();
        }
        let Ok(mut catalogue) = self.catalogue.write() else {
            return vec![Err(RejectReason::Other); report.set.metrics.len()];
        };
        let limits = SeriesLimits { in_all: self.options.series_max, per_device: self.options.series_per_device_max };
        let mut resolve = |metric| match catalogue.resolve(device, metric, limits) {
            Resolved::Known(key) => Ok(key),
            Resolved::Write(series) => {
                let key = series.key;
                round.batch.series.push(series);
                Ok(key)
            }
            Resolved::Rejected(reason) => Err(reason),
        };
        let series: Vec<_> = report.set.metrics.iter().map(&mut resolve).collect();
        if let Ok(all) = series.iter().copied().collect::<Result<Vec<_>, _>>() {
            // Another report of the same set cannot have come first: one lane, one task.
            let _ = report.set.series.set(all);
        }
        series
    }

    async fn commit(&mut self, mut round: Round) {
        if round.batch.reports.is_empty() && round.batch.series.is_empty() {
            self.answer(round.answers);
            return;
        }
        let mut series = std::mem::take(&mut self.unwritten.series);
        series.append(&mut round.batch.series);
        let repeats = std::mem::take(&mut self.unwritten.accounting);
        let mut accounting = round.accounting.clone();
        for (device, repeat) in &repeats {
            accounting.entry(*device).or_default().add(repeat);
        }
        round.batch.series = series;
        round.batch.accounting = accounting.into_iter().collect();
        let batch = Arc::new(round.batch);
        let started = std::time::Instant::now();
        let result = self.journal.append(self.lane, self.fence, batch.clone()).await;
        metrics::histogram!(names::COMMIT_SECONDS).record(started.elapsed().as_secs_f64());
        match result {
            Ok(receipt) => {
                for key in &round.touched {
                    if let Some(progress) = self.streams.get_mut(key) {
                        progress.commit();
                    }
                }
                for (device, n) in &receipt.replaced {
                    round.accounting.entry(*device).or_default().replaced += n;
                }
                let changes: Vec<_> = round.accounting.into_iter().collect();
                count(&changes, &round.rejected);
                self.accounts.add(&changes, batch.received_us);
                self.answer(round.answers);
                self.bus.publish(BusEvent::Committed(Arc::new(Committed { position: receipt.position, batch })));
            }
            Err(error) => {
                tracing::warn!(%error, reports = batch.reports.len(), "nothing of a batch was stored");
                metrics::counter!(names::COMMITS_FAILED).increment(1);
                for key in &round.touched {
                    if let Some(progress) = self.streams.get_mut(key) {
                        progress.roll_back();
                    }
                }
                self.unwritten.series.clone_from(&batch.series);
                self.unwritten.accounting = repeats;
                let refusal = unavailable(&error);
                for answer in round.answers {
                    match answer {
                        Answer::Refused { mailbox, refusal } => mailbox.put(IngestReply::Refused(refusal)),
                        Answer::Ack { mailbox, .. } | Answer::Nack { mailbox, .. } if !mailbox.is_refused() => {
                            mailbox.put(IngestReply::Refused(refusal.clone()));
                        }
                        Answer::Ack { .. } | Answer::Nack { .. } => {}
                    }
                }
            }
        }
    }

    fn answer(&self, answers: Vec<Answer>) {
        // An Ack names how far its stream is durable, which covers later reports of the same round: their Nacks go first.
        // Refusals end their session, so they go last.
        let mut answers = answers;
        answers.sort_by_key(|answer| match answer {
            Answer::Nack { .. } => 0,
            Answer::Ack { .. } => 1,
            Answer::Refused { .. } => 2,
        });
        for answer in answers {
            match answer {
                Answer::Nack { mailbox, reply } => mailbox.put(reply),
                Answer::Refused { mailbox, refusal } => mailbox.put(IngestReply::Refused(refusal)),
                Answer::Ack { mailbox, device, stream } => {
                    let sequence = self.streams.get(&(device, stream)).map(StreamProgress::durable);
                    if let Some(sequence) = sequence.filter(|s| s.0 > 0) {
                        mailbox.put(IngestReply::Ack { stream, sequence });
                    }
                }
            }
        }
    }

    /// At the end: counts of repeats that no later append took along.
    async fn write_rest(&mut self) {
        if self.unwritten.accounting.is_empty() && self.unwritten.series.is_empty() {
            return;
        }
        let batch = Batch {
            received_us: self.clock.now_us(),
            reports: Vec::new(),
            series: std::mem::take(&mut self.unwritten.series),
            accounting: std::mem::take(&mut self.unwritten.accounting).into_iter().collect(),
        };
        if let Err(error) = self.journal.append(self.lane, self.fence, Arc::new(batch)).await {
            tracing::warn!(%error, "counts of repeated reports since the last commit were not stored");
        }
    }
}

fn unavailable(error: &JournalError) -> Refusal {
    let stopped = matches!(error, JournalError::Stopped(_) | JournalError::StaleFence);
    Refusal::Unavailable { stopped }
}

/// Counted once it is durable: a round that fails comes again.
fn count(changes: &[(DeviceKey, Accounting)], rejected: &HashMap<RejectReason, u64>) {
    for (reason, values) in rejected {
        metrics::counter!(names::SAMPLES_REJECTED, "reason" => reason.name()).increment(*values);
    }
    let mut sum = Accounting::default();
    changes.iter().for_each(|(_, change)| sum.add(change));
    metrics::counter!(names::REPORTS_STORED).increment(sum.reports);
    metrics::counter!(names::REPORTS_SKIPPED).increment(sum.skipped);
    metrics::counter!(names::SAMPLES_STORED).increment(sum.stored);
    metrics::counter!(names::SAMPLES_REPLACED).increment(sum.replaced);
}

#[derive(Default)]
struct Rejections {
    items: Vec<Rejected>,
    by_reason: HashMap<RejectReason, u64>,
    total: u32,
}

impl Rejections {
    fn add(&mut self, one: Rejected, values: usize) {
        let values = u32::try_from(values).unwrap_or(u32::MAX);
        self.total = self.total.saturating_add(values);
        *self.by_reason.entry(one.reason).or_default() += u64::from(values);
        if self.items.len() < NACK_ITEMS_MAX {
            self.items.push(one);
        }
    }

    fn into_nack(self, stream: StreamId, sequence: Sequence) -> Option<IngestReply> {
        (self.total > 0).then_some(IngestReply::Nack { stream, sequence, items: self.items, total: self.total })
    }
}
