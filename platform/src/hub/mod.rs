//! The device port: accepts every transport, logs devices in, drives their sessions. SPEC §1.1, §4–§6.
//!
//! One task per connection owns its socket and its session machine. Reports go to ingest; answers come back through the
//! session's mailbox. Nothing is queued here without a bound: what a device sends waits in its socket while ingest is full,
//! and what a device does not take ends its connection after `write_timeout`.

mod admission;
mod command;
mod gather;
mod handshake;
mod logged_in;
mod login;
mod registry;
mod report;
mod revoke;
mod session;
mod tls;
mod transport;

pub use tls::TlsError;

use crate::commands::Commands;
use crate::config::Tls;
use crate::ingest::Ingest;
use crate::live::PresenceTable;
use crate::ports::{Bus, Clock, DeviceStore, Topic};
use crate::telemetry::names;
use admission::Admission;
use pulsewire_core::directory::Directory;
use pulsewire_proto::CloseCode;
use pulsewire_proto::session::ServerConfig;
use registry::Registry;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, RwLock};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// Bounds of the hub; each is a key of `[device]` in the configuration.
#[derive(Debug, Clone)]
#[allow(missing_docs)] // documented with the keys
pub struct HubOptions {
    pub connections_max: usize,
    pub connections_per_address_max: usize,
    pub login_timeout: Duration,
    pub write_timeout: Duration,
    pub heartbeat_interval: Duration,
    pub frame_bytes_max: u32,
    pub window_frames: u32,
    pub window_bytes: u32,
    pub allow_plaintext: bool,
    pub tls: Option<Tls>,
    pub binding_certificate: Option<PathBuf>,
}

/// What the hub works with.
#[allow(missing_docs)]
pub struct HubParts {
    pub ingest: Arc<Ingest>,
    pub commands: Arc<Commands>,
    pub devices: Arc<dyn DeviceStore>,
    pub directory: Arc<RwLock<Directory>>,
    pub presence: Arc<PresenceTable>,
    pub bus: Arc<dyn Bus>,
    pub clock: Arc<dyn Clock>,
    /// Grows with every start of the server, so that session epochs do.
    pub boot: u32,
}

/// Text of every 1001 at a stop.
const STOPPING: &str = "the server stops; reconnect in a moment";

/// How long the rest of a stopping session may take.
const DRAIN_LIMIT: Duration = Duration::from_secs(5);

pub(crate) struct Shared {
    options: HubOptions,
    parts: HubParts,
    registry: Registry,
    machine: Arc<ServerConfig>,
    tls: tls::DeviceTls,
    loopback: bool,
    decoy_seed: [u8; 32],
    stopping: watch::Receiver<bool>,
    started: std::time::Instant,
}

/// Handle of the running hub.
pub struct Hub {
    stop: watch::Sender<bool>,
    accepting: JoinHandle<()>,
    watching: JoinHandle<()>,
}

impl Hub {
    /// Starts to accept on a listener.
    ///
    /// # Errors
    /// [`TlsError`] if certificate or key cannot be used; an error if the system gives no random bytes.
    pub fn start(options: HubOptions, parts: HubParts, listener: TcpListener) -> anyhow::Result<Self> {
        let loopback = listener.local_addr()?.ip().is_loopback();
        let machine = Arc::new(ServerConfig {
            login_limit: options.login_timeout,
            heartbeat_interval: options.heartbeat_interval,
            frame_bytes_max: options.frame_bytes_max,
            window_frames: options.window_frames,
            window_bytes: options.window_bytes,
            allow_plaintext: options.allow_plaintext,
        });
        let tls = tls::DeviceTls::load(options.tls.as_ref(), options.binding_certificate.as_deref())?;
        let mut decoy_seed = [0; 32];
        getrandom::fill(&mut decoy_seed).map_err(|error| anyhow::anyhow!("no random bytes: {error}"))?;
        let admission = Admission::new(options.connections_max, options.connections_per_address_max);
        let registry = Registry::new(parts.boot);
        let started = std::time::Instant::now();
        let devices = parts.bus.subscribe(Topic::Devices);
        if options.binding_certificate.is_some() && !loopback {
            tracing::warn!(
                "device.binding_cert_file is set: every plain connection counts as one from the proxy that ends TLS; \
                 let only that proxy reach this port"
            );
        }
        let (stop, stopping) = watch::channel(false);
        let shared = Arc::new(Shared {
            options,
            parts,
            registry,
            machine,
            tls,
            loopback,
            decoy_seed,
            stopping: stopping.clone(),
            started,
        });
        let accepting = tokio::spawn(accept(shared.clone(), listener, admission, stopping));
        let watched = shared.clone();
        let watching = tokio::spawn(async move { revoke::watch(&watched.registry, &*watched, devices).await });
        Ok(Self { stop, accepting, watching })
    }

    /// Stops accepting, lets every session finish what it has under way (three seconds at most) and closes it with 1001; what has not ended after five is
    /// dropped.
    pub async fn stop(self) {
        // The accept task may have ended already.
        let _ = self.stop.send(true);
        let _ = tokio::time::timeout(DRAIN_LIMIT + Duration::from_secs(1), self.accepting).await;
        self.watching.abort();
    }
}

async fn accept(
    shared: Arc<Shared>,
    listener: TcpListener,
    admission: Arc<Admission>,
    mut stopping: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => serve(&shared, &admission, &mut connections, stream, peer),
                Err(error) => {
                    // Out of file descriptors, most likely: accepting again at once would spin.
                    tracing::warn!(%error, "a device connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
            Some(_) = connections.join_next() => {}
            _ = stopping.changed() => break,
        }
    }
    drop(listener);
    shared.registry.stop(CloseCode::GoingAway, STOPPING);
    let all = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN_LIMIT, all).await.is_err() {
        tracing::warn!("some device connections did not end in time and are dropped");
    }
}

fn serve(
    shared: &Arc<Shared>,
    admission: &Arc<Admission>,
    connections: &mut JoinSet<()>,
    stream: TcpStream,
    peer: SocketAddr,
) {
    metrics::counter!(names::CONNECTIONS).increment(1);
    // Acknowledgements are small and must not wait for more.
    let _ = stream.set_nodelay(true);
    match admission.enter(peer.ip()) {
        Ok(guard) => {
            connections.spawn(session::run(shared.clone(), stream, peer, guard));
        }
        Err(refusal) => {
            // Telling why costs a task; above this many, the connection is just dropped.
            if connections.len() < shared.options.connections_max.saturating_add(1024) {
                connections.spawn(session::refuse(stream, refusal));
            }
        }
    }
}
