//! The dashboard's files.

use super::problem::{self, Problem};
use actix_web::http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY,
};
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, HttpResponse};
use pulsewire_dashboard::Asset;

/// A file of the dashboard; any other path that is not the API's is one of its pages.
pub async fn serve(request: HttpRequest) -> Result<HttpResponse, Problem> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let detail = format!("{} is not possible here", request.method());
        return Err(Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail));
    }
    let path = request.path();
    if let Some(asset) = pulsewire_dashboard::lookup(path.trim_start_matches('/')) {
        return Ok(answer(&request, asset));
    }
    if path.starts_with("/api/") || path.starts_with("/assets/") {
        return problem::not_found(request).await;
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
