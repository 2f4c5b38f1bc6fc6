//! Preferences as people write them: in JSON over HTTP, and in the store.

use super::preferences::{
    DIGEST_US, EndpointPreferences, GROUPS_MAX, Language, Preferences, QuietHours, Severities, Sound, Stay,
};
use crate::ids::GroupName;
use crate::notify::{PER_MINUTE_MAX, StormCap};
use crate::schedule::Schedule;
use crate::severity::Severity;
use crate::span;
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeSet;

/// Longest part of what was given that an error repeats, in characters.
const GIVEN_CHARS: usize = 80;

/// A preference that cannot be accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct PreferencesError {
    /// The field that is to blame, as in JSON: `quiet_hours.zone`.
    pub field: &'static str,
    /// The field, what was given, and what is allowed.
    pub problem: String,
}

/// When a person wants quiet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuietHoursDocument {
    /// A name of the IANA time zone data base.
    pub zone: String,
    /// `mon-fri 22:00-06:00`; 1 to 32.
    pub windows: Vec<String>,
    /// True if absent.
    #[serde(default = "yes")]
    pub critical_passes: bool,
}

fn yes() -> bool {
    true
}

/// [`Preferences`] as a document. What is absent takes its default; what is written again has every field.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PreferencesDocument {
    /// One to three of `info`, `warning`, `critical`; all if absent.
    pub severities: Option<Vec<String>>,
    /// All devices if absent or null.
    pub groups: Option<Vec<String>>,
    /// True if absent.
    pub resolved: Option<bool>,
    /// None if absent or null.
    pub quiet_hours: Option<QuietHoursDocument>,
    /// `5m` to `24h`; as it happens if absent or null.
    pub digest: Option<String>,
    /// 10 if absent.
    pub per_minute: Option<u32>,
    /// `auto` if absent, `always` or `never`.
    pub sound: Option<String>,
    /// `critical` if absent, `always` or `never`.
    pub require_interaction: Option<String>,
    /// `en` if absent, or `de`.
    pub language: Option<String>,
}

/// [`EndpointPreferences`] as a document: a field that is absent is as the person has it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(missing_docs)] // as `PreferencesDocument`
pub struct EndpointPreferencesDocument {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub severities: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub groups: Option<Option<Vec<String>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolved: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub quiet_hours: Option<Option<QuietHoursDocument>>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub digest: Option<Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sound: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub require_interaction: Option<String>,
}

/// A null is a value: serde alone would take it for an absent field.
fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(reader: D) -> Result<Option<Option<T>>, D::Error> {
    Option::<T>::deserialize(reader).map(Some)
}

fn cut(text: &str) -> String {
    text.chars().take(GIVEN_CHARS).collect()
}

fn one_of<T: Copy>(field: &'static str, given: &str, names: &[(&str, T)]) -> Result<T, PreferencesError> {
    if let Some((_, found)) = names.iter().find(|(name, _)| *name == given) {
        return Ok(*found);
    }
    let allowed: Vec<&str> = names.iter().map(|(name, _)| *name).collect();
    let problem = format!("{field} is {:?}; {} is allowed", cut(given), allowed.join(", "));
    Err(PreferencesError { field, problem })
}

const SOUNDS: [(&str, Sound); 3] = [("auto", Sound::Auto), ("always", Sound::Always), ("never", Sound::Never)];
const STAYS: [(&str, Stay); 3] = [("critical", Stay::Critical), ("always", Stay::Always), ("never", Stay::Never)];
const LANGUAGES: [(&str, Language); 2] = [("en", Language::En), ("de", Language::De)];
const SEVERITIES: [(&str, Severity); 3] =
    [("info", Severity::Info), ("warning", Severity::Warning), ("critical", Severity::Critical)];

fn name_of<T: PartialEq>(names: &[(&'static str, T)], value: &T) -> Option<String> {
    names.iter().find(|(_, one)| one == value).map(|(name, _)| (*name).to_owned())
}

impl Language {
    /// The name used in JSON and in pages: a tag of BCP 47.
    pub fn name(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::De => "de",
        }
    }

    /// The language with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        LANGUAGES.into_iter().find(|(one, _)| *one == name).map(|(_, language)| language)
    }
}

fn severities(names: &[String]) -> Result<Severities, PreferencesError> {
    let mut found = Severities { told: [false; 3] };
    for name in names {
        found.told[one_of("severities", name, &SEVERITIES)? as usize] = true;
    }
    if found.told == [false; 3] {
        let problem = "severities is empty; at least one of info, warning, critical is wanted (to hear nothing at a \
                       place, mute it)";
        return Err(PreferencesError { field: "severities", problem: problem.into() });
    }
    Ok(found)
}

fn severity_names(severities: Severities) -> Vec<String> {
    Severity::ALL.into_iter().filter(|s| severities.contains(*s)).map(|s| s.name().to_owned()).collect()
}

