use pulsewire_core::ids::UserName;

/// Who is looking at a page now. A user who sees an alert on the screen needs no message about it.
pub trait Attention: Send + Sync {
    /// When a page of this user was last known to be visible, µs since the Unix epoch; while one is, that is now. None if
    /// that was long ago, or never since the start.
    fn last_visible_us(&self, user: &UserName) -> Option<i64>;
}
