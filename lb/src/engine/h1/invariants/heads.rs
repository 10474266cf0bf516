//! Heads: one reading, whole or in pieces, by whomever.

use http::Version;

use super::super::body::Body;
use super::super::head::{self, HeadLimits};
use super::super::parsed::{Framing, Parsed};
use super::super::response::{self, ResponseFraming, ResponseParsed, ResponseView};
use super::super::view::Head;
use crate::exchange::head::{Fields as _, RequestHead as _};

const MOST_FIELDS: usize = 32;
const LIMITS: HeadLimits = HeadLimits::new(2048, MOST_FIELDS);
/// For a head that was written anew, with a `Host` that stood in its target and blanks that were not there.
const WIDER: HeadLimits = HeadLimits::new(8192, MOST_FIELDS + 1);

/// A request head and what follows it.
pub fn request_head(bytes: &[u8]) {
    let whole = head::parse(bytes, &LIMITS);
    let mut parser = head::Parser::default();
    let in_pieces = (0..=bytes.len()).find_map(|end| match parser.advance(&bytes[..end], &LIMITS) {
        Ok(false) => None,
        Ok(true) => Some(Ok(Some(parser.parsed().clone()))),
        Err(error) => Some(Err(error)),
    });
    assert_eq!(in_pieces.unwrap_or(Ok(None)), whole, "cuts change the reading");
    let Ok(Some(parsed)) = whole else { return };
    let head = Head::new(bytes, &parsed);

    let mut fields = [httparse::EMPTY_HEADER; MOST_FIELDS];
    let mut theirs = httparse::Request::new(&mut fields);
    assert_eq!(theirs.parse(bytes), Ok(httparse::Status::Complete(parsed.len())));
    assert_eq!(theirs.method, Some(parsed.method().as_str()));
    assert_eq!(theirs.path.map(str::as_bytes), Some(head.received_target()));
    assert_eq!(theirs.version, Some(u8::from(parsed.version() == Version::HTTP_11)));
    same_fields(head.iter(), theirs.headers);
    let hosts = theirs
        .headers
        .iter()
        .filter(|field| field.name.eq_ignore_ascii_case("host"))
        .count();
    assert!(hosts <= 1 && (hosts == 1 || !head.authority().is_empty() || parsed.version() == Version::HTTP_10));
    assert_eq!(announced(theirs.headers), answer_of(parsed.framing()));

    same_request(head, &head.to_origin_form());
    let mut normal = format!("{} ", head.method()).into_bytes();
    normal.extend_from_slice(head.received_target());
    normal.extend_from_slice(format!(" {:?}\r\n", head.version()).as_bytes());
    normal.extend_from_slice(&written(head.iter()));
    same_request(head, &normal);
}

/// The same request in other bytes.
fn same_request(head: Head<'_>, bytes: &[u8]) {
    let parsed: Parsed = head::parse(bytes, &WIDER).expect("refused its own work").expect("whole");
    let again = Head::new(bytes, &parsed);
    assert_eq!(parsed.len(), bytes.len());
    assert_eq!(
        (again.method(), again.version(), again.target()),
        (head.method(), head.version(), head.target())
    );
    assert!(again.authority().eq_ignore_ascii_case(head.authority()));
    let said = |parsed: &Parsed| (parsed.framing(), parsed.keep_alive(), parsed.upgrade(), parsed.expect_continue());
    assert_eq!(said(&parsed), said(head.parsed()));
    let added = usize::from(again.lines().len() > head.lines().len());
    assert!(again.iter().skip(added).eq(head.iter()));
}

/// A response head and what follows it.
pub fn response_head(bytes: &[u8]) {
    let whole = response::parse(bytes, &LIMITS);
    let mut parser = response::ResponseParser::default();
    let in_pieces = (0..=bytes.len()).find_map(|end| match parser.advance(&bytes[..end], &LIMITS) {
        Ok(false) => None,
        Ok(true) => Some(Ok(Some(parser.parsed().clone()))),
        Err(error) => Some(Err(error)),
    });
    assert_eq!(in_pieces.unwrap_or(Ok(None)), whole, "cuts change the reading");
    let Ok(Some(parsed)) = whole else { return };
    let head = ResponseView::new(bytes, &parsed);

    let mut fields = [httparse::EMPTY_HEADER; MOST_FIELDS];
    let mut theirs = httparse::Response::new(&mut fields);
    assert_eq!(theirs.parse(bytes), Ok(httparse::Status::Complete(parsed.len())));
    assert_eq!(theirs.code, Some(parsed.status().as_u16()));
    assert_eq!(theirs.version, Some(u8::from(parsed.version() == Version::HTTP_11)));
    same_fields(head.iter(), theirs.headers);
    assert_eq!(parsed.framing(true), ResponseFraming::None);
    let framing = match parsed.status().as_u16() {
        100..200 | 204 | 304 => ResponseFraming::None,
        _ => announced(theirs.headers),
    };
    assert_eq!(parsed.framing(false), framing);

    let mut normal = bytes[..head.lines().start(0)].to_vec();
    normal.extend_from_slice(&written(head.iter()));
    let again: ResponseParsed = response::parse(&normal, &WIDER).expect("refused its own work").expect("whole");
    assert_eq!(again.len(), normal.len());
    assert_eq!(
        (again.status(), again.version(), again.framing(false), again.keep_alive()),
        (parsed.status(), parsed.version(), framing, parsed.keep_alive())
    );
    assert!(ResponseView::new(&normal, &again).iter().eq(head.iter()));

    let rest = &bytes[parsed.len()..];
    if let Ok(taken) = Body::from_response(framing).advance(rest) {
        assert!(taken <= rest.len());
    }
}

fn same_fields<'a>(ours: impl Iterator<Item = (&'a [u8], &'a [u8])>, theirs: &[httparse::Header<'a>]) {
    assert!(ours.eq(theirs.iter().map(|field| (field.name.as_bytes(), field.value))));
}

/// Field lines and the empty line, as one would write them.
fn written<'a>(fields: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Vec<u8> {
    let lines = fields.flat_map(|(name, value)| [name, b": ", value, b"\r\n"]);
    lines.chain([&b"\r\n"[..]]).flatten().copied().collect()
}

const fn answer_of(framing: Framing) -> ResponseFraming {
    match framing {
        Framing::None => ResponseFraming::UntilClose,
        Framing::Length(length) => ResponseFraming::Length(length),
        Framing::Chunked => ResponseFraming::Chunked,
    }
}

/// The framing that the fields announce, if there is only one way to understand them.
fn announced(fields: &[httparse::Header<'_>]) -> ResponseFraming {
    let values = |name: &str| -> Vec<_> {
        let named = fields.iter().filter(|field| field.name.eq_ignore_ascii_case(name));
        named.map(|field| std::str::from_utf8(field.value).expect("text")).collect()
    };
    match (&values("content-length")[..], &values("transfer-encoding")[..]) {
        ([], []) => ResponseFraming::UntilClose,
        ([length], []) if length.bytes().all(|byte| byte.is_ascii_digit()) => ResponseFraming::Length(length.parse().expect("a number")),
        ([], [coding]) if coding.eq_ignore_ascii_case("chunked") => ResponseFraming::Chunked,
        ambiguous => panic!("accepted {ambiguous:?}"),
    }
}
