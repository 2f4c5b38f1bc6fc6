//! A sum of doubles without rounding.
//!
//! A window adds and takes away samples for months. Floating point addition would leave a remainder of every sample that
//! ever passed, and the result would depend on what came before and on when the state was last read back. This sum is a
//! fixed-point number wide enough for every double, so taking away undoes adding exactly, and only the answer is rounded.

/// Bits from the smallest double, 2^-1074, to the sum of thousands of the largest.
const LIMBS: usize = 68;
const LIMB_BITS: usize = 32;

/// An exact sum of at most 2^30 doubles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ExactSum {
    // Each holds 32 bits of every addend, so it stays within 64 bits without carrying: what is added and taken away cancels.
    limbs: [i64; LIMBS],
    infinite_above: u32,
    infinite_below: u32,
    nan: u32,
}

impl Default for ExactSum {
    fn default() -> Self {
        Self { limbs: [0; LIMBS], infinite_above: 0, infinite_below: 0, nan: 0 }
    }
}

impl ExactSum {
    pub fn add(&mut self, value: f64) {
        self.count(value, 1);
    }

    /// `value` was added before.
    pub fn take_away(&mut self, value: f64) {
        self.count(value, -1);
    }

    fn count(&mut self, value: f64, sign: i64) {
        if !value.is_finite() {
            let counter = match value {
                v if v.is_nan() => &mut self.nan,
                v if v > 0.0 => &mut self.infinite_above,
                _ => &mut self.infinite_below,
            };
            *counter = if sign > 0 { counter.saturating_add(1) } else { counter.saturating_sub(1) };
            return;
        }
        let bits = value.to_bits();
        let sign = if value.is_sign_negative() { -sign } else { sign };
        let fraction = bits & ((1 << 52) - 1);
        let exponent = (bits >> 52) & 0x7ff;
        // Subnormals have the exponent of the smallest normals and no leading one.
        let (mantissa, shift) = if exponent == 0 { (fraction, 0) } else { (fraction | 1 << 52, exponent - 1) };
        #[allow(clippy::cast_possible_truncation)] // below 2046
        let shift = shift as usize;
        let mut wide = u128::from(mantissa) << (shift % LIMB_BITS);
        for limb in self.limbs.iter_mut().skip(shift / LIMB_BITS).take(3) {
            #[allow(clippy::cast_possible_truncation)] // 32 bits
            let part = (wide & 0xffff_ffff) as i64;
            *limb += sign * part;
            wide >>= LIMB_BITS;
        }
    }

    /// The sum, rounded once to the nearest double (ties to even). NaN if a NaN is in it or both infinities are.
    pub fn value(&self) -> f64 {
        match (self.nan, self.infinite_above, self.infinite_below) {
            (0, 0, 0) => {}
            (0, _, 0) => return f64::INFINITY,
            (0, 0, _) => return f64::NEG_INFINITY,
            _ => return f64::NAN,
        }
        let mut carried = self.limbs;
        let negative = carry(&mut carried) < 0;
        if negative {
            carried = self.limbs.map(|limb| -limb);
            carry(&mut carried);
        }
        let magnitude = rounded(&carried);
        if negative { -magnitude } else { magnitude }
    }
}

/// Brings every limb to 0..2^32 and returns what is left above the highest.
fn carry(limbs: &mut [i64; LIMBS]) -> i64 {
    let mut carry = 0;
    for limb in limbs {
        let whole = *limb + carry;
        *limb = whole & 0xffff_ffff;
        carry = whole >> LIMB_BITS;
    }
    carry
}

fn rounded(limbs: &[i64; LIMBS]) -> f64 {
    let Some(top) = limbs.iter().rposition(|limb| *limb != 0) else { return 0.0 };
    // The three highest limbs have at least 65 bits; whatever is below only matters as "more than nothing".
    let lowest = top.saturating_sub(2);
    #[allow(clippy::cast_sign_loss)] // carried limbs are not negative
    let mut bits = limbs[lowest..=top].iter().rev().fold(0_u128, |bits, limb| bits << LIMB_BITS | *limb as u128);
    if limbs[..lowest].iter().any(|limb| *limb != 0) {
        bits |= 1;
    }
    // The bits count units of 2^(32·lowest − 1074). A subnormal has fewer digits, so it must not be rounded twice.
    let length = 128 - bits.leading_zeros() as usize;
    let unit = LIMB_BITS * lowest;
    let dropped = length.saturating_sub(53);
    let mut kept = bits >> dropped;
    if dropped > 0 {
        let half = 1_u128 << (dropped - 1);
        let rest = bits & ((1 << dropped) - 1);
        if rest > half || (rest == half && kept & 1 == 1) {
            kept += 1;
        }
    }
    // `kept` ≤ 2^53 counts units of 2^(unit + dropped − 1074): exact as a double and exact when scaled, unless too large.
    #[allow(clippy::cast_precision_loss)]
    let kept = kept as f64;
    let mut scale = unit + dropped;
    let mut value = kept;
    let mut step = f64::from_bits(1);
    // In steps, since 2^scale alone may be beyond a double. Each is exact unless the sum itself is too large.
    loop {
        let part = scale.min(1000);
        value *= step * power_of_two(part);
        step = 1.0;
        scale -= part;
        if scale == 0 {
            return value;
        }
    }
}

