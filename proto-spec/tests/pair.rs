//! Both sides of a session against each other, in one thread and under virtual time.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use pulsewire_proto::{
    CloseCode, FrameReader, Metric, MetricSet, MetricType, Report, ReportBuilder, Value,
    auth::{Binding, Verifier},
    frame::*,
    session::*,
};

const SECRET: [u8; 32] = [7; 32];
const OLD_SECRET: [u8; 32] = [6; 32];
const WRONG_SECRET: [u8; 32] = [8; 32];

/// Two sessions and the bytes between them. The server is asked, as its caller would be, by `answer`.
struct Pair {
    now: Duration,
    device: DeviceSession,
    server: ServerSession,
    device_reader: FrameReader,
    server_reader: FrameReader,
    server_secrets: (Option<[u8; 32]>, Option<[u8; 32]>),
    token: &'static str,
    acknowledge: bool,
    next_stream: u32,
    device_events: Vec<DeviceEvent>,
    reports: Vec<(u32, u64, bool, u64)>,
    command_events: Vec<String>,
    logged_in_by: Option<Candidate>,
    device_closed: Option<Closed>,
    server_closed: Option<Closed>,
    /// Bytes of either direction are lost while this is set.
    cut: bool,
}

struct Setup {
    login: DeviceLogin,
    config: ServerConfig,
    device_binding: Binding,
    server_transport: Transport,
    streams: Vec<u32>,
}

impl Default for Setup {
    fn default() -> Self {
        Setup {
            login: DeviceLogin::Secret(SECRET),
            config: ServerConfig::default(),
            device_binding: Binding::Plain,
            server_transport: Transport { binding: Binding::Plain, loopback: true },
            streams: vec![],
        }
    }
}

impl Pair {
    fn new(setup: Setup) -> Pair {
        let config = DeviceConfig {
            device: "pump-7".into(),
            login: setup.login,
            firmware: "1.4".into(),
            streams: setup.streams,
            binding: setup.device_binding,
        };
        let device = DeviceSession::new(Duration::ZERO, config, [1; 32]).expect("a good configuration");
        let server = ServerSession::new(Duration::ZERO, Arc::new(setup.config), setup.server_transport);
        Pair {
            now: Duration::ZERO,
            device_reader: FrameReader::new(device.frame_limit()),
            server_reader: FrameReader::new(server.frame_limit()),
            device,
            server,
            server_secrets: (Some(SECRET), None),
            token: "sesame",
            acknowledge: true,
            next_stream: 1,
            device_events: vec![],
            reports: vec![],
            command_events: vec![],
            logged_in_by: None,
            device_closed: None,
            server_closed: None,
            cut: false,
        }
    }

    fn logged_in() -> Pair {
        let mut pair = Pair::new(Setup::default());
        pair.settle();
        assert!(pair.device.is_live() && pair.server.is_live());
        pair
    }

    /// Carries bytes to and fro until both sides rest.
    fn settle(&mut self) {
        loop {
            let up = drain(&mut || self.device.poll_output(), &mut self.device_closed);
            let down = drain(&mut || self.server.poll_output(), &mut self.server_closed);
            if up.is_empty() && down.is_empty() {
                return;
            }
            if !self.cut {
                self.deliver_to_server(&up);
                self.deliver_to_device(&down);
            }
        }
    }

