//! Recorded data from a CSV file: one row, one report.
//!
//! A replay can be repeated: the same stream, the same sequences, the same bytes, so that a server that has them already
//! stores nothing new. What makes that possible is in a side file; see [`ReplayOptions::state`].

mod columns;
mod report;
mod rows;
mod source;
mod state;
mod table;
mod time;

use std::{path::PathBuf, sync::Arc, time::Duration};

use jiff::tz::TimeZone;
use pulsewire_proto::session::DeviceLogin;
use tokio::{
    sync::Mutex,
    task::JoinSet,
    time::{Instant, sleep},
};

pub use columns::{Columns, DeviceFrom};
pub use pulsewire_proto::Value;
pub use report::{DeviceReport, ReplayReport, ServerCount};
pub use rows::BadRow;
pub use table::{DeviceRows, Table};
pub use time::TimeFormat;

use self::{
    source::{Pace, ReplaySource},
    state::{Earlier, ReplayState},
};
use crate::{
    Provisioner, Shutdown, SimError,
    api::{Accounting, DeviceSpec},
    client::{ClientOptions, ClientStats, DeviceClient, Target},
    error::blocking,
    fleet::run_renewing,
};

/// How long the server's accounting may lag behind its acknowledgements.
const ACCOUNTING_LIMIT: Duration = Duration::from_secs(10);

/// What to replay, and how. [`for_file`](Self::for_file) gives the defaults.
#[derive(Debug, Clone)]
pub struct ReplayOptions {
    /// The CSV file, with a header line.
    pub file: PathBuf,
    /// Where it connects.
    pub target: Target,
    /// Time column, or two joined by a comma; `None`: found by name and content.
    pub time_column: Option<String>,
    /// How times are written; `None`: guessed.
    pub time_format: Option<TimeFormat>,
    /// IANA time zone of times that name none.
    pub time_zone: String,
    /// Device column; `None`: found by name.
    pub device_column: Option<String>,
    /// One device for all rows.
    pub device: Option<String>,
    /// Metric columns; `None`: all others.
    pub metrics: Option<Vec<String>>,
    /// How many times faster than recorded; `None`: as fast as the server takes them.
    pub speed: Option<f64>,
    /// Begin again at the end of the file, with times moved on.
    pub repeat: bool,
    /// Send as BACKFILL on backlog streams.
    pub backfill: bool,
    /// Go on after what the server has, instead of repeating it.
    pub go_on: bool,
    /// Stop at the first row that cannot be read.
    pub strict: bool,
    /// The side file.
    pub state: PathBuf,
    /// Without a login or an acknowledgement for this long, give up.
    pub give_up_after: Duration,
}

impl ReplayOptions {
    /// Defaults for a file: everything is found out, the side file is `FILE.pulsewire-replay.json` in the current folder.
    pub fn for_file(file: impl Into<PathBuf>) -> ReplayOptions {
        let file = file.into();
        let mut state = file.file_name().unwrap_or_default().to_owned();
        state.push(".pulsewire-replay.json");
        ReplayOptions {
            file,
            target: Target::Tcp("127.0.0.1:7410".into()),
            time_column: None,
            time_format: None,
            time_zone: "UTC".into(),
            device_column: None,
            device: None,
            metrics: None,
            speed: None,
            repeat: false,
            backfill: false,
            go_on: false,
            strict: false,
            state: state.into(),
            give_up_after: Duration::from_secs(300),
        }
    }

    fn zone(&self) -> Result<TimeZone, SimError> {
        TimeZone::get(&self.time_zone).map_err(|error| SimError::Invalid {
            name: "--time-zone",
            value: self.time_zone.clone(),
            allowed: format!("an IANA name such as UTC or Europe/Berlin ({error})"),
        })
    }
}

/// A file that was read and whose devices exist: ready to be sent.
#[derive(Debug)]
pub struct Replay {
    options: ReplayOptions,
    table: Arc<Table>,
    state: ReplayState,
    secrets: Vec<[u8; 32]>,
    provisioner: Provisioner,
    before: Vec<Option<Accounting>>,
    /// What whoever watches should know, such as why streams are opened anew.
    pub notes: Vec<String>,
}

