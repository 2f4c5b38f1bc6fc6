//! NATS JetStream: PUB with a reply subject, and the acknowledgement as a message to it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::super::generator::{Acks, Reading, Wire};
use super::{digits, payload};

pub(in super::super) const CONNECT: &[u8] =
    b"CONNECT {\"verbose\":false,\"pedantic\":false,\"lang\":\"bench\",\"version\":\"1\"}\r\n";

pub(super) struct JetStreamWire {
    client: usize,
    payload_bytes: usize,
    /// `PUB bench.7 _INBOX.7.`
    publish: Vec<u8>,
    is_ready: bool,
}

impl JetStreamWire {
    pub fn new(client: usize, payload_bytes: usize) -> JetStreamWire {
        let publish = format!("PUB bench.{client} _INBOX.{client}.").into_bytes();
        JetStreamWire { client, payload_bytes, publish, is_ready: false }
    }
}

/// Makes a stream of all `bench.*` subjects, in files. Blocking.
pub(super) fn create_stream(address: SocketAddr) -> Result<(), String> {
    let text = |error: std::io::Error| format!("creating the stream: {error}");
    let socket = TcpStream::connect(address).map_err(text)?;
    socket.set_read_timeout(Some(Duration::from_secs(10))).map_err(text)?;
    let body = r#"{"name":"BENCH","subjects":["bench.*"],"retention":"limits","storage":"file","discard":"old","num_replicas":1,"max_msgs":-1,"max_bytes":-1,"max_age":0}"#;
    let mut request = CONNECT.to_vec();
    request.extend_from_slice(b"SUB _INBOX.setup 1\r\n");
    let publish = format!("PUB $JS.API.STREAM.CREATE.BENCH _INBOX.setup {}\r\n{body}\r\n", body.len());
    request.extend_from_slice(publish.as_bytes());
    (&socket).write_all(&request).map_err(text)?;
    let mut reader = BufReader::new(&socket).take(1 << 20);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).map_err(text)? == 0 {
            return Err("creating the stream: the server closed the connection".into());
        }
        if line.starts_with("MSG ") {
            let mut answer = String::new();
            reader.read_line(&mut answer).map_err(text)?;
            return if answer.contains("\"error\"") { Err(format!("creating the stream: {answer}")) } else { Ok(()) };
        }
        if line.starts_with("-ERR") {
            return Err(format!("creating the stream: {}", line.trim()));
        }
    }
}

pub(in super::super) fn number(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// A line without its end, and what follows it.
pub(in super::super) fn line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let first = &bytes[..end];
    Some((first.strip_suffix(b"\r").unwrap_or(first), &bytes[end + 1..]))
}

impl Wire for JetStreamWire {
    fn start(&mut self, out: &mut Vec<u8>) -> Result<(), String> {
        out.extend_from_slice(CONNECT);
        out.extend_from_slice(format!("SUB _INBOX.{}.* 1\r\nPING\r\n", self.client).as_bytes());
        Ok(())
    }

    fn is_ready(&self) -> bool {
        self.is_ready
    }

    fn receive(&mut self, input: &[u8], acks: &mut Acks<'_>, out: &mut Vec<u8>) -> Result<usize, String> {
        let mut rest = input;
        while let Some((first, behind)) = line(rest) {
            if let Some(words) = first.strip_prefix(b"MSG ") {
                let malformed = || format!("not a NATS message: {}", String::from_utf8_lossy(first));
                let mut words = words.split(|byte| *byte == b' ');
                let subject = words.next().unwrap_or_default();
                let length = words.next_back().and_then(number).ok_or_else(malformed)? as usize;
                let Some((body, behind)) = behind.split_at_checked(length.saturating_add(2)) else { break };
                rest = behind;
                let sequence = subject.rsplit(|byte| *byte == b'.').next().and_then(number);
                // The server writes this field first, if at all.
                if body.starts_with(b"{\"error\":") {
                    acks.refused();
                }
                acks.one(sequence.ok_or_else(malformed)?);
                continue;
            }
            rest = behind;
            match first {
                b"PING" => out.extend_from_slice(b"PONG\r\n"),
                b"PONG" => self.is_ready = true,
                _ if first.starts_with(b"-ERR") => return Err(String::from_utf8_lossy(first).into_owned()),
                _ => {}
            }
        }
        Ok(input.len() - rest.len())
    }

    fn message(&mut self, sequence: u64, reading: &Reading<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.publish);
        digits(sequence, out);
        out.push(b' ');
        digits(self.payload_bytes as u64, out);
        out.extend_from_slice(b"\r\n");
        payload(self.payload_bytes, sequence, reading, out);
        out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{check, written};
    use super::*;

    #[test]
    fn publishes_and_their_acknowledgements_are_nats_lines() {
        let mut wire = JetStreamWire::new(7, 20);
        let mut out = Vec::new();
        wire.start(&mut out).expect("started");
        assert!(out.ends_with(b"}\r\nSUB _INBOX.7.* 1\r\nPING\r\n"));
        assert_eq!(check(&mut wire, 0, b"INFO {\"version\":\"2.9\"}\r\nPONG\r\n"), (30, 0, 0));
        assert!(wire.is_ready());
        let message = written(&mut wire, 105);
        assert_eq!(&message[..29], b"PUB bench.7 _INBOX.7.105 20\r\n");
        assert_eq!((message.len(), &message[49..]), (51, &b"\r\n"[..]));
        let acks = b"MSG _INBOX.7.1 1 26\r\n{\"stream\":\"BENCH\",\"seq\":9}\r\nMSG _INBOX.7.2 1 2";
        assert_eq!(check(&mut wire, 2, acks), (49, 1, 0));
        let refused = b"MSG _INBOX.7.1 1 38\r\n{\"error\":{\"code\":503},\"stream\":\"\",\"seq\":0}\r\n";
        assert_eq!(check(&mut wire, 1, refused).1, 1, "answered, and counted as an error");
        assert_eq!(check(&mut wire, 1, b"MSG _INBOX.7.2 1 2\r\n{}\r\n"), (24, 0, 1), "never sent");
    }

    #[test]
    fn a_ping_is_answered() {
        super::super::tests::replies(&mut JetStreamWire::new(1, 20), b"PING\r\n", b"PONG\r\n");
    }
}
