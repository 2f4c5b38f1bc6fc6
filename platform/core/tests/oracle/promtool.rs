//! Cases as files for `promtool test rules`, and what it says.

use super::drive::State;
use std::fmt::Write;
use std::process::Command;

/// How often rules are evaluated, and samples come.
pub const INTERVAL_S: u32 = 30;
/// Prometheus takes a value for the present for five minutes.
pub const LOOKBACK_STEPS: usize = 10;

/// One step of a series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Point {
    /// A sample.
    Value(f64),
    /// `_`.
    Missing,
    /// A stale marker.
    Stale,
}

/// A rule and its series.
#[derive(Debug, Clone)]
pub struct Case {
    pub comparison: &'static str,
    pub threshold: f64,
    pub hold_s: u32,
    pub keep_s: u32,
    pub values: Vec<Point>,
}

impl Case {
    /// What Prometheus takes for the value at a step, if anything.
    pub fn seen_at(&self, step: usize) -> Option<f64> {
        let back = self.values[..=step].iter().rev().enumerate();
        match back.into_iter().find(|(_, point)| **point != Point::Missing) {
            // One of exactly five minutes ago is still seen.
            Some((age, Point::Value(value))) if age <= LOOKBACK_STEPS => Some(*value),
            _ => None,
        }
    }
}

/// True if nothing is seen at this step although something was before.
pub fn is_absent_from_here(values: &[Point], step: usize) -> bool {
    let case = Case { comparison: ">", threshold: 0.0, hold_s: 0, keep_s: 0, values: values.to_vec() };
    case.seen_at(step).is_none()
}

/// True if the program is installed.
pub fn is_here() -> bool {
    Command::new("promtool").arg("--version").output().is_ok_and(|output| output.status.success())
}

/// Asks promtool whether these are its states; answers what it says if they are not.
pub fn check(cases: &[Case], states: &[Vec<State>]) -> Option<String> {
    if !is_here() {
        if std::env::var("PULSEWIRE_WITHOUT_PROMTOOL").as_deref() == Ok("1") {
            println!("not run: promtool (Debian package prometheus) is not installed");
            return None;
        }
        panic!(
            "promtool is not installed: it is in the Debian package prometheus; PULSEWIRE_WITHOUT_PROMTOOL=1 goes without"
        );
    }
    let folder = Folder::new();
    let (rules, tests) = (folder.path("rules.yaml"), folder.path("tests.yaml"));
    std::fs::write(&rules, rules_file(cases)).expect("a file of rules");
    std::fs::write(&tests, tests_file(cases, states)).expect("a file of tests");
    let output = Command::new("promtool").args(["test", "rules"]).arg(&tests).output().expect("promtool runs");
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).join("\n");
    if output.status.success() {
        assert!(text.contains("SUCCESS"), "{text}");
        return None;
    }
    assert!(text.contains("FAILED"), "promtool could not read the files: {text}");
    Some(text.lines().take(60).collect::<Vec<_>>().join("\n"))
}

fn rules_file(cases: &[Case]) -> String {
    let mut text = String::from("groups:\n- name: cases\n  rules:\n");
    for (number, case) in cases.iter().enumerate() {
        let Case { comparison, threshold, hold_s, keep_s, .. } = case;
        let _ = write!(text, "  - alert: c{number}\n    expr: t{{c=\"{number}\"}} {comparison} {threshold}\n");
        let _ = write!(text, "    for: {hold_s}s\n    keep_firing_for: {keep_s}s\n");
    }
    text
}

fn tests_file(cases: &[Case], states: &[Vec<State>]) -> String {
    let mut text = format!(
        "rule_files: [rules.yaml]\nevaluation_interval: {INTERVAL_S}s\ntests:\n- interval: {INTERVAL_S}s\n  input_series:\n"
    );
    for (number, case) in cases.iter().enumerate() {
        let word = |point: &Point| match point {
            Point::Value(value) => value.to_string(),
            Point::Missing => "_".into(),
            Point::Stale => "stale".into(),
        };
        let words: Vec<String> = case.values.iter().map(word).collect();
        let _ = write!(text, "  - series: t{{c=\"{number}\"}}\n    values: '{}'\n", words.join(" "));
    }
    text += "  promql_expr_test:\n";
    for step in 0..states.iter().map(Vec::len).max().unwrap_or(0) {
        let _ = write!(text, "  - expr: ALERTS\n    eval_time: {}s\n    exp_samples:\n", step as u32 * INTERVAL_S);
        for (number, states) in states.iter().enumerate() {
            let state = match states.get(step) {
                Some(State::Pending) => "pending",
                Some(State::Firing) => "firing",
                _ => continue,
            };
            let _ = write!(
                text,
                "    - labels: 'ALERTS{{alertname=\"c{number}\",alertstate=\"{state}\",c=\"{number}\"}}'\n      value: 1\n"
            );
        }
    }
    text
}

/// A folder of its own that goes with it.
struct Folder(std::path::PathBuf);

impl Folder {
    fn new() -> Self {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("pulsewire-oracle-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
