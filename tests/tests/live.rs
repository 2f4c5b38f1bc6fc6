//! What viewers see: history first, then live, without gap or double.

use pulsewire_proto::frame::{Aggregate, GapReason, PresenceState, Resume, StreamKind, Subscribe, Unsubscribe};
use pulsewire_proto::{Message, MessageType, MetricType, Value};
use pulsewire_tests::device::{Device, now_us, report, set_of, sparse_report};
use pulsewire_tests::wire::raw_frame;
use pulsewire_tests::{METRICS, Server, Viewer, everything, metrics};

const HOUR_MS: u32 = 3_600_000;

/// What the history API has of the first metric.
fn stored(server: &Server, device: &str) -> Vec<(i64, f64)> {
    let history = server.admin().history(device, METRICS[0]);
    history.into_iter().map(|(time_us, value)| (time_us, value.as_f64().expect("a number"))).collect()
}

fn viewer(server: &Server) -> Viewer {
    Viewer::connect(server.http, server.admin().token())
}

#[test]
fn history_comes_first_and_live_follows_without_gap_or_double_at_full_speed() {
    const REPORTS: u64 = 2_000;
    const ROWS: u64 = 5;
    let server = Server::start();
    let mut device = server.device("fast");
    let (stream, set) = device.prepare();
    let start = now_us();
    let rows = move |sequence: u64| -> Vec<(i64, f64)> {
        let first = (sequence - 1) * ROWS;
        (first..first + ROWS).map(|n| (start + n as i64, n as f64 / 7.0)).collect()
    };
    let (half, halfway) = std::sync::mpsc::sync_channel(1);
    let sending = std::thread::spawn(move || {
        device.send_all(stream, 1..REPORTS / 4, |n| report(&set, stream, n, &rows(n)));
        half.send(()).expect("the test waits");
        device.send_all(stream, REPORTS / 4..REPORTS + 1, |n| report(&set, stream, n, &rows(n)));
    });
    halfway.recv().expect("the device sends");

    let mut viewer = viewer(&server);
    viewer.subscribe(&Subscribe { history_ms: HOUR_MS, ..everything(1, &["fast"]) });
    let history = viewer.samples.len();
    assert!(history as u64 >= (REPORTS / 4 - 1) * ROWS, "all that was acknowledged before is in the history");
    assert!(viewer.samples.iter().all(|sample| sample.history));
    viewer.until("every sample", |v| (v.samples.len() as u64 >= REPORTS * ROWS).then_some(()));
    sending.join().expect("every report was acknowledged");

    assert!(viewer.samples[history..].iter().all(|sample| !sample.history), "what follows is live");
    assert!(viewer.gaps.is_empty(), "{:?}", viewer.gaps);
    let seen = viewer.values("fast", METRICS[0]);
    assert_eq!(seen.len() as u64, REPORTS * ROWS);
    assert_eq!(seen, stored(&server, "fast"));
}

#[test]
fn without_history_only_the_latest_value_comes_before_live() {
    let server = Server::start();
    let mut device = server.device("pump");
    let (stream, set) = device.prepare();
    let now = now_us();
    device.send(&report(&set, stream, 1, &[(now, 1.0), (now + 1, 2.0)]));
    device.expect_ack(stream, 1);
    let mut viewer = viewer(&server);
    viewer.subscribe(&everything(1, &["pump"]));
    assert_eq!(viewer.values("pump", METRICS[0]), [(now + 1, 2.0)]);
    device.send(&report(&set, stream, 2, &[(now + 2, 3.0)]));
    viewer.until("the live sample", |v| (v.samples.len() == 2).then_some(()));
    assert_eq!(viewer.values("pump", METRICS[0]), [(now + 1, 2.0), (now + 2, 3.0)]);
    assert!(viewer.samples[0].history && !viewer.samples[1].history);
}

#[test]
fn devices_and_metrics_that_appear_later_are_sent_as_well() {
    let server = Server::start();
    let mut all = viewer(&server);
    all.subscribe(&everything(1, &[]));
    let mut one = viewer(&server);
    one.subscribe(&Subscribe { metrics: vec!["temp".into()], ..everything(9, &["later", "never"]) });
    let mut device = server.device("later");
    let (stream, set) = device.prepare();
    let now = now_us();
    let both = vec![Some(Value::F64(1.0)), Some(Value::F64(2.0))];
    device.send(&sparse_report(&set, stream, 1, &[(now, both)]));
    all.until("two series", |v| (v.samples.len() == 2).then_some(()));
    one.until("one series", |v| (v.samples.len() == 1).then_some(()));
    assert_eq!(one.values("later", "temp"), [(now, 1.0)]);
    assert_eq!(all.values("later", "other"), [(now, 2.0)]);
}

