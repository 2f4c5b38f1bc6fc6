//! Whether a message that passed the gate goes to one endpoint now, later or not at all: what its person wishes.

use super::preferences::Preferences;
use crate::ids::GroupName;
use crate::notice::NoticeKind;
use crate::severity::Severity;

/// Why a message waits although it passed the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Held {
    /// The person wants quiet now.
    QuietHours,
    /// The person wants it with others.
    Digest,
    /// The person got as many messages within a minute as may be.
    Storm,
    /// An admin paused what it is a part of. Nothing here decides that.
    Paused,
}

impl Held {
    /// Every reason.
    pub const ALL: [Self; 4] = [Self::QuietHours, Self::Digest, Self::Storm, Self::Paused];

    /// The name used in JSON and in the store.
    pub fn name(self) -> &'static str {
        match self {
            Self::QuietHours => "quiet_hours",
            Self::Digest => "digest",
            Self::Storm => "storm",
            Self::Paused => "paused",
        }
    }

    /// For people.
    pub fn text(self) -> &'static str {
        match self {
            Self::QuietHours => "waits for the end of the quiet hours",
            Self::Digest => "waits to be told with others",
            Self::Storm => "waits: there were too many messages within a minute",
            Self::Paused => "waits: it was paused",
        }
    }
}

/// Why a message does not go to an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unwanted {
    /// The endpoint is muted.
    Muted,
    /// The end of an alert of which this endpoint was not told.
    NeverTold,
    /// The person does not want this severity there.
    Severity,
    /// The person does not want these devices there.
    Group,
    /// The person does not want to know that alerts are over.
    Resolved,
    /// It is not worth telling any more when the quiet hours end.
    QuietHours,
    /// Another message told it, together with others.
    Digested,
}

impl Unwanted {
    /// Every reason.
    pub const ALL: [Self; 7] =
        [Self::Muted, Self::NeverTold, Self::Severity, Self::Group, Self::Resolved, Self::QuietHours, Self::Digested];

    /// The name used in JSON and in the store.
    pub fn name(self) -> &'static str {
        match self {
            Self::Muted => "muted",
            Self::NeverTold => "never_told",
            Self::Severity => "severity_unwanted",
            Self::Group => "group_unwanted",
            Self::Resolved => "resolved_unwanted",
            Self::QuietHours => "quiet_hours",
            Self::Digested => "digested",
        }
    }

    /// For people. No two are the same, so that [`from_text`](Self::from_text) finds the reason again.
    pub fn text(self) -> &'static str {
        match self {
            Self::Muted => "not pushed: this endpoint is muted",
            Self::NeverTold => "not pushed: it was not told here that the alert began",
            Self::Severity => "not pushed: this severity is not wanted here",
            Self::Group => "not pushed: devices of this group are not wanted here",
            Self::Resolved => "not pushed: the end of alerts is not wanted here",
            Self::QuietHours => "not pushed: its time is over before the quiet hours are",
            Self::Digested => "told together with others",
        }
    }

    /// The reason with this text.
    pub fn from_text(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|why| why.text() == text)
    }
}

/// What decides about a message, beside its person's preferences. Times are µs since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct About<'a> {
    /// What it is about.
    pub kind: NoticeKind,
    /// How bad.
    pub severity: Severity,
    /// The device groups of its alerts, each with None for devices in none; None if not all are known, which lets it pass.
    pub groups: Option<&'a [Option<GroupName>]>,
    /// When its grace was over: from then on it can be gathered with others.
    pub due_us: i64,
    /// When it is not worth telling any more.
    pub expires_us: i64,
    /// Of an alert's end: the endpoint was told of the beginning, or may have been.
    pub told: bool,
    /// It only takes the place of what the endpoint shows.
    pub replaces: bool,
    /// It went to another endpoint of the person: the cap has counted it.
    pub counted: bool,
}

/// What to do with a message at an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Course {
    /// It goes out.
    Send,
    /// It is looked at again.
    Hold {
        /// When, µs since the Unix epoch; always later than now.
        until_us: i64,
        /// Why.
        why: Held,
    },
    /// It does not go there.
    Withdraw(Unwanted),
}

