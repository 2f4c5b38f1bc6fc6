//! Whole journeys: a server, devices from the simulator, and people who watch.

use pulsewire_proto::frame::PresenceState;
use pulsewire_tests::programs::{self, run_with_input};
use pulsewire_tests::recorded::Recording;
use pulsewire_tests::{Api, Server, Sim, Viewer, everything, until};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::process::Command;

type SeriesValues = BTreeMap<(String, String), BTreeMap<i64, f64>>;

/// What a viewer saw of numbers and bools, by series. Fails on doubles.
fn seen(viewer: &Viewer) -> SeriesValues {
    let mut seen = SeriesValues::new();
    for sample in &viewer.samples {
        let series = seen.entry((sample.device.clone(), sample.metric.clone())).or_default();
        assert_eq!(series.insert(sample.time_us, sample.value), None, "{sample:?} came twice");
    }
    seen
}

/// What the history API has of the same devices, numbers and bools only.
fn stored(api: &Api, devices: &[String]) -> SeriesValues {
    let mut stored = SeriesValues::new();
    for device in devices {
        let latest = api.get(&format!("/api/v1/devices/{device}/latest")).expect(200);
        for item in latest["items"].as_array().expect("items").iter().filter(|item| item["type"] != "text") {
            let metric = item["metric"].as_str().expect("a name");
            let number = |value: Value| value.as_f64().unwrap_or_else(|| f64::from(u8::from(value == json!(true))));
            let series = api.history(device, metric).into_iter().map(|(at, value)| (at, number(value)));
            stored.insert((device.clone(), metric.to_owned()), series.collect());
        }
    }
    stored
}

fn devices(api: &Api) -> Vec<String> {
    let list = api.get("/api/v1/devices").expect(200);
    let id = |device: &Value| device["id"].as_str().expect("an id").to_owned();
    list["items"].as_array().expect("items").iter().map(id).collect()
}

/// Reads until nothing of what is stored is missing.
fn watch_until_complete(viewer: &mut Viewer, api: &Api) -> SeriesValues {
    let stored = stored(api, &devices(api));
    let all: usize = stored.values().map(BTreeMap::len).sum();
    viewer.until("every stored sample", |v| (v.samples.len() >= all).then_some(()));
    stored
}

fn viewer(server: &Server) -> Viewer {
    let mut viewer = Viewer::connect(server.http, server.admin().create_user("vera", "viewer").token());
    viewer.subscribe(&everything(1, &[]));
    viewer
}

#[test]
fn a_fleet_connects_and_a_viewer_sees_what_is_stored() {
    let (server, folder) = (Server::start(), tempfile::tempdir().expect("a folder"));
    let mut viewer = viewer(&server);
    let arguments = ["--devices", "5", "--interval", "200ms", "--duration", "2s"];
    let fleet = Sim::start(&server, folder.path(), "fleet", &arguments).wait().expect_success();
    assert_eq!((&fleet["logins"], &fleet["unacknowledged"]), (&json!(5), &json!(0)), "{fleet}");
    let stored = watch_until_complete(&mut viewer, server.admin());
    assert!(viewer.gaps.is_empty(), "{:?}", viewer.gaps);
    assert_eq!(seen(&viewer), stored);
    let devices = devices(server.admin());
    assert_eq!(devices.len(), 5);
    let stored: u64 =
        devices.iter().map(|id| server.admin().device(id)["accounting"]["stored"].as_u64().expect("a count")).sum();
    assert_eq!(fleet["samples"], stored, "{fleet}");
    // Everyone came and went.
    assert!(devices.iter().all(|id| viewer.presence.contains(&(id.clone(), PresenceState::Online))));
    viewer.until("the fleet is gone", |v| {
        let last = |id: &String| v.presence.iter().rev().find(|(of, _)| of == id).map(|(_, state)| *state);
        devices.iter().all(|id| last(id) == Some(PresenceState::Offline)).then_some(())
    });
}

#[test]
fn this_machine_is_a_device_over_a_websocket() {
    let (server, folder) = (Server::start(), tempfile::tempdir().expect("a folder"));
    let mut viewer = viewer(&server);
    let connect = format!("ws://{}/device", server.device);
    let arguments = ["--device", "me", "--interval", "300ms", "--duration", "1s"];
    let host = Sim::start_at(&connect, &server, folder.path(), "host", &arguments).wait().expect_success();
    assert_eq!((&host["logins"], &host["unacknowledged"]), (&json!(1), &json!(0)), "{host}");
    let stored = watch_until_complete(&mut viewer, server.admin());
    assert_eq!(seen(&viewer), stored);
    let memory = stored.iter().find(|((_, metric), _)| metric.contains("mem"));
    assert!(memory.is_some_and(|(_, values)| values.values().all(|v| *v > 0.0)), "{:?}", stored.keys());
}

