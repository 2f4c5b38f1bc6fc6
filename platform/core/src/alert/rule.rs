//! What a rule is, and whether it can mean anything.

use crate::device::Device;
use crate::ids::{DeviceId, GroupName, InvalidName, MetricName, RuleId, UserName};
use crate::severity::Severity;
use crate::value::ValueType;

/// Longest `for`, in µs: a day.
pub const HOLD_US_MAX: i64 = 24 * 3_600_000_000;
/// Longest name and message of a rule, in bytes.
pub const NAME_BYTES_MAX: usize = 128;
/// See [`NAME_BYTES_MAX`].
pub const MESSAGE_BYTES_MAX: usize = 512;
/// Most devices that a scope names one by one.
pub const SCOPE_DEVICES_MAX: usize = 1000;

/// How a value is compared with a threshold. Numbers are those of SPEC §9.12.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Comparison {
    /// `>`
    Above = 0,
    /// `>=`
    AtLeast = 1,
    /// `<`
    Below = 2,
    /// `<=`
    AtMost = 3,
}

impl Comparison {
    /// Every comparison, by number.
    pub const ALL: [Self; 4] = [Self::Above, Self::AtLeast, Self::Below, Self::AtMost];

    /// As people write it.
    pub fn sign(self) -> &'static str {
        match self {
            Self::Above => ">",
            Self::AtLeast => ">=",
            Self::Below => "<",
            Self::AtMost => "<=",
        }
    }

    /// The comparison written so.
    pub fn from_sign(sign: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|c| c.sign() == sign)
    }

    /// Whether the comparison holds. NaN holds nothing.
    pub fn holds(self, value: f64, threshold: f64) -> bool {
        match self {
            Self::Above => value > threshold,
            Self::AtLeast => value >= threshold,
            Self::Below => value < threshold,
            Self::AtMost => value <= threshold,
        }
    }

    fn looks_up(self) -> bool {
        matches!(self, Self::Above | Self::AtLeast)
    }
}

/// Which devices a rule looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Every device.
    All,
    /// These, by id; they need not exist yet.
    Devices(Vec<DeviceId>),
    /// Those with this tag.
    Tag {
        /// Its key.
        key: String,
        /// Its value.
        value: String,
    },
    /// Those of a group.
    Group(GroupName),
}

impl Scope {
    /// True if the rule looks at this device.
    pub fn takes(&self, device: &Device) -> bool {
        match self {
            Self::All => true,
            Self::Devices(ids) => ids.contains(&device.id),
            Self::Tag { key, value } => device.tags.get(key).is_some_and(|own| own == value),
            Self::Group(group) => device.group.as_ref() == Some(group),
        }
    }
}

/// A threshold over one metric.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// Chosen by its author, or made up.
    pub id: RuleId,
    /// For people.
    pub name: String,
    /// A rule that is not enabled looks at nothing.
    pub enabled: bool,
    /// The metric it looks at.
    pub metric: MetricName,
    /// How.
    pub comparison: Comparison,
    /// Where it fires.
    pub threshold: f64,
    /// Where it stops firing; on the quiet side of `threshold`, or the same.
    pub clear: f64,
    /// How long the comparison has to hold, in µs of the samples' own time.
    pub hold_us: i64,
    /// How bad.
    pub severity: Severity,
    /// Which devices.
    pub scope: Scope,
    /// What to do about it; may be empty.
    pub message: String,
    /// Grows with each edit; 1 at first.
    pub version: u32,
    /// µs since the Unix epoch.
    pub created_us: i64,
    /// µs since the Unix epoch.
    pub updated_us: i64,
    /// Who made it as it is.
    pub updated_by: UserName,
}

