//! Whether a message is pushed: not to who sees it on the screen, not when nobody needs it any more.

use crate::notice::NoticeKind;

/// Why a message is not pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Suppression {
    /// The user had a visible page since the message was made.
    Watching,
    /// Someone acknowledged the alert before it was pushed.
    Acknowledged,
    /// The alert ended before it was pushed.
    ResolvedInGrace,
    /// The end of an alert of which this user was not told.
    NeverTold,
    /// The user has no endpoint.
    NoEndpoint,
    /// The message's time is over.
    Expired,
    /// What it is about was older than the message may get when it was made.
    Stale,
}

impl Suppression {
    /// Every reason.
    pub const ALL: [Self; 7] = [
        Self::Watching,
        Self::Acknowledged,
        Self::ResolvedInGrace,
        Self::NeverTold,
        Self::NoEndpoint,
        Self::Expired,
        Self::Stale,
    ];

    /// The name used in JSON and in the store.
    pub fn name(self) -> &'static str {
        match self {
            Self::Watching => "watching",
            Self::Acknowledged => "acknowledged",
            Self::ResolvedInGrace => "resolved_in_grace",
            Self::NeverTold => "never_told",
            Self::NoEndpoint => "no_endpoint",
            Self::Expired => "expired",
            Self::Stale => "stale",
        }
    }

    /// For people; `user` is who would have got it.
    pub fn text(self, user: &str, gate: &Gate) -> String {
        match self {
            Self::Watching => {
                let seen = gate.last_visible_us.unwrap_or(gate.now_us).min(gate.now_us);
                format!("not pushed: {user} had a visible page at {} UTC", time_of_day(seen))
            }
            Self::Acknowledged => "not pushed: the alert was acknowledged first".into(),
            Self::ResolvedInGrace => "not pushed: the alert was over before the grace time was".into(),
            Self::NeverTold => format!("not pushed: {user} was not told that the alert began"),
            Self::NoEndpoint => format!("not pushed: {user} has no browser or app registered for messages"),
            Self::Expired => "not pushed: its time was over before it could be sent".into(),
            Self::Stale => "not pushed: what it is about was already long ago when it became known".into(),
        }
    }
}

fn time_of_day(time_us: i64) -> String {
    let seconds = time_us.div_euclid(1_000_000).rem_euclid(86_400);
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// What decides. Times are µs since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gate {
    /// What the message is about.
    pub kind: NoticeKind,
    /// The time.
    pub now_us: i64,
    /// When the message was made.
    pub created_us: i64,
    /// When its grace is over.
    pub due_us: i64,
    /// When it is not worth telling any more.
    pub expires_us: i64,
    /// When what it is about happened.
    pub event_us: i64,
    /// When a page of the user was last visible.
    pub last_visible_us: Option<i64>,
    /// The alert is acknowledged.
    pub acknowledged: bool,
    /// The alert does not fire any more.
    pub resolved: bool,
    /// The message of the alert's beginning reached a provider, or may have.
    pub told: bool,
    /// The user has an endpoint that the message can go to.
    pub has_endpoint: bool,
}

/// What to do with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Push it.
    SendNow,
    /// Decide again then.
    WaitUntil(i64),
    /// Do not push it.
    Suppress(Suppression),
}

/// Decides. A test message goes out whoever watches. So does the end of an alert of which the user was told: the phone in
/// the pocket shows it as firing until then.
pub fn decide(gate: &Gate) -> Decision {
    use Suppression::{Acknowledged, Expired, NeverTold, NoEndpoint, ResolvedInGrace, Stale, Watching};
    let lifetime_us = gate.expires_us.saturating_sub(gate.created_us);
    let is_alarm = gate.kind == NoticeKind::Firing;
    let seen = gate.last_visible_us.is_some_and(|seen| seen >= gate.created_us);
    match gate.kind {
        NoticeKind::Firing if gate.resolved => Decision::Suppress(ResolvedInGrace),
        NoticeKind::Firing if gate.acknowledged => Decision::Suppress(Acknowledged),
        NoticeKind::Resolved if !gate.told => Decision::Suppress(NeverTold),
        NoticeKind::Firing if gate.created_us.saturating_sub(gate.event_us) > lifetime_us => Decision::Suppress(Stale),
        _ if gate.now_us >= gate.expires_us => Decision::Suppress(Expired),
        NoticeKind::Firing | NoticeKind::Resolved if gate.now_us < gate.due_us => Decision::WaitUntil(gate.due_us),
        _ if is_alarm && seen => Decision::Suppress(Watching),
        _ if !gate.has_endpoint => Decision::Suppress(NoEndpoint),
        _ => Decision::SendNow,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: i64 = 1_000_000;

    fn alarm() -> Gate {
        Gate {
            kind: NoticeKind::Firing,
            now_us: 110 * S,
            created_us: 100 * S,
            due_us: 110 * S,
            expires_us: 3700 * S,
            event_us: 99 * S,
            last_visible_us: None,
            acknowledged: false,
            resolved: false,
            told: false,
            has_endpoint: true,
        }
    }

    fn suppressed(gate: Gate) -> Option<&'static str> {
        match decide(&gate) {
            Decision::Suppress(why) => Some(why.name()),
            _ => None,
        }
    }

    #[test]
    fn an_alarm_waits_for_its_grace_and_is_then_pushed() {
        let early = Gate { now_us: 109 * S, ..alarm() };
        assert_eq!(decide(&early), Decision::WaitUntil(110 * S));
        assert_eq!(decide(&alarm()), Decision::SendNow);
    }

    #[test]
    fn who_saw_it_on_the_screen_is_not_pushed_and_who_looked_before_it_is() {
        let watching = Gate { last_visible_us: Some(103 * S), ..alarm() };
        assert_eq!(suppressed(watching), Some("watching"));
        assert_eq!(Suppression::Watching.text("kim", &watching), "not pushed: kim had a visible page at 00:01:43 UTC");
        assert_eq!(decide(&Gate { last_visible_us: Some(99 * S), ..alarm() }), Decision::SendNow);
    }

    #[test]
    fn what_nobody_needs_any_more_is_not_pushed_even_within_the_grace() {
        let early = Gate { now_us: 101 * S, ..alarm() };
        assert_eq!(suppressed(Gate { acknowledged: true, ..early }), Some("acknowledged"));
        assert_eq!(suppressed(Gate { resolved: true, ..early }), Some("resolved_in_grace"));
        assert_eq!(suppressed(Gate { has_endpoint: false, ..alarm() }), Some("no_endpoint"));
        assert_eq!(suppressed(Gate { now_us: 3700 * S, ..alarm() }), Some("expired"));
        assert_eq!(suppressed(Gate { event_us: -3600 * S, ..early }), Some("stale"));
    }

    #[test]
    fn the_end_of_an_alert_is_told_to_who_was_told_of_its_beginning() {
        let end = Gate { kind: NoticeKind::Resolved, resolved: true, ..alarm() };
        assert_eq!(suppressed(end), Some("never_told"));
        let told = Gate { told: true, last_visible_us: Some(109 * S), acknowledged: true, ..end };
        assert_eq!(decide(&told), Decision::SendNow);
    }

    #[test]
    fn a_test_goes_out_at_once_whoever_watches() {
        let test = Gate { kind: NoticeKind::Test, now_us: 100 * S, last_visible_us: Some(100 * S), ..alarm() };
        assert_eq!(decide(&test), Decision::SendNow);
        assert_eq!(suppressed(Gate { has_endpoint: false, ..test }), Some("no_endpoint"));
    }
}
