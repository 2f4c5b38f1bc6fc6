//! One connection from its first byte to its last.

use super::admission::{Full, Guard};
use super::gather::Gathered;
use super::logged_in::LoggedIn;
use super::login::Credential;
use super::registry::EndSession;
use super::report::{self, DeclaredSet};
use super::transport::{self, Opening, Received, Sniffed, Transport};
use super::{STOPPING, Shared};
use crate::commands::Outgoing;
use crate::ingest::{IngestReply, Mailbox, Refusal, Submission};
use crate::ports::StreamKind;
use crate::telemetry::names;
use pulsewire_core::device::Device;
use pulsewire_core::ids::{Sequence, StreamId};
use pulsewire_proto::auth::Binding;
use pulsewire_proto::codec::HEADER_BYTES;
use pulsewire_proto::frame::{Close, Hello, Nack};
use pulsewire_proto::session::{Candidate, Candidates, Closed, ClosedBy, Output, ServerEvent, ServerSession};
use pulsewire_proto::{CloseCode, FrameReader};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

/// How long a device should wait after the store failed.
pub(super) const RETRY_AFTER_MS: u32 = 5_000;
/// How long a connection for which there is no room may take to say what it speaks, and to take the answer.
const REFUSAL_TIME: Duration = Duration::from_secs(1);
/// Most streams opened and most metrics declared in one session. SPEC §11.
const STREAMS_OPENED_MAX: usize = 256;
const METRICS_DECLARED_MAX: usize = 8192;
/// How long a session that must end for the server's sake waits for its reports in flight.
const DRAIN_TIME: Duration = Duration::from_secs(3);

/// Serves a connection to its end.
pub(super) async fn run(shared: Arc<Shared>, stream: TcpStream, peer: SocketAddr, _guard: Guard) {
    let (accepted_at, accepted) = (shared.now(), Instant::now());
    let mut stopping = shared.stopping.clone();
    let opened = tokio::select! {
        opened = open(&shared, stream, accepted) => opened,
        // Nothing is known of it yet, so there is nobody to tell.
        _ = stopping.wait_for(|stop| *stop) => None,
    };
    let Some((transport, binding, problem)) = opened else { return };
    let machine = shared.machine.clone();
    let wire = pulsewire_proto::session::Transport { binding, loopback: shared.loopback };
    let session = ServerSession::new(accepted_at, machine, wire);
    let mut connection = Connection::new(shared, transport, session, peer);
    if let Some((code, text)) = problem {
        connection.session.close(code, &text);
    }
    connection.drive().await;
}

/// Tells a connection that there is no room, in words that its transport understands.
pub(super) async fn refuse(stream: TcpStream, full: Full) {
    metrics::counter!(names::CLOSED, "code" => CloseCode::TooManyConnections.name()).increment(1);
    let (opening, stream) = match transport::sniff(Box::new(stream), Instant::now() + REFUSAL_TIME).await {
        Sniffed::Decided(opening, stream) => (opening, stream),
        Sniffed::Late(stream) => (Opening::Unknown, stream),
        Sniffed::Gone => return,
    };
    if opening == Opening::WebSocket {
        transport::refuse_upgrade(stream, &full.to_string(), RETRY_AFTER_MS / 1000).await;
        return;
    }
    let close = Close::new(CloseCode::TooManyConnections, &full.to_string()).with_retry_after_ms(RETRY_AFTER_MS);
    let closed = Closed {
        by: ClosedBy::Here,
        code: close.code,
        text: close.text.clone(),
        reconnect: true,
        retry_after_ms: close.retry_after_ms,
    };
    let mut bytes = Vec::new();
    pulsewire_proto::Message::Close(close).encode(&mut bytes);
    let mut transport = Transport::Raw(stream);
    // A peer that does not read does not learn it.
    let _ = timeout(REFUSAL_TIME, transport.send(bytes)).await;
    transport.finish(&closed).await;
}

type Opened = (Transport, Binding, Option<(CloseCode, String)>);

