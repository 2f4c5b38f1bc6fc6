//! What sessions hand to ingest.

use super::mailbox::Mailbox;
use crate::ports::StreamKind;
use pulsewire_core::ids::{DeviceKey, Sequence, SeriesKey, StreamId};
use pulsewire_core::sample::{MetricDeclaration, ReportKind, Row};
use std::sync::{Arc, OnceLock};

/// A metric set of one session, with the series its metrics turned out to be.
#[derive(Debug)]
pub struct MetricSetRef {
    /// As declared.
    pub metrics: Vec<MetricDeclaration>,
    /// Filled at the first report whose metrics are all storable, so that later ones need no look-up by name. Series
    /// numbers never change while the device exists, and its sessions end when it is deleted.
    pub(super) series: OnceLock<Vec<SeriesKey>>,
}

impl MetricSetRef {
    /// A set as a session declared it.
    pub fn new(metrics: Vec<MetricDeclaration>) -> Self {
        Self { metrics, series: OnceLock::new() }
    }
}

/// A report whose layout was checked, not yet its number, times and types.
#[derive(Debug, Clone)]
pub struct IncomingReport {
    /// Stream it belongs to.
    pub stream: StreamId,
    /// Its number there.
    pub sequence: Sequence,
    /// Live or backfill.
    pub kind: ReportKind,
    /// Digest of its content, independent of the session's numbering of metric sets. SPEC §5.3.
    pub digest: u64,
    /// The set its rows refer to.
    pub set: Arc<MetricSetRef>,
    /// Its rows.
    pub rows: Vec<Row>,
}

impl Submission {
    /// Whose it is and where its answer goes.
    pub(super) fn sender(&self) -> (DeviceKey, &Arc<Mailbox>) {
        let (Self::Report { device, mailbox, .. }
        | Self::Skip { device, mailbox, .. }
        | Self::OpenStream { device, mailbox, .. }) = self;
        (*device, mailbox)
    }
}

/// One thing a session wants done.
#[derive(Debug)]
pub enum Submission {
    /// Store a report.
    Report {
        /// Whose.
        device: DeviceKey,
        /// Where the answer goes.
        mailbox: Arc<Mailbox>,
        /// The report.
        report: IncomingReport,
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
}
