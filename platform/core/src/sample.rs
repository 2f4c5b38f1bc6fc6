//! Reports as they pass from the hub through ingest into the journal.

use crate::block::Block;
use crate::ids::{DeviceKey, MetricName, Position, SeriesKey};
use crate::value::{Value, ValueType};

/// Live data, or data that was late on purpose: stored, never alarmed, not shown as live. SPEC §6.4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReportKind {
    /// TELEMETRY.
    Live,
    /// BACKFILL.
    Backfill,
}

/// One metric as a device declared it for a session. SPEC §6.1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricDeclaration {
    /// Name, unique in its set.
    pub name: MetricName,
    /// Unit as shown to people; may be empty.
    pub unit: String,
    /// Declared type.
    pub value_type: ValueType,
}

/// One metric of one device, with the number the store knows it by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Series {
    /// The store's number.
    pub key: SeriesKey,
    /// The device it belongs to.
    pub device: DeviceKey,
    /// Metric name.
    pub metric: MetricName,
    /// Unit as last declared.
    pub unit: String,
    /// Type as last declared; its class never changes.
    pub value_type: ValueType,
}

/// A committed journal record.
#[derive(Debug, Clone, PartialEq)]
pub struct JournalRecord {
    /// Where it stands.
    pub position: Position,
    /// When the server took it, microseconds since the Unix epoch.
    pub received_us: i64,
    /// Its reports in the order they were accepted.
    pub blocks: Vec<Block>,
}

/// One value at one time.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Microseconds since the Unix epoch.
    pub time_us: i64,
    /// The reading.
    pub value: Value,
}

/// Why a value was not stored. Numbers are those of NACK, SPEC §6.6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RejectReason {
    /// The server has no room for another series.
    Other = 0,
    /// The row's time is further ahead of the server's clock than allowed.
    TimeInFuture = 1,
    /// The metric is stored with another class of type.
    TypeMismatch = 2,
    /// The row's time is before 1970.
    TimeOutOfRange = 3,
}

impl RejectReason {
    /// Every reason, by number.
    pub const ALL: [Self; 4] = [Self::Other, Self::TimeInFuture, Self::TypeMismatch, Self::TimeOutOfRange];

    /// The label used in metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Other => "no_room_for_series",
            Self::TimeInFuture => "time_in_future",
            Self::TypeMismatch => "type_mismatch",
            Self::TimeOutOfRange => "time_out_of_range",
        }
    }
}

/// Decides whether a row's time can be stored.
///
/// A clock far ahead would put samples where no query looks until that time comes, and would win over every later sample
/// as "latest"; hence the bound, `ahead_max_us` (default 24 h, so that a wrong time zone is not a loss).
pub fn check_time(time_us: i64, now_us: i64, ahead_max_us: i64) -> Result<(), RejectReason> {
    if time_us < 0 {
        Err(RejectReason::TimeOutOfRange)
    } else if time_us > now_us.saturating_add(ahead_max_us) {
        Err(RejectReason::TimeInFuture)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_may_be_ahead_by_exactly_the_allowed_time() {
        assert_eq!(check_time(100, 90, 10), Ok(()));
        assert_eq!(check_time(101, 90, 10), Err(RejectReason::TimeInFuture));
        assert_eq!(check_time(-1, 90, 10), Err(RejectReason::TimeOutOfRange));
        assert_eq!(check_time(i64::MAX, i64::MAX - 1, 10), Ok(()));
    }
}
