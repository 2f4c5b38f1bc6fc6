use std::{io, sync::Arc, time::Duration};

use pulsewire_proto::{
    CloseCode, FrameReader,
    auth::Binding,
    frame::{Command, Welcome},
    session::{Closed, ClosedBy, DeviceConfig, DeviceEvent, DeviceLogin, DeviceSession, Output, SendError},
};
use tokio::time::{Instant, sleep, sleep_until};

use super::{
    Answer, ClientStats, Next, Source, Target,
    backoff::Backoff,
    commands::{Ledger, rejected},
    transport::Transport,
};
use crate::{Shutdown, SimError};

/// Bytes that may wait for the socket before more reports are taken from the source.
const OUT_BYTES: usize = 64 * 1024;
/// How long reports in flight may take to be acknowledged once an end was asked for.
const DRAIN_LIMIT: Duration = Duration::from_secs(5);

/// Who connects where.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// The server.
    pub target: Target,
    /// Device id.
    pub device: String,
    /// Its secret or token.
    pub login: DeviceLogin,
    /// Shown to operators, at most 64 bytes.
    pub firmware: String,
    /// Seed of the back-off's jitter.
    pub seed: u64,
    /// Without a login or an acknowledgement for this long, [`DeviceClient::run`] gives up. `None`: never.
    pub give_up_after: Option<Duration>,
}

/// One device. [`run`](Self::run) keeps it connected until its source is done, an end is asked for, or the server ends
/// the session for good.
#[derive(Debug)]
pub struct DeviceClient<S> {
    options: ClientOptions,
    source: S,
    stats: Arc<ClientStats>,
    backoff: Backoff,
    ledger: Ledger,
    origin: Instant,
    progress: Instant,
    // The last connection was live until this side ended it.
    ended_live: bool,
}

/// How a connection ended.
enum Ended {
    /// The source is done, or an end was asked for.
    Finished,
    /// CLOSE from either side.
    Closed(Closed),
    /// The connection broke.
    Broken(io::Error),
}

impl<S: Source> DeviceClient<S> {
    /// A client that has not connected yet.
    pub fn new(options: ClientOptions, source: S, stats: Arc<ClientStats>) -> Self {
        let now = Instant::now();
        DeviceClient {
            backoff: Backoff::new(options.seed),
            ledger: Ledger::default(),
            options,
            source,
            stats,
            origin: now,
            progress: now,
            ended_live: false,
        }
    }

    /// Who connects where.
    pub fn options(&self) -> &ClientOptions {
        &self.options
    }

    /// The source, for what it counted.
    pub fn source(&self) -> &S {
        &self.source
    }

    /// The source, to change what it will send.
    pub fn source_mut(&mut self) -> &mut S {
        &mut self.source
    }

    /// Another login for the next connection, after the server refused the present one.
    pub fn set_login(&mut self, login: DeviceLogin) {
        self.options.login = login;
    }

    /// Whether the last run ended on a live connection; if not, what the source made meanwhile went nowhere.
    pub fn ended_live(&self) -> bool {
        self.ended_live
    }

    /// Connects, sends and comes back until there is nothing left to do. Not cancel-safe: use `shutdown`, which lets
    /// reports in flight be acknowledged and closes in good order.
    pub async fn run(&mut self, mut shutdown: Shutdown) -> Result<(), SimError> {
        self.progress = Instant::now();
        loop {
            if shutdown.is_requested() {
                return Ok(());
            }
            let (problem, retry_after) = match self.connect_once(&mut shutdown).await? {
                Ended::Finished => return Ok(()),
                Ended::Closed(closed) if !closed.reconnect => return Err(self.closed_error(closed)),
                Ended::Closed(closed) => {
                    let who = if closed.by == ClosedBy::Peer { "the server closed" } else { "closed" };
                    let text = format!("{who} with {}: {}", closed.code, closed.text);
                    (text, Duration::from_millis(u64::from(closed.retry_after_ms)))
                }
                Ended::Broken(error) => (format!("{}: {error}", self.options.target), Duration::ZERO),
            };
            ClientStats::add(&self.stats.disconnects, 1);
            self.stats.problem(&problem);
            let wait = self.backoff.next(retry_after);
            if let Some(limit) = self.options.give_up_after
                && self.progress.elapsed() + wait > limit
            {
                return Err(SimError::GaveUp { device: self.options.device.clone(), after: limit, last: problem });
            }
            tokio::select! {
                () = sleep(wait) => {}
                () = shutdown.wait() => return Ok(()),
            }
        }
    }

