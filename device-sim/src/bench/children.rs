//! Programs that a measurement starts for itself.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value;
use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, System};

use crate::{ApiOptions, SimError, Target};

/// A running program. Killed when dropped.
#[derive(Debug)]
pub(super) struct Process(Child);

/// A program that says on its first line, as JSON, where it is.
#[derive(Debug)]
pub(super) struct Program {
    process: Process,
    /// The first line.
    pub announced: Value,
}

/// What a process has used.
#[derive(Debug, Clone, Copy)]
pub(super) struct Usage {
    pub cpu_ms: u64,
    pub rss_bytes: u64,
    /// The most that it ever had; None where the system does not say.
    pub rss_peak_bytes: Option<u64>,
}

impl Process {
    /// Starts a program without input whose errors are not shown.
    pub fn start(command: &mut Command) -> Result<Process, SimError> {
        command.stdin(Stdio::null()).stderr(Stdio::null());
        let path = PathBuf::from(command.get_program());
        command.spawn().map(Process).map_err(|source| SimError::file("starting", &path, source))
    }

    /// Starts a program that is talked to by its standard input and output.
    pub fn start_talking(command: &mut Command) -> Result<(Process, ChildStdin, ChildStdout), SimError> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let path = PathBuf::from(command.get_program());
        let mut child = command.spawn().map_err(|source| SimError::file("starting", &path, source))?;
        match (child.stdin.take(), child.stdout.take()) {
            (Some(input), Some(output)) => Ok((Process(child), input, output)),
            _ => Err(SimError::Task("a program without pipes".into())),
        }
    }

    /// What it has used so far.
    pub fn usage(&self) -> Option<Usage> {
        let pid = Pid::from_u32(self.0.id());
        let mut system = System::new().ok()?;
        let kind = ProcessRefreshKind::nothing().with_cpu().with_memory();
        system.refresh_processes_specifics(ProcessesToUpdate::Some(&[pid]), true, kind);
        let process = system.process(pid)?;
        Some(Usage {
            cpu_ms: process.accumulated_cpu_time(),
            rss_bytes: process.memory(),
            rss_peak_bytes: rss_peak(self.0.id()),
        })
    }
}

/// Linux: the line `VmHWM:  1234 kB`.
fn rss_peak(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kb| kb * 1024)
}

impl Program {
    /// Starts `pulsewire`, which lies beside this program. Its log is not shown.
    pub fn start(arguments: &[&str], environment: &[(&str, &str)]) -> Result<Program, SimError> {
        let own =
            std::env::current_exe().map_err(|source| SimError::file("finding", Path::new("this program"), source))?;
        Program::start_at(&own.with_file_name("pulsewire"), arguments, environment)
    }

    /// Starts any program that announces itself so.
    pub fn start_at(path: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Result<Program, SimError> {
        let mut command = Command::new(path);
        command.args(arguments).envs(environment.iter().copied()).stdout(Stdio::piped());
        let mut process = Process::start(&mut command)?;
        let mut line = String::new();
        if let Some(stdout) = process.0.stdout.take() {
            BufReader::new(stdout)
                .read_line(&mut line)
                .map_err(|source| SimError::file("reading from", path, source))?;
        }
        let announced = serde_json::from_str(&line).map_err(|_| {
            SimError::Task(format!("`{} {}` did not start; try it by hand", path.display(), arguments.join(" ")))
        })?;
        Ok(Program { process, announced })
    }

    /// A text that it announced.
    pub fn text(&self, name: &str) -> String {
        self.announced[name].as_str().unwrap_or_default().to_owned()
    }

    /// What it has used so far.
    pub fn usage(&self) -> Option<Usage> {
        self.process.usage()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A server on a data folder of its own, on ports that the system picks.
#[derive(Debug)]
pub(super) struct OwnServer {
    pub program: Program,
    pub target: Target,
    /// With a password made up for this run.
    pub api: ApiOptions,
}

impl OwnServer {
    /// Starts it with this configuration file. `PULSEWIRE_*` variables of the caller hold for it too.
    pub fn start(config: &Path, data: &Path, environment: &[(&str, &str)]) -> Result<OwnServer, SimError> {
        let mut password = [0; 16];
        getrandom::fill(&mut password).map_err(|error| SimError::Task(error.to_string()))?;
        let password = hex::encode(password);
        let (config, data) = (config.to_string_lossy(), data.to_string_lossy());
        let any = "127.0.0.1:0";
        let mut variables = vec![("PULSEWIRE_ADMIN_PASSWORD", password.as_str())];
        variables.extend_from_slice(environment);
        let program = Program::start(
            &[
                "serve",
                "--config",
                &config,
                "--data-dir",
                &data,
                "--http-listen",
                any,
                "--device-listen",
                any,
                "--json",
            ],
            &variables,
        )?;
        let target = program.text("device").parse().map_err(|_| SimError::Task("the server named no port".into()))?;
        let api = ApiOptions { url: program.text("http"), user: "admin".into(), password };
        Ok(OwnServer { program, target, api })
    }
}

/// A folder for the programs, removed when dropped.
#[derive(Debug)]
pub(super) struct Scratch(pub PathBuf);

impl Scratch {
    /// In the folder for temporary files, `TMPDIR`.
    pub fn make(name: &str) -> Result<Scratch, SimError> {
        let path = std::env::temp_dir().join(format!("pulsewire-bench-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).map_err(|source| SimError::file("making", &path, source))?;
        Ok(Scratch(path))
    }

    /// A file in it.
    pub fn write(&self, name: &str, text: &str) -> Result<PathBuf, SimError> {
        let path = self.0.join(name);
        std::fs::write(&path, text).map_err(|source| SimError::file("writing", &path, source))?;
        Ok(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed is the system's to clean up.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
