//! `pulsewire rules incidents`: rules over recorded data whose incidents are known.

use super::files::{self, RuleInFile};
use anyhow::{Context, bail};
use clap::Args;
use pulsewire_core::alert::{Compiled, Rule, Span, Trial, TrialLimits};
use pulsewire_core::block::ValueRef;
use pulsewire_core::device::Device;
use pulsewire_core::ids::{DeviceId, DeviceKey};
use pulsewire_sim::replay::{ReplayOptions, Table, Value as Cell};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Where the data are if nothing else is said.
const DATA_DEFAULT: &str = "../shared/data";
/// The file with the labels.
const LABELS: &str = "incidents.csv";
/// The label of a rule that says which kind of incident it is for.
const CATCHES: &str = "catches";
/// Labels give times to the millisecond.
const LABEL_US: i64 = 1_000;
/// What the engine of a server takes by default.
const GAP_MAX_US: i64 = 15 * 60_000_000;
const LIMITS: TrialLimits = TrialLimits {
    lateness_max_us: 60_000_000,
    ahead_max_us: 60_000_000,
    log_max: 1_000_000,
    spans_max: 1_000_000,
    wakes_max: 1_000_000,
};

/// The rules of docs/examples/rules.
const EXAMPLES: [(&str, &str); 4] = [
    ("sensor-glitches.yaml", include_str!("../../../../docs/examples/rules/sensor-glitches.yaml")),
    ("room-air.yaml", include_str!("../../../../docs/examples/rules/room-air.yaml")),
    ("vehicle-battery.yaml", include_str!("../../../../docs/examples/rules/vehicle-battery.yaml")),
    ("machine-temperature.yaml", include_str!("../../../../docs/examples/rules/machine-temperature.yaml")),
];

#[derive(Args)]
pub(super) struct Incidents {
    /// Folder with recorded data and incidents.csv.
    #[arg(long, value_name = "DIR", default_value = DATA_DEFAULT)]
    data: PathBuf,
    /// Rules instead of the examples; each says by its label `catches` which kind of incident it is for.
    #[arg(long, value_name = "FILE")]
    rules: Vec<PathBuf>,
    /// Print the table as one JSON document.
    #[arg(long)]
    json: bool,
}

/// What someone says happened.
struct Incident {
    file: String,
    kind: String,
    /// None: the file has one device, whatever it is called.
    device: Option<String>,
    from_us: i64,
    to_us: i64,
}

/// A line of the table.
struct Row {
    file: String,
    kind: String,
    rule: String,
    labelled: usize,
    caught: usize,
    alerts: usize,
    false_alarms: usize,
    /// The longest time from an incident's beginning to its alert.
    delay_max_us: i64,
}

impl Incidents {
    pub(super) fn run(self) -> anyhow::Result<()> {
        if !self.data.join(LABELS).is_file() {
            bail!("{} is not there; --data names the folder with it", self.data.join(LABELS).display());
        }
        let mut in_files = Vec::new();
        if self.rules.is_empty() {
            for (name, text) in EXAMPLES {
                in_files.extend(RuleInFile::parse(Path::new("docs/examples/rules").join(name).as_path(), text)?);
            }
        }
        for file in &self.rules {
            in_files.extend(RuleInFile::read(file)?);
        }
        let rules = files::checked(&in_files)?;
        let incidents = labelled(&self.data)?;
        let (mut rows, mut tables) = (Vec::new(), BTreeMap::new());
        let kinds: BTreeSet<(&str, &str)> = incidents.iter().map(|i| (i.file.as_str(), i.kind.as_str())).collect();
        let mut unwatched = Vec::new();
        for (file, kind) in kinds {
            let before = rows.len();
            for rule in rules.iter().filter(|rule| rule.labels.get(CATCHES).is_some_and(|catches| catches == kind)) {
                if !tables.contains_key(file) {
                    let path = self.data.join(file);
                    let table = Table::read(&path, &ReplayOptions::for_file(&path))?;
                    if let Some(first) = table.bad_rows.first() {
                        eprintln!("{} rows are left out; the first: {first}", table.unreadable);
                    }
                    tables.insert(file.to_owned(), table);
                }
                let of_kind: Vec<_> = incidents.iter().filter(|i| i.file == file && i.kind == kind).collect();
                let row = tables.get(file).map(|table| over(rule, table, &of_kind)).transpose()?.flatten();
                rows.extend(row.map(|row| Row { file: file.to_owned(), kind: kind.to_owned(), ..row }));
            }
            if rows.len() == before {
                unwatched.push((file, kind));
            }
        }
        if self.json {
            let unwatched: Vec<Value> =
                unwatched.iter().map(|(file, kind)| json!({ "file": file, "kind": kind })).collect();
            let all = json!({ "rows": rows.iter().map(Row::to_json).collect::<Vec<_>>(), "without_rule": unwatched });
            println!("{}", serde_json::to_string_pretty(&all)?);
        } else {
            print(&rows);
            for (file, kind) in unwatched {
                println!("no rule is for {kind} in {file}");
            }
        }
        Ok(())
    }
}