#[test]
fn backfill_is_stored_and_not_shown_as_live() {
    let server = Server::start();
    let mut device = server.device("pump");
    let (live, set) = device.prepare();
    let backlog = device.open_stream(StreamKind::Backlog);
    let mut viewer = viewer(&server);
    viewer.subscribe(&everything(1, &["pump"]));
    let now = now_us();
    device.send(&raw_frame(MessageType::Backfill, &report(&set, backlog, 1, &[(now - 1000, 1.0)])[8..]));
    device.expect_ack(backlog, 1);
    device.send(&report(&set, live, 1, &[(now, 2.0)]));
    viewer.until("the live sample", |v| (!v.samples.is_empty()).then_some(()));
    assert_eq!(viewer.values("pump", METRICS[0]), [(now, 2.0)]);
    assert_eq!(stored(&server, "pump"), [(now - 1000, 1.0), (now, 2.0)]);
}

#[test]
fn the_newest_per_interval_takes_the_place_of_older_ones() {
    let server = Server::start();
    let mut device = server.device("fast");
    let (stream, set) = device.prepare();
    let mut viewer = viewer(&server);
    let wish = Subscribe { aggregate: Aggregate::Last, interval_ms: 300, ..everything(1, &["fast"]) };
    viewer.subscribe(&wish);
    let now = now_us();
    device.send_all(stream, 1..201, |n| report(&set, stream, n, &[(now + n as i64, n as f64)]));
    viewer.until("the newest", |v| v.samples.iter().any(|s| s.value == 200.0).then_some(()));
    assert!(viewer.samples.len() < 50, "{} samples in a few intervals", viewer.samples.len());
    assert!(viewer.gaps.is_empty());
}

#[test]
fn after_unsubscribe_the_number_is_free_and_nothing_more_comes() {
    let server = Server::start();
    let mut device = server.device("pump");
    let (stream, set) = device.prepare();
    let mut viewer = viewer(&server);
    viewer.subscribe(&everything(1, &["pump"]));
    viewer.wire.send_message(&Message::Unsubscribe(Unsubscribe { subscription: 1 }));
    // Answered after UNSUBSCRIBE was taken.
    viewer.subscribe(&everything(2, &["nobody"]));
    let now = now_us();
    device.send(&report(&set, stream, 1, &[(now, 1.0)]));
    device.expect_ack(stream, 1);
    viewer.subscribe(&Subscribe { metrics: vec!["temp".into()], ..everything(3, &["pump"]) });
    assert_eq!(viewer.values("pump", METRICS[0]), [(now, 1.0)], "the latest value of 3, and nothing of 1");
    assert!(viewer.refused.is_empty());
}

#[test]
fn a_viewer_resumes_after_its_position_with_exactly_what_it_missed() {
    let server = Server::start();
    let mut device = server.device("pump");
    let (stream, set) = device.prepare();
    let now = now_us();
    let mut first = viewer(&server);
    let snapshot = first.subscribe(&everything(1, &["pump"]));
    device.send(&report(&set, stream, 1, &[(now, 1.0)]));
    first.until("the first sample", |v| (v.samples.len() == 1).then_some(()));
    let resume = Resume { epoch: first.welcome.epoch, position: first.position(1) };
    assert!(resume.position > snapshot.position);
    drop(first);
    for n in 2..=4_i64 {
        device.send(&report(&set, stream, n as u64, &[(now + n, n as f64)]));
        device.expect_ack(stream, n as u64);
    }

    let mut second = viewer(&server);
    second.subscribe(&Subscribe { resume: Some(resume), history_ms: HOUR_MS, ..everything(1, &["pump"]) });
    assert!(second.gaps.is_empty(), "{:?}", second.gaps);
    assert!(second.samples.iter().all(|s| s.history));
    device.send(&report(&set, stream, 5, &[(now + 5, 5.0)]));
    second.until("the live sample", |v| v.samples.iter().any(|s| !s.history).then_some(()));
    let missed: Vec<_> = (2..=5_i64).map(|n| (now + n, n as f64)).collect();
    assert_eq!(second.values("pump", METRICS[0]), missed);
}

#[test]
fn a_position_survives_a_restart_of_the_server() {
    let mut server = Server::start();
    let secret = server.create_device("pump");
    let mut device = Device::login(server.device, "pump", &secret);
    let (stream, set) = device.prepare();
    let now = now_us();
    let mut first = viewer(&server);
    first.subscribe(&everything(1, &["pump"]));
    device.send(&report(&set, stream, 1, &[(now, 1.0)]));
    first.until("the first sample", |v| (v.samples.len() == 1).then_some(()));
    let resume = Resume { epoch: first.welcome.epoch, position: first.position(1) };
    device.send(&report(&set, stream, 2, &[(now + 2, 2.0)]));
    device.expect_ack(stream, 2);
    server.kill9();
    server.restart();
    let mut second = viewer(&server);
    assert_eq!(second.welcome.epoch, resume.epoch, "it is the same store");
    second.subscribe(&Subscribe { resume: Some(resume), ..everything(1, &["pump"]) });
    assert!(second.gaps.is_empty(), "{:?}", second.gaps);
    assert_eq!(second.values("pump", METRICS[0]), [(now + 2, 2.0)]);
}

