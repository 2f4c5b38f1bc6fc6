//! Bytes per sample and speed, on recorded files and on made-up classes of data.
//!
//! `cargo run --release -p pulsewire-chunk --example table -- FOLDER [LEVEL] [ROWS] [columns]`: ROWS per chunk; with a fourth word,
//! also bytes per row of each column.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use pulsewire_chunk::{ChunkReader, ColumnIn, Kind, LEVEL_DEFAULT, encode};

type Failure = Box<dyn std::error::Error>;

/// Rows of one device: cells are texts as in the file.
type Rows = BTreeMap<i64, Vec<String>>;

/// A device's columns, ready to be cut into chunks.
struct Table {
    times: Vec<i64>,
    columns: Vec<Typed>,
}

struct Typed {
    name: String,
    kind: Kind,
    cells: Vec<u64>,
    texts: Vec<String>,
}

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or("usage: table FOLDER [LEVEL] [ROWS] [columns]")?;
    let level = arguments.next().map_or(Ok(LEVEL_DEFAULT), |level| level.parse())?;
    let rows = arguments.next().map_or(Ok(4_096), |rows| rows.parse())?;
    let detail = arguments.next().is_some();
    println!("level {level}, chunks of {rows} rows; speeds in millions of values per second on one core");
    println!("{:<46} {:>7} {:>5} {:>8} {:>8} {:>8}", "file", "rows", "cols", "B/sample", "encode", "decode");
    let mut files: Vec<_> = std::fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    files.sort_by_key(std::fs::DirEntry::file_name);
    for file in files {
        if let Some(tables) = read(&file.path())? {
            report(&file.file_name().to_string_lossy(), &tables, level, rows, detail)?;
        }
    }
    for (name, table) in made_up() {
        report(name, &[table], level, rows, detail)?;
    }
    Ok(())
}

fn report(name: &str, tables: &[Table], level: u8, rows: usize, detail: bool) -> Result<(), Failure> {
    let mut chunks = Vec::new();
    let mut values = 0usize;
    for table in tables {
        for from in (0..table.times.len()).step_by(rows) {
            let to = (from + rows).min(table.times.len());
            chunks.push((table, from..to));
            values += (to - from) * table.columns.len();
        }
    }
    let texts: Vec<Vec<Vec<&str>>> = tables
        .iter()
        .map(|table| table.columns.iter().map(|column| column.texts.iter().map(String::as_str).collect()).collect())
        .collect();
    let columns_of = |table: &Table, range: &std::ops::Range<usize>| -> usize {
        debug_assert!(range.end <= table.times.len());
        tables.iter().position(|other| std::ptr::eq(other, table)).unwrap_or_default()
    };
    let encode_all = || -> Result<Vec<Vec<u8>>, Failure> {
        let mut all = Vec::new();
        for (table, range) in &chunks {
            let texts = &texts[columns_of(table, range)];
            let columns: Vec<ColumnIn> = (0..)
                .zip(table.columns.iter().zip(texts))
                .map(|(series, (column, texts))| ColumnIn {
                    series,
                    kind: column.kind,
                    cells: &column.cells[range.clone()],
                    present: None,
                    texts,
                })
                .collect();
            all.push(encode(&table.times[range.clone()], &columns, level)?);
        }
        Ok(all)
    };
    let encoded = encode_all()?;
    let decode_all = || -> Result<(), Failure> {
        for bytes in &encoded {
            let chunk = ChunkReader::open(bytes)?;
            black_box(chunk.times()?);
            for info in chunk.series() {
                black_box(chunk.column(info.series)?);
            }
        }
        Ok(())
    };
    // What comes back is what went in.
    for (bytes, (table, range)) in encoded.iter().zip(&chunks) {
        let chunk = ChunkReader::open(bytes)?;
        assert_eq!(chunk.times()?, table.times[range.clone()]);
        for (series, column) in (0..).zip(&table.columns) {
            let back = chunk.column(series)?.ok_or("a column is missing")?;
            for (row, cell) in range.clone().enumerate().map(|(row, at)| (row, column.cells[at])) {
                match column.kind {
                    Kind::Text => assert_eq!(back.text(row), Some(column.texts[cell as usize].as_str())),
                    _ => assert_eq!(back.cells[row], cell),
                }
            }
        }
    }
    let encode_speed = values as f64 / best_of(|| encode_all().map(|_| ()))? / 1e6;
    let decode_speed = values as f64 / best_of(decode_all)? / 1e6;
    let size: usize = encoded.iter().map(Vec::len).sum();
    println!(
        "{name:<46} {:>7} {:>5} {:>8.3} {encode_speed:>8.1} {decode_speed:>8.1}",
        tables.iter().map(|table| table.times.len()).sum::<usize>(),
        tables.first().map_or(0, |table| table.columns.len()),
        size as f64 / values as f64,
    );
    if detail {
        let rows: usize = tables.iter().map(|table| table.times.len()).sum();
        let mut sums: BTreeMap<usize, usize> = BTreeMap::new();
        let mut times = 0;
        for bytes in &encoded {
            let chunk = ChunkReader::open(bytes)?;
            times += chunk.times_bytes();
            chunk.series().iter().for_each(|info| *sums.entry(info.series as usize).or_default() += info.bytes);
        }
        let parts = sums.values().sum::<usize>() + times;
        println!(
            "    {:<20} {:.3} B/row; headers {:.3} B/row",
            "times",
            times as f64 / rows as f64,
            (size - parts) as f64 / rows as f64
        );
        for (series, bytes) in sums {
            println!("    {:<20} {:.3}", tables[0].columns[series].name, bytes as f64 / rows as f64);
        }
    }
    Ok(())
}

