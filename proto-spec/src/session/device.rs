//! The device's side of a session.

use alloc::{boxed::Box, format, string::String, vec::Vec};
use core::{fmt, time::Duration};

use super::{
    output::{Outbox, Output},
    window::Window,
};
use crate::{
    CloseCode, DecodeError, HeaderError, Message, MessageType, RawFrame,
    auth::{self, Binding, Transcript, Verifier},
    codec::{HEADER_BYTES, VERSION, encode_frame},
    frame::{
        Ack, Cancel, Challenge, Close, Command, CommandResult, CommandSet, Delivered, Hello, Login, MetricSet, Nack,
        Ping, Pong, Progress, Proof, Report, ResultAck, Skip, StreamId, StreamKind, StreamOpen, Welcome,
    },
    limits,
};

/// Time from the connection to WELCOME.
const LOGIN_LIMIT: Duration = Duration::from_secs(10);
/// Silence after a PING that ends the session. SPEC §4.5.
const PONG_LIMIT: Duration = Duration::from_secs(10);
/// Wait before trying again with a server that could not prove itself: it may be an impostor, and may be gone later.
const IMPOSTOR_RETRY_MS: u32 = 30_000;

/// Who the device is.
#[derive(Debug, Clone)]
pub struct DeviceConfig {
    /// Device id, §3.1.
    pub device: String,
    /// How it logs in.
    pub login: DeviceLogin,
    /// Shown to operators, at most 64 bytes.
    pub firmware: String,
    /// Streams that it still holds, at most 64.
    pub streams: Vec<u32>,
    /// TLS or none, as seen by the device.
    pub binding: Binding,
}

/// How a device logs in.
#[derive(Clone)]
pub enum DeviceLogin {
    /// With its secret; the server proves itself too.
    Secret([u8; 32]),
    /// With a bearer token; TLS must identify the server.
    Token(String),
}

impl fmt::Debug for DeviceLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DeviceLogin::Secret(_) => "Secret(hidden)",
            DeviceLogin::Token(_) => "Token(hidden)",
        })
    }
}

/// What a frame from the server means to the device.
#[derive(Debug, Clone, PartialEq)]
pub enum DeviceEvent {
    /// Logged in, and the server's proof is right. Resend what lies above the positions in `streams`.
    Welcome(Welcome),
    /// A new stream, asked for by [`DeviceSession::open_stream`].
    StreamId(StreamId),
    /// Forget the reports of the stream up to this sequence.
    Ack(Ack),
    /// Part of a report was rejected; its ACK follows.
    Nack(Nack),
    /// Something to do, perhaps not for the first time. Answer with [`DeviceSession::delivered`] or
    /// [`DeviceSession::result`].
    Command(Command),
    /// The server has this command's result, or does not want it: forget it.
    ResultAck(ResultAck),
    /// Give this command up if it is not too late.
    Cancel(Cancel),
}

/// Why something was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendError {
    /// Before WELCOME, or after the end.
    NotLive,
    /// Wait for an ACK.
    WindowFull,
    /// The payload is above the server's limit, in bytes: it will never be taken.
    TooLarge {
        /// `frame_bytes_max` of WELCOME; 16 KiB for a message of SPEC §7.
        limit: u32,
    },
    /// The report's prefix or the message breaks the protocol.
    Malformed(DecodeError),
}

/// The device's side of one connection.
#[derive(Debug)]
pub struct DeviceSession {
    state: State,
    /// Beginning of the connection before login, the last frame sent after it.
    last_sent: Duration,
    /// When an unanswered PING was sent.
    ping_sent: Option<Duration>,
    pings: u64,
    requests: u32,
    heartbeat_interval: Duration,
    frame_bytes_max: u32,
    window: Window,
    outbox: Outbox,
    unknown_frames: u64,
}

#[derive(Debug)]
enum State {
    AwaitChallenge(Box<Greeted>),
    /// `None` after a token login.
    AwaitWelcome(Option<Box<Proven>>),
    Live,
    Closed,
}

#[derive(Debug)]
struct Greeted {
    transcript: Transcript,
    login: DeviceLogin,
    binding: Binding,
}

#[derive(Debug)]
struct Proven {
    t: [u8; 32],
    verifier: Verifier,
    proof_frame: Vec<u8>,
}

