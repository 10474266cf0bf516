//! Which part of the list a request asks for.
//!
//! `?page=&limit=` counts from the start: simple, and it can name any page, but it shifts when users come and go. `?after=&limit=`
//! goes on behind an id (keyset pagination): nothing is skipped or repeated, and a late page costs no more than the first.
//! Parameters that are not known are left alone, as they are on most of the web.

use std::borrow::Cow;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use super::number;
use crate::error::Problem;
use crate::users::FieldError;

const DEFAULT_LIMIT: i64 = 10;
const MOST: i64 = 100;
/// The last page that can be asked for, whatever the limit: all that is before it can be counted in 64 bits.
const LAST_PAGE: i64 = i64::MAX / MOST;

/// A part of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// The users from `offset`.
    Page {
        page: i64,
        limit: i64,
        /// Fits: (page - 1) × limit.
        offset: i64,
    },
    /// The users behind an id.
    After { id: i64, limit: i64 },
}

impl<S: Sync> FromRequestParts<S> for Part {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Self::parse(parts.uri.query().unwrap_or_default()).map_err(Problem::invalid)
    }
}

/// One parameter, as found in the query.
#[derive(Default)]
struct Parameter<'a> {
    text: Option<Cow<'a, str>>,
    twice: bool,
}

impl Parameter<'_> {
    /// Its value, `None` when it is absent. A wrong one becomes a mistake and counts as absent.
    fn number(&self, name: &str, least: i64, most: i64, mistakes: &mut Vec<FieldError>) -> Option<i64> {
        let text = self.text.as_deref()?;
        let value = number::parse(text).filter(|value| (least..=most).contains(value));
        if self.twice {
            mistakes.push(FieldError::new(name, "expected once, found twice"));
        } else if value.is_none() {
            let found: String = text.chars().take(50).collect();
            mistakes.push(FieldError::new(
                name,
                format!("expected a whole number from {least} to {most}, found {found:?}"),
            ));
        }
        value
    }
}

impl Part {
    fn parse(query: &str) -> Result<Self, Vec<FieldError>> {
        let [mut page, mut limit, mut after] = [const { Parameter { text: None, twice: false } }; 3];
        for (name, text) in form_urlencoded::parse(query.as_bytes()) {
            let parameter = match name.as_ref() {
                "page" => &mut page,
                "limit" => &mut limit,
                "after" => &mut after,
                _ => continue,
            };
            parameter.twice = parameter.text.replace(text).is_some();
        }
        let mut mistakes = Vec::new();
        let limit = limit.number("limit", 1, MOST, &mut mistakes).unwrap_or(DEFAULT_LIMIT);
        let number = page.number("page", 1, LAST_PAGE, &mut mistakes).unwrap_or(1);
        let id = after.number("after", 0, i64::MAX, &mut mistakes);
        if page.text.is_some() && after.text.is_some() {
            mistakes.push(FieldError::new("after", "expected page or after, found both"));
        }
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        Ok(match id {
            Some(id) => Self::After { id, limit },
            None => Self::Page {
                page: number,
                limit,
                offset: (number - 1) * limit,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn mistakes(query: &str) -> Vec<String> {
        let found = Part::parse(query).expect_err("a mistake");
        found.into_iter().map(|mistake| mistake.field).collect()
    }

    #[test]
    fn the_first_ten_are_the_default() {
        assert_eq!(
            Part::parse(""),
            Ok(Part::Page {
                page: 1,
                limit: 10,
                offset: 0
            })
        );
        assert_eq!(
            Part::parse("page=3&limit=20&x=y"),
            Ok(Part::Page {
                page: 3,
                limit: 20,
                offset: 40
            })
        );
        assert_eq!(Part::parse("after=0&limit=%31"), Ok(Part::After { id: 0, limit: 1 }));
    }

    #[test]
    fn every_wrong_parameter_is_named() {
        assert_eq!(mistakes("page=0&limit=101"), ["limit", "page"]);
        assert_eq!(mistakes("limit="), ["limit"]);
        assert_eq!(mistakes("page=1&page=2"), ["page"]);
        assert_eq!(mistakes("page=1&after=1"), ["after"]);
        assert_eq!(mistakes("after=-1"), ["after"]);
        assert_eq!(mistakes("page=9223372036854775807&limit=100"), ["page"]);
        assert_eq!(mistakes("page=9223372036854775808"), ["page"]);
    }

    proptest! {
        #[test]
        fn a_page_that_is_taken_never_overflows(page in any::<u64>(), limit in 0_i64..200) {
            if let Ok(Part::Page { page, limit, offset }) = Part::parse(&format!("page={page}&limit={limit}")) {
                prop_assert!((1..=100).contains(&limit));
                prop_assert_eq!(Some(offset), (page - 1).checked_mul(limit));
            }
        }
    }
}
