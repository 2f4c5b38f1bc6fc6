//! Rollups of one series from all tables that have it.

use crate::rollup;
use pulsewire_core::aggregate::{Buckets, Partial};
use std::ops::Range;

/// What the tables of a series have rolled up within the bounds of a block.
pub(crate) struct Rolled {
    pub from_us: i64,
    pub to_us: i64,
    pub partials: Vec<(i64, Partial)>,
    pub tables: Vec<usize>,
    pub floor_us: i64,
    /// Units of which more than one table has something.
    pub doubtful: Vec<Range<i64>>,
}

impl Rolled {
    pub fn new(block: rollup::Block, table: usize, floor_us: i64) -> Self {
        let rollup::Block { from_us, to_us, partials } = block;
        Self { from_us, to_us, partials, tables: vec![table], floor_us, doubtful: Vec::new() }
    }

    pub fn add(&mut self, block: rollup::Block, table: usize, floor_us: i64, unit_us: i64) {
        self.tables.push(table);
        self.floor_us = self.floor_us.min(floor_us);
        for (start_us, partial) in block.partials {
            match self.partials.binary_search_by_key(&start_us, |(at_us, _)| *at_us) {
                Ok(_) => self.doubtful.push(start_us..start_us.saturating_add(unit_us)),
                Err(at) => self.partials.insert(at, (start_us, partial)),
            }
        }
    }

    /// Hands the units of a range to buckets.
    pub fn push(&self, unit_us: i64, range: Range<i64>, buckets: &mut Buckets) {
        for (start_us, partial) in self.partials.iter().filter(|(at_us, _)| range.contains(at_us)) {
            buckets.push_partial(unit_us, *start_us, partial);
        }
    }
}
