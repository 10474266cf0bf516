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
    fn new(selector: Selector, status: StatusCode, lines: Rendered, alone: bool) -> Arc<Self> {
        let reason = status.canonical_reason().unwrap_or_default();
        Arc::new(Self {
            selector,
            status,
            status_line: format!("HTTP/1.1 {} {reason}\r\n", status.as_str()).into_bytes().into(),
            lines,
            alone,
        })
    }

    pub(super) fn status_line(&self) -> &[u8] {
        &self.status_line
    }

    pub(super) fn lines(&self) -> Lines<'_> {
        self.lines.lines()
    }

    /// Bytes of memory that count for the object that has it.
    pub(super) fn size(&self) -> usize {
        let bytes = size_of::<Self>() + self.status_line.len() + length(&self.lines);
        if self.alone { bytes } else { 0 }
    }
}

fn length(lines: &Rendered) -> usize {
    lines.text().len() + lines.table().len()
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

    /// The shared one of these parts; or a new one, which is shared from now on if there is room for it.
    pub(super) fn one_of(&self, selector: &Selector, status: StatusCode, lines: Rendered) -> Arc<Common> {
        let new = |lines: Rendered, alone: bool| Common::new(selector.clone(), status, lines, alone);
        if length(&lines) > LONGEST {
            return new(lines, true);
        }
        let hash = self.hashing.hash_one((status, &lines, selector));
        let place = &self.places[hash as usize % PLACES];
        // Nothing panics under this lock.
        let mut shared = place.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |known: &&Arc<Common>| known.status == status && known.lines == lines && known.selector == *selector;
        if let Some(known) = shared.iter().find(same) {
            return Arc::clone(known);
        }
        if shared.len() == EACH {
            let Some(unused) = shared.iter().position(|known| Arc::strong_count(known) == 1) else {
                return new(lines, true);
            };
            shared.swap_remove(unused);
        }
        let common = new(lines, false);
        shared.push(Arc::clone(&common));
        common
    }
}

#[cfg(test)]
mod tests {
    use http::header::{ACCEPT, SERVER};

    use super::*;

    fn lines(server: &str) -> Rendered {
        let mut lines = Rendered::default();
        lines.add(&SERVER, server.as_bytes());
        lines
    }

    /// With that line, and else as any other.
    fn one_of(commons: &Commons, server: &str) -> Arc<Common> {
        commons.one_of(&Selector::NONE, StatusCode::OK, lines(server))
    }

    #[test]
    fn names_are_in_order_and_none_is_one_that_the_cache_itself_reads_often() {
        assert!(ALIKE.is_sorted());
        assert!(is_alike(&SERVER) && !is_alike(&http::header::ETAG) && !is_alike(&http::header::LAST_MODIFIED));
    }

    #[test]
    fn what_is_alike_is_there_once_and_counts_for_nobody() {
        let commons = Commons::new(RandomState::with_seed(1));
        let one = one_of(&commons, "a");
        assert!(Arc::ptr_eq(&one, &one_of(&commons, "a")) && one.size() == 0);
        assert_eq!(one.status_line(), b"HTTP/1.1 200 OK\r\n");
        let others = [
            one_of(&commons, "b"),
            commons.one_of(&Selector::NONE, StatusCode::NOT_FOUND, lines("a")),
            commons.one_of(&Selector::from_names(vec![ACCEPT]), StatusCode::OK, lines("a")),
        ];
        for other in others {
            assert!(!Arc::ptr_eq(&one, &other));
        }
    }

    #[test]
    fn there_is_a_bound_and_what_nobody_has_makes_room() {
        let commons = Commons::new(RandomState::with_seed(1));
        let held: Vec<_> = (0..10_000).map(|number| one_of(&commons, &number.to_string())).collect();
        let shared = held.iter().filter(|common| common.size() == 0).count();
        assert_eq!(shared, PLACES * EACH);
        assert!(held.iter().any(|common| common.size() > 0));
        assert!(one_of(&commons, "new").size() > 0);
        drop(held);
        assert_eq!(one_of(&commons, "new").size(), 0);
        assert!(one_of(&commons, &"x".repeat(LONGEST)).size() > LONGEST);
    }
}
