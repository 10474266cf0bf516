//! The chunked coding (RFC 9112 §7.1): `size [; extensions] CRLF data CRLF` until a size of 0, then trailers.
//!
//! Lines end in CRLF and nothing else; sizes are up to sixteen hexadecimal digits and nothing else. Extensions mean nothing to anybody and
//! are skipped, within bounds: a client that sends a kilobyte of them for each byte of data only wants to keep the proxy busy.

use super::BodyError;
use super::trailers::Trailers;
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

    /// How many of these bytes belong to the body; `decoded` grows by those that are data.
    pub(super) fn advance(&mut self, bytes: &[u8], decoded: &mut u64) -> Result<usize, BodyError> {
        let mut taken = 0;
        while taken < bytes.len() && !self.is_done() {
            if let At::Data { left } = &mut self.at {
                let run = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len() - taken);
                *left -= run as u64;
                *decoded += run as u64;
                taken += run;
                if *left == 0 {
                    self.at = At::DataReturn;
                }
            } else {
                self.step(bytes[taken])?;
                taken += 1;
            }
        }
        Ok(taken)
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
            At::Trailers(trailers) => {
                if trailers.step(byte)? {
                    self.at = At::Done;
                }
            }
            At::Data { .. } | At::Done => {}
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

fn step_size(size: u64, digits: u8, byte: u8) -> Result<At, BodyError> {
    let digit = match byte {
        b'0'..=b'9' => byte - b'0',
        b'a'..=b'f' => byte - b'a' + 10,
        b'A'..=b'F' => byte - b'A' + 10,
        _ if digits == 0 => return Err(BodyError("chunk size without digits")),
        b'\r' => {
            return Ok(At::SizeLineFeed {
                size,
                line: u32::from(digits),
            });
        }
        b';' => {
            return Ok(At::Extension {
                size,
                line: u32::from(digits) + 1,
            });
        }
        _ => return Err(BodyError("invalid byte in a chunk size")),
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
