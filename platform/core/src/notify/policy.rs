//! When the people behind a group of alerts are told, and who they are.

use crate::ids::UserName;
use crate::role::Role;

const SECOND_US: i64 = 1_000_000;
const MINUTE_US: i64 = 60 * SECOND_US;
const HOUR_US: i64 = 60 * MINUTE_US;
const DAY_US: i64 = 24 * HOUR_US;

/// Most users that recipients name one by one.
pub const USERS_MAX: usize = 100;
/// Most steps of an escalation.
pub const STEPS_MAX: usize = 8;
/// Most messages of one step.
pub const TIMES_MAX: u8 = 5;

/// Who is told.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Recipients {
    /// Every user.
    Everyone,
    /// These.
    Users(Vec<UserName>),
    /// Everyone whose role includes this one.
    Role(Role),
}

impl Recipients {
    /// Reads `everyone`, `role:ROLE` or any number of `user:NAME`.
    ///
    /// # Errors
    /// What is wanted instead.
    pub fn parse(texts: &[String]) -> Result<Self, String> {
        let wanted = || {
            String::from("everyone, one role:admin, role:operator or role:viewer, or any number of user:NAME is wanted")
        };
        match texts {
            [one] if one == "everyone" => Ok(Self::Everyone),
            [one] if one.starts_with("role:") => {
                one.strip_prefix("role:").and_then(Role::from_name).map(Self::Role).ok_or_else(wanted)
            }
            [] => Err(wanted()),
            users => {
                let name = |text: &String| {
                    UserName::parse(text.strip_prefix("user:").ok_or_else(wanted)?).map_err(|e| e.to_string())
                };
                users.iter().map(name).collect::<Result<Vec<_>, _>>().map(Self::Users)
            }
        }
    }

    /// As [`Recipients::parse`] reads it.
    pub fn texts(&self) -> Vec<String> {
        match self {
            Self::Everyone => vec!["everyone".into()],
            Self::Role(role) => vec![format!("role:{}", role.name())],
            Self::Users(users) => users.iter().map(|user| format!("user:{user}")).collect(),
        }
    }
}

/// Who else is told if nobody takes care.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EscalationStep {
    /// How long after the message that told of the alert, in µs; 1 s to 7 d, and after the last message of the step before.
    pub after_us: i64,
    /// Who.
    pub to: Recipients,
    /// How many messages, 1 to 5.
    pub times: u8,
    /// How long between them, in µs; 1 min to 24 h. Without a meaning if `times` is 1.
    pub every_us: i64,
}

/// How a group tells. Times are in µs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupPolicy {
    /// How long a change waits for others to be told with it, 0 to 1 h; 10 s by default. Alertmanager waits 30 s, for its peers.
    pub wait_us: i64,
    /// Least time between two messages of a group, 1 s to 24 h; 60 s by default. A rise in level waits for `wait_us` only.
    pub interval_us: i64,
    /// What still fires is told again so long after the last message, 1 min to 30 d and not less than `interval_us`; 4 h by default.
    pub repeat_us: i64,
    /// Whether ends are told. True by default.
    pub send_resolved: bool,
    /// Whether the end of an alert that was told is told although it is silenced, inhibited or acknowledged by then. True by
    /// default: otherwise the phone shows it as firing for ever.
    pub resolved_when_quiet: bool,
    /// Whether it is told that a firing alert's data stopped to arrive. False by default.
    pub tell_stale: bool,
    /// How long an acknowledgement holds if the alert does not end, 1 min to 30 d; for ever by default.
    pub ack_timeout_us: Option<i64>,
    /// Who is told.
    pub to: Recipients,
    /// Who else is told if nobody takes care; in order of time.
    pub escalation: Vec<EscalationStep>,
}

impl Default for GroupPolicy {
    fn default() -> Self {
        Self {
            wait_us: 10 * SECOND_US,
            interval_us: MINUTE_US,
            repeat_us: 4 * HOUR_US,
            send_resolved: true,
            resolved_when_quiet: true,
            tell_stale: false,
            ack_timeout_us: None,
            to: Recipients::Everyone,
            escalation: Vec::new(),
        }
    }
}

/// Why a policy cannot be. The message names the field, what was given and what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// A time out of range.
    #[error("{field} is {given_us} µs; {allowed} is allowed")]
    Time {
        /// Which field.
        field: String,
        /// As given.
        given_us: i64,
        /// The range.
        allowed: &'static str,
    },
    /// A number out of range.
    #[error("{field} is {given}; {allowed} is allowed")]
    Count {
        /// Which field.
        field: String,
        /// As given.
        given: usize,
        /// The range.
        allowed: &'static str,
    },
}

impl PolicyError {
    /// The field that is to blame.
    pub fn field(&self) -> &str {
        match self {
            Self::Time { field, .. } | Self::Count { field, .. } => field,
        }
    }
}

fn within(
    field: impl Into<String>,
    given_us: i64,
    min: i64,
    max: i64,
    allowed: &'static str,
) -> Result<(), PolicyError> {
    if (min..=max).contains(&given_us) {
        Ok(())
    } else {
        Err(PolicyError::Time { field: field.into(), given_us, allowed })
    }
}

