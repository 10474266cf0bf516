//! The admin address: health, metrics, state, reload, purge and orders for servers over HTTP.
//!
//! It is on loopback unless there is a token, and refuses what a web page could make a browser send there: a `Host` that is a name of
//! somebody else's (DNS rebinding) and an `Origin` that is another site's.

pub(crate) mod cache;
mod guard;
pub mod server;
pub mod status;

use std::net::TcpListener;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router, middleware};
use serde_json::json;

use crate::proxy::Proxy;
use crate::server::reload::ReloadError;

/// Binds the admin address.
///
/// # Errors
/// What the system says.
pub fn bind(admin: &lb_config::Admin) -> std::io::Result<TcpListener> {
    let listener = TcpListener::bind(admin.listen)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Serves the admin API for as long as the process lives.
pub async fn serve(listener: TcpListener, proxy: Arc<Proxy>) {
    let served = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => axum::serve(listener, router(proxy)).await,
        Err(error) => Err(error),
    };
    if let Err(error) = served {
        tracing::error!(%error, "the admin address is gone");
    }
}

fn router(proxy: Arc<Proxy>) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/api/status", get(show_status))
        .route("/api/reload", post(reload))
        .route("/api/upstreams/{name}/servers/{address}", post(server::change))
        .route("/api/cache", delete(cache::purge))
        .fallback(async || problem(StatusCode::NOT_FOUND, "there is nothing here"))
        .method_not_allowed_fallback(async || problem(StatusCode::METHOD_NOT_ALLOWED, "not with this method"))
        .layer(middleware::from_fn_with_state(proxy.clone(), guard::guard))
        .with_state(proxy)
}

/// An error of the admin API (RFC 9457).
fn problem(status: StatusCode, detail: &str) -> Response {
    let title = status.canonical_reason().unwrap_or_default();
    let body = json!({ "type": "about:blank", "title": title, "status": status.as_u16(), "detail": detail });
    (status, [(header::CONTENT_TYPE, "application/problem+json")], body.to_string()).into_response()
}

async fn ready(State(proxy): State<Arc<Proxy>>) -> Response {
    if proxy.ready() {
        return "ready\n".into_response();
    }
    let why = if proxy.draining() { "draining" } else { "no upstream has a server" };
    problem(StatusCode::SERVICE_UNAVAILABLE, why)
}

async fn metrics(State(proxy): State<Arc<Proxy>>) -> Response {
    let text = proxy.metrics.render(&status::gauges(&proxy));
    ([(header::CONTENT_TYPE, crate::observe::metrics::CONTENT_TYPE)], text).into_response()
}

async fn show_status(State(proxy): State<Arc<Proxy>>) -> Json<status::Status> {
    Json(status::Status::of(&proxy))
}

async fn reload(State(proxy): State<Arc<Proxy>>) -> Response {
    match proxy.reload().await {
        Ok(changes) => Json(json!({ "reloaded": true, "changes": changes })).into_response(),
        Err(error) => {
            let errors = match &error {
                ReloadError::File(problems) => json!(problems),
                other => json!(other.to_string().lines().map(|line| json!({ "message": line })).collect::<Vec<_>>()),
            };
            let body = json!({
                "type": "about:blank", "title": "Bad Request", "status": 400,
                "detail": error.to_string(), "errors": errors,
            });
            (
                StatusCode::BAD_REQUEST,
                [(header::CONTENT_TYPE, "application/problem+json")],
                body.to_string(),
            )
                .into_response()
        }
    }
}
