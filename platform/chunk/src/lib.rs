//! Columns of samples of one device, as bytes and back.
//!
//! A *chunk* holds up to [`ROWS_MAX`] rows of one device: one column of timestamps and any number of columns of values that
//! share them. Values come back bit for bit, NaN payloads and signs of zero included. `FORMAT.md` beside this crate describes
//! the bytes; golden vectors in the tests keep them from changing unnoticed.
//!
//! ```
//! use pulsewire_chunk::{ChunkReader, ColumnIn, Kind, LEVEL_DEFAULT, encode};
//!
//! let times = [1_000_000, 2_000_000, 3_000_000];
//! let cells = [21.5f64.to_bits(), 21.6f64.to_bits(), 21.6f64.to_bits()];
//! let bytes = encode(&times, &[ColumnIn::numbers(7, Kind::F64, &cells)], LEVEL_DEFAULT)?;
//! let chunk = ChunkReader::open(&bytes)?;
//! assert_eq!(chunk.times()?, times);
//! assert_eq!(chunk.column(7)?.map(|column| column.cells), Some(cells.to_vec()));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Everything here is a pure function of its arguments. Bytes may come from a damaged disk: nothing panics on them, and no
//! allocation is larger than the limits of this page allow, even if the checksum is right.

mod bits;
mod bools;
mod column;
mod encode;
mod error;
mod floats;
mod ints;
mod packed;
mod reader;
mod times;
mod wire;

pub use column::{Column, ColumnIn, Kind};
pub use encode::encode;
pub use error::{DecodeError, EncodeError};
pub use reader::{ChunkReader, SeriesInfo};

/// Rows of one chunk at most.
pub const ROWS_MAX: usize = 65_536;
/// Columns of one chunk at most.
pub const COLUMNS_MAX: usize = 8_192;
/// Bytes of one text at most, as on the wire.
pub const TEXT_BYTES_MAX: usize = 4_096;
/// Highest level of [`encode`].
pub const LEVEL_MAX: u8 = 12;
/// Where more effort stops paying: in chunks of 4,096 rows of recorded telemetry level 4 is 1 % to 12 % larger and up
/// to 40 % faster, level 8 at most 4 % smaller and, where values are noise, half as fast. `examples/table.rs` measures it.
pub const LEVEL_DEFAULT: u8 = 6;
/// Version of the layout; the third byte of every chunk.
pub const VERSION: u8 = 1;
