//! `pulsewire demo`: a server on a fresh data folder, with devices that connect to it over real sockets.
//!
//! The simulator runs in this process but knows the server only by its ports, like any device would.

use super::demo_round::{self, Round};
use super::{Settings, StopSignal, addresses};
use crate::app::{self, App, StartOptions};
use crate::config::{Config, Overrides, Push};
use crate::telemetry;
use anyhow::Context;
use clap::Args;
use pulsewire_push_emulator::{Emulator, Options};
use pulsewire_sim::behaviour::Answers;
use pulsewire_sim::client::ClientStats;
use pulsewire_sim::fleet::{self, FleetOptions};
use pulsewire_sim::host::{self, HostOptions};
use pulsewire_sim::{ApiOptions, Provisioner, SecretStore, Shutdown, SimError, Target};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// How long the sign-in link is good.
const LINK_VALID: Duration = Duration::from_secs(600);
/// Where the phone's page is, if that port is free.
const PHONE_PAGE: ([u8; 4], u16) = ([127, 0, 0, 1], 7480);
/// How long after the start a cold room's compressor trips.
const FAULT_AFTER: Duration = Duration::from_secs(15);
/// How long the devices may take to say goodbye.
const DEVICES_LIMIT: Duration = Duration::from_secs(3);

#[derive(Args)]
pub(super) struct Demo {
    #[command(flatten)]
    settings: Settings,
    /// Simulated devices beside this machine itself.
    #[arg(long, default_value_t = 50, value_name = "N")]
    devices: u32,
    /// Same seed, same behaviour.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print addresses and sign-in link as one JSON document.
    #[arg(long)]
    json: bool,
}

/// The data folder of a demo.
struct Folder {
    path: PathBuf,
    // Made by us, so removed by us.
    temporary: bool,
}

impl Folder {
    fn choose(given: Option<PathBuf>) -> anyhow::Result<Self> {
        if let Some(path) = given {
            if path.join("journal.db").exists() {
                anyhow::bail!(
                    "{} holds a store already and a demo wants a fresh folder; \
                     give another --data-dir, or use `pulsewire serve` with this one",
                    path.display()
                );
            }
            return Ok(Self { path, temporary: false });
        }
        let path = std::env::temp_dir().join(format!("pulsewire-demo-{}", std::process::id()));
        if path.exists() {
            // Left by a process of the same number that was killed.
            std::fs::remove_dir_all(&path).with_context(|| format!("removing the old {}", path.display()))?;
        }
        Ok(Self { path, temporary: true })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.temporary
            && let Err(error) = std::fs::remove_dir_all(&self.path)
        {
            eprintln!("pulsewire: {} could not be removed: {error}", self.path.display());
        }
    }
}

impl Demo {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let folder = Folder::choose(self.settings.data_dir.clone())?;
        let mut config = self.configure(&folder)?;
        telemetry::init_logs(&config.log.level, config.log.json).map_err(anyhow::Error::msg)?;
        let mut stop = StopSignal::listen()?;
        let password = super::admin_password().map_or_else(app::random_password, Ok)?;
        let emulator = self.start_emulator(&folder, &mut config).await?;
        let phone = emulator.page_url();
        let start =
            StartOptions { admin_password: Some(password.clone()), demo: true, emulator_url: Some(phone.clone()) };
        let app = App::start(config, start).await?;
        self.announce(&app, &password, &phone, &folder)?;
        let api = format!("http://{}", app.http_address());
        emulator.set_server(&api);
        let round = Round { api, password: password.clone(), faulty: self.faulty_device() };
        demo_round::set_up(round, &emulator).await.context("setting up the demo's rule and phone")?;

