//! Rules as files: their tests, and what they find in recorded data.

use pulsewire_tests::Server;
use pulsewire_tests::programs::{command, pulsewire, repository, run};
use pulsewire_tests::server::ADMIN_PASSWORD;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Output;

fn rules(arguments: &[&str]) -> Output {
    run(command(pulsewire()).current_dir(repository()).arg("rules").args(arguments))
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn write(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).expect("written");
    path.to_string_lossy().into_owned()
}

#[test]
fn the_documented_rule_tests_pass() {
    let output = rules(&["test", "docs/examples/cold-room.test.yaml"]);
    assert!(output.status.success(), "{}{}", stdout(&output), stderr(&output));
    assert_eq!(stdout(&output).lines().filter(|line| line.starts_with("ok ")).count(), 4);
    // What the guide shows is what the file has.
    let guide = std::fs::read_to_string(repository().join("docs/rules-as-files.md")).expect("the guide");
    let file = std::fs::read_to_string(repository().join("docs/examples/cold-room.test.yaml")).expect("the example");
    let shown = guide.split("```yaml\n").skip(1).filter_map(|block| block.split("```").next());
    let (mut blocks, mut from_file) = (0, 0);
    for block in shown {
        blocks += 1;
        from_file += usize::from(file.contains(block));
    }
    assert!(blocks >= 2 && from_file >= 2, "{from_file} of {blocks} examples are in the file");
}

const HOT: &str = "
rules:
  - {id: hot, name: Too hot, when: temp > 80, for: 30s, flapping: false}
tests:
  - name: fires
    interval: 10s
    input_series:
      - {series: 'temp{device=\"d\"}', values: '90x6'}
    alert_rule_test:
      - {eval_time: 20s, alertname: hot, exp_alerts: []}
      - {eval_time: 30s, alertname: hot, exp_alerts: [{device: d, severity: SEVERITY}]}
    notification_test:
      - {eval_time: 1m, exp_notifications: [{reason: first, at: AT, firing: [d]}]}
";

#[test]
fn a_failed_test_says_what_was_expected_what_came_and_when() {
    let folder = tempfile::tempdir().expect("a folder");
    let good = write(folder.path(), "good.yaml", &HOT.replace("SEVERITY", "warning").replace("AT", "40s"));
    let output = rules(&["test", &good]);
    assert!(output.status.success(), "{}{}", stdout(&output), stderr(&output));
    let bad = write(folder.path(), "bad.yaml", &HOT.replace("SEVERITY", "critical").replace("AT", "39s"));
    let output = rules(&["test", &good, &bad]);
    assert_eq!(output.status.code(), Some(1));
    let text = stdout(&output);
    for wanted in [
        "ok   ",
        "FAIL ",
        "at 30s: alerts of hot",
        "expected d critical firing",
        "got      hot d warning firing since 30s",
        "expected at 39s first firing [d]",
        "got      at 40s hot first firing [d] to [everyone]",
    ] {
        assert!(text.contains(wanted), "{wanted:?} is missing in\n{text}");
    }
    assert!(stderr(&output).contains("1 of 2 tests failed"), "{}", stderr(&output));
    let output = rules(&["test", "--json", &good, &bad]);
    let json: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((&json["passed"], &json["failed"]), (&1.into(), &1.into()));
    assert_eq!(json["tests"][1]["failures"][0]["at"], "30s");
}

#[test]
fn mistakes_in_files_are_told_with_file_line_and_field() {
    let folder = tempfile::tempdir().expect("a folder");
    let fine = HOT.replace("SEVERITY", "warning").replace("AT", "40s");
    for (name, from, to, line, wanted) in [
        ("syntax.yaml", "when: temp > 80", "when: tmp >> 80", 3, "levels[0].when"),
        ("span.yaml", "for: 30s", "for: soon", 3, "for is \"soon\""),
        ("unknown.yaml", "flapping: false", "flaping: false", 3, "flaping"),
        ("values.yaml", "90x6", "90 hot", 8, "\"hot\" is no value"),
        ("series.yaml", "temp{device", "temp{room", 8, "\"room\""),
        ("time.yaml", "eval_time: 20s", "eval_time: then", 10, "\"then\" is no time"),
        ("rule.yaml", "{eval_time: 20s, alertname: hot", "{eval_time: 20s, alertname: cold", 10, "\"cold\""),
        ("reason.yaml", "reason: first", "reason: because", 13, "\"because\""),
        ("type.yaml", "90x6", "\"warm\"", 5, "text"),
        ("yaml.yaml", "tests:", "tests: [", 0, ""),
    ] {
        let text = fine.replace(from, to);
        assert_ne!(text, fine, "{name}");
        let file = write(folder.path(), name, &text);
        let output = rules(&["test", &file]);
        assert_eq!(output.status.code(), Some(1), "{name}");
        let text = stderr(&output);
        let place = if line == 0 { name.to_owned() } else { format!("{name}:{line}") };
        assert!(text.contains(&place) && text.contains(wanted), "{place} and {wanted:?} are wanted in {text}");
        assert!(!text.contains("panicked"), "{text}");
    }
    let output = rules(&["test", "no-such-file.yaml"]);
    assert!(stderr(&output).contains("no-such-file.yaml cannot be read"), "{}", stderr(&output));
}

