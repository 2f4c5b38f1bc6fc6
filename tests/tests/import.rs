//! Samples in and out as files.

use pulsewire_proto::frame::StreamKind;
use pulsewire_tests::device::{metrics, now_us, report};
use pulsewire_tests::programs;
use pulsewire_tests::recorded::Recording;
use pulsewire_tests::server::ADMIN_PASSWORD;
use pulsewire_tests::{Api, METRICS, Server};
use serde_json::{Value, json};

const CSV: Option<&str> = Some("text/csv");
const NDJSON: Option<&str> = Some("application/x-ndjson");

fn import(api: &Api, path: &str, kind: Option<&str>, text: &str) -> Value {
    api.send("POST", path, kind, text.as_bytes()).expect(200)
}

fn export(api: &Api, query: &str) -> String {
    let answer = api.get(&format!("/api/v1/export?{query}"));
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.text
}

/// The recording as the import takes it.
fn wide(recording: &Recording) -> String {
    std::fs::read_to_string(&recording.path).expect("a CSV file").replacen("ts,", "time,", 1)
}

fn account(api: &Api, device: &str) -> Value {
    let account = api.device(device)["accounting"].clone();
    let count = |name: &str| account[name].as_u64().expect("a count");
    assert_eq!(count("received"), count("stored") + count("duplicate") + count("rejected") + count("dropped"));
    account
}

#[test]
fn an_exported_file_imported_elsewhere_exports_the_same_bytes() {
    let folder = tempfile::tempdir().expect("a folder");
    let recording = Recording::of_environment(folder.path());
    let (one, two, three) = (Server::start(), Server::start(), Server::start());
    for server in [&one, &two, &three] {
        for id in recording.rows_of.keys().map(String::as_str).chain(["odd"]) {
            server.create_device(id);
        }
    }
    let text = wide(&recording);
    let answer = import(one.admin(), "/api/v1/import", CSV, &text);
    assert_eq!(answer["lines"], recording.rows, "{answer}");
    assert_eq!((&answer["rejected"], &answer["errors"]), (&json!(0), &json!([])), "{answer}");
    for ((device, metric), expected) in &recording.expected {
        let stored = one.admin().history(device, metric);
        let same = stored.iter().zip(expected).all(|((at, value), (wanted_at, wanted))| {
            at == wanted_at && (value == wanted || value.as_f64() == wanted.as_f64())
        });
        assert!(same && stored.len() == expected.len(), "{device} {metric}");
    }
    // Values that a file could lose.
    let odd = "time,metric,value,unit,type\n\
               1,whole,9007199254740993,,i64\n2,whole,-5,,i64\n1,single,0.10000000149011612,°C,f32\n\
               1,number,5,,\n2,number,NaN,,\n3,number,-Infinity,,\n4,number,-0,,\n5,number,1e300,,\n\
               1,text,5,,text\n2,text,true,,text\n3,text,\"\",,text\n4,text,\"a \"\"b\"\",\nc\",,text\n\
               1,on,true,,\n1,\"a, metric\",1,,\n";
    let answer = import(one.admin(), "/api/v1/import?device=odd", CSV, odd);
    assert_eq!((&answer["stored"], &answer["rejected"]), (&json!(14), &json!(0)), "{answer}");
    let (csv, ndjson) = (export(one.admin(), "format=csv"), export(one.admin(), "format=ndjson"));
    assert!(csv.starts_with("time,device,metric,value,unit,type\n"));
    assert!(csv.contains("odd,single,0.10000000149011612,°C,f32\n"), "units and types are there");
    assert_eq!(csv.lines().count(), ndjson.lines().count() + 2, "a header, and one quoted line break");
    for (server, kind, text) in [(&two, CSV, &csv), (&three, NDJSON, &ndjson)] {
        let answer = import(server.admin(), "/api/v1/import", kind, text);
        assert_eq!((&answer["rejected"], &answer["errors"]), (&json!(0), &json!([])), "{answer}");
        assert!(export(server.admin(), "format=csv") == csv, "CSV differs");
        assert!(export(server.admin(), "format=ndjson") == ndjson, "NDJSON differs");
    }
}

#[test]
fn a_file_imported_twice_leaves_the_same_samples_and_is_counted_as_replaced() {
    let server = Server::start();
    server.create_device("pump");
    let lines: String = (0..10_000).map(|n| format!("{n},{},{}\n", n * 3, n % 2 == 0)).collect();
    let text = format!("time,temp,on\r\n{}", lines.replace('\n', "\r\n"));
    let path = "/api/v1/import?device=pump";
    let first = import(server.admin(), path, CSV, &text);
    assert_eq!((&first["lines"], &first["stored"]), (&json!(10_000), &json!(20_000)), "{first}");
    let before = export(server.admin(), "");
    assert_eq!(import(server.admin(), path, CSV, &text), first);
    assert!(export(server.admin(), "") == before, "the samples differ");
    let accounting = account(server.admin(), "pump");
    assert_eq!((&accounting["stored"], &accounting["reports"]), (&json!(40_000), &json!(0)), "{accounting}");
    // Of two values of one time the later line wins, also when one of them came with others.
    let text = "{\"time\":1,\"device\":\"pump\",\"values\":{\"temp\":1,\"on\":true}}\n\
                {\"time\":1,\"device\":\"pump\",\"metric\":\"temp\",\"value\":2}\n\
                {\"time\":\"1970-01-01T00:00:02Z\",\"device\":\"pump\",\"metric\":\"temp\",\"value\":2}\n\
                {\"time\":2.0,\"device\":\"pump\",\"values\":{\"temp\":3,\"on\":null}}\n";
    assert_eq!(import(server.admin(), "/api/v1/import", NDJSON, text)["stored"], 5);
    let stored = server.admin().history("pump", "temp");
    assert_eq!(stored[1..3], [(1_000_000, json!(2.0)), (2_000_000, json!(3.0))]);
}

