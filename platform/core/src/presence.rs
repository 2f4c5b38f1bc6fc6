//! Whether a device is there.

/// SPEC §9.7.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Presence {
    /// No session.
    Offline,
    /// A session, and telemetry lately.
    Online,
    /// A session, but no telemetry for longer than `stale_after`.
    Stale,
}

impl Presence {
    /// The name used in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Offline => "offline",
            Self::Online => "online",
            Self::Stale => "stale",
        }
    }

    /// The presence with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Offline, Self::Online, Self::Stale].into_iter().find(|p| p.name() == name)
    }
}

/// Decides a device's presence. `fresh_us` is when it connected or last sent telemetry, whichever is later: a device that
/// has just connected is online before its first report.
pub fn presence(connected: bool, fresh_us: i64, now_us: i64, stale_after_us: i64) -> Presence {
    if !connected {
        Presence::Offline
    } else if now_us.saturating_sub(fresh_us) > stale_after_us {
        Presence::Stale
    } else {
        Presence::Online
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_session_becomes_stale_only_after_the_limit() {
        assert_eq!(presence(false, 100, 100, 10), Presence::Offline);
        assert_eq!(presence(true, 100, 110, 10), Presence::Online);
        assert_eq!(presence(true, 100, 111, 10), Presence::Stale);
    }
}
