//! What every message does in every state of both machines, as a table to read.

use std::{fmt::Write, sync::Arc, time::Duration};

use pulsewire_proto::{
    Message, MessageType, Metric, MetricSet, MetricType, RawFrame, ReportBuilder, Value,
    auth::{Binding, Verifier},
    frame::*,
    session::*,
};

const SECRET: [u8; 32] = [7; 32];
const NOW: Duration = Duration::from_secs(1);

fn set() -> MetricSet {
    MetricSet { set: 0, metrics: vec![Metric::new("t", "", MetricType::Bool)] }
}

fn frame(message: &Message<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    message.encode(&mut bytes);
    bytes
}

/// A well-formed frame of every type, and one of an unknown type.
fn frames() -> Vec<(&'static str, Vec<u8>)> {
    let set = set();
    let mut builder = ReportBuilder::dense(&set);
    builder.row(0, &[Value::Bool(true)]).expect("a row");
    let report = builder.report(1, 1).expect("a row");
    let mut batch = Vec::new();
    let columns = BatchColumns {
        subscription: 1,
        position: 1,
        previous: 0,
        base_us: 0,
        history: false,
        conflated: false,
        series: &[],
        offsets_us: &[],
        values: &[],
    };
    columns.encode_payload(&mut batch).expect("columns");
    let messages = [
        Message::Hello(Hello {
            device: "d".into(),
            version_min: 1,
            version_max: 1,
            nonce: [0; 32],
            login: Login::Proof,
            firmware: String::new(),
            streams: vec![],
            desired_version: 0,
        }),
        Message::Challenge(Challenge { nonce: [0; 32], server_time_us: 0, version: 1 }),
        Message::Proof(Proof { proof: [0; 32] }),
        Message::Welcome(Welcome {
            server_proof: [0; 32],
            session_epoch: 1,
            server_time_us: 0,
            heartbeat_interval_ms: 1000,
            frame_bytes_max: 4096,
            window_frames: 1,
            window_bytes: 1,
            streams: vec![],
            twin: TwinStatus::None,
        }),
        Message::Close(Close::new(pulsewire_proto::CloseCode::Normal, "")),
        Message::Ping(Ping { token: 1 }),
        Message::Pong(Pong { token: 1 }),
        Message::StreamOpen(StreamOpen { request: 1, kind: StreamKind::Live }),
        Message::StreamId(StreamId { request: 1, stream: 1 }),
        Message::MetricSet(set.clone()),
        Message::Telemetry(report),
        Message::Backfill(report),
        Message::Ack(Ack { stream: 1, sequence: 1 }),
        Message::Nack(Nack { stream: 1, sequence: 1, items: vec![], total: 1, text: String::new() }),
        Message::Skip(Skip { stream: 1, from: 1, to: 1, reason: SkipReason::Other, text: String::new() }),
        Message::Command(Command {
            id: [1; 16],
            name: "c".into(),
            arguments: vec![],
            deadline_us: 1,
            timeout_ms: 1,
            attempt: 1,
        }),
        Message::Delivered(Delivered { id: [1; 16] }),
        Message::Progress(Progress { id: [1; 16], percent: None, text: String::new() }),
        Message::Result(CommandResult {
            id: [1; 16],
            status: ResultStatus::Succeeded,
            code: String::new(),
            text: String::new(),
            values: vec![],
        }),
        Message::ResultAck(ResultAck { id: [1; 16] }),
        Message::Cancel(Cancel { id: [1; 16], text: String::new() }),
        Message::CommandSet(CommandSet { commands: vec![] }),
        Message::CommandState(CommandState { commands: vec![], position: 0, previous: 0 }),
        Message::Subscribe(Subscribe {
            subscription: 1,
            interval_ms: 100,
            aggregate: Aggregate::Last,
            ..Subscribe::default()
        }),
        Message::Batch(Batch::decode(&batch).expect("a batch")),
    ];
    let mut frames: Vec<_> = messages.iter().map(|message| (message.message_type().name(), frame(message))).collect();
    frames.push(("unknown 4F", vec![0xAB, 0xCD, 1, 0x4F, 0, 0, 0, 0]));
    frames.push(("damaged HELLO", vec![0xAB, 0xCD, 1, 1, 0, 0, 0, 0]));
    frames.push(("damaged METRIC_SET", vec![0xAB, 0xCD, 1, 0x10, 0, 0, 0, 0]));
    frames.push(("damaged COMMAND", vec![0xAB, 0xCD, 1, 0x20, 0, 0, 0, 0]));
    frames.push(("damaged RESULT", vec![0xAB, 0xCD, 1, 0x23, 0, 0, 0, 0]));
    frames.push(("damaged ACK", vec![0xAB, 0xCD, 1, 0x13, 0, 0, 0, 0]));
    frames
}

fn outputs(mut poll: impl FnMut() -> Option<Output>) -> String {
    let mut shown = String::new();
    while let Some(output) = poll() {
        match output {
            Output::Send(bytes) => {
                let mut rest = &bytes[..];
                while let Some((frame, later)) = RawFrame::split(rest, u32::MAX).expect("a frame") {
                    let name = MessageType::from_u8(frame.message_type()).map_or("?", MessageType::name);
                    write!(shown, " send {name}").expect("a string");
                    rest = later;
                }
            }
            Output::Closed(closed) => write!(shown, " closed {} by {:?}", closed.code, closed.by).expect("a string"),
        }
    }
    shown
}

#[derive(Debug, Clone, Copy)]
enum ServerState {
    AwaitHello,
    AwaitCredentials,
    AwaitProof,
    AwaitTokenResult,
    AwaitWelcome,
    Live,
    Closed,
}

