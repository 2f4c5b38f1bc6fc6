//! Other servers under the same load, for comparison: the same generator, connections, window and bytes per message.
//!
//! What an acknowledgement means differs, and is said beside each figure ([`Peer::promise`]): comparing a broker that only
//! has a message in memory with a store that has synced it is comparing promises.

mod broadcast;
mod jetstream;
mod mqtt;
mod redis;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde::Serialize;

pub use broadcast::Broadcast;
pub(super) use jetstream::{CONNECT as NATS_CONNECT, line, number};

use super::children::{Process, Scratch};
use super::figures::Figures;
use super::generator::{self, Load, Mark, Progress, Reading};
use crate::SimError;

/// How long a server may take to listen.
const START_LIMIT: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(20);
/// Where servers are installed that are not in a user's `PATH`.
const MORE_FOLDERS: [&str; 2] = ["/usr/sbin", "/usr/local/sbin"];

/// A server to compare with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// Mosquitto, MQTT 3.1.1 with QoS 1.
    Mosquitto,
    /// NATS JetStream, a stream in files.
    Nats,
    /// Redis streams, `appendfsync always`.
    Redis,
}

/// What was measured of a peer, or why nothing was.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs)] // DESIGN-level names, the same for every measurement
pub struct PeerReport {
    pub peer: &'static str,
    pub version: Option<String>,
    pub acknowledged: &'static str,
    pub payload_bytes: usize,
    #[serde(flatten)]
    pub figures: Option<Figures>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skipped: Option<String>,
}

impl Peer {
    /// As people call it.
    pub fn name(self) -> &'static str {
        match self {
            Peer::Mosquitto => "mosquitto",
            Peer::Nats => "nats",
            Peer::Redis => "redis",
        }
    }

    /// When it acknowledges.
    pub fn promise(self) -> &'static str {
        match self {
            Peer::Mosquitto => "in memory (QoS 1, no subscriber)",
            Peer::Nats => "written to a file, synced every two minutes",
            Peer::Redis => "synced to disk (appendfsync always)",
        }
    }

    fn program(self) -> &'static str {
        match self {
            Peer::Mosquitto => "mosquitto",
            Peer::Nats => "nats-server",
            Peer::Redis => "redis-server",
        }
    }

    /// Starts it, measures it and ends it. Blocking. One that is not installed is skipped, and the report says so.
    pub(super) fn measure(
        self,
        connections: usize,
        load: &Load,
        payload_bytes: usize,
        progress: &Progress,
    ) -> Result<PeerReport, SimError> {
        let mut report = PeerReport {
            peer: self.name(),
            version: None,
            acknowledged: self.promise(),
            payload_bytes,
            figures: None,
            skipped: None,
        };
        let Some(path) = installed(self.program()) else {
            report.skipped = Some(format!("{} is not installed", self.program()));
            return Ok(report);
        };
        report.version = self.version(&path);
        let failed = |problem: String| SimError::Measurement { what: self.name().into(), problem };
        let scratch = Scratch::make(self.name())?;
        let address = free_address().map_err(failed)?;
        let process = self.start(&path, &scratch, address)?;
        wait_for(address).map_err(failed)?;
        let (mut before, mut after) = (None, None);
        let mark = |mark| match mark {
            Mark::Begin => before = process.usage(),
            Mark::End => after = process.usage(),
        };
        let clients = 0..connections;
        let outcome = match self {
            Peer::Mosquitto => {
                let wires = clients.map(|client| mqtt::MqttWire::new(client, payload_bytes)).collect();
                generator::run(wires, address, load, progress, mark)
            }
            Peer::Nats => {
                jetstream::create_stream(address).map_err(failed)?;
                let wires = clients.map(|client| jetstream::JetStreamWire::new(client, payload_bytes)).collect();
                generator::run(wires, address, load, progress, mark)
            }
            Peer::Redis => {
                let wires = clients.map(|client| redis::RedisWire::new(client, payload_bytes)).collect();
                generator::run(wires, address, load, progress, mark)
            }
        };
        let outcome = outcome.map_err(|error| failed(error.to_string()))?;
        report.figures = Some(Figures::of(&outcome, None, before, after));
        Ok(report)
    }

    fn start(self, path: &PathBuf, scratch: &Scratch, address: SocketAddr) -> Result<Process, SimError> {
        let (dir, port) = (scratch.0.to_string_lossy().into_owned(), address.port().to_string());
        let mut command = Command::new(path);
        command.stdout(Stdio::null());
        match self {
            Peer::Mosquitto => {
                let config = format!(
                    "listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\nset_tcp_nodelay true\n\
                     log_dest none\n"
                );
                command.arg("-c").arg(scratch.write("mosquitto.conf", &config)?);
            }
            Peer::Nats => {
                command.args(["-a", "127.0.0.1", "-p", &port, "-js", "-sd", &dir]);
            }
            Peer::Redis => {
                command.args(["--bind", "127.0.0.1", "--port", &port, "--dir", &dir, "--save", ""]);
                command.args(["--appendonly", "yes", "--appendfsync", "always", "--auto-aof-rewrite-percentage", "0"]);
            }
        }
        Process::start(&mut command)
    }

    fn version(self, path: &PathBuf) -> Option<String> {
        version(path, if self == Peer::Mosquitto { "-h" } else { "--version" })
    }
}

