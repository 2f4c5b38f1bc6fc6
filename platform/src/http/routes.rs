//! Which paths there are, and what may be asked of each.

use super::problem::Problem;
use super::{
    about, alerts, announcements, assets, backtests, commands, devices, export, fleet, history, import, live,
    live_status, openapi, overview, problem, providers, push, push_actions, query_many, rules, service, session,
    silences, tokens, users, views,
};
use actix_web::guard::{self, GuardContext};
use actix_web::http::Method;
use actix_web::{HttpRequest, HttpResponse, Resource, Route, web};

const READ: &[Method] = &[Method::GET, Method::HEAD];
const GET: &[Method] = &[Method::GET];
const POST: &[Method] = &[Method::POST];
const PUT: &[Method] = &[Method::PUT];
const PATCH: &[Method] = &[Method::PATCH];
const DELETE: &[Method] = &[Method::DELETE];

/// The first segments of paths that are not the dashboard's: its index page must not answer a probe that was mistyped.
pub const NOT_PAGES: [&str; 6] = ["api", "assets", "healthz", "readyz", "metrics", "live"];

/// Everything the port serves.
pub fn all(config: &mut web::ServiceConfig) {
    let api = web::scope("/api/v1")
        .service(path(
            "/session",
            [(READ, web::to(session::show)), (POST, web::to(session::sign_in)), (DELETE, web::to(session::sign_out))],
        ))
        .service(path("/session/link", [(POST, web::to(session::sign_in_by_link))]))
        .service(path("/users", [(READ, web::to(users::list)), (POST, web::to(users::create))]))
        .service(path("/users/{name}", [(PATCH, web::to(users::update)), (DELETE, web::to(users::delete))]))
        .service(path("/devices", [(READ, web::to(fleet::list::list)), (POST, web::to(devices::create))]))
        .service(path("/devices/facets", [(READ, web::to(fleet::facets::facets))]))
        .service(path("/devices/positions", [(READ, web::to(fleet::positions::positions))]))
        .service(path("/devices/bulk", [(POST, web::to(fleet::bulk::bulk))]))
        .service(path(
            "/devices/{id}",
            [(READ, web::to(devices::show)), (PATCH, web::to(devices::update)), (DELETE, web::to(devices::delete))],
        ))
        .service(path("/devices/{id}/secret", [(POST, web::to(devices::replace_secret))]))
        .service(path("/devices/{id}/token", [(POST, web::to(devices::create_token))]))
        .service(path("/devices/{id}/latest", [(READ, web::to(history::latest))]))
        .service(path("/devices/{id}/command-set", [(READ, web::to(commands::command_set))]))
        .service(path("/devices/{id}/commands", [(READ, web::to(commands::list)), (POST, web::to(commands::create))]))
        .service(path("/commands/{id}", [(READ, web::to(commands::show))]))
        .service(path("/commands/{id}/cancel", [(POST, web::to(commands::cancel))]))
        .service(path("/history", [(READ, web::to(history::history))]))
        .service(path("/query", [(GET, web::to(query_many::query_many))]))
        .service(path("/export", [(GET, web::to(export::export))]))
        .service(path("/import", [(POST, web::to(import::import))]))
        .service(path("/rules", [(READ, web::to(rules::list)), (POST, web::to(rules::create))]))
        .service(path("/rules/check", [(POST, web::to(rules::check))]))
        .service(path("/rules/backtest", [(POST, web::to(backtests::start))]))
        .service(path("/rules/backtest/{id}", [(READ, web::to(backtests::show)), (DELETE, web::to(backtests::cancel))]))
        .service(path("/rules/{id}/versions", [(READ, web::to(rules::versions))]))
        .service(path(
            "/rules/{id}",
            [(READ, web::to(rules::show)), (PATCH, web::to(rules::update)), (DELETE, web::to(rules::delete))],
        ))
        .service(path("/alerts", [(READ, web::to(alerts::list))]))
        .service(path("/alerts/summary", [(READ, web::to(alerts::summary))]))
        .service(path("/alerts/bulk", [(POST, web::to(alerts::bulk))]))
        .service(path("/alerts/{id}", [(READ, web::to(alerts::show))]))
        .service(path("/alerts/{id}/{action}", [(POST, web::to(alerts::operate))]))
        .service(path("/notifications", [(READ, web::to(silences::notifications))]))
        .service(path("/silences", [(READ, web::to(silences::list)), (POST, web::to(silences::create))]))
        .service(path("/silences/preview", [(POST, web::to(silences::preview))]))
        .service(path(
            "/silences/{id}",
            [(READ, web::to(silences::show)), (PATCH, web::to(silences::update)), (DELETE, web::to(silences::end))],
        ))
        .service(path("/push/config", [(READ, web::to(push::config))]))
        .service(path(
            "/push/endpoints",
            [(READ, web::to(push::endpoints::list)), (POST, web::to(push::endpoints::register))],
        ))
        .service(path(
            "/push/endpoints/{id}",
            [(PATCH, web::to(push::endpoints::update)), (DELETE, web::to(push::endpoints::delete))],
        ))
        .service(path("/push/endpoints/{id}/test", [(POST, web::to(push::endpoints::test))]))
        .service(path("/push/endpoints/{id}/confirm", [(POST, web::to(push::endpoints::confirm))]))
        .service(path("/push/endpoints/{id}/confirm/resend", [(POST, web::to(push::endpoints::resend))]))
        .service(path(
            "/push/preferences",
            [(READ, web::to(push::preferences::show)), (PUT, web::to(push::preferences::put))],
        ))
        .service(path("/push/messages", [(READ, web::to(push::messages::list))]))
        .service(path("/push/messages/{id}", [(READ, web::to(push::messages::show))]))
        .service(path("/push/messages/{id}/replay", [(POST, web::to(push::messages::replay))]))
        .service(path("/push/actions", [(POST, web::to(push_actions::act))]))
        .service(path(
            "/push/announcements",
            [(READ, web::to(announcements::list)), (POST, web::to(announcements::create))],
        ))
        .service(path("/push/announcements/{id}", [(READ, web::to(announcements::show))]))
        .service(path("/push/announcements/{id}/{act}", [(POST, web::to(announcements::act))]))
        .service(path("/push/providers", [(READ, web::to(providers::list))]))
        .service(path("/tokens", [(READ, web::to(tokens::list)), (POST, web::to(tokens::create))]))
        .service(path("/tokens/{id}", [(DELETE, web::to(tokens::delete))]))
        .service(path("/views", [(READ, web::to(views::list))]))
        .service(path("/views/{page}/{name}", [(PUT, web::to(views::put)), (DELETE, web::to(views::delete))]))
        .service(path("/about", [(READ, web::to(about::about))]))
        .service(path("/overview", [(READ, web::to(overview::overview))]))
        .service(path("/live", [(READ, web::to(live_status::live))]))
        .service(path("/live/viewers", [(READ, web::to(live_status::viewers))]))
        .service(path("/openapi.json", [(READ, web::to(openapi::document))]))
        .default_service(web::to(problem::not_found));
    config
        .service(api)
        .service(path("/healthz", [(READ, web::to(service::healthz))]))
        .service(path("/readyz", [(READ, web::to(service::readyz))]))
        .service(path("/metrics", [(READ, web::to(service::metrics))]))
        .service(path("/live", [(GET, web::to(live::connect))]))
        .default_service(web::to(assets::serve));
}

/// A path with its routes. Every other method is refused with those that are allowed.
fn path<const N: usize>(path: &str, routes: [(&'static [Method], Route); N]) -> Resource {
    let mut resource = web::resource(path);
    let mut allowed = Vec::new();
    for (methods, route) in routes {
        allowed.extend(methods.iter().map(Method::as_str));
        let one_of = move |context: &GuardContext<'_>| methods.contains(&context.head().method);
        resource = resource.route(route.guard(guard::fn_guard(one_of)));
    }
    let allowed = allowed.join(", ");
    resource.default_service(web::to(move |request: HttpRequest| {
        let problem = Problem::method_not_allowed(&request, &allowed);
        async move { Err::<HttpResponse, _>(problem) }
    }))
}
