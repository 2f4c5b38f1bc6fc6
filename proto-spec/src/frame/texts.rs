use alloc::{string::String, vec::Vec};

use wincode::{SchemaRead, SchemaWrite};

use super::layout::{ensure, payload};
use crate::{DecodeError, limits};

payload! {
    /// Samples of text metrics. SPEC §9.6.
    Texts = "TEXTS" {
        /// The viewer's number.
        subscription: u32,
        /// As in BATCH.
        position: u64,
        /// As in BATCH.
        previous: u64,
        /// As in BATCH.
        history: bool,
        /// At most 10,000.
        items: Vec<TextSample>,
    }
}

/// One sample. SPEC §9.6.
#[derive(Debug, Clone, PartialEq, Eq, SchemaRead, SchemaWrite)]
pub struct TextSample {
    /// Series index.
    pub series: u32,
    /// µs since 1970.
    pub time_us: i64,
    /// At most 4,096 bytes.
    pub text: String,
}

impl Texts {
    /// Checks the number of items and the length of each text.
    pub fn validate(&self) -> Result<(), DecodeError> {
        ensure(self.items.len() <= limits::LIVE_LIST, Self::NAME, "items", "at most 10,000 items")?;
        let lengths_ok = self.items.iter().all(|item| item.text.len() <= limits::TEXT_VALUE_BYTES);
        ensure(lengths_ok, Self::NAME, "items.text", "at most 4,096 bytes")
    }
}