fn labelled(data: &Path) -> anyhow::Result<Vec<Incident>> {
    let path = data.join(LABELS);
    let texts = ["file", "device", "end", "kind"];
    let options = ReplayOptions {
        time_column: Some("start".into()),
        device: Some("labels".into()),
        metrics: Some(texts.map(str::to_owned).to_vec()),
        ..ReplayOptions::for_file(&path)
    };
    let table = Table::read(&path, &options)?;
    let column = |name: &str| table.set.metrics.iter().position(|metric| metric.name == name);
    let columns = texts.map(column);
    let mut incidents = Vec::new();
    for rows in &table.devices {
        for at in 0..usize::try_from(rows.len()).unwrap_or(0) {
            let values = table.values(rows, at);
            let text = |column: Option<usize>| {
                let value = values.iter().find(|(place, _)| Some(*place) == column);
                value.and_then(|(_, value)| if let Cell::Text(text) = value { Some((*text).to_owned()) } else { None })
            };
            let [file, device, end, kind] = columns.map(text);
            let (Some(file), Some(end), Some(kind)) = (file, end, kind) else { continue };
            let end: jiff::civil::DateTime =
                end.parse().with_context(|| format!("{}: end is {end:?}", path.display()))?;
            let end = end.to_zoned(jiff::tz::TimeZone::UTC)?.timestamp();
            let (from_us, to_us) = (rows.time_us(at), end.as_microsecond());
            incidents.push(Incident { file, kind, device, from_us, to_us });
        }
    }
    Ok(incidents)
}

/// A rule over a file; None if it looks at nothing there.
fn over(rule: &Rule, table: &Table, incidents: &[&Incident]) -> anyhow::Result<Option<Row>> {
    let compiled = Compiled::new(rule.clone(), GAP_MAX_US)?;
    let metrics = rule.metrics();
    let columns: Vec<Option<u16>> = table
        .set
        .metrics
        .iter()
        .map(|metric| u16::try_from(metrics.iter().position(|m| m.as_str() == metric.name)?).ok())
        .collect();
    let mut spans: Vec<(String, Span)> = Vec::new();
    let mut looked = false;
    for (rows, key) in table.devices.iter().zip(1u32..) {
        let device = device(key, &rows.device)?;
        if !rule.scope.takes(&device) || columns.iter().flatten().count() < metrics.len() {
            continue;
        }
        looked = true;
        let mut order: Vec<usize> = (0..usize::try_from(rows.len()).unwrap_or(0)).collect();
        // As the store has them.
        order.sort_by_key(|at| rows.time_us(*at));
        let mut trial = Trial::new(&compiled, &device, table.first_us, LIMITS);
        for at in order {
            let values = table.values(rows, at);
            let values: Vec<_> = values
                .iter()
                .filter_map(|(column, value)| {
                    let (value, is_f32) = read(value);
                    Some(((*columns.get(*column)?)?, value, is_f32))
                })
                .collect();
            if !values.is_empty() {
                trial.sample(rows.time_us(at), rows.time_us(at), &values);
            }
        }
        let (findings, _) = trial.finish(table.last_us);
        if findings.cut {
            bail!("rule {:?} fires more often on {} than is counted", rule.id.as_str(), rows.device);
        }
        spans.extend(findings.spans.into_iter().map(|span| (rows.device.clone(), span)));
    }
    Ok(looked.then(|| count(rule, table, incidents, &spans)))
}

