//! URI references in answers (`Location`, `Content-Location`): where they lead, as long as that is the same origin (RFC 3986 §5, RFC 9110 §4.3.1).

use super::host::without_default_port;

/// The path and query that a reference leads to, seen from a request for `target`; `None` where that is another origin, or nothing that can be
/// read. Dot segments stay: whoever asks for the target reads them away.
pub fn on_same_origin(reference: &[u8], scheme: &str, authority: &[u8], target: &[u8]) -> Option<Vec<u8>> {
    let reference = reference.trim_ascii();
    if reference.iter().any(|byte| !byte.is_ascii_graphic() || *byte == b'\\') {
        return None;
    }
    let reference = reference.split(|&byte| byte == b'#').next().unwrap_or_default();
    if let Some(colon) = scheme_end(reference) {
        return match &reference[colon + 1..] {
            [b'/', b'/', rest @ ..] if reference[..colon].eq_ignore_ascii_case(scheme.as_bytes()) => {
                after_authority(rest, scheme, authority)
            }
            _ => None,
        };
    }
    let (path, _) = target.split_at(target.iter().position(|&byte| byte == b'?').unwrap_or(target.len()));
    match reference {
        [b'/', b'/', rest @ ..] => after_authority(rest, scheme, authority),
        [b'/', ..] => Some(reference.to_vec()),
        [] => Some(target.to_vec()),
        [b'?', ..] => Some([path, reference].concat()),
        _ => {
            let folder = path.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
            Some([if folder == 0 { b"/" } else { &path[..folder] }, reference].concat())
        }
    }
}

/// Where the colon of a scheme is.
fn scheme_end(reference: &[u8]) -> Option<usize> {
    let end = reference
        .iter()
        .position(|byte| !(byte.is_ascii_alphanumeric() || b"+-.".contains(byte)))?;
    (reference[end] == b':' && reference[0].is_ascii_alphabetic()).then_some(end)
}

fn after_authority(rest: &[u8], scheme: &str, authority: &[u8]) -> Option<Vec<u8>> {
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
    let (there, path) = rest.split_at(end);
    let same = without_default_port(scheme, there).eq_ignore_ascii_case(without_default_port(scheme, authority));
    same.then(|| match path {
        [b'/', ..] => path.to_vec(),
        _ => [b"/", path].concat(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn leads(reference: &str) -> Option<String> {
        on_same_origin(reference.as_bytes(), "http", b"Shop.test", b"/a/b?c=d").map(|target| String::from_utf8(target).unwrap())
    }

    #[test]
    fn every_form_is_seen_from_the_request() {
        for (reference, target) in [
            ("/x?y=z", "/x?y=z"),
            ("x", "/a/x"),
            ("../x", "/a/../x"),
            ("?y", "/a/b?y"),
            ("", "/a/b?c=d"),
            ("#part", "/a/b?c=d"),
            ("/x#part", "/x"),
            ("//shop.TEST/x", "/x"),
            ("http://shop.test", "/"),
            ("HTTP://SHOP.test:80/x", "/x"),
            ("http://shop.test?q", "/?q"),
            (" /x ", "/x"),
            ("./a:b", "/a/./a:b"),
        ] {
            assert_eq!(leads(reference).as_deref(), Some(target), "{reference}");
        }
    }

    #[test]
    fn another_origin_is_nobody_s_business() {
        for reference in [
            "http://other.test/x",
            "//other.test/x",
            "https://shop.test/x",
            "http://shop.test:8080/x",
            "http://user@shop.test/x",
            "mailto:a@b",
            "a:b",
            "http:/x",
            "/x y",
            "/x\\y",
            "/\u{e9}",
        ] {
            assert_eq!(leads(reference), None, "{reference}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_lead_to_a_path_or_nowhere(reference in proptest::collection::vec(any::<u8>(), 0..30), target in "/[ -~]{0,20}") {
            if let Some(target) = on_same_origin(&reference, "http", b"h", target.as_bytes()) {
                prop_assert!(target.starts_with(b"/"));
            }
        }
    }
}
