//! Any frames at any time in both session machines: neither panics, and a closed one stays closed.
#![no_main]

use std::{sync::Arc, time::Duration};

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use pulsewire_proto::{
    RawFrame,
    auth::{Binding, Verifier},
    frame::TwinStatus,
    session::*,
};

#[derive(Debug, Arbitrary)]
struct Input<'a> {
    token: bool,
    steps: Vec<Step<'a>>,
}

#[derive(Debug, Arbitrary)]
struct Step<'a> {
    wait_ms: u16,
    message_type: u8,
    payload: &'a [u8],
    ack: Option<(u32, u64)>,
}

fuzz_target!(|input: Input<'_>| {
    let secret = [1; 32];
    let transport = Transport { binding: Binding::Plain, loopback: true };
    let mut server = ServerSession::new(Duration::ZERO, Arc::new(ServerConfig::default()), transport);
    let login = if input.token { DeviceLogin::Token("t".into()) } else { DeviceLogin::Secret(secret) };
    let config =
        DeviceConfig { device: "d".into(), login, firmware: String::new(), streams: vec![], binding: Binding::Plain };
    let mut device = DeviceSession::new(Duration::ZERO, config, [2; 32]).expect("a good configuration");
    let mut now = Duration::ZERO;
    exchange(now, &mut server, &mut device, &secret);
    for step in &input.steps {
        now += Duration::from_millis(u64::from(step.wait_ms));
        let mut bytes = vec![0xAB, 0xCD, 1, step.message_type];
        bytes.extend_from_slice(&(step.payload.len() as u32).to_be_bytes());
        bytes.extend_from_slice(step.payload);
        if let Ok(Some((frame, _))) = RawFrame::split(&bytes, server.frame_limit()) {
            if let Some(ServerEvent::Report(event)) = server.handle_frame(now, frame) {
                let _ = event.report.check(&event.set);
            }
            device.handle_frame(now, frame);
        }
        if let Some((stream, sequence)) = step.ack {
            server.ack(stream, sequence);
        }
        server.on_time(now);
        device.on_time(now);
        exchange(now, &mut server, &mut device, &secret);
        assert_eq!(server.is_closed(), server.next_deadline().is_none());
    }
});

/// Carries what both sides want to say, and plays the server's caller.
fn exchange(now: Duration, server: &mut ServerSession, device: &mut DeviceSession, secret: &[u8; 32]) {
    for _ in 0..8 {
        while let Some(output) = device.poll_output() {
            let Output::Send(bytes) = output else { continue };
            let mut rest = &bytes[..];
            while let Ok(Some((frame, later))) = RawFrame::split(rest, u32::MAX) {
                rest = later;
                let params =
                    WelcomeParams { session_epoch: 1, server_time_us: 0, streams: vec![], twin: TwinStatus::None };
                match server.handle_frame(now, frame) {
                    Some(ServerEvent::Authenticate(_)) => {
                        let current = Verifier::from_secret(secret);
                        server.credentials(Candidates { current, previous: None }, [3; 32], 0);
                    }
                    Some(ServerEvent::CheckToken(_)) => {
                        server.token_result(true);
                        server.welcome(now, params);
                    }
                    Some(ServerEvent::LoggedIn(_)) => server.welcome(now, params),
                    _ => {}
                }
            }
        }
        while let Some(output) = server.poll_output() {
            let Output::Send(bytes) = output else { continue };
            let mut rest = &bytes[..];
            while let Ok(Some((frame, later))) = RawFrame::split(rest, u32::MAX) {
                rest = later;
                device.handle_frame(now, frame);
            }
        }
    }
}
