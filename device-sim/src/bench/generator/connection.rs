//! One device: its socket, its words, and what it has sent.

use std::net::SocketAddr;

use mio::net::TcpStream;
use mio::{Registry, Token};

use super::flight::{Acks, Flight, Recorder};
use super::readings::Walk;
use super::wire::Wire;
use crate::bench::socket::{Room, Socket};

/// An answer is short; what waits to be written are at most the messages of a window.
const ROOM: Room = Room { carry: 32 * 1024, unwritten: 64 * 1024 * 1024 };
/// What one read takes at most.
pub(super) const READ_BYTES: usize = 64 * 1024 + ROOM.carry;

pub(super) struct Connection<W> {
    socket: Socket,
    pub wire: W,
    pub flight: Flight,
    pub walk: Walk,
    pub is_open: bool,
}

impl<W: Wire> Connection<W> {
    /// Connects (blocking: on a loopback or a local network that is short) and says the first word.
    pub fn open(
        address: SocketAddr,
        registry: &Registry,
        index: usize,
        mut wire: W,
        walk: Walk,
        out: &mut Vec<u8>,
    ) -> Result<Connection<W>, String> {
        let text = |error: std::io::Error| format!("connecting to {address}: {error}");
        let stream = std::net::TcpStream::connect(address).map_err(text)?;
        stream.set_nodelay(true).map_err(text)?;
        stream.set_nonblocking(true).map_err(text)?;
        let mut socket = Socket::of(TcpStream::from_std(stream), ROOM, registry, Token(index)).map_err(text)?;
        out.clear();
        wire.start(out)?;
        socket.write(out)?;
        Ok(Connection { socket, wire, flight: Flight::new(index as u64), walk, is_open: true })
    }

    /// Whether the socket takes no more for now.
    pub fn is_blocked(&self) -> bool {
        self.socket.is_blocked()
    }

    /// Writes, or keeps for later what the socket does not take.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.socket.write(bytes)
    }

    /// The socket may take more.
    pub fn flush(&mut self) -> Result<(), String> {
        self.socket.flush()
    }

    /// Reads until nothing is left. `clock` is asked once per read.
    pub fn read(
        &mut self,
        buffer: &mut [u8],
        out: &mut Vec<u8>,
        recorder: &mut Recorder,
        clock: impl Fn() -> u64,
    ) -> Result<(), String> {
        let (wire, flight) = (&mut self.wire, &mut self.flight);
        self.socket.read(buffer, out, |input, out| {
            let mut acks = Acks { flight: &mut *flight, recorder: &mut *recorder, now_us: clock() };
            wire.receive(input, &mut acks, out)
        })
    }
}
