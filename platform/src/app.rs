//! Picks the implementations, starts the parts in order and stops them in the reverse.

mod channels;
mod maintenance;
mod options;
mod store_watch;

pub use maintenance::{BackupNote, CheckJson, FindingJson, backup, check, restore};

use crate::alerting::{Alerting, AlertingParts, BacktestParts, Backtests};
use crate::bus::in_process::InProcessBus;
use crate::commands::{Commands, CommandsParts};
use crate::config::Config;
use crate::http::{self, HttpParts, HttpPort, Links, Passwords};
use crate::hub::{Hub, HubParts};
use crate::ingest::Ingest;
use crate::live::{Live, LiveParts, PresenceTable};
use crate::outbox::{ActionKey, Outbox, OutboxParts};
use crate::ports::{Bus, Clock, Cursor, DeviceSeen, DeviceStore, Journal, User, UserStore};
use crate::storage::sqlite::{DataFolder, SqliteMeta};
use crate::storage::telemetry::{Keep, Policy, StoreOptions, TelemetryStore};
use crate::telemetry;
use anyhow::Context;
use options::{
    alerting_options, backtest_options, commands_options, hub_options, ingest_options, live_options, outbox_options,
};
use pulsewire_core::catalogue::Catalogue;
use pulsewire_core::directory::Directory;
use pulsewire_core::ids::{DeviceKey, SeriesKey, UserName};
use pulsewire_core::retention::RetentionPlan;
use pulsewire_core::role::Role;
use pulsewire_core::scope::DeviceScope;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, OnceLock, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use store_watch::StoreWatch;
use tokio::task::JoinHandle;

/// How often last-seen times are written.
const SEEN_INTERVAL: Duration = Duration::from_secs(10);
/// How often histograms are drained into their buckets; without it they would keep every value until the next scrape.
const METRICS_UPKEEP: Duration = Duration::from_secs(5);
/// How long the last reports may take to be stored at a stop.
const LANE_LIMIT: Duration = Duration::from_secs(10);

/// How long messages under way may take to be settled at a stop.
const OUTBOX_LIMIT: Duration = Duration::from_secs(5);

/// The system's wall clock.
struct SystemClock;

impl Clock for SystemClock {
    fn now_us(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
    }
}

/// What a start needs beyond the configuration.
#[derive(Debug, Default)]
pub struct StartOptions {
    /// Password of user `admin` if the store has no users yet; a random one otherwise.
    pub admin_password: Option<String>,
    /// This is a demonstration.
    pub demo: bool,
    /// Where the page of a push emulator is.
    pub emulator_url: Option<String>,
}

/// A running server.
pub struct App {
    http: HttpPort,
    hub: Hub,
    lane: JoinHandle<()>,
    alerting_task: JoinHandle<()>,
    backtests: Arc<Backtests>,
    outbox: Outbox,
    outbox_task: JoinHandle<()>,
    commands_task: JoinHandle<()>,
    live_task: JoinHandle<()>,
    seen_task: JoinHandle<()>,
    upkeep_task: JoinHandle<()>,
    presence: Arc<PresenceTable>,
    meta: Arc<SqliteMeta>,
    links: Arc<Links>,
    folder: DataFolder,
    http_address: SocketAddr,
    device_address: SocketAddr,
    made_password: Option<String>,
}

impl App {
    /// Starts everything. When it returns, both ports answer.
    ///
    /// # Errors
    /// Whatever cannot be used: data folder, stores, addresses, certificates. Nothing is left running.
    pub async fn start(config: Config, start: StartOptions) -> anyhow::Result<Self> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let folder = DataFolder::open(&config.data_dir)?;
        maintenance::startable(folder.path())?;
        // Bound before the store is opened: a port in use is the commonest mistake and should cost nothing.
        let http_listener = bind_http(config.http.listen)?;
        let device_listener = bind_device(config.device.listen).await?;
        let (http_address, device_address) = (http_listener.local_addr()?, device_listener.local_addr()?);
        let metrics = telemetry::metrics_handle().map_err(anyhow::Error::msg)?;

        let meta = Arc::new(SqliteMeta::open(&folder.file("meta.db"))?);
        let retention = Arc::new(Retention { plan: config.retention.clone(), known: OnceLock::new() });
        let options = store_options(&config, folder.path(), retention.clone());
        let journal = Arc::new(TelemetryStore::open_unkept(options, config.store.query_time_max)?);
        let passwords = Arc::new(Passwords::new()?);
        let made_password = first_user(&*meta, &passwords, start.admin_password, clock.now_us()).await?;

