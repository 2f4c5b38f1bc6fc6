use alloc::{string::String, vec::Vec};

use wincode::{SchemaRead, SchemaWrite};

use super::layout::{ensure, payload};
use crate::{DecodeError, limits};

/// [`NackItem::metric`] of a row that was rejected as a whole.
pub const WHOLE_ROW: u32 = u32::MAX;

payload! {
    /// What of a report was rejected; comes before the ACK that covers it. SPEC §6.6.
    Nack = "NACK" {
        /// Stream id.
        stream: u32,
        /// The report.
        sequence: u64,
        /// The first 64 rejections.
        items: Vec<NackItem>,
        /// Rejected values in all.
        total: u32,
        /// For a human, at most 512 bytes.
        text: String,
    }
}

/// One rejection. SPEC §6.6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, SchemaRead, SchemaWrite)]
pub struct NackItem {
    /// Row in the report, from 0.
    pub row: u32,
    /// Index in the metric set, or [`WHOLE_ROW`].
    pub metric: u32,
    /// Why.
    pub reason: NackReason,
}

/// Why a value was rejected. SPEC §6.6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, SchemaRead, SchemaWrite)]
pub enum NackReason {
    /// See the text.
    Other,
    /// The row's time is too far ahead of the server's clock.
    TimeInFuture,
    /// The metric was first stored under another class.
    TypeMismatch,
    /// The row's time is before 1970.
    TimeOutOfRange,
}

impl Nack {
    /// Checks the number of items and the length of the text.
    pub fn validate(&self) -> Result<(), DecodeError> {
        ensure(self.items.len() <= limits::NACK_ITEMS, Self::NAME, "items", "at most 64 items")?;
        ensure(self.text.len() <= limits::REASON_BYTES, Self::NAME, "text", "at most 512 bytes")
    }
}
