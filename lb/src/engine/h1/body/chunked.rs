//! The chunked coding (RFC 9112 §7.1): `size [; extensions] CRLF data CRLF` until a size of 0, then trailers.
//!
//! Lines end in CRLF and nothing else; sizes are up to sixteen hexadecimal digits and nothing else. Extensions mean nothing to anybody and
//! are skipped, within bounds: a client that sends a kilobyte of them for each byte of data only wants to keep the proxy busy.

use super::trailers::Trailers;
use super::{BodyError, Piece};
use crate::engine::h1::chars::is_control;

/// Of a line with a chunk's size.
const MAX_LINE: u32 = 4 << 10;
/// As many digits as fit into 64 bits.
const MAX_DIGITS: u8 = 16;
/// What chunk lines may cost beyond an allowance for each chunk and what the data make up for.
const MAX_OVERHEAD: u64 = 16 << 10;
/// Bytes of a chunk line that are no overhead.
const ALLOWANCE: u64 = 16;

/// Where in a chunked body the next byte stands.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    at: At,
    overhead: u64,
}

#[derive(Debug)]
enum At {
    Size { size: u64, digits: u8 },
    Extension { size: u64, line: u32 },
    SizeLineFeed { size: u64, line: u32 },
    Data { left: u64 },
    DataReturn,
    DataLineFeed,
    Trailers(Trailers),
    Done,
}

impl Default for At {
    fn default() -> Self {
        Self::Size { size: 0, digits: 0 }
    }
}

impl Chunks {
    pub(super) const fn is_done(&self) -> bool {
        matches!(self.at, At::Done)
    }

    /// What these bytes begin with, of which there is at least one.
    pub(super) fn next(&mut self, bytes: &[u8]) -> Result<Piece, BodyError> {
        match &mut self.at {
            At::Done => Ok(Piece::Done),
            At::Trailers(trailers) => {
                let (taken, done) = trailers.take(bytes)?;
                if done {
                    self.at = At::Done;
                }
                Ok(Piece::Trailers(taken))
            }
            At::Data { left } => {
                let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= taken as u64;
                if *left == 0 {
                    self.at = At::DataReturn;
                }
                Ok(Piece::Data(taken))
            }
            _ => self.take_frame(bytes).map(Piece::Frame),
        }
    }

    /// Takes bytes up to the next that is content or a trailer.
    fn take_frame(&mut self, bytes: &[u8]) -> Result<usize, BodyError> {
        let mut taken = 0;
        loop {
            match (&self.at, &bytes[taken..]) {
                (At::Data { .. } | At::Trailers(_) | At::Done, _) | (_, []) => return Ok(taken),
                (At::DataReturn, [b'\r', b'\n', ..]) => {
                    self.at = At::default();
                    taken += 2;
                }
                (At::Size { digits: 0, .. }, rest) if let Some((size, digits)) = whole_size_line(rest) => {
                    self.begin_chunk(size, digits)?;
                    taken += digits as usize + 2;
                }
                (_, [byte, ..]) => {
                    self.step(*byte)?;
                    taken += 1;
                }
            }
        }
    }

    fn step(&mut self, byte: u8) -> Result<(), BodyError> {
        match &mut self.at {
            At::Size { size, digits } => {
                let (size, digits) = (*size, *digits);
                self.at = step_size(size, digits, byte)?;
            }
            At::Extension { size, line } => {
                *line += 1;
                match byte {
                    b'\r' => self.at = At::SizeLineFeed { size: *size, line: *line },
                    _ if is_control(byte) => return Err(BodyError("control character in a chunk extension")),
                    _ if *line > MAX_LINE => return Err(BodyError("chunk extensions too long")),
                    _ => {}
                }
            }
            At::SizeLineFeed { size, line } => {
                let (size, line) = (*size, *line);
                expect(byte, b'\n', "carriage return without line feed in a chunk size line")?;
                self.begin_chunk(size, line)?;
            }
            At::DataReturn => {
                expect(byte, b'\r', "chunk data longer than their size")?;
                self.at = At::DataLineFeed;
            }
            At::DataLineFeed => {
                expect(byte, b'\n', "carriage return without line feed after chunk data")?;
                self.at = At::default();
            }
            At::Data { .. } | At::Trailers(_) | At::Done => {}
        }
        Ok(())
    }

    fn begin_chunk(&mut self, size: u64, line: u32) -> Result<(), BodyError> {
        self.overhead = (self.overhead + u64::from(line)).saturating_sub(ALLOWANCE.saturating_add(size));
        if self.overhead > MAX_OVERHEAD {
            return Err(BodyError("more chunk extensions than data"));
        }
        self.at = match size {
            0 => At::Trailers(Trailers::default()),
            left => At::Data { left },
        };
        Ok(())
    }
}

/// A line with nothing but a size, as nearly all are, if all of it is there: the size and how many digits it has. What else there is, a step
/// at a time finds out.
fn whole_size_line(bytes: &[u8]) -> Option<(u64, u32)> {
    let mut size = 0;
    let mut digits = 0;
    for &byte in bytes.iter().take(usize::from(MAX_DIGITS)) {
        let Some(digit) = hexadecimal(byte) else { break };
        size = size << 4 | u64::from(digit);
        digits += 1;
    }
    (digits > 0 && bytes[digits..].starts_with(b"\r\n")).then_some((size, digits as u32))
}

const fn hexadecimal(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

fn step_size(size: u64, digits: u8, byte: u8) -> Result<At, BodyError> {
    let Some(digit) = hexadecimal(byte) else {
        let line = u32::from(digits);
        return match byte {
            _ if digits == 0 => Err(BodyError("chunk size without digits")),
            b'\r' => Ok(At::SizeLineFeed { size, line }),
            b';' => Ok(At::Extension { size, line: line + 1 }),
            _ => Err(BodyError("invalid byte in a chunk size")),
        };
    };
    if digits == MAX_DIGITS {
        return Err(BodyError("chunk size too large"));
    }
    Ok(At::Size {
        size: size << 4 | u64::from(digit),
        digits: digits + 1,
    })
}

fn expect(byte: u8, expected: u8, otherwise: &'static str) -> Result<(), BodyError> {
    if byte == expected { Ok(()) } else { Err(BodyError(otherwise)) }
}