impl DeviceSession {
    /// A session on a connection made at `now`; HELLO is the first output. `nonce` is 32 fresh random bytes.
    ///
    /// An error names the field of `config` that breaks SPEC §4.1.
    pub fn new(now: Duration, config: DeviceConfig, nonce: [u8; 32]) -> Result<Self, DecodeError> {
        let login = match &config.login {
            DeviceLogin::Secret(_) => Login::Proof,
            DeviceLogin::Token(token) => Login::Token { token: token.clone() },
        };
        let hello = Hello {
            device: config.device,
            version_min: VERSION,
            version_max: VERSION,
            nonce,
            login,
            firmware: config.firmware,
            streams: config.streams,
            desired_version: 0,
        };
        hello.validate()?;
        let mut frame = Vec::new();
        Message::Hello(hello).encode(&mut frame);
        let state = match &config.login {
            DeviceLogin::Secret(_) => State::AwaitChallenge(Box::new(Greeted {
                transcript: Transcript::new(&frame),
                login: config.login,
                binding: config.binding,
            })),
            DeviceLogin::Token(_) => State::AwaitWelcome(None),
        };
        let mut outbox = Outbox::default();
        outbox.append(|out| out.extend_from_slice(&frame));
        Ok(DeviceSession {
            state,
            last_sent: now,
            ping_sent: None,
            pings: 0,
            requests: 0,
            heartbeat_interval: Duration::MAX,
            frame_bytes_max: limits::LOGIN_FRAME_BYTES_MAX,
            window: Window::new(0, 0),
            outbox,
            unknown_frames: 0,
        })
    }

    /// Largest payload to take from the server.
    pub fn frame_limit(&self) -> u32 {
        limits::FRAME_BYTES_MAX
    }

    /// Whether WELCOME was verified and the session has not ended.
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

    /// Reports and SKIPs that were sent and not yet acknowledged.
    pub fn frames_in_flight(&self) -> u32 {
        self.window.frames()
    }

    /// Payload bytes of the reports in flight.
    pub fn bytes_in_flight(&self) -> u64 {
        self.window.bytes()
    }

    /// Whether a report of so many payload bytes may be sent now.
    pub fn can_send(&self, payload_bytes: usize) -> bool {
        self.is_live() && u32::try_from(payload_bytes).is_ok_and(|bytes| self.window.has_room(bytes))
    }

