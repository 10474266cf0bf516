//! Conditional requests that the store can answer (RFC 9111 §4.3.2, RFC 9110 §13.2.2): the client has what is stored already.

use http::header::{ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED};
use http::{HeaderName, HeaderValue};

use crate::exchange::head::Fields;

/// Whether a stored response with these fields is what the client says that it has.
///
/// `If-None-Match` compares weakly and wins over `If-Modified-Since`, which holds where the stored `Last-Modified` is not later.
pub fn not_modified(request: &impl Fields, stored: &[(HeaderName, HeaderValue)]) -> bool {
    let field = |name: &HeaderName| stored.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_bytes());
    if request.get(&IF_NONE_MATCH).is_some() {
        let tag = field(&ETAG).map(opaque);
        return request
            .all(&IF_NONE_MATCH)
            .flat_map(tags)
            .any(|given| given == b"*" || tag == Some(opaque(given)));
    }
    let date = |value: &[u8]| {
        std::str::from_utf8(value)
            .ok()
            .and_then(|text| httpdate::parse_http_date(text).ok())
    };
    match (request.get(&IF_MODIFIED_SINCE).and_then(date), field(&LAST_MODIFIED).and_then(date)) {
        (Some(since), Some(modified)) => modified <= since,
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
    use super::*;
    use crate::test_head::TestHead;

    fn stored(etag: Option<&'static str>, modified: Option<&'static str>) -> Vec<(HeaderName, HeaderValue)> {
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
}
