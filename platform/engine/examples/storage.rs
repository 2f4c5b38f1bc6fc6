//! What a sample costs on disk: the engine beside VictoriaMetrics and a plain SQLite table, on recorded files and on made-up
//! classes of data. Prints a Markdown table.
//!
//! `cargo run --release -p pulsewire-engine --example storage -- FOLDER`. Files are written through the whole engine (journal,
//! heads, seal), closed, and measured on disk, less what an empty store takes. VictoriaMetrics is started if it is installed
//! (`victoria-metrics`); it keeps milliseconds and no texts, and its bytes are those of its `data` folder, without its index.

#[path = "../../chunk/examples/data/mod.rs"]
mod data;

use data::{Failure, Table, made_up, read};
use pulsewire_chunk::{ChunkReader, ColumnIn, Kind, LEVEL_DEFAULT, encode};
use pulsewire_core::accounting::Accounting;
use pulsewire_core::batch::Batch;
use pulsewire_core::block::{Block, ReportHead, SeriesSet};
use pulsewire_core::ids::{DeviceKey, Lane, Sequence, SeriesKey, StreamId};
use pulsewire_core::sample::ReportKind;
use pulsewire_core::value::ValueType;
use pulsewire_engine::{Command, Outcome, Step, Store, StoreOptions};
use std::hint::black_box;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStderr, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

/// Rows of one report: as a device with a spool sends them.
const REPORT_ROWS: usize = 100;
const CHUNK_ROWS: usize = 4_096;
/// How long VictoriaMetrics may take to listen, how often it is asked, and how long it may take to merge.
const START_LIMIT: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(50);
const MERGE_LIMIT: Duration = Duration::from_secs(60);

