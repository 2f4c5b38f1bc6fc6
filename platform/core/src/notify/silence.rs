//! Silences and maintenance: what nobody wants to hear of, for a while.

use super::matcher::{Matcher, MatcherError};
use crate::ids::{SilenceId, UserName};
use std::collections::BTreeMap;

/// Longest a silence may last, in µs: 366 days. What is silenced for ever is a rule to disable.
pub const SILENCE_US_MAX: i64 = 366 * 86_400_000_000;
/// Most bytes of a reason.
pub const REASON_BYTES_MAX: usize = 512;
/// Most matchers of one silence.
pub const MATCHERS_MAX: usize = 16;
/// Most silences that are planned or active at a time; one more is refused.
pub const SILENCES_MAX: usize = 1_000;

/// Why nobody is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SilenceKind {
    /// Someone does not want to hear of it.
    Silence,
    /// Someone works on the device: what it reports is not trouble.
    Maintenance,
}

impl SilenceKind {
    /// Every kind.
    pub const ALL: [Self; 2] = [Self::Silence, Self::Maintenance];

    /// The name used in JSON and in the store.
    pub fn name(self) -> &'static str {
        match self {
            Self::Silence => "silence",
            Self::Maintenance => "maintenance",
        }
    }

    /// The kind with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// Where a silence stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SilenceState {
    /// It has not begun.
    Planned,
    /// It silences.
    Active,
    /// It is over.
    Ended,
}

impl SilenceState {
    /// The name used in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Active => "active",
            Self::Ended => "ended",
        }
    }
}

/// Alerts that fit all matchers are not told of from `starts_us` until just before `ends_us`. Times are µs since the Unix epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Silence {
    /// Which.
    pub id: SilenceId,
    /// Silence or maintenance.
    pub kind: SilenceKind,
    /// What it means; all have to fit.
    pub matchers: Vec<Matcher>,
    /// When it begins.
    pub starts_us: i64,
    /// When it was meant to be over.
    pub ends_us: i64,
    /// For people: why.
    pub reason: String,
    /// Who made it.
    pub created_by: UserName,
    /// When.
    pub created_us: i64,
    /// When it was last edited or ended.
    pub updated_us: i64,
    /// When someone ended it before its time. If that is before `starts_us`, it never was active.
    pub ended_early_us: Option<i64>,
}

/// Why a silence cannot be. The message names the field, what was given and what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SilenceError {
    /// A matcher that is none.
    #[error(transparent)]
    Matcher(#[from] MatcherError),
    /// None, or too many.
    #[error("matchers: {given} are given; 1 to {MATCHERS_MAX} are allowed")]
    MatcherCount {
        /// How many.
        given: usize,
    },
    /// It would silence everything, and nobody said that this is meant.
    #[error(
        "matchers: {given} fits also an alert without any label, so it would silence nearly everything; add a matcher such as \
         device=…, group=… or rule=…, or say everything=true"
    )]
    Everything {
        /// The matchers, cut.
        given: String,
    },
    /// It ends before it begins, or lasts too long.
    #[error("ends is {seconds} s after starts; more than 0 s and at most 366 days is allowed")]
    Duration {
        /// What was given.
        seconds: i64,
    },
    /// A reason that is missing, too long or does not print.
    #[error("reason {given:?} is not valid: 1-512 bytes without control characters")]
    Reason {
        /// What was given, cut.
        given: String,
    },
    /// There are too many already.
    #[error("{SILENCES_MAX} silences are planned or active; end some first")]
    Full,
}

impl SilenceError {
    /// The field that is to blame.
    pub fn field(&self) -> &'static str {
        match self {
            Self::Matcher(_) | Self::MatcherCount { .. } | Self::Everything { .. } | Self::Full => "matchers",
            Self::Duration { .. } => "ends",
            Self::Reason { .. } => "reason",
        }
    }
}

