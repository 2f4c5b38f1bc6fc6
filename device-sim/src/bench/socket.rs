//! A socket that never blocks, what could not be written to it yet, and what was read of it and is not whole.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use socket2::{Domain, Protocol, Type};

/// How much a socket keeps at most, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    /// Of a message that is not whole yet. What it is read into has to be larger.
    pub carry: usize,
    /// Of what the other side has not taken.
    pub unwritten: usize,
}

#[derive(Debug)]
pub(super) struct Socket {
    stream: TcpStream,
    room: Room,
    carry: Vec<u8>,
    unwritten: Vec<u8>,
}

/// Where the connection with this number comes from, so that no pair of addresses runs out of ports.
pub(super) fn source(number: u32, sources: u32) -> Option<IpAddr> {
    (sources > 0).then(|| Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 0, 0, 1)) + 1 + number % sources).into())
}

impl Socket {
    /// Begins to connect. What is written meanwhile waits.
    pub fn connect(
        address: SocketAddr,
        source: Option<IpAddr>,
        room: Room,
        registry: &Registry,
        token: Token,
    ) -> std::io::Result<Socket> {
        let socket = socket2::Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        if let Some(source) = source {
            socket.bind(&SocketAddr::new(source, 0).into())?;
        }
        match socket.connect(&address.into()) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock || is_in_progress(&error) => {}
            Err(error) => return Err(error),
        }
        Socket::of(TcpStream::from_std(socket.into()), room, registry, token)
    }

    /// One that is connected.
    pub fn of(mut stream: TcpStream, room: Room, registry: &Registry, token: Token) -> std::io::Result<Socket> {
        registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        Ok(Socket { stream, room, carry: Vec::new(), unwritten: Vec::new() })
    }

    /// Whether it takes no more for now.
    pub fn is_blocked(&self) -> bool {
        !self.unwritten.is_empty()
    }

    /// Nothing is said of it any more; the connection stays.
    pub fn forget(&mut self, registry: &Registry) {
        // One that is not known is forgotten already.
        let _ = registry.deregister(&mut self.stream);
    }

    /// Writes, or keeps for later what it does not take.
    pub fn write(&mut self, mut bytes: &[u8]) -> Result<(), String> {
        while !bytes.is_empty() && self.unwritten.is_empty() {
            match self.stream.write(bytes) {
                Ok(0) => return Err("the other side takes nothing more".into()),
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == ErrorKind::WouldBlock || is_in_progress(&error) => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(format!("writing: {error}")),
            }
        }
        let most = self.room.unwritten;
        if self.unwritten.len() + bytes.len() > most {
            return Err(format!("the other side did not take {most} bytes"));
        }
        self.unwritten.extend_from_slice(bytes);
        Ok(())
    }

    /// It may take more.
    pub fn flush(&mut self) -> Result<(), String> {
        if self.unwritten.is_empty() {
            return Ok(());
        }
        let waiting = std::mem::take(&mut self.unwritten);
        self.write(&waiting)
    }

    /// Reads until nothing is left. `take` says how many bytes it took from the front, and appends what to answer; the rest
    /// comes again with what follows it.
    pub fn read(
        &mut self,
        buffer: &mut [u8],
        out: &mut Vec<u8>,
        mut take: impl FnMut(&[u8], &mut Vec<u8>) -> Result<usize, String>,
    ) -> Result<(), String> {
        loop {
            let carried = self.carry.len();
            buffer[..carried].copy_from_slice(&self.carry);
            let room = buffer.len() - carried;
            let count = match self.stream.read(&mut buffer[carried..]) {
                Ok(0) => return Err("the other side closed the connection".into()),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock || is_in_progress(&error) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(format!("reading: {error}")),
            };
            let input = &buffer[..carried + count];
            out.clear();
            let taken = take(input, out)?;
            let rest = input.get(taken..).unwrap_or_default();
            if rest.len() > self.room.carry {
                return Err(format!("a message of more than {} bytes", self.room.carry));
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

/// A connection that is not made yet: EINPROGRESS has no name in the standard library, and ENOTCONN comes from a socket that
/// is asked too early.
fn is_in_progress(error: &std::io::Error) -> bool {
    error.kind() == ErrorKind::NotConnected || error.raw_os_error() == Some(115)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_loopback_addresses_that_take_turns() {
        let text = |number, sources| source(number, sources).map(|ip| ip.to_string());
        assert_eq!(text(0, 0), None);
        assert_eq!((text(0, 4), text(5, 4)), (Some("127.0.0.2".into()), Some("127.0.0.3".into())));
    }
}
