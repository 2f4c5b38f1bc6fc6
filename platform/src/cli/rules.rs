//! `pulsewire rules`: rules as files, their tests, and what they find in recorded data.

mod check;
mod drive;
mod files;
mod incidents;
mod series;
mod sync;
mod testing;

use clap::{Args, Subcommand};

/// Rules as files.
#[derive(Args)]
pub(super) struct RulesCommand {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Make the rules of a running server those of files.
    Apply(sync::Apply),
    /// Show in what a running server's rules differ from those of files.
    Diff(sync::Diff),
    /// Write the rules of a running server as a file.
    Export(sync::Export),
    /// Run the tests of rules that files describe.
    Test(testing::Test),
    /// Run the example rules over recorded data with labelled incidents, and count what they catch.
    Incidents(incidents::Incidents),
}

impl RulesCommand {
    pub(super) fn run(self) -> anyhow::Result<()> {
        match self.what {
            What::Apply(command) => command.run(),
            What::Diff(command) => command.run(),
            What::Export(command) => command.run(),
            What::Test(command) => command.run(),
            What::Incidents(command) => command.run(),
        }
    }
}
