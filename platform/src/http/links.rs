//! Single-use sign-in links. They live in memory only: a restart voids them.

use pulsewire_core::ids::UserName;
use sha2::{Digest, Sha256};
use std::sync::Mutex;

/// Most links that wait to be used; the oldest is dropped.
const LINKS_MAX: usize = 100;

#[derive(Debug)]
struct Link {
    hash: [u8; 32],
    user: UserName,
    expires_us: i64,
}

/// The links that were made and not used.
#[derive(Debug, Default)]
pub struct Links {
    links: Mutex<Vec<Link>>,
}

impl Links {
    /// Makes a code that signs a user in once, until `expires_us`.
    ///
    /// # Errors
    /// If the system gives no random bytes.
    pub fn create(&self, user: UserName, expires_us: i64) -> Result<String, getrandom::Error> {
        let mut bytes = [0; 24];
        getrandom::fill(&mut bytes)?;
        let code = hex::encode(bytes);
        let mut links = self.links.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if links.len() >= LINKS_MAX {
            links.remove(0);
        }
        links.push(Link { hash: Sha256::digest(&code).into(), user, expires_us });
        Ok(code)
    }

    /// Uses a code up.
    pub fn redeem(&self, code: &str, now_us: i64) -> Option<UserName> {
        // Hashes are compared, so time tells nothing of the code.
        let hash: [u8; 32] = Sha256::digest(code).into();
        let mut links = self.links.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        links.retain(|link| link.expires_us > now_us);
        let found = links.iter().position(|link| link.hash == hash)?;
        Some(links.remove(found).user)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_works_once_and_not_after_its_time() {
        let links = Links::default();
        let user = UserName::parse("admin").expect("valid");
        let code = links.create(user.clone(), 100).expect("random bytes");
        assert_eq!(links.redeem("something else", 50), None);
        assert_eq!(links.redeem(&code, 99), Some(user.clone()));
        assert_eq!(links.redeem(&code, 99), None);
        let late = links.create(user, 100).expect("random bytes");
        assert_eq!(links.redeem(&late, 100), None);
    }
}
