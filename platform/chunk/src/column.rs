//! Columns as callers give and get them.

/// What the cells of a column mean. The numbers 0 to 4 are those of the wire and of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// Bits of a double.
    F64 = 0,
    /// Bits of a double that was a single; any double is kept all the same.
    F32 = 1,
    /// A signed integer's two's complement.
    I64 = 2,
    /// 0 or 1.
    Bool = 3,
    /// Index into the column's texts.
    Text = 4,
}

impl Kind {
    /// The kind with this number, if there is one.
    pub fn from_number(number: u8) -> Option<Self> {
        [Self::F64, Self::F32, Self::I64, Self::Bool, Self::Text].get(usize::from(number)).copied()
    }

    /// The number of the wire and of the store.
    pub fn number(self) -> u8 {
        self as u8
    }

    /// A cell as the number by which it is compared: texts have none.
    pub fn number_of(self, cell: u64) -> Option<f64> {
        match self {
            Self::F64 | Self::F32 => Some(f64::from_bits(cell)),
            Self::I64 => Some(cell as i64 as f64),
            Self::Bool => Some(cell as f64),
            Self::Text => None,
        }
    }
}

/// A column to encode.
#[derive(Debug, Clone, Copy)]
pub struct ColumnIn<'a> {
    /// Which series; one column per series in a chunk.
    pub series: u32,
    /// What the cells mean.
    pub kind: Kind,
    /// One cell per row. What stands in an absent row does not matter.
    pub cells: &'a [u64],
    /// Which rows have a value; None: every one.
    pub present: Option<&'a [bool]>,
    /// What the cells of [`Kind::Text`] point into, in any order, repeated or unused ones allowed; empty for other kinds.
    pub texts: &'a [&'a str],
}

impl<'a> ColumnIn<'a> {
    /// A column of any kind but text, with a value in every row.
    pub fn numbers(series: u32, kind: Kind, cells: &'a [u64]) -> Self {
        Self { series, kind, cells, present: None, texts: &[] }
    }
}

/// A decoded column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// What the cells mean.
    pub kind: Kind,
    /// One cell per row, so that cell i belongs to time i; 0 in absent rows.
    pub cells: Vec<u64>,
    /// Which rows have a value; None: every one.
    pub present: Option<Vec<bool>>,
    /// What the cells of [`Kind::Text`] point into: distinct, in the order of their first use.
    pub texts: Vec<Box<str>>,
}

impl Column {
    /// The value's text; None for other kinds, absent rows and rows outside.
    pub fn text(&self, row: usize) -> Option<&str> {
        if self.present.as_ref().is_some_and(|present| present.get(row) != Some(&true)) {
            return None;
        }
        let cell = usize::try_from(*self.cells.get(row)?).ok()?;
        self.texts.get(cell).map(AsRef::as_ref)
    }
}
