//! Rows out of lines: CSV by its header, NDJSON by its fields.

use super::super::query::clip;
use super::lines::{Cell, cells};
use super::values::{Raw, time_us};
use pulsewire_core::ids::MetricName;
use pulsewire_core::value::ValueType;
use serde::Deserialize;
use std::collections::HashSet;

/// Most bytes of a unit, as for devices. SPEC §3.1.
const UNIT_BYTES_MAX: usize = 32;
/// Most columns that a message names.
const LISTED_MAX: usize = 10;

/// One row as a line has it.
#[derive(Debug)]
pub struct Row {
    pub time_us: i64,
    /// None if the line does not say.
    pub device: Option<String>,
    pub readings: Vec<Reading>,
}

/// One value of a row.
#[derive(Debug)]
pub struct Reading {
    pub metric: MetricName,
    pub raw: Raw,
    /// None if the line does not say.
    pub unit: Option<String>,
    pub declared: Option<ValueType>,
}

/// A line that cannot be read.
#[derive(Debug)]
pub struct Unreadable {
    pub detail: String,
    /// How many values it seems to have; 1 if nobody knows.
    pub values: u64,
}

impl From<String> for Unreadable {
    fn from(detail: String) -> Self {
        Self { detail, values: 1 }
    }
}

/// How rows are laid out.
pub enum Layout {
    /// Columns of a CSV file.
    Csv(Columns),
    /// Objects.
    Ndjson,
}

/// What each column of a CSV file is.
pub struct Columns {
    count: usize,
    time: usize,
    device: Option<usize>,
    form: Form,
}

enum Form {
    Long { metric: usize, value: usize, unit: Option<usize>, value_type: Option<usize> },
    Wide(Vec<(usize, MetricName)>),
}

impl Columns {
    /// Reads a header. `device_given`: all rows are of one device, which the caller knows.
    ///
    /// # Errors
    /// In words.
    pub fn read(header: &str, device_given: bool) -> Result<Self, String> {
        let names: Vec<String> = cells(header)?.into_iter().map(|cell| cell.text.trim().to_owned()).collect();
        let mut different = HashSet::with_capacity(names.len());
        if let Some(name) = names.iter().find(|name| !different.insert(*name)) {
            return Err(format!("column {:?} is there twice", clip(name)));
        }
        let find = |name: &str| names.iter().position(|n| n == name);
        let mut listed = names.iter().take(LISTED_MAX).map(|name| clip(name)).collect::<Vec<_>>().join(", ");
        if names.len() > LISTED_MAX {
            listed.push_str(", …");
        }
        let time = find("time").ok_or_else(|| {
            format!("the header needs a column time, separated from others by commas; it has: {listed}")
        })?;
        let device = find("device");
        match (device, device_given) {
            (None, false) => {
                return Err(format!("the header needs a column device, or give ?device=ID; it has: {listed}"));
            }
            (Some(_), true) => return Err("the header has a column device, so ?device= must not be given".into()),
            _ => {}
        }
        let mut others = names.iter().enumerate().filter(|(n, _)| *n != time && Some(*n) != device);
        let form = match (find("metric"), find("value")) {
            (Some(metric), Some(value)) => {
                let known = ["metric", "value", "unit", "type"];
                if let Some((_, other)) = others.find(|(_, name)| !known.contains(&name.as_str())) {
                    return Err(format!("beside metric and value a column {:?} has no meaning", clip(other)));
                }
                Form::Long { metric, value, unit: find("unit"), value_type: find("type") }
            }
            (Some(_), None) => return Err("a column metric needs a column value".into()),
            (None, _) => {
                let metric = |(n, name): (usize, &String)| match MetricName::parse(name) {
                    Ok(metric) => Ok((n, metric)),
                    Err(error) => Err(format!("column {}: {error}", n + 1)),
                };
                let metrics = others.map(metric).collect::<Result<Vec<_>, _>>()?;
                if metrics.is_empty() {
                    return Err("the header names no metric".into());
                }
                Form::Wide(metrics)
            }
        };
        Ok(Self { count: names.len(), time, device, form })
    }

