use super::layout::{payload, unlimited};

payload! {
    /// Every report of the stream up to and including `sequence` is done. SPEC §6.5.
    Ack = "ACK" {
        /// Stream id.
        stream: u32,
        /// Highest sequence that is stored, rejected or skipped, with all before it.
        sequence: u64,
    }
}

unlimited!(Ack);
