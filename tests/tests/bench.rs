//! The measurement of ingest, against a real server: its figures must agree with each other and with the server's books.
//! Never a time: that is what measurements are for.

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
