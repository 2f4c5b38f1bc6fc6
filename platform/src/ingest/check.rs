//! From what came to what is stored: whole blocks as they are, or cell by cell where something is wrong.

use super::mailbox::{IngestReply, Rejected};
use super::report::IncomingBlock;
use pulsewire_core::accounting::Accounting;
use pulsewire_core::block::{Block, SeriesSet};
use pulsewire_core::ids::{DeviceKey, Sequence, SeriesKey, StreamId};
use pulsewire_core::sample::{MetricDeclaration, RejectReason, ReportKind, check_time};
use std::sync::Arc;

/// Most rejections listed in one NACK. SPEC §6.6.
const NACK_ITEMS_MAX: usize = 64;

/// Which series the metrics of a set are.
pub(super) enum SeriesOf {
    /// Every metric has one.
    All(Arc<SeriesSet>),
    /// By metric; values of the others are rejected.
    Part(Vec<Result<SeriesKey, RejectReason>>),
}

/// Which times may be stored.
#[derive(Clone, Copy)]
pub(super) struct Times {
    pub now_us: i64,
    pub ahead_max_us: i64,
}

/// What a look at a block's times says.
pub(super) struct Seen {
    /// Values older than the newest of their device.
    pub late: u64,
    /// Time of the newest live row of the device after it.
    pub newest_us: i64,
}

/// Looks whether every row of a block has a value and a time that may be stored: then the block is stored as it is. `newest_us`
/// is the time of the device's newest live row before it.
pub(super) fn all_storable(block: &IncomingBlock, times: Times, mut newest_us: i64) -> Option<Seen> {
    let (rows, dense) = (&block.rows, block.rows.is_dense());
    let (mut late, mut row) = (0, 0);
    for head in &block.heads {
        let end = row + head.rows as usize;
        for (index, time_us) in (row..end).zip(rows.times().get(row..end)?) {
            check_time(*time_us, times.now_us, times.ahead_max_us).ok()?;
            let values = if dense { rows.width() as u64 } else { rows.count_in(index..index + 1) };
            if values == 0 {
                return None;
            }
            if head.kind == ReportKind::Live {
                if *time_us < newest_us {
                    late += values;
                } else {
                    newest_us = *time_us;
                }
            }
        }
        row = end;
    }
    (row == rows.len()).then_some(Seen { late, newest_us })
}

/// What is stored of a block, and what the device is told of the rest.
pub(super) struct Checked {
    pub block: Block,
    pub nacks: Vec<IngestReply>,
    pub account: Accounting,
    pub newest_us: i64,
}

/// Takes the reports of a block that are `fresh`, and of these the values that can be stored.
pub(super) fn pick(
    device: DeviceKey,
    block: &IncomingBlock,
    fresh: &[bool],
    series: &SeriesOf,
    times: Times,
    newest_us: i64,
) -> Checked {
    let columns = Columns::new(device, &block.set.metrics, series);
    let rows = block.rows.len();
    let mut checked = Checked {
        block: Block::new(columns.set.clone()),
        nacks: Vec::new(),
        account: Accounting::default(),
        newest_us,
    };
    let mut row = 0;
    for (head, fresh) in block.heads.iter().zip(fresh) {
        let (first, end) = (row, (row + head.rows as usize).min(rows));
        row = end;
        if !fresh {
            continue;
        }
        let before = checked.block.rows.len();
        let mut rejections = Rejections::default();
        for row in first..end {
            let late_before = checked.newest_us;
            let stored = columns.take_row(block, row, row - first, times, &mut checked.block, &mut rejections);
            if stored > 0 && head.kind == ReportKind::Live {
                let time_us = block.rows.times()[row];
                if time_us < late_before {
                    checked.account.late += stored;
                } else {
                    checked.newest_us = time_us;
                }
            }
        }
        let received = block.rows.count_in(first..end);
        let account = &mut checked.account;
        account.reports += 1;
        account.received += received;
        account.stored += received - rejections.by_reason.iter().sum::<u64>();
        account.rejected.iter_mut().zip(rejections.by_reason).for_each(|(sum, n)| *sum += n);
        // A report has as many rows as its head said, or fewer.
        let rows = u32::try_from(checked.block.rows.len() - before).unwrap_or(head.rows);
        checked.block.reports.push(pulsewire_core::block::ReportHead { rows, ..*head });
        checked.nacks.extend(rejections.into_nack(head.stream, head.sequence));
    }
    checked
}

/// The columns of a block that are stored.
struct Columns<'a> {
    set: Arc<SeriesSet>,
    metrics: &'a [MetricDeclaration],
    // By index in the metric set.
    reasons: Vec<Option<RejectReason>>,
}

impl<'a> Columns<'a> {
    fn new(device: DeviceKey, metrics: &'a [MetricDeclaration], series: &SeriesOf) -> Self {
        let part = match series {
            SeriesOf::All(set) => return Self { set: set.clone(), metrics, reasons: vec![None; metrics.len()] },
            SeriesOf::Part(part) => part,
        };
        let mut set = SeriesSet { device, series: Vec::new(), types: Vec::new() };
        for (metric, series) in metrics.iter().zip(part) {
            if let Ok(series) = series {
                set.series.push(*series);
                set.types.push(metric.value_type);
            }
        }
        let reasons = part.iter().map(|one| one.as_ref().err().copied()).collect();
        Self { set: Arc::new(set), metrics, reasons }
    }

    /// Appends what can be stored of a row; answers how many values that is.
    fn take_row(
        &self,
        from: &IncomingBlock,
        row: usize,
        index: usize,
        times: Times,
        to: &mut Block,
        rejections: &mut Rejections,
    ) -> u64 {
        let values = from.rows.count_in(row..row + 1);
        let (time_us, index) = (from.rows.times()[row], u32::try_from(index).unwrap_or(u32::MAX));
        if values == 0 {
            return 0;
        }
        if let Err(reason) = check_time(time_us, times.now_us, times.ahead_max_us) {
            rejections.add(Rejected { row: index, metric: None, reason }, values);
            return 0;
        }
        let (before, mut stored) = (to.rows.len(), 0);
        to.rows.begin_row(time_us);
        for (column, (metric, reason)) in self.metrics.iter().zip(&self.reasons).enumerate() {
            let value = from.rows.value(row, column, metric.value_type);
            match (reason, value) {
                (None, value) => {
                    stored += u64::from(value.is_some());
                    to.rows.push_value(value);
                }
                (Some(reason), Some(_)) => {
                    let metric = u32::try_from(column).ok();
                    rejections.add(Rejected { row: index, metric, reason: *reason }, 1);
                }
                (Some(_), None) => {}
            }
        }
        if stored == 0 {
            to.rows.truncate(before);
        }
        stored
    }
}

#[derive(Default)]
struct Rejections {
    items: Vec<Rejected>,
    by_reason: [u64; RejectReason::ALL.len()],
}

impl Rejections {
    fn add(&mut self, one: Rejected, values: u64) {
        self.by_reason[one.reason as usize] += values;
        if self.items.len() < NACK_ITEMS_MAX {
            self.items.push(one);
        }
    }

    fn into_nack(self, stream: StreamId, sequence: Sequence) -> Option<IngestReply> {
        let total = self.by_reason.iter().sum::<u64>();
        let total = u32::try_from(total).unwrap_or(u32::MAX);
        (total > 0).then_some(IngestReply::Nack { stream, sequence, items: self.items, total })
    }
}
