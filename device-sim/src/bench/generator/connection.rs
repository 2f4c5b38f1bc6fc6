//! A socket, what could not be written to it yet, and what was read of it and is not whole.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use super::flight::{Acks, Flight, Recorder};
use super::readings::Walk;
use super::wire::Wire;

/// The largest answer that a wire may wait for to be whole.
const CARRY_MAX: usize = 32 * 1024;
/// What one read takes at most.
pub(super) const READ_BYTES: usize = 64 * 1024 + CARRY_MAX;

/// One device. At most its window's messages wait to be written.
pub(super) struct Connection<W> {
    stream: TcpStream,
    pub wire: W,
    pub flight: Flight,
    pub walk: Walk,
    carry: Vec<u8>,
    unwritten: Vec<u8>,
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
        let mut stream = TcpStream::from_std(stream);
        registry.register(&mut stream, Token(index), Interest::READABLE | Interest::WRITABLE).map_err(text)?;
        out.clear();
        wire.start(out)?;
        let flight = Flight::new(index as u64);
        let mut connection =
            Connection { stream, wire, flight, walk, carry: Vec::new(), unwritten: Vec::new(), is_open: true };
        connection.write(out)?;
        Ok(connection)
    }

    /// Whether the socket takes no more for now.
    pub fn is_blocked(&self) -> bool {
        !self.unwritten.is_empty()
    }

    /// Writes, or keeps for later what the socket does not take.
    pub fn write(&mut self, mut bytes: &[u8]) -> Result<(), String> {
        while !bytes.is_empty() && self.unwritten.is_empty() {
            match self.stream.write(bytes) {
                Ok(0) => return Err("the server takes nothing more".into()),
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(format!("writing: {error}")),
            }
        }
        self.unwritten.extend_from_slice(bytes);
        Ok(())
    }

    /// The socket may take more.
    pub fn flush(&mut self) -> Result<(), String> {
        if self.unwritten.is_empty() {
            return Ok(());
        }
        let waiting = std::mem::take(&mut self.unwritten);
        self.write(&waiting)
    }

    /// Reads until nothing is left. `clock` is asked once per read.
    pub fn read(
        &mut self,
        buffer: &mut [u8],
        out: &mut Vec<u8>,
        recorder: &mut Recorder,
        clock: impl Fn() -> u64,
    ) -> Result<(), String> {
        loop {
            let carried = self.carry.len();
            buffer[..carried].copy_from_slice(&self.carry);
            let room = buffer.len() - carried;
            let count = match self.stream.read(&mut buffer[carried..]) {
                Ok(0) => return Err("the server closed the connection".into()),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(format!("reading: {error}")),
            };
            let input = &buffer[..carried + count];
            let mut acks = Acks { flight: &mut self.flight, recorder, now_us: clock() };
            out.clear();
            let taken = self.wire.receive(input, &mut acks, out)?;
            let rest = input.get(taken..).unwrap_or_default();
            if rest.len() > CARRY_MAX {
                return Err(format!("an answer of more than {CARRY_MAX} bytes"));
            }
            self.carry.clear();
            self.carry.extend_from_slice(rest);
            if !out.is_empty() {
                self.write(out)?;
            }
            // Less than there was room for: the socket is empty, and readiness is told again when it is not.
            if count < room {
                return Ok(());
            }
        }
    }
}
