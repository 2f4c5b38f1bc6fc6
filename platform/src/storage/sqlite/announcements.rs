//! Words of admins to many, made out to people piece by piece, so that neither a transaction nor the queue grows with how many
//! they are.

use super::columns::{damaged, severity};
use super::meta::{Failure, SqliteMeta};
use super::notices::{Audience, Words};
use super::outbox::{Bytes, end, finish, pairs};
use crate::ports::{
    ANNOUNCEMENTS_KEPT_MAX, ANNOUNCEMENTS_UNFINISHED_MAX, Acted, Announced, AnnouncementStore, MetaError,
};
use async_trait::async_trait;
use pulsewire_core::ids::{AnnouncementId, GroupName, UserName};
use pulsewire_core::notice::{NoticeKind, own_message_id};
use pulsewire_core::notify::Recipients;
use pulsewire_core::push::{Addressees, Announcement, AnnouncementAct, AnnouncementState, Priority, Progress};
use pulsewire_core::severity::Severity;
use pulsewire_core::ulid::Ulid;
use rusqlite::{Connection, OptionalExtension, Row, params};

/// People to whom one step makes announcements out.
const STEP_PEOPLE: usize = 256;
/// What waits for a paused announcement is due then: never, until it goes on.
pub(super) const PAUSED_US: i64 = i64::MAX / 2;

/// Why what waited is not sent.
const CANCELED: &str = "the announcement was canceled";

const COLUMNS: &str = "seq, id, title, body, url, image, severity, recipients, grp, created_us, created_by, not_before_us, \
                       expires_us, state, people, endpoints, delivered, failed, withdrawn";

fn stored(row: &Row<'_>) -> rusqlite::Result<(i64, Announcement)> {
    let to = match row.get::<_, Option<String>>("grp")? {
        Some(group) => Addressees::Group(GroupName::parse(&group).map_err(damaged)?),
        None => {
            let texts: Vec<String> = serde_json::from_str(&row.get::<_, String>("recipients")?).map_err(damaged)?;
            Addressees::People(Recipients::parse(&texts).map_err(damaged)?)
        }
    };
    let state: String = row.get("state")?;
    let count = |name: &str| Ok::<u64, rusqlite::Error>(row.get::<_, i64>(name)?.max(0).unsigned_abs());
    let announcement = Announcement {
        id: AnnouncementId(Ulid::from_bytes(row.get("id")?)),
        title: row.get("title")?,
        body: row.get("body")?,
        url: row.get("url")?,
        image: row.get("image")?,
        severity: severity(row.get("severity")?)?,
        to,
        created_us: row.get("created_us")?,
        created_by: UserName::parse(&row.get::<_, String>("created_by")?).map_err(damaged)?,
        not_before_us: row.get("not_before_us")?,
        expires_us: row.get("expires_us")?,
        state: AnnouncementState::from_name(&state).ok_or_else(|| damaged(format!("announcement state {state:?}")))?,
        progress: Progress {
            people: count("people")?,
            endpoints: count("endpoints")?,
            delivered: count("delivered")?,
            failed: count("failed")?,
            withdrawn: count("withdrawn")?,
        },
    };
    Ok((row.get("seq")?, announcement))
}

fn find(connection: &Connection, id: AnnouncementId) -> rusqlite::Result<Option<Announcement>> {
    let sql = format!("SELECT {COLUMNS} FROM announcement WHERE id = ?1");
    let found = connection.prepare_cached(&sql)?.query_row([id.0.to_bytes()], stored).optional()?;
    Ok(found.map(|(_, announcement)| announcement))
}

fn set_state(connection: &Connection, id: AnnouncementId, state: AnnouncementState) -> rusqlite::Result<()> {
    let mut update = connection.prepare_cached("UPDATE announcement SET state = ?2 WHERE id = ?1")?;
    update.execute(params![id.0.to_bytes(), state.name()])?;
    Ok(())
}

