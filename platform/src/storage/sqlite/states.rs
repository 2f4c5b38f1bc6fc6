//! Where alerting stands: its cursor, the states of devices, and groups with something to tell. What is in a state is not known
//! here.

use super::meta::Failure;
use crate::ports::{AlertCommit, Cursor, GroupKey};
use pulsewire_core::ids::{DeviceKey, Position};
use rusqlite::{Connection, OptionalExtension, Row, params};

/// The name of alerting's cursor.
const CURSOR: &str = "alerting";

pub(super) fn cursor(connection: &Connection) -> rusqlite::Result<Option<Cursor>> {
    connection
        .query_row("SELECT epoch, position FROM cursor WHERE name = ?1", [CURSOR], |row| {
            let (epoch, position): (i64, i64) = (row.get(0)?, row.get(1)?);
            Ok(Cursor { epoch: epoch.cast_unsigned(), position: Position(position.cast_unsigned()) })
        })
        .optional()
}

pub(super) const STATES: &str = "SELECT device, state FROM alert_state ORDER BY device";

pub(super) fn state(row: &Row<'_>) -> rusqlite::Result<(DeviceKey, Vec<u8>)> {
    Ok((DeviceKey(row.get(0)?), row.get(1)?))
}

pub(super) const GROUPS: &str = "SELECT key, state FROM notify_group ORDER BY key";

pub(super) fn group(row: &Row<'_>) -> rusqlite::Result<(GroupKey, Vec<u8>)> {
    Ok((row.get(0)?, row.get(1)?))
}

pub(super) fn put_states(connection: &Connection, commit: &AlertCommit) -> Result<(), Failure> {
    let mut put = connection.prepare_cached("REPLACE INTO alert_state (device, state) VALUES (?1, ?2)")?;
    let mut forget = connection.prepare_cached("DELETE FROM alert_state WHERE device = ?1")?;
    for (device, state) in &commit.states {
        match state {
            Some(state) => put.execute(params![device.0, state])?,
            None => forget.execute([device.0])?,
        };
    }
    Ok(())
}

pub(super) fn put_cursor(connection: &Connection, cursor: Cursor) -> Result<(), Failure> {
    connection.prepare_cached("REPLACE INTO cursor VALUES (?1, ?2, ?3)")?.execute(params![
        CURSOR,
        cursor.epoch.cast_signed(),
        cursor.position.0.cast_signed()
    ])?;
    Ok(())
}

pub(super) fn put_groups(connection: &Connection, commit: &AlertCommit) -> Result<(), Failure> {
    let mut put = connection.prepare_cached("REPLACE INTO notify_group (key, state) VALUES (?1, ?2)")?;
    let mut forget = connection.prepare_cached("DELETE FROM notify_group WHERE key = ?1")?;
    for (key, state) in &commit.groups {
        match state {
            Some(state) => put.execute(params![key, state])?,
            None => forget.execute([key])?,
        };
    }
    Ok(())
}