fn hello(login: DeviceLogin) -> DeviceSession {
    let config =
        DeviceConfig { device: "d".into(), login, firmware: String::new(), streams: vec![], binding: Binding::Plain };
    DeviceSession::new(Duration::ZERO, config, [1; 32]).expect("a good configuration")
}

fn sent(output: Option<Output>) -> Vec<u8> {
    match output {
        Some(Output::Send(bytes)) => bytes,
        other => panic!("{other:?}"),
    }
}

fn raw(bytes: &[u8]) -> RawFrame<'_> {
    RawFrame::split(bytes, u32::MAX).expect("a header").expect("a frame").0
}

/// A server session in this state, and the device session that brought it there.
fn server_in(state: ServerState) -> (ServerSession, DeviceSession) {
    let transport = Transport { binding: Binding::Plain, loopback: true };
    let mut server = ServerSession::new(Duration::ZERO, Arc::new(ServerConfig::default()), transport);
    let token = matches!(state, ServerState::AwaitTokenResult);
    let login = if token { DeviceLogin::Token("t".into()) } else { DeviceLogin::Secret(SECRET) };
    let mut device = hello(login);
    if matches!(state, ServerState::AwaitHello) {
        return (server, device);
    }
    if matches!(state, ServerState::Closed) {
        server.close(pulsewire_proto::CloseCode::GoingAway, "");
        while server.poll_output().is_some() {}
        return (server, device);
    }
    server.handle_frame(NOW, raw(&sent(device.poll_output())));
    if matches!(state, ServerState::AwaitCredentials | ServerState::AwaitTokenResult) {
        return (server, device);
    }
    let current = Verifier::from_secret(&SECRET);
    server.credentials(Candidates { current, previous: None }, [2; 32], 0);
    let challenge = sent(server.poll_output());
    if matches!(state, ServerState::AwaitProof) {
        return (server, device);
    }
    device.handle_frame(NOW, raw(&challenge));
    server.handle_frame(NOW, raw(&sent(device.poll_output())));
    if matches!(state, ServerState::AwaitWelcome) {
        return (server, device);
    }
    let params = WelcomeParams { session_epoch: 1, server_time_us: 0, streams: vec![], twin: TwinStatus::None };
    server.welcome(NOW, params);
    device.handle_frame(NOW, raw(&sent(server.poll_output())));
    assert!(device.is_live());
    server.handle_frame(NOW, raw(&frame(&Message::MetricSet(set()))));
    (server, device)
}

fn event_name(event: &str) -> &str {
    event.split(['(', ' ']).next().unwrap_or("")
}

#[test]
fn server_state_table() {
    use ServerState::*;
    let mut table = String::new();
    for state in [AwaitHello, AwaitCredentials, AwaitProof, AwaitTokenResult, AwaitWelcome, Live, Closed] {
        writeln!(table, "{state:?}").expect("a string");
        for (name, bytes) in frames() {
            let (mut server, _) = server_in(state);
            let event = server.handle_frame(NOW, raw(&bytes)).map(|event| format!("{event:?}"));
            let event = event.map_or(String::new(), |event| format!(" event {}", event_name(&event)));
            writeln!(table, "  {name:<18} →{event}{}", outputs(|| server.poll_output())).expect("a string");
        }
        let (mut server, _) = server_in(state);
        let deadline = server.next_deadline();
        server.on_time(deadline.unwrap_or_default());
        writeln!(table, "  {:<18} →{}", format!("time {deadline:?}"), outputs(|| server.poll_output()))
            .expect("a string");
    }
    insta::assert_snapshot!(table);
}

#[derive(Debug, Clone, Copy)]
enum DeviceState {
    AwaitChallenge,
    AwaitWelcome,
    AwaitWelcomeByToken,
    Live,
    LivePinged,
    Closed,
}

fn device_in(state: DeviceState) -> DeviceSession {
    let mut device = match state {
        DeviceState::AwaitChallenge => hello(DeviceLogin::Secret(SECRET)),
        DeviceState::AwaitWelcome => server_in(ServerState::AwaitWelcome).1,
        DeviceState::AwaitWelcomeByToken => hello(DeviceLogin::Token("t".into())),
        DeviceState::Live => server_in(ServerState::Live).1,
        DeviceState::LivePinged => {
            let mut device = server_in(ServerState::Live).1;
            device.on_time(device.next_deadline().expect("a deadline"));
            device
        }
        DeviceState::Closed => {
            let mut device = server_in(ServerState::Live).1;
            device.close("");
            device
        }
    };
    while device.poll_output().is_some() {}
    device
}

#[test]
fn device_state_table() {
    use DeviceState::*;
    let mut table = String::new();
    for state in [AwaitChallenge, AwaitWelcome, AwaitWelcomeByToken, Live, LivePinged, Closed] {
        writeln!(table, "{state:?}").expect("a string");
        for (name, bytes) in frames() {
            let mut device = device_in(state);
            let event = device.handle_frame(NOW, raw(&bytes)).map(|event| format!("{event:?}"));
            let event = event.map_or(String::new(), |event| format!(" event {}", event_name(&event)));
            writeln!(table, "  {name:<18} →{event}{}", outputs(|| device.poll_output())).expect("a string");
        }
        let mut device = device_in(state);
        let deadline = device.next_deadline();
        device.on_time(deadline.unwrap_or_default());
        writeln!(table, "  {:<18} →{}", format!("time {deadline:?}"), outputs(|| device.poll_output()))
            .expect("a string");
    }
    insta::assert_snapshot!(table);
}
