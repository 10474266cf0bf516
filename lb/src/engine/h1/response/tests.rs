//! What is handed on, what is refused and why, by name.

use http::{StatusCode, Version, header};

use super::*;
use crate::engine::h1::body::{Body, Piece};
use crate::exchange::head::{Fields as _, ResponseHead as _};

const LIMITS: HeadLimits = HeadLimits::new(8192, 32);

fn accept(head: &[u8]) -> ResponseParsed {
    parse(head, &LIMITS)
        .unwrap_or_else(|error| panic!("{error}: {}", head.escape_ascii()))
        .unwrap_or_else(|| panic!("unfinished: {}", head.escape_ascii()))
}

fn refuse(head: &[u8], reason: &'static str) {
    assert_eq!(
        parse(head, &LIMITS),
        Err(ResponseError::Malformed(reason)),
        "{}",
        head.escape_ascii()
    );
}

/// A head with this status and these lines.
fn with(status: &str, lines: &[&str]) -> Vec<u8> {
    let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
    format!("HTTP/1.1 {status}\r\n{lines}\r\n").into_bytes()
}

fn framing(status: &str, lines: &[&str]) -> ResponseFraming {
    accept(&with(status, lines)).framing(false)
}

#[test]
fn a_typical_response_is_read_as_it_stands() {
    let bytes =
        b"HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\nSet-Cookie: a=1\r\nset-cookie:b=2 \r\nContent-Length: 5\r\n\r\nhello";
    let parsed = accept(bytes);
    let head = ResponseView::new(bytes, &parsed);
    assert_eq!(&bytes[parsed.len()..], b"hello");
    assert_eq!((head.status(), parsed.version()), (StatusCode::NOT_FOUND, Version::HTTP_11));
    assert_eq!(head.reason(), b"Not Found");
    assert_eq!(parsed.framing(false), ResponseFraming::Length(5));
    assert!(parsed.keep_alive());
    assert_eq!(head.get(&header::CONTENT_TYPE), Some(&b"text/html"[..]));
    assert_eq!(head.all(&header::SET_COOKIE).collect::<Vec<_>>(), [b"a=1", b"b=2"]);
    assert_eq!(head.get(&header::ETAG), None);
    assert_eq!(&bytes[..head.lines().start(0)], b"HTTP/1.1 404 Not Found\r\n");
    assert_eq!(head.lines().run(1..3), b"Set-Cookie: a=1\r\nset-cookie:b=2 \r\n");
}

#[test]
fn the_reason_may_be_missing_and_is_text_otherwise() {
    for (line, reason) in [
        ("HTTP/1.1 200", ""),
        ("HTTP/1.1 200 ", ""),
        ("HTTP/1.1 200  ", " "),
        ("HTTP/1.1 200 OK then", "OK then"),
        ("HTTP/1.1 200 \tü", "\tü"),
    ] {
        let bytes = format!("{line}\r\n\r\n").into_bytes();
        let parsed = accept(&bytes);
        assert_eq!(ResponseView::new(&bytes, &parsed).reason(), reason.as_bytes());
    }
}

#[test]
fn every_status_of_three_digits_is_taken() {
    for status in 100..1000 {
        assert_eq!(accept(&with(&status.to_string(), &[])).status().as_u16(), status);
    }
}

#[test]
fn another_first_line_is_refused() {
    for (bytes, reason) in [
        (&b"\r\nHTTP/1.1 200 OK\r\n\r\n"[..], "no status line"),
        (b" HTTP/1.1 200 OK\r\n\r\n", "no status line"),
        (b"http/1.1 200 OK\r\n\r\n", "no status line"),
        (b"ICY 200 OK\r\n\r\n", "no status line"),
        (b"\x15\x03\x01", "no status line"),
        (b"HTTP/x", "invalid HTTP version"),
        (b"HTTP/11", "invalid HTTP version"),
        (b"HTTP/1.\r\n", "invalid HTTP version"),
        (b"HTTP/1.1\r\n", "no blank between version and status"),
        (b"HTTP/1.1\t200", "no blank between version and status"),
        (b"HTTP/1.10 200", "no blank between version and status"),
        (b"HTTP/1.1  200 OK\r\n", "invalid status"),
        (b"HTTP/1.1 \r\n", "invalid status"),
        (b"HTTP/1.1 099 \r\n", "invalid status"),
        (b"HTTP/1.1 +20 \r\n", "invalid status"),
        (b"HTTP/1.1 20 OK\r\n", "invalid status"),
        (b"HTTP/1.1 20\r\n", "invalid status"),
        (b"HTTP/1.1 2000 OK\r\n", "status is not three digits and a blank"),
        (b"HTTP/1.1 200\tOK\r\n", "status is not three digits and a blank"),
        (b"HTTP/1.1 200OK\r\n", "status is not three digits and a blank"),
        (b"HTTP/1.1 200\n", "line feed without carriage return"),
        (b"HTTP/1.1 200 OK\n", "line feed without carriage return"),
        (b"HTTP/1.1 200\rO", "carriage return without line feed"),
        (b"HTTP/1.1 200 O\rK", "carriage return without line feed"),
        (b"HTTP/1.1 200 O\0", "control character in the reason phrase"),
        (b"HTTP/1.1 200 O\x7f", "control character in the reason phrase"),
    ] {
        refuse(bytes, reason);
    }
    for line in ["HTTP/2.0 200 OK", "HTTP/0.9 200 OK", "HTTP/1.2 200 OK", "HTTP/9"] {
        assert_eq!(parse(line.as_bytes(), &LIMITS), Err(ResponseError::Version), "{line}");
    }
}

