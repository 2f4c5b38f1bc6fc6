//! The server's side of a device session.

use alloc::{boxed::Box, format, string::String, sync::Arc, vec::Vec};
use core::time::Duration;

use subtle::{Choice, ConditionallySelectable};

use super::{
    output::{Outbox, Output},
    server_event::{Candidate, Candidates, ReportEvent, ServerEvent},
    window::Window,
};
use crate::{
    CloseCode, DecodeError, HeaderError, Message, MessageType, RawFrame,
    auth::{self, Binding, ServerKey, Transcript},
    codec::{VERSION, encode_frame},
    frame::{
        Ack, Cancel, Challenge, Close, Command, CommandResult, CommandSet, Delivered, Hello, Login, MetricSet, Nack,
        Ping, Pong, Progress, Proof, Report, ResultAck, Skip, StreamId, StreamOpen, StreamPosition, TwinStatus,
        Welcome,
    },
    limits,
};

/// The text of every 4003, whatever was wrong. SPEC §4.6.
const BAD_CREDENTIALS: &str = "device id or secret is not accepted: check both, and that the device is enabled";

/// Limits of all sessions of a server; shared.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Time from the connection's acceptance to WELCOME. Default 10 s.
    pub login_limit: Duration,
    /// A device that has sent nothing for this long sends PING; twice this in silence ends the session. Whole
    /// milliseconds, at least 1 ms. Default 30 s.
    pub heartbeat_interval: Duration,
    /// Largest payload after login, in bytes.
    pub frame_bytes_max: u32,
    /// Most reports in flight.
    pub window_frames: u32,
    /// Most report payload bytes in flight.
    pub window_bytes: u32,
    /// Whether a listener that is not bound to loopback takes proof logins without TLS. Default no.
    pub allow_plaintext: bool,
}

impl Default for ServerConfig {
    fn default() -> Self {
        ServerConfig {
            login_limit: Duration::from_secs(10),
            heartbeat_interval: Duration::from_secs(30),
            frame_bytes_max: limits::FRAME_BYTES_MAX,
            window_frames: limits::WINDOW_FRAMES,
            window_bytes: limits::WINDOW_BYTES,
            allow_plaintext: false,
        }
    }
}

/// What the machine must know of the connection.
#[derive(Debug, Clone, Copy)]
pub struct Transport {
    /// TLS or none.
    pub binding: Binding,
    /// Whether the listener is bound to a loopback address.
    pub loopback: bool,
}

/// What the server says in WELCOME beyond its limits.
#[derive(Debug, Clone)]
pub struct WelcomeParams {
    /// Grows with every session of this device.
    pub session_epoch: u64,
    /// The server's clock, µs since 1970.
    pub server_time_us: i64,
    /// Of the streams of HELLO, those that the server knows; at most 64.
    pub streams: Vec<StreamPosition>,
    /// [`TwinStatus::None`] in this version.
    pub twin: TwinStatus,
}

/// The server's side of one connection. About 300 bytes while idle, plus the metric sets that the device declared.
#[derive(Debug)]
pub struct ServerSession {
    config: Arc<ServerConfig>,
    transport: Transport,
    state: State,
    /// Acceptance before login, the last frame after it.
    last_sign: Duration,
    /// At most 128, by number of the set; few, so a scan is fastest.
    sets: Vec<Arc<MetricSet>>,
    window: Window,
    outbox: Outbox,
    unknown_frames: u64,
}

#[derive(Debug)]
enum State {
    AwaitHello,
    AwaitCredentials(Box<Transcript>),
    AwaitProof(Box<Challenged>),
    AwaitTokenResult,
    /// `None` after a token login.
    AwaitWelcome(Option<Box<Proven>>),
    Live,
    Closed,
}

#[derive(Debug)]
struct Challenged {
    t: [u8; 32],
    candidates: Candidates,
}

