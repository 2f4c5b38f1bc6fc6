//! The command line. Progress and logs go to standard error, results to standard output; exit status 0 means that what was
//! asked for happened.

mod bench;
mod demo;
mod demo_round;
mod emulator;
mod import;
mod offline;
mod rules;
mod store;

use crate::app::{App, StartOptions};
use crate::config::{Config, KEYS, Overrides};
use crate::telemetry;
use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

/// Devices in, live values, alerts and commands out: one binary and one data folder.
#[derive(Parser)]
#[command(name = "pulsewire", version, about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Try it: a server on a fresh data folder, this machine as a device and a simulated fleet.
    Demo(demo::Demo),
    /// Run the server.
    Serve(Serve),
    /// Check a configuration and print it with everything that overrides it.
    CheckConfig(Settings),
    /// Stand in for Web Push, APNs and FCM on this machine, and show what arrives on a page.
    PushEmulator(emulator::PushEmulator),
    /// Users, without the server: `add`, `list`, `set-groups`, `set-password`, `remove`.
    User(offline::UserCommand),
    /// Devices, without the server: `list`.
    Device(offline::DeviceCommand),
    /// Send samples of a CSV or NDJSON file to a running server.
    Import(import::Import),
    /// Measure parts of the server: `rules`.
    Bench(bench::Bench),
    /// Rules as files: `apply`, `diff` and `export` with a running server; `test`, and `incidents` in recorded data, without one.
    Rules(rules::RulesCommand),
    /// Verify a data folder and say what is lost. A server may run on it.
    Check(store::Check),
    /// Copy a data folder, also while a server runs on it.
    Backup(store::Backup),
    /// Put a backup into a new data folder.
    Restore(store::Restore),
}

#[derive(Args)]
struct Serve {
    #[command(flatten)]
    settings: Settings,
    /// Print the addresses as one JSON document.
    #[arg(long)]
    json: bool,
}

/// Where the configuration comes from. Global: `user add NAME --data-dir DIR` reads like `user --data-dir DIR add NAME`.
#[derive(Args, Clone, Default)]
struct Settings {
    /// Configuration file. Default: pulsewire.toml, if it is there.
    #[arg(long, global = true, env = "PULSEWIRE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Data folder.
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Where people and services connect. Port 0 picks a free one.
    #[arg(long, global = true, value_name = "ADDR:PORT")]
    http_listen: Option<String>,
    /// Where devices connect. Port 0 picks a free one.
    #[arg(long, global = true, value_name = "ADDR:PORT")]
    device_listen: Option<String>,
}

impl Settings {
    fn read(&self) -> anyhow::Result<Config> {
        let default = PathBuf::from("pulsewire.toml");
        let file = match &self.config {
            Some(path) => std::fs::read_to_string(path)
                .with_context(|| format!("configuration file {} cannot be read", path.display()))?,
            None if default.exists() => std::fs::read_to_string(&default).context("pulsewire.toml cannot be read")?,
            None => String::new(),
        };
        let mut flags = Vec::new();
        let mut flag = |path, value: Option<String>| flags.extend(value.map(|v| (path, v)));
        flag("data_dir", self.data_dir.as_ref().map(|p| p.to_string_lossy().into_owned()));
        flag("http.listen", self.http_listen.clone());
        flag("device.listen", self.device_listen.clone());
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.to_string_lossy().into_owned())))
            .filter(|(name, _)| name.starts_with("PULSEWIRE_"))
            .collect();
        Ok(Config::read(&file, &Overrides { environment, flags })?)
    }
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("pulsewire: starting the runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run(cli.command)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pulsewire: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Demo(demo) => demo.run().await,
        Command::Serve(serve) => serve.run().await,
        Command::CheckConfig(settings) => check_config(&settings),
        Command::PushEmulator(command) => command.run().await,
        Command::User(command) => command.run().await,
        Command::Device(command) => command.run().await,
        Command::Check(command) => command.run(),
        // Nothing else runs in this process, so blocking its thread keeps nobody waiting.
        Command::Import(command) => command.run(),
        Command::Bench(command) => command.run(),
        Command::Rules(command) => command.run(),
        Command::Backup(command) => command.run(),
        Command::Restore(command) => command.run(),
    }
}

impl Serve {
    async fn run(self) -> anyhow::Result<()> {
        let config = self.settings.read()?;
        telemetry::init_logs(&config.log.level, config.log.json).map_err(anyhow::Error::msg)?;
        let mut stop = StopSignal::listen()?;
        let start = StartOptions { admin_password: admin_password(), demo: false, emulator_url: None };
        let app = App::start(config, start).await?;
        if self.json {
            println!("{}", addresses(&app));
        } else {
            println!("dashboard  http://{}", app.http_address());
            println!("devices    {}", app.device_address());
        }
        if let Some(password) = app.made_password() {
            eprintln!("first start: sign in as admin with the password {password} (shown this once)");
        }
        stop.wait().await;
        app.stop().await;
        Ok(())
    }
}

fn admin_password() -> Option<String> {
    std::env::var("PULSEWIRE_ADMIN_PASSWORD").ok().filter(|password| !password.is_empty())
}

fn addresses(app: &App) -> serde_json::Value {
    serde_json::json!({
        "http": format!("http://{}", app.http_address()),
        "device": app.device_address().to_string(),
    })
}

fn check_config(settings: &Settings) -> anyhow::Result<()> {
    let config = settings.read()?;
    println!("the configuration is valid; {} keys are in force:\n{config:#?}", KEYS.len());
    Ok(())
}

/// Ctrl-C and SIGTERM. A second one ends the process at once.
struct StopSignal {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl StopSignal {
    fn listen() -> anyhow::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn wait(&mut self) {
        self.next().await;
        eprintln!("stopping; once more to stop at once");
        let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
        else {
            return;
        };
        tokio::spawn(async move {
            tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
            std::process::exit(130);
        });
    }

    async fn next(&mut self) {
        tokio::select! { _ = self.terminate.recv() => {}, _ = self.interrupt.recv() => {} }
    }
}
