//! What the parts of a compiled expression do with their values. Everything here is pure arithmetic.

use super::ast::{Arithmetic, Relation};
use super::function::Function;

/// Three-valued truth, after Kleene: what is not known stays unknown unless the rest decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Truth {
    /// It holds.
    Yes,
    /// It does not hold.
    No,
    /// An input is absent, stale or NaN, or a calculation has no value.
    Unknown,
}

impl Truth {
    pub(super) fn not(self) -> Self {
        match self {
            Self::Yes => Self::No,
            Self::No => Self::Yes,
            Self::Unknown => Self::Unknown,
        }
    }
}

impl std::ops::Not for Truth {
    type Output = Self;

    fn not(self) -> Self {
        Truth::not(self)
    }
}

impl From<bool> for Truth {
    fn from(value: bool) -> Self {
        if value { Self::Yes } else { Self::No }
    }
}

/// How exactly a number is known, for comparing an f32 with what a person wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Grain {
    /// As people write it: from the expression or a tag.
    Written,
    Double,
    /// An f32, unchanged.
    Single,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Number {
    /// Never NaN.
    pub value: f64,
    pub grain: Grain,
}

/// A value while it is calculated with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Cell<'a> {
    Number(Number),
    Bool(bool),
    Text(&'a str),
    Tag(&'a str),
}

/// The number that a text reads as.
pub(super) fn reads_as(text: &str) -> Option<f64> {
    text.trim().parse().ok().filter(|number: &f64| number.is_finite())
}

pub(super) fn written_number(value: f64) -> Number {
    Number { value, grain: Grain::Written }
}

impl Cell<'_> {
    pub fn number(self) -> Option<Number> {
        match self {
            Self::Number(number) => Some(number),
            Self::Bool(value) => Some(Number { value: f64::from(u8::from(value)), grain: Grain::Double }),
            Self::Tag(text) => reads_as(text).map(written_number),
            Self::Text(_) => None,
        }
    }
}

/// The nearest f32, as the f64 of the same value.
pub(super) fn through_f32(value: f64) -> f64 {
    #[allow(clippy::cast_possible_truncation)] // the very point
    f64::from(value as f32)
}

pub(super) fn compare_numbers(relation: Relation, left: Number, right: Number) -> bool {
    match (left.grain, right.grain) {
        (Grain::Single, Grain::Written) => relation.holds(left.value, through_f32(right.value)),
        (Grain::Written, Grain::Single) => relation.holds(through_f32(left.value), right.value),
        _ => relation.holds(left.value, right.value),
    }
}

/// None if the two cannot be compared, as a text and a number.
pub(super) fn compare(relation: Relation, left: Cell<'_>, right: Cell<'_>) -> Option<bool> {
    let texts = match (left, right) {
        (Cell::Text(a), Cell::Text(b) | Cell::Tag(b)) | (Cell::Tag(a), Cell::Text(b)) => Some((a, b)),
        (Cell::Tag(a), Cell::Tag(b)) if reads_as(a).is_none() || reads_as(b).is_none() => Some((a, b)),
        _ => None,
    };
    match (texts, relation) {
        (Some((a, b)), Relation::Equal) => Some(a == b),
        (Some((a, b)), Relation::Different) => Some(a != b),
        (Some(_), Relation::Order(_)) => None,
        (None, _) => Some(compare_numbers(relation, left.number()?, right.number()?)),
    }
}

/// The outcome of a calculation: None if it is not a number, or infinite though no input was.
fn settle(value: f64, inputs: &[f64]) -> Option<f64> {
    let pole = value.is_infinite() && inputs.iter().all(|input| input.is_finite());
    (!value.is_nan() && !pole).then_some(value)
}

pub(super) fn arithmetic(sign: Arithmetic, left: f64, right: f64) -> Option<f64> {
    let value = match sign {
        Arithmetic::Add => left + right,
        Arithmetic::Subtract => left - right,
        Arithmetic::Multiply => left * right,
        Arithmetic::Divide | Arithmetic::Remainder if right == 0.0 => return None,
        Arithmetic::Divide => left / right,
        Arithmetic::Remainder => left % right,
    };
    settle(value, &[left, right])
}

/// A function of numbers; None if it has no value there.
pub(super) fn math(function: Function, inputs: &[Number]) -> Option<Number> {
    let double = |value: f64, all: &[f64]| settle(value, all).map(|value| Number { value, grain: Grain::Double });
    match (function, inputs) {
        // These choose one of their inputs, or only turn its sign, so an f32 stays one.
        (Function::Abs, [x]) => Some(Number { value: x.value.abs(), grain: x.grain }),
        (Function::Min, [a, b]) => Some(if b.value < a.value { *b } else { *a }),
        (Function::Max, [a, b]) => Some(if b.value > a.value { *b } else { *a }),
        (Function::Clamp, [_, low, high]) if low.value > high.value => None,
        (Function::Clamp, [x, low, _]) if x.value < low.value => Some(*low),
        (Function::Clamp, [x, _, high]) if x.value > high.value => Some(*high),
        (Function::Clamp, [x, ..]) => Some(*x),
        (Function::Round, [x]) => double(x.value.round(), &[x.value]),
        (Function::Floor, [x]) => double(x.value.floor(), &[x.value]),
        (Function::Ceil, [x]) => double(x.value.ceil(), &[x.value]),
        (Function::Sqrt, [x]) => double(x.value.sqrt(), &[x.value]),
        (Function::Log, [x]) => double(x.value.ln(), &[x.value]),
        (Function::Pow, [x, y]) => double(x.value.powf(y.value), &[x.value, y.value]),
        (Function::Distance, [lat, lon, to_lat, to_lon]) => {
            let metres = haversine_m([lat.value, lon.value], [to_lat.value, to_lon.value])?;
            Some(Number { value: metres, grain: Grain::Double })
        }
        _ => None,
    }
}

/// Mean radius of the Earth in metres (IUGG).
const EARTH_RADIUS_M: f64 = 6_371_008.8;

/// The way along the globe between two (latitude, longitude) in degrees; None for a place that is not on it.
///
/// A sphere, so up to 0.6 % off: for a fence of 500 m that is 3 m.
pub(super) fn haversine_m(from: [f64; 2], to: [f64; 2]) -> Option<f64> {
    let on_globe = |[lat, lon]: [f64; 2]| lat.abs() <= 90.0 && lon.abs() <= 180.0;
    if !on_globe(from) || !on_globe(to) {
        return None;
    }
    let half_sine = |degrees: f64| (degrees.to_radians() / 2.0).sin().powi(2);
    let along = from[0].to_radians().cos() * to[0].to_radians().cos();
    let chord = half_sine(to[0] - from[0]) + along * half_sine(to[1] - from[1]);
    // Rounding may bring antipodes above 1.
    Some(2.0 * EARTH_RADIUS_M * chord.min(1.0).sqrt().asin())
}