    fn deliver_to_server(&mut self, bytes: &[u8]) {
        let mut input = bytes;
        loop {
            self.server_reader.set_limit(self.server.frame_limit());
            let event = match self.server_reader.next_frame(&mut input) {
                Ok(Some(frame)) => match self.server.handle_frame(self.now, frame) {
                    Some(ServerEvent::Report(event)) => {
                        let samples = event.report.check(&event.set).expect("a sound report");
                        let Report { stream, sequence, .. } = event.report;
                        self.reports.push((stream, sequence, event.backfill, samples));
                        if self.acknowledge {
                            self.server.ack(stream, sequence);
                        }
                        None
                    }
                    // Nothing else borrows the frame.
                    Some(ServerEvent::Authenticate(hello)) => Some(ServerEvent::Authenticate(hello)),
                    Some(ServerEvent::CheckToken(hello)) => Some(ServerEvent::CheckToken(hello)),
                    Some(ServerEvent::LoggedIn(candidate)) => Some(ServerEvent::LoggedIn(candidate)),
                    Some(ServerEvent::StreamOpen(open)) => Some(ServerEvent::StreamOpen(open)),
                    Some(ServerEvent::Skip(skip)) => Some(ServerEvent::Skip(skip)),
                    Some(ServerEvent::Delivered(delivered)) => {
                        self.command_events.push(format!("delivered {}", delivered.id[15]));
                        None
                    }
                    Some(ServerEvent::Progress(progress)) => {
                        self.command_events.push(format!("progress {:?}", progress.percent));
                        None
                    }
                    Some(ServerEvent::Result(result)) => {
                        self.command_events.push(format!("result {:?}", result.status));
                        self.server.result_ack(result.id);
                        None
                    }
                    Some(ServerEvent::CommandSet(set)) => {
                        self.command_events.push(format!("{} commands", set.commands.len()));
                        None
                    }
                    Some(ServerEvent::MetricSet(_) | ServerEvent::ProofRejected) | None => None,
                },
                Ok(None) => return,
                Err(error) => return self.server.handle_header_error(&error),
            };
            if let Some(event) = event {
                self.answer(event);
            }
        }
    }

    fn answer(&mut self, event: ServerEvent<'static>) {
        match event {
            ServerEvent::Authenticate(hello) => {
                let current = self
                    .server_secrets
                    .0
                    .as_ref()
                    .map_or_else(|| Verifier::decoy(&[9; 32], &hello.device), Verifier::from_secret);
                let previous = self.server_secrets.1.as_ref().map(Verifier::from_secret);
                self.server.credentials(Candidates { current, previous }, [2; 32], 1_700_000_000_000_000);
            }
            ServerEvent::CheckToken(Hello { login: Login::Token { token }, streams, .. }) => {
                self.server.token_result(token == self.token);
                if token == self.token {
                    self.welcome(&streams);
                }
            }
            ServerEvent::LoggedIn(candidate) => {
                self.logged_in_by = Some(candidate);
                self.welcome(&[4]);
            }
            ServerEvent::StreamOpen(open) => {
                self.server.stream_id(open.request, self.next_stream);
                self.next_stream += 1;
            }
            ServerEvent::Skip(skip) => self.server.ack(skip.stream, skip.to),
            other => panic!("{other:?}"),
        }
    }

    fn welcome(&mut self, streams: &[u32]) {
        let streams = streams.iter().map(|stream| StreamPosition { stream: *stream, sequence: 41 }).collect();
        let twin = TwinStatus::None;
        let params = WelcomeParams { session_epoch: 5, server_time_us: 1_700_000_000_000_000, streams, twin };
        self.server.welcome(self.now, params);
    }

    fn deliver_to_device(&mut self, bytes: &[u8]) {
        let mut input = bytes;
        loop {
            match self.device_reader.next_frame(&mut input) {
                Ok(Some(frame)) => self.device_events.extend(self.device.handle_frame(self.now, frame)),
                Ok(None) => return,
                Err(error) => return self.device.handle_header_error(&error),
            }
        }
    }

    /// Lets time pass, stopping at each deadline of either side.
    fn run_until(&mut self, end: Duration) {
        loop {
            self.settle();
            let next = [self.device.next_deadline(), self.server.next_deadline()].into_iter().flatten().min();
            match next {
                Some(deadline) if deadline <= end => self.now = self.now.max(deadline),
                _ => break,
            }
            self.device.on_time(self.now);
            self.server.on_time(self.now);
        }
        self.now = end;
    }

    fn closed(&self) -> (u16, u16) {
        let code = |closed: &Option<Closed>| closed.as_ref().map_or(0, |closed| closed.code);
        (code(&self.device_closed), code(&self.server_closed))
    }
}

fn drain(poll: &mut dyn FnMut() -> Option<Output>, closed: &mut Option<Closed>) -> Vec<u8> {
    let mut bytes = VecDeque::new();
    while let Some(output) = poll() {
        match output {
            Output::Send(frames) => bytes.extend(frames),
            Output::Closed(how) => {
                assert!(closed.replace(how).is_none(), "closed twice");
            }
        }
    }
    bytes.into()
}

fn temperature() -> MetricSet {
    MetricSet { set: 0, metrics: vec![Metric::new("temperature", "°C", MetricType::F64)] }
}