/// The first line of what it says to this argument.
pub(super) fn version(path: &PathBuf, argument: &str) -> Option<String> {
    let output = Command::new(path).arg(argument).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().next().map(|line| line.trim().chars().take(80).collect())
}

pub(super) fn installed(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(MORE_FOLDERS.map(PathBuf::from));
    folders.map(|folder| folder.join(program)).find(|path| path.is_file())
}

/// A port that was free a moment ago: these servers do not say which one they took.
pub(super) fn free_address() -> Result<SocketAddr, String> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
    listener.local_addr().map_err(|error| error.to_string())
}

pub(super) fn wait_for(address: SocketAddr) -> Result<(), String> {
    let until = Instant::now() + START_LIMIT;
    while let Err(error) = TcpStream::connect(address) {
        if Instant::now() > until {
            return Err(format!("it does not listen: {error}"));
        }
        // These servers do not tell whoever started them that they listen; asking them is the only way to know.
        sleep(POLL);
    }
    Ok(())
}

/// The readings as bytes: sequence, time, values, then zeros. At least as long as sequence and time.
fn payload(bytes: usize, sequence: u64, reading: &Reading<'_>, out: &mut Vec<u8>) {
    let end = out.len() + bytes;
    out.extend_from_slice(&sequence.to_le_bytes());
    out.extend_from_slice(&reading.time_us.to_le_bytes());
    out.extend_from_slice(reading.values);
    out.resize(end, 0);
}

/// A number in decimal digits, without going through a formatter.
fn digits(mut number: u64, out: &mut Vec<u8>) {
    let mut text = [0; 20];
    let mut at = text.len();
    loop {
        at -= 1;
        text[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return out.extend_from_slice(&text[at..]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::generator::{Wire, tests::received};
    use super::*;

    /// What a wire takes of `input` while so many messages are sent: bytes, messages acknowledged, doubled.
    pub(super) fn check(wire: &mut impl Wire, sent: u64, input: &[u8]) -> (usize, u64, u64) {
        let (taken, acked, doubled, _) = received(wire, sent, input).expect("sound");
        (taken, acked, doubled)
    }

    pub(super) fn replies(wire: &mut impl Wire, input: &[u8], expected: &[u8]) {
        assert_eq!(received(wire, 0, input).expect("sound").3, expected);
    }

    pub(super) fn refusal(wire: &mut impl Wire, input: &[u8]) -> String {
        received(wire, 0, input).expect_err("refused")
    }

    /// A message with no values.
    pub(super) fn written(wire: &mut impl Wire, sequence: u64) -> Vec<u8> {
        let mut out = Vec::new();
        wire.message(sequence, &Reading { time_us: 1, due_us: 1, values: &[] }, &mut out);
        out
    }

    #[test]
    fn numbers_are_decimal() {
        for number in [0, 9, 10, 60, 12345, u64::MAX] {
            let mut out = Vec::new();
            digits(number, &mut out);
            assert_eq!(out, number.to_string().into_bytes());
        }
    }

    #[test]
    fn what_is_not_installed_is_not_found() {
        assert_eq!(installed("pulsewire-no-such-server"), None);
    }
}
