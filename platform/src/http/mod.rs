//! The HTTP port: API, dashboard, live sockets, probes. `docs/http-api.md` is its contract.

mod about;
mod access;
mod alerts;
mod announcements;
mod assets;
mod backtests;
mod busy;
mod choose;
mod commands;
mod devices;
mod export;
mod fleet;
mod history;
mod import;
mod limiter;
mod links;
mod live;
mod live_status;
mod middleware;
mod openapi;
mod overview;
mod password;
mod problem;
mod providers;
mod push;
mod push_actions;
mod query;
mod query_many;
mod request;
mod routes;
mod rules;
mod service;
mod session;
mod silences;
mod tokens;
mod users;
mod views;

pub use about::{Doors, Facts};
pub use links::Links;
pub use password::{PasswordError, Passwords};

use crate::alerting::{Alerting, Backtests};
use crate::commands::Commands;
use crate::config::Http;
use crate::ingest::Ingest;
use crate::live::{Live, PresenceTable};
use crate::outbox::Outbox;
use crate::ports::{Bus, Clock, DeviceStore, History, Journal, TokenStore, UserStore, ViewStore};
use actix_web::http::header::HeaderValue;
use actix_web::{App, HttpServer, web};
use problem::Problem;
use pulsewire_core::catalogue::Catalogue;
use pulsewire_core::directory::Directory;
use pulsewire_core::ids::{DeliveryId, UserName};
use std::net::TcpListener;
use std::num::NonZeroU32;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

/// What the HTTP port works with.
#[allow(missing_docs)]
pub struct HttpParts {
    pub config: Http,
    pub name: String,
    pub demo: bool,
    /// Where the push emulator's page is, if there is one.
    pub emulator_url: Option<String>,
    pub device_port: u16,
    pub users: Arc<dyn UserStore>,
    pub devices: Arc<dyn DeviceStore>,
    pub views: Arc<dyn ViewStore>,
    pub tokens: Arc<dyn TokenStore>,
    pub facts: Facts,
    pub journal: Arc<dyn Journal>,
    pub history: Arc<dyn History>,
    pub catalogue: Arc<RwLock<Catalogue>>,
    pub directory: Arc<RwLock<Directory>>,
    pub ingest: Arc<Ingest>,
    pub commands: Arc<Commands>,
    pub alerting: Arc<Alerting>,
    pub backtests: Arc<Backtests>,
    pub live: Arc<Live>,
    pub outbox: Outbox,
    pub presence: Arc<PresenceTable>,
    pub bus: Arc<dyn Bus>,
    pub clock: Arc<dyn Clock>,
    pub links: Arc<Links>,
    pub passwords: Arc<Passwords>,
    /// Renders the metrics.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
}

/// Shared by all requests.
pub(crate) struct State {
    parts: HttpParts,
    attempts: limiter::Attempts,
    push_tests: limiter::PerKey<UserName>,
    push_codes: limiter::PerKey<UserName>,
    push_actions: limiter::PerKey<DeliveryId>,
    bad_tokens: limiter::Attempts,
    places: busy::Places,
    fleet: fleet::Fleet,
    /// The Content-Security-Policy of pages.
    policy: HeaderValue,
    started: Instant,
    /// By the system's clock.
    started_us: i64,
    stopping: Arc<AtomicBool>,
    /// Held while a device is read, changed and written, so that of two edits at once neither is lost.
    device_edits: tokio::sync::Mutex<()>,
    /// The same for rules.
    rule_edits: tokio::sync::Mutex<()>,
    /// The same for silences.
    silence_edits: tokio::sync::Mutex<()>,
    /// The server's own runtime; those of the port's threads end with it.
    runtime: tokio::runtime::Handle,
}

