//! Strings with `{scheme}`, `{host}`, `{path}` and `{query}` in them: cache keys and the `Location` of redirects.

use http::HeaderValue;
use lb_config::{Part, Template};

use super::host::without_default_port;
use super::target::push_encoded;

/// Appends a template with a request's values. `host` is the authority as received, of which the scheme's own port is left out; `path` is the
/// one of [`super::Target::forward`].
pub fn render(template: &Template, scheme: &str, host: &[u8], path: &[u8], query: Option<&[u8]>, out: &mut Vec<u8>) {
    for part in &template.0 {
        match part {
            Part::Literal(text) => out.extend_from_slice(text.as_bytes()),
            Part::Scheme => out.extend_from_slice(scheme.as_bytes()),
            Part::Host => out.extend(without_default_port(scheme, host).iter().map(u8::to_ascii_lowercase)),
            Part::Path => out.extend_from_slice(path),
            Part::Query => {
                if let Some(query) = query {
                    out.push(b'?');
                    out.extend_from_slice(query);
                }
            }
        }
    }
}

/// The `Location` of a redirect. `None` where the template asks for the host and the request has none (HTTP/1.0).
///
/// A client must not choose where it leads but by the host that it asked for. A template that starts with `{path}` would send
/// `//elsewhere.example/` to another site, as a reference without a scheme (RFC 3986 §4.2); `/.` before it keeps the very path, and the
/// site. Bytes that a field must not have are percent-encoded. The path of `*` is `/`.
pub fn location(template: &Template, scheme: &str, host: &[u8], path: &[u8], query: Option<&[u8]>) -> Option<HeaderValue> {
    if host.is_empty() && template.0.contains(&Part::Host) {
        return None;
    }
    let mut text = Vec::with_capacity(host.len() + path.len() + query.map_or(0, <[u8]>::len) + 16);
    render(template, scheme, host, if path == b"*" { b"/" } else { path }, query, &mut text);
    let is_meant = matches!(template.0.first(), Some(Part::Literal(literal)) if literal.starts_with("//"));
    // Browsers read a backslash as a slash.
    if !is_meant && matches!(*text, [b'/' | b'\\', b'/' | b'\\', ..]) {
        text.splice(..0, *b"/.");
    }
    if text.iter().any(|byte| !byte.is_ascii_graphic()) {
        let mut encoded = Vec::with_capacity(text.len() + 16);
        for byte in text {
            match byte.is_ascii_graphic() {
                true => encoded.push(byte),
                false => push_encoded(&mut encoded, byte),
            }
        }
        text = encoded;
    }
    HeaderValue::try_from(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(text: &str) -> Template {
        let mut parts = Vec::new();
        for piece in text
            .split_inclusive('}')
            .flat_map(|piece| piece.split('{'))
            .filter(|piece| !piece.is_empty())
        {
            parts.push(match piece {
                "scheme}" => Part::Scheme,
                "host}" => Part::Host,
                "path}" => Part::Path,
                "query}" => Part::Query,
                text => Part::Literal(text.into()),
            });
        }
        Template(parts)
    }

    fn to(text: &str, path: &str, query: Option<&str>) -> String {
        let value = location(
            &template(text),
            "http",
            b"Example.com:8080",
            path.as_bytes(),
            query.map(str::as_bytes),
        )
        .unwrap();
        value.to_str().unwrap().to_owned()
    }

    #[test]
    fn every_part_is_filled_in() {
        let mut out = b"key:".to_vec();
        render(
            &template("{scheme}://{host}{path}{query}"),
            "https",
            b"A.example:1",
            b"/x",
            Some(b"q=1"),
            &mut out,
        );
        assert_eq!(out, b"key:https://a.example:1/x?q=1");
    }

    #[test]
    fn an_empty_query_keeps_its_question_mark_and_none_has_none() {
        assert_eq!(to("https://{host}{path}{query}", "/a", Some("")), "https://example.com:8080/a?");
        assert_eq!(to("https://{host}{path}{query}", "/a", None), "https://example.com:8080/a");
    }

    #[test]
    fn a_path_never_leads_to_another_site() {
        assert_eq!(to("{path}{query}", "//evil.example/x", None), "/.//evil.example/x");
        assert_eq!(to("{path}", "/\\evil.example", None), "/./\\evil.example");
        assert_eq!(to("/{path}", "/evil.example", None), "/.//evil.example");
        assert_eq!(to("{path}", "/a//b", None), "/a//b");
        assert_eq!(to("//other.example{path}", "/a", None), "//other.example/a");
        assert_eq!(to("https://{host}{path}", "*", None), "https://example.com:8080/");
        assert_eq!(to("https://{host}{path}", "//x", None), "https://example.com:8080//x");
    }

    #[test]
    fn odd_bytes_are_encoded() {
        assert_eq!(
            to("https://{host}{path}{query}", "/é", Some("a b\u{1}")),
            "https://example.com:8080/%C3%A9?a%20b%01"
        );
    }

    #[test]
    fn a_redirect_to_a_host_that_nobody_named_is_none() {
        assert_eq!(location(&template("https://{host}/"), "http", b"", b"/", None), None);
        assert!(location(&template("https://fixed.example{path}"), "http", b"", b"/", None).is_some());
    }
}
