//! Messages for people, written in the transaction of the alert that they are about.

use super::columns::damaged;
use super::meta::Failure;
use pulsewire_core::alert::Alert;
use pulsewire_core::ids::{EndpointId, UserName};
use pulsewire_core::notice::{Notice, collapse_key, delivery_id, message_id};
use pulsewire_core::severity::Severity;
use pulsewire_core::ulid::Ulid;
use rusqlite::{Connection, params};

/// Who gets messages, and where. Read once per commit: an alarm of a whole site would read the same a thousand times.
pub struct Recipients(Vec<(UserName, Vec<Target>)>);

struct Target {
    id: EndpointId,
    kind: String,
    label: String,
    provider: String,
}

impl Recipients {
    /// Every user, with their endpoints that are in use.
    pub fn read(connection: &Connection) -> Result<Self, Failure> {
        let mut users = connection.prepare_cached("SELECT name FROM user")?;
        let mut endpoints = connection
            .prepare_cached("SELECT id, kind, label, provider FROM endpoint WHERE user = ?1 AND removed_us IS NULL")?;
        let mut all = Vec::new();
        for user in users.query_map([], |row| row.get::<_, String>(0))? {
            let user = UserName::parse(&user?).map_err(damaged)?;
            let targets = endpoints.query_map([user.as_str()], |row| {
                let id = EndpointId(Ulid::from_bytes(row.get("id")?));
                Ok(Target { id, kind: row.get("kind")?, label: row.get("label")?, provider: row.get("provider")? })
            })?;
            all.push((user, targets.collect::<Result<_, _>>()?));
        }
        Ok(Self(all))
    }

    /// Writes a message for each of them, and a delivery for each endpoint.
    pub fn tell(&self, connection: &Connection, alert: &Alert, notice: &Notice, now_us: i64) -> Result<(), Failure> {
        self.0.iter().try_for_each(|(user, targets)| put_for(connection, user, targets, alert, notice, now_us))
    }
}

fn put_for(
    connection: &Connection,
    user: &UserName,
    targets: &[Target],
    alert: &Alert,
    notice: &Notice,
    now_us: i64,
) -> Result<(), Failure> {
    let id = message_id(alert.id, alert.revision, user);
    let (state, reason, reason_text) = match targets.is_empty() {
        true => ("done", "no_endpoint", format!("not pushed: {user} has no endpoint")),
        false => ("waiting", "", String::new()),
    };
    connection
        .prepare_cached(
            "INSERT INTO message (id, user, kind, alert, severity, title, body, url, tag, created_us, event_us, due_us,
                 expires_us, state, reason, reason_text)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
        )?
        .execute(params![
            id.0.to_bytes(),
            user.as_str(),
            notice.kind.name(),
            alert.id.0.to_bytes(),
            notice.severity as u8,
            notice.title,
            notice.body,
            format!("/alerts/{}", alert.id),
            collapse_key(alert.id, user),
            now_us,
            notice.event_us,
            notice.due_us,
            notice.expires_us,
            state,
            reason,
            reason_text,
        ])?;
    let seq = connection.last_insert_rowid();
    let mut delivery = connection.prepare_cached(
        "INSERT INTO delivery (id, message, endpoint, kind, label, state, attempts, next_us, reason, provider, critical, seq,
             expires_us)
         VALUES (?1, ?2, ?3, ?4, ?5, 'queued', 0, ?6, '', ?7, ?8, ?9, ?10)",
    )?;
    let critical = notice.severity == Severity::Critical;
    for target in targets {
        let own = delivery_id(id, target.id).0.to_bytes();
        let (message, endpoint) = (id.0.to_bytes(), target.id.0.to_bytes());
        delivery.execute(params![
            own,
            message,
            endpoint,
            target.kind,
            target.label,
            notice.due_us,
            target.provider,
            critical,
            seq,
            notice.expires_us,
        ])?;
    }
    Ok(())
}
