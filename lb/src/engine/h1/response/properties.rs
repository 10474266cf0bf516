//! What holds for every input.

use http::Version;
use proptest::prelude::*;
use proptest::strategy::ValueTree;

use super::*;
use crate::engine::h1::body::{Body, Piece};
use crate::exchange::head::Fields as _;

const LIMITS: HeadLimits = HeadLimits::new(512, 12);

/// Lines that are valid, nearly valid, or meant to deceive.
fn line() -> impl Strategy<Value = String> {
    prop_oneof![
        40 => "[A-Za-z][A-Za-z0-9_.-]{0,20}:[ \t]{0,2}[!-~]([ -~\t]{0,30}[!-~])?[ \t]{0,2}",
        1 => "[ -~\t]{0,20}",
        2 => "[cC]ontent-[lL]ength: ?[0-9]{1,5}",
        1 => "[cC]ontent-[lL]ength: ?[+-]?[0-9]{0,21}",
        2 => "[tT]ransfer-[eE]ncoding: ?chunked",
        1 => "[tT]ransfer-[eE]ncoding: ?(chunked|gzip)?,?(chunked)?",
        3 => "[cC]onnection: ?(close|keep-alive|upgrade|x)(, ?(close|keep-alive|upgrade|x))?",
    ]
}

fn status_line() -> impl Strategy<Value = String> {
    prop_oneof![
        12 => "HTTP/1\\.[01] [1-5][0-9]{2}( [ -~]{0,12})?",
        2 => "HTTP/1\\.[01] (100|101|103|204|304)( OK)?",
        1 => "HTTP/[0-9]\\.[0-9] ?[0-9]{1,4}[ -~]{0,5}",
        1 => "[ -~]{0,20}",
    ]
}

/// A response and some of its body, mostly valid, now and then with a byte changed.
fn input() -> impl Strategy<Value = Vec<u8>> {
    let ends = prop_oneof![200 => Just("\r\n"), 1 => Just("\n"), 1 => Just("\r"), 1 => Just("\r\r\n")];
    let lines = prop::collection::vec((line(), ends), 0..10);
    let change = prop::option::weighted(0.3, (any::<prop::sample::Index>(), any::<u8>()));
    (status_line(), lines, "[ -~\r\n]{0,10}", change).prop_map(|(first, lines, body, change)| {
        let lines: String = lines.into_iter().map(|(line, end)| line + end).collect();
        let mut bytes = format!("{first}\r\n{lines}\r\n{body}").into_bytes();
        if let Some((at, byte)) = change {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes
    })
}

fn any_input() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![4 => input(), 1 => prop::collection::vec(any::<u8>(), 0..700)]
}

