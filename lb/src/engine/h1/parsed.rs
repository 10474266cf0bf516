//! What was found in a request head.

use http::{Method, Version};

use super::fields::{Field, Known};
use super::span::Span;
use super::target::{Path, RequestLine};

/// How the end of a request's body is known (RFC 9112 §6.3). Never by the end of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// No body.
    None,
    /// As many bytes.
    Length(u64),
    /// Chunks, until one of length 0 and the trailers.
    Chunked,
}

/// A whole head that is in order. Texts are offsets into the buffer that it was read from: look at them through [`super::Head`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed {
    pub(super) line: RequestLine,
    pub(super) fields: Vec<Field>,
    /// Where the request line begins: after the empty lines that were forgiven.
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) host: Option<Span>,
    framing: Framing,
    keep_alive: bool,
    upgrade: bool,
    expect_continue: bool,
}

impl Parsed {
    pub(super) fn empty() -> Self {
        let line = RequestLine {
            method: Method::GET,
            target: Span::default(),
            path: Path::Implied(b"/"),
            authority: None,
            version: Version::HTTP_11,
        };
        Self {
            line,
            fields: Vec::new(),
            start: 0,
            end: 0,
            host: None,
            framing: Framing::None,
            keep_alive: false,
            upgrade: false,
            expect_continue: false,
        }
    }

    /// What the fields have said all together.
    pub(super) fn conclude(&mut self, known: &Known) {
        let version = self.line.version;
        self.framing = known.framing();
        self.keep_alive = known.keep_alive(version);
        self.upgrade = known.upgrade(version);
        self.expect_continue = known.expect_continue(version);
    }

    /// How many bytes of the buffer the head takes, empty lines before it included. The body begins there.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.end
    }

    /// Never: a head has at least a request line.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        false
    }

    /// Whether the target came in the form in which it is handed on.
    pub(super) const fn is_origin_form(&self) -> bool {
        self.line.authority.is_none()
    }

    /// The method.
    #[must_use]
    pub const fn method(&self) -> &Method {
        &self.line.method
    }

    /// 1.0 or 1.1.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.line.version
    }

    /// Where the body ends.
    #[must_use]
    pub const fn framing(&self) -> Framing {
        self.framing
    }

    /// Whether the client lets the connection stay open (RFC 9112 §9.3).
    #[must_use]
    pub const fn keep_alive(&self) -> bool {
        self.keep_alive
    }

    /// Whether the client offers another protocol (RFC 9110 §7.8).
    #[must_use]
    pub const fn upgrade(&self) -> bool {
        self.upgrade
    }

    /// Whether the client holds its body back until it is told to go on (RFC 9110 §10.1.1).
    #[must_use]
    pub const fn expect_continue(&self) -> bool {
        self.expect_continue
    }
}
