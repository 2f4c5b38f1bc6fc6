//! The outbox in `meta.db`: one step, one transaction.

use super::columns::{damaged, notice_kind};
use super::judge::Judge;
use super::meta::{Failure, SqliteMeta};
use super::needed::{CARED_FOR, PRUNE, waiting_sql};
use super::{announcements, cared_for, confirmation, lease, messages, operator, receipts, test_message};
use crate::ports::{
    ActedOn, CodeMade, Message, MessageQuery, MetaError, NewCode, OutboxStep, OutboxStore, Replayed, Settled, Stepped,
    TestMade,
};
use async_trait::async_trait;
use pulsewire_core::ids::{AlertId, DeliveryId, EndpointId, MessageId, UserName};
use pulsewire_core::notice::NoticeKind;
use pulsewire_core::push::{Decision, Gate, Next, Unwanted, decide};
use pulsewire_core::severity::Severity;
use pulsewire_core::ulid::Ulid;
use rusqlite::{Connection, OptionalExtension, Row, params};
use std::collections::BTreeSet;

/// Events kept per delivery; the newest stay.
const EVENTS_MAX: i64 = 20;
/// Messages decided about, and deliveries that are too old taken out, in one step.
const STEP_ROWS: i64 = 512;
/// Alerts that changed, looked at in one step.
const ALERTS_MAX: i64 = 128;
/// How long a removed endpoint is remembered: 30 days.
const TOMBSTONE_US: i64 = 30 * 86_400_000_000;

/// Why an attempt is not repeated.
const NO_TARGET: &str = "the endpoint is gone, or another user's";

pub(super) type Bytes = [u8; 16];

fn is_full(found: usize, bound: i64) -> bool {
    i64::try_from(found).is_ok_and(|found| found >= bound)
}

pub(super) fn note(
    connection: &Connection,
    delivery: Bytes,
    now_us: i64,
    event: &str,
    status: Option<u16>,
    text: &str,
) -> rusqlite::Result<()> {
    let step: i64 = connection
        .prepare_cached("SELECT coalesce(max(step), 0) + 1 FROM delivery_event WHERE delivery = ?1")?
        .query_row([delivery], |row| row.get(0))?;
    connection
        .prepare_cached(
            "INSERT INTO delivery_event (delivery, step, time_us, event, status, text) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![delivery, step, now_us, event, status, text])?;
    if step > EVENTS_MAX {
        connection
            .prepare_cached("DELETE FROM delivery_event WHERE delivery = ?1 AND step <= ?2")?
            .execute(params![delivery, step - EVENTS_MAX])?;
    }
    Ok(())
}

/// Ends deliveries that wait, as `state` with a reason; answers their messages.
pub(super) fn end(
    connection: &Connection,
    deliveries: &[(Bytes, Bytes)],
    now_us: i64,
    state: &str,
    reason: &str,
) -> rusqlite::Result<Vec<Bytes>> {
    for (delivery, _) in deliveries {
        connection
            .prepare_cached("UPDATE delivery SET state = ?2, reason = ?3, lease_us = NULL, held = NULL WHERE id = ?1")?
            .execute(params![delivery, state, reason])?;
        note(connection, *delivery, now_us, state, None, reason)?;
    }
    Ok(deliveries.iter().map(|(_, message)| *message).collect())
}

pub(super) fn pairs(
    connection: &Connection,
    sql: &str,
    parameters: impl rusqlite::Params,
) -> rusqlite::Result<Vec<(Bytes, Bytes)>> {
    connection.prepare_cached(sql)?.query_map(parameters, |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

/// Why a message went nowhere, if it is the same everywhere.
fn reason_everywhere(connection: &Connection, message: &Bytes) -> rusqlite::Result<Option<Unwanted>> {
    let mut statement = connection.prepare_cached(
        "SELECT DISTINCT iif(state IN ('withdrawn', 'digested'), reason, '') FROM delivery WHERE message = ?1 LIMIT 2",
    )?;
    let reasons: Vec<String> = statement.query_map([message], |row| row.get(0))?.collect::<Result<_, _>>()?;
    Ok(if let [only] = &reasons[..] { Unwanted::from_text(only) } else { None })
}

/// Messages of which nothing is on its way any more are done; answers their users.
pub(super) fn finish(connection: &Connection, touched: &BTreeSet<Bytes>) -> rusqlite::Result<BTreeSet<String>> {
    let mut users = BTreeSet::new();
    let mut statement = connection.prepare_cached(
        "UPDATE message SET state = 'done' WHERE id = ?1 AND state = 'sending' AND NOT EXISTS
             (SELECT 1 FROM delivery d WHERE d.message = ?1 AND d.state IN ('queued', 'sending')) RETURNING user",
    )?;
    for id in touched {
        let Some(user) = statement.query_row([id], |row| row.get::<_, String>(0)).optional()? else { continue };
        users.insert(user);
        if let Some(why) = reason_everywhere(connection, id)? {
            connection
                .prepare_cached("UPDATE message SET reason = ?2, reason_text = ?3 WHERE id = ?1")?
                .execute(params![id, why.name(), why.text()])?;
        }
    }
    Ok(users)
}

/// Withdraws what waits for an endpoint.
pub(super) fn withdraw_endpoint(
    connection: &Connection,
    endpoint: EndpointId,
    now_us: i64,
    why: &str,
) -> rusqlite::Result<()> {
    let waiting = pairs(
        connection,
        "SELECT id, message FROM delivery WHERE endpoint = ?1 AND state = 'queued'",
        [endpoint.0.to_bytes()],
    )?;
    let touched = end(connection, &waiting, now_us, "withdrawn", why)?;
    finish(connection, &touched.into_iter().collect())?;
    Ok(())
}

/// True if a delivery's endpoint is in use and still of the user whom the message is for.
fn has_target(connection: &Connection, delivery: Bytes) -> rusqlite::Result<bool> {
    connection
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM delivery d JOIN message m ON m.id = d.message JOIN endpoint e ON e.id = d.endpoint
                            WHERE d.id = ?1 AND e.removed_us IS NULL AND e.user = m.user)",
        )?
        .query_row([delivery], |row| row.get(0))
}

/// What was on its way is looked at again if one of its alerts changed meanwhile: it is not needed any more, or what it shows
/// has to be replaced.
fn look_again(connection: &Connection, message: Bytes) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT OR IGNORE INTO alert_changed SELECT a.id
             FROM message m JOIN message_alert x ON x.message = m.id JOIN alert a ON a.id = x.alert
             WHERE m.id = ?1 AND m.kind IN ('firing', 'digest', 'acknowledged') AND (a.ack_us IS NOT NULL OR a.resolved_us IS NOT NULL) LIMIT 1",
        )?
        .execute([message])?;
    Ok(())
}

