//! The JSON format: one object a line (RFC 8259), in UTF-8, its keys always in the same order. What is absent or empty is left out.
//!
//! | key | what |
//! |---|---|
//! | `time` | when the request arrived: RFC 3339, UTC, milliseconds |
//! | `request_id` | `X-Request-ID` |
//! | `trace_id` | that of `traceparent` |
//! | `client`, `peer` | addresses; `peer` only where a trusted proxy is in between |
//! | `method`, `scheme`, `host`, `path`, `protocol` | the request; `path` is the target as received, with its query |
//! | `status`, `bytes_sent`, `bytes_received` | the response's status, and the bytes of both bodies |
//! | `duration_ms`, `upstream_ms` | milliseconds with three decimals: the whole request; the last server's answer |
//! | `route`, `upstream`, `server`, `tries` | where it went, and how many servers were asked |
//! | `cache` | hit, miss, stale, revalidated or bypass |
//! | `referer`, `user_agent`, `error` | |
//!
//! **Bytes that are no text.** JSON can hold only Unicode, and a client may send anything. A byte that is not part of valid UTF-8 is
//! shown as the four characters `\xNN` (two hexadecimal digits in upper case). So that these can be told from the same four characters
//! sent by a client, a backslash that stands before an `x` is shown as `\x5C`. Every other character stands for itself. To get the
//! bytes back: decode the JSON string, then replace each `\xNN` in it by that byte. (In the raw line, JSON doubles the backslash:
//! `"\\xFF"`.)

use std::time::Duration;

use super::{Clock, display, hex_escape, number, protocol};
use crate::observe::record::Record;

/// Appends the record's object.
pub(super) fn write(record: &Record, clock: &mut Clock, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"time\":\"");
    clock.iso(record.time, out);
    out.push(b'"');
    string("request_id", record.text.request_id(), out);
    if let Some(trace) = record.trace {
        string("trace_id", &trace.text(), out);
    }
    quoted("client", record.client, out);
    if record.peer != record.client {
        quoted("peer", record.peer, out);
    }
    string("method", record.method.as_ref().map_or("", http::Method::as_str).as_bytes(), out);
    string("scheme", record.scheme.as_bytes(), out);
    string("host", record.text.host(), out);
    string("path", record.text.target(), out);
    string("protocol", record.version.map_or("", protocol).as_bytes(), out);
    integer("status", record.status.as_u16().into(), out);
    integer("bytes_sent", record.bytes_sent, out);
    integer("bytes_received", record.bytes_received, out);
    millis("duration_ms", record.duration, out);
    string("route", record.route.as_deref().unwrap_or("").as_bytes(), out);
    string("upstream", record.upstream.as_deref().unwrap_or("").as_bytes(), out);
    string("server", record.server.as_deref().unwrap_or("").as_bytes(), out);
    if record.tries > 0 {
        integer("tries", record.tries.into(), out);
    }
    if let Some(duration) = record.upstream_duration {
        millis("upstream_ms", duration, out);
    }
    string("cache", record.cache.unwrap_or("").as_bytes(), out);
    string("referer", record.text.referer(), out);
    string("user_agent", record.text.user_agent(), out);
    string("error", record.error.unwrap_or("").as_bytes(), out);
    out.push(b'}');
}