/// Seconds of the fastest of the repetitions that fit into a quarter of a second.
fn best_of(mut run: impl FnMut() -> Result<(), Failure>) -> Result<f64, Failure> {
    let mut best = f64::INFINITY;
    let begun = Instant::now();
    while begun.elapsed().as_millis() < 250 {
        let start = Instant::now();
        run()?;
        best = best.min(start.elapsed().as_secs_f64());
    }
    Ok(best)
}

/// The devices of a file; None if this program does not know its columns.
fn read(path: &Path) -> Result<Option<Vec<Table>>, Failure> {
    if path.extension().is_none_or(|extension| extension != "csv") {
        return Ok(None);
    }
    let mut reader = csv::Reader::from_path(path)?;
    let names: Vec<String> = reader.headers()?.iter().map(str::to_owned).collect();
    let is_time = |name: &str| matches!(name, "ts" | "timestamp" | "Date" | "Time" | "utc_timestamp_ms");
    if !names.iter().any(|name| is_time(name)) {
        return Ok(None);
    }
    let at = |name: &str| names.iter().position(|other| other == name);
    let mut devices: BTreeMap<String, Rows> = BTreeMap::new();
    for record in reader.records() {
        let record = record?;
        let field = |name: &str| at(name).and_then(|index| record.get(index));
        let time = if let Some(seconds) = field("ts") {
            Some((seconds.parse::<f64>()? * 1e6).round() as i64)
        } else if let Some(milliseconds) = field("utc_timestamp_ms") {
            Some((milliseconds.parse::<f64>()? * 1e3).round() as i64)
        } else if let Some(text) = field("timestamp") {
            micros("%Y-%m-%d %H:%M:%S", text)
        } else {
            let text = format!("{} {}", field("Date").unwrap_or_default(), field("Time").unwrap_or_default());
            micros("%Y/%m/%d %H:%M:%S", &text).or_else(|| micros("%m/%d/%Y %H:%M:%S", &text))
        };
        let Some(time) = time else { continue };
        let values = names.iter().zip(&record).filter(|(name, _)| !is_time(name) && *name != "device");
        let values = values.map(|(_, value)| value.to_owned()).collect();
        devices.entry(field("device").unwrap_or_default().to_owned()).or_default().insert(time, values);
    }
    let names: Vec<_> = names.into_iter().filter(|name| !is_time(name) && name != "device").collect();
    Ok(Some(devices.into_values().map(|rows| typed(&names, rows)).collect()))
}

