//! Samples as tests write them: promtool's `-20+1x5 _ stale`, and `-9@40s/55s` with times.

use pulsewire_core::block::ValueRef;
use pulsewire_core::ids::{DeviceId, MetricName};
use pulsewire_core::span;
use pulsewire_core::value::{Value, ValueType};

/// Values of one series.
const VALUES_MAX: usize = 1_000_000;

/// A value that came.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Timed {
    pub value: Value,
    /// µs since the test's beginning.
    pub time_us: i64,
    pub arrival_us: i64,
}

/// `1m30s`, `0`, as promtool; µs.
pub(super) fn duration(text: &str) -> Result<i64, String> {
    let wrong = || format!("{text:?} is no time; one like 30s, 5m or 1h30m is wanted");
    let mut rest = text.trim();
    if rest == "0" {
        return Ok(0);
    }
    let mut sum = 0i64;
    loop {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let unit = rest[digits..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |unit| digits + unit);
        let part = span::parse(&rest[..unit]).ok_or_else(wrong)?;
        sum = sum.checked_add(part).ok_or_else(wrong)?;
        rest = &rest[unit..];
        if rest.is_empty() {
            return Ok(sum);
        }
    }
}

/// `temperature{device="cold-1"}`.
pub(super) fn series(text: &str) -> Result<(MetricName, DeviceId), String> {
    let wanted = || format!("{text:?} is no series; one like temperature{{device=\"cold-1\"}} is wanted");
    let (metric, rest) = text.split_once('{').ok_or_else(wanted)?;
    let labels = rest.trim_end().strip_suffix('}').ok_or_else(wanted)?;
    let metric = MetricName::parse(metric.trim()).map_err(|error| error.to_string())?;
    let mut device = None;
    for label in labels.split(',').map(str::trim).filter(|label| !label.is_empty()) {
        let (name, value) = label.split_once('=').ok_or_else(wanted)?;
        let value = value.trim().strip_prefix('"').and_then(|value| value.strip_suffix('"')).ok_or_else(wanted)?;
        if name.trim() != "device" {
            return Err(format!("label {:?} is not known here; a device's tags stand under devices", name.trim()));
        }
        device = Some(DeviceId::parse(value).map_err(|error| error.to_string())?);
    }
    Ok((metric, device.ok_or_else(wanted)?))
}

/// promtool's notation, with `true`, `false` and `"text"` besides numbers. `stale` is taken for `_`: devices have no such
/// marker, and how long a value is believed is the rule's `staleness`.
pub(super) fn expanding(text: &str, interval_us: i64) -> Result<Vec<Timed>, String> {
    let mut found = Vec::new();
    let mut step = 0i64;
    for token in tokens(text)? {
        let (head, times) = repeated(token)?;
        let (first, step_by) = match head {
            "_" | "stale" => {
                // As promtool: `_x3` is three, where `1x3` is four.
                step = step.checked_add(times.map_or(1, |times| times as i64)).ok_or("too many values")?;
                if step > VALUES_MAX as i64 {
                    return Err(format!("there are more than {VALUES_MAX} values"));
                }
                continue;
            }
            head => stepping(head)?,
        };
        for at in 0..=times.unwrap_or(0) {
            if found.len() >= VALUES_MAX {
                return Err(format!("there are more than {VALUES_MAX} values"));
            }
            let value = match (&first, step_by) {
                #[allow(clippy::cast_precision_loss)] // at most a million
                (Value::F64(first), Some(by)) => Value::F64(first + by * at as f64),
                (first, _) => first.clone(),
            };
            let time_us = step.checked_mul(interval_us).ok_or("the times are too far away")?;
            found.push(Timed { value, time_us, arrival_us: time_us });
            step += 1;
        }
    }
    Ok(found)
}

/// `-9@30s -9@40s/55s`: value, event time, and when it arrived if that was later.
pub(super) fn timed(text: &str) -> Result<Vec<Timed>, String> {
    let one = |token: &str| {
        let wanted =
            || format!("{token:?} is no sample; value@time or value@time/arrival is wanted, such as -9@40s/55s");
        let (value, times) = token.rsplit_once('@').ok_or_else(wanted)?;
        let (time, arrival) = times.split_once('/').unwrap_or((times, times));
        let (value, step) = stepping(value)?;
        if step.is_some() {
            return Err(wanted());
        }
        Ok(Timed { value, time_us: duration(time)?, arrival_us: duration(arrival)? })
    };
    tokens(text)?.into_iter().map(one).collect()
}

/// What a series is of, by its values or as said.
pub(super) fn value_type(said: Option<&str>, values: &[Timed]) -> Result<ValueType, String> {
    let kind = |value: &Value| match value {
        Value::F64(_) | Value::I64(_) => ValueType::F64,
        Value::Bool(_) => ValueType::Bool,
        Value::Text(_) => ValueType::Text,
    };
    let first = values.first().map_or(ValueType::F64, |timed| kind(&timed.value));
    if values.iter().any(|timed| kind(&timed.value) != first) {
        return Err("numbers, true or false, and texts are mixed; a metric is one of them".into());
    }
    let said = match said {
        None => return Ok(first),
        Some(name) => [ValueType::F64, ValueType::F32, ValueType::I64, ValueType::Bool, ValueType::Text]
            .into_iter()
            .find(|value_type| value_type.name() == name)
            .ok_or_else(|| format!("type is {name:?}; f64, f32, i64, bool or text is allowed"))?,
    };
    let number = |value_type| matches!(value_type, ValueType::F64 | ValueType::F32 | ValueType::I64);
    if said != first && !(number(said) && number(first)) {
        return Err(format!("type is {}, and the values are {}", said.name(), first.name()));
    }
    Ok(said)
}

