//! Programs that a measurement starts for itself.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, System};

use crate::SimError;

/// A program that says on its first line, as JSON, where it is. Killed when dropped.
#[derive(Debug)]
pub(super) struct Program {
    child: Child,
    /// The first line.
    pub announced: Value,
}

/// What a process has used.
#[derive(Debug, Clone, Copy)]
pub(super) struct Usage {
    pub cpu_ms: u64,
    pub rss_bytes: u64,
}

impl Program {
    /// Starts `pulsewire`, which lies beside this program. Its log is not shown.
    pub fn start(arguments: &[&str], environment: &[(&str, &str)]) -> Result<Program, SimError> {
        let own =
            std::env::current_exe().map_err(|source| SimError::file("finding", Path::new("this program"), source))?;
        let path = own.with_file_name("pulsewire");
        let mut command = Command::new(&path);
        command.args(arguments).envs(environment.iter().copied());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().map_err(|source| SimError::file("starting", &path, source))?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout)
                .read_line(&mut line)
                .map_err(|source| SimError::file("reading from", &path, source))?;
        }
        let mut program = Program { child, announced: Value::Null };
        program.announced = serde_json::from_str(&line).map_err(|_| {
            SimError::Task(format!("`pulsewire {}` did not start; try it by hand", arguments.join(" ")))
        })?;
        Ok(program)
    }

    /// A text that it announced.
    pub fn text(&self, name: &str) -> String {
        self.announced[name].as_str().unwrap_or_default().to_owned()
    }

    /// What it has used so far.
    pub fn usage(&self) -> Option<Usage> {
        let pid = Pid::from_u32(self.child.id());
        let mut system = System::new().ok()?;
        let kind = ProcessRefreshKind::nothing().with_cpu().with_memory();
        system.refresh_processes_specifics(ProcessesToUpdate::Some(&[pid]), true, kind);
        let process = system.process(pid)?;
        Some(Usage { cpu_ms: process.accumulated_cpu_time(), rss_bytes: process.memory() })
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A folder for the programs, removed when dropped.
#[derive(Debug)]
pub(super) struct Scratch(pub PathBuf);

impl Scratch {
    pub fn make() -> Result<Scratch, SimError> {
        let path = std::env::temp_dir().join(format!("pulsewire-bench-{}", std::process::id()));
        std::fs::create_dir_all(&path).map_err(|source| SimError::file("making", &path, source))?;
        Ok(Scratch(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed is the system's to clean up.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
