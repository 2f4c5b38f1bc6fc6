//! What a person wants to be told, when, and how it looks. Each endpoint may differ from what its person wants elsewhere.

use crate::ids::GroupName;
use crate::notify::StormCap;
use crate::schedule::Schedule;
use crate::severity::Severity;
use std::collections::BTreeSet;
use std::ops::RangeInclusive;

/// Most device groups that preferences may name.
pub const GROUPS_MAX: usize = 64;
/// How often a digest may come, in µs: 5 min to a day.
pub const DIGEST_US: RangeInclusive<i64> = 300_000_000..=86_400_000_000;

/// Which severities a person is told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Severities {
    /// By severity: info, warning, critical.
    pub told: [bool; 3],
}

impl Severities {
    /// All.
    pub const ALL: Self = Self { told: [true; 3] };

    /// True if it is among them.
    pub fn contains(self, severity: Severity) -> bool {
        self.told[severity as usize]
    }
}

/// Times in which a person wants quiet.
#[derive(Debug, Clone, PartialEq)]
pub struct QuietHours {
    /// When.
    pub schedule: Schedule,
    /// True if what is critical comes all the same.
    pub critical_passes: bool,
}

/// Whether a message may be heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Sound {
    /// News that are more than an information.
    #[default]
    Auto,
    /// All news.
    Always,
    /// Nothing.
    Never,
}

/// Whether a message stays on the screen until someone touches it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Stay {
    /// What is critical.
    #[default]
    Critical,
    /// All news.
    Always,
    /// Nothing.
    Never,
}

/// The language of what is not written by people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Language {
    /// English.
    #[default]
    En,
    /// German.
    De,
}

/// What counts for one endpoint.
#[derive(Debug, Clone, PartialEq)]
pub struct Preferences {
    /// Of alerts with these severities.
    pub severities: Severities,
    /// Of devices in these groups; None: of all devices, also of those in no group.
    pub groups: Option<BTreeSet<GroupName>>,
    /// Also that an alert is over.
    pub resolved: bool,
    /// Not then.
    pub quiet: Option<QuietHours>,
    /// What is not critical is gathered for so long, µs within [`DIGEST_US`], and told at once; None: as it happens.
    pub digest_us: Option<i64>,
    /// No more than so many messages within a minute; the rest is told as one.
    pub cap: StormCap,
    /// What is heard.
    pub sound: Sound,
    /// What stays on the screen.
    pub stay: Stay,
    /// In which language.
    pub language: Language,
}

impl Default for Preferences {
    /// Everything at once, as before anyone chose anything.
    fn default() -> Self {
        Self {
            severities: Severities::ALL,
            groups: None,
            resolved: true,
            quiet: None,
            digest_us: None,
            cap: StormCap::default(),
            sound: Sound::default(),
            stay: Stay::default(),
            language: Language::default(),
        }
    }
}

/// Where an endpoint differs from its person's preferences; None: it does not. The outer option of `groups`, `quiet` and
/// `digest_us` says whether it differs, the inner one is the preference.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct EndpointPreferences {
    /// See [`Preferences::severities`].
    pub severities: Option<Severities>,
    /// See [`Preferences::groups`].
    pub groups: Option<Option<BTreeSet<GroupName>>>,
    /// See [`Preferences::resolved`].
    pub resolved: Option<bool>,
    /// See [`Preferences::quiet`].
    pub quiet: Option<Option<QuietHours>>,
    /// See [`Preferences::digest_us`].
    pub digest_us: Option<Option<i64>>,
    /// See [`Preferences::sound`].
    pub sound: Option<Sound>,
    /// See [`Preferences::stay`].
    pub stay: Option<Stay>,
}

impl Preferences {
    /// What counts for an endpoint.
    pub fn at(&self, endpoint: &EndpointPreferences) -> Self {
        Self {
            severities: endpoint.severities.unwrap_or(self.severities),
            groups: endpoint.groups.clone().unwrap_or_else(|| self.groups.clone()),
            resolved: endpoint.resolved.unwrap_or(self.resolved),
            quiet: endpoint.quiet.clone().unwrap_or_else(|| self.quiet.clone()),
            digest_us: endpoint.digest_us.unwrap_or(self.digest_us),
            cap: self.cap,
            sound: endpoint.sound.unwrap_or(self.sound),
            stay: endpoint.stay.unwrap_or(self.stay),
            language: self.language,
        }
    }
}
