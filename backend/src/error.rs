//! Every refusal, as RFC 9457 `application/problem+json`, written in this one place.
//!
//! Handlers and extractors answer with a [`Problem`]. As a response it carries its status and headers and itself, but no body
//! yet: the outermost layer (`http::observe`) adds the request's ID and writes the body, and does the same for the bare statuses
//! that the router makes by itself (404, 405), so that no error leaves in another shape.

use std::borrow::Cow;

use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;

use crate::auth::Refusal;
use crate::store::StoreError;
use crate::users::FieldError;

/// After how many seconds a client should ask again when the database is away.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("1");

/// How to log in (RFC 6750, section 3), for every 401.
const CHALLENGE: HeaderValue = HeaderValue::from_static(r#"Bearer realm="users""#);
const INVALID_TOKEN: HeaderValue = HeaderValue::from_static(r#"Bearer realm="users", error="invalid_token""#);

/// One refusal.
#[derive(Debug, Clone)]
pub struct Problem {
    status: StatusCode,
    detail: Cow<'static, str>,
    errors: Vec<FieldError>,
    /// `Retry-After` or `WWW-Authenticate`, where another value is due than is usual for the status.
    hint: Option<HeaderValue>,
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
            hint: None,
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

    /// 401: nobody has said who is asking.
    pub fn not_logged_in() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "this needs an access token: Authorization: Bearer …")
    }

    /// 401: what should say who is asking does not.
    pub fn invalid_token() -> Self {
        Self {
            hint: Some(INVALID_TOKEN),
            ..Self::new(StatusCode::UNAUTHORIZED, "the access token is not valid, or no longer")
        }
    }

    /// 403: whoever is asking may not.
    pub fn forbidden(detail: &'static str) -> Self {
        Self::new(StatusCode::FORBIDDEN, detail)
    }

    /// 404: there is no logging in at this server.
    pub fn no_login() -> Self {
        Self::new(StatusCode::NOT_FOUND, "this server runs without JWT_SECRET, so nobody can log in")
    }

    /// 400: the key is none.
    pub fn malformed_key() -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "expected one Idempotency-Key of 1 to 255 visible ASCII characters",
        )
    }

    /// 422: the key belongs to another request.
    pub fn another_request() -> Self {
        Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "this Idempotency-Key was used before, with another body",
        )
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
        let body = ProblemBody {
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

/// A problem as it is sent.
#[derive(Serialize, ToSchema)]
pub(crate) struct ProblemBody<'a> {
    /// Always `about:blank`: the status says it.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The status in words.
    title: &'a str,
    status: u16,
    /// What is wrong, for people.
    detail: &'a str,
    /// Every field or parameter that is wrong.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    #[schema(required = false)]
    errors: &'a [FieldError],
    /// Under which the log has more.
    request_id: &'a str,
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        let hint = match self.status {
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => Some((RETRY_AFTER, RETRY_AFTER_SECONDS)),
            StatusCode::UNAUTHORIZED => Some((WWW_AUTHENTICATE, CHALLENGE)),
            _ => None,
        };
        if let Some((name, usual)) = hint {
            response.headers_mut().insert(name, self.hint.clone().unwrap_or(usual));
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

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::WrongCredentials => Self::new(StatusCode::UNAUTHORIZED, "the e-mail address or the password is wrong"),
            Refusal::NoSession => Self::new(
                StatusCode::UNAUTHORIZED,
                "the refresh token is not valid, or no longer; log in again",
            ),
            Refusal::TooMany(wait) => Self {
                hint: Some(wait.as_secs().max(1).into()),
                ..Self::new(StatusCode::TOO_MANY_REQUESTS, "too many failed logins; try again later")
            },
            Refusal::Busy => Self::unavailable("too many passwords are being checked; try again", None),
            Refusal::Store(error) => error.into(),
        }
    }
}
