//! `/auth`: extract, call, reply.

use std::sync::Arc;

use axum::Json as Reply;
use axum::extract::FromRequestParts;
use axum::http::header::{CACHE_CONTROL, ETAG, LOCATION};
use axum::http::request::Parts;
use axum::http::{HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::body::Json;
use super::caller::Known;
use super::observe::Client;
use super::openapi::{BodyErrors, Credentials, EmailErrors, LoginErrors, Refresh, Registration, TokenErrors, Unavailable};
use super::users::location;
use super::{App, caching, conditions};
use crate::auth::{Auth, Grant};
use crate::error::Problem;
use crate::store::Created;
use crate::users::{Role, User};

type Answer = Result<Response, Problem>;

/// Nothing of it may be kept by anybody (RFC 6749, section 5.1).
const NO_STORE: [(HeaderName, &str); 1] = [(CACHE_CONTROL, "no-store")];

/// Logging in, where there is such a thing.
pub(super) struct Login(Arc<App>);

impl Login {
    fn auth(&self) -> Result<&Auth, Problem> {
        self.0.auth.as_ref().ok_or_else(Problem::no_login)
    }
}

impl FromRequestParts<Arc<App>> for Login {
    type Rejection = Problem;

    async fn from_request_parts(_: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let login = Self(Arc::clone(app));
        login.auth()?;
        Ok(login)
    }
}

/// A user as seen by itself.
#[derive(Serialize, ToSchema)]
pub(super) struct Myself {
    #[serde(flatten)]
    user: User,
    role: Role,
}

/// Register
#[utoipa::path(post, path = "/auth/register", tag = "auth", request_body = Registration,
    responses((status = 201, body = Myself, headers(("Location" = String), ("ETag" = String))), BodyErrors, EmailErrors))]
pub(super) async fn register(login: Login, Json(fields): Json) -> Answer {
    let new = fields.into_registration().map_err(Problem::invalid)?;
    let Created::Now(user, note) = login.auth()?.register(&new, None).await? else {
        return Err(Problem::internal("a request without a key was known".into()));
    };
    login.0.written(note).await?;
    let headers = [(ETAG, conditions::etag(&user)), (LOCATION, location(user.id)?)];
    let myself = Myself { user, role: Role::User };
    let mut response = (StatusCode::CREATED, NO_STORE, headers, Reply(myself)).into_response();
    caching::created(response.headers_mut());
    Ok(response)
}

/// Log in
#[utoipa::path(post, path = "/auth/login", tag = "auth", request_body = Credentials,
    responses((status = 200, body = Grant), BodyErrors, LoginErrors))]
pub(super) async fn login(login: Login, Client(client): Client, Json(fields): Json) -> Answer {
    let credentials = fields.into_credentials().map_err(Problem::invalid)?;
    Ok(granted(login.auth()?.login(&credentials, client).await?))
}

/// Exchange a refresh token for the next pair
#[utoipa::path(post, path = "/auth/refresh", tag = "auth", request_body = Refresh,
    responses((status = 200, body = Grant), BodyErrors, TokenErrors))]
pub(super) async fn refresh(login: Login, Json(fields): Json) -> Answer {
    let token = fields.into_refresh_token().map_err(Problem::invalid)?;
    Ok(granted(login.auth()?.refresh(&token).await?))
}

fn granted(grant: Grant) -> Response {
    (NO_STORE, Reply(grant)).into_response()
}

/// End a session
#[utoipa::path(post, path = "/auth/logout", tag = "auth", request_body = Refresh,
    responses((status = 204, description = "It is over"), BodyErrors))]
pub(super) async fn logout(login: Login, Json(fields): Json) -> Answer {
    let token = fields.into_refresh_token().map_err(Problem::invalid)?;
    login.auth()?.logout(&token).await?;
    Ok((StatusCode::NO_CONTENT, NO_STORE).into_response())
}

/// Who am I?
#[utoipa::path(get, path = "/auth/me", tag = "auth", security(("bearer" = [])),
    responses((status = 200, body = Myself, headers(("ETag" = String))), TokenErrors, Unavailable))]
pub(super) async fn me(login: Login, Known(caller): Known) -> Answer {
    // A token outlives its user by minutes.
    let account = login.auth()?.account(caller).await?.ok_or_else(Problem::invalid_token)?;
    let etag = conditions::etag(&account.user);
    let myself = Myself {
        user: account.user,
        role: account.role,
    };
    Ok((NO_STORE, [(ETAG, etag)], Reply(myself)).into_response())
}
