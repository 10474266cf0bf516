//! The few fields that frame a response, and what they say together.

use http::{StatusCode, Version};

use super::error::ResponseError;
use super::parsed::{ResponseFraming, is_without_framing};
use crate::engine::h1::fields::{framing, list};

/// What the fields read so far have said about the message itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Known {
    length: Option<u64>,
    chunked: bool,
    close: bool,
    keep_alive: bool,
}

impl Known {
    /// Takes note of a field.
    pub(super) fn note(&mut self, name: &[u8], value: &[u8], status: StatusCode, version: Version) -> Result<(), ResponseError> {
        match name.len() {
            10 if name.eq_ignore_ascii_case(b"connection") => {
                for option in list::members(value) {
                    self.close |= option.eq_ignore_ascii_case(b"close");
                    self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
                }
                Ok(())
            }
            14 if name.eq_ignore_ascii_case(b"content-length") && !is_without_framing(status) => self.note_length(value),
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") && !is_without_framing(status) => self.note_coding(value, version),
            _ => Ok(()),
        }
    }

    fn note_length(&mut self, value: &[u8]) -> Result<(), ResponseError> {
        if self.chunked {
            return Err(ResponseError::Malformed("Content-Length beside Transfer-Encoding"));
        }
        if self.length.is_some() {
            return Err(ResponseError::Malformed("more than one Content-Length"));
        }
        self.length = Some(framing::parse_length(value)?);
        Ok(())
    }

    fn note_coding(&mut self, value: &[u8], version: Version) -> Result<(), ResponseError> {
        if version == Version::HTTP_10 {
            return Err(ResponseError::Malformed("Transfer-Encoding in HTTP/1.0"));
        }
        if self.length.is_some() {
            return Err(ResponseError::Malformed("Content-Length beside Transfer-Encoding"));
        }
        if self.chunked {
            return Err(ResponseError::Malformed("more than one Transfer-Encoding"));
        }
        framing::check_coding(value)?;
        self.chunked = true;
        Ok(())
    }

    /// What the fields announce, whether or not anything comes.
    pub(super) const fn announced(&self) -> ResponseFraming {
        match (self.chunked, self.length) {
            (true, _) => ResponseFraming::Chunked,
            (false, Some(length)) => ResponseFraming::Length(length),
            (false, None) => ResponseFraming::UntilClose,
        }
    }

    /// RFC 9112 §9.3: HTTP/1.1 stays open unless told otherwise, HTTP/1.0 only where it says so.
    pub(super) fn keep_alive(&self, version: Version) -> bool {
        !self.close && (version == Version::HTTP_11 || self.keep_alive)
    }
}
