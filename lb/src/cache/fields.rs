//! Which fields of an answer are kept, and the two that are for the cache alone.

use http::header::{
    AGE, CONNECTION, CONTENT_LENGTH, DATE, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderName, HeaderValue};

use super::clock::Now;
use crate::exchange::X_LB_DRAIN;
use crate::exchange::head::Fields;

/// What a response says it is about: `Cache-Tag: users, user-42`.
pub const CACHE_TAG: HeaderName = HeaderName::from_static("cache-tag");
/// What a response says has changed: `Cache-Purge: user-42, users`.
pub const CACHE_PURGE: HeaderName = HeaderName::from_static("cache-purge");

/// Never stored: of one connection (RFC 9110 §7.6.1), of one proxy (RFC 9111 §3.1), or made anew on each answer.
const NOT_KEPT: [HeaderName; 15] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    PROXY_AUTHENTICATE,
    HeaderName::from_static("proxy-authentication-info"),
    PROXY_AUTHORIZATION,
    AGE,
    CONTENT_LENGTH,
    CACHE_TAG,
    CACHE_PURGE,
    X_LB_DRAIN,
];

/// Hands out the fields to keep.
pub(super) fn kept(response: &impl Fields, hidden: &[HeaderName], now: Now, mut keep: impl FnMut(&HeaderName, &[u8])) {
    let named = |name: &HeaderName| {
        let members = response.all(&CONNECTION).flat_map(|line| line.split(|&byte| byte == b','));
        members
            .map(<[u8]>::trim_ascii)
            .any(|member| member.eq_ignore_ascii_case(name.as_str().as_bytes()))
    };
    let mut dated = false;
    for (name, value) in response.iter() {
        let (Ok(name), Ok(_)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) else {
            continue;
        };
        if NOT_KEPT.contains(&name) || hidden.contains(&name) || named(&name) {
            continue;
        }
        dated |= name == DATE;
        keep(&name, value);
    }
    if !dated {
        // RFC 9110 §6.6.1: what has no date gets one from its first recipient with a clock.
        keep(&DATE, httpdate::fmt_http_date(now.wall).as_bytes());
    }
}

/// Whether a field is one of those that are never stored.
pub(super) fn is_of_this_hop(name: &HeaderName) -> bool {
    NOT_KEPT.contains(name)
}

/// The members of every line of a tag field.
pub(super) fn tags<'a>(lines: impl Iterator<Item = &'a [u8]>) -> impl Iterator<Item = &'a [u8]> {
    lines
        .flat_map(|line| line.split(|&byte| byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|tag| !tag.is_empty())
}
