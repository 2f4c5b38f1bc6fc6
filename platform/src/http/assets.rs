//! The dashboard's files.

use super::problem::{self, Problem};
use super::routes::NOT_PAGES;
use actix_web::http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY,
};
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, HttpResponse};
use pulsewire_dashboard::Asset;

/// A file of the dashboard; any other path that is not the API's is one of its pages.
pub async fn serve(request: HttpRequest) -> Result<HttpResponse, Problem> {
    let path = request.path().trim_start_matches('/');
    let asset = pulsewire_dashboard::lookup(path);
    if asset.is_none() && path.split('/').next().is_some_and(|first| NOT_PAGES.contains(&first)) {
        return problem::not_found(request).await;
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return Err(Problem::method_not_allowed(&request, "GET, HEAD"));
    }
    if let Some(asset) = asset {
        return Ok(answer(&request, asset));
    }
    Ok(answer(&request, pulsewire_dashboard::index()))
}

fn answer(request: &HttpRequest, asset: &'static Asset) -> HttpResponse {
    let header = |name| request.headers().get(name).and_then(|v| v.to_str().ok()).unwrap_or("");
    let cache = if asset.immutable { "public, max-age=31536000, immutable" } else { "no-cache" };
    let mut response = HttpResponse::Ok();
    response
        .insert_header((CACHE_CONTROL, cache))
        .insert_header((ETAG, asset.etag))
        .insert_header((VARY, "accept-encoding"));
    if header(IF_NONE_MATCH).split(',').any(|tag| tag.trim().trim_start_matches("W/") == asset.etag) {
        return response.status(StatusCode::NOT_MODIFIED).finish();
    }
    response.insert_header((CONTENT_TYPE, asset.content_type));
    let takes_gzip =
        header(ACCEPT_ENCODING).split(',').any(|e| e.split(';').next().is_some_and(|n| n.trim() == "gzip"));
    match asset.gzip.filter(|_| takes_gzip) {
        Some(gzip) => response.insert_header((CONTENT_ENCODING, "gzip")).body(gzip),
        None => response.insert_header((CONTENT_ENCODING, "identity")).body(asset.bytes),
    }
}
