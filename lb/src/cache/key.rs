//! What a response is stored under.
//!
//! RFC 9111 §2 calls it the cache key. Here it is the upstream's name and the route's key template, rendered; the method is no part of it
//! (`HEAD` is answered from what `GET` stored), and what `Vary` adds stands beside it (see [`super::vary`]).
//!
//! A look-up borrows its key and allocates nothing. A store keeps its bytes: a hash finds the place, the bytes decide, so that nobody who
//! finds two keys of one hash is given the other's response. With them goes the URI as the client saw it, because that is what an operator
//! purges by; where the template renders to just that, as the default one does, it is kept once.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// The key of a request, borrowed from it.
#[derive(Debug, Clone, Copy)]
pub struct Key<'a> {
    upstream: &'a str,
    rendered: &'a [u8],
    uri: &'a [u8],
}

impl<'a> Key<'a> {
    /// `rendered` is the route's key template with the request in it; `uri` is `scheme://host/path?query` in the form in which purges name
    /// it (scheme and host in lower case). They may be the same slice.
    pub fn new(upstream: &'a str, rendered: &'a [u8], uri: &'a [u8]) -> Self {
        Self { upstream, rendered, uri }
    }

    /// The upstream's name.
    pub fn upstream(&self) -> &'a str {
        self.upstream
    }

    /// The upstream's name and the rendered template: what makes it the key that it is.
    pub(super) fn parts(&self) -> (&'a str, &'a [u8]) {
        (self.upstream, self.rendered)
    }

    pub(super) fn store(&self, hash: u64) -> StoredKey {
        let uri = if self.uri == self.rendered { &[][..] } else { self.uri };
        let mut ends = [0; ENDS];
        let mut end = 0_usize;
        for (place, part) in ends.chunks_exact_mut(4).zip([self.upstream.as_bytes(), self.rendered, uri]) {
            end += part.len();
            // A request's head is far shorter than 4 GiB.
            place.copy_from_slice(&(end as u32).to_le_bytes());
        }
        StoredKey {
            hash,
            bytes: [&ends, self.upstream.as_bytes(), self.rendered, uri].concat().into(),
        }
    }
}

impl Hash for Key<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.upstream.hash(state);
        self.rendered.hash(state);
    }
}

/// A key that outlives its request. Cheap to clone, and small: there are two in the store for each object.
#[derive(Debug, Clone)]
pub(super) struct StoredKey {
    /// Of upstream and rendered template, under the cache's own seed.
    pub(super) hash: u64,
    /// Where each of its three parts ends, the parts (upstream, rendered template, URI if it is another one), and what an object has put behind them.
    bytes: Arc<[u8]>,
}

/// Bytes of the three ends: 32 bits each, little-endian, counted from behind them.
const ENDS: usize = 12;

impl StoredKey {
    /// Whether it is the one that the request asks for.
    pub(super) fn is(&self, hash: u64, key: &Key<'_>) -> bool {
        self.hash == hash && self.upstream() == key.upstream.as_bytes() && self.rendered() == key.rendered
    }

    /// Whether both are the same key.
    pub(super) fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.bytes, &other.bytes)
            || (self.hash == other.hash && self.upstream() == other.upstream() && self.rendered() == other.rendered())
    }

    /// Where a part ends in `bytes`.
    #[inline]
    fn end(&self, part: usize) -> usize {
        let end = self.bytes.get(4 * part..).and_then(|ends| ends.first_chunk());
        ENDS + end.map_or(0, |end| u32::from_le_bytes(*end) as usize)
    }

    pub(super) fn upstream(&self) -> &[u8] {
        &self.bytes[ENDS..self.end(0)]
    }

    pub(super) fn rendered(&self) -> &[u8] {
        &self.bytes[self.end(0)..self.end(1)]
    }

    /// `scheme://host/path?query`.
    pub(super) fn uri(&self) -> &[u8] {
        match &self.bytes[self.end(1)..self.end(2)] {
            [] => self.rendered(),
            uri => uri,
        }
    }

    /// The URI from its path on.
    pub(super) fn path_and_query(&self) -> &[u8] {
        let uri = self.uri();
        let host = uri.windows(3).position(|at| at == b"://").map_or(0, |scheme| scheme + 3);
        let path = uri[host..]
            .iter()
            .position(|byte| matches!(byte, b'/' | b'?'))
            .map_or(uri.len(), |path| host + path);
        &uri[path..]
    }

    /// The same key with other bytes behind its own: what is looked at together lies together.
    pub(super) fn with(&self, behind: &[&[u8]]) -> Self {
        let own = &self.bytes[..self.end(2)];
        let mut bytes = Vec::with_capacity(own.len() + behind.iter().map(|part| part.len()).sum::<usize>());
        bytes.extend_from_slice(own);
        behind.iter().for_each(|part| bytes.extend_from_slice(part));
        Self {
            hash: self.hash,
            bytes: bytes.into(),
        }
    }

    /// What was put behind it.
    pub(super) fn behind(&self) -> &[u8] {
        &self.bytes[self.end(2)..]
    }

    /// Bytes of memory beside the struct itself, of which clones share one piece.
    pub(super) fn size(&self) -> usize {
        self.bytes.len() + 2 * size_of::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_upstream_is_always_part_of_it() {
        let stored = Key::new("users", b"same", b"http://h/").store(1);
        assert!(stored.is(1, &Key::new("users", b"same", b"http://h/")));
        assert!(!stored.is(1, &Key::new("orders", b"same", b"http://h/")));
        assert!(!stored.same(&Key::new("orders", b"same", b"http://h/").store(1)));
    }

    #[test]
    fn bytes_decide_where_hashes_and_concatenations_agree() {
        let stored = Key::new("ab", b"c", b"u").store(7);
        assert!(!stored.is(7, &Key::new("a", b"bc", b"u")));
        assert!(!stored.is(7, &Key::new("ab", b"d", b"u")));
    }

    #[test]
    fn what_is_put_behind_it_is_no_part_of_it() {
        let stored = Key::new("u", b"a", b"http://h/").store(0);
        let longer = stored.with(&[b"be", b"hind"]);
        assert!(longer.same(&stored) && longer.behind() == b"behind" && stored.behind().is_empty());
        assert_eq!(longer.uri(), b"http://h/");
        assert_eq!(longer.with(&[b"other"]).behind(), b"other");
        assert_eq!(Key::new("u", b"a", b"a").store(0).with(&[b"behind"]).uri(), b"a");
    }

    #[test]
    fn the_uri_is_known_whatever_the_template() {
        let plain = Key::new("u", b"http://h:1/a?b", b"http://h:1/a?b").store(0);
        let custom = Key::new("u", b"a", b"http://h:1/a?b").store(0);
        for stored in [plain, custom] {
            assert_eq!(stored.uri(), b"http://h:1/a?b");
            assert_eq!(stored.path_and_query(), b"/a?b");
        }
        assert_eq!(Key::new("u", b"http://h", b"http://h").store(0).path_and_query(), b"");
    }
}
