//! Spans of time as people write them: `500ms`, `30s`, `5m`, `1h`, `1d`.

const UNITS: [(&str, i64); 5] =
    [("d", 86_400_000_000), ("h", 3_600_000_000), ("m", 60_000_000), ("s", 1_000_000), ("ms", 1_000)];

/// The span in µs, or None if it is not written so.
pub fn parse(text: &str) -> Option<i64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let (_, scale) = UNITS.into_iter().find(|(name, _)| *name == unit)?;
    number.parse::<i64>().ok()?.checked_mul(scale)
}

/// A span in the largest unit that fits it; parts of a millisecond are left out.
pub fn text(us: i64) -> String {
    match UNITS.into_iter().find(|(_, scale)| us != 0 && us % scale == 0) {
        Some((unit, scale)) => format!("{}{unit}", us / scale),
        None if us == 0 => "0s".into(),
        None => format!("{}ms", us / 1_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_read() {
        for us in [0, 1_000, 30_000_000, 90_000_000, 3_600_000_000, 172_800_000_000] {
            assert_eq!(parse(&text(us)), Some(us), "{}", text(us));
        }
        for wrong in ["", "5", "s", "-5s", "5 s", "1w", "99999999999999999999d"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
