//! Rows as they came become rows in order of time, one per time: the last write wins, cell by cell.

use crate::heads::{Order, Part};
use pulsewire_core::block::SeriesSet;
use pulsewire_core::ids::SeriesKey;
use std::sync::Arc;

/// Rows of one table by ascending time.
pub(crate) struct Resolved {
    pub set: Arc<SeriesSet>,
    pub part: Arc<Part>,
    pub times: Vec<i64>,
    /// Per resolved row and column the row of the part that has the value; `NONE` = absent. Empty if row `n` of the part
    /// is row `n` here, with all its cells.
    origins: Vec<u32>,
}

const NONE: u32 = u32::MAX;

impl Resolved {
    /// Puts a part's rows in order.
    pub fn new(set: Arc<SeriesSet>, part: Arc<Part>) -> Self {
        let rows = &part.rows;
        let width = rows.width();
        let ascending = rows.times().is_sorted_by(|a, b| a < b);
        if ascending && rows.is_dense() {
            return Self { set, times: rows.times().to_vec(), part, origins: Vec::new() };
        }
        let mut order: Vec<u32> = (0..u32::try_from(rows.len()).unwrap_or(NONE)).collect();
        if !ascending {
            // Stable: of one time, what came later stays later.
            order.sort_by_key(|row| rows.times()[*row as usize]);
        }
        let (mut times, mut origins) = (Vec::with_capacity(rows.len()), Vec::with_capacity(rows.len() * width));
        for row in order {
            let time = rows.times()[row as usize];
            if times.last() != Some(&time) {
                times.push(time);
                origins.resize(times.len() * width, NONE);
            }
            let base = (times.len() - 1) * width;
            for column in 0..width {
                if rows.has(row as usize, column) {
                    origins[base + column] = row;
                }
            }
        }
        Self { set, part, times, origins }
    }

    fn origin(&self, row: usize, column: usize) -> Option<usize> {
        if self.origins.is_empty() {
            return Some(row);
        }
        Some(self.origins[row * self.part.rows.width() + column]).filter(|origin| *origin != NONE).map(|o| o as usize)
    }

    /// The cell of a resolved row.
    pub fn cell(&self, row: usize, column: usize) -> Option<u64> {
        let origin = self.origin(row, column)?;
        Some(self.part.rows.cells()[origin * self.part.rows.width() + column])
    }

    /// When the value came, if there is a value.
    fn order(&self, row: usize, column: usize) -> Option<Order> {
        self.origin(row, column).map(|origin| self.part.order_of(origin))
    }

    fn drop_cell(&mut self, row: usize, column: usize) {
        let width = self.part.rows.width();
        if self.origins.is_empty() {
            self.origins = (0..self.times.len()).flat_map(|r| std::iter::repeat_n(r as u32, width)).collect();
        }
        self.origins[row * width + column] = NONE;
    }

    /// True if some row has no value at all any more.
    pub fn is_empty_row(&self, row: usize) -> bool {
        (0..self.part.rows.width()).all(|column| self.origin(row, column).is_none())
    }
}

/// Where two tables of one device have values of one series at one time, the later one stays. Answers how many went.
pub(crate) fn settle(tables: &mut [Resolved]) -> u64 {
    let mut dropped = 0;
    for second in 1..tables.len() {
        let (before, after) = tables.split_at_mut(second);
        let b = &mut after[0];
        for a in before {
            for (ca, cb) in shared_columns(a, b) {
                dropped += settle_column(a, ca, b, cb);
            }
        }
    }
    dropped
}

fn shared_columns(a: &Resolved, b: &Resolved) -> Vec<(usize, usize)> {
    let of = |r: &Resolved, series: SeriesKey| r.set.series.iter().position(|s| *s == series);
    a.set.series.iter().enumerate().filter_map(|(ca, series)| Some((ca, of(b, *series)?))).collect()
}

fn settle_column(a: &mut Resolved, ca: usize, b: &mut Resolved, cb: usize) -> u64 {
    let (mut ra, mut rb, mut dropped) = (0, 0, 0);
    while ra < a.times.len() && rb < b.times.len() {
        match a.times[ra].cmp(&b.times[rb]) {
            std::cmp::Ordering::Less => ra += 1,
            std::cmp::Ordering::Greater => rb += 1,
            std::cmp::Ordering::Equal => {
                if let (Some(pa), Some(pb)) = (a.order(ra, ca), b.order(rb, cb)) {
                    dropped += 1;
                    if pa > pb { b.drop_cell(rb, cb) } else { a.drop_cell(ra, ca) }
                }
                ra += 1;
                rb += 1;
            }
        }
    }
    dropped
}
