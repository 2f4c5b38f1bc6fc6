use super::meta::MetaError;
use async_trait::async_trait;
use pulsewire_core::ids::UserName;
use pulsewire_core::role::Role;
use pulsewire_core::ulid::Ulid;

/// A token by which a program acts for a user. The token itself is not stored; it signs in like a sign-in's, by
/// [`UserStore::session`](super::UserStore::session).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiToken {
    /// Its id.
    pub id: Ulid,
    /// Whose it is.
    pub user: UserName,
    /// What its owner calls it.
    pub label: String,
    /// The most that it may do; what its user may do bounds it too.
    pub role: Role,
    /// µs since the Unix epoch, as all times.
    pub created_us: i64,
    /// When it was last used, to the minute.
    pub used_us: Option<i64>,
    /// When it ends, if it does.
    pub expires_us: Option<i64>,
}

/// Tokens for programs.
#[async_trait]
pub trait TokenStore: Send + Sync {
    /// A user's tokens, the newest first; also those that have ended.
    async fn tokens(&self, user: &UserName) -> Result<Vec<ApiToken>, MetaError>;
    /// Stores a token by its hash. False if its user has `most` already.
    async fn create_token(&self, token: ApiToken, hash: [u8; 32], most: usize) -> Result<bool, MetaError>;
    /// Ends one of a user's tokens. `Missing` if there is none.
    async fn delete_token(&self, user: &UserName, id: Ulid) -> Result<(), MetaError>;
    /// Notes that a token was used.
    async fn token_used(&self, id: Ulid, used_us: i64) -> Result<(), MetaError>;
}
