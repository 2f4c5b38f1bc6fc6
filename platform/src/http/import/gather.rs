//! Rows gathered into blocks for ingest, bounded in memory.
//!
//! The store keeps a table per device and set of metrics, for ever. So a file must not make a set of each combination of
//! cells that are present: rows with several values go into one set per device, which grows as its metrics appear, and
//! rows with one value into a set of that metric alone. A later value of a metric never goes into an earlier block than one
//! before it, so that of two values of one time the later line wins.

use super::rows::Reading;
use super::values;
use crate::ingest::{IncomingBlock, MetricSetRef};
use pulsewire_core::block::{Rows, ValueRef};
use pulsewire_core::catalogue::Catalogue;
use pulsewire_core::ids::{DeviceKey, MetricName};
use pulsewire_core::sample::MetricDeclaration;
use pulsewire_core::value::{Value, ValueType};
use std::collections::HashMap;
use std::sync::Arc;

/// Most rows of a device in one batch, and most bytes; then it is stored.
const DEVICE_ROWS_MAX: usize = 4_096;
const DEVICE_BYTES_MAX: usize = 256 << 10;
/// Most bytes of all devices together.
const BYTES_MAX: usize = 1 << 20;
/// Most metrics of a set, as for devices. SPEC §6.1.
const SET_METRICS_MAX: usize = 1_024;
/// Most series whose types are remembered from batch to batch; above it they are looked up anew.
const SERIES_MAX: usize = 65_536;

/// Blocks of one device, and the lines of their rows.
pub struct Filled {
    pub device: DeviceKey,
    pub blocks: Vec<IncomingBlock>,
    pub lines: Vec<Vec<u64>>,
    pub bytes: usize,
}

/// What is gathered.
#[derive(Default)]
pub struct Gather {
    devices: HashMap<DeviceKey, OfDevice>,
    bytes: usize,
    series: usize,
    full: bool,
}

#[derive(Default)]
struct OfDevice {
    by_name: HashMap<MetricName, usize>,
    metrics: Vec<Metric>,
    /// Metrics of rows with several values; by column.
    wide: Vec<usize>,
    wide_set: Option<Arc<MetricSetRef>>,
    blocks: Vec<Block>,
    open_wide: Option<usize>,
    rows: usize,
    bytes: usize,
}

struct Metric {
    name: MetricName,
    unit: String,
    /// None until a value came.
    value_type: Option<ValueType>,
    column: Option<usize>,
    /// Its set when it is alone.
    single: Option<(ValueType, Arc<MetricSetRef>)>,
    /// The newest block of the batch with a value of it, and the one for it alone.
    newest_block: Option<usize>,
    single_block: Option<(ValueType, usize)>,
}

struct Block {
    set: Arc<MetricSetRef>,
    rows: Rows,
    lines: Vec<u64>,
}

impl Block {
    fn new(set: Arc<MetricSetRef>) -> Self {
        Self { rows: Rows::new(set.metrics.len()), set, lines: Vec::new() }
    }
}

fn as_ref(value: &Value) -> ValueRef<'_> {
    match value {
        Value::F64(v) => ValueRef::F64(*v),
        Value::I64(v) => ValueRef::I64(*v),
        Value::Bool(v) => ValueRef::Bool(*v),
        Value::Text(v) => ValueRef::Text(v),
    }
}

impl Metric {
    fn declaration(&self, value_type: ValueType) -> MetricDeclaration {
        MetricDeclaration { name: self.name.clone(), unit: self.unit.clone(), value_type }
    }
}

impl Gather {
    /// True when it must be stored before more is added.
    pub fn is_full(&self) -> bool {
        self.full || self.bytes >= BYTES_MAX
    }

    /// True when so many series are remembered that they should be forgotten, once all that was gathered is stored.
    pub fn knows_too_many(&self) -> bool {
        self.series >= SERIES_MAX
    }

    /// Forgets types; they are looked up anew. Only when nothing is on its way to the store.
    pub fn forget(&mut self) {
        *self = Self::default();
    }

