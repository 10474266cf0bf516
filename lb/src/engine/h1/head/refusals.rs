//! Heads that two servers could read differently, by the names of the tricks.

use super::tests::{refuse, with};

#[test]
fn smuggling_inputs_are_refused() {
    let get = |rest: &str| format!("GET / HTTP/1.1\r\nHost: a\r\n{rest}").into_bytes();
    for (name, head, expected) in [
        ("CL.TE", with("Content-Length: 6\r\nTransfer-Encoding: chunked"), 400),
        ("TE.CL", with("Transfer-Encoding: chunked\r\nContent-Length: 6"), 400),
        (
            "CL.TE with equal zero",
            with("Content-Length: 0\r\nTransfer-Encoding: chunked"),
            400,
        ),
        (
            "TE.TE two lines",
            with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
            400,
        ),
        (
            "TE.TE identity after chunked",
            with("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity"),
            400,
        ),
        ("TE list", with("Transfer-Encoding: chunked, chunked"), 400),
        ("TE unknown", with("Transfer-Encoding: gzip"), 501),
        ("TE unknown before chunked", with("Transfer-Encoding: gzip, chunked"), 501),
        ("TE xchunked", with("Transfer-Encoding: xchunked"), 501),
        ("TE vertical tab", with("Transfer-Encoding: \x0bchunked"), 400),
        ("TE form feed", with("Transfer-Encoding: chunked\x0c"), 400),
        ("TE quoted", with("Transfer-Encoding: \"chunked\""), 400),
        ("TE empty", with("Transfer-Encoding:"), 400),
        ("TE space before colon", with("Transfer-Encoding : chunked"), 400),
        ("TE tab before colon", with("Transfer-Encoding\t: chunked"), 400),
        ("TE folded", with("Transfer-Encoding:\r\n chunked"), 400),
        ("TE underscore", with("Transfer_Encoding: chunked"), 400),
        ("TE after a bare CR", with("X: a\rTransfer-Encoding: chunked"), 400),
        ("TE after a bare LF", with("X: a\nTransfer-Encoding: chunked"), 400),
        ("TE after NUL", with("X: a\0Transfer-Encoding: chunked"), 400),
        (
            "TE in HTTP/1.0",
            b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec(),
            400,
        ),
        ("CL.CL differing", with("Content-Length: 1\r\nContent-Length: 2"), 400),
        ("CL.CL equal", with("Content-Length: 1\r\nContent-Length: 1"), 400),
        ("CL list", with("Content-Length: 1, 1"), 400),
        ("CL plus", with("Content-Length: +1"), 400),
        ("CL minus", with("Content-Length: -1"), 400),
        ("CL empty", with("Content-Length:"), 400),
        ("CL hexadecimal", with("Content-Length: 0x1"), 400),
        ("CL with a space inside", with("Content-Length: 1 0"), 400),
        ("CL over 64 bits", with("Content-Length: 18446744073709551617"), 400),
        ("CL over 63 bits", with("Content-Length: 9223372036854775808"), 400),
        ("CL underscore", with("Content_Length: 1"), 400),
        ("CL space before colon", with("Content-Length : 1"), 400),
        ("folded line", with("X: a\r\n b"), 400),
        ("folded with a tab", with("X: a\r\n\tb"), 400),
        ("space before the first field", b"GET / HTTP/1.1\r\n Host: a\r\n\r\n".to_vec(), 400),
        ("bare LF after the request line", b"GET / HTTP/1.1\nHost: a\r\n\r\n".to_vec(), 400),
        ("bare LF after a field", get("X: a\n\r\n"), 400),
        ("bare LF as the empty line", get("\n"), 400),
        ("CR CR LF", get("\r\r\n"), 400),
        ("bare CR as the empty line", get("\rX: a\r\n\r\n"), 400),
        ("bare CR in the request line", b"GET /\r HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(), 400),
        ("NUL in a name", get("X\0Y: a\r\n\r\n"), 400),
        ("DEL in a value", get("X: \x7f\r\n\r\n"), 400),
        ("no colon", get("X\r\n\r\n"), 400),
        ("no name", get(": a\r\n\r\n"), 400),
        (
            "high byte in a name",
            b"GET / HTTP/1.1\r\nHost: a\r\n\xd0\xa5: a\r\n\r\n".to_vec(),
            400,
        ),
        ("two Hosts", get("Host: b\r\n\r\n"), 400),
        ("two equal Hosts", get("host: a\r\n\r\n"), 400),
        (
            "Host with a space before colon",
            b"GET / HTTP/1.1\r\nHost : a\r\n\r\n".to_vec(),
            400,
        ),
    ] {
        refuse(name, &head, expected);
    }
}

#[test]
fn request_lines_are_refused_unless_they_are_exact() {
    for (name, line, expected) in [
        ("no version", &b"GET /"[..], 400),
        ("HTTP/0.9", b"GET / HTTP/0.9", 505),
        ("HTTP/1.2", b"GET / HTTP/1.2", 505),
        ("HTTP/2.0", b"GET / HTTP/2.0", 505),
        ("HTTP/3.0", b"GET / HTTP/3.0", 505),
        ("HTTP/2 without minor", b"GET / HTTP/2", 400),
        ("HTTP/1.10", b"GET / HTTP/1.10", 400),
        ("HTTP/01.1", b"GET / HTTP/01.1", 400),
        ("lower case version", b"GET / http/1.1", 400),
        ("ICY", b"GET / ICY/1.1", 400),
        ("space after the version", b"GET / HTTP/1.1 ", 400),
        ("two spaces before the target", b"GET  / HTTP/1.1", 400),
        ("two spaces after the target", b"GET /  HTTP/1.1", 400),
        ("tab for a space", b"GET\t/ HTTP/1.1", 400),
        ("space in the target", b"GET /a b HTTP/1.1", 400),
        ("no target", b"GET HTTP/1.1", 400),
        ("empty target", b"GET  HTTP/1.1", 400),
        ("no method", b" / HTTP/1.1", 400),
        ("comma in the method", b"GE,T / HTTP/1.1", 400),
        (
            "very long method",
            b"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA / HTTP/1.1",
            501,
        ),
        ("CONNECT", b"CONNECT a:443 HTTP/1.1", 501),
        ("CONNECT in origin form", b"CONNECT / HTTP/1.1", 501),
        ("TRACE", b"TRACE / HTTP/1.1", 501),
        ("control character in the target", b"GET /\x01 HTTP/1.1", 400),
        ("DEL in the target", b"GET /\x7f HTTP/1.1", 400),
        ("tab in the target", b"GET /\t HTTP/1.1", 400),
        ("high byte in the target", b"GET /\xc3\xa9 HTTP/1.1", 400),
        ("fragment", b"GET /a#b HTTP/1.1", 400),
        ("quote in the target", b"GET /\" HTTP/1.1", 400),
        ("angle bracket in the target", b"GET /<a> HTTP/1.1", 400),
        ("backtick in the path", b"GET /` HTTP/1.1", 400),
        ("relative path", b"GET a HTTP/1.1", 400),
        ("query only", b"GET ?a HTTP/1.1", 400),
        ("backslash for a slash", b"GET \\a HTTP/1.1", 400),
        ("asterisk with GET", b"GET * HTTP/1.1", 400),
        ("asterisk with more", b"OPTIONS *a HTTP/1.1", 400),
        ("authority form", b"GET a:80 HTTP/1.1", 400),
        ("other scheme", b"GET ftp://a/ HTTP/1.1", 400),
        ("scheme without slashes", b"GET http:a HTTP/1.1", 400),
        ("scheme with one slash", b"GET http:/a HTTP/1.1", 400),
        ("absolute without host", b"GET http:///a HTTP/1.1", 400),
        ("absolute with port only", b"GET http://:80/ HTTP/1.1", 400),
        ("absolute with user information", b"GET http://a@a/ HTTP/1.1", 400),
        ("absolute with a backslash", b"GET http://a\\b/ HTTP/1.1", 400),
        ("absolute with another host", b"GET http://b/ HTTP/1.1", 400),
        ("absolute with another port", b"GET http://a:81/ HTTP/1.1", 400),
    ] {
        refuse(name, &[line, b"\r\nHost: a\r\n\r\n"].concat(), expected);
    }
}

#[test]
fn host_is_one_and_valid_and_only_http_1_0_goes_without() {
    for (head, expected) in [
        (&b"GET / HTTP/1.1\r\n\r\n"[..], 400),
        (b"GET http://a/ HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost:\r\n\r\n", 400),
        (b"OPTIONS * HTTP/1.1\r\nHost:\r\n\r\n", 400),
        (b"GET http://a/ HTTP/1.1\r\nHost:\r\n\r\n", 400),
        (b"GET http://a/ HTTP/1.0\r\nHost:\r\n\r\n", 400),
        (b"GET http://a/ HTTP/1.0\r\nHost: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a:port\r\n\r\n", 400),
        (b"GET / HTTP/1.0\r\nHost: a/b\r\n\r\n", 400),
        (b"GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/1.0\r\n\r\n", 200),
        (b"GET / HTTP/1.0\r\nHost:\r\n\r\n", 200),
        (b"GET http://a/ HTTP/1.0\r\n\r\n", 200),
        (b"GET http://a/ HTTP/1.1\r\nHost: A\r\n\r\n", 200),
        (b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 200),
    ] {
        refuse("host", head, expected);
    }
}
