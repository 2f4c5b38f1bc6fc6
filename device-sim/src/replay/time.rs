//! Times as files write them.

use jiff::{Timestamp, civil::DateTime, fmt::strtime, tz::TimeZone};

/// Seconds between which a number is believed to be a time when formats are guessed: 1990 to 2100.
const PLAUSIBLE_S: std::ops::Range<i64> = 631_152_000..4_102_444_800;

/// How a time is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TimeFormat {
    /// Seconds since 1970, with or without decimals: `unix-s`.
    UnixSeconds,
    /// Milliseconds since 1970: `unix-ms`.
    UnixMillis,
    /// Microseconds since 1970: `unix-us`.
    UnixMicros,
    /// RFC 3339, or the same without zone or with a space for the T: `rfc3339`.
    Rfc3339,
    /// A pattern of strftime.
    Pattern(String),
}

/// Guessed in this order; the first that reads most of the values is taken, so month/day comes before day/month.
const PATTERNS: [&str; 10] = [
    "%Y/%m/%d %H:%M:%S%.f",
    "%m/%d/%Y %H:%M:%S%.f",
    "%d/%m/%Y %H:%M:%S%.f",
    "%d.%m.%Y %H:%M:%S%.f",
    "%Y-%m-%d %H:%M",
    "%Y/%m/%d %H:%M",
    "%m/%d/%Y %H:%M",
    "%d/%m/%Y %H:%M",
    "%d.%m.%Y %H:%M",
    "%Y%m%d %H:%M:%S%.f",
];

impl TimeFormat {
    /// What `--time-format` may be.
    pub const ALLOWED: &str = "unix-s, unix-ms, unix-us, rfc3339 or a strftime pattern such as %d.%m.%Y %H:%M";

    /// Reads `--time-format`; `None` if it is none of [`ALLOWED`](Self::ALLOWED).
    pub fn from_option(text: &str) -> Option<TimeFormat> {
        Some(match text {
            "unix-s" | "unix" => TimeFormat::UnixSeconds,
            "unix-ms" => TimeFormat::UnixMillis,
            "unix-us" => TimeFormat::UnixMicros,
            "rfc3339" => TimeFormat::Rfc3339,
            pattern if pattern.contains('%') => TimeFormat::Pattern(pattern.to_owned()),
            _ => return None,
        })
    }

    /// The option that stands for this format.
    pub fn name(&self) -> &str {
        match self {
            TimeFormat::UnixSeconds => "unix-s",
            TimeFormat::UnixMillis => "unix-ms",
            TimeFormat::UnixMicros => "unix-us",
            TimeFormat::Rfc3339 => "rfc3339",
            TimeFormat::Pattern(pattern) => pattern,
        }
    }

    /// µs since 1970; `None` if `text` is not such a time. `zone` is for times that name none.
    pub fn parse(&self, text: &str, zone: &TimeZone) -> Option<i64> {
        match self {
            TimeFormat::UnixSeconds => decimal(text, 6),
            TimeFormat::UnixMillis => decimal(text, 3),
            TimeFormat::UnixMicros => decimal(text, 0),
            TimeFormat::Rfc3339 => {
                let stamp = text.parse::<Timestamp>().ok();
                stamp.map(Timestamp::as_microsecond).or_else(|| local(text.parse().ok()?, zone))
            }
            TimeFormat::Pattern(pattern) => {
                let parsed = strtime::parse(pattern, text).ok()?;
                match parsed.to_timestamp() {
                    Ok(stamp) => Some(stamp.as_microsecond()),
                    Err(_) => local(parsed.to_datetime().ok()?, zone),
                }
            }
        }
    }

    /// The format that reads at least four fifths of `values`, and more than any other.
    pub fn guess(values: &[&str], zone: &TimeZone) -> Option<TimeFormat> {
        let numbers = [TimeFormat::UnixSeconds, TimeFormat::UnixMillis, TimeFormat::UnixMicros];
        let candidates = numbers
            .into_iter()
            .chain([TimeFormat::Rfc3339])
            .chain(PATTERNS.map(|pattern| TimeFormat::Pattern(pattern.to_owned())));
        let mut best = None;
        let mut most = (values.len() * 4).div_ceil(5).max(1) - 1;
        for format in candidates {
            let readable = values.iter().filter(|value| format.is_plausible(value, zone)).count();
            if readable > most {
                most = readable;
                best = Some(format);
            }
        }
        best
    }

