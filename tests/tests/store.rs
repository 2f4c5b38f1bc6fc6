//! The store through its doors: what is asked of it answers the same however it is kept, and it is checked, copied and kept
//! in bounds.

use pulsewire_proto::frame::StreamKind;
use pulsewire_tests::api::time_text;
use pulsewire_tests::device::{Device, metrics, now_us, report};
use pulsewire_tests::programs;
use pulsewire_tests::recorded::Recording;
use pulsewire_tests::{Api, METRICS, Server, ServerOptions, Sim, until};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Output;

fn import(api: &Api, path: &str, csv: &str) {
    let answer = api.send("POST", path, Some("text/csv"), csv.as_bytes()).expect(200);
    assert_eq!(answer["rejected"], 0, "{answer}");
}

fn text_of(api: &Api, path: &str) -> String {
    let answer = api.get(path);
    assert_eq!(answer.status, 200, "{path}: {}", answer.text);
    answer.text
}

/// `pulsewire COMMAND … --data-dir DIR`.
fn cli(arguments: &[&str], data: &Path) -> Output {
    let mut command = programs::command(programs::pulsewire());
    programs::run(command.args(arguments).arg("--data-dir").arg(data))
}

fn succeeds(arguments: &[&str], data: &Path) -> String {
    let output = cli(arguments, data);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn path_text(path: &Path) -> &str {
    path.to_str().expect("a path of text")
}

/// Everything that the history says of a recording, as bytes, by what was asked.
fn answers(api: &Api, recording: &Recording) -> BTreeMap<String, String> {
    let mut paths = vec!["/api/v1/export?format=csv".to_owned(), "/api/v1/export?format=ndjson".to_owned()];
    let times = recording.expected.values().flat_map(BTreeMap::keys);
    let (first, last) = (times.clone().min().copied().unwrap_or(0), times.max().copied().unwrap_or(0));
    // The ranges end within buckets.
    let (from, to) = (time_text(first + 123_456_789), time_text(last - 98_765_432));
    let all = "agg=min,max,avg,sum,count,first,last,p50,p95,p99";
    for step in ["10s", "1m", "10m", "1h", "1d", "7s"] {
        paths.push(format!("/api/v1/query?{all}&step={step}&to={}", time_text(last + 1)));
        paths.push(format!("/api/v1/query?{all}&step={step}&from={from}&to={to}"));
    }
    paths.push(format!("/api/v1/query?from={from}&to={to}&limit=100000"));
    for device in recording.rows_of.keys() {
        paths.push(format!("/api/v1/devices/{device}/latest"));
    }
    for (device, metric) in recording.expected.keys() {
        paths.push(format!("/api/v1/history?device={device}&metric={metric}&from={from}&limit=777"));
        paths.push(format!("/api/v1/history?device={device}&metric={metric}&step=5m&agg=max"));
    }
    paths.into_iter().map(|path| (path.clone(), text_of(api, &path))).collect()
}

fn assert_same(when: &str, expected: &BTreeMap<String, String>, found: &BTreeMap<String, String>) {
    for (path, text) in expected {
        let other = &found[path];
        if text != other {
            let at = text.bytes().zip(other.bytes()).take_while(|(a, b)| a == b).count();
            let part = |text: &str| text.get(at.saturating_sub(80)..(at + 80).min(text.len())).map(str::to_owned);
            panic!("{when}, {path} differs from byte {at}:\n{:?}\n{:?}", part(text), part(other));
        }
    }
}

/// Everything is sealed as soon as it can be.
fn sealing(data: &Path) -> ServerOptions {
    let options = Server::options().data_dir(data).set("store.chunk_rows", 64).set("store.heads_bytes_max", "4MiB");
    options.set("store.unsealed_bytes_max", "1MiB").set("journal.retain_bytes", "1MiB")
}

/// Samples that are sealed: those of chunks.
fn sealed(data: &Path) -> u64 {
    let report: Value = serde_json::from_str(&succeeds(&["check", "--json"], data)).expect("one JSON document");
    assert_eq!(report["problems"], 0, "{report}");
    report["samples"].as_u64().expect("a count")
}

#[test]
fn the_history_of_a_series_is_the_same_before_and_after_sealing_a_crash_and_a_restore() {
    let folder = tempfile::tempdir().expect("a folder");
    let (data, copy, restored) = (folder.path().join("data"), folder.path().join("copy"), folder.path().join("new"));
    let recording = Recording::of_environment(folder.path());
    // Nothing is sealed by itself: no device has so many rows, and little waits.
    let mut server = Server::options().data_dir(&data).set("store.chunk_rows", 8192).start();
    let file = recording.path.to_string_lossy().into_owned();
    let replay = Sim::start(&server, folder.path(), "replay", &[&file]).wait().expect_success();
    assert_eq!(replay["agrees"], true, "{replay}");
    recording.assert_stored(server.admin());
    let admin = server.admin().clone();
    let expected = answers(&admin, &recording);
    let values: usize = recording.expected.values().map(BTreeMap::len).sum();
    assert_eq!(expected["/api/v1/export?format=csv"].lines().count(), values + 1);
    let before = sealed(&data);
    println!("{before} of {values} samples are sealed before");

    server.kill9();
    server = sealing(&data).start();
    let api = server.api().with_header("authorization", &format!("Bearer {}", admin.token()));
    until("the rest is sealed", || (sealed(&data) > before).then_some(()));
    until("nothing more is sealed", || {
        let then = sealed(&data);
        std::thread::sleep(std::time::Duration::from_millis(1200));
        (sealed(&data) == then).then_some(())
    });
    println!("{} samples are sealed after", sealed(&data));
    assert_same("after sealing", &expected, &answers(&api, &recording));
    recording.assert_stored(&api);

    server.kill9();
    server.restart();
    assert_same("after a crash", &expected, &answers(&api, &recording));

    succeeds(&["backup", "--to", path_text(&copy)], &data);
    let note = succeeds(&["restore", "--from", path_text(&copy)], &restored);
    assert!(note.contains("holds the backup"), "{note}");
    drop(server);
    let server = Server::options().data_dir(&restored).start();
    let api = server.api().with_header("authorization", &format!("Bearer {}", admin.token()));
    assert_same("after a restore", &expected, &answers(&api, &recording));
    recording.assert_stored(&api);
    server.assert_serves();
}

/// A store with sealed samples of device `pump`, and its folder.
fn filled(folder: &Path) -> std::path::PathBuf {
    let data = folder.join("data");
    let mut server = sealing(&data).start();
    server.create_device("pump");
    let lines: String = (0..5_000).map(|n| format!("{n},{}.5,{}\n", n % 997, n % 3 == 0)).collect();
    import(server.admin(), "/api/v1/import?device=pump", &format!("time,temp,on\n{lines}"));
    until("something is sealed", || (sealed(&data) > 4_000).then_some(()));
    assert!(server.terminate());
    data
}

#[test]
fn a_check_says_that_all_is_well_or_names_what_is_lost() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = filled(folder.path());
    let healthy = succeeds(&["check"], &data);
    assert!(healthy.contains("all is well") && healthy.contains("1 devices"), "{healthy}");
    let connection = rusqlite::Connection::open(data.join("data.db")).expect("opens");
    let damage = "UPDATE chunk_data SET data = CAST(substr(data, 1, 60) || x'00ff' || substr(data, 63) AS BLOB)
                  WHERE chunk = (SELECT min(chunk) FROM chunk)";
    assert_eq!(connection.execute(damage, []).expect("damages"), 1);
    drop(connection);
    let output = cli(&["check"], &data);
    let (found, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(!output.status.success() && !found.contains("all is well"), "{found}");
    assert!(found.contains("rows of device pump from 1970-01-01T00:") && found.contains("temp"), "{found}");
    assert!(error.contains("1 problems were found") && error.contains("restore"), "{error}");
    let output = cli(&["check", "--json"], &data);
    assert!(!output.status.success());
    let report: Value = serde_json::from_slice(&output.stdout).expect("one JSON document");
    let finding = &report["findings"][0];
    assert_eq!((&report["problems"], &finding["device"]), (&json!(1), &json!("pump")), "{report}");
    assert_eq!(finding["metrics"].as_array().map(Vec::len), Some(2), "{report}");
    let lost = finding["lost_rows"].as_u64().expect("a count");
    assert!(lost > 0 && finding["from"].is_string() && finding["to"].is_string(), "{report}");

    // The rest is served, and the overview says so.
    let server = Server::options().data_dir(&data).start();
    assert_eq!(server.admin().history("pump", "temp").len() as u64, 5_000 - lost);
    let damaged = until("the damage is noticed", || {
        let store = server.admin().get("/api/v1/overview").expect(200)["store"].clone();
        store["damaged"].as_array().is_some_and(|list| !list.is_empty()).then_some(store)
    });
    assert_eq!((&damaged["stopped"], &damaged["nearly_full"]), (&Value::Null, &json!(false)), "{damaged}");
    assert!(damaged["disk_bytes"].as_u64() > Some(0), "{damaged}");
    server.assert_serves();
}

#[test]
fn a_folder_that_is_no_store_or_not_empty_is_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let (data, none, full) = (filled(folder.path()), folder.path().join("none"), folder.path().join("full"));
    std::fs::create_dir(&full).expect("made");
    std::fs::write(full.join("precious"), "text").expect("written");
    let refused = |arguments: &[&str], data: &Path, words: &str| {
        let output = cli(arguments, data);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && error.contains(words), "{arguments:?}: {error}");
    };
    refused(&["backup", "--to", path_text(&full)], &data, "not empty");
    refused(&["backup", "--to", path_text(&folder.path().join("copy"))], &none, "is missing");
    refused(&["restore", "--from", path_text(&data)], &folder.path().join("new"), "is");
    let copy = folder.path().join("copy2");
    succeeds(&["backup", "--to", path_text(&copy)], &data);
    refused(&["restore", "--from", path_text(&copy)], &data, "not empty");
    std::fs::OpenOptions::new().write(true).open(copy.join("data.db")).expect("opens").set_len(8_192).expect("cut");
    refused(&["restore", "--from", path_text(&copy)], &folder.path().join("new2"), "not whole");
    assert_eq!(std::fs::read_to_string(full.join("precious")).expect("still there"), "text");
    assert!(succeeds(&["check"], &data).contains("all is well"));
}

