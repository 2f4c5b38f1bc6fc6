//! What every answer carries.

use super::State;
use crate::config::MapTiles;
use crate::telemetry::names;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use actix_web::middleware::Next;
use actix_web::web;

/// Nothing is loaded from elsewhere and nothing inline; charts set styles by script, which this allows.
const POLICY: &str = "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; \
                      form-action 'self'; frame-ancestors 'none'";
/// Of the service worker alone: the pictures of announcements are on other servers, and browsers fetch those of a notification
/// under the policy of the script that shows it.
const WORKER: &str = "default-src 'self'; img-src 'self' https:; object-src 'none'; base-uri 'none'; \
                      form-action 'self'; frame-ancestors 'none'";

/// The policy of pages. Tiles of the map are the only thing that may come from elsewhere, and from there only.
pub fn policy(map_tiles: Option<&MapTiles>) -> HeaderValue {
    let Some(tiles) = map_tiles else { return HeaderValue::from_static(POLICY) };
    let images = "img-src 'self' data:";
    let text = POLICY.replacen(images, &format!("{images} {}", tiles.origin), 1);
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(POLICY))
}

/// Security headers on every answer, and the count of requests.
pub async fn headers_and_counts(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let api = request.path().starts_with("/api/");
    let policy = match request.app_data::<web::Data<State>>() {
        Some(state) if request.path() != "/sw.js" => state.policy.clone(),
        Some(_) => HeaderValue::from_static(WORKER),
        None => HeaderValue::from_static(POLICY),
    };
    let mut response = next.call(request).await?;
    let class = match response.status().as_u16() {
        100..=199 => "1xx",
        200..=299 => "2xx",
        300..=399 => "3xx",
        400..=499 => "4xx",
        _ => "5xx",
    };
    metrics::counter!(names::HTTP_REQUESTS, "status" => class).increment(1);
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, policy);
    let mut set = |name: HeaderName, value: &'static str| headers.insert(name, HeaderValue::from_static(value));
    set(X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(REFERRER_POLICY, "same-origin");
    if api {
        set(CACHE_CONTROL, "no-store");
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_come_from_the_tile_server_only_where_one_is_configured() {
        assert_eq!(policy(None), POLICY);
        let tiles = MapTiles {
            url: "https://tile.example.org:8443/{z}/{x}/{y}.png?key=k".into(),
            origin: "https://tile.example.org:8443".into(),
            attribution: String::new(),
            zoom_max: 19,
        };
        let with = policy(Some(&tiles));
        let text = with.to_str().expect("ASCII");
        let images: Vec<_> = text.split("; ").filter(|part| part.starts_with("img-src")).collect();
        assert_eq!(images, ["img-src 'self' data: https://tile.example.org:8443"]);
        assert_eq!(text.replace(" https://tile.example.org:8443", ""), POLICY);
    }
}
