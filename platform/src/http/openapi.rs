//! The API's description, made from the handlers.

use super::request::Anyone;
use actix_web::HttpResponse;
use utoipa::OpenApi;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};

#[derive(OpenApi)]
#[openapi(
    info(title = "Pulsewire", description = "Devices, their values and their people. Live values: /live, SPEC §9."),
    servers((url = "/api/v1")),
    paths(
        super::session::sign_in,
        super::session::sign_in_by_link,
        super::session::show,
        super::session::sign_out,
        super::users::list,
        super::users::create,
        super::users::update,
        super::users::delete,
        super::fleet::list::list,
        super::fleet::facets::facets,
        super::fleet::positions::positions,
        super::fleet::bulk::bulk,
        super::devices::create,
        super::devices::show,
        super::devices::update,
        super::devices::delete,
        super::devices::replace_secret,
        super::devices::create_token,
        super::commands::command_set,
        super::commands::create,
        super::commands::list,
        super::commands::show,
        super::commands::cancel,
        super::history::latest,
        super::history::history,
        super::query_many::query_many,
        super::export::export,
        super::rules::list,
        super::rules::create,
        super::rules::show,
        super::rules::update,
        super::rules::delete,
        super::rules::check,
        super::rules::versions,
        super::backtests::start,
        super::backtests::show,
        super::backtests::cancel,
        super::alerts::list,
        super::alerts::show,
        super::alerts::summary,
        super::alerts::operate,
        super::alerts::bulk,
        super::silences::list,
        super::silences::create,
        super::silences::preview,
        super::silences::show,
        super::silences::update,
        super::silences::end,
        super::silences::notifications,
        super::push::config,
        super::push::preferences::show,
        super::push::preferences::put,
        super::push::endpoints::list,
        super::push::endpoints::register,
        super::push::endpoints::update,
        super::push::endpoints::confirm,
        super::push::endpoints::resend,
        super::push::endpoints::delete,
        super::push::endpoints::test,
        super::push::messages::list,
        super::push::messages::show,
        super::push::messages::replay,
        super::push_actions::act,
        super::announcements::list,
        super::announcements::create,
        super::announcements::show,
        super::announcements::act,
        super::providers::list,
        super::import::import,
        super::live_status::live,
        super::live_status::viewers,
        super::overview::overview,
        super::about::about,
        super::tokens::list,
        super::tokens::create,
        super::tokens::delete,
        super::views::list,
        super::views::put,
        super::views::delete,
    )
)]
struct Document;

/// The OpenAPI document.
pub async fn document(_: Anyone) -> HttpResponse {
    let mut document = Document::openapi();
    let bearer = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    document.components.get_or_insert_default().add_security_scheme("bearer", bearer);
    document.security = Some(vec![SecurityRequirement::new("bearer", Vec::<String>::new())]);
    HttpResponse::Ok().json(document)
}
