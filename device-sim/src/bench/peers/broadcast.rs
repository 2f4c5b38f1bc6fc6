//! Servers that hand on what is published, for comparison with the fan-out: whoever publishes has done all the work, and they
//! only write it to everyone who asked for it.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::super::children::{Process, Program, Scratch, Usage};
use super::{NATS_CONNECT, digits, free_address, installed, version, wait_for};
use crate::SimError;
use crate::bench::fanout::Speaks;
use crate::fleet::unix_us;

/// How long the publisher waits for a server that does not read.
const WRITE_LIMIT: Duration = Duration::from_secs(10);
/// Where the package `ws` is looked for, from the current folder and from every folder above this program.
const WS_FOLDERS: [&str; 3] = ["dashboard/tests/node_modules/ws", "node_modules/ws", "tests/node/node_modules/ws"];
const BROADCAST: &str = include_str!("broadcast.mjs");

/// A server to compare the fan-out with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broadcast {
    /// A few lines of Node with the package `ws`.
    Ws,
    /// NATS core: in memory, at most once.
    Nats,
}

/// One that runs.
pub(in super::super) struct Running {
    program: Server,
    /// Where subscribers connect.
    pub address: SocketAddr,
    publisher: TcpStream,
    pub version: Option<String>,
    peer: Broadcast,
    _scratch: Scratch,
}

enum Server {
    Node(Program),
    Nats(Process),
}

impl Broadcast {
    /// As people call it.
    pub fn name(self) -> &'static str {
        match self {
            Broadcast::Ws => "ws",
            Broadcast::Nats => "nats",
        }
    }

    /// What its subscribers speak.
    pub(in super::super) fn speaks(self) -> Speaks {
        match self {
            Broadcast::Ws => Speaks::Ws,
            Broadcast::Nats => Speaks::Nats,
        }
    }

    /// Starts it; what is missing for that otherwise. `ws`: the folder of the package, if it is not in a usual place.
    pub(in super::super) fn start(self, ws: Option<&Path>) -> Result<Result<Running, String>, SimError> {
        let failed = |problem: String| SimError::Measurement { what: self.name().into(), problem };
        let io = |error: std::io::Error| failed(error.to_string());
        let scratch = Scratch::make(&format!("fanout-{}", self.name()))?;
        let (program, address, publish, version) = match self {
            Broadcast::Ws => {
                let Some(node) = installed("node") else { return Ok(Err("node is not installed".into())) };
                let Some(folder) = ws.map(Path::to_owned).or_else(find_ws) else {
                    let places = WS_FOLDERS.join(", ");
                    return Ok(Err(format!(
                        "the package ws is in none of {places}; name its folder with --ws-package"
                    )));
                };
                let script = scratch.write("broadcast.mjs", BROADCAST)?;
                let program = Program::start_at(&node, &[&script.to_string_lossy(), &folder.to_string_lossy()], &[]);
                // What Node says about it is not shown; that it is not there is the likeliest reason.
                let Ok(program) = program else {
                    return Ok(Err(format!("node could not run with the package ws in {}", folder.display())));
                };
                let port = |name: &str| program.announced[name].as_u64().and_then(|port| u16::try_from(port).ok());
                let (Some(http), Some(publish)) = (port("http"), port("publish")) else {
                    return Err(failed("it named no ports".into()));
                };
                let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
                let version =
                    format!("ws {}, node {}", program.text("version"), version(&node, "--version").unwrap_or_default());
                (Server::Node(program), local(http), local(publish), Some(version))
            }
            Broadcast::Nats => {
                let Some(path) = installed("nats-server") else {
                    return Ok(Err("nats-server is not installed".into()));
                };
                let address = free_address().map_err(failed)?;
                let mut command = Command::new(&path);
                command.args(["-a", "127.0.0.1", "-p", &address.port().to_string()]).stdout(Stdio::null());
                let process = Process::start(&mut command)?;
                wait_for(address).map_err(failed)?;
                (Server::Nats(process), address, address, version(&path, "--version"))
            }
        };
        let mut publisher = TcpStream::connect(publish).map_err(io)?;
        publisher.set_nodelay(true).map_err(io)?;
        publisher.set_write_timeout(Some(WRITE_LIMIT)).map_err(io)?;
        if self == Broadcast::Nats {
            publisher.write_all(NATS_CONNECT).map_err(io)?;
        }
        Ok(Ok(Running { program, address, publisher, version, peer: self, _scratch: scratch }))
    }
}

