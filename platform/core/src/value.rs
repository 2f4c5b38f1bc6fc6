//! What a metric can be.

/// The type a device declared for a metric. SPEC §6.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ValueType {
    /// IEEE 754 double.
    F64,
    /// IEEE 754 single; stored as the double of the same value.
    F32,
    /// Signed integer.
    I64,
    /// True or false.
    Bool,
    /// UTF-8 text of at most 4,096 bytes.
    Text,
}

/// What may replace what: a metric keeps the class under which it was first stored. SPEC §6.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ValueClass {
    /// f64, f32 and i64.
    Number,
    /// bool.
    Bool,
    /// text.
    Text,
}

impl ValueType {
    /// Every type, in the order of their numbers on the wire and in the store.
    pub const ALL: [Self; 5] = [Self::F64, Self::F32, Self::I64, Self::Bool, Self::Text];

    /// The class this type belongs to.
    pub fn class(self) -> ValueClass {
        match self {
            Self::F64 | Self::F32 | Self::I64 => ValueClass::Number,
            Self::Bool => ValueClass::Bool,
            Self::Text => ValueClass::Text,
        }
    }

    /// The name used in JSON and in texts.
    pub fn name(self) -> &'static str {
        match self {
            Self::F64 => "f64",
            Self::F32 => "f32",
            Self::I64 => "i64",
            Self::Bool => "bool",
            Self::Text => "text",
        }
    }

    /// The number used on the wire (SPEC §6.1) and in the store.
    pub fn number(self) -> u8 {
        self as u8
    }

    /// The type with this number, if there is one.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }
}

/// One reading.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// f64, or an f32 widened.
    F64(f64),
    /// i64.
    I64(i64),
    /// bool.
    Bool(bool),
    /// text.
    Text(Box<str>),
}

impl Value {
    /// The value as a number, for charts and numeric aggregates: bool is 0 or 1, an i64 beyond ±2⁵³ is rounded, text has
    /// none.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::F64(v) => Some(*v),
            // Rounding is stated in the contract above.
            #[allow(clippy::cast_precision_loss)]
            Self::I64(v) => Some(*v as f64),
            Self::Bool(v) => Some(f64::from(u8::from(*v))),
            Self::Text(_) => None,
        }
    }

    /// Equality of bits: NaN equals the same NaN, and 0.0 differs from -0.0.
    pub fn same_bits(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::F64(a), Self::F64(b)) => a.to_bits() == b.to_bits(),
            (a, b) => a == b,
        }
    }
}
