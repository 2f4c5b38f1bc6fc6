//! What is kept of one device, and how its reports are laid out for the rules that look at it.
//!
//! Nearly all samples are of no consequence for nearly all rules. So rules of thresholds over one metric are a [`Family`]: while all of
//! them are quiet on a device, a sample is compared with the nearest threshold only, and what it leaves is noted once, beside the
//! states; [`Watched::settle`] writes it into them before anybody looks.

use super::calm::{Band, Calm, Families, families};
use crate::alert::compiled::{Compiled, Simple};
use crate::alert::held::Held;
use crate::block::SeriesSet;
use crate::ids::{DeviceKey, MetricName, Position};
use crate::value::ValueType;
use std::collections::HashMap;
use std::sync::Arc;

/// Where a rule stands in the list of rules.
pub(super) type Index = u32;

/// Metric sets of a device whose layout is remembered; above it the one used longest ago is made anew.
const LAYOUTS_MAX: usize = 8;

/// Layouts that devices share. Which metrics a report has is up to the device: above it they are made anew.
const SHARED_LAYOUTS_MAX: usize = 10_000;

/// The rules that look at a device, in their order.
pub(super) type Watching = Arc<[Index]>;

/// One rule over the columns of a metric set.
#[derive(Debug)]
pub(super) struct Entry {
    /// Which of the device's rules.
    pub held: usize,
    /// The rule.
    pub rule: Arc<Compiled>,
    /// Column, number of the rule's metric, and whether it is an f32.
    pub inputs: Vec<(usize, u16, bool)>,
    /// Its thresholds and its one column, if the short way may be taken.
    pub short: Option<Short>,
}

/// What the short way needs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Short {
    pub simple: Simple,
    pub column: usize,
    pub is_f32: bool,
    pub value_type: ValueType,
}

/// A family over a column of a metric set.
#[derive(Debug)]
pub(super) struct FamilyEntry {
    /// Which of the device's families.
    pub family: usize,
    pub column: usize,
    pub value_type: ValueType,
    pub band: Band,
    /// Its rules.
    pub entries: Vec<Entry>,
}

/// The rules that look at a metric set; shared by all devices that have the same.
pub(super) type Layout = Arc<Laid>;

/// See [`Layout`].
#[derive(Debug, Default)]
pub(super) struct Laid {
    pub families: Vec<FamilyEntry>,
    /// Rules that are in no family.
    pub others: Vec<Entry>,
}

impl Laid {
    pub fn is_empty(&self) -> bool {
        self.families.is_empty() && self.others.is_empty()
    }
}

/// What the engine knows of a device.
pub(super) struct Watched {
    /// Everything up to here was judged.
    pub judged: Position,
    /// The call of `Engine::apply` that judged it last.
    pub record: u64,
    /// The newest event time; a sample too far behind is late for every rule.
    pub watermark_us: i64,
    /// The largest lateness of its rules, µs.
    pub lateness_us: i64,
    /// The generation of the rules that `watching` is of.
    pub generation: u64,
    pub watching: Watching,
    /// Where each rule of `watching` stands, but for what [`Watched::settle`] has to write.
    pub held: Vec<Held>,
    pub families: Families,
    pub calm: Box<[Calm]>,
    /// When the wheel wakes it; `i64::MAX` if it is not in the wheel.
    pub armed_us: i64,
    /// It is in the list of those that changed.
    pub dirty: bool,
    layouts: Vec<(Arc<SeriesSet>, Layout)>,
}

impl Watched {
    pub fn new() -> Self {
        Self {
            judged: Position(0),
            record: 0,
            watermark_us: i64::MIN,
            lateness_us: 0,
            generation: u64::MAX,
            watching: Arc::from([]),
            held: Vec::new(),
            families: Arc::from([]),
            calm: Box::default(),
            armed_us: i64::MAX,
            dirty: false,
            layouts: Vec::new(),
        }
    }

    /// Its rules are these now, each of which speaks for itself at first.
    pub fn watch(&mut self, families: Families) {
        self.calm = vec![Calm::default(); families.len()].into();
        self.families = families;
    }

    /// Before something happens that is no sample: each state speaks for itself from here on.
    pub fn unsettle(&mut self) {
        self.settle();
        self.calm.iter_mut().for_each(|calm| calm.holds = false);
    }

    /// Writes into the states what was only noted beside them.
    pub fn settle(&mut self) {
        for (family, calm) in self.families.iter().zip(&self.calm) {
            calm.settle(family, &mut self.held);
        }
    }

    /// The states as they are.
    pub fn settled(&self) -> Vec<Held> {
        let mut held = self.held.clone();
        for (family, calm) in self.families.iter().zip(&self.calm) {
            calm.settle(family, &mut held);
        }
        held
    }

    /// Reads a little of all that a quiet block needs.
    #[inline]
    pub fn look(&self) -> i64 {
        let calm = self.calm.iter().fold(0, |sum, calm| sum ^ calm.newest.last_us);
        calm ^ self.watermark_us ^ i64::from(self.layouts.first().is_some_and(|(set, _)| set.series.is_empty()))
    }

