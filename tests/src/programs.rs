//! Where the built programs are, and running them to their end.

use crate::wait::DEADLINE;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// The server's binary.
pub fn pulsewire() -> PathBuf {
    program("pulsewire", "PULSEWIRE_BIN")
}

/// The simulator's binary.
pub fn pulsewire_sim() -> PathBuf {
    program("pulsewire-sim", "PULSEWIRE_SIM_BIN")
}

/// Beside the running test, which lies in `target/PROFILE/deps`; `variable` names another.
fn program(name: &str, variable: &str) -> PathBuf {
    let path = match std::env::var_os(variable) {
        Some(path) => PathBuf::from(path),
        None => {
            let test = std::env::current_exe().expect("the running test has a path");
            test.parent().and_then(|deps| deps.parent()).expect("target/PROFILE/deps").join(name)
        }
    };
    assert!(path.exists(), "{} is not built: run `cargo build --workspace` first, or set {variable}", path.display());
    path
}

/// The root of the repository.
pub fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the repository").to_path_buf()
}

/// A command without the caller's configuration: no `PULSEWIRE_*` variables.
pub fn command(program: PathBuf) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PULSEWIRE_") {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null());
    command
}

/// Runs a program to its end; fails if it takes longer than a test may.
pub fn run(command: &mut Command) -> Output {
    run_with_input(command, "")
}

/// The same with a few bytes on standard input.
pub fn run_with_input(command: &mut Command, input: &str) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program starts");
    // A program that does not read its input may be gone before it is written.
    let _ = child.stdin.take().expect("piped").write_all(input.as_bytes());
    let start = Instant::now();
    // What these programs print fits the pipes' buffers; conformance.py and the simulator print some kilobytes.
    while child.try_wait().expect("the child can be asked").is_none() {
        if start.elapsed() > DEADLINE * 2 {
            let _ = child.kill();
            let output = child.wait_with_output().expect("its output");
            panic!("{command:?} did not end:\n{}", String::from_utf8_lossy(&output.stderr));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    child.wait_with_output().expect("its output")
}
