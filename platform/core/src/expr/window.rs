//! The samples of one metric within a sliding window.
//!
//! Every aggregate is a function of the samples in the window alone: not of when it was asked before, nor of what passed
//! through. Sums are exact ([`ExactSum`]), minimum and maximum come from monotonic queues, resets of counters are listed as
//! they come; percentiles and the standard deviation look at every sample. So a window that was stored and read back
//! answers the same to the bit.

use super::WINDOW_SAMPLES_MAX;
use super::compile::{Keeps, WindowPlan};
use super::function::Function;
use super::sum::ExactSum;
use std::collections::VecDeque;
use wincode::{SchemaRead, SchemaWrite};

/// A sample of a window. A text counts and has no number: NaN.
#[derive(Debug, Clone, Copy, PartialEq, SchemaWrite, SchemaRead)]
pub(super) struct Held {
    pub time_us: i64,
    pub value: f64,
}

#[derive(Debug, Clone, PartialEq, SchemaWrite, SchemaRead)]
pub(super) struct Window {
    /// See [`super::window_key`].
    pub key: u64,
    /// Times strictly rise.
    samples: VecDeque<Held>,
    /// Time of the newest sample that left before its time because the window was full.
    cut_us: Option<i64>,
    #[wincode(skip)]
    derived: Derived,
}

/// What can be made from the samples anew.
#[derive(Debug, Clone, PartialEq, Default)]
struct Derived {
    sum: Option<Box<ExactSum>>,
    /// Samples of which none later is less or equal.
    least: Option<VecDeque<Held>>,
    greatest: Option<VecDeque<Held>>,
    /// Samples below the one before them, with the value of that one.
    resets: Option<VecDeque<Held>>,
}

impl Derived {
    fn new(keeps: Keeps) -> Self {
        Self {
            sum: keeps.sum.then(Box::default),
            least: keeps.least.then(VecDeque::new),
            greatest: keeps.greatest.then(VecDeque::new),
            resets: keeps.resets.then(VecDeque::new),
        }
    }

    fn push(&mut self, before: Option<Held>, sample: Held) {
        if let Some(sum) = &mut self.sum {
            sum.add(sample.value);
        }
        if let Some(least) = &mut self.least {
            while least.pop_back_if(|held| held.value >= sample.value).is_some() {}
            least.push_back(sample);
        }
        if let Some(greatest) = &mut self.greatest {
            while greatest.pop_back_if(|held| held.value <= sample.value).is_some() {}
            greatest.push_back(sample);
        }
        if let (Some(resets), Some(before)) = (&mut self.resets, before)
            && sample.value < before.value
        {
            resets.push_back(Held { time_us: sample.time_us, value: before.value });
        }
    }

    /// `first_us` is the time of the sample that is the oldest now.
    fn pop_front(&mut self, gone: Held, first_us: Option<i64>) {
        if let Some(sum) = &mut self.sum {
            sum.take_away(gone.value);
        }
        for queue in [&mut self.least, &mut self.greatest].into_iter().flatten() {
            queue.pop_front_if(|held| held.time_us <= gone.time_us);
        }
        if let Some(resets) = &mut self.resets {
            // What the oldest sample fell from is gone.
            resets.pop_front_if(|held| first_us.is_none_or(|first_us| held.time_us <= first_us));
        }
    }
}

impl Window {
    pub fn new(plan: &WindowPlan) -> Self {
        Self { key: plan.key, samples: VecDeque::new(), cut_us: None, derived: Derived::new(plan.keeps) }
    }

    /// Takes a sample no older than the newest; one of the same time takes its place. None is a sample without a value.
    pub fn push(&mut self, plan: &WindowPlan, time_us: i64, value: Option<f64>) {
        let replaced = self.samples.pop_back_if(|held| held.time_us == time_us);
        match (replaced, value) {
            (Some(old), Some(value)) if old.value.to_bits() == value.to_bits() => {
                self.samples.push_back(old);
                return;
            }
            (None, None) => return,
            _ => {}
        }
        let before = self.samples.back().copied();
        if let Some(value) = value {
            self.samples.push_back(Held { time_us, value });
        }
        match (replaced, value) {
            // The queues have forgotten what the replaced sample hid.
            (Some(_), _) => self.derive(plan.keeps),
            (None, Some(value)) => self.derived.push(before, Held { time_us, value }),
            (None, None) => {}
        }
        if self.samples.len() > WINDOW_SAMPLES_MAX
            && let Some(gone) = self.samples.pop_front()
        {
            self.derived.pop_front(gone, self.samples.front().map(|held| held.time_us));
            self.cut_us = Some(gone.time_us);
        }
    }

    /// Lets go of what is too old at a time that no later question lies before.
    pub fn expire(&mut self, plan: &WindowPlan, now_us: i64) {
        let oldest = now_us.saturating_sub(plan.duration_us);
        while let Some(gone) = self.samples.pop_front_if(|held| held.time_us <= oldest) {
            self.derived.pop_front(gone, self.samples.front().map(|held| held.time_us));
        }
        if self.samples.is_empty() && self.samples.capacity() > 64 {
            self.samples.shrink_to_fit();
        }
    }

    fn derive(&mut self, keeps: Keeps) {
        self.derived = Derived::new(keeps);
        let mut before = None;
        for sample in &self.samples {
            self.derived.push(before, *sample);
            before = Some(*sample);
        }
    }

