//! What sessions and imports hand to ingest.

use super::mailbox::Mailbox;
use crate::ports::StreamKind;
use pulsewire_core::block::{ReportHead, Rows, SeriesSet};
use pulsewire_core::ids::{DeviceKey, Sequence, StreamId};
use pulsewire_core::sample::{MetricDeclaration, ReportKind};
use std::sync::{Arc, OnceLock};

/// A metric set of one session, with the series its metrics turned out to be.
#[derive(Debug)]
pub struct MetricSetRef {
    /// As declared.
    pub metrics: Vec<MetricDeclaration>,
    /// Filled at the first report whose metrics are all storable, so that later ones need no look-up by name. Series
    /// numbers never change while the device exists, and its sessions end when it is deleted.
    pub(super) series: OnceLock<Arc<SeriesSet>>,
}

impl MetricSetRef {
    /// A set as a session declared it.
    pub fn new(metrics: Vec<MetricDeclaration>) -> Self {
        Self { metrics, series: OnceLock::new() }
    }
}

/// Reports under one metric set, in the order in which they came. Their layout was checked, not yet their numbers and times.
#[derive(Debug, Clone)]
pub struct IncomingBlock {
    /// The set its rows refer to.
    pub set: Arc<MetricSetRef>,
    /// The reports; their rows lie one after the other.
    pub heads: Vec<ReportHead>,
    /// All rows, with one cell per metric of the set.
    pub rows: Rows,
}

impl IncomingBlock {
    /// No reports yet.
    pub fn new(set: Arc<MetricSetRef>) -> Self {
        let rows = Rows::new(set.metrics.len());
        Self { set, heads: Vec::new(), rows }
    }

    /// Rows without a stream; see [`Submission::Import`].
    pub fn of_file(set: Arc<MetricSetRef>, rows: Rows) -> Self {
        let count = u32::try_from(rows.len()).unwrap_or(u32::MAX);
        let kind = ReportKind::Backfill;
        let head = ReportHead { stream: StreamId(0), sequence: Sequence(0), digest: 0, kind, rows: count };
        Self { set, heads: vec![head], rows }
    }

    /// Bytes of memory held.
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.heads.capacity() * size_of::<ReportHead>() + self.rows.bytes()
    }
}

impl Submission {
    /// Whose it is and where its answer goes.
    pub(super) fn sender(&self) -> (DeviceKey, &Arc<Mailbox>) {
        let (Self::Reports { device, mailbox, .. }
        | Self::Skip { device, mailbox, .. }
        | Self::OpenStream { device, mailbox, .. }
        | Self::Import { device, mailbox, .. }) = self;
        (*device, mailbox)
    }
}

/// One thing a session wants done.
#[derive(Debug)]
pub enum Submission {
    /// Store reports.
    Reports {
        /// Whose.
        device: DeviceKey,
        /// Where the answers go.
        mailbox: Arc<Mailbox>,
        /// The reports, in the order in which they came.
        blocks: Vec<IncomingBlock>,
    },
    /// Note that reports are lost. SPEC §6.7.
    Skip {
        /// Whose.
        device: DeviceKey,
        /// Where the answer goes.
        mailbox: Arc<Mailbox>,
        /// Which stream.
        stream: StreamId,
        /// First lost number.
        from: Sequence,
        /// Last lost number.
        to: Sequence,
    },
    /// Make a stream. SPEC §5.1.
    OpenStream {
        /// For whom.
        device: DeviceKey,
        /// Where the answer goes.
        mailbox: Arc<Mailbox>,
        /// The device's number for this request.
        request: u32,
        /// What for.
        kind: StreamKind,
    },
    /// Store rows of a file. They belong to no stream, so none of them is a repeat: a row that comes again takes the place of
    /// the first.
    Import {
        /// Whose.
        device: DeviceKey,
        /// Where the answer goes.
        mailbox: Arc<Mailbox>,
        /// The rows, in their order; each block is made by [`IncomingBlock::of_file`].
        blocks: Vec<IncomingBlock>,
    },
}
