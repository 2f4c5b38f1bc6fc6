use super::layout::{payload, unlimited};

payload! {
    /// Silence means "nothing new". SPEC §9.9.
    Heartbeat = "HEARTBEAT" {
        /// The sender's clock, µs since 1970.
        time_us: i64,
        /// The server's position; 0 from a viewer.
        position: u64,
    } appended {
        /// From a viewer: a person can see the page now. From the server false.
        visible: bool = false,
    }
}

unlimited!(Heartbeat);
