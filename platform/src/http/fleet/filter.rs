//! Which devices are meant.

use super::super::problem::Problem;
use super::super::query::clip;
use crate::live::PresenceTable;
use pulsewire_core::device::Device;
use pulsewire_core::directory::Directory;
use pulsewire_core::ids::{DeviceId, DeviceKey};
use pulsewire_core::presence::Presence;
use pulsewire_core::scope::DeviceScope;
use pulsewire_core::severity::Severity;
use std::collections::HashMap;
use std::sync::{Arc, RwLock};

/// Most tags in one filter.
pub const TAGS_MAX: usize = 64;
/// Stands between several parameters of one name: no tag has it.
pub const SEPARATOR: char = '\u{1f}';
/// Devices that are looked at in one go, so that whoever changes the directory waits for no more than these.
pub const DEVICES_AT_ONCE: usize = 1_000;

/// Open alerts of each device that has any, by severity.
pub type AlertCounts = HashMap<DeviceKey, [u32; 3]>;

/// Tags that a device must have: for each key one of the values, or any if there are none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tags(Vec<(String, Vec<String>)>);

impl Tags {
    /// Reads `key:value` or `key:` for any value; several are separated by [`SEPARATOR`].
    pub fn parse(text: Option<&str>) -> Result<Self, Problem> {
        let mut tags = Self::default();
        let Some(text) = text else { return Ok(tags) };
        let given = text.split(SEPARATOR);
        if given.clone().count() > TAGS_MAX {
            let detail = format!("tag is given more than {TAGS_MAX} times, which are the most allowed");
            return Err(Problem::field("tag", detail));
        }
        for tag in given {
            let wrong = || {
                let detail = format!("tag is {:?}; key:value is wanted, or key: for any value", clip(tag));
                Problem::field("tag", detail)
            };
            let (key, value) = tag.split_once(':').filter(|(key, _)| !key.is_empty()).ok_or_else(wrong)?;
            let at = tags.0.iter().position(|(known, _)| known == key).unwrap_or_else(|| {
                tags.0.push((key.to_owned(), Vec::new()));
                tags.0.len() - 1
            });
            if !value.is_empty() {
                tags.0[at].1.push(value.to_owned());
            }
        }
        Ok(tags)
    }

    /// True if the device has what is wanted.
    pub fn fit(&self, device: &Device) -> bool {
        self.0.iter().all(|(key, values)| {
            device.tags.get(key).is_some_and(|own| values.is_empty() || values.iter().any(|value| value == own))
        })
    }
}

/// Which open alerts a device must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alerting {
    /// Any.
    Any,
    /// At least one of this severity now.
    Of(Severity),
}

/// As it comes with a request; what is absent leaves everything in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(missing_docs)] // as the query parameters
pub struct Given<'a> {
    pub q: Option<&'a str>,
    pub group: Option<&'a str>,
    pub profile: Option<&'a str>,
    pub tag: Option<&'a str>,
    pub presence: Option<&'a str>,
    pub severity: Option<&'a str>,
}

/// Which devices are meant, of those that the caller may see.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    scope: DeviceScope,
    part: Option<String>,
    group: Option<String>,
    profile: Option<String>,
    tags: Tags,
    presence: Option<Presence>,
    severity: Option<Alerting>,
}

impl Filter {
    /// Checks what was given.
    pub fn parse(scope: &DeviceScope, given: Given<'_>) -> Result<Self, Problem> {
        let presence = given.presence.map(|text| {
            let detail = || format!("presence is {:?}; online, stale or offline is allowed", clip(text));
            Presence::from_name(text).ok_or_else(|| Problem::field("presence", detail()))
        });
        let severity = given.severity.map(|text| {
            let detail = || format!("severity is {:?}; critical, warning, info or any is allowed", clip(text));
            match text {
                "any" => Ok(Alerting::Any),
                name => Severity::from_name(name).map(Alerting::Of).ok_or_else(|| Problem::field("severity", detail())),
            }
        });
        Ok(Self {
            scope: scope.clone(),
            part: given.q.filter(|q| !q.is_empty()).map(str::to_lowercase),
            group: given.group.map(str::to_owned),
            profile: given.profile.map(str::to_owned),
            tags: Tags::parse(given.tag)?,
            presence: presence.transpose()?,
            severity: severity.transpose()?,
        })
    }

    /// Which devices the one who asks may see.
    pub fn scope(&self) -> &DeviceScope {
        &self.scope
    }

    /// It looks at what changes without the directory.
    pub fn is_volatile(&self) -> bool {
        self.presence.is_some() || self.severity.is_some()
    }

    /// It looks at open alerts.
    pub fn needs_alerts(&self) -> bool {
        self.severity.is_some()
    }

    /// True if it holds for what the directory knows of the device.
    pub fn fits(&self, device: &Device) -> bool {
        self.scope.sees(device)
            && self.group.as_deref().is_none_or(|group| device.group.as_ref().is_some_and(|own| own.as_str() == group))
            && self
                .profile
                .as_deref()
                .is_none_or(|name| device.profile.as_ref().is_some_and(|own| own.as_str() == name))
            && self.tags.fit(device)
            && self
                .part
                .as_deref()
                .is_none_or(|part| has_part(device.id.as_str(), part) || has_part(&device.name, part))
    }