#[test]
fn a_folder_that_lacks_a_part_is_not_served_and_loses_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = filled(folder.path());
    let refused = |words: &[&str]| {
        let arguments = ["serve", "--http-listen", "127.0.0.1:0", "--device-listen", "127.0.0.1:0"];
        let output = cli(&arguments, &data);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && words.iter().all(|word| error.contains(word)), "{error}");
    };
    let before = sealed(&data);
    let (meta, aside) = (data.join("meta.db"), folder.path().join("aside"));
    std::fs::rename(&meta, &aside).expect("moved");
    refused(&["meta.db is missing", "pulsewire restore"]);
    let output = cli(&["check"], &data);
    let found = String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success() && found.contains("meta.db is missing"), "{found}");
    assert!(!meta.exists(), "a check makes nothing");
    std::fs::rename(&aside, &meta).expect("moved");
    std::fs::create_dir(data.join("restore.part")).expect("made");
    refused(&["restore.part is there", "restore again"]);
    std::fs::remove_dir(data.join("restore.part")).expect("removed");
    assert_eq!(sealed(&data), before);
    let server = Server::options().data_dir(&data).start();
    assert_eq!(server.admin().history("pump", "temp").len(), 5_000);
}

#[cfg(unix)]
#[test]
fn copies_are_readable_by_their_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().expect("a folder");
    let (data, copy, new) = (filled(folder.path()), folder.path().join("copy"), folder.path().join("new"));
    succeeds(&["backup", "--to", path_text(&copy)], &data);
    let mode = |path: &Path| path.metadata().expect("is there").permissions().mode() & 0o777;
    for file in ["meta.db", "journal.db", "data.db"] {
        assert_eq!(mode(&copy.join(file)), 0o600, "{file}");
        std::fs::set_permissions(copy.join(file), std::fs::Permissions::from_mode(0o444)).expect("changed");
    }
    // A backup on a medium that is read only has other permissions.
    succeeds(&["restore", "--from", path_text(&copy)], &new);
    for file in ["meta.db", "journal.db", "data.db"] {
        assert_eq!(mode(&new.join(file)), 0o600, "{file}");
    }
    assert!(!new.join("restore.part").exists());
}