fn report(set: &MetricSet, stream: u32, sequence: u64) -> Vec<u8> {
    let mut builder = ReportBuilder::dense(set);
    builder.row(1_700_000_000_000_000, &[Value::F64(21.5)]).expect("a good row");
    let mut payload = Vec::new();
    builder.report(stream, sequence).expect("a row").encode_payload(&mut payload);
    payload
}

const fn codes(code: CloseCode) -> (u16, u16) {
    (code.as_u16(), code.as_u16())
}

#[test]
fn a_device_with_the_right_secret_logs_in_and_learns_its_positions() {
    let pair = Pair::logged_in();
    let [DeviceEvent::Welcome(welcome)] = &pair.device_events[..] else { panic!("{:?}", pair.device_events) };
    assert_eq!(welcome.streams, [StreamPosition { stream: 4, sequence: 41 }]);
    assert_eq!((welcome.session_epoch, welcome.heartbeat_interval_ms), (5, 30_000));
    assert_eq!(pair.logged_in_by, Some(Candidate::Current));
}

#[test]
fn the_previous_secret_still_logs_in_while_both_are_valid() {
    let mut pair = Pair::new(Setup { login: DeviceLogin::Secret(OLD_SECRET), ..Setup::default() });
    pair.server_secrets = (Some(SECRET), Some(OLD_SECRET));
    pair.settle();
    assert!(pair.device.is_live());
    assert_eq!(pair.logged_in_by, Some(Candidate::Previous));
}

#[test]
fn a_wrong_secret_and_an_unknown_device_end_in_the_same_words() {
    let texts = [(Some(WRONG_SECRET), None), (None, None)].map(|secrets| {
        let mut pair = Pair::new(Setup::default());
        pair.server_secrets = secrets;
        pair.settle();
        assert_eq!(pair.closed(), codes(CloseCode::BadCredentials));
        pair.device_closed.expect("closed").text
    });
    assert_eq!(texts[0], texts[1]);
}

#[test]
fn a_server_that_does_not_know_the_secret_is_left_before_welcome_is_read() {
    // A genuine WELCOME with one byte of its covered part changed on the way.
    let mut impostor = Pair::new(Setup::default());
    let hello = drain(&mut || impostor.device.poll_output(), &mut None);
    impostor.deliver_to_server(&hello);
    let challenge = drain(&mut || impostor.server.poll_output(), &mut None);
    impostor.deliver_to_device(&challenge);
    let proof = drain(&mut || impostor.device.poll_output(), &mut None);
    impostor.deliver_to_server(&proof);
    let mut welcome = drain(&mut || impostor.server.poll_output(), &mut None);
    *welcome.last_mut().expect("bytes") ^= 1;
    impostor.deliver_to_device(&welcome);
    impostor.settle();
    assert!(impostor.device_events.is_empty(), "WELCOME was acted on: {:?}", impostor.device_events);
    let closed = impostor.device_closed.expect("closed");
    assert_eq!((closed.by, closed.code), (ClosedBy::Here, CloseCode::BadCredentials.as_u16()));
    assert!(closed.reconnect && closed.retry_after_ms >= 1000, "an impostor may be gone later: {closed:?}");
}

#[test]
fn a_login_relayed_to_another_certificate_is_refused() {
    let mut pair = Pair::new(Setup {
        device_binding: Binding::Certificate([1; 32]),
        server_transport: Transport { binding: Binding::Certificate([2; 32]), loopback: false },
        ..Setup::default()
    });
    pair.settle();
    assert_eq!(pair.closed(), codes(CloseCode::BadCredentials));
}

#[test]
fn a_token_logs_in_without_a_challenge_and_a_wrong_one_does_not() {
    let login = |token: &str| Setup { login: DeviceLogin::Token(token.into()), streams: vec![9], ..Setup::default() };
    let mut pair = Pair::new(login("sesame"));
    pair.settle();
    assert!(pair.device.is_live() && pair.server.is_live());
    let [DeviceEvent::Welcome(welcome)] = &pair.device_events[..] else { panic!("{:?}", pair.device_events) };
    assert_eq!(welcome.server_proof, [0; 32]);
    assert_eq!(welcome.streams[0].stream, 9);

    let mut pair = Pair::new(login("open"));
    pair.settle();
    assert_eq!(pair.closed(), codes(CloseCode::BadCredentials));
}

