//! What is served, what is refused and why, by name.

use http::{Method, header};

use super::super::parsed::Framing;
use super::super::view::Head;
use super::*;
use crate::exchange::head::{Fields as _, RequestHead as _};

const LIMITS: HeadLimits = HeadLimits::new(8192, 32);

fn status(head: &[u8]) -> u16 {
    match parse(head, &LIMITS) {
        Ok(Some(_)) => 200,
        Ok(None) => 0,
        Err(error) => error.status().as_u16(),
    }
}

fn accept(head: &[u8]) -> Parsed {
    parse(head, &LIMITS)
        .unwrap_or_else(|error| panic!("{error}: {}", head.escape_ascii()))
        .unwrap_or_else(|| panic!("unfinished: {}", head.escape_ascii()))
}

pub(super) fn refuse(name: &str, head: &[u8], expected: u16) {
    assert_eq!(status(head), expected, "{name}: {}", head.escape_ascii());
}

/// A head with one line more.
pub(super) fn with(line: &str) -> Vec<u8> {
    format!("POST / HTTP/1.1\r\nHost: a\r\n{line}\r\n\r\n").into_bytes()
}

#[test]
fn a_typical_request_is_read_as_it_stands() {
    let bytes = b"POST /users?page=1 HTTP/1.1\r\nHost: api.example.com:8080\r\nContent-Length: 5\r\nX-A: 1\r\nx-a:2\r\n\r\nhello";
    let parsed = accept(bytes);
    let head = Head::new(bytes, &parsed);
    assert_eq!(&bytes[parsed.len()..], b"hello");
    assert_eq!((head.method(), head.version()), (&Method::POST, Version::HTTP_11));
    assert_eq!(head.target(), b"/users?page=1");
    assert_eq!(head.authority(), b"api.example.com:8080");
    assert_eq!(parsed.framing(), Framing::Length(5));
    assert!(parsed.keep_alive() && !parsed.upgrade() && !parsed.expect_continue());
    let name = http::HeaderName::from_static("x-a");
    assert_eq!(head.get(&name), Some(&b"1"[..]));
    assert_eq!(head.all(&name).collect::<Vec<_>>(), [b"1", b"2"]);
    assert_eq!(head.get(&header::ACCEPT), None);
    assert_eq!(
        head.iter().map(|(name, _)| name).collect::<Vec<_>>(),
        [&b"Host"[..], b"Content-Length", b"X-A", b"x-a"]
    );
}

#[test]
fn targets_that_browsers_send_are_taken() {
    for target in [
        "/",
        "//a",
        "/a/../b",
        "/%2e%2E/",
        "/?q=a|b^c{d}`e\\f",
        "/[a]{b}|",
        "/;a=b,c@d!$&'()*+:~",
        "/?a=http://b/?c",
    ] {
        let bytes = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes();
        let parsed = accept(&bytes);
        assert_eq!(Head::new(&bytes, &parsed).target(), target.as_bytes());
    }
}

