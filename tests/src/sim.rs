//! `pulsewire-sim` as a child process.

use crate::Server;
use crate::programs;
use crate::server::ADMIN_PASSWORD;
use crate::wait::DEADLINE;
use serde_json::Value;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

/// A running simulator; killed when dropped.
#[derive(Debug)]
pub struct Sim {
    child: Option<Child>,
}

/// How a simulator ended.
#[derive(Debug, Clone)]
pub struct Ended {
    /// Exit status; None after a signal.
    pub status: Option<i32>,
    /// What it printed as `--json`; null if that was nothing.
    pub json: Value,
    /// Standard error.
    pub stderr: String,
}

impl Ended {
    /// Fails unless the exit status is 0.
    pub fn expect_success(self) -> Value {
        assert_eq!(self.status, Some(0), "{}\n{}", self.stderr, self.json);
        self.json
    }
}

impl Sim {
    /// Starts a subcommand against a server, with its side files in `folder`.
    pub fn start(server: &Server, folder: &Path, subcommand: &str, arguments: &[&str]) -> Self {
        Self::start_at(&server.device.to_string(), server, folder, subcommand, arguments)
    }

    /// The same with another `--connect`.
    pub fn start_at(connect: &str, server: &Server, folder: &Path, subcommand: &str, arguments: &[&str]) -> Self {
        let mut command = programs::command(programs::pulsewire_sim());
        command.current_dir(folder).env("TEST_PASSWORD", ADMIN_PASSWORD);
        command.args([subcommand, "--json", "--quiet", "--connect", connect, "--api", &server.url()]);
        command.args(["--password-env", "TEST_PASSWORD", "--secret-file", "secrets.json"]).args(arguments);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the simulator starts");
        Self { child: Some(child) }
    }

    /// True while it runs.
    pub fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| child.try_wait().expect("it can be asked").is_none())
    }

    /// Asks it to stop, as Ctrl-C does.
    pub fn interrupt(&self) {
        let pid = self.child.as_ref().expect("running").id().to_string();
        let status = Command::new("kill").args(["-INT", &pid]).status();
        assert!(status.expect("kill runs").success());
    }

    /// Waits for its end.
    pub fn wait(mut self) -> Ended {
        let mut child = self.child.take().expect("running");
        let start = Instant::now();
        while child.try_wait().expect("it can be asked").is_none() {
            if start.elapsed() > DEADLINE * 3 {
                let _ = child.kill();
                let output = child.wait_with_output().expect("its output");
                panic!("the simulator did not end:\n{}", String::from_utf8_lossy(&output.stderr));
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        let output = child.wait_with_output().expect("its output");
        Ended {
            status: output.status.code(),
            json: serde_json::from_slice(&output.stdout).unwrap_or(Value::Null),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
