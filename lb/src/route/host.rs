//! Host names, as routes compare them: lower case, without the port and without the dot of the root (RFC 9110 §4.2.3, RFC 3986 §3.2.2).

use std::borrow::Cow;

/// The name in a `Host` field or `:authority`, ready to be compared. Borrowed unless it has upper-case letters.
pub(super) fn name(authority: &[u8]) -> Cow<'_, [u8]> {
    let name = without_port(authority);
    let name = name.strip_suffix(b".").unwrap_or(name);
    if name.iter().any(u8::is_ascii_uppercase) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    }
}

/// An authority less the port that its scheme has anyway, and less a port that is empty (RFC 3986 §6.2.3): with and without, it is one origin.
pub(super) fn without_default_port<'a>(scheme: &str, authority: &'a [u8]) -> &'a [u8] {
    let port: &[u8] = if scheme == "https" { b":443" } else { b":80" };
    authority
        .strip_suffix(port)
        .or_else(|| authority.strip_suffix(b":"))
        .unwrap_or(authority)
}

/// An IPv6 address keeps its brackets: the colons in it are no ports.
fn without_port(authority: &[u8]) -> &[u8] {
    let end = match authority {
        [b'[', ..] => authority.iter().position(|&b| b == b']').map(|at| at + 1),
        _ => authority.iter().position(|&b| b == b':'),
    };
    end.map_or(authority, |end| &authority[..end])
}

/// The suffixes of a name that a wildcard may stand for, the longest first: `.b.example.com`, `.example.com`, `.com` for
/// `a.b.example.com`. There is always something before the dot.
pub(super) fn suffixes(name: &[u8]) -> impl Iterator<Item = &[u8]> {
    name.iter()
        .enumerate()
        .skip(1)
        .filter(|&(_, &byte)| byte == b'.')
        .map(|(at, _)| &name[at..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_case_and_root_dot_make_no_difference() {
        for authority in ["example.com", "EXAMPLE.com:8080", "example.com.", "Example.Com.:80", "example.com:"] {
            assert_eq!(&*name(authority.as_bytes()), b"example.com", "{authority}");
        }
        assert_eq!(&*name(b"[2001:DB8::1]:443"), b"[2001:db8::1]");
        assert_eq!(&*name(b""), b"");
    }

    #[test]
    fn only_a_scheme_s_own_port_goes() {
        for (scheme, authority, expected) in [
            ("http", "a:80", "a"),
            ("https", "a:443", "a"),
            ("http", "a:", "a"),
            ("http", "[::80]:80", "[::80]"),
            ("http", "[::80]", "[::80]"),
            ("http", "a:443", "a:443"),
            ("https", "a:80", "a:80"),
            ("http", "a:8080", "a:8080"),
            ("http", "a:080", "a:080"),
            ("http", "", ""),
        ] {
            assert_eq!(
                without_default_port(scheme, authority.as_bytes()),
                expected.as_bytes(),
                "{scheme} {authority}"
            );
        }
    }

    #[test]
    fn an_ordinary_name_is_borrowed() {
        assert!(matches!(name(b"api.example.com:8080"), Cow::Borrowed(_)));
    }

    #[test]
    fn suffixes_come_longest_first_and_leave_something_before_them() {
        let found: Vec<_> = suffixes(b"a.b.example.com").collect();
        assert_eq!(found, [&b".b.example.com"[..], b".example.com", b".com"]);
        assert_eq!(suffixes(b".example").count(), 0);
        assert_eq!(suffixes(b"localhost").count(), 0);
    }
}
