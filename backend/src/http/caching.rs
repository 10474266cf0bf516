//! The headers that let `lb` cache reads and forget them in time.
//!
//! A browser must ask again each time (`Cache-Control: max-age=0`), but a shared cache in front, which hears of every write, may
//! keep a read (`CDN-Cache-Control`, RFC 9213). `Cache-Tag` names what an answer depends on; `Cache-Purge` in the answer to a
//! write names the tags of which everything must be forgotten. A list depends on all users (`users`), one user only on itself
//! (`user-ID`).
//!
//! The answer to a request with `Authorization` may be shared only where the origin says so (RFC 9111, section 3.5). Where reads are for
//! everybody it does, with `public` in both fields; where one must log in to read, nothing is shared at all. Nor is anything with a lifetime
//! below a second, the least that `max-age` can say: `max-age=0` would still let a cache serve it stale.

use std::time::Duration;

use axum::http::header::{AUTHORIZATION, CACHE_CONTROL, HeaderName};
use axum::http::{HeaderMap, HeaderValue};

use crate::settings::Who;

static CDN_CACHE_CONTROL: HeaderName = HeaderName::from_static("cdn-cache-control");
static CACHE_TAG: HeaderName = HeaderName::from_static("cache-tag");
static CACHE_PURGE: HeaderName = HeaderName::from_static("cache-purge");
const LISTS: HeaderValue = HeaderValue::from_static("users");

/// The least lifetime that can be told.
const SHORTEST: Duration = Duration::from_secs(1);

/// Writes the headers.
pub(super) enum Caching {
    /// Everybody may read, and caches may keep it.
    Public {
        /// For a request without `Authorization`.
        shared: HeaderValue,
        /// For one with it.
        authorized: HeaderValue,
    },
    /// Only those who have logged in may read, or nothing is to be kept.
    Private,
}

impl Caching {
    pub(super) fn new(ttl: Duration, who: Who) -> Self {
        if who == Who::Everybody || ttl < SHORTEST {
            return Self::Private;
        }
        let shared = format!("max-age={}, stale-while-revalidate=30, stale-if-error=600", ttl.as_secs());
        // The text is plain ASCII, so the second case does not happen; if it did, nothing would be cached.
        let value = |text: String| HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("no-store"));
        Self::Public {
            authorized: value(format!("public, {shared}")),
            shared: value(shared),
        }
    }

    /// A list of users was read.
    pub(super) fn list_read(&self, request: &HeaderMap, headers: &mut HeaderMap) {
        self.read(request, headers, LISTS);
    }

    /// One user was read.
    pub(super) fn user_read(&self, request: &HeaderMap, headers: &mut HeaderMap, id: i64) {
        self.read(request, headers, tag(id, ""));
    }

    fn read(&self, request: &HeaderMap, headers: &mut HeaderMap, tag: HeaderValue) {
        let Self::Public { shared, authorized } = self else {
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, max-age=0"));
            headers.insert(&CDN_CACHE_CONTROL, HeaderValue::from_static("no-store"));
            return;
        };
        let known = request.contains_key(AUTHORIZATION);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=0"));
        headers.insert(&CDN_CACHE_CONTROL, if known { authorized } else { shared }.clone());
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
