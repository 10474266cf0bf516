//! Every refusal, as RFC 9457 `application/problem+json`, written in this one place.
//!
//! Handlers and extractors answer with a [`Problem`]. As a response it carries its status and headers and itself, but no body
//! yet: the outermost layer (`http::observe`) adds the request's ID and writes the body, and does the same for the bare statuses
//! that the router makes by itself (404, 405), so that no error leaves in another shape.

use std::borrow::Cow;

use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use serde::Serialize;

use crate::store::StoreError;
use crate::users::FieldError;

/// After how many seconds a client should ask again when the database is away.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("1");

/// One refusal.
#[derive(Debug, Clone)]
pub struct Problem {
    status: StatusCode,
    detail: Cow<'static, str>,
    errors: Vec<FieldError>,
    /// For the log only: it may name hosts, files and SQL.
    cause: Option<String>,
}

impl Problem {
    /// A refusal with a sentence for the client.
    pub fn new(status: StatusCode, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status,
            detail: detail.into(),
            errors: Vec::new(),
            cause: None,
        }
    }

    /// 422: what was sent was understood, and is wrong.
    pub fn invalid(errors: Vec<FieldError>) -> Self {
        Self {
            errors,
            ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, "some values are not valid")
        }
    }

    /// 404 for a user.
    pub fn no_such_user() -> Self {
        Self::new(StatusCode::NOT_FOUND, "there is no such user")
    }

    /// 412: the user is not, or no longer, the one that the client means.
    pub fn precondition_failed() -> Self {
        Self::new(
            StatusCode::PRECONDITION_FAILED,
            "the user is not in the state that the request's conditions ask for",
        )
    }

    /// 503: it is not the request's fault, and may work soon.
    pub fn unavailable(detail: &'static str, cause: Option<String>) -> Self {
        Self {
            cause,
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
        }
    }

    /// 500: a mistake in this program.
    pub fn internal(cause: String) -> Self {
        Self {
            cause: Some(cause),
            ..Self::of_status(StatusCode::INTERNAL_SERVER_ERROR)
        }
    }

    /// What to say of a status that something else than a handler chose.
    fn of_status(status: StatusCode) -> Self {
        let detail = match status {
            StatusCode::NOT_FOUND => "there is nothing at this path",
            StatusCode::METHOD_NOT_ALLOWED => "this path does not support the method; the Allow header lists those that it does",
            StatusCode::INTERNAL_SERVER_ERROR => "the server made a mistake",
            _ => "the request cannot be answered",
        };
        Self::new(status, detail)
    }

    /// Gives an error response its body and headers, and returns the cause for the log.
    pub fn complete(response: &mut Response, request_id: &str) -> Option<String> {
        let problem = response
            .extensions_mut()
            .remove::<Self>()
            .unwrap_or_else(|| Self::of_status(response.status()));
        let body = Body {
            kind: "about:blank",
            title: problem.status.canonical_reason().unwrap_or("Error"),
            status: problem.status.as_u16(),
            detail: &problem.detail,
            errors: &problem.errors,
            request_id,
        };
        // Serializing this struct of text and numbers cannot fail; were it to, the status alone still tells the most of it.
        *response.body_mut() = serde_json::to_vec(&body).unwrap_or_default().into();
        let headers = response.headers_mut();
        headers.remove(CONTENT_LENGTH);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        problem.cause
    }
}

#[derive(Serialize)]
struct Body<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'a str,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [FieldError],
    request_id: &'a str,
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(RETRY_AFTER, RETRY_AFTER_SECONDS);
        }
        response.extensions_mut().insert(self);
        response
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::EmailTaken => Self::new(StatusCode::CONFLICT, "another user has this e-mail address"),
            StoreError::Unavailable(cause) => Self::unavailable("the database does not answer; try again", Some(cause)),
            StoreError::Broken(cause) => Self::internal(cause),
        }
    }
}
