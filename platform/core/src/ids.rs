//! Names and numbers that identify things, each a type of its own so that no two can be swapped.

use crate::ulid::{InvalidUlid, Ulid};
use std::fmt;
use std::sync::Arc;

/// Why a text is not acceptable as a name. The message names the field, what was given and what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} {given:?} is not valid: {allowed}")]
pub struct InvalidName {
    /// Which kind of name was being parsed, as users know it: `device id`, `user name`, ….
    pub field: &'static str,
    /// The text given, cut to 80 characters.
    pub given: String,
    /// What would be accepted.
    pub allowed: &'static str,
}

impl InvalidName {
    fn new(field: &'static str, given: &str, allowed: &'static str) -> Self {
        Self { field, given: given.chars().take(80).collect(), allowed }
    }
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $field:literal, $allowed:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks and takes a name.
            ///
            /// # Errors
            /// [`InvalidName`], which says what is allowed.
            pub fn parse(text: &str) -> Result<Self, InvalidName> {
                let check: fn(&str) -> bool = $check;
                if check(text) { Ok(Self(Arc::from(text))) } else { Err(InvalidName::new($field, text, $allowed)) }
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

fn is_plain(text: &str, bytes_max: usize) -> bool {
    !text.is_empty()
        && text.len() <= bytes_max
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b':' | b'-'))
}

fn is_label(text: &str, bytes_max: usize) -> bool {
    !text.is_empty() && text.len() <= bytes_max && text.trim() == text && !text.chars().any(char::is_control)
}

name_type!(
    /// A device's id as its owner chose it. SPEC §3.1.
    DeviceId, "device id", "1-64 characters of A-Z a-z 0-9 . _ : -", |t| is_plain(t, 64)
);
name_type!(
    /// A metric's name, unique within its device. SPEC §3.1.
    MetricName, "metric name",
    "1-128 bytes without control characters, not beginning or ending in white space", |t| is_label(t, 128)
);
impl MetricName {
    /// Stands where there is no metric.
    pub fn none() -> Self {
        Self(Arc::from("-"))
    }
}

name_type!(
    /// The name a person signs in with.
    UserName, "user name", "1-64 characters of A-Z a-z 0-9 . _ : -", |t| is_plain(t, 64)
);
name_type!(
    /// The one group a device may belong to.
    GroupName, "group", "1-64 bytes without control characters, not beginning or ending in white space",
    |t| is_label(t, 64)
);

name_type!(
    /// What a device is: its model, or the kind of work it does. One per device.
    ProfileName, "profile", "1-64 bytes without control characters, not beginning or ending in white space",
    |t| is_label(t, 64)
);

name_type!(
    /// A rule's id: a name that its author chose, or a ULID.
    RuleId, "rule id", "1-64 characters of A-Z a-z 0-9 . _ : -", |t| is_plain(t, 64)
);

name_type!(
    /// Name of a command, of one of its arguments or results, or the key under which a newer one takes its place. SPEC §7.1.
    CommandName, "name", "1-64 characters of A-Z a-z 0-9 . _ : -", |t| is_plain(t, 64)
);

macro_rules! ulid_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub Ulid);

        impl $name {
            /// Reads its text.
            ///
            /// # Errors
            /// [`InvalidUlid`].
            pub fn parse(text: &str) -> Result<Self, InvalidUlid> {
                Ulid::parse(text).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

ulid_type!(
    /// A command; also the key that makes asking for it twice harmless. SPEC §7.1.
    CommandId
);
ulid_type!(
    /// An alert, from its firing to its end.
    AlertId
);
ulid_type!(
    /// A group of alerts that people are told of together. Derived from the labels that its alerts share.
    AlertGroupId
);
ulid_type!(
    /// A decision about what is told. Derived from its group and number, so that a repeat has the same.
    NotificationId
);
ulid_type!(
    /// A silence or a maintenance.
    SilenceId
);
ulid_type!(
    /// A place where a user's notifications go.
    EndpointId
);
ulid_type!(
    /// A message to one user.
    MessageId
);
ulid_type!(
    /// Words of an admin to many.
    AnnouncementId
);
ulid_type!(
    /// A message on its way to one endpoint. Derived from the two, so that a repeat has the same.
    DeliveryId
);

macro_rules! number_type {
    ($(#[$doc:meta])* $name:ident, $repr:ty) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
        pub struct $name(pub $repr);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number_type!(
    /// The server's own number for a device, never used again after the device is deleted; a device created later under
    /// the same id gets another, so that it never inherits samples.
    DeviceKey, u32
);
number_type!(
    /// The server's own number for one metric of one device.
    SeriesKey, u32
);
number_type!(
    /// A device's numbering of reports; issued by the server, starts at 1. SPEC §5.
    StreamId, u32
);
number_type!(
    /// A report's number within its stream, 1 to 2⁶³−1; 0 stands for "none yet". SPEC §5.3.
    Sequence, u64
);
number_type!(
    /// The number of a committed journal record; grows by one with each. 0 stands for "before the first". SPEC §9.
    Position, u64
);
number_type!(
    /// Tells two sessions of one device apart; the greater is the newer. SPEC §4.4.
    SessionEpoch, u64
);
number_type!(
    /// A part of the journal with its own order and writer.
    Lane, u16
);
number_type!(
    /// Ownership of a lane: an append under a fence older than the lane's newest is refused.
    Fence, u64
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_is_allowed() {
        let error = DeviceId::parse("pump 7").expect_err("a space is not allowed");
        assert_eq!(error.to_string(), r#"device id "pump 7" is not valid: 1-64 characters of A-Z a-z 0-9 . _ : -"#);
        assert!(DeviceId::parse(&"x".repeat(65)).is_err());
        assert!(DeviceId::parse("b8:27:eb:bf:9d:51").is_ok());
    }

    #[test]
    fn metric_names_take_any_script_but_no_control_characters() {
        assert!(MetricName::parse("температура <b>").is_ok());
        assert!(MetricName::parse("a\u{7}b").is_err());
        assert!(MetricName::parse(" a").is_err());
        assert!(MetricName::parse("").is_err());
    }
}
