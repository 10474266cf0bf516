//! A parsed response head beside its bytes, as the rest of the program sees it.

use http::{HeaderName, StatusCode};

use super::parsed::ResponseParsed;
use crate::engine::h1::fields::Lines;
use crate::exchange::head::{Fields, ResponseHead};

/// A response head: what [`super::ResponseParser`] found, and the buffer that it found it in.
#[derive(Debug, Clone, Copy)]
pub struct ResponseView<'a> {
    buf: &'a [u8],
    parsed: &'a ResponseParsed,
}

impl<'a> ResponseView<'a> {
    /// `buf` is the buffer that was parsed, from its start.
    #[must_use]
    pub const fn new(buf: &'a [u8], parsed: &'a ResponseParsed) -> Self {
        Self { buf, parsed }
    }

    /// What was found.
    #[must_use]
    pub const fn parsed(&self) -> &'a ResponseParsed {
        self.parsed
    }

    /// The reason phrase, often empty. It means nothing (RFC 9112 §4).
    #[must_use]
    pub fn reason(&self) -> &'a [u8] {
        self.parsed.reason.of(self.buf)
    }

    /// The fields with their lines, for whoever copies them. What stands before the first one is the status line.
    #[must_use]
    pub fn lines(&self) -> Lines<'a> {
        Lines::new(self.buf, &self.parsed.fields, self.parsed.end)
    }
}

impl Fields for ResponseView<'_> {
    fn get(&self, name: &HeaderName) -> Option<&[u8]> {
        self.lines().values(name).next()
    }

    fn all<'b>(&'b self, name: &'b HeaderName) -> impl Iterator<Item = &'b [u8]> {
        self.lines().values(name)
    }

    fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.lines().iter().map(|(_, name, value)| (name, value))
    }
}

impl ResponseHead for ResponseView<'_> {
    fn status(&self) -> StatusCode {
        self.parsed.status
    }
}
