//! `/openapi.json`, and `/docs`, a page to try it: Swagger UI, built in.
//!
//! The page has a Content-Security-Policy of its own: nothing from elsewhere, no script in the page itself. It must not have
//! `upgrade-insecure-requests`, which all other answers have, or it could not call a server without TLS.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::Path;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use utoipa_swagger_ui::Config;

use super::App;

const POLICY: &str = "default-src 'none';base-uri 'none';connect-src 'self';font-src 'self' data:;form-action 'none';\
    frame-ancestors 'none';img-src 'self' data:;script-src 'self';style-src 'self' 'unsafe-inline'";

const PAGE: &str = r#"<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Users API</title>
<link rel="icon" type="image/png" href="/docs/favicon-32x32.png">
<link rel="stylesheet" href="/docs/swagger-ui.css">
<div id="swagger-ui"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</html>
"#;

const START: &str = "SwaggerUIBundle({ url: '/openapi.json', dom_id: '#swagger-ui', deepLinking: true, validatorUrl: null });\n";

/// What of Swagger UI the page needs.
const ASSETS: [&str; 3] = ["favicon-32x32.png", "swagger-ui.css", "swagger-ui-bundle.js"];

/// The page itself and the document are asked for each time; the rest is another one only after an upgrade.
const FRESH: &str = "no-cache";
const DAY: &str = "public, max-age=86400";

/// The routes, with the document that they are to show.
pub(super) fn routes(document: String) -> Router<Arc<App>> {
    let document = Bytes::from(document);
    let show = async move || reply("application/json", FRESH, document);
    Router::new()
        .route("/openapi.json", get(show))
        .route("/docs", get(async || reply("text/html; charset=utf-8", FRESH, PAGE)))
        .route("/docs/{file}", get(file))
}

async fn file(Path(name): Path<String>) -> Response {
    if name == "start.js" {
        return reply("text/javascript; charset=utf-8", DAY, START);
    }
    if !ASSETS.contains(&name.as_str()) {
        return StatusCode::NOT_FOUND.into_response();
    }
    match utoipa_swagger_ui::serve(&name, Arc::new(Config::from("/openapi.json"))) {
        Ok(Some(asset)) => reply(&asset.content_type, DAY, asset.bytes.into_owned()),
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

fn reply(kind: &str, caching: &'static str, body: impl IntoResponse) -> Response {
    let headers: [(HeaderName, HeaderValue); 2] = [
        (CACHE_CONTROL, HeaderValue::from_static(caching)),
        (CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
    ];
    let mut response = (headers, body).into_response();
    // A media type is always a right value.
    if let Ok(kind) = HeaderValue::from_str(kind) {
        response.headers_mut().insert(CONTENT_TYPE, kind);
    }
    response
}
