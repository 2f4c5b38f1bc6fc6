//! One view: what it selects, and how samples become its frames. A sample of one that sends the newest costs nothing here;
//! the tick looks at the table of series.

use super::aggregate::{Fold, Folding};
use super::channel::{News, Outlet, Pending, RingLimits};
use super::series::{SeriesMeta, SeriesTable, Slot};
use pulsewire_core::device::Device;
use pulsewire_core::selector::Selector;
use pulsewire_core::value::{Value, ValueType};
use std::collections::HashMap;
use std::sync::Arc;

/// Number of a view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ViewId(pub u32);

/// What is asked for. Who asks for the same shares one view.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Wish {
    /// Which series.
    pub selector: Selector,
    /// Time between frames in ms.
    pub interval_ms: u32,
    /// What is sent of them.
    pub form: Form,
}

/// What is sent of the series of a view.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Form {
    /// Each sample.
    Every,
    /// The newest of each series.
    Last,
    /// One result per series over what an interval brought.
    Interval(Fold),
    /// One result per metric and distinct values of the labels, over the newest of all devices.
    Across(Fold, Vec<Label>),
}

/// What divides devices.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Label {
    /// Their group.
    Group,
    /// Their profile.
    Profile,
    /// Their value for a key.
    Tag(String),
}

impl Label {
    /// Its name on the wire.
    pub fn name(&self) -> String {
        match self {
            Self::Group => "group".to_owned(),
            Self::Profile => "profile".to_owned(),
            Self::Tag(key) => format!("tag:{key}"),
        }
    }

    /// What a device has there.
    fn of(&self, device: &Device) -> String {
        let value = match self {
            Self::Group => device.group.as_ref().map(ToString::to_string),
            Self::Profile => device.profile.as_ref().map(ToString::to_string),
            Self::Tag(key) => device.tags.get(key).cloned(),
        };
        value.unwrap_or_default()
    }
}

impl Form {
    /// Whether every sample is to be seen by the view, not the newest alone.
    pub fn listens(&self) -> bool {
        matches!(self, Self::Every | Self::Interval(_))
    }

    /// Whether series of this type have a place in it.
    pub fn takes(&self, value_type: ValueType) -> bool {
        value_type != ValueType::Text || matches!(self, Self::Every | Self::Last)
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Input {
    pub slot: Slot,
    /// Series of the view.
    pub index: u32,
    /// The first record that the view may hear of it: what is older it is told because the series came to match then.
    pub since: u64,
    /// Where every sample counts: who has the records before this one may lack the newest stored sample, which was given to the
    /// view beside them.
    pub told: u64,
}

#[derive(Debug, Default)]
pub(super) struct Buffer {
    /// The newest of series that came to match, from before that.
    stored: Vec<Pending>,
    samples: Vec<Pending>,
    weight: usize,
    lost: Option<(u64, u64)>,
}

#[derive(Debug)]
pub(super) struct View {
    pub id: ViewId,
    pub wish: Wish,
    pub outlet: Arc<Outlet>,
    pub inputs: Vec<Option<Input>>,
    free: Vec<u32>,
    pub input_of: HashMap<Slot, u32>,
    /// Results of `across`, by metric and labels; how many inputs each has.
    outputs: HashMap<(String, Vec<String>), u32>,
    output_inputs: Vec<u32>,
    /// By index.
    folds: Vec<Folding>,
    touched: Vec<u32>,
    kept: usize,
    buffer: Buffer,
    /// Inputs whose value is to be sent though nothing came, since the store had it.
    forced: Vec<u32>,
    lost: Option<(u64, u64)>,
    /// Commits up to here were looked at.
    pub looked: u64,
    pub members: usize,
    /// Without members since; µs.
    pub idle_us: u64,
    /// When it is looked at next; µs.
    pub due_us: u64,
    new_series: bool,
}

/// What a tick did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Ticked {
    pub frame: bool,
    pub dropped: u64,
}

impl View {
    pub fn new(id: ViewId, wish: Wish, outlet: Arc<Outlet>, position: u64) -> Self {
        Self {
            id,
            wish,
            outlet,
            inputs: Vec::new(),
            free: Vec::new(),
            input_of: HashMap::new(),
            outputs: HashMap::new(),
            output_inputs: Vec::new(),
            folds: Vec::new(),
            touched: Vec::new(),
            kept: 0,
            buffer: Buffer::default(),
            forced: Vec::new(),
            lost: None,
            looked: position,
            members: 0,
            idle_us: 0,
            due_us: 0,
            new_series: false,
        }
    }

