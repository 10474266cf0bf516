//! A strict parser of response heads (RFC 9112 §4 to §6).
//!
//! The connection to a server is used for one client after another. Whoever finds the end of an answer elsewhere than the server meant it gives
//! the next client what was not for them, so an answer with two readings is refused as a request would be (see [`super::head`]): it is better
//! to say 502 once. What differs is the first line, and that the end of the connection may be the end of the body.
//!
//! Whether there is a body depends on the request too, so [`ResponseParsed::framing`] has to be told.

mod error;
mod known;
mod parsed;
mod status_line;
mod view;

use super::error::{CARRIAGE_RETURN, LINE_FEED};
use super::fields::LineReader;
use super::head::HeadLimits;
use known::Known;
use status_line::StatusLine;

pub use error::ResponseError;
pub use parsed::{ResponseFraming, ResponseParsed};
pub use view::ResponseView;

/// Reads one head from a buffer that grows between calls. The head begins at the start of the buffer.
#[derive(Debug, Default)]
pub struct ResponseParser {
    stage: Stage,
    /// Where the field line begins that is read now.
    line_at: usize,
    /// How much of the status line needs not be looked at again.
    searched: usize,
    /// How far a field line was read.
    reader: LineReader,
    known: Known,
    parsed: ResponseParsed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Stage {
    #[default]
    StatusLine,
    Fields,
    Done,
}

impl ResponseParser {
    /// Makes it ready for the next head, which begins at the start of the buffer. Its memory is kept.
    pub fn reset(&mut self) {
        self.stage = Stage::StatusLine;
        self.line_at = 0;
        self.searched = 0;
        self.reader = LineReader::default();
        self.known = Known::default();
        self.parsed.fields.clear();
    }

    /// Reads on. `buf` is all that was received since [`Self::reset`]; `false` asks for more of it. After an error only a fresh start makes
    /// sense. The error is that of the first byte that shows one, however the bytes came.
    pub fn advance(&mut self, buf: &[u8], limits: &HeadLimits) -> Result<bool, ResponseError> {
        let window = &buf[..buf.len().min(limits.max_bytes())];
        if self.read(window, limits.max_fields())? {
            return Ok(true);
        }
        if buf.len() < limits.max_bytes() {
            Ok(false)
        } else {
            Err(ResponseError::TooLarge)
        }
    }

    /// What was read. Only after [`Self::advance`] said `true`.
    #[must_use]
    pub const fn parsed(&self) -> &ResponseParsed {
        &self.parsed
    }

    fn read(&mut self, window: &[u8], max_fields: usize) -> Result<bool, ResponseError> {
        if self.stage == Stage::StatusLine {
            let Some(StatusLine { version, status, reason }) = status_line::read(window, &mut self.searched)? else {
                return Ok(false);
            };
            self.parsed.version = version;
            self.parsed.status = status;
            self.parsed.reason = reason;
            self.line_at = reason.end() + "\r\n".len();
            self.stage = Stage::Fields;
        }
        Ok(self.stage == Stage::Done || self.take_fields(window, max_fields)?)
    }

    /// Takes as many field lines as are whole. `false`: the empty line that ends them has not come.
    fn take_fields(&mut self, window: &[u8], max_fields: usize) -> Result<bool, ResponseError> {
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
                return Err(ResponseError::TooManyFields);
            }
            let (name, value) = (&rest[..field.name.len()], field.value.of(window));
            self.known.note(name, value, self.parsed.status, self.parsed.version)?;
            self.parsed.fields.push(field);
            self.line_at += len;
            reader = LineReader::default();
        }
    }

    fn take_empty_line(&mut self, rest: &[u8]) -> Result<bool, ResponseError> {
        match rest {
            [b'\r', b'\n', ..] => {
                self.parsed.end = self.line_at + "\r\n".len();
                self.parsed.conclude(&self.known);
                self.stage = Stage::Done;
                Ok(true)
            }
            [b'\r'] => Ok(false),
            [b'\r', ..] => Err(CARRIAGE_RETURN.into()),
            _ => Err(LINE_FEED.into()),
        }
    }
}

/// Reads a head at the start of `buf`. `None`: it is not whole yet.
pub fn parse(buf: &[u8], limits: &HeadLimits) -> Result<Option<ResponseParsed>, ResponseError> {
    let mut parser = ResponseParser::default();
    Ok(parser.advance(buf, limits)?.then_some(parser.parsed))
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
