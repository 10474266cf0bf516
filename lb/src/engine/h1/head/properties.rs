//! What holds for every input.

use proptest::prelude::*;
use proptest::strategy::ValueTree;

use super::super::parsed::Framing;
use super::super::view::Head;
use super::*;
use crate::exchange::head::{Fields as _, RequestHead as _};

const LIMITS: HeadLimits = HeadLimits::new(512, 12);

/// Lines that are valid, nearly valid, or meant to deceive.
fn line() -> impl Strategy<Value = String> {
    prop_oneof![
        40 => "[A-Za-z][A-Za-z0-9_.-]{0,20}:[ \t]{0,2}[!-~]([ -~\t]{0,30}[!-~])?[ \t]{0,2}",
        1 => "[ -~\t]{0,20}",
        1 => "[hH]ost: ?[a-c]{0,2}(:[0-9]{0,5})?",
        2 => "[cC]ontent-[lL]ength: ?[0-9]{1,5}",
        1 => "[cC]ontent-[lL]ength: ?[+-]?[0-9]{0,21}",
        2 => "[tT]ransfer-[eE]ncoding: ?chunked",
        1 => "[tT]ransfer-[eE]ncoding: ?(chunked|gzip)?,?(chunked)?",
        3 => "[cC]onnection: ?(close|keep-alive|upgrade|x)(, ?(close|keep-alive|upgrade|x))?",
        2 => "(Upgrade: websocket|Expect: 100-continue)",
    ]
}

fn request_line() -> impl Strategy<Value = String> {
    prop_oneof![
        12 => "(GET|POST|OPTIONS|PURGE|x-y) /[a-z?&=%/.~{}|]{0,20} HTTP/1\\.[01]",
        2 => "(GET|OPTIONS) (\\*|https?://a(:[0-9]{0,2})?[/?]?[a-z/?]{0,5}) HTTP/1\\.[01]",
        1 => "[A-Z]{1,8} /[!-~]{0,5} HTTP/1\\.1",
        1 => "[A-Z ]{1,8}[ -~]{0,20} ?HTTP/[0-9]\\.[0-9]",
    ]
}

