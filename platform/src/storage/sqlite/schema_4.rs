//! Version 4 of `meta.db`: people choose what they are told, and admins write to many.

use rusqlite::Connection;

const CHANGES: &str = "
-- What each user wants to be told: a document as the API has it. No row: everything at once.
CREATE TABLE preference (
    user TEXT PRIMARY KEY,
    document TEXT NOT NULL,
    updated_us INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
-- Where an endpoint differs from that, as JSON; nothing is sent to one that is muted or not confirmed yet.
ALTER TABLE endpoint ADD COLUMN preferences TEXT NOT NULL DEFAULT '{}';
ALTER TABLE endpoint ADD COLUMN muted INTEGER NOT NULL DEFAULT 0;
ALTER TABLE endpoint ADD COLUMN confirmed INTEGER NOT NULL DEFAULT 1;
ALTER TABLE endpoint ADD COLUMN opened INTEGER NOT NULL DEFAULT 0;
ALTER TABLE endpoint ADD COLUMN dismissed INTEGER NOT NULL DEFAULT 0;
-- Codes that were sent to mailboxes, as hashes.
CREATE TABLE confirmation (
    endpoint BLOB PRIMARY KEY REFERENCES endpoint (id) ON DELETE CASCADE,
    code_hash BLOB NOT NULL,
    expires_us INTEGER NOT NULL,
    tries INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
-- Words of an admin to many. People are taken in the order of their names; `taken` is the last one.
CREATE TABLE announcement (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id BLOB NOT NULL UNIQUE,
    title TEXT NOT NULL,
    body TEXT NOT NULL,
    url TEXT NOT NULL,
    image TEXT,
    severity INTEGER NOT NULL,
    -- JSON: as the API has it.
    recipients TEXT NOT NULL,
    grp TEXT,
    created_us INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    not_before_us INTEGER NOT NULL,
    expires_us INTEGER NOT NULL,
    state TEXT NOT NULL,
    taken TEXT,
    -- All people were taken.
    expanded INTEGER NOT NULL DEFAULT 0,
    people INTEGER NOT NULL DEFAULT 0,
    endpoints INTEGER NOT NULL DEFAULT 0,
    delivered INTEGER NOT NULL DEFAULT 0,
    failed INTEGER NOT NULL DEFAULT 0,
    withdrawn INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX announcement_state ON announcement (state, not_before_us);
ALTER TABLE message ADD COLUMN announcement BLOB;
ALTER TABLE message ADD COLUMN image TEXT;
-- When the gate let it pass: what a user's cap counts.
ALTER TABLE message ADD COLUMN passed_us INTEGER;
ALTER TABLE message ADD COLUMN opened_us INTEGER;
ALTER TABLE message ADD COLUMN dismissed_us INTEGER;
CREATE INDEX message_passed ON message (user, passed_us) WHERE passed_us IS NOT NULL;
-- 0: critical, 1: normal, 2: bulk; what is lower goes first.
UPDATE delivery SET critical = 1 - critical;
ALTER TABLE delivery RENAME COLUMN critical TO priority;
-- Why it waits although its message passed the gate: quiet_hours, digest, storm or paused.
ALTER TABLE delivery ADD COLUMN held TEXT;
ALTER TABLE delivery ADD COLUMN announcement BLOB;
-- The message that told it together with others.
ALTER TABLE delivery ADD COLUMN digest BLOB;
CREATE INDEX delivery_held ON delivery (next_us) WHERE held IS NOT NULL AND held <> 'paused';
CREATE INDEX delivery_announcement ON delivery (announcement, state) WHERE announcement IS NOT NULL;
CREATE INDEX delivery_bulk ON delivery (announcement) WHERE announcement IS NOT NULL AND state = 'queued' AND held IS NULL;
-- An announcement knows how far it has come without counting a hundred thousand rows.
CREATE TRIGGER announcement_progress AFTER UPDATE OF state ON delivery
WHEN NEW.announcement IS NOT NULL AND OLD.state IS NOT NEW.state BEGIN
    UPDATE announcement SET
        delivered = delivered + (NEW.state = 'delivered') - (OLD.state = 'delivered'),
        failed = failed + (NEW.state IN ('dead', 'dropped')) - (OLD.state IN ('dead', 'dropped')),
        withdrawn = withdrawn + (NEW.state IN ('withdrawn', 'digested')) - (OLD.state IN ('withdrawn', 'digested'))
    WHERE id = NEW.announcement;
END;
CREATE TRIGGER announcement_deleted AFTER DELETE ON delivery
WHEN OLD.announcement IS NOT NULL AND OLD.state IN ('queued', 'sending') BEGIN
    UPDATE announcement SET withdrawn = withdrawn + 1 WHERE id = OLD.announcement;
END;
";

/// Brings a version-3 store to version 4.
pub(super) fn upgrade(connection: &Connection) -> anyhow::Result<()> {
    connection.execute_batch(CHANGES)?;
    Ok(())
}