/// Why a rule cannot be.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum RuleError {
    /// A name that is none.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// A text that is too long, or has characters that do not print.
    #[error("{field} {given:?} is not valid: {allowed}")]
    Text {
        /// Which field.
        field: &'static str,
        /// What was given, cut.
        given: String,
        /// What would be accepted.
        allowed: &'static str,
    },
    /// A threshold that no value can pass, or that nothing can clear.
    #[error("{problem}")]
    Threshold {
        /// Which field.
        field: &'static str,
        /// What is wrong with it and what is allowed.
        problem: String,
    },
    /// `for` out of range.
    #[error("for is {seconds} s; 0s to 24h is allowed")]
    Hold {
        /// As given.
        seconds: i64,
    },
    /// Too many devices, or none.
    #[error("scope names {given} devices; 1 to {SCOPE_DEVICES_MAX} are allowed (use a tag, a group or all)")]
    ScopeSize {
        /// How many.
        given: usize,
    },
}

impl RuleError {
    /// The field that is to blame.
    pub fn field(&self) -> &'static str {
        match self {
            Self::Name(error) => error.field,
            Self::Text { field, .. } | Self::Threshold { field, .. } => field,
            Self::Hold { .. } => "for",
            Self::ScopeSize { .. } => "scope",
        }
    }
}

impl Rule {
    /// Checks what the types do not.
    ///
    /// # Errors
    /// [`RuleError`], which names the field and what is allowed.
    pub fn check(&self) -> Result<(), RuleError> {
        check_text("name", &self.name, 1, NAME_BYTES_MAX, "1-128 bytes without control characters")?;
        check_text("message", &self.message, 0, MESSAGE_BYTES_MAX, "at most 512 bytes without control characters")?;
        for (field, value) in [("threshold", self.threshold), ("clear", self.clear)] {
            if !value.is_finite() {
                let problem = format!("{field} is {value}; a finite number is wanted");
                return Err(RuleError::Threshold { field, problem });
            }
        }
        let (sign, wrong_side) = match self.comparison.looks_up() {
            true => ("at or below", self.clear > self.threshold),
            false => ("at or above", self.clear < self.threshold),
        };
        if wrong_side {
            let problem = format!(
                "clear is {} and threshold is {}: with {} the alert clears {sign} the threshold, or it could never stop firing",
                self.clear,
                self.threshold,
                self.comparison.sign()
            );
            return Err(RuleError::Threshold { field: "clear", problem });
        }
        if !(0..=HOLD_US_MAX).contains(&self.hold_us) {
            return Err(RuleError::Hold { seconds: self.hold_us / 1_000_000 });
        }
        match &self.scope {
            Scope::Devices(ids) if ids.is_empty() || ids.len() > SCOPE_DEVICES_MAX => {
                Err(RuleError::ScopeSize { given: ids.len() })
            }
            Scope::Tag { key, value } if key.is_empty() || value.is_empty() || key.len() + value.len() > 256 => {
                Err(RuleError::Text {
                    field: "scope.tag",
                    given: format!("{key}:{value}").chars().take(80).collect(),
                    allowed: "key:value of at most 256 bytes",
                })
            }
            _ => Ok(()),
        }
    }

    /// Checks the thresholds against the type of a series that the rule would look at.
    ///
    /// # Errors
    /// [`RuleError::Threshold`] if the rule could never fire, or never stop, on values of this type.
    pub fn check_type(&self, value_type: ValueType) -> Result<(), RuleError> {
        let impossible = |problem: String| Err(RuleError::Threshold { field: "threshold", problem });
        match value_type {
            ValueType::Text => impossible(format!("{} is a text; a threshold needs a number or a bool", self.metric)),
            ValueType::Bool => {
                let fires = |value| self.comparison.holds(value, self.threshold);
                if fires(0.0) == fires(1.0) {
                    return impossible(format!(
                        "{} is a bool, 0 or 1: {} {} is {} (try > 0.5 for true, < 0.5 for false)",
                        self.metric,
                        self.comparison.sign(),
                        self.threshold,
                        if fires(0.0) { "always so" } else { "never so" },
                    ));
                }
                Ok(())
            }
            ValueType::F64 | ValueType::F32 | ValueType::I64 => Ok(()),
        }
    }

