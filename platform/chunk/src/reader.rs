//! From bytes to rows.

use xxhash_rust::xxh3::xxh3_64;

use crate::encode::{head, seal};
use crate::wire::{Bytes, put_varint};
use crate::{COLUMNS_MAX, Column, DecodeError, Kind, ROWS_MAX, TEXT_BYTES_MAX, VERSION, bools, floats, ints, times};

/// The first two bytes of every chunk.
pub const MAGIC: [u8; 2] = [0xC5, 0x4B];
/// Of a directory entry: not every row has a value; their count follows.
pub const FLAG_SPARSE: u8 = 0x08;
/// Of a directory entry: smallest and largest value follow.
pub const FLAG_STATISTICS: u8 = 0x10;
/// Of a directory entry: they are the same, and stand there once.
pub const FLAG_ONE_VALUE: u8 = 0x20;
const KIND_MASK: u8 = 0x07;

/// What is known of a column without decoding it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SeriesInfo {
    /// Which series.
    pub series: u32,
    /// What its cells mean.
    pub kind: Kind,
    /// Rows that have a value.
    pub count: usize,
    /// Smallest and largest value, NaN left out; an i64 is rounded to the nearest double. None for texts, and if there is no
    /// value but NaN.
    pub bounds: Option<(f64, f64)>,
    /// Bytes of its body.
    pub bytes: usize,
}

/// Where an entry stands in the directory and its body among the bodies.
#[derive(Debug, Clone, Copy)]
struct Place<'a> {
    /// The entry without its first field, the distance to the series before.
    entry: &'a [u8],
    body: &'a [u8],
}

/// A chunk whose checksum is right and whose directory has been read. Columns are decoded when they are asked for.
#[derive(Debug, Clone)]
pub struct ChunkReader<'a> {
    rows: usize,
    first: i64,
    last: i64,
    times: &'a [u8],
    series: Vec<SeriesInfo>,
    places: Vec<Place<'a>>,
}

impl<'a> ChunkReader<'a> {
    /// Checks the bytes and reads what stands before the columns.
    ///
    /// # Errors
    /// [`DecodeError`]; a chunk cut short or with any byte changed is refused here, by its checksum.
    pub fn open(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut fields = Bytes(bytes);
        if fields.take(MAGIC.len(), "magic")? != MAGIC {
            return Err(DecodeError::Magic);
        }
        let version = fields.u8("version")?;
        if version != VERSION {
            return Err(DecodeError::Version(version));
        }
        let (content, sum) = bytes.split_last_chunk::<8>().ok_or(DecodeError::Short("checksum"))?;
        if xxh3_64(content) != u64::from_le_bytes(*sum) {
            return Err(DecodeError::Checksum);
        }
        let mut fields = Bytes(content);
        fields.take(MAGIC.len() + 1, "magic")?;
        let rows = fields.count(ROWS_MAX, "number of rows")?;
        let first = fields.signed("first time")?;
        let last = first.wrapping_add(fields.varint("last time")? as i64);
        let columns = fields.count(COLUMNS_MAX, "number of columns")?;
        if rows == 0 || columns == 0 || last < first {
            return Err(DecodeError::Damaged("header"));
        }
        let times_len = fields.count(content.len(), "length of the timestamps")?;

        // An entry takes three bytes at the least: what is reserved is in proportion to the bytes that are there.
        let mut series = Vec::with_capacity(columns.min(content.len() / 3));
        let mut places = Vec::with_capacity(series.capacity());
        let mut before: Option<u32> = None;
        for _ in 0..columns {
            let distance = fields.varint("directory")?;
            let number = u64::from(before.unwrap_or(0)).checked_add(distance).and_then(|n| u32::try_from(n).ok());
            let number = number.filter(|n| before.is_none_or(|before| *n > before));
            let number = number.ok_or(DecodeError::Damaged("directory"))?;
            before = Some(number);
            let entry = fields.0;
            series.push(entry_of(&mut fields, number, rows, content.len())?);
            places.push(Place { entry: entry.get(..entry.len() - fields.0.len()).unwrap_or_default(), body: &[] });
        }
        let times = fields.take(times_len, "timestamps")?;
        for (info, place) in series.iter().zip(&mut places) {
            place.body = fields.take(info.bytes, "columns")?;
        }
        fields.end("bytes after the last column")?;
        Ok(Self { rows, first, last, times, series, places })
    }

    /// How many rows there are: 1 to [`ROWS_MAX`].
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Time of the first row, microseconds since the Unix epoch.
    pub fn first(&self) -> i64 {
        self.first
    }

    /// Time of the last row.
    pub fn last(&self) -> i64 {
        self.last
    }

    /// The columns, by ascending series.
    pub fn series(&self) -> &[SeriesInfo] {
        &self.series
    }

    /// Bytes of the timestamps.
    pub fn times_bytes(&self) -> usize {
        self.times.len()
    }