/// A request and some of its body, mostly valid, now and then with a byte changed.
fn input() -> impl Strategy<Value = Vec<u8>> {
    let ends = prop_oneof![200 => Just("\r\n"), 1 => Just("\n"), 1 => Just("\r"), 1 => Just("\r\r\n")];
    let lines = prop::collection::vec((line(), ends), 0..10);
    let change = prop::option::weighted(0.3, (any::<prop::sample::Index>(), any::<u8>()));
    (
        prop::option::weighted(0.1, Just("\r\n")),
        request_line(),
        lines,
        "[ -~\r\n]{0,10}",
        change,
    )
        .prop_map(|(before, first, lines, body, change)| {
            let lines: String = lines.into_iter().map(|(line, end)| line + end).collect();
            let authority = first.split(['/', '?', ' ']).nth(3).filter(|_| first.contains("://")).unwrap_or("a");
            let host = if first.ends_with("1.1") {
                format!("Host: {authority}\r\n")
            } else {
                String::new()
            };
            let mut bytes = format!("{}{first}\r\n{host}{lines}\r\n{body}", before.unwrap_or_default()).into_bytes();
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
fn in_pieces(bytes: &[u8], cuts: impl IntoIterator<Item = usize>) -> Result<Option<Parsed>, HeadError> {
    let mut parser = Parser::default();
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
            prop_assert!(parsed.end - parsed.start <= 512 && parsed.start <= 4 && parsed.fields.len() <= 12);
        } else if bytes.len() >= 516 {
            prop_assert!(parse(&bytes, &LIMITS).is_err());
        }
    }

    #[test]
    fn httparse_accepts_what_is_accepted_and_finds_the_same(bytes in any_input()) {
        let Ok(Some(parsed)) = parse(&bytes, &LIMITS) else { return Ok(()) };
        let head = Head::new(&bytes, &parsed);
        let mut fields = [httparse::EMPTY_HEADER; 16];
        let mut request = httparse::Request::new(&mut fields);
        prop_assert_eq!(request.parse(&bytes), Ok(httparse::Status::Complete(parsed.len())));
        prop_assert_eq!(request.method, Some(parsed.method().as_str()));
        prop_assert_eq!(request.path.map(str::as_bytes), Some(head.received_target()));
        prop_assert_eq!(request.version, Some(u8::from(parsed.version() == Version::HTTP_11)));
        let theirs: Vec<_> = request.headers.iter().map(|field| (field.name.as_bytes(), field.value)).collect();
        prop_assert_eq!(head.iter().collect::<Vec<_>>(), theirs);
    }

    #[test]
    fn what_is_handed_on_parses_again_to_the_same_request(bytes in any_input()) {
        let Ok(Some(parsed)) = parse(&bytes, &LIMITS) else { return Ok(()) };
        let head = Head::new(&bytes, &parsed);
        let origin_form = head.to_origin_form();
        let again = parse(&origin_form, &HeadLimits::new(1024, 13)).ok().flatten();
        let again = again.as_ref().map(|parsed| Head::new(&origin_form, parsed));
        let Some(again) = again else { return Err(TestCaseError::fail("refused its own work")) };
        prop_assert_eq!(again.parsed().len(), origin_form.len());
        prop_assert_eq!((again.method(), again.version(), again.target()), (head.method(), head.version(), head.target()));
        prop_assert_eq!(again.received_target(), head.target());
        prop_assert!(again.authority().eq_ignore_ascii_case(head.authority()));
        prop_assert_eq!(again.parsed().framing(), parsed.framing());
        prop_assert_eq!(again.parsed().keep_alive(), parsed.keep_alive());
    }

    #[test]
    fn pingora_reads_the_same_request_with_the_same_end(bytes in any_input()) {
        let Ok(Some(parsed)) = parse(&bytes, &LIMITS) else { return Ok(()) };
        let head = Head::new(&bytes, &parsed);
        let nothing_else = Box::new(std::io::Cursor::new(Vec::new()));
        let mut session = pingora::protocols::http::v1::server::HttpSession::new(nothing_else);
        session.set_pipelined_prefix(head.to_origin_form());
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("runtime");
        runtime.block_on(session.read_request()).expect("accepted by pingora");
        let request = session.req_header();
        prop_assert_eq!((&request.method, request.version, request.raw_path()), (head.method(), head.version(), head.target()));
        for (name, value) in head.iter() {
            let name = http::HeaderName::from_bytes(name).expect("a name");
            prop_assert!(request.headers.get_all(name).iter().any(|theirs| theirs.as_bytes() == value));
        }
        let length = request.headers.get(http::header::CONTENT_LENGTH).map(|length| length.to_str().unwrap_or("").parse::<u64>());
        let framing = match (request.headers.contains_key(http::header::TRANSFER_ENCODING), length) {
            (true, None) => Framing::Chunked,
            (false, Some(Ok(length))) => Framing::Length(length),
            (false, None) => Framing::None,
            other => return Err(TestCaseError::fail(format!("{other:?}"))),
        };
        prop_assert_eq!(framing, parsed.framing());
        prop_assert_eq!(session.is_body_empty(), matches!(framing, Framing::None | Framing::Length(0)));
        if session.will_keepalive() && !parsed.keep_alive() {
            // It looks at the first Connection field only, and only if that is text.
            let options: Vec<_> = head.all(&http::header::CONNECTION).collect();
            prop_assert!(options.len() > 1 || !options[0].is_ascii());
        }
    }
}

#[test]
fn the_inputs_above_are_served_and_refused_in_fair_shares() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut served = 0;
    for _ in 0..1000 {
        let input = input().new_tree(&mut runner).expect("an input").current();
        served += usize::from(matches!(parse(&input, &LIMITS), Ok(Some(_))));
    }
    assert!((150..850).contains(&served), "{served} of 1000");
}
