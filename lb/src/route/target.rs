//! A request target, read once: the path that routes are matched with, the path that is sent on, and the query.
//!
//! One resource has many spellings (RFC 3986 §6.2.2): `/%75sers`, `/x/../users` and `/users` are the same. A proxy that decides by one
//! spelling and sends on another lets clients walk around its rules, so there are two readings of a path here that can never disagree
//! about its segments:
//!
//! - [`Target::path`], in **canonical form**: `%XX` of unreserved characters decoded (letters, digits, `-._~`), other `%XX` in upper
//!   case, bytes above ASCII as `%XX`, dot segments (also encoded ones, `%2e%2E`) removed as RFC 3986 §5.2.4 says. An encoded slash
//!   stays `%2F`, so it never becomes a separator; empty segments (`//`) are segments like others. A `%` that no two hexadecimal digits
//!   follow stays as it is, and nothing beside it is decoded that would complete it: canonical form is a fixed point.
//! - [`Target::forward`]: as received, less its dot segments where it has any. This is what servers get and cache keys are made of.
//!
//! Dot segments never lead above the root. `*` (`OPTIONS *`) is no path: it is forwarded as it is.
//!
//! Reading an ordinary target is one pass over its bytes and allocates nothing.

use std::borrow::Cow;

/// A request target in its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target<'a> {
    path: Cow<'a, [u8]>,
    forward: Cow<'a, [u8]>,
    query: Option<&'a [u8]>,
}

impl<'a> Target<'a> {
    /// Reads an origin-form target or `*`. Total: what starts with no slash is read as if it did, so that every other part of the
    /// program can rely on one.
    pub fn parse(target: &'a [u8]) -> Self {
        let shape = Shape::of(target);
        let (path, query) = match shape.question {
            Some(at) => (&target[..at], Some(&target[at + 1..])),
            None => (target, None),
        };
        if path == b"*" {
            return Self {
                path: Cow::Borrowed(path),
                forward: Cow::Borrowed(path),
                query,
            };
        }
        let forward = match path.first() {
            Some(b'/') if shape.dots => without_dot_segments(path),
            Some(b'/') => Cow::Borrowed(path),
            _ => Cow::Owned(without_dot_segments(&[b"/", path].concat()).into_owned()),
        };
        let path = match &forward {
            _ if shape.coded => Cow::Owned(decoded(&forward)),
            forward => forward.clone(),
        };
        Self { path, forward, query }
    }

    /// The path in canonical form, for matching. Starts with `/`, or is `*`.
    pub fn path(&self) -> &[u8] {
        &self.path
    }

    /// The path that is sent on and that cache keys are made of.
    pub fn forward(&self) -> &[u8] {
        &self.forward
    }

    /// What follows the first `?`.
    pub fn query(&self) -> Option<&'a [u8]> {
        self.query
    }

    /// Whether it is `*`, which stands for the server as a whole (RFC 9110 §9.3.7).
    pub fn is_asterisk(&self) -> bool {
        *self.path == *b"*"
    }

    /// Whether [`Target::forward`] differs from what was received.
    pub fn is_changed(&self) -> bool {
        matches!(self.forward, Cow::Owned(_))
    }
}

/// A path from the configuration in canonical form, so that it is compared with [`Target::path`] byte by byte. A `?` has no meaning here.
pub(super) fn canonical(path: &str) -> Cow<'_, [u8]> {
    let path = path.as_bytes();
    match path.iter().any(|&byte| matches!(byte, b'%' | b'.' | 0x80..)) {
        true => Cow::Owned(decoded(&without_dot_segments(path))),
        false => Cow::Borrowed(path),
    }
}

/// The bytes that make a target more than ordinary: `?`, `.`, `%` and those above ASCII.
const SPECIAL: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = byte >= 0x80 || matches!(byte as u8, b'?' | b'.' | b'%');
        byte += 1;
    }
    table
};

/// What one pass over a target tells about it.
struct Shape {
    /// Where the query starts.
    question: Option<usize>,
    /// The path may have dot segments.
    dots: bool,
    /// The path has bytes that canonical form writes in another way.
    coded: bool,
}

impl Shape {
    fn of(target: &[u8]) -> Self {
        let mut shape = Self {
            question: None,
            dots: false,
            coded: false,
        };
        let mut at = 0;
        while let Some(next) = target[at..].iter().position(|&byte| SPECIAL[usize::from(byte)]) {
            at += next;
            match target[at] {
                b'?' => {
                    shape.question = Some(at);
                    break;
                }
                b'.' => shape.dots |= at == 0 || target[at - 1] == b'/',
                // An encoded dot may stand anywhere in a dot segment: `/.%2e`, `/%2e`.
                b'%' => (shape.dots, shape.coded) = (true, true),
                _ => shape.coded = true,
            }
            at += 1;
        }
        shape
    }
}

