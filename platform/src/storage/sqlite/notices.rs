//! Messages for people, written in the transaction of the decision to tell them.

use super::columns::damaged;
use super::meta::Failure;
use super::{preferences, users};
use crate::ports::{MESSAGE_ALERTS_MAX, Told};
use pulsewire_core::ids::{AlertId, EndpointId, GroupName, MessageId, UserName};
use pulsewire_core::notice::{Notice, NoticeKind, delivery_id, group_collapse_key, told_message_id};
use pulsewire_core::notify::Recipients;
use pulsewire_core::push::{Language, Priority};
use pulsewire_core::role::Role;
use pulsewire_core::scope::DeviceScope;
use pulsewire_core::severity::Severity;
use pulsewire_core::ulid::Ulid;
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::HashSet;

/// Everyone who may get messages, and where. Read once per commit: an alarm of a whole site would read the same a thousand times.
pub struct Audience(Vec<Person>);

pub(super) struct Person {
    pub(super) name: UserName,
    role: Option<Role>,
    scope: DeviceScope,
    language: Language,
    targets: Vec<Target>,
}

impl Person {
    /// The person with those endpoints alone that are told of a device group's alerts; None if there are none.
    pub(super) fn who_follows(&self, connection: &Connection, group: &GroupName) -> rusqlite::Result<Option<Self>> {
        let wants = preferences::of(connection, self.name.as_str())?;
        let mut own = connection.prepare_cached("SELECT preferences FROM endpoint WHERE id = ?1")?;
        let mut targets = Vec::new();
        for target in &self.targets {
            let text: String = own.query_row([target.id.0.to_bytes()], |row| row.get(0))?;
            let groups = wants.at(&preferences::of_endpoint(&text)).groups;
            if groups.is_none_or(|groups| groups.contains(group)) {
                targets.push(target.clone());
            }
        }
        let person = Self { targets, name: self.name.clone(), scope: self.scope.clone(), ..*self };
        Ok((!person.targets.is_empty()).then_some(person))
    }

    pub(super) fn is_one_of(&self, to: &Recipients) -> bool {
        match to {
            Recipients::Everyone => true,
            Recipients::Users(names) => names.contains(&self.name),
            Recipients::Role(needed) => self.role.is_some_and(|role| role.allows(*needed)),
        }
    }
}

#[derive(Clone)]
struct Target {
    id: EndpointId,
    kind: String,
    label: String,
    provider: String,
}

/// The alerts of a message.
struct Subject {
    /// Those that are kept, the worst first.
    alerts: Vec<AlertId>,
    /// How many more there are: of an alarm those that fire, else all.
    left_out: u32,
    /// Where it leads.
    url: String,
}

impl Subject {
    fn of(told: &Told, notice: &Notice) -> Self {
        let decision = &told.decision;
        let mut seen = HashSet::new();
        let mut alerts: Vec<AlertId> = told
            .about
            .iter()
            .chain(&decision.firing)
            .chain(&decision.flapping)
            .chain(&decision.stale)
            .filter(|id| seen.insert(**id))
            .copied()
            .collect();
        // Those that are over come last: whether an alarm is still needed does not depend on them.
        let firing = alerts.len();
        alerts.extend(decision.resolved.iter().filter(|id| seen.insert(**id)));
        let url = match alerts[..] {
            [only] if decision.more == 0 => format!("/alerts/{only}"),
            _ => "/alerts".into(),
        };
        let counted = if notice.kind == NoticeKind::Firing { firing } else { alerts.len() };
        let left_out = u32::try_from(counted.saturating_sub(MESSAGE_ALERTS_MAX)).unwrap_or(u32::MAX);
        alerts.truncate(MESSAGE_ALERTS_MAX);
        Self { alerts, left_out: left_out.saturating_add(decision.more), url }
    }
}

impl Audience {
    /// Every user, with their endpoints that are in use.
    pub fn read(connection: &Connection) -> Result<Self, Failure> {
        Self::after(connection, "", -1)
    }

