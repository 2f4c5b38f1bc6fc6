//! Devices against a server that breaks connections: nothing is lost, nothing is made twice, repeats are the same bytes.

use std::{path::Path, sync::Arc, time::Duration};

use pulsewire_proto::Report;
use pulsewire_sim::{
    Provisioner, SecretStore, Shutdown, SimError,
    client::{ClientStats, Target},
    fleet::{self, FleetOptions},
    replay::{Replay, ReplayOptions, ReplayReport},
};

mod server;
use server::{Faults, SECRET, TestServer};

fn csv(rows: u32) -> String {
    let mut text = String::from("ts,device,temp,note\n");
    for row in 0..rows {
        let note = if row % 7 == 0 { "" } else { "ok" };
        text += &format!("{}.25,d-{},{}.5,{note}\n", 1_594_634_400 + row, row % 2, row);
    }
    text
}

fn provisioner(devices: &[&str]) -> Provisioner {
    let mut secrets = SecretStore::in_memory();
    secrets.insert(devices.iter().map(|device| (device.to_string(), SECRET))).expect("in memory");
    Provisioner::offline(secrets, "NO_PASSWORD")
}

fn options(folder: &Path, target: &Target) -> ReplayOptions {
    ReplayOptions {
        target: target.clone(),
        state: folder.join("state.json"),
        give_up_after: Duration::from_secs(60),
        ..ReplayOptions::for_file(folder.join("data.csv"))
    }
}

async fn replay(options: ReplayOptions) -> Result<ReplayReport, SimError> {
    let replay = Replay::prepare(options, provisioner(&["d-0", "d-1"])).await?;
    // The trigger must live as long as the run: dropping it asks for an end.
    let (_trigger, shutdown) = Shutdown::channel();
    replay.run(Arc::new(ClientStats::default()), shutdown).await
}

fn folder_with(rows: u32) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("data.csv"), csv(rows)).expect("written");
    folder
}

fn assert_stored(server: &TestServer, streams: &[(&str, u32, usize)]) {
    let store = server.store();
    let stored: Vec<(&str, u32, usize)> =
        store.streams.iter().map(|((device, stream), reports)| (device.as_str(), *stream, reports.len())).collect();
    assert_eq!(stored, streams);
    assert_eq!(store.clones, 0, "repeats must be byte for byte the same");
    for reports in store.streams.values() {
        let times: Vec<i64> = reports.iter().map(|payload| Report::parse(payload).expect("a report").base_us).collect();
        assert!(times.is_sorted_by(|earlier, later| earlier < later), "each row once and in order");
    }
}

#[tokio::test]
async fn a_replay_over_broken_connections_stores_every_row_once() {
    let folder = folder_with(100);
    let server = TestServer::start(Faults { break_after: Some(13), ..Faults::default() }).await;
    let report = replay(options(folder.path(), &server.target)).await.expect("a report");
    assert!(report.is_success(), "{report}");
    assert_eq!((report.rows_read, report.sent, report.acknowledged), (100, 100, 100));
    assert!(report.disconnects >= 6, "{report}");
    assert_eq!(report.repeats_acknowledged, 0);
    assert_stored(&server, &[("d-0", 1, 50), ("d-1", 1, 50)]);
}

#[tokio::test]
async fn a_second_run_repeats_the_first_and_stores_nothing_new() {
    let folder = folder_with(100);
    let server = TestServer::start(Faults::default()).await;
    replay(options(folder.path(), &server.target)).await.expect("the first run");
    // Also when the repeat itself is interrupted.
    server.set_faults(Faults { break_after: Some(20), ..Faults::default() });
    let report = replay(options(folder.path(), &server.target)).await.expect("the second run");
    assert!(report.is_success(), "{report}");
    assert_eq!((report.sent, report.acknowledged, report.repeats_acknowledged), (100, 100, 100));
    assert!(server.store().duplicates >= 40);
    assert_stored(&server, &[("d-0", 1, 50), ("d-1", 1, 50)]);
}

