//! Commands about the data folder as a whole: check, backup, restore.

use super::Settings;
use crate::app::{self, CheckJson};
use anyhow::bail;
use clap::Args;
use std::io::IsTerminal;
use std::path::PathBuf;

/// Most findings printed for people; `--json` has more.
const PRINTED: usize = 50;

#[derive(Args)]
pub(super) struct Check {
    #[command(flatten)]
    settings: Settings,
    /// Print what was found as one JSON document.
    #[arg(long)]
    json: bool,
}

impl Check {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let config = self.settings.read()?;
        let watched = std::io::stderr().is_terminal();
        let mut shown = u64::MAX;
        let mut progress = |done: u64, total: u64| {
            let percent = done * 100 / total.max(1);
            if watched && percent != shown {
                eprint!("\rchecked {percent} %  ");
                shown = percent;
            }
        };
        let found = app::check(&config, &mut progress)?;
        if watched {
            eprintln!();
        }
        if self.json {
            println!("{}", serde_json::to_string_pretty(&found)?);
        } else {
            print(&found);
        }
        if found.problems > 0 {
            bail!(
                "{} problems were found; a backup from before them has what is lost (pulsewire restore)",
                found.problems
            );
        }
        Ok(())
    }
}

fn print(found: &CheckJson) {
    println!(
        "{}: {} devices, {} samples in {} chunks, {} rollup blocks, {} journal records",
        found.folder.display(),
        found.devices,
        found.samples,
        found.chunks,
        found.rollups,
        found.records
    );
    for finding in found.findings.iter().take(PRINTED) {
        println!("problem: {}", finding.problem);
        if let (Some(device), Some(from), Some(to)) = (&finding.device, &finding.from, &finding.to) {
            let (rows, metrics) = (finding.lost_rows, finding.metrics.join(", "));
            println!("  lost: {rows} rows of device {device} from {from} to {to} ({metrics})");
        }
    }
    if found.findings.len() > PRINTED {
        println!("… and {} more; --json lists them", found.findings.len() - PRINTED);
    }
    if found.problems == 0 {
        println!("all is well");
    }
}

#[derive(Args)]
pub(super) struct Backup {
    /// Where to: a folder that does not exist yet, or is empty.
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    #[command(flatten)]
    settings: Settings,
    /// Print what was copied as one JSON document.
    #[arg(long)]
    json: bool,
}

impl Backup {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let config = self.settings.read()?;
        let note = app::backup(&config, &self.to, &|file| eprintln!("copying {file}"))?;
        if self.json {
            println!("{}", serde_json::to_string_pretty(&note)?);
        } else {
            let bytes: u64 = note.files.values().sum();
            println!("{} bytes of {} are in {}", bytes, config.data_dir.display(), self.to.display());
        }
        Ok(())
    }
}

#[derive(Args)]
pub(super) struct Restore {
    /// A folder that `pulsewire backup` made.
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
    #[command(flatten)]
    settings: Settings,
}

impl Restore {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let config = self.settings.read()?;
        let note = app::restore(&config, &self.from, &|file| eprintln!("copying {file}"))?;
        println!("{} holds the backup of {} now", config.data_dir.display(), note.made_at);
        Ok(())
    }
}
