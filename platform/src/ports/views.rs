use super::meta::MetaError;
use async_trait::async_trait;
use pulsewire_core::ids::UserName;

/// Filters, sorting and columns of a page under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedView {
    /// Whose it is.
    pub owner: UserName,
    /// Which page it is of.
    pub page: String,
    /// Its name, unique among its owner's of that page.
    pub name: String,
    /// The page's query string.
    pub query: String,
    /// Everybody may use it.
    pub shared: bool,
    /// µs since the Unix epoch.
    pub changed_us: i64,
}

/// Saved views.
#[async_trait]
pub trait ViewStore: Send + Sync {
    /// A user's own views and shared ones of others, of one page or all, by page, name and owner; one's own first.
    async fn views(&self, user: &UserName, page: Option<&str>) -> Result<Vec<SavedView>, MetaError>;
    /// Stores a view, in the place of one of this page and name. False if the owner has `most` others already.
    async fn put_view(&self, view: SavedView, most: usize) -> Result<bool, MetaError>;
    /// Removes a view of one's own. `Missing` if there is none.
    async fn delete_view(&self, owner: &UserName, page: &str, name: &str) -> Result<(), MetaError>;
}