#[test]
fn field_lines_are_as_strict_as_those_of_requests() {
    for (lines, reason) in [
        (&b" a: b\r\n\r\n"[..], "white space before a field name, or a folded line"),
        (b"a: b\r\n c\r\n\r\n", "white space before a field name, or a folded line"),
        (b"a : b\r\n\r\n", "white space in or after a field name"),
        (b": b\r\n\r\n", "field without a name"),
        (b"ab\r\n\r\n", "field line without a colon"),
        (b"a(: b\r\n\r\n", "invalid byte in a field name"),
        (b"a: \0\r\n\r\n", "control character in a field value"),
        (b"a: b\n\r\n", "line feed without carriage return"),
        (b"a: b\rc\r\n\r\n", "carriage return without line feed"),
        (b"a: b\r\n\n", "line feed without carriage return"),
        (b"a: b\r\n\rx", "carriage return without line feed"),
    ] {
        refuse(&[b"HTTP/1.1 200 OK\r\n", lines].concat(), reason);
    }
}

#[test]
fn a_body_ends_by_its_chunks_its_length_or_the_connection() {
    assert_eq!(framing("200 OK", &["Transfer-Encoding: Chunked"]), ResponseFraming::Chunked);
    assert_eq!(framing("200 OK", &["content-length: 0"]), ResponseFraming::Length(0));
    assert_eq!(framing("205 Reset Content", &["Content-Length: 3"]), ResponseFraming::Length(3));
    assert_eq!(framing("200 OK", &[]), ResponseFraming::UntilClose);
    assert_eq!(framing("500", &["Connection: keep-alive"]), ResponseFraming::UntilClose);
    // To CGI and its heirs alone is this the same name, and clients are none.
    assert_eq!(framing("200 OK", &["Content_Length: 3"]), ResponseFraming::UntilClose);
}

#[test]
fn two_readings_of_the_length_are_refused() {
    for (lines, reason) in [
        (&["Content-Length: 5", "Content-Length: 5"][..], "more than one Content-Length"),
        (&["Content-Length: 5, 5"], "invalid Content-Length"),
        (&["Content-Length: +5"], "invalid Content-Length"),
        (&["Content-Length:"], "invalid Content-Length"),
        (&["Content-Length: 9223372036854775808"], "invalid Content-Length"),
        (
            &["Content-Length: 5", "Transfer-Encoding: chunked"],
            "Content-Length beside Transfer-Encoding",
        ),
        (
            &["Transfer-Encoding: chunked", "Content-Length: 5"],
            "Content-Length beside Transfer-Encoding",
        ),
        (
            &["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"],
            "more than one Transfer-Encoding",
        ),
        (&["Transfer-Encoding: chunked, chunked"], "Transfer-Encoding is not exactly chunked"),
        (&["Transfer-Encoding:"], "invalid Transfer-Encoding"),
        (&["Transfer-Encoding: gzip, chunked"], "transfer coding not implemented"),
        (&["Transfer-Encoding: chunked, identity"], "transfer coding not implemented"),
        (&["Transfer-Encoding: identity"], "transfer coding not implemented"),
    ] {
        // What a GET would get has to be in order too.
        for status in ["200 OK", "304 Not Modified", "404"] {
            refuse(&with(status, lines), reason);
        }
    }
    refuse(
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "Transfer-Encoding in HTTP/1.0",
    );
}

#[test]
fn some_responses_have_no_body_whatever_their_fields_say() {
    for lines in [&["Content-Length: 40"][..], &["Transfer-Encoding: chunked"], &[]] {
        let not_modified = accept(&with("304 Not Modified", lines));
        assert_eq!(not_modified.framing(false), ResponseFraming::None);
        assert!(!not_modified.is_without_framing());
        assert_eq!(accept(&with("200 OK", lines)).framing(true), ResponseFraming::None);
    }
    for status in ["100 Continue", "101", "102", "103 Early Hints", "199", "204 No Content"] {
        for lines in [
            &["Content-Length: 40"][..],
            &["Content-Length: x", "content-length: 4"],
            &["Transfer-Encoding: chunked", "Content-Length: 5"],
            &["Transfer-Encoding: gzip"],
        ] {
            let parsed = accept(&with(status, lines));
            assert_eq!(parsed.framing(false), ResponseFraming::None, "{status}");
            assert!(parsed.is_without_framing());
        }
    }
}