/// 2^exponent, for exponents up to 1000.
fn power_of_two(exponent: usize) -> f64 {
    f64::from_bits((exponent as u64 + 1023) << 52)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sum(values: &[f64]) -> f64 {
        let mut sum = ExactSum::default();
        values.iter().for_each(|value| sum.add(*value));
        sum.value()
    }

    /// Shewchuk's partial sums as in Python's fsum: another way to the correctly rounded sum.
    fn shewchuk(values: &[f64]) -> f64 {
        let mut partials: Vec<f64> = Vec::new();
        for &value in values {
            let mut x = value;
            let mut kept = Vec::new();
            for &partial in &partials {
                let (large, small) = if x.abs() < partial.abs() { (partial, x) } else { (x, partial) };
                let high = large + small;
                let low = small - (high - large);
                if low != 0.0 {
                    kept.push(low);
                }
                x = high;
            }
            kept.push(x);
            partials = kept;
        }
        let mut rest = partials;
        let Some(mut high) = rest.pop() else { return 0.0 };
        let mut low = 0.0;
        while let Some(partial) = rest.pop() {
            let x = high;
            high = x + partial;
            low = partial - (high - x);
            if low != 0.0 {
                break;
            }
        }
        if let Some(next) = rest.last()
            && ((low < 0.0 && *next < 0.0) || (low > 0.0 && *next > 0.0))
        {
            let twice = low * 2.0;
            let x = high + twice;
            if x - high == twice {
                high = x;
            }
        }
        high
    }

    #[test]
    fn what_floating_point_loses_is_kept() {
        assert_eq!(sum(&[1e100, 1.0, -1e100]), 1.0);
        assert_eq!(sum(&[0.1; 10]), 1.0);
        assert_eq!(sum(&[f64::MAX, f64::MAX, -f64::MAX]), f64::MAX);
        assert_eq!(sum(&[f64::MAX, f64::MAX]), f64::INFINITY);
        assert_eq!(sum(&[5e-324, 5e-324]), 1e-323);
        assert_eq!(sum(&[f64::MIN_POSITIVE, -5e-324]), f64::MIN_POSITIVE - 5e-324);
        assert_eq!(sum(&[1.0, 2f64.powi(-53)]), 1.0);
        assert_eq!(sum(&[1.0, 2f64.powi(-53), 5e-324]), 1.0 + 2f64.powi(-52));
        assert_eq!(sum(&[-1.0, -2f64.powi(-53), -5e-324]), -1.0 - 2f64.powi(-52));
        assert_eq!(sum(&[f64::INFINITY, 1.0]), f64::INFINITY);
        assert!(sum(&[f64::INFINITY, f64::NEG_INFINITY]).is_nan());
        assert_eq!(sum(&[]), 0.0);
    }

    proptest! {
        #[test]
        fn it_is_the_correctly_rounded_sum_and_forgets_what_is_taken_away(
            values in prop::collection::vec(prop_oneof![-1e6..1e6, -1e-300..1e-300, -1e300..1e300, any::<f32>().prop_filter("finite", |f| f.is_finite()).prop_map(f64::from)], 0..60),
            passing in prop::collection::vec(any::<f64>(), 0..60),
        ) {
            let mut exact = ExactSum::default();
            passing.iter().for_each(|value| exact.add(*value));
            values.iter().for_each(|value| exact.add(*value));
            passing.iter().for_each(|value| exact.take_away(*value));
            prop_assert_eq!(exact.value(), shewchuk(&values));
            prop_assert_eq!(exact.value().to_bits() << 1, sum(&values).to_bits() << 1);
        }
    }
}
