//! The `pulsewire` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    pulsewire::cli::main()
}