    pub fn interval_us(&self) -> u64 {
        u64::from(self.wish.interval_ms) * 1000
    }

    /// How many series it sends.
    pub fn series(&self) -> usize {
        match self.wish.form {
            Form::Across(..) => self.outputs.len(),
            _ => self.input_of.len(),
        }
    }

    /// Takes a series; `since` is the first record that it may hear of it, None if the view is just made. Answers its input, None if it has no room or has it already.
    pub fn add(
        &mut self,
        slot: Slot,
        meta: &Arc<SeriesMeta>,
        device: &Device,
        since: Option<u64>,
        series_max: usize,
        inputs_max: usize,
    ) -> Option<u32> {
        if self.input_of.contains_key(&slot) {
            return None;
        }
        let begins = since.is_none();
        let index = match &self.wish.form {
            Form::Across(_, labels) => {
                if self.input_of.len() >= inputs_max {
                    return None;
                }
                let values: Vec<String> = labels.iter().map(|label| label.of(device)).collect();
                let key = (meta.metric.clone(), values);
                match self.outputs.get(&key) {
                    Some(index) => *index,
                    None if self.outputs.len() >= series_max => return None,
                    None => {
                        let index = self.outlet.lock().define(Arc::new(self.output(meta, &key.1)), begins);
                        self.outputs.insert(key, index);
                        index
                    }
                }
            }
            _ if self.input_of.len() >= series_max => return None,
            form => {
                let own = match form {
                    Form::Interval(_) => Arc::new(SeriesMeta { device: meta.device.clone(), ..self.output(meta, &[]) }),
                    _ => meta.clone(),
                };
                self.outlet.lock().define(own, begins)
            }
        };
        self.new_series |= !begins;
        let at = index as usize;
        if at >= self.output_inputs.len() {
            self.output_inputs.resize(at + 1, 0);
        }
        if at >= self.folds.len() && matches!(self.wish.form, Form::Interval(_) | Form::Across(..)) {
            self.folds.resize_with(at + 1, Folding::default);
        }
        self.output_inputs[at] += 1;
        let input = Input { slot, index, since: since.unwrap_or(0), told: 0 };
        let number = match self.free.pop() {
            Some(number) => {
                self.inputs[number as usize] = Some(input);
                number
            }
            None => {
                self.inputs.push(Some(input));
                u32::try_from(self.inputs.len() - 1).unwrap_or(u32::MAX)
            }
        };
        self.input_of.insert(slot, number);
        Some(number)
    }

    fn output(&self, meta: &SeriesMeta, values: &[String]) -> SeriesMeta {
        let counts = matches!(self.wish.form, Form::Interval(Fold::Count) | Form::Across(Fold::Count, _));
        let labels = match &self.wish.form {
            Form::Across(_, labels) => labels.as_slice(),
            _ => &[],
        };
        let label = |(label, value): (&Label, &String)| (label.name(), value.clone());
        SeriesMeta {
            device: String::new(),
            metric: meta.metric.clone(),
            unit: if counts { String::new() } else { meta.unit.clone() },
            value_type: ValueType::F64,
            labels: labels.iter().zip(values).map(label).collect(),
        }
    }

    /// Takes a series no longer; true if it did.
    pub fn remove(&mut self, slot: Slot) -> bool {
        let Some(number) = self.input_of.remove(&slot) else { return false };
        let Some(input) = self.inputs.get_mut(number as usize).and_then(Option::take) else { return false };
        self.free.push(number);
        let at = input.index as usize;
        self.output_inputs[at] = self.output_inputs[at].saturating_sub(1);
        self.buffer.stored.retain(|s| s.index != input.index);
        self.buffer.samples.retain(|s| s.index != input.index);
        if self.output_inputs[at] == 0 {
            if let Some(folding) = self.folds.get_mut(at) {
                self.kept = self.kept.saturating_sub(folding.kept());
                *folding = Folding::default();
            }
            self.outputs.retain(|_, index| *index != input.index);
            self.outlet.lock().remove(input.index);
        }
        true
    }

