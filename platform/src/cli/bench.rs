//! `pulsewire bench`: what parts of the server cost by themselves. What the whole server does is measured from outside, by
//! `pulsewire-sim bench`.

mod rules;

use clap::{Args, Subcommand};
use rules::{Measured, Plan, Shape, Timers};
use serde_json::{Value, json};
use std::time::Duration;

/// Measure parts of the server.
#[derive(Args)]
pub(super) struct Bench {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Judging samples by rules: one thread, no disk, no network.
    Rules(RulesBench),
}

#[derive(Args)]
struct RulesBench {
    /// How many devices send.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    devices: u32,
    /// How many rules look at each of them.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100))]
    rules: u32,
    /// Processor time for each of the eight cases.
    #[arg(long, default_value_t = 2.0, value_parser = seconds)]
    seconds: f64,
    /// Print the results as one JSON document.
    #[arg(long)]
    json: bool,
}

fn seconds(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|s| (0.01..=3600.0).contains(s)).ok_or_else(|| "0.01 to 3600 is allowed".into())
}

impl Bench {
    pub(super) fn run(self) -> anyhow::Result<()> {
        match self.what {
            What::Rules(bench) => bench.run(),
        }
    }
}

impl RulesBench {
    fn run(self) -> anyhow::Result<()> {
        if cfg!(debug_assertions) {
            eprintln!("this is a debug build: the numbers say nothing about a release build");
        }
        let mut cases = Vec::new();
        if !self.json {
            println!(
                "{} devices, {} rules each; on one core\n\n{:<25} {:>4} {:>7} {:>11} {:>10} {:>13} {:>9} {:>7}",
                self.devices,
                self.rules,
                "a row has",
                "rows",
                "firing",
                "samples/s",
                "ns/sample",
                "ns/judgement",
                "ns/block",
                "B/state"
            );
        }
        for shape in [Shape::MetricEach, Shape::OneMetric] {
            for firing_permille in [0, 10] {
                for rows_per_block in [1, 16] {
                    let time = Duration::from_secs_f64(self.seconds);
                    let plan =
                        Plan { shape, devices: self.devices, rules: self.rules, rows_per_block, firing_permille, time };
                    let measured = rules::measure(&plan)?;
                    if !self.json {
                        print(&plan, &measured);
                    }
                    cases.push((plan, measured));
                }
            }
        }
        let timers = rules::timers(self.devices)?;
        if self.json {
            println!("{}", serde_json::to_string_pretty(&self.to_json(&cases, &timers))?);
        } else {
            print_timers(&timers);
        }
        Ok(())
    }

    fn to_json(&self, cases: &[(Plan, Measured)], timers: &Timers) -> Value {
        let slowest = cases.iter().map(|(_, measured)| measured.samples_per_s()).reduce(f64::min);
        json!({
            "bench": "rules",
            "devices": self.devices,
            "rules": self.rules,
            // The slowest case; `cases` has all of them.
            "samples_per_s": slowest,
            "cases": cases.iter().map(|(plan, measured)| case_json(plan, measured)).collect::<Vec<_>>(),
            "bytes_per_state": cases.iter().map(|(_, measured)| measured.bytes_per_state).reduce(f64::max),
            "server_rss_bytes": resident_bytes(),
            "latency_ms": {
                "p50": millis(timers.late_p50_us),
                "p99": millis(timers.late_p99_us),
                "max": millis(timers.late_max_us),
            },
            "timers": {
                "devices": self.devices,
                "noticed": timers.noticed,
                "ns_per_device": timers.ns_per_device,
                "ns_per_idle_wake": timers.ns_per_idle_wake,
            },
            "missing": u64::from(self.devices).saturating_sub(timers.noticed as u64),
            "errors": 0,
        })
    }
}

#[allow(clippy::cast_precision_loss)] // for people
impl Measured {
    fn samples_per_s(&self) -> f64 {
        self.samples as f64 / self.seconds
    }

    fn ns_per(&self, count: u64) -> f64 {
        self.seconds * 1e9 / count.max(1) as f64
    }
}

#[allow(clippy::cast_precision_loss)] // for people
fn millis(us: i64) -> f64 {
    us as f64 / 1e3
}

fn shape_name(shape: Shape, rules: u32) -> String {
    match shape {
        Shape::MetricEach => format!("{rules} metrics, a rule each"),
        Shape::OneMetric => format!("1 metric, {rules} rules"),
    }
}

fn print(plan: &Plan, measured: &Measured) {
    println!(
        "{:<25} {:>4} {:>5} % {:>9.2} M {:>10.1} {:>13.1} {:>9.0} {:>7.0}",
        shape_name(plan.shape, plan.rules),
        plan.rows_per_block,
        plan.firing_permille / 10,
        measured.samples_per_s() / 1e6,
        measured.ns_per(measured.samples),
        measured.ns_per(measured.judgements),
        measured.ns_per(measured.blocks),
        measured.bytes_per_state,
    );
}

fn print_timers(timers: &Timers) {
    println!(
        "\nsilence of {} devices is noticed late by {:.1} ms (median), {:.1} ms (99 %), {:.1} ms (worst);\n\
         {:.0} ns for each of them, {:.0} ns to find that nothing is due",
        timers.noticed,
        millis(timers.late_p50_us),
        millis(timers.late_p99_us),
        millis(timers.late_max_us),
        timers.ns_per_device,
        timers.ns_per_idle_wake,
    );
}

fn case_json(plan: &Plan, measured: &Measured) -> Value {
    json!({
        "row": if plan.shape == Shape::MetricEach { "metric_each" } else { "one_metric" },
        "rows_per_block": plan.rows_per_block,
        "firing_percent": plan.firing_permille / 10,
        "samples_per_s": measured.samples_per_s(),
        "messages_per_s": 1e9 / measured.ns_per(measured.blocks),
        "cpu_ns_per_sample": measured.ns_per(measured.samples),
        "cpu_ns_per_judgement": measured.ns_per(measured.judgements),
        "server_cpu_us_per_message": measured.ns_per(measured.blocks) / 1e3,
        "bytes_per_state": measured.bytes_per_state,
        "states": measured.states,
        "changes": measured.changes,
        "cpu_s": measured.seconds,
    })
}

/// Of this process; None where the system does not say.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}