fn settle(connection: &Connection, one: &Settled, now_us: i64) -> rusqlite::Result<Option<Bytes>> {
    let id = one.delivery.0.to_bytes();
    let (state, event, next_us, reason) = match &one.next {
        Next::Delivered => ("delivered", "sent", None, ""),
        Next::RetryAt(_) if !has_target(connection, id)? => ("withdrawn", "withdrawn", None, NO_TARGET),
        Next::RetryAt(at) => ("queued", if one.unclear { "unclear" } else { "retry" }, Some(*at), one.text.as_str()),
        Next::Dead(reason) => ("dead", "dead", None, reason.as_str()),
        Next::Dropped { reason, .. } => ("dropped", "dropped", None, reason.as_str()),
    };
    let message: Option<Bytes> = connection
        .prepare_cached(
            "UPDATE delivery SET state = ?2, next_us = coalesce(?3, next_us), reason = ?4, provider_id = coalesce(?5, provider_id),
                 lease_us = NULL
             WHERE id = ?1 AND state = 'sending' RETURNING message",
        )?
        .query_row(params![id, state, next_us, reason, one.provider_id], |row| row.get(0))
        .optional()?;
    // The history or the user may be gone meanwhile.
    let Some(message) = message else { return Ok(None) };
    if one.unclear && event != "unclear" {
        note(connection, id, now_us, "unclear", one.status, &one.text)?;
    }
    note(connection, id, now_us, event, one.status, if reason.is_empty() { &one.text } else { reason })?;
    let endpoint = one.endpoint.0.to_bytes();
    match &one.next {
        Next::Delivered => {
            connection
                .prepare_cached(
                    "UPDATE endpoint SET last_delivered_us = ?2
                     WHERE id = ?1 AND user = (SELECT user FROM message WHERE id = ?3)",
                )?
                .execute(params![endpoint, now_us, message])?;
            look_again(connection, message)?;
        }
        Next::RetryAt(_) => {
            look_again(connection, message)?;
            announcements::went_back(connection, id, now_us)?;
        }
        Next::Dropped { reason, remove_endpoint: true } => {
            let removed = connection
                .prepare_cached(
                    "UPDATE endpoint SET removed_us = ?3, removed_reason = ?4
                     WHERE id = ?1 AND registered_us = ?2 AND removed_us IS NULL",
                )?
                .execute(params![endpoint, one.registered_us, now_us, reason])?;
            if removed > 0 {
                withdraw_endpoint(connection, one.endpoint, now_us, reason)?;
            }
        }
        _ => {}
    }
    Ok(Some(message))
}