    /// So many users whose names come after this one; all, if `limit` is negative.
    pub(super) fn after(connection: &Connection, name: &str, limit: i64) -> Result<Self, Failure> {
        let mut users = connection.prepare_cached(
            "SELECT u.name, u.role, json_extract(p.document, '$.language'), u.groups
             FROM user u LEFT JOIN preference p ON p.user = u.name WHERE u.name > ?1 ORDER BY u.name LIMIT ?2",
        )?;
        let mut endpoints = connection.prepare_cached(
            "SELECT id, kind, label, provider FROM endpoint WHERE user = ?1 AND removed_us IS NULL AND confirmed = 1",
        )?;
        let mut all = Vec::new();
        let found = users.query_map(params![name, limit], |row| {
            let scope = users::scope(row.get(3)?)?;
            Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, Option<String>>(2)?, scope))
        });
        for user in found? {
            let (name, role, language, scope) = user?;
            let name = UserName::parse(&name).map_err(damaged)?;
            let targets = endpoints.query_map([name.as_str()], |row| {
                let id = EndpointId(Ulid::from_bytes(row.get("id")?));
                Ok(Target { id, kind: row.get("kind")?, label: row.get("label")?, provider: row.get("provider")? })
            })?;
            // Whose role means nothing gets what is for everyone, or for them by name.
            let language = language.as_deref().and_then(Language::from_name).unwrap_or_default();
            let targets = targets.collect::<Result<_, _>>()?;
            all.push(Person { name, role: Role::from_name(&role), scope, language, targets });
        }
        Ok(Self(all))
    }

    /// All of them, by name.
    pub(super) fn people(&self) -> &[Person] {
        &self.0
    }

    /// Those who are meant.
    pub(super) fn of<'a>(&'a self, to: &'a Recipients) -> impl Iterator<Item = &'a Person> {
        self.0.iter().filter(move |person| person.is_one_of(to))
    }

    /// Writes a message for each who is to be told, and a delivery for each endpoint; answers how many messages.
    pub fn tell(&self, connection: &Connection, told: &Told, notice: &Notice, now_us: i64) -> Result<u64, Failure> {
        let subject = Subject::of(told, notice);
        let mut messages = 0;
        for person in &self.0 {
            let decision = &told.decision;
            let meant = std::iter::once(&decision.to).chain(&decision.also_to).any(|to| person.is_one_of(to));
            if meant
                && (person.scope.is_all()
                    || groups(connection, told)?
                        .is_some_and(|of| of.iter().all(|group| person.scope.sees_group(group.as_ref()))))
            {
                put_for(connection, person, told, &subject, notice, now_us)?;
                messages += 1;
            }
        }
        Ok(messages)
    }
}

/// The device groups that a message speaks of, now and when its alerts fired; none if not all of its alerts are known.
fn groups(connection: &Connection, told: &Told) -> Result<Option<HashSet<Option<GroupName>>>, Failure> {
    let decision = &told.decision;
    if decision.more > 0 {
        return Ok(None);
    }
    let mut find = connection.prepare_cached(
        "SELECT a.grp, d.device IS NULL, d.grp FROM alert a LEFT JOIN device d ON d.device = a.device WHERE a.id = ?1",
    )?;
    let mut groups = HashSet::new();
    let lists = [&decision.firing, &decision.flapping, &decision.stale, &decision.resolved];
    for alert in lists.into_iter().flatten().chain(&told.about) {
        let found = find.query_row([alert.0.to_bytes()], |row| {
            Ok((row.get::<_, Option<String>>(0)?, row.get::<_, bool>(1)?, row.get::<_, Option<String>>(2)?))
        });
        let Some((then, no_device, now)) = found.optional()? else { return Ok(None) };
        let name = |name: Option<String>| name.as_deref().map(GroupName::parse).transpose().map_err(damaged);
        groups.insert(name(then)?);
        if !no_device {
            groups.insert(name(now)?);
        }
    }
    Ok(Some(groups))
}

