//! How an access log line looks. Whatever bytes a client sent, a record becomes exactly one line.

mod clock;
mod combined;
mod json;

use lb_config::model::LogFormat;

use super::record::Record;
pub(super) use clock::Clock;

/// Appends the record's line, with its line feed.
pub(super) fn write(format: LogFormat, record: &Record, clock: &mut Clock, out: &mut Vec<u8>) {
    match format {
        LogFormat::Json => json::write(record, clock, out),
        LogFormat::Combined => combined::write(record, clock, out),
    }
    out.push(b'\n');
}

/// Appends `\xNN`, in upper case as nginx writes it.
fn hex_escape(byte: u8, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.extend_from_slice(&[b'\\', b'x', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
}

/// Appends a number in decimal.
fn number(value: impl itoa::Integer, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Appends an address or another short thing by its `Display`.
fn display(value: impl std::fmt::Display, out: &mut Vec<u8>) {
    use std::io::Write as _;
    let _ = write!(out, "{value}"); // a Vec takes everything
}

/// The version as it stands in a request line.
fn protocol(version: http::Version) -> &'static str {
    match version {
        http::Version::HTTP_09 => "HTTP/0.9",
        http::Version::HTTP_10 => "HTTP/1.0",
        http::Version::HTTP_2 => "HTTP/2.0",
        http::Version::HTTP_3 => "HTTP/3.0",
        _ => "HTTP/1.1",
    }
}

/// Undoes [`hex_escape`] as the rules of both formats tell a reader to: every `\xNN` is that byte, all else stands for itself.
#[cfg(test)]
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some((&first, after)) = rest.split_first() {
        if let Some(hex) = rest.strip_prefix(b"\\x") {
            let digits = std::str::from_utf8(&hex[..2]).expect("two digits");
            bytes.push(u8::from_str_radix(digits, 16).expect("hexadecimal"));
            rest = &hex[2..];
        } else {
            bytes.push(first);
            rest = after;
        }
    }
    bytes
}
