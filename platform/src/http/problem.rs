//! Errors as RFC 9457 problem documents.

use crate::ports::{HistoryError, MetaError};
use crate::telemetry::names;
use actix_web::error::QueryPayloadError;
use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER};
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
    /// Where in the field's text: first byte and the one after the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<[usize; 2]>,
    /// What is wrong there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl FieldProblem {
    pub fn new(field: &str, detail: &str) -> Self {
        Self { field: field.to_owned(), detail: detail.to_owned(), at: None, problem: None, remedy: None }
    }
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
    /// Fields that are not acceptable; empty if it is not about fields.
    pub errors: Vec<FieldProblem>,
    #[serde(skip)]
    #[schema(ignore)]
    retry_after_s: Option<u64>,
    #[serde(skip)]
    #[schema(ignore)]
    allow: Option<String>,
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
            allow: None,
        }
    }

    pub fn bad_request(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, detail)
    }

    /// A field that cannot be accepted as it is.
    pub fn field(field: &str, detail: impl ToString) -> Self {
        let detail = detail.to_string();
        let errors = vec![FieldProblem::new(field, &detail)];
        Self { errors, ..Self::bad_request("invalid_field", detail) }
    }

    /// A field that reads well and still makes no sense here.
    pub fn unprocessable(code: &'static str, field: &str, detail: &str) -> Self {
        let errors = vec![FieldProblem::new(field, detail)];
        Self { errors, ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, detail) }
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

    /// The path exists and takes the methods `allowed`, separated by commas.
    pub fn method_not_allowed(request: &HttpRequest, allowed: &str) -> Self {
        let detail = format!("{} {} is not possible; allowed: {allowed}", request.method(), request.path());
        let problem = Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail);
        Self { allow: Some(allowed.to_owned()), ..problem }
    }

    /// Something of ours failed. The cause goes to the log, not to the client.
    pub fn internal(cause: impl std::error::Error) -> Self {
        tracing::error!(cause = chain(&cause), "a request failed");
        let detail = "the server could not do this; its log says why";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail)
    }

    pub fn unavailable(detail: impl Into<String>) -> Self {
        Self::busy("unavailable", detail)
    }

    /// Not now: the same request may succeed in a few seconds.
    pub fn busy(code: &'static str, detail: impl Into<String>) -> Self {
        let problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, code, detail);
        Self { retry_after_s: Some(5), ..problem }
    }

    pub fn too_many(detail: impl Into<String>, retry_after_s: u64) -> Self {
        let problem = Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", detail);
        Self { retry_after_s: Some(retry_after_s.max(1)), ..problem }
    }
}

/// An error with the causes below it.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
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
        if let Some(methods) = &self.allow {
            response.insert_header((ALLOW, methods.as_str()));
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
            MetaError::RestrictedAdmin(_) => Self::new(StatusCode::CONFLICT, "restricted_admin", error.to_string()),
            MetaError::LastAdmin(_) => Self::new(StatusCode::CONFLICT, "last_admin", error.to_string()),
            MetaError::Failed(_) => Self::internal(error),
        }
    }
}

impl From<HistoryError> for Problem {
    fn from(error: HistoryError) -> Self {
        match error {
            HistoryError::TooMuch(detail) => Self::bad_request("range_too_large", detail),
            HistoryError::Failed(_) => Self::internal(error),
        }
    }
}

/// Answer of API paths that do not exist.
pub async fn not_found(request: HttpRequest) -> Result<HttpResponse, Problem> {
    let detail = format!("there is no {} {}; see /api/v1/openapi.json", request.method(), request.path());
    Err(Problem::new(StatusCode::NOT_FOUND, "no_such_route", detail))
}

/// A body above `http.body_bytes_max`.
pub fn body_too_large(limit: usize) -> Problem {
    let detail = format!("the body is larger than {limit} bytes");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail)
}

/// A body that does not say that it is JSON.
pub fn wrong_content_type() -> Problem {
    let detail = "a JSON body needs the header `Content-Type: application/json`";
    Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "wrong_content_type", detail)
}

/// A body that is no JSON, or not the JSON that is wanted.
pub fn json(error: &serde_path_to_error::Error<serde_json::Error>) -> Problem {
    let (path, cause) = (error.path().to_string(), error.inner().to_string());
    if error.inner().is_data() {
        let problem = unfit(&cause, cause.clone());
        // A value of a wrong type: serde's words do not say of which field, the path does.
        return match problem.errors.is_empty() && path != "." {
            true => Problem::field(&path, format!("{path}: {cause}")),
            false => problem,
        };
    }
    Problem::bad_request("malformed_json", format!("the body is not JSON: {cause}"))
}

/// A query string that is not acceptable.
pub fn query(error: &QueryPayloadError) -> Problem {
    let cause = match error {
        QueryPayloadError::Deserialize(cause) => cause.to_string(),
        other => other.to_string(),
    };
    unfit(&cause, format!("the query is not acceptable: {cause}"))
}

/// Path segments.
pub fn path_config() -> web::PathConfig {
    web::PathConfig::default().error_handler(|error, _| {
        Problem::bad_request("invalid_path", format!("the path is not acceptable: {error}")).into()
    })
}

/// Reads from serde's words which field is meant, if they name one.
fn unfit(cause: &str, detail: String) -> Problem {
    const KINDS: [(&str, &str); 3] = [
        ("unknown field `", "unknown_field"),
        ("missing field `", "missing_field"),
        ("duplicate field `", "invalid_field"),
    ];
    let named = KINDS.iter().find_map(|(words, code)| {
        let (field, _) = cause.strip_prefix(words)?.split_once('`')?;
        Some((*code, field.to_owned()))
    });
    let Some((code, field)) = named else {
        return Problem::bad_request("invalid_field", detail);
    };
    let errors = vec![FieldProblem::new(&field, &detail)];
    Problem { errors, ..Problem::bad_request(code, detail) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Wanted {
        #[serde(rename = "id")]
        _id: String,
    }

    fn check(body: &str, code: &str, field: Option<&str>) {
        let mut reader = serde_json::Deserializer::from_str(body);
        let problem = json(&serde_path_to_error::deserialize::<_, Wanted>(&mut reader).expect_err("unfit"));
        assert_eq!((problem.status, problem.code), (400, code), "{body}");
        let fields: Vec<_> = problem.errors.iter().map(|e| e.field.as_str()).collect();
        assert_eq!(fields, Vec::from_iter(field), "{body}");
    }

    #[test]
    fn what_is_wrong_with_a_body_is_said_with_the_field() {
        check(r#"{"id": "a", "colour": 1}"#, "unknown_field", Some("colour"));
        check("{}", "missing_field", Some("id"));
        check(r#"{"id": "a", "id": "b"}"#, "invalid_field", Some("id"));
        check(r#"{"id": 7}"#, "invalid_field", Some("id"));
        check("[]", "invalid_field", None);
        check(r#"{"id": "#, "malformed_json", None);
    }

    #[test]
    fn the_log_has_the_whole_chain_of_causes() {
        let cause = HistoryError::Failed(anyhow::anyhow!("no such table").context("preparing"));
        assert_eq!(chain(&cause), "reading the store: preparing: no such table");
    }
}
