//! A Redis stream per device: XADD in RESP, answered in order.

use super::super::generator::{Acks, Reading, Wire};
use super::jetstream::line;
use super::{digits, payload};

pub(super) struct RedisWire {
    payload_bytes: usize,
    /// Everything up to the payload's bytes.
    add: Vec<u8>,
    is_ready: bool,
}

impl RedisWire {
    pub fn new(client: usize, payload_bytes: usize) -> RedisWire {
        let key = format!("bench:{client}");
        let mut add = format!("*5\r\n$4\r\nXADD\r\n${}\r\n{key}\r\n$1\r\n*\r\n$1\r\nr\r\n$", key.len()).into_bytes();
        digits(payload_bytes as u64, &mut add);
        add.extend_from_slice(b"\r\n");
        RedisWire { payload_bytes, add, is_ready: false }
    }
}

impl Wire for RedisWire {
    fn start(&mut self, out: &mut Vec<u8>) -> Result<(), String> {
        out.extend_from_slice(b"*1\r\n$4\r\nPING\r\n");
        Ok(())
    }

    fn is_ready(&self) -> bool {
        self.is_ready
    }

    fn receive(&mut self, input: &[u8], acks: &mut Acks<'_>, _: &mut Vec<u8>) -> Result<usize, String> {
        let mut rest = input;
        while let Some((first, behind)) = line(rest) {
            match first.split_first() {
                Some((b'+', b"PONG")) => {
                    self.is_ready = true;
                    rest = behind;
                }
                Some((b'$', _)) => {
                    // The id of the new entry.
                    let Some((_, behind)) = line(behind) else { break };
                    acks.next();
                    rest = behind;
                }
                Some((b'-', _)) if self.is_ready => {
                    acks.refused();
                    acks.next();
                    rest = behind;
                }
                _ => return Err(format!("Redis answered {}", String::from_utf8_lossy(first))),
            }
        }
        Ok(input.len() - rest.len())
    }

    fn message(&mut self, sequence: u64, reading: &Reading<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.add);
        payload(self.payload_bytes, sequence, reading, out);
        out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{check, written};
    use super::*;

    #[test]
    fn entries_and_their_answers_are_resp() {
        let mut wire = RedisWire::new(12, 20);
        assert_eq!(check(&mut wire, 0, b"+PONG\r\n"), (7, 0, 0));
        assert!(wire.is_ready());
        let message = written(&mut wire, 1);
        assert!(message.starts_with(b"*5\r\n$4\r\nXADD\r\n$8\r\nbench:12\r\n$1\r\n*\r\n$1\r\nr\r\n$20\r\n\x01\0\0"));
        assert!(message.ends_with(b"\r\n"));
        let answers = b"$15\r\n1526919030474-0\r\n$15\r\n1526919030474-1\r\n$15\r\n15269";
        assert_eq!(check(&mut wire, 3, answers), (44, 2, 0));
        assert_eq!(check(&mut wire, 0, b"$3\r\n1-0\r\n"), (9, 0, 1), "never sent");
    }

    #[test]
    fn what_is_not_resp_is_an_error() {
        let mut wire = RedisWire::new(0, 20);
        let refused = super::super::tests::refusal(&mut wire, b"-ERR max number of clients reached\r\n");
        assert!(refused.contains("max number of clients"), "{refused}");
    }
}