impl Silence {
    /// Checks what the types do not. `everything`: whoever makes it says that it may silence everything.
    ///
    /// # Errors
    /// [`SilenceError`].
    pub fn check(&self, everything: bool) -> Result<(), SilenceError> {
        if self.matchers.is_empty() || self.matchers.len() > MATCHERS_MAX {
            return Err(SilenceError::MatcherCount { given: self.matchers.len() });
        }
        self.matchers.iter().try_for_each(Matcher::check)?;
        // Alertmanager's rule: at least one matcher wants a label to be there.
        if !everything && self.matchers.iter().all(|matcher| matcher.matches_value(None)) {
            let given: Vec<String> = self.matchers.iter().map(Matcher::to_string).collect();
            return Err(SilenceError::Everything { given: given.join(", ").chars().take(120).collect() });
        }
        let duration_us = self.ends_us.saturating_sub(self.starts_us);
        if !(1..=SILENCE_US_MAX).contains(&duration_us) {
            return Err(SilenceError::Duration { seconds: duration_us / 1_000_000 });
        }
        let control = |c: char| c.is_control() && c != '\n';
        if self.reason.trim().is_empty() || self.reason.len() > REASON_BYTES_MAX || self.reason.chars().any(control) {
            return Err(SilenceError::Reason { given: self.reason.chars().take(80).collect() });
        }
        Ok(())
    }

    /// When it really is over.
    pub fn over_us(&self) -> i64 {
        self.ended_early_us.map_or(self.ends_us, |early| early.min(self.ends_us))
    }

    /// Where it stands.
    pub fn state(&self, now_us: i64) -> SilenceState {
        if now_us >= self.over_us() || self.over_us() <= self.starts_us {
            SilenceState::Ended
        } else if now_us < self.starts_us {
            SilenceState::Planned
        } else {
            SilenceState::Active
        }
    }

    /// True if an alert with these labels is meant, whatever the time.
    pub fn matches<'l>(&self, labels: &dyn Fn(&str) -> Option<&'l str>) -> bool {
        !self.matchers.is_empty() && self.matchers.iter().all(|matcher| matcher.matches(labels))
    }
}

/// The silences that are not over. Those that are belong to the store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Silences {
    by_id: BTreeMap<SilenceId, Silence>,
}

impl Silences {
    /// How many there are, over ones included until the next [`put`](Self::put).
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Adds a checked silence or replaces it, and forgets those that are over.
    ///
    /// # Errors
    /// [`SilenceError::Full`] beyond [`SILENCES_MAX`]; nothing changes then, and one that is there can still be replaced.
    pub fn put(&mut self, silence: Silence, now_us: i64) -> Result<(), SilenceError> {
        self.by_id.retain(|_, known| known.state(now_us) != SilenceState::Ended);
        if silence.state(now_us) == SilenceState::Ended {
            self.by_id.remove(&silence.id);
            return Ok(());
        }
        if self.by_id.len() >= SILENCES_MAX && !self.by_id.contains_key(&silence.id) {
            return Err(SilenceError::Full);
        }
        self.by_id.insert(silence.id, silence);
        Ok(())
    }

    /// The one with this id.
    pub fn get(&self, id: SilenceId) -> Option<&Silence> {
        self.by_id.get(&id)
    }

