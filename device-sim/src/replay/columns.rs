//! Which column of a file is what.

use jiff::tz::TimeZone;
use pulsewire_proto::{limits, names};

use super::{ReplayOptions, time::TimeFormat};
use crate::SimError;

/// Rows that are looked at to guess a format.
pub(super) const SAMPLE_ROWS: usize = 2000;

/// Names of time columns, most telling first. A pair of `date` and `time` comes before all of them.
const TIME_NAMES: [&str; 17] = [
    "timestamp",
    "ts",
    "time",
    "datetime",
    "date_time",
    "utc_timestamp_ms",
    "utc_timestamp",
    "timestamp_ms",
    "timestamp_us",
    "unix_time",
    "epoch",
    "epoch_ms",
    "event_time",
    "recorded_at",
    "created_at",
    "received_at",
    "date",
];

/// Names of device columns, most telling first.
const DEVICE_NAMES: [&str; 14] = [
    "device",
    "device_id",
    "deviceid",
    "device-id",
    "sensor",
    "sensor_id",
    "sensorid",
    "node",
    "node_id",
    "station",
    "station_id",
    "machine",
    "machine_id",
    "host",
];

/// What the columns of a file are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Columns {
    /// One column, or a date and a time that are joined with a space.
    pub time: Vec<usize>,
    /// How the time is written.
    pub format: TimeFormat,
    /// Where the device id is.
    pub device: DeviceFrom,
    /// The other columns that are read.
    pub metrics: Vec<usize>,
}

/// Where the device id comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeviceFrom {
    /// A column.
    Column(usize),
    /// The same for every row.
    Fixed(String),
}

/// The file as far as it must be known to tell its columns apart.
pub(super) struct Glimpse<'f> {
    pub(super) file: &'f str,
    /// File name without folder and extension.
    pub(super) stem: &'f str,
    pub(super) headers: &'f [String],
    /// The first rows.
    pub(super) rows: &'f [Vec<String>],
}

impl Columns {
    pub(super) fn find(glimpse: &Glimpse<'_>, options: &ReplayOptions, zone: &TimeZone) -> Result<Columns, SimError> {
        let (time, format) = find_time(glimpse, options, zone)?;
        let device = find_device(glimpse, options, &time)?;
        let metrics = find_metrics(glimpse, options, &time, &device)?;
        Ok(Columns { time, format, device, metrics })
    }

    /// The time as text: the cells joined with a space.
    pub(super) fn time_text<'r>(&self, cell: impl Fn(usize) -> &'r str) -> String {
        join(&self.time, cell)
    }
}

fn join<'r>(columns: &[usize], cell: impl Fn(usize) -> &'r str) -> String {
    columns.iter().map(|column| cell(*column)).collect::<Vec<_>>().join(" ")
}

impl Glimpse<'_> {
    fn column(&self, name: &str) -> Result<usize, SimError> {
        self.headers.iter().position(|header| header == name).ok_or_else(|| SimError::MissingColumn {
            file: self.file.to_owned(),
            column: name.to_owned(),
            present: self.headers.join(", "),
        })
    }

    fn named(&self, name: &str) -> Option<usize> {
        self.headers.iter().position(|header| header.eq_ignore_ascii_case(name))
    }

    fn undetected(&self, problem: String) -> SimError {
        SimError::Undetected { file: self.file.to_owned(), problem }
    }

    fn guess_format(&self, columns: &[usize], zone: &TimeZone) -> Option<TimeFormat> {
        let texts: Vec<String> = self
            .rows
            .iter()
            .map(|row| join(columns, |column| row.get(column).map_or("", String::as_str)))
            .filter(|text| !text.trim().is_empty())
            .collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        TimeFormat::guess(&texts, zone)
    }
}

fn find_time(
    glimpse: &Glimpse<'_>,
    options: &ReplayOptions,
    zone: &TimeZone,
) -> Result<(Vec<usize>, TimeFormat), SimError> {
    let format_of = |columns: &[usize]| options.time_format.clone().or_else(|| glimpse.guess_format(columns, zone));
    if let Some(named) = &options.time_column {
        let names: Vec<&str> = named.split(',').map(str::trim).collect();
        let columns: Vec<usize> = names.iter().map(|name| glimpse.column(name)).collect::<Result<_, _>>()?;
        let format = format_of(&columns).ok_or_else(|| {
            glimpse.undetected(format!("the times in {named:?} are in no known format; say --time-format"))
        })?;
        return Ok((columns, format));
    }
    let pair = glimpse.named("date").zip(glimpse.named("time")).map(|(date, time)| vec![date, time]);
    let exact = TIME_NAMES.iter().filter_map(|name| glimpse.named(name));
    let similar = glimpse.headers.iter().enumerate().filter_map(|(at, header)| {
        let header = header.to_ascii_lowercase();
        (header.contains("timestamp") || header.ends_with("_time") || header.ends_with("_at")).then_some(at)
    });
    let candidates = pair.into_iter().chain(exact.chain(similar).map(|column| vec![column]));
    for columns in candidates {
        if let Some(format) = format_of(&columns) {
            return Ok((columns, format));
        }
    }
    Err(glimpse.undetected(format!(
        "no column holds times; say --time-column and, if need be, --time-format; the columns are {}",
        glimpse.headers.join(", ")
    )))
}