#[tokio::test]
async fn continue_sends_only_what_the_server_does_not_have() {
    let folder = folder_with(60);
    let server = TestServer::start(Faults::default()).await;
    replay(options(folder.path(), &server.target)).await.expect("the first run");
    std::fs::write(folder.path().join("data.csv"), csv(100)).expect("the file grows");
    let go_on = ReplayOptions { go_on: true, ..options(folder.path(), &server.target) };
    let report = replay(go_on).await.expect("the second run");
    assert!(report.is_success(), "{report}");
    assert_eq!((report.sent, report.acknowledged, server.store().duplicates), (40, 40, 0));
    assert_stored(&server, &[("d-0", 1, 50), ("d-1", 1, 50)]);
}

#[tokio::test]
async fn a_changed_file_is_not_mixed_into_the_old_streams() {
    let folder = folder_with(20);
    let server = TestServer::start(Faults::default()).await;
    replay(options(folder.path(), &server.target)).await.expect("the first run");
    std::fs::write(folder.path().join("data.csv"), csv(24)).expect("the file changes");
    let report = replay(options(folder.path(), &server.target)).await.expect("the second run");
    assert!(report.is_success(), "{report}");
    assert_stored(&server, &[("d-0", 1, 10), ("d-0", 2, 12), ("d-1", 1, 10), ("d-1", 2, 12)]);
}

#[tokio::test]
async fn a_server_that_lost_its_data_gets_everything_on_new_streams() {
    let folder = folder_with(20);
    let server = TestServer::start(Faults::default()).await;
    replay(options(folder.path(), &server.target)).await.expect("the first run");
    server.store().streams.clear();
    let report = replay(options(folder.path(), &server.target)).await.expect("the second run");
    assert!(report.is_success(), "{report}");
    assert_eq!((report.acknowledged, report.repeats_acknowledged), (20, 0));
    assert_stored(&server, &[("d-0", 1, 10), ("d-1", 1, 10)]);
}

#[tokio::test]
async fn a_session_closed_for_good_is_reported_with_the_servers_words() {
    let folder = folder_with(4);
    let server = TestServer::start(Faults { revoke: true, ..Faults::default() }).await;
    let report = replay(options(folder.path(), &server.target)).await.expect("a report");
    assert!(!report.is_success());
    let error = report.devices[0].error.clone().expect("an error");
    assert!(error.contains("4017") && error.contains("disabled by a test"), "{error}");
    assert_eq!(server.store().logins, 2, "one login per device, none again");
}

#[tokio::test]
async fn a_device_without_a_secret_is_named() {
    let folder = folder_with(4);
    let server = TestServer::start(Faults::default()).await;
    let error = Replay::prepare(options(folder.path(), &server.target), provisioner(&["d-0"])).await;
    let error = error.expect_err("no secret").to_string();
    assert!(error.contains("\"d-1\"") && error.contains("NO_PASSWORD"), "{error}");
}

#[tokio::test]
async fn a_fleet_survives_broken_connections_without_gaps() {
    let server = TestServer::start(Faults { break_after: Some(5), ..Faults::default() }).await;
    let options = FleetOptions {
        target: server.target.clone(),
        devices: 5,
        seed: 1,
        interval: Duration::from_millis(20),
        prefix: "t-".into(),
        duration: Some(Duration::from_secs(2)),
        fault_after: None,
        answers: pulsewire_sim::behaviour::Answers::Normal,
    };
    let ids: Vec<String> = (0..5).map(|index| options.device_id(index)).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let stats = Arc::new(ClientStats::default());
    let (_trigger, shutdown) = Shutdown::channel();
    let summary = fleet::run(options, provisioner(&ids), stats, shutdown).await.expect("a summary");
    assert_eq!(summary.failed_total, 0, "{summary}");
    assert!(summary.logins > 5, "connections broke: {summary}");
    let store = server.store();
    assert_eq!((store.streams.len(), store.clones), (5, 0));
    // What is stored and not yet acknowledged at the end is the only difference.
    let stored: u64 = store.streams.values().map(|reports| reports.len() as u64).sum();
    assert!((summary.acknowledged..=summary.acknowledged + 5 * 5).contains(&stored), "{stored} stored, {summary}");
}
