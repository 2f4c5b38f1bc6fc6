//! Devices and their credentials in `meta.db`; users and sign-ins are in the sibling file.

use super::super::worker::{Worker, WorkerGone};
use super::columns::damaged;
use super::schema;
use crate::ports::{Credentials, DeviceSeen, DeviceStore, DeviceVerifier, MetaError, NewDevice};
use anyhow::Context;
use async_trait::async_trait;
use pulsewire_core::device::Device;
use pulsewire_core::ids::{DeviceId, DeviceKey, GroupName, ProfileName};
use rusqlite::{Connection, ErrorCode, OptionalExtension, Row, params};
use std::collections::BTreeMap;
use std::path::Path;

/// `meta.db`: one writer thread, one reader thread.
pub struct SqliteMeta {
    // Dropped in this order: the writer closes last, since only it can bring the WAL back into the file.
    reader: Worker<Connection>,
    writer: Worker<Connection>,
}

/// What goes wrong inside a job.
pub(super) enum Failure {
    Sql(rusqlite::Error),
    Known(MetaError),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<MetaError> for Failure {
    fn from(error: MetaError) -> Self {
        Self::Known(error)
    }
}

impl From<Failure> for MetaError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Sql(error) => Self::Failed(error.into()),
            Failure::Known(error) => error,
        }
    }
}

/// A duplicate key becomes `Exists`.
pub(super) fn exists_or(what: &'static str, name: &str) -> impl FnOnce(rusqlite::Error) -> Failure {
    let name = name.to_owned();
    move |error| match error.sqlite_error_code() {
        Some(ErrorCode::ConstraintViolation) => Failure::Known(MetaError::Exists { what, name }),
        _ => Failure::Sql(error),
    }
}

impl SqliteMeta {
    /// Opens or makes the file and starts its threads.
    ///
    /// # Errors
    /// If the file cannot be used, or was made by a newer version.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let writer = schema::open_writer(path)?;
        let reader = schema::open_reader(path)?;
        Ok(Self {
            writer: Worker::start("meta-write", writer).context("starting the writer thread of meta.db")?,
            reader: Worker::start("meta-read", reader).context("starting the reader thread of meta.db")?,
        })
    }

    pub(super) async fn read<R: Send + 'static>(
        &self,
        job: impl FnOnce(&Connection) -> Result<R, Failure> + Send + 'static,
    ) -> Result<R, MetaError> {
        flatten(self.reader.call(|connection| job(connection)).await)
    }

    /// Runs the job in a transaction, which is committed if it succeeds.
    pub(super) async fn write<R: Send + 'static>(
        &self,
        job: impl FnOnce(&Connection) -> Result<R, Failure> + Send + 'static,
    ) -> Result<R, MetaError> {
        let run = |connection: &mut Connection| {
            let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
            let result = job(&transaction)?;
            transaction.commit()?;
            Ok(result)
        };
        flatten(self.writer.call(run).await)
    }
}

fn flatten<R>(result: Result<Result<R, Failure>, WorkerGone>) -> Result<R, MetaError> {
    Ok(result.map_err(|gone| MetaError::Failed(gone.into()))??)
}

fn missing_device(device: DeviceKey) -> MetaError {
    MetaError::Missing { what: "device", name: format!("#{device}") }
}

fn device(row: &Row<'_>) -> rusqlite::Result<Device> {
    let id: String = row.get("id")?;
    let tags: String = row.get("tags")?;
    let group: Option<String> = row.get("grp")?;
    let profile: Option<String> = row.get("profile")?;
    Ok(Device {
        key: DeviceKey(row.get("device")?),
        id: DeviceId::parse(&id).map_err(damaged)?,
        name: row.get("name")?,
        tags: serde_json::from_str::<BTreeMap<String, String>>(&tags).map_err(damaged)?,
        group: group.as_deref().map(GroupName::parse).transpose().map_err(damaged)?,
        profile: profile.as_deref().map(ProfileName::parse).transpose().map_err(damaged)?,
        enabled: row.get("enabled")?,
        created_us: row.get("created_us")?,
        last_seen_us: row.get("last_seen_us")?,
        firmware: row.get("firmware")?,
    })
}

fn tags_text(tags: &BTreeMap<String, String>) -> Result<String, Failure> {
    serde_json::to_string(tags).map_err(|error| Failure::Known(MetaError::Failed(error.into())))
}

fn write_device(connection: &Connection, device: &Device) -> Result<usize, Failure> {
    let changed = connection
        .prepare_cached(
            "UPDATE device SET name = ?2, tags = ?3, grp = ?4, enabled = ?5, profile = ?6 WHERE device = ?1",
        )?
        .execute(params![
            device.key.0,
            device.name,
            tags_text(&device.tags)?,
            device.group.as_ref().map(GroupName::as_str),
            device.enabled,
            device.profile.as_ref().map(ProfileName::as_str),
        ])?;
    Ok(changed)
}

#[async_trait]
impl DeviceStore for SqliteMeta {
    async fn devices(&self) -> Result<Vec<Device>, MetaError> {
        self.read(|connection| {
            let mut statement = connection.prepare("SELECT * FROM device ORDER BY id")?;
            let devices = statement.query_map([], device)?.collect::<Result<_, _>>()?;
            Ok(devices)
        })
        .await
    }

