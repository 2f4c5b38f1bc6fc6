//! The command line.

use std::{path::PathBuf, time::Duration};

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use pulsewire_sim::{
    Target,
    behaviour::Answers,
    bench::{Broadcast, Peer},
    replay::TimeFormat,
};

/// Devices for a Pulsewire server: simulated fleets, recorded data, and this machine itself.
///
/// Devices are created through the HTTP API when the password of an admin is in the environment; their secrets are kept in
/// a side file that only you can read. Without a password, every secret must be in that file already.
#[derive(Debug, Parser)]
#[command(name = "pulsewire-sim", version)]
pub struct Args {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    Fleet(FleetArgs),
    Host(HostArgs),
    Replay(ReplayArgs),
    Bench(BenchArgs),
}

/// Measure a server
#[derive(Debug, ClapArgs)]
pub struct BenchArgs {
    #[command(subcommand)]
    pub what: Bench,
}

#[derive(Debug, Subcommand)]
pub enum Bench {
    Push(BenchPushArgs),
    Ingest(BenchIngestArgs),
    Fanout(BenchFanoutArgs),
    Reconnect(BenchReconnectArgs),
    /// Holds subscribers for another measurement, as that says on standard input
    #[command(hide = true)]
    Subscribers,
}

/// Reports in, acknowledgements out. Starts `pulsewire`, which lies beside this program, unless --connect is given
///
/// Two seconds of the same load come first and are not counted. docs/benchmarks.md says what each figure means.
#[derive(Debug, ClapArgs)]
pub struct BenchIngestArgs {
    /// Devices, each with a connection over raw TCP
    #[arg(long, default_value_t = 1000, value_name = "N")]
    pub connections: u32,
    /// Messages a second over all connections, on a schedule; default: as fast as they are acknowledged
    #[arg(long, value_name = "N")]
    pub rate: Option<f64>,
    /// For how long
    #[arg(long, default_value_t = 15, value_name = "N")]
    pub seconds: u64,
    /// Most unacknowledged messages of a connection
    #[arg(long, default_value_t = 100, value_name = "N")]
    pub in_flight: u32,
    /// Readings in a message, all f32
    #[arg(long, default_value_t = 10, value_name = "N")]
    pub metrics: u32,
    /// Rules that match every device and never fire
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub rules: u32,
    /// Live sockets, each with the metrics of ten devices
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub viewers: u32,
    /// Threads of the generator
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub threads: u32,
    /// Servers to measure in the same way, if they are installed
    #[arg(long, value_delimiter = ',', value_enum, value_name = "A,B,C")]
    pub peers: Vec<PeerArg>,
    /// A server that runs already: where devices connect. Needs --api
    #[arg(long, value_name = "ADDR", value_parser = target, requires = "api")]
    pub connect: Option<Target>,
    /// Its HTTP API
    #[arg(long, value_name = "URL", requires = "connect")]
    pub api: Option<String>,
    /// Who signs in there
    #[arg(long, default_value = "admin")]
    pub user: String,
    /// Environment variable that holds the password
    #[arg(long, value_name = "NAME", default_value = "PULSEWIRE_ADMIN_PASSWORD")]
    pub password_env: String,
    /// Print one JSON document on standard output
    #[arg(long)]
    pub json: bool,
    /// No progress on standard error
    #[arg(long, short)]
    pub quiet: bool,
}

/// Devices in, dashboards out. Starts `pulsewire`, which lies beside this program, unless --connect is given
///
/// The same devices are measured without subscribers first, and two seconds of each part are not counted. docs/benchmarks.md says
/// what each figure means.
#[derive(Debug, ClapArgs)]
pub struct BenchFanoutArgs {
    /// Live sockets
    #[arg(long, default_value_t = 1000, value_name = "M")]
    pub subscribers: u32,
    /// Different subscriptions; each subscriber has one
    #[arg(long, default_value_t = 10, value_name = "K")]
    pub views: u32,
    /// Series of each subscription; with the default a thousand subscribers ask for 21 million updates a second
    #[arg(long, default_value_t = 2100, value_name = "S")]
    pub series: u32,
    /// Samples of each series a second, on a schedule
    #[arg(long, default_value_t = 10.0, value_name = "HZ")]
    pub rate: f64,
    /// Time between the batches of a subscription, at least 50ms
    #[arg(long, default_value = "100ms", value_parser = duration)]
    pub interval: Duration,
    /// For how long, in each part
    #[arg(long, default_value_t = 10, value_name = "N")]
    pub seconds: u64,
    /// Which samples to ask for
    #[arg(long, default_value = "last", value_enum)]
    pub aggregate: AggregateArg,
    /// Measure again beside so many more live sockets that never read
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub stalled: u32,
    /// Processes that share the subscribers
    #[arg(long, default_value_t = 2, value_name = "N")]
    pub processes: u32,
    /// Servers to measure with the same bytes at the same rate, if they are installed
    #[arg(long, value_delimiter = ',', value_enum, value_name = "A,B")]
    pub peers: Vec<BroadcastArg>,
    /// Folder of the Node package ws, if it is not in dashboard/tests/node_modules
    #[arg(long, value_name = "DIR")]
    pub ws_package: Option<PathBuf>,
    #[command(flatten)]
    pub bench: BenchServerArgs,
}

