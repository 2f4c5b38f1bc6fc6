use wincode::{SchemaRead, SchemaWrite};

use super::layout::{payload, unlimited};

payload! {
    /// A device asks for a new stream. SPEC §5.1.
    StreamOpen = "STREAM_OPEN" {
        /// Chosen by the device, repeated in STREAM_ID.
        request: u32,
        /// What the stream is for.
        kind: StreamKind,
    }
}

/// What a stream carries. SPEC §5.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, SchemaRead, SchemaWrite)]
pub enum StreamKind {
    /// Reports as they are made.
    Live,
    /// Reports made earlier.
    Backlog,
}

unlimited!(StreamOpen);
