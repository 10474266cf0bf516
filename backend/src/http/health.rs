//! Whether this server lives (`/health`), and whether it should be sent requests (`/ready`).

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::CACHE_CONTROL;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use utoipa::ToSchema;

use super::App;
use super::openapi::Unavailable;
use super::probe::Probe;
use crate::error::Problem;

/// What is asked of the database to know how it is.
#[derive(Default)]
pub(super) struct Probes {
    /// Does it answer?
    answers: Probe<()>,
    /// Is its schema up to date?
    migrated: Probe<bool>,
}

/// How the server is.
#[derive(Serialize, ToSchema)]
pub(super) struct Health {
    status: &'static str,
    /// RFC 3339, in UTC.
    #[schema(format = DateTime)]
    time: String,
}

/// 200 while the database answers.
#[utoipa::path(get, path = "/health", tag = "operation", responses((status = 200, body = Health), Unavailable))]
pub(super) async fn health(State(app): State<Arc<App>>) -> Result<Response, Problem> {
    let store = Arc::clone(&app.store);
    let answer = app.probes.answers.ask(async move { store.ping().await }).await;
    answer.map_err(silent)?;
    Ok(fine("healthy"))
}

/// 200 while this server can do its work and is to stay.
#[utoipa::path(get, path = "/ready", tag = "operation", responses((status = 200, body = Health), Unavailable))]
pub(super) async fn ready(State(app): State<Arc<App>>) -> Result<Response, Problem> {
    if app.is_draining() {
        return Err(Problem::unavailable("this server is shutting down", None));
    }
    let store = Arc::clone(&app.store);
    let answer = app.probes.migrated.ask(async move { store.is_migrated().await }).await;
    if !answer.map_err(silent)? {
        return Err(Problem::unavailable("the database's schema is not up to date", None));
    }
    if !knows_what_replicas_must_know(&app) {
        let cause = "there is no primary, and it was not there since this server started".to_owned();
        return Err(Problem::unavailable("the database cannot be read yet", Some(cause)));
    }
    Ok(fine("ready"))
}

/// While there is no primary, a replica may answer only who knows from Redis how far it must be; and Redis is trusted by those who have been at the primary.
fn knows_what_replicas_must_know(app: &App) -> bool {
    let servers = app.store.servers();
    let is_cut_off = !servers.is_empty() && !servers.iter().any(|server| server.primary);
    !is_cut_off || app.cache.as_ref().is_none_or(|cache| cache.status().held)
}

/// Whatever is wrong with the database, this server is not healthy then, so it is always 503.
fn silent(cause: String) -> Problem {
    Problem::unavailable("the database does not answer", Some(cause))
}

fn fine(status: &'static str) -> Response {
    // Formatting fails only for years beyond 9999.
    let time = OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default();
    ([(CACHE_CONTROL, "no-store")], axum::Json(Health { status, time })).into_response()
}
