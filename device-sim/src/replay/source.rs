use std::{sync::Arc, time::Duration};

use pulsewire_proto::{MetricSet, frame::StreamKind};
use tokio::time::Instant;

use super::{
    state::ReplayState,
    table::{DeviceRows, Table},
};
use crate::{
    SimError,
    client::{Next, Source},
};

/// When rows are sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    pub(super) start: Instant,
    /// How many times faster than recorded; `None`: as fast as the server takes them.
    pub(super) speed: Option<f64>,
}

/// One device's rows. Reports are made from the rows whenever they are needed, so nothing is kept for resending.
#[derive(Debug)]
pub(super) struct ReplaySource {
    table: Arc<Table>,
    device: usize,
    state: ReplayState,
    stream: Option<u32>,
    pace: Pace,
    backfill: bool,
    go_on: bool,
    repeat_for_ever: bool,
    sets: Vec<MetricSet>,
    scratch: Vec<u8>,
    /// What the server held at the first login of this run.
    durable_at_start: Option<u64>,
    next: u64,
    /// Highest sequence sent in this run.
    sent_max: u64,
    acked: u64,
    counts: Counts,
}

/// What one device's replay came to.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    /// Reports sent at least once.
    pub(super) sent: u64,
    /// Reports sent again after a connection broke.
    pub(super) resent: u64,
    /// Reports acknowledged, once each.
    pub(super) acknowledged: u64,
    /// Of these, what the server had before this run.
    pub(super) repeats: u64,
}

impl ReplaySource {
    pub(super) fn new(
        table: Arc<Table>,
        device: usize,
        state: ReplayState,
        pace: Pace,
        options: &super::ReplayOptions,
    ) -> ReplaySource {
        let stream = state.stream(&table.devices[device].device);
        ReplaySource {
            sets: vec![table.set.clone()],
            table,
            device,
            state,
            stream,
            pace,
            backfill: options.backfill,
            go_on: options.go_on,
            repeat_for_ever: options.repeat,
            scratch: Vec::new(),
            durable_at_start: None,
            next: 1,
            sent_max: 0,
            acked: 0,
            counts: Counts::default(),
        }
    }

    pub(super) fn device(&self) -> &DeviceRows {
        &self.table.devices[self.device]
    }

    pub(super) fn counts(&self) -> Counts {
        self.counts
    }

    /// Highest sequence that is done.
    pub(super) fn acknowledged(&self) -> u64 {
        self.acked
    }

    /// Whether every row is acknowledged, or with `--loop` everything that was sent.
    pub(super) fn is_complete(&self) -> bool {
        self.acked >= self.last().unwrap_or(self.sent_max)
    }

    /// Values in the reports that the server did not have before this run and that it acknowledged.
    pub(super) fn new_reports_and_values(&self) -> (u64, u64) {
        let from = self.durable_at_start.unwrap_or(0) + 1;
        if self.acked < from {
            return (0, 0);
        }
        (self.acked + 1 - from, self.device().samples_between(from, self.acked))
    }

    fn last(&self) -> Option<u64> {
        (!self.repeat_for_ever).then(|| self.device().len())
    }

    /// Time from one pass over the file to the next, so that no pass overlaps the one before.
    fn pass_us(&self) -> i64 {
        self.table.last_us.saturating_sub(self.table.first_us).saturating_add(1_000_000)
    }

    fn shift_us(&self, sequence: u64) -> i64 {
        let pass = (sequence - 1) / self.device().len().max(1);
        self.pass_us().saturating_mul(i64::try_from(pass).unwrap_or(i64::MAX))
    }

    fn due(&self, sequence: u64) -> Option<Instant> {
        let speed = self.pace.speed?;
        let device = self.device();
        let time_us = device.time_us(device.index(sequence)).saturating_add(self.shift_us(sequence));
        let after_us = time_us.saturating_sub(self.table.first_us).max(0);
        Some(self.pace.start + Duration::from_micros(after_us as u64).div_f64(speed))
    }

    fn settle(&mut self, sequence: u64) -> u64 {
        let upto = sequence.min(self.sent_max);
        if upto <= self.acked {
            return 0;
        }
        let had = self.durable_at_start.unwrap_or(0);
        self.counts.repeats += upto.min(had).saturating_sub(self.acked);
        let settled = upto - self.acked;
        self.counts.acknowledged += settled;
        self.acked = upto;
        settled
    }
}

impl Source for ReplaySource {
    fn metric_sets(&self) -> &[MetricSet] {
        &self.sets
    }

    fn kind(&self) -> StreamKind {
        if self.backfill { StreamKind::Backlog } else { StreamKind::Live }
    }

    fn stream(&self) -> Option<u32> {
        self.stream
    }

    async fn opened(&mut self, stream: u32) -> Result<(), SimError> {
        self.state.set_stream(&self.table.devices[self.device].device, stream).await?;
        self.stream = Some(stream);
        self.durable_at_start = None;
        (self.next, self.sent_max, self.acked) = (1, 0, 0);
        self.counts = Counts::default();
        Ok(())
    }

    fn resumed(&mut self, durable: u64) -> u64 {
        match self.durable_at_start {
            None => {
                self.durable_at_start = Some(durable);
                if self.go_on {
                    (self.next, self.sent_max, self.acked) = (durable + 1, durable, durable);
                } else {
                    self.next = 1;
                }
                0
            }
            // What was sent and is durable is done, whether its acknowledgement came or not. While repeating, the server
            // has more than was sent: the repeat goes on where it was.
            Some(_) => {
                let settled = self.settle(durable);
                self.next = durable.min(self.sent_max) + 1;
                settled
            }
        }
    }

    fn next(&mut self, now: Instant) -> Next<'_> {
        let Some(stream) = self.stream else {
            return Next::Idle;
        };
        let sequence = self.next;
        if self.last().is_some_and(|last| sequence > last) {
            return if self.is_complete() { Next::Done } else { Next::Idle };
        }
        if let Some(due) = self.due(sequence)
            && due > now
        {
            return Next::At(due);
        }
        let shift_us = self.shift_us(sequence);
        let device = &self.table.devices[self.device];
        let at = device.index(sequence);
        let Some(report) = device.report(at, stream, sequence, shift_us) else {
            return Next::Idle;
        };
        self.scratch.clear();
        report.encode_payload(&mut self.scratch);
        Next::Report { payload: &self.scratch, samples: device.samples(at), backfill: self.backfill }
    }

    fn sent(&mut self) {
        if self.next > self.sent_max {
            self.counts.sent += 1;
            self.sent_max = self.next;
        } else {
            self.counts.resent += 1;
        }
        self.next += 1;
    }

    fn acked(&mut self, sequence: u64) -> u64 {
        self.settle(sequence)
    }
}
