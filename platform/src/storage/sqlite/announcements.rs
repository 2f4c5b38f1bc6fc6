//! Words of admins to many, made out to people piece by piece, so that neither a transaction nor the queue grows with how many
//! they are.

use super::columns::{damaged, severity};
use super::meta::{Failure, SqliteMeta};
use super::notices::{Audience, Words};
use super::outbox::{end, finish, pairs};
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

/// Makes announcements whose time has come out to further people, as far as the queue has room; says whether there are more
/// for whom there is room.
pub(super) fn expand(connection: &Connection, now_us: i64, queue_max: usize) -> Result<bool, Failure> {
    connection
        .prepare_cached("UPDATE announcement SET state = 'running' WHERE state = 'scheduled' AND not_before_us <= ?1")?
        .execute([now_us])?;
    // People who were not reached in time are not reached any more.
    connection
        .prepare_cached(
            "UPDATE announcement SET state = 'done' WHERE endpoints <= delivered + failed + withdrawn AND (
                 state = 'running' AND expanded = 1 OR state IN ('running', 'paused', 'scheduled') AND expires_us <= ?1)",
        )?
        .execute([now_us])?;
    let sql = format!(
        "SELECT {COLUMNS}, taken FROM announcement
         WHERE state = 'running' AND expanded = 0 AND expires_us > ?1 ORDER BY seq"
    );
    let running: Vec<(Announcement, Option<String>)> = connection
        .prepare_cached(&sql)?
        .query_map([now_us], |row| Ok((stored(row)?.1, row.get("taken")?)))?
        .collect::<Result<_, _>>()?;
    if running.is_empty() {
        return Ok(false);
    }
    let waiting: i64 = connection
        .prepare_cached(
            "SELECT coalesce(sum(endpoints - delivered - failed - withdrawn), 0)
             FROM announcement WHERE state NOT IN ('done', 'canceled')",
        )?
        .query_row([], |row| row.get(0))?;
    let mut room = queue_max.saturating_sub(usize::try_from(waiting).unwrap_or(0));
    let mut left = STEP_PEOPLE;
    for (announcement, taken) in running {
        if room == 0 || left == 0 {
            break;
        }
        let people = left.min(room);
        let audience = Audience::after(connection, &taken.unwrap_or_default(), i64::try_from(people).unwrap_or(0))?;
        let endpoints = make_out(connection, &announcement, &audience, now_us)?;
        let read = audience.last().map_or(0, |(_, count)| count);
        (room, left) = (room.saturating_sub(endpoints), left - read.min(left));
        if read < people {
            connection
                .prepare_cached("UPDATE announcement SET expanded = 1 WHERE id = ?1")?
                .execute([announcement.id.0.to_bytes()])?;
        }
    }
    // Done ones are seen in the next step, which there is: something was just queued, or is when it ends.
    Ok(room > 0 && unfinished(connection)?)
}

fn unfinished(connection: &Connection) -> rusqlite::Result<bool> {
    connection
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM announcement WHERE state = 'running'
                 AND (expanded = 0 OR endpoints <= delivered + failed + withdrawn))",
        )?
        .query_row([], |row| row.get(0))
}

/// Answers how many endpoints were added.
fn make_out(
    connection: &Connection,
    announcement: &Announcement,
    audience: &Audience,
    now_us: i64,
) -> Result<usize, Failure> {
    let Some((last, _)) = audience.last() else { return Ok(0) };
    let id = announcement.id.0.to_bytes();
    let (mut people, mut endpoints) = (0_usize, 0);
    let (to, group) = match &announcement.to {
        Addressees::People(to) => (to, None),
        Addressees::Group(group) => (&Recipients::Everyone, Some(group)),
    };
    // A critical one must not wait behind others that are only long.
    let priority = if announcement.severity == Severity::Critical { Priority::Normal } else { Priority::Bulk };
    for person in audience.of(to) {
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
        endpoints += words.put(connection, person, now_us)?;
        people += 1;
    }
    let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    connection
        .prepare_cached(
            "UPDATE announcement SET taken = ?2, people = people + ?3, endpoints = endpoints + ?4 WHERE id = ?1",
        )?
        .execute(params![id, last.as_str(), count(people), count(endpoints)])?;
    Ok(endpoints)
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
            let touched = end(connection, &waiting, now_us, "withdrawn", "the announcement was canceled")?;
            connection
                .prepare_cached(
                    "UPDATE message SET state = 'done', reason = 'canceled', reason_text = 'the announcement was canceled'
                     WHERE announcement = ?1 AND state = 'waiting'",
                )?
                .execute([own])?;
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