fn key(name: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

fn string(name: &str, value: &[u8], out: &mut Vec<u8>) {
    if !value.is_empty() {
        key(name, out);
        out.push(b'"');
        escape(value, out);
        out.push(b'"');
    }
}

/// A value whose text needs no escaping.
fn quoted(name: &str, value: impl std::fmt::Display, out: &mut Vec<u8>) {
    key(name, out);
    out.push(b'"');
    display(value, out);
    out.push(b'"');
}

fn integer(name: &str, value: u64, out: &mut Vec<u8>) {
    key(name, out);
    number(value, out);
}

/// Milliseconds with three decimals, cut and not rounded.
fn millis(name: &str, value: Duration, out: &mut Vec<u8>) {
    key(name, out);
    let micros = value.as_micros();
    number(micros / 1000, out);
    let [hundreds, tens, ones] = [micros / 100 % 10, micros / 10 % 10, micros % 10].map(|digit| b'0' + digit as u8);
    out.extend_from_slice(&[b'.', hundreds, tens, ones]);
}

/// Appends any bytes as the inside of a JSON string, by the rule of the module's documentation.
fn escape(value: &[u8], out: &mut Vec<u8>) {
    // Nearly every value is plain ASCII from its first to its last byte.
    let plain = value
        .iter()
        .position(|&byte| !matches!(byte, b' '..=b'~') || matches!(byte, b'"' | b'\\'))
        .unwrap_or(value.len());
    let (plain, rest) = value.split_at(plain);
    out.extend_from_slice(plain);
    for chunk in rest.utf8_chunks() {
        let valid = chunk.valid();
        for (at, character) in valid.char_indices() {
            if character == '\\' && valid[at + 1..].starts_with('x') {
                out.extend_from_slice(br"\\x5C");
            } else {
                escape_char(character, out);
            }
        }
        for &byte in chunk.invalid() {
            out.push(b'\\'); // JSON's own escape of the backslash that follows
            hex_escape(byte, out);
        }
    }
}

/// Beside what RFC 8259 §7 asks for, everything is escaped that a terminal may act on or a reader may take for the end of a line.
fn escape_char(character: char, out: &mut Vec<u8>) {
    match character {
        '"' => out.extend_from_slice(br#"\""#),
        '\\' => out.extend_from_slice(br"\\"),
        '\n' => out.extend_from_slice(br"\n"),
        '\r' => out.extend_from_slice(br"\r"),
        '\t' => out.extend_from_slice(br"\t"),
        '\u{2028}' | '\u{2029}' => unicode_escape(character, out),
        _ if character.is_control() => unicode_escape(character, out),
        _ => out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
    }
}

fn unicode_escape(character: char, out: &mut Vec<u8>) {
    display(format_args!("\\u{:04x}", u32::from(character)), out);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::super::unescape;
    use super::*;
    use crate::observe::record::tests::{example, text};

    fn line(record: &Record) -> String {
        let mut out = Vec::new();
        write(record, &mut Clock::default(), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_full_line_has_every_key_in_its_order() {
        assert_eq!(
            line(&Record {
                error: Some("reset by the server"),
                ..example()
            }),
            concat!(
                r#"{"time":"2023-11-14T22:13:20.042Z","request_id":"01890a5d","trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","#,
                r#""client":"192.0.2.7","peer":"127.0.0.1","method":"GET","#,
                r#""scheme":"http","host":"api.example.com:8080","path":"/users?page=1","protocol":"HTTP/1.1","status":200,"#,
                r#""bytes_sent":512,"bytes_received":0,"duration_ms":1.234,"route":"users","upstream":"users","#,
                r#""server":"127.0.0.1:3001","tries":1,"upstream_ms":0.987,"cache":"miss","referer":"https://example.com/","#,
                r#""user_agent":"curl/8.5.0","error":"reset by the server"}"#
            )
        );
    }

    #[test]
    fn what_is_absent_is_left_out() {
        let record = Record {
            text: text([b"id", b"", b"", b"", b""]),
            trace: None,
            peer: example().client,
            method: None,
            version: None,
            status: http::StatusCode::BAD_REQUEST,
            route: None,
            upstream: None,
            server: None,
            tries: 0,
            upstream_duration: None,
            cache: None,
            ..example()
        };
        assert_eq!(
            line(&record),
            concat!(
                r#"{"time":"2023-11-14T22:13:20.042Z","request_id":"id","client":"192.0.2.7","scheme":"http","status":400,"#,
                r#""bytes_sent":512,"bytes_received":0,"duration_ms":1.234}"#
            )
        );
    }

    #[test]
    fn odd_characters_are_shown_by_the_rule() {
        let agent = "q\" b\\ bx\\x41 \u{2028}\t\u{1}\u{7f}\u{85}é".as_bytes();
        let raw = line(&Record {
            text: text([b"", b"", b"", b"", &[agent, b"\xff\\"].concat()]),
            ..example()
        });
        assert!(raw.contains(r#""q\" b\\ bx\\x5Cx41 \u2028\t\u0001\u007f\u0085é\\xFF\\""#), "{raw}");
    }

    proptest! {
        #[test]
        fn any_bytes_make_one_line_of_json_and_come_back(
            parts in proptest::array::uniform5(proptest::collection::vec(any::<u8>(), 0..40)),
            tricky in "[\\\\x4AF\"\u{2028}\u{ff}é\n]{0,12}",
            cut in any::<proptest::sample::Index>(),
        ) {
            // Half of a string of dangerous characters, cut anywhere, goes before and half after the random bytes.
            let (left, right) = tricky.as_bytes().split_at(cut.index(tricky.len() + 1));
            let parts = parts.map(|part| [left, &part, right].concat());
            let raw = line(&Record { text: text(parts.each_ref().map(Vec::as_slice)), ..example() });
            let ends_a_line = |c: char| c.is_control() || c == '\u{2028}';
            prop_assert!(!raw.contains(ends_a_line));
            let object: Value = serde_json::from_str(&raw).unwrap();
            for (key, sent) in ["request_id", "host", "path", "referer", "user_agent"].into_iter().zip(&parts) {
                let shown = object.get(key).map_or("", |value| value.as_str().unwrap());
                prop_assert_eq!(&unescape(shown.as_bytes()), sent);
            }
        }

        #[test]
        fn durations_are_exact_to_the_microsecond(micros in 0..u64::from(u32::MAX)) {
            let raw = line(&Record { duration: Duration::from_micros(micros), ..example() });
            let shown = serde_json::from_str::<Value>(&raw).unwrap()["duration_ms"].as_f64().unwrap();
            prop_assert_eq!((shown * 1000.0).round() as u64, micros);
        }
    }
}
