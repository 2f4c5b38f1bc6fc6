//! Where a message that passed the gate goes now, later, or not: what its person wants at each endpoint.

use super::columns::{damaged, notice_kind, severity};
use super::needed::{SHOWN_THERE, TOLD_TOGETHER_THERE};
use super::outbox::{Bytes, end, note};
use super::{digest, preferences};
use pulsewire_core::ids::GroupName;
use pulsewire_core::notice::NoticeKind;
use pulsewire_core::notify::MINUTE_US;
use pulsewire_core::push::{About, Course, EndpointPreferences, Held, Preferences, Unwanted, deliver};
use pulsewire_core::severity::Severity;
use rusqlite::{Connection, OptionalExtension, Row, params};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Users looked at again in one step.
const USERS_MAX: i64 = 64;
/// Deliveries of one user looked at again in one step; more wait for the next.
const DUE_MAX: i64 = 2048;

/// A person while a step runs.
struct Person {
    preferences: Preferences,
    /// When messages went that the cap counts, and whether they were critical.
    sent: Vec<(i64, bool)>,
}

impl Person {
    /// What is critical waits only for what is critical.
    fn sent_us(&self, critical: bool) -> Vec<i64> {
        self.sent.iter().filter(|(_, was_critical)| *was_critical || !critical).map(|(at, _)| *at).collect()
    }

    fn full_until_us(&self, critical: bool, now_us: i64) -> Option<i64> {
        self.preferences.cap.full_until_us(&self.sent_us(critical), now_us)
    }
}

/// A message, as far as it decides.
#[derive(Debug, Clone)]
struct Facts {
    user: String,
    kind: NoticeKind,
    severity: Severity,
    due_us: i64,
    counted: bool,
    left_out: bool,
}

/// A delivery that is decided about.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub id: Bytes,
    pub message: Bytes,
    pub endpoint: Bytes,
    /// Of messages with the same one an endpoint shows the newest.
    pub tag: String,
    /// Newer messages have higher ones.
    pub seq: i64,
    /// Why it waited so far.
    pub held: Option<String>,
    expires_us: i64,
    muted: bool,
    own: EndpointPreferences,
}

const CANDIDATES: &str =
    "SELECT d.id, d.message, d.endpoint, d.held, d.expires_us, m.tag, m.seq, e.muted, e.preferences
     FROM delivery d JOIN message m ON m.id = d.message JOIN endpoint e ON e.id = d.endpoint";

fn candidate(row: &Row<'_>) -> rusqlite::Result<Candidate> {
    Ok(Candidate {
        id: row.get("id")?,
        message: row.get("message")?,
        endpoint: row.get("endpoint")?,
        tag: row.get("tag")?,
        seq: row.get("seq")?,
        held: row.get("held")?,
        expires_us: row.get("expires_us")?,
        muted: row.get("muted")?,
        own: preferences::of_endpoint(&row.get::<_, String>("preferences")?),
    })
}

fn facts(connection: &Connection, message: Bytes) -> rusqlite::Result<Option<Facts>> {
    connection
        .prepare_cached(
            "SELECT user, kind, severity, due_us, passed_us IS NOT NULL AS counted, left_out > 0 AS left_out
             FROM message WHERE id = ?1",
        )?
        .query_row([message], |row| {
            Ok(Facts {
                user: row.get("user")?,
                kind: notice_kind(&row.get::<_, String>("kind")?)?,
                severity: severity(row.get("severity")?)?,
                due_us: row.get("due_us")?,
                counted: row.get("counted")?,
                left_out: row.get("left_out")?,
            })
        })
        .optional()
}

