use alloc::{string::String, vec::Vec};

use wincode::{SchemaRead, SchemaWrite};

use super::layout::{ensure, payload};
use crate::{DecodeError, limits, names};

payload! {
    /// A viewer asks for series. SPEC §9.2.
    Subscribe = "SUBSCRIBE" {
        /// Chosen by the viewer, not in use on this socket.
        subscription: u32,
        /// Device ids; empty = every device that the viewer may see.
        devices: Vec<String>,
        /// Metric names; empty = every metric.
        metrics: Vec<String>,
        /// Time between batches, at most 60,000.
        interval_ms: u32,
        /// Which samples of an interval to send.
        aggregate: Aggregate,
        /// History to send first, at most 86,400,000; 0 = only the latest values.
        history_ms: u32,
        /// Go on after this position.
        resume: Option<Resume>,
    } appended {
        /// Device groups, at most 64; empty = devices of every group, and of none.
        groups: Vec<String> = Vec::new(),
        /// Device profiles, at most 64; empty = devices of every profile, and of none.
        profiles: Vec<String> = Vec::new(),
        /// Tags, at most 64: for each key named a device has one of the values named for it.
        tags: Vec<TagMatch> = Vec::new(),
        /// Results over all selected devices instead of series: one per metric and per distinct values of these labels
        /// (`group`, `profile`, `tag:KEY`), at most 4. None = series of single devices.
        across: Option<Vec<String>> = None,
    }
}

/// A tag that a device must have. SPEC §9.2.
#[derive(Debug, Clone, PartialEq, Eq, Hash, SchemaRead, SchemaWrite)]
pub struct TagMatch {
    /// Key of the tag.
    pub key: String,
    /// Its value; empty = any.
    pub value: String,
}

/// Which samples of an interval to send. SPEC §9.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, SchemaRead, SchemaWrite)]
pub enum Aggregate {
    /// Each sample.
    Every,
    /// The newest sample per series and interval.
    Last,
    /// The least value of an interval.
    Min,
    /// The greatest value of an interval.
    Max,
    /// The mean of an interval's values.
    Avg,
    /// The sum of an interval's values.
    Sum,
    /// How many values an interval has.
    Count,
    /// The value that 95 % of an interval's values do not exceed.
    P95,
}

/// What one element of `across` means. SPEC §9.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AcrossLabel<'a> {
    /// The group of a device.
    Group,
    /// Its profile.
    Profile,
    /// Its value for a tag key.
    Tag(&'a str),
}

impl<'a> AcrossLabel<'a> {
    /// Reads one element; `None` if it is none of the three.
    pub fn parse(text: &'a str) -> Option<AcrossLabel<'a>> {
        match text {
            "group" => Some(AcrossLabel::Group),
            "profile" => Some(AcrossLabel::Profile),
            _ => text.strip_prefix("tag:").filter(|key| names::is_tag_key(key)).map(AcrossLabel::Tag),
        }
    }
}

/// Where a viewer stopped. SPEC §9.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, SchemaRead, SchemaWrite)]
pub struct Resume {
    /// Epoch of the position.
    pub epoch: u64,
    /// Last position received.
    pub position: u64,
}

impl Subscribe {
    /// Nothing: a SUBSCRIBE with well-formed fields is decoded, and one that breaks a limit is answered with REFUSED,
    /// which needs its number. See [`check_limits`](Self::check_limits).
    pub fn validate(&self) -> Result<(), DecodeError> {
        Ok(())
    }

    /// Checks the limits of SPEC §9.2. An error is answered with REFUSED 3; the socket stays open.
    pub fn check_limits(&self) -> Result<(), DecodeError> {
        ensure(self.devices.len() <= limits::SUBSCRIBE_NAMES, Self::NAME, "devices", "at most 1,024 devices")?;
        ensure(self.metrics.len() <= limits::SUBSCRIBE_NAMES, Self::NAME, "metrics", "at most 1,024 metrics")?;
        let devices_ok = self.devices.iter().all(|id| names::is_device_id(id));
        ensure(devices_ok, Self::NAME, "devices", names::DEVICE_ID_RULE)?;
        let metrics_ok = self.metrics.iter().all(|name| names::is_metric_name(name));
        ensure(metrics_ok, Self::NAME, "metrics", names::METRIC_NAME_RULE)?;
        let interval_ok = self.interval_ms <= limits::SUBSCRIBE_INTERVAL_MS;
        ensure(interval_ok, Self::NAME, "interval_ms", "at most 60,000 ms")?;
        let history_ok = self.history_ms <= limits::SUBSCRIBE_HISTORY_MS;
        ensure(history_ok, Self::NAME, "history_ms", "at most 86,400,000 ms")?;
        let labels_max = limits::SUBSCRIBE_LABELS;
        ensure(self.groups.len() <= labels_max, Self::NAME, "groups", "at most 64 groups")?;
        ensure(self.profiles.len() <= labels_max, Self::NAME, "profiles", "at most 64 profiles")?;
        ensure(self.tags.len() <= labels_max, Self::NAME, "tags", "at most 64 tags")?;
        let tags_ok = self.tags.iter().all(|tag| names::is_tag_key(&tag.key) && names::is_tag_value(&tag.value));
        ensure(tags_ok, Self::NAME, "tags", names::TAG_RULE)?;
        let Some(across) = &self.across else { return Ok(()) };
        ensure(across.len() <= limits::SUBSCRIBE_ACROSS, Self::NAME, "across", "at most 4 labels")?;
        let labels_ok = across
            .iter()
            .enumerate()
            .all(|(at, label)| AcrossLabel::parse(label).is_some() && !across[..at].contains(label));
        ensure(labels_ok, Self::NAME, "across", "each once: group, profile or tag:KEY")?;
        let folds = !matches!(self.aggregate, Aggregate::Every | Aggregate::Last);
        ensure(folds, Self::NAME, "across", "with min, max, avg, sum, count or p95: every and last do not fold devices")
    }
}

impl Default for Subscribe {
    /// Subscription 0: every sample of everything as it comes, without history.
    fn default() -> Self {
        Subscribe {
            subscription: 0,
            devices: Vec::new(),
            metrics: Vec::new(),
            interval_ms: 0,
            aggregate: Aggregate::Every,
            history_ms: 0,
            resume: None,
            groups: Vec::new(),
            profiles: Vec::new(),
            tags: Vec::new(),
            across: None,
        }
    }
}