#[test]
fn plaintext_off_loopback_needs_permission_and_a_token_never_gets_it() {
    let closes = |login: DeviceLogin, allow_plaintext: bool, transport: Transport| {
        let config = ServerConfig { allow_plaintext, ..ServerConfig::default() };
        let device_binding = transport.binding;
        let mut pair =
            Pair::new(Setup { login, config, device_binding, server_transport: transport, ..Setup::default() });
        pair.settle();
        pair.device_closed.map(|closed| closed.code)
    };
    let secret = || DeviceLogin::Secret(SECRET);
    let token = || DeviceLogin::Token("sesame".into());
    let refused = Some(CloseCode::PlaintextRefused.as_u16());
    let open = Transport { binding: Binding::Plain, loopback: false };
    let tls = Transport { binding: Binding::Certificate([3; 32]), loopback: false };
    assert_eq!(closes(secret(), false, open), refused);
    assert_eq!(closes(secret(), true, open), None);
    assert_eq!(closes(token(), false, open), refused);
    assert_eq!(closes(token(), true, open), refused);
    assert_eq!(closes(secret(), false, tls), None);
    assert_eq!(closes(token(), false, tls), None);
}

#[test]
fn reports_are_carried_and_acknowledged() {
    let mut pair = Pair::logged_in();
    let set = temperature();
    pair.device.declare(pair.now, &set).expect("live");
    let request = pair.device.open_stream(pair.now, StreamKind::Live).expect("live");
    pair.settle();
    assert_eq!(pair.device_events.last(), Some(&DeviceEvent::StreamId(StreamId { request, stream: 1 })));
    pair.device.report(pair.now, false, &report(&set, 1, 1)).expect("room");
    pair.device.report(pair.now, true, &report(&set, 1, 2)).expect("room");
    let skip = Skip { stream: 1, from: 3, to: 9, reason: SkipReason::SpoolFull, text: String::new() };
    pair.device.skip(pair.now, skip).expect("room");
    assert_eq!(pair.device.frames_in_flight(), 3);
    pair.settle();
    assert_eq!(pair.reports, [(1, 1, false, 1), (1, 2, true, 1)]);
    assert_eq!(pair.device_events.last(), Some(&DeviceEvent::Ack(Ack { stream: 1, sequence: 9 })));
    assert_eq!((pair.device.frames_in_flight(), pair.device.bytes_in_flight()), (0, 0));
    assert_eq!((pair.server.frames_in_flight(), pair.server.bytes_in_flight()), (0, 0));
}

#[test]
fn the_window_stops_the_device_and_an_ack_reopens_it() {
    let config = ServerConfig { window_frames: 3, window_bytes: 1000, ..ServerConfig::default() };
    let mut pair = Pair::new(Setup { config, ..Setup::default() });
    pair.acknowledge = false;
    pair.settle();
    let set = temperature();
    pair.device.declare(pair.now, &set).expect("live");
    for sequence in 1..=3 {
        pair.device.report(pair.now, false, &report(&set, 1, sequence)).expect("room");
    }
    let fourth = report(&set, 1, 4);
    assert_eq!(pair.device.report(pair.now, false, &fourth), Err(SendError::WindowFull));
    pair.settle();
    assert_eq!(pair.reports.len(), 3);
    pair.server.ack(1, 2);
    pair.settle();
    assert_eq!(pair.device.frames_in_flight(), 1);
    pair.device.report(pair.now, false, &fourth).expect("room again");
    pair.settle();
    assert_eq!(pair.reports.len(), 4);
    assert_eq!(pair.closed(), (0, 0));
}

#[test]
fn repeats_of_what_is_done_are_outside_the_window_on_both_sides() {
    let config = ServerConfig { window_frames: 2, ..ServerConfig::default() };
    let mut pair = Pair::new(Setup { config, ..Setup::default() });
    pair.acknowledge = false;
    pair.settle();
    let set = temperature();
    pair.device.declare(pair.now, &set).expect("live");
    // WELCOME said that stream 4 is durable up to 41: one ACK for any of these says nothing about the others.
    for sequence in 1..=41 {
        pair.device.report(pair.now, false, &report(&set, 4, sequence)).expect("a repeat");
    }
    for sequence in 42..=43 {
        pair.device.report(pair.now, false, &report(&set, 4, sequence)).expect("room");
    }
    assert_eq!(pair.device.report(pair.now, false, &report(&set, 4, 44)), Err(SendError::WindowFull));
    pair.settle();
    assert_eq!((pair.reports.len(), pair.server.frames_in_flight(), pair.closed()), (43, 2, (0, 0)));
}