    async fn connect_once(&mut self, shutdown: &mut Shutdown) -> Result<Ended, SimError> {
        let connected = tokio::select! {
            connected = Transport::connect(&self.options.target) => connected,
            () = shutdown.wait() => return Ok(Ended::Finished),
        };
        let mut transport = match connected {
            Ok(transport) => transport,
            Err(error) => return Ok(Ended::Broken(error)),
        };
        let mut connection = Connection::new(self.session()?);
        let ended = connection.drive(self, &mut transport, shutdown).await;
        if connection.was_live && connection.session.frames_in_flight() == 0 {
            // It was connected and owed nothing: waiting for the source is no lack of progress.
            self.progress = Instant::now();
        }
        self.ended_live = connection.was_live && matches!(ended, Ok(Ended::Finished));
        if connection.was_live {
            self.stats.connected.fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
        }
        if !matches!(ended, Ok(Ended::Broken(_))) {
            transport.finish(connection.out).await;
        }
        ended
    }

    fn session(&self) -> Result<DeviceSession, SimError> {
        let mut nonce = [0; 32];
        getrandom::fill(&mut nonce).map_err(|error| SimError::Task(format!("no random bytes: {error}")))?;
        let config = DeviceConfig {
            device: self.options.device.clone(),
            login: self.options.login.clone(),
            firmware: self.options.firmware.clone(),
            streams: self.source.stream().into_iter().collect(),
            binding: Binding::Plain,
        };
        DeviceSession::new(self.origin.elapsed(), config, nonce).map_err(|error| SimError::Invalid {
            name: "device",
            value: self.options.device.clone(),
            allowed: error.to_string(),
        })
    }

    fn closed_error(&self, closed: Closed) -> SimError {
        SimError::Closed { device: self.options.device.clone(), code: closed.code, text: closed.text }
    }

    fn made_progress(&mut self) {
        self.progress = Instant::now();
        self.backoff.reset();
    }
}

impl SimError {
    /// Whether the server refused the login itself, so that another secret may help.
    pub fn is_bad_credentials(&self) -> bool {
        matches!(self, SimError::Closed { code, .. } if *code == CloseCode::BadCredentials.as_u16())
    }
}

/// One connection while it lasts.
struct Connection {
    session: DeviceSession,
    reader: FrameReader,
    input: Vec<u8>,
    out: Vec<u8>,
    was_live: bool,
    /// The server knows the source's stream in this session.
    streaming: bool,
    /// The server's clock at login, and when that was.
    server_time: Option<(i64, Duration)>,
    closed: Option<Closed>,
}

impl Connection {
    fn new(session: DeviceSession) -> Connection {
        let reader = FrameReader::new(session.frame_limit());
        Connection {
            session,
            reader,
            input: Vec::new(),
            out: Vec::new(),
            was_live: false,
            streaming: false,
            server_time: None,
            closed: None,
        }
    }