    /// Adds a row's values; what is wrong with any of them by itself comes back, in words.
    pub fn add(
        &mut self,
        device: DeviceKey,
        line: u64,
        time_us: i64,
        readings: Vec<Reading>,
        catalogue: &Catalogue,
    ) -> Vec<String> {
        let of_device = self.devices.entry(device).or_default();
        let before = (of_device.metrics.len(), of_device.bytes);
        let (mut problems, mut fitting) = (Vec::new(), Vec::with_capacity(readings.len()));
        for reading in readings {
            let at = of_device.metric(device, &reading.metric, catalogue);
            let metric = &mut of_device.metrics[at];
            let (value_type, value) = match values::value(&reading.raw, metric.value_type, reading.declared) {
                Ok(found) => found,
                Err(problem) => {
                    problems.push(format!("{}: {problem}", reading.metric));
                    continue;
                }
            };
            if let Some(unit) = reading.unit.filter(|unit| *unit != metric.unit) {
                metric.unit = unit;
                (metric.single, metric.single_block) = (None, None);
                of_device.wide_set = None;
            }
            match metric.value_type {
                // It is rejected where all are counted.
                Some(known) if known.class() != value_type.class() => {
                    of_device.push_single(at, value_type, &value, line, time_us);
                }
                known => {
                    if known != Some(value_type) {
                        // New, or a number of a wider type: from here on it is of that type.
                        metric.value_type = Some(value_type);
                        if metric.column.is_some() {
                            of_device.wide_set = None;
                        }
                    }
                    fitting.push((at, value_type, value));
                }
            }
        }
        match &fitting[..] {
            [] => {}
            [(at, value_type, value)] => of_device.push_single(*at, *value_type, value, line, time_us),
            _ => of_device.push_wide(&fitting, line, time_us),
        }
        self.series += of_device.metrics.len() - before.0;
        self.bytes += of_device.bytes - before.1;
        self.full |= of_device.rows >= DEVICE_ROWS_MAX || of_device.bytes >= DEVICE_BYTES_MAX;
        problems
    }

    /// Takes out what was gathered. What is known of series stays.
    pub fn take(&mut self) -> Vec<Filled> {
        (self.bytes, self.full) = (0, false);
        let mut filled = Vec::new();
        for (device, of_device) in &mut self.devices {
            let blocks = std::mem::take(&mut of_device.blocks);
            let bytes = std::mem::take(&mut of_device.bytes);
            if blocks.is_empty() {
                continue;
            }
            (of_device.rows, of_device.open_wide) = (0, None);
            for metric in &mut of_device.metrics {
                (metric.newest_block, metric.single_block) = (None, None);
            }
            let (blocks, lines) = blocks.into_iter().map(|b| (IncomingBlock::of_file(b.set, b.rows), b.lines)).unzip();
            filled.push(Filled { device: *device, blocks, lines, bytes });
        }
        filled
    }
}

impl OfDevice {
    fn metric(&mut self, device: DeviceKey, name: &MetricName, catalogue: &Catalogue) -> usize {
        if let Some(at) = self.by_name.get(name) {
            return *at;
        }
        let known = catalogue.find(device, name);
        self.metrics.push(Metric {
            name: name.clone(),
            unit: known.map(|series| series.unit.clone()).unwrap_or_default(),
            value_type: known.map(|series| series.value_type),
            column: None,
            single: None,
            newest_block: None,
            single_block: None,
        });
        self.by_name.insert(name.clone(), self.metrics.len() - 1);
        self.metrics.len() - 1
    }

    fn push_single(&mut self, at: usize, value_type: ValueType, value: &Value, line: u64, time_us: i64) {
        let metric = &mut self.metrics[at];
        let open = metric.single_block.filter(|(of, block)| *of == value_type && metric.newest_block <= Some(*block));
        let block = match open {
            Some((_, block)) => block,
            None => {
                let set = match &metric.single {
                    Some((of, set)) if *of == value_type => set.clone(),
                    _ => {
                        let set = Arc::new(MetricSetRef::new(vec![metric.declaration(value_type)]));
                        metric.single.insert((value_type, set)).1.clone()
                    }
                };
                self.blocks.push(Block::new(set));
                self.blocks.len() - 1
            }
        };
        (metric.single_block, metric.newest_block) = (Some((value_type, block)), Some(block));
        let to = &mut self.blocks[block];
        to.lines.push(line);
        to.rows.begin_row(time_us);
        to.rows.push_value(Some(as_ref(value)));
        self.count(1, [value].into_iter());
    }

