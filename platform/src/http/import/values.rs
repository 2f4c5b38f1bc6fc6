//! What a cell means: times and values.

use super::super::query::clip;
use pulsewire_core::value::{Value, ValueClass, ValueType};

/// Most bytes of a text, as for devices. SPEC §6.1.
const TEXT_BYTES_MAX: usize = 4096;

/// A value as the file has it.
#[derive(Debug, Clone, PartialEq)]
pub enum Raw {
    /// A cell of CSV: its series says what it is.
    Cell(String),
    /// A string of JSON.
    Text(String),
    /// A number of JSON, as written.
    Number(String),
    /// A bool of JSON.
    Bool(bool),
}

/// Reads a time: RFC 3339, or seconds since the Unix epoch with or without decimals. Which one is plain from its form.
/// Decimals beyond the sixth are rounded.
pub fn time_us(text: &str) -> Option<i64> {
    let text = text.trim();
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text),
    };
    if digits.bytes().any(|b| !b.is_ascii_digit() && b != b'.') {
        return text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_microsecond);
    }
    let (seconds, decimals) = digits.split_once('.').unwrap_or((digits, ""));
    let mut micros = 0;
    for n in 0..6 {
        let digit = decimals.as_bytes().get(n).map_or(0, |b| b.wrapping_sub(b'0'));
        micros = micros * 10 + i64::from((digit <= 9).then_some(digit)?);
    }
    if decimals.contains('.') {
        return None;
    }
    let up = i64::from(decimals.as_bytes().get(6).is_some_and(|b| *b >= b'5'));
    seconds.parse::<i64>().ok()?.checked_mul(1_000_000)?.checked_add(micros + up)?.checked_mul(sign)
}

/// Numbers as people and programs write them, and the three words that JSON lacks.
fn number(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        // The parser's own words for infinity, and what overflows to it, are no numbers here.
        _ => text.parse::<f64>().ok().filter(|v| v.is_finite()),
    }
}

#[allow(clippy::cast_possible_truncation)] // whether anything is lost is the question
fn is_f32(value: f64) -> bool {
    value.is_nan() || f64::from(value as f32) == value
}

/// A number in the type of its series if it fits it, else as f64.
fn typed(text: &str, value: f64, wanted: ValueType) -> (ValueType, Value) {
    match wanted {
        ValueType::I64 => match text.parse::<i64>() {
            Ok(whole) => (ValueType::I64, Value::I64(whole)),
            Err(_) => (ValueType::F64, Value::F64(value)),
        },
        ValueType::F32 if is_f32(value) => (ValueType::F32, Value::F64(value)),
        _ => (ValueType::F64, Value::F64(value)),
    }
}

