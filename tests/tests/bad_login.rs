//! Logins that are refused, and connections that never get so far.

use pulsewire_proto::frame::{Close, Login};
use pulsewire_proto::{CloseCode, Message};
use pulsewire_tests::device::{Device, hello};
use pulsewire_tests::wire::{Transport, Wire, closed_metric};
use pulsewire_tests::{Server, until};
use serde_json::json;

/// What every refused login is told, whatever was wrong with it.
const WORDS: &str = "device id or secret is not accepted";
const WRONG: [u8; 32] = [0x55; 32];

fn refused(server: &Server, transport: Transport, id: &str, secret: &[u8; 32]) -> Close {
    match Device::try_login(Wire::connect(server.device, transport), id, secret, &[]) {
        Ok(_) => panic!("{id} was let in"),
        Err((_, close)) => close,
    }
}

#[test]
fn a_wrong_secret_closes_with_4003() {
    let server = Server::start();
    server.create_device("pump");
    let close = refused(&server, Transport::Tcp, "pump", &WRONG);
    server.assert_closed(&close, CloseCode::BadCredentials, WORDS);
}

#[test]
fn an_unknown_device_closes_with_4003() {
    let server = Server::start();
    let close = refused(&server, Transport::WebSocket, "nobody", &WRONG);
    server.assert_closed(&close, CloseCode::BadCredentials, WORDS);
}

#[test]
fn a_disabled_device_closes_with_4003_until_it_is_enabled_again() {
    let server = Server::start();
    let secret = server.create_device("pump");
    let path = "/api/v1/devices/pump";
    server.admin().patch(path, &json!({"enabled": false})).expect(200);
    let close = refused(&server, Transport::Tcp, "pump", &secret);
    server.assert_closed(&close, CloseCode::BadCredentials, WORDS);
    server.admin().patch(path, &json!({"enabled": true})).expect(200);
    Device::login(server.device, "pump", &secret);
}

#[test]
fn unknown_and_disabled_devices_and_wrong_secrets_are_told_the_same() {
    let server = Server::start();
    server.create_device("enabled");
    let secret = server.create_device("disabled");
    server.admin().patch("/api/v1/devices/disabled", &json!({"enabled": false})).expect(200);
    for transport in [Transport::Tcp, Transport::WebSocket] {
        let wrong = refused(&server, transport, "enabled", &WRONG);
        assert_eq!(wrong, refused(&server, transport, "nobody", &WRONG));
        assert_eq!(wrong, refused(&server, transport, "disabled", &secret));
    }
    server.expect_metric(&closed_metric(CloseCode::BadCredentials), 6.0);
    // Only the operator learns which it was.
    let log = server.log();
    assert!(log.contains("there is no such device") && log.contains("the device is disabled"), "{log}");
    assert!(!log.contains(&"55".repeat(32)), "secrets stay out of the log");
}

#[test]
fn a_wrong_token_closes_with_4003() {
    let server = Server::start();
    server.create_device("pump");
    let close = Device::login_with_token(server.device, "pump", "pwd_wrong").err().expect("refused");
    server.assert_closed(&close, CloseCode::BadCredentials, WORDS);
}

#[test]
fn a_device_id_outside_the_alphabet_closes_with_4007() {
    let server = Server::start();
    let close = refused(&server, Transport::Tcp, "pump 7", &WRONG);
    server.assert_closed(&close, CloseCode::Malformed, "HELLO.device");
}

#[test]
fn a_login_that_stops_half_way_closes_with_4001() {
    let server = Server::with("device.login_timeout", "300ms");
    let mut wire = Wire::connect(server.device, Transport::Tcp);
    wire.send_message(&hello("pump", Login::Proof, &[]));
    let close = wire.expect_close();
    server.assert_closed(&close, CloseCode::LoginTimeout, "within 300 ms");
}

#[test]
fn a_connection_that_says_nothing_closes_with_4001() {
    let server = Server::with("device.login_timeout", "300ms");
    let close = Wire::connect(server.device, Transport::Tcp).expect_close();
    server.assert_closed(&close, CloseCode::LoginTimeout, "within 300ms");
}

