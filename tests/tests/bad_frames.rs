//! Bytes that are no frames, or frames that do not belong: each costs one connection, with a code and a readable reason.

use pulsewire_proto::frame::Login;
use pulsewire_proto::{CloseCode, MessageType};
use pulsewire_tests::device::{Device, hello, now_us, report};
use pulsewire_tests::wire::{Transport, Wire, frame_of, header, raw_frame};
use pulsewire_tests::{METRICS, Server, metrics, until};

const MAGIC: [u8; 2] = [0xAB, 0xCD];
const HELLO: u8 = MessageType::Hello as u8;
const TELEMETRY: u8 = MessageType::Telemetry as u8;
const BOTH: [Transport; 2] = [Transport::Tcp, Transport::WebSocket];

/// Sends bytes on a fresh connection and checks what the server says to them.
fn check(transport: Transport, bytes: &[u8], code: CloseCode, fragment: &str) {
    let server = Server::start();
    let mut wire = Wire::connect(server.device, transport);
    wire.send(bytes);
    let close = wire.expect_close();
    server.assert_closed(&close, code, fragment);
}

/// The same after a login.
fn check_logged_in(transport: Transport, bytes: &[u8], code: CloseCode, fragment: &str) {
    let server = Server::start();
    let secret = server.create_device("bad");
    let mut device = Device::login_over(transport, server.device, "bad", &secret, &[]);
    device.send(bytes);
    let close = device.expect_close();
    server.assert_closed(&close, code, fragment);
}

#[test]
fn bytes_of_another_protocol_close_with_4005() {
    check(Transport::Tcp, b"POST / HTTP/1.1\r\n\r\n", CloseCode::BadMagic, "frames that begin with AB CD");
}

#[test]
fn a_second_frame_with_a_wrong_magic_closes_with_4005() {
    for transport in BOTH {
        check_logged_in(transport, &header([0xAB, 0xCE], 1, TELEMETRY, 0), CloseCode::BadMagic, "AB CE");
    }
}

#[test]
fn a_websocket_message_with_a_wrong_magic_closes_with_4005() {
    check(Transport::WebSocket, b"{\"hello\": 1}", CloseCode::BadMagic, "begins with AB CD");
}

#[test]
fn tls_without_a_certificate_closes_with_4005() {
    check(Transport::Tcp, b"\x16\x03\x01\x00\x05hello", CloseCode::BadMagic, "TLS is not configured");
}

#[test]
fn an_unknown_frame_version_closes_with_4004() {
    for transport in BOTH {
        check(transport, &header(MAGIC, 2, HELLO, 0), CloseCode::UnsupportedVersion, "speaks version 1");
    }
}

#[test]
fn a_hello_without_a_common_version_closes_with_4004() {
    let pulsewire_proto::Message::Hello(mut newer) = hello("future", Login::Proof, &[]) else { unreachable!() };
    (newer.version_min, newer.version_max) = (2, 9);
    let bytes = frame_of(&pulsewire_proto::Message::Hello(newer));
    check(Transport::Tcp, &bytes, CloseCode::UnsupportedVersion, "version 1");
}

#[test]
fn a_payload_above_4_kib_before_login_closes_with_4006() {
    for transport in BOTH {
        // The header alone decides.
        check(transport, &header(MAGIC, 1, HELLO, 4097), CloseCode::FrameTooLarge, "at most 4096 bytes");
    }
}

#[test]
fn a_payload_above_the_limit_after_login_closes_with_4006() {
    for transport in BOTH {
        let bytes = header(MAGIC, 1, TELEMETRY, (1 << 20) + 1);
        check_logged_in(transport, &bytes, CloseCode::FrameTooLarge, "at most 1048576 bytes");
    }
}

#[test]
fn a_websocket_message_above_every_limit_closes_with_4006() {
    // Window, one frame and the headers of a window: 64 + 64 + 8 KiB.
    let server = Server::options().set("device.window_bytes", "64KiB").set("device.frame_bytes_max", "64KiB").start();
    let secret = server.create_device("bad");
    let mut device = Device::login_over(Transport::WebSocket, server.device, "bad", &secret, &[]);
    let small = raw_frame(MessageType::Ping, &[1]);
    device.send(&small.repeat((200 << 10) / small.len()));
    let close = device.expect_close();
    server.assert_closed(&close, CloseCode::FrameTooLarge, "");
}

#[test]
fn much_before_login_on_a_websocket_closes_with_4006() {
    let bytes = vec![0xAB; 100 << 10];
    check(Transport::WebSocket, &bytes, CloseCode::FrameTooLarge, "before login");
}

