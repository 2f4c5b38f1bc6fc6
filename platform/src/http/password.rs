//! Passwords: argon2id, away from the async threads, few at a time.

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Hashes computed at the same time: each takes 19 MiB and a core for some 20 ms.
const CONCURRENT_MAX: usize = 2;
/// Bounds of a password in characters.
pub const PASSWORD_CHARS: std::ops::RangeInclusive<usize> = 10..=256;

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// Too short or too long.
    #[error("a password has 10 to 256 characters; this one has {0}")]
    Length(usize),
    /// The hash could not be computed.
    #[error("hashing a password: {0}")]
    Failed(String),
}

/// Computes and checks password hashes.
pub struct Passwords {
    permits: Arc<Semaphore>,
    // Checked against when a user does not exist, so that the answer takes the same time.
    decoy: String,
}

impl Passwords {
    /// Ready to work.
    ///
    /// # Errors
    /// If the system gives no random bytes.
    pub fn new() -> Result<Self, PasswordError> {
        Ok(Self { permits: Arc::new(Semaphore::new(CONCURRENT_MAX)), decoy: hash("no user has this password")? })
    }

    /// Hashes a new password.
    ///
    /// # Errors
    /// [`PasswordError`].
    pub async fn hash(&self, password: String) -> Result<String, PasswordError> {
        check_length(&password)?;
        self.compute(move || hash(&password)).await?
    }

    /// Checks a password against a stored hash; None stands for a user that does not exist.
    ///
    /// # Errors
    /// [`PasswordError::Failed`].
    pub async fn verify(&self, password: String, stored: Option<String>) -> Result<bool, PasswordError> {
        let known = stored.is_some();
        let stored = stored.unwrap_or_else(|| self.decoy.clone());
        let right = self
            .compute(move || {
                let parsed = PasswordHash::new(&stored).map_err(|error| PasswordError::Failed(error.to_string()))?;
                Ok(Argon2::default().verify_password(password.as_bytes(), &parsed).is_ok())
            })
            .await??;
        Ok(right && known)
    }

    async fn compute<R: Send + 'static>(&self, job: impl FnOnce() -> R + Send + 'static) -> Result<R, PasswordError> {
        let _permit = self.permits.acquire().await.map_err(|error| PasswordError::Failed(error.to_string()))?;
        tokio::task::spawn_blocking(job).await.map_err(|error| PasswordError::Failed(error.to_string()))
    }
}

/// Hashes with a fresh salt. Takes some 20 ms of a core.
pub fn hash(password: &str) -> Result<String, PasswordError> {
    let hash = Argon2::default().hash_password(password.as_bytes());
    hash.map(|h| h.to_string()).map_err(|error| PasswordError::Failed(error.to_string()))
}

/// Refuses passwords that are too short or too long.
pub fn check_length(password: &str) -> Result<(), PasswordError> {
    let length = password.chars().count();
    if PASSWORD_CHARS.contains(&length) { Ok(()) } else { Err(PasswordError::Length(length)) }
}
