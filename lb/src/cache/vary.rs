//! Variants: one key, several responses.
//!
//! An origin that answers according to request fields names them in `Vary`; a stored response then serves only requests whose fields match
//! those of the request that brought it (RFC 9111 §4.1). A [`Selector`] is the list of names, a [`Variant`] the list with the values of one
//! request. Values match when they are equal after what §4.1 allows: lines of one field joined, white space around commas removed, and, where a
//! field's meaning is known, empty members dropped and letters in lower case. The order of members stays: origins choose by it. An absent field
//! matches only an absent one.
//!
//! Comparing allocates nothing: the request's values are fed piece by piece to a hash, and then against the stored bytes.

use std::sync::Arc;

use http::HeaderName;
use http::header::{ACCEPT, ACCEPT_CHARSET, ACCEPT_ENCODING, ACCEPT_LANGUAGE, AUTHORIZATION, COOKIE, ORIGIN, REFERER, USER_AGENT, VARY};

use crate::exchange::head::Fields;

/// The request fields that an answer depends on: sorted, none twice. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Selector(Option<Arc<[HeaderName]>>);

impl Selector {
    /// What every request matches.
    pub const NONE: Self = Self(None);

    /// From a response's `Vary` and what its route names besides; `None` for `*` and for what cannot be read, which no other request matches.
    pub fn of(response: &impl Fields, besides: &[HeaderName]) -> Option<Self> {
        let mut names = besides.to_vec();
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
        let mut hash = FNV;
        self.feed(request, &mut |bytes| hash = fnv(hash, bytes));
        hash
    }

    /// Hands out a request's values: for each name either 0, or 1, the normalised value, 0. No field value has these bytes.
    fn feed(&self, request: &impl Fields, out: &mut impl FnMut(&[u8])) {
        for name in self.names() {
            let syntax = Syntax::of(name);
            let mut first = true;
            for line in request.all(name) {
                if first {
                    out(&[1]);
                } else if !matches!(syntax, Syntax::Known | Syntax::Tokens) {
                    out(b",");
                }
                match syntax {
                    Syntax::Known => members(line).for_each(|member| [member, b","].into_iter().for_each(&mut *out)),
                    Syntax::Tokens => members(line).for_each(|member| {
                        lower(member, out);
                        out(b",");
                    }),
                    Syntax::Unknown => {
                        for (at, member) in split(line).enumerate() {
                            if at > 0 {
                                out(b",");
                            }
                            out(member);
                        }
                    }
                    Syntax::One => out(line.trim_ascii()),
                }
                first = false;
            }
            out(&[0]);
        }
    }
}

/// What is known of a field's syntax.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Syntax {
    /// A list.
    Known,
    /// A list in which the case of letters means nothing.
    Tokens,
    /// Nothing; it may be a list, and then white space around commas means nothing.
    Unknown,
    /// One value, whatever commas it has.
    One,
}

impl Syntax {
    fn of(name: &HeaderName) -> Self {
        match *name {
            ACCEPT => Self::Known,
            ACCEPT_CHARSET | ACCEPT_ENCODING | ACCEPT_LANGUAGE => Self::Tokens,
            AUTHORIZATION | COOKIE | ORIGIN | REFERER | USER_AGENT => Self::One,
            _ => Self::Unknown,
        }
    }
}

/// What stands between commas, without white space. A comma inside quotes separates nothing: the `Accept` family has quoted strings in
/// parameters.
fn split(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut quoted = false;
    line.split(move |&byte| {
        quoted ^= byte == b'"';
        byte == b',' && !quoted
    })
    .map(<[u8]>::trim_ascii)
}

fn members(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    split(line).filter(|member| !member.is_empty())
}

/// Hands out bytes in lower case, without a buffer that grows.
fn lower(bytes: &[u8], out: &mut impl FnMut(&[u8])) {
    for some in bytes.chunks(64) {
        let mut buffer = [0; 64];
        let buffer = &mut buffer[..some.len()];
        buffer.copy_from_slice(some);
        buffer.make_ascii_lowercase();
        out(buffer);
    }
}

/// Where FNV-1a begins.
const FNV: u64 = 0xcbf2_9ce4_8422_2325;

fn fnv(hash: u64, bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(hash, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// A selector with the values of one request.
#[derive(Debug, Clone)]
pub struct Variant {
    selector: Selector,
    hash: u64,
    values: Box<[u8]>,
}

/// A [`Variant`] whose parts stand somewhere else.
#[derive(Debug, Clone, Copy)]
pub struct VariantRef<'a> {
    pub(super) selector: &'a Selector,
    pub(super) hash: u64,
    pub(super) values: &'a [u8],
}

impl Variant {
    /// The variant that a request belongs to.
    pub fn of(selector: Selector, request: &impl Fields) -> Self {
        let mut values = Vec::new();
        selector.feed(request, &mut |bytes| values.extend_from_slice(bytes));
        Self {
            hash: fnv(FNV, &values),
            selector,
            values: values.into(),
        }
    }

    /// The variant that had these [values](VariantRef::values).
    pub(super) fn restored(selector: Selector, values: &[u8]) -> Self {
        Self {
            selector,
            hash: fnv(FNV, values),
            values: values.into(),
        }
    }

    /// The variant itself.
    pub fn view(&self) -> VariantRef<'_> {
        VariantRef {
            selector: &self.selector,
            hash: self.hash,
            values: &self.values,
        }
    }
}