#[test]
fn a_recording_is_replayed_live_and_once_more_without_effect() {
    let (server, folder) = (Server::start(), tempfile::tempdir().expect("a folder"));
    let recording = Recording::of_environment(folder.path());
    let file = recording.path.to_string_lossy().into_owned();
    let mut viewer = viewer(&server);
    let summary = Sim::start(&server, folder.path(), "replay", &[&file]).wait().expect_success();
    assert_eq!(summary["agrees"], true, "{summary}");
    recording.assert_stored(server.admin());
    // The viewer was not read during the replay; what its queue could not hold it was told of.
    let newest = recording.expected.values().filter_map(|series| series.keys().next_back()).max().copied();
    viewer.until("the newest sample", |v| v.samples.iter().any(|s| Some(s.time_us) == newest).then_some(()));
    for sample in &viewer.samples {
        let wanted = &recording.expected[&(sample.device.clone(), sample.metric.clone())][&sample.time_us];
        // Of two rows with one time either may have been shown.
        let wanted = wanted.as_f64().unwrap_or_else(|| f64::from(u8::from(*wanted == json!(true))));
        assert!(sample.value == wanted || sample.device == "iot-device-02", "{sample:?}, {wanted} is in the file");
    }
    let again = Sim::start(&server, folder.path(), "replay", &[&file]).wait().expect_success();
    assert_eq!((&again["stored"], &again["repeats_acknowledged"]), (&json!(0), &json!(recording.rows)), "{again}");
    recording.assert_stored(server.admin());
}

#[test]
fn a_fleet_goes_on_over_a_restart_of_the_server() {
    let (mut server, folder) = (Server::start(), tempfile::tempdir().expect("a folder"));
    let arguments = ["--devices", "4", "--interval", "100ms"];
    let fleet = Sim::start(&server, folder.path(), "fleet", &arguments);
    until("the fleet reports", || (server.metric("pulsewire_reports_stored_total") > 10.0).then_some(()));
    assert!(server.terminate(), "it stops cleanly while devices are connected");
    server.restart();
    // All of it: what a device that is not back yet holds would not be acknowledged.
    until("the fleet is back", || {
        let back = server.metric("pulsewire_device_sessions") == 4.0;
        (back && server.metric("pulsewire_reports_stored_total") > 10.0).then_some(())
    });
    fleet.interrupt();
    let summary = fleet.wait().expect_success();
    assert_eq!((&summary["unacknowledged"], &summary["dropped"]), (&json!(0), &json!(0)), "{summary}");
    let mut acknowledged = 0;
    for id in devices(server.admin()) {
        let accounting = &server.admin().device(&id)["accounting"];
        acknowledged += accounting["reports"].as_u64().expect("a count");
        let count = |name: &str| accounting[name].as_u64().expect("a count");
        // What was under way at the kill may have come twice.
        assert_eq!(count("received"), count("stored") + count("duplicate") + count("dropped"), "{accounting}");
    }
    assert_eq!(summary["acknowledged"], acknowledged, "{summary}");
}

#[test]
fn the_demo_is_alive_and_its_link_signs_in_once() {
    let mut server = Server::options().demo().start();
    let link = server.announced["sign_in_link"].as_str().expect("a link").to_owned();
    let (page, code) = link.split_once('#').expect("the code is in the fragment");
    assert_eq!(page, format!("{}/signin", server.url()));
    let answer = server.api().post("/api/v1/session/link", &json!({"code": code})).expect(200);
    server.api().post("/api/v1/session/link", &json!({"code": code})).expect_problem(401, "bad_link", "used already");
    let token = answer["token"].as_str().expect("a token");
    let api = server.api().with_header("authorization", &format!("Bearer {token}"));
    assert_eq!(api.get("/api/v1/session").expect(200)["server"]["demo"], true);

    let mut viewer = Viewer::connect(server.http, token);
    viewer.subscribe(&everything(1, &[]));
    // Not of every one: simulated devices have drop-outs.
    viewer.until("live values of this machine and of a simulated device", |v| {
        let live = |prefix: &str| v.samples.iter().any(|s| !s.history && s.device.starts_with(prefix));
        (live("host-") && live("sim-")).then_some(())
    });
    drop(viewer);
    assert!(server.terminate(), "it stops cleanly");
}

/// `pulsewire` with arguments on a server's data folder.
fn cli(server: &Server, arguments: &[&str], input: &str) -> String {
    let mut command: Command = programs::command(programs::pulsewire());
    command.args(arguments).arg("--data-dir").arg(server.data_dir());
    let output = run_with_input(&mut command, input);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_forgotten_password_is_replaced_on_the_command_line() {
    let mut server = Server::start();
    server.create_device("pump");
    let admin = server.admin().clone();
    assert!(server.terminate());
    assert!(cli(&server, &["user", "set-password", "admin"], "a new password\n").contains("admin"));
    cli(&server, &["user", "add", "ada", "--role", "operator"], "password of ada\n");
    assert_eq!(cli(&server, &["user", "list"], ""), "ada\toperator\tevery device\nadmin\tadmin\tevery device\n");
    assert_eq!(cli(&server, &["device", "list"], ""), "pump\tpump\tenabled\n");
    server.restart();
    admin.get("/api/v1/session").expect_problem(401, "signed_out", "sign in");
    assert_eq!(devices(&server.api().signed_in("admin", "a new password")), ["pump"]);
    server.api().signed_in("ada", "password of ada").get("/api/v1/overview").expect(200);
}