/// Finds out which transport this is. The third part is why the session must end at once, if it must. None if the
/// connection ended, or cannot be told anything.
async fn open(shared: &Shared, stream: TcpStream, accepted: Instant) -> Option<Opened> {
    let deadline = accepted + shared.options.login_timeout;
    let plain = shared.tls.plain_binding;
    let sniffed = transport::sniff(Box::new(stream), deadline).await;
    let Sniffed::Decided(Opening::Tls, stream) = sniffed else {
        return by_opening(shared, sniffed, plain, deadline).await;
    };
    let Some(acceptor) = &shared.tls.acceptor else {
        let text = "TLS is not configured on this port: connect without it, or set device.tls_cert_file";
        return Some((Transport::Raw(stream), plain, Some((CloseCode::BadMagic, text.into()))));
    };
    let secured = tokio::time::timeout_at(deadline, acceptor.accept(stream.unlimited())).await.ok()?;
    let secured = secured.map_err(|error| tracing::debug!(%error, "TLS handshake failed")).ok()?;
    let sniffed = transport::sniff(Box::new(secured), deadline).await;
    by_opening(shared, sniffed, shared.tls.binding, deadline).await
}

async fn by_opening(shared: &Shared, sniffed: Sniffed, binding: Binding, deadline: Instant) -> Option<Opened> {
    let (opening, stream) = match sniffed {
        Sniffed::Decided(opening, stream) => (opening, stream),
        Sniffed::Late(stream) => {
            let text = format!("nothing to tell the protocol by came within {:?}", shared.options.login_timeout);
            return Some((Transport::Raw(stream), binding, Some((CloseCode::LoginTimeout, text))));
        }
        Sniffed::Gone => return None,
    };
    let problem = match opening {
        Opening::Raw => None,
        Opening::WebSocket => {
            let options = &shared.options;
            let window_bytes = options.window_bytes as usize + options.window_frames as usize * HEADER_BYTES;
            let message_max = window_bytes + options.frame_bytes_max as usize + HEADER_BYTES;
            let upgrade = Transport::upgrade(stream, message_max);
            let upgraded = tokio::time::timeout_at(deadline, upgrade).await.ok()?;
            let transport = upgraded.map_err(|error| tracing::debug!(%error, "WebSocket upgrade refused")).ok()?;
            return Some((transport, binding, None));
        }
        Opening::Tls => Some("TLS within TLS is not spoken here"),
        Opening::Proxy => Some("proxy headers are not trusted on this port"),
        Opening::Unknown => {
            Some("this is the Pulsewire device port: it takes frames that begin with AB CD, or a WebSocket on /device")
        }
    };
    Some((Transport::Raw(stream), binding, problem.map(|text| (CloseCode::BadMagic, text.to_owned()))))
}

pub(super) struct Connection {
    pub(super) shared: Arc<Shared>,
    pub(super) transport: Option<Transport>,
    pub(super) session: ServerSession,
    reader: FrameReader,
    pub(super) mailbox: Arc<Mailbox>,
    // The device that proved itself or is about to.
    pub(super) claimed: Option<Arc<Device>>,
    // What its proof was or will be checked against.
    pub(super) candidates: Option<Candidates>,
    pub(super) hello: Option<Hello>,
    pub(super) login: Option<LoggedIn>,
    pub(super) sets: Vec<DeclaredSet>,
    // Reports of the read under way; empty between reads.
    pub(super) gathered: Gathered,
    streams_opened: usize,
    // What the commands' service has for the device.
    pub(super) outgoing: Arc<Outgoing>,
    pub(super) command_sets: usize,
    unknown_frames: u64,
    // The last step was to read: an end that is due goes before the next one.
    just_read: bool,
    // Nothing is read before this time, or an answer of ingest.
    pub(super) resting: Option<Instant>,
    // Set when the server must end the session: nothing more is read, and what is in flight has until then.
    draining: Option<(Instant, EndSession)>,
    pub(super) peer: SocketAddr,
}

enum Step {
    Received(Received),
    Replies,
    Outgoing,
    End(EndSession),
    Time,
}

impl Connection {
    fn new(shared: Arc<Shared>, transport: Transport, session: ServerSession, peer: SocketAddr) -> Self {
        let reader = FrameReader::new(session.frame_limit());
        Self {
            shared,
            transport: Some(transport),
            session,
            reader,
            mailbox: Arc::default(),
            claimed: None,
            candidates: None,
            hello: None,
            login: None,
            sets: Vec::new(),
            gathered: Gathered::default(),
            streams_opened: 0,
            outgoing: Arc::default(),
            command_sets: 0,
            unknown_frames: 0,
            just_read: false,
            resting: None,
            draining: None,
            peer,
        }
    }