/// The numbers of docs/incidents.md.
#[test]
fn example_rules_catch_the_incidents_of_recorded_data() {
    if !repository().join("../shared/data/incidents.csv").exists() {
        println!("there are no recorded data beside the repository: nothing to run the rules over");
        return;
    }
    let output = rules(&["incidents", "--json"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let json: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let count = |row: &Value, name: &str| row[name].as_u64().expect("a count");
    let rows: Vec<_> = json["rows"].as_array().expect("rows").iter().collect();
    let of = |rule: &str| -> Vec<[u64; 3]> {
        let of_rule = rows.iter().filter(|row| row["rule"] == rule);
        of_rule.map(|row| [count(row, "labelled"), count(row, "caught"), count(row, "false_alarms")]).collect()
    };
    assert_eq!(of("glitch-temperature"), [[9, 9, 0]]);
    assert_eq!(of("glitch-humidity"), [[9, 9, 0]]);
    assert_eq!(of("battery-low"), [[1, 1, 0], [1, 1, 0]]);
    assert_eq!(of("co2-high"), [[5, 5, 0]]);
    assert_eq!(of("machine-stopped"), [[4, 2, 0]]);
    assert_eq!(of("machine-cools"), [[4, 4, 4]]);
    let output = rules(&["incidents", "--data", "docs"]);
    assert!(stderr(&output).contains("--data names the folder"), "{}", stderr(&output));
}

#[test]
fn the_bench_of_rules_reports_every_case() {
    let arguments = ["bench", "rules", "--json", "--devices", "50", "--rules", "3", "--seconds", "0.01"];
    let output = run(command(pulsewire()).args(arguments));
    assert!(output.status.success(), "{}", stderr(&output));
    let json: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(json["cases"].as_array().expect("cases").len(), 8);
    assert!(json["samples_per_s"].as_f64().expect("a number") > 0.0, "{json}");
    assert_eq!((&json["timers"]["noticed"], &json["missing"]), (&50.into(), &0.into()));
    let firing = json["cases"].as_array().into_iter().flatten().filter(|case| case["firing_percent"] == 1);
    assert!(firing.clone().count() == 4, "{json}");
}

fn with_server(server: &Server, arguments: &[&str]) -> Output {
    let mut command = command(pulsewire());
    command.arg("rules").args(arguments).args(["--api", &server.url(), "--password-env", "THE_PASSWORD"]);
    run(command.env("THE_PASSWORD", ADMIN_PASSWORD))
}

fn succeeds(server: &Server, arguments: &[&str]) -> String {
    let output = with_server(server, arguments);
    assert!(output.status.success(), "{arguments:?}: {}{}", stdout(&output), stderr(&output));
    stdout(&output)
}

/// Most fields, and texts that YAML could take for something else.
const TEAM: &str = r#"
rules:
  - id: cold-room-warm
    name: "yes"
    scope: {tag: "kind:cold-room"}
    levels:
      - {severity: critical, when: temperature > -8 && !defrost}
      - {severity: warning, when: temperature > -12, clear: temperature < -15}
    for: 30s
    keep_firing_for: 5m
    staleness: 10m
    lateness: 5s
    no_data: {after: 5m, then: fire, severity: critical}
    flapping: false
    schedule: {zone: Europe/Berlin, windows: ["mon-fri 08:00-18:00"]}
    reopen_window: 1m
    labels: {team: "1e3", room: "no"}
    message: |
      {{ device.name }}: {{ value }} # not a comment
      - close the door: now
    runbook: https://wiki.example/cold-rooms
    notify:
      wait: 20s
      to: [role:operator]
      ack_timeout: 1h
      escalation: [{after: 15m, to: ["user:admin"], times: 3, every: 10m}]
  - {id: hot, name: Hot, metric: temp, comparison: ">", threshold: 80, clear: 75, severity: info}
  - {id: often, name: Often, when: errors > 3, count: {at_least: 3, of: 5}, mode: on_change}
"#;

#[test]
fn applied_files_are_what_the_server_has_and_applying_again_changes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start();
    let team = write(folder.path(), "team.yaml", TEAM);
    let apply = ["apply", &team, "--allow-unknown-metric"];
    let dry = succeeds(&server, &["apply", &team, "--allow-unknown-metric", "--dry-run"]);
    assert!(dry.contains("nothing was done: 3 created, 0 changed"), "{dry}");
    assert_eq!(server.admin().get("/api/v1/rules").expect(200)["items"], json!([]));
    let first = succeeds(&server, &apply);
    assert!(
        first.contains("+ cold-room-warm") && first.contains("3 created, 0 changed, 0 deleted, 0 unchanged"),
        "{first}"
    );
    let again = succeeds(&server, &apply);
    assert_eq!(again.trim(), "0 created, 0 changed, 0 deleted, 3 unchanged");
    assert_eq!(succeeds(&server, &["diff", &team]).trim(), "no differences in 3 rules");
    let rule = server.admin().get("/api/v1/rules/cold-room-warm").expect(200);
    assert_eq!((&rule["name"], &rule["labels"]), (&json!("yes"), &json!({"team": "1e3", "room": "no"})));
    assert_eq!(rule["version"], 1, "{rule}");

    // Exported, the rules are the same ones, here and on another server.
    let exported = folder.path().join("exported.yaml").to_string_lossy().into_owned();
    succeeds(&server, &["export", &exported]);
    assert_eq!(succeeds(&server, &["diff", &exported]).trim(), "no differences in 3 rules");
    let other = Server::start();
    succeeds(&other, &["apply", &exported, "--allow-unknown-metric"]);
    assert_eq!(succeeds(&other, &["diff", &team]).trim(), "no differences in 3 rules");
    assert_eq!(succeeds(&other, &["export"]), std::fs::read_to_string(&exported).expect("exported"));
}

#[test]
fn what_is_taken_out_of_a_file_returns_to_its_default() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start();
    let team = write(folder.path(), "team.yaml", TEAM);
    succeeds(&server, &["apply", &team, "--allow-unknown-metric"]);
    // By hand, by someone else.
    server.admin().patch("/api/v1/rules/hot", &json!({"labels": {"by": "hand"}, "for": "1m"})).expect(200);
    let shown = succeeds(&server, &["diff", &team]);
    assert!(shown.contains("~ hot\n    for: 1m → 0s\n    labels.by: hand → none\n"), "{shown}");
    let code = with_server(&server, &["diff", &team, "--exit-code"]).status.code();
    assert_eq!(code, Some(1));
    // Nearly everything is taken out.
    let bare = "rules:\n  - {id: cold-room-warm, name: Warm, when: temperature > -12}\n  - {id: hot, name: Hot, when: temp > 80}\n";
    let bare = write(folder.path(), "bare.yaml", bare);
    let applied = succeeds(&server, &["apply", &bare, "--allow-unknown-metric"]);
    assert!(applied.contains("schedule.zone: Europe/Berlin → none"), "{applied}");
    assert!(applied.contains("0 created, 2 changed, 0 deleted, 0 unchanged"), "{applied}");
    let fresh = Server::start();
    succeeds(&fresh, &["apply", &bare, "--allow-unknown-metric"]);
    for id in ["cold-room-warm", "hot"] {
        let path = format!("/api/v1/rules/{id}");
        let [mut edited, mut new] = [&server, &fresh].map(|server| server.admin().get(&path).expect(200));
        for field in ["version", "created", "updated"] {
            (edited[field], new[field]) = (Value::Null, Value::Null);
        }
        assert_eq!(edited, new, "what was there before leaves no trace");
    }
    // The third rule is in no file any more.
    let output = with_server(&server, &["apply", &bare]);
    assert!(stderr(&output).contains("the server also has often"), "{}", stderr(&output));
    let pruned = succeeds(&server, &["apply", &bare, "--prune"]);
    assert!(pruned.contains("- often") && pruned.contains("1 deleted, 2 unchanged"), "{pruned}");
    server.admin().get("/api/v1/rules/often").expect_problem(404, "not_found", "often");
    assert!(succeeds(&server, &["apply", &bare, "--prune"]).starts_with("0 created, 0 changed, 0 deleted"));
}

