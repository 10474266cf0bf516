//! Taking out what is not true any more.
//!
//! A purge names what it is about: a key, a URL, a prefix, tags, or everything. What is stored or arriving is looked through there and then; the
//! hard part is the answers that were asked for before the purge and come after it. Every fetch and every purge takes a number from one
//! counter, and a [`Log`] remembers which purges there were, so that when the head of an answer comes, one look tells whether a purge with a
//! greater number than its fetch is about it.
//!
//! The log is bounded. When a purge is forgotten, its number becomes the floor: a fetch that began below it might have been meant, and is not
//! stored. With 16,384 distinct keys and tags remembered, only a fetch that takes longer than so many purges ever meets the floor.

use std::collections::{HashMap, VecDeque};

use ahash::RandomState;

use super::key::{Key, StoredKey};

/// Distinct keys and tags that are remembered.
const MARKS: usize = 16 << 10;
/// Purges by URL or prefix that are remembered: an operator's, one by one.
const PATTERNS: usize = 256;

/// What to purge.
#[derive(Debug, Clone, Copy)]
pub enum Purge<'a> {
    /// Every variant stored under one key: what an unsafe method on it invalidates (RFC 9111 §4.4).
    Key(&'a Key<'a>),
    /// Every variant of one URL: `http://host/path?query`, or `/path?query` on every host. Path and query must be equal.
    Url(&'a str),
    /// Every URL that begins so, given in the same two ways.
    Prefix(&'a str),
    /// Everything that bears one of these tags.
    Tags {
        /// Only of this upstream.
        upstream: Option<&'a str>,
        /// The tags.
        tags: &'a [&'a [u8]],
    },
    /// Everything.
    All,
}

/// What a purge does to what is stored. What is on its way is not kept after either.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Strength {
    /// It is taken out.
    Hard,
    /// It counts as stale from now on.
    Soft,
}

/// A purge in the form in which it is compared and remembered.
#[derive(Debug)]
pub(super) enum Target {
    Key(StoredKey),
    Pattern(Pattern),
    Tags { upstream: Option<Box<[u8]>>, tags: Vec<u64> },
    All,
}

#[derive(Debug, Clone)]
pub(super) struct Pattern {
    text: Box<[u8]>,
    /// It begins with the path, not with the scheme.
    path: bool,
    prefix: bool,
}

impl Pattern {
    fn new(text: &str, prefix: bool) -> Self {
        let text = text.split('#').next().unwrap_or_default();
        let Some((scheme, rest)) = text.split_once("://") else {
            return Self {
                text: text.as_bytes().into(),
                path: true,
                prefix,
            };
        };
        let (host, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        // A URL without a path is the URL of the root, while a prefix without one may end within a host's name or port.
        let root = if path.is_empty() && !prefix { "/" } else { "" };
        let whole = !prefix || !path.is_empty();
        let default = if scheme.eq_ignore_ascii_case("https") { ":443" } else { ":80" };
        let host = host.strip_suffix(default).filter(|_| whole).unwrap_or(host);
        let text = [&scheme.to_ascii_lowercase(), "://", &host.to_ascii_lowercase(), root, path].concat();
        Self {
            text: text.into_bytes().into(),
            path: false,
            prefix,
        }
    }

    fn hits(&self, key: &StoredKey) -> bool {
        let seen = if self.path { key.path_and_query() } else { key.uri() };
        if self.prefix {
            seen.starts_with(&self.text)
        } else {
            *seen == *self.text
        }
    }
}

/// The hash under which a tag is known in indexes and logs. Two tags of one hash are purged together, which loses nothing but time.
pub(super) fn tag_hash(hashing: &RandomState, tag: &[u8]) -> u64 {
    hashing.hash_one(tag)
}

impl Target {
    pub(super) fn new(purge: &Purge<'_>, hashing: &RandomState) -> Self {
        match *purge {
            Purge::Key(key) => Self::Key(key.store(hashing.hash_one(key))),
            Purge::Url(url) => Self::Pattern(Pattern::new(url, false)),
            Purge::Prefix(prefix) => Self::Pattern(Pattern::new(prefix, true)),
            Purge::Tags { upstream, tags } => Self::Tags {
                upstream: upstream.map(|upstream| upstream.as_bytes().into()),
                tags: tags.iter().map(|tag| tag_hash(hashing, tag)).collect(),
            },
            Purge::All => Self::All,
        }
    }

