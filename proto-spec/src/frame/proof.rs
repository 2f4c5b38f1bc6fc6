use super::layout::{payload, unlimited};

payload! {
    /// The device proves that it knows its secret. SPEC §4.3; computed in [`crate::auth`].
    Proof = "PROOF" {
        /// ClientKey XOR HMAC(StoredKey, T).
        proof: [u8; 32],
    }
}

unlimited!(Proof);