/// As it comes from a connection: a piece at a time, until an answer.
fn in_pieces(bytes: &[u8], cuts: impl IntoIterator<Item = usize>) -> Result<Option<ResponseParsed>, ResponseError> {
    let mut parser = ResponseParser::default();
    for cut in cuts {
        if parser.advance(&bytes[..cut], &LIMITS)? {
            return Ok(Some(parser.parsed));
        }
    }
    Ok(None)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_head_that_comes_in_pieces_is_read_as_one_that_comes_whole(bytes in any_input(), cut in any::<prop::sample::Index>()) {
        let whole = parse(&bytes, &LIMITS);
        prop_assert_eq!(&in_pieces(&bytes, 0..=bytes.len()), &whole);
        prop_assert_eq!(&in_pieces(&bytes, [cut.index(bytes.len() + 1), bytes.len()]), &whole);
    }

    #[test]
    fn a_beginning_asks_for_more_or_has_the_answer_of_the_whole(bytes in any_input(), cut in any::<prop::sample::Index>()) {
        let whole = parse(&bytes, &LIMITS);
        match parse(&bytes[..cut.index(bytes.len() + 1)], &LIMITS) {
            Ok(None) => {}
            answer => prop_assert_eq!(answer, whole),
        }
    }

    #[test]
    fn what_follows_a_head_changes_nothing(bytes in any_input(), more in prop::collection::vec(any::<u8>(), 0..600)) {
        let alone = parse(&bytes, &LIMITS);
        if alone != Ok(None) {
            prop_assert_eq!(parse(&[&bytes[..], &more].concat(), &LIMITS), alone);
        }
    }

    #[test]
    fn limits_bound_what_is_read(bytes in any_input()) {
        if let Ok(Some(parsed)) = parse(&bytes, &LIMITS) {
            prop_assert!(parsed.end <= 512 && parsed.fields.len() <= 12);
        } else if bytes.len() >= 512 {
            prop_assert!(parse(&bytes, &LIMITS).is_err());
        }
    }

    #[test]
    fn httparse_accepts_what_is_accepted_and_finds_the_same(bytes in any_input()) {
        let Ok(Some(parsed)) = parse(&bytes, &LIMITS) else { return Ok(()) };
        let head = ResponseView::new(&bytes, &parsed);
        let mut fields = [httparse::EMPTY_HEADER; 16];
        let mut response = httparse::Response::new(&mut fields);
        prop_assert_eq!(response.parse(&bytes), Ok(httparse::Status::Complete(parsed.len())));
        prop_assert_eq!(response.code, Some(parsed.status().as_u16()));
        prop_assert_eq!(response.version, Some(u8::from(parsed.version() == Version::HTTP_11)));
        if head.reason().is_ascii() {
            prop_assert_eq!(response.reason.map(str::as_bytes), Some(head.reason()));
        }
        let theirs: Vec<_> = response.headers.iter().map(|field| (field.name.as_bytes(), field.value)).collect();
        prop_assert_eq!(head.iter().collect::<Vec<_>>(), theirs);
    }

    #[test]
    fn status_line_and_lines_are_the_head(bytes in any_input()) {
        let Ok(Some(parsed)) = parse(&bytes, &LIMITS) else { return Ok(()) };
        let lines = ResponseView::new(&bytes, &parsed).lines();
        let copied = [&bytes[..lines.start(0)], lines.run(0..lines.len()), b"\r\n"].concat();
        prop_assert_eq!(&copied, &bytes[..parsed.len()]);
        for (index, name, value) in lines.iter() {
            let line = lines.run(index..index + 1);
            prop_assert_eq!(line.len(), lines.end(index) - lines.start(index));
            prop_assert!(line.starts_with(name) && line[name.len()] == b':' && line.ends_with(b"\r\n"));
            prop_assert_eq!(line[name.len() + 1..].trim_ascii(), value.trim_ascii());
        }
    }

    #[test]
    fn whatever_follows_is_followed_without_a_panic(bytes in any_input(), was_head: bool) {
        let Ok(Some(parsed)) = parse(&bytes, &LIMITS) else { return Ok(()) };
        let mut body = Body::from_response(parsed.framing(was_head));
        let mut rest = &bytes[parsed.len()..];
        while let Ok(piece) = body.next(rest) {
            prop_assert!(piece.len() <= rest.len());
            rest = &rest[piece.len()..];
            if matches!(piece, Piece::More | Piece::Done) {
                break;
            }
        }
    }

    #[test]
    fn pingora_reads_the_same_response(bytes in any_input()) {
        let Ok(Some(parsed)) = parse(&bytes, &LIMITS) else { return Ok(()) };
        // It does not return from an interim response, and judges the length that a 204 must not have.
        if parsed.status().is_informational() || parsed.status().as_u16() == 204 { return Ok(()) }
        let head = ResponseView::new(&bytes, &parsed);
        let connection = Box::new(std::io::Cursor::new(bytes[..parsed.len()].to_vec()));
        let mut session = pingora::protocols::http::v1::client::HttpSession::new(connection);
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("runtime");
        runtime.block_on(session.read_response()).expect("accepted by pingora");
        let response = session.resp_header().expect("read");
        prop_assert_eq!((response.status, response.version), (parsed.status(), parsed.version()));
        for (name, value) in head.iter() {
            let name = http::HeaderName::from_bytes(name).expect("a name");
            prop_assert!(response.headers.get_all(name).iter().any(|theirs| theirs.as_bytes() == value));
        }
    }
}

#[test]
fn the_inputs_above_are_taken_and_refused_in_fair_shares() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut taken = 0;
    for _ in 0..1000 {
        let input = input().new_tree(&mut runner).expect("an input").current();
        taken += usize::from(matches!(parse(&input, &LIMITS), Ok(Some(_))));
    }
    assert!((150..850).contains(&taken), "{taken} of 1000");
}