#[test]
fn a_backup_of_a_running_server_has_everything_acknowledged_before_it_began() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let server = sealing(&data).start();
    let secret = server.create_device("pump");
    let (set, address, start) = (metrics(0), server.device, now_us() - 3_600_000_000);
    let (acked, stop) = (std::sync::atomic::AtomicU64::new(0), std::sync::atomic::AtomicBool::new(false));
    use std::sync::atomic::Ordering::SeqCst;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut device = Device::login(address, "pump", &secret);
            let stream = device.open_stream(StreamKind::Live);
            device.declare(&set);
            let mut sequence = 0_u64;
            while !stop.load(SeqCst) {
                sequence += 1;
                let time_us = start + i64::try_from(sequence).expect("small");
                device.send(&report(&set, stream, sequence, &[(time_us, sequence as f64)]));
                device.expect_ack(stream, sequence);
                acked.store(sequence, SeqCst);
            }
        });
        for round in 0..3 {
            until("the device sends", || (acked.load(SeqCst) > 200 * (round + 1)).then_some(()));
            let before = acked.load(SeqCst);
            let (copy, new) = (folder.path().join(format!("copy{round}")), folder.path().join(format!("new{round}")));
            succeeds(&["backup", "--to", path_text(&copy)], &data);
            assert!(succeeds(&["restore", "--from", path_text(&copy)], &new).contains("holds the backup"));
            let restored = Server::options().data_dir(&new).start();
            let stored = restored.admin().history("pump", METRICS[0]);
            assert!(stored.len() as u64 >= before, "{before} were acknowledged, {} are there", stored.len());
            for (n, (time_us, value)) in (1_u32..).zip(&stored) {
                assert_eq!((*time_us, value), (start + i64::from(n), &json!(f64::from(n))));
            }
        }
        stop.store(true, SeqCst);
    });
    assert!(succeeds(&["check"], &data).contains("all is well"), "while the server runs");
}

