//! Judging: a walk over the operations, with no allocation and a recursion bounded by [`DEPTH_MAX`](super::DEPTH_MAX).

use super::compile::{Op, OpIndex};
use super::function::Function;
use super::memory::{Memory, Seen};
use super::op::{Cell, Grain, Number, Truth, arithmetic, compare, haversine_m, math};
use super::program::{Moment, Program};
use crate::block::ValueRef;
use std::ops::Range;

/// Most inputs of a function: those of `outside`.
const INPUTS_MAX: usize = 5;

pub(super) struct Judge<'a> {
    memory: &'a Memory,
    program: &'a Program,
    moment: Moment<'a>,
}

impl<'a> Judge<'a> {
    pub fn new(memory: &'a Memory, program: &'a Program, moment: &Moment<'a>) -> Self {
        // Windows have let go of what was too old for the newest sample.
        let now_us = moment.now_us.max(memory.clock_us);
        Self { memory, program, moment: Moment { now_us, ..*moment } }
    }

    pub fn predicate(&self, predicate: usize) -> Truth {
        self.program.root(predicate).map_or(Truth::Unknown, |root| self.truth(root))
    }

    /// The number on the left of a predicate that is a comparison.
    #[cfg(test)]
    pub fn number_of_left_side(&self, predicate: usize) -> Option<f64> {
        match self.op(self.program.root(predicate)?)? {
            Op::Compare(_, left, _) => self.number(*left).map(|number| number.value),
            _ => None,
        }
    }