        let devices = meta.devices().await?;
        let presence = Arc::new(PresenceTable::new(&devices));
        let directory = Arc::new(RwLock::new(Directory::new(devices)));
        let bus: Arc<dyn Bus> = Arc::new(InProcessBus::new(config.live.bus_events));
        let (ingest, catalogue, lane) =
            Ingest::start(ingest_options(&config), journal.clone(), bus.clone(), clock.clone())
                .await
                .context("opening the journal")?;
        let ingest = Arc::new(ingest);
        let _ = retention.known.set((directory.clone(), catalogue.clone()));
        // Not before: the first look at what is too old would find nothing to be, and the next one is a minute away.
        journal.keep();
        let parts = LiveParts {
            journal: journal.clone(),
            history: journal.clone(),
            bus: bus.clone(),
            clock: clock.clone(),
            catalogue: catalogue.clone(),
            directory: directory.clone(),
        };
        let (epoch, position) = (ingest.epoch(), ingest.started_at());
        let alerting_parts = AlertingParts {
            journal: journal.clone(),
            store: meta.clone(),
            bus: bus.clone(),
            clock: clock.clone(),
            catalogue: catalogue.clone(),
            directory: directory.clone(),
        };
        let newest = Cursor { epoch, position };
        let (alerting, alerting_task) = Alerting::start(alerting_options(&config), alerting_parts, newest)
            .await
            .context("loading rules and alerts")?;
        let commands_parts =
            CommandsParts { store: meta.clone(), bus: bus.clone(), clock: clock.clone(), directory: directory.clone() };
        let (commands, commands_task) =
            Commands::start(commands_options(&config), commands_parts).await.context("loading commands")?;
        let commands = Arc::new(commands);
        let (live, live_task) = Live::start(live_options(&config), parts, presence.clone(), epoch, position);
        let outbox_parts = OutboxParts {
            store: meta.clone(),
            endpoints: meta.clone(),
            announcements: meta.clone(),
            channels: channels::open(&config, &*meta).await?,
            attention: live.attention().clone(),
            bus: bus.clone(),
            clock: clock.clone(),
            actions: ActionKey::load(&*meta).await.context("loading the key of messages' tokens")?,
        };
        let (outbox, outbox_task) =
            Outbox::start(outbox_options(&config), outbox_parts).await.context("opening the outbox")?;