/// Leases that ended without a word: the attempt may have succeeded, so it is made again under the same id. `in_flight`:
/// attempts that still run, however long that takes by the clock on the wall.
fn give_back(
    connection: &Connection,
    deliveries: &[(Bytes, Bytes)],
    in_flight: &BTreeSet<Bytes>,
    now_us: i64,
) -> rusqlite::Result<BTreeSet<Bytes>> {
    let mut touched = BTreeSet::new();
    for (delivery, message) in deliveries.iter().filter(|(delivery, _)| !in_flight.contains(delivery)) {
        note(connection, *delivery, now_us, "unclear", None, "the server stopped while it was being sent")?;
        if !has_target(connection, *delivery)? {
            touched.extend(end(connection, &[(*delivery, *message)], now_us, "withdrawn", NO_TARGET)?);
            continue;
        }
        connection
            .prepare_cached("UPDATE delivery SET state = 'queued', next_us = ?2, lease_us = NULL WHERE id = ?1")?
            .execute(params![delivery, now_us])?;
        look_again(connection, *message)?;
        touched.extend(announcements::went_back(connection, *delivery, now_us)?);
    }
    Ok(touched)
}

/// An alert changed: what is told of it is looked at in the next step.
pub(super) fn alert_changed(connection: &Connection, alert: AlertId) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT OR IGNORE INTO alert_changed (alert) VALUES (?1)")?
        .execute([alert.0.to_bytes()])?;
    Ok(())
}

/// Takes what is too old out of the queue; says whether there may be more.
fn expire(connection: &Connection, now_us: i64, touched: &mut BTreeSet<Bytes>) -> rusqlite::Result<bool> {
    let late = pairs(
        connection,
        "SELECT d.id, d.message FROM delivery d INDEXED BY delivery_expires JOIN message m ON m.id = d.message
         WHERE d.state = 'queued' AND d.expires_us <= ?1 AND m.state = 'sending' LIMIT ?2",
        params![now_us, STEP_ROWS],
    )?;
    let more = is_full(late.len(), STEP_ROWS);
    touched.extend(end(connection, &late, now_us, "dead", "its time was over before it could be sent")?);
    Ok(more)
}

struct Waiting {
    user: UserName,
    gate: Gate,
}

fn waiting(row: &Row<'_>, now_us: i64) -> rusqlite::Result<Waiting> {
    let user: String = row.get("user")?;
    Ok(Waiting {
        user: UserName::parse(&user).map_err(damaged)?,
        gate: Gate {
            kind: notice_kind(&row.get::<_, String>("kind")?)?,
            now_us,
            created_us: row.get("created_us")?,
            due_us: row.get("due_us")?,
            expires_us: row.get("expires_us")?,
            event_us: row.get("event_us")?,
            last_visible_us: None,
            acknowledged: row.get("acknowledged")?,
            resolved: row.get("resolved")?,
            told: row.get("told")?,
            has_endpoint: row.get("has_endpoint")?,
        },
    })
}

/// One step while it runs.
struct Run<'a> {
    connection: &'a Connection,
    step: &'a OutboxStep,
    stepped: Stepped,
    /// What people want.
    judge: Judge<'a>,
    /// Messages of which a delivery ended.
    touched: BTreeSet<Bytes>,
    /// Users with messages that are done.
    users: BTreeSet<String>,
    /// A bound of this step was reached: there is more to do at once.
    more: bool,
}