    /// A new sample of one of its series, for views that see every one.
    pub fn hear(&mut self, input: u32, position: u64, time_us: i64, value: &Value, samples_max: usize) -> u64 {
        let Some(Some(Input { index, .. })) = self.inputs.get(input as usize) else { return 0 };
        let index = *index;
        if let Form::Interval(fold) = self.wish.form {
            let Some(number) = value.as_f64() else { return 0 };
            let folding = &mut self.folds[index as usize];
            if folding.is_empty() {
                self.touched.push(index);
            }
            let before = folding.kept();
            folding.add(fold, time_us, number, if self.kept < samples_max { usize::MAX } else { 0 });
            self.kept += folding.kept() - before;
            return 0;
        }
        let sample = Pending { index, time_us, value: value.clone(), position };
        self.buffer.weight += sample.weight();
        self.buffer.samples.push(sample);
        if self.buffer.weight <= samples_max {
            return 0;
        }
        // The older half goes at once, so that a flood costs no more than twice its samples.
        let half = self.buffer.samples.len().div_ceil(2);
        let mut gone = self.buffer.samples.drain(..half);
        let first = gone.next();
        let last = gone.next_back().map(|s| s.position).or(first.as_ref().map(|s| s.position));
        drop(gone);
        self.buffer.weight = self.buffer.samples.iter().map(Pending::weight).sum();
        if let (Some(first), Some(last)) = (first, last) {
            let (from, to) = self.buffer.lost.unwrap_or((first.position.saturating_sub(1), last));
            self.buffer.lost = Some((from, to.max(last)));
        }
        half as u64
    }

    /// Samples of the records after `from` up to `to` were not read.
    pub fn lose(&mut self, from: u64, to: u64) {
        let (first, last) = self.lost.unwrap_or((from, to));
        self.lost = Some((first.min(from), last.max(to)));
    }

    /// There is a value of this input that the view has not heard, as of `position`: it is sent with the next frame.
    pub fn force(&mut self, input: u32, known: Option<(i64, Value)>, position: u64) {
        if self.wish.form == Form::Every
            && let Some(Some(input)) = self.inputs.get_mut(input as usize)
        {
            input.told = position + 1;
        }
        // Who comes first gets it with everything else.
        if self.members == 0 {
            return;
        }
        match self.wish.form {
            Form::Interval(_) => {}
            Form::Last | Form::Across(..) => self.forced.push(input),
            Form::Every => {
                let Some(Some(Input { index, .. })) = self.inputs.get(input as usize) else { return };
                let stored = known.map(|(time_us, value)| Pending { index: *index, time_us, value, position });
                self.buffer.stored.extend(stored);
            }
        }
    }

    /// Begins anew at what the table has, for the first who comes.
    pub fn restart(&mut self, table: &SeriesTable, position: u64, wall_us: i64, stale_us: i64) {
        self.touched.iter().for_each(|index| self.folds[*index as usize] = Folding::default());
        self.touched.clear();
        self.forced.clear();
        (self.buffer, self.kept, self.lost, self.looked) = (Buffer::default(), 0, None, position);
        let cells: Vec<Pending> = match self.wish.form {
            Form::Interval(_) => Vec::new(),
            Form::Across(fold, _) => self.across(table, fold, wall_us, stale_us, |_| true, usize::MAX),
            Form::Every | Form::Last => self.newest(table, |_, _| true).0,
        };
        self.new_series = false;
        let mut channel = self.outlet.lock();
        channel.restart(position, cells.into_iter());
        self.outlet.moved(channel.seq);
    }

    /// The newest of the inputs that are wanted, and whether one before it is left out.
    fn newest(&self, table: &SeriesTable, wanted: impl Fn(u32, u64) -> bool) -> (Vec<Pending>, bool) {
        let mut conflated = false;
        let mut samples = Vec::new();
        for (number, input) in self.inputs.iter().enumerate() {
            let Some(Input { slot, index, since, .. }) = input else { continue };
            let position = table.positions.get(*slot as usize).copied().unwrap_or(0);
            if !wanted(u32::try_from(number).unwrap_or(u32::MAX), position) {
                continue;
            }
            let Some(latest) = table.get(*slot) else { continue };
            let Some(value) = &latest.value else { continue };
            conflated |= latest.before > self.looked;
            // Who goes on from before the series came to match has not got it, however old it is.
            let position = position.max(*since);
            samples.push(Pending { index: *index, time_us: latest.time_us, value: value.clone(), position });
        }
        (samples, conflated)
    }

