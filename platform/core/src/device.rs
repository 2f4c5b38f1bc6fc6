//! What the platform knows of a device besides its samples.

use crate::ids::{DeviceId, DeviceKey, GroupName, ProfileName};
use std::collections::BTreeMap;

/// Most tags on one device.
pub const TAGS_MAX: usize = 32;
/// Longest tag key in bytes.
pub const TAG_KEY_BYTES_MAX: usize = 64;
/// Longest tag value, and longest device name, in bytes.
pub const LABEL_BYTES_MAX: usize = 128;

/// A device as people see and edit it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// The server's number for it.
    pub key: DeviceKey,
    /// Its id, chosen by its owner.
    pub id: DeviceId,
    /// Its display name; the id unless another was given.
    pub name: String,
    /// Free labels.
    pub tags: BTreeMap<String, String>,
    /// The group it belongs to.
    pub group: Option<GroupName>,
    /// What it is, as people call it: a model, or a kind of work.
    pub profile: Option<ProfileName>,
    /// A disabled device cannot log in.
    pub enabled: bool,
    /// Microseconds since the Unix epoch.
    pub created_us: i64,
    /// End of its last session or last flush during one; None if it was never connected.
    pub last_seen_us: Option<i64>,
    /// As it said at its last login.
    pub firmware: Option<String>,
}

impl Device {
    /// A device of which nothing is known but its number and id: its name is the id, it may log in, and nothing else is set.
    pub fn named(key: DeviceKey, id: DeviceId) -> Self {
        Self {
            key,
            name: id.to_string(),
            id,
            tags: BTreeMap::new(),
            group: None,
            profile: None,
            enabled: true,
            created_us: 0,
            last_seen_us: None,
            firmware: None,
        }
    }
}

/// A tag or a name that cannot be stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLabel {
    /// More tags than [`TAGS_MAX`].
    #[error("{given} tags given; at most {TAGS_MAX} are allowed")]
    TooMany {
        /// How many were given.
        given: usize,
    },
    /// A tag key outside the rule.
    #[error("tag key {given:?} is not valid: 1-{TAG_KEY_BYTES_MAX} characters of A-Z a-z 0-9 . _ -")]
    Key {
        /// The key, cut.
        given: String,
    },
    /// A value or name outside the rule.
    #[error("{field} {given:?} is not valid: 1-{LABEL_BYTES_MAX} bytes without control characters")]
    Value {
        /// What it was meant for.
        field: &'static str,
        /// The value, cut.
        given: String,
    },
}

/// Checks a display name.
///
/// # Errors
/// [`InvalidLabel::Value`].
pub fn check_name(name: &str) -> Result<(), InvalidLabel> {
    check_text("name", name)
}

/// Checks a whole set of tags.
///
/// # Errors
/// [`InvalidLabel`], for the first tag that is not acceptable.
pub fn check_tags(tags: &BTreeMap<String, String>) -> Result<(), InvalidLabel> {
    if tags.len() > TAGS_MAX {
        return Err(InvalidLabel::TooMany { given: tags.len() });
    }
    for (key, value) in tags {
        let plain = key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
        if key.is_empty() || key.len() > TAG_KEY_BYTES_MAX || !plain {
            return Err(InvalidLabel::Key { given: key.chars().take(80).collect() });
        }
        check_text("tag value", value)?;
    }
    Ok(())
}

fn check_text(field: &'static str, text: &str) -> Result<(), InvalidLabel> {
    if text.is_empty() || text.len() > LABEL_BYTES_MAX || text.chars().any(char::is_control) {
        return Err(InvalidLabel::Value { field, given: text.chars().take(80).collect() });
    }
    Ok(())
}