    /// The next thing to do; take all of them after each call.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outbox.poll()
    }

    /// When to call [`on_time`](Self::on_time), unless something else comes first. `None` once closed.
    pub fn next_deadline(&self) -> Option<Duration> {
        match self.state {
            State::Closed => None,
            State::Live => Some(
                self.ping_sent
                    .map_or_else(|| self.last_sent.saturating_add(self.heartbeat_interval), |sent| sent + PONG_LIMIT),
            ),
            _ => Some(self.last_sent + LOGIN_LIMIT),
        }
    }

    /// Sends PING when nothing was sent for the interval, and gives up on a silent server.
    pub fn on_time(&mut self, now: Duration) {
        if self.next_deadline().is_none_or(|deadline| now < deadline) {
            return;
        }
        if !self.is_live() {
            self.close_with(Close::new(CloseCode::LoginTimeout, "the server did not complete the login within 10 s"));
        } else if self.ping_sent.is_some() {
            self.close_with(Close::new(CloseCode::HeartbeatMissed, "nothing came from the server for 10 s after PING"));
        } else {
            self.pings += 1;
            self.ping_sent = Some(now);
            self.send(now, &Message::Ping(Ping { token: self.pings }));
        }
    }

    /// Takes one frame. At most one event comes of it; a frame that breaks the protocol closes the session.
    pub fn handle_frame(&mut self, now: Duration, frame: RawFrame<'_>) -> Option<DeviceEvent> {
        if self.is_closed() {
            return None;
        }
        self.ping_sent = None;
        let Some(message_type) = MessageType::from_u8(frame.message_type()) else {
            self.unknown_frames += 1;
            return None;
        };
        let payload = frame.payload();
        match (&self.state, message_type) {
            (_, MessageType::Close) => {
                let close = self.decoded(Close::decode(payload))?;
                self.outbox.peer_closed(close);
                self.enter_closed();
                None
            }
            (State::AwaitChallenge(_), MessageType::Challenge) => {
                self.challenge(frame);
                None
            }
            (State::AwaitWelcome(_), MessageType::Welcome) => self.welcome(now, payload),
            (State::Live, MessageType::Ack) => {
                let ack = self.decoded(Ack::decode(payload))?;
                self.window.release(ack.stream, ack.sequence);
                Some(DeviceEvent::Ack(ack))
            }
            (State::Live, MessageType::Nack) => self.decoded(Nack::decode(payload)).map(DeviceEvent::Nack),
            (State::Live, MessageType::StreamId) => self.decoded(StreamId::decode(payload)).map(DeviceEvent::StreamId),
            (State::Live, MessageType::Command) => self.decoded(Command::decode(payload)).map(DeviceEvent::Command),
            (State::Live, MessageType::ResultAck) => {
                self.decoded(ResultAck::decode(payload)).map(DeviceEvent::ResultAck)
            }
            (State::Live, MessageType::Cancel) => self.decoded(Cancel::decode(payload)).map(DeviceEvent::Cancel),
            (State::Live, MessageType::Ping) => {
                let Ping { token } = self.decoded(Ping::decode(payload))?;
                self.send(now, &Message::Pong(Pong { token }));
                None
            }
            (State::Live, MessageType::Pong) => {
                self.decoded(Pong::decode(payload))?;
                None
            }
            _ => {
                let name = message_type.name();
                self.close_with(Close::new(CloseCode::Malformed, &format!("{name} is not expected now")));
                None
            }
        }
    }

    /// Ends the session after bytes that are no frame.
    pub fn handle_header_error(&mut self, error: &HeaderError) {
        self.close_with(Close::new(error.close_code(), &format!("{error}")));
    }

    /// Asks for a new stream; the number comes back in [`DeviceEvent::StreamId`].
    pub fn open_stream(&mut self, now: Duration, kind: StreamKind) -> Result<u32, SendError> {
        self.live()?;
        self.requests = self.requests.wrapping_add(1);
        let request = self.requests;
        self.send(now, &Message::StreamOpen(StreamOpen { request, kind }));
        Ok(request)
    }

    /// Declares a metric set for the rest of the session.
    pub fn declare(&mut self, now: Duration, set: &MetricSet) -> Result<(), SendError> {
        self.live()?;
        set.validate().map_err(SendError::Malformed)?;
        self.send(now, &Message::MetricSet(set.clone()));
        Ok(())
    }

    /// Sends a report, as TELEMETRY or as BACKFILL. `payload` is kept by the caller until its ACK, and is sent again
    /// byte for byte if the connection breaks before.
    pub fn report(&mut self, now: Duration, backfill: bool, payload: &[u8]) -> Result<(), SendError> {
        self.live()?;
        let report = Report::parse(payload).map_err(SendError::Malformed)?;
        let bytes = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        if bytes > self.frame_bytes_max {
            return Err(SendError::TooLarge { limit: self.frame_bytes_max });
        }
        if !self.window.take(report.stream, report.sequence, bytes) {
            return Err(SendError::WindowFull);
        }
        let message_type = if backfill { MessageType::Backfill } else { MessageType::Telemetry };
        self.last_sent = now;
        self.outbox.append(|out| encode_frame(message_type, payload, out));
        Ok(())
    }

    /// Declares that reports will never come.
    pub fn skip(&mut self, now: Duration, skip: Skip) -> Result<(), SendError> {
        self.live()?;
        skip.validate().map_err(SendError::Malformed)?;
        if !self.window.take(skip.stream, skip.to, 0) {
            return Err(SendError::WindowFull);
        }
        self.send(now, &Message::Skip(skip));
        Ok(())
    }

    /// Says which commands the device knows. SPEC §7.2.
    pub fn declare_commands(&mut self, now: Duration, set: &CommandSet) -> Result<(), SendError> {
        set.validate().map_err(SendError::Malformed)?;
        self.send_command_message(now, &Message::CommandSet(set.clone()))
    }

    /// Says that the device has a command. SPEC §7.4.
    pub fn delivered(&mut self, now: Duration, id: [u8; 16]) -> Result<(), SendError> {
        self.send_command_message(now, &Message::Delivered(Delivered { id }))
    }

    /// Says how far a command is. SPEC §7.5.
    pub fn progress(&mut self, now: Duration, progress: Progress) -> Result<(), SendError> {
        progress.validate().map_err(SendError::Malformed)?;
        self.send_command_message(now, &Message::Progress(progress))
    }

    /// Says how a command ended. `result` is kept by the caller until [`DeviceEvent::ResultAck`], and is sent again in
    /// each session until then. SPEC §7.6.
    pub fn result(&mut self, now: Duration, result: &CommandResult) -> Result<(), SendError> {
        result.validate().map_err(SendError::Malformed)?;
        self.send_command_message(now, &Message::Result(result.clone()))
    }

    /// Ends the session with CLOSE 1000.
    pub fn close(&mut self, text: &str) {
        self.close_with(Close::new(CloseCode::Normal, text));
    }

    /// Ends the session with a CLOSE of the caller's making.
    pub fn close_with(&mut self, close: Close) {
        self.outbox.close(close);
        self.enter_closed();
    }

    fn challenge(&mut self, frame: RawFrame<'_>) {
        let Some(challenge) = self.decoded(Challenge::decode(frame.payload())) else {
            return;
        };
        if challenge.version != VERSION {
            let version = challenge.version;
            self.close_with(Close::new(
                CloseCode::UnsupportedVersion,
                &format!("the server chose version {version}; this device speaks version {VERSION}"),
            ));
            return;
        }
        let State::AwaitChallenge(greeted) = core::mem::replace(&mut self.state, State::Closed) else {
            return;
        };
        let Greeted { transcript, login: DeviceLogin::Secret(secret), binding } = *greeted else {
            return;
        };
        let t = transcript.finish(frame.bytes(), &binding);
        let mut proof_frame = Vec::new();
        Message::Proof(Proof { proof: auth::device_proof(&secret, &t) }).encode(&mut proof_frame);
        self.outbox.append(|out| out.extend_from_slice(&proof_frame));
        // `last_sent` stays: the login's limit runs from the connection.
        let verifier = Verifier::from_secret(&secret);
        self.state = State::AwaitWelcome(Some(Box::new(Proven { t, verifier, proof_frame })));
    }

    fn welcome(&mut self, now: Duration, payload: &[u8]) -> Option<DeviceEvent> {
        if !self.server_is_genuine(payload) {
            let text = "the server could not prove that it knows this device's secret";
            let mut close = Close::new(CloseCode::BadCredentials, text).with_retry_after_ms(IMPOSTOR_RETRY_MS);
            close.reconnect = true;
            self.close_with(close);
            return None;
        }
        let welcome = self.decoded(Welcome::decode(payload))?;
        self.heartbeat_interval = Duration::from_millis(u64::from(welcome.heartbeat_interval_ms));
        self.frame_bytes_max = welcome.frame_bytes_max;
        self.window = Window::new(welcome.window_frames, welcome.window_bytes);
        for position in &welcome.streams {
            self.window.release(position.stream, position.sequence);
        }
        self.last_sent = now;
        self.state = State::Live;
        Some(DeviceEvent::Welcome(welcome))
    }

    /// Before anything else in WELCOME is looked at. SPEC §4.4.
    fn server_is_genuine(&self, payload: &[u8]) -> bool {
        let State::AwaitWelcome(Some(proven)) = &self.state else {
            return true;
        };
        let Some((proof, rest)) = payload.split_first_chunk::<{ Welcome::PROOF_BYTES }>() else {
            return false;
        };
        auth::verify_server_proof(&proven.verifier.server_key, &proven.t, &proven.proof_frame, rest, proof)
    }

    /// A message of SPEC §7, whose payload has a bound of its own.
    fn send_command_message(&mut self, now: Duration, message: &Message<'_>) -> Result<(), SendError> {
        self.live()?;
        let mut frame = Vec::new();
        message.encode(&mut frame);
        if frame.len() > HEADER_BYTES + limits::COMMAND_BYTES_MAX {
            // A constant of 16 KiB.
            return Err(SendError::TooLarge { limit: limits::COMMAND_BYTES_MAX as u32 });
        }
        self.last_sent = now;
        self.outbox.append(|out| out.extend_from_slice(&frame));
        Ok(())
    }

    fn send(&mut self, now: Duration, message: &Message<'_>) {
        self.last_sent = now;
        self.outbox.send(message);
    }

    fn live(&self) -> Result<(), SendError> {
        if self.is_live() { Ok(()) } else { Err(SendError::NotLive) }
    }

    fn decoded<T>(&mut self, result: Result<T, DecodeError>) -> Option<T> {
        result.inspect_err(|error| self.close_with(Close::new(error.close_code(), &format!("{error}")))).ok()
    }

    fn enter_closed(&mut self) {
        debug_assert!(self.outbox.is_closed());
        self.state = State::Closed;
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SendError::NotLive => f.write_str("not logged in"),
            SendError::WindowFull => f.write_str("the window is full: wait for an ACK"),
            SendError::TooLarge { limit } => write!(f, "the payload is above the server's limit of {limit} bytes"),
            SendError::Malformed(error) => write!(f, "{error}"),
        }
    }
}

impl core::error::Error for SendError {}
