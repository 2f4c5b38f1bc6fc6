//! What can be wrong with rows to encode, and with bytes to decode.

use crate::{COLUMNS_MAX, ROWS_MAX, TEXT_BYTES_MAX, VERSION};

/// Why rows cannot become a chunk. Each is a mistake of the caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// No row, or more than [`ROWS_MAX`].
    #[error("a chunk has 1 to {ROWS_MAX} rows, not {0}")]
    Rows(usize),
    /// No column, or more than [`COLUMNS_MAX`].
    #[error("a chunk has 1 to {COLUMNS_MAX} columns, not {0}")]
    Columns(usize),
    /// A time is not later than the one before it; the index is that of the later row.
    #[error("the time of row {0} is not later than that of the row before")]
    NotAscending(usize),
    /// Cells or presences are not one per row.
    #[error("series {series}: {got} cells or presences for {rows} rows")]
    Length {
        /// The column.
        series: u32,
        /// How many there are.
        got: usize,
        /// How many there should be.
        rows: usize,
    },
    /// One series twice.
    #[error("series {0} is there twice")]
    Twice(u32),
    /// A boolean that is neither 0 nor 1, or a text's index outside its texts.
    #[error("series {series}, row {row}: the cell is outside its kind's range")]
    Cell {
        /// The column.
        series: u32,
        /// The row.
        row: usize,
    },
    /// A text longer than [`TEXT_BYTES_MAX`].
    #[error("series {series}: a text of {bytes} bytes; at most {TEXT_BYTES_MAX} are allowed")]
    Text {
        /// The column.
        series: u32,
        /// Its length.
        bytes: usize,
    },
}

/// Why bytes are not a chunk, or not a whole one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The first two bytes are not those of a chunk.
    #[error("these bytes do not begin like a chunk")]
    Magic,
    /// Written by a later version of this crate.
    #[error("the chunk has layout version {0}; this program reads version {VERSION}")]
    Version(u8),
    /// The bytes are not those that were written.
    #[error("the chunk's checksum does not match its bytes")]
    Checksum,
    /// The bytes end within a field.
    #[error("the chunk ends within its {0}")]
    Short(&'static str),
    /// A field has a value that no encoder writes.
    #[error("the chunk is damaged: {0}")]
    Damaged(&'static str),
}
