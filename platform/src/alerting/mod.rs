//! Rules over what devices send: reads the journal by its own cursor, judges every live sample, and stores alerts, the
//! messages about them and the cursor in one transaction.
//!
//! One task owns the engine (`pulsewire_core::alert::Engine`), so that an edit, an acknowledgement and a sample never meet
//! half-way. The bus only says that something is new. A kill at any moment loses nothing: what was not committed is judged
//! again from the cursor, with the same outcome, since rules run on the samples' own time.

mod task;

use crate::ports::{AlertStore, Bus, Clock, Cursor, Journal, MetaError, RuleWrite, Topic};
use pulsewire_core::alert::{Alert, EngineLimits, Rule};
use pulsewire_core::catalogue::Catalogue;
use pulsewire_core::directory::Directory;
use pulsewire_core::ids::{AlertId, RuleId, UserName};
use pulsewire_core::notice::NoticePolicy;
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
    /// How many of its alerts fire.
    pub firing: usize,
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
    /// There is room for so many rules.
    #[error("there are {0} rules already, as many as alerting.rules_max allows")]
    TooManyRules(usize),
    /// There is no such alert.
    #[error("there is no alert {0}")]
    NoAlert(AlertId),
    /// It does not fire any more.
    #[error("alert {0} is resolved")]
    Resolved(AlertId),
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
    Write { write: RuleWrite, reply: Reply<RuleView> },
    Acknowledge { alert: AlertId, user: UserName, take_back: bool, reply: Reply<Arc<Alert>> },
    Resolve { alert: AlertId, user: UserName, reply: Reply<Arc<Alert>> },
}

type Reply<T> = oneshot::Sender<Result<T, AlertingError>>;

/// Handle of the service.
pub struct Alerting {
    sender: mpsc::Sender<Request>,
    store: Arc<dyn AlertStore>,
    rules_max: usize,
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
        let (store, rules_max) = (parts.store.clone(), options.rules_max);
        let task = task::AlertingTask::restore(options, parts, newest).await?;
        Ok((Self { sender, store, rules_max }, tokio::spawn(task.run(commits, devices, receiver))))
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

    /// Stores a checked rule that is new, and lets it judge from now on.
    ///
    /// # Errors
    /// `RuleExists`, `TooManyRules`, `Store`, `Stopping`.
    pub async fn create_rule(&self, rule: Rule) -> Result<RuleView, AlertingError> {
        self.ask(|reply| Request::Write { write: RuleWrite::Create(rule), reply }).await?
    }

    /// Stores an edited rule; its alerts are judged anew.
    ///
    /// # Errors
    /// `NoRule`, `Store`, `Stopping`.
    pub async fn update_rule(&self, rule: Rule) -> Result<RuleView, AlertingError> {
        self.ask(|reply| Request::Write { write: RuleWrite::Update(rule), reply }).await?
    }

    /// Deletes a rule; its alerts end. Answers what it was.
    ///
    /// # Errors
    /// `NoRule`, `Store`, `Stopping`.
    pub async fn delete_rule(&self, id: RuleId) -> Result<RuleView, AlertingError> {
        self.ask(|reply| Request::Write { write: RuleWrite::Delete(id), reply }).await?
    }

    /// Notes that a user has seen an alert, or (`take_back`) that it needs someone again. Doing it twice changes nothing.
    ///
    /// # Errors
    /// `NoAlert`, `Resolved`, `Store`, `Stopping`.
    pub async fn acknowledge(
        &self,
        alert: AlertId,
        user: UserName,
        take_back: bool,
    ) -> Result<Arc<Alert>, AlertingError> {
        self.ask(|reply| Request::Acknowledge { alert, user, take_back, reply }).await?
    }

    /// Ends an alert by hand.
    ///
    /// # Errors
    /// `NoAlert`, `Resolved`, `Store`, `Stopping`.
    pub async fn resolve(&self, alert: AlertId, user: UserName) -> Result<Arc<Alert>, AlertingError> {
        self.ask(|reply| Request::Resolve { alert, user, reply }).await?
    }

    /// The stored alerts.
    pub fn store(&self) -> &Arc<dyn AlertStore> {
        &self.store
    }

    /// Most rules.
    pub fn rules_max(&self) -> usize {
        self.rules_max
    }
}