/// A segment's part in dot segment removal.
#[derive(PartialEq)]
enum Dots {
    None,
    Here,
    Up,
}

fn dots(segment: &[u8]) -> Dots {
    let after_dot = |s: &'_ [u8]| match s {
        [b'.', ..] => Some(1),
        [b'%', b'2', b'e' | b'E', ..] => Some(3),
        _ => None,
    };
    let Some(first) = after_dot(segment) else { return Dots::None };
    match &segment[first..] {
        [] => Dots::Here,
        rest if after_dot(rest) == Some(rest.len()) => Dots::Up,
        _ => Dots::None,
    }
}

/// RFC 3986 §5.2.4 over the segments between slashes. Borrowed where there is nothing to remove.
fn without_dot_segments(path: &[u8]) -> Cow<'_, [u8]> {
    let segments = || path.strip_prefix(b"/").unwrap_or(path).split(|&b| b == b'/');
    if segments().all(|s| dots(s) == Dots::None) {
        return Cow::Borrowed(path);
    }
    let mut out: Vec<u8> = Vec::with_capacity(path.len());
    let mut segments = segments().peekable();
    while let Some(segment) = segments.next() {
        match dots(segment) {
            Dots::None => {
                out.push(b'/');
                out.extend_from_slice(segment);
                continue;
            }
            Dots::Here => {}
            Dots::Up => out.truncate(out.iter().rposition(|&b| b == b'/').unwrap_or(0)),
        }
        // A dot segment at the end leaves a directory: its slash stays.
        if segments.peek().is_none() {
            out.push(b'/');
        }
    }
    Cow::Owned(out)
}

/// The canonical spelling of a path that has no dot segments.
fn decoded(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path;
    loop {
        rest = match rest {
            [] => return out,
            [b'%', high, low, tail @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                let byte = hex(*high) << 4 | hex(*low);
                if is_unreserved(byte) && !completes_stray(&out, byte) {
                    out.push(byte);
                } else {
                    push_encoded(&mut out, byte);
                }
                tail
            }
            [byte @ 0x80..=0xff, tail @ ..] => {
                push_encoded(&mut out, *byte);
                tail
            }
            [byte, tail @ ..] => {
                out.push(*byte);
                tail
            }
        };
    }
}

