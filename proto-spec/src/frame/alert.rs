use alloc::{string::String, vec::Vec};

use wincode::{SchemaRead, SchemaWrite};

use super::layout::{ensure, payload};
use crate::{DecodeError, limits};

payload! {
    /// How alerts stand. SPEC §9.12.
    Alert = "ALERT" {
        /// At most 1,000.
        alerts: Vec<AlertInfo>,
    }
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
    /// Threshold of the rule when it fired.
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
        ensure(texts_ok, Self::NAME, "alerts.text", "at most 512 bytes")
    }
}