    /// The layout of a metric set, if it is remembered.
    pub fn layout(&mut self, set: &Arc<SeriesSet>) -> Option<&Layout> {
        let found = match self.layouts.first() {
            Some((known, _)) if Arc::ptr_eq(known, set) => 0,
            _ => {
                let same = |(known, _): &(Arc<SeriesSet>, Layout)| Arc::ptr_eq(known, set) || known == set;
                let found = self.layouts.iter().position(same)?;
                self.layouts[..=found].rotate_right(1);
                self.layouts[0].0 = set.clone();
                0
            }
        };
        self.layouts.get(found).map(|(_, layout)| layout)
    }

    pub fn remember(&mut self, set: &Arc<SeriesSet>, layout: Layout) {
        self.layouts.truncate(LAYOUTS_MAX - 1);
        self.layouts.insert(0, (set.clone(), layout));
    }

    /// The rules changed, or the device: what was laid out is not true any more.
    pub fn forget_layouts(&mut self) {
        self.layouts = Vec::new();
    }

    /// Memory that it takes, in bytes, without what it shares.
    pub fn bytes(&self) -> usize {
        let held: usize = self.held.iter().map(Held::bytes).sum();
        size_of::<Self>()
            + held
            + size_of_val(&*self.calm)
            + self.layouts.capacity() * size_of::<(Arc<SeriesSet>, Layout)>()
    }
}

/// Layouts and lists of rules that devices share.
#[derive(Default)]
pub(super) struct Shared {
    watching: HashMap<Vec<Index>, Watching>,
    layouts: HashMap<(Watching, Vec<(MetricName, ValueType)>), Layout>,
    families: HashMap<Watching, Families>,
}

impl Shared {
    pub fn clear(&mut self) {
        self.watching.clear();
        self.layouts.clear();
        self.families.clear();
    }

    pub fn families<'a>(&mut self, watching: &Watching, rule: impl Fn(Index) -> Option<&'a Compiled>) -> Families {
        if let Some(known) = self.families.get(watching) {
            return known.clone();
        }
        let families = families(watching.iter().map(|index| rule(*index)));
        self.families.insert(watching.clone(), families.clone());
        families
    }

    pub fn watching(&mut self, indexes: Vec<Index>) -> Watching {
        if let Some(known) = self.watching.get(&indexes) {
            return known.clone();
        }
        let shared: Watching = Arc::from(indexes.as_slice());
        self.watching.insert(indexes, shared.clone());
        shared
    }

    pub fn layout(
        &mut self,
        watching: &Watching,
        families: &Families,
        columns: Vec<(MetricName, ValueType)>,
        rule: impl Fn(Index) -> Option<Arc<Compiled>>,
    ) -> Layout {
        let key = (watching.clone(), columns);
        if let Some(known) = self.layouts.get(&key) {
            return known.clone();
        }
        let mut laid = Laid::default();
        let entries = watching
            .iter()
            .enumerate()
            .filter_map(|(held, index)| Some((held, rule(*index)?)))
            .filter_map(|(held, rule)| entry(held, rule, &key.1));
        for entry in entries {
            let family = entry.short.and_then(|short| {
                let family = families.iter().position(|family| family.held.contains(&entry.held))?;
                Some((family, short))
            });
            let Some((family, Short { simple, column, is_f32, value_type })) = family else {
                laid.others.push(entry);
                continue;
            };
            let known = laid.families.iter().position(|known| known.family == family && known.column == column);
            let place = known.unwrap_or_else(|| {
                let band = Band::new(is_f32);
                laid.families.push(FamilyEntry { family, column, value_type, band, entries: Vec::new() });
                laid.families.len() - 1
            });
            laid.families[place].band.add(&simple);
            laid.families[place].entries.push(entry);
        }
        let layout: Layout = Arc::new(laid);
        if self.layouts.len() >= SHARED_LAYOUTS_MAX {
            // Devices keep those that they use.
            self.layouts.clear();
        }
        self.layouts.insert(key, layout.clone());
        layout
    }
}

fn entry(held: usize, rule: Arc<Compiled>, columns: &[(MetricName, ValueType)]) -> Option<Entry> {
    let inputs: Vec<(usize, u16, bool)> = columns
        .iter()
        .enumerate()
        .filter_map(|(column, (metric, value_type))| {
            let input = rule.program.metrics().iter().position(|m| m == metric)?;
            Some((column, u16::try_from(input).ok()?, *value_type == ValueType::F32))
        })
        .collect();
    let (column, _, is_f32) = *inputs.first()?;
    let value_type = columns[column].1;
    let shortable = rule.rule.lateness_us == 0 && value_type != ValueType::Text;
    let short = rule.simple.filter(|_| shortable).map(|simple| Short { simple, column, is_f32, value_type });
    Some(Entry { held, rule, inputs, short })
}

/// A device's state as it is stored.
#[derive(wincode::SchemaRead, wincode::SchemaWrite)]
pub(super) struct Stored {
    pub judged: u64,
    pub watermark_us: i64,
    /// Rules by id.
    pub held: Vec<(String, Held)>,
}

/// Which device, and what is stored of it; None = nothing any more.
pub type DeviceState = (DeviceKey, Option<Vec<u8>>);