/// Whether a decoded digit would make a valid `%XX` of a stray `%` before it (`%%32e` must not become `%2e`). A whole `%XX` ends in two
/// digits, so a `%` among the last two bytes is a stray one.
fn completes_stray(out: &[u8], byte: u8) -> bool {
    byte.is_ascii_hexdigit() && matches!(out, [.., b'%'] | [.., b'%', _])
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

/// Appends `%XX`.
pub(super) fn push_encoded(out: &mut Vec<u8>, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.extend_from_slice(&[b'%', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
}

#[cfg(test)]
pub(in crate::route) mod tests {
    use proptest::prelude::*;

    use super::*;

    fn path(target: &str) -> String {
        String::from_utf8(Target::parse(target.as_bytes()).path().to_vec()).unwrap()
    }

    fn forward(target: &str) -> String {
        String::from_utf8(Target::parse(target.as_bytes()).forward().to_vec()).unwrap()
    }

    #[test]
    fn an_ordinary_target_is_borrowed() {
        let target = Target::parse(b"/users/1/.well-known/a.b?x=../y");
        assert!(matches!(target.path, Cow::Borrowed(b"/users/1/.well-known/a.b")));
        assert!(matches!(target.forward, Cow::Borrowed(_)));
        assert_eq!(target.query(), Some(&b"x=../y"[..]));
        assert!(!target.is_changed());
    }

    #[test]
    fn the_query_starts_at_the_first_question_mark_and_may_be_empty() {
        assert_eq!(Target::parse(b"/a?b?c").query(), Some(&b"b?c"[..]));
        assert_eq!(Target::parse(b"/a?").query(), Some(&b""[..]));
        assert_eq!(Target::parse(b"/a%3Fb").query(), None);
    }

    #[test]
    fn dot_segments_go_as_in_rfc_3986() {
        for (from, to) in [
            ("/a/b/c/./../../g", "/a/g"),
            ("/a/..", "/"),
            ("/a/b/..", "/a/"),
            ("/a/.", "/a/"),
            ("/./a", "/a"),
            ("/../../etc", "/etc"),
            ("/a//../b", "/a/b"),
            ("//..", "/"),
            ("/..//x", "//x"),
            ("/...", "/..."),
            ("/a/..b/.c", "/a/..b/.c"),
            ("/a/%2e%2E/b", "/b"),
            ("/a/.%2e/b", "/b"),
            ("/a/%2e./b", "/b"),
            ("/a/%2e/b", "/a/b"),
            ("/a/%2e%2e%2fb", "/a/%2e%2e%2fb"),
            ("/", "/"),
            ("//", "//"),
        ] {
            assert_eq!(forward(from), to, "{from}");
        }
    }

    #[test]
    fn only_unreserved_characters_are_decoded_for_matching_and_none_for_forwarding() {
        assert_eq!(path("/%75%73ers/%7e%2D%5f"), "/users/~-_");
        assert_eq!(forward("/%75%73ers/%7e"), "/%75%73ers/%7e");
        assert_eq!(path("/a%2fb%3f%23%25%00"), "/a%2Fb%3F%23%25%00");
        assert_eq!(path("/%61/../%62//c"), "/b//c");
        assert_eq!(forward("/%61/../%62//c"), "/%62//c");
    }

    #[test]
    fn bytes_above_ascii_match_like_their_encoded_form() {
        assert_eq!(path("/café"), path("/caf%c3%a9"));
        assert_eq!(forward("/café"), "/café");
    }

    #[test]
    fn a_stray_percent_stays_and_is_never_completed() {
        for stray in ["/%", "/%4", "/%zz", "/%%32e", "/%4%31", "/%%"] {
            assert_eq!(path(stray), stray, "{stray}");
        }
        assert_eq!(path("/%%32%65"), "/%%32e");
        assert_eq!(path("/%%7A"), "/%z");
    }

    #[test]
    fn asterisk_is_no_path_and_other_forms_get_their_slash() {
        assert!(Target::parse(b"*").is_asterisk());
        assert_eq!(forward("*"), "*");
        assert!(!Target::parse(b"/*").is_asterisk());
        for (from, to) in [("", "/"), ("?q", "/"), ("a/b", "/a/b"), ("../a", "/a")] {
            assert_eq!((path(from), forward(from)), (to.into(), to.into()), "{from}");
        }
    }

    /// Targets made of the pieces that matter.
    pub(in crate::route) fn targets() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            4 => Just("/"), 2 => Just("."), 1 => Just(".."), 1 => Just("%2e"), 1 => Just("%2E"), 1 => Just("%"), 1 => Just("%2"), 1 => Just("%2f"),
            1 => Just("%32"), 1 => Just("%65"), 1 => Just("%25"), 2 => Just("a"), 1 => Just("b"), 1 => Just("%61"), 1 => Just("é"), 1 => Just("%c3"),
            1 => Just("users"), 1 => Just("2"), 1 => Just("e"), 1 => Just("*")
        ];
        proptest::collection::vec(piece, 0..12).prop_map(|pieces| format!("/{}", pieces.concat()))
    }

    /// An independent, slow reading of one segment.
    fn segments(path: &[u8]) -> Vec<Vec<u8>> {
        path[1..].split(|&b| b == b'/').map(decoded).collect()
    }

    proptest! {
        #[test]
        fn canonical_form_is_a_fixed_point(target in targets()) {
            let once = path(&target);
            prop_assert_eq!(path(&once), once);
        }

        #[test]
        fn forward_form_is_a_fixed_point(target in targets()) {
            let once = forward(&target);
            prop_assert!(!Target::parse(once.as_bytes()).is_changed());
        }

        #[test]
        fn both_forms_have_the_same_segments(target in targets()) {
            let target = Target::parse(target.as_bytes());
            prop_assert_eq!(segments(target.forward()), segments(target.path()));
            let again = Target::parse(target.forward());
            prop_assert_eq!(again.path(), target.path());
        }

        #[test]
        fn no_dot_segment_is_left_and_none_leads_above_the_root(target in targets()) {
            let target = Target::parse(target.as_bytes());
            for form in [target.path(), target.forward()] {
                prop_assert_eq!(form[0], b'/');
                prop_assert!(form[1..].split(|&b| b == b'/').all(|s| dots(s) == Dots::None));
            }
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let target = Target::parse(&bytes);
            prop_assert!(target.is_asterisk() || target.path()[0] == b'/');
            let again = Target::parse(target.forward());
            if !target.forward().contains(&b'?') {
                prop_assert_eq!(again.path(), target.path());
            }
        }

        #[test]
        fn what_is_not_changed_is_what_was_received(target in targets()) {
            let parsed = Target::parse(target.as_bytes());
            prop_assert_eq!(!parsed.is_changed(), parsed.forward() == target.as_bytes());
        }
    }
}
