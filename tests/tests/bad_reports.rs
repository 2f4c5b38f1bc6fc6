//! Logged-in devices that break the rules of streams, windows and values.

use pulsewire_proto::frame::{Nack, NackItem, NackReason, Report, Skip, SkipReason, StreamKind, WHOLE_ROW};
use pulsewire_proto::{CloseCode, Message, MessageType, MetricType, Value};
use pulsewire_tests::device::{Device, now_us, report, set_of, sparse_report};
use pulsewire_tests::wire::{Transport, raw_frame};
use pulsewire_tests::{METRICS, Server, metrics};
use serde_json::json;

const DAY_US: i64 = 86_400_000_000;

/// A device with a stream that sends what `send` says, and is closed for it.
fn check(server: &Server, code: CloseCode, fragment: &str, send: impl FnOnce(&mut Device, u32)) {
    let mut device = server.device("bad");
    let (stream, _) = device.prepare();
    send(&mut device, stream);
    let close = device.expect_close();
    server.assert_closed(&close, code, fragment);
}

#[test]
fn a_report_of_an_undeclared_set_closes_with_4010() {
    check(&Server::start(), CloseCode::UnknownMetricSet, "metric set 9 was not declared", |device, stream| {
        device.send(&report(&metrics(9), stream, 1, &[(now_us(), 1.0)]));
    });
}

#[test]
fn a_sequence_gap_closes_with_4011_and_names_the_next() {
    check(&Server::start(), CloseCode::SequenceGap, "resend from 2", |device, stream| {
        device.send(&report(&metrics(0), stream, 1, &[(now_us(), 1.0)]));
        device.expect_ack(stream, 1);
        device.send(&report(&metrics(0), stream, 3, &[(now_us(), 3.0)]));
    });
}

#[test]
fn what_is_not_taken_is_counted_by_reason() {
    let server = Server::start();
    check(&server, CloseCode::SequenceGap, "resend from 1", |device, stream| {
        device.send(&report(&metrics(0), stream, 3, &[(now_us(), 3.0)]));
    });
    let accounting = &server.admin().device("bad")["accounting"];
    assert_eq!((&accounting["received"], &accounting["stored"]), (&json!(1), &json!(0)));
    assert_eq!((&accounting["dropped"], &accounting["dropped_by"]), (&json!(1), &json!({"sequence_gap": 1})));
    server.expect_metric("pulsewire_samples_dropped_total{reason=\"sequence_gap\"}", 1.0);
}

#[test]
fn a_skip_that_leaves_numbers_out_closes_with_4011() {
    check(&Server::start(), CloseCode::SequenceGap, "resend from 1", |device, stream| {
        let skip = Skip { stream, from: 2, to: 5, reason: SkipReason::Expired, text: String::new() };
        device.wire.send_message(&Message::Skip(skip));
    });
}

#[test]
fn one_sequence_with_two_contents_closes_with_4012() {
    check(&Server::start(), CloseCode::Clone, "two devices share one identity", |device, stream| {
        let time_us = now_us();
        device.send(&report(&metrics(0), stream, 1, &[(time_us, 1.0)]));
        device.expect_ack(stream, 1);
        device.send(&report(&metrics(0), stream, 1, &[(time_us, 2.0)]));
    });
}

#[test]
fn more_reports_than_the_window_close_with_4013() {
    let server = Server::with("device.window_frames", 4);
    check(&server, CloseCode::WindowExceeded, "more than 4 reports", |device, stream| {
        // At once, so that no acknowledgement can come in between.
        let reports = (1..=40).flat_map(|n| report(&metrics(0), stream, n, &[(now_us(), 1.0)]));
        device.send(&reports.collect::<Vec<u8>>());
    });
}

#[test]
fn a_stream_that_was_never_opened_closes_with_4015() {
    check(&Server::start(), CloseCode::UnknownStream, "open a new one", |device, stream| {
        device.send(&report(&metrics(0), stream + 1, 1, &[(now_us(), 1.0)]));
    });
}

#[test]
fn the_stream_of_another_device_closes_with_4015() {
    let server = Server::start();
    let mut other = server.device("other");
    // More streams than `bad` has, so that this number is none of its own.
    let theirs = (0..3).map(|_| other.open_stream(StreamKind::Live)).max().expect("three streams");
    check(&server, CloseCode::UnknownStream, "open a new one", |device, stream| {
        assert_ne!(theirs, stream);
        device.send(&report(&metrics(0), theirs, 1, &[(now_us(), 1.0)]));
    });
}

