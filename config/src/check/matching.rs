//! What a route takes: host, path and methods.

use http::Method;

use super::address::is_host_name;
use crate::fields::Check;
use crate::model::{HostMatch, PathMatch};
use crate::problem::{Report, quote};
use crate::read::{self, bad};
use crate::suggest::nearest;
use crate::tree::Node;

/// "api.example.com", "*.example.com" or an address, in lower case, without a port and without a last dot.
pub(super) fn host(cx: &Check<'_>, node: &Node) -> Option<HostMatch> {
    let text = read::text(cx, node)?;
    let lower = text.to_ascii_lowercase();
    let name = lower.strip_suffix('.').unwrap_or(&lower);
    if let Some(rest) = name.strip_prefix("*.").filter(|rest| is_host_name(rest)) {
        return Some(HostMatch::Wildcard(format!(".{rest}").into()));
    }
    if is_host_name(name) || is_address(name) {
        return Some(HostMatch::Exact(name.into()));
    }
    let help = match name.rsplit_once(':') {
        Some((_, rest)) if name.contains("://") => Some(format!("write {}", quote(rest.trim_matches('/')))),
        Some((host, port)) if port.parse::<u16>().is_ok() => Some(format!("write {}: every port is meant", quote(host))),
        _ if name == "*" => Some("leave it out for every host".into()),
        _ if !name.is_ascii() => Some("write its xn-- form".into()),
        _ => None,
    };
    cx.report(
        bad(node, "host", &text)
            .expected(r#"a host such as "api.example.com" or "*.example.com""#)
            .maybe_help(help),
    );
    None
}

/// As it stands in `Host`: IPv6 in brackets.
fn is_address(text: &str) -> bool {
    let inside = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    text.parse::<std::net::Ipv4Addr>().is_ok() || inside.is_some_and(|inside| inside.parse::<std::net::Ipv6Addr>().is_ok())
}

/// "/users", "=/users" or '~^/u/[0-9]+$'.
pub(super) fn path(cx: &Check<'_>, node: &Node) -> Option<PathMatch> {
    let text = read::text(cx, node)?;
    if let Some(expression) = text.strip_prefix('~') {
        return regex(cx, node, expression).map(PathMatch::Regex);
    }
    if let Some(exact) = text.strip_prefix('=') {
        return url_path(cx, node, exact).map(|path| PathMatch::Exact(path.into()));
    }
    let path = url_path(cx, node, &text)?;
    let prefix = path.trim_end_matches('/');
    Some(PathMatch::Prefix(if prefix.is_empty() { "/" } else { prefix }.into()))
}

/// A path as requests are matched: unreserved characters are not encoded (RFC 3986 §6.2.2.2), and there are no dot segments.
pub(super) fn url_path(cx: &Check<'_>, node: &Node, text: &str) -> Option<String> {
    let decoded = decode_unreserved(text);
    let help = match &decoded {
        _ if !text.starts_with('/') => Some(format!("a path starts with /: {}", quote(&format!("/{text}")))),
        None => Some("a % is followed by two hexadecimal digits; % itself is %25".into()),
        Some(path) if path.split('/').any(|segment| segment == "." || segment == "..") => {
            Some("requests are matched without . and .. segments".into())
        }
        Some(_) if text.contains(['?', '#']) => Some("the query is no part of it".into()),
        Some(path) => path
            .bytes()
            .find(|b| !b.is_ascii_graphic())
            .map(|_| format!("write {}", quote(&encode(path)))),
    };
    if help.is_some() {
        cx.report(bad(node, "path", text).expected(r#"a path such as "/users""#).maybe_help(help));
        return None;
    }
    decoded
}

/// `None` when a `%` is not followed by two hexadecimal digits.
fn decode_unreserved(text: &str) -> Option<String> {
    let mut pieces = text.split('%');
    let mut path = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let digits = piece.get(..2).filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))?;
        match u8::from_str_radix(digits, 16).map(char::from) {
            Ok(c) if c.is_ascii_alphanumeric() || "-._~".contains(c) => path.push(c),
            _ => path.extend(['%', char::from(digits.as_bytes()[0]), char::from(digits.as_bytes()[1])]),
        }
        path.push_str(&piece[2..]);
    }
    Some(path)
}

/// The path with what cannot stand in a request encoded.
fn encode(path: &str) -> String {
    path.bytes()
        .map(|b| {
            if b.is_ascii_graphic() {
                char::from(b).to_string()
            } else {
                format!("%{b:02X}")
            }
        })
        .collect()
}

fn regex(cx: &Check<'_>, node: &Node, expression: &str) -> Option<regex::bytes::Regex> {
    let in_double_quotes = cx.source(node.at).slice(node.at).starts_with('"');
    let single_quotes = || "use single quotes for a regex: in double quotes `\\` has a meaning of its own";
    if expression.chars().any(char::is_control) && in_double_quotes {
        // TOML has made a character of an escape that was meant for the regex: "\b" is a backspace.
        cx.report(
            Report::at(node.at, "a control character in a regex")
                .found(quote(expression))
                .help(single_quotes()),
        );
        return None;
    }
    match regex::bytes::Regex::new(expression) {
        Ok(regex) => Some(regex),
        Err(error) => {
            let error = error.to_string();
            let reason = error.lines().last().unwrap_or_default().trim().trim_start_matches("error: ");
            let escape = in_double_quotes && reason.contains("escape");
            let report = Report::at(node.at, format!("bad regex: {reason}")).found(quote(expression));
            cx.report(report.maybe_help(escape.then(|| single_quotes().to_owned())));
            None
        }
    }
}

/// Methods that a typo may have been meant for: RFC 9110, RFC 5789 and those of WebDAV.
const METHODS: &[&str] = &[
    "GET",
    "HEAD",
    "POST",
    "PUT",
    "DELETE",
    "PATCH",
    "OPTIONS",
    "TRACE",
    "CONNECT",
    "PROPFIND",
    "PROPPATCH",
    "MKCOL",
    "COPY",
    "MOVE",
    "LOCK",
    "UNLOCK",
    "REPORT",
    "SEARCH",
    "PURGE",
    "QUERY",
];

/// `methods`. One that nobody has heard of is fine, unless it looks like a slip.
pub(super) fn method(cx: &Check<'_>, node: &Node) -> Option<Method> {
    let text = read::text(cx, node)?;
    let near = nearest(&text, METHODS.iter().copied());
    let token = Method::from_bytes(text.as_bytes()).ok();
    if token.is_none() || (!METHODS.contains(&text.as_str()) && near.is_some()) {
        cx.report(
            Report::at(node.at, format!("unknown method {}", quote(&text)))
                .found(&text)
                .expected("a method such as GET")
                .did_you_mean(near),
        );
        return None;
    }
    token
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_kept_as_requests_are_matched() {
        assert_eq!(decode_unreserved("/%7Euser/%61%2Fb%2e").as_deref(), Some("/~user/a%2Fb."));
        assert_eq!(decode_unreserved("/100%"), None);
        assert_eq!(decode_unreserved("/%zz"), None);
        assert_eq!(decode_unreserved("/%ü1"), None);
        assert_eq!(encode("/ü b"), "/%C3%BC%20b");
    }
}