    fn row(&self, line: &str) -> Result<Row, Unreadable> {
        let mut cells = cells(line)?;
        if cells.len() != self.count {
            return Err(format!("it has {} cells, the header {}", cells.len(), self.count).into());
        }
        let mut take = |at: usize| cells.get_mut(at).map(std::mem::take).unwrap_or_default();
        let time = take(self.time).text;
        let device = self.device.map(|at| take(at).text.trim().to_owned());
        let readings = match &self.form {
            Form::Long { metric, value, unit, value_type } => {
                let value = take(*value);
                match value.text.is_empty() && !value.quoted {
                    true => Vec::new(),
                    false => {
                        let unit = unit.map(|at| take(at).text);
                        let value_type = value_type.map(|at| take(at).text);
                        vec![reading(&take(*metric).text, Raw::Cell(value.text), unit, value_type.as_deref())?]
                    }
                }
            }
            Form::Wide(metrics) => {
                let present = metrics.iter().filter_map(|(at, metric)| {
                    let Cell { text, .. } = take(*at);
                    let metric = metric.clone();
                    if text.is_empty() {
                        return None;
                    }
                    Some(Reading { metric, raw: Raw::Cell(text), unit: None, declared: None })
                });
                present.collect()
            }
        };
        let time_us = read_time(&time).map_err(|detail| unreadable(detail, &readings))?;
        Ok(Row { time_us, device, readings })
    }
}

fn unreadable(detail: String, readings: &[Reading]) -> Unreadable {
    Unreadable { detail, values: readings.len().max(1) as u64 }
}

fn read_time(text: &str) -> Result<i64, String> {
    time_us(text).ok_or_else(|| {
        let cut = clip(text);
        format!("time is {cut:?}; RFC 3339 like 2026-11-21T09:00:00Z or Unix seconds like 1795251600.5 are wanted")
    })
}

fn reading(metric: &str, raw: Raw, unit: Option<String>, value_type: Option<&str>) -> Result<Reading, String> {
    let metric = MetricName::parse(metric).map_err(|error| error.to_string())?;
    // An empty cell says nothing: the series keeps its unit.
    let unit = unit.filter(|unit| !unit.is_empty());
    if unit.as_ref().is_some_and(|u| u.len() > UNIT_BYTES_MAX || u.chars().any(char::is_control)) {
        return Err(format!(
            "the unit is not valid: up to {UNIT_BYTES_MAX} bytes without control characters are allowed"
        ));
    }
    let declared = match value_type.filter(|name| !name.is_empty()) {
        None => None,
        Some(name) => Some(ValueType::ALL.into_iter().find(|one| one.name() == name).ok_or_else(|| {
            let allowed = ValueType::ALL.map(ValueType::name).join(", ");
            format!("type is {:?}; one of {allowed} is allowed", clip(name))
        })?),
    };
    Ok(Reading { metric, raw, unit, declared })
}

/// A line of NDJSON: one metric with its value, or several in `values`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Object {
    time: Time,
    device: Option<String>,
    metric: Option<String>,
    value: Option<serde_json::Value>,
    unit: Option<String>,
    #[serde(rename = "type")]
    value_type: Option<String>,
    values: Option<serde_json::Map<String, serde_json::Value>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Time {
    Seconds(serde_json::Number),
    Text(String),
}

/// None if there is no value.
fn raw(value: serde_json::Value) -> Result<Option<Raw>, String> {
    match value {
        serde_json::Value::Null => Ok(None),
        serde_json::Value::Bool(value) => Ok(Some(Raw::Bool(value))),
        serde_json::Value::Number(value) => Ok(Some(Raw::Number(value.to_string()))),
        serde_json::Value::String(value) => Ok(Some(Raw::Text(value))),
        _ => Err("a value is a number, a bool or a text".into()),
    }
}