#[test]
fn a_bool_that_is_neither_0_nor_1_closes_with_4007() {
    check(&Server::start(), CloseCode::Malformed, "the byte must be 0 or 1", |device, stream| {
        let set = set_of(3, &[("light", MetricType::Bool)]);
        device.declare(&set);
        let report = Report { set: 3, sparse: false, stream, sequence: 1, base_us: now_us(), rows: 1, body: &[2] };
        device.wire.send_message(&Message::Telemetry(report));
    });
}

#[test]
fn rows_that_the_payload_does_not_hold_close_with_4007() {
    check(&Server::start(), CloseCode::Malformed, "TELEMETRY", |device, stream| {
        let report =
            Report { set: 0, sparse: false, stream, sequence: 1, base_us: now_us(), rows: u32::MAX, body: &[0; 16] };
        device.wire.send_message(&Message::Telemetry(report));
    });
}

#[test]
fn a_metric_set_with_one_name_twice_closes_with_4007() {
    check(&Server::start(), CloseCode::Malformed, "METRIC_SET.metrics", |device, _| {
        device.declare(&set_of(1, &[("temp", MetricType::F64), ("temp", MetricType::F32)]));
    });
}

#[test]
fn a_malformed_report_stores_nothing_of_itself() {
    let server = Server::start();
    check(&server, CloseCode::Malformed, "TELEMETRY", |device, stream| {
        let good = report(&metrics(0), stream, 1, &[(now_us(), 1.0), (now_us() + 1, 2.0)]);
        // Without its last byte.
        device.send(&raw_frame(MessageType::Telemetry, &good[8..good.len() - 1]));
    });
    assert_eq!(server.admin().history("bad", METRICS[0]), []);
}

fn item(row: u32, metric: u32, reason: NackReason) -> NackItem {
    NackItem { row, metric, reason }
}

#[test]
fn a_row_far_in_the_future_is_rejected_and_the_others_are_stored() {
    let server = Server::start();
    let mut device = server.device("early");
    let (stream, set) = device.prepare();
    let now = now_us();
    device.send(&report(&set, stream, 1, &[(now, 1.0), (now + 2 * DAY_US, 2.0), (now + 1, 3.0)]));
    let nacks = device.expect_ack(stream, 1);
    let [Nack { stream: of, sequence: 1, items, total: 1, text }] = &nacks[..] else { panic!("{nacks:?}") };
    assert_eq!((*of, &items[..]), (stream, &[item(1, WHOLE_ROW, NackReason::TimeInFuture)][..]));
    assert!(text.contains("check the clock"), "{text}");
    assert_eq!(server.admin().history("early", METRICS[0]), [(now, 1.0.into()), (now + 1, 3.0.into())]);
    server.expect_metric("pulsewire_samples_rejected_total{reason=\"time_in_future\"}", 1.0);
    let accounting = &server.admin().device("early")["accounting"];
    assert_eq!(
        (&accounting["received"], &accounting["stored"], &accounting["rejected"]),
        (&json!(3), &json!(2), &json!(1))
    );
    assert_eq!(accounting["rejected_by"], json!({"time_in_future": 1}));
    assert_eq!(&server.admin().get("/api/v1/overview").json()["accounting"], accounting, "it is the only device");
    server.assert_serves();
}

#[test]
fn a_row_before_1970_is_rejected_and_the_others_are_stored() {
    let server = Server::start();
    let mut device = server.device("old");
    let (stream, set) = device.prepare();
    device.send(&report(&set, stream, 1, &[(-1, 1.0), (0, 2.0)]));
    let nacks = device.expect_ack(stream, 1);
    assert_eq!(nacks[0].items, [item(0, WHOLE_ROW, NackReason::TimeOutOfRange)]);
    assert!(nacks[0].text.contains("1970"), "{}", nacks[0].text);
    assert_eq!(server.admin().history("old", METRICS[0]), [(0, 2.0.into())]);
    server.expect_metric("pulsewire_samples_rejected_total{reason=\"time_out_of_range\"}", 1.0);
    server.assert_serves();
}

#[test]
fn a_value_of_another_class_is_rejected_and_the_rest_of_its_row_is_stored() {
    let server = Server::start();
    let mut device = server.device("changed");
    let (stream, set) = device.prepare();
    let now = now_us();
    device.send(&report(&set, stream, 1, &[(now, 1.0)]));
    let changed = set_of(1, &[("temp", MetricType::Text), ("light", MetricType::Bool)]);
    device.declare(&changed);
    let row = (now + 1, vec![Some(Value::Text("warm")), Some(Value::Bool(true))]);
    device.send(&sparse_report(&changed, stream, 2, &[row]));
    let nacks = device.expect_ack(stream, 2);
    assert_eq!(nacks[0].items, [item(0, 0, NackReason::TypeMismatch)]);
    assert!(nacks[0].text.contains("another class"), "{}", nacks[0].text);
    assert_eq!(server.admin().history("changed", "temp"), [(now, 1.0.into())]);
    assert_eq!(server.admin().history("changed", "light"), [(now + 1, true.into())]);
    server.expect_metric("pulsewire_samples_rejected_total{reason=\"type_mismatch\"}", 1.0);
    server.assert_serves();
}