impl Run<'_> {
    /// Decides about messages; answers how many there were.
    fn pass_gate(&mut self, filter: &str, parameters: impl rusqlite::Params) -> rusqlite::Result<usize> {
        let (connection, now_us) = (self.connection, self.step.now_us);
        let mut statement = connection.prepare_cached(&waiting_sql(filter))?;
        let found = statement.query_map(parameters, |row| Ok((row.get::<_, Bytes>("id")?, waiting(row, now_us))))?;
        let found = found.collect::<Result<Vec<_>, _>>()?;
        for (id, one) in &found {
            let Ok(one) = one else {
                // One that cannot be read must not hold up all others.
                tracing::error!(message = %MessageId(Ulid::from_bytes(*id)), "a stored message is damaged and is not pushed");
                self.suppress(*id, "damaged", "not pushed: what is stored of it cannot be read")?;
                continue;
            };
            let gate = Gate { last_visible_us: self.step.attention.last_visible_us(&one.user), ..one.gate };
            let decision = decide(&gate);
            if gate.kind == NoticeKind::Resolved && !matches!(decision, Decision::WaitUntil(_)) {
                self.end_held_alarms(*id)?;
            }
            match decision {
                Decision::SendNow => {
                    connection.prepare_cached("UPDATE message SET state = 'sending' WHERE id = ?1")?.execute([id])?;
                    self.judge.pass(*id)?;
                }
                Decision::WaitUntil(_) => {}
                Decision::Suppress(why) => {
                    self.suppress(*id, why.name(), &why.text(one.user.as_str(), &gate))?;
                    self.users.insert(one.user.to_string());
                }
            }
        }
        Ok(found.len())
    }

    /// All is over: alarms of its group that are held, and so were not told, are not told any more. Those that say which alerts they
    /// are about are withdrawn with these; of one that is about too many it is only known now.
    fn end_held_alarms(&mut self, resolved: Bytes) -> rusqlite::Result<()> {
        let held = pairs(
            self.connection,
            "SELECT d.id, d.message FROM message m JOIN message f ON f.grp = m.grp AND f.user = m.user AND f.seq < m.seq
                 JOIN delivery d ON d.message = f.id
             WHERE m.id = ?1 AND m.grp IS NOT NULL AND f.kind = 'firing' AND d.state = 'queued' AND d.held IS NOT NULL",
            [resolved],
        )?;
        let why = "not pushed: the alert was over before it was told";
        self.touched.extend(end(self.connection, &held, self.step.now_us, "withdrawn", why)?);
        Ok(())
    }

    fn suppress(&mut self, id: Bytes, why: &'static str, text: &str) -> rusqlite::Result<()> {
        self.connection
            .prepare_cached("UPDATE message SET state = 'done', reason = ?2, reason_text = ?3 WHERE id = ?1")?
            .execute(params![id, why, text])?;
        let own = "SELECT id, message FROM delivery WHERE message = ?1 AND state = 'queued'";
        let own = pairs(self.connection, own, [id])?;
        end(self.connection, &own, self.step.now_us, "withdrawn", text)?;
        self.stepped.suppressed.push(why);
        Ok(())
    }

    fn pass_due(&mut self) -> rusqlite::Result<()> {
        let mut left = STEP_ROWS;
        for severity in [Severity::Critical, Severity::Warning, Severity::Info] {
            let filter = "m.severity = ?1 AND m.due_us <= ?2 ORDER BY m.due_us, m.seq LIMIT ?3";
            let passed = self.pass_gate(filter, params![severity as u8, self.step.now_us, left])?;
            left = left.saturating_sub(i64::try_from(passed).unwrap_or(i64::MAX));
        }
        self.more |= left == 0;
        Ok(())
    }

    fn alerts_changed(&mut self) -> rusqlite::Result<()> {
        let connection = self.connection;
        let changed: Vec<Bytes> = connection
            .prepare_cached("SELECT alert FROM alert_changed LIMIT ?1")?
            .query_map([ALERTS_MAX], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        self.more |= is_full(changed.len(), ALERTS_MAX);
        let mut told = 0;
        for alert in changed {
            // The rest in the next step: nothing critical waits for a thousand people's screens to be tidied up.
            if told >= STEP_ROWS {
                self.more = true;
                break;
            }
            self.touched.extend(cared_for::withdraw(connection, alert, self.step.now_us)?);
            told += cared_for::tell(connection, alert, self.step.now_us)?;
            let over = format!(
                "m.kind = 'firing' AND m.id IN (SELECT message FROM message_alert WHERE alert = ?1) AND {CARED_FOR}"
            );
            self.pass_gate(&over, [alert])?;
            // Messages that were done when they were made, for want of an endpoint, count as history, too.
            let users: Vec<String> = connection
                .prepare_cached(
                    "SELECT m.user FROM message_alert o JOIN message m ON m.id = o.message
                     WHERE o.alert = ?1 AND m.state = 'done' GROUP BY m.user",
                )?
                .query_map([alert], |row| row.get(0))?
                .collect::<Result<_, _>>()?;
            self.users.extend(users);
            connection.prepare_cached("DELETE FROM alert_changed WHERE alert = ?1")?.execute([alert])?;
        }
        Ok(())
    }

    /// Everything but leasing; what ended is written first.
    fn prepare(&mut self) -> Result<(), Failure> {
        let (connection, now_us) = (self.connection, self.step.now_us);
        for one in &self.step.settled {
            self.touched.extend(settle(connection, one, now_us)?);
        }
        let over =
            "SELECT id, message FROM delivery INDEXED BY delivery_sending WHERE state = 'sending' AND lease_us <= ?1";
        let in_flight = self.step.in_flight.iter().map(|id| id.0.to_bytes()).collect();
        self.touched.extend(give_back(connection, &pairs(connection, over, [now_us])?, &in_flight, now_us)?);
        self.more |= expire(connection, now_us, &mut self.touched)?;
        self.alerts_changed()?;
        // What waited comes before what is new.
        self.more |= self.judge.look_again()?;
        announcements::expand(connection, now_us, self.step.bulk_queue_max)?;
        self.pass_due()?;
        self.touched.append(&mut self.judge.touched);
        Ok(())
    }

    fn finish(mut self) -> rusqlite::Result<Stepped> {
        let (connection, step) = (self.connection, self.step);
        if step.free.all > 0 {
            let took = lease::lease(connection, step)?;
            self.stepped.leased = took.leased;
            let unreadable = "what is stored of it cannot be read";
            self.touched.extend(end(connection, &took.broken, step.now_us, "dead", unreadable)?);
            let newer = "a newer message took its place";
            self.touched.extend(end(connection, &took.overtaken, step.now_us, "withdrawn", newer)?);
        }
        self.users.extend(finish(connection, &self.touched)?);
        prune(connection, &self.users, step.history_per_user, step.now_us)?;
        self.more |= announcements::finish_step(connection, step.now_us, step.bulk_queue_max)?;
        self.stepped.next_us = if self.more { Some(step.now_us) } else { next_us(connection, step.now_us)? };
        Ok(self.stepped)
    }
}

