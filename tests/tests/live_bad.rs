//! Viewers that break the rules, or whose time is over.

use pulsewire_proto::frame::{Close, Login, RefusedCode, Subscribe, Unsubscribe};
use pulsewire_proto::{CloseCode, Message, MessageType};
use pulsewire_tests::device::{hello, now_us, report};
use pulsewire_tests::wire::{header, raw_frame};
use pulsewire_tests::{Server, Viewer, everything};
use serde_json::json;

fn viewer(server: &Server) -> Viewer {
    Viewer::connect(server.http, server.admin().token())
}

/// A viewer does something wrong and is closed for it; others are not.
fn check(act: impl FnOnce(&mut Viewer), code: CloseCode, fragment: &str) {
    let server = Server::start();
    let mut good = viewer(&server);
    let mut bad = viewer(&server);
    act(&mut bad);
    let close = bad.expect_close();
    server.assert_closed(&close, code, fragment);
    good.subscribe(&everything(1, &[]));
    server.expect_metric("pulsewire_live_viewers", 1.0);
}

fn send(bytes: Vec<u8>) -> impl FnOnce(&mut Viewer) {
    move |viewer| viewer.wire.send(&bytes)
}

#[test]
fn a_text_message_closes_with_1003() {
    check(|v| v.wire.send_text("{\"subscribe\": true}"), CloseCode::TextMessage, "binary messages");
}

#[test]
fn a_frame_cut_at_the_end_of_its_message_closes_with_4007() {
    let whole = raw_frame(MessageType::Unsubscribe, &[1]);
    check(send(whole[..8].to_vec()), CloseCode::Malformed, "WebSocket message");
}

#[test]
fn a_wrong_magic_closes_with_4005() {
    check(send(b"not a frame".to_vec()), CloseCode::BadMagic, "AB CD");
}

#[test]
fn an_unknown_version_closes_with_4004() {
    check(send(header([0xAB, 0xCD], 2, 0x81, 0)), CloseCode::UnsupportedVersion, "version 1");
}

#[test]
fn a_payload_above_64_kib_closes_with_4006() {
    let bytes = header([0xAB, 0xCD], 1, MessageType::Subscribe as u8, (64 << 10) + 1);
    check(send(bytes), CloseCode::FrameTooLarge, "at most 65536 bytes");
}

#[test]
fn a_message_above_every_limit_closes_with_4006() {
    check(send(raw_frame(MessageType::Subscribe, &[0; 200 << 10])), CloseCode::FrameTooLarge, "at most 65536 bytes");
}

#[test]
fn a_payload_that_ends_inside_a_field_closes_with_4007_and_names_it() {
    check(send(raw_frame(MessageType::Subscribe, &[1, 1, 9, b'x'])), CloseCode::Malformed, "SUBSCRIBE.devices");
}

#[test]
fn a_message_for_devices_closes_with_4007() {
    check(
        |v| v.wire.send_message(&hello("pump", Login::Proof, &[])),
        CloseCode::Malformed,
        "HELLO is not for a viewer",
    );
}

#[test]
fn silence_for_four_intervals_closes_with_4008() {
    let server = Server::with("live.heartbeat_interval", "150ms");
    let mut viewer = viewer(&server);
    assert_eq!(viewer.welcome.heartbeat_interval_ms, 150);
    // Its heartbeats are not answered here: frames are read past the viewer.
    let close = viewer.wire.expect_close();
    server.assert_closed(&close, CloseCode::HeartbeatMissed, "four intervals");
}

#[test]
fn answered_heartbeats_keep_a_viewer_open() {
    let server = Server::with("live.heartbeat_interval", "150ms");
    let mut viewer = viewer(&server);
    // Longer than four intervals in all.
    let mut heartbeats = 0;
    while heartbeats < 8 {
        viewer.read().expect("it stays open");
        heartbeats += 1;
    }
    viewer.subscribe(&everything(1, &[]));
}

