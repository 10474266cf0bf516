//! Why a request head is refused.

use http::StatusCode;
use thiserror::Error;

/// A head that is not served. The connection closes after the answer, since nobody can know where the next request would begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum HeadError {
    /// Malformed or ambiguous: 400.
    #[error("{0}")]
    Malformed(&'static str),
    /// The target alone is over the limit: 414.
    #[error("request target too long")]
    TargetTooLong,
    /// The head is over its limit in bytes: 431.
    #[error("request head too large")]
    TooLarge,
    /// More fields than allowed: 431.
    #[error("too many header fields")]
    TooManyFields,
    /// Well-formed, but asks for what is not implemented: 501.
    #[error("{0}")]
    NotImplemented(&'static str),
    /// A version of HTTP that is neither 1.0 nor 1.1: 505.
    #[error("HTTP version not supported")]
    Version,
}

/// Lines end in CRLF and nothing else.
pub(super) const LINE_FEED: HeadError = HeadError::Malformed("line feed without carriage return");
/// Nor does a carriage return stand anywhere else.
pub(super) const CARRIAGE_RETURN: HeadError = HeadError::Malformed("carriage return without line feed");

impl HeadError {
    /// The status of the answer.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::Malformed(_) => StatusCode::BAD_REQUEST,
            Self::TargetTooLong => StatusCode::URI_TOO_LONG,
            Self::TooLarge | Self::TooManyFields => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::NotImplemented(_) => StatusCode::NOT_IMPLEMENTED,
            Self::Version => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
        }
    }
}
