//! Views of pages that people keep under a name.

use super::State;
use super::problem::Problem;
use super::query::{Page, clip, time_text};
use super::request::{Body, Caller};
use crate::ports::SavedView;
use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use pulsewire_core::role::Role;
use serde::{Deserialize, Serialize};

/// Pages that have views.
const PAGES: [&str; 5] = ["devices", "explore", "map", "alerts", "overview"];
/// Most characters of a name.
const NAME_CHARS_MAX: usize = 80;
/// Most bytes of a query.
const QUERY_BYTES_MAX: usize = 4_096;
/// Most views of one user.
const VIEWS_MAX: usize = 100;

/// A view.
#[derive(Serialize, utoipa::ToSchema)]
pub struct ViewJson {
    page: String,
    name: String,
    /// The page's query string.
    query: String,
    /// Everybody may use it.
    shared: bool,
    owner: String,
    changed: String,
}

impl From<SavedView> for ViewJson {
    fn from(view: SavedView) -> Self {
        Self {
            page: view.page,
            name: view.name,
            query: view.query,
            shared: view.shared,
            owner: view.owner.to_string(),
            changed: time_text(view.changed_us),
        }
    }
}

/// Which views.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ViewFilter {
    /// `devices`, `explore`, `map`, `alerts` or `overview`; all if absent.
    page: Option<String>,
}

/// What to keep.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ViewChange {
    query: String,
    #[serde(default)]
    shared: bool,
}

fn check_page(page: &str) -> Result<(), Problem> {
    if PAGES.contains(&page) {
        return Ok(());
    }
    Err(Problem::field("page", format!("page is {:?}; one of {} is wanted", clip(page), PAGES.join(", "))))
}

fn check_name(name: &str) -> Result<(), Problem> {
    let chars = name.chars().count();
    if name.trim() == name && (1..=NAME_CHARS_MAX).contains(&chars) && !name.chars().any(char::is_control) {
        return Ok(());
    }
    let detail = format!(
        "name is {:?}; 1-{NAME_CHARS_MAX} characters are wanted, no control characters and no white space at the ends",
        clip(name)
    );
    Err(Problem::field("name", detail))
}

/// One's own views and those that others share.
#[utoipa::path(get, path = "/views", tag = "views", params(ViewFilter), responses(
    (status = 200, body = Page<ViewJson>), (status = 400, body = Problem)))]
pub async fn list(state: web::Data<State>, caller: Caller<ViewFilter>) -> Result<web::Json<Page<ViewJson>>, Problem> {
    let page = caller.query.page.as_deref();
    page.map(check_page).transpose()?;
    let mut views = state.views.views(&caller.identity.session.user.name, page).await?;
    if !caller.scope().is_all() {
        // Those of others may name devices.
        views.retain(|view| view.owner == caller.identity.session.user.name);
    }
    Ok(web::Json(Page::whole(views.into_iter().map(ViewJson::from).collect())))
}

/// Keep a view, in the place of one of one's own with the same name.
#[utoipa::path(put, path = "/views/{page}/{name}", tag = "views", request_body = ViewChange,
    params(("page" = String, Path), ("name" = String, Path)), responses(
    (status = 200, body = ViewJson), (status = 400, body = Problem), (status = 403, body = Problem),
    (status = 429, body = Problem)))]
pub async fn put(
    state: web::Data<State>,
    caller: Caller,
    path: web::Path<(String, String)>,
    body: Body<ViewChange>,
) -> Result<web::Json<ViewJson>, Problem> {
    let (page, name) = path.into_inner();
    check_page(&page)?;
    check_name(&name)?;
    let ViewChange { query, shared } = body.read().await?;
    if query.len() > QUERY_BYTES_MAX || query.chars().any(char::is_control) {
        let detail = format!(
            "query has {} bytes; at most {QUERY_BYTES_MAX} without control characters are allowed",
            query.len()
        );
        return Err(Problem::field("query", detail));
    }
    if shared {
        // Everybody's list would be anybody's to fill.
        caller.require(Role::Operator)?;
    }
    let owner = caller.identity.session.user.name;
    let view = SavedView { owner, page, name, query, shared, changed_us: state.clock.now_us() };
    if !state.views.put_view(view.clone(), VIEWS_MAX).await? {
        let detail = format!("there are {VIEWS_MAX} views of yours already, as many as may be; delete one first");
        return Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, "too_many_views", detail));
    }
    Ok(web::Json(view.into()))
}

/// Delete a view of one's own.
#[utoipa::path(delete, path = "/views/{page}/{name}", tag = "views",
    params(("page" = String, Path), ("name" = String, Path)), responses(
    (status = 204), (status = 404, body = Problem)))]
pub async fn delete(
    state: web::Data<State>,
    caller: Caller,
    path: web::Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    let (page, name) = path.into_inner();
    check_page(&page)?;
    check_name(&name)?;
    state.views.delete_view(&caller.identity.session.user.name, &page, &name).await?;
    Ok(HttpResponse::NoContent().finish())
}
