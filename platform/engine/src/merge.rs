//! One series from several places: pieces in order of time, and of two values at one time the later written.

use crate::heads::{Order, Part, Table};
use pulsewire_core::block::ValueRef;
use pulsewire_core::value::ValueType;
use std::ops::ControlFlow;

/// Rank of rows in memory: after every chunk. Those that are being sealed come before those that came since.
pub(crate) const SEALING: i64 = i64::MAX - 1;
pub(crate) const HEAD: i64 = i64::MAX;

/// Values of one series from one place, by ascending time.
#[derive(Debug, Clone, Default)]
pub(crate) struct Piece {
    pub(crate) times: Vec<i64>,
    pub(crate) cells: Vec<u64>,
    pub(crate) texts: Vec<Box<str>>,
    pub(crate) value_type: Option<ValueType>,
    // The later of two pieces has the higher rank; of one rank the orders decide.
    pub(crate) rank: i64,
    pub(crate) orders: Vec<Order>,
}

impl Piece {
    /// The rows of a part that have a value in a column, with `from_us <= time < to_us`.
    pub fn of_part(table: &Table, part: &Part, column: usize, rank: i64, from_us: i64, to_us: i64) -> Self {
        if from_us >= to_us {
            // Nothing is asked for; many rows may wait.
            return Self { value_type: table.set.types.get(column).copied(), rank, ..Self::default() };
        }
        let rows = &part.rows;
        let inside = |row: &usize| (from_us..to_us).contains(&rows.times()[*row]) && rows.has(*row, column);
        let mut picked: Vec<usize> = (0..rows.len()).filter(inside).collect();
        if !picked.is_sorted_by_key(|row| rows.times()[*row]) {
            picked.sort_by_key(|row| rows.times()[*row]);
        }
        let mut piece = Self { value_type: table.set.types.get(column).copied(), rank, ..Self::default() };
        let is_text = piece.value_type == Some(ValueType::Text);
        for row in picked {
            let mut cell = rows.cells()[row * rows.width() + column];
            if is_text {
                let text = usize::try_from(cell).ok().and_then(|at| rows.texts().get(at)).cloned();
                cell = piece.texts.len() as u64;
                piece.texts.push(text.unwrap_or_default());
            }
            if piece.times.last() == Some(&rows.times()[row]) {
                piece.times.pop();
                piece.cells.pop();
                piece.orders.pop();
            }
            piece.times.push(rows.times()[row]);
            piece.cells.push(cell);
            if !part.marks.is_empty() {
                piece.orders.push(part.order_of(row));
            }
        }
        piece
    }

    /// A decoded column of a chunk, cut to `from_us <= time < to_us`.
    pub fn of_column(times: &[i64], column: pulsewire_chunk::Column, rank: i64, from_us: i64, to_us: i64) -> Self {
        let rows = times.partition_point(|t| *t < from_us)..times.partition_point(|t| *t < to_us);
        let value_type = ValueType::from_number(column.kind.number());
        let mut piece = Self { value_type, rank, texts: column.texts, ..Self::default() };
        match column.present {
            None => {
                piece.times = times[rows.clone()].to_vec();
                piece.cells = column.cells.get(rows).unwrap_or_default().to_vec();
            }
            Some(present) => {
                for row in rows.filter(|row| present.get(*row) == Some(&true)) {
                    piece.times.push(times[row]);
                    piece.cells.push(column.cells.get(row).copied().unwrap_or(0));
                }
            }
        }
        piece
    }

    pub(crate) fn value(&self, row: usize) -> ValueRef<'_> {
        let cell = self.cells[row];
        match self.value_type.unwrap_or(ValueType::F64) {
            ValueType::F64 | ValueType::F32 => ValueRef::F64(f64::from_bits(cell)),
            ValueType::I64 => ValueRef::I64(cell.cast_signed()),
            ValueType::Bool => ValueRef::Bool(cell != 0),
            ValueType::Text => {
                ValueRef::Text(usize::try_from(cell).ok().and_then(|at| self.texts.get(at)).map_or("", |t| t))
            }
        }
    }
}

/// Goes over the values of some pieces in order of time until it is told to stop.
pub(crate) fn visit(pieces: &[Piece], each: &mut dyn FnMut(i64, ValueRef<'_>) -> ControlFlow<()>) -> ControlFlow<()> {
    if let [piece] = pieces {
        return (0..piece.times.len()).try_for_each(|row| each(piece.times[row], piece.value(row)));
    }
    let mut all: Vec<(i64, i64, Order, u32, u32)> = Vec::with_capacity(pieces.iter().map(|p| p.times.len()).sum());
    for (at, piece) in pieces.iter().enumerate() {
        let rows = piece.times.iter().enumerate();
        all.extend(rows.map(|(row, time)| {
            let order = piece.orders.get(row).copied().unwrap_or_default();
            (*time, piece.rank, order, at as u32, row as u32)
        }));
    }
    all.sort_unstable();
    for (n, (time, _, _, at, row)) in all.iter().enumerate() {
        // Of one time the last written stands last.
        if all.get(n + 1).is_none_or(|next| next.0 != *time) {
            each(*time, pieces[*at as usize].value(*row as usize))?;
        }
    }
    ControlFlow::Continue(())
}
