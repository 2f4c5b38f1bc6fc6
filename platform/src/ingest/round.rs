//! What one round of the lane gathers: a batch, and whom to tell what once it is stored.

use super::mailbox::{IngestReply, Mailbox, Refusal};
use super::state::LaneState;
use crate::ports::Batch;
use crate::telemetry::names;
use foldhash::{HashMap, HashSet};
use pulsewire_core::accounting::{Accounting, DropReason};
use pulsewire_core::ids::{DeviceKey, StreamId};
use pulsewire_core::sample::RejectReason;
use std::sync::Arc;

/// Counts by device.
pub(super) type Counts = HashMap<DeviceKey, Accounting>;

#[derive(Default)]
pub(super) struct Round {
    pub batch: Batch,
    /// What is so once the batch is stored.
    pub accounting: Counts,
    /// What is so whatever becomes of the batch: repeats, and what is not taken.
    pub settled: Counts,
    /// Reports that came again.
    pub repeats: u64,
    /// Streams with something to commit or to roll back, once each.
    pub touched: Vec<(DeviceKey, StreamId)>,
    nacks: Vec<(Arc<Mailbox>, IngestReply)>,
    acks: Vec<(Arc<Mailbox>, DeviceKey, StreamId)>,
    // Whose acks are in the list, by the address of the mailbox, which the list keeps alive.
    acked: HashSet<(usize, StreamId)>,
    refusals: Vec<(Arc<Mailbox>, Refusal)>,
    imports: Vec<(Arc<Mailbox>, IngestReply)>,
}

impl Round {
    /// Ends a session: nothing more of it is taken from now on, and it is told after what it is still owed.
    pub(super) fn refuse(&mut self, mailbox: &Arc<Mailbox>, refusal: Refusal) {
        mailbox.set_refused();
        self.refusals.push((mailbox.clone(), refusal));
    }

    /// A session learns after the commit how far its stream is durable; once, however many reports that covers.
    pub(super) fn ack(&mut self, mailbox: &Arc<Mailbox>, device: DeviceKey, stream: StreamId) {
        if self.acked.insert((Arc::as_ptr(mailbox).addr(), stream)) {
            self.acks.push((mailbox.clone(), device, stream));
        }
    }

    /// Parts of a report are not stored.
    pub(super) fn nack(&mut self, mailbox: &Arc<Mailbox>, reply: IngestReply) {
        self.nacks.push((mailbox.clone(), reply));
    }

    /// What became of rows of a file, once the round is stored.
    pub(super) fn imported(&mut self, mailbox: &Arc<Mailbox>, reply: IngestReply) {
        self.imports.push((mailbox.clone(), reply));
    }

    /// Answers a round that is stored. An Ack names how far its stream is durable, which covers later reports of the same
    /// round: their Nacks go first. Refusals end their session, so they go last.
    pub(super) fn answer(self, state: &LaneState) {
        for (mailbox, reply) in self.nacks.into_iter().chain(self.imports) {
            mailbox.put(reply);
        }
        for (mailbox, device, stream) in self.acks {
            if let Some(sequence) = state.durable(device, stream).filter(|s| s.0 > 0) {
                mailbox.put(IngestReply::Ack { stream, sequence });
            }
        }
        for (mailbox, refusal) in self.refusals {
            mailbox.put(IngestReply::Refused(refusal));
        }
    }

    /// Answers a round that could not be stored.
    pub(super) fn answer_failed(self, refusal: &Refusal) {
        for (mailbox, refusal) in self.refusals {
            mailbox.put(IngestReply::Refused(refusal));
        }
        let owed = self.acks.into_iter().map(|(mailbox, ..)| mailbox);
        let replies = self.nacks.into_iter().chain(self.imports);
        for mailbox in owed.chain(replies.map(|(mailbox, _)| mailbox)) {
            if !mailbox.is_refused() {
                mailbox.put(IngestReply::Refused(refusal.clone()));
            }
        }
    }
}

/// Counts values that are not taken; they come again.
pub(super) fn drop_values(account: &mut Accounting, reason: DropReason, values: u64) {
    account.received += values;
    account.dropped[reason as usize] += values;
}

/// Adds counts to those of each device.
pub(super) fn add_counts(to: &mut Counts, counts: &Counts) {
    for (device, count) in counts {
        to.entry(*device).or_default().add(count);
    }
}

/// Counts what is so now in the server's metrics.
pub(super) fn count(counts: &Counts) {
    let mut sum = Accounting::default();
    counts.values().for_each(|one| sum.add(one));
    let plain = [
        (names::REPORTS_STORED, sum.reports),
        (names::REPORTS_SKIPPED, sum.skipped),
        (names::SAMPLES_RECEIVED, sum.received),
        (names::SAMPLES_STORED, sum.stored),
        (names::SAMPLES_DUPLICATE, sum.duplicate),
        (names::SAMPLES_LATE, sum.late),
        (names::SAMPLES_REPLACED, sum.replaced),
    ];
    for (name, n) in plain {
        if n > 0 {
            metrics::counter!(name).increment(n);
        }
    }
    for reason in RejectReason::ALL {
        if let n @ 1.. = sum.rejected[reason as usize] {
            metrics::counter!(names::SAMPLES_REJECTED, "reason" => reason.name()).increment(n);
        }
    }
    for reason in DropReason::ALL {
        if let n @ 1.. = sum.dropped[reason as usize] {
            metrics::counter!(names::SAMPLES_DROPPED, "reason" => reason.name()).increment(n);
        }
    }
}