#[test]
fn a_rule_that_the_server_refuses_is_named_and_nothing_is_changed() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start();
    let team = write(folder.path(), "team.yaml", TEAM);
    let output = with_server(&server, &["apply", &team]);
    assert_eq!(output.status.code(), Some(1));
    let text = stderr(&output);
    for wanted in ["team.yaml:3", "\"cold-room-warm\"", "matches_nothing"] {
        assert!(text.contains(wanted), "{wanted} is missing in {text}");
    }
    assert_eq!(server.admin().get("/api/v1/rules").expect(200)["items"], json!([]));
    for (name, text, wanted) in [
        ("nameless.yaml", "rules: [{name: Hot, when: temp > 80}]", "id: it has none"),
        (
            "twice.yaml",
            "rules:\n- {id: a, name: A, when: t > 1}\n- {id: a, name: B, when: t > 2}",
            "twice.yaml:3: rule \"a\": id",
        ),
        ("wrong.yaml", "rules:\n- {id: a, name: A, when: t >}", "wrong.yaml:2: rule \"a\": levels[0].when"),
    ] {
        let file = write(folder.path(), name, text);
        let output = with_server(&server, &["apply", &file]);
        assert!(stderr(&output).contains(wanted), "{wanted} is missing in {}", stderr(&output));
    }
    let mut wrong = command(pulsewire());
    let arguments = ["rules", "diff", &team, "--api", &server.url(), "--password-env", "THE_PASSWORD"];
    let output = run(wrong.args(arguments).env("THE_PASSWORD", "not it"));
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
}