    /// All of them, the oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Silence> {
        self.by_id.values()
    }

    /// The silence that keeps an alert with these labels quiet; of several, the one that lasts longest.
    pub fn active_for<'l>(&self, labels: &dyn Fn(&str) -> Option<&'l str>, now_us: i64) -> Option<&Silence> {
        let active = self.by_id.values().filter(|silence| silence.state(now_us) == SilenceState::Active);
        active.filter(|silence| silence.matches(labels)).max_by_key(|silence| silence.over_us())
    }

    /// When the next silence begins or is over, after `now_us`: then alerts have to be looked at again.
    pub fn next_change_us(&self, now_us: i64) -> Option<i64> {
        let live = self.by_id.values().filter(|silence| silence.state(now_us) != SilenceState::Ended);
        live.flat_map(|silence| [silence.starts_us, silence.over_us()]).filter(|at| *at > now_us).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ulid::Ulid;

    const HOUR: i64 = 3_600_000_000;

    fn silence(number: u128, matchers: &[&str], starts_us: i64, ends_us: i64) -> Silence {
        Silence {
            id: SilenceId(Ulid::from_parts(0, number)),
            kind: SilenceKind::Silence,
            matchers: matchers.iter().map(|text| Matcher::parse(text).expect("valid")).collect(),
            starts_us,
            ends_us,
            reason: "Defrosting.".into(),
            created_by: UserName::parse("kim").expect("valid"),
            created_us: 0,
            updated_us: 0,
            ended_early_us: None,
        }
    }

    fn fridge(label: &str) -> Option<&'static str> {
        match label {
            "device" => Some("fridge-1"),
            "rule" => Some("too-warm"),
            _ => None,
        }
    }

    #[test]
    fn an_alert_is_quiet_from_the_begin_until_just_before_the_end() {
        let mut silences = Silences::default();
        let planned = silence(1, &["device=fridge-1"], 10, 20);
        silences.put(planned.clone(), 0).expect("room");
        assert_eq!(planned.state(9), SilenceState::Planned);
        let active = |at| silences.active_for(&fridge, at).is_some();
        assert_eq!([9, 10, 19, 20].map(active), [false, true, true, false]);
        assert_eq!([0, 10, 19, 20].map(|at| silences.next_change_us(at)), [Some(10), Some(20), Some(20), None]);
    }

    #[test]
    fn all_matchers_have_to_fit() {
        let fits = |matchers: &[&str]| silence(1, matchers, 0, 10).matches(&fridge);
        assert!(fits(&["device=fridge-*", "rule=*warm", "group!=lab"]));
        assert!(!fits(&["device=fridge-*", "group=lab"]));
    }

    #[test]
    fn of_several_the_one_that_lasts_longest_is_shown() {
        let mut silences = Silences::default();
        for (number, ends) in [(1, 20), (2, 30), (3, 25)] {
            silences.put(silence(number, &["device=*1"], 0, ends), 0).expect("room");
        }
        assert_eq!(silences.active_for(&fridge, 5).map(|s| s.ends_us), Some(30));
    }

    #[test]
    fn one_that_is_ended_early_silences_no_more_and_is_forgotten() {
        let mut silences = Silences::default();
        let mut ended = silence(1, &["device=fridge-1"], 10, 20);
        silences.put(ended.clone(), 0).expect("room");
        ended.ended_early_us = Some(15);
        silences.put(ended.clone(), 14).expect("room");
        assert!(silences.active_for(&fridge, 14).is_some() && silences.active_for(&fridge, 15).is_none());
        ended.ended_early_us = Some(5);
        assert_eq!(ended.state(4), SilenceState::Ended, "withdrawn before it began");
        silences.put(ended, 16).expect("room");
        assert!(silences.is_empty());
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_the_remedy() {
        let check = |s: &Silence, everything| s.check(everything).map_err(|e| e.to_string());
        assert!(check(&silence(1, &[], 0, HOUR), true).expect_err("none").contains("1 to 16"));
        for nearly_all in ["device=*", "group!=lab", "rule!=*x*"] {
            let s = silence(1, &[nearly_all], 0, HOUR);
            assert!(check(&s, false).expect_err("all").contains("everything=true"), "{nearly_all}");
            assert_eq!(check(&s, true), Ok(()));
        }
        assert_eq!(check(&silence(1, &["group!=lab", "rule=x"], 0, HOUR), false), Ok(()));
        assert!(check(&silence(1, &["a=b"], 10, 10), false).is_err());
        assert!(check(&silence(1, &["a=b"], i64::MIN, i64::MAX), false).is_err());
        assert!(check(&silence(1, &["a=b"], 0, SILENCE_US_MAX), false).is_ok());
        assert!(check(&silence(1, &["a=b"], 0, SILENCE_US_MAX + 1), false).expect_err("long").contains("366 days"));
        for reason in ["", "  ", "a\u{7}", &"x".repeat(513)] {
            let s = Silence { reason: reason.to_owned(), ..silence(1, &["a=b"], 0, HOUR) };
            assert!(check(&s, false).expect_err("reason").contains("1-512 bytes"));
        }
    }

    #[test]
    fn a_full_list_refuses_new_ones_and_takes_edits() {
        let mut silences = Silences::default();
        for number in 0..SILENCES_MAX as u128 {
            silences.put(silence(number, &["a=b"], 0, 100), 0).expect("room");
        }
        assert_eq!(silences.put(silence(5000, &["a=b"], 0, 100), 0), Err(SilenceError::Full));
        assert_eq!(silences.put(silence(7, &["a=c"], 0, 100), 0), Ok(()));
        assert_eq!(silences.put(silence(5000, &["a=b"], 0, 200), 100), Ok(()), "those that are over make room");
        assert_eq!(silences.len(), 1);
    }
}