    /// True if the samples can be those of a window.
    pub fn is_sound(&self) -> bool {
        let rising = self.samples.iter().zip(self.samples.iter().skip(1)).all(|(a, b)| a.time_us < b.time_us);
        rising && self.samples.len() <= WINDOW_SAMPLES_MAX
    }

    /// Prepares what was read back for a program.
    pub fn fit(mut self, plan: &WindowPlan) -> Self {
        self.derive(plan.keeps);
        self
    }

    /// Time of the newest sample.
    pub fn newest_us(&self) -> Option<i64> {
        self.samples.back().map(|held| held.time_us)
    }

    /// Time of the oldest sample that is in the window at `now_us`.
    pub fn oldest_us(&self, plan: &WindowPlan, now_us: i64) -> Option<i64> {
        self.samples.get(self.start(plan, now_us)).map(|held| held.time_us)
    }

    /// True if samples that belong in the window at `now_us` are missing because it was full.
    pub fn is_cut(&self, plan: &WindowPlan, now_us: i64) -> bool {
        self.cut_us.is_some_and(|gone| gone > now_us.saturating_sub(plan.duration_us))
    }

    pub fn heap_bytes(&self) -> usize {
        let held = |queue: &VecDeque<Held>| queue.capacity() * size_of::<Held>();
        let Derived { sum, least, greatest, resets } = &self.derived;
        let queues: usize = [least, greatest, resets].into_iter().flatten().map(held).sum();
        held(&self.samples) + queues + sum.as_ref().map_or(0, |_| size_of::<ExactSum>())
    }

    /// Index of the first sample later than `now_us` − duration.
    fn start(&self, plan: &WindowPlan, now_us: i64) -> usize {
        let oldest = now_us.saturating_sub(plan.duration_us);
        match self.samples.front() {
            Some(first) if first.time_us <= oldest => self.samples.partition_point(|held| held.time_us <= oldest),
            _ => 0,
        }
    }

    /// What an aggregate makes of the samples later than `now_us` − duration; None if it has no value.
    pub fn aggregate(&self, plan: &WindowPlan, function: Function, now_us: i64) -> Option<f64> {
        let start = self.start(plan, now_us);
        let count = self.samples.len() - start;
        #[allow(clippy::cast_precision_loss)] // at most WINDOW_SAMPLES_MAX
        let n = count as f64;
        if function == Function::Count {
            return Some(n);
        }
        let first = self.samples.get(start)?;
        let last = self.samples.back()?;
        let value = match function {
            Function::Sum => self.sum(start),
            Function::Avg => self.sum(start) / n,
            Function::Stddev if count >= 2 => {
                let mean = self.sum(start) / n;
                let squares: f64 = self.samples.range(start..).map(|held| (held.value - mean).powi(2)).sum();
                (squares / n).sqrt()
            }
            Function::Min => first_since(self.derived.least.as_ref()?, first.time_us)?,
            Function::Max => first_since(self.derived.greatest.as_ref()?, first.time_us)?,
            Function::Percentile(percent) => self.percentile(start, percent),
            Function::Delta if count >= 2 => last.value - first.value,
            Function::Rate if count >= 2 => {
                let resets = self.derived.resets.as_ref()?.iter().filter(|reset| reset.time_us > first.time_us);
                let increase = resets.fold(last.value - first.value, |increase, reset| increase + reset.value);
                #[allow(clippy::cast_precision_loss)] // a window's µs are exact
                let seconds = last.time_us.saturating_sub(first.time_us) as f64 / 1e6;
                increase / seconds
            }
            _ => return None,
        };
        let finite_inputs = || self.samples.range(start..).all(|held| held.value.is_finite());
        let pole = value.is_infinite() && finite_inputs();
        (!value.is_nan() && !pole).then_some(value)
    }

    fn sum(&self, start: usize) -> f64 {
        match &self.derived.sum {
            Some(sum) if start == 0 => sum.value(),
            Some(sum) if start < self.samples.len() / 2 => {
                let mut rest = (**sum).clone();
                self.samples.range(..start).for_each(|held| rest.take_away(held.value));
                rest.value()
            }
            _ => {
                let mut sum = ExactSum::default();
                self.samples.range(start..).for_each(|held| sum.add(held.value));
                sum.value()
            }
        }
    }

    /// The smallest value that at least this part of the samples does not exceed: a value that was measured.
    fn percentile(&self, start: usize, percent: u8) -> f64 {
        // On the stack: judging does not allocate. Most windows are small.
        const FEW: usize = 256;
        if self.samples.len() - start <= FEW {
            self.nearest_rank(start, percent, &mut [0.0; FEW])
        } else {
            self.nearest_rank(start, percent, &mut [0.0; WINDOW_SAMPLES_MAX])
        }
    }

    fn nearest_rank(&self, start: usize, percent: u8, room: &mut [f64]) -> f64 {
        let mut count = 0;
        for (place, held) in room.iter_mut().zip(self.samples.range(start..)) {
            *place = held.value;
            count += 1;
        }
        let values = &mut room[..count];
        if count == 0 || values.iter().any(|value| value.is_nan()) {
            return f64::NAN;
        }
        let rank = (count * usize::from(percent)).div_ceil(100).clamp(1, count);
        *values.select_nth_unstable_by(rank - 1, f64::total_cmp).1
    }
}

/// The value of the first entry of a monotonic queue that is not older than `oldest_us`.
fn first_since(queue: &VecDeque<Held>, oldest_us: i64) -> Option<f64> {
    queue.get(queue.partition_point(|held| held.time_us < oldest_us)).map(|held| held.value)
}