fn next_us(connection: &Connection, now_us: i64) -> rusqlite::Result<Option<i64>> {
    // What is due already waits for something else: a slot, a provider, a message before it.
    connection
        .prepare_cached(
            "SELECT min(t) FROM (
                 SELECT min(due_us) AS t FROM message WHERE state = 'waiting' AND severity = 0 AND due_us > ?1
                 UNION ALL SELECT min(due_us) FROM message WHERE state = 'waiting' AND severity = 1 AND due_us > ?1
                 UNION ALL SELECT min(due_us) FROM message WHERE state = 'waiting' AND severity = 2 AND due_us > ?1
                 UNION ALL SELECT min(next_us) FROM delivery INDEXED BY delivery_queued WHERE state = 'queued' AND next_us > ?1
                 UNION ALL SELECT min(lease_us) FROM delivery INDEXED BY delivery_sending
                     WHERE state = 'sending' AND lease_us > ?1
                 UNION ALL SELECT min(not_before_us) FROM announcement
                     WHERE state = 'scheduled' AND not_before_us > ?1)",
        )?
        .query_row([now_us], |row| row.get(0))
}

/// See [`PRUNE`].
fn prune(connection: &Connection, users: &BTreeSet<String>, keep: usize, now_us: i64) -> rusqlite::Result<()> {
    let keep = i64::try_from(keep).unwrap_or(i64::MAX);
    for user in users {
        connection.prepare_cached(PRUNE)?.execute(params![user, keep])?;
    }
    connection.prepare_cached("DELETE FROM endpoint WHERE removed_us < ?1")?.execute([now_us - TOMBSTONE_US])?;
    Ok(())
}

fn run(connection: &Connection, step: &OutboxStep) -> Result<Stepped, Failure> {
    let (touched, users, judge) = (BTreeSet::new(), BTreeSet::new(), Judge::new(connection, step.now_us));
    let mut run = Run { connection, step, stepped: Stepped::default(), judge, touched, users, more: false };
    operator::tell(connection, &step.notices, step.now_us)?;
    run.prepare()?;
    Ok(run.finish()?)
}