/// All dashboards lose their connections and come back. Starts `pulsewire`, which lies beside this program, unless --connect is
/// given
#[derive(Debug, ClapArgs)]
pub struct BenchReconnectArgs {
    /// Live sockets, each with the 200 metrics of four devices
    #[arg(long, default_value_t = 10_000, value_name = "N")]
    pub dashboards: u32,
    /// Different subscriptions
    #[arg(long, default_value_t = 20, value_name = "K")]
    pub views: u32,
    /// Within how many seconds all come back, each at a random moment
    #[arg(long, default_value_t = 5.0, value_name = "N")]
    pub within: f64,
    /// They say how far they had everything, instead of beginning anew
    #[arg(long)]
    pub resume: bool,
    /// Processes that share the dashboards
    #[arg(long, default_value_t = 2, value_name = "N")]
    pub processes: u32,
    #[command(flatten)]
    pub bench: BenchServerArgs,
}

/// Which server to measure, and how to say what was found.
#[derive(Debug, ClapArgs)]
pub struct BenchServerArgs {
    /// A server that runs already: where devices connect. Needs --api
    #[arg(long, value_name = "ADDR", value_parser = target, requires = "api")]
    pub connect: Option<Target>,
    /// Its HTTP API
    #[arg(long, value_name = "URL", requires = "connect")]
    pub api: Option<String>,
    /// Who signs in there
    #[arg(long, default_value = "admin")]
    pub user: String,
    /// Environment variable that holds the password
    #[arg(long, value_name = "NAME", default_value = "PULSEWIRE_ADMIN_PASSWORD")]
    pub password_env: String,
    /// Print one JSON document on standard output
    #[arg(long)]
    pub json: bool,
    /// No progress on standard error
    #[arg(long, short)]
    pub quiet: bool,
}

/// `--aggregate`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum AggregateArg {
    /// The newest of each interval.
    Last,
    /// Each.
    Every,
}

/// `--peers` of the fan-out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum BroadcastArg {
    Ws,
    Nats,
}

impl From<BroadcastArg> for Broadcast {
    fn from(peer: BroadcastArg) -> Broadcast {
        match peer {
            BroadcastArg::Ws => Broadcast::Ws,
            BroadcastArg::Nats => Broadcast::Nats,
        }
    }
}

/// `--peers`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PeerArg {
    Mosquitto,
    Nats,
    Redis,
}

impl From<PeerArg> for Peer {
    fn from(peer: PeerArg) -> Peer {
        match peer {
            PeerArg::Mosquitto => Peer::Mosquitto,
            PeerArg::Nats => Peer::Nats,
            PeerArg::Redis => Peer::Redis,
        }
    }
}

/// Sample in to request at a push provider. Starts `pulsewire` and its push emulator, which lie beside this program, unless
/// --connect is given
#[derive(Debug, ClapArgs)]
pub struct BenchPushArgs {
    /// For how long
    #[arg(long, default_value_t = 10, value_name = "N")]
    pub seconds: u64,
    /// Devices that trip a rule and recover by turns
    #[arg(long, default_value_t = 20)]
    pub devices: u32,
    /// Time between two transitions of one device, at least 500ms
    #[arg(long, default_value = "1s", value_parser = duration)]
    pub interval: Duration,
    /// A server that runs already: where devices connect. Needs --api and --emulator; its push.grace counts
    #[arg(long, value_name = "ADDR", value_parser = target, requires = "api", requires = "emulator")]
    pub connect: Option<Target>,
    /// Its HTTP API
    #[arg(long, value_name = "URL")]
    pub api: Option<String>,
    /// Page of the push emulator that it sends to
    #[arg(long, value_name = "URL")]
    pub emulator: Option<String>,
    /// Who signs in there
    #[arg(long, default_value = "admin")]
    pub user: String,
    /// Environment variable that holds the password
    #[arg(long, value_name = "NAME", default_value = "PULSEWIRE_ADMIN_PASSWORD")]
    pub password_env: String,
    /// Print one JSON document on standard output
    #[arg(long)]
    pub json: bool,
}