    fn is_plausible(&self, text: &str, zone: &TimeZone) -> bool {
        self.parse(text, zone).is_some_and(|time_us| PLAUSIBLE_S.contains(&(time_us / 1_000_000)))
    }
}

fn local(time: DateTime, zone: &TimeZone) -> Option<i64> {
    // A time that a clock change skips or repeats is read as RFC 5545 says, the same in every run.
    zone.to_ambiguous_timestamp(time).compatible().ok().map(Timestamp::as_microsecond)
}

/// A decimal number times 10^`digits`, exactly, rounded to the nearest; no detour through floating point.
fn decimal(text: &str, digits: usize) -> Option<i64> {
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !all_digits(whole) || !all_digits(fraction) {
        return None;
    }
    let mut value: i64 = whole.parse().ok()?;
    for at in 0..digits {
        let digit = fraction.as_bytes().get(at).map_or(0, |byte| i64::from(byte - b'0'));
        value = value.checked_mul(10)?.checked_add(digit)?;
    }
    if fraction.as_bytes().get(digits).is_some_and(|byte| *byte >= b'5') {
        value = value.checked_add(1)?;
    }
    Some(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(values: &[&str], format: &str, first_us: i64) {
        let guessed = TimeFormat::guess(values, &TimeZone::UTC);
        assert_eq!(guessed.as_ref().map(TimeFormat::name), Some(format), "{values:?}");
        let time_us = guessed.and_then(|format| format.parse(values[0], &TimeZone::UTC));
        assert_eq!(time_us, Some(first_us), "{values:?}");
    }

    #[test]
    fn formats_are_guessed_from_the_values() {
        check(&["1594634400.4832652"], "unix-s", 1_594_634_400_483_265);
        check(&["1594634400"], "unix-s", 1_594_634_400_000_000);
        check(&["1533226488299.0"], "unix-ms", 1_533_226_488_299_000);
        check(&["1533226488299001"], "unix-us", 1_533_226_488_299_001);
        check(&["2020-07-13T10:00:00.25Z"], "rfc3339", 1_594_634_400_250_000);
        check(&["2020-07-13T12:00:00+02:00"], "rfc3339", 1_594_634_400_000_000);
        check(&["2020-07-13 10:00:00"], "rfc3339", 1_594_634_400_000_000);
        check(&["2020/07/13 10:00:00"], "%Y/%m/%d %H:%M:%S%.f", 1_594_634_400_000_000);
        check(&["7/13/2020 10:00:00"], "%m/%d/%Y %H:%M:%S%.f", 1_594_634_400_000_000);
        check(
            &[
                "07/13/2020 10:00:00",
                "90/02/2032 1:1:1",
                "07/13/2020 10:00:01",
                "07/13/2020 10:00:02",
                "07/13/2020 10:00:03",
            ],
            "%m/%d/%Y %H:%M:%S%.f",
            1_594_634_400_000_000,
        );
        check(&["13/07/2020 10:00:00"], "%d/%m/%Y %H:%M:%S%.f", 1_594_634_400_000_000);
        check(&["13.07.2020 10:00"], "%d.%m.%Y %H:%M", 1_594_634_400_000_000);
    }

    #[test]
    fn what_is_no_time_is_not_guessed() {
        for values in [&["46408.65"][..], &["21.5"], &["pump-7"], &[""], &[]] {
            assert_eq!(TimeFormat::guess(values, &TimeZone::UTC), None, "{values:?}");
        }
    }

    #[test]
    fn a_zone_applies_to_times_that_name_none() {
        let berlin = TimeZone::get("Europe/Berlin").expect("the zone database");
        assert_eq!(TimeFormat::Rfc3339.parse("2020-07-13 12:00:00", &berlin), Some(1_594_634_400_000_000));
        assert_eq!(TimeFormat::Rfc3339.parse("2020-07-13T10:00:00Z", &berlin), Some(1_594_634_400_000_000));
    }

    #[test]
    fn numbers_are_read_exactly_and_never_overflow() {
        assert_eq!(decimal("1594634400.4832655", 6), Some(1_594_634_400_483_266));
        assert_eq!(decimal("-1.5", 6), Some(-1_500_000));
        for bad in ["", "-", ".", "1.5e9", "99999999999999999999", "9223372036854775807", "1 2", "+1"] {
            assert_eq!(decimal(bad, 6), None, "{bad:?}");
        }
    }
}