    /// What values of a type are compared with.
    ///
    /// An f32 is stored as the f64 of the same value, which is not the f64 that a person writes: 21.7 as f32 is
    /// 21.700000762939453. So the thresholds take the same way; otherwise `> 21.7` would hold for a 21.7.
    pub fn limits(&self, value_type: ValueType) -> Limits {
        #[allow(clippy::cast_possible_truncation)] // the very point
        let as_sent = |threshold: f64| match value_type {
            ValueType::F32 => f64::from(threshold as f32),
            _ => threshold,
        };
        Limits {
            comparison: self.comparison,
            threshold: as_sent(self.threshold),
            clear: as_sent(self.clear),
            hold_us: self.hold_us,
        }
    }
}

/// A rule's thresholds for values of one type.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    comparison: Comparison,
    threshold: f64,
    clear: f64,
    /// How long it has to hold, µs.
    pub hold_us: i64,
}

impl Limits {
    /// Whether a value asks for the alert.
    pub fn holds(&self, value: f64) -> bool {
        self.comparison.holds(value, self.threshold)
    }

    /// Whether an alert that fires goes on with this value.
    pub fn goes_on(&self, value: f64) -> bool {
        self.comparison.holds(value, self.clear)
    }
}

fn check_text(
    field: &'static str,
    text: &str,
    bytes_min: usize,
    bytes_max: usize,
    allowed: &'static str,
) -> Result<(), RuleError> {
    let control = |c: char| c.is_control() && c != '\n';
    if text.trim().len() < bytes_min || text.len() > bytes_max || text.chars().any(control) {
        return Err(RuleError::Text { field, given: text.chars().take(80).collect(), allowed });
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn rule(comparison: Comparison, threshold: f64, clear: f64, hold_us: i64) -> Rule {
        Rule {
            id: RuleId::parse("r").expect("valid"),
            name: "Rule".into(),
            enabled: true,
            metric: MetricName::parse("temp").expect("valid"),
            comparison,
            threshold,
            clear,
            hold_us,
            severity: Severity::Warning,
            scope: Scope::All,
            message: String::new(),
            version: 1,
            created_us: 0,
            updated_us: 0,
            updated_by: UserName::parse("kim").expect("valid"),
        }
    }

    #[test]
    fn a_clear_threshold_on_the_wrong_side_is_refused_with_both_numbers() {
        let error = rule(Comparison::Above, 10.0, 12.0, 0).check().expect_err("could never clear");
        assert_eq!(error.field(), "clear");
        assert!(error.to_string().contains("12") && error.to_string().contains("10"), "{error}");
        assert!(rule(Comparison::Above, 10.0, 8.0, 0).check().is_ok());
        assert!(rule(Comparison::Below, 10.0, 12.0, 0).check().is_ok());
        assert!(rule(Comparison::AtMost, 10.0, 9.0, 0).check().is_err());
    }

    #[test]
    fn an_f32_is_compared_with_the_threshold_as_an_f32() {
        let sent = f64::from(21.7_f32);
        let of = |comparison| rule(comparison, 21.7, 21.7, 0).limits(ValueType::F32);
        assert!(!of(Comparison::Above).holds(sent) && !of(Comparison::Below).holds(sent));
        assert!(of(Comparison::AtLeast).holds(sent) && of(Comparison::AtMost).holds(sent));
        let low = f64::from(0.7_f32);
        assert!(rule(Comparison::AtLeast, 0.7, 0.7, 0).limits(ValueType::F32).holds(low));
        assert!(!rule(Comparison::Above, 25.0, 21.7, 0).limits(ValueType::F32).goes_on(sent));
        assert!(rule(Comparison::Above, 21.7, 21.7, 0).limits(ValueType::F64).holds(sent), "an f64 is what it is");
    }

    #[test]
    fn impossible_thresholds_are_refused() {
        for value in [f64::NAN, f64::INFINITY] {
            assert_eq!(rule(Comparison::Above, value, value, 0).check().expect_err("not finite").field(), "threshold");
        }
        assert!(rule(Comparison::Above, 1.0, 1.0, 0).check_type(ValueType::Bool).is_err());
        assert!(rule(Comparison::Above, 0.5, 0.5, 0).check_type(ValueType::Bool).is_ok());
        assert!(rule(Comparison::Above, 0.5, 0.5, 0).check_type(ValueType::Text).is_err());
        assert!(rule(Comparison::Above, 0.5, 0.5, HOLD_US_MAX + 1).check().is_err());
    }
}