/// Where the server is, and who may create devices.
#[derive(Debug, ClapArgs)]
pub struct ServerArgs {
    /// Where devices connect: HOST:PORT for raw TCP, or ws://HOST:PORT/device
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7410", value_parser = target)]
    pub connect: Target,
    /// The HTTP API
    #[arg(long, value_name = "URL")]
    pub api: Option<String>,
    /// Who signs in there
    #[arg(long, default_value = "admin")]
    pub user: String,
    /// Environment variable that holds the password
    #[arg(long, value_name = "NAME", default_value = "PULSEWIRE_ADMIN_PASSWORD")]
    pub password_env: String,
    /// Side file with the devices' secrets
    #[arg(long, value_name = "FILE", default_value = "pulsewire-secrets.json")]
    pub secret_file: PathBuf,
    /// Print one JSON document on standard output
    #[arg(long)]
    pub json: bool,
    /// No progress on standard error
    #[arg(long, short)]
    pub quiet: bool,
}

impl ServerArgs {
    pub const DEFAULT_API: &str = "http://127.0.0.1:8080";
}

/// Many simulated devices with believable readings: cold rooms, pumps, weather stations, room sensors, vehicles
#[derive(Debug, ClapArgs)]
pub struct FleetArgs {
    #[command(flatten)]
    pub server: ServerArgs,
    /// How many
    #[arg(long, default_value_t = 10)]
    pub devices: u32,
    /// Same seed, same readings
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Time between the reports of one device, such as 1s or 250ms
    #[arg(long, default_value = "1s", value_parser = duration)]
    pub interval: Duration,
    /// Beginning of the device ids
    #[arg(long, default_value = "sim-")]
    pub prefix: String,
    /// Stop after this time, such as 30s or 5m; default: on Ctrl-C
    #[arg(long, value_parser = duration)]
    pub duration: Option<Duration>,
    /// Let the compressor of the first cold room trip after this time; the command restart_compressor cures it
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub fault_after: Option<Duration>,
    /// What devices answer to commands. silent: they confirm and say nothing more; deaf: not even that; slow: the result
    /// comes after --answer-delay
    #[arg(long, value_enum, default_value_t = AnswersArg::Normal)]
    pub answers: AnswersArg,
    /// How late results are with --answers slow
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration)]
    pub answer_delay: Duration,
    /// Same as --secret-file
    #[arg(long, value_name = "FILE")]
    pub state: Option<PathBuf>,
}

/// `--answers`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum AnswersArg {
    Normal,
    Succeed,
    Fail,
    Reject,
    Silent,
    Deaf,
    Slow,
}

impl FleetArgs {
    /// What the devices answer.
    pub fn answers(&self) -> Answers {
        match self.answers {
            AnswersArg::Normal => Answers::Normal,
            AnswersArg::Succeed => Answers::Succeed,
            AnswersArg::Fail => Answers::Fail,
            AnswersArg::Reject => Answers::Reject,
            AnswersArg::Silent => Answers::Silent,
            AnswersArg::Deaf => Answers::Deaf,
            AnswersArg::Slow => Answers::Slow(self.answer_delay),
        }
    }
}

/// This machine as a device: processor, load, memory, disk, network, temperatures
#[derive(Debug, ClapArgs)]
pub struct HostArgs {
    #[command(flatten)]
    pub server: ServerArgs,
    /// Device id; default: host- and this machine's name
    #[arg(long)]
    pub device: Option<String>,
    /// Time between reports, at least 200ms
    #[arg(long, default_value = "1s", value_parser = duration)]
    pub interval: Duration,
    /// Stop after this time; default: on Ctrl-C
    #[arg(long, value_parser = duration)]
    pub duration: Option<Duration>,
    /// Same as --secret-file
    #[arg(long, value_name = "FILE")]
    pub state: Option<PathBuf>,
}