#[test]
fn a_viewer_of_a_busy_device_is_asked_for_a_sign_of_life_too() {
    let server = Server::with("live.heartbeat_interval", "150ms");
    let mut device = server.device("busy");
    let (stream, set) = device.prepare();
    let mut viewer = viewer(&server);
    viewer.subscribe(&everything(1, &["busy"]));
    // Batches flow for longer than four intervals, so that the server never falls silent.
    let (start, mut sequence) = (std::time::Instant::now(), 0);
    while start.elapsed() < std::time::Duration::from_millis(1500) {
        sequence += 1;
        let time_us = now_us();
        device.send(&report(&set, stream, sequence, &[(time_us, 1.0)]));
        viewer.until("the sample", |v| (v.samples.last()?.time_us == time_us).then_some(()));
    }
    assert!(sequence > 10, "only {sequence} batches");
    server.assert_serves();
}

#[test]
fn signing_out_closes_the_live_sockets_of_that_sign_in_with_4017() {
    let server = Server::with("live.heartbeat_interval", "300ms");
    let other = server.admin().create_user("ada", "viewer");
    let mut revoked = Viewer::connect(server.http, other.token());
    let mut kept = viewer(&server);
    assert_eq!(other.delete("/api/v1/session").status, 204);
    let close = revoked.expect_close();
    server.assert_closed(&close, CloseCode::Revoked, "sign in again");
    kept.subscribe(&everything(1, &[]));
}

#[test]
fn deleting_a_user_closes_their_live_sockets_with_4017() {
    let server = Server::with("live.heartbeat_interval", "300ms");
    let ada = server.admin().create_user("ada", "viewer");
    let mut revoked = Viewer::connect(server.http, ada.token());
    assert_eq!(server.admin().delete("/api/v1/users/ada").status, 204);
    let close = revoked.expect_close();
    server.assert_closed(&close, CloseCode::Revoked, "sign in again");
}

#[test]
fn a_new_password_closes_the_live_sockets_of_older_sign_ins_with_4017() {
    let server = Server::with("live.heartbeat_interval", "300ms");
    let ada = server.admin().create_user("ada", "viewer");
    let mut revoked = Viewer::connect(server.http, ada.token());
    server.admin().patch("/api/v1/users/ada", &json!({"password": "another password"})).expect(200);
    let close = revoked.expect_close();
    server.assert_closed(&close, CloseCode::Revoked, "sign in again");
}

#[test]
fn a_stopping_server_closes_viewers_with_1001() {
    let mut server = Server::start();
    let mut viewer = viewer(&server);
    viewer.subscribe(&everything(1, &[]));
    server.signal("TERM");
    let close = viewer.expect_close();
    server.assert_close_text(&close, CloseCode::GoingAway, "reconnect");
    drop(viewer);
    assert!(server.wait_for_end(), "exit status 0");
}

#[test]
fn a_viewer_that_says_close_is_answered() {
    let server = Server::start();
    let mut viewer = viewer(&server);
    viewer.wire.send_message(&Message::Close(Close::new(CloseCode::Normal, "done")));
    assert_eq!(viewer.expect_close().code, 1000);
    server.expect_metric("pulsewire_live_viewers", 0.0);
}

