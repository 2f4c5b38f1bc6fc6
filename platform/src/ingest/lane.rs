//! The lane task: one batch after the other.

use super::accounts::Accounts;
use super::check::{self, SeriesOf, Times};
use super::mailbox::{IngestReply, Mailbox, Refusal};
use super::report::{IncomingBlock, MetricSetRef, Submission};
use super::round::{Counts, Round, add_counts, count, drop_values};
use super::state::LaneState;
use super::{IngestOptions, Request};
use crate::ports::{Batch, Bus, BusEvent, Clock, Committed, Journal, JournalError, StreamKind};
use crate::telemetry::names;
use futures_util::future::join_all;
use pulsewire_core::accounting::{Accounting, DropReason};
use pulsewire_core::block::{Block, ReportHead, SeriesSet};
use pulsewire_core::catalogue::{Catalogue, Resolved, SeriesLimits};
use pulsewire_core::ids::{DeviceKey, Fence, Lane, Sequence, StreamId};
use pulsewire_core::sample::{RejectReason, ReportKind, Series};
use pulsewire_core::sequence::Verdict;
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, RwLock};
use tokio::sync::mpsc;
use tokio::time::Instant;

/// A round of so many requests is followed by a pause, so that commits begin at most every [`PACE`]: with many devices at work,
/// a later acknowledgement covers more reports, and costs one write to a socket instead of several. The first request after a busy round may wait for
/// the pause too; an idle server never does.
const PACED_REQUESTS: usize = 64;
/// Less than half of the time in which a report should be acknowledged (20 ms for 99 of 100).
const PACE: std::time::Duration = std::time::Duration::from_millis(8);
/// Most requests taken into one batch.
const BATCH_REQUESTS_MAX: usize = 4096;

/// What must go into the next append whatever it brings: series whose append failed, and counts of what needs no commit of its
/// own.
#[derive(Default)]
pub(super) struct Unwritten {
    series: Vec<Arc<Series>>,
    accounting: Counts,
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
    pub state: LaneState,
    pub busy: Arc<AtomicBool>,
    pub unwritten: Unwritten,
    /// Devices deleted since the start: their numbers are not used again, and nothing more of them is taken.
    pub forgotten: HashSet<DeviceKey>,
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
        let (mut begun, mut busy) = (Instant::now(), false);
        while receiver.recv_many(&mut requests, BATCH_REQUESTS_MAX).await > 0 {
            if busy && begun.elapsed() < PACE {
                tokio::time::sleep_until(begun + PACE).await;
                while requests.len() < BATCH_REQUESTS_MAX
                    && let Ok(request) = receiver.try_recv()
                {
                    requests.push(request);
                }
            }
            (begun, busy) = (Instant::now(), requests.len() >= PACED_REQUESTS);
            self.busy.store(busy, Ordering::Relaxed);
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
            self.settle(&mut round);
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
        streams.iter().filter_map(|s| self.state.durable(device, *s).map(|sequence| (*s, sequence))).collect()
    }

