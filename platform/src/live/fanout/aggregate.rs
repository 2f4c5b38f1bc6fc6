//! What many numbers become: those of an interval, or of many devices. Pure.

/// How samples become what a view sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fold {
    /// Smallest.
    Min,
    /// Largest.
    Max,
    /// Arithmetic mean.
    Avg,
    /// Sum.
    Sum,
    /// How many.
    Count,
    /// The least value that at least 95 of 100 do not exceed.
    P95,
}

/// Numbers on their way to one result.
#[derive(Debug, Clone, Default)]
pub struct Folding {
    count: u64,
    numbers: u64,
    sum: f64,
    min: f64,
    max: f64,
    newest_us: i64,
    // For the percentile only.
    values: Vec<f64>,
    cut: bool,
}

impl Folding {
    /// Adds one. `keep` is how many values may be kept for a percentile, but one always is: of none there is no percentile. Further
    /// ones are left out and told by [`Folding::is_cut`].
    pub fn add(&mut self, fold: Fold, time_us: i64, value: f64, keep: usize) {
        self.newest_us = if self.count == 0 { time_us } else { self.newest_us.max(time_us) };
        self.count += 1;
        if value.is_nan() {
            return;
        }
        if self.numbers == 0 {
            (self.min, self.max, self.sum) = (value, value, 0.0);
        }
        self.numbers += 1;
        self.min = self.min.min(value);
        self.max = self.max.max(value);
        self.sum += value;
        if fold == Fold::P95 {
            if self.values.len() < keep.max(1) {
                self.values.push(value);
            } else {
                self.cut = true;
            }
        }
    }

    /// True if nothing was added.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Values kept for a percentile.
    pub fn kept(&self) -> usize {
        self.values.len()
    }

    /// True if values were left out of the percentile.
    pub fn is_cut(&self) -> bool {
        self.cut
    }

    /// Time of the newest and the result, NaN if there was no number; then it is empty again.
    pub fn take(&mut self, fold: Fold) -> (i64, f64) {
        // Counts stay far below 2^53.
        #[allow(clippy::cast_precision_loss)]
        let result = match fold {
            Fold::Count => self.count as f64,
            _ if self.numbers == 0 => f64::NAN,
            Fold::Min => self.min,
            Fold::Max => self.max,
            Fold::Sum => self.sum,
            Fold::Avg => self.sum / self.numbers as f64,
            Fold::P95 => percentile(&mut self.values, 95),
        };
        let newest_us = self.newest_us;
        self.values.clear();
        self.values.shrink_to(64);
        *self = Self { values: std::mem::take(&mut self.values), ..Self::default() };
        (newest_us, result)
    }
}

/// The least value that at least `percent` of 100 of the values do not exceed; NaN without values.
fn percentile(values: &mut [f64], percent: usize) -> f64 {
    let Some(rank) = (values.len() * percent).div_ceil(100).checked_sub(1) else { return f64::NAN };
    *values.select_nth_unstable_by(rank, f64::total_cmp).1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fold(fold: Fold, values: &[f64]) -> f64 {
        let mut folding = Folding::default();
        values.iter().for_each(|value| folding.add(fold, 1, *value, 1000));
        folding.take(fold).1
    }

    #[test]
    fn each_fold_is_what_its_name_says() {
        let values = [3.0, -1.0, 4.0, 2.0];
        let results = [Fold::Min, Fold::Max, Fold::Avg, Fold::Sum, Fold::Count].map(|f| fold(f, &values));
        assert_eq!(results, [-1.0, 4.0, 2.0, 8.0, 4.0]);
        let hundred: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!(fold(Fold::P95, &hundred), 95.0);
        assert_eq!(fold(Fold::P95, &[7.0]), 7.0);
        assert_eq!(fold(Fold::P95, &[1.0, 2.0]), 2.0);
    }

    #[test]
    fn nan_counts_and_nothing_else() {
        assert_eq!(fold(Fold::Count, &[f64::NAN, 1.0]), 2.0);
        assert_eq!(fold(Fold::Avg, &[f64::NAN, 1.0]), 1.0);
        assert!(fold(Fold::Max, &[f64::NAN]).is_nan());
    }

    #[test]
    fn the_time_is_that_of_the_newest_and_taking_begins_anew() {
        let mut folding = Folding::default();
        folding.add(Fold::P95, 5, 1.0, 1);
        folding.add(Fold::P95, 3, 9.0, 1);
        assert!(folding.is_cut(), "the second value had no room");
        assert_eq!(folding.take(Fold::P95), (5, 1.0));
        assert!(folding.is_empty() && !folding.is_cut() && folding.kept() == 0);
        folding.add(Fold::Sum, -7, 2.0, 1);
        assert_eq!(folding.take(Fold::Sum), (-7, 2.0));
        // Others have taken all the room.
        folding.add(Fold::P95, 1, 3.0, 0);
        folding.add(Fold::P95, 2, 8.0, 0);
        assert!(folding.is_cut());
        assert_eq!(folding.take(Fold::P95), (2, 3.0));
    }
}
