//! Series that are read one beside the other, as the rows that they are.

use std::iter::Peekable;

/// Most series that are merged: as many as a rule has metrics.
pub const MERGED_MAX: usize = crate::expr::METRICS_MAX;

/// Merges series, each in the order of time, into rows: the values of one time together. A series that has one time twice gives
/// the last value; one whose time goes back gives that value at once, and the judging finds it late.
pub struct Merged<I: Iterator> {
    series: Vec<Peekable<I>>,
}

impl<I: Iterator<Item = (i64, V)>, V> Merged<I> {
    /// Of at most [`MERGED_MAX`] series; further ones are left out.
    pub fn new(series: impl IntoIterator<Item = I>) -> Self {
        Self { series: series.into_iter().take(MERGED_MAX).map(Iterator::peekable).collect() }
    }

    /// The next row: its time, with the number of the series and its value in `row`. None at the end.
    pub fn next_row(&mut self, row: &mut Vec<(usize, V)>) -> Option<i64> {
        row.clear();
        // Each series is asked once per row: a source that reads from a disk reads ahead by one value.
        let time_us = self.series.iter_mut().filter_map(|one| one.peek().map(|(time_us, _)| *time_us)).min()?;
        for (number, one) in self.series.iter_mut().enumerate() {
            let mut newest = None;
            while let Some((_, value)) = one.next_if(|(at_us, _)| *at_us == time_us) {
                newest = Some(value);
            }
            row.extend(newest.map(|value| (number, value)));
        }
        Some(time_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_one_time_are_one_row_and_the_last_of_two_counts() {
        let series = [vec![(1, "a1"), (3, "a3"), (3, "a3'")], vec![(1, "b1"), (2, "b2")], vec![]];
        let mut merged = Merged::new(series.map(Vec::into_iter));
        let (mut row, mut rows) = (Vec::new(), Vec::new());
        while let Some(time) = merged.next_row(&mut row) {
            rows.push((time, row.clone()));
        }
        let expected = vec![(1, vec![(0, "a1"), (1, "b1")]), (2, vec![(1, "b2")]), (3, vec![(0, "a3'")])];
        assert_eq!(rows, expected);
        assert_eq!(merged.next_row(&mut row), None);
    }
}