impl Recipients {
    fn check(&self, field: &str) -> Result<(), PolicyError> {
        match self {
            Self::Users(users) if users.is_empty() || users.len() > USERS_MAX => Err(PolicyError::Count {
                field: format!("{field}.users"),
                given: users.len(),
                allowed: "1 to 100 users",
            }),
            _ => Ok(()),
        }
    }
}

impl GroupPolicy {
    /// Checks what the types do not.
    ///
    /// # Errors
    /// [`PolicyError`], for the first field that is out of range.
    pub fn check(&self) -> Result<(), PolicyError> {
        within("wait", self.wait_us, 0, HOUR_US, "0 s to 1 h")?;
        within("interval", self.interval_us, SECOND_US, DAY_US, "1 s to 24 h")?;
        within("repeat", self.repeat_us, MINUTE_US, 30 * DAY_US, "1 min to 30 d")?;
        within("repeat", self.repeat_us, self.interval_us, i64::MAX, "interval or more")?;
        if let Some(timeout_us) = self.ack_timeout_us {
            within("ack_timeout", timeout_us, MINUTE_US, 30 * DAY_US, "1 min to 30 d")?;
        }
        self.to.check("to")?;
        if self.escalation.len() > STEPS_MAX {
            let given = self.escalation.len();
            return Err(PolicyError::Count { field: "escalation".into(), given, allowed: "at most 8 steps" });
        }
        let mut over_us = 0;
        for (i, step) in self.escalation.iter().enumerate() {
            let field = |name| format!("escalation[{i}].{name}");
            within(field("after"), step.after_us, SECOND_US, 7 * DAY_US, "1 s to 7 d")?;
            if !(1..=TIMES_MAX).contains(&step.times) {
                let given = usize::from(step.times);
                return Err(PolicyError::Count { field: field("times"), given, allowed: "1 to 5" });
            }
            if step.times > 1 {
                within(field("every"), step.every_us, MINUTE_US, DAY_US, "1 min to 24 h")?;
            }
            within(
                field("after"),
                step.after_us,
                over_us + 1,
                i64::MAX,
                "later than the last message of the step before",
            )?;
            over_us = step.offset_us(step.times - 1);
            step.to.check(&field("to"))?;
        }
        Ok(())
    }

    /// The escalation's message number `n`, counted from 0: how long after the alert was told, and which step it belongs to.
    pub(super) fn escalation_message(&self, n: u8) -> Option<(i64, &EscalationStep)> {
        let mut left = n;
        for step in &self.escalation {
            if left < step.times {
                return Some((step.offset_us(left), step));
            }
            left -= step.times;
        }
        None
    }
}

impl EscalationStep {
    fn offset_us(&self, time: u8) -> i64 {
        self.after_us.saturating_add(self.every_us.saturating_mul(i64::from(time)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(after_us: i64, times: u8, every_us: i64) -> EscalationStep {
        EscalationStep { after_us, to: Recipients::Role(Role::Admin), times, every_us }
    }

    fn error(change: impl FnOnce(&mut GroupPolicy)) -> String {
        let mut policy = GroupPolicy::default();
        change(&mut policy);
        policy.check().expect_err("refused").to_string()
    }

    #[test]
    fn errors_name_the_field_the_value_and_the_range() {
        assert_eq!(GroupPolicy::default().check(), Ok(()));
        assert_eq!(error(|p| p.wait_us = -1), "wait is -1 µs; 0 s to 1 h is allowed");
        assert!(error(|p| p.interval_us = 0).contains("interval"));
        assert!(error(|p| p.repeat_us = 1).contains("1 min to 30 d"));
        assert!(error(|p| (p.interval_us, p.repeat_us) = (HOUR_US, MINUTE_US)).contains("interval or more"));
        assert!(error(|p| p.ack_timeout_us = Some(0)).contains("ack_timeout"));
        assert!(error(|p| p.to = Recipients::Users(Vec::new())).contains("to.users is 0"));
        assert!(error(|p| p.escalation = vec![step(HOUR_US, 0, 0)]).contains("escalation[0].times is 0; 1 to 5"));
        assert!(error(|p| p.escalation = vec![step(HOUR_US, 6, HOUR_US)]).contains("times is 6"));
        assert!(error(|p| p.escalation = vec![step(HOUR_US, 2, 0)]).contains("escalation[0].every"));
        let overlap = vec![step(HOUR_US, 3, HOUR_US), step(3 * HOUR_US, 1, 0)];
        assert!(error(|p| p.escalation = overlap).contains("escalation[1].after"));
        assert!(error(|p| p.escalation = vec![step(HOUR_US, 1, 0); 9]).contains("at most 8"));
    }

    #[test]
    fn the_messages_of_an_escalation_are_counted_through_all_steps() {
        let escalation = vec![step(HOUR_US, 2, MINUTE_US), step(2 * HOUR_US, 1, 0)];
        let policy = GroupPolicy { escalation, ..GroupPolicy::default() };
        let at = |n| policy.escalation_message(n).map(|(offset_us, _)| offset_us);
        assert_eq!([0, 1, 2, 3].map(at), [Some(HOUR_US), Some(HOUR_US + MINUTE_US), Some(2 * HOUR_US), None]);
    }
}
