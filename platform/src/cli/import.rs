//! `pulsewire import`: a file goes to a running server over its API.

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use pulsewire_sim::ApiOptions;
use pulsewire_sim::api::ApiClient;
use serde_json::Value;
use std::fs::File;
use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How often progress is printed.
const PROGRESS: Duration = Duration::from_millis(200);

/// How a file is written.
#[derive(Clone, Copy, ValueEnum)]
enum Format {
    /// Comma-separated values with a header.
    Csv,
    /// A JSON object per line.
    Ndjson,
}

#[derive(Args)]
pub(super) struct Import {
    /// CSV or NDJSON; `-` is standard input.
    file: PathBuf,
    /// All rows are of this device; the file then has no column `device`.
    #[arg(long, value_name = "ID")]
    device: Option<String>,
    /// How the file is written. Default: ndjson if its name ends so (or in .jsonl), else csv.
    #[arg(long)]
    format: Option<Format>,
    /// Where the server is.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    url: String,
    /// Who signs in; needs the role operator.
    #[arg(long, default_value = "admin")]
    user: String,
    /// Environment variable that holds the password.
    #[arg(long, value_name = "NAME", default_value = "PULSEWIRE_ADMIN_PASSWORD")]
    password_env: String,
    /// Print the server's answer as one JSON document.
    #[arg(long)]
    json: bool,
}

impl Import {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let password = std::env::var(&self.password_env).with_context(|| {
            format!("the environment variable {} must hold the password (--password-env)", self.password_env)
        })?;
        let format = self.format.unwrap_or_else(|| by_name(&self.file));
        let (source, size): (Box<dyn Read>, Option<u64>) = if self.file == Path::new("-") {
            (Box::new(std::io::stdin().lock()), None)
        } else {
            let file = File::open(&self.file).with_context(|| format!("{} cannot be read", self.file.display()))?;
            let size = file.metadata().ok().filter(std::fs::Metadata::is_file).map(|metadata| metadata.len());
            (Box::new(file), size)
        };
        let options = ApiOptions { url: self.url.clone(), user: self.user.clone(), password };
        let client = ApiClient::sign_in(&options)?;
        let mut source = Progress { source, size, done: 0, printed: Instant::now(), shown: false };
        let content_type = match format {
            Format::Csv => "text/csv",
            Format::Ndjson => "application/x-ndjson",
        };
        let answer = client.import(self.device.as_deref(), content_type, &mut source);
        if source.shown {
            eprintln!();
        }
        // Nobody else has the token; if this fails it ends by itself, and the file counts.
        let _ = client.sign_out();
        let answer = answer?;
        if self.json {
            println!("{}", serde_json::to_string_pretty(&answer)?);
        } else {
            print(&answer);
        }
        let rejected = answer["rejected"].as_u64().unwrap_or_default();
        if rejected > 0 {
            bail!("{rejected} values were rejected; the others are stored");
        }
        Ok(())
    }
}

fn by_name(file: &Path) -> Format {
    let extension = file.extension().and_then(|e| e.to_str()).unwrap_or_default();
    if extension.eq_ignore_ascii_case("ndjson") || extension.eq_ignore_ascii_case("jsonl") {
        Format::Ndjson
    } else {
        Format::Csv
    }
}

fn print(answer: &Value) {
    println!("{} lines, {} values stored, {} rejected", answer["lines"], answer["stored"], answer["rejected"]);
    for error in answer["errors"].as_array().into_iter().flatten() {
        println!("line {}: {}", error["line"], error["detail"].as_str().unwrap_or_default());
    }
}

/// Shows on standard error how far the file is read.
struct Progress {
    source: Box<dyn Read>,
    size: Option<u64>,
    done: u64,
    printed: Instant,
    shown: bool,
}

impl Read for Progress {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.source.read(buffer)?;
        self.done += read as u64;
        if self.printed.elapsed() >= PROGRESS && std::io::stderr().is_terminal() {
            match self.size {
                Some(size) if size > 0 => eprint!("\rsent {} %  ", self.done.min(size) * 100 / size),
                _ => eprint!("\rsent {} bytes  ", self.done),
            }
            (self.printed, self.shown) = (Instant::now(), true);
        }
        Ok(read)
    }
}
