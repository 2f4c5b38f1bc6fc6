//! Comparisons with a threshold.

/// How a value is compared with a threshold. Numbers are those of SPEC §9.12.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Comparison {
    /// `>`
    Above = 0,
    /// `>=`
    AtLeast = 1,
    /// `<`
    Below = 2,
    /// `<=`
    AtMost = 3,
}

impl Comparison {
    /// Every comparison, by number.
    pub const ALL: [Self; 4] = [Self::Above, Self::AtLeast, Self::Below, Self::AtMost];

    /// As people write it.
    pub fn sign(self) -> &'static str {
        match self {
            Self::Above => ">",
            Self::AtLeast => ">=",
            Self::Below => "<",
            Self::AtMost => "<=",
        }
    }

    /// The comparison written so.
    pub fn from_sign(sign: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|c| c.sign() == sign)
    }

    /// Whether the comparison holds. NaN holds nothing.
    pub fn holds(self, value: f64, threshold: f64) -> bool {
        match self {
            Self::Above => value > threshold,
            Self::AtLeast => value >= threshold,
            Self::Below => value < threshold,
            Self::AtMost => value <= threshold,
        }
    }

    /// True if larger values are worse.
    pub fn looks_up(self) -> bool {
        matches!(self, Self::Above | Self::AtLeast)
    }
}

impl Comparison {
    /// The comparison that holds exactly when this one does not.
    pub fn opposite(self) -> Self {
        match self {
            Self::Above => Self::AtMost,
            Self::AtLeast => Self::Below,
            Self::Below => Self::AtLeast,
            Self::AtMost => Self::Above,
        }
    }

    /// The comparison with its sides changed: `80 < temp` is `temp > 80`.
    pub fn turned(self) -> Self {
        match self {
            Self::Above => Self::Below,
            Self::AtLeast => Self::AtMost,
            Self::Below => Self::Above,
            Self::AtMost => Self::AtLeast,
        }
    }
}
