//! `/users`: extract, call, reply.

use std::sync::Arc;

use axum::Json as Reply;
use axum::extract::{FromRequestParts, State};
use axum::http::header::{CONTENT_TYPE, ETAG, LOCATION};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::Serialize;
use utoipa::ToSchema;

use super::body::Json;
use super::caller::{Reader, Writer};
use super::openapi::{
    self, BodyErrors, ConditionErrors, Conditions, EmailErrors, Idempotent, Known, ListErrors, ListParameters, NewUser, ReadErrors,
    Replacement, UserErrors, WriteErrors,
};
use super::query::Part;
use super::{App, caching, conditions, number, stored};
use crate::auth::Refusal;
use crate::error::Problem;
use crate::idempotency::Key;
use crate::store::{At, Changed, Created, Note};
use crate::users::{Change, FieldError, User};

type Answer = Result<Response, Problem>;

pub(super) static IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The id in `/users/{id}`. What cannot be the id of a user is the path of no user: 404.
pub(super) struct Id(i64);

impl<S: Sync> FromRequestParts<S> for Id {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        // The route has matched, so the id is all that is behind the last slash.
        let id = parts.uri.path().rsplit('/').next().and_then(number::parse);
        id.map(Self).ok_or_else(Problem::no_such_user)
    }
}

/// A part of the list, by one way of counting or the other.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum Listing {
    /// From the start.
    Page(Page),
    /// Behind an id.
    Behind(Behind),
}

/// A page, counted from the start.
#[derive(Serialize, ToSchema)]
pub(super) struct Page {
    pub(super) users: Vec<User>,
    pub(super) page: i64,
    pub(super) limit: i64,
    /// How many users there are in all.
    pub(super) total: i64,
}

/// The users behind an id.
#[derive(Serialize, ToSchema)]
pub(super) struct Behind {
    pub(super) users: Vec<User>,
    pub(super) limit: i64,
    /// What to give as `after` for the next part; null at the end.
    #[schema(required = true)]
    pub(super) next: Option<i64>,
}

/// List users
#[utoipa::path(get, path = "/users", tag = "users", params(ListParameters),
    responses((status = 200, body = Listing), ListErrors, ReadErrors))]
pub(super) async fn list(State(app): State<Arc<App>>, _: Reader, headers: HeaderMap, part: Part) -> Answer {
    let mut response = json(stored::list(&app, part).await?);
    app.caching.list_read(&headers, response.headers_mut());
    Ok(response)
}

fn json(body: Bytes) -> Response {
    ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response()
}

/// One user
#[utoipa::path(get, path = "/users/{id}", tag = "users", params(("id" = i64, Path, minimum = 1), Known),
    responses((status = 200, body = User, headers(("ETag" = String))), (status = 304, description = "It is known already"), UserErrors, ReadErrors))]
pub(super) async fn show(State(app): State<Arc<App>>, _: Reader, Id(id): Id, headers: HeaderMap) -> Answer {
    let (version, body) = stored::user(&app, id).await?.ok_or_else(Problem::no_such_user)?;
    let mut response = if conditions::is_known(&headers, id, version) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        json(body)
    };
    response.headers_mut().insert(ETAG, conditions::tag(id, version));
    app.caching.user_read(&headers, response.headers_mut(), id);
    Ok(response)
}

/// Whoever may add a user; the id, where one has to log in.
pub(super) struct Adder(Option<i64>);

impl FromRequestParts<Arc<App>> for Adder {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let writer = Writer::from_request_parts(parts, app).await?;
        writer.may_add()?;
        Ok(Self(writer.id()))
    }
}

/// The user that a request is to change, by somebody who may.
pub(super) struct Target(i64);

impl FromRequestParts<Arc<App>> for Target {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let writer = Writer::from_request_parts(parts, app).await?;
        let Id(id) = Id::from_request_parts(parts, app).await?;
        writer.may_change(id)?;
        Ok(Self(id))
    }
}

/// Add a user
#[utoipa::path(post, path = "/users", tag = "users", params(Idempotent), request_body = NewUser,
    responses((status = 201, body = User, headers(("Location" = String), ("ETag" = String))), BodyErrors, WriteErrors, EmailErrors))]
