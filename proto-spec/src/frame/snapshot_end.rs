use super::layout::{payload, unlimited};

payload! {
    /// History is complete up to `position`. SPEC §9.10.
    SnapshotEnd = "SNAPSHOT_END" {
        /// The viewer's number.
        subscription: u32,
        /// Up to where.
        position: u64,
        /// How many series are defined.
        series: u32,
    }
}

unlimited!(SnapshotEnd);
