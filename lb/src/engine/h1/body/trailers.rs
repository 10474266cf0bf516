//! Trailer fields after the last chunk (RFC 9112 §7.1.2).
//!
//! They are as strict as header fields, and some are forbidden: a field that frames, routes, authorizes or describes the message must be known
//! before its body, and a server that merges trailers into the header would take it from the wrong place (RFC 9110 §6.5.1).

use super::BodyError;
use crate::engine::h1::chars::{TOKEN, is_control};

/// Of all trailers together.
const MAX_BYTES: u32 = 64 << 10;
/// Longer names than any forbidden one need not be remembered.
const LONGEST: usize = 20;

/// In lower case, with `-` for `_`, since some readers know no difference.
const FORBIDDEN: [&[u8]; 38] = [
    b"age",
    b"authorization",
    b"cache-control",
    b"connection",
    b"content-encoding",
    b"content-length",
    b"content-range",
    b"content-type",
    b"cookie",
    b"date",
    b"expect",
    b"expires",
    b"forwarded",
    b"host",
    b"if-match",
    b"if-modified-since",
    b"if-none-match",
    b"if-range",
    b"if-unmodified-since",
    b"keep-alive",
    b"location",
    b"max-forwards",
    b"pragma",
    b"proxy-authenticate",
    b"proxy-authorization",
    b"proxy-connection",
    b"range",
    b"retry-after",
    b"set-cookie",
    b"te",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
    b"vary",
    b"via",
    b"www-authenticate",
    b"x-forwarded-for",
    b"x-real-ip",
];

/// Where in the trailers the next byte stands.
#[derive(Debug, Default)]
pub(super) struct Trailers {
    at: At,
    bytes: u32,
    name: [u8; LONGEST],
    name_len: usize,
}

#[derive(Debug, Default, Clone, Copy)]
enum At {
    #[default]
    LineStart,
    Name,
    Value,
    LineFeed,
    LastLineFeed,
}

impl Trailers {
    /// How many of these bytes belong to the trailers, and whether they are all there.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<(usize, bool), BodyError> {
        for (at, &byte) in bytes.iter().enumerate() {
            if self.step(byte)? {
                return Ok((at + 1, true));
            }
        }
        Ok((bytes.len(), false))
    }

    /// Takes a byte; `true` when it was the last of the message.
    fn step(&mut self, byte: u8) -> Result<bool, BodyError> {
        self.bytes += 1;
        if self.bytes > MAX_BYTES {
            return Err(BodyError("trailers too long"));
        }
        match (self.at, byte) {
            (At::LineStart, b'\r') => self.at = At::LastLineFeed,
            (At::LineStart, _) if TOKEN[usize::from(byte)] => {
                self.name_len = 0;
                self.push_name(byte);
                self.at = At::Name;
            }
            (At::Name, _) if TOKEN[usize::from(byte)] => self.push_name(byte),
            (At::Name, b':') => {
                self.check_name()?;
                self.at = At::Value;
            }
            (At::Value, b'\r') => self.at = At::LineFeed,
            (At::Value, _) if !is_control(byte) => {}
            (At::LineFeed, b'\n') => self.at = At::LineStart,
            (At::LastLineFeed, b'\n') => return Ok(true),
            (At::LineStart | At::Name, _) => return Err(BodyError("invalid byte in a trailer name")),
            (At::Value, _) => return Err(BodyError("control character in a trailer")),
            (At::LineFeed | At::LastLineFeed, _) => return Err(BodyError("carriage return without line feed in the trailers")),
        }
        Ok(false)
    }

    fn push_name(&mut self, byte: u8) {
        if let Some(place) = self.name.get_mut(self.name_len) {
            *place = if byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
        }
        self.name_len += 1;
    }

    fn check_name(&self) -> Result<(), BodyError> {
        match self.name.get(..self.name_len) {
            Some(name) if FORBIDDEN.contains(&name) => Err(BodyError("field that is forbidden in trailers")),
            _ => Ok(()),
        }
    }
}
