//! Verifying a store without a server: what is whole, what is damaged, what is lost.

use crate::data;
use crate::file::{self, File};
use crate::journal;
use pulsewire_chunk::ChunkReader;
use pulsewire_core::ids::{DeviceKey, SeriesKey};
use rusqlite::Connection;
use std::collections::{HashMap, HashSet};
use std::path::Path;

/// Most findings that are listed; all are counted.
const LISTED: usize = 1000;

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What, in words.
    pub problem: String,
    /// Whose samples are concerned, if that is known.
    pub device: Option<DeviceKey>,
    /// Which series, if that is known.
    pub series: Vec<SeriesKey>,
    /// Their metrics, as far as they have names.
    pub metrics: Vec<String>,
    /// First and last time of what cannot be read, µs since the Unix epoch.
    pub range_us: Option<(i64, i64)>,
    /// Samples or rows that cannot be read; 0 if nothing is lost.
    pub lost_rows: u64,
}

/// What was looked at and what was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Journal records.
    pub records: u64,
    /// Chunks.
    pub chunks: u64,
    /// Rows in them.
    pub rows: u64,
    /// Values in them.
    pub samples: u64,
    /// Blocks of rollups.
    pub rollups: u64,
    /// Devices that have anything.
    pub devices: u64,
    /// How many findings there are.
    pub problems: u64,
    /// The first thousand of them.
    pub findings: Vec<Finding>,
}

impl Report {
    fn add(&mut self, finding: Finding) {
        self.problems += 1;
        if self.findings.len() < LISTED {
            self.findings.push(finding);
        }
    }

    fn problem(&mut self, problem: String) {
        self.add(Finding {
            problem,
            device: None,
            series: Vec::new(),
            metrics: Vec::new(),
            range_us: None,
            lost_rows: 0,
        });
    }
}

/// Goes over everything in a folder, reading only. `progress` is told how many of how many bytes were looked at.
///
/// # Errors
/// If the files cannot be opened at all: missing, of another version, or no store.
pub fn check(folder: &Path, progress: &mut dyn FnMut(u64, u64)) -> anyhow::Result<Report> {
    let mut report = Report::default();
    let size = |file: File| file.path(folder).metadata().map_or(0, |m| m.len());
    for file in [File::Journal, File::Data] {
        let path = file.path(folder);
        anyhow::ensure!(path.exists(), "{} is missing", path.display());
    }
    let total = size(File::Journal) + size(File::Data);
    let journal = file::open_reader(folder, None, File::Journal)?;
    let data = file::open_reader(folder, None, File::Data)?;
    // Of one moment each, in case a server is at work.
    journal.execute_batch("BEGIN")?;
    data.execute_batch("BEGIN")?;
    for (name, connection) in [("journal.db", &journal), ("data.db", &data)] {
        if let Err(error) = structure(connection, name, &mut report) {
            report.problem(format!("{name} cannot be read: {error}"));
        }
    }
    let mut done = size(File::Journal);
    let covered = covered(&data).unwrap_or_else(|error| {
        report.problem(format!("data.db cannot be read: {error}"));
        0
    });
    if let Err(error) = records(&journal, covered, &mut report) {
        report.problem(format!("journal.db cannot be read: {error}"));
    }
    progress(done, total);
    let mut on = |bytes: u64| {
        done += bytes;
        progress(done.min(total), total);
    };
    if let Err(error) = chunks(&data, &mut report, &mut on) {
        report.problem(format!("data.db cannot be read: {error}"));
    }
    if let Err(error) = rollups(&data, &mut report, &mut on) {
        report.problem(format!("data.db cannot be read: {error}"));
    }
    if let Err(error) = references(&journal, &data, &mut report) {
        report.problem(format!("data.db cannot be read: {error}"));
    }
    if let Ok(all) = journal::series(&journal) {
        let names: HashMap<SeriesKey, String> = all.into_iter().map(|s| (s.key, s.metric.to_string())).collect();
        for finding in &mut report.findings {
            finding.metrics = finding.series.iter().filter_map(|series| names.get(series).cloned()).collect();
        }
    }
    progress(total, total);
    Ok(report)
}

fn structure(connection: &Connection, name: &str, report: &mut Report) -> rusqlite::Result<()> {
    let mut statement = connection.prepare("PRAGMA quick_check(20)")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let line: String = row.get(0)?;
        if line != "ok" {
            report.problem(format!("{name}: {line}"));
        }
    }
    Ok(())
}

/// The newest record that `data.db` has something of. Positions go on after it also when the journal was restored from an
/// older copy, so records are rightly missing up to here.
fn covered(data: &Connection) -> rusqlite::Result<u64> {
    let newest: Option<i64> = data.query_row("SELECT max(position) FROM device", [], |row| row.get(0))?;
    Ok(newest.map_or(0, i64::cast_unsigned).max(data::sealed_through(data)?.unwrap_or(0)))
}

fn records(journal: &Connection, covered: u64, report: &mut Report) -> rusqlite::Result<()> {
    let mut before: Option<u64> = None;
    journal::for_each(journal, |position, _, record| {
        report.records += 1;
        if let Err(problem) = record {
            report.problem(format!("journal record {position}: {problem}"));
        }
        if before.is_some_and(|before| before + 1 != position.0) && position.0 > covered.saturating_add(1) {
            report.problem(format!("journal record {position} does not follow the one before it"));
        }
        before = Some(position.0);
    })
}

