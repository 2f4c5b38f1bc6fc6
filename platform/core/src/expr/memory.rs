//! What is remembered of one device between samples.

use super::MEMORY_BYTES_MAX;
use super::eval::Judge;
use super::op::Truth;
use super::program::{Moment, Program};
use super::window::Window;
use crate::block::ValueRef;
use wincode::{SchemaRead, SchemaWrite};

/// The newest value of each input of a [`Program`] on one device, the one before it, and the windows.
///
/// It is a value: whoever owns it stores it (it derives `wincode`'s schema; [`encode`](Self::encode) is the same bytes) and
/// calls [`fit`](Self::fit) after reading it back. Until then its windows have no value.
///
/// What it says depends on the samples alone, so a run that was interrupted goes on as if it had not been.
#[derive(Debug, Clone, PartialEq, SchemaWrite, SchemaRead)]
pub struct Memory {
    pub(super) slots: Vec<Slot>,
    pub(super) windows: Vec<Window>,
    /// Newest time observed.
    pub(super) clock_us: i64,
}

/// One input.
#[derive(Debug, Clone, PartialEq, SchemaWrite, SchemaRead)]
pub(super) struct Slot {
    /// See [`super::metric_key`].
    pub key: u64,
    pub seen: Option<Seen>,
}

#[derive(Debug, Clone, PartialEq, SchemaWrite, SchemaRead)]
pub(super) struct Seen {
    /// Since when the input is watched without a break.
    pub first_us: i64,
    pub time_us: i64,
    /// None after a NaN.
    pub value: Option<Stored>,
    pub is_f32: bool,
    /// The last value at an earlier time.
    pub previous: Option<Stored>,
    /// Time of the last change before `time_us`.
    pub changed_us: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, SchemaWrite, SchemaRead)]
pub(super) enum Stored {
    Double(f64),
    Integer(i64),
    Bool(bool),
    Text(String),
}

impl Stored {
    fn new(value: ValueRef<'_>) -> Option<Self> {
        match value {
            ValueRef::F64(v) => (!v.is_nan()).then_some(Self::Double(v)),
            ValueRef::I64(v) => Some(Self::Integer(v)),
            ValueRef::Bool(v) => Some(Self::Bool(v)),
            ValueRef::Text(v) => Some(Self::Text(v.into())),
        }
    }

    pub fn as_ref(&self) -> ValueRef<'_> {
        match self {
            Self::Double(v) => ValueRef::F64(*v),
            Self::Integer(v) => ValueRef::I64(*v),
            Self::Bool(v) => ValueRef::Bool(*v),
            Self::Text(v) => ValueRef::Text(v),
        }
    }
}

/// Integers compare as integers, beyond 2^53 as well.
fn differ(a: ValueRef<'_>, b: ValueRef<'_>) -> bool {
    match (a, b) {
        (ValueRef::I64(a), ValueRef::I64(b)) => a != b,
        (ValueRef::Text(a), ValueRef::Text(b)) => a != b,
        _ => a.as_f64() != b.as_f64(),
    }
}

impl Seen {
    /// Whether the newest value differs from the one before; None if either is missing.
    pub fn has_changed(&self) -> Option<bool> {
        Some(differ(self.value.as_ref()?.as_ref(), self.previous.as_ref()?.as_ref()))
    }

    /// Time of the last change.
    pub fn last_change_us(&self) -> Option<i64> {
        if self.has_changed() == Some(true) { Some(self.time_us) } else { self.changed_us }
    }

    fn take(&mut self, time_us: i64, value: ValueRef<'_>, is_f32: bool) {
        let same = self.value.as_ref().is_some_and(|own| own.as_ref() == value);
        if time_us > self.time_us {
            self.changed_us = self.last_change_us();
            self.time_us = time_us;
            // A text that stays is not copied anew with each sample.
            if same && self.has_changed() == Some(false) {
                self.is_f32 = is_f32;
                return;
            }
            if let Some(value) = self.value.take() {
                self.previous = Some(value);
            }
        } else if same {
            self.is_f32 = is_f32;
            return;
        }
        self.value = Stored::new(value);
        self.is_f32 = is_f32;
    }
}

/// Why stored bytes are not a [`Memory`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MemoryError {
    /// Longer than any memory can be.
    #[error("{given} bytes are more than a memory can have ({MEMORY_BYTES_MAX})")]
    TooLong {
        /// How many bytes.
        given: usize,
    },
    /// Not what [`Memory::encode`] writes.
    #[error("the stored memory of an expression is damaged: {problem}")]
    Damaged {
        /// What does not fit.
        problem: String,
    },
}

impl Memory {
    /// Nothing seen yet.
    pub fn new(program: &Program) -> Self {
        Self { slots: Vec::new(), windows: Vec::new(), clock_us: i64::MIN }.fit(program)
    }

    /// Takes a sample of an input, given by its index in [`Program::metrics`].
    ///
    /// Times of an input never go back: an older sample is passed over. One at the time of the newest takes its place, in
    /// the windows too, so a repeat changes nothing. NaN is a sample without a value. `is_f32` is true for a metric of
    /// that type.
    pub fn observe(&mut self, program: &Program, input: usize, time_us: i64, value: ValueRef<'_>, is_f32: bool) {
        let Some(slot) = self.slots.get_mut(input) else { return };
        match &mut slot.seen {
            Some(seen) if time_us < seen.time_us => return,
            Some(seen) => seen.take(time_us, value, is_f32),
            None => {
                let value = Stored::new(value);
                let first_us = time_us;
                slot.seen = Some(Seen { first_us, time_us, value, is_f32, previous: None, changed_us: None });
            }
        }
        self.clock_us = self.clock_us.max(time_us);
        let held = match value {
            ValueRef::Text(_) => Some(f64::NAN),
            other => other.as_f64().filter(|number| !number.is_nan()),
        };
        for (window, plan) in self.windows.iter_mut().zip(program.windows()) {
            if plan.input == input {
                window.push(plan, time_us, held);
            }
            window.expire(plan, self.clock_us);
        }
    }

