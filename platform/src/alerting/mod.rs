//! Rules over what devices send: reads the journal by its own cursor, judges every live sample, and stores alerts, what people
//! are told of them, and how far it came in one transaction.
//!
//! One task owns the engine (`pulsewire_core::alert::Engine`) and the groups by which people are told, so that an edit, an
//! acknowledgement, a sample and a time-out never meet half-way. The bus only says that something is new. A kill at any moment
//! loses nothing: what was not committed is judged again, with the same outcome, since rules run on the samples' own time.

mod backtest;
mod operate;
mod task;
mod telling;

pub use backtest::{BacktestError, BacktestOptions, BacktestParts, Backtests, Job, JobState};

use crate::ports::{AlertStore, Bus, Clock, Cursor, Journal, MetaError, RuleChangeKind, RuleWrite, Topic};
use pulsewire_core::alert::{Alert, EngineLimits, Operation, Rule, RuleError, Standing};
use pulsewire_core::catalogue::Catalogue;
use pulsewire_core::directory::Directory;
use pulsewire_core::ids::{AlertId, DeviceId, DeviceKey, GroupName, RuleId, SilenceId, UserName};
use pulsewire_core::notice::NoticePolicy;
use pulsewire_core::notify::{Silence, SilenceError};
use pulsewire_core::scope::DeviceScope;
use pulsewire_core::severity::Severity;
use std::collections::HashMap;
use std::sync::{Arc, RwLock};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// Most requests of people that wait for the task; above it they wait at the door.
const QUEUE_REQUESTS: usize = 256;

/// Bounds of the service; each is a key of `[alerting]` or `[push]` in the configuration.
#[derive(Debug, Clone)]
#[allow(missing_docs)] // documented with the keys
pub struct AlertingOptions {
    pub rules_max: usize,
    pub limits: EngineLimits,
    pub policy: NoticePolicy,
    pub history_alerts: usize,
    pub rule_versions_max: usize,
    pub notifications_max: usize,
}

/// What the service works with.
#[derive(Clone)]
#[allow(missing_docs)]
pub struct AlertingParts {
    pub journal: Arc<dyn Journal>,
    pub store: Arc<dyn AlertStore>,
    pub bus: Arc<dyn Bus>,
    pub clock: Arc<dyn Clock>,
    pub catalogue: Arc<RwLock<Catalogue>>,
    pub directory: Arc<RwLock<Directory>>,
}

/// A rule and what it does now.
#[derive(Debug, Clone, PartialEq)]
pub struct RuleView {
    /// The rule.
    pub rule: Rule,
    /// On how many devices it stands how.
    pub standing: Standing,
}

/// Why an alert is not told of now.
#[derive(Debug, Clone, PartialEq)]
pub struct Quiet {
    /// Until when, µs since the Unix epoch; None = until it ends.
    pub until_us: Option<i64>,
    /// By whom.
    pub by: UserName,
    /// Why; may be empty.
    pub reason: String,
    /// The silence, if it is one.
    pub silence: Option<SilenceId>,
}

/// An alert that fires, with what only the running service knows of it.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenAlert {
    /// As it is.
    pub alert: Arc<Alert>,
    /// Whether it is kept quiet.
    pub quiet: Option<Quiet>,
}

/// Which open alerts.
#[derive(Debug, Clone, Default, PartialEq)]
#[allow(missing_docs)] // as the query parameters
pub struct OpenFilter {
    /// Of devices that the caller may see.
    pub scope: DeviceScope,
    pub ids: Option<Vec<AlertId>>,
    pub severity: Option<Severity>,
    pub rule: Option<RuleId>,
    pub device: Option<DeviceId>,
    pub group: Option<GroupName>,
    pub silenced: Option<bool>,
    pub acknowledged: Option<bool>,
}

/// True if someone with this scope may see the alert: it was of a group of theirs, and so is its device, if it still exists.
pub fn sees(scope: &DeviceScope, alert: &Alert, directory: &Directory) -> bool {
    let device = alert.device.and_then(|key| directory.by_key(key));
    scope.sees_alert(alert.group.as_ref(), device.map(AsRef::as_ref))
}

/// What became of an operation on many alerts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bulk {
    /// How many the filter meant.
    pub matched: usize,
    /// How many changed.
    pub changed: usize,
}

