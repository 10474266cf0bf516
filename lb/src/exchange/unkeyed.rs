//! What a request that fetches for the store does not send along: see [`crate::cache::unkeyed`].

use http::HeaderName;
use lb_config::BypassOn;

use super::Exchange;
use super::head::{Editor, RequestHead};
use crate::cache::unkeyed::claims_place;
use crate::filter::{self, remove_named};

const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

impl Exchange {
    /// Whether anything of the answer may be stored: the request fetches it, or is a `HEAD` whose answer renews what is there.
    fn tells_the_store(&self) -> bool {
        self.leads() || self.caching.head_missed.is_some()
    }

    /// Takes claims that are no part of the key off a request that fetches for the store.
    pub(super) fn edit_unkeyed(&self, received: &impl RequestHead, out: &mut impl Editor) {
        let cached = self
            .route()
            .and_then(|route| route.cache.as_ref())
            .filter(|_| self.tells_the_store());
        let Some(cached) = cached else { return };
        let is_keyed = |name: &[u8]| {
            let mut keyed = cached.rules.vary_on.iter();
            keyed.any(|keyed| name.eq_ignore_ascii_case(keyed.as_str().as_bytes()))
        };
        for (name, _) in received.iter() {
            if claims_place(name) && !is_keyed(name) {
                remove_named(name, out);
            }
        }
        // That one is always sent; here it is the host that the key has.
        if !is_keyed(X_FORWARDED_HOST.as_str().as_bytes()) && !received.authority().is_empty() {
            out.set_text(&X_FORWARDED_HOST, received.authority());
        }
    }

    /// Whether the route lets this request go past the cache.
    pub(super) fn bypasses(&self, bypass_on: &[BypassOn], head: &impl RequestHead) -> bool {
        bypass_on.iter().any(|on| match on {
            BypassOn::Header(name) => head.get(name).is_some(),
            BypassOn::Cookie(name) => filter::cookie(head, name).is_some(),
        })
    }
}
