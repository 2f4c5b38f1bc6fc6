//! A CSV file as reports: one row, one report, the same bytes in every run.

use std::{
    collections::{BTreeMap, HashSet},
    fs,
    path::Path,
};

use pulsewire_proto::{MetricSet, Report, ReportBuilder, Value};
use sha2::{Digest, Sha256};

use super::{
    ReplayOptions,
    columns::{Columns, DeviceFrom, Glimpse, SAMPLE_ROWS},
    rows::{BadRow, Reading, Rows, TextRow, value_of},
};
use crate::SimError;

/// Unreadable rows that are kept for the report; more are only counted.
pub const BAD_ROWS_LISTED: usize = 20;
/// Devices in one file.
const DEVICES_MAX: usize = 10_000;

/// The reports of a file.
#[derive(Debug)]
pub struct Table {
    /// What the columns were taken for.
    pub columns: Columns,
    /// The metrics with their types.
    pub set: MetricSet,
    /// By device id.
    pub devices: Vec<DeviceRows>,
    /// Rows in the file, unreadable ones included.
    pub rows_read: u64,
    /// Rows that were left out.
    pub unreadable: u64,
    /// The first of them.
    pub bad_rows: Vec<BadRow>,
    /// Different pairs of device and time among the readable rows.
    pub distinct: u64,
    /// Values in the readable rows.
    pub samples: u64,
    /// Time of the earliest row, µs since 1970.
    pub first_us: i64,
    /// Time of the latest row.
    pub last_us: i64,
    /// What decides the bytes beside the rows: columns, formats, types.
    pub layout: String,
    /// Digest of the file.
    pub content: String,
}

/// The reports of one device in the order of the file.
#[derive(Debug)]
pub struct DeviceRows {
    /// Device id.
    pub device: String,
    rows: Vec<Row>,
    bodies: Vec<u8>,
}

#[derive(Debug, Clone, Copy)]
struct Row {
    time_us: i64,
    start: usize,
    samples: u32,
    sparse: bool,
}

impl DeviceRows {
    /// Number of reports.
    pub fn len(&self) -> u64 {
        self.rows.len() as u64
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Time of report `at`, counted from 0.
    pub fn time_us(&self, at: usize) -> i64 {
        self.rows.get(at).map_or(0, |row| row.time_us)
    }

    /// Values in report `at`.
    pub fn samples(&self, at: usize) -> u32 {
        self.rows.get(at).map_or(0, |row| row.samples)
    }

    /// Values in the reports with these sequences, counted from 1; for what lies past the end see `--loop`.
    pub fn samples_between(&self, from: u64, to: u64) -> u64 {
        (from..=to).map(|sequence| u64::from(self.samples(self.index(sequence)))).sum()
    }

    /// Report `at` under a stream and sequence, its time moved by `shift_us`.
    pub fn report(&self, at: usize, stream: u32, sequence: u64, shift_us: i64) -> Option<Report<'_>> {
        let row = self.rows.get(at)?;
        let end = self.rows.get(at + 1).map_or(self.bodies.len(), |next| next.start);
        Some(Report {
            set: 0,
            sparse: row.sparse,
            stream,
            sequence,
            base_us: row.time_us.saturating_add(shift_us),
            rows: 1,
            body: self.bodies.get(row.start..end)?,
        })
    }

    /// The row that a sequence stands for; past the end the file begins again.
    pub fn index(&self, sequence: u64) -> usize {
        usize::try_from((sequence.saturating_sub(1)) % self.len().max(1)).unwrap_or(0)
    }
}

impl Table {
    /// The values of report `at` of a device, each with its metric's place in [`Table::set`].
    pub fn values<'t>(&'t self, rows: &'t DeviceRows, at: usize) -> Vec<(usize, Value<'t>)> {
        let Some(report) = rows.report(at, 0, 1, 0) else { return Vec::new() };
        // What this file built can be read.
        report.samples(&self.set).flatten().map(|sample| (sample.metric as usize, sample.value)).collect()
    }

    /// Reads a file. Blocking; holds the file in memory meanwhile.
    pub fn read(path: &Path, options: &ReplayOptions) -> Result<Table, SimError> {
        let bytes = fs::read(path).map_err(|error| SimError::file("reading", path, error))?;
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        Table::parse(&bytes, &path.display().to_string(), &stem, options)
    }

    pub(super) fn parse(bytes: &[u8], file: &str, stem: &str, options: &ReplayOptions) -> Result<Table, SimError> {
        let zone = options.zone()?;
        let (headers, rows) = Rows::open(bytes, file)?;
        let sample: Vec<Vec<String>> = rows
            .filter_map(Result::ok)
            .take(SAMPLE_ROWS)
            .map(|row| row.cells.iter().map(str::to_owned).collect())
            .collect();
        let glimpse = Glimpse { file, stem, headers: &headers, rows: &sample };
        let columns = Columns::find(&glimpse, options, &zone)?;
        let reading = Reading { file, headers: &headers, columns: &columns, zone: &zone };
        let (set, metrics) = reading.metric_set(&reading.infer(Rows::open(bytes, file)?.1));
        if set.metrics.is_empty() {
            let first =
                Rows::open(bytes, file)?.1.find_map(|row| row.and_then(|row| reading.key(&row).map(drop)).err());
            let first = first.map_or(String::new(), |bad| format!("; the first one: {bad}"));
            let problem = format!("no row that can be read has a value in a metric column{first}");
            return Err(SimError::Undetected { file: file.to_owned(), problem });
        }
        let content = hex::encode(&Sha256::digest(bytes)[..16]);
        let layout = reading.layout(&set);
        let builder = TableBuilder::new(&set, &metrics, options.strict);
        let table = builder.read(&reading, Rows::open(bytes, file)?.1)?;
        Ok(Table { set, layout, content, columns, ..table })
    }
}