fn groups(names: &[String]) -> Result<BTreeSet<GroupName>, PreferencesError> {
    let wrong = |problem: String| PreferencesError { field: "groups", problem };
    if names.is_empty() || names.len() > GROUPS_MAX {
        return Err(wrong(format!(
            "groups has {} names; 1 to {GROUPS_MAX}, or null for all, are allowed",
            names.len()
        )));
    }
    let name = |name: &String| GroupName::parse(name).map_err(|error| wrong(format!("groups: {error}")));
    names.iter().map(name).collect()
}

fn digest(text: &str) -> Result<i64, PreferencesError> {
    span::parse(text).filter(|us| DIGEST_US.contains(us)).ok_or_else(|| PreferencesError {
        field: "digest",
        problem: format!("digest is {:?}; null, or a time like 30m or 1h from 5m to 24h, is allowed", cut(text)),
    })
}

impl QuietHoursDocument {
    fn read(&self) -> Result<QuietHours, PreferencesError> {
        let texts: Vec<&str> = self.windows.iter().map(String::as_str).collect();
        let schedule = Schedule::parse_texts(&self.zone, &texts).map_err(|error| {
            let zone = matches!(error, crate::schedule::ScheduleError::Zone { .. });
            let field = if zone { "quiet_hours.zone" } else { "quiet_hours.windows" };
            PreferencesError { field, problem: format!("{field}: {error}") }
        })?;
        Ok(QuietHours { schedule, critical_passes: self.critical_passes })
    }

    fn of(quiet: &QuietHours) -> Self {
        Self {
            zone: quiet.schedule.zone().to_owned(),
            windows: quiet.schedule.windows().iter().map(ToString::to_string).collect(),
            critical_passes: quiet.critical_passes,
        }
    }
}

impl PreferencesDocument {
    /// Reads and checks the preferences.
    ///
    /// # Errors
    /// [`PreferencesError`], which names the field and what is allowed.
    pub fn preferences(&self) -> Result<Preferences, PreferencesError> {
        let defaults = Preferences::default();
        let per_minute = self.per_minute.map(StormCap::new).transpose().map_err(|error| PreferencesError {
            field: "per_minute",
            problem: format!("per_minute is {}; 1 to {PER_MINUTE_MAX} is allowed", error.given),
        })?;
        Ok(Preferences {
            severities: self.severities.as_deref().map_or(Ok(defaults.severities), severities)?,
            groups: self.groups.as_deref().map(groups).transpose()?,
            resolved: self.resolved.unwrap_or(defaults.resolved),
            quiet: self.quiet_hours.as_ref().map(QuietHoursDocument::read).transpose()?,
            digest_us: self.digest.as_deref().map(digest).transpose()?,
            cap: per_minute.unwrap_or(defaults.cap),
            sound: self.sound.as_deref().map_or(Ok(defaults.sound), |text| one_of("sound", text, &SOUNDS))?,
            stay: self
                .require_interaction
                .as_deref()
                .map_or(Ok(defaults.stay), |text| one_of("require_interaction", text, &STAYS))?,
            language: self
                .language
                .as_deref()
                .map_or(Ok(defaults.language), |text| one_of("language", text, &LANGUAGES))?,
        })
    }
}

impl From<&Preferences> for PreferencesDocument {
    fn from(preferences: &Preferences) -> Self {
        Self {
            severities: Some(severity_names(preferences.severities)),
            groups: preferences.groups.as_ref().map(|names| names.iter().map(ToString::to_string).collect()),
            resolved: Some(preferences.resolved),
            quiet_hours: preferences.quiet.as_ref().map(QuietHoursDocument::of),
            digest: preferences.digest_us.map(span::text),
            per_minute: Some(preferences.cap.per_minute()),
            sound: name_of(&SOUNDS, &preferences.sound),
            require_interaction: name_of(&STAYS, &preferences.stay),
            language: Some(preferences.language.name().to_owned()),
        }
    }
}

impl EndpointPreferencesDocument {
    /// Reads and checks where the endpoint differs.
    ///
    /// # Errors
    /// [`PreferencesError`], which names the field and what is allowed.
    pub fn preferences(&self) -> Result<EndpointPreferences, PreferencesError> {
        Ok(EndpointPreferences {
            severities: self.severities.as_deref().map(severities).transpose()?,
            groups: self.groups.as_ref().map(|names| names.as_deref().map(groups).transpose()).transpose()?,
            resolved: self.resolved,
            quiet: self
                .quiet_hours
                .as_ref()
                .map(|quiet| quiet.as_ref().map(QuietHoursDocument::read).transpose())
                .transpose()?,
            digest_us: self.digest.as_ref().map(|text| text.as_deref().map(digest).transpose()).transpose()?,
            sound: self.sound.as_deref().map(|text| one_of("sound", text, &SOUNDS)).transpose()?,
            stay: self
                .require_interaction
                .as_deref()
                .map(|text| one_of("require_interaction", text, &STAYS))
                .transpose()?,
        })
    }
}