fn object(line: &str) -> Result<Row, Unreadable> {
    let object: Object = serde_json::from_str(line).map_err(|error| format!("not the JSON that is wanted: {error}"))?;
    let readings = match (object.metric, object.value, object.values) {
        (Some(metric), value, None) => match raw(value.unwrap_or_default())? {
            Some(raw) => vec![reading(&metric, raw, object.unit, object.value_type.as_deref())?],
            None => Vec::new(),
        },
        (None, None, Some(values)) if object.unit.is_none() && object.value_type.is_none() => {
            let mut readings = Vec::with_capacity(values.len());
            for (metric, value) in values {
                if let Some(raw) = raw(value)? {
                    readings.push(reading(&metric, raw, None, None)?);
                }
            }
            readings
        }
        _ => {
            let detail =
                "{\"time\", \"device\", \"metric\", \"value\"} or {\"time\", \"device\", \"values\"} is wanted";
            return Err(detail.to_owned().into());
        }
    };
    let time = match &object.time {
        Time::Seconds(seconds) => seconds.to_string(),
        Time::Text(text) => text.clone(),
    };
    let time_us = read_time(&time).map_err(|detail| unreadable(detail, &readings))?;
    Ok(Row { time_us, device: object.device, readings })
}

impl Layout {
    /// Reads a line.
    ///
    /// # Errors
    /// [`Unreadable`].
    pub fn row(&self, line: &str) -> Result<Row, Unreadable> {
        match self {
            Self::Csv(columns) => columns.row(line),
            Self::Ndjson => object(line),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_says_what_is_wrong_with_it() {
        let wrong = |header: &str, given| Columns::read(header, given).err().unwrap_or_default();
        assert!(wrong("ts,device,temp", false).contains("column time"));
        assert!(wrong("time;device;temp", false).contains("commas"));
        assert!(wrong("time,temp", false).contains("?device="));
        assert!(wrong("time,device,temp", true).contains("must not"));
        assert!(wrong("time,device,metric", false).contains("value"));
        assert!(wrong("time,device,metric,value,temp", false).contains("temp"));
        assert!(wrong("time,device,a,a", false).contains("twice"));
        assert!(wrong("time,device,", false).contains("column 3"));
        assert!(wrong("time,device", false).contains("no metric"));
        assert_eq!(wrong("time,value", true), "", "a metric may be called value");
    }

    #[test]
    fn an_empty_cell_is_absent_but_a_quoted_one_is_an_empty_text_where_a_value_must_be() {
        let row = |header: &str, line: &str| Columns::read(header, false).expect("fine").row(line).expect("fine");
        assert_eq!(row("time,device,a,b", "1,x,,2").readings.len(), 1);
        assert_eq!(row("time,device,a,b", "1,x,\"\",2").readings.len(), 1);
        assert_eq!(row("time,device,metric,value", "1,x,a,").readings.len(), 0);
        assert_eq!(row("time,device,metric,value", "1,x,a,\"\"").readings.len(), 1);
    }

    #[test]
    fn objects_have_one_metric_or_several() {
        assert_eq!(object(r#"{"time":1.5,"device":"x","metric":"a","value":1}"#).expect("fine").time_us, 1_500_000);
        let several = object(r#"{"time":"1970-01-01T00:00:01Z","values":{"a":1,"b":null,"c":"x"}}"#).expect("fine");
        assert_eq!((several.time_us, several.readings.len(), several.device), (1_000_000, 2, None));
        for wrong in [
            "[]",
            r#"{"device":"x","metric":"a","value":1}"#,
            r#"{"time":1,"metric":"a","value":[1]}"#,
            r#"{"time":1,"metric":"a","value":1,"values":{}}"#,
            r#"{"time":1,"device":"x","temp":1}"#,
        ] {
            assert!(object(wrong).is_err(), "{wrong}");
        }
    }
}