#[test]
fn what_is_wrong_with_a_line_costs_that_line_and_is_counted() {
    let server = Server::start();
    let admin = server.admin();
    admin.create_device("pump");
    let far = (now_us() / 1_000_000) * 1000;
    let text = format!(
        "\u{feff}time,device,metric,value,unit,type\n\
         10,pump,temp,20.5,°C,\n\
         yesterday,pump,temp,1,,\n\
         11,nobody,temp,1,,\n\
         12,pump,temp,warm,,\n\
         {far},pump,temp,21,,\n\
         -5,pump,temp,21,,\n\
         \n\
         13,pump,temp\n\
         14,pump,temp,\"open,,\n\
         15,pump,count,many,,i64\n"
    );
    let answer = import(admin, "/api/v1/import", CSV, &text);
    assert_eq!((&answer["lines"], &answer["received"]), (&json!(8), &json!(8)), "{answer}");
    assert_eq!((&answer["stored"], &answer["rejected"]), (&json!(1), &json!(7)), "{answer}");
    let errors: Vec<_> = answer["errors"].as_array().expect("errors").iter().collect();
    let wanted = [
        (3, "RFC 3339"),
        (4, "no device"),
        (5, "another class"),
        (6, "milliseconds"),
        (7, "1970"),
        (9, "3 cells"),
        (10, "quote"),
    ];
    assert_eq!(errors.len(), wanted.len(), "{answer}");
    for (error, (line, words)) in errors.iter().zip(wanted) {
        assert_eq!(error["line"], line, "{answer}");
        assert!(error["detail"].as_str().is_some_and(|detail| detail.contains(words)), "{error} does not say {words}");
    }
    let accounting = account(admin, "pump");
    let by = json!({"type_mismatch": 1, "time_in_future": 1, "time_out_of_range": 1});
    assert_eq!((&accounting["stored"], &accounting["rejected_by"]), (&json!(1), &by), "{accounting}");
    assert_eq!(admin.get("/api/v1/devices/pump/latest").expect(200)["items"][0]["unit"], "°C");

    // At most twenty are named, those of the first lines, and all are counted.
    let text = format!("time,device,temp\n{}", "x,pump,1\n".repeat(30));
    let answer = import(admin, "/api/v1/import", CSV, &text);
    assert_eq!(answer["rejected"], 30);
    assert_eq!(answer["errors"].as_array().map(Vec::len), Some(20));
    assert_eq!((&answer["errors"][0]["line"], &answer["errors"][19]["line"]), (&json!(2), &json!(21)));
    // One line too long costs that line.
    let long = format!(
        "{{\"time\":1,\"device\":\"{}\"}}\n{{\"time\":1,\"device\":\"pump\",\"metric\":\"a\",\"value\":1}}",
        "x".repeat(70_000)
    );
    let answer = import(admin, "/api/v1/import", NDJSON, &long);
    assert_eq!(
        (&answer["stored"], &answer["rejected"], &answer["errors"][0]["line"]),
        (&json!(1), &json!(1), &json!(1))
    );
    server.assert_serves();
}

#[test]
fn a_series_keeps_its_type_and_an_integer_stays_whole() {
    let server = Server::start();
    server.create_device("pump");
    let types = |text: &str| {
        assert_eq!(import(server.admin(), "/api/v1/import?device=pump", CSV, text)["rejected"], 0);
        let latest = server.admin().get("/api/v1/devices/pump/latest").expect(200);
        (latest["items"][0]["type"].clone(), latest["items"][0]["value"].clone(), latest["items"][0]["unit"].clone())
    };
    let whole = types("time,metric,value,unit,type\n1,n,9007199254740993,l,i64\n");
    assert_eq!(whole, (json!("i64"), json!(9_007_199_254_740_993_i64), json!("l")));
    assert_eq!(types("time,n\n2,9007199254740995\n"), (json!("i64"), json!(9_007_199_254_740_995_i64), json!("l")));
    assert_eq!(types("time,n\n3,1.5\n4,2\n"), (json!("f64"), json!(2.0), json!("l")));
}

