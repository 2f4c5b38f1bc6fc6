//! `pulsewire rules test`: files of tests, as promtool's, and what came of them.

use super::check;
use super::drive::{Drive, Sample};
use super::files::{self, Place, RuleInFile, place_of};
use super::series::{self, Timed};
use anyhow::{anyhow, bail};
use clap::Args;
use pulsewire_core::alert::{Compiled, Rule, RuleDocument, TrialLimits};
use pulsewire_core::device::Device;
use pulsewire_core::ids::{DeviceId, DeviceKey, GroupName, MetricName, ProfileName};
use pulsewire_core::value::ValueType;
use serde::Deserialize;
use serde_json::{Value, json};
use serde_saphyr::Spanned;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Samples of one test.
const SAMPLES_MAX: usize = 1_000_000;
/// Pairs of a rule and a device in one test.
const PAIRS_MAX: usize = 10_000;
/// What happens to the alerts of one rule on one device.
const EVENTS_MAX: usize = 1_000_000;

#[derive(Args)]
pub(super) struct Test {
    /// YAML files with `tests`.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Print what came out as one JSON document.
    #[arg(long)]
    json: bool,
}

/// A file of tests.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TestFile {
    #[serde(default)]
    rules: Vec<Spanned<RuleDocument>>,
    #[serde(default)]
    rule_files: Vec<PathBuf>,
    evaluation_interval: Option<Spanned<String>>,
    #[serde(default)]
    alerting: Limits,
    tests: Vec<Spanned<TestCase>>,
}

/// As the keys of `[alerting]`.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Limits {
    gap_max: Option<Spanned<String>>,
    lateness_max: Option<Spanned<String>>,
    ahead_max: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