/// Ends announcements of which nothing is left to be done. People who were not reached in time are not reached any more.
fn close(connection: &Connection, now_us: i64) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "UPDATE announcement SET state = 'done' WHERE endpoints <= delivered + failed + withdrawn AND (
                 state = 'running' AND expanded = 1 OR state IN ('running', 'paused', 'scheduled') AND expires_us <= ?1)",
        )?
        .execute([now_us])?;
    Ok(())
}

/// How many deliveries may be added to the queue. What its people want held does not count: it would keep all others waiting.
fn room(connection: &Connection, queue_max: usize) -> rusqlite::Result<usize> {
    let waiting: i64 = connection
        .prepare_cached(
            "SELECT count(*) FROM delivery INDEXED BY delivery_bulk
             WHERE announcement IS NOT NULL AND state = 'queued' AND held IS NULL",
        )?
        .query_row([], |row| row.get(0))?;
    Ok(queue_max.saturating_sub(usize::try_from(waiting).unwrap_or(0)))
}

const UNTAKEN: &str = "state = 'running' AND expanded = 0 AND expires_us > ?1";

/// Makes announcements whose time has come out to further people, as far as the queue has room.
pub(super) fn expand(connection: &Connection, now_us: i64, queue_max: usize) -> Result<(), Failure> {
    connection
        .prepare_cached("UPDATE announcement SET state = 'running' WHERE state = 'scheduled' AND not_before_us <= ?1")?
        .execute([now_us])?;
    let sql = format!("SELECT {COLUMNS}, taken FROM announcement WHERE {UNTAKEN} ORDER BY seq");
    let running: Vec<(Bytes, rusqlite::Result<Announcement>, Option<String>)> = connection
        .prepare_cached(&sql)?
        .query_map([now_us], |row| Ok((row.get("id")?, stored(row).map(|(_, one)| one), row.get("taken")?)))?
        .collect::<Result<_, _>>()?;
    if running.is_empty() {
        return Ok(());
    }
    let (mut room, mut people) = (room(connection, queue_max)?, STEP_PEOPLE);
    for (id, announcement, taken) in running {
        if room == 0 || people == 0 {
            break;
        }
        let announcement = match announcement {
            Ok(announcement) => announcement,
            Err(error) => {
                // One that cannot be read must not hold up all others.
                let id = AnnouncementId(Ulid::from_bytes(id));
                tracing::error!(announcement = %id, %error, "a stored announcement is damaged and is not sent");
                set_state(connection, id, AnnouncementState::Canceled)?;
                continue;
            }
        };
        let audience = Audience::after(connection, &taken.unwrap_or_default(), i64::try_from(people).unwrap_or(0))?;
        let all = audience.people().len() < people;
        let (read, endpoints) = make_out(connection, &announcement, &audience, room, now_us)?;
        if all && read == audience.people().len() {
            connection.prepare_cached("UPDATE announcement SET expanded = 1 WHERE id = ?1")?.execute([id])?;
        }
        (room, people) = (room.saturating_sub(endpoints), people.saturating_sub(read));
    }
    Ok(())
}

/// What became of announcements at a step's end; true if there is room for further people.
pub(super) fn finish_step(connection: &Connection, now_us: i64, queue_max: usize) -> rusqlite::Result<bool> {
    close(connection, now_us)?;
    let untaken: bool = connection
        .prepare_cached(&format!("SELECT EXISTS (SELECT 1 FROM announcement WHERE {UNTAKEN})"))?
        .query_row([now_us], |row| row.get(0))?;
    Ok(untaken && room(connection, queue_max)? > 0)
}

