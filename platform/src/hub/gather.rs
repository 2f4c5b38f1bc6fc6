//! What one socket read brings goes to ingest as one submission.

use super::STOPPING;
use super::session::Connection;
use crate::ingest::{IncomingBlock, Reserved, Submission};
use pulsewire_proto::CloseCode;
use pulsewire_proto::codec::HEADER_BYTES;
use pulsewire_proto::session::ReportEvent;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Most bytes of read reports that are gathered before they are submitted. A single report may be larger.
const SUBMISSION_BYTES_MAX: usize = 256 << 10;
/// How long a session that has submitted reports leaves its socket alone while the server is busy, unless it is answered
/// before. What comes meanwhile is read at once: a read and an acknowledgement for several reports instead of for each.
const REST_MAX: Duration = Duration::from_millis(20);

/// Reports that are read and not submitted, in order.
#[derive(Default)]
pub(super) struct Gathered {
    blocks: Vec<IncomingBlock>,
    // What they take at most.
    bytes: usize,
}

impl Connection {
    /// Reads a report to those gathered; `more` bytes of the same read follow. True if it had to wait for ingest.
    pub(super) async fn on_report(&mut self, event: &ReportEvent<'_>, more: usize) -> bool {
        let Some(set) = self.sets.iter().position(|known| Arc::ptr_eq(&known.wire, &event.set)) else {
            // The machine only lets reports of declared sets through.
            self.session.close(CloseCode::Internal, "a declared metric set is missing");
            return false;
        };
        let bytes = self.sets[set].read_bytes(&event.report);
        let full = self.gathered.bytes + bytes > SUBMISSION_BYTES_MAX;
        if full {
            self.submit_gathered(None).await;
        }
        if bytes <= SUBMISSION_BYTES_MAX {
            self.gather(set, event, bytes, more);
            return full;
        }
        // There must be room for a large one before it is read: it may take many times the bytes that were sent.
        match self.shared.parts.ingest.reserve(bytes).await {
            Ok(reserved) => {
                self.gather(set, event, bytes, 0);
                self.submit_gathered(Some(reserved)).await;
            }
            Err(_) => self.session.close(CloseCode::GoingAway, STOPPING),
        }
        true
    }

    fn gather(&mut self, set: usize, event: &ReportEvent<'_>, bytes: usize, more: usize) {
        let declared = &self.sets[set];
        let newest = self.gathered.blocks.last().is_some_and(|block| Arc::ptr_eq(&block.set, &declared.set));
        if !newest {
            let mut block = IncomingBlock::new(declared.set.clone());
            // The first report stands for all of its read. When sets take turns, each later block has room for what it holds:
            // room for the rest of the read in each of them would be many times the read.
            let frame_bytes = event.payload.len() + HEADER_BYTES;
            let first = self.gathered.blocks.is_empty();
            let left = SUBMISSION_BYTES_MAX.saturating_sub(self.gathered.bytes) / bytes.max(1);
            let likely = if first { (1 + more / frame_bytes).min(left).max(1) } else { 1 };
            block.heads.reserve(likely);
            block.rows.reserve(likely * declared.rows_at_most(&event.report));
            self.gathered.bytes += size_of::<IncomingBlock>();
            self.gathered.blocks.push(block);
        }
        let Some(block) = self.gathered.blocks.last_mut() else { return };
        match declared.read(&event.report, event.backfill, block) {
            Ok(()) => self.gathered.bytes += bytes,
            Err(error) => self.session.close_malformed(&error),
        }
    }

    /// Submits what is gathered. Without a reservation there must be room for what it takes.
    pub(super) async fn submit_gathered(&mut self, reserved: Option<Reserved>) {
        if self.gathered.blocks.is_empty() {
            return;
        }
        let Gathered { mut blocks, .. } = std::mem::take(&mut self.gathered);
        blocks.retain(|block| !block.heads.is_empty());
        let Some(login) = self.login.as_ref().filter(|_| !blocks.is_empty()) else { return };
        let bytes = blocks.iter().map(IncomingBlock::bytes).sum();
        let submission = Submission::Reports { device: login.device.key, mailbox: self.mailbox.clone(), blocks };
        let ingest = &self.shared.parts.ingest;
        let submitted = match reserved {
            Some(reserved) => ingest.submit_reserved(submission, reserved).await,
            None => ingest.submit(submission, bytes).await,
        };
        if submitted.is_err() {
            self.session.close(CloseCode::GoingAway, STOPPING);
        } else if ingest.is_busy() {
            self.resting = Some(Instant::now() + REST_MAX);
        }
    }
}