#[test]
fn a_query_chooses_series_and_shapes_and_says_what_it_cannot_do() {
    let server = Server::start();
    let admin = server.admin();
    for (id, group, site) in [("a", "pumps", "north"), ("b", "pumps", "south"), ("c", "fans", "north")] {
        let device = json!({"id": id, "group": group, "tags": {"site": site}});
        admin.post("/api/v1/devices", &device).expect(201);
        let lines: String = (0..100).map(|n| format!("{n},{n},s{n}\n")).collect();
        import(admin, &format!("/api/v1/import?device={id}"), &format!("time,temp,state\n{lines}"));
    }
    let query = |query: &str| admin.get(&format!("/api/v1/query?{query}"));
    let chosen = |text: &str| -> Vec<String> {
        let answer = query(text).expect(200);
        let name = |one: &Value| format!("{}/{}", one["device"], one["metric"]).replace('"', "");
        answer["series"].as_array().expect("series").iter().map(name).collect()
    };
    assert_eq!(chosen(""), ["a/state", "a/temp", "b/state", "b/temp", "c/state", "c/temp"]);
    assert_eq!(chosen("group=pumps&metric=temp"), ["a/temp", "b/temp"]);
    assert_eq!(chosen("tag=site:north&metric=temp"), ["a/temp", "c/temp"]);
    assert_eq!(chosen("tag=site:north&group=fans"), ["c/state", "c/temp"]);
    assert_eq!(chosen("device=c,a&metric=temp"), ["c/temp", "a/temp"]);
    assert_eq!(chosen("device=c,a,c&metric=temp"), ["c/temp", "a/temp"], "named twice is there once");
    assert_eq!(chosen("group=none"), [""; 0]);
    // A name with commas is a name where it exists, and a list elsewhere.
    import(admin, "/api/v1/import?device=b", "time,\"state,temp\"\n1,1\n");
    assert_eq!(chosen("metric=state,temp"), ["b/state,temp"]);
    assert_eq!(chosen("metric=state,temp&device=a"), ["a/state", "a/temp"]);

    let one = |text: &str| query(&format!("device=a&metric=temp&{text}")).expect(200)["series"][0].clone();
    let raw = one("limit=2");
    assert_eq!(raw["times"], json!(["1970-01-01T00:00:00Z", "1970-01-01T00:00:01Z"]));
    assert_eq!((&raw["values"], &raw["more"]), (&json!({"value": [0.0, 1.0]}), &json!(true)));
    assert_eq!(one("limit=100")["more"], false);
    let buckets = one("step=1m&agg=count,p50,avg,last&limit=2");
    assert_eq!(buckets["times"], json!(["1970-01-01T00:00:00Z", "1970-01-01T00:01:00Z"]));
    let expected = json!({"count": [60, 40], "p50": [29.0, 79.0], "avg": [29.5, 79.5], "last": [59.0, 99.0]});
    assert_eq!((&buckets["values"], &buckets["more"]), (&expected, &json!(false)), "{buckets}");
    let range = "from=1970-01-01T00:00:00Z&to=1970-01-01T00:01:40Z";
    let answer = query(&format!("device=a&metric=temp&{range}&max_points=10")).expect(200);
    assert_eq!((&answer["step_us"], &answer["from"]), (&json!(10_000_000), &json!("1970-01-01T00:00:00Z")));
    assert_eq!(answer["series"][0]["values"]["avg"].as_array().map(Vec::len), Some(10));
    let text = query("device=a&metric=state&step=1m").expect(200);
    assert_eq!(text["series"][0]["values"], json!({"last": ["s59", "s99"]}), "{text}");

    for (text, status, code, words) in [
        ("step=1m&agg=median", 400, "invalid_field", "p95"),
        ("metric=temp&step=1m&agg=min,avg,min", 400, "invalid_field", "agg names min twice"),
        (&format!("device={}", vec!["a"; 1_001].join(",")), 400, "invalid_field", "at most 1000"),
        (&format!("metric={}", vec!["m"; 1_001].join(",")), 400, "invalid_field", "at most 1000"),
        ("agg=avg", 400, "invalid_field", "needs step"),
        ("step=1m&agg=avg", 400, "invalid_field", "state is text"),
        ("step=1m&max_points=5", 400, "invalid_field", "not both"),
        ("max_points=5", 400, "invalid_field", "needs from"),
        ("from=1970-01-01T00:00:00Z&max_points=0", 400, "invalid_field", "10000"),
        ("limit=0", 400, "invalid_field", "100000"),
        ("tag=site", 400, "invalid_field", "key:value"),
        ("device=nobody", 404, "not_found", "nobody"),
        ("step=soon", 400, "invalid_field", "10s"),
        ("colour=red", 400, "unknown_field", "colour"),
    ] {
        query(text).expect_problem(status, code, words);
    }
    let columns: Vec<_> = (0..1_001).map(|n| format!("m{n}")).collect();
    admin.create_device("wide");
    let csv = format!("time,{}\n1{}\n", columns.join(","), ",1".repeat(columns.len()));
    import(admin, "/api/v1/import?device=wide", &csv);
    query("device=wide").expect_problem(400, "too_many_series", "name devices");
    assert_eq!(text_of(admin, "/api/v1/export?device=wide").lines().count(), 1_002, "an export may have more");
}