/// The device groups of a message's alerts; None if not all are known.
fn groups(connection: &Connection, message: Bytes, facts: &Facts) -> rusqlite::Result<Option<Vec<Option<GroupName>>>> {
    if facts.left_out {
        return Ok(None);
    }
    let mut statement = connection.prepare_cached(
        "SELECT DISTINCT a.grp FROM message_alert x JOIN alert a ON a.id = x.alert WHERE x.message = ?1",
    )?;
    let found = statement.query_map([message], |row| row.get::<_, Option<String>>(0))?;
    let name = |name: Option<String>| name.as_deref().map(GroupName::parse).transpose().map_err(damaged);
    let found: Vec<_> = found.map(|one| name(one?)).collect::<rusqlite::Result<_>>()?;
    // Of a message whose alerts are gone nothing is known.
    Ok(Some(found).filter(|found| !found.is_empty()))
}

/// Whether the endpoint shows an alarm that this end is about, and whether it was told of one together with others.
fn shown(connection: &Connection, message: Bytes, endpoint: Bytes) -> rusqlite::Result<(bool, bool)> {
    let sql = format!("SELECT {SHOWN_THERE}, {TOLD_TOGETHER_THERE} FROM message m WHERE m.id = ?1");
    connection.prepare_cached(&sql)?.query_row(params![message, endpoint], |row| Ok((row.get(0)?, row.get(1)?)))
}

/// Decides within one step.
pub(super) struct Judge<'a> {
    pub connection: &'a Connection,
    pub now_us: i64,
    people: HashMap<String, Person>,
    /// Messages of which a delivery ended.
    pub touched: BTreeSet<Bytes>,
}

impl<'a> Judge<'a> {
    pub fn new(connection: &'a Connection, now_us: i64) -> Self {
        Self { connection, now_us, people: HashMap::new(), touched: BTreeSet::new() }
    }