    fn forget(&mut self, device: DeviceKey) {
        self.state.forget(device);
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
                        self.state.close_stream(opening.device, retired);
                    }
                    self.state.open_stream(opening.device, opened.stream);
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
        let refused = mailbox.is_refused();
        if self.forgotten.contains(&device) {
            // It has no account any more.
            if !refused {
                round.refuse(&mailbox, Refusal::DeviceGone);
            }
            return;
        }
        match submission {
            Submission::Reports { blocks, .. } => {
                for block in blocks {
                    self.take_block(round, device, &mailbox, block);
                }
            }
            _ if refused => {}
            Submission::OpenStream { request, kind, .. } => {
                openings.push(Opening { device, mailbox, request, kind });
            }
            Submission::Import { blocks, .. } => self.take_import(round, device, &mailbox, blocks),
            Submission::Skip { stream, from, to, .. } => self.take_skip(round, device, &mailbox, stream, (from, to)),
        }
    }

    fn take_skip(
        &mut self,
        round: &mut Round,
        device: DeviceKey,
        mailbox: &Arc<Mailbox>,
        stream: StreamId,
        (from, to): (Sequence, Sequence),
    ) {
        let Some(progress) = self.state.stream_mut(device, stream) else {
            round.refuse(mailbox, Refusal::UnknownStream(stream));
            return;
        };
        let (before, was_open) = (progress.taken(), progress.is_open());
        match progress.skip(from, to) {
            Verdict::Fresh => {
                if !was_open {
                    round.touched.push((device, stream));
                }
                let skipped = Accounting { skipped: to.0 - before.0, ..Accounting::default() };
                round.accounting.entry(device).or_default().add(&skipped);
                let nothing = SeriesSet { device, series: Vec::new(), types: Vec::new() };
                let mut block = Block::new(Arc::new(nothing));
                let kind = ReportKind::Live;
                block.reports.push(ReportHead { stream, sequence: to, digest: 0, kind, rows: 0 });
                round.batch.blocks.push(block);
                round.ack(mailbox, device, stream);
            }
            Verdict::Gap { expected } => round.refuse(mailbox, Refusal::Gap { stream, expected, got: from }),
            Verdict::Repeat | Verdict::Clone => round.ack(mailbox, device, stream),
        }
    }

    fn take_block(&mut self, round: &mut Round, device: DeviceKey, mailbox: &Arc<Mailbox>, block: IncomingBlock) {
        let fresh = self.judge(round, device, mailbox, &block);
        if matches!(fresh, Fresh::None) {
            return;
        }
        let series = self.series_of(round, device, &block.set);
        let times = Times { now_us: round.batch.received_us, ahead_max_us: self.options.time_ahead_max_us };
        let newest_us = self.state.newest_us(device);
        let account = round.accounting.entry(device).or_default();
        if let (Fresh::All, SeriesOf::All(set)) = (&fresh, &series)
            && let Some(seen) = check::all_storable(&block, times, newest_us)
        {
            let values = block.rows.count();
            account.reports += block.heads.len() as u64;
            account.received += values;
            account.stored += values;
            account.late += seen.late;
            self.state.set_newest_us(device, seen.newest_us);
            round.batch.blocks.push(Block { set: set.clone(), reports: block.heads, rows: block.rows });
            return;
        }
        let fresh = match fresh {
            Fresh::Some(fresh) => fresh,
            Fresh::All | Fresh::None => vec![true; block.heads.len()],
        };
        let checked = check::pick(device, &block, &fresh, &series, times, newest_us);
        account.add(&checked.account);
        self.state.set_newest_us(device, checked.newest_us);
        round.batch.blocks.push(checked.block);
        for nack in checked.nacks {
            round.nack(mailbox, nack);
        }
    }

    /// Judges reports by their numbers; counts those that are not taken, and settles who is answered.
    fn judge(&mut self, round: &mut Round, device: DeviceKey, mailbox: &Arc<Mailbox>, block: &IncomingBlock) -> Fresh {
        let mut others = Accounting::default();
        // Only made when a report is not fresh.
        let mut fresh: Option<Vec<bool>> = None;
        let (mut judged, mut any, mut row) = (0, false, 0);
        let mut ended = mailbox.is_refused().then_some(DropReason::SessionEnded);
        for run in block.heads.chunk_by(|a, b| a.stream == b.stream) {
            let Some(stream) = run.first().map(|head| head.stream) else { continue };
            let mut progress = None;
            let mut was_open = false;
            let mut lost = ended;
            if ended.is_none() {
                progress = self.state.stream_mut(device, stream);
                match &progress {
                    Some(progress) => was_open = progress.is_open(),
                    None => {
                        round.refuse(mailbox, Refusal::UnknownStream(stream));
                        (lost, ended) = (Some(DropReason::UnknownStream), Some(DropReason::SessionEnded));
                    }
                }
            }
            let mut answered = false;
            for head in run {
                let rows = row..row + head.rows as usize;
                row = rows.end;
                let verdict = match (&mut progress, lost) {
                    (Some(progress), None) => progress.admit(head.sequence, head.digest),
                    (_, lost) => {
                        let reason = lost.unwrap_or(DropReason::SessionEnded);
                        drop_values(&mut others, reason, block.rows.count_in(rows));
                        note(&mut fresh, judged, false);
                        judged += 1;
                        continue;
                    }
                };
                let is_fresh = verdict == Verdict::Fresh;
                match verdict {
                    Verdict::Fresh => (answered, any) = (true, true),
                    Verdict::Repeat => {
                        let values = block.rows.count_in(rows);
                        others.received += values;
                        others.duplicate += values;
                        round.repeats += 1;
                        answered = true;
                    }
                    Verdict::Clone => {
                        drop_values(&mut others, DropReason::Clone, block.rows.count_in(rows));
                        round.refuse(mailbox, Refusal::Clone { stream, sequence: head.sequence });
                        (lost, ended) = (Some(DropReason::SessionEnded), Some(DropReason::SessionEnded));
                    }
                    Verdict::Gap { expected } => {
                        drop_values(&mut others, DropReason::SequenceGap, block.rows.count_in(rows));
                        round.refuse(mailbox, Refusal::Gap { stream, expected, got: head.sequence });
                        (lost, ended) = (Some(DropReason::SessionEnded), Some(DropReason::SessionEnded));
                    }
                }
                note(&mut fresh, judged, is_fresh);
                judged += 1;
            }
            if !was_open && progress.is_some_and(|progress| progress.is_open()) {
                round.touched.push((device, stream));
            }
            if answered {
                round.ack(mailbox, device, stream);
            }
        }
        if !others.is_empty() {
            round.settled.entry(device).or_default().add(&others);
        }
        match fresh {
            _ if !any => Fresh::None,
            Some(fresh) => Fresh::Some(fresh),
            None => Fresh::All,
        }
    }

    pub(super) fn series_of(&mut self, round: &mut Round, device: DeviceKey, set: &MetricSetRef) -> SeriesOf {
        if let Some(known) = set.series.get() {
            return SeriesOf::All(known.clone());
        }
        let Ok(mut catalogue) = self.catalogue.write() else {
            return SeriesOf::Part(vec![Err(RejectReason::Other); set.metrics.len()]);
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
        let series: Vec<_> = set.metrics.iter().map(&mut resolve).collect();
        match series.iter().copied().collect::<Result<Vec<_>, _>>() {
            Ok(series) => {
                let types = set.metrics.iter().map(|metric| metric.value_type).collect();
                let all = Arc::new(SeriesSet { device, series, types });
                SeriesOf::All(set.series.get_or_init(|| all).clone())
            }
            Err(_) => SeriesOf::Part(series),
        }
    }

    /// Counts what does not depend on the commit. It is written with the next one.
    fn settle(&mut self, round: &mut Round) {
        if round.repeats > 0 {
            metrics::counter!(names::REPORTS_DUPLICATE).increment(round.repeats);
        }
        let settled = std::mem::take(&mut round.settled);
        self.note_unwritten(&settled, round.batch.received_us);
    }

    fn note_unwritten(&mut self, counts: &Counts, now_us: i64) {
        if !counts.is_empty() {
            add_counts(&mut self.unwritten.accounting, counts);
            count(counts);
            self.accounts.add(counts, now_us);
        }
    }

    async fn commit(&mut self, mut round: Round) {
        if round.batch.blocks.is_empty() && round.batch.series.is_empty() {
            round.answer(&self.state);
            return;
        }
        let mut series = std::mem::take(&mut self.unwritten.series);
        series.append(&mut round.batch.series);
        let unwritten = std::mem::take(&mut self.unwritten.accounting);
        let mut accounting = round.accounting.clone();
        add_counts(&mut accounting, &unwritten);
        let mut batch = std::mem::take(&mut round.batch);
        batch.series = series;
        batch.accounting = accounting.into_iter().collect();
        let batch = Arc::new(batch);
        let started = std::time::Instant::now();
        let result = self.journal.append(self.lane, self.fence, batch.clone()).await;
        metrics::histogram!(names::COMMIT_SECONDS).record(started.elapsed().as_secs_f64());
        match result {
            Ok(receipt) => {
                self.state.commit(&round.touched);
                for (device, n) in &receipt.replaced {
                    round.accounting.entry(*device).or_default().replaced += n;
                }
                count(&round.accounting);
                self.accounts.add(&round.accounting, batch.received_us);
                round.answer(&self.state);
                self.bus.publish(BusEvent::Committed(Arc::new(Committed { position: receipt.position, batch })));
            }
            Err(error) => {
                tracing::warn!(%error, blocks = batch.blocks.len(), "nothing of a batch was stored");
                metrics::counter!(names::COMMITS_FAILED).increment(1);
                self.state.roll_back(&round.touched);
                self.unwritten.series.clone_from(&batch.series);
                self.unwritten.accounting = unwritten;
                let not_stored = round.accounting.iter().map(|(device, account)| (*device, not_stored(account)));
                let not_stored = not_stored.filter(|(_, account)| !account.is_empty()).collect();
                self.note_unwritten(&not_stored, batch.received_us);
                round.answer_failed(&unavailable(&error));
            }
        }
    }

    /// At the end: counts that no later append took along.
    async fn write_rest(&mut self) {
        if self.unwritten.accounting.is_empty() && self.unwritten.series.is_empty() {
            return;
        }
        let batch = Batch {
            received_us: self.clock.now_us(),
            blocks: Vec::new(),
            series: std::mem::take(&mut self.unwritten.series),
            accounting: std::mem::take(&mut self.unwritten.accounting).into_iter().collect(),
        };
        if let Err(error) = self.journal.append(self.lane, self.fence, Arc::new(batch)).await {
            tracing::warn!(%error, "counts of what was repeated or dropped since the last commit were not stored");
        }
    }
}

/// Which reports of a block are taken.
enum Fresh {
    None,
    All,
    /// By report.
    Some(Vec<bool>),
}

/// Notes whether the next report is fresh; `judged` were before it.
fn note(fresh: &mut Option<Vec<bool>>, judged: usize, is_fresh: bool) {
    match fresh {
        Some(fresh) => fresh.push(is_fresh),
        None if is_fresh => {}
        // All before it were.
        None => {
            let list = fresh.insert(vec![true; judged]);
            list.push(false);
        }
    }
}

/// What is left of the counts of a round that was not stored.
fn not_stored(account: &Accounting) -> Accounting {
    let mut left = Accounting::default();
    drop_values(&mut left, DropReason::NotStored, account.received);
    left
}

fn unavailable(error: &JournalError) -> Refusal {
    let stopped = matches!(error, JournalError::Stopped(_) | JournalError::StaleFence);
    Refusal::Unavailable { stopped }
}