        let (trigger, shutdown) = Shutdown::channel();
        let mut devices = self.start_devices(&app, &password, &shutdown)?;
        let ended = loop {
            tokio::select! {
                () = stop.wait() => break Ok(()),
                Some(ended) = devices.join_next() => match ended.context("a device task failed") {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => break Err(anyhow::Error::new(error).context("the demo's devices stopped")),
                    Err(error) => break Err(error),
                },
            }
        };
        trigger.trigger();
        let goodbye = async { while devices.join_next().await.is_some() {} };
        // Devices that take longer are told by the server.
        let _ = tokio::time::timeout(DEVICES_LIMIT, goodbye).await;
        app.stop().await;
        emulator.stop().await;
        ended
    }

    /// The configuration, with quiet logs and free ports where the usual ones are taken.
    fn configure(&self, folder: &Folder) -> anyhow::Result<Config> {
        let settings = Settings { data_dir: Some(folder.path.clone()), ..self.settings.clone() };
        let mut config = settings.read()?;
        if self.settings.http_listen.is_none() {
            config.http.listen = free_or_any(config.http.listen);
        }
        if self.settings.device_listen.is_none() {
            config.device.listen = free_or_any(config.device.listen);
        }
        if config.log.level == "info" {
            // The terminal is for the link; what went wrong still shows.
            config.log.level = "warn".into();
        }
        Ok(config)
    }

    /// Starts the push emulator and points the configuration at it.
    async fn start_emulator(&self, folder: &Folder, config: &mut Config) -> anyhow::Result<Emulator> {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        // Who chose a port for one page has a use for the usual ones.
        let page = if self.settings.http_listen.is_some() { any } else { free_or_any(PHONE_PAGE.into()) };
        let dir = folder.path.join("push-emulator");
        let emulator = Emulator::start(Options { listen: any, page, smtp: any, dir })
            .await
            .context("starting the push emulator")?;
        let file =
            std::fs::read_to_string(emulator.config_file()).context("reading the push emulator's configuration")?;
        let pointed = Config::read(&file, &Overrides::default())?;
        config.email = pointed.email;
        let pointed = pointed.push;
        config.push = Push {
            allow_private_endpoints: pointed.allow_private_endpoints,
            extra_root_file: pointed.extra_root_file,
            vapid_subject: pointed.vapid_subject,
            apns: pointed.apns,
            fcm: pointed.fcm,
            ..config.push.clone()
        };
        Ok(emulator)
    }

    /// The cold room whose compressor trips: the first.
    fn faulty_device(&self) -> Option<String> {
        let fleet = self.fleet("127.0.0.1:1".parse().ok()?);
        let is_cold = |index: &u32| fleet.device_spec(*index).tags.get("kind").is_some_and(|kind| kind == "cold-room");
        (0..self.devices).find(is_cold).map(|index| fleet.device_id(index))
    }

    fn fleet(&self, target: Target) -> FleetOptions {
        FleetOptions {
            target,
            devices: self.devices,
            seed: self.seed,
            interval: Duration::from_secs(1),
            prefix: "sim-".into(),
            duration: None,
            fault_after: Some(FAULT_AFTER),
            answers: Answers::Normal,
        }
    }

    fn announce(&self, app: &App, password: &str, phone: &str, folder: &Folder) -> anyhow::Result<()> {
        let link = app.sign_in_link("admin", LINK_VALID)?;
        if self.json {
            let mut document = addresses(app);
            document["sign_in_link"] = link.into();
            document["phone"] = phone.into();
            println!("{document}");
            return Ok(());
        }
        println!("Pulsewire demo: this machine and {} simulated devices on {}", self.devices, app.device_address());
        println!();
        println!("  open   {link}");
        println!("         (signs you in once, within ten minutes; after that: user admin, password {password})");
        println!("  phone  {phone}");
        println!("         (what the phone of user oncall shows: an alert arrives there within a minute)");
        println!();
        let fate = if folder.temporary { "removed at the end" } else { "kept" };
        println!("data in {} ({fate}); Ctrl-C stops", folder.path.display());
        Ok(())
    }

    fn start_devices(
        &self,
        app: &App,
        password: &str,
        shutdown: &Shutdown,
    ) -> anyhow::Result<JoinSet<Result<(), SimError>>> {
        let api = ApiOptions {
            url: format!("http://{}", app.http_address()),
            user: "admin".into(),
            password: password.to_owned(),
        };
        let target: Target = app.device_address().to_string().parse()?;
        let host = HostOptions {
            target: target.clone(),
            device: host::default_device_id(),
            interval: Duration::from_secs(1),
            duration: None,
        };
        let fleet = self.fleet(target);
        let mut tasks = JoinSet::new();
        let (host_api, host_shutdown) = (api.clone(), shutdown.clone());
        tasks.spawn(async move {
            let provisioner = Provisioner::sign_in(host_api, SecretStore::in_memory()).await?;
            host::run(host, provisioner, Arc::new(ClientStats::default()), host_shutdown).await.map(drop)
        });
        if self.devices > 0 {
            let fleet_shutdown = shutdown.clone();
            tasks.spawn(async move {
                let provisioner = Provisioner::sign_in(api, SecretStore::in_memory()).await?;
                fleet::run(fleet, provisioner, Arc::new(ClientStats::default()), fleet_shutdown).await.map(drop)
            });
        }
        Ok(tasks)
    }
}

/// The address, or a free port on it if it is taken: a demo should start.
fn free_or_any(address: SocketAddr) -> SocketAddr {
    match TcpListener::bind(address) {
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => SocketAddr::new(address.ip(), 0),
        _ => address,
    }
}
