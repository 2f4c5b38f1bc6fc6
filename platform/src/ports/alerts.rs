use super::meta::MetaError;
use async_trait::async_trait;
use pulsewire_core::alert::{Alert, AlertStep, Rule, Track};
use pulsewire_core::ids::{AlertId, DeviceId, DeviceKey, Position, RuleId};
use pulsewire_core::notice::Notice;
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

/// Everything alerting goes on with after a start.
#[derive(Debug, Default)]
pub struct AlertingState {
    /// How far the journal was read; None in a store that never had rules.
    pub cursor: Option<Cursor>,
    /// Every rule, by id.
    pub rules: Vec<Rule>,
    /// Where the rules stand.
    pub tracks: Vec<(RuleId, DeviceKey, Track<AlertId>)>,
    /// The newest event time of each device.
    pub watermarks: Vec<(DeviceKey, i64)>,
    /// Every alert that fires.
    pub open: Vec<Alert>,
}

/// What an alert became, and what that means for people.
#[derive(Debug, Clone, PartialEq)]
pub struct AlertChange {
    /// The alert as it is now.
    pub alert: Arc<Alert>,
    /// What happened.
    pub step: AlertStep,
    /// The message that everyone gets about it; None for what is only noted.
    pub notice: Option<Notice>,
}

/// A rule that was edited.
#[derive(Debug, Clone, PartialEq)]
pub enum RuleWrite {
    /// Made; `Exists` if its id is taken.
    Create(Rule),
    /// Edited; its tracks go if it looks at another metric now.
    Update(Rule),
    /// Deleted, with its tracks.
    Delete(RuleId),
}

/// One unit of work: all of it is stored, or nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AlertCommit {
    /// The time, µs since the Unix epoch.
    pub now_us: i64,
    /// How far the journal was read.
    pub cursor: Option<Cursor>,
    /// Tracks that moved.
    pub tracks: Vec<(RuleId, DeviceKey, Track<AlertId>)>,
    /// Tracks that are not needed any more.
    pub forget: Vec<(RuleId, DeviceKey)>,
    /// Watermarks that moved.
    pub watermarks: Vec<(DeviceKey, i64)>,
    /// Alerts that changed, in order.
    pub changes: Vec<AlertChange>,
    /// A rule that was edited.
    pub rule: Option<RuleWrite>,
}

/// Which alerts.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AlertQuery {
    /// Some(true): those that fire; Some(false): those that do not.
    pub open: Option<bool>,
    /// Of one severity.
    pub severity: Option<Severity>,
    /// Of one device.
    pub device: Option<DeviceId>,
    /// Of one rule.
    pub rule: Option<RuleId>,
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

/// Rules, alerts and the state of their evaluation.
#[async_trait]
pub trait AlertStore: Send + Sync {
    /// Everything needed to go on.
    async fn load(&self) -> Result<AlertingState, MetaError>;
    /// Stores a unit of work, with a message for every user and a delivery for each of their endpoints per [`Notice`].
    /// The same alert and revision twice has the effect of once, so a commit may be tried again.
    async fn commit(&self, commit: Arc<AlertCommit>) -> Result<(), MetaError>;
    /// A page of alerts, each with where it stands in the list.
    async fn alerts(&self, query: AlertQuery) -> Result<Vec<(AlertPage, Alert)>, MetaError>;
    /// One alert with its history.
    async fn alert(&self, id: AlertId) -> Result<Option<(Alert, Vec<AlertStep>)>, MetaError>;
    /// Deletes resolved alerts, the oldest first, until at most `keep` are left; answers how many went.
    async fn prune_alerts(&self, keep: usize) -> Result<usize, MetaError>;
}