fn find_device(glimpse: &Glimpse<'_>, options: &ReplayOptions, time: &[usize]) -> Result<DeviceFrom, SimError> {
    if let Some(device) = &options.device {
        if !names::is_device_id(device) {
            let allowed = names::DEVICE_ID_RULE.to_owned();
            return Err(SimError::Invalid { name: "--device", value: device.clone(), allowed });
        }
        return Ok(DeviceFrom::Fixed(device.clone()));
    }
    if let Some(name) = &options.device_column {
        return glimpse.column(name).map(DeviceFrom::Column);
    }
    let is_ids = |column: &usize| {
        let cells = glimpse.rows.iter().filter_map(|row| row.get(*column));
        !time.contains(column) && cells.clone().count() > 0 && cells.clone().all(|cell| names::is_device_id(cell))
    };
    if let Some(column) = DEVICE_NAMES.iter().filter_map(|name| glimpse.named(name)).find(is_ids) {
        return Ok(DeviceFrom::Column(column));
    }
    let stem: String = glimpse
        .stem
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || "._:-".contains(c) { c } else { '-' })
        .take(names::DEVICE_ID_BYTES)
        .collect();
    if stem.is_empty() {
        return Err(glimpse.undetected("the file name gives no device id; say --device".into()));
    }
    Ok(DeviceFrom::Fixed(stem))
}

fn find_metrics(
    glimpse: &Glimpse<'_>,
    options: &ReplayOptions,
    time: &[usize],
    device: &DeviceFrom,
) -> Result<Vec<usize>, SimError> {
    let metrics: Vec<usize> = match &options.metrics {
        Some(names) => names.iter().map(|name| glimpse.column(name)).collect::<Result<_, _>>()?,
        None => (0..glimpse.headers.len())
            .filter(|column| !time.contains(column) && *device != DeviceFrom::Column(*column))
            .collect(),
    };
    for (at, column) in metrics.iter().enumerate() {
        let name = &glimpse.headers[*column];
        if !names::is_metric_name(name) {
            return Err(
                glimpse.undetected(format!("column {name:?}: {}; choose with --metrics", names::METRIC_NAME_RULE))
            );
        }
        if metrics[..at].iter().any(|earlier| glimpse.headers[*earlier] == *name) {
            return Err(
                glimpse.undetected(format!("two columns are called {name:?}; rename one, or choose with --metrics"))
            );
        }
    }
    if metrics.is_empty() {
        return Err(glimpse.undetected("no column is left for metrics".into()));
    }
    if metrics.len() > limits::METRICS_PER_SET {
        let count = metrics.len();
        return Err(glimpse.undetected(format!("{count} metrics, at most 1,024 are possible; choose with --metrics")));
    }
    Ok(metrics)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(csv: &str, options: &ReplayOptions) -> Result<Columns, SimError> {
        let mut lines = csv.lines().map(|line| line.split(',').map(str::to_owned).collect::<Vec<_>>());
        let headers = lines.next().expect("a header");
        let rows: Vec<_> = lines.collect();
        let glimpse = Glimpse { file: "dir/some file.csv", stem: "some file", headers: &headers, rows: &rows };
        Columns::find(&glimpse, options, &TimeZone::UTC)
    }

    fn check(csv: &str, time: &[usize], format: &str, device: DeviceFrom, metrics: &[usize]) {
        let columns = find(csv, &ReplayOptions::for_file("x.csv")).unwrap_or_else(|error| panic!("{csv}: {error}"));
        assert_eq!(columns.time, time, "{csv}");
        assert_eq!(columns.format.name(), format, "{csv}");
        assert_eq!(columns.device, device, "{csv}");
        assert_eq!(columns.metrics, metrics, "{csv}");
    }

    #[test]
    fn columns_are_found_by_name_and_content() {
        let stem = || DeviceFrom::Fixed("some-file".into());
        check("ts,device,temp\n1594634400.5,d-1,21", &[0], "unix-s", DeviceFrom::Column(1), &[2]);
        check("timestamp,value\n2013-07-04 00:00:00,69.8", &[0], "rfc3339", stem(), &[1]);
        check("Date,Time,Soc\n03/29/2021,11:13:45,87", &[0, 1], "%m/%d/%Y %H:%M:%S%.f", stem(), &[2]);
        check("t_boot_s,v,utc_timestamp_ms\n46408.6,7,1533226488299.0", &[2], "unix-ms", stem(), &[0, 1]);
        check("time,sensor,v\n1594634400,not an id!,2", &[0], "unix-s", stem(), &[1, 2]);
    }

    #[test]
    fn options_overrule_what_would_be_found() {
        let options = ReplayOptions {
            time_column: Some("when".into()),
            time_format: TimeFormat::from_option("%d.%m.%Y"),
            device: Some("d".into()),
            metrics: Some(vec!["b".into()]),
            ..ReplayOptions::for_file("x.csv")
        };
        let columns = find("ts,when,a,b\n1594634400,13.07.2020,1,2", &options).expect("columns");
        assert_eq!((columns.time, columns.metrics), (vec![1], vec![3]));
        assert_eq!(columns.device, DeviceFrom::Fixed("d".into()));
    }

    #[test]
    fn what_cannot_be_found_is_explained() {
        let options = || ReplayOptions::for_file("x.csv");
        let cases = [
            ("a,b\n1,2", options(), "--time-column"),
            ("ts,b\n1594634400,2", ReplayOptions { time_column: Some("tz".into()), ..options() }, "no column \"tz\""),
            ("ts,b\n1594634400,2", ReplayOptions { metrics: Some(vec!["c".into()]), ..options() }, "no column \"c\""),
            ("ts,b\n1594634400,2", ReplayOptions { device: Some("a b".into()), ..options() }, "--device"),
            ("ts,b,b\n1594634400,2,3", options(), "two columns"),
            ("ts\n1594634400", options(), "no column is left"),
        ];
        for (csv, options, expected) in cases {
            let error = find(csv, &options).expect_err(csv).to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
