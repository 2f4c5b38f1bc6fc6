use super::layout::{payload, unlimited};

payload! {
    /// Asks for a sign of life. SPEC §4.5.
    Ping = "PING" {
        /// Repeated in the answer.
        token: u64,
    }
}

payload! {
    /// Answers a PING. SPEC §4.5.
    Pong = "PONG" {
        /// The token of the PING.
        token: u64,
    }
}

unlimited!(Ping);
unlimited!(Pong);