    /// The time of every row, strictly ascending.
    ///
    /// # Errors
    /// [`DecodeError`], only for bytes that no encoder wrote.
    pub fn times(&self) -> Result<Vec<i64>, DecodeError> {
        times::take(Bytes(self.times), self.rows, self.first, self.last)
    }

    /// One column; None if the chunk does not have this series.
    ///
    /// # Errors
    /// [`DecodeError`], only for bytes that no encoder wrote.
    pub fn column(&self, series: u32) -> Result<Option<Column>, DecodeError> {
        let Ok(index) = self.series.binary_search_by_key(&series, |info| info.series) else { return Ok(None) };
        match (self.series.get(index), self.places.get(index)) {
            (Some(info), Some(place)) => self.decode(info, Bytes(place.body)).map(Some),
            _ => Ok(None),
        }
    }

    /// The same chunk without some columns, the others copied as they are; None if no column is left.
    ///
    /// All rows and their times stay, also those in which no column is left with a value.
    pub fn without(&self, series: &[u32]) -> Option<Vec<u8>> {
        let kept: Vec<_> =
            self.series.iter().zip(&self.places).filter(|(info, _)| !series.contains(&info.series)).collect();
        if kept.is_empty() {
            return None;
        }
        let mut out = head(self.rows, self.first, self.last, kept.len(), self.times.len());
        let mut before = 0;
        for (info, place) in &kept {
            put_varint(&mut out, u64::from(info.series - before));
            before = info.series;
            out.extend_from_slice(place.entry);
        }
        out.extend_from_slice(self.times);
        for (_, place) in &kept {
            out.extend_from_slice(place.body);
        }
        Some(seal(out))
    }

    fn decode(&self, info: &SeriesInfo, mut body: Bytes) -> Result<Column, DecodeError> {
        let mut present = None;
        if info.count < self.rows && info.count > 0 {
            let flags = bools::take(&mut body, self.rows)?;
            if flags.iter().filter(|flag| **flag).count() != info.count {
                return Err(DecodeError::Damaged("presence"));
            }
            present = Some(flags);
        } else if info.count == 0 {
            present = Some(vec![false; self.rows]);
        }
        let mut texts = Vec::new();
        let there = match info.kind {
            Kind::F64 | Kind::F32 => floats::take(&mut body, info.count)?,
            Kind::I64 => ints::take(&mut body, info.count)?.into_iter().map(|number| number as u64).collect(),
            Kind::Bool => bools::take(&mut body, info.count)?.into_iter().map(u64::from).collect(),
            Kind::Text => take_texts(&mut body, info.count, &mut texts)?,
        };
        body.end("bytes after a column")?;
        let cells = match &present {
            None => there,
            Some(present) => {
                let mut there = there.into_iter();
                present.iter().map(|flag| if *flag { there.next().unwrap_or_default() } else { 0 }).collect()
            }
        };
        Ok(Column { kind: info.kind, cells, present, texts })
    }
}

fn entry_of(fields: &mut Bytes, series: u32, rows: usize, bytes_max: usize) -> Result<SeriesInfo, DecodeError> {
    const WHAT: &str = "directory";
    let flags = fields.u8(WHAT)?;
    let kind = Kind::from_number(flags & KIND_MASK).ok_or(DecodeError::Damaged(WHAT))?;
    if flags & !(KIND_MASK | FLAG_SPARSE | FLAG_STATISTICS | FLAG_ONE_VALUE) != 0 {
        return Err(DecodeError::Damaged(WHAT));
    }
    let count = if flags & FLAG_SPARSE == 0 { rows } else { fields.count(rows - 1, WHAT)? };
    let bounds = if flags & FLAG_STATISTICS == 0 {
        None
    } else {
        let min = fields.number(WHAT)?;
        Some((min, if flags & FLAG_ONE_VALUE == 0 { fields.number(WHAT)? } else { min }))
    };
    let bytes = fields.count(bytes_max, WHAT)?;
    Ok(SeriesInfo { series, kind, count, bounds, bytes })
}

fn take_texts(body: &mut Bytes, count: usize, texts: &mut Vec<Box<str>>) -> Result<Vec<u64>, DecodeError> {
    const WHAT: &str = "texts";
    if count == 0 {
        return Ok(Vec::new());
    }
    let known = body.count(count, WHAT)?;
    for _ in 0..known {
        let len = body.count(TEXT_BYTES_MAX, WHAT)?;
        let text = std::str::from_utf8(body.take(len, WHAT)?).map_err(|_| DecodeError::Damaged(WHAT))?;
        texts.push(text.into());
    }
    let index = |index: i64| u64::try_from(index).ok().filter(|index| *index < known as u64);
    let indexes: Option<_> = ints::take(body, count)?.into_iter().map(index).collect();
    indexes.ok_or(DecodeError::Damaged(WHAT))
}
