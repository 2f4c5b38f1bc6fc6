//! Small secrets of the server's own in `meta.db`.

use super::meta::SqliteMeta;
use crate::ports::{MetaError, SecretStore};
use async_trait::async_trait;
use rusqlite::params;

#[async_trait]
impl SecretStore for SqliteMeta {
    async fn get_or_create(&self, name: &str, fresh: Vec<u8>) -> Result<Vec<u8>, MetaError> {
        let name = name.to_owned();
        self.write(move |connection| {
            connection.execute(
                "INSERT INTO secret (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO NOTHING",
                params![name, fresh],
            )?;
            Ok(connection.query_row("SELECT value FROM secret WHERE name = ?1", [name], |row| row.get(0))?)
        })
        .await
    }
}
