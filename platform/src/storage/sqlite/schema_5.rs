//! Version 5 of `meta.db`: devices have a profile, people see some groups only, keep views, and have tokens for programs.

use rusqlite::Connection;

const CHANGES: &str = "
ALTER TABLE device ADD COLUMN profile TEXT;
-- JSON: names of the device groups that the user may see; null = every device.
ALTER TABLE user ADD COLUMN groups TEXT;
CREATE TABLE saved_view (
    user TEXT NOT NULL REFERENCES user (name) ON DELETE CASCADE,
    page TEXT NOT NULL,
    name TEXT NOT NULL,
    query TEXT NOT NULL,
    shared INTEGER NOT NULL,
    changed_us INTEGER NOT NULL,
    PRIMARY KEY (user, page, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX saved_view_shared ON saved_view (page, user, name) WHERE shared = 1;
-- Tokens for programs, as hashes. `role` is the most that one may do; its user's own role bounds it too.
CREATE TABLE api_token (
    id BLOB PRIMARY KEY,
    token_hash BLOB NOT NULL UNIQUE,
    user TEXT NOT NULL REFERENCES user (name) ON DELETE CASCADE,
    label TEXT NOT NULL,
    role TEXT NOT NULL,
    created_us INTEGER NOT NULL,
    -- To the minute.
    used_us INTEGER,
    expires_us INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX api_token_user ON api_token (user, created_us);
";

/// Brings a version-4 store to version 5.
pub(super) fn upgrade(connection: &Connection) -> anyhow::Result<()> {
    connection.execute_batch(CHANGES)?;
    Ok(())
}