impl Replay {
    /// Reads the file and the side file, and creates the devices.
    pub async fn prepare(options: ReplayOptions, mut provisioner: Provisioner) -> Result<Replay, SimError> {
        let read = options.clone();
        let (table, mut state, earlier) = blocking(move || {
            let table = Table::read(&read.file, &read)?;
            let (state, earlier) = ReplayState::open(&read.state, &table, read.backfill, read.go_on)?;
            Ok((table, state, earlier))
        })
        .await?;
        let mut notes = Vec::new();
        if earlier == Earlier::Different {
            let state = options.state.display();
            notes
                .push(format!("the file or the options are not those of {state}: this replay gets streams of its own"));
        }
        let specs: Vec<DeviceSpec> =
            table.devices.iter().map(|rows| DeviceSpec { id: rows.device.clone(), ..DeviceSpec::default() }).collect();
        let ids: Vec<String> = specs.iter().map(|spec| spec.id.clone()).collect();
        let secrets = provisioner.ensure(specs).await?;
        let forgotten = state.meet(provisioner.created(ids).await?);
        if !forgotten.is_empty() {
            let state = options.state.display();
            notes.push(format!(
                "{state} is of other devices than the server's {}, which get streams of their own",
                forgotten.join(", ")
            ));
        }
        let mut before = Vec::new();
        for rows in &table.devices {
            before.push(provisioner.accounting(&rows.device).await?);
        }
        Ok(Replay { options, table: Arc::new(table), state, secrets, provisioner, before, notes })
    }

    /// The file as it was read.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// Sends everything, until all is acknowledged, `shutdown`, or no progress for [`ReplayOptions::give_up_after`].
    pub async fn run(self, stats: Arc<ClientStats>, shutdown: Shutdown) -> Result<ReplayReport, SimError> {
        let Replay { options, table, state, secrets, provisioner, before, .. } = self;
        let provisioner = Arc::new(Mutex::new(provisioner));
        let start = Instant::now();
        let pace = Pace { start, speed: options.speed };
        let mut running = JoinSet::new();
        for (index, secret) in secrets.into_iter().enumerate() {
            let source = ReplaySource::new(table.clone(), index, state.clone(), pace, &options);
            let client_options = ClientOptions {
                target: options.target.clone(),
                device: table.devices[index].device.clone(),
                login: DeviceLogin::Secret(secret),
                firmware: format!("pulsewire-sim {} replay", env!("CARGO_PKG_VERSION")),
                seed: crate::fleet::unix_us() as u64 ^ ((index as u64) << 32),
                give_up_after: Some(options.give_up_after),
            };
            let mut client = DeviceClient::new(client_options, source, stats.clone());
            let (provisioner, shutdown) = (provisioner.clone(), shutdown.clone());
            running.spawn(async move {
                let result = run_renewing(&mut client, &provisioner, shutdown).await;
                (index, client, result)
            });
        }
        let mut clients = Vec::new();
        while let Some(ended) = running.join_next().await {
            clients.push(ended.map_err(|error| SimError::Task(error.to_string()))?);
        }
        clients.sort_by_key(|(index, ..)| *index);
        let reached =
            clients.iter().map(|(_, client, _)| (client.options().device.clone(), client.source().acknowledged()));
        state.set_acknowledged(reached.collect()).await?;
        let mut report = ReplayReport::new(&options, &table, start.elapsed(), &stats);
        for ((_, client, result), before) in clients.iter().zip(before) {
            let server = match before {
                Some(before) => count(&*provisioner.lock().await, client.source(), before).await?,
                None => None,
            };
            report.add(client.source(), result.as_ref().err(), server);
        }
        report.finish();
        Ok(report)
    }
}

/// Asks the server what it counted, until it agrees or its time is up: it may have been restarted a moment ago.
async fn count(
    provisioner: &Provisioner,
    source: &ReplaySource,
    before: Accounting,
) -> Result<Option<ServerCount>, SimError> {
    let until = Instant::now() + ACCOUNTING_LIMIT;
    loop {
        let answer = provisioner.accounting(&source.device().device).await;
        let patience = Instant::now() < until;
        match answer {
            Ok(Some(after)) => {
                let count = ServerCount::new(before, after, source.new_reports_and_values());
                if count.agrees || !patience {
                    return Ok(Some(count));
                }
            }
            Ok(None) => return Ok(None),
            Err(SimError::ApiUnreachable { .. }) if patience => {}
            Err(error) => return Err(error),
        }
        sleep(Duration::from_millis(100)).await;
    }
}