#[derive(Debug)]
struct Proven {
    t: [u8; 32],
    server_key: ServerKey,
    proof_frame: Vec<u8>,
}

impl ServerSession {
    /// A session for a connection accepted at `now`.
    pub fn new(now: Duration, config: Arc<ServerConfig>, transport: Transport) -> Self {
        let window = Window::new(config.window_frames, config.window_bytes);
        ServerSession {
            config,
            transport,
            state: State::AwaitHello,
            last_sign: now,
            sets: Vec::new(),
            window,
            outbox: Outbox::default(),
            unknown_frames: 0,
        }
    }

    /// Largest payload to take now: for [`crate::FrameReader::set_limit`] before each frame.
    pub fn frame_limit(&self) -> u32 {
        if self.is_live() { self.config.frame_bytes_max } else { limits::LOGIN_FRAME_BYTES_MAX }
    }

    /// Whether WELCOME was sent and the session has not ended.
    pub fn is_live(&self) -> bool {
        matches!(self.state, State::Live)
    }

    /// Whether the session has ended; its last outputs may still wait.
    pub fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    /// Frames of types that this version does not know, skipped so far.
    pub fn unknown_frames(&self) -> u64 {
        self.unknown_frames
    }

    /// Reports and SKIPs that were received and not yet acknowledged.
    pub fn frames_in_flight(&self) -> u32 {
        self.window.frames()
    }

    /// Payload bytes of the reports in flight.
    pub fn bytes_in_flight(&self) -> u64 {
        self.window.bytes()
    }

    /// The set that reports with this number mean now.
    pub fn metric_set(&self, set: u8) -> Option<&Arc<MetricSet>> {
        self.sets.iter().find(|declared| declared.set == set)
    }

