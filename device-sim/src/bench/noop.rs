//! A server that does nothing but acknowledge: what the generator reaches against it is the most it could show of any.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use pulsewire_proto::{
    Message, MessageType, RawFrame,
    auth::{Binding, Verifier},
    frame::{Ack, TwinStatus},
    limits,
    session::{Candidates, Output, ServerConfig, ServerEvent, ServerSession, Transport, WelcomeParams},
};

use crate::SimError;

/// The secret of everyone who logs in here.
pub(super) const SECRET: [u8; 32] = [7; 32];
const LISTENER: Token = Token(usize::MAX);
const READ_BYTES: usize = 128 * 1024;
/// How soon it notices that it is not needed any more.
const TICK: Duration = Duration::from_millis(50);
const STREAM: u32 = 1;

/// On a loopback port, in a thread of its own, until dropped.
pub(super) struct Noop {
    pub address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

struct Peer {
    stream: TcpStream,
    session: ServerSession,
    carry: Vec<u8>,
    unwritten: Vec<u8>,
    acked: u64,
}

impl Noop {
    pub fn start() -> Result<Noop, SimError> {
        let failed = |error: std::io::Error| SimError::Task(format!("the no-op server: {error}"));
        let mut listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let poll = Poll::new().map_err(failed)?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE).map_err(failed)?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || serve(poll, &listener, &stopped));
        Ok(Noop { address, stop, thread: Some(thread) })
    }
}

impl Drop for Noop {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It has nothing to say.
            let _ = thread.join();
        }
    }
}

fn serve(mut poll: Poll, listener: &TcpListener, stop: &AtomicBool) {
    let mut events = Events::with_capacity(1024);
    let mut peers: Vec<Option<Peer>> = Vec::new();
    let (mut buffer, mut out) = (vec![0; READ_BYTES], Vec::new());
    let config = Arc::new(ServerConfig::default());
    while !stop.load(Ordering::Relaxed) {
        if poll.poll(&mut events, Some(TICK)).is_err() {
            continue;
        }
        for event in &events {
            if event.token() == LISTENER {
                while let Ok((mut stream, _)) = listener.accept() {
                    let interest = Interest::READABLE | Interest::WRITABLE;
                    let is_known = poll.registry().register(&mut stream, Token(peers.len()), interest).is_ok();
                    if is_known && stream.set_nodelay(true).is_ok() {
                        peers.push(Some(Peer::new(stream, config.clone())));
                    }
                }
            } else if let Some(slot) = peers.get_mut(event.token().0)
                && let Some(peer) = slot
                && peer.serve(&mut buffer, &mut out).is_none()
            {
                *slot = None;
            }
        }
    }
}

impl Peer {
    fn new(stream: TcpStream, config: Arc<ServerConfig>) -> Peer {
        let transport = Transport { binding: Binding::Plain, loopback: true };
        let session = ServerSession::new(Duration::ZERO, config, transport);
        Peer { stream, session, carry: Vec::new(), unwritten: Vec::new(), acked: 0 }
    }

    /// Takes what there is and acknowledges all of it; None at the end.
    fn serve(&mut self, buffer: &mut [u8], out: &mut Vec<u8>) -> Option<()> {
        let waiting = std::mem::take(&mut self.unwritten);
        self.write(&waiting)?;
        loop {
            let carried = self.carry.len();
            buffer.get_mut(..carried)?.copy_from_slice(&self.carry);
            let room = buffer.len() - carried;
            let count = match self.stream.read(&mut buffer[carried..]) {
                Ok(0) => return None,
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Some(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => return None,
            };
            let mut rest = buffer.get(..carried + count)?;
            let before = self.acked;
            out.clear();
            while let Some((frame, behind)) = RawFrame::split(rest, limits::FRAME_BYTES_MAX).ok()? {
                rest = behind;
                if frame.message_type() == MessageType::Telemetry as u8 {
                    self.acked += 1;
                } else {
                    self.talk(frame, out)?;
                }
            }
            if self.acked > before {
                Message::Ack(Ack { stream: STREAM, sequence: self.acked }).encode(out);
            }
            self.carry.clear();
            self.carry.extend_from_slice(rest);
            self.write(out)?;
            if count < room {
                return Some(());
            }
        }
    }

    fn talk(&mut self, frame: RawFrame<'_>, out: &mut Vec<u8>) -> Option<()> {
        let session = &mut self.session;
        match session.handle_frame(Duration::ZERO, frame) {
            Some(ServerEvent::Authenticate(_)) => {
                let candidates = Candidates { current: Verifier::from_secret(&SECRET), previous: None };
                session.credentials(candidates, [1; 32], 0);
            }
            Some(ServerEvent::LoggedIn(_)) => {
                let params =
                    WelcomeParams { session_epoch: 1, server_time_us: 0, streams: Vec::new(), twin: TwinStatus::None };
                session.welcome(Duration::ZERO, params);
            }
            Some(ServerEvent::StreamOpen(open)) => session.stream_id(open.request, STREAM),
            _ => {}
        }
        while let Some(output) = session.poll_output() {
            match output {
                Output::Send(bytes) => out.extend_from_slice(&bytes),
                Output::Closed(_) => return None,
            }
        }
        Some(())
    }

    fn write(&mut self, mut bytes: &[u8]) -> Option<()> {
        while !bytes.is_empty() && self.unwritten.is_empty() {
            match self.stream.write(bytes) {
                Ok(0) => return None,
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return None,
            }
        }
        self.unwritten.extend_from_slice(bytes);
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::device::DeviceWire;
    use super::super::generator::{self, Load, Progress};
    use super::*;

    #[test]
    fn everything_sent_is_acknowledged_once_with_and_without_a_rate() {
        for rate in [None, Some(2000.0)] {
            let noop = Noop::start().expect("a port");
            let wires = (0..10).map(|n| DeviceWire::new(format!("d{n}"), SECRET, 10, 100).expect("a device"));
            let load = Load {
                rate,
                in_flight: 100,
                metrics: 10,
                warm_up: Duration::from_millis(50),
                measured: Duration::from_millis(200),
                threads: 2,
            };
            let mut marks = Vec::new();
            let progress = Progress::default();
            let outcome =
                generator::run(wires.collect(), noop.address, &load, &progress, |mark| marks.push(mark)).expect("ran");
            assert_eq!((outcome.missing, outcome.doubled, outcome.errors), (0, 0, 0), "{:?}", outcome.problem);
            assert_eq!((outcome.sent, marks.len()), (outcome.acked, 2));
            assert_eq!(progress.acked.load(Ordering::Relaxed), outcome.acked);
            assert!(!outcome.times.is_empty());
            if rate.is_some() {
                // 2,000 a second for 250 ms, less what was late when the time was over.
                assert_eq!(outcome.sent + outcome.unsent, 500);
            }
        }
    }
}
