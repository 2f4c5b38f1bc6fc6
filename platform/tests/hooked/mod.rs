//! The real store of alerts, with something that happens around each commit.

use async_trait::async_trait;
use pulsewire::ports::{
    AlertCommit, AlertPage, AlertQuery, AlertStore, AlertingState, MetaError, RuleVersion, ToldView,
};
use pulsewire::storage::sqlite::SqliteMeta;
use pulsewire_core::alert::{Alert, AlertStep};
use pulsewire_core::ids::{AlertId, RuleId, SilenceId};
use pulsewire_core::notify::Silence;
use std::sync::Arc;

/// What happens around a commit.
pub trait Hook: Send + Sync {
    /// Before it; an error is the commit's.
    fn before(&self) -> Result<(), MetaError>;

    /// After it, whether it was stored or not.
    fn after(&self) {}
}

/// See the module.
pub struct Hooked<H> {
    pub meta: SqliteMeta,
    pub hook: H,
}

#[async_trait]
impl<H: Hook> AlertStore for Hooked<H> {
    async fn load(&self) -> Result<AlertingState, MetaError> {
        self.meta.load().await
    }

    async fn commit(&self, commit: Arc<AlertCommit>) -> Result<(), MetaError> {
        self.hook.before()?;
        let stored = self.meta.commit(commit).await;
        self.hook.after();
        stored
    }

    async fn alerts(&self, query: AlertQuery) -> Result<Vec<(AlertPage, Alert)>, MetaError> {
        self.meta.alerts(query).await
    }

    async fn alert(&self, id: AlertId) -> Result<Option<(Alert, Vec<AlertStep>)>, MetaError> {
        self.meta.alert(id).await
    }

    async fn prune_alerts(&self, keep: usize, told: usize) -> Result<usize, MetaError> {
        self.meta.prune_alerts(keep, told).await
    }

    async fn rule_versions(&self, id: RuleId) -> Result<Vec<RuleVersion>, MetaError> {
        self.meta.rule_versions(id).await
    }

    async fn silences(&self) -> Result<Vec<Silence>, MetaError> {
        self.meta.silences().await
    }

    async fn silence(&self, id: SilenceId) -> Result<Option<Silence>, MetaError> {
        self.meta.silence(id).await
    }

    async fn told(
        &self,
        alert: Option<AlertId>,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Vec<(i64, ToldView)>, MetaError> {
        self.meta.told(alert, before, limit).await
    }
}
