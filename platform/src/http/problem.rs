//! Errors as RFC 9457 problem documents.

use crate::ports::{HistoryError, MetaError};
use crate::telemetry::names;
use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_TYPE, RETRY_AFTER};
use actix_web::{HttpRequest, HttpResponse, ResponseError, web};
use serde::Serialize;
use std::fmt;

/// One field of a request that is not acceptable.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct FieldProblem {
    /// Its name.
    pub field: String,
    /// What is wrong and what is allowed.
    pub detail: String,
}

/// A problem document.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct Problem {
    /// Always `about:blank`: `code` tells problems apart.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The status in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// Stable, for programs.
    pub code: &'static str,
    /// For people: what happened and what is allowed.
    pub detail: String,
    /// Fields that are not acceptable.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldProblem>,
    #[serde(skip)]
    #[schema(ignore)]
    pub(super) retry_after_s: Option<u64>,
}

impl Problem {
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or("Error").to_owned(),
            status: status.as_u16(),
            code,
            detail: detail.into(),
            errors: Vec::new(),
            retry_after_s: None,
        }
    }

    pub fn bad_request(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, detail)
    }

    /// A field that cannot be accepted as it is.
    pub fn field(field: &str, detail: impl ToString) -> Self {
        let detail = detail.to_string();
        let errors = vec![FieldProblem { field: field.to_owned(), detail: detail.clone() }];
        Self { errors, ..Self::bad_request("invalid_field", detail) }
    }

    pub fn unauthorized() -> Self {
        let detail = "sign in first: POST /api/v1/session, then send the token as `Authorization: Bearer TOKEN`";
        Self::new(StatusCode::UNAUTHORIZED, "signed_out", detail)
    }

    pub fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", detail)
    }

    pub fn missing(what: &str, name: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", format!("there is no {what} {name:?}"))
    }

    /// Something of ours failed. The cause goes to the log, not to the client.
    pub fn internal(cause: impl fmt::Display) -> Self {
        tracing::error!(%cause, "a request failed");
        let detail = "the server could not do this; its log says why";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail)
    }

    pub fn unavailable(detail: impl Into<String>) -> Self {
        let problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail);
        Self { retry_after_s: Some(5), ..problem }
    }

    pub fn too_many(detail: impl Into<String>, retry_after_s: u64) -> Self {
        let problem = Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", detail);
        Self { retry_after_s: Some(retry_after_s.max(1)), ..problem }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.detail)
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse {
        metrics::counter!(names::HTTP_PROBLEMS, "code" => self.code).increment(1);
        let mut response = HttpResponse::build(self.status_code());
        if let Some(seconds) = self.retry_after_s {
            response.insert_header((RETRY_AFTER, seconds.to_string()));
        }
        if self.status == 401 {
            response.insert_header(("WWW-Authenticate", "Bearer"));
        }
        response.insert_header((CONTENT_TYPE, "application/problem+json"));
        response.body(serde_json::to_string(self).unwrap_or_default())
    }
}

impl From<MetaError> for Problem {
    fn from(error: MetaError) -> Self {
        match error {
            MetaError::Exists { .. } => Self::new(StatusCode::CONFLICT, "exists", error.to_string()),
            MetaError::Missing { what, name } => Self::missing(what, &name),
            MetaError::LastAdmin(_) => Self::new(StatusCode::CONFLICT, "last_admin", error.to_string()),
            MetaError::Failed(cause) => Self::internal(format!("{cause:#}")),
        }
    }
}

impl From<HistoryError> for Problem {
    fn from(error: HistoryError) -> Self {
        match error {
            HistoryError::TooMuch(detail) => Self::bad_request("range_too_large", detail),
            HistoryError::Failed(cause) => Self::internal(format!("{cause:#}")),
        }
    }
}

/// Answer of API paths that do not exist.
pub async fn not_found(request: HttpRequest) -> Result<HttpResponse, Problem> {
    let detail = format!("there is no {} {}; see /api/v1/openapi.json", request.method(), request.path());
    Err(Problem::new(StatusCode::NOT_FOUND, "no_such_route", detail))
}

/// JSON bodies: what is wrong, by kind.
pub fn json_config(limit: usize) -> web::JsonConfig {
    use actix_web::error::JsonPayloadError as E;
    web::JsonConfig::default().limit(limit).error_handler(move |error, _| {
        let problem = match &error {
            E::OverflowKnownLength { .. } | E::Overflow { .. } => {
                let detail = format!("the body is larger than {limit} bytes");
                Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail)
            }
            E::ContentType => {
                let detail = "a JSON body needs the header `Content-Type: application/json`";
                Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "wrong_content_type", detail)
            }
            E::Deserialize(cause) if cause.is_data() => {
                Problem::bad_request(data_code(&cause.to_string()), cause.to_string())
            }
            E::Deserialize(cause) => Problem::bad_request("malformed_json", format!("the body is not JSON: {cause}")),
            other => Problem::bad_request("malformed_json", other.to_string()),
        };
        problem.into()
    })
}

fn data_code(text: &str) -> &'static str {
    if text.starts_with("unknown field") {
        "unknown_field"
    } else if text.starts_with("missing field") {
        "missing_field"
    } else {
        "invalid_field"
    }
}

/// Query strings.
pub fn query_config() -> web::QueryConfig {
    web::QueryConfig::default().error_handler(|error, _| {
        let detail = match &error {
            actix_web::error::QueryPayloadError::Deserialize(cause) => cause.to_string(),
            other => other.to_string(),
        };
        Problem::bad_request(data_code(&detail), format!("the query is not acceptable: {detail}")).into()
    })
}

/// Path segments.
pub fn path_config() -> web::PathConfig {
    web::PathConfig::default().error_handler(|error, _| {
        Problem::bad_request("invalid_path", format!("the path is not acceptable: {error}")).into()
    })
}