    async fn create_device(&self, new: NewDevice) -> Result<Device, MetaError> {
        self.write(move |connection| {
            connection
                .prepare_cached(
                    "INSERT INTO device (id, name, tags, grp, enabled, created_us, stored_key, server_key, profile)
                     VALUES (?1, ?2, ?3, ?4, 1, ?5, ?6, ?7, ?8)",
                )?
                .execute(params![
                    new.id.as_str(),
                    new.name,
                    tags_text(&new.tags)?,
                    new.group.as_ref().map(GroupName::as_str),
                    new.created_us,
                    new.verifier.stored_key,
                    new.verifier.server_key,
                    new.profile.as_ref().map(ProfileName::as_str),
                ])
                .map_err(exists_or("device", new.id.as_str()))?;
            let key = u32::try_from(connection.last_insert_rowid()).map_err(damaged)?;
            Ok(Device {
                key: DeviceKey(key),
                id: new.id,
                name: new.name,
                tags: new.tags,
                group: new.group,
                profile: new.profile,
                enabled: true,
                created_us: new.created_us,
                last_seen_us: None,
                firmware: None,
            })
        })
        .await
    }

    async fn update_device(&self, device: Device) -> Result<(), MetaError> {
        self.write(move |connection| {
            if write_device(connection, &device)? == 0 {
                return Err(MetaError::Missing { what: "device", name: device.id.to_string() }.into());
            }
            Ok(())
        })
        .await
    }

    async fn update_devices(&self, devices: Vec<Device>) -> Result<(), MetaError> {
        self.write(move |connection| devices.iter().try_for_each(|device| write_device(connection, device).map(drop)))
            .await
    }

    async fn delete_devices(&self, devices: Vec<DeviceKey>) -> Result<(), MetaError> {
        self.write(move |connection| {
            let mut delete = connection.prepare_cached("DELETE FROM device WHERE device = ?1")?;
            for device in devices {
                delete.execute([device.0])?;
            }
            Ok(())
        })
        .await
    }

    async fn delete_device(&self, device: DeviceKey) -> Result<(), MetaError> {
        self.write(move |connection| {
            if connection.execute("DELETE FROM device WHERE device = ?1", [device.0])? == 0 {
                return Err(missing_device(device).into());
            }
            Ok(())
        })
        .await
    }

    async fn credentials(&self, device: DeviceKey) -> Result<Option<Credentials>, MetaError> {
        self.read(move |connection| {
            let found = connection
                .prepare_cached(
                    "SELECT stored_key, server_key, previous_stored_key, previous_server_key, previous_until_us,
                            token_hash
                     FROM device WHERE device = ?1",
                )?
                .query_row([device.0], |row| {
                    let current = DeviceVerifier { stored_key: row.get(0)?, server_key: row.get(1)? };
                    let previous = match (row.get(2)?, row.get(3)?, row.get(4)?) {
                        (Some(stored_key), Some(server_key), Some(until_us)) => {
                            Some((DeviceVerifier { stored_key, server_key }, until_us))
                        }
                        _ => None,
                    };
                    Ok(Credentials { current, previous, token_hash: row.get(5)? })
                })
                .optional()?;
            Ok(found)
        })
        .await
    }

    async fn replace_secret(
        &self,
        device: DeviceKey,
        verifier: DeviceVerifier,
        previous_until_us: Option<i64>,
    ) -> Result<(), MetaError> {
        self.write(move |connection| {
            let keep = previous_until_us.is_some();
            let changed = connection.execute(
                "UPDATE device SET
                     previous_stored_key = CASE WHEN ?4 THEN stored_key END,
                     previous_server_key = CASE WHEN ?4 THEN server_key END,
                     previous_until_us = ?5,
                     stored_key = ?2, server_key = ?3
                 WHERE device = ?1",
                params![device.0, verifier.stored_key, verifier.server_key, keep, previous_until_us],
            )?;
            if changed == 0 {
                return Err(missing_device(device).into());
            }
            Ok(())
        })
        .await
    }

    async fn set_token(&self, device: DeviceKey, hash: [u8; 32]) -> Result<(), MetaError> {
        self.write(move |connection| {
            let changed =
                connection.execute("UPDATE device SET token_hash = ?2 WHERE device = ?1", params![device.0, hash])?;
            if changed == 0 {
                return Err(missing_device(device).into());
            }
            Ok(())
        })
        .await
    }

    async fn devices_seen(&self, seen: Vec<DeviceSeen>) -> Result<(), MetaError> {
        self.write(move |connection| {
            let mut update =
                connection.prepare_cached("UPDATE device SET last_seen_us = ?2, firmware = ?3 WHERE device = ?1")?;
            for one in &seen {
                update.execute(params![one.device.0, one.last_seen_us, one.firmware])?;
            }
            Ok(())
        })
        .await
    }

    async fn next_boot(&self) -> Result<u32, MetaError> {
        self.write(|connection| {
            let boot = connection.query_row(
                "INSERT INTO store (name, value) VALUES ('boot', 1)
                 ON CONFLICT (name) DO UPDATE SET value = value + 1 RETURNING value",
                [],
                |row| row.get(0),
            )?;
            Ok(boot)
        })
        .await
    }
}
