//! What many responses have alike, kept once.
//!
//! The responses of a site differ in their bodies, tags and dates; what server they come from, their type, how long they may be kept and what
//! browsers are to beware of is the same for thousands of them. So an object has of its head only what is its own, and shares the rest. That
//! takes less memory, and a hit reads less that is not in the processor's cache already.

use std::sync::{Arc, Mutex, PoisonError};

use ahash::RandomState;
use http::{HeaderName, StatusCode};

use super::vary::Selector;
use crate::engine::h1::{Lines, Rendered};

/// Fields whose values hardly ever tell two responses of a site apart. The lines of a name stay together, so that their order does.
const ALIKE: [&str; 34] = [
    "accept-ch",
    "accept-patch",
    "accept-post",
    "accept-ranges",
    "access-control-allow-credentials",
    "access-control-allow-headers",
    "access-control-allow-methods",
    "access-control-allow-origin",
    "access-control-expose-headers",
    "access-control-max-age",
    "allow",
    "alt-svc",
    "cache-control",
    "cdn-cache-control",
    "content-encoding",
    "content-language",
    "content-security-policy",
    "content-type",
    "cross-origin-embedder-policy",
    "cross-origin-opener-policy",
    "cross-origin-resource-policy",
    "nel",
    "permissions-policy",
    "pragma",
    "referrer-policy",
    "report-to",
    "server",
    "strict-transport-security",
    "timing-allow-origin",
    "vary",
    "x-content-type-options",
    "x-frame-options",
    "x-powered-by",
    "x-xss-protection",
];
/// In so many places by hash, so many each.
const PLACES: usize = 64;
const EACH: usize = 4;
/// Longer ones are not shared: 1 MiB is all that the shared ones can take, which count for no object.
const LONGEST: usize = 4 << 10;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Common {
    /// Which request fields the response depends on.
    pub(super) selector: Selector,
    pub(super) status: StatusCode,
    /// In the bytes of HTTP/1.1.
    status_line: Box<[u8]>,
    lines: Rendered,
    /// It was not shared, and counts for its object.
    alone: bool,
}

impl Common {
    pub(super) fn new(selector: Selector, status: StatusCode, lines: Rendered) -> Self {
        let reason = status.canonical_reason().unwrap_or_default();
        Self {
            selector,
            status,
            status_line: format!("HTTP/1.1 {} {reason}\r\n", status.as_str()).into_bytes().into(),
            lines,
            alone: true,
        }
    }

    pub(super) fn status_line(&self) -> &[u8] {
        &self.status_line
    }

    pub(super) fn lines(&self) -> Lines<'_> {
        self.lines.lines()
    }

    /// Bytes of memory that count for the object that has it.
    pub(super) fn size(&self) -> usize {
        if self.alone { size_of::<Self>() + self.length() } else { 0 }
    }

    fn length(&self) -> usize {
        self.status_line.len() + self.lines.text().len() + self.lines.table().len()
    }

    fn same(&self, other: &Self) -> bool {
        self.status == other.status && self.lines == other.lines && self.selector == other.selector
    }
}

/// Whether fields of that name are part of it.
pub(super) fn is_alike(name: &HeaderName) -> bool {
    ALIKE.binary_search(&name.as_str()).is_ok()
}

/// All that are shared. Those that no object has any more stay until another takes their place.
#[derive(Debug)]
pub(super) struct Commons {
    places: Box<[Mutex<Vec<Arc<Common>>>]>,
    hashing: RandomState,
}

impl Commons {
    pub(super) fn new(hashing: RandomState) -> Self {
        Self {
            places: (0..PLACES).map(|_| Mutex::default()).collect(),
            hashing,
        }
    }

    /// The shared one that is the same; or this one, which is shared from now on if there is room for it.
    pub(super) fn one_of(&self, mut common: Common) -> Arc<Common> {
        if common.length() > LONGEST {
            return Arc::new(common);
        }
        let hash = self.hashing.hash_one((common.status, &common.lines, &common.selector));
        let place = &self.places[hash as usize % PLACES];
        // Nothing panics under this lock.
        let mut shared = place.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = shared.iter().find(|known| known.same(&common)) {
            return Arc::clone(known);
        }
        if shared.len() == EACH {
            let Some(unused) = shared.iter().position(|known| Arc::strong_count(known) == 1) else {
                return Arc::new(common);
            };
            shared.swap_remove(unused);
        }
        common.alone = false;
        let common = Arc::new(common);
        shared.push(Arc::clone(&common));
        common
    }
}

#[cfg(test)]
mod tests {
    use http::header::{ACCEPT, SERVER};

    use super::*;

    fn common(server: &str) -> Common {
        let mut lines = Rendered::default();
        lines.add(&SERVER, server.as_bytes());
        Common::new(Selector::NONE, StatusCode::OK, lines)
    }

    #[test]
    fn names_are_in_order_and_none_is_one_that_the_cache_itself_reads_often() {
        assert!(ALIKE.is_sorted());
        assert!(is_alike(&SERVER) && !is_alike(&http::header::ETAG) && !is_alike(&http::header::LAST_MODIFIED));
    }

    #[test]
    fn what_is_alike_is_there_once_and_counts_for_nobody() {
        let commons = Commons::new(RandomState::with_seed(1));
        let one = commons.one_of(common("a"));
        assert!(Arc::ptr_eq(&one, &commons.one_of(common("a"))) && one.size() == 0);
        let others = [
            common("b"),
            Common::new(Selector::NONE, StatusCode::NOT_FOUND, one.lines.clone()),
            Common::new(Selector::from_names(vec![ACCEPT]), StatusCode::OK, one.lines.clone()),
        ];
        for other in others {
            assert!(!Arc::ptr_eq(&one, &commons.one_of(other)));
        }
    }

    #[test]
    fn there_is_a_bound_and_what_nobody_has_makes_room() {
        let commons = Commons::new(RandomState::with_seed(1));
        let held: Vec<_> = (0..10_000).map(|number| commons.one_of(common(&number.to_string()))).collect();
        let shared = held.iter().filter(|common| common.size() == 0).count();
        assert_eq!(shared, PLACES * EACH);
        assert!(held.iter().any(|common| common.size() > 0));
        assert!(commons.one_of(common("new")).size() > 0);
        drop(held);
        assert_eq!(commons.one_of(common("new")).size(), 0);
        assert!(commons.one_of(common(&"x".repeat(LONGEST))).size() > LONGEST);
    }
}
