//! Recorded telemetry to replay: a file of three environment sensors, or one made up in the same shape.

use crate::api::Api;
use crate::programs::repository;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// A CSV file with columns ts (seconds since 1970), device and metrics.
#[derive(Debug)]
pub struct Recording {
    /// Where it lies.
    pub path: PathBuf,
    /// Rows in it.
    pub rows: u64,
    /// Rows per device.
    pub rows_of: BTreeMap<String, u64>,
    /// What the history of each device and metric must be: by time in µs, a later row of the same time winning.
    pub expected: BTreeMap<(String, String), BTreeMap<i64, Value>>,
}

impl Recording {
    /// The recorded file beside the repository if it is there, otherwise a made-up one in `folder`. Says which.
    pub fn of_environment(folder: &Path) -> Self {
        let recorded = repository().join("../shared/data/env_iot_3devices_20200713.csv");
        let path = if recorded.exists() { recorded } else { made_up(folder) };
        println!("replaying {}", path.display());
        Self::read(path)
    }

    fn read(path: PathBuf) -> Self {
        let text = std::fs::read_to_string(&path).expect("a CSV file");
        let mut lines = text.lines();
        let columns: Vec<_> = lines.next().expect("a header").split(',').collect();
        assert_eq!(columns[..2], ["ts", "device"]);
        let (mut rows, mut rows_of, mut expected) = (0, BTreeMap::new(), BTreeMap::new());
        for line in lines {
            let cells: Vec<_> = line.split(',').collect();
            let (time_us, device) = (micros(cells[0]), cells[1]);
            for (metric, cell) in columns.iter().zip(&cells).skip(2) {
                let value = match *cell {
                    "true" => json!(true),
                    "false" => json!(false),
                    number => json!(number.parse::<f64>().expect("a number")),
                };
                let series: &mut BTreeMap<i64, Value> =
                    expected.entry((device.to_owned(), (*metric).to_owned())).or_default();
                series.insert(time_us, value);
            }
            rows += 1;
            *rows_of.entry(device.to_owned()).or_default() += 1;
        }
        Self { path, rows, rows_of, expected }
    }

    /// Reports that the server has counted, over all devices.
    pub fn reports_stored(&self, api: &Api) -> u64 {
        let count = |device: &String| {
            let answer = api.get(&format!("/api/v1/devices/{device}"));
            if answer.status == 404 {
                0
            } else {
                answer.expect(200)["accounting"]["reports"].as_u64().expect("a count")
            }
        };
        self.rows_of.keys().map(count).sum()
    }

    /// Fails unless the server has every value of the file, bit for bit, and none twice.
    pub fn assert_stored(&self, api: &Api) {
        for ((device, metric), expected) in &self.expected {
            let stored = api.history(device, metric);
            assert_eq!(stored.len(), expected.len(), "samples of {device} {metric}");
            for ((time_us, value), (wanted_us, wanted)) in stored.iter().zip(expected) {
                assert_eq!(time_us, wanted_us, "{device} {metric}");
                let same = match (value.as_f64(), wanted.as_f64()) {
                    (Some(value), Some(wanted)) => value.to_bits() == wanted.to_bits(),
                    _ => value == wanted,
                };
                assert!(same, "{device} {metric} at {time_us}: {value} is stored, {wanted} is in the file");
            }
        }
        let metrics = self.expected.len() / self.rows_of.len();
        for (device, rows) in &self.rows_of {
            let accounting = &api.device(device)["accounting"];
            let values = rows * metrics as u64;
            let distinct = self.expected.iter().filter(|((of, _), _)| of == device).map(|(_, s)| s.len() as u64);
            let replaced = values - distinct.sum::<u64>();
            assert_eq!(accounting["reports"], *rows, "each report of {device} is stored once");
            let count = |name: &str| accounting[name].as_u64().expect("a count");
            let again = count("duplicate") + count("dropped");
            assert_eq!(count("received"), values + again, "{device}: {accounting}");
            assert_eq!(accounting["stored"], values, "{device}: {accounting}");
            assert_eq!(accounting["replaced"], replaced, "{device}: {accounting}");
            assert_eq!((&accounting["rejected"], &accounting["skipped"]), (&json!(0), &json!(0)), "{device}");
        }
    }
}

/// Seconds with decimals to µs, exactly, rounded to the nearest.
fn micros(text: &str) -> i64 {
    let (seconds, decimals) = text.split_once('.').unwrap_or((text, ""));
    let digits = format!("{decimals:0<7}");
    let micros: i64 = digits[..6].parse().expect("digits");
    let up = i64::from(digits.as_bytes()[6] >= b'5');
    seconds.parse::<i64>().expect("digits") * 1_000_000 + micros + up
}

/// Three devices for some hours, every few seconds, with the columns and the value ranges of the recorded file.
fn made_up(folder: &Path) -> PathBuf {
    let mut text = String::from("ts,device,co,humidity,light,lpg,motion,smoke,temp\n");
    let mut random = Random::new(20_200_713);
    let mut time_us = 1_594_634_400_483_265_i64;
    for row in 0..9_000_u32 {
        time_us += i64::try_from(random.below(4_000_000)).expect("small");
        let (seconds, micros) = (time_us / 1_000_000, time_us % 1_000_000);
        let mut value = |low: f64, span: f64| low + span * (random.below(1 << 40) as f64 / (1_u64 << 40) as f64);
        let (co, humidity, lpg, smoke, temp) =
            (value(0.003, 0.01), value(45.0, 30.0), value(0.005, 0.01), value(0.01, 0.03), value(18.0, 12.0));
        // A sensor that reads nonsense once in a while, as the recorded ones do.
        let temp = if row % 1_501 == 1_500 { 6.5 } else { temp };
        let (device, light, motion) = (row % 3 + 1, value(0.0, 1.0) > 0.5, value(0.0, 1.0) > 0.99);
        let _ = writeln!(
            text,
            "{seconds}.{micros:06},iot-device-0{device},{co},{humidity:?},{light},{lpg},{motion},{smoke},{temp:?}"
        );
    }
    let path = folder.join("made_up_environment.csv");
    std::fs::write(&path, text).expect("written");
    path
}

/// A small generator of numbers that look random and can be made again (xorshift64*).
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// The same seed makes the same numbers.
    pub fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    /// The seed in `PULSEWIRE_SEED`, or a fresh one; it is printed, to do the same again.
    pub fn printed() -> Self {
        let given = std::env::var("PULSEWIRE_SEED").ok().map(|seed| seed.parse().expect("PULSEWIRE_SEED is a number"));
        let seed = given.unwrap_or_else(|| crate::device::now_us().unsigned_abs() ^ u64::from(std::process::id()));
        println!("seed {seed} (PULSEWIRE_SEED={seed} does the same again)");
        Self::new(seed)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) % end.max(1)
    }
}