#[async_trait]
impl OutboxStore for SqliteMeta {
    async fn recover(&self, now_us: i64) -> Result<usize, MetaError> {
        self.write(move |connection| {
            let left = pairs(connection, "SELECT id, message FROM delivery WHERE state = 'sending'", [])?;
            let touched = give_back(connection, &left, &BTreeSet::new(), now_us)?;
            finish(connection, &touched)?;
            Ok(left.len())
        })
        .await
    }

    async fn step(&self, step: OutboxStep) -> Result<Stepped, MetaError> {
        self.write(move |connection| run(connection, &step)).await
    }

    async fn create_test(
        &self,
        id: MessageId,
        endpoint: EndpointId,
        now_us: i64,
        expires_us: i64,
    ) -> Result<TestMade, MetaError> {
        self.write(move |connection| test_message::create(connection, id, endpoint, now_us, expires_us)).await
    }

    async fn create_code(&self, new: NewCode) -> Result<CodeMade, MetaError> {
        self.write(move |connection| Ok(confirmation::create(connection, &new)?)).await
    }

    async fn messages(&self, query: MessageQuery) -> Result<Vec<(i64, Message)>, MetaError> {
        self.read(move |connection| Ok(messages::page(connection, &query)?)).await
    }

    async fn message(&self, id: MessageId) -> Result<Option<Message>, MetaError> {
        self.read(move |connection| Ok(messages::find(connection, id)?)).await
    }

    async fn replay(&self, id: MessageId, now_us: i64) -> Result<Replayed, MetaError> {
        self.write(move |connection| {
            let own = id.0.to_bytes();
            let over: bool = connection
                .prepare_cached(
                    "SELECT EXISTS (SELECT 1 FROM message m WHERE m.id = ?1 AND m.kind = 'firing' AND m.left_out = 0 AND NOT EXISTS
                         (SELECT 1 FROM message_alert x JOIN alert a ON a.id = x.alert
                          WHERE x.message = m.id AND a.resolved_us IS NULL))",
                )?
                .query_row([own], |row| row.get(0))?;
            if over {
                return Ok(Replayed::AlertOver);
            }
            // Only to endpoints that are still in use, and the same user's.
            let dead = pairs(
                connection,
                "SELECT d.id, d.message FROM delivery d JOIN message m ON m.id = d.message JOIN endpoint e ON e.id = d.endpoint
                 WHERE d.message = ?1 AND d.state IN ('dead', 'dropped') AND e.removed_us IS NULL AND e.user = m.user AND e.confirmed = 1
                     AND NOT EXISTS (SELECT 1 FROM announcement a WHERE a.id = m.announcement AND a.state IN ('paused', 'canceled'))",
                [own],
            )?;
            if dead.is_empty() {
                return Ok(Replayed::NothingDead);
            }
            // With the lifetime that it had, from now.
            let expires_us: i64 = connection.query_row(
                "UPDATE message SET state = 'sending', expires_us = ?2 + expires_us - coalesce(replayed_us, created_us),
                     replayed_us = ?2 WHERE id = ?1 RETURNING expires_us",
                params![own, now_us],
                |row| row.get(0),
            )?;
            for (delivery, _) in &dead {
                connection.execute(
                    "UPDATE delivery SET state = 'queued', attempts = 0, next_us = ?2, reason = 'replayed' WHERE id = ?1",
                    params![delivery, now_us],
                )?;
                note(connection, *delivery, now_us, "replayed", None, "")?;
            }
            connection.execute("UPDATE delivery SET expires_us = ?2 WHERE message = ?1", params![own, expires_us])?;
            Ok(Replayed::Queued(dead.len()))
        })
        .await
    }

    async fn acted_on(&self, delivery: DeliveryId) -> Result<Option<ActedOn>, MetaError> {
        self.read(move |connection| Ok(receipts::acted_on(connection, delivery)?)).await
    }

    async fn act(&self, delivery: DeliveryId, event: &'static str, text: String, now_us: i64) -> Result<(), MetaError> {
        self.write(move |connection| Ok(receipts::act(connection, delivery, event, &text, now_us)?)).await
    }

    async fn queued(&self) -> Result<Vec<(String, u64)>, MetaError> {
        self.read(|connection| Ok(receipts::queued(connection)?)).await
    }
}