fn read<'v>(value: &Cell<'v>) -> (ValueRef<'v>, bool) {
    match value {
        Cell::F64(value) => (ValueRef::F64(*value), false),
        Cell::F32(value) => (ValueRef::F64(f64::from(*value)), true),
        Cell::I64(value) => (ValueRef::I64(*value), false),
        Cell::Bool(value) => (ValueRef::Bool(*value), false),
        Cell::Text(value) => (ValueRef::Text(value), false),
    }
}

fn device(key: u32, id: &str) -> anyhow::Result<Device> {
    Ok(Device::named(DeviceKey(key), DeviceId::parse(id)?))
}

/// An incident is caught by an alert that fires at some time of it; an alert is false if it fires at no time of any.
fn count(rule: &Rule, table: &Table, incidents: &[&Incident], spans: &[(String, Span)]) -> Row {
    let touches = |incident: &Incident, device: &str, span: &Span| {
        // A file of one device may be spoken of under another name.
        let same = table.devices.len() == 1 || incident.device.as_deref().is_none_or(|id| id == device);
        let to_us = span.to_us.unwrap_or(i64::MAX);
        same && span.from_us <= incident.to_us.saturating_add(LABEL_US) && to_us >= incident.from_us
    };
    let (mut caught, mut delay_max_us) = (0, 0);
    for incident in incidents {
        let first = spans.iter().filter(|(device, span)| touches(incident, device, span)).map(|(_, span)| span.from_us);
        if let Some(first_us) = first.min() {
            caught += 1;
            delay_max_us = first_us.saturating_sub(incident.from_us).max(delay_max_us);
        }
    }
    let is_false = |(device, span): &&(String, Span)| !incidents.iter().any(|incident| touches(incident, device, span));
    Row {
        file: String::new(),
        kind: String::new(),
        rule: rule.id.to_string(),
        labelled: incidents.len(),
        caught,
        alerts: spans.len(),
        false_alarms: spans.iter().filter(is_false).count(),
        delay_max_us,
    }
}

impl Row {
    fn to_json(&self) -> Value {
        let Self { file, kind, rule, labelled, caught, alerts, false_alarms, delay_max_us } = self;
        #[allow(clippy::cast_precision_loss)] // for people
        let delay_s = *delay_max_us as f64 / 1e6;
        json!({
            "file": file, "kind": kind, "rule": rule, "labelled": labelled, "caught": caught,
            "missed": labelled - caught, "alerts": alerts, "false_alarms": false_alarms, "delay_max_s": delay_s,
        })
    }
}

fn print(rows: &[Row]) {
    let head = ["file", "incident", "rule", "labelled", "caught", "missed", "alerts", "false alarms", "latest after"];
    let line = |row: &Row| {
        [
            row.file.clone(),
            row.kind.clone(),
            row.rule.clone(),
            row.labelled.to_string(),
            row.caught.to_string(),
            (row.labelled - row.caught).to_string(),
            row.alerts.to_string(),
            row.false_alarms.to_string(),
            format!("{} s", row.delay_max_us / 1_000_000),
        ]
    };
    let lines: Vec<_> = std::iter::once(head.map(str::to_owned)).chain(rows.iter().map(line)).collect();
    let width = |column: usize| lines.iter().map(|line| line[column].len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    for line in &lines {
        let cells = line.iter().zip(&widths).enumerate().map(|(column, (cell, width))| match column {
            0..=2 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        println!("{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
}