/// Collects the reports.
struct TableBuilder<'t> {
    set: &'t MetricSet,
    metrics: &'t [usize],
    strict: bool,
    by_id: BTreeMap<String, DeviceRows>,
    keys: HashSet<(usize, i64)>,
    ids: BTreeMap<String, usize>,
}

impl<'t> TableBuilder<'t> {
    fn new(set: &'t MetricSet, metrics: &'t [usize], strict: bool) -> Self {
        let (by_id, keys, ids) = (BTreeMap::new(), HashSet::new(), BTreeMap::new());
        TableBuilder { set, metrics, strict, by_id, keys, ids }
    }

    fn read(mut self, reading: &Reading<'_>, rows: Rows<'_>) -> Result<Table, SimError> {
        let mut table = Table::empty();
        for row in rows {
            table.rows_read += 1;
            if let Err(bad) = row.and_then(|row| self.take(reading, &row, &mut table)) {
                if self.strict {
                    return Err(SimError::BadRow(bad));
                }
                table.unreadable += 1;
                if table.bad_rows.len() < BAD_ROWS_LISTED {
                    table.bad_rows.push(bad);
                }
            }
        }
        table.distinct = self.keys.len() as u64;
        table.devices = self.by_id.into_values().collect();
        Ok(table)
    }

    fn take(&mut self, reading: &Reading<'_>, row: &TextRow, table: &mut Table) -> Result<(), BadRow> {
        let (device, time_us) = reading.key(row)?;
        if !self.ids.contains_key(device) && self.ids.len() >= DEVICES_MAX {
            let DeviceFrom::Column(column) = reading.columns.device else { return Ok(()) };
            return Err(reading.bad(row.line, column, device, "more than 10,000 devices in one file"));
        }
        let values: Vec<Option<Value<'_>>> = self
            .metrics
            .iter()
            .zip(&self.set.metrics)
            .map(|(column, metric)| value_of(row.cells.get(*column).unwrap_or(""), metric.metric_type))
            .collect();
        let samples = values.iter().flatten().count();
        let dense = samples == values.len();
        let mut builder = if dense { ReportBuilder::dense(self.set) } else { ReportBuilder::sparse(self.set) };
        let first_metric = self.metrics.first().copied().unwrap_or(0);
        builder
            .sparse_row(time_us, &values)
            .map_err(|error| reading.bad(row.line, first_metric, "", &error.to_string()))?;
        let Some(report) = builder.report(0, 1) else { return Ok(()) };
        let number = self.ids.len();
        let number = *self.ids.entry(device.to_owned()).or_insert(number);
        self.keys.insert((number, time_us));
        let rows = self.by_id.entry(device.to_owned()).or_insert_with(|| DeviceRows {
            device: device.to_owned(),
            rows: Vec::new(),
            bodies: Vec::new(),
        });
        // At most 1,024 metrics, so the cast is exact.
        rows.rows.push(Row { time_us, start: rows.bodies.len(), samples: samples as u32, sparse: !dense });
        rows.bodies.extend_from_slice(report.body);
        table.samples += samples as u64;
        table.first_us = table.first_us.min(time_us);
        table.last_us = table.last_us.max(time_us);
        Ok(())
    }
}

impl Table {
    fn empty() -> Table {
        let columns = Columns {
            time: Vec::new(),
            format: super::time::TimeFormat::Rfc3339,
            device: DeviceFrom::Fixed(String::new()),
            metrics: Vec::new(),
        };
        Table {
            columns,
            set: MetricSet { set: 0, metrics: Vec::new() },
            devices: Vec::new(),
            rows_read: 0,
            unreadable: 0,
            bad_rows: Vec::new(),
            distinct: 0,
            samples: 0,
            first_us: i64::MAX,
            last_us: i64::MIN,
            layout: String::new(),
            content: String::new(),
        }
    }

    /// Reports of all devices.
    pub fn reports(&self) -> u64 {
        self.devices.iter().map(DeviceRows::len).sum()
    }
}

