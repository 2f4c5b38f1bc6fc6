//! `pulsewire serve` as a child process.

use crate::api::Api;
use crate::device::{Device, METRICS, metrics, now_us, report};
use crate::programs;
use crate::wait::{DEADLINE, until};
use pulsewire_proto::CloseCode;
use pulsewire_proto::frame::{Close, StreamKind};
use serde_json::Value;
use std::fs::File;
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use tempfile::TempDir;

/// Password of user `admin` on every server of the tests.
pub const ADMIN_PASSWORD: &str = "correct horse battery staple";

/// How a server is started.
#[derive(Debug, Clone, Default)]
pub struct ServerOptions {
    settings: Vec<(String, String)>,
    device_listen: Option<String>,
    data_dir: Option<PathBuf>,
    demo: bool,
}

impl ServerOptions {
    /// Sets a configuration key by its path, such as `device.login_timeout`, through the environment.
    pub fn set(self, path: &str, value: impl ToString) -> Self {
        self.variable(&format!("PULSEWIRE_{}", path.replace('.', "_").to_uppercase()), value)
    }

    /// Sets an environment variable.
    pub fn variable(mut self, name: &str, value: impl ToString) -> Self {
        self.settings.push((name.to_owned(), value.to_string()));
        self
    }

    /// Another address for devices than a free port of 127.0.0.1.
    pub fn device_listen(mut self, address: &str) -> Self {
        self.device_listen = Some(address.to_owned());
        self
    }

    /// A data folder that the caller keeps.
    pub fn data_dir(mut self, path: &Path) -> Self {
        self.data_dir = Some(path.to_path_buf());
        self
    }

    /// `pulsewire demo` with a few simulated devices instead of `serve`.
    pub fn demo(mut self) -> Self {
        self.demo = true;
        self
    }

    /// Starts it and waits until both ports answer.
    pub fn start(self) -> Server {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let data = self.data_dir.clone().unwrap_or_else(|| folder.path().join("data"));
        let log = folder.path().join("server.log");
        let device_listen = self.device_listen.clone().unwrap_or_else(|| "127.0.0.1:0".to_owned());
        let (child, announced) = launch(&self, folder.path(), &data, "127.0.0.1:0", &device_listen, &log);
        let (http, device) = (address(&announced, "http"), address(&announced, "device"));
        let (admin, probes) = (OnceLock::new(), AtomicU32::new(0));
        Server { options: self, folder, data, log, child, announced, http, device, admin, probes }
    }

    /// Starts it with arguments of the caller's choice, expecting that it ends by itself.
    pub fn run_to_end(self, arguments: &[&str]) -> Output {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut command = self.command(folder.path());
        programs::run(command.args(arguments))
    }

    fn command(&self, folder: &Path) -> Command {
        let mut command = programs::command(programs::pulsewire());
        command.current_dir(folder).env("PULSEWIRE_ADMIN_PASSWORD", ADMIN_PASSWORD).envs(self.settings.iter().cloned());
        command
    }
}

fn launch(
    options: &ServerOptions,
    folder: &Path,
    data: &Path,
    http_listen: &str,
    device_listen: &str,
    log: &Path,
) -> (Child, Value) {
    let log_file = File::options().create(true).append(true).open(log).expect("a log file");
    let mut command = options.command(folder);
    command.args(if options.demo { &["demo", "--devices", "3"][..] } else { &["serve"] });
    command.args(["--json", "--http-listen", http_listen, "--device-listen", device_listen, "--data-dir"]);
    command.arg(data).stdout(Stdio::piped()).stderr(log_file);
    let mut child = command.spawn().expect("the server starts");
    let mut stdout = child.stdout.take().expect("piped");
    let mut line = Vec::new();
    let mut byte = [0];
    // One line; the pipe stays open, and nothing more is printed.
    while stdout.read(&mut byte).expect("standard output can be read") == 1 && byte[0] != b'\n' {
        line.push(byte[0]);
    }
    let log = || std::fs::read_to_string(log).unwrap_or_default();
    let announced = serde_json::from_slice(&line)
        .unwrap_or_else(|_| panic!("the server did not start: {:?}\n{}", String::from_utf8_lossy(&line), log()));
    (child, announced)
}

fn address(announced: &Value, name: &str) -> SocketAddr {
    let text = announced[name].as_str().unwrap_or_else(|| panic!("no {name} in {announced}"));
    text.trim_start_matches("http://").parse().expect("an address")
}

/// A running server; killed when dropped. After a failed test its log is printed.
#[derive(Debug)]
pub struct Server {
    options: ServerOptions,
    folder: TempDir,
    data: PathBuf,
    log: PathBuf,
    child: Child,
    /// The JSON document that it printed at its first start.
    pub announced: Value,
    /// Where people and services connect.
    pub http: SocketAddr,
    /// Where devices connect.
    pub device: SocketAddr,
    admin: OnceLock<Api>,
    probes: AtomicU32,
}

impl Server {
    /// With default options.
    pub fn start() -> Self {
        ServerOptions::default().start()
    }