        let (upkeep, watched) = (metrics.clone(), Arc::downgrade(&journal));
        let upkeep_task = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(METRICS_UPKEEP);
            let mut watch = StoreWatch::default();
            loop {
                ticks.tick().await;
                upkeep.run_upkeep();
                if let Some(journal) = watched.upgrade() {
                    watch.look(&journal.status());
                }
            }
        });
        forget_leftovers(&ingest, &directory, journal.clone());
        let hub_parts = HubParts {
            ingest: ingest.clone(),
            commands: commands.clone(),
            devices: meta.clone(),
            directory: directory.clone(),
            presence: presence.clone(),
            bus: bus.clone(),
            clock: clock.clone(),
            boot: meta.next_boot().await?,
        };
        let hub = Hub::start(hub_options(&config), hub_parts, device_listener)?;
        let links = Arc::new(Links::default());
        let backtest_parts = BacktestParts {
            history: journal.clone(),
            users: meta.clone(),
            catalogue: catalogue.clone(),
            directory: directory.clone(),
        };
        let backtests = Arc::new(Backtests::new(backtest_options(&config), backtest_parts));
        let http_parts = HttpParts {
            config: config.http.clone(),
            name: config.name.clone(),
            demo: start.demo,
            emulator_url: start.emulator_url,
            device_port: device_address.port(),
            users: meta.clone(),
            devices: meta.clone(),
            views: meta.clone(),
            tokens: meta.clone(),
            facts: facts(&config, folder.path(), http_address, device_address),
            journal: journal.clone(),
            history: journal,
            catalogue,
            directory,
            ingest,
            commands,
            alerting: Arc::new(alerting),
            backtests: backtests.clone(),
            live: Arc::new(live),
            outbox: outbox.clone(),
            presence: presence.clone(),
            bus,
            clock,
            links: links.clone(),
            passwords,
            metrics: Arc::new(move || metrics.render()),
        };
        let http = HttpPort::start(http_parts, http_listener).context("starting the HTTP port")?;
        let seen_task = tokio::spawn(save_seen_regularly(meta.clone(), presence.clone()));
        let app = Self {
            http,
            hub,
            lane,
            alerting_task,
            backtests,
            outbox,
            outbox_task,
            commands_task,
            live_task,
            seen_task,
            upkeep_task,
            presence,
            meta,
            links,
            folder,
            http_address,
            device_address,
            made_password,
        };
        app.write_listen_file()?;
        tracing::info!(http = %app.http_address, device = %app.device_address, data = %app.folder.path().display(),
            "ready");
        Ok(app)
    }

    /// Where people and services connect.
    pub fn http_address(&self) -> SocketAddr {
        self.http_address
    }

    /// Where devices connect.
    pub fn device_address(&self) -> SocketAddr {
        self.device_address
    }

    /// The password made for user `admin`, if this was the first start and none was given.
    pub fn made_password(&self) -> Option<&str> {
        self.made_password.as_deref()
    }

    /// Makes a link that signs a user in once within `valid`.
    ///
    /// # Errors
    /// If the name is not valid or the system gives no random bytes.
    pub fn sign_in_link(&self, user: &str, valid: Duration) -> anyhow::Result<String> {
        let valid_us = i64::try_from(valid.as_micros()).unwrap_or(i64::MAX);
        let expires_us = SystemClock.now_us().saturating_add(valid_us);
        let code = self.links.create(UserName::parse(user)?, expires_us).map_err(|e| anyhow::anyhow!("{e}"))?;
        // The code is in the fragment, which browsers do not send: it reaches no log.
        Ok(format!("http://{}/signin#{code}", self.http_address))
    }

    fn write_listen_file(&self) -> anyhow::Result<()> {
        let listen = serde_json::json!({
            "http": self.http_address.to_string(),
            "device": self.device_address.to_string(),
        });
        self.folder.replace("listen.json", &format!("{listen}\n")).context("writing listen.json")
    }

    /// Drains and stops: devices get what they have under way acknowledged, then 1001; requests are finished; what is
    /// queued is stored; the files are closed.
    pub async fn stop(self) {
        self.http.announce_stop();
        self.backtests.stop();
        self.hub.stop().await;
        self.http.stop().await;
        self.live_task.abort();
        self.seen_task.abort();
        self.upkeep_task.abort();
        // Every handle of ingest is gone now but for requests that overran their time.
        if tokio::time::timeout(LANE_LIMIT, self.lane).await.is_err() {
            tracing::warn!("ingest did not end in time");
        }
        // The port's end has dropped its handle, so it stores what it judged and ends.
        if tokio::time::timeout(LANE_LIMIT, self.alerting_task).await.is_err() {
            tracing::warn!("alerting did not end in time; what it judged last is judged again at the next start");
        }
        self.outbox.stop();
        if tokio::time::timeout(OUTBOX_LIMIT, self.outbox_task).await.is_err() {
            tracing::warn!("messages were still being sent; they are sent again at the next start, under the same ids");
        }
        // What it was told before it answered is stored; the rest is asked again.
        if tokio::time::timeout(LANE_LIMIT, self.commands_task).await.is_err() {
            tracing::warn!("the service of commands did not end in time");
        }
        save_seen(&self.meta, &self.presence).await;
        // It names addresses that nobody listens on any more.
        let _ = std::fs::remove_file(self.folder.file("listen.json"));
        tracing::info!("stopped");
    }
}

/// The retention plan, once devices and series are known; until then everything is kept.
struct Retention {
    plan: RetentionPlan,
    known: OnceLock<Known>,
}

type Known = (Arc<RwLock<Directory>>, Arc<RwLock<Catalogue>>);

impl Policy for Retention {
    fn keep(&self, device: DeviceKey, series: SeriesKey) -> Keep {
        let times = self.known.get().and_then(|(directory, catalogue)| {
            let (directory, catalogue) = (directory.read().ok()?, catalogue.read().ok()?);
            Some(self.plan.of(directory.by_key(device)?, &catalogue.get(series)?.metric))
        });
        let times = times.unwrap_or_default();
        Keep { raw_us: times.raw_us, minute_us: times.minute_us, hour_us: times.hour_us }
    }
}

fn facts(config: &Config, folder: &Path, http: SocketAddr, device: SocketAddr) -> http::Facts {
    http::Facts {
        data_dir: std::path::absolute(folder).unwrap_or_else(|_| folder.to_path_buf()),
        doors: http::Doors {
            http,
            public_https: config.http.public_url.as_deref().is_some_and(|url| url.starts_with("https://")),
            device,
            device_tls: config.device.tls.is_some(),
            allow_plaintext: config.device.allow_plaintext,
        },
    }
}

