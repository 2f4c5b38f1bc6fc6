//! Limits of SPEC §11 and of the fields that state their own.

/// Largest payload before login, in bytes. SPEC §4.6.
pub const LOGIN_FRAME_BYTES_MAX: u32 = 4 * 1024;
/// Default for the largest payload from a device after login, in bytes; also the largest payload that a server sends.
pub const FRAME_BYTES_MAX: u32 = 1024 * 1024;
/// Largest payload from a viewer, in bytes.
pub const VIEWER_FRAME_BYTES_MAX: u32 = 64 * 1024;
/// Highest sequence of a stream. SPEC §5.3.
pub const SEQUENCE_MAX: u64 = i64::MAX as u64;
/// Default of `window_frames`: reports in flight. SPEC §6.5.
pub const WINDOW_FRAMES: u32 = 1024;
/// Default of `window_bytes`: report payload bytes in flight. SPEC §6.5.
pub const WINDOW_BYTES: u32 = 4 * 1024 * 1024;
/// Metric sets of one session: their numbers are 0–127. SPEC §6.1.
pub const METRIC_SETS: usize = 128;
/// Metrics of one set. SPEC §6.1.
pub const METRICS_PER_SET: usize = 1024;
/// Streams named in HELLO. SPEC §4.1.
pub const HELLO_STREAMS: usize = 64;
/// Bytes of a text value. SPEC §6.2.
pub const TEXT_VALUE_BYTES: usize = 4096;
/// Bytes of the text in CLOSE, NACK, SKIP and REFUSED.
pub const REASON_BYTES: usize = 512;
/// Bytes of the firmware text in HELLO. SPEC §4.1.
pub const FIRMWARE_BYTES: usize = 64;
/// Bytes of a login token. SPEC §4.1.
pub const TOKEN_BYTES: usize = 256;
/// Rejections listed in one NACK. SPEC §6.6.
pub const NACK_ITEMS: usize = 64;
/// Device ids, and metric names, in one SUBSCRIBE. SPEC §9.2.
pub const SUBSCRIBE_NAMES: usize = 1024;
/// Longest time between batches, in milliseconds. SPEC §9.2.
pub const SUBSCRIBE_INTERVAL_MS: u32 = 60_000;
/// Longest history asked for in SUBSCRIBE, in milliseconds. SPEC §9.2.
pub const SUBSCRIBE_HISTORY_MS: u32 = 86_400_000;
/// Elements of one list in a live frame of the server: a longer one is split into several frames. SPEC §9.
pub const LIVE_LIST: usize = 10_000;
/// Samples in one BATCH: what fits [`FRAME_BYTES_MAX`]. SPEC §9.5.
pub const BATCH_SAMPLES: usize = 65_000;
/// Bytes of a payload of SPEC §7.
pub const COMMAND_BYTES_MAX: usize = 16 * 1024;
/// Entries of a map of arguments or results. SPEC §7.1.
pub const COMMAND_VALUES: usize = 64;
/// Commands in one COMMAND_SET. SPEC §7.2.
pub const COMMANDS_PER_SET: usize = 64;
/// Arguments of one command in a COMMAND_SET. SPEC §7.2.
pub const ARGUMENTS_PER_COMMAND: usize = 32;
/// Bytes of a command's title. SPEC §7.2.
pub const COMMAND_TITLE_BYTES: usize = 64;
/// Bytes of the text in PROGRESS. SPEC §7.5.
pub const PROGRESS_TEXT_BYTES: usize = 256;
/// Bytes of the code in RESULT. SPEC §7.6.
pub const RESULT_CODE_BYTES: usize = 64;
/// Bytes of the text in CANCEL. SPEC §7.7.
pub const CANCEL_TEXT_BYTES: usize = 256;
/// Commands that a device remembers in order to carry none out twice. SPEC §7.
pub const COMMANDS_REMEMBERED: usize = 64;
/// Elements of one ALERT or COMMAND_STATE. SPEC §9.12, §9.13.
pub const EVENT_LIST: usize = 1000;
/// Groups, profiles and tags of one SUBSCRIBE, each. SPEC §9.2.
pub const SUBSCRIBE_LABELS: usize = 64;
/// Labels of `across`. SPEC §9.2.
pub const SUBSCRIBE_ACROSS: usize = 4;
