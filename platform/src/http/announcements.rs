//! Words of admins to many.

use super::State;
use super::problem::Problem;
use super::push::random;
use super::query::{self, Page, clip, parse_duration, parse_time, time_text};
use super::request::{Body, Caller};
use actix_web::{HttpResponse, web};
use pulsewire_core::ids::{AnnouncementId, GroupName};
use pulsewire_core::notify::Recipients;
use pulsewire_core::push::{Addressees, Announcement, AnnouncementAct, AnnouncementState, Progress, TTL_US};
use pulsewire_core::role::Role;
use pulsewire_core::severity::Severity;
use pulsewire_core::ulid::Ulid;
use serde::{Deserialize, Serialize};

/// How long one is worth telling if nothing else is said: a day.
const TTL_DEFAULT_US: i64 = 86_400_000_000;

/// How far it has come.
#[derive(Serialize, utoipa::ToSchema)]
pub struct ProgressJson {
    /// People it was made out to so far.
    people: u64,
    /// Their endpoints.
    endpoints: u64,
    delivered: u64,
    failed: u64,
    /// Endpoints whose people do not want it, or that are gone.
    withdrawn: u64,
    /// The rest of `endpoints`.
    waiting: u64,
}

/// Words of an admin to many.
#[derive(Serialize, utoipa::ToSchema)]
pub struct AnnouncementJson {
    id: String,
    title: String,
    body: String,
    url: String,
    image: Option<String>,
    severity: &'static str,
    /// `everyone`, `role:ROLE` or `user:NAME`s.
    to: Vec<String>,
    /// The device group whose followers get it; `to` is empty then.
    group: Option<String>,
    /// `scheduled`, `running`, `paused`, `done` or `canceled`.
    state: &'static str,
    created: String,
    created_by: String,
    not_before: String,
    expires: String,
    progress: ProgressJson,
}

impl From<Announcement> for AnnouncementJson {
    fn from(one: Announcement) -> Self {
        let Progress { people, endpoints, delivered, failed, withdrawn } = one.progress;
        let waiting = one.progress.waiting();
        let (to, group) = match &one.to {
            Addressees::People(to) => (to.texts(), None),
            Addressees::Group(group) => (Vec::new(), Some(group.to_string())),
        };
        Self {
            id: one.id.to_string(),
            title: one.title,
            body: one.body,
            url: one.url,
            image: one.image,
            severity: one.severity.name(),
            to,
            group,
            state: one.state.name(),
            created: time_text(one.created_us),
            created_by: one.created_by.to_string(),
            not_before: time_text(one.not_before_us),
            expires: time_text(one.expires_us),
            progress: ProgressJson { people, endpoints, delivered, failed, withdrawn, waiting },
        }
    }
}

/// Something to be announced.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewAnnouncementJson {
    title: String,
    #[serde(default)]
    body: String,
    /// Path on this server; default `/`.
    url: Option<String>,
    /// An https address of a picture.
    image: Option<String>,
    /// `info` (the default), `warning` or `critical`.
    severity: Option<String>,
    /// `["everyone"]` (the default), `["role:operator"]` or `["user:kim", "user:lee"]`.
    to: Option<Vec<String>>,
    /// Instead of `to`: those who are told of alerts of devices in this group.
    group: Option<String>,
    /// Not sent before; default now.
    not_before: Option<String>,
    /// Worth telling for so long after that, `1m` to `28d`; default `24h`.
    ttl: Option<String>,
}

fn parse_id(text: &str) -> Result<AnnouncementId, Problem> {
    AnnouncementId::parse(text).map_err(|_| Problem::missing("announcement", &clip(text)))
}

