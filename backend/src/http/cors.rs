//! Cross-origin resource sharing (<https://fetch.spec.whatwg.org/#http-cors-protocol>): which other sites' pages may call the API.

use axum::http::Method;
use axum::http::header::{
    ACCEPT, AUTHORIZATION, CONTENT_TYPE, ETAG, HeaderName, IF_MATCH, IF_NONE_MATCH, LOCATION, ORIGIN, RETRY_AFTER, WWW_AUTHENTICATE,
};
use std::time::Duration;
use tower_http::cors::{AllowOrigin, CorsLayer};

use super::users::IDEMPOTENCY_KEY;
use crate::settings::Cors;

/// How long a browser may remember the answer to a preflight request.
const MAX_AGE: Duration = Duration::from_secs(600);

/// `None` when no CORS header is ever to be sent.
pub(super) fn layer(cors: &Cors) -> Option<CorsLayer> {
    // Answers differ by origin only where origins are listed; a cache in front must know that.
    let (origins, vary): (AllowOrigin, Vec<HeaderName>) = match cors {
        Cors::Off => return None,
        Cors::Any => (AllowOrigin::any(), vec![]),
        Cors::Origins(origins) => (AllowOrigin::list(origins.clone()), vec![ORIGIN]),
    };
    let layer = CorsLayer::new()
        .allow_origin(origins)
        .vary(vary)
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
        .allow_headers([
            ACCEPT,
            AUTHORIZATION,
            CONTENT_TYPE,
            IF_MATCH,
            IF_NONE_MATCH,
            HeaderName::from_static("x-request-id"),
            IDEMPOTENCY_KEY.clone(),
        ])
        .expose_headers([ETAG, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE])
        .max_age(MAX_AGE);
    Some(layer)
}
