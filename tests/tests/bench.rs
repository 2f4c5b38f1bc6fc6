//! The measurements of ingest and of the fan-out, against a real server: their figures must agree with each other and with the
//! server's books. Never a time: that is what measurements are for.

use pulsewire_tests::programs;
use serde_json::{Value, json};

fn measure(more: &[&str]) -> Value {
    let mut bench = programs::command(programs::pulsewire_sim());
    bench.args(["bench", "ingest", "--seconds", "1", "--connections", "20", "--json", "--quiet"]);
    let output = programs::run(bench.args(more));
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    assert!(output.status.success(), "{report}");
    for name in ["errors", "missing", "doubled"] {
        assert_eq!(report[name], json!(0), "{name}: {report}");
    }
    assert_eq!(report["samples_stored"], report["samples_acknowledged"], "{report}");
    report
}

#[test]
fn everything_that_is_acknowledged_is_stored_with_rules_and_viewers_looking_on() {
    let report = measure(&["--rules", "3", "--viewers", "2"]);
    let messages = report["messages"].as_u64().expect("a number");
    assert!(messages > 0 && report["samples_stored"].as_u64() >= Some(10 * messages), "{report}");
    assert!(report["viewer_frames_per_s"].as_f64() > Some(0.0), "{report}");
    assert!(report["generator_ceiling_per_s"].as_f64() > Some(0.0), "{report}");
    assert!(report["server_rss_bytes"].as_u64() > Some(1 << 20), "{report}");
    let latency = |name: &str| report["latency_ms"][name].as_f64().expect("a number");
    assert!(latency("p50") > 0.0 && latency("p50") <= latency("p99") && latency("p99") <= latency("max"), "{report}");
}

#[test]
fn with_a_rate_every_message_of_the_schedule_is_stored_or_named_as_unsent() {
    let report = measure(&["--rate", "1000"]);
    let unsent = report["unsent"].as_u64().expect("a number");
    // Two seconds of warm-up and one that counts.
    assert_eq!(report["samples_stored"], json!(10 * (3000 - unsent)), "{report}");
}

/// A small fan-out that must be whole.
fn fan_out(more: &[&str]) -> Value {
    let mut bench = programs::command(programs::pulsewire_sim());
    bench.args(["bench", "fanout", "--subscribers", "20", "--views", "2", "--series", "60", "--seconds", "1"]);
    let output = programs::run(bench.args(["--json", "--quiet"]).args(more));
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    assert!(output.status.success(), "{report}");
    for name in ["errors", "missing", "doubled", "broken", "gaps"] {
        assert_eq!(report[name], json!(0), "{name}: {report}");
    }
    for name in ["updates_per_s", "server_rss_bytes", "generator_ceiling_per_s", "feed_messages_per_s"] {
        assert!(report[name].as_f64() > Some(0.0), "{name}: {report}");
    }
    assert!(report["latency_ms"]["p50"].as_f64() <= report["latency_ms"]["max"].as_f64(), "{report}");
    report
}

#[test]
fn every_subscriber_has_the_newest_values_in_the_end_also_beside_others_that_do_not_read() {
    let report = fan_out(&["--stalled", "2"]);
    assert_eq!(report["stalled"]["stalled"], json!(2), "{report}");
    assert!(report["stalled"]["frames"].as_u64() > Some(0), "{report}");
}

#[test]
fn every_subscriber_that_asks_for_it_has_each_sample_once_and_in_order() {
    let report = fan_out(&["--aggregate", "every", "--interval", "50ms", "--rate", "40"]);
    assert_eq!(report["conflated"], json!(0), "{report}");
}

#[test]
fn dashboards_that_are_cut_off_all_come_back_and_have_the_newest_values() {
    for resume in [&[][..], &["--resume"][..]] {
        let mut bench = programs::command(programs::pulsewire_sim());
        bench.args(["bench", "reconnect", "--dashboards", "300", "--views", "4", "--within", "1", "--json", "--quiet"]);
        let output = programs::run(bench.args(resume));
        let report: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
        assert!(output.status.success(), "{report}");
        for (name, value) in [("live_again", 300), ("refused", 0), ("errors", 0), ("missing", 0), ("doubled", 0)] {
            assert_eq!(report[name], json!(value), "{name}: {report}");
        }
        assert_eq!(report["pages"].as_array().map(Vec::len), Some(2), "{report}");
    }
}
