use super::layout::{payload, unlimited};

payload! {
    /// Ends a subscription. SPEC §9.3.
    Unsubscribe = "UNSUBSCRIBE" {
        /// The viewer's number.
        subscription: u32,
    }
}

unlimited!(Unsubscribe);
