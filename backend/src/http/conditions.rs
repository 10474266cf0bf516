//! Entity tags and the conditions on them (RFC 9110, sections 8.8.3 and 13.1).
//!
//! The tag of a user is `"ID-VERSION"`. It is strong: the representation is a function of the row, every change of a row counts its
//! version up, and ids are never used again.

use axum::http::header::{AsHeaderName, IF_MATCH, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderValue};

use super::number;
use crate::store::Condition;
use crate::users::User;

/// The user's tag.
pub(super) fn etag(user: &User) -> HeaderValue {
    tag(user.id, user.version)
}

/// The tag of this version of a user.
pub(super) fn tag(id: i64, version: i64) -> HeaderValue {
    let text = format!("\"{id}-{version}\"");
    // Digits between quotes; were it not so, a weak tag that nobody else has would do no harm.
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("W/\"\""))
}

/// Whether the client has this version of the user already: 304.
pub(super) fn is_known(headers: &HeaderMap, id: i64, version: i64) -> bool {
    match Tags::of(headers, IF_NONE_MATCH) {
        Tags::Absent => false,
        Tags::Any => true,
        // Weak comparison: W/ does not matter here.
        Tags::Listed(tags) => tags.iter().any(|tag| tag.version_of(id) == Some(version)),
    }
}

/// Which versions a write to user `id` may meet.
pub(super) fn condition(headers: &HeaderMap, id: i64) -> Condition {
    // Strong comparison: a weak tag matches nothing.
    let only = match Tags::of(headers, IF_MATCH) {
        Tags::Absent | Tags::Any => None,
        Tags::Listed(tags) => Some(tags.iter().filter(|tag| !tag.weak).filter_map(|tag| tag.version_of(id)).collect()),
    };
    match Tags::of(headers, IF_NONE_MATCH) {
        Tags::Absent => Condition { only, except: Vec::new() },
        // Only if the user does not exist, and then there is nothing to change: no version is right.
        Tags::Any => Condition {
            only: Some(Vec::new()),
            except: Vec::new(),
        },
        Tags::Listed(tags) => Condition {
            only,
            except: tags.iter().filter_map(|tag| tag.version_of(id)).collect(),
        },
    }
}

/// What a field with entity tags says.
#[derive(Debug, PartialEq, Eq)]
enum Tags<'a> {
    Absent,
    Any,
    /// What could be read of the list; the rest of a malformed one matches nothing.
    Listed(Vec<Tag<'a>>),
}

#[derive(Debug, PartialEq, Eq)]
struct Tag<'a> {
    weak: bool,
    opaque: &'a str,
}

impl<'a> Tags<'a> {
    fn of(headers: &'a HeaderMap, name: impl AsHeaderName) -> Self {
        let mut lines = headers.get_all(name).iter().peekable();
        if lines.peek().is_none() {
            return Self::Absent;
        }
        let mut tags = Vec::new();
        for line in lines {
            let Ok(mut rest) = line.to_str() else { continue };
            if rest.trim() == "*" {
                return Self::Any;
            }
            while let Some((tag, behind)) = Tag::first(rest) {
                tags.push(tag);
                rest = behind;
            }
        }
        Self::Listed(tags)
    }
}

impl<'a> Tag<'a> {
    /// The first tag of a list, and what comes behind it. A tag may hold commas, so the list cannot simply be split at them.
    fn first(list: &'a str) -> Option<(Self, &'a str)> {
        let list = list.trim_start_matches([' ', '\t', ',']);
        let (weak, quoted) = list.strip_prefix("W/").map_or((false, list), |strong| (true, strong));
        let (opaque, behind) = quoted.strip_prefix('"')?.split_once('"')?;
        let behind = behind.trim_start_matches([' ', '\t']);
        (behind.is_empty() || behind.starts_with(',')).then_some((Self { weak, opaque }, behind))
    }

    /// The version that the tag stands for, if it is one of this user's.
    fn version_of(&self, id: i64) -> Option<i64> {
        let (user, version) = self.opaque.split_once('-')?;
        if number::parse(user)? == id { number::parse(version) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::header::HeaderName;
    use proptest::prelude::*;

    use super::*;

    fn headers(fields: &[(HeaderName, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(name, HeaderValue::from_str(value).expect("a value"));
        }
        headers
    }

    fn user(id: i64, version: i64) -> User {
        User {
            id,
            version,
            name: "n".into(),
            email: "e".into(),
        }
    }

    #[test]
    fn a_known_version_is_found_wherever_it_stands() {
        for value in ["\"7-2\"", "W/\"7-2\"", "*", " \"a,b\" , W/\"7-2\"", "\"7-1\",\"7-2\"", ",, \"7-2\""] {
            assert!(is_known(&headers(&[(IF_NONE_MATCH, value)]), 7, 2), "{value}");
        }
        for value in [
            "\"7-1\"",
            "7-2",
            "\"7-2",
            "",
            "\"77-2\"",
            "\"7-02\"",
            "\"x\"\"7-2\"",
            "w/\"7-2\"",
            "\"7-2\" x",
        ] {
            assert!(!is_known(&headers(&[(IF_NONE_MATCH, value)]), 7, 2), "{value}");
        }
        assert!(is_known(&headers(&[(IF_NONE_MATCH, "\"1-1\""), (IF_NONE_MATCH, "\"7-2\"")]), 7, 2));
        assert!(!is_known(&HeaderMap::new(), 7, 2));
    }

    #[test]
    fn a_write_may_meet_what_if_match_lists_strongly() {
        let of = |value| condition(&headers(&[(IF_MATCH, value)]), 7);
        assert_eq!(of("*"), Condition::default());
        assert_eq!(of("\"7-2\", \"8-3\", W/\"7-4\", \"7-5\"").only, Some(vec![2, 5]));
        assert_eq!(of("nonsense").only, Some(vec![]));
        assert_eq!(condition(&HeaderMap::new(), 7), Condition::default());
    }

    #[test]
    fn a_write_that_wants_no_user_there_meets_none() {
        assert!(!condition(&headers(&[(IF_NONE_MATCH, "*")]), 7).allows(1));
        let condition = condition(&headers(&[(IF_NONE_MATCH, "W/\"7-2\"")]), 7);
        assert!(condition.allows(1) && !condition.allows(2));
    }

    proptest! {
        #[test]
        fn the_own_tag_is_always_known_and_no_other_is(id in 1..i64::MAX, version in 1..i64::MAX, noise in "[ -~]{0,30}") {
            let tag = etag(&user(id, version));
            let tag = tag.to_str().expect("ASCII");
            prop_assert!(is_known(&headers(&[(IF_NONE_MATCH, tag)]), id, version));
            prop_assert!(!is_known(&headers(&[(IF_NONE_MATCH, tag)]), id, version - 1));
            // Whatever else is sent, it is read without a panic, and allows no version by accident.
            if noise.trim() != "*" && !noise.contains(&format!("{id}-{version}")) {
                prop_assert!(!is_known(&headers(&[(IF_NONE_MATCH, &noise)]), id, version));
            }
        }
    }
}