    /// Those that fit, by id. Takes a while with many devices: not for the runtime's threads.
    pub fn select(
        &self,
        directory: &RwLock<Directory>,
        presence: &PresenceTable,
        alerts: &AlertCounts,
    ) -> Result<Vec<Arc<Device>>, Problem> {
        let mut found = Vec::new();
        let mut after: Option<DeviceId> = None;
        loop {
            let begin = found.len();
            let last = {
                let directory = directory.read().map_err(Problem::internal)?;
                let mut last = None;
                for device in directory.after(after.as_ref()).take(DEVICES_AT_ONCE) {
                    last = Some(device);
                    if self.fits(device) {
                        found.push(device.clone());
                    }
                }
                last.map(|device| device.id.clone())
            };
            if self.presence.is_some() {
                let mut some = found.split_off(begin);
                self.keep_present(&mut some, presence);
                found.append(&mut some);
            }
            match last {
                Some(id) => after = Some(id),
                None => break,
            }
        }
        self.keep_alerting(&mut found, alerts);
        Ok(found)
    }

    /// Those of a few that fit as of now.
    pub fn keep(&self, devices: &mut Vec<Arc<Device>>, presence: &PresenceTable, alerts: &AlertCounts) {
        devices.retain(|device| self.fits(device));
        self.keep_present(devices, presence);
        self.keep_alerting(devices, alerts);
    }

    fn keep_present(&self, devices: &mut Vec<Arc<Device>>, presence: &PresenceTable) {
        let Some(wanted) = self.presence else { return };
        let mut seen = presence.of_each(devices.iter().map(|device| device.key)).into_iter();
        devices.retain(|_| seen.next().is_some_and(|(presence, _)| presence == wanted));
    }

    fn keep_alerting(&self, devices: &mut Vec<Arc<Device>>, alerts: &AlertCounts) {
        let Some(wanted) = self.severity else { return };
        devices.retain(|device| {
            let counts = alerts.get(&device.key).copied().unwrap_or_default();
            match wanted {
                Alerting::Any => counts.iter().any(|count| *count > 0),
                Alerting::Of(severity) => counts[severity as usize] > 0,
            }
        });
    }
}

/// Whether a text has a part, which is in lower case, whatever the case of the text.
fn has_part(text: &str, part: &str) -> bool {
    if text.is_ascii() {
        let (text, part) = (text.as_bytes(), part.as_bytes());
        return text.windows(part.len()).any(|window| window.eq_ignore_ascii_case(part));
    }
    text.to_lowercase().contains(part)
}

#[cfg(test)]
mod tests {
    use super::*;
    use pulsewire_core::ids::GroupName;
    use std::collections::BTreeSet;

    fn device(id: &str, tags: &[(&str, &str)]) -> Device {
        let tags = tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Device { tags, ..Device::named(DeviceKey(1), DeviceId::parse(id).expect("valid")) }
    }

    #[test]
    fn several_tags_of_one_key_are_alternatives_and_of_several_keys_all_wanted() {
        let fit = |text: &str, tags: &[(&str, &str)]| Tags::parse(Some(text)).expect("valid").fit(&device("a", tags));
        let north = &[("site", "north"), ("floor", "1")];
        assert!(fit("site:north", north) && !fit("site:south", north));
        assert!(fit("site:south\u{1f}site:north", north));
        assert!(!fit("site:north\u{1f}floor:2", north));
        assert!(fit("floor:", north) && !fit("room:", north), "any value");
        assert!(fit("url:a:b", &[("url", "a:b")]), "only the first colon parts");
        for wrong in ["", "site", ":north", "site:north\u{1f}"] {
            assert!(Tags::parse(Some(wrong)).is_err(), "{wrong:?}");
        }
        assert!(Tags::parse(Some(&vec!["a:b"; TAGS_MAX + 1].join("\u{1f}"))).is_err());
    }

    #[test]
    fn a_part_is_found_in_any_script_whatever_its_case() {
        for (text, part) in [("Pump-7", "PUMP"), ("Kühlraum", "KÜHL"), ("Насос", "насос"), ("a", "A")] {
            assert!(has_part(text, &part.to_lowercase()), "{part} in {text}");
        }
        assert!(!has_part("ab", "abc") && !has_part("", "a"));
    }

    #[test]
    fn of_a_few_those_stay_that_fit_now() {
        let keep = |given: Given<'_>, alerts: &AlertCounts| {
            let filter = Filter::parse(&DeviceScope::All, given).expect("valid");
            let mut few =
                vec![Arc::new(device("a", &[("site", "north")])), Arc::new(device("b", &[("site", "south")]))];
            filter.keep(&mut few, &PresenceTable::default(), alerts);
            few.iter().map(|device| device.id.to_string()).collect::<Vec<_>>()
        };
        let none = AlertCounts::new();
        assert_eq!(keep(Given::default(), &none), ["a", "b"]);
        assert_eq!(keep(Given { tag: Some("site:south"), ..Given::default() }, &none), ["b"]);
        assert!(keep(Given { presence: Some("online"), ..Given::default() }, &none).is_empty());
        assert!(keep(Given { severity: Some("any"), ..Given::default() }, &none).is_empty());
        let critical = AlertCounts::from([(DeviceKey(1), [0, 0, 1])]);
        assert_eq!(keep(Given { severity: Some("critical"), ..Given::default() }, &critical), ["a", "b"]);
        assert!(keep(Given { severity: Some("warning"), ..Given::default() }, &critical).is_empty());
    }

    #[test]
    fn what_is_outside_the_scope_never_fits() {
        let north = GroupName::parse("north").expect("valid");
        let scope = DeviceScope::Groups(BTreeSet::from([north.clone()]));
        let filter = Filter::parse(&scope, Given { group: Some("south"), ..Given::default() }).expect("valid");
        let mut device = device("a", &[]);
        device.group = Some(GroupName::parse("south").expect("valid"));
        assert!(!filter.fits(&device));
        device.group = Some(north);
        assert!(!filter.fits(&device), "another group was asked for");
        assert!(Filter::parse(&scope, Given::default()).expect("valid").fits(&device));
    }
}
