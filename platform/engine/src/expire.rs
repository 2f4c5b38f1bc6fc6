//! What is too old, and what is too much.
//!
//! Samples go once their minutes are rolled up, minutes once their hours are, so that nothing is missing at the longer
//! retention. Above the size limit the oldest samples of the store go first, then the oldest minutes, then the oldest hours.

use crate::data;
use crate::error::StoreError;
use crate::heads::TableId;
use crate::options::Keep;
use crate::rollup::{self, Level};
use crate::shared::Shared;
use crate::tidy::{self, Known};
use pulsewire_chunk::ChunkReader;
use pulsewire_core::aggregate::floor;
use pulsewire_core::ids::DeviceKey;
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::VecDeque;

/// How often tables are looked over.
const SCAN_INTERVAL_US: i64 = 60_000_000;
/// How often the size is looked at.
const SIZE_INTERVAL_US: i64 = 5_000_000;
/// Chunks or rollups removed in one step.
const STEP_ROWS: i64 = 32;
/// How long after the end of a block it is complete though nothing came after it.
const QUIET_US: i64 = 3_600_000_000;

#[derive(Debug, Default)]
pub(crate) struct Expiry {
    queue: VecDeque<(DeviceKey, TableId)>,
    next_scan_us: i64,
    next_size_us: i64,
}