    fn person(&mut self, user: &str) -> rusqlite::Result<&mut Person> {
        if !self.people.contains_key(user) {
            let preferences = preferences::of(self.connection, user)?;
            let mut sent = self.connection.prepare_cached(
                "SELECT passed_us, severity = 2 FROM message WHERE user = ?1 AND passed_us IS NOT NULL AND passed_us > ?2
                 ORDER BY passed_us DESC LIMIT 256",
            )?;
            let sent = sent.query_map(params![user, self.now_us.saturating_sub(MINUTE_US)], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?;
            let person = Person { preferences, sent: sent.collect::<Result<_, _>>()? };
            self.people.insert(user.to_owned(), person);
        }
        self.people.get_mut(user).ok_or_else(|| damaged("a person just put there is not there"))
    }

    fn course(&mut self, one: &Candidate, facts: &Facts) -> rusqlite::Result<(Course, bool)> {
        let (connection, now_us) = (self.connection, self.now_us);
        let person = self.person(&facts.user)?;
        let wanted = person.preferences.at(&one.own);
        let groups = if wanted.groups.is_some() { groups(connection, one.message, facts)? } else { None };
        let (told, replaces) = match facts.kind {
            NoticeKind::Resolved => {
                let (shown, together) = shown(connection, one.message, one.endpoint)?;
                (shown || together, shown)
            }
            kind => (true, kind == NoticeKind::Acknowledged),
        };
        let about = About {
            kind: facts.kind,
            severity: facts.severity,
            groups: groups.as_deref(),
            due_us: facts.due_us,
            expires_us: one.expires_us,
            told,
            replaces,
            counted: facts.counted || is_uncounted(facts.kind),
        };
        Ok((
            deliver(&wanted, one.muted, &about, &person.sent_us(facts.severity == Severity::Critical), now_us),
            replaces,
        ))
    }

    /// The cap counts a message that goes.
    fn count(&mut self, message: Bytes, facts: &mut Facts, replaces: bool) -> rusqlite::Result<()> {
        if facts.counted || replaces || is_uncounted(facts.kind) {
            return Ok(());
        }
        facts.counted = true;
        let now_us = self.now_us;
        let critical = facts.severity == Severity::Critical;
        self.person(&facts.user)?.sent.push((now_us, critical));
        self.connection
            .prepare_cached("UPDATE message SET passed_us = ?2 WHERE id = ?1")?
            .execute(params![message, now_us])?;
        Ok(())
    }

    fn send(&mut self, one: &Candidate) -> rusqlite::Result<()> {
        if one.held.is_some() {
            self.connection
                .prepare_cached("UPDATE delivery SET held = NULL, next_us = ?2 WHERE id = ?1")?
                .execute(params![one.id, self.now_us])?;
        }
        Ok(())
    }

    fn withdraw(&mut self, one: &Candidate, why: Unwanted) -> rusqlite::Result<()> {
        let ended = end(self.connection, &[(one.id, one.message)], self.now_us, "withdrawn", why.text())?;
        self.touched.extend(ended);
        Ok(())
    }

    fn hold(&self, one: &Candidate, until_us: i64, why: Held) -> rusqlite::Result<()> {
        // Who wants messages together wants them however long that takes.
        let expires_us = match why {
            Held::Digest if until_us >= one.expires_us => {
                until_us.saturating_add(until_us.saturating_sub(self.now_us).max(MINUTE_US))
            }
            _ => one.expires_us,
        };
        self.connection
            .prepare_cached("UPDATE delivery SET held = ?2, next_us = ?3, expires_us = ?4 WHERE id = ?1")?
            .execute(params![one.id, why.name(), until_us, expires_us])?;
        if one.held.as_deref() != Some(why.name()) {
            note(self.connection, one.id, self.now_us, "held", None, why.text())?;
        }
        Ok(())
    }

    /// A message passed the gate.
    pub fn pass(&mut self, message: Bytes) -> rusqlite::Result<()> {
        let Some(mut facts) = facts(self.connection, message)? else { return Ok(()) };
        let sql = format!("{CANDIDATES} WHERE d.message = ?1 AND d.state = 'queued' AND d.held IS NULL");
        let own =
            self.connection.prepare_cached(&sql)?.query_map([message], candidate)?.collect::<Result<Vec<_>, _>>()?;
        for one in own {
            match self.course(&one, &facts)? {
                (Course::Send, replaces) => self.count(message, &mut facts, replaces)?,
                (Course::Hold { until_us, why }, _) => self.hold(&one, until_us, why)?,
                (Course::Withdraw(why), _) => self.withdraw(&one, why)?,
            }
        }
        Ok(())
    }

    /// Looks at what waited and is due; says whether there may be more.
    pub fn look_again(&mut self) -> rusqlite::Result<bool> {
        let mut statement = self.connection.prepare_cached(
            "SELECT m.user FROM delivery d INDEXED BY delivery_held JOIN message m ON m.id = d.message
             WHERE d.held IS NOT NULL AND d.held <> 'paused' AND d.next_us <= ?1 AND d.state = 'queued' GROUP BY m.user LIMIT ?2",
        )?;
        let users: Vec<String> =
            statement.query_map(params![self.now_us, USERS_MAX], |row| row.get(0))?.collect::<Result<_, _>>()?;
        let mut more = i64::try_from(users.len()).is_ok_and(|found| found >= USERS_MAX);
        for user in users {
            more |= self.look_again_at(&user)?;
        }
        Ok(more)
    }

    fn look_again_at(&mut self, user: &str) -> rusqlite::Result<bool> {
        // The worst first: they take what room there is.
        let sql = format!(
            "{CANDIDATES} WHERE e.user = ?1 AND m.user = ?1 AND d.state = 'queued' AND d.held IS NOT NULL AND d.held <> 'paused'
                 AND d.next_us <= ?2
             ORDER BY m.severity DESC, m.seq LIMIT ?3"
        );
        let mut due = self.connection.prepare_cached(&sql)?;
        let due = due.query_map(params![user, self.now_us, DUE_MAX], candidate)?.collect::<Result<Vec<_>, _>>()?;
        let mut together: BTreeMap<Bytes, Vec<Candidate>> = BTreeMap::new();
        let mut known: HashMap<Bytes, Facts> = HashMap::new();
        for one in &due {
            let mut about = match known.get(&one.message) {
                Some(known) => known.clone(),
                None => match facts(self.connection, one.message)? {
                    Some(found) => found,
                    None => continue,
                },
            };
            match self.course(one, &about)? {
                (Course::Send, replaces) => {
                    // What takes a place goes by itself, as do words of people.
                    if !replaces && matches!(about.kind, NoticeKind::Firing | NoticeKind::Resolved) {
                        together.entry(one.endpoint).or_default().push(one.clone());
                    } else {
                        self.count(one.message, &mut about, replaces)?;
                        self.send(one)?;
                    }
                }
                (Course::Hold { until_us, why }, _) => self.hold(one, until_us, why)?,
                (Course::Withdraw(why), _) => self.withdraw(one, why)?,
            }
            known.insert(one.message, about);
        }
        self.tell_together(user, together, &mut known)?;
        // What belongs to nobody any more must not make the next step look at it at once, and for ever.
        Ok(i64::try_from(due.len()).is_ok_and(|found| found >= DUE_MAX))
    }

    /// What waited for one endpoint goes as one message; one alone goes as itself.
    fn tell_together(
        &mut self,
        user: &str,
        together: BTreeMap<Bytes, Vec<Candidate>>,
        known: &mut HashMap<Bytes, Facts>,
    ) -> rusqlite::Result<()> {
        // Endpoints for which the same waited get the same message.
        let mut sets: BTreeMap<BTreeSet<Bytes>, Vec<Vec<Candidate>>> = BTreeMap::new();
        for own in together.into_values() {
            sets.entry(own.iter().map(|one| one.message).collect()).or_default().push(own);
        }
        for endpoints in sets.into_values() {
            self.tell_set(user, &endpoints, known)?;
        }
        Ok(())
    }

    /// The same messages at some endpoints.
    fn tell_set(
        &mut self,
        user: &str,
        endpoints: &[Vec<Candidate>],
        known: &mut HashMap<Bytes, Facts>,
    ) -> rusqlite::Result<()> {
        let now_us = self.now_us;
        let alone = endpoints.first().and_then(|own| only_news(own));
        let counted = alone.and_then(|message| known.get(&message)).is_some_and(|facts| facts.counted);
        let critical =
            |one: &Candidate| known.get(&one.message).is_some_and(|facts| facts.severity == Severity::Critical);
        let critical = endpoints.iter().flatten().any(critical);
        let person = self.person(user)?;
        if let Some(until_us) = person.full_until_us(critical, now_us).filter(|_| !counted) {
            for one in endpoints.iter().flatten() {
                self.hold(one, until_us, Held::Storm)?;
            }
            return Ok(());
        }
        let instead = match alone {
            Some(message) => {
                if let Some(facts) = known.get_mut(&message) {
                    self.count(message, facts, false)?;
                }
                message
            }
            None => {
                person.sent.push((now_us, critical));
                let language = person.preferences.language;
                digest::put(self.connection, user, endpoints, language, now_us)?
            }
        };
        for one in endpoints.iter().flatten() {
            if one.message == instead {
                self.send(one)?;
                continue;
            }
            let ended = end(self.connection, &[(one.id, one.message)], now_us, "digested", Unwanted::Digested.text())?;
            self.touched.extend(ended);
            self.connection
                .prepare_cached("UPDATE delivery SET digest = ?2 WHERE id = ?1")?
                .execute(params![one.id, instead])?;
        }
        Ok(())
    }
}

/// Words of people and of the server about itself leave the room to alarms.
fn is_uncounted(kind: NoticeKind) -> bool {
    matches!(kind, NoticeKind::Test | NoticeKind::Announcement | NoticeKind::Operator)
}

/// The newest message, if all others are of its tag: it says what counts.
fn only_news(own: &[Candidate]) -> Option<Bytes> {
    let newest = own.iter().max_by_key(|one| one.seq)?;
    own.iter().all(|one| one.tag == newest.tag).then_some(newest.message)
}