#[test]
fn a_position_of_another_store_is_a_gap_and_then_the_history() {
    let server = Server::start();
    let mut device = server.device("pump");
    let (stream, set) = device.prepare();
    let now = now_us();
    device.send(&report(&set, stream, 1, &[(now, 1.0)]));
    device.expect_ack(stream, 1);
    let mut viewer = viewer(&server);
    for (number, resume) in [
        (1, Resume { epoch: viewer.welcome.epoch ^ 1, position: 0 }),
        (2, Resume { epoch: viewer.welcome.epoch, position: u64::MAX }),
    ] {
        viewer.samples.clear();
        let wish = Subscribe { resume: Some(resume), history_ms: HOUR_MS, ..everything(number, &["pump"]) };
        viewer.subscribe(&wish);
        let gap = viewer.gaps.last().expect("a gap");
        assert_eq!((gap.subscription, gap.reason), (number, GapReason::ResumeRefused));
        assert_eq!(viewer.values("pump", METRICS[0]), [(now, 1.0)]);
    }
}

#[test]
fn presence_goes_from_offline_to_online_to_stale_and_back() {
    let server = Server::with("device.stale_after", "1s");
    let secret = server.create_device("pump");
    let mut viewer = viewer(&server);
    viewer.subscribe(&everything(1, &["pump"]));
    let expect = |viewer: &mut Viewer, state: PresenceState| {
        viewer.until(&format!("{state:?}"), |v| (v.presence.last()?.1 == state).then_some(()));
    };
    expect(&mut viewer, PresenceState::Offline);
    let mut device = Device::login(server.device, "pump", &secret);
    expect(&mut viewer, PresenceState::Online);
    expect(&mut viewer, PresenceState::Stale);
    assert_eq!(server.admin().device("pump")["presence"], "stale");
    let (stream, set) = device.prepare();
    device.send(&report(&set, stream, 1, &[(now_us(), 1.0)]));
    expect(&mut viewer, PresenceState::Online);
    device.leave();
    expect(&mut viewer, PresenceState::Offline);
    let states: Vec<_> = viewer.presence.iter().map(|(_, state)| *state).collect();
    use PresenceState::{Offline, Online, Stale};
    assert!(states.starts_with(&[Offline, Online, Stale, Online]) && states.ends_with(&[Offline]), "{states:?}");
}

#[test]
fn every_type_has_its_form_as_a_number() {
    let server = Server::start();
    let mut device = server.device("mixed");
    let stream = device.open_stream(StreamKind::Live);
    let types = [("a", MetricType::F64), ("b", MetricType::F32), ("c", MetricType::I64), ("d", MetricType::Bool)];
    let set = set_of(5, &types);
    device.declare(&set);
    let mut viewer = viewer(&server);
    viewer.subscribe(&everything(1, &["mixed"]));
    let (now, large) = (now_us(), (1_i64 << 53) + 1);
    let values = [Value::F64(f64::NAN), Value::F32(0.1), Value::I64(large), Value::Bool(true)];
    device.send(&sparse_report(&set, stream, 1, &[(now, values.map(Some).to_vec())]));
    viewer.until("four samples", |v| (v.samples.len() == 4).then_some(()));
    let value = |metric: &str| viewer.values("mixed", metric)[0].1;
    assert!(value("a").is_nan());
    assert_eq!((value("b"), value("c"), value("d")), (f64::from(0.1_f32), (1_i64 << 53) as f64, 1.0));
    assert_eq!(server.admin().history("mixed", "c"), [(now, large.into())], "the HTTP API has it exactly");
}

#[test]
fn sets_may_change_while_viewers_watch() {
    let server = Server::start();
    let mut device = server.device("pump");
    let (stream, set) = device.prepare();
    let mut viewer = viewer(&server);
    viewer.subscribe(&everything(1, &["pump"]));
    let now = now_us();
    device.send(&report(&set, stream, 1, &[(now, 1.0)]));
    // The same number means something else from here on; `temp` stays in its class.
    let changed = set_of(0, &[("new", MetricType::F64), ("temp", MetricType::I64)]);
    device.declare(&changed);
    device.send(&sparse_report(&changed, stream, 2, &[(now + 1, vec![Some(Value::F64(5.0)), Some(Value::I64(2))])]));
    device.declare(&metrics(1));
    device.send(&report(&metrics(1), stream, 3, &[(now + 2, 3.0)]));
    viewer.until("four samples", |v| (v.samples.len() == 4).then_some(()));
    assert_eq!(viewer.values("pump", "temp"), [(now, 1.0), (now + 1, 2.0), (now + 2, 3.0)]);
    assert_eq!(viewer.values("pump", "new"), [(now + 1, 5.0)]);
}
