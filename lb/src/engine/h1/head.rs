//! A strict parser of request heads (RFC 9112 §2 to §6).
//!
//! Two servers in a chain that read one request differently are how requests are smuggled: the first sees one request where the second sees
//! two. So this parser takes only what has one reading, and refuses the rest before anything is forwarded.
//!
//! It reads line by line and remembers how far it came. A head that arrives whole is read in one pass; one that arrives a byte at a time
//! costs no more than a few times its length. What it finds it keeps as offsets into the caller's buffer, in a vector that is used again for
//! the next request: no copies, no allocation.

use http::Version;
use memchr::memchr;

use super::error::{CARRIAGE_RETURN, HeadError, LINE_FEED};
use super::fields::{Known, LineReader};
use super::parsed::Parsed;
use super::target::{self, RequestLine};

/// Empty lines before a request line that are forgiven (RFC 9112 §2.2: some clients send one after a body).
const MAX_EMPTY_LINES: u8 = 2;

/// What a head may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadLimits {
    max_bytes: usize,
    max_fields: usize,
}

impl HeadLimits {
    /// Heads of more than 16 MiB are beyond any limit, which keeps every offset within 32 bits.
    #[must_use]
    pub const fn new(max_bytes: usize, max_fields: usize) -> Self {
        const MOST: usize = 16 << 20;
        Self {
            max_bytes: if max_bytes < MOST { max_bytes } else { MOST },
            max_fields,
        }
    }

    /// Bytes of a head, its empty line included.
    #[must_use]
    pub const fn max_bytes(&self) -> usize {
        self.max_bytes
    }

    /// Fields of a head.
    #[must_use]
    pub const fn max_fields(&self) -> usize {
        self.max_fields
    }
}

/// Reads one head from a buffer that grows between calls.
#[derive(Debug)]
pub struct Parser {
    stage: Stage,
    /// Where the line begins that is read now.
    line_at: usize,
    /// How much of that line needs not be searched again for its end, where it is the request line.
    searched: usize,
    /// How far a field line was read.
    reader: LineReader,
    known: Known,
    parsed: Parsed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Start { empty_lines: u8 },
    Fields,
    Done,
}

impl Default for Parser {
    fn default() -> Self {
        Self {
            stage: Stage::Start { empty_lines: 0 },
            line_at: 0,
            searched: 0,
            reader: LineReader::default(),
            known: Known::default(),
            parsed: Parsed::empty(),
        }
    }
}

impl Parser {
    /// Makes it ready for the next head, which begins at the start of the buffer. Its memory is kept.
    pub fn reset(&mut self) {
        self.stage = Stage::Start { empty_lines: 0 };
        self.line_at = 0;
        self.searched = 0;
        self.reader = LineReader::default();
        self.known = Known::default();
        self.parsed.fields.clear();
    }

    /// Reads on. `buf` is all that was received since [`Self::reset`]; `false` asks for more of it. After an error only a fresh start makes
    /// sense. The error is that of the first byte that shows one, however the bytes came.
    pub fn advance(&mut self, buf: &[u8], limits: &HeadLimits) -> Result<bool, HeadError> {
        while let Stage::Start { empty_lines } = self.stage {
            // The limit counts from the request line on.
            let window_end = self.line_at + limits.max_bytes;
            let window = &buf[self.line_at..buf.len().min(window_end)];
            if !self.take_request_line(window, empty_lines)? {
                target::check_beginning(window)?;
                // Methods are short, so it is the target that does not end.
                return if buf.len() < window_end {
                    Ok(false)
                } else {
                    Err(HeadError::TargetTooLong)
                };
            }
        }
        if self.stage == Stage::Fields {
            let window_end = self.parsed.start + limits.max_bytes;
            let window = &buf[..buf.len().min(window_end)];
            if !self.take_fields(window, limits.max_fields)? {
                return if buf.len() < window_end {
                    Ok(false)
                } else {
                    Err(HeadError::TooLarge)
                };
            }
        }
        Ok(true)
    }

    /// What was read. Only after [`Self::advance`] said `true`.
    #[must_use]
    pub const fn parsed(&self) -> &Parsed {
        &self.parsed
    }