fn main() -> Result<(), Failure> {
    let folder = std::env::args().nth(1).ok_or("usage: storage FOLDER")?;
    println!(
        "| data | samples | engine, B/sample | rollups, B/sample | encode, M/s | decode, M/s | VictoriaMetrics, B/sample | engine : VM | SQLite, B/sample |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    let empty = engine(&[], false)?;
    let mut files: Vec<_> = std::fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    files.sort_by_key(std::fs::DirEntry::file_name);
    for file in files {
        if let Some(tables) = read(&file.path())? {
            line(file.file_name().to_string_lossy().trim_end_matches(".csv"), &tables, empty)?;
        }
    }
    for (name, table) in made_up() {
        line(name, &[table], empty)?;
    }
    Ok(())
}

fn line(name: &str, tables: &[Table], empty: u64) -> Result<(), Failure> {
    let samples: usize = tables.iter().map(|t| t.times.len() * t.columns.len()).sum();
    let per = |bytes: u64, samples: usize| bytes as f64 / samples as f64;
    let sealed = engine(tables, false)?.saturating_sub(empty);
    let rolled = engine(tables, true)?.saturating_sub(empty).saturating_sub(sealed);
    let (encoded, decoded) = speeds(tables)?;
    let numbers: usize =
        tables.iter().map(|t| t.times.len() * t.columns.iter().filter(|c| !matches!(c.kind, Kind::Text)).count()).sum();
    let victoria = victoria_metrics(tables)?.map(|bytes| per(bytes, numbers));
    let ours = per(sealed, samples);
    let shown = |value: Option<f64>| value.map_or("–".to_owned(), |v| format!("{v:.2}"));
    println!(
        "| {name} | {samples} | {ours:.3} | {:.3} | {:.0} | {:.0} | {} | {} | {:.1} |",
        per(rolled, samples),
        samples as f64 / encoded / 1e6,
        samples as f64 / decoded / 1e6,
        shown(victoria),
        shown(victoria.map(|victoria| ours / victoria)),
        per(sqlite(tables)?, samples),
    );
    Ok(())
}

fn value_type(kind: Kind) -> ValueType {
    match kind {
        Kind::F64 => ValueType::F64,
        Kind::F32 => ValueType::F32,
        Kind::I64 => ValueType::I64,
        Kind::Bool => ValueType::Bool,
        Kind::Text => ValueType::Text,
    }
}

/// Bytes of `data.db` once everything is sealed, and with `rolled` once rollups are made.
fn engine(tables: &[Table], rolled: bool) -> Result<u64, Failure> {
    let folder = tempfile::tempdir()?;
    let lane = Lane(0);
    let (_store, mut writer, mut keeper) = Store::open(StoreOptions::new(folder.path().into()))?;
    let Ok(Outcome::Lane(opened)) = writer.commit(&[Command::OpenLane(lane)])?.remove(0) else {
        return Err("no lane".into());
    };
    let mut next = 0;
    for (number, table) in tables.iter().enumerate() {
        let device = DeviceKey(u32::try_from(number)? + 1);
        let series = (0..table.columns.len()).map(|_| {
            next += 1;
            SeriesKey(next)
        });
        let series = series.collect();
        let types = table.columns.iter().map(|column| value_type(column.kind)).collect();
        let set = Arc::new(SeriesSet { device, series, types });
        for (report, from) in (0..table.times.len()).step_by(REPORT_ROWS).enumerate() {
            let rows = from..(from + REPORT_ROWS).min(table.times.len());
            let mut block = Block::new(set.clone());
            let head = ReportHead {
                stream: StreamId(1),
                sequence: Sequence(report as u64 + 1),
                digest: 1,
                kind: ReportKind::Live,
                rows: u32::try_from(rows.len())?,
            };
            block.reports.push(head);
            for row in rows {
                block.rows.begin_row(table.times[row]);
                for column in &table.columns {
                    match column.kind {
                        Kind::Text => block.rows.push_text(&column.texts[usize::try_from(column.cells[row])?]),
                        _ => block.rows.push_cell(column.cells[row]),
                    }
                }
            }
            let stored = block.rows.count();
            let account = Accounting { reports: 1, received: stored, stored, ..Accounting::default() };
            let batch = Batch { blocks: vec![block], accounting: vec![(device, account)], ..Batch::default() };
            let append = Command::Append { lane, fence: opened.fence, batch: Arc::new(batch) };
            writer.commit(&[append])?.remove(0)?;
            while let Step::Sealed(_) = if rolled { Step::Nothing } else { keeper.step(0)? } {}
        }
    }
    keeper.seal_all()?;
    if rolled {
        for round in 0..3 {
            while keeper.step(round * 100_000_000)? != Step::Nothing {}
        }
    }
    drop(writer);
    drop(keeper);
    Ok(folder.path().join("data.db").metadata()?.len())
}

/// Seconds to encode and to decode everything in chunks.
fn speeds(tables: &[Table]) -> Result<(f64, f64), Failure> {
    let mut chunks = Vec::new();
    let mut encode_all = |keep: bool| -> Result<(), Failure> {
        for table in tables {
            for from in (0..table.times.len()).step_by(CHUNK_ROWS) {
                let rows = from..(from + CHUNK_ROWS).min(table.times.len());
                let texts: Vec<Vec<&str>> =
                    table.columns.iter().map(|c| c.texts.iter().map(String::as_str).collect()).collect();
                let columns: Vec<ColumnIn<'_>> = table
                    .columns
                    .iter()
                    .zip(&texts)
                    .zip(0u32..)
                    .map(|((c, texts), series)| ColumnIn {
                        series,
                        kind: c.kind,
                        cells: &c.cells[rows.clone()],
                        present: None,
                        texts,
                    })
                    .collect();
                let bytes = black_box(encode(&table.times[rows], &columns, LEVEL_DEFAULT)?);
                if keep {
                    chunks.push(bytes);
                }
            }
        }
        Ok(())
    };
    encode_all(true)?;
    let encoded = best_of(|| encode_all(false))?;
    let decoded = best_of(|| {
        for chunk in &chunks {
            let reader = ChunkReader::open(chunk)?;
            black_box(reader.times()?);
            for info in reader.series() {
                black_box(reader.column(info.series)?);
            }
        }
        Ok(())
    })?;
    Ok((encoded, decoded))
}

fn best_of(mut run: impl FnMut() -> Result<(), Failure>) -> Result<f64, Failure> {
    let mut best = f64::INFINITY;
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(300) {
        let start = Instant::now();
        run()?;
        best = best.min(start.elapsed().as_secs_f64());
    }
    Ok(best)
}

/// Bytes of one table of rows (series, time, value) in the order of its key.
fn sqlite(tables: &[Table]) -> Result<u64, Failure> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("plain.db");
    let mut connection = rusqlite::Connection::open(&path)?;
    connection.execute_batch(
        "CREATE TABLE sample (series INTEGER, time_us INTEGER, value ANY, PRIMARY KEY (series, time_us)) STRICT, WITHOUT ROWID",
    )?;
    let transaction = connection.transaction()?;
    let mut insert = transaction.prepare("INSERT INTO sample VALUES (?1, ?2, ?3)")?;
    let mut series = 0;
    for column in tables.iter().flat_map(|table| table.columns.iter().map(move |column| (table, column))) {
        let (table, column) = column;
        series += 1;
        for (time, cell) in table.times.iter().zip(&column.cells) {
            match column.kind {
                Kind::F64 | Kind::F32 => insert.execute((series, time, f64::from_bits(*cell)))?,
                Kind::Text => insert.execute((series, time, &column.texts[usize::try_from(*cell)?]))?,
                Kind::I64 | Kind::Bool => insert.execute((series, time, cell.cast_signed()))?,
            };
        }
    }
    drop(insert);
    transaction.commit()?;
    drop(connection);
    Ok(path.metadata()?.len())
}

