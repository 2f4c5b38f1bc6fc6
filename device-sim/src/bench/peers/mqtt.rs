//! MQTT 3.1.1 with QoS 1: PUBLISH, PUBACK.

use super::super::generator::{Acks, Reading, Wire};
use super::payload;

/// Packet identifiers are 1 to this.
const IDS: u64 = 65_535;

pub(super) struct MqttWire {
    client: usize,
    payload_bytes: usize,
    is_ready: bool,
}

impl MqttWire {
    pub fn new(client: usize, payload_bytes: usize) -> MqttWire {
        MqttWire { client, payload_bytes, is_ready: false }
    }
}

/// The number of bytes that follow: seven bits per byte, least significant first.
fn put_length(out: &mut Vec<u8>, mut length: usize) {
    loop {
        let bits = (length & 0x7F) as u8;
        length >>= 7;
        if length == 0 {
            return out.push(bits);
        }
        out.push(bits | 0x80);
    }
}

/// The length and how many bytes it takes; None if it is not whole.
fn length(bytes: &[u8]) -> Result<Option<(usize, usize)>, String> {
    let mut length = 0;
    for (index, byte) in bytes.iter().take(4).enumerate() {
        length |= usize::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            return Ok(Some((length, index + 1)));
        }
    }
    if bytes.len() >= 4 { Err("an MQTT length of more than four bytes".into()) } else { Ok(None) }
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&(text.len() as u16).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

impl Wire for MqttWire {
    fn start(&mut self, out: &mut Vec<u8>) -> Result<(), String> {
        let id = format!("bench{}", self.client);
        out.push(0x10);
        put_length(out, 12 + id.len());
        put_text(out, "MQTT");
        // Version 4, a clean session, no keep-alive.
        out.extend_from_slice(&[4, 2, 0, 0]);
        put_text(out, &id);
        Ok(())
    }

    fn is_ready(&self) -> bool {
        self.is_ready
    }

    fn receive(&mut self, input: &[u8], acks: &mut Acks<'_>, _: &mut Vec<u8>) -> Result<usize, String> {
        let mut rest = input;
        while let Some((&kind, behind)) = rest.split_first() {
            let Some((bytes, taken)) = length(behind)? else { break };
            let Some((packet, behind)) = behind[taken..].split_at_checked(bytes) else { break };
            rest = behind;
            match (kind, packet) {
                (0x20, [_, 0]) => self.is_ready = true,
                (0x20, _) => return Err(format!("MQTT CONNECT was refused: {packet:?}")),
                (0x40, &[high, low, ..]) => {
                    let id = u64::from(u16::from_be_bytes([high, low]));
                    // The next sequence with this identifier after those that are done.
                    let done = acks.acked();
                    acks.one(done + 1 + (id + IDS - 1 - done % IDS) % IDS);
                }
                _ => {}
            }
        }
        Ok(input.len() - rest.len())
    }

    fn message(&mut self, sequence: u64, reading: &Reading<'_>, out: &mut Vec<u8>) {
        const TOPIC: &[u8] = b"bench/00000";
        out.push(0x32);
        put_length(out, 2 + TOPIC.len() + 2 + self.payload_bytes);
        out.extend_from_slice(&(TOPIC.len() as u16).to_be_bytes());
        let at = out.len() + TOPIC.len();
        out.extend_from_slice(TOPIC);
        let mut rest = self.client;
        for digit in out[at - 5..at].iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        out.extend_from_slice(&(((sequence - 1) % IDS) as u16 + 1).to_be_bytes());
        payload(self.payload_bytes, sequence, reading, out);
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[0xE0, 0]);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{check, written};
    use super::*;

    #[test]
    fn connect_publish_and_puback_are_those_of_mqtt_3_1_1() {
        let mut wire = MqttWire::new(7, 20);
        let mut out = Vec::new();
        wire.start(&mut out).expect("started");
        assert_eq!(out, b"\x10\x12\x00\x04MQTT\x04\x02\x00\x00\x00\x06bench7");
        assert_eq!(check(&mut wire, 0, b"\x20\x02\x00\x00"), (4, 0, 0));
        assert!(wire.is_ready());
        let message = written(&mut wire, 65_537);
        assert_eq!(&message[..19], b"\x32\x23\x00\x0bbench/00007\x00\x02\x01\x00");
        assert_eq!(message.len(), 2 + 0x23);
    }

    #[test]
    fn packet_identifiers_name_sequences_over_their_wrap() {
        let mut wire = MqttWire::new(0, 20);
        assert_eq!(check(&mut wire, 2, b"\x40\x02\x00\x02\x40\x02\x00\x01\x40"), (8, 2, 0));
        assert_eq!(check(&mut wire, 2, b"\x40\x02\x00\x03"), (4, 0, 1), "never sent");
        let all: Vec<u8> = (0..70_000_u64)
            .flat_map(|n| [vec![0x40, 2], ((n % IDS) as u16 + 1).to_be_bytes().to_vec()].concat())
            .collect();
        assert_eq!(check(&mut wire, 70_000, &all), (280_000, 70_000, 0));
    }

    #[test]
    fn a_refused_connect_is_an_error() {
        let mut out = Vec::new();
        put_length(&mut out, 321);
        assert_eq!((out.as_slice(), length(&out)), (&[0xC1, 0x02][..], Ok(Some((321, 2)))));
        assert_eq!(length(&[0x80]), Ok(None));
        assert!(length(&[0x80; 4]).is_err());
    }
}