impl Running {
    pub fn usage(&self) -> Option<Usage> {
        match &self.program {
            Server::Node(program) => program.usage(),
            Server::Nats(process) => process.usage(),
        }
    }

    /// Publishes on a schedule until told to stop: each view so many times a second, all taking turns. Answers the number of
    /// the last message of each view.
    pub fn publish(&self, views: usize, rate: f64, bytes: usize, stop: &AtomicBool) -> Result<Vec<u64>, SimError> {
        let mut last = vec![0; views];
        let (start, start_us) = (Instant::now(), unix_us());
        let mut message = Vec::new();
        for number in 0_u64.. {
            let due = Duration::from_secs_f64(number as f64 / (rate * views as f64));
            // A schedule: what is late is sent at once, with the time at which it was due.
            std::thread::sleep((start + due).saturating_duration_since(Instant::now()));
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let (view, counter) = (number as usize % views, number / views as u64 + 1);
            message.clear();
            self.peer.message(view, counter, start_us + due.as_micros() as i64, bytes, &mut message);
            let written = (&self.publisher).write_all(&message);
            written
                .map_err(|error| SimError::Measurement { what: self.peer.name().into(), problem: error.to_string() })?;
            if let Some(last) = last.get_mut(view) {
                *last = counter;
            }
        }
        Ok(last)
    }
}

impl Broadcast {
    /// Time and counter, then zeros.
    fn message(self, view: usize, counter: u64, time_us: i64, bytes: usize, out: &mut Vec<u8>) {
        match self {
            Broadcast::Ws => {
                out.extend_from_slice(&(view as u32).to_le_bytes());
                out.extend_from_slice(&(bytes as u32).to_le_bytes());
            }
            Broadcast::Nats => {
                out.extend_from_slice(b"PUB view.");
                digits(view as u64, out);
                out.push(b' ');
                digits(bytes as u64, out);
                out.extend_from_slice(b"\r\n");
            }
        }
        let end = out.len() + bytes;
        out.extend_from_slice(&time_us.to_le_bytes());
        out.extend_from_slice(&counter.to_le_bytes());
        out.resize(end, 0);
        if self == Broadcast::Nats {
            out.extend_from_slice(b"\r\n");
        }
    }
}

fn find_ws() -> Option<PathBuf> {
    let here = std::env::current_dir().ok();
    let program = std::env::current_exe().ok();
    let above = program.iter().flat_map(|path| path.ancestors().skip(1)).map(Path::to_owned);
    let roots: Vec<PathBuf> = here.into_iter().chain(above).collect();
    let places = roots.iter().flat_map(|root| WS_FOLDERS.map(|folder| root.join(folder)));
    places.into_iter().find(|place| place.join("package.json").is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_as_long_as_asked_for_and_begins_with_time_and_counter() {
        let mut out = Vec::new();
        Broadcast::Nats.message(7, 3, 5, 20, &mut out);
        assert_eq!(&out[..15], b"PUB view.7 20\r\n");
        assert_eq!(
            (&out[15..23], &out[23..31], out.len()),
            (&[5, 0, 0, 0, 0, 0, 0, 0][..], &[3, 0, 0, 0, 0, 0, 0, 0][..], 37)
        );
        out.clear();
        Broadcast::Ws.message(7, 3, 5, 20, &mut out);
        assert_eq!((&out[..8], out.len()), (&[7, 0, 0, 0, 20, 0, 0, 0][..], 28));
    }
}
