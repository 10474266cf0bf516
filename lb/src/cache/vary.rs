//! Variants: one key, several responses.
//!
//! An origin that answers according to request fields names them in `Vary`; a stored response then serves only requests whose fields match
//! those of the request that brought it (RFC 9111 §4.1). A [`Selector`] is the list of names, a [`Variant`] the list with the values of one
//! request. Values match when they are equal after what §4.1 allows: lines of one field joined, and, for the `Accept` family, whose syntax is
//! known to be a list, white space around commas removed. An absent field matches only an absent one.
//!
//! Comparing allocates nothing: the request's values are fed piece by piece to a hash, and then against the stored bytes.

use std::sync::Arc;

use http::HeaderName;
use http::header::{ACCEPT, ACCEPT_CHARSET, ACCEPT_ENCODING, ACCEPT_LANGUAGE, VARY};

use super::key::StoredKey;
use crate::exchange::head::Fields;

/// The request fields that an answer depends on: sorted, none twice. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Selector(Option<Arc<[HeaderName]>>);

impl Selector {
    /// What every request matches.
    pub const NONE: Self = Self(None);

    /// From a response's `Vary`; `None` for `*` and for what cannot be read, which no other request matches.
    pub fn of(response: &impl Fields) -> Option<Self> {
        let mut names = Vec::new();
        for line in response.all(&VARY) {
            for member in line
                .split(|&byte| byte == b',')
                .map(<[u8]>::trim_ascii)
                .filter(|member| !member.is_empty())
            {
                // `*` is a token, and a field of that name is nobody's.
                names.push(HeaderName::from_bytes(member).ok().filter(|name| name != "*")?);
            }
        }
        Some(Self::from_names(names))
    }

    /// From names.
    pub(super) fn from_names(mut names: Vec<HeaderName>) -> Self {
        names.sort_unstable_by(|one, other| one.as_str().cmp(other.as_str()));
        names.dedup();
        if names.is_empty() { Self::NONE } else { Self(Some(names.into())) }
    }

    /// Whether every request matches.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    pub(super) fn names(&self) -> &[HeaderName] {
        self.0.as_deref().unwrap_or_default()
    }

    /// A number that is equal for requests that match each other, and hardly ever for others: FNV-1a, because it does not mind in which
    /// pieces the bytes come. It only spares comparisons, so that a client who makes it collide gains nothing.
    pub fn hash(&self, request: &impl Fields) -> u64 {
        let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
        self.feed(request, &mut |bytes| {
            for &byte in bytes {
                hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
            }
        });
        hash
    }

    /// Hands out a request's values: for each name either 0, or 1, the normalised value, 0. No field value has these bytes.
    fn feed(&self, request: &impl Fields, out: &mut impl FnMut(&[u8])) {
        for name in self.names() {
            let list = [ACCEPT, ACCEPT_CHARSET, ACCEPT_ENCODING, ACCEPT_LANGUAGE].contains(name);
            let mut first = true;
            for line in request.all(name) {
                if first {
                    out(&[1]);
                } else if !list {
                    out(b",");
                }
                if list {
                    members(line, out);
                } else {
                    out(line.trim_ascii());
                }
                first = false;
            }
            out(&[0]);
        }
    }
}

/// The members of a list, each with a comma behind it. The `Accept` family has quoted strings only in parameters; they are passed as they are.
fn members(line: &[u8], out: &mut impl FnMut(&[u8])) {
    let mut start = 0;
    let mut quoted = false;
    for (at, &byte) in line.iter().enumerate() {
        match byte {
            b'"' => quoted = !quoted,
            b',' if !quoted => {
                member(&line[start..at], out);
                start = at + 1;
            }
            _ => {}
        }
    }
    member(&line[start..], out);
}

fn member(bytes: &[u8], out: &mut impl FnMut(&[u8])) {
    let bytes = bytes.trim_ascii();
    if !bytes.is_empty() {
        out(bytes);
        out(b",");
    }
}

/// A selector with the values of one request.
#[derive(Debug, Clone)]
pub struct Variant {
    selector: Selector,
    hash: u64,
    /// The values are the last bytes of these, from here on.
    bytes: Arc<[u8]>,
    start: usize,
}

impl Variant {
    /// The variant that a request belongs to.
    pub fn of(selector: Selector, request: &impl Fields) -> Self {
        let mut values = Vec::new();
        selector.feed(request, &mut |bytes| values.extend_from_slice(bytes));
        let hash = selector.hash(request);
        Self {
            selector,
            bytes: values.into(),
            start: 0,
            hash,
        }
    }

