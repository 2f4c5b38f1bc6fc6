//! Recorded files and made-up classes of data, as columns of devices.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use pulsewire_chunk::Kind;
use std::collections::BTreeMap;
use std::path::Path;

pub type Failure = Box<dyn std::error::Error>;

/// Rows of one device: cells are texts as in the file.
type Rows = BTreeMap<i64, Vec<String>>;

/// A device's columns, ready to be cut into chunks.
pub struct Table {
    pub times: Vec<i64>,
    pub columns: Vec<Typed>,
}

pub struct Typed {
    pub name: String,
    pub kind: Kind,
    pub cells: Vec<u64>,
    pub texts: Vec<String>,
}

/// The devices of a file; None if this program does not know its columns.
pub fn read(path: &Path) -> Result<Option<Vec<Table>>, Failure> {
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

pub fn made_up() -> Vec<(&'static str, Table)> {
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