    /// Whether it is about a response. `tags` is `None` while they are not known: then they may be any.
    pub(super) fn hits(&self, key: &StoredKey, tags: Option<&[u64]>) -> bool {
        match self {
            Self::Key(purged) => purged.same(key),
            Self::Pattern(pattern) => pattern.hits(key),
            Self::Tags { upstream, tags: purged } => {
                upstream.as_deref().is_none_or(|upstream| upstream == key.upstream())
                    && tags.is_none_or(|tags| tags.iter().any(|tag| purged.contains(tag)))
            }
            Self::All => true,
        }
    }
}

/// The purges of late.
#[derive(Debug)]
pub(super) struct Log {
    hashing: RandomState,
    /// When each key and tag was last purged.
    last: HashMap<u64, u64, RandomState>,
    order: VecDeque<(u64, u64)>,
    patterns: VecDeque<(u64, Pattern)>,
    /// What began before this may have been purged by anything.
    floor: u64,
}

impl Log {
    pub(super) fn new(hashing: RandomState) -> Self {
        Self {
            last: HashMap::with_hasher(hashing.clone()),
            hashing,
            order: VecDeque::new(),
            patterns: VecDeque::new(),
            floor: 0,
        }
    }

    /// Remembers a purge of that number; numbers come in any order.
    pub(super) fn add(&mut self, number: u64, target: &Target) {
        match target {
            Target::Key(key) => self.mark(self.key_mark(key), number),
            Target::Tags { upstream, tags } => {
                for &tag in tags {
                    self.mark(self.tag_mark(upstream.as_deref(), tag), number);
                }
            }
            Target::Pattern(pattern) => {
                self.patterns.push_back((number, pattern.clone()));
                if self.patterns.len() > PATTERNS
                    && let Some((forgotten, _)) = self.patterns.pop_front()
                {
                    self.floor = self.floor.max(forgotten);
                }
            }
            Target::All => self.floor = self.floor.max(number),
        }
    }

    fn mark(&mut self, mark: u64, number: u64) {
        let last = self.last.entry(mark).or_default();
        *last = number.max(*last);
        self.order.push_back((mark, number));
        while self.order.len() > MARKS {
            let Some((mark, number)) = self.order.pop_front() else { return };
            // Where it was purged again since, the later purge stands further behind and says all that this one did.
            if self.last.get(&mark) == Some(&number) {
                self.last.remove(&mark);
                self.floor = self.floor.max(number);
            }
        }
    }

    /// Whether a purge later than `began` is about a response.
    pub(super) fn hits(&self, began: u64, key: &StoredKey, tags: &[u64]) -> bool {
        let purged = |mark: u64| self.last.get(&mark).is_some_and(|&number| number > began);
        self.floor > began
            || purged(self.key_mark(key))
            || tags
                .iter()
                .any(|&tag| purged(self.tag_mark(None, tag)) || purged(self.tag_mark(Some(key.upstream()), tag)))
            || self.patterns.iter().any(|(number, pattern)| *number > began && pattern.hits(key))
    }

    fn key_mark(&self, key: &StoredKey) -> u64 {
        self.hashing.hash_one((0_u8, key.hash))
    }

