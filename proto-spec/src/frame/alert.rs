use alloc::{string::String, vec::Vec};

use wincode::{SchemaRead, SchemaWrite};

use super::layout::{ensure, payload};
use crate::{DecodeError, limits};

payload! {
    /// How alerts stand. SPEC §9.12.
    Alert = "ALERT" {
        /// At most 1,000.
        alerts: Vec<AlertInfo>,
    } appended {
        /// More about each of `alerts`, in their order; empty from a server that does not know of it.
        details: Vec<AlertDetail> = Vec::new(),
        /// Position of this change in the lossless lane; 0 = not part of it. SPEC §9.14.
        position: u64 = 0,
        /// Position of the frame of the lane before.
        previous: u64 = 0,
    }
}

/// More about an alert. SPEC §9.12.
#[derive(Debug, Clone, PartialEq, Eq, SchemaRead, SchemaWrite)]
pub struct AlertDetail {
    /// What it is about.
    pub kind: AlertKind,
    /// See the constants.
    pub flags: u16,
    /// How many alerts or devices it stands for.
    pub members: u32,
    /// The expression that holds, at most 512 bytes.
    pub condition: String,
    /// Who takes care.
    pub assigned: Option<String>,
}

impl AlertDetail {
    /// Its device is silent.
    pub const STALE: u16 = 1;
    /// It comes and goes.
    pub const FLAPPING: u16 = 2;
    /// Its condition is over, and it is kept for a while.
    pub const RECOVERING: u16 = 4;
    /// People are not told of it now.
    pub const SILENCED: u16 = 8;
    /// Another alert stands for it.
    pub const CHILD: u16 = 16;
}

/// What an alert is about. SPEC §9.12.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, SchemaRead, SchemaWrite)]
pub enum AlertKind {
    /// A rule's condition on a device.
    Condition,
    /// A device that went silent.
    NoData,
    /// A group of devices that went silent at once.
    Group,
    /// Alerts of a rule that are more than there may be.
    Overflow,
}

/// One alert. SPEC §9.12.
#[derive(Debug, Clone, PartialEq, SchemaRead, SchemaWrite)]
pub struct AlertInfo {
    /// A ULID's 128 bits, most significant byte first.
    pub id: [u8; 16],
    /// Grows with each change of this alert.
    pub revision: u64,
    /// Id of the rule.
    pub rule: String,
    /// Name of the rule.
    pub rule_name: String,
    /// Device id.
    pub device: String,
    /// Metric name.
    pub metric: String,
    /// How bad it is.
    pub severity: AlertSeverity,
    /// Whether it still is.
    pub state: AlertState,
    /// Event time of the sample that began it, µs since 1970.
    pub started_us: i64,
    /// Event time at which it began to fire.
    pub fired_us: i64,
    /// Event time of its end.
    pub resolved_us: Option<i64>,
    /// Who has taken note.
    pub acknowledged: Option<Acknowledgement>,
    /// Value at the last transition.
    pub value: f64,
    /// How value and threshold are compared.
    pub comparison: AlertComparison,
    /// Threshold of the rule when it fired; NaN if its condition is not one threshold.
    pub threshold: f64,
    /// For a human, at most 512 bytes.
    pub text: String,
}

/// Who has taken note of an alert, and when. SPEC §9.12.
#[derive(Debug, Clone, PartialEq, Eq, SchemaRead, SchemaWrite)]
pub struct Acknowledgement {
    /// User name.
    pub user: String,
    /// µs since 1970.
    pub time_us: i64,
}

/// How bad an alert is. SPEC §9.12.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, SchemaRead, SchemaWrite)]
pub enum AlertSeverity {
    /// Good to know.
    Info,
    /// To be looked at.
    Warning,
    /// To be looked at now.
    Critical,
}

/// Whether an alert still is one. SPEC §9.12.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, SchemaRead, SchemaWrite)]
pub enum AlertState {
    /// It is.
    Firing,
    /// It was.
    Resolved,
}

/// How a value and a threshold are compared. SPEC §9.12.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, SchemaRead, SchemaWrite)]
pub enum AlertComparison {
    /// `>`
    Above,
    /// `>=`
    AtLeast,
    /// `<`
    Below,
    /// `<=`
    AtMost,
}

impl AlertComparison {
    /// The sign in SPEC §9.12, also used by the HTTP API.
    pub const fn sign(self) -> &'static str {
        match self {
            AlertComparison::Above => ">",
            AlertComparison::AtLeast => ">=",
            AlertComparison::Below => "<",
            AlertComparison::AtMost => "<=",
        }
    }
}

impl Alert {
    /// Checks the number of alerts and the length of each text.
    pub fn validate(&self) -> Result<(), DecodeError> {
        ensure(self.alerts.len() <= limits::EVENT_LIST, Self::NAME, "alerts", "at most 1,000 alerts")?;
        let texts_ok = self.alerts.iter().all(|alert| alert.text.len() <= limits::REASON_BYTES);
        ensure(texts_ok, Self::NAME, "alerts.text", "at most 512 bytes")?;
        let count_ok = self.details.is_empty() || self.details.len() == self.alerts.len();
        ensure(count_ok, Self::NAME, "details", "as many as alerts, or none")?;
        let conditions_ok = self.details.iter().all(|detail| detail.condition.len() <= limits::REASON_BYTES);
        ensure(conditions_ok, Self::NAME, "details.condition", "at most 512 bytes")
    }
}