    /// Results over the inputs of the outputs that are wanted.
    fn across(
        &mut self,
        table: &SeriesTable,
        fold: Fold,
        wall_us: i64,
        stale_us: i64,
        wanted: impl Fn(u32) -> bool,
        keep: usize,
    ) -> Vec<Pending> {
        let mut positions = vec![0; self.folds.len()];
        let mut touched = Vec::new();
        for Input { slot, index, .. } in self.inputs.iter().flatten() {
            if !wanted(*index) {
                continue;
            }
            let Some(latest) = table.get(*slot) else { continue };
            let Some(number) = latest.value.as_ref().and_then(Value::as_f64) else { continue };
            if latest.time_us < wall_us.saturating_sub(stale_us) {
                continue;
            }
            let folding = &mut self.folds[*index as usize];
            if folding.is_empty() {
                touched.push(*index);
            }
            folding.add(fold, latest.time_us, number, keep);
            let position = &mut positions[*index as usize];
            *position = table.positions[*slot as usize].max(*position);
        }
        let results = touched.into_iter().map(|index| {
            let (time_us, value) = self.folds[index as usize].take(fold);
            Pending { index, time_us, value: Value::F64(value), position: positions[index as usize] }
        });
        results.collect()
    }

    /// Makes the next frame, if there is anything new.
    pub fn tick(
        &mut self,
        table: &SeriesTable,
        position: u64,
        now_us: u64,
        wall_us: i64,
        stale_us: i64,
        limits: RingLimits,
    ) -> Ticked {
        let looked = std::mem::replace(&mut self.looked, position);
        let forced = std::mem::take(&mut self.forced);
        let stored = std::mem::take(&mut self.buffer.stored);
        let is_news = !forced.is_empty() || !stored.is_empty() || self.new_series || self.lost.is_some();
        if looked == position && !is_news {
            let channel = self.outlet.lock();
            if channel.slow > 0 {
                channel.wake_behind();
            }
            return Ticked::default();
        }
        let mut conflated = false;
        let samples = match self.wish.form {
            Form::Last => {
                self.looked = looked;
                let forced: std::collections::HashSet<u32> = forced.into_iter().collect();
                let wanted = |number, of| of > looked || (!forced.is_empty() && forced.contains(&number));
                let (mut samples, left_out) = self.newest(table, wanted);
                self.looked = position;
                conflated = left_out;
                // Of one batch the offsets are from its oldest.
                samples.sort_unstable_by_key(|s| s.position);
                samples
            }
            Form::Every => {
                self.buffer.weight = 0;
                std::mem::take(&mut self.buffer.samples)
            }
            Form::Interval(fold) => {
                self.kept = 0;
                let touched = std::mem::take(&mut self.touched);
                let results = touched.into_iter().filter_map(|index| {
                    let folding = self.folds.get_mut(index as usize).filter(|folding| !folding.is_empty())?;
                    conflated |= folding.is_cut();
                    let (time_us, value) = folding.take(fold);
                    Some(Pending { index, time_us, value: Value::F64(value), position })
                });
                results.collect()
            }
            Form::Across(fold, _) => {
                let mut changed = vec![false; self.folds.len()];
                for Input { slot, index, .. } in self.inputs.iter().flatten() {
                    if table.positions.get(*slot as usize).is_some_and(|of| *of > looked) {
                        changed[*index as usize] = true;
                    }
                }
                for number in forced {
                    if let Some(Some(input)) = self.inputs.get(number as usize) {
                        changed[input.index as usize] = true;
                    }
                }
                let wanted = |index: u32| changed.get(index as usize).copied().unwrap_or(false);
                self.across(table, fold, wall_us, stale_us, wanted, usize::MAX)
            }
        };
        let lost =
            self.lost.take().into_iter().chain(self.buffer.lost.take()).reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)));
        if samples.is_empty() && stored.is_empty() && !self.new_series && lost.is_none() {
            let channel = self.outlet.lock();
            if channel.slow > 0 {
                channel.wake_behind();
            }
            return Ticked::default();
        }
        self.new_series = false;
        let mut channel = self.outlet.lock();
        let dropped = channel.publish(position, News { stored, samples, conflated, lost }, limits, now_us);
        self.outlet.moved(channel.seq);
        channel.wake();
        Ticked { frame: true, dropped }
    }
}
