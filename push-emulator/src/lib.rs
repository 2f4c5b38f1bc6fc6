//! Stands in for a Web Push service, Apple's APNs, Google's FCM, a mail server and receivers of webhooks: one process, real TLS and HTTP/2, real checks of what a
//! sender must get right, and a page like a phone's screen that shows what arrives.
//!
//! It knows nothing of the server whose messages it takes and shares no code with it, so that one mistake is not made on
//! both sides. Everything is kept in memory and bounded. Its keys are made for it alone and are worth nothing elsewhere.

mod actions;
mod answer;
mod api;
mod apns;
mod checks;
mod faults;
mod fcm;
mod identity;
mod jwt;
mod mime;
mod page;
mod sealed;
mod serve;
mod smtp;
mod state;
mod webhook;
mod webpush;

pub use state::{AppKind, NewApp, NewHook, NewMailbox, Subscription};

use identity::Identity;
use serve::{Doors, Listeners};
use state::State;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where it listens and what it writes.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the providers are, over TLS. Port 0 picks a free one.
    pub listen: SocketAddr,
    /// Where the page is, over plain HTTP. Port 0 picks a free one.
    pub page: SocketAddr,
    /// Where the mail server is, with and without STARTTLS. Port 0 picks a free one.
    pub smtp: SocketAddr,
    /// Folder for certificate authority, keys and configuration; made if missing.
    pub dir: PathBuf,
}

/// Why it did not start.
#[derive(Debug, thiserror::Error)]
pub enum EmulatorError {
    /// A port cannot be used.
    #[error("listening on {address}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file cannot be written.
    #[error("writing {}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Keys or certificates cannot be made.
    #[error("making keys: {0}")]
    Keys(String),
}

/// A running emulator. Dropping it stops it.
pub struct Emulator {
    state: Arc<State>,
    doors: Doors,
    dir: PathBuf,
}

impl Emulator {
    /// Makes keys, writes its files and starts to listen. `pulsewire.toml` in the folder points a server at it.
    ///
    /// # Errors
    /// [`EmulatorError`].
    pub async fn start(options: Options) -> Result<Self, EmulatorError> {
        let (providers, page) = (serve::bind(options.listen).await?, serve::bind(options.page).await?);
        let smtp = serve::bind(options.smtp).await?;
        let address = |listener: &tokio::net::TcpListener, asked: SocketAddr| listener.local_addr().unwrap_or(asked);
        let (listen, page_at) = (address(&providers, options.listen), address(&page, options.page));
        let identity = Identity::make(listen, address(&smtp, options.smtp))?;
        identity.write(&options.dir)?;
        let tls = identity.tls()?;
        let state = Arc::new(State::new(identity, page_at));
        let doors = Doors::open(state.clone(), tls, Listeners { providers, page, smtp });
        Ok(Self { state, doors, dir: options.dir })
    }

    /// Where the providers are.
    pub fn address(&self) -> SocketAddr {
        self.state.identity.listen
    }

    /// Where the mail server is.
    pub fn smtp_address(&self) -> SocketAddr {
        self.state.identity.smtp
    }

    /// Names the server, by its origin, that is told when somebody uses a button of a message.
    pub fn set_server(&self, origin: &str) {
        self.state.set_server(origin);
    }

    /// The page's address for a browser.
    pub fn page_url(&self) -> String {
        format!("http://{}/", self.state.page)
    }

    /// The configuration that points a server here.
    pub fn config_file(&self) -> PathBuf {
        self.dir.join(identity::CONFIG_FILE)
    }

    /// The folder with its files.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Makes a browser's subscription; None if there are too many.
    pub fn subscribe(&self, label: &str) -> Option<Subscription> {
        self.state.subscribe(label, None)
    }

    /// Installs an app on a phone; None if there are too many.
    pub fn install(&self, kind: AppKind, label: &str) -> Option<NewApp> {
        self.state.install(kind, label)
    }

    /// Makes a mailbox; None if there are too many.
    pub fn mailbox(&self, label: &str) -> Option<NewMailbox> {
        self.state.mailbox(label)
    }

    /// Makes a receiver of webhooks; None if there are too many.
    pub fn hook(&self, label: &str) -> Option<NewHook> {
        self.state.hook(label)
    }

    /// Stops to listen and ends all connections.
    pub async fn stop(self) {
        self.doors.close().await;
    }
}
