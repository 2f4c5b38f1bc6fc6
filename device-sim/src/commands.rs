//! What each subcommand does.

use std::{future::Future, path::PathBuf, sync::Arc, time::Duration};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use pulsewire_sim::{
    ApiOptions, Provisioner, SecretStore, Shutdown, SimError, Summary,
    bench::{
        fanout::{
            self, FanoutBench,
            reconnect::{self, ReconnectBench},
        },
        ingest::{self, IngestBench, Watch},
        push::{self, PushBench},
    },
    client::ClientStats,
    fleet::{self, FleetOptions},
    host::{self, HostOptions},
    replay::{Replay, ReplayOptions},
};
use serde::Serialize;

use crate::args::{
    AggregateArg, Args, Bench, BenchFanoutArgs, BenchIngestArgs, BenchPushArgs, BenchReconnectArgs, BenchServerArgs,
    Command, FleetArgs, HostArgs, ReplayArgs, ServerArgs,
};

/// How often progress is shown.
const REFRESH: Duration = Duration::from_millis(250);

/// Whether what was asked for happened.
pub async fn run(args: Args) -> Result<bool, SimError> {
    match args.command {
        Command::Fleet(args) => run_fleet(args).await,
        Command::Host(args) => run_host(args).await,
        Command::Replay(args) => run_replay(args).await,
        Command::Bench(args) => match args.what {
            Bench::Push(args) => run_bench_push(args).await,
            Bench::Ingest(args) => run_bench_ingest(args).await,
            Bench::Fanout(args) => run_bench_fanout(args).await,
            Bench::Reconnect(args) => run_bench_reconnect(args).await,
            Bench::Subscribers => tokio::task::spawn_blocking(fanout::child::run)
                .await
                .map_err(|error| SimError::Task(error.to_string()))?
                .map(|()| true),
        },
    }
}

async fn run_bench_push(args: BenchPushArgs) -> Result<bool, SimError> {
    let running = match (args.connect, args.api, args.emulator) {
        (Some(target), Some(url), Some(emulator)) => {
            let password = password(&args.password_env)?;
            Some(push::Running { target, api: ApiOptions { url, user: args.user, password }, emulator })
        }
        _ => None,
    };
    let bench = PushBench { seconds: args.seconds, devices: args.devices, interval: args.interval, running };
    let report = push::run(bench, on_ctrl_c()).await?;
    if args.json {
        print_json(&report)?;
    } else {
        println!("{report}");
    }
    Ok(report.is_success())
}

async fn run_bench_ingest(args: BenchIngestArgs) -> Result<bool, SimError> {
    let running = match (args.connect, args.api) {
        (Some(target), Some(url)) => {
            let password = password(&args.password_env)?;
            Some(ingest::Running { target, api: ApiOptions { url, user: args.user, password } })
        }
        _ => None,
    };
    let bench = IngestBench {
        connections: args.connections,
        rate: args.rate,
        seconds: args.seconds,
        in_flight: args.in_flight,
        metrics: args.metrics,
        rules: args.rules,
        viewers: args.viewers,
        threads: args.threads,
        running,
        peers: args.peers.into_iter().map(Into::into).collect(),
    };
    let (bar, watched) = (spinner(args.quiet), Watch::default());
    let work = ingest::run(bench, watched.clone(), on_ctrl_c());
    let report = watch(work, || {
        bar.tick();
        bar.set_message(format!("{}; {} messages acknowledged", watched.stage(), watched.acknowledged()));
    })
    .await;
    bar.finish_and_clear();
    let report = report?;
    if args.json {
        print_json(&report)?;
    } else {
        println!("{report}");
    }
    Ok(report.is_success())
}

async fn run_bench_fanout(args: BenchFanoutArgs) -> Result<bool, SimError> {
    let bench = FanoutBench {
        subscribers: args.subscribers,
        views: args.views,
        series: args.series,
        rate: args.rate,
        interval: args.interval,
        seconds: args.seconds,
        every: args.aggregate == AggregateArg::Every,
        stalled: args.stalled,
        processes: args.processes,
        running: running(&args.bench)?,
        peers: args.peers.into_iter().map(Into::into).collect(),
        ws_package: args.ws_package,
    };
    let watched = Watch::default();
    let work = fanout::run(bench, watched.clone(), on_ctrl_c());
    let report = show_stage(&args.bench, &watched, work).await?;
    print_report(&args.bench, &report)?;
    Ok(report.is_success())
}

