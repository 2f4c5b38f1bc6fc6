use super::layout::{payload, unlimited};

payload! {
    /// The device has the command and will answer with RESULT. SPEC §7.4.
    Delivered = "DELIVERED" {
        /// Command id.
        id: [u8; 16],
    }
}

unlimited!(Delivered);
