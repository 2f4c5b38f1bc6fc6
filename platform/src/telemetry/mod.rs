//! Logs and metrics: where they go and what they are called.

pub mod names;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use std::sync::OnceLock;

/// Commits take from tens of microseconds to, on a bad disk, seconds.
const COMMIT_BUCKETS_S: &[f64] =
    &[0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5];

/// A command reaches a device that is there within milliseconds, and one that is away when it comes back.
const DELIVERY_BUCKETS_S: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 300.0, 3600.0, 86_400.0];

/// Sends logs to standard error. A second call in one process does nothing.
///
/// # Errors
/// If the filter cannot be read.
pub fn init_logs(filter: &str, json: bool) -> Result<(), String> {
    // The HTTP library tells at `info` how many threads it starts; who wants that asks for it by name.
    let directives = if filter.contains("actix") { filter.to_owned() } else { format!("{filter},actix_server=warn") };
    let filter = tracing_subscriber::EnvFilter::try_new(directives)
        .map_err(|error| format!("log.level is {filter:?}: {error}"))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    let done = if json {
        builder.json().try_init()
    } else {
        builder.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).try_init()
    };
    // Tests start several servers in one process; the first one's subscriber serves all.
    let _ = done;
    Ok(())
}

/// The recorder of this process, installed at the first call.
///
/// # Errors
/// If another recorder is installed already.
pub fn metrics_handle() -> Result<PrometheusHandle, String> {
    static HANDLE: OnceLock<Result<PrometheusHandle, String>> = OnceLock::new();
    HANDLE
        .get_or_init(|| {
            let builder = PrometheusBuilder::new()
                .set_buckets_for_metric(Matcher::Full(names::COMMIT_SECONDS.into()), COMMIT_BUCKETS_S)
                .and_then(|builder| {
                    let delivery = Matcher::Full(names::COMMAND_DELIVERY_SECONDS.into());
                    builder.set_buckets_for_metric(delivery, DELIVERY_BUCKETS_S)
                })
                .map_err(|error| error.to_string())?;
            let handle = builder.install_recorder().map_err(|error| error.to_string())?;
            names::describe();
            Ok(handle)
        })
        .clone()
}