#[cfg(test)]
mod tests {
    use pulsewire_proto::frame::Sample;

    use super::*;

    const CSV: &str = "ts,device,temp,motion,count,note,empty\n\
        1594634400.5,d-1,21.5,true,3,ok,\n\
        1594634401.5,d-2,NA,false,4,7,\n\
        1594634402.5,d-1,22,true,,ok,\n\
        1594634402.5,d-1,23,true,5,ok,\n";

    fn parse(csv: &str) -> Result<Table, SimError> {
        Table::parse(csv.as_bytes(), "f.csv", "f", &ReplayOptions::for_file("f.csv"))
    }

    fn strict(csv: &str) -> SimError {
        let options = ReplayOptions { strict: true, ..ReplayOptions::for_file("f.csv") };
        Table::parse(csv.as_bytes(), "f.csv", "f", &options).expect_err("a bad row")
    }

    #[test]
    fn types_are_inferred_over_the_whole_file() {
        let table = parse(CSV).expect("a table");
        let types: Vec<_> = table.set.metrics.iter().map(|m| (m.name.as_str(), m.metric_type.name())).collect();
        assert_eq!(types, [("temp", "f64"), ("motion", "bool"), ("count", "i64"), ("note", "text")]);
        assert_eq!((table.rows_read, table.unreadable, table.distinct, table.samples), (4, 0, 3, 14));
        assert_eq!(
            table.devices.iter().map(|d| (d.device.as_str(), d.len())).collect::<Vec<_>>(),
            [("d-1", 3), ("d-2", 1)]
        );
    }

    #[test]
    fn a_row_is_a_report_with_the_values_that_it_has() {
        let table = parse(CSV).expect("a table");
        let report = table.devices[1].report(0, 7, 9, 0).expect("a row");
        assert_eq!((report.stream, report.sequence, report.base_us), (7, 9, 1_594_634_401_500_000));
        let samples: Vec<Sample> = report.samples(&table.set).collect::<Result<_, _>>().expect("sound");
        let values: Vec<_> = samples.iter().map(|sample| (sample.metric, sample.value)).collect();
        assert_eq!(values, [(1, Value::Bool(false)), (2, Value::I64(4)), (3, Value::Text("7"))]);
    }

    #[test]
    fn two_readings_give_the_same_bytes() {
        let bytes = || {
            let table = parse(CSV).expect("a table");
            let mut out = Vec::new();
            for at in 0..3 {
                table.devices[0].report(at, 1, at as u64 + 1, 0).expect("a row").encode_payload(&mut out);
            }
            (out, table.layout, table.content)
        };
        assert_eq!(bytes(), bytes());
    }

    #[test]
    fn unreadable_rows_are_counted_and_named() {
        let csv = "ts,device,v\n1594634400,d,1\nyesterday,d,2\n1594634402,bad id,3\n1594634403,d\n1594634404,d,5\n\
            1594634405,d,5\n1594634406,d,5\n1594634407,d,5\n1594634408,d,5\n1594634409,d,5\n";
        let options = ReplayOptions { device_column: Some("device".into()), ..ReplayOptions::for_file("f.csv") };
        let table = Table::parse(csv.as_bytes(), "f.csv", "f", &options).expect("a table");
        assert_eq!((table.rows_read, table.unreadable, table.reports()), (10, 3, 7));
        let named: Vec<String> = table.bad_rows.iter().map(ToString::to_string).collect();
        assert_eq!(named[0], "f.csv:3: column \"ts\": \"yesterday\": not a time of the form unix-s");
        assert!(named[1].starts_with("f.csv:4: column \"device\": \"bad id\""), "{}", named[1]);
        assert!(named[2].starts_with("f.csv:5: column \"v\"") && named[2].contains("2 fields"), "{}", named[2]);
        let error = strict("ts,v\n1594634400,1\nx,2\n1594634400,1\n1594634400,1\n1594634400,1\n").to_string();
        assert_eq!(error, "f.csv:3: column \"ts\": \"x\": not a time of the form unix-s");
    }

    #[test]
    fn damaged_files_are_explained() {
        for (csv, expected) in [("", "no header"), ("ts,v\n", "--time-column"), ("ts,v\n1594634400,\n", "no row")] {
            let error = parse(csv).expect_err(csv).to_string();
            assert!(error.starts_with("f.csv: ") && error.contains(expected), "{error}");
        }
        let mut latin1 = b"ts,v\n1594634400,1\n1594634401,1\n1594634402,1\n1594634403,1\n1594634400,".to_vec();
        latin1.extend([0xE9, b'\n']);
        let table = Table::parse(&latin1, "f.csv", "f", &ReplayOptions::for_file("f.csv")).expect("a table");
        assert!(table.bad_rows[0].to_string().contains("f.csv:6: column \"v\"") && table.unreadable == 1);
    }
}