    fn tag_mark(&self, upstream: Option<&[u8]>, tag: u64) -> u64 {
        self.hashing.hash_one((1_u8, upstream, tag))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(uri: &str) -> StoredKey {
        Key::new("u", uri.as_bytes(), uri.as_bytes()).store(RandomState::with_seed(1).hash_one(uri))
    }

    fn target(purge: &Purge<'_>) -> Target {
        Target::new(purge, &RandomState::with_seed(1))
    }

    fn tag(tag: &[u8]) -> u64 {
        tag_hash(&RandomState::with_seed(1), tag)
    }

    fn hits(purge: Purge<'_>, uri: &str) -> bool {
        target(&purge).hits(&key(uri), Some(&[]))
    }

    #[test]
    fn urls_are_equal_and_prefixes_begin() {
        assert!(hits(Purge::Url("http://H/a?b#c"), "http://h/a?b"));
        assert!(hits(Purge::Url("/a?b"), "http://h/a?b"));
        assert!(hits(Purge::Url("HTTP://h"), "http://h/"));
        assert!(hits(Purge::Url("http://h:80/a"), "http://h/a") && hits(Purge::Prefix("http://h:80/"), "http://h/a"));
        assert!(!hits(Purge::Url("http://h:443/a"), "http://h/a"));
        assert!(!hits(Purge::Url("http://h/a"), "http://h/a?b"));
        assert!(!hits(Purge::Url("http://h/A"), "http://h/a"));
        assert!(!hits(Purge::Url("https://h/a"), "http://h/a"));
        assert!(!hits(Purge::Url("/a"), "http://h/b/a"));
        assert!(hits(Purge::Prefix("http://h/a"), "http://h/ab?c"));
        assert!(hits(Purge::Prefix("/a"), "http://h/ab?c"));
        assert!(hits(Purge::Prefix("http://H"), "http://h:81/"));
        assert!(!hits(Purge::Prefix("/b"), "http://h/ab?c"));
        assert!(hits(Purge::All, "http://h/"));
    }

    #[test]
    fn tags_are_an_upstreams_own_unless_said_otherwise() {
        let tags: &[&[u8]] = &[b"users", b"user-42"];
        let response = key("http://h/");
        for (upstream, hit) in [(None, true), (Some("u"), true), (Some("other"), false)] {
            let target = target(&Purge::Tags { upstream, tags });
            assert_eq!(target.hits(&response, Some(&[tag(b"user-42")])), hit);
            assert!(!target.hits(&response, Some(&[tag(b"user-4")])));
            assert_eq!(target.hits(&response, None), hit, "not known yet: may be any");
        }
    }

    #[test]
    fn the_log_tells_later_purges_from_earlier_ones() {
        let mut log = Log::new(RandomState::with_seed(1));
        let (mine, other) = (key("http://h/a"), key("http://h/b"));
        log.add(10, &Target::Key(mine.clone()));
        assert!(log.hits(9, &mine, &[]) && !log.hits(10, &mine, &[]) && !log.hits(9, &other, &[]));
        log.add(
            20,
            &target(&Purge::Tags {
                upstream: Some("u"),
                tags: &[b"t"],
            }),
        );
        assert!(log.hits(19, &other, &[tag(b"x"), tag(b"t")]) && !log.hits(20, &other, &[tag(b"t")]) && !log.hits(19, &other, &[]));
        log.add(30, &target(&Purge::Prefix("/b")));
        assert!(log.hits(29, &other, &[]) && !log.hits(30, &other, &[]) && !log.hits(29, &mine, &[]));
        log.add(40, &Target::All);
        assert!(log.hits(39, &mine, &[]) && !log.hits(40, &mine, &[]));
    }

    #[test]
    fn what_it_forgets_it_is_careful_about() {
        let mut log = Log::new(RandomState::with_seed(1));
        let first = key("http://h/first");
        log.add(1, &Target::Key(first.clone()));
        for number in 0..MARKS as u64 + 50 {
            log.add(100 + number, &Target::Key(key(&format!("http://h/{number}"))));
        }
        assert_eq!(log.last.len(), MARKS);
        assert!(log.hits(0, &first, &[]));
        assert!(log.hits(120, &first, &[]), "it began below the floor");
        assert!(!log.hits(200, &first, &[]));
        for number in 0..PATTERNS as u64 + 1 {
            log.add(100_000 + number, &target(&Purge::Url("/x")));
        }
        assert!(log.hits(99_999, &first, &[]) && !log.hits(100_000, &first, &[]));
    }

    #[test]
    fn one_tag_purged_over_and_over_forgets_nothing() {
        let mut log = Log::new(RandomState::with_seed(1));
        for number in 1..3 * MARKS as u64 {
            log.add(
                number,
                &target(&Purge::Tags {
                    upstream: Some("u"),
                    tags: &[b"t"],
                }),
            );
        }
        assert_eq!(log.floor, 0);
        assert!(log.hits(3 * MARKS as u64 - 2, &key("http://h/"), &[tag(b"t")]));
    }
}