/// Decides, by the preferences that count for the endpoint; `sent_us` are the times of the messages that the person got within
/// the last minute. Tests are never held up.
///
/// What is gathered goes at the next multiple of the interval, counted from the Unix epoch: at the full hour for `1h`, at
/// midnight UTC for `24h`. So what several alerts tell comes together, whenever each began.
pub fn deliver(preferences: &Preferences, muted: bool, about: &About<'_>, sent_us: &[i64], now_us: i64) -> Course {
    use Course::{Hold, Send, Withdraw};
    if about.kind == NoticeKind::Test {
        return Send;
    }
    if muted {
        return Withdraw(Unwanted::Muted);
    }
    // What takes the place of something that is shown goes where that went, whatever its severity and group are by now.
    let of_alerts =
        matches!(about.kind, NoticeKind::Firing | NoticeKind::Resolved | NoticeKind::Acknowledged) && !about.replaces;
    if of_alerts && !preferences.severities.contains(about.severity) {
        return Withdraw(Unwanted::Severity);
    }
    if let (true, Some(wanted), Some(groups)) = (of_alerts, &preferences.groups, about.groups)
        && !groups.iter().flatten().any(|group| wanted.contains(group))
    {
        return Withdraw(Unwanted::Group);
    }
    if about.kind == NoticeKind::Resolved && !preferences.resolved {
        return Withdraw(Unwanted::Resolved);
    }
    if about.kind == NoticeKind::Resolved && !about.told {
        return Withdraw(Unwanted::NeverTold);
    }
    let critical = about.severity == Severity::Critical;
    if let Some(quiet) = &preferences.quiet
        && !(critical && quiet.critical_passes)
        && quiet.schedule.contains(now_us)
    {
        return match quiet.schedule.next_change_us(now_us) {
            Some(until_us) if until_us < about.expires_us => Hold { until_us, why: Held::QuietHours },
            _ => Withdraw(Unwanted::QuietHours),
        };
    }
    let gathers = matches!(about.kind, NoticeKind::Firing | NoticeKind::Resolved) && !about.replaces && !critical;
    if let (true, Some(interval_us)) = (gathers, preferences.digest_us.filter(|us| *us > 0)) {
        let until_us = (about.due_us.div_euclid(interval_us)).saturating_add(1).saturating_mul(interval_us);
        if now_us < until_us {
            return Hold { until_us, why: Held::Digest };
        }
    }
    // What takes a message's place makes no sound, and there are no more of these than messages.
    if !about.counted
        && !about.replaces
        && let Some(until_us) = preferences.cap.full_until_us(sent_us, now_us)
    {
        return Hold { until_us, why: Held::Storm };
    }
    Send
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::StormCap;
    use crate::push::preferences::{QuietHours, Severities};
    use crate::schedule::Schedule;
    use proptest::prelude::*;

    const S: i64 = 1_000_000;
    const MIN: i64 = 60 * S;
    const H: i64 = 60 * MIN;

    fn alarm() -> About<'static> {
        About {
            kind: NoticeKind::Firing,
            severity: Severity::Warning,
            groups: Some(&[]),
            due_us: 12 * H + 7 * MIN,
            expires_us: 40 * H,
            told: false,
            replaces: false,
            counted: false,
        }
    }

    fn end() -> About<'static> {
        About { kind: NoticeKind::Resolved, told: true, replaces: true, ..alarm() }
    }

    fn quiet(zone: &str, window: &str, critical_passes: bool) -> Preferences {
        let schedule = Schedule::parse_texts(zone, &[window]).expect("valid");
        Preferences { quiet: Some(QuietHours { schedule, critical_passes }), ..Preferences::default() }
    }

    fn check(preferences: &Preferences, about: &About<'_>, course: Course) {
        let now = about.due_us;
        assert_eq!(deliver(preferences, false, about, &[], now), course, "{preferences:?} {about:?}");
    }

    #[test]
    fn without_any_preference_everything_goes_out_and_a_muted_endpoint_gets_tests_only() {
        for kind in NoticeKind::ALL {
            let about = About { kind, ..end() };
            check(&Preferences::default(), &about, Course::Send);
            let muted = deliver(&Preferences::default(), true, &about, &[], about.due_us);
            let expected = if kind == NoticeKind::Test { Course::Send } else { Course::Withdraw(Unwanted::Muted) };
            assert_eq!(muted, expected, "{kind:?}");
        }
    }

    #[test]
    fn severities_groups_and_ends_that_are_not_wanted_are_withdrawn() {
        let critical = Preferences { severities: Severities { told: [false, false, true] }, ..Preferences::default() };
        check(&critical, &alarm(), Course::Withdraw(Unwanted::Severity));
        check(&critical, &About { severity: Severity::Critical, ..alarm() }, Course::Send);
        check(&critical, &About { kind: NoticeKind::Announcement, severity: Severity::Info, ..alarm() }, Course::Send);
        let group = |name: &str| GroupName::parse(name).expect("valid");
        let north = Preferences { groups: Some([group("north")].into()), ..Preferences::default() };
        let (both, other) = ([Some(group("south")), Some(group("north"))], [Some(group("south")), None]);
        check(&north, &About { groups: Some(&both), ..alarm() }, Course::Send);
        check(&north, &About { groups: Some(&other), ..alarm() }, Course::Withdraw(Unwanted::Group));
        check(&north, &About { groups: None, ..alarm() }, Course::Send);
        check(&north, &About { kind: NoticeKind::Operator, groups: Some(&other), ..alarm() }, Course::Send);
        let begin_only = Preferences { resolved: false, ..Preferences::default() };
        check(&begin_only, &end(), Course::Withdraw(Unwanted::Resolved));
        check(&begin_only, &About { kind: NoticeKind::Acknowledged, ..end() }, Course::Send);
        check(&Preferences::default(), &About { told: false, ..end() }, Course::Withdraw(Unwanted::NeverTold));
    }

    #[test]
    fn quiet_hours_hold_until_their_end_and_what_expires_before_is_withdrawn() {
        let noon = quiet("UTC", "daily 12:00-13:00", true);
        check(&noon, &alarm(), Course::Hold { until_us: 13 * H, why: Held::QuietHours });
        check(&noon, &end(), Course::Hold { until_us: 13 * H, why: Held::QuietHours });
        check(&noon, &About { expires_us: 13 * H, ..alarm() }, Course::Withdraw(Unwanted::QuietHours));
        check(&noon, &About { severity: Severity::Critical, ..alarm() }, Course::Send);
        let strict = quiet("UTC", "daily 12:00-13:00", false);
        let critical = About { severity: Severity::Critical, ..alarm() };
        check(&strict, &critical, Course::Hold { until_us: 13 * H, why: Held::QuietHours });
        check(&strict, &About { kind: NoticeKind::Test, ..critical }, Course::Send);
        check(&quiet("UTC", "daily 00:00-24:00", true), &alarm(), Course::Withdraw(Unwanted::QuietHours));
    }

    #[test]
    fn what_is_gathered_goes_at_the_next_multiple_of_the_interval_after_it_was_due() {
        let hourly = Preferences { digest_us: Some(H), ..Preferences::default() };
        let at = |about: &About<'_>, now_us| deliver(&hourly, false, about, &[], now_us);
        let held = Course::Hold { until_us: 13 * H, why: Held::Digest };
        assert_eq!((at(&alarm(), 12 * H + 7 * MIN), at(&alarm(), 13 * H - 1)), (held, held));
        assert_eq!((at(&alarm(), 13 * H), at(&alarm(), 20 * H)), (Course::Send, Course::Send));
        assert_eq!(
            at(&About { due_us: 12 * H, ..alarm() }, 12 * H),
            held,
            "what comes at the full hour waits for the next"
        );
        assert_eq!(at(&About { severity: Severity::Critical, ..alarm() }, 12 * H + 7 * MIN), Course::Send);
        assert_eq!(at(&end(), 12 * H + 7 * MIN), Course::Send, "it takes the place of what is on the screen");
        assert_eq!(at(&About { replaces: false, ..end() }, 12 * H + 7 * MIN), held);
    }

    #[test]
    fn what_is_over_the_cap_waits_for_room_unless_it_was_counted_or_takes_a_place() {
        let two = Preferences { cap: StormCap::new(2).expect("ok"), ..Preferences::default() };
        let now = alarm().due_us;
        let sent = [now - 50 * S, now - 10 * S];
        let at = |about: &About<'_>| deliver(&two, false, about, &sent, now);
        assert_eq!(at(&alarm()), Course::Hold { until_us: now + 10 * S, why: Held::Storm });
        assert_eq!(at(&About { counted: true, ..alarm() }), Course::Send);
        assert_eq!(at(&end()), Course::Send);
        assert_eq!(at(&About { kind: NoticeKind::Test, ..alarm() }), Course::Send);
    }

    #[test]
    fn a_reason_is_found_again_by_its_text() {
        for why in Unwanted::ALL {
            assert_eq!(Unwanted::from_text(why.text()), Some(why));
        }
    }

    proptest! {
        /// Around the nights in which the clocks of Berlin change in 2026, and over the year.
        #[test]
        fn nothing_but_what_is_critical_and_tests_goes_out_in_quiet_hours(
            night in proptest::sample::select(vec![1_774_738_800i64, 1_792_879_200, 1_767_222_000, 1_782_860_400]),
            offset_s in -100_000i64..100_000,
            kind in proptest::sample::select(NoticeKind::ALL.to_vec()),
            severity in proptest::sample::select(Severity::ALL.to_vec()),
            critical_passes: bool,
            replaces: bool,
            digest in proptest::option::of(300i64..86_400),
        ) {
            let now_us = (night + offset_s) * S;
            let mut wishes = quiet("Europe/Berlin", "daily 22:00-06:00", critical_passes);
            wishes.digest_us = digest.map(|s| s * S);
            let about = About {
                kind, severity, groups: None, due_us: now_us - MIN, expires_us: now_us + 48 * H, told: true, replaces, counted: false,
            };
            let schedule = &wishes.quiet.as_ref().expect("quiet").schedule;
            let passes = kind == NoticeKind::Test || (critical_passes && severity == Severity::Critical);
            match deliver(&wishes, false, &about, &[], now_us) {
                Course::Send => prop_assert!(passes || !schedule.contains(now_us)),
                Course::Hold { until_us, why } => {
                    prop_assert!(until_us > now_us && kind != NoticeKind::Test);
                    if why == Held::QuietHours {
                        prop_assert!(!passes && schedule.contains(now_us) && !schedule.contains(until_us));
                        prop_assert!(until_us - now_us <= 9 * H, "no night is longer");
                    }
                }
                Course::Withdraw(why) => prop_assert!(false, "{why:?}"),
            }
        }
    }
}
