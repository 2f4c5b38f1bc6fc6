//! Files that `pulsewire-sim replay` cannot read, in whole or in part: a reason with line and column, and the rest is sent.

use pulsewire_tests::sim::Ended;
use pulsewire_tests::{Server, Sim};
use serde_json::json;
use std::path::Path;

fn write(folder: &Path, name: &str, content: impl AsRef<[u8]>) {
    std::fs::write(folder.join(name), content).expect("written");
}

/// Replays a file of this content with these arguments.
fn replay(server: &Server, folder: &Path, content: impl AsRef<[u8]>, arguments: &[&str]) -> Ended {
    write(folder, "data.csv", content);
    Sim::start(server, folder, "replay", &[&["data.csv"], arguments].concat()).wait()
}

/// A replay that must fail with a reason that says all fragments, before anything is sent.
fn check(content: impl AsRef<[u8]>, arguments: &[&str], fragments: &[&str]) {
    let server = Server::start();
    let folder = tempfile::tempdir().expect("a folder");
    let ended = replay(&server, folder.path(), content, arguments);
    assert_eq!(ended.status, Some(1), "{}", ended.stderr);
    for fragment in fragments {
        assert!(ended.stderr.contains(fragment), "{fragment:?} is not said in {}", ended.stderr);
    }
    assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
    assert_eq!(server.metric("pulsewire_reports_stored_total"), 0.0);
    server.assert_serves();
}

/// Ten rows of one device, and then these.
fn rows(more: &str) -> String {
    let good = |i: u32| format!("{},pump,{i}.5\n", 1_594_634_400 + i);
    format!("ts,device,temp\n{}{more}", (0..10).map(good).collect::<String>())
}

#[test]
fn a_file_without_a_time_column_names_the_columns_there_are() {
    check("site,temp\nnorth,1.5\n", &[], &["data.csv", "no column holds times", "--time-column", "site, temp"]);
}

#[test]
fn a_named_column_that_is_missing_names_the_columns_there_are() {
    let fragments = ["no column \"when\"", "ts, device, temp"];
    check(rows(""), &["--time-column", "when"], &fragments);
    check(rows(""), &["--metrics", "temp,when"], &fragments);
    check(rows(""), &["--device-column", "when"], &fragments);
}

#[test]
fn an_empty_file_is_told() {
    check("", &[], &["data.csv", "no header line"]);
}

#[test]
fn a_file_that_is_no_text_is_told() {
    check(b"\xff\xfe\x00\x01,\x80\n\xff,\x80\n", &[], &["data.csv", "cannot be read"]);
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let (server, folder) = (Server::start(), tempfile::tempdir().expect("a folder"));
    let ended = Sim::start(&server, folder.path(), "replay", &["nowhere.csv"]).wait();
    assert_eq!(ended.status, Some(1));
    assert!(ended.stderr.contains("nowhere.csv"), "{}", ended.stderr);
}

#[test]
fn unreadable_rows_are_named_and_the_others_are_stored() {
    let server = Server::start();
    let folder = tempfile::tempdir().expect("a folder");
    let more = "yesterday,pump,1\n1594634420,pump\n1594634421,pump,1,2\n1594634422,pump,\n1594634423,pump,7.5\n";
    let summary = replay(&server, folder.path(), rows(more), &[]).expect_success();
    assert_eq!((&summary["rows_read"], &summary["unreadable"]), (&json!(15), &json!(3)), "{summary}");
    let named: Vec<_> =
        summary["bad_rows"].as_array().expect("rows").iter().map(|row| row["line"].as_u64().expect("a line")).collect();
    assert_eq!(named, [12, 13, 14]);
    let first = &summary["bad_rows"][0];
    assert_eq!((&first["column"], &first["value"]), (&json!("ts"), &json!("yesterday")));
    assert!(first["problem"].as_str().expect("text").contains("not a time"), "{first}");
    assert_eq!(summary["agrees"], true, "{summary}");
    let history = server.admin().history("pump", "temp");
    assert_eq!(history.len(), 11, "an empty cell is no value");
    assert_eq!(history[10], (1_594_634_423_000_000, json!(7.5)));
    server.assert_serves();
}

#[test]
fn strict_stops_at_the_first_unreadable_row_before_anything_is_sent() {
    check(rows("yesterday,pump,1\n"), &["--strict"], &["data.csv:12", "column \"ts\"", "yesterday"]);
}

#[test]
fn a_device_id_outside_the_alphabet_is_an_unreadable_row() {
    let server = Server::start();
    let folder = tempfile::tempdir().expect("a folder");
    let content = rows("1594634420,pump 7,1.5\n");
    let summary = replay(&server, folder.path(), content, &["--device-column", "device"]).expect_success();
    assert_eq!(summary["unreadable"], 1, "{summary}");
    assert_eq!(summary["bad_rows"][0]["value"], "pump 7", "{summary}");
    assert_eq!(server.admin().history("pump", "temp").len(), 10);
}

#[test]
fn a_wrong_password_is_told_before_anything_is_sent() {
    let server = Server::start();
    let folder = tempfile::tempdir().expect("a folder");
    let ended = replay(&server, folder.path(), rows(""), &["--user", "nobody"]);
    assert_eq!(ended.status, Some(1));
    assert!(ended.stderr.contains("could not sign in"), "{}", ended.stderr);
    server.assert_serves();
}

#[test]
fn a_server_that_is_not_there_is_told() {
    let mut server = Server::start();
    server.kill9();
    let folder = tempfile::tempdir().expect("a folder");
    let ended = replay(&server, folder.path(), rows(""), &[]);
    assert_eq!(ended.status, Some(1));
    assert!(ended.stderr.contains("does not answer"), "{}", ended.stderr);
}