fn micros(format: &str, text: &str) -> Option<i64> {
    let time = DateTime::strptime(format, text).ok()?;
    time.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp().as_microsecond())
}

fn typed(names: &[String], rows: Rows) -> Table {
    let column = |(index, name): (usize, &String)| {
        let values = || rows.values().map(move |row| row[index].as_str());
        let name = name.clone();
        if values().all(|value| matches!(value, "true" | "false")) {
            let cells = values().map(|value| u64::from(value == "true")).collect();
            return Typed { name, kind: Kind::Bool, cells, texts: Vec::new() };
        }
        if let Ok(cells) = values().map(|value| value.parse().map(f64::to_bits)).collect() {
            return Typed { name, kind: Kind::F64, cells, texts: Vec::new() };
        }
        let mut texts: Vec<String> = values().map(str::to_owned).collect();
        texts.sort();
        texts.dedup();
        let cells = values().map(|value| texts.partition_point(|text| text.as_str() < value) as u64).collect();
        Typed { name, kind: Kind::Text, cells, texts }
    };
    let columns = names.iter().enumerate().map(column).collect();
    Table { columns, times: rows.into_keys().collect() }
}

/// A small generator of the same numbers in every run.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// About normal, with deviation 1.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.next() as f64 / u64::MAX as f64).sum::<f64>() - 6.0
    }
}

const MADE_UP_ROWS: usize = 65_536;

fn made_up() -> Vec<(&'static str, Table)> {
    let mut chance = Chance(1);
    let regular: Vec<i64> = (0..MADE_UP_ROWS as i64).map(|row| 1_700_000_000_000_000 + row * 1_000_000).collect();
    let jittered: Vec<i64> = regular.iter().map(|time| time + 1_000 * (chance.next() % 40) as i64).collect();
    let mut walk = 0i64;
    let walked: Vec<i64> = (0..MADE_UP_ROWS)
        .map(|_| {
            walk += (chance.normal() * 3.0).round() as i64;
            walk
        })
        .collect();
    let column = |kind, cells| vec![Typed { name: String::new(), kind, cells, texts: Vec::new() }];
    let decimal: Vec<u64> = walked.iter().map(|walk| ((2_000 + walk) as f64 / 100.0).to_bits()).collect();
    let singles: Vec<u64> = walked.iter().map(|walk| f64::from((2_000 + walk) as f32 / 100.0).to_bits()).collect();
    let noise: Vec<u64> = (0..MADE_UP_ROWS).map(|_| chance.normal().to_bits()).collect();
    let held: Vec<u64> = (0..MADE_UP_ROWS).map(|row| decimal[row / 60]).collect();
    vec![
        (
            "constant",
            Table { times: regular.clone(), columns: column(Kind::F64, vec![21.5f64.to_bits(); MADE_UP_ROWS]) },
        ),
        (
            "counter",
            Table {
                times: regular.clone(),
                columns: column(Kind::I64, (0..MADE_UP_ROWS as u64).map(|row| 7 + 3 * row).collect()),
            },
        ),
        ("decimal walk", Table { times: regular.clone(), columns: column(Kind::F64, decimal.clone()) }),
        ("decimal walk, singles", Table { times: regular.clone(), columns: column(Kind::F32, singles) }),
        ("held for a minute", Table { times: regular.clone(), columns: column(Kind::F64, held) }),
        ("noise", Table { times: regular, columns: column(Kind::F64, noise) }),
        (
            "constant, 40 ms of jitter in the times",
            Table { times: jittered.clone(), columns: column(Kind::F64, vec![0; MADE_UP_ROWS]) },
        ),
        ("decimal walk, 40 ms of jitter in the times", Table { times: jittered, columns: column(Kind::F64, decimal) }),
    ]
}
