//! Where a body ends (RFC 9112 §6 and §7).
//!
//! A body's bytes are looked at and never changed: the question is only how many of the bytes in a buffer still belong to this message, what
//! they are, and whether they are in order. What follows belongs to the next message. A body that is malformed is refused at the byte where it
//! shows, so that no two servers in the chain can disagree about its end.

mod chunked;
mod trailers;

use thiserror::Error;

use super::parsed::Framing;
use super::response::ResponseFraming;
use chunked::Chunks;

/// Why a body is malformed. The connection cannot be used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct BodyError(pub(super) &'static str);

/// What the bytes at hand begin with. Counts are never 0.
///
/// A chunked body is `(Frame Data)* Frame Trailers`, each of them in as many runs as its bytes come in. The last Frame ends behind the line of
/// the empty chunk, and Trailers end with the empty line of the message: whoever drops trailers leaves these runs out and writes that line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece {
    /// So many bytes of content.
    Data(usize),
    /// So many bytes of the chunked coding: lines with sizes, and the CRLF before them.
    Frame(usize),
    /// So many bytes of the trailer section, the empty line at its end included.
    Trailers(usize),
    /// There are no bytes, and the body needs more.
    More,
    /// The body is whole: the bytes, if any, are of the next message.
    Done,
}

impl Piece {
    /// How many bytes it takes.
    #[must_use]
    pub const fn len(self) -> usize {
        match self {
            Self::Data(len) | Self::Frame(len) | Self::Trailers(len) => len,
            Self::More | Self::Done => 0,
        }
    }

    /// Whether it takes none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.len() == 0
    }
}

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
    UntilClose,
    Broken(BodyError),
}

impl State {
    const fn length(left: u64) -> Self {
        match left {
            0 => Self::Done,
            left => Self::Length { left },
        }
    }
}

impl Body {
    /// A request's body that begins with the next byte.
    #[must_use]
    pub fn new(framing: Framing) -> Self {
        Self::from_state(match framing {
            Framing::None => State::Done,
            Framing::Length(length) => State::length(length),
            Framing::Chunked => State::Chunked(Chunks::default()),
        })
    }

    /// A response's body that begins with the next byte.
    #[must_use]
    pub fn from_response(framing: ResponseFraming) -> Self {
        Self::from_state(match framing {
            ResponseFraming::None => State::Done,
            ResponseFraming::Length(length) => State::length(length),
            ResponseFraming::Chunked => State::Chunked(Chunks::default()),
            ResponseFraming::UntilClose => State::UntilClose,
        })
    }

    const fn from_state(state: State) -> Self {
        Self { state, decoded: 0 }
    }

    /// What these bytes, the next that arrived, begin with. The bytes of the piece are taken: the next call goes on behind them. A malformed
    /// body stays so; what stood before the error in the same run of chunk lines or trailers is not given out.
    pub fn next(&mut self, bytes: &[u8]) -> Result<Piece, BodyError> {
        let piece = match &mut self.state {
            State::Done => return Ok(Piece::Done),
            State::Broken(error) => return Err(*error),
            _ if bytes.is_empty() => return Ok(Piece::More),
            State::UntilClose => Piece::Data(bytes.len()),
            State::Length { left } => {
                let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                self.state = State::length(*left - taken as u64);
                Piece::Data(taken)
            }
            State::Chunked(chunks) => {
                let piece = chunks.next(bytes);
                match piece {
                    Ok(_) if chunks.is_done() => self.state = State::Done,
                    Ok(_) => {}
                    Err(error) => self.state = State::Broken(error),
                }
                piece?
            }
        };
        if let Piece::Data(len) = piece {
            self.decoded += len as u64;
        }
        Ok(piece)
    }

    /// How many of these bytes, the next that arrived, belong to this message, of whatever kind they are. It takes all of them until the body
    /// is done.
    pub fn advance(&mut self, bytes: &[u8]) -> Result<usize, BodyError> {
        let mut taken = 0;
        loop {
            match self.next(&bytes[taken..])? {
                Piece::More | Piece::Done => return Ok(taken),
                piece => taken += piece.len(),
            }
        }
    }

    /// Content that was moved without being looked at, where all that comes is content: of a body with a length at most what remains, or of one
    /// that ends with the connection. Of others nothing can be moved so, and nothing changes.
    pub fn consume(&mut self, count: u64) {
        match &mut self.state {
            State::Length { left } => {
                let taken = count.min(*left);
                self.state = State::length(*left - taken);
                self.decoded += taken;
            }
            State::UntilClose => self.decoded += count,
            State::Done | State::Chunked(_) | State::Broken(_) => {}
        }
    }

    /// Whether its last byte has been seen. Of a body that ends with the connection nobody can say.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// How many bytes are still to come, where that is known: of a body with a length, and of one that is done.
    #[must_use]
    pub const fn remaining(&self) -> Option<u64> {
        match self.state {
            State::Done => Some(0),
            State::Length { left } => Some(left),
            State::Chunked(_) | State::UntilClose | State::Broken(_) => None,
        }
    }

    /// Whether the end of the connection is its end, and so in order.
    #[must_use]
    pub const fn ends_with_connection(&self) -> bool {
        matches!(self.state, State::UntilClose)
    }

    /// Bytes of content so far: without the chunks' own lines. This is what a limit of the body's size counts.
    #[must_use]
    pub const fn decoded(&self) -> u64 {
        self.decoded
    }
}

#[cfg(test)]
mod pieces;
#[cfg(test)]
mod tests;