fn build(state: &State, caller: &Caller, new: NewAnnouncementJson) -> Result<Announcement, Problem> {
    let now_us = state.clock.now_us();
    let severity = match new.severity.as_deref() {
        None => Severity::Info,
        Some(name) => Severity::from_name(name).ok_or_else(|| {
            Problem::field("severity", format!("severity is {:?}; info, warning or critical is allowed", clip(name)))
        })?,
    };
    let to = match (new.to, new.group) {
        (None, None) => Addressees::People(Recipients::Everyone),
        (Some(texts), None) => {
            let to = Recipients::parse(&texts).map_err(|wanted| Problem::field("to", format!("to: {wanted}")))?;
            Addressees::People(to)
        }
        (None, Some(group)) => {
            Addressees::Group(GroupName::parse(&group).map_err(|error| Problem::field("group", error))?)
        }
        (Some(_), Some(_)) => return Err(Problem::field("group", "group and to exclude each other; give one of them")),
    };
    let not_before_us =
        new.not_before.as_deref().map_or(Ok(now_us), |text| parse_time("not_before", text))?.max(now_us);
    let ttl = new.ttl.as_deref();
    let ttl_us = ttl.map_or(Ok(TTL_DEFAULT_US), |text| parse_duration("ttl", text, *TTL_US.start(), *TTL_US.end()))?;
    let announcement = Announcement {
        id: AnnouncementId(Ulid::from_parts(now_us, random()?)),
        title: new.title.trim().to_owned(),
        body: new.body.trim().to_owned(),
        url: new.url.unwrap_or_else(|| "/".into()),
        image: new.image.filter(|image| !image.is_empty()),
        severity,
        to,
        created_us: now_us,
        created_by: caller.identity.session.user.name.clone(),
        not_before_us,
        expires_us: not_before_us.saturating_add(ttl_us),
        state: AnnouncementState::Scheduled,
        progress: Progress::default(),
    };
    announcement.check(now_us).map_err(|error| Problem::field(error.field, error))?;
    Ok(announcement)
}

/// Tell many people something: for admins. It goes out in pieces, never before other messages.
#[utoipa::path(post, path = "/push/announcements", tag = "push", request_body = NewAnnouncementJson, responses(
    (status = 202, body = AnnouncementJson), (status = 400, body = Problem), (status = 403, body = Problem),
    (status = 429, body = Problem)))]
pub async fn create(
    state: web::Data<State>,
    caller: Caller,
    body: Body<NewAnnouncementJson>,
) -> Result<HttpResponse, Problem> {
    caller.require(Role::Admin)?;
    let announcement = build(&state, &caller, body.read().await?)?;
    state.outbox.announce(announcement.clone()).await?;
    Ok(HttpResponse::Accepted().json(AnnouncementJson::from(announcement)))
}

/// Which announcements.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct AnnouncementFilter {
    limit: Option<u32>,
    cursor: Option<String>,
}

/// Announcements, the newest first: for admins.
#[utoipa::path(get, path = "/push/announcements", tag = "push", params(AnnouncementFilter), responses(
    (status = 200, body = Page<AnnouncementJson>), (status = 400, body = Problem), (status = 403, body = Problem)))]
pub async fn list(
    state: web::Data<State>,
    caller: Caller<AnnouncementFilter>,
) -> Result<web::Json<Page<AnnouncementJson>>, Problem> {
    caller.require(Role::Admin)?;
    let limit = query::limit(caller.query.limit)?;
    let cursor = caller.query.cursor.as_deref();
    let before = cursor.map(|text| text.parse().map_err(|_| Problem::field("cursor", "cursor is none of this list")));
    let mut found = state.outbox.announcements().announcements(before.transpose()?, limit + 1).await?;
    let more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| more).map(|(seq, _)| seq.to_string());
    Ok(web::Json(Page { items: found.into_iter().map(|(_, one)| one.into()).collect(), next }))
}

/// One announcement: for admins.
#[utoipa::path(get, path = "/push/announcements/{id}", tag = "push", params(("id" = String, Path)), responses(
    (status = 200, body = AnnouncementJson), (status = 403, body = Problem), (status = 404, body = Problem)))]
pub async fn show(
    state: web::Data<State>,
    caller: Caller,
    path: web::Path<String>,
) -> Result<web::Json<AnnouncementJson>, Problem> {
    caller.require(Role::Admin)?;
    let found = state.outbox.announcements().announcement(parse_id(&path)?).await?;
    Ok(web::Json(found.ok_or_else(|| Problem::missing("announcement", &path))?.into()))
}

/// Stop an announcement for a while (`pause`), go on (`resume`) or stop it for good (`cancel`): for admins.
#[utoipa::path(post, path = "/push/announcements/{id}/{act}", tag = "push",
    params(("id" = String, Path), ("act" = String, Path)), responses(
    (status = 200, body = AnnouncementJson), (status = 403, body = Problem), (status = 404, body = Problem),
    (status = 409, body = Problem)))]
pub async fn act(
    state: web::Data<State>,
    caller: Caller,
    path: web::Path<(String, String)>,
) -> Result<web::Json<AnnouncementJson>, Problem> {
    caller.require(Role::Admin)?;
    let (id, name) = path.into_inner();
    let act = AnnouncementAct::ALL.into_iter().find(|act| act.name() == name);
    let act = act.ok_or_else(|| Problem::missing("action", &clip(&name)))?;
    Ok(web::Json(state.outbox.act_on(parse_id(&id)?, act).await?.into()))
}