/// Recorded data from a CSV file: one row, one report
///
/// Without options the columns are found like this. Time: a pair of columns Date and Time, else a column called timestamp,
/// ts, time, datetime and the like, or ending in _time or _at, whose values are times in a known format: seconds,
/// milliseconds or microseconds since 1970, RFC 3339 (also with a space and without zone), or a common order of year,
/// month and day (where both are possible, month/day before day/month). Device: a column called device, device_id, sensor,
/// node, station, machine, host and the like with valid ids, else the name of the file. Metrics: every other column; bool
/// for true/false, i64 for whole numbers, f64 with any fraction, else text. Empty cells, NA and null are no value.
///
/// A second run repeats the first exactly (same streams, sequences and bytes), so the server stores nothing new; with
/// --continue it goes on after what the server has. A replay survives restarts of the server. The exit status is 0 only if
/// every report was acknowledged and, with the API, the server's accounting agrees.
#[derive(Debug, ClapArgs)]
#[command(verbatim_doc_comment)]
pub struct ReplayArgs {
    /// CSV file with a header line
    pub file: PathBuf,
    #[command(flatten)]
    pub server: ServerArgs,
    /// Time column; two joined by a comma are a date and a time
    #[arg(long, value_name = "COLUMN")]
    pub time_column: Option<String>,
    /// unix-s, unix-ms, unix-us, rfc3339 or a strftime pattern
    #[arg(long, value_name = "FORMAT", value_parser = time_format)]
    pub time_format: Option<TimeFormat>,
    /// IANA time zone of times that name none
    #[arg(long, value_name = "ZONE", default_value = "UTC")]
    pub time_zone: String,
    /// Column with the device id
    #[arg(long, value_name = "COLUMN", conflicts_with = "device")]
    pub device_column: Option<String>,
    /// One device for all rows
    #[arg(long, value_name = "ID")]
    pub device: Option<String>,
    /// Metric columns; default: all others
    #[arg(long, value_delimiter = ',', value_name = "A,B,C")]
    pub metrics: Option<Vec<String>>,
    /// How many times faster than recorded (1, 60, …), or max
    #[arg(long, default_value = "max", value_parser = speed)]
    pub speed: Speed,
    /// Begin again at the end, with times moved on; until Ctrl-C
    #[arg(long = "loop")]
    pub repeat: bool,
    /// Send as BACKFILL: stored, never alarmed
    #[arg(long)]
    pub backfill: bool,
    /// Go on after what the server has, instead of repeating it
    #[arg(long = "continue")]
    pub go_on: bool,
    /// Stop at the first row that cannot be read
    #[arg(long)]
    pub strict: bool,
    /// Side file with streams and progress; default: FILE.pulsewire-replay.json in the current folder
    #[arg(long, value_name = "FILE")]
    pub state: Option<PathBuf>,
    /// Without progress for this long, give up
    #[arg(long, default_value = "5m", value_parser = duration)]
    pub give_up_after: Duration,
}

/// `--speed`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Speed(pub Option<f64>);

fn target(text: &str) -> Result<Target, String> {
    text.parse().map_err(|error: pulsewire_sim::SimError| error.to_string())
}

fn time_format(text: &str) -> Result<TimeFormat, String> {
    TimeFormat::from_option(text).ok_or_else(|| format!("must be {}", TimeFormat::ALLOWED))
}

fn speed(text: &str) -> Result<Speed, String> {
    if text == "max" {
        return Ok(Speed(None));
    }
    match text.trim_end_matches('x').parse::<f64>() {
        Ok(factor) if factor.is_finite() && (1e-3..=1e9).contains(&factor) => Ok(Speed(Some(factor))),
        _ => Err("must be max, or a factor such as 1 or 60".into()),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let allowed = "must be a number and ms, s, m or h, such as 250ms, 1s or 5m";
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match &text[digits.len()..] {
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(allowed.into()),
    };
    let number: f64 = digits.parse().map_err(|_| allowed)?;
    let seconds = Duration::try_from_secs_f64(number * factor).map_err(|_| allowed)?;
    if seconds > Duration::from_secs(366 * 86_400) { Err("at most a year".into()) } else { Ok(seconds) }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Args::command().debug_assert();
        let args = Args::try_parse_from(["pulsewire-sim", "replay", "f.csv", "--speed", "60x", "--metrics", "a,b"]);
        let Command::Replay(replay) = args.expect("parsed").command else { panic!("replay") };
        assert_eq!((replay.speed, replay.metrics), (Speed(Some(60.0)), Some(vec!["a".into(), "b".into()])));
    }

    #[test]
    fn durations_have_units() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("1.5h"), Ok(Duration::from_secs(5400)));
        for bad in ["", "1", "s", "-1s", "1d", "1e300h", "x"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
