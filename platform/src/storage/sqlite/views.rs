//! Saved views in `meta.db`.

use super::columns::damaged;
use super::meta::{Failure, SqliteMeta};
use crate::ports::{MetaError, SavedView, ViewStore};
use async_trait::async_trait;
use pulsewire_core::ids::UserName;
use rusqlite::{Row, params};

/// Most shared views of others that are answered.
const SHARED_MAX: i64 = 1_000;

fn view(row: &Row<'_>) -> rusqlite::Result<SavedView> {
    let owner: String = row.get("user")?;
    Ok(SavedView {
        owner: UserName::parse(&owner).map_err(damaged)?,
        page: row.get("page")?,
        name: row.get("name")?,
        query: row.get("query")?,
        shared: row.get("shared")?,
        changed_us: row.get("changed_us")?,
    })
}

#[async_trait]
impl ViewStore for SqliteMeta {
    async fn views(&self, user: &UserName, page: Option<&str>) -> Result<Vec<SavedView>, MetaError> {
        let (user, page) = (user.clone(), page.map(str::to_owned));
        self.read(move |connection| {
            let mut own = connection.prepare_cached(
                "SELECT * FROM saved_view WHERE user = ?1 AND (?2 IS NULL OR page = ?2) ORDER BY page, name",
            )?;
            let mut others = connection.prepare_cached(
                "SELECT * FROM saved_view WHERE shared = 1 AND user <> ?1 AND (?2 IS NULL OR page = ?2)
                 ORDER BY page, name, user LIMIT ?3",
            )?;
            let mut views = own.query_map(params![user.as_str(), page], view)?.collect::<Result<Vec<_>, _>>()?;
            let shared = others.query_map(params![user.as_str(), page, SHARED_MAX], view)?;
            for view in shared {
                views.push(view?);
            }
            Ok(views)
        })
        .await
    }

    async fn put_view(&self, view: SavedView, most: usize) -> Result<bool, MetaError> {
        self.write(move |connection| {
            let others: i64 = connection.query_row(
                "SELECT count(*) FROM saved_view WHERE user = ?1 AND NOT (page = ?2 AND name = ?3)",
                params![view.owner.as_str(), view.page, view.name],
                |row| row.get(0),
            )?;
            if usize::try_from(others).map_err(damaged)? >= most {
                return Ok(false);
            }
            connection
                .prepare_cached(
                    "INSERT INTO saved_view (user, page, name, query, shared, changed_us) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                     ON CONFLICT (user, page, name) DO UPDATE SET
                         query = excluded.query, shared = excluded.shared, changed_us = excluded.changed_us",
                )?
                .execute(params![
                    view.owner.as_str(),
                    view.page,
                    view.name,
                    view.query,
                    view.shared,
                    view.changed_us
                ])?;
            Ok(true)
        })
        .await
    }

    async fn delete_view(&self, owner: &UserName, page: &str, name: &str) -> Result<(), MetaError> {
        let (owner, page, name) = (owner.clone(), page.to_owned(), name.to_owned());
        self.write(move |connection| {
            let gone = connection.execute(
                "DELETE FROM saved_view WHERE user = ?1 AND page = ?2 AND name = ?3",
                params![owner.as_str(), page, name],
            )?;
            if gone == 0 {
                return Err(Failure::Known(MetaError::Missing { what: "view", name: format!("{page}/{name}") }));
            }
            Ok(())
        })
        .await
    }
}