#[test]
fn a_report_larger_than_the_window_goes_alone() {
    let config = ServerConfig { window_bytes: 10, ..ServerConfig::default() };
    let mut pair = Pair::new(Setup { config, ..Setup::default() });
    pair.acknowledge = false;
    pair.settle();
    let set = temperature();
    pair.device.declare(pair.now, &set).expect("live");
    pair.device.report(pair.now, false, &report(&set, 1, 1)).expect("alone");
    assert_eq!(pair.device.report(pair.now, false, &report(&set, 1, 2)), Err(SendError::WindowFull));
    pair.settle();
    assert_eq!((pair.reports.len(), pair.closed()), (1, (0, 0)));
}

#[test]
fn a_device_that_ignores_the_window_is_closed() {
    let config = ServerConfig { window_frames: 1, ..ServerConfig::default() };
    let mut pair = Pair::new(Setup { config, ..Setup::default() });
    pair.acknowledge = false;
    pair.settle();
    let set = temperature();
    pair.device.declare(pair.now, &set).expect("live");
    pair.device.report(pair.now, false, &report(&set, 1, 1)).expect("room");
    pair.settle();
    let mut bytes = Vec::new();
    pulsewire_proto::encode_frame(pulsewire_proto::MessageType::Telemetry, &report(&set, 1, 2), &mut bytes);
    pair.deliver_to_server(&bytes);
    pair.settle();
    assert_eq!(pair.closed(), codes(CloseCode::WindowExceeded));
}

#[test]
fn a_report_of_an_undeclared_set_is_closed_with_the_remedy() {
    let mut pair = Pair::logged_in();
    pair.device.report(pair.now, false, &report(&temperature(), 1, 1)).expect("room");
    pair.settle();
    assert_eq!(pair.closed(), codes(CloseCode::UnknownMetricSet));
    assert!(pair.device_closed.expect("closed").text.contains("METRIC_SET"));
}

fn command(id: u8) -> Command {
    Command { id: [id; 16], name: "stop".into(), arguments: vec![], deadline_us: 1, timeout_ms: 1000, attempt: 1 }
}

fn result(id: u8, values: Vec<NamedValue>) -> CommandResult {
    CommandResult { id: [id; 16], status: ResultStatus::Succeeded, code: String::new(), text: String::new(), values }
}

#[test]
fn a_command_goes_there_and_its_result_comes_back() {
    let mut pair = Pair::logged_in();
    pair.device_events.clear();
    pair.device.declare_commands(pair.now, &CommandSet { commands: vec![] }).expect("live");
    pair.server.command(command(3));
    pair.server.cancel(Cancel { id: [3; 16], text: "kim".into() });
    pair.settle();
    pair.device.delivered(pair.now, [3; 16]).expect("live");
    pair.device.progress(pair.now, Progress { id: [3; 16], percent: Some(9), text: String::new() }).expect("live");
    pair.device.result(pair.now, &result(3, vec![])).expect("live");
    pair.settle();
    assert_eq!(pair.command_events, ["0 commands", "delivered 3", "progress Some(9)", "result Succeeded"]);
    let wanted = [
        DeviceEvent::Command(command(3)),
        DeviceEvent::Cancel(Cancel { id: [3; 16], text: "kim".into() }),
        DeviceEvent::ResultAck(ResultAck { id: [3; 16] }),
    ];
    assert_eq!(pair.device_events, wanted);
}

#[test]
fn nothing_about_commands_is_sent_before_login() {
    let mut pair = Pair::new(Setup::default());
    assert_eq!(pair.device.delivered(pair.now, [1; 16]), Err(SendError::NotLive));
    assert_eq!(pair.device.result(pair.now, &result(1, vec![])), Err(SendError::NotLive));
    pair.server.command(command(1));
    assert_eq!(pair.server.poll_output(), None);
}