/// What goes back into the queue stays there while its announcement is paused, and goes if that was canceled; answers its message
/// if it went.
pub(super) fn went_back(connection: &Connection, delivery: Bytes, now_us: i64) -> rusqlite::Result<Option<Bytes>> {
    let found: Option<(String, Bytes)> = connection
        .prepare_cached(
            "SELECT a.state, d.message FROM delivery d JOIN announcement a ON a.id = d.announcement
             WHERE d.id = ?1 AND d.state = 'queued' AND a.state IN ('paused', 'canceled')",
        )?
        .query_row([delivery], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((state, message)) = found else { return Ok(None) };
    if state == AnnouncementState::Paused.name() {
        connection
            .prepare_cached("UPDATE delivery SET held = 'paused', next_us = ?2 WHERE id = ?1")?
            .execute(params![delivery, PAUSED_US])?;
        return Ok(None);
    }
    end(connection, &[(delivery, message)], now_us, "withdrawn", CANCELED)?;
    Ok(Some(message))
}

/// Answers how many people were looked at, and how many endpoints were added: no more than there is room for, but that the last
/// person's are not parted.
fn make_out(
    connection: &Connection,
    announcement: &Announcement,
    audience: &Audience,
    room: usize,
    now_us: i64,
) -> Result<(usize, usize), Failure> {
    let id = announcement.id.0.to_bytes();
    let (mut read, mut people, mut endpoints) = (0_usize, 0_usize, 0_usize);
    let (to, group) = match &announcement.to {
        Addressees::People(to) => (to, None),
        Addressees::Group(group) => (&Recipients::Everyone, Some(group)),
    };
    // A critical one must not wait behind others that are only long.
    let priority = if announcement.severity == Severity::Critical { Priority::Normal } else { Priority::Bulk };
    let mut last = None;
    for person in audience.people() {
        if endpoints >= room {
            break;
        }
        (read, last) = (read + 1, Some(person.name.as_str()));
        if !person.is_one_of(to) {
            continue;
        }
        let narrowed = group.map(|group| person.who_follows(connection, group)).transpose()?;
        let person = match &narrowed {
            None => person,
            Some(Some(person)) => person,
            Some(None) => continue,
        };
        let words = Words {
            id: own_message_id(&[&id], &person.name),
            kind: NoticeKind::Announcement,
            severity: announcement.severity,
            priority,
            title: &announcement.title,
            body: &announcement.body,
            url: &announcement.url,
            image: announcement.image.as_deref(),
            tag: hex::encode(id),
            event_us: announcement.not_before_us,
            expires_us: announcement.expires_us,
            announcement: Some(id),
        };
        let added = words.put(connection, person, now_us)?;
        endpoints += added;
        people += usize::from(added > 0);
    }
    let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    connection
        .prepare_cached(
            "UPDATE announcement SET taken = coalesce(?2, taken), people = people + ?3, endpoints = endpoints + ?4
             WHERE id = ?1",
        )?
        .execute(params![id, last, count(people), count(endpoints)])?;
    Ok((read, endpoints))
}

fn announce(connection: &Connection, new: &Announcement) -> Result<Announced, Failure> {
    let unfinished: i64 = connection.query_row(
        "SELECT count(*) FROM announcement WHERE state NOT IN ('done', 'canceled')",
        [],
        |row| row.get(0),
    )?;
    if usize::try_from(unfinished).unwrap_or(usize::MAX) >= ANNOUNCEMENTS_UNFINISHED_MAX {
        return Ok(Announced::TooMany);
    }
    let (recipients, group) = match &new.to {
        Addressees::People(to) => (to.texts(), None),
        Addressees::Group(group) => (Vec::new(), Some(group.as_str())),
    };
    connection
        .prepare_cached(
            "INSERT INTO announcement (id, title, body, url, image, severity, recipients, grp, created_us, created_by,
                 not_before_us, expires_us, state)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
        )?
        .execute(params![
            new.id.0.to_bytes(),
            new.title,
            new.body,
            new.url,
            new.image,
            new.severity as u8,
            serde_json::to_string(&recipients).map_err(|error| MetaError::Failed(error.into()))?,
            group,
            new.created_us,
            new.created_by.as_str(),
            new.not_before_us,
            new.expires_us,
            new.state.name(),
        ])?;
    connection
        .prepare_cached(
            "DELETE FROM announcement WHERE state IN ('done', 'canceled') AND seq <=
                 (SELECT seq FROM announcement ORDER BY seq DESC LIMIT 1 OFFSET ?1)",
        )?
        .execute([i64::try_from(ANNOUNCEMENTS_KEPT_MAX).unwrap_or(i64::MAX)])?;
    Ok(Announced::Made)
}

