use super::meta::MetaError;
use async_trait::async_trait;
use pulsewire_core::ids::AnnouncementId;
use pulsewire_core::push::{Announcement, AnnouncementAct, AnnouncementState};

/// Most announcements that are not over; further ones are refused.
pub const ANNOUNCEMENTS_UNFINISHED_MAX: usize = 100;
/// Most announcements kept; above it the oldest that are over go.
pub const ANNOUNCEMENTS_KEPT_MAX: usize = 1000;

/// What became of the wish to announce something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Announced {
    /// It is on its way, or waits for its time.
    Made,
    /// There are [`ANNOUNCEMENTS_UNFINISHED_MAX`] that are not over.
    TooMany,
}

/// What became of an act.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Acted {
    /// It is so now, perhaps it was before.
    Done(Box<Announcement>),
    /// It is over.
    Over(AnnouncementState),
}

/// Words of admins to many. They are made out to people by [`OutboxStore::step`](super::OutboxStore::step), in pieces.
#[async_trait]
pub trait AnnouncementStore: Send + Sync {
    /// Stores one that was checked.
    async fn announce(&self, new: Announcement) -> Result<Announced, MetaError>;
    /// The newest first, each with its number; those before a number.
    async fn announcements(&self, before: Option<i64>, limit: usize) -> Result<Vec<(i64, Announcement)>, MetaError>;
    /// One of them.
    async fn announcement(&self, id: AnnouncementId) -> Result<Option<Announcement>, MetaError>;
    /// Does something with one. `Missing` if there is none.
    async fn act_on_announcement(
        &self,
        id: AnnouncementId,
        act: AnnouncementAct,
        now_us: i64,
    ) -> Result<Acted, MetaError>;
}
