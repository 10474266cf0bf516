//! Whether this server lives (`/health`), and whether it should be sent requests (`/ready`).

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::header::CACHE_CONTROL;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::time::timeout;
use utoipa::ToSchema;

use super::App;
use super::openapi::Unavailable;
use crate::error::Problem;
use crate::store::Result;

/// How long the database has to answer. Whoever asks is asking often, and would rather have a no than wait.
const PATIENCE: Duration = Duration::from_secs(2);

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
pub(super) async fn health(State(app): State<Arc<App>>) -> std::result::Result<Response, Problem> {
    soon(app.store.ping()).await?;
    Ok(fine("healthy"))
}

/// 200 while this server can do its work and is to stay.
#[utoipa::path(get, path = "/ready", tag = "operation", responses((status = 200, body = Health), Unavailable))]
pub(super) async fn ready(State(app): State<Arc<App>>) -> std::result::Result<Response, Problem> {
    if app.is_draining() {
        return Err(Problem::unavailable("this server is shutting down", None));
    }
    if soon(app.store.is_migrated()).await? {
        Ok(fine("ready"))
    } else {
        Err(Problem::unavailable("the database's schema is not up to date", None))
    }
}

/// Whatever is wrong with the database, this server is not healthy then, so it is always 503.
async fn soon<T>(answer: impl Future<Output = Result<T>>) -> std::result::Result<T, Problem> {
    let cause = match timeout(PATIENCE, answer).await {
        Ok(Ok(value)) => return Ok(value),
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no answer within {PATIENCE:?}"),
    };
    Err(Problem::unavailable("the database does not answer", Some(cause)))
}

fn fine(status: &'static str) -> Response {
    // Formatting fails only for years beyond 9999.
    let time = OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default();
    ([(CACHE_CONTROL, "no-store")], axum::Json(Health { status, time })).into_response()
}