impl Expiry {
    /// Removes a little; false if there is nothing to remove.
    pub fn step(&mut self, connection: &mut Connection, shared: &Shared, now_us: i64) -> Result<bool, StoreError> {
        if now_us >= self.next_size_us {
            self.next_size_us = now_us.saturating_add(SIZE_INTERVAL_US);
            let (data, journal) = size(connection, shared)?;
            shared.status().disk_bytes = data + journal;
            let most = shared.options.size_bytes;
            // However large the journal is, sealed samples have half of the room: they cannot make it smaller.
            let room = most.saturating_sub(journal).max(most / 2);
            if most > 0 && data > room && shrink(connection, shared, now_us)? {
                // Again at once, until it fits.
                self.next_size_us = now_us;
                return Ok(true);
            }
        }
        if self.queue.is_empty() && now_us >= self.next_scan_us {
            self.next_scan_us = now_us.saturating_add(SCAN_INTERVAL_US);
            let heads = shared.read();
            let tables = heads.devices.iter().flat_map(|(key, d)| d.tables.iter().map(move |t| (*key, t.id)));
            self.queue.extend(tables.filter_map(|(key, id)| Some((key, id?))));
        }
        while let Some((device, id)) = self.queue.pop_front() {
            let Some(table) = tidy::known(shared, device, id) else { continue };
            if expire(connection, shared, &table, now_us)? {
                self.queue.push_front((device, id));
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Bytes in use in `data.db` and in the journal.
fn size(connection: &Connection, shared: &Shared) -> Result<(u64, u64), StoreError> {
    let pragma = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let pages = pragma("page_count")? - pragma("freelist_count")?;
    let data = (pages * pragma("page_size")?).cast_unsigned();
    Ok((data, shared.journal_bytes.load(std::sync::atomic::Ordering::Acquire)))
}

/// The time before which something of each series is too old; None = it never is.
type Cuts = Vec<Option<i64>>;

fn cuts(keeps: &[Keep], now_us: i64, of: impl Fn(&Keep) -> Option<i64>) -> Cuts {
    keeps.iter().map(|keep| of(keep).map(|keep_us| now_us.saturating_sub(keep_us))).collect()
}

/// Before this time everything goes; None if something is kept for ever.
fn whole(cuts: &Cuts) -> Option<i64> {
    cuts.iter().copied().collect::<Option<Vec<i64>>>()?.into_iter().min()
}

fn expire(connection: &mut Connection, shared: &Shared, table: &Known, now_us: i64) -> Result<bool, StoreError> {
    let policy = &shared.options.policy;
    let keeps: Vec<Keep> = table.set.series.iter().map(|series| policy.keep(table.device, *series)).collect();
    if keeps.iter().all(|keep| *keep == Keep::default()) {
        return Ok(false);
    }
    // None is longer than any.
    let longer = |a: Option<i64>, b: Option<i64>| a.unwrap_or(i64::MAX) > b.unwrap_or(i64::MAX);
    let rolled = keeps.iter().any(|k| longer(k.minute_us, k.raw_us) || longer(k.hour_us, k.raw_us));
    let raw = cuts(&keeps, now_us, |keep| keep.raw_us);
    if expire_chunks(connection, shared, table, &raw, rolled, now_us)? {
        return Ok(true);
    }
    let minute = cuts(&keeps, now_us, |keep| keep.minute_us);
    let hours_after = keeps.iter().any(|k| longer(k.hour_us, k.minute_us));
    if expire_rollups(connection, shared, table, Level::Minute, &minute, hours_after)? {
        return Ok(true);
    }
    let hour = cuts(&keeps, now_us, |keep| keep.hour_us);
    expire_rollups(connection, shared, table, Level::Hour, &hour, false)
}

fn expire_chunks(
    connection: &mut Connection,
    shared: &Shared,
    table: &Known,
    cuts: &Cuts,
    rolled: bool,
    now_us: i64,
) -> Result<bool, StoreError> {
    let Some(any_us) = cuts.iter().flatten().max().copied() else { return Ok(false) };
    let whole_us = whole(cuts);
    let mut old: Vec<(i64, i64, i64)> = Vec::new();
    {
        let mut statement = connection.prepare_cached(
            "SELECT chunk, from_us, to_us, columns FROM chunk WHERE tbl = ?1 AND to_us < ?2 ORDER BY from_us",
        )?;
        let mut rows = statement.query(params![table.id.0, any_us])?;
        let left = |to_us: i64| cuts.iter().filter(|cut| cut.is_none_or(|cut| to_us >= cut)).count() as i64;
        while let Some(row) = rows.next()? {
            let (to_us, columns): (i64, i64) = (row.get(2)?, row.get(3)?);
            if columns > left(to_us) {
                old.push((row.get(0)?, row.get(1)?, to_us));
            }
            if old.len() as i64 >= STEP_ROWS {
                break;
            }
        }
    }
    if rolled {
        let mut ready = Vec::new();
        for (chunk, from_us, to_us) in old {
            match ensure_minutes(connection, shared, table, from_us, to_us, now_us)? {
                Ensured::Made => return Ok(true),
                Ensured::There => ready.push((chunk, from_us, to_us)),
                // The block of its end is not complete; it goes later.
                Ensured::Later => {}
            }
        }
        old = ready;
    }
    let Some(last_us) = old.iter().map(|(_, _, to_us)| *to_us).max() else { return Ok(false) };
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    for (chunk, _, to_us) in &old {
        if whole_us.is_some_and(|whole_us| *to_us < whole_us) {
            data::delete_chunk(&transaction, *chunk)?;
            continue;
        }
        let too_old = table.set.series.iter().zip(cuts).filter(|(_, cut)| cut.is_some_and(|cut| *to_us < cut));
        let too_old: Vec<u32> = too_old.map(|(series, _)| series.0).collect();
        let left = data::with_bytes(&transaction, *chunk, |bytes| ChunkReader::open(bytes).ok()?.without(&too_old))?;
        match left.flatten() {
            Some(bytes) => {
                let columns = table.set.series.len() - too_old.len();
                transaction
                    .prepare_cached("UPDATE chunk SET columns = ?2 WHERE chunk = ?1")?
                    .execute(params![chunk, columns as i64])?;
                transaction
                    .prepare_cached("UPDATE chunk_data SET data = ?2 WHERE chunk = ?1")?
                    .execute(params![chunk, bytes])?;
            }
            // Damaged, or nothing is left of it.
            None => data::delete_chunk(&transaction, *chunk)?,
        }
    }
    let floor_us = last_us.saturating_add(1);
    data::set_floor(&transaction, table.id, floor_us)?;
    transaction.commit()?;
    if let Some(table) = shared.write().table_mut(table.device, table.id) {
        table.floor_us = table.floor_us.max(floor_us);
    }
    Ok(true)
}

fn expire_rollups(
    connection: &mut Connection,
    shared: &Shared,
    table: &Known,
    level: Level,
    cuts: &Cuts,
    hours_after: bool,
) -> Result<bool, StoreError> {
    let Some(any_us) = cuts.iter().flatten().max().copied() else { return Ok(false) };
    let whole_us = whole(cuts);
    // How many columns a block of that end should have; texts are never rolled up.
    let texts = table.set.text_columns();
    let left = |to_us: i64| {
        let kept =
            cuts.iter().enumerate().filter(|(column, cut)| !texts.contains(column) && cut.is_none_or(|c| to_us >= c));
        kept.count() as i64
    };
    let old: Vec<(i64, i64, i64)> = {
        let mut statement = connection.prepare_cached(
            "SELECT from_us, to_us, columns FROM rollup WHERE tbl = ?1 AND level = ?2 AND to_us < ?3 ORDER BY from_us",
        )?;
        let rows = statement.query_map(params![table.id.0, level.number(), any_us], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })?;
        rows.filter(|row| row.as_ref().map_or(true, |(_, to_us, columns)| *columns > left(*to_us)))
            .take(STEP_ROWS as usize)
            .collect::<Result<_, _>>()?
    };
    let mut did = false;
    for (from_us, to_us, _) in old {
        if hours_after && !ensure_hours(connection, shared, table, from_us)? {
            // Its hours come later; until then the minutes stay.
            break;
        }
        did = true;
        let too_old = cuts.iter().enumerate().filter(|(_, cut)| cut.is_some_and(|cut| to_us < cut));
        let too_old: Vec<usize> = too_old.map(|(column, _)| column).collect();
        let shorter = match whole_us.is_some_and(|whole_us| to_us < whole_us) {
            true => None,
            false => {
                bytes_of(connection, table.id, level, from_us)?.and_then(|bytes| rollup::without(&bytes, &too_old))
            }
        };
        match shorter {
            Some(bytes) => connection
                .prepare_cached(
                    "UPDATE rollup SET columns = ?4, data = ?5 WHERE tbl = ?1 AND level = ?2 AND from_us = ?3",
                )?
                .execute(params![table.id.0, level.number(), from_us, left(to_us), bytes])?,
            None => delete_rollup(connection, table.id, level, from_us)?,
        };
    }
    Ok(did)
}

fn bytes_of(connection: &Connection, table: TableId, level: Level, from_us: i64) -> rusqlite::Result<Option<Vec<u8>>> {
    connection
        .prepare_cached("SELECT data FROM rollup WHERE tbl = ?1 AND level = ?2 AND from_us = ?3")?
        .query_row(params![table.0, level.number(), from_us], |row| row.get(0))
        .optional()
}

fn delete_rollup(connection: &Connection, table: TableId, level: Level, from_us: i64) -> rusqlite::Result<usize> {
    connection.prepare_cached("DELETE FROM rollup WHERE tbl = ?1 AND level = ?2 AND from_us = ?3")?.execute(params![
        table.0,
        level.number(),
        from_us
    ])
}

enum Ensured {
    There,
    /// One block was made; there may be more to make.
    Made,
    Later,
}

/// Makes the first block of minutes that a range of samples needs and that is not there, however little it saves.
fn ensure_minutes(
    connection: &Connection,
    shared: &Shared,
    table: &Known,
    from_us: i64,
    to_us: i64,
    now_us: i64,
) -> Result<Ensured, StoreError> {
    let complete_us = table.sealed_us.max(now_us.saturating_sub(QUIET_US));
    let block_us = Level::Minute.block_us();
    // What comes late to a time whose samples are gone already is not rolled up again.
    let mut at_us = from_us.max(table.floor_us);
    while at_us <= to_us {
        let start_us = floor(at_us, block_us);
        if start_us.saturating_add(block_us) > complete_us {
            return Ok(Ensured::Later);
        }
        if bytes_of(connection, table.id, Level::Minute, start_us)?.is_none()
            && let Some((data, columns)) = rollup::make(connection, shared, table, Level::Minute, start_us, true)?
        {
            rollup::insert(connection, table.id, Level::Minute, start_us, &data, columns)?;
            return Ok(Ensured::Made);
        }
        let Some(next_us) = data::next_chunk_from(connection, table.id, start_us + block_us, table.span_us)? else {
            break;
        };
        at_us = next_us;
    }
    Ok(Ensured::There)
}

/// Makes the hours of which a block of minutes is a part, if they can be made and are not there.
fn ensure_hours(connection: &Connection, shared: &Shared, table: &Known, from_us: i64) -> Result<bool, StoreError> {
    let start_us = floor(from_us, Level::Hour.block_us());
    if bytes_of(connection, table.id, Level::Hour, start_us)?.is_some() {
        return Ok(true);
    }
    if start_us + Level::Hour.block_us() > table.rolled_us {
        return Ok(false);
    }
    let made = rollup::make(connection, shared, table, Level::Hour, start_us, true)?;
    if let Some((data, columns)) = made {
        rollup::insert(connection, table.id, Level::Hour, start_us, &data, columns)?;
    }
    Ok(true)
}

/// Removes a little of what is oldest.
fn shrink(connection: &mut Connection, shared: &Shared, now_us: i64) -> Result<bool, StoreError> {
    let oldest: Option<(i64, i64, i64, i64, u32)> = connection
        .query_row(
            "SELECT chunk, chunk.tbl, from_us, to_us, (SELECT device FROM tbl WHERE tbl.tbl = chunk.tbl) FROM chunk
             ORDER BY to_us LIMIT 1",
            [],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?)),
        )
        .optional()?;
    if let Some((chunk, id, from_us, to_us, device)) = oldest {
        if let Some(table) = tidy::known(shared, DeviceKey(device), TableId(id))
            && let Ensured::Made = ensure_minutes(connection, shared, &table, from_us, to_us, now_us)?
        {
            return Ok(true);
        }
        let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        data::delete_chunk(&transaction, chunk)?;
        data::set_floor(&transaction, TableId(id), to_us.saturating_add(1))?;
        transaction.commit()?;
        if let Some(table) = shared.write().table_mut(DeviceKey(device), TableId(id)) {
            table.floor_us = table.floor_us.max(to_us.saturating_add(1));
        }
        return Ok(true);
    }
    for level in [Level::Minute, Level::Hour] {
        let removed = connection
            .prepare_cached(
                "DELETE FROM rollup WHERE (tbl, level, from_us) IN
                     (SELECT tbl, level, from_us FROM rollup WHERE level = ?1 ORDER BY to_us LIMIT ?2)",
            )?
            .execute([level.number(), STEP_ROWS])?;
        if removed > 0 {
            return Ok(true);
        }
    }
    Ok(false)
}