    /// The next thing to do; take all of them after each call.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outbox.poll()
    }

    /// When to call [`on_time`](Self::on_time), unless something else comes first. `None` once closed.
    pub fn next_deadline(&self) -> Option<Duration> {
        match self.state {
            State::Closed => None,
            State::Live => Some(self.last_sign + 2 * self.config.heartbeat_interval),
            _ => Some(self.last_sign + self.config.login_limit),
        }
    }

    /// Ends the session if its login or its next sign of life is overdue; harmless at any other time.
    pub fn on_time(&mut self, now: Duration) {
        if self.next_deadline().is_none_or(|deadline| now < deadline) {
            return;
        }
        if self.is_live() {
            let limit = 2 * self.config.heartbeat_interval.as_millis();
            self.close(
                CloseCode::HeartbeatMissed,
                &format!("no frame for {limit} ms: send PING when there is no data"),
            );
        } else {
            let limit = self.config.login_limit.as_millis();
            self.close(CloseCode::LoginTimeout, &format!("login was not complete within {limit} ms"));
        }
    }

    /// Takes one frame. At most one event comes of it; a frame that breaks the protocol closes the session.
    pub fn handle_frame<'f>(&mut self, now: Duration, frame: RawFrame<'f>) -> Option<ServerEvent<'f>> {
        if self.is_closed() {
            return None;
        }
        match MessageType::from_u8(frame.message_type()) {
            Some(MessageType::Close) => self.peer_closed(frame.payload()),
            message_type if self.is_live() => {
                self.last_sign = now;
                match message_type {
                    Some(message_type) => self.live_frame(message_type, frame.payload()),
                    None => {
                        self.unknown_frames += 1;
                        None
                    }
                }
            }
            Some(MessageType::Hello) if matches!(self.state, State::AwaitHello) => self.hello(frame),
            Some(MessageType::Proof) if matches!(self.state, State::AwaitProof(_)) => self.proof(frame),
            message_type => {
                let name = message_type.map_or("this message type", MessageType::name);
                self.close(
                    CloseCode::LoginFirst,
                    &format!(
                        "{name} is not expected now: HELLO comes first, then PROOF, and everything else after WELCOME"
                    ),
                );
                None
            }
        }
    }

    /// Ends the session after bytes that are no frame.
    pub fn handle_header_error(&mut self, error: &HeaderError) {
        self.close(error.close_code(), &format!("{error}"));
    }

    /// Answers [`ServerEvent::Authenticate`]: sends CHALLENGE, whether the device is known or not. `nonce` is 32 fresh
    /// random bytes.
    pub fn credentials(&mut self, candidates: Candidates, nonce: [u8; 32], server_time_us: i64) {
        let State::AwaitCredentials(transcript) = core::mem::replace(&mut self.state, State::Closed) else {
            return self.wrong_call("credentials");
        };
        let mut frame = Vec::new();
        Message::Challenge(Challenge { nonce, server_time_us, version: VERSION }).encode(&mut frame);
        let t = transcript.finish(&frame, &self.transport.binding);
        self.outbox.append(|out| out.extend_from_slice(&frame));
        self.state = State::AwaitProof(Box::new(Challenged { t, candidates }));
    }

    /// Answers [`ServerEvent::CheckToken`]. After `true` follows [`welcome`](Self::welcome).
    pub fn token_result(&mut self, accepted: bool) {
        if !matches!(self.state, State::AwaitTokenResult) {
            return self.wrong_call("token_result");
        }
        if accepted {
            self.state = State::AwaitWelcome(None);
        } else {
            self.close(CloseCode::BadCredentials, BAD_CREDENTIALS);
        }
    }

    /// Answers [`ServerEvent::LoggedIn`] or follows an accepted token: sends WELCOME, and the session is live.
    pub fn welcome(&mut self, now: Duration, params: WelcomeParams) {
        let State::AwaitWelcome(proven) = core::mem::replace(&mut self.state, State::Closed) else {
            return self.wrong_call("welcome");
        };
        for position in &params.streams {
            self.window.release(position.stream, position.sequence);
        }
        let welcome = Welcome {
            server_proof: [0; 32],
            session_epoch: params.session_epoch,
            server_time_us: params.server_time_us,
            heartbeat_interval_ms: u32::try_from(self.config.heartbeat_interval.as_millis()).unwrap_or(u32::MAX).max(1),
            frame_bytes_max: self.config.frame_bytes_max,
            window_frames: self.config.window_frames,
            window_bytes: self.config.window_bytes,
            streams: params.streams,
            twin: params.twin,
        };
        let mut payload = Vec::new();
        welcome.encode_payload(&mut payload);
        if let Some(proven) = proven {
            let (proof, rest) = payload.split_at_mut(Welcome::PROOF_BYTES);
            proof.copy_from_slice(&auth::server_proof(&proven.server_key, &proven.t, &proven.proof_frame, rest));
        }
        self.outbox.append(|out| encode_frame(MessageType::Welcome, &payload, out));
        self.last_sign = now;
        self.state = State::Live;
    }

    /// Answers [`ServerEvent::StreamOpen`], once the id is durable.
    pub fn stream_id(&mut self, request: u32, stream: u32) {
        self.outbox.send(&Message::StreamId(StreamId { request, stream }));
    }

    /// Acknowledges every report of `stream` up to `sequence`, once it is durable, and reopens the window.
    pub fn ack(&mut self, stream: u32, sequence: u64) {
        self.window.release(stream, sequence);
        self.outbox.send(&Message::Ack(Ack { stream, sequence }));
    }

    /// Tells what of a report was rejected; before the ACK that covers it.
    pub fn nack(&mut self, nack: Nack) {
        self.outbox.send(&Message::Nack(nack));
    }

    /// Sends a command, once it is stored that it is sent; nothing unless the device is logged in. SPEC §7.3.
    pub fn command(&mut self, command: Command) {
        self.send_live(&Message::Command(command));
    }

    /// Says that a result is stored, or not wanted. SPEC §7.6.
    pub fn result_ack(&mut self, id: [u8; 16]) {
        self.send_live(&Message::ResultAck(ResultAck { id }));
    }

    /// Asks the device to give a command up; nothing unless the device is logged in. SPEC §7.7.
    pub fn cancel(&mut self, cancel: Cancel) {
        self.send_live(&Message::Cancel(cancel));
    }

    fn send_live(&mut self, message: &Message<'_>) {
        if self.is_live() {
            self.outbox.send(message);
        }
    }

    /// Asks the device for a sign of life.
    pub fn ping(&mut self, token: u64) {
        self.outbox.send(&Message::Ping(Ping { token }));
    }

    /// Ends the session; what was queued before is still sent.
    pub fn close(&mut self, code: CloseCode, text: &str) {
        self.close_with(Close::new(code, text));
    }

    /// Ends the session with a CLOSE of the caller's making.
    pub fn close_with(&mut self, close: Close) {
        self.outbox.close(close);
        self.enter_closed();
    }

    /// Ends the session after a payload that breaks its layout.
    pub fn close_malformed(&mut self, error: &DecodeError) {
        self.close(error.close_code(), &format!("{error}"));
    }

    fn hello<'f>(&mut self, frame: RawFrame<'f>) -> Option<ServerEvent<'f>> {
        let hello = self.decoded(Hello::decode(frame.payload()))?;
        if !(hello.version_min..=hello.version_max).contains(&VERSION) {
            self.close(CloseCode::UnsupportedVersion, "this server speaks protocol version 1 only");
            return None;
        }
        let is_token = matches!(hello.login, Login::Token { .. });
        if let Some(text) = self.plaintext_refusal(is_token) {
            self.close(CloseCode::PlaintextRefused, text);
            return None;
        }
        if is_token {
            self.state = State::AwaitTokenResult;
            return Some(ServerEvent::CheckToken(hello));
        }
        self.state = State::AwaitCredentials(Box::new(Transcript::new(frame.bytes())));
        Some(ServerEvent::Authenticate(hello))
    }

    /// SPEC §4.1.
    fn plaintext_refusal(&self, is_token: bool) -> Option<&'static str> {
        if self.transport.binding.is_tls() || self.transport.loopback {
            None
        } else if is_token {
            Some("a token is taken over TLS or on a loopback listener only")
        } else if !self.config.allow_plaintext {
            Some("this listener takes TLS only; the server's configuration can allow plaintext")
        } else {
            None
        }
    }

    fn proof<'f>(&mut self, frame: RawFrame<'f>) -> Option<ServerEvent<'f>> {
        let Proof { proof } = self.decoded(Proof::decode(frame.payload()))?;
        let State::AwaitProof(challenged) = core::mem::replace(&mut self.state, State::Closed) else {
            return None;
        };
        let Challenged { t, candidates: Candidates { current, previous } } = *challenged;
        let other = previous.unwrap_or(current);
        let fits_current = auth::verify_device_proof(&current.stored_key, &t, &proof);
        let fits_previous = auth::verify_device_proof(&other.stored_key, &t, &proof);
        if !bool::from(fits_current | fits_previous) {
            self.close(CloseCode::BadCredentials, BAD_CREDENTIALS);
            return Some(ServerEvent::ProofRejected);
        }
        let server_key = select_key(&other.server_key, &current.server_key, fits_current);
        self.state = State::AwaitWelcome(Some(Box::new(Proven { t, server_key, proof_frame: frame.bytes().to_vec() })));
        Some(ServerEvent::LoggedIn(if fits_current.into() { Candidate::Current } else { Candidate::Previous }))
    }

    fn live_frame<'f>(&mut self, message_type: MessageType, payload: &'f [u8]) -> Option<ServerEvent<'f>> {
        match message_type {
            MessageType::Telemetry => self.report(false, payload),
            MessageType::Backfill => self.report(true, payload),
            MessageType::MetricSet => {
                let set = self.decoded(MetricSet::decode(payload))?;
                Some(ServerEvent::MetricSet(self.declare(set)))
            }
            MessageType::Skip => {
                let skip = self.decoded(Skip::decode(payload))?;
                if !self.window.take(skip.stream, skip.to, 0) {
                    self.window_exceeded();
                    return None;
                }
                Some(ServerEvent::Skip(skip))
            }
            MessageType::StreamOpen => self.decoded(StreamOpen::decode(payload)).map(ServerEvent::StreamOpen),
            MessageType::Delivered => self.decoded(Delivered::decode(payload)).map(ServerEvent::Delivered),
            MessageType::Progress => self.decoded(Progress::decode(payload)).map(ServerEvent::Progress),
            MessageType::Result => self.decoded(CommandResult::decode(payload)).map(ServerEvent::Result),
            MessageType::CommandSet => self.decoded(CommandSet::decode(payload)).map(ServerEvent::CommandSet),
            MessageType::Ping => {
                let Ping { token } = self.decoded(Ping::decode(payload))?;
                self.outbox.send(&Message::Pong(Pong { token }));
                None
            }
            MessageType::Pong => {
                self.decoded(Pong::decode(payload))?;
                None
            }
            _ => {
                let name = message_type.name();
                self.close(CloseCode::Malformed, &format!("{name} is not a message that a device sends after login"));
                None
            }
        }
    }

    fn report<'f>(&mut self, backfill: bool, payload: &'f [u8]) -> Option<ServerEvent<'f>> {
        let report = self.decoded(Report::parse(payload))?;
        let Some(set) = self.metric_set(report.set).cloned() else {
            let set = report.set;
            self.close(
                CloseCode::UnknownMetricSet,
                &format!("metric set {set} was not declared in this session: send METRIC_SET first"),
            );
            return None;
        };
        // A frame's length is a u32, so this cast is exact.
        if !self.window.take(report.stream, report.sequence, payload.len() as u32) {
            self.window_exceeded();
            return None;
        }
        Some(ServerEvent::Report(ReportEvent { backfill, set, report, payload }))
    }

    fn declare(&mut self, set: MetricSet) -> Arc<MetricSet> {
        let set = Arc::new(set);
        match self.sets.iter_mut().find(|declared| declared.set == set.set) {
            Some(declared) => *declared = set.clone(),
            // `MetricSet::validate` keeps the numbers below 128, which bounds this list.
            None => self.sets.push(set.clone()),
        }
        set
    }

    fn window_exceeded(&mut self) {
        let ServerConfig { window_frames, window_bytes, .. } = *self.config;
        self.close(
            CloseCode::WindowExceeded,
            &format!("more than {window_frames} reports or {window_bytes} payload bytes in flight: wait for ACK"),
        );
    }

    fn peer_closed<'f>(&mut self, payload: &[u8]) -> Option<ServerEvent<'f>> {
        let close = self.decoded(Close::decode(payload))?;
        self.outbox.peer_closed(close);
        self.enter_closed();
        None
    }

    fn decoded<T>(&mut self, result: Result<T, DecodeError>) -> Option<T> {
        result.inspect_err(|error| self.close_malformed(error)).ok()
    }

    /// A defect of the caller. It costs this session, not the process.
    fn wrong_call(&mut self, call: &str) {
        self.close(CloseCode::Internal, &String::from_iter(["the server answered out of turn: ", call]));
    }

    fn enter_closed(&mut self) {
        debug_assert!(self.outbox.is_closed());
        self.state = State::Closed;
        self.sets = Vec::new();
        self.window = Window::new(0, 0);
    }
}

fn select_key(if_not: &ServerKey, if_so: &ServerKey, choice: Choice) -> ServerKey {
    let mut key = [0; auth::KEY_BYTES];
    for ((key, if_not), if_so) in key.iter_mut().zip(&if_not.0).zip(&if_so.0) {
        *key = u8::conditional_select(if_not, if_so, choice);
    }
    ServerKey(key)
}