impl<'a> VariantRef<'a> {
    /// The request's values: for each name either 0, or 1, the normalised value, 0.
    pub(super) fn values(self) -> &'a [u8] {
        self.values
    }

    /// Which fields it depends on.
    pub fn selector(self) -> &'a Selector {
        self.selector
    }

    /// Its [`Selector::hash`].
    pub fn hash(self) -> u64 {
        self.hash
    }

    /// Whether a request belongs to it.
    pub fn matches(self, request: &impl Fields) -> bool {
        let mut left = Some(self.values);
        self.selector
            .feed(request, &mut |bytes| left = left.and_then(|left| left.strip_prefix(bytes)));
        left.is_some_and(<[u8]>::is_empty)
    }

    /// Whether both are the same variant.
    pub fn same(self, other: VariantRef<'_>) -> bool {
        self.hash == other.hash && self.selector == other.selector && self.values == other.values
    }

    /// One that outlives this.
    pub(super) fn to_owned(self) -> Variant {
        Variant {
            selector: self.selector.clone(),
            hash: self.hash,
            values: self.values.into(),
        }
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
        let selector = Selector::of(&map(&[("vary", vary)]), &[]).unwrap();
        let variant = Variant::of(selector.clone(), &map(stored));
        let variant = variant.view();
        let matches = variant.matches(&map(asked));
        assert_eq!(matches, selector.hash(&map(asked)) == variant.hash(), "hash and bytes agree");
        assert!(
            Variant::restored(selector, variant.values()).view().same(variant),
            "its values make it again"
        );
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
    fn spaces_mean_nothing_around_commas_and_case_nothing_in_tokens() {
        let one = |name: &'static str, stored: &str, asked: &[&str]| {
            let asked: Vec<_> = asked.iter().map(|value| (name, *value)).collect();
            matching(name, &[(name, stored)], &asked)
        };
        assert!(one("x-a", "1,2", &[" 1,  2 "]) && one("x-a", "1, 2", &["1", "2"]));
        assert!(!one("x-a", "1 2", &["12"]) && !one("x-a", "1,,2", &["1,2"]) && !one("x-a", "A", &["a"]));
        assert!(!one("x-a", "\"1, 2\"", &["\"1,2\""]));
        assert!(one("accept-language", "en-GB, de;q=0.5", &["EN-gb,,DE;q=0.5"]));
        assert!(!one("accept-language", "en, de", &["de, en"]), "origins choose by the order");
        assert!(!one("accept", "a/B", &["a/b"]), "parameters may mean something by their case");
        assert!(!one("cookie", "a=1, b", &["a=1,b"]));
        let long = "a".repeat(200);
        assert!(one("accept-encoding", &long, &[&long.to_ascii_uppercase()]));
    }

    #[test]
    fn star_and_what_cannot_be_read_match_nothing() {
        for vary in ["*", "accept, *", "a b", "accept,\u{e9}"] {
            assert_eq!(Selector::of(&map(&[("vary", vary)]), &[]), None, "{vary}");
        }
        assert_eq!(Selector::of(&map(&[("vary", " , ")]), &[]), Some(Selector::NONE));
        assert_eq!(Selector::of(&map(&[]), &[]), Some(Selector::NONE));
    }

    #[test]
    fn the_order_of_names_does_not_matter() {
        let one = Selector::of(&map(&[("vary", "Accept, Cookie"), ("vary", "accept")]), &[]);
        assert_eq!(one, Selector::of(&map(&[("vary", "cookie,accept")]), &[]));
        assert_eq!(one, Selector::of(&map(&[("vary", "cookie")]), &[ACCEPT, COOKIE]));
        assert_eq!(Selector::of(&map(&[("vary", "*")]), &[ACCEPT]), None);
    }

    proptest! {
        #[test]
        fn a_request_matches_its_own_variant_and_no_changed_one(
            a in "[ -~]{0,12}", b in proptest::option::of("[ -~]{0,12}"), changed in "[!-~]{1,12}"
        ) {
            let mut fields = vec![("x-a", a.as_str())];
            fields.extend(b.as_deref().map(|b| ("x-b", b)));
            prop_assert!(matching("x-a, x-b", &fields, &fields));
            // White space around commas is all that may differ.
            if changed != a.split_ascii_whitespace().collect::<String>() {
                let mut others = fields.clone();
                others[0].1 = &changed;
                prop_assert!(!matching("x-a, x-b", &fields, &others));
            }
        }
    }
}
