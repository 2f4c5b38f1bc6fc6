use super::layout::{payload, unlimited};

payload! {
    /// A viewer goes on in the lossless lane where it was. SPEC §9.15.
    EventsResume = "EVENTS_RESUME" {
        /// `events_epoch` of the LIVE_WELCOME under which it was received.
        epoch: u64,
        /// Last position of the lane that was received.
        position: u64,
    }
}

unlimited!(EventsResume);