    /// Whether any byte of a request has come: stray empty lines are none.
    #[must_use]
    pub fn has_begun(&self, buf: &[u8]) -> bool {
        match self.stage {
            Stage::Start { .. } => !matches!(buf.get(self.line_at..), None | Some([] | [b'\r'])),
            Stage::Fields | Stage::Done => true,
        }
    }

    /// Takes the first line, or an empty one before it. `false`: it is not whole.
    fn take_request_line(&mut self, rest: &[u8], empty_lines: u8) -> Result<bool, HeadError> {
        let Some(line_feed) = memchr(b'\n', &rest[self.searched..]) else {
            self.searched = rest.len();
            return Ok(false);
        };
        let line_feed = self.searched + line_feed;
        match rest[..line_feed].split_last() {
            Some((b'\r', [])) if empty_lines == MAX_EMPTY_LINES => return Err(HeadError::Malformed("empty lines before the request line")),
            Some((b'\r', [])) => {
                self.stage = Stage::Start {
                    empty_lines: empty_lines + 1,
                }
            }
            Some((b'\r', line)) => {
                self.parsed.line = target::parse(line, self.line_at)?;
                self.parsed.start = self.line_at;
                self.stage = Stage::Fields;
            }
            _ => {
                // What was refused before the line feed came is refused for the same reason afterwards.
                target::check_beginning(&rest[..line_feed])?;
                return Err(LINE_FEED);
            }
        }
        self.searched = 0;
        self.line_at += line_feed + 1;
        Ok(true)
    }

    /// Takes as many field lines as are whole. `false`: the empty line that ends them has not come.
    fn take_fields(&mut self, window: &[u8], max_fields: usize) -> Result<bool, HeadError> {
        let RequestLine { version, authority, .. } = self.parsed.line;
        let mut reader = std::mem::take(&mut self.reader);
        loop {
            let rest = &window[self.line_at..];
            if let [b'\r' | b'\n', ..] = rest {
                return self.take_empty_line(rest);
            }
            let Some((field, len)) = reader.read(rest, self.line_at)? else {
                self.reader = reader;
                return Ok(false);
            };
            if self.parsed.fields.len() >= max_fields {
                return Err(HeadError::TooManyFields);
            }
            self.known.note(&rest[..field.name.len()], field, window, version, authority)?;
            self.parsed.fields.push(field);
            self.line_at += len;
            reader = LineReader::default();
        }
    }

    fn take_empty_line(&mut self, rest: &[u8]) -> Result<bool, HeadError> {
        match rest {
            [b'\r', b'\n', ..] => self.finish().map(|()| true),
            [b'\r'] => Ok(false),
            [b'\r', ..] => Err(CARRIAGE_RETURN),
            _ => Err(LINE_FEED),
        }
    }

    /// The empty line: what only the whole head can tell.
    fn finish(&mut self) -> Result<(), HeadError> {
        let RequestLine { version, authority, .. } = self.parsed.line;
        if self.known.host.is_none() && version == Version::HTTP_11 {
            return Err(HeadError::Malformed("no Host"));
        }
        self.parsed.end = self.line_at + "\r\n".len();
        self.parsed.host = self.known.host.or(authority);
        self.parsed.conclude(&self.known);
        self.stage = Stage::Done;
        Ok(())
    }
}

/// Reads a head at the start of `buf`. `None`: it is not whole yet.
pub fn parse(buf: &[u8], limits: &HeadLimits) -> Result<Option<Parsed>, HeadError> {
    let mut parser = Parser::default();
    Ok(parser.advance(buf, limits)?.then_some(parser.parsed))
}

/// Method and target of a head that was refused or never ended, for the log: whatever stands where they belong.
#[must_use]
pub fn glimpse(buf: &[u8]) -> (&[u8], &[u8]) {
    let line = buf
        .split(|byte| matches!(byte, b'\r' | b'\n'))
        .find(|line| !line.is_empty())
        .unwrap_or_default();
    let mut words = line.split(|&byte| byte == b' ');
    (words.next().unwrap_or_default(), words.next().unwrap_or_default())
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod tests;