    async fn drive<S: Source>(
        &mut self,
        client: &mut DeviceClient<S>,
        transport: &mut Transport,
        shutdown: &mut Shutdown,
    ) -> Result<Ended, SimError> {
        let mut drain_until = None::<Instant>;
        loop {
            if self.session.is_live() {
                let answers = client.source.answers();
                self.answer(client, answers, client.origin.elapsed());
            }
            let wake = if drain_until.is_none() { self.fill(client)? } else { Wake::Idle };
            self.collect();
            if let Some(closed) = self.closed.take() {
                return Ok(Ended::Closed(closed));
            }
            let drained =
                drain_until.is_some() && (self.session.frames_in_flight() == 0 || drain_until < Some(Instant::now()));
            if drained || matches!(wake, Wake::Done) {
                self.session.close("done");
                self.collect();
                return Ok(Ended::Finished);
            }
            let deadline = self.session.next_deadline().map(|deadline| client.origin + deadline);
            let answers_at = if self.session.is_live() { client.source.answers_at() } else { None };
            let deadline = [deadline, drain_until, answers_at].into_iter().flatten().min();
            let source_at = match wake {
                Wake::At(at) => Some(at),
                _ => None,
            };
            let watch_source = !matches!(wake, Wake::Full) && drain_until.is_none() && self.streaming;
            let exchanged = tokio::select! {
                exchanged = transport.exchange(&mut self.out, &mut self.input) => Some(exchanged),
                () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => None,
                () = client.source.ready(source_at), if watch_source => None,
                () = shutdown.wait(), if drain_until.is_none() => {
                    drain_until = Some(Instant::now() + DRAIN_LIMIT);
                    None
                }
            };
            match exchanged {
                Some(Err(error)) => {
                    // A CLOSE may have come with the connection's last bytes.
                    self.take_frames(client).await?;
                    self.collect();
                    return Ok(self.closed.take().map_or(Ended::Broken(error), Ended::Closed));
                }
                Some(Ok(())) => self.take_frames(client).await?,
                None => self.session.on_time(client.origin.elapsed()),
            }
        }
    }

    /// Takes reports from the source while window and socket have room.
    fn fill<S: Source>(&mut self, client: &mut DeviceClient<S>) -> Result<Wake, SimError> {
        if !self.streaming || self.session.is_closed() {
            return Ok(Wake::Full);
        }
        let now = client.origin.elapsed();
        while self.out.len() < OUT_BYTES {
            let result = match client.source.next(Instant::now()) {
                Next::Report { payload, samples, backfill } => {
                    self.session.report(now, backfill, payload).inspect(|()| {
                        ClientStats::add(&client.stats.sent, 1);
                        ClientStats::add(&client.stats.samples, u64::from(samples));
                    })
                }
                Next::Skip(skip) => self.session.skip(now, skip),
                Next::At(at) => return Ok(Wake::At(at)),
                Next::Idle => return Ok(Wake::Idle),
                Next::Done => return Ok(Wake::Done),
            };
            match result {
                Ok(()) => client.source.sent(),
                Err(SendError::WindowFull | SendError::NotLive) => return Ok(Wake::Full),
                Err(error) => {
                    return Err(SimError::Invalid {
                        name: "report",
                        value: client.options.device.clone(),
                        allowed: error.to_string(),
                    });
                }
            }
            self.collect();
        }
        Ok(Wake::Full)
    }

    async fn take_frames<S: Source>(&mut self, client: &mut DeviceClient<S>) -> Result<(), SimError> {
        let input = std::mem::take(&mut self.input);
        let mut rest = &input[..];
        loop {
            let now = client.origin.elapsed();
            let event = match self.reader.next_frame(&mut rest) {
                Ok(Some(frame)) => self.session.handle_frame(now, frame),
                Ok(None) => return Ok(()),
                Err(error) => {
                    self.session.handle_header_error(&error);
                    return Ok(());
                }
            };
            match event {
                Some(DeviceEvent::Welcome(welcome)) => self.welcome(client, &welcome, now),
                Some(DeviceEvent::StreamId(issued)) => {
                    client.source.opened(issued.stream).await?;
                    client.source.resumed(0);
                    self.streaming = true;
                }
                Some(DeviceEvent::Ack(ack)) if client.source.stream() == Some(ack.stream) => {
                    let settled = client.source.acked(ack.sequence);
                    ClientStats::add(&client.stats.acknowledged, settled);
                    client.made_progress();
                }
                Some(DeviceEvent::Nack(nack)) => {
                    ClientStats::add(&client.stats.rejected, u64::from(nack.total));
                    client.stats.problem(&format!("{}: values rejected: {}", client.options.device, nack.text));
                }
                Some(DeviceEvent::Command(command)) => self.command(client, &command, now),
                Some(DeviceEvent::Cancel(cancel)) => {
                    let answers = client.source.cancel(cancel.id);
                    self.answer(client, answers, now);
                }
                Some(DeviceEvent::ResultAck(ack)) => client.ledger.forget(ack.id),
                Some(DeviceEvent::Ack(_)) | None => {}
            }
        }
    }