struct TestCase {
    name: Option<String>,
    interval: Option<Spanned<String>>,
    start: Option<Spanned<String>>,
    devices: BTreeMap<String, DeviceCase>,
    input_series: Vec<SeriesCase>,
    samples: Vec<SamplesCase>,
    alert_rule_test: Vec<check::AlertTest>,
    notification_test: Vec<check::NotificationTest>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct DeviceCase {
    name: Option<String>,
    group: Option<String>,
    profile: Option<String>,
    tags: BTreeMap<String, String>,
    firmware: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SeriesCase {
    series: Spanned<String>,
    values: Spanned<String>,
    #[serde(rename = "type")]
    value_type: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SamplesCase {
    device: Spanned<String>,
    metric: Spanned<String>,
    values: Spanned<String>,
    #[serde(rename = "type")]
    value_type: Option<String>,
}

/// What came of a test.
struct Outcome {
    name: String,
    place: Place,
    failures: Vec<check::Failure>,
}

/// Reads a text of a file, or says where it stands.
pub(super) fn read_at<T, R>(
    file: &Path,
    field: &str,
    text: &Spanned<T>,
    read: impl FnOnce(&T) -> Result<R, String>,
) -> anyhow::Result<R> {
    read(&text.value).map_err(|problem| anyhow!("{}: {field}: {problem}", place_of(file, text)))
}

impl Test {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let (mut outcomes, mut failed) = (Vec::new(), 0);
        for file in &self.files {
            for outcome in run_file(file)? {
                failed += usize::from(!outcome.failures.is_empty());
                if !self.json {
                    print(&outcome);
                }
                outcomes.push(outcome);
            }
        }
        if self.json {
            let tests: Vec<Value> = outcomes.iter().map(Outcome::to_json).collect();
            let all = json!({ "tests": tests, "passed": outcomes.len() - failed, "failed": failed });
            println!("{}", serde_json::to_string_pretty(&all)?);
        }
        if failed > 0 {
            bail!("{failed} of {} tests failed", outcomes.len());
        }
        Ok(())
    }
}

fn print(outcome: &Outcome) {
    let Outcome { name, place, failures } = outcome;
    println!("{} {place}: {name}", if failures.is_empty() { "ok  " } else { "FAIL" });
    for failure in failures {
        println!("       at {}: {}", failure.at, failure.what);
        for (word, lines) in [("expected", &failure.expected), ("got", &failure.got)] {
            match lines.split_first() {
                None => println!("         {word:<8} nothing"),
                Some((first, more)) => {
                    println!("         {word:<8} {first}");
                    more.iter().for_each(|line| println!("         {:<8} {line}", ""));
                }
            }
        }
    }
}

impl Outcome {
    fn to_json(&self) -> Value {
        let failure = |failure: &check::Failure| json!({ "at": failure.at, "what": failure.what, "expected": failure.expected, "got": failure.got });
        json!({
            "file": self.place.file.display().to_string(),
            "line": self.place.line,
            "name": self.name,
            "ok": self.failures.is_empty(),
            "failures": self.failures.iter().map(failure).collect::<Vec<_>>(),
        })
    }
}

fn run_file(file: &Path) -> anyhow::Result<Vec<Outcome>> {
    let read: TestFile = files::read(file)?;
    let mut in_files = RuleInFile::all_of(file, read.rules);
    for other in &read.rule_files {
        let other = file.parent().unwrap_or(Path::new("")).join(other);
        in_files.extend(RuleInFile::read(&other)?);
    }
    let rules = files::checked(&in_files)?;
    if rules.is_empty() {
        bail!("{}: rules: there is no rule to test; give rules or rule_files", file.display());
    }
    let time = |field: &str, text: &Option<Spanned<String>>, default_s: i64| match text {
        None => Ok(default_s * 1_000_000),
        Some(text) => read_at(file, field, text, |text| series::duration(text)),
    };
    let interval_us = time("evaluation_interval", &read.evaluation_interval, 60)?;
    let gap_max_us = time("alerting.gap_max", &read.alerting.gap_max, 15 * 60)?;
    let limits = TrialLimits {
        lateness_max_us: time("alerting.lateness_max", &read.alerting.lateness_max, 60)?,
        ahead_max_us: time("alerting.ahead_max", &read.alerting.ahead_max, 60)?,
        log_max: EVENTS_MAX,
        spans_max: EVENTS_MAX,
        wakes_max: 1_000_000,
    };
    let rules: Vec<Rule> = rules.into_iter().filter(|rule| rule.enabled).collect();
    let compiled = rules
        .into_iter()
        .map(|rule| Compiled::new(rule, gap_max_us))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| anyhow!("{}: rules: {error}", file.display()))?;
    let run = |(number, case): (usize, &Spanned<TestCase>)| {
        let place = place_of(file, case);
        let name = case.value.name.clone().unwrap_or_else(|| format!("test {}", number + 1));
        let failures = run_case(file, &place, &case.value, interval_us, &compiled, limits)?;
        Ok(Outcome { name, place, failures })
    };
    read.tests.iter().enumerate().map(run).collect()
}

/// The series of a test.
struct Input {
    place: Place,
    device: DeviceId,
    metric: MetricName,
    value_type: ValueType,
    values: Vec<Timed>,
}

fn inputs(file: &Path, case: &TestCase, interval_us: i64) -> anyhow::Result<Vec<Input>> {
    let mut inputs: Vec<Input> = Vec::new();
    for given in &case.input_series {
        let (metric, device) = read_at(file, "series", &given.series, |text| series::series(text))?;
        let values = read_at(file, "values", &given.values, |text| series::expanding(text, interval_us))?;
        let said = given.value_type.as_deref();
        let value_type = read_at(file, "values", &given.values, |_| series::value_type(said, &values))?;
        inputs.push(Input { place: place_of(file, &given.series), device, metric, value_type, values });
    }
    for given in &case.samples {
        let device = |id: &String| DeviceId::parse(id).map_err(|error| error.to_string());
        let metric = |name: &String| MetricName::parse(name).map_err(|error| error.to_string());
        let device = read_at(file, "device", &given.device, device)?;
        let metric = read_at(file, "metric", &given.metric, metric)?;
        let values = read_at(file, "values", &given.values, |text| series::timed(text))?;
        let said = given.value_type.as_deref();
        let value_type = read_at(file, "values", &given.values, |_| series::value_type(said, &values))?;
        inputs.push(Input { place: place_of(file, &given.values), device, metric, value_type, values });
    }
    let count: usize = inputs.iter().map(|input| input.values.len()).sum();
    if count > SAMPLES_MAX {
        bail!("{}: the test has {count} samples; at most {SAMPLES_MAX} are taken", file.display());
    }
    Ok(inputs)
}

fn device(place: &Place, key: u32, id: &DeviceId, case: Option<&DeviceCase>) -> anyhow::Result<Device> {
    let group = case.and_then(|case| case.group.as_deref()).map(GroupName::parse).transpose();
    let group = group.map_err(|error| anyhow!("{place}: devices.{id}.group: {error}"))?;
    let profile = case.and_then(|case| case.profile.as_deref()).map(ProfileName::parse).transpose();
    let profile = profile.map_err(|error| anyhow!("{place}: devices.{id}.profile: {error}"))?;
    Ok(Device {
        key: DeviceKey(key),
        id: id.clone(),
        name: case.and_then(|case| case.name.clone()).unwrap_or_else(|| id.to_string()),
        tags: case.map(|case| case.tags.clone()).unwrap_or_default(),
        group,
        profile,
        enabled: true,
        created_us: 0,
        last_seen_us: None,
        firmware: case.and_then(|case| case.firmware.clone()),
    })
}

fn run_case(
    file: &Path,
    place: &Place,
    case: &TestCase,
    interval_us: i64,
    rules: &[Compiled],
    limits: TrialLimits,
) -> anyhow::Result<Vec<check::Failure>> {
    let interval_us = match &case.interval {
        None => interval_us,
        Some(text) => read_at(file, "interval", text, |text| series::duration(text))?,
    };
    let start = |text: &String| text.parse::<jiff::Timestamp>().map_err(|error| error.to_string());
    let start_us = match &case.start {
        None => 0,
        Some(text) => read_at(file, "start", text, start)?.as_microsecond(),
    };
    let inputs = inputs(file, case, interval_us)?;
    let mut ids: Vec<DeviceId> = inputs.iter().map(|input| input.device.clone()).collect();
    for id in case.devices.keys() {
        ids.push(DeviceId::parse(id).map_err(|error| anyhow!("{place}: devices: {error}"))?);
    }
    ids.sort();
    ids.dedup();
    let devices = ids
        .iter()
        .zip(1u32..)
        .map(|(id, key)| device(place, key, id, case.devices.get(id.as_str())))
        .collect::<anyhow::Result<Vec<_>>>()?;
    if devices.len().saturating_mul(rules.len()) > PAIRS_MAX {
        bail!("{place}: {} devices and {} rules; at most {PAIRS_MAX} pairs are tested", devices.len(), rules.len());
    }
    let mut types: BTreeMap<(&DeviceId, &MetricName), ValueType> = BTreeMap::new();
    let mut samples = Vec::new();
    for input in &inputs {
        let known = *types.entry((&input.device, &input.metric)).or_insert(input.value_type);
        if known != input.value_type {
            bail!("{}: values: {} of {} is {} before", input.place, input.metric, input.device, known.name());
        }
        let Ok(device) = ids.binary_search(&input.device) else { continue };
        samples.extend(input.values.iter().map(|timed| Sample {
            device,
            metric: &input.metric,
            value_type: input.value_type,
            value: &timed.value,
            time_us: start_us.saturating_add(timed.time_us),
            arrival_us: start_us.saturating_add(timed.arrival_us),
        }));
    }
    for rule in rules {
        for device in devices.iter().filter(|device| rule.rule.scope.takes(device)) {
            let of = |metric| types.get(&(&device.id, metric)).copied();
            let types: Vec<_> = rule.rule.metrics().iter().map(of).collect();
            if let Err(error) = rule.rule.check_types(&types) {
                bail!("{place}: rule {:?} on {}: {error}", rule.rule.id.as_str(), device.id);
            }
        }
    }
    let checks = check::checks(file, &case.alert_rule_test, &case.notification_test, rules)?;
    if checks.is_empty() {
        bail!("{place}: the test expects nothing; give alert_rule_test or notification_test");
    }
    let mut drive = Drive::new(rules, &devices, samples, start_us, limits);
    let mut failures = Vec::new();
    for check in checks {
        drive.to(start_us.saturating_add(check.at_us));
        failures.extend(check.look(&mut drive, start_us));
    }
    if drive.cut() {
        bail!("{place}: more happened than a test can hold; the rule asks for something at every moment");
    }
    Ok(failures)
}
