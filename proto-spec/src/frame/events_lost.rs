use super::layout::{payload, unlimited};

payload! {
    /// ALERT, COMMAND_STATE or PRESENCE changes may be missing on this socket. SPEC §9.14.
    EventsLost = "EVENTS_LOST" {
        /// How many; 0 = unknown.
        count: u64,
    } appended {
        /// Position of this change in the lossless lane; 0 = not part of it. SPEC §9.14.
        position: u64 = 0,
        /// Position of the frame of the lane before.
        previous: u64 = 0,
    }
}

unlimited!(EventsLost);
