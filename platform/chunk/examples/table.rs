//! Bytes per sample and speed, on recorded files and on made-up classes of data.
//!
//! `cargo run --release -p pulsewire-chunk --example table -- FOLDER [LEVEL] [ROWS] [columns]`: ROWS per chunk; with a fourth word,
//! also bytes per row of each column.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Instant;

mod data;

use data::{Failure, Table, made_up, read};
use pulsewire_chunk::{ChunkReader, ColumnIn, Kind, LEVEL_DEFAULT, encode};

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or("usage: table FOLDER [LEVEL] [ROWS] [columns]")?;
    let level = arguments.next().map_or(Ok(LEVEL_DEFAULT), |level| level.parse())?;
    let rows = arguments.next().map_or(Ok(4_096), |rows| rows.parse())?;
    let detail = arguments.next().is_some();
    println!("level {level}, chunks of {rows} rows; speeds in millions of values per second on one core");
    println!("{:<46} {:>7} {:>5} {:>8} {:>8} {:>8}", "file", "rows", "cols", "B/sample", "encode", "decode");
    let mut files: Vec<_> = std::fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    files.sort_by_key(std::fs::DirEntry::file_name);
    for file in files {
        if let Some(tables) = read(&file.path())? {
            report(&file.file_name().to_string_lossy(), &tables, level, rows, detail)?;
        }
    }
    for (name, table) in made_up() {
        report(name, &[table], level, rows, detail)?;
    }
    Ok(())
}

fn report(name: &str, tables: &[Table], level: u8, rows: usize, detail: bool) -> Result<(), Failure> {
    let mut chunks = Vec::new();
    let mut values = 0usize;
    for table in tables {
        for from in (0..table.times.len()).step_by(rows) {
            let to = (from + rows).min(table.times.len());
            chunks.push((table, from..to));
            values += (to - from) * table.columns.len();
        }
    }
    let texts: Vec<Vec<Vec<&str>>> = tables
        .iter()
        .map(|table| table.columns.iter().map(|column| column.texts.iter().map(String::as_str).collect()).collect())
        .collect();
    let columns_of = |table: &Table, range: &std::ops::Range<usize>| -> usize {
        debug_assert!(range.end <= table.times.len());
        tables.iter().position(|other| std::ptr::eq(other, table)).unwrap_or_default()
    };
    let encode_all = || -> Result<Vec<Vec<u8>>, Failure> {
        let mut all = Vec::new();
        for (table, range) in &chunks {
            let texts = &texts[columns_of(table, range)];
            let columns: Vec<ColumnIn> = (0..)
                .zip(table.columns.iter().zip(texts))
                .map(|(series, (column, texts))| ColumnIn {
                    series,
                    kind: column.kind,
                    cells: &column.cells[range.clone()],
                    present: None,
                    texts,
                })
                .collect();
            all.push(encode(&table.times[range.clone()], &columns, level)?);
        }
        Ok(all)
    };
    let encoded = encode_all()?;
    let decode_all = || -> Result<(), Failure> {
        for bytes in &encoded {
            let chunk = ChunkReader::open(bytes)?;
            black_box(chunk.times()?);
            for info in chunk.series() {
                black_box(chunk.column(info.series)?);
            }
        }
        Ok(())
    };
    // What comes back is what went in.
    for (bytes, (table, range)) in encoded.iter().zip(&chunks) {
        let chunk = ChunkReader::open(bytes)?;
        assert_eq!(chunk.times()?, table.times[range.clone()]);
        for (series, column) in (0..).zip(&table.columns) {
            let back = chunk.column(series)?.ok_or("a column is missing")?;
            for (row, cell) in range.clone().enumerate().map(|(row, at)| (row, column.cells[at])) {
                match column.kind {
                    Kind::Text => assert_eq!(back.text(row), Some(column.texts[cell as usize].as_str())),
                    _ => assert_eq!(back.cells[row], cell),
                }
            }
        }
    }
    let encode_speed = values as f64 / best_of(|| encode_all().map(|_| ()))? / 1e6;
    let decode_speed = values as f64 / best_of(decode_all)? / 1e6;
    let size: usize = encoded.iter().map(Vec::len).sum();
    println!(
        "{name:<46} {:>7} {:>5} {:>8.3} {encode_speed:>8.1} {decode_speed:>8.1}",
        tables.iter().map(|table| table.times.len()).sum::<usize>(),
        tables.first().map_or(0, |table| table.columns.len()),
        size as f64 / values as f64,
    );
    if detail {
        let rows: usize = tables.iter().map(|table| table.times.len()).sum();
        let mut sums: BTreeMap<usize, usize> = BTreeMap::new();
        let mut times = 0;
        for bytes in &encoded {
            let chunk = ChunkReader::open(bytes)?;
            times += chunk.times_bytes();
            chunk.series().iter().for_each(|info| *sums.entry(info.series as usize).or_default() += info.bytes);
        }
        let parts = sums.values().sum::<usize>() + times;
        println!(
            "    {:<20} {:.3} B/row; headers {:.3} B/row",
            "times",
            times as f64 / rows as f64,
            (size - parts) as f64 / rows as f64
        );
        for (series, bytes) in sums {
            println!("    {:<20} {:.3}", tables[0].columns[series].name, bytes as f64 / rows as f64);
        }
    }
    Ok(())
}

/// Seconds of the fastest of the repetitions that fit into a quarter of a second.
fn best_of(mut run: impl FnMut() -> Result<(), Failure>) -> Result<f64, Failure> {
    let mut best = f64::INFINITY;
    let begun = Instant::now();
    while begun.elapsed().as_millis() < 250 {
        let start = Instant::now();
        run()?;
        best = best.min(start.elapsed().as_secs_f64());
    }
    Ok(best)
}