/// One variant per reaction.
#[derive(Debug, thiserror::Error)]
pub enum AlertingError {
    /// The rule's id is taken.
    #[error("rule {0} exists already")]
    RuleExists(RuleId),
    /// There is no such rule.
    #[error("there is no rule {0}")]
    NoRule(RuleId),
    /// The rule cannot be.
    #[error(transparent)]
    Rule(RuleError),
    /// There is room for so many rules.
    #[error("there are {0} rules already, as many as alerting.rules_max allows")]
    TooManyRules(usize),
    /// There is no such alert.
    #[error("there is no alert {0}")]
    NoAlert(AlertId),
    /// It does not fire any more.
    #[error("alert {0} is resolved")]
    Resolved(AlertId),
    /// The silence cannot be.
    #[error(transparent)]
    Silence(SilenceError),
    /// There is no such silence.
    #[error("there is no silence {0}")]
    NoSilence(SilenceId),
    /// It is over.
    #[error("silence {0} has ended; make a new one")]
    SilenceEnded(SilenceId),
    /// The store cannot be written now.
    #[error("this could not be stored now; try again")]
    Store(#[source] MetaError),
    /// The server stops.
    #[error("the server stops")]
    Stopping,
}

/// What people ask of the task.
enum Request {
    Rules { reply: oneshot::Sender<Vec<RuleView>> },
    Rule { id: RuleId, reply: oneshot::Sender<Option<RuleView>> },
    Write { write: Box<RuleWrite>, reply: Reply<RuleView> },
    Open { filter: OpenFilter, reply: oneshot::Sender<Vec<OpenAlert>> },
    OpenByDevice { scope: DeviceScope, reply: oneshot::Sender<HashMap<DeviceKey, [u32; 3]>> },
    Operate { alert: AlertId, operation: Operation, user: UserName, reply: Reply<OpenAlert> },
    Bulk { filter: OpenFilter, operation: Operation, user: UserName, reply: Reply<Bulk> },
    Silence { silence: Silence, reply: Reply<Silence> },
    HideCounts { silences: Vec<Silence>, reply: oneshot::Sender<Vec<usize>> },
    Hides { silence: Silence, reply: oneshot::Sender<Vec<Arc<Alert>>> },
}

type Reply<T> = oneshot::Sender<Result<T, AlertingError>>;

/// Handle of the service.
pub struct Alerting {
    sender: mpsc::Sender<Request>,
    store: Arc<dyn AlertStore>,
    rules_max: usize,
    gap_max_us: i64,
}

impl Alerting {
    /// Loads what is stored and starts the task, which ends when the bus closes or every handle is gone. `newest` is where
    /// the journal ends: a store that never had rules begins there, and so does one whose journal began anew.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn start(
        options: AlertingOptions,
        parts: AlertingParts,
        newest: Cursor,
    ) -> Result<(Self, JoinHandle<()>), MetaError> {
        let (commits, devices) = (parts.bus.subscribe(Topic::Commits), parts.bus.subscribe(Topic::Devices));
        let (sender, receiver) = mpsc::channel(QUEUE_REQUESTS);
        let (store, rules_max, gap_max_us) = (parts.store.clone(), options.rules_max, options.limits.gap_max_us);
        let task = task::AlertingTask::restore(options, parts, newest).await?;
        Ok((Self { sender, store, rules_max, gap_max_us }, tokio::spawn(task.run(commits, devices, receiver))))
    }

    async fn ask<T>(&self, make: impl FnOnce(oneshot::Sender<T>) -> Request) -> Result<T, AlertingError> {
        let (reply, answer) = oneshot::channel();
        self.sender.send(make(reply)).await.map_err(|_| AlertingError::Stopping)?;
        answer.await.map_err(|_| AlertingError::Stopping)
    }

    /// Every rule, by id.
    ///
    /// # Errors
    /// [`AlertingError::Stopping`].
    pub async fn rules(&self) -> Result<Vec<RuleView>, AlertingError> {
        self.ask(|reply| Request::Rules { reply }).await
    }

    /// One rule, if it exists.
    ///
    /// # Errors
    /// [`AlertingError::Stopping`].
    pub async fn rule(&self, id: RuleId) -> Result<Option<RuleView>, AlertingError> {
        self.ask(|reply| Request::Rule { id, reply }).await
    }