fn put_for(
    connection: &Connection,
    Person { name: user, targets, language, .. }: &Person,
    told: &Told,
    subject: &Subject,
    notice: &Notice,
    now_us: i64,
) -> Result<(), Failure> {
    let id = told_message_id(told.id, user);
    let (title, body) = notice.words(*language);
    let (state, reason, reason_text) = match targets.is_empty() {
        true => ("done", "no_endpoint", format!("not pushed: {user} has no endpoint")),
        false => ("waiting", "", String::new()),
    };
    connection
        .prepare_cached(
            "INSERT INTO message (id, user, kind, alert, severity, title, body, url, tag, created_us, event_us, due_us,
                 expires_us, state, reason, reason_text, grp, cause, left_out)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19)",
        )?
        .execute(params![
            id.0.to_bytes(),
            user.as_str(),
            notice.kind.name(),
            told.about.map(|about| about.0.to_bytes()),
            notice.severity as u8,
            title,
            body,
            subject.url,
            group_collapse_key(told.group_id, user),
            now_us,
            notice.event_us,
            notice.due_us,
            notice.expires_us,
            state,
            reason,
            reason_text,
            told.group_id,
            told.decision.reason.name(),
            subject.left_out,
        ])?;
    let seq = connection.last_insert_rowid();
    let mut link =
        connection.prepare_cached("INSERT INTO message_alert (message, place, alert) VALUES (?1, ?2, ?3)")?;
    for (place, alert) in (0_i64..).zip(&subject.alerts) {
        link.execute(params![id.0.to_bytes(), place, alert.0.to_bytes()])?;
    }
    let mut delivery = connection.prepare_cached(
        "INSERT INTO delivery (id, message, endpoint, kind, label, state, attempts, next_us, reason, provider, priority, seq,
             expires_us)
         VALUES (?1, ?2, ?3, ?4, ?5, 'queued', 0, ?6, '', ?7, ?8, ?9, ?10)",
    )?;
    let priority = Priority::of(notice.severity);
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
            priority as u8,
            seq,
            notice.expires_us,
        ])?;
    }
    Ok(())
}

/// A message that is about no alert.
pub(super) struct Words<'a> {
    pub id: MessageId,
    pub kind: NoticeKind,
    pub severity: Severity,
    pub priority: Priority,
    pub title: &'a str,
    pub body: &'a str,
    pub url: &'a str,
    pub image: Option<&'a str>,
    pub tag: String,
    pub event_us: i64,
    pub expires_us: i64,
    /// Of which it is a part.
    pub announcement: Option<[u8; 16]>,
}

impl Words<'_> {
    /// Writes it for a person, with a delivery for each endpoint; answers how many. One with this id that is there already stays,
    /// and who has no endpoint has no message: nothing would ever be told of it.
    pub(super) fn put(&self, connection: &Connection, person: &Person, now_us: i64) -> Result<usize, Failure> {
        if person.targets.is_empty() {
            return Ok(0);
        }
        let id = self.id.0.to_bytes();
        let written = connection
            .prepare_cached(
                "INSERT INTO message (id, user, kind, severity, title, body, url, image, tag, created_us, event_us, due_us,
                     expires_us, state, reason, reason_text, announcement)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?10, ?12, 'waiting', '', '', ?13)
                 ON CONFLICT (id) DO NOTHING",
            )?
            .execute(params![
                id,
                person.name.as_str(),
                self.kind.name(),
                self.severity as u8,
                self.title,
                self.body,
                self.url,
                self.image,
                self.tag,
                now_us,
                self.event_us,
                self.expires_us,
                self.announcement,
            ])?;
        if written == 0 {
            return Ok(0);
        }
        let seq = connection.last_insert_rowid();
        let mut delivery = connection.prepare_cached(
            "INSERT INTO delivery (id, message, endpoint, kind, label, state, attempts, next_us, reason, provider, priority, seq,
                 expires_us, announcement)
             VALUES (?1, ?2, ?3, ?4, ?5, 'queued', 0, ?6, '', ?7, ?8, ?9, ?10, ?11)",
        )?;
        for target in &person.targets {
            delivery.execute(params![
                delivery_id(self.id, target.id).0.to_bytes(),
                id,
                target.id.0.to_bytes(),
                target.kind,
                target.label,
                now_us,
                target.provider,
                self.priority as u8,
                seq,
                self.expires_us,
                self.announcement,
            ])?;
        }
        Ok(person.targets.len())
    }
}