/// Ends a child with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Bytes of VictoriaMetrics' data folder after merging. None if it is not installed.
fn victoria_metrics(tables: &[Table]) -> Result<Option<u64>, Failure> {
    let folder = tempfile::tempdir()?;
    let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let started = std::process::Command::new("victoria-metrics")
        .arg(format!("-storageDataPath={}", folder.path().display()))
        .arg(format!("-httpListenAddr=127.0.0.1:{port}"))
        .args(["-retentionPeriod=100y", "-selfScrapeInterval=0"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(child) = started else { return Ok(None) };
    let mut running = Running(child);
    let merged = merged(running.0.stderr.take().ok_or("no log")?);
    let base = format!("http://127.0.0.1:{port}");
    let until = Instant::now() + START_LIMIT;
    while let Err(error) = ureq::get(format!("{base}/health")).call() {
        if Instant::now() > until {
            return Err(error.into());
        }
        // Until it listens there is nothing to wait on.
        std::thread::sleep(POLL);
    }
    for (number, table) in tables.iter().enumerate() {
        let milliseconds: Vec<i64> = table.times.iter().map(|time| time / 1_000).collect();
        for (n, column) in table.columns.iter().enumerate() {
            let value = |cell: &u64| match column.kind {
                Kind::F64 | Kind::F32 => f64::from_bits(*cell),
                _ => *cell as f64,
            };
            if matches!(column.kind, Kind::Text) {
                continue;
            }
            let values: Vec<f64> = column.cells.iter().map(value).collect();
            let mut body = Vec::new();
            serde_json::to_writer(
                &mut body,
                &serde_json::json!({
                    "metric": {"__name__": format!("m{n}_{}", column.name), "device": number.to_string()},
                    "values": values,
                    "timestamps": milliseconds,
                }),
            )?;
            body.write_all(b"\n")?;
            ureq::post(format!("{base}/api/v1/import")).send(&body[..])?;
        }
    }
    ureq::get(format!("{base}/internal/force_flush")).call()?;
    ureq::get(format!("{base}/internal/force_merge")).call()?;
    merged.recv_timeout(MERGE_LIMIT)??;
    // A stop that it can notice writes what is still in memory.
    let _ = std::process::Command::new("kill").args(["-INT", &running.0.id().to_string()]).status();
    running.0.wait()?;
    Ok(Some(folder_bytes(&folder.path().join("data"))?))
}

/// Reads VictoriaMetrics' log to its end and tells when it has merged: the request for it is answered before it begins, and
/// the number of merges under way is 0 before it too.
fn merged(log: ChildStderr) -> Receiver<Result<(), String>> {
    // The first outcome is the one that counts.
    let (sender, receiver) = mpsc::sync_channel(1);
    std::thread::spawn(move || {
        for line in BufReader::new(log).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line);
            if line.contains("error in forced merge") {
                let _ = sender.try_send(Err(line.into_owned()));
            } else if line.contains("forced merge") && line.contains("successfully finished") {
                let _ = sender.try_send(Ok(()));
            }
        }
    });
    receiver
}

fn folder_bytes(folder: &Path) -> Result<u64, Failure> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        bytes += if entry.file_type()?.is_dir() { folder_bytes(&entry.path())? } else { entry.metadata()?.len() };
    }
    Ok(bytes)
}
