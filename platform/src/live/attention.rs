//! Who is looking: visible pages by user, as their heartbeats say. SPEC §9.9.

use crate::ports::{Attention, Clock};
use pulsewire_core::ids::UserName;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

#[derive(Debug, Default)]
struct OfUser {
    // When each socket whose page is visible was last heard, by its number.
    visible: HashMap<u64, i64>,
    // When the last page of the user stopped to be visible.
    until_us: Option<i64>,
}

/// See the module.
pub struct AttentionTable {
    clock: Arc<dyn Clock>,
    // A visible page says so this often: for so long it may be believed to be as it was when it was last heard. Longer would
    // let a laptop that was just closed keep its user's phone silent.
    believed_us: i64,
    // One entry per user who ever had a visible page since the start.
    users: Mutex<HashMap<UserName, OfUser>>,
}

impl AttentionTable {
    /// `heartbeat_interval` is that of live sockets.
    pub fn new(clock: Arc<dyn Clock>, heartbeat_interval: Duration) -> Self {
        let believed_us = i64::try_from(heartbeat_interval.as_micros()).unwrap_or(i64::MAX);
        Self { clock, believed_us, users: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<UserName, OfUser>> {
        // The guarded code does not panic; were it poisoned, its content would still be whole.
        self.users.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// A socket said whether its page is visible.
    pub fn heard(&self, user: &UserName, socket: u64, visible: bool) {
        if visible {
            self.lock().entry(user.clone()).or_default().visible.insert(socket, self.clock.now_us());
        } else {
            self.gone(user, socket);
        }
    }

    /// A socket ended, or its page is not visible any more.
    pub fn gone(&self, user: &UserName, socket: u64) {
        let mut users = self.lock();
        if let Some(of_user) = users.get_mut(user)
            && let Some(heard_us) = of_user.visible.remove(&socket)
        {
            let until_us = self.clock.now_us().min(heard_us.saturating_add(self.believed_us));
            of_user.until_us = of_user.until_us.max(Some(until_us));
        }
    }
}

impl Attention for AttentionTable {
    fn last_visible_us(&self, user: &UserName) -> Option<i64> {
        let now_us = self.clock.now_us();
        let users = self.lock();
        let of_user = users.get(user)?;
        let until = of_user.visible.values().map(|heard_us| now_us.min(heard_us.saturating_add(self.believed_us)));
        // A clock that was set back must not leave anyone watching until it has caught up.
        until.max().max(of_user.until_us).map(|until_us| until_us.min(now_us))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicI64, Ordering};

    struct Hand(AtomicI64);

    impl Clock for Hand {
        fn now_us(&self) -> i64 {
            self.0.load(Ordering::Relaxed)
        }
    }

    #[test]
    fn a_user_watches_while_any_page_is_visible_and_heard() {
        let clock = Arc::new(Hand(AtomicI64::new(0)));
        let table = AttentionTable::new(clock.clone(), Duration::from_micros(10));
        let user = UserName::parse("kim").expect("valid");
        assert_eq!(table.last_visible_us(&user), None);
        table.heard(&user, 1, true);
        table.heard(&user, 2, true);
        clock.0.store(5, Ordering::Relaxed);
        table.heard(&user, 1, false);
        assert_eq!(table.last_visible_us(&user), Some(5));
        clock.0.store(100, Ordering::Relaxed);
        assert_eq!(table.last_visible_us(&user), Some(10), "a page that went silent counts for one interval");
        table.heard(&user, 2, true);
        clock.0.store(110, Ordering::Relaxed);
        table.gone(&user, 2);
        clock.0.store(200, Ordering::Relaxed);
        assert_eq!(table.last_visible_us(&user), Some(110));
        clock.0.store(50, Ordering::Relaxed);
        assert_eq!(table.last_visible_us(&user), Some(50), "a clock that was set back");
    }
}
