use super::layout::{payload, unlimited};

payload! {
    /// First frame of the server on the live socket. SPEC §9.1.
    LiveWelcome = "LIVE_WELCOME" {
        /// Changes when positions start anew.
        epoch: u64,
        /// Position of the last committed group of reports.
        position: u64,
        /// The server's clock, µs since 1970.
        server_time_us: i64,
        /// §9.9.
        heartbeat_interval_ms: u32,
        /// Most subscriptions on this socket.
        subscriptions_max: u32,
        /// Shortest time between batches.
        interval_ms_min: u32,
    } appended {
        /// Changes when the positions of the lossless lane start anew. SPEC §9.14.
        events_epoch: u64 = 0,
        /// The newest position of the lane: what comes after it is sent.
        events_position: u64 = 0,
    }
}

unlimited!(LiveWelcome);
