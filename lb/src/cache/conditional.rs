//! Conditional requests that the store can answer (RFC 9111 §4.3.2, RFC 9110 §13): the client has what is stored already, or a part of it.

use std::time::Duration;

use http::header::{DATE, ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED};

use super::http_date;
use crate::exchange::head::Fields;

/// Whether a stored response with these fields is what the client says that it has.
///
/// `If-None-Match` compares weakly and wins over `If-Modified-Since`, which holds where the stored `Last-Modified` is not later; where there is
/// none, the stored `Date` stands for it (RFC 9111 §4.3.2).
pub fn not_modified(request: &impl Fields, stored: &impl Fields) -> bool {
    if request.get(&IF_NONE_MATCH).is_some() {
        let tag = stored.get(&ETAG).map(opaque);
        return request
            .all(&IF_NONE_MATCH)
            .flat_map(tags)
            .any(|given| given == b"*" || tag == Some(opaque(given)));
    }
    let modified = stored.get(&LAST_MODIFIED).or_else(|| stored.get(&DATE)).and_then(http_date::read);
    match (request.get(&IF_MODIFIED_SINCE).and_then(http_date::read), modified) {
        (Some(since), Some(modified)) => modified <= since,
        _ => false,
    }
}

/// Whether a part of what is stored goes with the part that the client has: it says nothing about that one, or by `If-Range` (RFC 9110 §13.1.5)
/// that it has just this. Only what compares strongly will do, a strong tag, or a date that is a second older than the answer.
pub(super) fn is_current(request: &impl Fields, stored: &impl Fields) -> bool {
    let mut lines = request.all(&IF_RANGE);
    let Some(given) = lines.next().map(<[u8]>::trim_ascii) else {
        return true;
    };
    if lines.next().is_some() {
        return false;
    }
    if given.starts_with(b"\"") {
        return stored.get(&ETAG) == Some(given);
    }
    let (modified, dated) = (
        stored.get(&LAST_MODIFIED).and_then(http_date::read),
        stored.get(&DATE).and_then(http_date::read),
    );
    match (http_date::read(given), modified, dated) {
        (Some(given), Some(modified), Some(dated)) => given == modified && modified + Duration::from_secs(1) <= dated,
        _ => false,
    }
}

/// A tag without its mark of weakness.
fn opaque(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

/// The members of a list of tags. A comma inside quotes separates nothing.
fn tags(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut quoted = false;
    line.split(move |&byte| {
        quoted ^= byte == b'"';
        byte == b',' && !quoted
    })
    .map(<[u8]>::trim_ascii)
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};

    use super::*;
    use crate::test_head::TestHead;

    fn stored(etag: Option<&'static str>, modified: Option<&'static str>) -> HeaderMap {
        let etag = etag.map(|value| (ETAG, HeaderValue::from_static(value)));
        let modified = modified.map(|value| (LAST_MODIFIED, HeaderValue::from_static(value)));
        etag.into_iter().chain(modified).collect()
    }

    fn asks(fields: &[(&str, &str)]) -> TestHead {
        fields
            .iter()
            .fold(TestHead::get("a", "/"), |head, (name, value)| head.with(name, value))
    }

    #[test]
    fn a_tag_matches_weakly_and_whole() {
        let stored = stored(Some("\"a,b\""), None);
        for hit in ["\"a,b\"", "W/\"a,b\"", "\"x\", \"a,b\"", "*"] {
            assert!(not_modified(&asks(&[("if-none-match", hit)]), &stored), "{hit}");
        }
        for miss in ["\"a\"", "\"b\"", "a,b", ""] {
            assert!(!not_modified(&asks(&[("if-none-match", miss)]), &stored), "{miss}");
        }
    }

    #[test]
    fn a_tag_wins_over_a_date() {
        let stored = stored(Some("\"a\""), Some("Wed, 01 Jan 2025 00:00:00 GMT"));
        let since = ("if-modified-since", "Thu, 02 Jan 2025 00:00:00 GMT");
        assert!(not_modified(&asks(&[since]), &stored));
        assert!(!not_modified(&asks(&[since, ("if-none-match", "\"b\"")]), &stored));
        assert!(!not_modified(
            &asks(&[("if-modified-since", "Tue, 31 Dec 2024 00:00:00 GMT")]),
            &stored
        ));
        assert!(!not_modified(&asks(&[("if-modified-since", "yesterday")]), &stored));
    }

    #[test]
    fn without_a_date_of_its_own_the_answer_is_as_old_as_it_is() {
        let stored = HeaderMap::from_iter([(DATE, HeaderValue::from_static("Wed, 01 Jan 2025 00:00:00 GMT"))]);
        assert!(not_modified(
            &asks(&[("if-modified-since", "Wed, 01 Jan 2025 00:00:00 GMT")]),
            &stored
        ));
        assert!(!not_modified(
            &asks(&[("if-modified-since", "Tue, 31 Dec 2024 23:59:59 GMT")]),
            &stored
        ));
    }

    #[test]
    fn only_what_compares_strongly_makes_a_part_fit() {
        let mut fields = stored(Some("\"a\""), Some("Wed, 01 Jan 2025 00:00:00 GMT"));
        fields.insert(DATE, HeaderValue::from_static("Wed, 01 Jan 2025 00:00:01 GMT"));
        let fits = |given, fields: &HeaderMap| is_current(&asks(&[("if-range", given)]), fields);
        assert!(is_current(&asks(&[]), &fields));
        assert!(fits("\"a\"", &fields) && fits("Wed, 01 Jan 2025 00:00:00 GMT", &fields));
        for given in [
            "\"b\"",
            "W/\"a\"",
            "Thu, 02 Jan 2025 00:00:00 GMT",
            "Tue, 31 Dec 2024 00:00:00 GMT",
            "a",
            "",
        ] {
            assert!(!fits(given, &fields), "{given}");
        }
        fields.insert(ETAG, HeaderValue::from_static("W/\"a\""));
        assert!(!fits("W/\"a\"", &fields) && !fits("\"a\"", &fields), "a weak tag");
        fields.insert(DATE, HeaderValue::from_static("Wed, 01 Jan 2025 00:00:00 GMT"));
        assert!(
            !fits("Wed, 01 Jan 2025 00:00:00 GMT", &fields),
            "changed in the second in which it was sent, perhaps"
        );
        assert!(!is_current(&asks(&[("if-range", "\"a\""), ("if-range", "\"a\"")]), &fields));
    }
}
