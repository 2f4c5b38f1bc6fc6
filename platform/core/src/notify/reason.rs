//! What a group decided, and why; and why it did not.

use super::policy::Recipients;
use crate::ids::AlertId;

/// Why a message goes out. If several apply, the first of this list is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// The group's first alert, or its first after all others had ended.
    First,
    /// An alert is worse than it was told.
    LevelUp,
    /// More alerts fire.
    NewAlerts,
    /// The last alert ended.
    AllResolved,
    /// An alert ended, others fire.
    SomeResolved,
    /// An alert began to flap.
    Flapping,
    /// It does not flap any more; told is how it stands.
    Settled,
    /// A firing alert's data stopped to arrive.
    Stale,
    /// It still fires: the repeat interval, a silence or an acknowledgement is over.
    Repeat,
    /// Nobody took care.
    Escalation,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 10] = [
        Self::First,
        Self::LevelUp,
        Self::NewAlerts,
        Self::AllResolved,
        Self::SomeResolved,
        Self::Flapping,
        Self::Settled,
        Self::Stale,
        Self::Repeat,
        Self::Escalation,
    ];

    /// The name used in JSON and in the store.
    pub fn name(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::LevelUp => "level_up",
            Self::NewAlerts => "new_alerts",
            Self::AllResolved => "all_resolved",
            Self::SomeResolved => "some_resolved",
            Self::Flapping => "flapping",
            Self::Settled => "settled",
            Self::Stale => "stale",
            Self::Repeat => "repeat",
            Self::Escalation => "escalation",
        }
    }

    /// The reason with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.name() == name)
    }

    /// For people.
    pub fn text(self) -> &'static str {
        match self {
            Self::First => "it began",
            Self::LevelUp => "it got worse",
            Self::NewAlerts => "more alerts fire",
            Self::AllResolved => "all is well again",
            Self::SomeResolved => "some of it ended, some still fires",
            Self::Flapping => "it changes too often to be told each time",
            Self::Settled => "it stopped to change all the time",
            Self::Stale => "it fires, and its data stopped to arrive",
            Self::Repeat => "it still fires",
            Self::Escalation => "nobody has acknowledged it",
        }
    }
}

/// Why nothing is told of an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Suppressed {
    /// Someone silenced it.
    Silenced,
    /// Its device is under maintenance.
    Maintenance,
    /// Another alert explains it.
    Inhibited,
    /// Someone takes care.
    Acknowledged,
    /// It flaps, and that was told.
    Flapping,
    /// It ended before anyone was told that it began.
    ResolvedBeforeWait,
    /// The policy tells no ends.
    ResolvedNotAsked,
    /// It was told, nothing changed, and its repeat is not due.
    NotDue,
    /// The group holds as many alerts as it may; the next message counts it.
    GroupFull,
}

impl Suppressed {
    /// Every reason.
    pub const ALL: [Self; 9] = [
        Self::Silenced,
        Self::Maintenance,
        Self::Inhibited,
        Self::Acknowledged,
        Self::Flapping,
        Self::ResolvedBeforeWait,
        Self::ResolvedNotAsked,
        Self::NotDue,
        Self::GroupFull,
    ];

    /// The name used in JSON and in the store.
    pub fn name(self) -> &'static str {
        match self {
            Self::Silenced => "silenced",
            Self::Maintenance => "maintenance",
            Self::Inhibited => "inhibited",
            Self::Acknowledged => "acknowledged",
            Self::Flapping => "flapping",
            Self::ResolvedBeforeWait => "resolved_before_wait",
            Self::ResolvedNotAsked => "resolved_not_asked",
            Self::NotDue => "not_due",
            Self::GroupFull => "group_full",
        }
    }

    /// The reason with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.name() == name)
    }

    /// For people.
    pub fn text(self) -> &'static str {
        match self {
            Self::Silenced => "not told: it is silenced",
            Self::Maintenance => "not told: its device is under maintenance",
            Self::Inhibited => "not told: another alert explains it",
            Self::Acknowledged => "not told: someone has acknowledged it",
            Self::Flapping => "not told: it changes too often; its settled state will be told",
            Self::ResolvedBeforeWait => "not told: it ended before anyone was told that it began",
            Self::ResolvedNotAsked => "not told: the policy tells no ends",
            Self::NotDue => "not told: nothing new, and the repeat interval is not over",
            Self::GroupFull => "not told by name: the group has too many alerts; the next message counts it",
        }
    }
}

/// One message about a group, to be made and delivered by others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Why.
    pub reason: Reason,
    /// Grows with each decision, also if the group was forgotten in between: never less than the time of the decision in µs.
    /// With the group's id it names the message.
    pub sequence: u64,
    /// When the message was due, µs since the Unix epoch.
    pub due_us: i64,
    /// It was due so long ago that people should know: the server was down or busy. See `DELAYED_AFTER_US`.
    pub delayed: bool,
    /// Who is told.
    pub to: Recipients,
    /// Who else: of an end, whoever was told by escalation; of an escalation, the people of further steps that are due.
    pub also_to: Vec<Recipients>,
    /// The alerts that are the cause, a part of the lists below.
    pub about: Vec<AlertId>,
    /// What fires, the news and what was told before. Of an escalation: what nobody acknowledged.
    pub firing: Vec<AlertId>,
    /// What ended since it was last told.
    pub resolved: Vec<AlertId>,
    /// What began to flap.
    pub flapping: Vec<AlertId>,
    /// What fires although its data stopped to arrive, if the policy tells that; told for the first time.
    pub stale: Vec<AlertId>,
    /// What is not told, and why.
    pub suppressed: Vec<(AlertId, Suppressed)>,
    /// Further changes of alerts for which the group had no room.
    pub more: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart_and_read_back() {
        assert!(Reason::ALL.iter().all(|reason| Reason::from_name(reason.name()) == Some(*reason)));
        assert!(Suppressed::ALL.iter().all(|reason| Suppressed::from_name(reason.name()) == Some(*reason)));
        assert!(Suppressed::ALL.iter().all(|reason| reason.text().starts_with("not told")));
    }
}
