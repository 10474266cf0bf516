//! The headers that let `lb` cache reads and forget them in time.
//!
//! A browser must ask again each time (`Cache-Control: max-age=0`), but a shared cache in front, which hears of every write, may
//! keep a read (`CDN-Cache-Control`, RFC 9213). `Cache-Tag` names what an answer depends on; `Cache-Purge` in the answer to a
//! write names the tags of which everything must be forgotten. A list depends on all users (`users`), one user only on itself
//! (`user-ID`).

use std::time::Duration;

use axum::http::header::{CACHE_CONTROL, HeaderName};
use axum::http::{HeaderMap, HeaderValue};

static CDN_CACHE_CONTROL: HeaderName = HeaderName::from_static("cdn-cache-control");
static CACHE_TAG: HeaderName = HeaderName::from_static("cache-tag");
static CACHE_PURGE: HeaderName = HeaderName::from_static("cache-purge");
const LISTS: HeaderValue = HeaderValue::from_static("users");

/// Writes the headers.
pub(super) struct Caching {
    shared: HeaderValue,
}

impl Caching {
    pub(super) fn new(ttl: Duration) -> Self {
        let text = format!("max-age={}, stale-while-revalidate=30, stale-if-error=600", ttl.as_secs());
        // The text is plain ASCII, so the second case does not happen; if it did, nothing would be cached.
        Self {
            shared: HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("no-store")),
        }
    }

    /// A list of users was read.
    pub(super) fn list_read(&self, headers: &mut HeaderMap) {
        self.read(headers, LISTS);
    }

    /// One user was read.
    pub(super) fn user_read(&self, headers: &mut HeaderMap, id: i64) {
        self.read(headers, tag(id, ""));
    }

    fn read(&self, headers: &mut HeaderMap, tag: HeaderValue) {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=0"));
        headers.insert(&CDN_CACHE_CONTROL, self.shared.clone());
        headers.insert(&CACHE_TAG, tag);
    }
}

/// A user came into being, who is in no answer yet but missing in lists.
pub(super) fn created(headers: &mut HeaderMap) {
    headers.insert(&CACHE_PURGE, LISTS);
}

/// A user changed or is gone.
pub(super) fn changed(headers: &mut HeaderMap, id: i64) {
    headers.insert(&CACHE_PURGE, tag(id, ", users"));
}

fn tag(id: i64, and: &str) -> HeaderValue {
    let mut text = String::with_capacity(40);
    text.push_str("user-");
    text.push_str(itoa::Buffer::new().format(id));
    text.push_str(and);
    // Plain ASCII. `users` is on every list and would purge too much rather than too little.
    HeaderValue::try_from(text).unwrap_or(LISTS)
}
