//! Paging, times and steps in queries and answers.

use super::problem::Problem;
use jiff::Timestamp;
use pulsewire_core::value::Value;
use serde::Serialize;

/// Most items of a list per page, and how many if none are asked for.
const LIMIT_MAX: u32 = 500;
const LIMIT_DEFAULT: u32 = 50;
/// Most characters of a given text that a message repeats.
const CLIP_CHARS: usize = 40;

/// A page of a list.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// Pass it as `cursor` to go on; null at the end.
    pub next: Option<String>,
}

impl<T> Page<T> {
    /// A list that fits one page.
    pub fn whole(items: Vec<T>) -> Self {
        Self { items, next: None }
    }
}

/// Checks a list's `limit`.
pub fn limit(given: Option<u32>) -> Result<usize, Problem> {
    limit_within(given, LIMIT_DEFAULT, LIMIT_MAX)
}

/// Checks a `limit` with other bounds.
pub fn limit_within(given: Option<u32>, default: u32, max: u32) -> Result<usize, Problem> {
    let limit = given.unwrap_or(default);
    if limit == 0 || limit > max {
        return Err(Problem::field("limit", format!("limit is {limit}; 1 to {max} is allowed")));
    }
    Ok(limit as usize)
}

/// RFC 3339 with as many decimals as needed.
pub fn time_text(time_us: i64) -> String {
    Timestamp::from_microsecond(time_us).map_or_else(|_| format!("{time_us}us"), |t| t.to_string())
}

/// The beginning of a text from outside, to be named in a message.
pub fn clip(text: &str) -> String {
    text.chars().take(CLIP_CHARS).collect()
}

/// Reads an RFC 3339 time.
pub fn parse_time(field: &str, text: &str) -> Result<i64, Problem> {
    let parsed: Result<Timestamp, _> = text.parse();
    parsed.map(Timestamp::as_microsecond).map_err(|_| {
        Problem::field(field, format!("{field} is {:?}; a time like 2026-11-21T09:00:00Z is wanted", clip(text)))
    })
}

/// µs of a time like `500ms`, `10s`, `5m`, `1h`, `1d`.
fn scaled(text: &str) -> Option<i64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let scale: i64 = match unit {
        "ms" => 1_000,
        "s" => 1_000_000,
        "m" => 60_000_000,
        "h" => 3_600_000_000,
        "d" => 86_400_000_000,
        _ => return None,
    };
    number.parse::<i64>().ok()?.checked_mul(scale)
}

/// Reads a step like `10s`, `5m`, `1h`, `1d`; answers µs.
pub fn parse_step(text: &str) -> Result<i64, Problem> {
    let wrong = || Problem::field("step", format!("step is {:?}; a time like 10s, 5m, 1h or 1d is wanted", clip(text)));
    scaled(text).filter(|us| *us > 0).ok_or_else(wrong)
}

/// Reads a time like `30s` within bounds; answers µs.
pub fn parse_duration(field: &str, text: &str, min_us: i64, max_us: i64) -> Result<i64, Problem> {
    scaled(text).filter(|us| (min_us..=max_us).contains(us)).ok_or_else(|| {
        let (text, min, max) = (clip(text), duration_text(min_us), duration_text(max_us));
        Problem::field(field, format!("{field} is {text:?}; a time like 30s, 5m or 1h from {min} to {max} is wanted"))
    })
}

/// A time in the largest unit that fits it.
pub fn duration_text(us: i64) -> String {
    let units = [("d", 86_400_000_000), ("h", 3_600_000_000), ("m", 60_000_000), ("s", 1_000_000)];
    let fits = units.into_iter().find(|(_, scale)| us != 0 && us % scale == 0);
    match fits {
        Some((unit, scale)) => format!("{}{unit}", us / scale),
        None if us == 0 => "0s".into(),
        None => format!("{}ms", us / 1_000),
    }
}

/// A value in JSON: floats print with the digits that give the same bits back; what JSON lacks becomes a string.
pub fn json_value(value: &Value) -> serde_json::Value {
    match value {
        Value::F64(v) => json_number(*v),
        Value::I64(v) => (*v).into(),
        Value::Bool(v) => (*v).into(),
        Value::Text(v) => v.as_ref().into(),
    }
}

/// A float in JSON; see [`json_value`].
pub fn json_number(value: f64) -> serde_json::Value {
    match value {
        v if v.is_nan() => "NaN".into(),
        v if v.is_infinite() => if v > 0.0 { "Infinity" } else { "-Infinity" }.into(),
        v => v.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_print_as_they_are_written() {
        for text in ["0s", "500ms", "30s", "90s", "5m", "24h", "30d"] {
            let us = parse_duration("for", text, 0, i64::MAX).expect("valid");
            assert_eq!(parse_duration("for", &duration_text(us), 0, i64::MAX).expect("valid"), us, "{text}");
        }
        assert_eq!(duration_text(90_000_000), "90s");
        assert!(parse_duration("for", "25h", 0, 86_400_000_000).is_err());
    }

    #[test]
    fn times_read_back_to_the_microsecond() {
        for time_us in [0, 1_594_634_400_483_265, -1, 1_600_000_000_000_000] {
            assert_eq!(parse_time("from", &time_text(time_us)).expect("valid"), time_us);
        }
        assert!(parse_time("from", "yesterday").is_err());
    }

    #[test]
    fn floats_read_back_bit_for_bit() {
        for v in [0.1, -0.0, 0.005116773778061815, f64::MIN_POSITIVE, 1e300, 59.70000076293945] {
            let text = json_value(&Value::F64(v)).to_string();
            let back: f64 = serde_json::from_str(&text).expect("a number");
            assert_eq!(back.to_bits(), v.to_bits(), "{text}");
        }
    }

    #[test]
    fn a_step_needs_a_unit_and_must_be_positive() {
        assert_eq!(parse_step("5m").expect("valid"), 300_000_000);
        for wrong in ["", "5", "0s", "-1s", "5 parsecs", "99999999999999d"] {
            assert!(parse_step(wrong).is_err(), "{wrong}");
        }
    }
}
