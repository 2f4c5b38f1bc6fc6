//! Samples that wait for earlier ones: what a rule with `lateness` keeps, so that any order of arrival within it has the same
//! outcome.

use super::held::Values;
use crate::block::ValueRef;
use std::collections::VecDeque;
use wincode::{SchemaRead, SchemaWrite};

/// Most times that wait per rule and device. Above it the oldest is judged early.
pub const REORDER_TIMES_MAX: usize = 1024;

/// One value that waits.
#[derive(Debug, Clone, PartialEq, SchemaRead, SchemaWrite)]
pub struct Reading {
    input: u16,
    value: Kept,
    is_f32: bool,
}

#[derive(Debug, Clone, PartialEq, SchemaRead, SchemaWrite)]
enum Kept {
    F64(f64),
    I64(i64),
    Bool(bool),
    Text(String),
}

impl Reading {
    fn new(input: u16, value: ValueRef<'_>, is_f32: bool) -> Self {
        let value = match value {
            ValueRef::F64(v) => Kept::F64(v),
            ValueRef::I64(v) => Kept::I64(v),
            ValueRef::Bool(v) => Kept::Bool(v),
            ValueRef::Text(v) => Kept::Text(v.to_owned()),
        };
        Self { input, value, is_f32 }
    }

    /// As it came.
    pub fn view(&self) -> (u16, ValueRef<'_>, bool) {
        let value = match &self.value {
            Kept::F64(v) => ValueRef::F64(*v),
            Kept::I64(v) => ValueRef::I64(*v),
            Kept::Bool(v) => ValueRef::Bool(*v),
            Kept::Text(v) => ValueRef::Text(v),
        };
        (self.input, value, self.is_f32)
    }
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Default, SchemaRead, SchemaWrite)]
pub struct Reorder {
    // By time; each time once.
    waiting: VecDeque<(i64, Vec<Reading>)>,
    newest_us: Option<i64>,
    // Everything before this was judged.
    judged_us: Option<i64>,
}

impl Reorder {
    /// The newest time that came.
    pub fn newest_us(&self) -> i64 {
        self.newest_us.unwrap_or(i64::MIN)
    }

    /// True if nothing waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The oldest time that waits.
    pub fn oldest_us(&self) -> Option<i64> {
        self.waiting.front().map(|(time_us, _)| *time_us)
    }

    /// Memory that it takes, in bytes.
    pub fn bytes(&self) -> usize {
        let readings: usize = self.waiting.iter().map(|(_, readings)| readings.capacity()).sum();
        self.waiting.capacity() * size_of::<(i64, Vec<Reading>)>() + readings * size_of::<Reading>()
    }

    /// Takes values of one time. False if they are late: older than the lateness allows, or than what was judged early.
    pub fn put(&mut self, time_us: i64, values: Values<'_>, lateness_us: i64) -> bool {
        if time_us < self.newest_us().saturating_sub(lateness_us) || self.judged_us.is_some_and(|j| time_us <= j) {
            return false;
        }
        self.newest_us = Some(self.newest_us().max(time_us));
        let readings = values.iter().map(|(input, value, is_f32)| Reading::new(*input, *value, *is_f32));
        match self.waiting.binary_search_by_key(&time_us, |(time_us, _)| *time_us) {
            Ok(at) => {
                for reading in readings {
                    let same = self.waiting[at].1.iter_mut().find(|r| r.input == reading.input);
                    match same {
                        Some(same) => *same = reading,
                        None => self.waiting[at].1.push(reading),
                    }
                }
            }
            Err(at) => self.waiting.insert(at, (time_us, readings.collect())),
        }
        true
    }

    /// Lets go of everything that waits.
    pub fn clear(&mut self) {
        self.waiting.clear();
    }

    /// The oldest that need not wait any more: those before `until_us`, and those above the bound.
    pub fn take(&mut self, until_us: i64) -> Option<(i64, Vec<Reading>)> {
        let due = self.waiting.front().is_some_and(|(time_us, _)| *time_us < until_us);
        if !due && self.waiting.len() <= REORDER_TIMES_MAX {
            return None;
        }
        let taken = self.waiting.pop_front()?;
        self.judged_us = Some(taken.0);
        Some(taken)
    }
}