    /// Whether a predicate holds. Does not allocate.
    ///
    /// A moment before the newest sample is taken for that sample's.
    pub fn judge(&self, program: &Program, predicate: usize, moment: &Moment<'_>) -> Truth {
        Judge::new(self, program, moment).predicate(predicate)
    }

    /// The newest value of an input as a number, however old; None for a text, a NaN, or nothing yet.
    pub fn number(&self, _program: &Program, input: usize) -> Option<f64> {
        self.value(input)?.as_f64()
    }

    /// The newest value of an input if it is a text, however old.
    pub fn text(&self, _program: &Program, input: usize) -> Option<&str> {
        match self.value(input)? {
            ValueRef::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The newest value of an input, however old.
    pub fn value(&self, input: usize) -> Option<ValueRef<'_>> {
        Some(self.seen(input)?.value.as_ref()?.as_ref())
    }

    /// Time of the newest sample of an input, µs.
    pub fn time_us(&self, input: usize) -> Option<i64> {
        Some(self.seen(input)?.time_us)
    }

    pub(super) fn seen(&self, input: usize) -> Option<&Seen> {
        self.slots.get(input)?.seen.as_ref()
    }

    /// True if a window is missing samples at this time because it was full
    /// ([`WINDOW_SAMPLES_MAX`](super::WINDOW_SAMPLES_MAX)): its aggregates are of its newest part.
    pub fn is_cut(&self, program: &Program, now_us: i64) -> bool {
        let now_us = now_us.max(self.clock_us);
        self.windows.iter().zip(program.windows()).any(|(window, plan)| window.is_cut(plan, now_us))
    }

    /// Carries over what a program can use: values of the metrics it names, and windows of the same metric and duration.
    /// The rest begins anew. To be called after a rule edit and after reading back.
    pub fn fit(self, program: &Program) -> Self {
        let Self { slots: mut old_slots, windows: mut old_windows, .. } = self;
        let slots: Vec<_> = program
            .metric_keys()
            .iter()
            .map(|key| {
                let kept = old_slots.iter().position(|slot| slot.key == *key).map(|at| old_slots.swap_remove(at));
                kept.unwrap_or(Slot { key: *key, seen: None })
            })
            .collect();
        let clock_us = slots.iter().filter_map(|slot| Some(slot.seen.as_ref()?.time_us)).max().unwrap_or(i64::MIN);
        let windows = program
            .windows()
            .iter()
            .map(|plan| {
                let kept = old_windows.iter().position(|window| window.key == plan.key);
                let newest = slots.get(plan.input).and_then(|slot| Some(slot.seen.as_ref()?.time_us));
                let kept = kept.map(|at| old_windows.swap_remove(at));
                let mut window = match kept.filter(|window| window.is_sound() && window.newest_us() <= newest) {
                    Some(window) => window.fit(plan),
                    None => Window::new(plan),
                };
                window.expire(plan, clock_us);
                window
            })
            .collect();
        Self { slots, windows, clock_us }
    }

    /// Its bytes, for [`decode`](Self::decode).
    pub fn encode(&self) -> Vec<u8> {
        // Writing to a Vec fails only for lengths beyond u64.
        wincode::serialize(self).unwrap_or_default()
    }

    /// Reads what [`encode`](Self::encode) wrote. [`fit`](Self::fit) has to follow.
    ///
    /// # Errors
    /// [`MemoryError`] for anything else. No length that the bytes announce makes it reserve more than 4 MiB.
    pub fn decode(bytes: &[u8]) -> Result<Self, MemoryError> {
        if bytes.len() > MEMORY_BYTES_MAX {
            return Err(MemoryError::TooLong { given: bytes.len() });
        }
        let damaged = |problem: String| MemoryError::Damaged { problem };
        let memory: Self = wincode::deserialize_exact(bytes).map_err(|error| damaged(error.to_string()))?;
        if !memory.windows.iter().all(Window::is_sound) {
            return Err(damaged("the samples of a window are not in order".to_owned()));
        }
        let sound = |seen: &Seen| seen.first_us <= seen.time_us && seen.changed_us.is_none_or(|t| t < seen.time_us);
        if !memory.slots.iter().filter_map(|slot| slot.seen.as_ref()).all(sound) {
            return Err(damaged("the times of an input are not in order".to_owned()));
        }
        Ok(memory)
    }

    /// How much memory it takes, in bytes.
    pub fn bytes(&self) -> usize {
        let text = |stored: &Option<Stored>| match stored {
            Some(Stored::Text(text)) => text.len(),
            _ => 0,
        };
        let texts = |slot: &Slot| slot.seen.as_ref().map_or(0, |seen| text(&seen.value) + text(&seen.previous));
        size_of::<Self>()
            + self.slots.capacity() * size_of::<Slot>()
            + self.slots.iter().map(texts).sum::<usize>()
            + self.windows.capacity() * size_of::<Window>()
            + self.windows.iter().map(Window::heap_bytes).sum::<usize>()
    }
}
