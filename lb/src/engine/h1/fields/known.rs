//! The few fields that frame or route a message, and what they say together.

use http::Version;

use super::{Field, framing, host, list};
use crate::engine::h1::error::HeadError;
use crate::engine::h1::parsed::Framing;
use crate::engine::h1::span::Span;

/// What the fields read so far have said about the message itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::engine::h1) struct Known {
    pub(in crate::engine::h1) host: Option<Span>,
    length: Option<u64>,
    chunked: bool,
    upgrade_field: bool,
    expect: bool,
    close: bool,
    keep_alive: bool,
    upgrade_option: bool,
}

impl Known {
    /// Takes note of a field. `authority` is that of an absolute-form target.
    pub(in crate::engine::h1) fn note(
        &mut self,
        name: &[u8],
        field: Field,
        buf: &[u8],
        version: Version,
        authority: Option<Span>,
    ) -> Result<(), HeadError> {
        let value = field.value.of(buf);
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => self.note_host(field.value, buf, version, authority),
            6 if name.eq_ignore_ascii_case(b"expect") => {
                self.expect |= list::members(value).any(|member| member.eq_ignore_ascii_case(b"100-continue"));
                Ok(())
            }
            7 if name.eq_ignore_ascii_case(b"upgrade") => {
                self.upgrade_field |= !value.is_empty();
                Ok(())
            }
            10 if name.eq_ignore_ascii_case(b"connection") => {
                self.note_connection(value);
                Ok(())
            }
            14 if is_either(name, b"content-length", b"content_length") => self.note_length(name, value),
            17 if is_either(name, b"transfer-encoding", b"transfer_encoding") => self.note_coding(name, value, version),
            _ => Ok(()),
        }
    }

    fn note_host(&mut self, value: Span, buf: &[u8], version: Version, authority: Option<Span>) -> Result<(), HeadError> {
        if self.host.is_some() {
            return Err(HeadError::Malformed("more than one Host"));
        }
        let host = value.of(buf);
        if host.is_empty() && (version != Version::HTTP_10 || authority.is_some()) {
            // Valid as a field, but an http or https URI never has an empty host (RFC 9110 §4.2.1).
            return Err(HeadError::Malformed("empty Host"));
        }
        if !host.is_empty() && !host::is_valid(host) {
            return Err(HeadError::Malformed("invalid Host"));
        }
        if authority.is_some_and(|authority| !authority.of(buf).eq_ignore_ascii_case(host)) {
            return Err(HeadError::Malformed("Host differs from the authority of the request target"));
        }
        self.host = Some(value);
        Ok(())
    }

    fn note_connection(&mut self, value: &[u8]) {
        for option in list::members(value) {
            self.close |= option.eq_ignore_ascii_case(b"close");
            self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
            self.upgrade_option |= option.eq_ignore_ascii_case(b"upgrade");
        }
    }

    fn note_length(&mut self, name: &[u8], value: &[u8]) -> Result<(), HeadError> {
        refuse_underscore(name)?;
        if self.chunked {
            return Err(HeadError::Malformed("Content-Length beside Transfer-Encoding"));
        }
        if self.length.is_some() {
            return Err(HeadError::Malformed("more than one Content-Length"));
        }
        self.length = Some(framing::parse_length(value)?);
        Ok(())
    }

    fn note_coding(&mut self, name: &[u8], value: &[u8], version: Version) -> Result<(), HeadError> {
        refuse_underscore(name)?;
        if version == Version::HTTP_10 {
            return Err(HeadError::Malformed("Transfer-Encoding in HTTP/1.0"));
        }
        if self.length.is_some() {
            return Err(HeadError::Malformed("Content-Length beside Transfer-Encoding"));
        }
        if self.chunked {
            return Err(HeadError::Malformed("more than one Transfer-Encoding"));
        }
        framing::check_coding(value)?;
        self.chunked = true;
        Ok(())
    }

    pub(in crate::engine::h1) fn framing(&self) -> Framing {
        match (self.chunked, self.length) {
            (true, _) => Framing::Chunked,
            (false, Some(length)) => Framing::Length(length),
            (false, None) => Framing::None,
        }
    }

    /// RFC 9112 §9.3: HTTP/1.1 stays open unless told otherwise, HTTP/1.0 only where asked to.
    pub(in crate::engine::h1) fn keep_alive(&self, version: Version) -> bool {
        !self.close && (version == Version::HTTP_11 || self.keep_alive)
    }

    /// RFC 9110 §7.8: the field is void without its connection option, and in HTTP/1.0.
    pub(in crate::engine::h1) fn upgrade(&self, version: Version) -> bool {
        self.upgrade_field && self.upgrade_option && version == Version::HTTP_11
    }

    /// RFC 9110 §10.1.1: ignored in HTTP/1.0, and nothing to wait for without a body.
    pub(in crate::engine::h1) fn expect_continue(&self, version: Version) -> bool {
        self.expect && version == Version::HTTP_11 && self.framing() != Framing::None
    }
}

fn is_either(name: &[u8], one: &[u8], other: &[u8]) -> bool {
    name.eq_ignore_ascii_case(one) || name.eq_ignore_ascii_case(other)
}

/// CGI and its heirs (WSGI, PHP) know no difference between `-` and `_`, so to them this frames the message, and to everybody else not.
fn refuse_underscore(name: &[u8]) -> Result<(), HeadError> {
    if name.contains(&b'_') {
        return Err(HeadError::Malformed("framing field spelt with an underscore"));
    }
    Ok(())
}
