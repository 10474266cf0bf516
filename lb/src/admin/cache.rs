//! `DELETE /api/cache`.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;

use super::problem;
use crate::cache::Purge;
use crate::proxy::Proxy;

/// What is removed: one of these.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Parameters {
    url: Option<String>,
    prefix: Option<String>,
    tag: Option<String>,
    all: Option<bool>,
}

/// Removes stored objects and says how many.
pub(super) async fn purge(
    State(proxy): State<Arc<Proxy>>,
    parameters: Result<Query<Parameters>, axum::extract::rejection::QueryRejection>,
) -> Response {
    let expected = "expected one of ?url=, ?prefix=, ?tag= or ?all=true";
    let Ok(Query(parameters)) = parameters else {
        return problem(StatusCode::BAD_REQUEST, expected);
    };
    let what = match &parameters {
        Parameters {
            url: Some(url),
            prefix: None,
            tag: None,
            all: None,
        } => Purge::Url(url),
        Parameters {
            url: None,
            prefix: Some(prefix),
            tag: None,
            all: None,
        } => Purge::Prefix(prefix),
        Parameters {
            url: None,
            prefix: None,
            tag: Some(tag),
            all: None,
        } => Purge::Tags {
            upstream: None,
            tags: &[tag.as_bytes()],
        },
        Parameters {
            url: None,
            prefix: None,
            tag: None,
            all: Some(true),
        } => Purge::All,
        _ => return problem(StatusCode::BAD_REQUEST, expected),
    };
    let purged = proxy.cache.purge(&what);
    if let Some(settled) = proxy.cache.settled() {
        proxy.cache.settle(settled).await;
    }
    Json(json!({ "purged": purged })).into_response()
}