fn store_options(config: &Config, folder: &Path, policy: Arc<Retention>) -> StoreOptions {
    StoreOptions {
        retain_bytes: config.journal.retain_bytes,
        hold_bytes: config.journal.hold_bytes_max,
        unsealed_bytes: config.store.unsealed_bytes_max,
        heads_bytes: config.store.heads_bytes_max,
        chunk_rows: config.store.chunk_rows,
        size_bytes: config.store.size_bytes_max,
        scan_samples: config.store.query_samples_max,
        policy,
        ..StoreOptions::new(folder.to_path_buf())
    }
}

fn bind_http(address: SocketAddr) -> anyhow::Result<std::net::TcpListener> {
    let listener = std::net::TcpListener::bind(address).map_err(|e| port_error("http", address, &e))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

async fn bind_device(address: SocketAddr) -> anyhow::Result<tokio::net::TcpListener> {
    tokio::net::TcpListener::bind(address).await.map_err(|e| port_error("device", address, &e))
}

fn port_error(which: &str, address: SocketAddr, error: &std::io::Error) -> anyhow::Error {
    match error.kind() {
        std::io::ErrorKind::AddrInUse => anyhow::anyhow!(
            "{which} address {address} is in use; stop the program that has it, or give another with \
             --{which}-listen (port 0 picks a free one)"
        ),
        _ => anyhow::anyhow!("{which} address {address} cannot be used: {error}; give another with --{which}-listen"),
    }
}

/// Makes user `admin` in a store without users; answers a password that was made up.
async fn first_user(
    users: &dyn UserStore,
    passwords: &Passwords,
    given: Option<String>,
    now_us: i64,
) -> anyhow::Result<Option<String>> {
    if !users.users().await?.is_empty() {
        return Ok(None);
    }
    let made = given.is_none();
    let password = match given {
        Some(password) => password,
        None => random_password()?,
    };
    let hash = passwords.hash(password.clone()).await.context("PULSEWIRE_ADMIN_PASSWORD cannot be used")?;
    let admin =
        User { name: UserName::parse("admin")?, role: Role::Admin, scope: DeviceScope::All, created_us: now_us };
    users.create_user(admin, hash).await?;
    Ok(made.then_some(password))
}

/// A password nobody has to type often: 20 hex digits.
pub fn random_password() -> anyhow::Result<String> {
    let mut bytes = [0; 10];
    getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("the system gives no random bytes: {error}"))?;
    Ok(hex::encode(bytes))
}

/// Finishes deletions that a stop or a crash cut short: what the journal has of devices that do not exist any more.
fn forget_leftovers(ingest: &Arc<Ingest>, directory: &RwLock<Directory>, journal: Arc<TelemetryStore>) {
    let Ok(known) = directory.read() else { return };
    let gone: Vec<_> = ingest.devices_at_start().iter().copied().filter(|d| known.by_key(*d).is_none()).collect();
    drop(known);
    if gone.is_empty() {
        return;
    }
    let ingest = Arc::downgrade(ingest);
    tokio::spawn(async move {
        for device in gone {
            // The server may stop meanwhile; the next start goes on.
            let Some(ingest) = ingest.upgrade() else { return };
            if ingest.forget(device).await.is_err() {
                return;
            }
            drop(ingest);
            if let Err(error) = journal.forget_device(device).await {
                tracing::warn!(%error, %device, "what a deleted device left could not be removed; the next start tries again");
                return;
            }
        }
    });
}

async fn save_seen_regularly(meta: Arc<SqliteMeta>, presence: Arc<PresenceTable>) {
    let mut ticks = tokio::time::interval(SEEN_INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        save_seen(&meta, &presence).await;
    }
}

async fn save_seen(meta: &SqliteMeta, presence: &PresenceTable) {
    let unsaved = presence.take_unsaved().into_iter();
    let seen: Vec<_> =
        unsaved.map(|(device, last_seen_us, firmware)| DeviceSeen { device, last_seen_us, firmware }).collect();
    if seen.is_empty() {
        return;
    }
    if let Err(error) = meta.devices_seen(seen).await {
        tracing::warn!(%error, "last-seen times were not written");
    }
}

/// Opens the metadata of a data folder for a command that runs without the server.
///
/// # Errors
/// If it cannot be opened.
pub fn open_meta(config: &Config) -> anyhow::Result<impl UserStore + DeviceStore + use<>> {
    let path = config.data_dir.join("meta.db");
    if !path.exists() {
        anyhow::bail!("there is no store in {}; start the server once, or give --data-dir", config.data_dir.display());
    }
    SqliteMeta::open(&path)
}

/// Hashes a password for a command that runs without the server.
///
/// # Errors
/// If it is too short or too long.
pub async fn hash_password(password: String) -> anyhow::Result<String> {
    Ok(http::Passwords::new()?.hash(password).await?)
}