#[test]
fn a_connection_cut_inside_a_frame_loses_nothing_else() {
    let server = Server::start();
    let secret = server.create_device("cut");
    let mut device = Device::login(server.device, "cut", &secret);
    let (stream, set) = device.prepare();
    let time_us = now_us();
    let second = report(&set, stream, 2, &[(time_us + 1, 2.0)]);
    let mut bytes = report(&set, stream, 1, &[(time_us, 1.0)]);
    bytes.extend_from_slice(&second[..second.len() - 3]);
    device.send(&bytes);
    drop(device);

    // The whole report was stored, the cut one was not; the device goes on from there.
    let mut device = until("the whole report is stored", || {
        let device = Device::login_over(Transport::Tcp, server.device, "cut", &secret, &[stream]);
        (device.welcome.streams.first()?.sequence == 1).then_some(device)
    });
    device.declare(&set);
    device.send(&second);
    assert_eq!(device.expect_ack(stream, 2), []);
    let history = server.admin().history("cut", METRICS[0]);
    assert_eq!(history, [(time_us, 1.0.into()), (time_us + 1, 2.0.into())]);
    server.assert_serves();
}

#[test]
fn a_frame_cut_at_the_end_of_its_websocket_message_closes_with_4007() {
    let set = metrics(0);
    let whole = frame_of(&pulsewire_proto::Message::MetricSet(set));
    check_logged_in(Transport::WebSocket, &whole[..whole.len() - 1], CloseCode::Malformed, "WebSocket message");
}

#[test]
fn a_text_message_closes_with_1003() {
    let server = Server::start();
    let mut wire = Wire::connect(server.device, Transport::WebSocket);
    wire.send_text("{\"device\": \"pump-7\"}");
    let close = wire.expect_close();
    server.assert_closed(&close, CloseCode::TextMessage, "binary messages");
}

#[test]
fn a_message_before_login_closes_with_4002() {
    for transport in BOTH {
        let bytes = report(&metrics(0), 1, 1, &[(now_us(), 1.0)]);
        check(transport, &bytes, CloseCode::LoginFirst, "HELLO comes first");
    }
}

#[test]
fn an_unknown_type_before_login_closes_with_4002() {
    check(Transport::Tcp, &header(MAGIC, 1, 0x7F, 0), CloseCode::LoginFirst, "HELLO comes first");
}

#[test]
fn an_unknown_type_after_login_is_skipped_and_counted() {
    let server = Server::start();
    let mut device = server.device("odd");
    let (stream, set) = device.prepare();
    device.send(&[header(MAGIC, 1, 0x7F, 3), b"new".to_vec()].concat());
    device.send(&report(&set, stream, 1, &[(now_us(), 1.0)]));
    assert_eq!(device.expect_ack(stream, 1), []);
    server.expect_metric("pulsewire_frames_unknown_total", 1.0);
}

#[test]
fn a_message_that_only_servers_send_closes_with_4007() {
    let ack = raw_frame(MessageType::Ack, &[1, 1]);
    check_logged_in(Transport::Tcp, &ack, CloseCode::Malformed, "ACK is not a message that a device sends");
}

#[test]
fn a_payload_that_ends_inside_a_field_closes_with_4007_and_names_it() {
    check(Transport::Tcp, &raw_frame(MessageType::Hello, &[200, b'x']), CloseCode::Malformed, "HELLO.device");
}

#[test]
fn a_list_longer_than_its_payload_closes_with_4007_without_taking_memory() {
    // METRIC_SET with 2³² − 1 metrics announced.
    let bytes = raw_frame(MessageType::MetricSet, &[0, 0xFC, 0xFF, 0xFF, 0xFF, 0xFF]);
    let server = Server::start();
    let mut device = server.device("bad");
    server.assert_serves();
    let before = server.rss_bytes();
    device.send(&bytes);
    let close = device.expect_close();
    server.assert_closed(&close, CloseCode::Malformed, "METRIC_SET.metrics");
    let grown = server.rss_bytes().saturating_sub(before);
    assert!(grown < 16 << 20, "resident memory grew by {grown} bytes");
}

#[test]
fn a_session_that_declares_too_many_metrics_closes_with_4021() {
    let set = |number: u8| {
        let metric = |n| pulsewire_proto::Metric::new(format!("m{n}"), "", pulsewire_proto::MetricType::F64);
        let metrics = (0..1000).map(metric).collect();
        frame_of(&pulsewire_proto::Message::MetricSet(pulsewire_proto::MetricSet { set: number, metrics }))
    };
    let bytes: Vec<u8> = (0..9).flat_map(set).collect();
    check_logged_in(Transport::Tcp, &bytes, CloseCode::TooManyDeclared, "8192 metrics");
}

#[test]
fn a_session_that_opens_too_many_streams_closes_with_4021() {
    let open = |request| {
        let kind = pulsewire_proto::frame::StreamKind::Live;
        frame_of(&pulsewire_proto::Message::StreamOpen(pulsewire_proto::frame::StreamOpen { request, kind }))
    };
    let bytes: Vec<u8> = (0..300).flat_map(open).collect();
    check_logged_in(Transport::Tcp, &bytes, CloseCode::TooManyDeclared, "256 streams");
}
