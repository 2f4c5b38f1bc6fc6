//! What names may look like. SPEC §3.1.

/// Longest device id, in bytes.
pub const DEVICE_ID_BYTES: usize = 64;
/// Longest metric name, in bytes.
pub const METRIC_NAME_BYTES: usize = 128;
/// Longest unit, in bytes.
pub const UNIT_BYTES: usize = 32;

/// What a device id must be, for messages.
pub const DEVICE_ID_RULE: &str = "a device id is 1 to 64 characters of A-Z a-z 0-9 . _ : -";
/// What the name of a command or an argument must be, for messages.
pub const COMMAND_NAME_RULE: &str = "a name is 1 to 64 characters of A-Z a-z 0-9 . _ : -";
/// What a metric name must be, for messages.
pub const METRIC_NAME_RULE: &str =
    "a metric name is 1 to 128 bytes of UTF-8 without control characters or white space at either end";
/// What a unit must be, for messages.
pub const UNIT_RULE: &str = "a unit is at most 32 bytes of UTF-8 without control characters";

/// Whether `id` obeys [`DEVICE_ID_RULE`].
pub fn is_device_id(id: &str) -> bool {
    (1..=DEVICE_ID_BYTES).contains(&id.len())
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b':' | b'-'))
}

/// Whether `name` obeys [`COMMAND_NAME_RULE`], which allows what a device id allows. SPEC §7.1.
pub fn is_command_name(name: &str) -> bool {
    is_device_id(name)
}

/// Whether `name` obeys [`METRIC_NAME_RULE`]. White space is Unicode's White_Space property.
pub fn is_metric_name(name: &str) -> bool {
    (1..=METRIC_NAME_BYTES).contains(&name.len())
        && !name.chars().any(char::is_control)
        && !name.starts_with(char::is_whitespace)
        && !name.ends_with(char::is_whitespace)
}

/// Whether `unit` obeys [`UNIT_RULE`].
pub fn is_unit(unit: &str) -> bool {
    unit.len() <= UNIT_BYTES && !unit.chars().any(char::is_control)
}

/// Longest tag key, in bytes.
pub const TAG_KEY_BYTES: usize = 64;
/// Longest tag value, in bytes.
pub const TAG_VALUE_BYTES: usize = 128;
/// What the tags of SUBSCRIBE must be, for messages.
pub const TAG_RULE: &str =
    "a tag key is 1 to 64 characters of A-Z a-z 0-9 . _ -, a value at most 128 bytes without control characters";

/// Whether `key` may be the key of a tag. See [`TAG_RULE`].
pub fn is_tag_key(key: &str) -> bool {
    (1..=TAG_KEY_BYTES).contains(&key.len())
        && key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

/// Whether `value` may be the value of a tag, or the empty one that stands for any. See [`TAG_RULE`].
pub fn is_tag_value(value: &str) -> bool {
    value.len() <= TAG_VALUE_BYTES && !value.chars().any(char::is_control)
}