#[test]
fn a_result_above_16_kib_is_not_sent() {
    let mut pair = Pair::logged_in();
    let text = |name: &str| NamedValue { name: name.into(), value: CommandValue::Text("x".repeat(4000)) };
    let values = ["a", "b", "c", "d", "e"].map(text).to_vec();
    let refused = pair.device.result(pair.now, &result(1, values));
    assert_eq!(refused, Err(SendError::TooLarge { limit: 16 * 1024 }));
}

#[test]
fn an_idle_session_is_kept_alive_by_pings() {
    let mut pair = Pair::logged_in();
    pair.run_until(Duration::from_secs(3600));
    assert!(pair.device.is_live() && pair.server.is_live(), "{:?}", pair.closed());
}

#[test]
fn a_silent_device_is_closed_after_twice_the_interval() {
    let mut pair = Pair::logged_in();
    pair.cut = true;
    pair.run_until(Duration::from_millis(59_999));
    assert!(pair.server.is_live());
    pair.run_until(Duration::from_secs(60));
    assert_eq!(pair.server_closed.as_ref().map(|closed| closed.code), Some(CloseCode::HeartbeatMissed.as_u16()));
}

#[test]
fn a_silent_server_is_left_ten_seconds_after_the_ping() {
    let mut pair = Pair::logged_in();
    pair.cut = true;
    pair.run_until(Duration::from_millis(39_999));
    assert!(pair.device.is_live());
    pair.run_until(Duration::from_secs(40));
    let closed = pair.device_closed.expect("closed");
    assert_eq!((closed.code, closed.reconnect), (CloseCode::HeartbeatMissed.as_u16(), true));
}

#[test]
fn a_login_that_stalls_ends_after_ten_seconds_on_both_sides() {
    let mut pair = Pair::new(Setup::default());
    pair.cut = true;
    pair.run_until(Duration::from_millis(9_999));
    assert_eq!(pair.closed(), (0, 0));
    pair.run_until(Duration::from_secs(10));
    assert_eq!(pair.closed(), codes(CloseCode::LoginTimeout));
}

#[test]
fn frames_are_held_to_4_kib_before_login_and_to_the_servers_limit_after() {
    let mut pair = Pair::new(Setup::default());
    pair.deliver_to_server(&[0xAB, 0xCD, 1, 1, 0, 0, 0x10, 1]);
    pair.settle();
    assert_eq!(pair.closed().1, CloseCode::FrameTooLarge.as_u16());

    let mut pair = Pair::logged_in();
    pair.deliver_to_server(&[0xAB, 0xCD, 1, 0x4F, 0, 0, 0x10, 1]);
    pair.settle();
    assert_eq!(pair.closed(), (0, 0));
    let mut pair = Pair::logged_in();
    pair.deliver_to_server(&[0xAB, 0xCD, 1, 0x11, 0, 0x10, 0, 1]);
    pair.settle();
    assert_eq!(pair.closed().1, CloseCode::FrameTooLarge.as_u16());
}

#[test]
fn unknown_types_are_skipped_and_counted_after_login() {
    let mut pair = Pair::logged_in();
    pair.deliver_to_server(&[0xAB, 0xCD, 1, 0x4F, 0, 0, 0, 1, 9]);
    pair.deliver_to_device(&[0xAB, 0xCD, 1, 0x2F, 0, 0, 0, 0]);
    pair.settle();
    assert_eq!((pair.server.unknown_frames(), pair.device.unknown_frames()), (1, 1));
    assert!(pair.server.is_live() && pair.device.is_live());
}

#[test]
fn close_is_the_last_frame_and_tells_whether_to_come_back() {
    let mut pair = Pair::logged_in();
    pair.server.close_with(Close::new(CloseCode::GoingAway, "restarting").with_retry_after_ms(250));
    pair.server.ack(1, 1);
    pair.settle();
    assert_eq!(pair.device_events.len(), 1, "nothing follows CLOSE");
    let closed = pair.device_closed.expect("closed");
    assert_eq!((closed.by, closed.reconnect, closed.retry_after_ms), (ClosedBy::Peer, true, 250));

    let mut pair = Pair::logged_in();
    pair.device.close("done");
    pair.settle();
    assert_eq!(pair.closed(), codes(CloseCode::Normal));
}

#[test]
fn an_idle_server_session_is_small() {
    assert!(size_of::<ServerSession>() <= 256, "{} bytes", size_of::<ServerSession>());
}