#[test]
fn a_websocket_that_says_nothing_closes_with_4001() {
    let server = Server::with("device.login_timeout", "300ms");
    let close = Wire::connect(server.device, Transport::WebSocket).expect_close();
    server.assert_closed(&close, CloseCode::LoginTimeout, "within 300 ms");
}

#[test]
fn a_websocket_with_an_origin_is_refused_with_403() {
    let server = Server::start();
    let headers = [("origin", "http://evil.example")];
    let (status, text) = Wire::upgrade(server.device, "/device", &headers).err().expect("refused");
    assert_eq!(status, 403);
    assert!(text.contains("Origin"), "{text:?}");
    server.expect_metric("pulsewire_device_upgrades_refused_total", 1.0);
    server.assert_serves();
}

#[test]
fn a_websocket_on_another_path_is_refused_with_404() {
    let server = Server::start();
    let (status, text) = Wire::upgrade(server.device, "/live", &[]).err().expect("refused");
    assert_eq!(status, 404);
    assert!(text.contains("/device"), "{text:?}");
    server.expect_metric("pulsewire_device_upgrades_refused_total", 1.0);
    server.assert_serves();
}

#[test]
fn plaintext_on_every_address_closes_with_4016() {
    let server = Server::options().device_listen("0.0.0.0:0").start();
    let secret = server.create_device("pump");
    let close = refused(&server, Transport::Tcp, "pump", &secret);
    server.assert_close_text(&close, CloseCode::PlaintextRefused, "TLS only");
    server.expect_metric(&closed_metric(CloseCode::PlaintextRefused), 1.0);
    // Nobody can log in here without TLS; the server goes on all the same.
    server.admin().get("/api/v1/overview").expect(200);
    assert_eq!(refused(&server, Transport::WebSocket, "pump", &secret).code, 4016);
}

#[test]
fn allowed_plaintext_takes_the_proof_but_never_a_token() {
    let server = Server::options().device_listen("0.0.0.0:0").set("device.allow_plaintext", true).start();
    server.create_device("pump");
    let token = server.admin().post("/api/v1/devices/pump/token", &json!({})).expect(201);
    let token = token["token"].as_str().expect("a token");
    let close = Device::login_with_token(server.device, "pump", token).err().expect("refused");
    server.assert_closed(&close, CloseCode::PlaintextRefused, "token");
}

#[test]
fn too_many_connections_of_an_address_close_with_4014() {
    let server = Server::with("device.connections_per_address_max", 3);
    let held: Vec<_> = (0..3).map(|i| server.device(&format!("held-{i}"))).collect();
    let mut wire = Wire::connect(server.device, Transport::Tcp);
    // As a device does: it speaks before it reads.
    wire.send_message(&hello("one-more", Login::Proof, &[]));
    let close = wire.expect_close();
    server.assert_close_text(&close, CloseCode::TooManyConnections, "connections_per_address_max");
    assert!(close.retry_after_ms > 0);
    server.expect_metric(&closed_metric(CloseCode::TooManyConnections), 1.0);

    // A place that is given back is taken by the next.
    drop((held, wire));
    let secret = server.create_device("next");
    until("a place is free", || {
        Device::try_login(Wire::connect(server.device, Transport::Tcp), "next", &secret, &[]).ok()
    });
    server.assert_serves();
}

#[test]
fn too_many_connections_in_all_answer_a_websocket_with_503() {
    let server = Server::with("device.connections_max", 1);
    let held = server.device("held");
    let (status, text) = Wire::upgrade(server.device, "/device", &[]).err().expect("refused");
    assert_eq!(status, 503);
    assert!(text.contains("as many device connections as it may"), "{text:?}");
    server.expect_metric(&closed_metric(CloseCode::TooManyConnections), 1.0);
    drop(held);
    let secret = server.create_device("next");
    until("the place is free", || {
        Device::try_login(Wire::connect(server.device, Transport::Tcp), "next", &secret, &[]).ok()
    });
}

#[test]
fn close_before_login_ends_the_connection_quietly() {
    let server = Server::start();
    let mut wire = Wire::connect(server.device, Transport::Tcp);
    wire.send_message(&Message::Close(Close::new(CloseCode::Normal, "never mind")));
    assert_eq!(wire.receive(), pulsewire_tests::wire::Incoming::End(None));
    server.assert_serves();
}
