//! Where a request body ends (RFC 9112 §6 and §7).
//!
//! A body's bytes are looked at and never changed: the question is only how many of the bytes in a buffer still belong to this message, and
//! whether they are in order. What follows belongs to the next request. A body that is malformed is refused at the byte where it shows, so
//! that no two servers in the chain can disagree about its end.

mod chunked;
mod trailers;

use thiserror::Error;

use super::parsed::Framing;
use chunked::Chunks;

/// Why a body is malformed. The connection cannot be used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct BodyError(pub(super) &'static str);

/// Follows a body through the bytes that arrive, however they are cut.
#[derive(Debug)]
pub struct Body {
    state: State,
    decoded: u64,
}

#[derive(Debug)]
enum State {
    Done,
    Length { left: u64 },
    Chunked(Chunks),
    Broken(BodyError),
}

impl Body {
    /// A body that begins with the next byte.
    #[must_use]
    pub fn new(framing: Framing) -> Self {
        let state = match framing {
            Framing::None | Framing::Length(0) => State::Done,
            Framing::Length(left) => State::Length { left },
            Framing::Chunked => State::Chunked(Chunks::default()),
        };
        Self { state, decoded: 0 }
    }

    /// How many of these bytes, the next that arrived, belong to this message. It takes all of them until the body is done. A malformed body
    /// stays so.
    pub fn advance(&mut self, bytes: &[u8]) -> Result<usize, BodyError> {
        match &mut self.state {
            State::Done => Ok(0),
            State::Length { left } => {
                let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= taken as u64;
                self.decoded += taken as u64;
                if *left == 0 {
                    self.state = State::Done;
                }
                Ok(taken)
            }
            State::Chunked(chunks) => {
                let result = chunks.advance(bytes, &mut self.decoded);
                match result {
                    Ok(_) if chunks.is_done() => self.state = State::Done,
                    Ok(_) => {}
                    Err(error) => self.state = State::Broken(error),
                }
                result
            }
            State::Broken(error) => Err(*error),
        }
    }

    /// Whether its last byte has been seen.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// Bytes of content so far: without the chunks' own lines. This is what a limit of the body's size counts.
    #[must_use]
    pub const fn decoded(&self) -> u64 {
        self.decoded
    }
}

#[cfg(test)]
mod tests;