impl From<&EndpointPreferences> for EndpointPreferencesDocument {
    fn from(own: &EndpointPreferences) -> Self {
        let names = |names: &BTreeSet<GroupName>| names.iter().map(ToString::to_string).collect();
        Self {
            severities: own.severities.map(severity_names),
            groups: own.groups.as_ref().map(|groups| groups.as_ref().map(names)),
            resolved: own.resolved,
            quiet_hours: own.quiet.as_ref().map(|quiet| quiet.as_ref().map(QuietHoursDocument::of)),
            digest: own.digest_us.map(|us| us.map(span::text)),
            sound: own.sound.and_then(|sound| name_of(&SOUNDS, &sound)),
            require_interaction: own.stay.and_then(|stay| name_of(&STAYS, &stay)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(document: &PreferencesDocument) -> (&'static str, String) {
        let error = document.preferences().expect_err("refused");
        (error.field, error.problem)
    }

    fn texts(words: &[&str]) -> Option<Vec<String>> {
        Some(words.iter().map(|word| (*word).to_owned()).collect())
    }

    fn night() -> QuietHoursDocument {
        let windows = vec!["mon-fri 22:00-06:00".to_owned(), "sat,sun 00:00-24:00".to_owned()];
        QuietHoursDocument { zone: "Europe/Berlin".into(), windows, critical_passes: false }
    }

    #[test]
    fn an_empty_document_is_the_default_and_what_is_written_again_has_every_field() {
        let empty = PreferencesDocument::default();
        let read = empty.preferences().expect("valid");
        assert_eq!(read, Preferences::default());
        let whole = PreferencesDocument {
            severities: texts(&["warning", "critical"]),
            groups: texts(&["north", "south"]),
            resolved: Some(false),
            quiet_hours: Some(night()),
            digest: Some("30m".into()),
            per_minute: Some(60),
            sound: Some("never".into()),
            require_interaction: Some("always".into()),
            language: Some("de".into()),
        };
        let read = whole.preferences().expect("valid");
        assert_eq!(PreferencesDocument::from(&read), whole);
    }

    #[test]
    fn what_is_wrong_is_said_with_the_field_the_value_and_what_is_allowed() {
        let empty = PreferencesDocument::default;
        for (document, field, words) in [
            (PreferencesDocument { severities: texts(&[]), ..empty() }, "severities", "at least one of"),
            (
                PreferencesDocument { severities: texts(&["bad"]), ..empty() },
                "severities",
                "severities is \"bad\"; info, warning, critical is allowed",
            ),
            (PreferencesDocument { groups: texts(&[]), ..empty() }, "groups", "1 to 64"),
            (PreferencesDocument { groups: texts(&[" x"]), ..empty() }, "groups", "1-64 bytes"),
            (PreferencesDocument { digest: Some("1m".into()), ..empty() }, "digest", "from 5m to 24h"),
            (PreferencesDocument { digest: Some("25h".into()), ..empty() }, "digest", "25h"),
            (PreferencesDocument { per_minute: Some(0), ..empty() }, "per_minute", "1 to 60"),
            (PreferencesDocument { sound: Some("loud".into()), ..empty() }, "sound", "auto, always, never"),
            (
                PreferencesDocument { require_interaction: Some("x".into()), ..empty() },
                "require_interaction",
                "critical, always, never",
            ),
            (PreferencesDocument { language: Some("fr".into()), ..empty() }, "language", "en, de"),
            (
                PreferencesDocument {
                    quiet_hours: Some(QuietHoursDocument { zone: "Europe/Berlim".into(), ..night() }),
                    ..empty()
                },
                "quiet_hours.zone",
                "Europe/Berlin",
            ),
            (
                PreferencesDocument {
                    quiet_hours: Some(QuietHoursDocument { windows: vec!["nights".into()], ..night() }),
                    ..empty()
                },
                "quiet_hours.windows",
                "window 1",
            ),
            (
                PreferencesDocument {
                    quiet_hours: Some(QuietHoursDocument { windows: Vec::new(), ..night() }),
                    ..empty()
                },
                "quiet_hours.windows",
                "1 to 32",
            ),
        ] {
            let (at, problem) = wrong(&document);
            assert!(at == field && problem.contains(words), "{at}: {problem}");
        }
    }

    #[test]
    fn an_endpoint_differs_only_where_it_says_so() {
        let own = EndpointPreferencesDocument {
            groups: Some(None),
            quiet_hours: Some(Some(night())),
            digest: Some(None),
            sound: Some("always".into()),
            ..EndpointPreferencesDocument::default()
        };
        let read = own.preferences().expect("valid");
        assert_eq!(EndpointPreferencesDocument::from(&read), own);
        let person = PreferencesDocument {
            severities: texts(&["critical"]),
            groups: texts(&["north"]),
            digest: Some("1h".into()),
            ..PreferencesDocument::default()
        };
        let here = person.preferences().expect("valid").at(&read);
        assert_eq!((here.groups, here.digest_us, here.sound), (None, None, Sound::Always));
        assert!(here.quiet.is_some() && !here.severities.contains(Severity::Warning));
    }
}