fn act(connection: &Connection, id: AnnouncementId, act: AnnouncementAct, now_us: i64) -> Result<Acted, Failure> {
    let missing = || MetaError::Missing { what: "announcement", name: id.to_string() };
    let announcement = find(connection, id)?.ok_or_else(missing)?;
    let before = announcement.state;
    let Some(after) = before.after(act, announcement.not_before_us <= now_us) else { return Ok(Acted::Over(before)) };
    let own = id.0.to_bytes();
    match after {
        AnnouncementState::Paused => {
            connection
                .prepare_cached(
                    "UPDATE delivery SET held = 'paused', next_us = ?2 WHERE announcement = ?1 AND state = 'queued'",
                )?
                .execute(params![own, PAUSED_US])?;
        }
        // What waited is decided about anew: it may be night where its people are.
        AnnouncementState::Running | AnnouncementState::Scheduled if before == AnnouncementState::Paused => {
            connection
                .prepare_cached(
                    "UPDATE message SET state = 'waiting', due_us = ?2 WHERE state = 'sending' AND id IN
                         (SELECT message FROM delivery WHERE announcement = ?1 AND state = 'queued')",
                )?
                .execute(params![own, now_us])?;
            connection
                .prepare_cached(
                    "UPDATE delivery SET held = NULL, next_us = ?2 WHERE announcement = ?1 AND state = 'queued'",
                )?
                .execute(params![own, now_us])?;
        }
        AnnouncementState::Canceled => {
            let waiting = "SELECT id, message FROM delivery WHERE announcement = ?1 AND state = 'queued'";
            let waiting = pairs(connection, waiting, [own])?;
            let touched = end(connection, &waiting, now_us, "withdrawn", CANCELED)?;
            connection
                .prepare_cached(
                    "UPDATE message SET reason = 'canceled', reason_text = ?2, state = iif(EXISTS
                         (SELECT 1 FROM delivery d WHERE d.message = message.id AND d.state = 'sending'), 'sending', 'done')
                     WHERE announcement = ?1 AND state = 'waiting'",
                )?
                .execute(params![own, CANCELED])?;
            finish(connection, &touched.into_iter().collect())?;
        }
        _ => {}
    }
    set_state(connection, id, after)?;
    let stored = find(connection, id)?.ok_or_else(missing)?;
    Ok(Acted::Done(Box::new(stored)))
}

#[async_trait]
impl AnnouncementStore for SqliteMeta {
    async fn announce(&self, new: Announcement) -> Result<Announced, MetaError> {
        self.write(move |connection| announce(connection, &new)).await
    }

    async fn announcements(&self, before: Option<i64>, limit: usize) -> Result<Vec<(i64, Announcement)>, MetaError> {
        self.read(move |connection| {
            let sql = format!(
                "SELECT {COLUMNS} FROM announcement WHERE seq < coalesce(?1, 9223372036854775807) ORDER BY seq DESC LIMIT ?2"
            );
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let mut statement = connection.prepare_cached(&sql)?;
            let found = statement.query_map(params![before, limit], stored)?;
            Ok(found.collect::<Result<_, _>>()?)
        })
        .await
    }

    async fn announcement(&self, id: AnnouncementId) -> Result<Option<Announcement>, MetaError> {
        self.read(move |connection| Ok(find(connection, id)?)).await
    }

    async fn act_on_announcement(
        &self,
        id: AnnouncementId,
        asked: AnnouncementAct,
        now_us: i64,
    ) -> Result<Acted, MetaError> {
        self.write(move |connection| act(connection, id, asked, now_us)).await
    }
}
