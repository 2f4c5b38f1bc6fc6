//! A small server on a loopback socket, made of the protocol crate's server machine: it stores in memory, checks
//! sequences, and breaks connections when told to.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use pulsewire_proto::{
    CloseCode, FrameReader,
    auth::{Binding, Verifier},
    frame::{Close, StreamPosition, TwinStatus},
    session::{Candidates, Output, ServerConfig, ServerEvent, ServerSession, Transport, WelcomeParams},
};
use pulsewire_sim::Target;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::Instant,
};

pub const SECRET: [u8; 32] = [5; 32];

/// How the server misbehaves.
#[derive(Debug, Clone, Copy, Default)]
pub struct Faults {
    /// Breaks each connection after so many reports, having stored them, without the last acknowledgements.
    pub break_after: Option<u64>,
    /// Closes each session for good right after login.
    pub revoke: bool,
}

/// What the server holds.
#[derive(Debug, Default)]
pub struct Store {
    /// Payloads by device and stream, sequence 1 first.
    pub streams: BTreeMap<(String, u32), Vec<Vec<u8>>>,
    pub duplicates: u64,
    /// Repeats whose bytes were not those stored.
    pub clones: u64,
    pub logins: u64,
}

#[derive(Clone)]
pub struct TestServer {
    pub target: Target,
    store: Arc<Mutex<Store>>,
    faults: Arc<Mutex<Faults>>,
}

impl TestServer {
    pub async fn start(faults: Faults) -> TestServer {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let target = Target::Tcp(listener.local_addr().expect("an address").to_string());
        let server = TestServer { target, store: Arc::default(), faults: Arc::new(Mutex::new(faults)) };
        let accepting = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let server = accepting.clone();
                tokio::spawn(async move { server.serve(stream).await });
            }
        });
        server
    }

    pub fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn set_faults(&self, faults: Faults) {
        *self.faults.lock().unwrap_or_else(PoisonError::into_inner) = faults;
    }

    async fn serve(&self, mut socket: TcpStream) {
        let faults = *self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        let origin = Instant::now();
        let config = ServerConfig { window_frames: 16, ..ServerConfig::default() };
        let transport = Transport { binding: Binding::Plain, loopback: true };
        let mut session = ServerSession::new(Duration::ZERO, Arc::new(config), transport);
        let mut reader = FrameReader::new(session.frame_limit());
        let (mut device, mut hello_streams, mut reports) = (String::new(), Vec::new(), 0);
        let mut buffer = [0; 4096];
        loop {
            let Ok(read @ 1..) = socket.read(&mut buffer).await else { return };
            let mut input = &buffer[..read];
            let mut acks = BTreeMap::new();
            loop {
                reader.set_limit(session.frame_limit());
                let Ok(Some(frame)) = reader.next_frame(&mut input) else { break };
                match session.handle_frame(origin.elapsed(), frame) {
                    Some(ServerEvent::Authenticate(hello)) => {
                        (device, hello_streams) = (hello.device, hello.streams);
                        let candidates = Candidates { current: Verifier::from_secret(&SECRET), previous: None };
                        session.credentials(candidates, [1; 32], 0);
                    }
                    Some(ServerEvent::LoggedIn(_)) => {
                        let streams = self.positions(&device, &hello_streams);
                        let params =
                            WelcomeParams { session_epoch: 1, server_time_us: 0, streams, twin: TwinStatus::None };
                        session.welcome(origin.elapsed(), params);
                        if faults.revoke {
                            session.close_with(Close::new(CloseCode::Revoked, "disabled by a test"));
                        }
                    }
                    Some(ServerEvent::StreamOpen(open)) => {
                        let stream = self.open_stream(&device);
                        session.stream_id(open.request, stream);
                    }
                    Some(ServerEvent::Report(event)) => {
                        event.report.check(&event.set).expect("a sound report");
                        let (stream, sequence) = (event.report.stream, event.report.sequence);
                        let payload = event.payload.to_vec();
                        match self.take(&device, stream, sequence, payload) {
                            Ok(durable) => drop(acks.insert(stream, durable)),
                            Err(code) => session.close(code, "refused by a test"),
                        }
                        reports += 1;
                        if faults.break_after.is_some_and(|limit| reports >= limit) {
                            return;
                        }
                    }
                    Some(ServerEvent::Skip(skip)) => session.ack(skip.stream, skip.to),
                    _ => {}
                }
            }
            for (stream, durable) in acks {
                session.ack(stream, durable);
            }
            while let Some(output) = session.poll_output() {
                match output {
                    Output::Send(bytes) => {
                        if socket.write_all(&bytes).await.is_err() {
                            return;
                        }
                    }
                    Output::Closed(_) => return,
                }
            }
        }
    }

    fn positions(&self, device: &str, streams: &[u32]) -> Vec<StreamPosition> {
        let mut store = self.store();
        store.logins += 1;
        let known = streams.iter().filter_map(|stream| {
            let reports = store.streams.get(&(device.to_owned(), *stream))?;
            Some(StreamPosition { stream: *stream, sequence: reports.len() as u64 })
        });
        known.collect()
    }

    fn open_stream(&self, device: &str) -> u32 {
        let mut store = self.store();
        let stream = 1 + store.streams.keys().filter(|(owner, _)| owner == device).count() as u32;
        store.streams.insert((device.to_owned(), stream), Vec::new());
        stream
    }

    fn take(&self, device: &str, stream: u32, sequence: u64, payload: Vec<u8>) -> Result<u64, CloseCode> {
        let mut guard = self.store();
        let store = &mut *guard;
        let reports = store.streams.get_mut(&(device.to_owned(), stream)).ok_or(CloseCode::UnknownStream)?;
        let expected = reports.len() as u64 + 1;
        if sequence > expected {
            return Err(CloseCode::SequenceGap);
        }
        if sequence == expected {
            reports.push(payload);
        } else {
            store.duplicates += 1;
            store.clones += u64::from(reports[sequence as usize - 1] != payload);
        }
        Ok(reports.len() as u64)
    }
}