fn columns(set: &[u8]) -> Vec<SeriesKey> {
    set.chunks_exact(5).map(|c| SeriesKey(u32::from_le_bytes([c[0], c[1], c[2], c[3]]))).collect()
}

fn chunks(data: &Connection, report: &mut Report, on: &mut dyn FnMut(u64)) -> rusqlite::Result<()> {
    let tables: HashMap<i64, (u32, Vec<u8>)> = {
        let mut statement = data.prepare("SELECT tbl, device, columns FROM tbl")?;
        statement.query_map([], |row| Ok((row.get(0)?, (row.get(1)?, row.get(2)?))))?.collect::<Result<_, _>>()?
    };
    let mut statement = data.prepare("SELECT chunk, tbl, from_us, to_us, rows, columns FROM chunk ORDER BY chunk")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (chunk, table): (i64, i64) = (row.get(0)?, row.get(1)?);
        let (from_us, to_us, count): (i64, i64, i64) = (row.get(2)?, row.get(3)?, row.get(4)?);
        let width: i64 = row.get(5)?;
        report.chunks += 1;
        let owner = tables.get(&table);
        let examined = data::with_bytes(data, chunk, |bytes| {
            on(bytes.len() as u64);
            examine(bytes, from_us, to_us, count, width)
        });
        let problem = match examined {
            Ok(Some(Ok(samples))) => {
                report.rows += count.cast_unsigned();
                report.samples += samples;
                if owner.is_some() {
                    continue;
                }
                "it belongs to no table".to_owned()
            }
            Ok(Some(Err(problem))) => problem,
            Ok(None) => "its bytes are missing".to_owned(),
            Err(error) => error.to_string(),
        };
        report.add(Finding {
            problem: format!("chunk {chunk}: {problem}"),
            device: owner.map(|(device, _)| DeviceKey(*device)),
            series: owner.map(|(_, set)| columns(set)).unwrap_or_default(),
            metrics: Vec::new(),
            range_us: Some((from_us, to_us)),
            lost_rows: count.cast_unsigned(),
        });
    }
    Ok(())
}

fn examine(bytes: &[u8], from_us: i64, to_us: i64, rows: i64, width: i64) -> Result<u64, String> {
    let reader = ChunkReader::open(bytes).map_err(|error| error.to_string())?;
    let times = reader.times().map_err(|error| error.to_string())?;
    if times.first() != Some(&from_us) || times.last() != Some(&to_us) || times.len() as i64 != rows {
        return Err("its times are not those that the index says".into());
    }
    if reader.series().len() as i64 != width {
        return Err(format!("it has {} columns and the index says {width}", reader.series().len()));
    }
    let mut samples = 0;
    for info in reader.series() {
        let column = reader.column(info.series).map_err(|error| error.to_string())?;
        let Some(column) = column else { return Err(format!("series {} is missing", info.series)) };
        samples += column.present.map_or(rows as u64, |present| present.iter().filter(|p| **p).count() as u64);
    }
    Ok(samples)
}

fn rollups(data: &Connection, report: &mut Report, on: &mut dyn FnMut(u64)) -> rusqlite::Result<()> {
    let mut statement = data.prepare("SELECT tbl, level, from_us, to_us, data FROM rollup")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        report.rollups += 1;
        let bytes = row.get_ref(4)?.as_blob().unwrap_or_default();
        on(bytes.len() as u64);
        let read = ChunkReader::open(bytes).and_then(|reader| {
            reader.times()?;
            reader.series().iter().try_for_each(|info| reader.column(info.series).map(drop))
        });
        if let Err(error) = read {
            let (table, level): (i64, i64) = (row.get(0)?, row.get(1)?);
            report.add(Finding {
                problem: format!("rollups of table {table} by {}: {error}", if level == 1 { "minute" } else { "hour" }),
                device: None,
                series: Vec::new(),
                metrics: Vec::new(),
                range_us: Some((row.get(2)?, row.get(3)?)),
                lost_rows: 0,
            });
        }
    }
    Ok(())
}

fn references(journal: &Connection, data: &Connection, report: &mut Report) -> rusqlite::Result<()> {
    let known: HashSet<SeriesKey> = journal::series(journal)?.into_iter().map(|series| series.key).collect();
    report.devices = data.query_row("SELECT count(*) FROM device", [], |row| row.get::<_, i64>(0))?.cast_unsigned();
    let mut statement = data.prepare("SELECT tbl, device, columns FROM tbl")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let unknown: Vec<SeriesKey> =
            columns(row.get_ref(2)?.as_blob().unwrap_or_default()).into_iter().filter(|s| !known.contains(s)).collect();
        if !unknown.is_empty() {
            let table: i64 = row.get(0)?;
            report.add(Finding {
                problem: format!("table {table} has series of which journal.db knows no name"),
                device: Some(DeviceKey(row.get(1)?)),
                series: unknown,
                metrics: Vec::new(),
                range_us: None,
                lost_rows: 0,
            });
        }
    }
    Ok(())
}