#[test]
fn subscriptions_that_cannot_be_are_refused_and_the_socket_stays_open() {
    let server = Server::options().set("live.subscriptions_max", 2).set("live.series_max", 1).start();
    server.assert_serves(); // a device with two series
    let mut viewer = viewer(&server);
    let mut refused = |wish: &Subscribe| {
        viewer.ask(wish);
        viewer.until("REFUSED", |v| v.refused.last().cloned());
        viewer.refused.pop().expect("refused")
    };
    let check = |refused: pulsewire_proto::frame::Refused, number: u32, code: RefusedCode, fragment: &str| {
        assert_eq!((refused.subscription, refused.code), (number, code as u16), "{}", refused.text);
        assert!(refused.text.contains(fragment), "{:?} does not say {fragment:?}", refused.text);
    };
    check(refused(&everything(1, &["probe-0"])), 1, RefusedCode::TooManySeries, "may have 1");
    check(refused(&everything(1, &["no such id"])), 1, RefusedCode::Invalid, "SUBSCRIBE.devices");
    let long = Subscribe { interval_ms: 60_001, ..everything(1, &[]) };
    check(refused(&long), 1, RefusedCode::Invalid, "at most 60,000 ms");
    let old = Subscribe { history_ms: 86_400_001, ..everything(1, &[]) };
    check(refused(&old), 1, RefusedCode::Invalid, "at most 86,400,000 ms");
    let names: Vec<String> = (0..1025).map(|i| format!("d{i}")).collect();
    let many = Subscribe { devices: names, ..everything(1, &[]) };
    check(refused(&many), 1, RefusedCode::Invalid, "at most 1,024 devices");

    viewer.subscribe(&everything(1, &["nobody"]));
    viewer.subscribe(&everything(2, &["nobody"]));
    let mut refused = |wish: &Subscribe| {
        viewer.ask(wish);
        viewer.until("REFUSED", |v| v.refused.last().cloned());
        viewer.refused.pop().expect("refused")
    };
    check(refused(&everything(2, &["nobody"])), 2, RefusedCode::InUse, "in use");
    check(refused(&everything(3, &["nobody"])), 3, RefusedCode::TooManySubscriptions, "2 subscriptions");
    server.assert_serves();
}

#[test]
fn a_user_with_many_pages_has_no_more_subscriptions_than_allowed_in_all() {
    let server = Server::options().set("live.subscriptions_per_user_max", 3).start();
    let admin = server.admin();
    let connect = |token: &str| Viewer::connect(server.http, token);
    let (mut one, mut other) = (connect(admin.token()), connect(admin.token()));
    one.subscribe(&everything(1, &["nobody"]));
    one.subscribe(&everything(2, &["nobody"]));
    other.subscribe(&everything(1, &["nobody"]));
    other.ask(&everything(2, &["nobody"]));
    other.until("REFUSED", |v| v.refused.last().cloned());
    let refused = other.refused.pop().expect("refused");
    assert_eq!((refused.subscription, refused.code), (2, RefusedCode::TooManySubscriptions as u16), "{refused:?}");
    assert!(refused.text.contains("3 subscriptions in all"), "{refused:?}");
    let mut ada = connect(server.admin().create_user("ada", "viewer").token());
    ada.subscribe(&everything(1, &["nobody"]));
    // One that ends makes room, and so do those of a page that is closed.
    one.wire.send_message(&Message::Unsubscribe(Unsubscribe { subscription: 1 }));
    let mut room = |number: u32| {
        pulsewire_tests::until("there is room", || {
            other.refused.clear();
            other.ask(&everything(number, &["nobody"]));
            other.until("an answer", |v| (v.snapshots.contains_key(&number) || !v.refused.is_empty()).then_some(()));
            other.refused.is_empty().then_some(())
        });
    };
    room(3);
    drop(one);
    room(4);
}

#[test]
fn viewers_above_the_limits_are_refused_until_one_leaves() {
    let server = Server::options().set("live.viewers_max", 2).set("live.viewers_per_user_max", 1).start();
    let admin = format!("Bearer {}", server.admin().token());
    let try_connect = |bearer: &str| Viewer::try_connect(server.http, &[("authorization", bearer)]);
    let held = try_connect(&admin).expect("the first");
    let (status, text) = try_connect(&admin).err().expect("refused");
    assert_eq!(status, 429, "{text}");
    let ada = format!("Bearer {}", server.admin().create_user("ada", "viewer").token());
    let bob = format!("Bearer {}", server.admin().create_user("bob", "viewer").token());
    let _second = try_connect(&ada).expect("another user");
    let (status, text) = try_connect(&bob).err().expect("refused");
    assert_eq!(status, 503, "{text}");
    server.expect_metric("pulsewire_http_problems_total{code=\"rate_limited\"}", 1.0);
    server.expect_metric("pulsewire_http_problems_total{code=\"unavailable\"}", 1.0);
    drop(held);
    pulsewire_tests::until("a place is free", || try_connect(&bob).ok());
}
