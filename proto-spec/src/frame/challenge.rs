use super::layout::{payload, unlimited};

payload! {
    /// The server's half of the login's randomness. SPEC §4.2.
    Challenge = "CHALLENGE" {
        /// Fresh random bytes of the server.
        nonce: [u8; 32],
        /// The server's clock, µs since 1970.
        server_time_us: i64,
        /// Protocol version chosen.
        version: u8,
    }
}

unlimited!(Challenge);