async fn run_bench_reconnect(args: BenchReconnectArgs) -> Result<bool, SimError> {
    let within = Duration::try_from_secs_f64(args.within).map_err(|error| SimError::Invalid {
        name: "--within",
        value: args.within.to_string(),
        allowed: error.to_string(),
    })?;
    let bench = ReconnectBench {
        dashboards: args.dashboards,
        views: args.views,
        within,
        resume: args.resume,
        processes: args.processes,
        running: running(&args.bench)?,
    };
    let watched = Watch::default();
    let work = reconnect::run(bench, watched.clone(), on_ctrl_c());
    let report = show_stage(&args.bench, &watched, work).await?;
    print_report(&args.bench, &report)?;
    Ok(report.is_success())
}

/// The server that runs already, if one is named.
fn running(args: &BenchServerArgs) -> Result<Option<ingest::Running>, SimError> {
    let (Some(target), Some(url)) = (&args.connect, &args.api) else { return Ok(None) };
    let api = ApiOptions { url: url.clone(), user: args.user.clone(), password: password(&args.password_env)? };
    Ok(Some(ingest::Running { target: target.clone(), api }))
}

async fn show_stage<T>(args: &BenchServerArgs, watched: &Watch, work: impl Future<Output = T>) -> T {
    let bar = spinner(args.quiet);
    let done = watch(work, || {
        bar.tick();
        bar.set_message(watched.stage());
    })
    .await;
    bar.finish_and_clear();
    done
}

fn print_report(args: &BenchServerArgs, report: &(impl Serialize + std::fmt::Display)) -> Result<(), SimError> {
    if args.json {
        return print_json(report);
    }
    println!("{report}");
    Ok(())
}

fn password(variable: &str) -> Result<String, SimError> {
    std::env::var(variable).map_err(|_| SimError::Invalid {
        name: "--password-env",
        value: variable.into(),
        allowed: "the name of an environment variable that is set".into(),
    })
}

async fn run_fleet(args: FleetArgs) -> Result<bool, SimError> {
    let answers = args.answers();
    let provisioner = provisioner(&args.server, args.state).await?;
    let options = FleetOptions {
        target: args.server.connect.clone(),
        devices: args.devices,
        seed: args.seed,
        interval: args.interval,
        fault_after: args.fault_after,
        answers,
        prefix: args.prefix,
        duration: args.duration,
    };
    let stats = Arc::new(ClientStats::default());
    let bar = spinner(args.server.quiet);
    let work = fleet::run(options, provisioner, stats.clone(), on_ctrl_c());
    let summary = watch(work, || show_running(&bar, &stats, args.devices)).await;
    bar.finish_and_clear();
    finish_running(&args.server, &summary?)
}

async fn run_host(args: HostArgs) -> Result<bool, SimError> {
    let provisioner = provisioner(&args.server, args.state).await?;
    let options = HostOptions {
        target: args.server.connect.clone(),
        device: args.device.unwrap_or_else(host::default_device_id),
        interval: args.interval,
        duration: args.duration,
    };
    let stats = Arc::new(ClientStats::default());
    let bar = spinner(args.server.quiet);
    let work = host::run(options, provisioner, stats.clone(), on_ctrl_c());
    let summary = watch(work, || show_running(&bar, &stats, 1)).await;
    bar.finish_and_clear();
    finish_running(&args.server, &summary?)
}

async fn run_replay(args: ReplayArgs) -> Result<bool, SimError> {
    let defaults = ReplayOptions::for_file(args.file);
    let options = ReplayOptions {
        target: args.server.connect.clone(),
        time_column: args.time_column,
        time_format: args.time_format,
        time_zone: args.time_zone,
        device_column: args.device_column,
        device: args.device,
        metrics: args.metrics,
        speed: args.speed.0,
        repeat: args.repeat,
        backfill: args.backfill,
        go_on: args.go_on,
        strict: args.strict,
        state: args.state.unwrap_or(defaults.state),
        give_up_after: args.give_up_after,
        file: defaults.file,
    };
    let repeat = options.repeat;
    let provisioner = provisioner(&args.server, None).await?;
    let replay = Replay::prepare(options, provisioner).await?;
    for note in &replay.notes {
        eprintln!("note: {note}");
    }
    let stats = Arc::new(ClientStats::default());
    let bar =
        if repeat { spinner(args.server.quiet) } else { progress_bar(args.server.quiet, replay.table().reports()) };
    let work = replay.run(stats.clone(), on_ctrl_c());
    let report = watch(work, || {
        bar.set_position(ClientStats::get(&stats.acknowledged));
        if repeat {
            bar.set_message(format!("{} reports acknowledged", ClientStats::get(&stats.acknowledged)));
        } else {
            bar.set_message(problem(&stats));
        }
    })
    .await;
    bar.finish_and_clear();
    let report = report?;
    if args.server.json {
        print_json(&report)?;
    } else {
        println!("{report}");
    }
    Ok(report.is_success())
}

