//! `DELETE /api/cache`.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::problem;
use crate::cache::Purge;
use crate::proxy::Proxy;

const EXPECTED: &str = "expected one of ?url=, ?prefix=, ?tag= or ?all=true, and &soft=true to mark as stale instead of taking out";

/// What is purged: one of the first four; and how.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Parameters {
    url: Option<String>,
    prefix: Option<String>,
    tag: Option<String>,
    all: Option<bool>,
    #[serde(default)]
    soft: bool,
}

/// What came of it.
#[derive(Serialize, Deserialize)]
pub(crate) struct Purged {
    /// Stored responses that were taken out or marked stale.
    pub(crate) purged: u64,
}

/// Takes stored responses out, or marks them stale, and says how many.
pub(super) async fn purge(State(proxy): State<Arc<Proxy>>, parameters: Result<Query<Parameters>, QueryRejection>) -> Response {
    let Ok(Query(parameters)) = parameters else {
        return problem(StatusCode::BAD_REQUEST, EXPECTED);
    };
    let Parameters {
        url,
        prefix,
        tag,
        all,
        soft,
    } = &parameters;
    if [url, prefix, tag].into_iter().flatten().any(String::is_empty) {
        return problem(
            StatusCode::BAD_REQUEST,
            "an empty url, prefix or tag means nothing: expected ?all=true for everything",
        );
    }
    let tags = [tag.as_deref().unwrap_or_default().as_bytes()];
    let what = match (url, prefix, tag, all) {
        (Some(url), None, None, None) => Purge::Url(url),
        (None, Some(prefix), None, None) => Purge::Prefix(prefix),
        (None, None, Some(_), None) => Purge::Tags {
            upstream: None,
            tags: &tags,
        },
        (None, None, None, Some(true)) => Purge::All,
        _ => return problem(StatusCode::BAD_REQUEST, EXPECTED),
    };
    let purged = if *soft {
        proxy.cache.soften(&what)
    } else {
        proxy.cache.purge(&what)
    };
    if let Some(settled) = proxy.cache.settled() {
        proxy.cache.settle(settled).await;
    }
    Json(Purged { purged }).into_response()
}