#[test]
fn each_nack_comes_before_the_ack_that_covers_its_report() {
    let server = Server::start();
    let mut device = server.device("early");
    let (stream, set) = device.prepare();
    let now = now_us();
    // At once, so that many reports share a commit; the device checks the order of the answers.
    let late = |n| report(&set, stream, n, &[(now + 2 * DAY_US, 1.0)]);
    device.send(&(1..=200).flat_map(late).collect::<Vec<u8>>());
    let nacks = device.expect_ack(stream, 200);
    assert_eq!(nacks.iter().map(|n| n.sequence).collect::<Vec<_>>(), (1..=200).collect::<Vec<_>>());
}

#[test]
fn series_above_the_limit_are_rejected_and_the_others_are_stored() {
    let server = Server::with("ingest.series_max", 2);
    let mut device = server.device("wide");
    let stream = device.open_stream(StreamKind::Live);
    let set = set_of(0, &[("a", MetricType::F64), ("b", MetricType::F64), ("c", MetricType::F64)]);
    device.declare(&set);
    let now = now_us();
    device.send(&sparse_report(&set, stream, 1, &[(now, vec![Some(Value::F64(1.0)); 3])]));
    let nacks = device.expect_ack(stream, 1);
    assert_eq!(nacks[0].items, [item(0, 2, NackReason::Other)]);
    assert!(nacks[0].text.contains("ingest.series_max"), "{}", nacks[0].text);
    assert_eq!(server.admin().history("wide", "b"), [(now, 1.0.into())]);
    server.expect_metric("pulsewire_samples_rejected_total{reason=\"no_room_for_series\"}", 1.0);
}

#[test]
fn silence_for_two_intervals_closes_with_4008() {
    let server = Server::with("device.heartbeat_interval", "500ms");
    let mut device = server.device("silent");
    assert_eq!(device.welcome.heartbeat_interval_ms, 500);
    let close = device.expect_close();
    server.assert_closed(&close, CloseCode::HeartbeatMissed, "no frame for 1000 ms");
}

#[test]
fn a_newer_login_closes_the_older_session_with_4009() {
    let server = Server::start();
    let secret = server.create_device("twice");
    for transport in [Transport::Tcp, Transport::WebSocket] {
        let mut older = Device::login_over(transport, server.device, "twice", &secret, &[]);
        let mut newer = Device::login(server.device, "twice", &secret);
        assert!(newer.welcome.session_epoch > older.welcome.session_epoch);
        let close = older.expect_close();
        server.assert_close_text(&close, CloseCode::Superseded, "a newer session of this device");
        let (stream, set) = newer.prepare();
        newer.send(&report(&set, stream, 1, &[(now_us(), 1.0)]));
        assert_eq!(newer.expect_ack(stream, 1), []);
        assert_eq!(server.admin().device("twice")["presence"], "online");
        newer.leave();
    }
    server.expect_metric("pulsewire_closed_total{code=\"superseded\"}", 2.0);
    server.assert_serves();
}

#[test]
fn a_device_disabled_while_connected_closes_with_4017() {
    let server = Server::start();
    let mut device = server.device("pump");
    server.admin().patch("/api/v1/devices/pump", &json!({"enabled": false})).expect(200);
    let close = device.expect_close();
    server.assert_closed(&close, CloseCode::Revoked, "disabled or deleted, or its secret replaced");
}

#[test]
fn a_device_deleted_while_connected_closes_with_4017() {
    let server = Server::start();
    let mut device = server.device("pump");
    assert_eq!(server.admin().delete("/api/v1/devices/pump").status, 204);
    let close = device.expect_close();
    server.assert_closed(&close, CloseCode::Revoked, "disabled or deleted, or its secret replaced");
}

#[test]
fn a_stop_acknowledges_what_is_under_way_and_closes_with_1001() {
    let mut server = Server::start();
    let mut device = server.device("pump");
    let (stream, set) = device.prepare();
    device.send(&report(&set, stream, 1, &[(now_us(), 1.0)]));
    device.expect_ack(stream, 1);
    server.signal("TERM");
    let close = device.expect_close();
    server.assert_close_text(&close, CloseCode::GoingAway, "reconnect");
    drop(device);
    assert!(server.wait_for_end(), "exit status 0");
    assert!(!server.data_dir().join("listen.json").exists(), "nobody listens there any more");
}
