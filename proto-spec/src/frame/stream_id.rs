use super::layout::{ensure, payload};
use crate::DecodeError;

payload! {
    /// The server issues a stream id, durably. SPEC §5.2.
    StreamId = "STREAM_ID" {
        /// The request of STREAM_OPEN.
        request: u32,
        /// From 1; unique per device for ever.
        stream: u32,
    }
}

impl StreamId {
    /// Checks that the id is not 0.
    pub fn validate(&self) -> Result<(), DecodeError> {
        ensure(self.stream > 0, Self::NAME, "stream", "stream ids start at 1")
    }
}