    /// The same one, its values at the end of a key's bytes.
    pub(super) fn beside(self, key: &StoredKey) -> (StoredKey, Self) {
        let (key, bytes) = key.with(self.values());
        let start = bytes.len() - self.values().len();
        (key, Self { bytes, start, ..self })
    }

    pub(super) fn values(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    /// Which fields it depends on.
    pub fn selector(&self) -> &Selector {
        &self.selector
    }

    /// Its [`Selector::hash`].
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// Whether a request belongs to it.
    pub fn matches(&self, request: &impl Fields) -> bool {
        let mut left = Some(self.values());
        self.selector
            .feed(request, &mut |bytes| left = left.and_then(|left| left.strip_prefix(bytes)));
        left.is_some_and(<[u8]>::is_empty)
    }

    /// Whether both are the same variant.
    pub fn same(&self, other: &Self) -> bool {
        self.hash == other.hash && self.selector == other.selector && self.values() == other.values()
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};
    use proptest::prelude::*;

    use super::*;

    fn map(fields: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        map
    }

    fn matching(vary: &str, stored: &[(&'static str, &str)], asked: &[(&'static str, &str)]) -> bool {
        let selector = Selector::of(&map(&[("vary", vary)])).unwrap();
        let variant = Variant::of(selector.clone(), &map(stored));
        let matches = variant.matches(&map(asked));
        assert_eq!(matches, selector.hash(&map(asked)) == variant.hash(), "hash and bytes agree");
        matches
    }

    #[test]
    fn named_fields_decide_and_others_do_not() {
        assert!(matching(
            "Accept-Encoding",
            &[("accept-encoding", "gzip"), ("x", "1")],
            &[("accept-encoding", "gzip"), ("x", "2")]
        ));
        assert!(!matching(
            "Accept-Encoding",
            &[("accept-encoding", "gzip")],
            &[("accept-encoding", "br")]
        ));
        assert!(!matching("Accept-Encoding", &[("accept-encoding", "gzip")], &[]));
        assert!(!matching("x-a, x-b", &[("x-a", "1"), ("x-b", "2")], &[("x-a", "2"), ("x-b", "1")]));
        assert!(!matching("x-a, x-b", &[("x-a", "1")], &[("x-b", "1")]));
    }

    #[test]
    fn an_absent_field_matches_only_an_absent_one() {
        assert!(matching("x-a", &[], &[]));
        assert!(!matching("x-a", &[], &[("x-a", "")]));
    }

    #[test]
    fn lines_are_joined_and_lists_lose_their_spaces() {
        assert!(matching(
            "accept-encoding",
            &[("accept-encoding", "gzip,  br")],
            &[("accept-encoding", "gzip"), ("accept-encoding", "br")]
        ));
        assert!(matching("x-a", &[("x-a", "1"), ("x-a", "2")], &[("x-a", "1,2")]));
        assert!(!matching("user-agent", &[("user-agent", "a, b")], &[("user-agent", "a,b")]));
        assert!(!matching("accept", &[("accept", "a/b;q=\"x, y\"")], &[("accept", "a/b;q=\"x,y\"")]));
        assert!(!matching(
            "accept",
            &[("accept", "a/b"), ("accept", "c/d")],
            &[("accept", "a/bc/d")]
        ));
    }

    #[test]
    fn star_and_what_cannot_be_read_match_nothing() {
        for vary in ["*", "accept, *", "a b", "accept,\u{e9}"] {
            assert_eq!(Selector::of(&map(&[("vary", vary)])), None, "{vary}");
        }
        assert_eq!(Selector::of(&map(&[("vary", " , ")])), Some(Selector::NONE));
        assert_eq!(Selector::of(&map(&[])), Some(Selector::NONE));
    }

    #[test]
    fn the_order_of_names_does_not_matter() {
        let one = Selector::of(&map(&[("vary", "Accept, Cookie"), ("vary", "accept")]));
        assert_eq!(one, Selector::of(&map(&[("vary", "cookie,accept")])));
    }

    proptest! {
        #[test]
        fn a_request_matches_its_own_variant_and_no_changed_one(
            a in "[ -~]{0,12}", b in proptest::option::of("[ -~]{0,12}"), changed in "[!-~]{1,12}"
        ) {
            let mut fields = vec![("x-a", a.as_str())];
            fields.extend(b.as_deref().map(|b| ("x-b", b)));
            prop_assert!(matching("x-a, x-b", &fields, &fields));
            if changed.trim_ascii() != a.trim_ascii() {
                let mut others = fields.clone();
                others[0].1 = &changed;
                prop_assert!(!matching("x-a, x-b", &fields, &others));
            }
        }
    }
}
