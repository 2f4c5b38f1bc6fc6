use super::layout::{payload, unlimited};

payload! {
    /// ALERT or COMMAND_STATE changes may be missing on this socket. SPEC §9.14.
    EventsLost = "EVENTS_LOST" {
        /// How many; 0 = unknown.
        count: u64,
    }
}

unlimited!(EventsLost);