/// Reads a value. `known` is the type of its series, if there is one, and `declared` what the file says of it. What does not
/// fit its series comes back as what it is by itself, to be rejected and counted where all values are.
///
/// # Errors
/// In words: the value is none.
pub fn value(raw: &Raw, known: Option<ValueType>, declared: Option<ValueType>) -> Result<(ValueType, Value), String> {
    let wanted = known.or(declared);
    let class = wanted.map(ValueType::class);
    let text = |text: &str| {
        if text.len() > TEXT_BYTES_MAX {
            return Err(format!("a text of {} bytes; at most {TEXT_BYTES_MAX} are allowed", text.len()));
        }
        Ok((ValueType::Text, Value::Text(text.into())))
    };
    let as_number =
        |text: &str| number(text.trim()).map(|found| typed(text.trim(), found, wanted.unwrap_or(ValueType::F64)));
    let found = match raw {
        Raw::Bool(value) => (ValueType::Bool, Value::Bool(*value)),
        Raw::Number(number) => {
            as_number(number).ok_or_else(|| format!("{} is beyond what an f64 holds", clip(number)))?
        }
        Raw::Text(string) => match number(string).filter(|_| class != Some(ValueClass::Text)) {
            // Only the three words: other numbers need no quotes.
            Some(found) if !found.is_finite() => typed(string, found, wanted.unwrap_or(ValueType::F64)),
            _ => text(string)?,
        },
        Raw::Cell(cell) if class == Some(ValueClass::Text) => text(cell)?,
        Raw::Cell(cell) => match cell.trim() {
            "true" | "True" | "TRUE" => (ValueType::Bool, Value::Bool(true)),
            "false" | "False" | "FALSE" => (ValueType::Bool, Value::Bool(false)),
            trimmed => match as_number(trimmed) {
                Some(found) => found,
                None => text(cell)?,
            },
        },
    };
    match declared {
        Some(declared) if known.is_none() && found.0.class() != declared.class() => {
            Err(format!("the value does not fit its type, {}", declared.name()))
        }
        _ => Ok(found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ValueType::{Bool, F32, F64, I64, Text};

    #[test]
    fn times_are_rfc_3339_or_seconds_by_their_form() {
        for (text, us) in [
            ("0", 0),
            ("1594634400.4832652", 1_594_634_400_483_265),
            ("1594634400.4832658", 1_594_634_400_483_266),
            ("1594634400.5", 1_594_634_400_500_000),
            ("-1.5", -1_500_000),
            ("2020-07-13T10:00:00.483265Z", 1_594_634_400_483_265),
            ("2020-07-13T12:00:00+02:00", 1_594_634_400_000_000),
        ] {
            assert_eq!(time_us(text), Some(us), "{text}");
        }
        for wrong in ["", "-", ".", "1.2.3", "yesterday", "13.07.2020", "99999999999999999999", "2020-07-13", "1e9"] {
            assert_eq!(time_us(wrong), None, "{wrong}");
        }
    }

    fn check(raw: Raw, known: Option<ValueType>, expected: ValueType, value_expected: Value) {
        let (value_type, found) = value(&raw, known, None).expect("a value");
        assert!(
            value_type == expected && found.same_bits(&value_expected),
            "{raw:?} {known:?}: {value_type:?} {found:?}"
        );
    }

    #[test]
    fn a_cell_is_what_its_series_says_and_else_what_it_looks_like() {
        let cell = |text: &str| Raw::Cell(text.into());
        check(cell("5"), None, F64, Value::F64(5.0));
        check(cell("5"), Some(I64), I64, Value::I64(5));
        check(cell("5.5"), Some(I64), F64, Value::F64(5.5));
        check(cell("0.1"), Some(F32), F64, Value::F64(0.1));
        check(cell("59.70000076293945"), Some(F32), F32, Value::F64(59.70000076293945));
        check(cell("5"), Some(Text), Text, Value::Text("5".into()));
        check(cell("true"), None, Bool, Value::Bool(true));
        check(cell("true"), Some(F64), Bool, Value::Bool(true));
        check(cell(" on "), None, Text, Value::Text(" on ".into()));
        check(cell("NaN"), None, F64, Value::F64(f64::NAN));
        check(cell("inf"), None, Text, Value::Text("inf".into()));
        check(cell("1e999"), None, Text, Value::Text("1e999".into()));
    }

    #[test]
    fn a_value_of_json_is_what_it_is() {
        check(Raw::Text("5".into()), Some(F64), Text, Value::Text("5".into()));
        check(Raw::Text("-Infinity".into()), Some(F64), F64, Value::F64(f64::NEG_INFINITY));
        check(Raw::Text("NaN".into()), Some(Text), Text, Value::Text("NaN".into()));
        check(Raw::Number("9007199254740993".into()), Some(I64), I64, Value::I64(9_007_199_254_740_993));
        check(Raw::Number("5".into()), Some(Text), F64, Value::F64(5.0));
        assert!(value(&Raw::Cell("x".into()), None, Some(F64)).is_err());
        assert!(value(&Raw::Cell("x".repeat(4097)), None, None).is_err());
    }
}