    /// A server with one key set; see [`ServerOptions::set`].
    pub fn with(path: &str, value: impl ToString) -> Self {
        Self::options().set(path, value).start()
    }

    /// To set more.
    pub fn options() -> ServerOptions {
        ServerOptions::default()
    }

    /// The data folder.
    pub fn data_dir(&self) -> &Path {
        &self.data
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// `http://ADDRESS:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.http)
    }

    /// What it wrote to standard error.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// A client that is not signed in.
    pub fn api(&self) -> Api {
        Api::new(&self.url())
    }

    /// A client signed in as admin; one sign-in for the server's life.
    pub fn admin(&self) -> &Api {
        self.admin.get_or_init(|| self.api().signed_in("admin", ADMIN_PASSWORD))
    }

    /// kill -9.
    pub fn kill9(&mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it ends");
    }

    /// SIGTERM, and waits for the end; true if the exit status is 0.
    pub fn terminate(&mut self) -> bool {
        self.signal("TERM");
        self.wait_for_end()
    }

    /// Waits for the end; true if the exit status is 0.
    pub fn wait_for_end(&mut self) -> bool {
        until("the server ends after SIGTERM", || self.child.try_wait().expect("it can be asked")).success()
    }

    /// Sends a signal by its name.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.pid().to_string()]).status();
        assert!(status.expect("kill runs").success());
    }

    /// Starts it again with the same data folder and the same ports.
    pub fn restart(&mut self) {
        let (http, device) = (self.http.to_string(), self.device.to_string());
        let (child, _) = launch(&self.options, self.folder.path(), &self.data, &http, &device, &self.log);
        self.child = child;
    }

    /// Resident memory in bytes.
    pub fn rss_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("Linux");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS");
        line.split_whitespace().nth(1).and_then(|kb| kb.parse::<u64>().ok()).expect("kilobytes") * 1024
    }

    /// How many sockets it has open.
    pub fn sockets(&self) -> usize {
        let files = std::fs::read_dir(format!("/proc/{}/fd", self.pid())).expect("Linux");
        let links = files.filter_map(|file| std::fs::read_link(file.ok()?.path()).ok());
        links.filter(|link| link.to_string_lossy().starts_with("socket:")).count()
    }

    /// A metric as `/metrics` shows it, such as `pulsewire_closed_total{code="malformed"}`; 0 if it is not there.
    pub fn metric(&self, name: &str) -> f64 {
        let answer = self.api().get("/metrics");
        assert_eq!(answer.status, 200);
        let found = answer.text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        found.map_or(0.0, |value| value.parse().expect("a number"))
    }

    /// Waits until a metric has a value: counters move a moment after what they count.
    pub fn expect_metric(&self, name: &str, wanted: f64) {
        let mut last = f64::NAN;
        let start = std::time::Instant::now();
        while start.elapsed() < DEADLINE {
            last = self.metric(name);
            if last == wanted {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        panic!("{name} is {last}, {wanted} is wanted");
    }

    /// Makes a device through the API and answers its secret.
    pub fn create_device(&self, id: &str) -> [u8; 32] {
        self.admin().create_device(id)
    }

    /// Makes a device and logs it in.
    pub fn device(&self, id: &str) -> Device {
        let secret = self.create_device(id);
        Device::login(self.device, id, &secret)
    }

    /// A good device logs in, sends a report, gets it acknowledged and finds it in the history.
    pub fn assert_serves(&self) {
        let id = format!("probe-{}", self.probes.fetch_add(1, Ordering::Relaxed));
        let mut device = self.device(&id);
        let stream = device.open_stream(StreamKind::Live);
        let (set, time_us) = (metrics(0), now_us());
        device.declare(&set);
        device.send(&report(&set, stream, 1, &[(time_us, 0.1 + f64::from(self.pid()))]));
        assert_eq!(device.expect_ack(stream, 1), []);
        let history = self.admin().history(&id, METRICS[0]);
        assert_eq!(history, [(time_us, serde_json::json!(0.1 + f64::from(self.pid())))]);
    }

    /// What every refusal of a device's or viewer's connection has in common: the right code with its advice, a text
    /// that says `fragment`, one count in the metrics, and a server that goes on serving others.
    pub fn assert_closed(&self, close: &Close, code: CloseCode, fragment: &str) {
        self.assert_close_text(close, code, fragment);
        self.expect_metric(&format!("pulsewire_closed_total{{code=\"{}\"}}", code.name()), 1.0);
        self.assert_serves();
    }

    /// The part of [`Server::assert_closed`] that is about the frame.
    pub fn assert_close_text(&self, close: &Close, code: CloseCode, fragment: &str) {
        assert_eq!(close.code, code.as_u16(), "closed with {}: {}", close.code, close.text);
        assert!(close.text.contains(fragment), "{:?} does not say {fragment:?}", close.text);
        assert_eq!(close.reconnect, code.reconnect(), "advice of {code}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- log of the server ---\n{}", self.log());
        }
    }
}
