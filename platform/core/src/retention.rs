//! How long what devices send is kept, by device and metric.

use crate::device::Device;
use crate::ids::{GroupName, MetricName};

/// Most entries of a plan: each is looked at for each series.
pub const ENTRIES_MAX: usize = 1_000;

/// How long each form of the data is kept, in µs; None = for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Times {
    /// Samples as they came.
    pub raw_us: Option<i64>,
    /// Rollups by minute.
    pub minute_us: Option<i64>,
    /// Rollups by hour.
    pub hour_us: Option<i64>,
}

/// Times for some devices and metrics; what an entry does not name fits everything and stays as it is by default.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Entry {
    group: Option<GroupName>,
    tags: Vec<(String, String)>,
    metric: Option<MetricName>,
    // The outer None: as by default.
    raw_us: Option<Option<i64>>,
    minute_us: Option<Option<i64>>,
    hour_us: Option<Option<i64>>,
}

/// The default and the exceptions from it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RetentionPlan {
    default: Times,
    entries: Vec<Entry>,
}

impl RetentionPlan {
    /// Reads the exceptions: entries separated by `;`, each of words `group=…`, `tag.KEY=VALUE`, `metric=…`, `raw=…`,
    /// `minute=…`, `hour=…`.
    ///
    /// # Errors
    /// What is wrong with the first entry that cannot be read, naming it.
    pub fn parse(default: Times, text: &str) -> Result<Self, String> {
        let entries: Vec<&str> = text.split(';').map(str::trim).filter(|entry| !entry.is_empty()).collect();
        if entries.len() > ENTRIES_MAX {
            return Err(format!("{} entries are given; at most {ENTRIES_MAX} are allowed", entries.len()));
        }
        let entries =
            entries.into_iter().map(|entry| parse_entry(entry).map_err(|why| format!("entry {entry:?}: {why}")));
        Ok(Self { default, entries: entries.collect::<Result<_, _>>()? })
    }

    /// The times for one metric of one device: those of the first entry that fits.
    pub fn of(&self, device: &Device, metric: &MetricName) -> Times {
        let fits = |entry: &&Entry| {
            entry.group.as_ref().is_none_or(|group| device.group.as_ref() == Some(group))
                && entry.metric.as_ref().is_none_or(|wanted| wanted == metric)
                && entry.tags.iter().all(|(key, value)| device.tags.get(key) == Some(value))
        };
        let Some(entry) = self.entries.iter().find(fits) else { return self.default };
        Times {
            raw_us: entry.raw_us.unwrap_or(self.default.raw_us),
            minute_us: entry.minute_us.unwrap_or(self.default.minute_us),
            hour_us: entry.hour_us.unwrap_or(self.default.hour_us),
        }
    }
}

fn parse_entry(text: &str) -> Result<Entry, String> {
    let mut entry = Entry::default();
    for word in text.split_whitespace() {
        let Some((key, value)) = word.split_once('=') else {
            return Err(format!("{word:?} is not of the form KEY=VALUE"));
        };
        match key {
            "group" => entry.group = Some(GroupName::parse(value).map_err(|error| error.to_string())?),
            "metric" => entry.metric = Some(MetricName::parse(value).map_err(|error| error.to_string())?),
            "raw" => entry.raw_us = Some(parse_time(value)?),
            "minute" => entry.minute_us = Some(parse_time(value)?),
            "hour" => entry.hour_us = Some(parse_time(value)?),
            _ => match key.strip_prefix("tag.") {
                Some(tag) if !tag.is_empty() => entry.tags.push((tag.into(), value.into())),
                _ => return Err(format!("{key:?} is none of group, tag.KEY, metric, raw, minute, hour")),
            },
        }
    }
    if entry.raw_us.is_none() && entry.minute_us.is_none() && entry.hour_us.is_none() {
        return Err("it names no time: raw, minute or hour is wanted".into());
    }
    Ok(entry)
}

/// None = for ever, written as 0.
fn parse_time(text: &str) -> Result<Option<i64>, String> {
    let wrong = || format!("{text:?} is no time like 0s, 90m, 12h, 30d");
    let split = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let number: i64 = text[..split].parse().map_err(|_| wrong())?;
    let unit_s = match &text[split..] {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    // A hundred years, so that no time before now can overflow.
    let seconds = number
        .checked_mul(unit_s)
        .filter(|s| *s <= 36_500 * 86_400)
        .ok_or_else(|| format!("{text:?} is more than 36500d"))?;
    Ok((seconds > 0).then_some(seconds * 1_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{DeviceId, DeviceKey};

    fn device(group: &str, tag: Option<(&str, &str)>) -> Device {
        Device {
            key: DeviceKey(1),
            id: DeviceId::parse("a").expect("valid"),
            name: "a".into(),
            tags: tag.into_iter().map(|(k, v)| (k.into(), v.into())).collect(),
            group: GroupName::parse(group).ok(),
            profile: None,
            enabled: true,
            created_us: 0,
            last_seen_us: None,
            firmware: None,
        }
    }

    const DAY: i64 = 86_400_000_000;

    #[test]
    fn the_first_entry_that_fits_counts_and_leaves_the_rest_as_by_default() {
        let default = Times { raw_us: Some(DAY), ..Times::default() };
        let text = "group=cold metric=temp raw=30d; tag.kind=trial raw=2h minute=1d ;group=cold raw=0s";
        let plan = RetentionPlan::parse(default, text).expect("valid");
        let metric = |name: &str| MetricName::parse(name).expect("valid");
        let raw = |device: &Device, name: &str| plan.of(device, &metric(name)).raw_us;
        assert_eq!(raw(&device("cold", None), "temp"), Some(30 * DAY));
        assert_eq!(raw(&device("cold", None), "door"), None);
        assert_eq!(raw(&device("warm", None), "temp"), Some(DAY));
        let trial = device("warm", Some(("kind", "trial")));
        assert_eq!(
            plan.of(&trial, &metric("x")),
            Times { raw_us: Some(7_200_000_000), minute_us: Some(DAY), hour_us: None }
        );
    }

    #[test]
    fn an_entry_that_cannot_be_read_is_named() {
        for (text, part) in [
            ("raw=5", "\"5\" is no time"),
            ("group=a", "names no time"),
            ("colour=red raw=1d", "none of group"),
            ("raw", "KEY=VALUE"),
            ("raw=99999999999d", "36500d"),
        ] {
            let error = RetentionPlan::parse(Times::default(), text).expect_err(text);
            assert!(error.contains(part) && error.contains("entry"), "{error}");
        }
    }
}