    fn welcome<S: Source>(&mut self, client: &mut DeviceClient<S>, welcome: &Welcome, now: Duration) {
        self.was_live = true;
        ClientStats::add(&client.stats.connected, 1);
        ClientStats::add(&client.stats.logins, 1);
        client.progress = Instant::now();
        self.server_time = Some((welcome.server_time_us, now));
        if let Some(set) = client.source.commands() {
            let declared = self.session.declare_commands(now, &set);
            debug_assert!(declared.is_ok(), "{declared:?}");
        }
        for result in client.ledger.results() {
            let sent = self.session.result(now, result);
            debug_assert!(sent.is_ok(), "{sent:?}");
        }
        for set in client.source.metric_sets() {
            // The session is live and the sets were checked when they were made.
            let declared = self.session.declare(now, set);
            debug_assert!(declared.is_ok(), "{declared:?}");
        }
        let known = client.source.stream().and_then(|stream| {
            welcome.streams.iter().find(|position| position.stream == stream).map(|position| position.sequence)
        });
        match known {
            Some(durable) => {
                let settled = client.source.resumed(durable);
                ClientStats::add(&client.stats.acknowledged, settled);
                self.streaming = true;
            }
            None => {
                let opened = self.session.open_stream(now, client.source.kind());
                debug_assert!(opened.is_ok(), "{opened:?}");
            }
        }
    }

    /// A command is carried out at most once, and not after its deadline.
    fn command<S: Source>(&mut self, client: &mut DeviceClient<S>, command: &Command, now: Duration) {
        ClientStats::add(&client.stats.commands, 1);
        if client.ledger.has(command.id) {
            let answers = client.ledger.repeat(command.id);
            return self.answer(client, answers, now);
        }
        let server_now_us = self.server_time.map_or(i64::MIN, |(time_us, at)| {
            time_us.saturating_add(i64::try_from(now.saturating_sub(at).as_micros()).unwrap_or(i64::MAX))
        });
        let answers = if server_now_us > command.deadline_us {
            Some(vec![rejected(command, "expired", "its deadline had passed when it came")])
        } else {
            client.source.command(command)
        };
        let Some(answers) = answers else { return };
        client.ledger.take(command.id);
        self.answer(client, answers, now);
    }

    /// Sends answers; of those that a session does not take, results are kept.
    fn answer<S: Source>(&mut self, client: &mut DeviceClient<S>, answers: Vec<Answer>, now: Duration) {
        for answer in answers {
            let sent = match answer {
                Answer::Delivered(id) => self.session.delivered(now, id),
                Answer::Progress(progress) => self.session.progress(now, progress),
                Answer::Result(result) => {
                    client.ledger.keep(&result);
                    self.session.result(now, &result)
                }
            };
            if let Err(error) = sent {
                client.stats.problem(&format!("{}: an answer was not sent: {error}", client.options.device));
            }
        }
    }

    /// Moves the session's output to the socket's side.
    fn collect(&mut self) {
        while let Some(output) = self.session.poll_output() {
            match output {
                Output::Send(bytes) => self.out.extend_from_slice(&bytes),
                Output::Closed(closed) => self.closed = Some(closed),
            }
        }
    }
}

/// What [`Connection::fill`] waits for.
enum Wake {
    /// The socket or the window.
    Full,
    /// The source's next time.
    At(Instant),
    /// Whatever the source waits for.
    Idle,
    /// Nothing: all is done.
    Done,
}