    /// Stores a checked rule that is new, and lets it judge from now on. Its version goes on from that of a deleted rule of this id.
    ///
    /// # Errors
    /// `RuleExists`, `TooManyRules`, `Rule`, `Store`, `Stopping`.
    pub async fn create_rule(&self, rule: Rule) -> Result<RuleView, AlertingError> {
        self.ask(|reply| Request::Write { write: Box::new(RuleWrite::Create(rule)), reply }).await?
    }

    /// Stores an edited rule; its alerts are judged anew.
    ///
    /// # Errors
    /// `NoRule`, `Rule`, `Store`, `Stopping`.
    pub async fn update_rule(&self, rule: Rule, kind: RuleChangeKind) -> Result<RuleView, AlertingError> {
        self.ask(|reply| Request::Write { write: Box::new(RuleWrite::Update(rule, kind)), reply }).await?
    }

    /// Deletes a rule; its alerts end. Answers what it was.
    ///
    /// # Errors
    /// `NoRule`, `Store`, `Stopping`.
    pub async fn delete_rule(&self, rule: Rule, user: UserName) -> Result<RuleView, AlertingError> {
        self.ask(|reply| Request::Write { write: Box::new(RuleWrite::Delete { rule, user }), reply }).await?
    }

    /// Open alerts that the filter means, worst first and then the newest.
    ///
    /// # Errors
    /// [`AlertingError::Stopping`].
    pub async fn open(&self, filter: OpenFilter) -> Result<Vec<OpenAlert>, AlertingError> {
        self.ask(|reply| Request::Open { filter, reply }).await
    }

    /// How many alerts are open on each device that has any, by severity: those that fired in a group of the scope.
    ///
    /// # Errors
    /// [`AlertingError::Stopping`].
    pub async fn open_by_device(&self, scope: DeviceScope) -> Result<HashMap<DeviceKey, [u32; 3]>, AlertingError> {
        self.ask(|reply| Request::OpenByDevice { scope, reply }).await
    }

    /// Does something with an alert. Doing it twice changes nothing.
    ///
    /// # Errors
    /// `NoAlert`, `Resolved`, `Store`, `Stopping`.
    pub async fn operate(
        &self,
        alert: AlertId,
        operation: Operation,
        user: UserName,
    ) -> Result<OpenAlert, AlertingError> {
        self.ask(|reply| Request::Operate { alert, operation, user, reply }).await?
    }

    /// Does the same with all open alerts that the filter means: in one transaction per few hundred.
    ///
    /// # Errors
    /// `Store`, `Stopping`; some may be done then.
    pub async fn bulk(&self, filter: OpenFilter, operation: Operation, user: UserName) -> Result<Bulk, AlertingError> {
        self.ask(|reply| Request::Bulk { filter, operation, user, reply }).await?
    }

    /// Stores a checked silence, new or changed.
    ///
    /// # Errors
    /// `Silence`, `Store`, `Stopping`.
    pub async fn put_silence(&self, silence: Silence) -> Result<Silence, AlertingError> {
        self.ask(|reply| Request::Silence { silence, reply }).await?
    }

    /// Open alerts that a silence would keep quiet if it were active.
    ///
    /// # Errors
    /// [`AlertingError::Stopping`].
    pub async fn hides(&self, silence: Silence) -> Result<Vec<Arc<Alert>>, AlertingError> {
        self.ask(|reply| Request::Hides { silence, reply }).await
    }

    /// How many open alerts each silence fits.
    ///
    /// # Errors
    /// [`AlertingError::Stopping`].
    pub async fn hide_counts(&self, silences: Vec<Silence>) -> Result<Vec<usize>, AlertingError> {
        self.ask(|reply| Request::HideCounts { silences, reply }).await
    }

    /// The stored alerts, rules' versions, silences and decisions.
    pub fn store(&self) -> &Arc<dyn AlertStore> {
        &self.store
    }

    /// Most rules.
    pub fn rules_max(&self) -> usize {
        self.rules_max
    }

    /// `alerting.gap_max`, µs.
    pub fn gap_max_us(&self) -> i64 {
        self.gap_max_us
    }
}