#[test]
fn absolute_form_becomes_path_and_authority() {
    for (line, host, target, origin_form) in [
        (
            "GET http://a/b?c HTTP/1.1",
            "Host: a",
            "/b?c",
            "GET /b?c HTTP/1.1\r\nHost: a\r\n\r\n",
        ),
        (
            "GET HTTPS://A:443 HTTP/1.1",
            "hOST: a:443",
            "/",
            "GET / HTTP/1.1\r\nhOST: a:443\r\n\r\n",
        ),
        (
            "GET http://a?b/c HTTP/1.1",
            "Host: a",
            "/?b/c",
            "GET /?b/c HTTP/1.1\r\nHost: a\r\n\r\n",
        ),
        ("OPTIONS http://a HTTP/1.1", "Host: a", "*", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"),
        (
            "OPTIONS http://a/ HTTP/1.1",
            "Host: a",
            "/",
            "OPTIONS / HTTP/1.1\r\nHost: a\r\n\r\n",
        ),
        ("GET http://a/ HTTP/1.0", "X: y", "/", "GET / HTTP/1.0\r\nHost: a\r\nX: y\r\n\r\n"),
        (
            "GET http://[::1]:1/ HTTP/1.1",
            "Host: [::1]:1",
            "/",
            "GET / HTTP/1.1\r\nHost: [::1]:1\r\n\r\n",
        ),
    ] {
        let bytes = format!("\r\n{line}\r\n{host}\r\n\r\nbody").into_bytes();
        let parsed = accept(&bytes);
        let head = Head::new(&bytes, &parsed);
        assert_eq!(head.target(), target.as_bytes(), "{line}");
        assert_eq!(head.received_target(), line.split(' ').nth(1).unwrap_or_default().as_bytes());
        assert!(
            head.authority()
                .eq_ignore_ascii_case(line.split(['/', ' ', '?']).nth(3).unwrap_or_default().as_bytes()),
            "{line}"
        );
        assert_eq!(head.to_origin_form(), origin_form.as_bytes(), "{line}");
    }
}

#[test]
fn persistence_is_by_version_and_connection_options() {
    for (version, line, keep_alive) in [
        ("1.1", "X: y", true),
        ("1.1", "Connection: close", false),
        ("1.1", "Connection: foo, Close", false),
        ("1.1", "Connection: keep-alive, close", false),
        ("1.1", "Connection: keep-alive\r\nConnection: close", false),
        ("1.1", "Connection: closed", true),
        ("1.0", "X: y", false),
        ("1.0", "Connection: Keep-Alive", true),
        ("1.0", "Connection: x ,keep-alive", true),
        ("1.0", "Connection: keep-alive, close", false),
    ] {
        let parsed = accept(format!("GET / HTTP/{version}\r\nHost: a\r\n{line}\r\n\r\n").as_bytes());
        assert_eq!(parsed.keep_alive(), keep_alive, "{version} {line}");
    }
}

#[test]
fn an_upgrade_needs_field_and_option_and_http_1_1() {
    for (version, lines, upgrade) in [
        ("1.1", "Connection: Upgrade\r\nUpgrade: websocket", true),
        ("1.1", "Upgrade: websocket\r\nConnection: keep-alive, upgrade", true),
        ("1.1", "Upgrade: websocket", false),
        ("1.1", "Connection: upgrade", false),
        ("1.1", "Connection: upgrade\r\nUpgrade:", false),
        ("1.0", "Connection: Upgrade\r\nUpgrade: websocket", false),
    ] {
        let parsed = accept(format!("GET / HTTP/{version}\r\nHost: a\r\n{lines}\r\n\r\n").as_bytes());
        assert_eq!(parsed.upgrade(), upgrade, "{version} {lines}");
    }
}

#[test]
fn only_a_body_can_be_held_back_for_100_continue() {
    for (version, lines, expect) in [
        ("1.1", "Expect: 100-Continue\r\nContent-Length: 1", true),
        ("1.1", "Content-Length: 1\r\nExpect: x=y, 100-continue", true),
        ("1.1", "Expect: 100-continue\r\nTransfer-Encoding: chunked", true),
        ("1.1", "Expect: 100-continue", false),
        ("1.1", "Expect: 200-ok\r\nContent-Length: 1", false),
        ("1.0", "Expect: 100-continue\r\nContent-Length: 1", false),
    ] {
        let parsed = accept(format!("PUT / HTTP/{version}\r\nHost: a\r\n{lines}\r\n\r\n").as_bytes());
        assert_eq!(parsed.expect_continue(), expect, "{version} {lines}");
    }
}

#[test]
fn two_empty_lines_before_a_request_are_forgiven_and_not_three() {
    for (lines, expected) in [
        ("", 200),
        ("\r\n", 200),
        ("\r\n\r\n", 200),
        ("\r\n\r\n\r\n", 400),
        ("\n", 400),
        ("\r\n\n", 400),
        (" \r\n", 400),
    ] {
        refuse(lines, format!("{lines}GET / HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes(), expected);
    }
    let mut parser = Parser::default();
    for (bytes, begun) in [
        ("", false),
        ("\r", false),
        ("\r\n", false),
        ("\r\n\r\n\r", false),
        ("\r\n\r\n\rG", true),
    ] {
        assert_eq!(parser.advance(bytes.as_bytes(), &LIMITS), Ok(false));
        assert_eq!(parser.has_begun(bytes.as_bytes()), begun, "{}", bytes.escape_default());
    }
}

#[test]
fn what_is_no_http_is_refused_at_once() {
    refuse("TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400);
    refuse("SSH", b"SSH-2.0-OpenSSH_9.6\r\n", 400);
    refuse("zeros", b"\0\0\0\0", 400);
    refuse("endless method", &[b'A'; 100], 501);
    refuse("unfinished method", b"GE", 0);
}

#[test]
fn limits_hold_to_the_byte() {
    let head = with("X: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
    let at = |max_bytes| parse(&head, &HeadLimits::new(max_bytes, 32)).map(|parsed| parsed.is_some());
    assert_eq!(at(head.len()), Ok(true));
    assert_eq!(at(head.len() - 1), Err(HeadError::TooLarge));
    assert_eq!(parse(&head[..head.len() - 1], &HeadLimits::new(head.len(), 32)), Ok(None));
    assert_eq!(at(15), Err(HeadError::TargetTooLong), "the request line itself does not fit");
    let with_empty_lines = [b"\r\n\r\n", &head[..]].concat();
    assert!(parse(&with_empty_lines, &HeadLimits::new(head.len(), 32)).is_ok_and(|parsed| parsed.is_some()));
}

#[test]
fn a_long_target_is_414_and_a_long_head_431() {
    refuse("unfinished target", format!("GET /{}", "a".repeat(9000)).as_bytes(), 414);
    refuse(
        "finished target",
        format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(9000)).as_bytes(),
        414,
    );
    refuse(
        "unfinished field",
        format!("GET / HTTP/1.1\r\nX: {}", "a".repeat(9000)).as_bytes(),
        431,
    );
    refuse(
        "many bytes in fields",
        &with(&format!("X: {}\r\nY: {}", "a".repeat(5000), "a".repeat(5000))),
        431,
    );
    let big = HeadLimits::new(1 << 20, 32);
    let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(70_000));
    assert_eq!(
        parse(long.as_bytes(), &big),
        Err(HeadError::TargetTooLong),
        "longer than any engine can hold"
    );
}

#[test]
fn one_field_more_than_allowed_is_431() {
    let fields = |count| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(count)).into_bytes();
    assert_eq!(status(&fields(31)), 200);
    assert_eq!(status(&fields(32)), 431);
}

#[test]
fn a_refused_head_still_shows_its_method_and_target() {
    assert_eq!(glimpse(b"\r\nGET /a HTTP/9.9\r\nX"), (&b"GET"[..], &b"/a"[..]));
    assert_eq!(glimpse(b"GET /unfinished"), (&b"GET"[..], &b"/unfinished"[..]));
    assert_eq!(glimpse(b""), (&b""[..], &b""[..]));
}

#[test]
fn a_parser_is_ready_for_the_next_head_after_a_reset() {
    let mut parser = Parser::default();
    let first = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n";
    assert_eq!(parser.advance(first, &LIMITS), Ok(true));
    assert_eq!(parser.parsed().framing(), Framing::Chunked);
    parser.reset();
    let second = b"GET /b HTTP/1.1\r\nHost: b\r\n\r\n";
    assert_eq!(parser.advance(second, &LIMITS), Ok(true));
    assert_eq!(*parser.parsed(), accept(second));
}