pub(super) async fn create(State(app): State<Arc<App>>, Adder(caller): Adder, headers: HeaderMap, Json(fields): Json) -> Answer {
    let key = key(&headers, caller)?;
    let new = fields.into_new_user().map_err(Problem::invalid)?;
    let created = match &app.auth {
        Some(auth) => auth.register(&new, key).await?,
        None if new.password.is_some() => return Err(Problem::invalid(vec![no_passwords()])),
        None => {
            let once = match key {
                Some(key) => Some(key.once(&new, None).await.map_err(Refusal::from)?),
                None => None,
            };
            app.store.create(&new, None, once.as_ref()).await?
        }
    };
    let (user, note) = match created {
        Created::Now(user, note) => (user, note),
        // As it was answered then, whatever has become of the user since: the request is the same, and a new user's version always is. It
        // may be that it was never answered, and nobody was told.
        Created::Before(id) => {
            let user = User {
                id,
                name: new.name.as_str().to_owned(),
                email: new.email.as_str().to_owned(),
                version: 1,
            };
            (
                user,
                Note {
                    row: None,
                    user: id,
                    version: 1,
                },
            )
        }
        Created::Another => return Err(Problem::another_request()),
    };
    app.written(note).await?;
    let headers = [(ETAG, conditions::etag(&user)), (LOCATION, location(user.id)?)];
    let mut response = (StatusCode::CREATED, headers, Reply(user)).into_response();
    caching::created(response.headers_mut());
    Ok(response)
}

fn key(headers: &HeaderMap, caller: Option<i64>) -> Result<Option<Key>, Problem> {
    let mut fields = headers.get_all(&IDEMPOTENCY_KEY).iter();
    match (fields.next(), fields.next()) {
        (None, _) => Ok(None),
        (Some(one), None) => Key::parse(one.as_bytes(), caller).map(Some).ok_or_else(Problem::malformed_key),
        (Some(_), Some(_)) => Err(Problem::malformed_key()),
    }
}

fn no_passwords() -> FieldError {
    FieldError::new("password", "this server runs without JWT_SECRET, so nobody can log in with one")
}

/// Where a user is found.
pub(super) fn location(id: i64) -> Result<HeaderValue, Problem> {
    HeaderValue::try_from(format!("/users/{id}")).map_err(|e| Problem::internal(e.to_string()))
}

/// Replace a user
#[utoipa::path(put, path = "/users/{id}", tag = "users", params(("id" = i64, Path, minimum = 1), Conditions), request_body = Replacement,
    responses((status = 200, body = User, headers(("ETag" = String))), BodyErrors, WriteErrors, UserErrors, EmailErrors, ConditionErrors))]
pub(super) async fn replace(State(app): State<Arc<App>>, Target(id): Target, headers: HeaderMap, Json(fields): Json) -> Answer {
    let change = fields.into_replacement().map_err(Problem::invalid)?;
    update(&app, id, &change, &headers).await
}

/// Change a part of a user
#[utoipa::path(patch, path = "/users/{id}", tag = "users", params(("id" = i64, Path, minimum = 1), Conditions), request_body = openapi::Change,
    responses((status = 200, body = User, headers(("ETag" = String))), BodyErrors, WriteErrors, UserErrors, EmailErrors, ConditionErrors))]
pub(super) async fn change(State(app): State<Arc<App>>, Target(id): Target, headers: HeaderMap, Json(fields): Json) -> Answer {
    let change = fields.into_change().map_err(Problem::invalid)?;
    if !change.is_empty() {
        return update(&app, id, &change, &headers).await;
    }
    // Nothing changes, so nothing is written and no cached answer is outdated.
    let user = app.store.user(id, At::Primary).await?.ok_or_else(Problem::no_such_user)?;
    if conditions::condition(&headers, id).allows(user.version) {
        Ok(changed(user))
    } else {
        Err(Problem::precondition_failed())
    }
}

async fn update(app: &App, id: i64, change: &Change, headers: &HeaderMap) -> Answer {
    let (user, note) = done(app.store.update(id, change, &conditions::condition(headers, id)).await?)?;
    app.written(note).await?;
    let mut response = changed(user);
    caching::changed(response.headers_mut(), id);
    Ok(response)
}

fn changed(user: User) -> Response {
    ([(ETAG, conditions::etag(&user))], Reply(user)).into_response()
}

/// Delete a user
#[utoipa::path(delete, path = "/users/{id}", tag = "users", params(("id" = i64, Path, minimum = 1), Conditions),
    responses((status = 204, description = "It is gone"), WriteErrors, UserErrors, ConditionErrors))]
pub(super) async fn remove(State(app): State<Arc<App>>, Target(id): Target, headers: HeaderMap) -> Answer {
    let note = done(app.store.delete(id, &conditions::condition(&headers, id)).await?)?;
    app.written(note).await?;
    let mut response = StatusCode::NO_CONTENT.into_response();
    caching::changed(response.headers_mut(), id);
    Ok(response)
}

fn done<T>(outcome: Changed<T>) -> Result<T, Problem> {
    match outcome {
        Changed::Done(value) => Ok(value),
        Changed::Missing => Err(Problem::no_such_user()),
        Changed::Refused => Err(Problem::precondition_failed()),
    }
}
