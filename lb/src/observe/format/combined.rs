//! The combined format of Apache and nginx, which most log readers know:
//!
//! ```text
//! client - - [day/month/year:hour:minute:second +0000] "METHOD target PROTOCOL" status bytes_sent "referer" "user agent"
//! ```
//!
//! Inside quotes, a quote, a backslash, and every byte that is not printable ASCII is shown as `\xNN`, as nginx does: to get the bytes
//! back, replace each `\xNN` by that byte. What is absent is `-`; there is no user name, as `lb` knows none.

use super::{Clock, display, hex_escape, number, protocol};
use crate::observe::record::Record;

/// Appends the record's line, without a line feed.
pub(super) fn write(record: &Record, clock: &mut Clock, out: &mut Vec<u8>) {
    display(record.client, out);
    out.extend_from_slice(b" - - [");
    clock.combined(record.time, out);
    out.extend_from_slice(b"] \"");
    request_line(record, out);
    out.extend_from_slice(b"\" ");
    number(record.status.as_u16(), out);
    out.push(b' ');
    number(record.bytes_sent, out);
    for value in [record.text.referer(), record.text.user_agent()] {
        out.extend_from_slice(b" \"");
        if value.is_empty() {
            out.push(b'-');
        }
        escape(value, out);
        out.push(b'"');
    }
}

fn request_line(record: &Record, out: &mut Vec<u8>) {
    let Some(method) = &record.method else {
        out.push(b'-');
        return;
    };
    escape(method.as_str().as_bytes(), out);
    out.push(b' ');
    escape(record.text.target(), out);
    if let Some(version) = record.version {
        out.push(b' ');
        out.extend_from_slice(protocol(version).as_bytes());
    }
}

fn escape(value: &[u8], out: &mut Vec<u8>) {
    for &byte in value {
        match byte {
            b'"' | b'\\' => hex_escape(byte, out),
            b' '..=b'~' => out.push(byte),
            _ => hex_escape(byte, out),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::unescape;
    use super::*;
    use crate::observe::record::tests::{example, text};

    fn line(record: &Record) -> String {
        let mut out = Vec::new();
        write(record, &mut Clock::default(), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_line_is_as_nginx_writes_it() {
        assert_eq!(
            line(&example()),
            r#"192.0.2.7 - - [14/Nov/2023:22:13:20 +0000] "GET /users?page=1 HTTP/1.1" 200 512 "https://example.com/" "curl/8.5.0""#
        );
    }

    #[test]
    fn a_request_that_could_not_be_read_has_a_line_too() {
        let record = Record {
            text: text([b"id", b"", b"", b"", b""]),
            method: None,
            version: None,
            status: http::StatusCode::BAD_REQUEST,
            ..example()
        };
        assert_eq!(line(&record), r#"192.0.2.7 - - [14/Nov/2023:22:13:20 +0000] "-" 400 512 "-" "-""#);
    }

    proptest! {
        #[test]
        fn any_bytes_stay_inside_their_quotes_and_come_back(
            parts in proptest::array::uniform5(proptest::collection::vec(any::<u8>(), 1..40)),
        ) {
            let raw = line(&Record { text: text(parts.each_ref().map(Vec::as_slice)), ..example() });
            prop_assert!(raw.bytes().all(|byte| matches!(byte, b' '..=b'~')));
            let quoted: Vec<&str> = raw.split('"').collect();
            let [_, request, _, referer, _, user_agent, ""] = quoted[..] else {
                return Err(TestCaseError::fail(format!("not six quotes: {raw}")));
            };
            let target = request.strip_prefix("GET ").unwrap().strip_suffix(" HTTP/1.1").unwrap();
            prop_assert_eq!(&unescape(target.as_bytes()), &parts[2]);
            prop_assert_eq!(&unescape(referer.as_bytes()), &parts[3]);
            prop_assert_eq!(&unescape(user_agent.as_bytes()), &parts[4]);
        }
    }
}
