use wincode::{SchemaRead, SchemaWrite};

use super::layout::{payload, unlimited};

payload! {
    /// Samples in (from, to] may be missing on this socket. SPEC §9.8.
    Gap = "GAP" {
        /// The viewer's number.
        subscription: u32,
        /// Last position before the gap.
        from_position: u64,
        /// Last position of the gap.
        to_position: u64,
        /// Why.
        reason: GapReason,
    }
}

/// Why samples are missing. SPEC §9.8.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, SchemaRead, SchemaWrite)]
pub enum GapReason {
    /// Neither of the others.
    Other,
    /// The viewer did not read fast enough.
    SlowReader,
    /// The resume position is of another epoch or too old.
    ResumeRefused,
}

unlimited!(Gap);