/// A value as a device would send it in a metric of this type.
#[allow(clippy::cast_possible_truncation)] // that is what the types are
pub(super) fn sent(value: &Value, value_type: ValueType) -> ValueRef<'_> {
    match (value, value_type) {
        (Value::F64(value), ValueType::F32) => ValueRef::F64(f64::from(*value as f32)),
        (Value::F64(value), ValueType::I64) => ValueRef::I64(*value as i64),
        (Value::F64(value), _) => ValueRef::F64(*value),
        (Value::I64(value), _) => ValueRef::I64(*value),
        (Value::Bool(value), _) => ValueRef::Bool(*value),
        (Value::Text(value), _) => ValueRef::Text(value),
    }
}

/// Parts between spaces; a text in quotes is one.
fn tokens(text: &str) -> Result<Vec<&str>, String> {
    let (mut found, mut from, mut quoted) = (Vec::new(), None, false);
    for (at, c) in text.char_indices() {
        quoted ^= c == '"';
        match (c.is_whitespace() && !quoted, from) {
            (true, Some(start)) => {
                found.push(&text[start..at]);
                from = None;
            }
            (false, None) => from = Some(at),
            _ => {}
        }
    }
    if quoted {
        return Err("a text is not closed with \"".into());
    }
    found.extend(from.map(|start| &text[start..]));
    Ok(found)
}

/// What stands before `xN`, and N.
fn repeated(token: &str) -> Result<(&str, Option<usize>), String> {
    let Some((head, times)) = token.rsplit_once('x') else { return Ok((token, None)) };
    if times.is_empty() || !times.bytes().all(|b| b.is_ascii_digit()) || head.is_empty() {
        return Ok((token, None));
    }
    match times.parse::<usize>() {
        Ok(times) if times <= VALUES_MAX => Ok((head, Some(times))),
        _ => Err(format!("{token:?}: x{times} is more than {VALUES_MAX} values")),
    }
}

/// A value, and what is added to it each time.
fn stepping(head: &str) -> Result<(Value, Option<f64>), String> {
    match head {
        "true" => return Ok((Value::Bool(true), None)),
        "false" => return Ok((Value::Bool(false), None)),
        _ => {}
    }
    if let Some(text) = head.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
        return Ok((Value::Text(text.into()), None));
    }
    if let Ok(number) = head.parse::<f64>() {
        return Ok((Value::F64(number), None));
    }
    // The sign that is neither the first nor an exponent's.
    let exponent = |at: usize| matches!(head.as_bytes().get(at.wrapping_sub(1)), Some(b'e' | b'E'));
    let sign = head.char_indices().skip(1).find(|(at, c)| matches!(c, '+' | '-') && !exponent(*at)).map(|(at, _)| at);
    let parts = sign.and_then(|at| Some((head[..at].parse::<f64>().ok()?, head[at..].parse::<f64>().ok()?)));
    let (first, step) = parts
        .ok_or_else(|| format!("{head:?} is no value; a number, a+bxn, true, false, \"text\", _ or stale is wanted"))?;
    Ok((Value::F64(first), Some(step)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(text: &str) -> Vec<(i64, f64)> {
        let timed = expanding(text, 10).expect(text);
        timed.iter().map(|timed| (timed.time_us, timed.value.as_f64().expect("a number"))).collect()
    }

    #[test]
    fn values_expand_as_promtool_expands_them() {
        assert_eq!(numbers("1+1x3"), [(0, 1.0), (10, 2.0), (20, 3.0), (30, 4.0)]);
        assert_eq!(numbers("-2-1x1 5x1"), [(0, -2.0), (10, -3.0), (20, 5.0), (30, 5.0)]);
        assert_eq!(numbers("1 _ 2 _x3 3 stale 4"), [(0, 1.0), (20, 2.0), (60, 3.0), (80, 4.0)]);
        assert_eq!(numbers("1e-1 1e1+1e1x1"), [(0, 0.1), (10, 10.0), (20, 20.0)]);
        assert_eq!(expanding("true \"a b\"x1", 10).expect("values").len(), 3);
    }

    #[test]
    fn a_sample_may_say_when_it_arrived() {
        let samples = timed("-9@30s -9@1m/1m30s \"on\"@0").expect("samples");
        let times: Vec<_> = samples.iter().map(|s| (s.time_us / 1_000_000, s.arrival_us / 1_000_000)).collect();
        assert_eq!(times, [(30, 30), (60, 90), (0, 0)]);
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        for wrong in ["1x", "abc", "1+x3", "\"open", "1x99999999", "_x99999999"] {
            assert!(expanding(wrong, 10).is_err(), "{wrong}");
        }
        for wrong in ["1", "1@", "1@5", "1+1@5s", "1@5s/"] {
            assert!(timed(wrong).is_err(), "{wrong}");
        }
        for wrong in ["temp", "temp{}", "temp{device=cold-1}", "temp{room=\"1\",device=\"d\"}", "{device=\"d\"}"] {
            assert!(series(wrong).is_err(), "{wrong}");
        }
        let mixed = expanding("1 true", 10).expect("values");
        assert!(value_type(None, &mixed).is_err());
    }
}