/// C18: interim responses in one write with the final one, the first with a length that it must not have.
#[test]
fn interim_responses_are_heads_that_follow_each_other() {
    let wire = [
        with("100 Continue", &["Content-Length: 40"]),
        with("102 Processing", &[]),
        with(
            "103 Early Hints",
            &["Link: </a>", "Connection: x-hop", "X-Hop: 1", "Transfer-Encoding: chunked"],
        ),
        with("103 Early Hints", &["Link: </b>"]),
        with("200 OK", &["Content-Length: 5"]),
        b"hello".to_vec(),
        with("404", &["Content-Length: 0"]),
    ]
    .concat();
    let mut parser = ResponseParser::default();
    let mut rest = &wire[..];
    let mut found = Vec::new();
    while !rest.is_empty() {
        parser.reset();
        assert_eq!(parser.advance(rest, &LIMITS), Ok(true));
        found.push(parser.parsed().status().as_u16());
        rest = &rest[parser.parsed().len()..];
        let mut body = Body::from_response(parser.parsed().framing(false));
        while let Piece::Data(len) = body.next(rest).expect("in order") {
            assert_eq!(&rest[..len], b"hello");
            rest = &rest[len..];
        }
        assert!(body.is_done() && parser.parsed().keep_alive());
    }
    assert_eq!(found, [100, 102, 103, 103, 200, 404]);
}

/// C20: what comes behind the body is not the body's.
#[test]
fn a_second_response_in_the_same_write_is_left_over() {
    let fake = with("200 OK", &["Content-Length: 4"]);
    for (line, body) in [
        ("Content-Length: 5", "hello"),
        ("Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\n\r\n"),
    ] {
        let wire = [&with("200 OK", &[line])[..], body.as_bytes(), &fake, b"fake"].concat();
        let parsed = accept(&wire);
        let mut follow = Body::from_response(parsed.framing(false));
        let taken = follow.advance(&wire[parsed.len()..]);
        assert_eq!(taken, Ok(body.len()));
        assert!(follow.is_done() && wire[parsed.len() + body.len()..].starts_with(&fake));
    }
}

#[test]
fn the_connection_stays_open_as_version_and_options_say() {
    for (line, fields, expected) in [
        ("HTTP/1.1 200", &[][..], true),
        ("HTTP/1.1 200", &["Connection: close"], false),
        ("HTTP/1.1 200", &["Connection: x, CLOSE"], false),
        ("HTTP/1.1 200", &["Connection: keep-alive", "connection: x ,close,"], false),
        ("HTTP/1.1 200", &["Connection: closed"], true),
        ("HTTP/1.1 204", &["Connection: close"], false),
        ("HTTP/1.0 200", &[], false),
        ("HTTP/1.0 200", &["Connection: Keep-Alive"], true),
        ("HTTP/1.0 200", &["Connection: keep-alive, close"], false),
    ] {
        let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
        let bytes = format!("{line}\r\n{fields}\r\n");
        assert_eq!(accept(bytes.as_bytes()).keep_alive(), expected, "{bytes}");
    }
}

#[test]
fn limits_hold_to_the_byte_and_to_the_field() {
    let head = with("200 OK", &["a: b", "c: d"]);
    let len = head.len();
    assert!(parse(&head, &HeadLimits::new(len, 2)).is_ok_and(|parsed| parsed.is_some()));
    assert_eq!(parse(&head, &HeadLimits::new(len - 1, 2)), Err(ResponseError::TooLarge));
    assert_eq!(parse(&head, &HeadLimits::new(len, 1)), Err(ResponseError::TooManyFields));
    assert_eq!(parse(&head[..len - 1], &HeadLimits::new(len, 2)), Ok(None));
    assert_eq!(parse(&[b'a'; 9000][..], &LIMITS), Err(ResponseError::Malformed("no status line")));
    let endless = [b"HTTP/1.1 200 ", &[b'a'; 9000][..]].concat();
    assert_eq!(parse(&endless, &LIMITS), Err(ResponseError::TooLarge));
}

#[test]
fn a_parser_is_used_again() {
    let mut parser = ResponseParser::default();
    for bytes in [
        with("200 OK", &["Content-Length: 5", "Connection: close"]),
        with("200", &["Transfer-Encoding: chunked"]),
        with("204", &[]),
    ] {
        for end in 0..bytes.len() {
            assert_eq!(parser.advance(&bytes[..end], &LIMITS), Ok(false));
        }
        assert_eq!(parser.advance(&bytes, &LIMITS), Ok(true));
        assert_eq!(parser.parsed(), &accept(&bytes));
        parser.reset();
    }
}