impl State {
    /// Does a change of several steps to its end, also when the client goes away meanwhile: its handler is dropped then,
    /// and a change that is stored but not made known would wait for the next start.
    async fn complete<T: Send + 'static>(
        &self,
        change: impl Future<Output = Result<T, Problem>> + Send + 'static,
    ) -> Result<T, Problem> {
        self.runtime.spawn(change).await.map_err(Problem::internal)?
    }
}

impl std::ops::Deref for State {
    type Target = HttpParts;
    fn deref(&self) -> &HttpParts {
        &self.parts
    }
}

/// The running port.
pub struct HttpPort {
    handle: actix_web::dev::ServerHandle,
    stopping: Arc<AtomicBool>,
    running: tokio::task::JoinHandle<std::io::Result<()>>,
}

impl HttpPort {
    /// Serves on a listener that is bound already.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn start(parts: HttpParts, listener: TcpListener) -> std::io::Result<Self> {
        let config = parts.config.clone();
        let per_minute = NonZeroU32::new(config.sign_ins_per_minute).unwrap_or(NonZeroU32::MIN);
        let stopping = Arc::new(AtomicBool::new(false));
        let started_us = parts.clock.now_us();
        let policy = middleware::policy(config.map_tiles.as_ref());
        let state = web::Data::new(State {
            parts,
            attempts: limiter::Attempts::per_minute(per_minute),
            push_tests: limiter::PerKey::per_minute(push::TESTS_PER_MINUTE),
            push_codes: limiter::PerKey::per_hour(push::CODES_PER_HOUR),
            push_actions: limiter::PerKey::per_minute(push_actions::PER_MINUTE),
            bad_tokens: limiter::Attempts::per_minute(push_actions::BAD_PER_MINUTE),
            places: busy::Places::default(),
            fleet: fleet::Fleet::default(),
            policy,
            started: Instant::now(),
            started_us,
            stopping: stopping.clone(),
            device_edits: tokio::sync::Mutex::new(()),
            rule_edits: tokio::sync::Mutex::new(()),
            silence_edits: tokio::sync::Mutex::new(()),
            runtime: tokio::runtime::Handle::current(),
        });
        // Longer than a live socket waits for its viewer and then for its CLOSE to be taken.
        drop_unread_connections(&listener, state.live.options().slow_reader_timeout * 2 + Duration::from_secs(5))?;
        let body_bytes_max = config.body_bytes_max;
        let server = HttpServer::new(move || {
            App::new()
                .app_data(state.clone())
                .app_data(problem::path_config())
                .app_data(web::PayloadConfig::new(body_bytes_max))
                .wrap(actix_web::middleware::Compress::default())
                .wrap(actix_web::middleware::from_fn(middleware::headers_and_counts))
                .configure(routes::all)
        })
        .workers(config.workers)
        .max_connections(config.connections_max)
        .shutdown_timeout(5)
        .disable_signals()
        .listen(listener)?
        .run();
        let handle = server.handle();
        Ok(Self { handle, stopping, running: tokio::spawn(server) })
    }

    /// Tells probes and live sockets that the end is near; new work is still served.
    pub fn announce_stop(&self) {
        self.stopping.store(true, std::sync::atomic::Ordering::Release);
    }

    /// Stops after the requests under way (five seconds at most).
    pub async fn stop(self) {
        self.handle.stop(true).await;
        // It ends by itself now.
        let _ = self.running.await;
    }
}

/// Lets the system end connections whose peer takes nothing for this long: the HTTP library would keep them, and what they
/// have buffered, for ever. Accepted sockets inherit the option.
#[cfg(target_os = "linux")]
fn drop_unread_connections(listener: &TcpListener, after: Duration) -> std::io::Result<()> {
    socket2::SockRef::from(listener).set_tcp_user_timeout(Some(after))
}

/// Other systems have no such option; there the keep-alive of the peer decides.
#[cfg(not(target_os = "linux"))]
fn drop_unread_connections(_: &TcpListener, _: Duration) -> std::io::Result<()> {
    Ok(())
}
