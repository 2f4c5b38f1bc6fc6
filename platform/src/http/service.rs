//! Probes and metrics.

use super::State;
use actix_web::{HttpResponse, web};
use std::sync::atomic::Ordering;

/// Alive?
pub async fn healthz() -> &'static str {
    "ok\n"
}

/// Ready to store and to serve?
pub async fn readyz(state: web::Data<State>) -> HttpResponse {
    let reason = if state.stopping.load(Ordering::Acquire) {
        Some("the server is stopping".to_owned())
    } else {
        state.journal.status().stopped.map(|reason| format!("the journal has stopped: {reason}"))
    };
    match reason {
        None => HttpResponse::Ok().json(serde_json::json!({"ready": true})),
        Some(reason) => HttpResponse::ServiceUnavailable().json(serde_json::json!({"ready": false, "reason": reason})),
    }
}

/// Prometheus text. Counts only; no ids, no values.
pub async fn metrics(state: web::Data<State>) -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain; version=0.0.4; charset=utf-8").body((state.metrics)())
}
