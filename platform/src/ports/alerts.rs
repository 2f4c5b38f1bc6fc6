use super::meta::MetaError;
use async_trait::async_trait;
use pulsewire_core::alert::{Alert, AlertStep, DeviceState, Rule, RuleDocument};
use pulsewire_core::ids::{
    AlertId, DeviceId, DeviceKey, GroupName, NotificationId, Position, RuleId, SilenceId, UserName,
};
use pulsewire_core::notice::Notice;
use pulsewire_core::notify::{Decision, Silence};
use pulsewire_core::scope::DeviceScope;
use pulsewire_core::severity::Severity;
use std::sync::Arc;

/// How far a reader of the journal has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// The store's epoch: positions of another one mean nothing.
    pub epoch: u64,
    /// Everything up to here is done.
    pub position: Position,
}

/// A group of alerts that are told together: its key, and its stored state.
pub type GroupState = (GroupKey, Option<Vec<u8>>);

/// Rule and the values of the labels by which its alerts are grouped, as text.
pub type GroupKey = String;

/// Everything alerting goes on with after a start.
#[derive(Debug, Default)]
pub struct AlertingState {
    /// How far the journal was read; None in a store that never had rules.
    pub cursor: Option<Cursor>,
    /// Every rule, by id. One that cannot be read any more (made by another version) is named in `damaged`.
    pub rules: Vec<Rule>,
    /// Where the rules stand on each device: opaque to the store.
    pub states: Vec<(DeviceKey, Vec<u8>)>,
    /// Every alert that fires.
    pub open: Vec<Alert>,
    /// Groups with something to tell, opaque to the store.
    pub groups: Vec<(GroupKey, Vec<u8>)>,
    /// Silences that are active or planned.
    pub silences: Vec<Silence>,
    /// What could not be read, for people.
    pub damaged: Vec<String>,
}

/// What an alert became.
#[derive(Debug, Clone, PartialEq)]
pub struct AlertChange {
    /// The alert as it is now.
    pub alert: Arc<Alert>,
    /// What happened.
    pub step: AlertStep,
}

/// What was decided to be told, or not.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// Its id; the same for a commit that is tried again.
    pub id: NotificationId,
    /// When, µs since the Unix epoch.
    pub time_us: i64,
    /// Which group.
    pub group: GroupKey,
    /// Makes a later message of the group take the place of this one on a screen.
    pub group_id: [u8; 16],
    /// What, why, and to whom: `to` and everyone of `also_to`, each user once.
    pub decision: Decision,
    /// The message; None if everything was suppressed.
    pub notice: Option<Notice>,
    /// Where the message leads: the worst alert; None if none is known any more.
    pub about: Option<AlertId>,
}

/// A decision as it is shown.
#[derive(Debug, Clone, PartialEq)]
pub struct ToldView {
    /// As written; `notice` is None.
    pub told: Told,
    /// How many messages it made.
    pub messages: u64,
}

/// What was done to a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuleChangeKind {
    /// It was made.
    Created,
    /// It was edited.
    Edited,
    /// It was switched off.
    Paused,
    /// It was switched on.
    Resumed,
    /// It was deleted.
    Deleted,
}

impl RuleChangeKind {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::Created, Self::Edited, Self::Paused, Self::Resumed, Self::Deleted];

    /// The name used in JSON and in the store.
    pub fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Edited => "edited",
            Self::Paused => "paused",
            Self::Resumed => "resumed",
            Self::Deleted => "deleted",
        }
    }

    /// The kind with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|k| k.name() == name)
    }
}

/// A version of a rule.
#[derive(Debug, Clone, PartialEq)]
pub struct RuleVersion {
    /// Its number.
    pub version: u32,
    /// What was done.
    pub change: RuleChangeKind,
    /// When, µs since the Unix epoch.
    pub time_us: i64,
    /// Who.
    pub user: UserName,
    /// The rule as it was then.
    pub document: RuleDocument,
}