#[test]
fn a_request_that_cannot_be_an_import_is_refused_as_a_whole() {
    let server = Server::with("http.import_bytes_max", 100_000);
    let admin = server.admin();
    admin.create_device("pump");
    let path = "/api/v1/import";
    let send = |api: &Api, path: &str, kind, text: &str| api.send("POST", path, kind, text.as_bytes());
    send(&server.api(), path, CSV, "").expect_problem(401, "signed_out", "sign in");
    send(&admin.create_user("vera", "viewer"), path, CSV, "").expect_problem(403, "forbidden", "operator");
    send(&admin.create_user("otto", "operator"), path, CSV, "time,device,a\n").expect(200);
    send(admin, path, Some("application/json"), "{}").expect_problem(415, "wrong_content_type", "text/csv");
    send(admin, &format!("{path}?create=true"), CSV, "").expect_problem(400, "unknown_field", "create");
    send(admin, &format!("{path}?device=nobody"), CSV, "time,a\n").expect_problem(404, "not_found", "nobody");
    send(admin, path, CSV, "").expect_problem(400, "bad_header", "empty");
    for (header, words) in [
        ("ts,device,a\n", "column time"),
        ("time,a\n", "?device="),
        ("time,device,\n", "column 3"),
        ("time,device,a,a\n", "twice"),
        (&format!("{},b,c", "x".repeat(5_000)), &format!("it has: {}, b, c", "x".repeat(40))),
    ] {
        send(admin, path, CSV, header).expect_problem(400, "bad_header", words);
    }
    // The problem is read also by a client that is still sending. Its size is announced, so nothing is stored.
    let large = format!("time,device,a\n{}", "5,pump,1\n".repeat(400_000));
    send(admin, path, CSV, &large).expect_problem(413, "body_too_large", "nothing of it was stored");
    send(admin, path, CSV, &large.replace("time", "ts")[..90_000]).expect_problem(400, "bad_header", "column time");
    server.assert_serves();
}

#[test]
fn the_command_line_imports_a_file_of_any_size() {
    let server = Server::start();
    server.create_device("pump");
    let folder = tempfile::tempdir().expect("a folder");
    // Larger than http.body_bytes_max.
    let lines: String = (0..100_000).map(|n| format!("{{\"time\":{n},\"values\":{{\"temp\":{n}.25}}}}\n")).collect();
    let file = folder.path().join("pump.ndjson");
    std::fs::write(&file, &lines).expect("written");
    let run = |arguments: &[&str], input: &str| {
        let mut command = programs::command(programs::pulsewire());
        command.current_dir(folder.path()).env("TEST_PASSWORD", ADMIN_PASSWORD);
        command.args(["import", "--url", &server.url(), "--password-env", "TEST_PASSWORD"]).args(arguments);
        let output = programs::run_with_input(&mut command, input);
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        (output.status.success(), text(output.stdout), text(output.stderr))
    };
    let (success, stdout, stderr) = run(&["pump.ndjson", "--device", "pump", "--json"], "");
    assert!(success, "{stderr}");
    let answer: Value = serde_json::from_str(&stdout).expect("one JSON document");
    assert_eq!((&answer["lines"], &answer["stored"]), (&json!(100_000), &json!(100_000)), "{answer}");
    assert_eq!(server.admin().history("pump", "temp").len(), 100_000);
    let meta = rusqlite::Connection::open(server.data_dir().join("meta.db")).expect("opens");
    let sessions: i64 = meta.query_row("SELECT count(*) FROM session", [], |row| row.get(0)).expect("a count");
    assert_eq!(sessions, 1, "the command has signed out");

    let (success, stdout, _) = run(&["-"], "time,device,temp\n200000,pump,1\n200001,nobody,1\n");
    assert!(!success, "something was rejected");
    assert!(stdout.contains("2 lines, 1 values stored, 1 rejected") && stdout.contains("line 3: "), "{stdout}");
    let (success, _, stderr) = run(&["pump.ndjson", "--format", "csv"], "");
    assert!(!success && stderr.contains("bad_header"), "{stderr}");
    let (success, _, stderr) = run(&["missing.csv"], "");
    assert!(!success && stderr.contains("missing.csv"), "{stderr}");
}

#[test]
fn an_import_is_stored_beside_a_device_that_is_sending_and_is_not_live() {
    let server = Server::start();
    let mut device = server.device("pump");
    let (set, now) = (metrics(0), now_us());
    let stream = device.open_stream(StreamKind::Live);
    device.declare(&set);
    device.send(&report(&set, stream, 1, &[(now, 1.0)]));
    device.expect_ack(stream, 1);
    let text = format!("time,device,{}\n1,pump,5\n", METRICS[0]);
    assert_eq!(import(server.admin(), "/api/v1/import", CSV, &text)["stored"], 1);
    device.send(&report(&set, stream, 2, &[(now + 1, 2.0)]));
    device.expect_ack(stream, 2);
    let stored = server.admin().history("pump", METRICS[0]);
    assert_eq!(stored, [(1_000_000, json!(5.0)), (now, json!(1.0)), (now + 1, json!(2.0))]);
    let accounting = account(server.admin(), "pump");
    assert_eq!((&accounting["reports"], &accounting["late"]), (&json!(2), &json!(0)), "{accounting}");
}
