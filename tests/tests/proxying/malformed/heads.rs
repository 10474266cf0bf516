//! Request heads with one thing wrong each, by what RFC 9112 says of them.

/// What is wrong, the bytes, and the status that is due.
pub(super) type Case = (&'static str, Vec<u8>, u16);

/// A POST with these field lines.
fn with(fields: impl AsRef<[u8]>) -> Vec<u8> {
    [b"POST / HTTP/1.1\r\nHost: a\r\n", fields.as_ref(), b"\r\n\r\n"].concat()
}

/// A GET with this request line.
fn line(line: impl AsRef<[u8]>) -> Vec<u8> {
    [line.as_ref(), b"\r\nHost: a\r\n\r\n"].concat()
}

/// A GET with this `Host`.
fn host(value: &str) -> Vec<u8> {
    format!("GET / HTTP/1.1\r\nHost: {value}\r\n\r\n").into_bytes()
}

/// How long the body is: one `Content-Length` in digits, or `chunked` once, and never both (§6).
pub(super) fn framing() -> Vec<Case> {
    let both = "Content-Length: 5\r\nTransfer-Encoding: chunked";
    vec![
        ("a length and a coding", with(both), 400),
        (
            "a coding and a length",
            with("Transfer-Encoding: chunked\r\nContent-Length: 5"),
            400,
        ),
        (
            "a length of 0 and a coding",
            with("Content-Length: 0\r\nTransfer-Encoding: chunked"),
            400,
        ),
        ("two lengths that differ", with("Content-Length: 5\r\nContent-Length: 6"), 400),
        ("the same length twice", with("Content-Length: 5\r\ncontent-length: 5"), 400),
        ("lengths as a list", with("Content-Length: 5, 5"), 400),
        ("lengths in one line", with("Content-Length: 5 5"), 400),
        ("a signed length", with("Content-Length: +5"), 400),
        ("a negative length", with("Content-Length: -5"), 400),
        ("a hexadecimal length", with("Content-Length: 0x5"), 400),
        ("a fractional length", with("Content-Length: 5.0"), 400),
        ("a length in powers of ten", with("Content-Length: 1e1"), 400),
        ("a length in Arabic digits", with("Content-Length: \u{665}"), 400),
        ("an empty length", with("Content-Length:"), 400),
        ("a length over 63 bits", with("Content-Length: 9223372036854775808"), 400),
        ("a length over 64 bits", with("Content-Length: 18446744073709551621"), 400),
        ("a length beyond all numbers", with("Content-Length: 99999999999999999999999"), 400),
        ("a length by an underscore", with("Content_Length: 5"), 400),
        ("an unknown coding", with("Transfer-Encoding: frobnicate"), 501),
        ("gzip alone", with("Transfer-Encoding: gzip"), 501),
        ("gzip before chunked", with("Transfer-Encoding: gzip, chunked"), 501),
        ("gzip after chunked", with("Transfer-Encoding: chunked, gzip"), 501),
        ("identity", with("Transfer-Encoding: identity"), 501),
        ("almost chunked", with("Transfer-Encoding: xchunked"), 501),
        ("chunked twice in a list", with("Transfer-Encoding: chunked, chunked"), 400),
        (
            "chunked twice in two lines",
            with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
            400,
        ),
        (
            "chunked and identity in two lines",
            with("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity"),
            400,
        ),
        ("chunked with a parameter", with("Transfer-Encoding: chunked;q=1"), 400),
        ("chunked in quotes", with("Transfer-Encoding: \"chunked\""), 400),
        ("chunked after a vertical tab", with("Transfer-Encoding: \x0bchunked"), 400),
        ("an empty coding", with("Transfer-Encoding:"), 400),
        ("a coding by an underscore", with("Transfer_Encoding: chunked"), 400),
        (
            "a coding in HTTP/1.0",
            b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec(),
            400,
        ),
    ]
}

/// Lines end in CRLF, fields stand at their beginning, and both are made of certain bytes (§2.2, §5).
pub(super) fn lines() -> Vec<Case> {
    vec![
        ("bare LF as line ends", b"GET / HTTP/1.1\nHost: a\n\n".to_vec(), 400),
        ("bare LF after the request line", b"GET / HTTP/1.1\nHost: a\r\n\r\n".to_vec(), 400),
        ("bare LF after a field", with("X-A: 1\nX-B: 2"), 400),
        ("bare LF as the empty line", b"GET / HTTP/1.1\r\nHost: a\r\n\n".to_vec(), 400),
        ("a bare CR in a value", with("X-A: 1\r2"), 400),
        ("a bare CR as a line end", with("X-A: 1\rTransfer-Encoding: chunked"), 400),
        (
            "a bare CR in the request line",
            b"GET /\r HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
            400,
        ),
        ("CR CR LF", b"GET / HTTP/1.1\r\nHost: a\r\n\r\r\n".to_vec(), 400),
        ("a folded line", with("X-A: 1\r\n  2"), 400),
        ("a line folded by a tab", with("X-A: 1\r\n\t2"), 400),
        ("a folded Host", b"GET / HTTP/1.1\r\nHost:\r\n a\r\n\r\n".to_vec(), 400),
        (
            "white space before the first field",
            b"GET / HTTP/1.1\r\n Host: a\r\n\r\n".to_vec(),
            400,
        ),
        (
            "a tab before the first field",
            b"GET / HTTP/1.1\r\n\tX: 1\r\nHost: a\r\n\r\n".to_vec(),
            400,
        ),
        ("white space before the colon", with("X-A : 1"), 400),
        ("a tab before the colon", with("X-A\t: 1"), 400),
        ("white space before the colon of a length", with("Content-Length : 5"), 400),
        (
            "white space before the colon of Host",
            b"GET / HTTP/1.1\r\nHost : a\r\n\r\n".to_vec(),
            400,
        ),
        ("a field without a name", with(": 1"), 400),
        ("a field without a colon", with("nonsense"), 400),
        ("a space in a name", with("X A: 1"), 400),
        ("a NUL in a name", with("X\0A: 1"), 400),
        ("a control character in a name", with("X\x01A: 1"), 400),
        ("DEL in a name", with("X\x7fA: 1"), 400),
        ("a delimiter in a name", with("X(A): 1"), 400),
        ("a byte over 127 in a name", with(b"X\xe9: 1"), 400),
        ("a NUL in a value", with("X-A: 1\x002"), 400),
        ("a control character in a value", with("X-A: 1\x012"), 400),
        ("a vertical tab in a value", with("X-A: 1\x0b2"), 400),
        ("DEL in a value", with("X-A: 1\x7f2"), 400),
        ("a value that ends in a control character", with("X-A: 1\x1b"), 400),
    ]
}

/// Method, target and version, with one space between them (§3).
pub(super) fn request_lines() -> Vec<Case> {
    vec![
        ("a method that is no token", line("G(T / HTTP/1.1"), 400),
        ("a comma in the method", line("GE,T / HTTP/1.1"), 400),
        ("no method", line(" / HTTP/1.1"), 400),
        ("CONNECT", b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n".to_vec(), 501),
        ("CONNECT for a path", line("CONNECT / HTTP/1.1"), 501),
        ("TRACE", line("TRACE / HTTP/1.1"), 501),
        ("no target", line("GET HTTP/1.1"), 400),
        ("an empty target", line("GET  HTTP/1.1"), 400),
        ("a target that is no path", line("GET nonsense HTTP/1.1"), 400),
        ("a target that begins with its query", line("GET ?a HTTP/1.1"), 400),
        ("a target by a backslash", line("GET \\a HTTP/1.1"), 400),
        ("a space in the target", line("GET /a b HTTP/1.1"), 400),
        ("a tab in the target", line("GET /a\tb HTTP/1.1"), 400),
        ("a NUL in the target", line("GET /a\0b HTTP/1.1"), 400),
        ("a control character in the target", line("GET /a\x1fb HTTP/1.1"), 400),
        ("DEL in the target", line("GET /a\x7fb HTTP/1.1"), 400),
        ("a fragment", line("GET /a#b HTTP/1.1"), 400),
        ("the asterisk with GET", line("GET * HTTP/1.1"), 400),
        ("the authority form with GET", line("GET a:80 HTTP/1.1"), 400),
        ("another scheme", line("GET ftp://a/ HTTP/1.1"), 400),
        ("an absolute form without a host", line("GET http:///a HTTP/1.1"), 400),
        ("an absolute form with a user", line("GET http://u@a/ HTTP/1.1"), 400),
        ("an absolute form with another host", line("GET http://b/ HTTP/1.1"), 400),
        ("an absolute form with another port", line("GET http://a:81/ HTTP/1.1"), 400),
        ("two spaces before the target", line("GET  / HTTP/1.1"), 400),
        ("two spaces after the target", line("GET /  HTTP/1.1"), 400),
        ("a tab for a space", line("GET\t/ HTTP/1.1"), 400),
        ("a space after the version", line("GET / HTTP/1.1 "), 400),
        ("no version", b"GET /\r\n\r\n".to_vec(), 400),
        ("half a version", line("GET / HTTP/1"), 400),
        ("a version with a zero before", line("GET / HTTP/01.1"), 400),
        ("a version in lower case", line("GET / http/1.1"), 400),
        ("another protocol", line("GET / ICY/1.1"), 400),
        ("no HTTP at all", b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n".to_vec(), 400),
        ("HTTP/0.9", line("GET / HTTP/0.9"), 505),
        ("HTTP/1.2", line("GET / HTTP/1.2"), 505),
        ("HTTP/2.0", line("GET / HTTP/2.0"), 505),
        ("HTTP/3.0", line("GET / HTTP/3.0"), 505),
        ("a version to come", line("GET / HTTP/9.9"), 505),
    ]
}

/// One valid `Host` (§3.2).
pub(super) fn hosts() -> Vec<Case> {
    vec![
        ("no Host", b"GET / HTTP/1.1\r\n\r\n".to_vec(), 400),
        ("no Host beside an absolute form", b"GET http://a/ HTTP/1.1\r\n\r\n".to_vec(), 400),
        ("two Hosts", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n".to_vec(), 400),
        ("the same Host twice", b"GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n".to_vec(), 400),
        (
            "two Hosts in HTTP/1.0",
            b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n".to_vec(),
            400,
        ),
        ("an empty Host", host(""), 400),
        ("a Host with a space", host("a b"), 400),
        ("Hosts as a list", host("a, b"), 400),
        ("a Host with a user", host("u@a"), 400),
        ("a Host with a path", host("a/b"), 400),
        ("a Host with a scheme", host("http://a"), 400),
        ("a Host with a word for its port", host("a:http"), 400),
        ("a Host with a port over 65535", host("a:65536"), 400),
        ("a Host with two ports", host("a:1:2"), 400),
        ("a Host that is half an address", host("[::1"), 400),
        ("a Host in brackets that is no address", host("[a]"), 400),
        ("a Host with a byte over 127", b"GET / HTTP/1.1\r\nHost: \xe9\r\n\r\n".to_vec(), 400),
    ]
}
