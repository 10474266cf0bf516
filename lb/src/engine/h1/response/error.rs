//! Why a response head is refused.

use thiserror::Error;

use crate::engine::h1::error::HeadError;

/// An answer that cannot be handed on. The connection that it came on cannot be used again, since nobody knows where the next answer would
/// begin; the client is told 502.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ResponseError {
    /// Malformed or ambiguous.
    #[error("{0}")]
    Malformed(&'static str),
    /// The head is over its limit in bytes.
    #[error("response head too large")]
    TooLarge,
    /// More fields than allowed.
    #[error("too many header fields in the response")]
    TooManyFields,
    /// A version of HTTP that is neither 1.0 nor 1.1.
    #[error("HTTP version of the response not supported")]
    Version,
}

/// What a line of fields has wrong is the same in a request and in an answer.
impl From<HeadError> for ResponseError {
    fn from(error: HeadError) -> Self {
        match error {
            HeadError::Malformed(reason) | HeadError::NotImplemented(reason) => Self::Malformed(reason),
            HeadError::TargetTooLong | HeadError::TooLarge => Self::TooLarge,
            HeadError::TooManyFields => Self::TooManyFields,
            HeadError::Version => Self::Version,
        }
    }
}