/// Signs in if there is a password; otherwise the side file must do.
async fn provisioner(args: &ServerArgs, state: Option<PathBuf>) -> Result<Provisioner, SimError> {
    let path = state.unwrap_or_else(|| args.secret_file.clone());
    let opened = tokio::task::spawn_blocking(move || SecretStore::open(&path)).await;
    let secrets = opened.map_err(|error| SimError::Task(error.to_string()))??;
    match std::env::var(&args.password_env) {
        Ok(password) => {
            let url = args.api.clone().unwrap_or_else(|| ServerArgs::DEFAULT_API.into());
            Provisioner::sign_in(ApiOptions { url, user: args.user.clone(), password }, secrets).await
        }
        Err(_) if args.api.is_some() => Err(SimError::Invalid {
            name: "--password-env",
            value: args.password_env.clone(),
            allowed: "with --api this environment variable must hold the password".into(),
        }),
        Err(_) => Ok(Provisioner::offline(secrets, &args.password_env)),
    }
}

/// Does the work and shows progress meanwhile.
async fn watch<T>(work: impl Future<Output = T>, mut show: impl FnMut()) -> T {
    tokio::pin!(work);
    let mut ticks = tokio::time::interval(REFRESH);
    loop {
        tokio::select! {
            result = &mut work => return result,
            _ = ticks.tick() => show(),
        }
    }
}

/// The first Ctrl-C or SIGTERM asks for an orderly end; the system's default is back for a second one.
fn on_ctrl_c() -> Shutdown {
    let (trigger, shutdown) = Shutdown::channel();
    tokio::spawn(async move {
        wait_for_signal().await;
        trigger.trigger();
        wait_for_signal().await;
        std::process::exit(130);
    });
    shutdown
}

#[cfg(unix)]
async fn wait_for_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        return std::future::pending().await;
    };
    tokio::select! {
        result = tokio::signal::ctrl_c() => if result.is_err() { std::future::pending().await },
        _ = terminate.recv() => {}
    }
}

#[cfg(not(unix))]
async fn wait_for_signal() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending().await
    }
}

fn spinner(is_quiet: bool) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, draw_target(is_quiet));
    bar.set_style(
        ProgressStyle::with_template("{spinner} {elapsed} {msg}").unwrap_or_else(|_| ProgressStyle::default_spinner()),
    );
    bar
}

fn progress_bar(is_quiet: bool, length: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(length), draw_target(is_quiet));
    let template = "{bar:30} {pos}/{len} reports acknowledged, {per_sec}, {eta} left {msg}";
    bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

fn draw_target(is_quiet: bool) -> ProgressDrawTarget {
    if is_quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() }
}

fn show_running(bar: &ProgressBar, stats: &ClientStats, devices: u32) {
    bar.tick();
    bar.set_message(format!(
        "{}/{devices} connected, {} reports sent, {} acknowledged {}",
        ClientStats::get(&stats.connected),
        ClientStats::get(&stats.sent),
        ClientStats::get(&stats.acknowledged),
        problem(stats),
    ));
}

fn problem(stats: &ClientStats) -> String {
    stats.last_problem().map_or_else(String::new, |problem| format!("(last problem: {problem})"))
}

fn finish_running(args: &ServerArgs, summary: &Summary) -> Result<bool, SimError> {
    if args.json {
        print_json(summary)?;
    } else {
        println!("{summary}");
    }
    Ok(summary.is_complete())
}

fn print_json(value: &impl Serialize) -> Result<(), SimError> {
    let text = serde_json::to_string_pretty(value).map_err(|error| SimError::Task(error.to_string()))?;
    println!("{text}");
    Ok(())
}
