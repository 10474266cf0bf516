//! A parsed head beside its bytes, as the rest of the program sees it.

use bytes::BytesMut;
use http::{HeaderName, Method, Version};

use super::fields::Lines;
use super::parsed::Parsed;
use super::target::Path;
use crate::exchange::head::{Fields, RequestHead};

/// A request head: what [`super::Parser`] found, and the buffer that it found it in.
#[derive(Debug, Clone, Copy)]
pub struct Head<'a> {
    buf: &'a [u8],
    parsed: &'a Parsed,
}

impl<'a> Head<'a> {
    /// `buf` is the buffer that was parsed, from its start.
    #[must_use]
    pub const fn new(buf: &'a [u8], parsed: &'a Parsed) -> Self {
        Self { buf, parsed }
    }

    /// What was found.
    #[must_use]
    pub const fn parsed(&self) -> &'a Parsed {
        self.parsed
    }

    /// The target as it came, in whatever form.
    #[must_use]
    pub fn received_target(&self) -> &'a [u8] {
        self.parsed.line.target.of(self.buf)
    }

    /// The fields with their lines, for whoever copies them.
    #[must_use]
    pub fn lines(&self) -> Lines<'a> {
        Lines::new(self.buf, &self.parsed.fields, self.parsed.end)
    }

    /// The head in origin form, for whoever parses it again: the absolute form becomes `Host` and path (RFC 9112 §3.2.2), so that no reader
    /// after this one has to choose between the two.
    pub(super) fn to_origin_form(self) -> BytesMut {
        let line = &self.parsed.line;
        let version = line.target.end();
        let mut head = BytesMut::with_capacity(self.parsed.end - self.parsed.start + 16);
        head.extend_from_slice(&self.buf[self.parsed.start..line.target.start()]);
        head.extend_from_slice(self.target());
        let fields = version + " HTTP/1.1\r\n".len();
        head.extend_from_slice(&self.buf[version..fields]);
        if self.get(&http::header::HOST).is_none() {
            head.extend_from_slice(b"Host: ");
            head.extend_from_slice(self.authority());
            head.extend_from_slice(b"\r\n");
        }
        head.extend_from_slice(&self.buf[fields..self.parsed.end]);
        head
    }
}

impl Fields for Head<'_> {
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

impl RequestHead for Head<'_> {
    fn method(&self) -> &Method {
        &self.parsed.line.method
    }

    fn version(&self) -> Version {
        self.parsed.line.version
    }

    fn target(&self) -> &[u8] {
        match &self.parsed.line.path {
            Path::InHead(span) => span.of(self.buf),
            Path::Implied(path) => path,
            Path::QueryOnly(path) => path,
        }
    }

    fn authority(&self) -> &[u8] {
        self.parsed.host.map(|host| host.of(self.buf)).unwrap_or_default()
    }
}