    fn op(&self, at: OpIndex) -> Option<&'a Op> {
        self.program.code().ops.get(usize::from(at))
    }

    fn list(&self, range: &Range<usize>) -> &'a [OpIndex] {
        self.program.code().lists.get(range.clone()).unwrap_or_default()
    }

    /// µs since `time_us`, never negative.
    fn since(&self, time_us: i64) -> i64 {
        self.moment.now_us.saturating_sub(time_us).max(0)
    }

    fn is_stale(&self, seen: &Seen) -> bool {
        self.moment.staleness_us.is_some_and(|staleness| self.since(seen.time_us) > staleness)
    }

    /// An input that has a sample which still counts.
    fn current(&self, input: usize) -> Option<&'a Seen> {
        self.memory.seen(input).filter(|seen| !self.is_stale(seen))
    }

    fn truth(&self, at: OpIndex) -> Truth {
        match self.op(at) {
            Some(Op::Bool(value)) => Truth::from(*value),
            Some(Op::Not(inner)) => self.truth(*inner).not(),
            Some(Op::And(parts)) => self.joined(parts, Truth::No, Truth::Yes),
            Some(Op::Or(parts)) => self.joined(parts, Truth::Yes, Truth::No),
            Some(Op::Compare(relation, left, right)) => {
                let outcome = self.cell(*left).zip(self.cell(*right)).and_then(|(a, b)| compare(*relation, a, b));
                known(outcome)
            }
            Some(Op::In { what, list, negated }) => {
                let found = self.found(*what, list);
                if *negated { found.not() } else { found }
            }
            Some(Op::Outside(inputs)) => known(self.outside(inputs)),
            Some(Op::Changed(input, within)) => known(self.changed(*input, *within)),
            Some(Op::Missing(input, within)) => Truth::from(self.missing(*input, *within)),
            Some(Op::Metric(_)) => match self.cell(at) {
                Some(Cell::Bool(value)) => Truth::from(value),
                _ => Truth::Unknown,
            },
            _ => Truth::Unknown,
        }
    }

    fn joined(&self, parts: &Range<usize>, decisive: Truth, otherwise: Truth) -> Truth {
        let mut outcome = otherwise;
        for part in self.list(parts) {
            match self.truth(*part) {
                truth if truth == decisive => return decisive,
                Truth::Unknown => outcome = Truth::Unknown,
                _ => {}
            }
        }
        outcome
    }

    /// `what` equal to one of a list: one that is equal decides, one that is not known leaves it open.
    fn found(&self, what: OpIndex, list: &Range<usize>) -> Truth {
        let Some(what) = self.cell(what) else { return Truth::Unknown };
        let mut outcome = Truth::No;
        for item in self.list(list) {
            match self.cell(*item).and_then(|item| compare(super::ast::Relation::Equal, what, item)) {
                Some(true) => return Truth::Yes,
                Some(false) => {}
                None => outcome = Truth::Unknown,
            }
        }
        outcome
    }

    fn changed(&self, input: usize, within: Option<i64>) -> Option<bool> {
        let Some(within) = within else { return self.current(input)?.has_changed() };
        let seen = self.memory.seen(input)?;
        if seen.last_change_us().is_some_and(|changed| self.since(changed) < within) {
            return Some(true);
        }
        // "Not changed for an hour" is known only of what was watched for an hour and still reports.
        let watched = self.since(seen.first_us) >= within;
        (watched && !self.is_stale(seen) && seen.value.is_some()).then_some(false)
    }

    fn missing(&self, input: usize, within: Option<i64>) -> bool {
        match (self.memory.seen(input), within) {
            (None, _) => true,
            (Some(seen), None) => self.is_stale(seen),
            (Some(seen), Some(within)) => self.since(seen.time_us) >= within,
        }
    }

    fn outside(&self, inputs: &Range<usize>) -> Option<bool> {
        let ([lat, lon, to_lat, to_lon, radius], _) = self.numbers(inputs)?;
        let metres = haversine_m([lat.value, lon.value], [to_lat.value, to_lon.value])?;
        (radius.value >= 0.0).then_some(metres > radius.value)
    }

    /// The numbers of a list and how many they are.
    fn numbers(&self, inputs: &Range<usize>) -> Option<([Number; INPUTS_MAX], usize)> {
        let mut numbers = [Number { value: 0.0, grain: Grain::Double }; INPUTS_MAX];
        let list = self.list(inputs);
        if list.len() > INPUTS_MAX {
            return None;
        }
        for (place, at) in numbers.iter_mut().zip(list) {
            *place = self.number(*at)?;
        }
        Some((numbers, list.len()))
    }

    fn number(&self, at: OpIndex) -> Option<Number> {
        self.cell(at)?.number()
    }

    fn cell(&self, at: OpIndex) -> Option<Cell<'a>> {
        let double = |value: f64| Cell::Number(Number { value, grain: Grain::Double });
        let device = self.moment.device;
        match self.op(at)? {
            Op::Number(value) => Some(Cell::Number(super::op::written_number(*value))),
            Op::Text(text) => Some(Cell::Text(text)),
            Op::Metric(input) => self.metric(*input),
            Op::Negative(inner) => {
                let number = self.number(*inner)?;
                Some(Cell::Number(Number { value: -number.value, ..number }))
            }
            Op::Arithmetic(sign, left, right) => {
                arithmetic(*sign, self.number(*left)?.value, self.number(*right)?.value).map(double)
            }
            Op::Math(function, inputs) => {
                let (numbers, count) = self.numbers(inputs)?;
                math(*function, numbers.get(..count)?).map(Cell::Number)
            }
            Op::Window(function, window) => self.window(*function, *window).map(Cell::Number),
            Op::Age(input) => {
                #[allow(clippy::cast_precision_loss)] // exact up to 285 years
                let us = self.since(self.memory.seen(*input)?.time_us) as f64;
                Some(double(us / 1e6))
            }
            Op::Tag(key) => device.tags.get(&**key).map(|value| Cell::Tag(value)),
            Op::Group => device.group.as_ref().map(|group| Cell::Text(group.as_str())),
            Op::Device => Some(Cell::Text(device.id.as_str())),
            Op::Firmware => device.firmware.as_deref().map(Cell::Text),
            Op::Bool(_)
            | Op::Not(_)
            | Op::And(_)
            | Op::Or(_)
            | Op::Compare(..)
            | Op::In { .. }
            | Op::Outside(_)
            | Op::Changed(..)
            | Op::Missing(..) => match self.truth(at) {
                Truth::Yes => Some(Cell::Bool(true)),
                Truth::No => Some(Cell::Bool(false)),
                Truth::Unknown => None,
            },
        }
    }

    fn metric(&self, input: usize) -> Option<Cell<'a>> {
        let seen = self.current(input)?;
        let value = seen.value.as_ref()?.as_ref();
        match value {
            ValueRef::Bool(value) => Some(Cell::Bool(value)),
            ValueRef::Text(text) => Some(Cell::Text(text)),
            number => {
                let grain = if seen.is_f32 { Grain::Single } else { Grain::Double };
                number.as_f64().map(|value| Cell::Number(Number { value, grain }))
            }
        }
    }

    fn window(&self, function: Function, window: usize) -> Option<Number> {
        let plan = self.program.windows().get(window)?;
        let value = self.memory.windows.get(window)?.aggregate(plan, function, self.moment.now_us)?;
        // These are values that were measured. The type is the newest sample's: a metric that changes from f32 to f64 is
        // compared as f64 at once, though samples of both are in the window.
        let measured = matches!(function, Function::Min | Function::Max | Function::Percentile(_));
        let is_f32 = self.memory.seen(plan.input).is_some_and(|seen| seen.is_f32);
        Some(Number { value, grain: if measured && is_f32 { Grain::Single } else { Grain::Double } })
    }
}

fn known(outcome: Option<bool>) -> Truth {
    outcome.map_or(Truth::Unknown, Truth::from)
}