/// A rule that was edited. Its version is kept in its history.
#[derive(Debug, Clone, PartialEq)]
pub enum RuleWrite {
    /// Made; `Exists` if its id is taken. The version goes on from that of a deleted rule of this id.
    Create(Rule),
    /// Edited, paused or resumed.
    Update(Rule, RuleChangeKind),
    /// Deleted.
    Delete {
        /// Which, as it was.
        rule: Rule,
        /// By whom.
        user: UserName,
    },
}

/// One unit of work: all of it is stored, or nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AlertCommit {
    /// The time, µs since the Unix epoch.
    pub now_us: i64,
    /// How far the journal was read, if the states of all devices are as of there.
    pub cursor: Option<Cursor>,
    /// States of devices; None = delete it.
    pub states: Vec<DeviceState>,
    /// Alerts that changed, in order.
    pub changes: Vec<AlertChange>,
    /// A rule that was edited.
    pub rule: Option<RuleWrite>,
    /// Groups that changed; None = delete it.
    pub groups: Vec<GroupState>,
    /// What was decided to be told.
    pub told: Vec<Told>,
    /// A silence that was made or changed.
    pub silence: Option<Silence>,
    /// Versions kept per rule.
    pub rule_versions_max: usize,
}

/// Which alerts.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AlertQuery {
    /// Of devices that someone may see: the alert was of a group of theirs, and so is its device, if it still exists.
    pub scope: DeviceScope,
    /// Some(true): those that fire; Some(false): those that do not.
    pub open: Option<bool>,
    /// Of one severity.
    pub severity: Option<Severity>,
    /// Of one device.
    pub device: Option<DeviceId>,
    /// Of one rule.
    pub rule: Option<RuleId>,
    /// Of one group of devices.
    pub group: Option<GroupName>,
    /// Whether someone took note.
    pub acknowledged: Option<bool>,
    /// Those that fired before this time, µs.
    pub to_us: Option<i64>,
    /// Those that had not ended at this time, µs.
    pub from_us: Option<i64>,
    /// Worst first and then the newest; else the newest first.
    pub worst_first: bool,
    /// Where the page before ended.
    pub after: Option<AlertPage>,
    /// Most alerts to answer.
    pub limit: usize,
}

/// Where a page of alerts ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AlertPage {
    /// Severity of the last one.
    pub severity: Severity,
    /// Its number.
    pub seq: i64,
}

/// Rules, alerts, silences, and the state of their evaluation.
#[async_trait]
pub trait AlertStore: Send + Sync {
    /// Everything needed to go on.
    async fn load(&self) -> Result<AlertingState, MetaError>;
    /// Stores a unit of work, with a message for every recipient of what is told and a delivery for each of their endpoints per
    /// [`Notice`]. The same alert and revision, and the same `Told`, twice have the effect of once, so a commit may be tried again.
    async fn commit(&self, commit: Arc<AlertCommit>) -> Result<(), MetaError>;
    /// A page of alerts, each with where it stands in the list.
    async fn alerts(&self, query: AlertQuery) -> Result<Vec<(AlertPage, Alert)>, MetaError>;
    /// One alert with its history.
    async fn alert(&self, id: AlertId) -> Result<Option<(Alert, Vec<AlertStep>)>, MetaError>;
    /// Deletes resolved alerts, the oldest first, until at most `keep` are left, and decisions above `told`; answers how many alerts went.
    async fn prune_alerts(&self, keep: usize, told: usize) -> Result<usize, MetaError>;
    /// The versions of a rule, the newest first, also of a deleted one.
    async fn rule_versions(&self, id: RuleId) -> Result<Vec<RuleVersion>, MetaError>;
    /// Every silence that is kept, also those that ended; the newest first, at most 1,000.
    async fn silences(&self) -> Result<Vec<Silence>, MetaError>;
    /// One silence.
    async fn silence(&self, id: SilenceId) -> Result<Option<Silence>, MetaError>;
    /// Decisions, the newest first, each with its number: about one alert, before a number.
    async fn told(
        &self,
        alert: Option<AlertId>,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Vec<(i64, ToldView)>, MetaError>;
}
