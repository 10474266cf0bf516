//! What was found in a response head.

use http::{StatusCode, Version};

use super::known::Known;
use crate::engine::h1::fields::Field;
use crate::engine::h1::span::Span;

/// How the end of a response's body is known (RFC 9112 §6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResponseFraming {
    /// No body.
    None,
    /// As many bytes.
    Length(u64),
    /// Chunks, until one of length 0 and the trailers.
    Chunked,
    /// All that comes until the server closes the connection, which so cannot be told from one that broke.
    UntilClose,
}

/// A whole head that is in order. Texts are offsets into the buffer that it was read from: look at them through [`super::ResponseView`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResponseParsed {
    pub(super) version: Version,
    pub(super) status: StatusCode,
    pub(super) reason: Span,
    pub(super) fields: Vec<Field>,
    pub(super) end: usize,
    announced: ResponseFraming,
    keep_alive: bool,
}

impl Default for ResponseParsed {
    fn default() -> Self {
        Self {
            version: Version::HTTP_11,
            status: StatusCode::OK,
            reason: Span::default(),
            fields: Vec::new(),
            end: 0,
            announced: ResponseFraming::None,
            keep_alive: false,
        }
    }
}

impl ResponseParsed {
    /// What the fields have said all together.
    pub(super) fn conclude(&mut self, known: &Known) {
        self.announced = known.announced();
        self.keep_alive = known.keep_alive(self.version);
    }

    /// How many bytes of the buffer the head takes. The body begins there, or after an interim response the next head.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.end
    }

    /// Never: a head has at least a status line.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        false
    }

    /// The status.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        self.status
    }

    /// 1.0 or 1.1.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.version
    }

    /// Where the body ends, given whether the request was HEAD. Interim responses have none, 101 among them: what follows that one is no HTTP,
    /// and the caller's concern.
    #[must_use]
    pub fn framing(&self, request_was_head: bool) -> ResponseFraming {
        if request_was_head || is_without_framing(self.status) || self.status == StatusCode::NOT_MODIFIED {
            ResponseFraming::None
        } else {
            self.announced
        }
    }

    /// Whether `Content-Length` and `Transfer-Encoding` of this head, if it has any, are void, and must not be handed on (RFC 9110 §8.6,
    /// RFC 9112 §6.1): interim responses and 204 end with their head.
    #[must_use]
    pub fn is_without_framing(&self) -> bool {
        is_without_framing(self.status)
    }

    /// Whether the server lets the connection stay open (RFC 9112 §9.3). It cannot after a body that ends with the connection.
    #[must_use]
    pub const fn keep_alive(&self) -> bool {
        self.keep_alive
    }
}

/// A server that sends such a response with fields that frame a body has told nothing, so they are not even looked at. For 304 and for answers
/// to HEAD they tell what a GET would get, so there they have to be in order.
pub(super) fn is_without_framing(status: StatusCode) -> bool {
    status.is_informational() || status == StatusCode::NO_CONTENT
}
