//! What people want to be told.

use super::super::State;
use super::super::problem::{self, FieldProblem, Problem};
use super::super::request::{Body, Caller};
use super::whose;
use actix_web::http::StatusCode;
use actix_web::web;
use pulsewire_core::ids::UserName;
use pulsewire_core::push::{
    EndpointPreferences, EndpointPreferencesDocument, Preferences, PreferencesDocument, PreferencesError,
};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Whose preferences.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct PreferencesFilter {
    /// Another user's: admins.
    user: Option<String>,
}

fn unfit(error: PreferencesError, inside: &str) -> Problem {
    Problem::unprocessable("bad_preferences", &format!("{inside}{}", error.field), &error.problem)
}

fn read<D: DeserializeOwned>(body: Value, inside: &str) -> Result<D, Problem> {
    let refused = |detail: String| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "bad_preferences", detail);
    if !body.is_object() {
        return Err(refused("preferences are a JSON object".into()));
    }
    serde_path_to_error::deserialize(body).map_err(|error| {
        let told = problem::json(&error);
        let named = |one: FieldProblem| FieldProblem { field: format!("{inside}{}", one.field), ..one };
        let mut problem = refused(told.detail);
        problem.errors = told.errors.into_iter().map(named).collect();
        problem
    })
}

/// Where an endpoint differs.
pub(super) fn read_own(body: Value) -> Result<EndpointPreferences, Problem> {
    let document: EndpointPreferencesDocument = read(body, "preferences.")?;
    document.preferences().map_err(|error| unfit(error, "preferences."))
}

async fn of(state: &State, caller: &Caller<PreferencesFilter>) -> Result<UserName, Problem> {
    let own = &caller.identity.session.user.name;
    let user = whose(caller, caller.query.user.as_deref(), false)?.unwrap_or_else(|| own.clone());
    if user != *own && state.users.user(&user).await?.is_none() {
        return Err(Problem::missing("user", user.as_str()));
    }
    Ok(user)
}

fn written(preferences: &Preferences) -> web::Json<PreferencesDocument> {
    web::Json(PreferencesDocument::from(preferences))
}

/// What a user wants to be told, with every field.
#[utoipa::path(get, path = "/push/preferences", tag = "push", params(PreferencesFilter), responses(
    (status = 200, body = Object), (status = 403, body = Problem), (status = 404, body = Problem)))]
pub async fn show(
    state: web::Data<State>,
    caller: Caller<PreferencesFilter>,
) -> Result<web::Json<PreferencesDocument>, Problem> {
    let user = of(&state, &caller).await?;
    Ok(written(&state.outbox.endpoints().preferences(&user).await?))
}

/// Choose what is told; a field that is absent takes its default. What is held back is looked at again.
#[utoipa::path(put, path = "/push/preferences", tag = "push", params(PreferencesFilter), request_body = Object, responses(
    (status = 200, body = Object), (status = 403, body = Problem), (status = 404, body = Problem),
    (status = 422, body = Problem)))]
pub async fn put(
    state: web::Data<State>,
    caller: Caller<PreferencesFilter>,
    body: Body<Value>,
) -> Result<web::Json<PreferencesDocument>, Problem> {
    let user = of(&state, &caller).await?;
    let document: PreferencesDocument = read(body.read().await?, "")?;
    let preferences = document.preferences().map_err(|error| unfit(error, ""))?;
    state.outbox.put_preferences(user, preferences.clone()).await?;
    Ok(written(&preferences))
}