    fn push_wide(&mut self, values: &[(usize, ValueType, Value)], line: u64, time_us: i64) {
        for (at, ..) in values {
            if self.metrics[*at].column.is_none() {
                if self.wide.len() >= SET_METRICS_MAX {
                    self.wide.drain(..).for_each(|of| self.metrics[of].column = None);
                }
                self.metrics[*at].column = Some(self.wide.len());
                self.wide.push(*at);
                self.wide_set = None;
            }
        }
        if values.len() > SET_METRICS_MAX || values.iter().any(|(at, ..)| self.metrics[*at].column.is_none()) {
            // More than one set can hold.
            for (at, value_type, value) in values {
                self.push_single(*at, *value_type, value, line, time_us);
            }
            return;
        }
        let set = match &self.wide_set {
            Some(set) => set.clone(),
            None => {
                self.open_wide = None;
                let metrics = self.wide.iter().map(|of| &self.metrics[*of]);
                let declared = metrics.map(|m| m.declaration(m.value_type.unwrap_or(ValueType::F64))).collect();
                self.wide_set.insert(Arc::new(MetricSetRef::new(declared))).clone()
            }
        };
        let newest = values.iter().filter_map(|(at, ..)| self.metrics[*at].newest_block).max();
        let block = match self.open_wide.filter(|block| newest <= Some(*block)) {
            Some(block) => block,
            None => {
                self.blocks.push(Block::new(set));
                self.blocks.len() - 1
            }
        };
        self.open_wide = Some(block);
        let mut by_column = vec![None; self.wide.len()];
        for (at, _, value) in values {
            let metric = &mut self.metrics[*at];
            metric.newest_block = Some(block);
            if let Some(cell) = metric.column.and_then(|column| by_column.get_mut(column)) {
                *cell = Some(as_ref(value));
            }
        }
        let to = &mut self.blocks[block];
        to.lines.push(line);
        to.rows.begin_row(time_us);
        by_column.into_iter().for_each(|value| to.rows.push_value(value));
        self.count(self.wide.len(), values.iter().map(|(.., value)| value));
    }

    fn count<'a>(&mut self, width: usize, values: impl Iterator<Item = &'a Value>) {
        let texts: usize = values.map(|v| if let Value::Text(text) = v { text.len() + 16 } else { 0 }).sum();
        self.rows += 1;
        self.bytes += 24 + width * 8 + texts;
    }
}

#[cfg(test)]
mod tests {
    use super::super::values::Raw;
    use super::*;
    use pulsewire_core::ids::SeriesKey;

    const DEVICE: DeviceKey = DeviceKey(1);

    fn gather(rows: &[(i64, &[(&str, &str)])]) -> Filled {
        let (mut gather, catalogue) = (Gather::default(), Catalogue::new(Vec::new(), SeriesKey(0)));
        for (line, (time_us, cells)) in rows.iter().enumerate() {
            let reading = |(metric, cell): &(&str, &str)| Reading {
                metric: MetricName::parse(metric).expect("valid"),
                raw: Raw::Cell((*cell).into()),
                unit: None,
                declared: None,
            };
            let readings = cells.iter().map(reading).collect();
            assert_eq!(gather.add(DEVICE, line as u64, *time_us, readings, &catalogue), [""; 0]);
        }
        gather.take().pop().expect("one device")
    }

    /// (block, metrics, types) of each block.
    fn shapes(filled: &Filled) -> Vec<String> {
        let block = |block: &IncomingBlock| {
            let metrics = block.set.metrics.iter().map(|m| format!("{}:{}", m.name, m.value_type.name()));
            format!("{} x{}", metrics.collect::<Vec<_>>().join(" "), block.rows.len())
        };
        filled.blocks.iter().map(block).collect()
    }

    #[test]
    fn rows_of_several_values_share_one_set_that_grows() {
        let filled = gather(&[
            (1, &[("a", "1"), ("b", "true")]),
            (2, &[("b", "false"), ("a", "2")]),
            (3, &[("a", "1"), ("c", "x")]),
            (4, &[("a", "1"), ("b", "true")]),
        ]);
        assert_eq!(shapes(&filled), ["a:f64 b:bool x2", "a:f64 b:bool c:text x2"]);
        assert_eq!(filled.lines, [[0, 1], [2, 3]]);
    }

    #[test]
    fn a_later_value_never_stands_in_an_earlier_block() {
        let filled = gather(&[
            (1, &[("a", "1")]),
            (1, &[("b", "1")]),
            (1, &[("a", "2"), ("b", "2")]),
            (1, &[("a", "3")]),
            (1, &[("a", "4"), ("b", "4")]),
        ]);
        let expected = ["a:f64 x1", "b:f64 x1", "a:f64 b:f64 x1", "a:f64 x1", "a:f64 b:f64 x1"];
        assert_eq!(shapes(&filled), expected);
    }

    #[test]
    fn a_value_of_another_class_goes_alone_to_be_rejected() {
        let filled = gather(&[(1, &[("a", "1"), ("b", "1")]), (2, &[("a", "off"), ("b", "2")]), (3, &[("a", "3")])]);
        assert_eq!(shapes(&filled), ["a:f64 b:f64 x1", "a:text x1", "b:f64 x1", "a:f64 x1"]);
    }
}