    async fn drive(mut self) {
        loop {
            if let Some(closed) = self.flush().await {
                self.end(closed).await;
                return;
            }
            match self.step().await {
                Step::Received(received) => self.on_received(received).await,
                Step::Replies => self.on_replies(),
                Step::Outgoing => self.on_outgoing(),
                Step::End(end) => self.on_end(end),
                Step::Time => self.on_time(),
            }
        }
    }

    /// Waits for the next thing to do.
    async fn step(&mut self) -> Step {
        let shared = &self.shared;
        let machine = self.session.next_deadline().map(|at| shared.instant(at));
        let draining = self.draining.as_ref().map(|(until, _)| *until);
        let resting = self.resting.filter(|until| *until > Instant::now());
        let deadline = draining.or(machine).into_iter().chain(resting).min();
        let mut stopping = shared.stopping.clone();
        let ending = async {
            let end = match self.login.as_mut() {
                _ if draining.is_some() => None,
                Some(login) => login.ending.wait_for(Option::is_some).await.ok().and_then(|end| end.clone()),
                // Before login a stop is all there is to be told.
                None => stopping
                    .wait_for(|stop| *stop)
                    .await
                    .ok()
                    .map(|_| EndSession { code: CloseCode::GoingAway, text: STOPPING.into() }),
            };
            match end {
                Some(end) => end,
                None => std::future::pending().await,
            }
        };
        let receiving = async {
            match self.transport.as_mut() {
                Some(transport) if draining.is_none() && resting.is_none() => transport.receive().await,
                _ => std::future::pending().await,
            }
        };
        let outgoing = async {
            // While it drains, a session is given nothing new to do.
            match draining {
                None => self.outgoing.arrived().await,
                Some(_) => std::future::pending().await,
            }
        };
        let sleeping = async {
            match deadline {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        // In this order: what arrived is a sign of life, and must be seen before a deadline that passed while the session
        // waited for ingest; and what a device sent before its next login is stored rather than sent again, though a device
        // that never pauses cannot put off the end.
        let just_read = std::mem::replace(&mut self.just_read, false);
        let step = if just_read {
            tokio::select! {
                biased;
                end = ending => Step::End(end),
                () = self.mailbox.arrived() => Step::Replies,
                () = outgoing => Step::Outgoing,
                received = receiving => Step::Received(received),
                () = sleeping => Step::Time,
            }
        } else {
            tokio::select! {
                biased;
                () = self.mailbox.arrived() => Step::Replies,
                () = outgoing => Step::Outgoing,
                received = receiving => Step::Received(received),
                end = ending => Step::End(end),
                () = sleeping => Step::Time,
            }
        };
        self.just_read = matches!(step, Step::Received(_));
        step
    }

    async fn on_received(&mut self, received: Received) {
        match received {
            Received::Bytes(bytes) => self.on_bytes(&bytes).await,
            Received::Text => {
                self.session
                    .close(CloseCode::TextMessage, "text messages are not spoken here: send frames in binary messages");
            }
            Received::TooLarge(text) => self.session.close(CloseCode::FrameTooLarge, &text),
            Received::End => self.transport = None,
        }
    }

    async fn on_bytes(&mut self, mut input: &[u8]) {
        // Taken out for the time of the call, since handling a frame needs all of the connection.
        let mut reader = std::mem::replace(&mut self.reader, FrameReader::new(0));
        let (mut now, mut frames) = (self.shared.now(), 0);
        while !self.session.is_closed() {
            reader.set_limit(self.session.frame_limit());
            let frame = match reader.next_frame(&mut input) {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(error) => {
                    self.session.handle_header_error(&error);
                    break;
                }
            };
            frames += 1;
            let waited = match self.session.handle_frame(now, frame) {
                None => false,
                Some(ServerEvent::Report(report)) => self.on_report(&report, input.len()).await,
                Some(event) => {
                    // What came before it is submitted before it.
                    self.submit_gathered(None).await;
                    self.on_event(event).await;
                    true
                }
            };
            if waited {
                now = self.shared.now();
                // Answers are taken out as they come, so that they do not gather while a long message is handled.
                self.on_replies();
                self.on_outgoing();
            }
        }
        self.submit_gathered(None).await;
        metrics::counter!(names::FRAMES).increment(frames);
        self.reader = reader;
        let whole = self.transport.as_ref().is_some_and(Transport::has_messages);
        if whole && self.reader.has_partial() && !self.session.is_closed() {
            self.session.close(CloseCode::Malformed, "a frame is cut off at the end of its WebSocket message");
        }
    }

    async fn on_event(&mut self, event: ServerEvent<'_>) {
        match event {
            ServerEvent::Authenticate(hello) => self.authenticate(hello).await,
            ServerEvent::CheckToken(hello) => self.check_token(hello).await,
            ServerEvent::LoggedIn(fitting) => {
                let verifier = self.candidates.take().and_then(|c| match fitting {
                    Candidate::Current => Some(c.current),
                    Candidate::Previous => c.previous,
                });
                match verifier {
                    Some(verifier) => self.welcome(Credential::Secret(verifier)).await,
                    None => self.session.close(CloseCode::Internal, "the login lost its verifier"),
                }
            }
            ServerEvent::ProofRejected => {
                // Only the operator learns which it was.
                let device = self.hello.as_ref().map(|h| h.device.clone()).unwrap_or_default();
                let known = self.claimed.is_some();
                tracing::info!(device, known, peer = %self.peer, "login refused: the proof is wrong");
            }
            ServerEvent::StreamOpen(_) if self.streams_opened == STREAMS_OPENED_MAX => {
                let text = format!("a session may open {STREAMS_OPENED_MAX} streams; keep and reuse them");
                self.session.close(CloseCode::TooManyDeclared, &text);
            }
            ServerEvent::StreamOpen(open) => {
                self.streams_opened += 1;
                let kind = match open.kind {
                    pulsewire_proto::frame::StreamKind::Live => StreamKind::Live,
                    pulsewire_proto::frame::StreamKind::Backlog => StreamKind::Backlog,
                };
                let request = open.request;
                self.submit(|device, mailbox| Submission::OpenStream { device, mailbox, request, kind }).await;
            }
            ServerEvent::MetricSet(set) => match DeclaredSet::new(set) {
                Ok(declared) => {
                    self.sets.retain(|known| known.wire.set != declared.wire.set);
                    self.sets.push(declared);
                    let metrics: usize = self.sets.iter().map(|known| known.wire.metrics.len()).sum();
                    if metrics > METRICS_DECLARED_MAX {
                        let text = format!("a session may declare {METRICS_DECLARED_MAX} metrics over all its sets");
                        self.session.close(CloseCode::TooManyDeclared, &text);
                    }
                }
                Err(error) => self.session.close(CloseCode::Malformed, &format!("METRIC_SET: {error}")),
            },
            ServerEvent::Report(report) => drop(self.on_report(&report, 0).await),
            ServerEvent::Skip(skip) => {
                let (stream, from, to) = (StreamId(skip.stream), Sequence(skip.from), Sequence(skip.to));
                self.submit(|device, mailbox| Submission::Skip { device, mailbox, stream, from, to }).await;
            }
            ServerEvent::Delivered(delivered) => self.on_delivered(delivered).await,
            ServerEvent::Progress(progress) => self.on_progress(progress).await,
            ServerEvent::Result(result) => self.on_result(result).await,
            ServerEvent::CommandSet(set) => self.on_command_set(set).await,
        }
    }

    async fn submit(&mut self, make: impl FnOnce(pulsewire_core::ids::DeviceKey, Arc<Mailbox>) -> Submission) {
        // Small ones take a place in the queue, not its bytes.
        let Some(login) = &self.login else { return };
        let submission = make(login.device.key, self.mailbox.clone());
        if self.shared.parts.ingest.submit(submission, 0).await.is_err() {
            self.session.close(CloseCode::GoingAway, STOPPING);
        }
    }

    fn on_replies(&mut self) {
        while let Some(reply) = self.mailbox.try_take() {
            self.resting = None;
            match reply {
                IngestReply::Ack { stream, sequence } => self.session.ack(stream.0, sequence.0),
                IngestReply::Nack { stream, sequence, items, total } => {
                    let (items, text) = report::nack(&items, total);
                    self.session.nack(Nack { stream: stream.0, sequence: sequence.0, items, total, text });
                }
                IngestReply::StreamOpened { request, stream } => self.session.stream_id(request, stream.0),
                // Sessions import nothing.
                IngestReply::Imported { .. } => {}
                IngestReply::Refused(refusal) => self.session.close_with(refusal_close(&refusal)),
            }
        }
        self.end_if_drained();
    }

    fn on_end(&mut self, end: EndSession) {
        if end.code == CloseCode::GoingAway {
            self.draining = Some((Instant::now() + DRAIN_TIME, end));
            self.end_if_drained();
        } else {
            self.session.close(end.code, &end.text);
        }
    }

    fn end_if_drained(&mut self) {
        if let Some((until, end)) = &self.draining
            && (self.session.frames_in_flight() == 0 || Instant::now() >= *until)
        {
            self.session.close(end.code, &end.text);
        }
    }

    fn on_time(&mut self) {
        self.session.on_time(self.shared.now());
        self.end_if_drained();
    }

    /// Sends what waits. Some = the session has ended.
    async fn flush(&mut self) -> Option<Closed> {
        let new_unknown = self.session.unknown_frames() - self.unknown_frames;
        if new_unknown > 0 {
            metrics::counter!(names::FRAMES_UNKNOWN).increment(new_unknown);
            self.unknown_frames += new_unknown;
        }
        loop {
            match self.session.poll_output() {
                Some(Output::Send(bytes)) => {
                    let Some(transport) = self.transport.as_mut() else { break };
                    let sent = timeout(self.shared.options.write_timeout, transport.send(bytes)).await;
                    if !matches!(sent, Ok(Ok(()))) {
                        self.transport = None;
                    }
                }
                Some(Output::Closed(closed)) => return Some(closed),
                None if self.transport.is_some() && self.draining.is_none() && self.on_next_command() => {}
                None => break,
            }
        }
        self.transport.is_none().then(|| Closed {
            by: ClosedBy::Peer,
            code: CloseCode::Normal.as_u16(),
            text: "the connection ended".into(),
            reconnect: false,
            retry_after_ms: 0,
        })
    }

    async fn end(mut self, closed: Closed) {
        if closed.by == ClosedBy::Here {
            let name = CloseCode::from_u16(closed.code).map_or("unknown", CloseCode::name);
            metrics::counter!(names::CLOSED, "code" => name).increment(1);
            let device = self.login.as_ref().map(|l| l.device.id.to_string());
            tracing::debug!(device, peer = %self.peer, code = closed.code, text = closed.text, "session closed");
        }
        drop(self.login.take());
        if let Some(transport) = self.transport.take() {
            transport.finish(&closed).await;
        }
    }
}

fn refusal_close(refusal: &Refusal) -> Close {
    match refusal {
        Refusal::UnknownStream(stream) => {
            let text = format!("stream {stream} is not open for this device: open a new one with STREAM_OPEN");
            Close::new(CloseCode::UnknownStream, &text)
        }
        Refusal::Gap { stream, expected, got } => {
            let text =
                format!("stream {stream}: sequence {got} came, {expected} is next: resend from {expected}, or SKIP");
            Close::new(CloseCode::SequenceGap, &text)
        }
        Refusal::Clone { stream, sequence } => {
            let text = format!(
                "stream {stream}: sequence {sequence} was stored with other content: two devices share one identity"
            );
            Close::new(CloseCode::Clone, &text)
        }
        Refusal::DeviceGone => Close::new(CloseCode::Revoked, "the device was deleted"),
        Refusal::Unavailable { stopped } => {
            let text = match stopped {
                true => "the server's journal has stopped; what was not acknowledged is not stored",
                false => "the server cannot store now; what was not acknowledged is not stored",
            };
            Close::new(CloseCode::StorageUnavailable, text).with_retry_after_ms(RETRY_AFTER_MS)
        }
    }
}

impl Shared {
    /// Monotonic time since the hub started, for the session machines.
    pub(super) fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn instant(&self, at: Duration) -> Instant {
        Instant::from_std(self.started + at)
    }
}