#[test]
fn a_query_beyond_its_limits_is_refused_with_advice() {
    let server = Server::options().set("store.chunk_rows", 64).set("store.query_samples_max", 20_000).start();
    server.create_device("pump");
    let lines: String = (0..40_000).map(|n| format!("{n},{n}\n")).collect();
    import(server.admin(), "/api/v1/import?device=pump", &format!("time,temp\n{lines}"));
    for path in ["/api/v1/query?step=7s&agg=p99", "/api/v1/history?device=pump&metric=temp&step=7s&limit=10000"] {
        server.admin().get(path).expect_problem(400, "range_too_large", "ask for a shorter one");
    }
    let narrow = "/api/v1/query?step=7s&agg=p99&from=1970-01-01T00:00:00Z&to=1970-01-01T00:10:00Z";
    // Rows that are not sealed yet count whole; soon most of them are.
    until("a narrow range is answered", || (server.admin().get(narrow).status == 200).then_some(()));
}

#[test]
fn samples_older_than_their_retention_go_and_their_hours_stay() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let options = || sealing(&data).set("retention.raw", "1d");
    let mut server = options().start();
    for id in ["pump", "kept"] {
        server.admin().post("/api/v1/devices", &json!({"id": id, "group": id})).expect(201);
        // Ten days, twenty days ago, a row per minute.
        let start = now_us() / 1_000_000 - 20 * 86_400;
        let lines: String = (0..14_400).map(|n| format!("{},{}\n", start + n * 60, n % 100)).collect();
        import(server.admin(), &format!("/api/v1/import?device={id}"), &format!("time,temp\n{lines}"));
    }
    let hours = text_of(server.admin(), "/api/v1/query?step=1h&agg=min,max,avg,sum,count,first,last");
    let without_to = |text: &str| serde_json::from_str::<Value>(text).expect("JSON")["series"].clone();
    let raw = |server: &Server, device: &str| server.admin().history(device, "temp").len();
    // A start looks at retention again.
    assert!(server.terminate());
    server = options().set("retention.overrides", "group=kept raw=0s").start();
    until("the samples are gone", || (raw(&server, "pump") < 2_000).then_some(()));
    assert_eq!(raw(&server, "kept"), 14_400, "an override keeps them");
    let after = text_of(server.admin(), "/api/v1/query?step=1h&agg=min,max,avg,sum,count,first,last");
    assert_eq!(without_to(&after), without_to(&hours));
    assert!(server.terminate());
    assert!(succeeds(&["check"], &data).contains("all is well"));
}
