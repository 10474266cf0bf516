//! One field line at a time.

use super::Field;
use crate::engine::h1::chars::{find_control, find_token_end, trim};
use crate::engine::h1::error::{CARRIAGE_RETURN, HeadError, LINE_FEED};
use crate::engine::h1::span::Span;

/// Reads one field line, in as many calls as it takes for its bytes to come. One pass does it all: the name ends at the first byte that is no
/// token, the value at the first control character, and if these are not the colon and the CRLF, the line is malformed.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::engine::h1) struct LineReader {
    /// 0 while the colon has not come.
    name_len: usize,
    /// Up to there nothing needs to be looked at again.
    scanned: usize,
}

impl LineReader {
    /// The field, and the length of its line. `line` is what has come from the line's first byte on, which is at `at` of the head. `None`:
    /// the line does not end there yet.
    #[inline]
    pub(in crate::engine::h1) fn read(&mut self, line: &[u8], at: usize) -> Result<Option<(Field, usize)>, HeadError> {
        if self.name_len == 0 {
            let Some(end) = find_token_end(&line[self.scanned..]) else {
                self.scanned = line.len();
                return Ok(None);
            };
            let end = self.scanned + end;
            if line[end] != b':' || end == 0 {
                return Err(refuse_name(line[end], end));
            }
            self.name_len = end;
            self.scanned = end + 1;
        }
        let end = self.scanned + find_control(&line[self.scanned..]).unwrap_or(line.len() - self.scanned);
        match line[end..] {
            [b'\r', b'\n', ..] => {}
            [] | [b'\r'] => {
                self.scanned = end;
                return Ok(None);
            }
            _ => return Err(refuse_value(line[end])),
        }
        let (blanks, value) = trim(&line[self.name_len + 1..end]);
        let value = Span::new(at + self.name_len + 1 + blanks, value.len());
        Ok(Some((
            Field {
                name: Span::new(at, self.name_len),
                value,
            },
            end + 2,
        )))
    }
}

#[cold]
fn refuse_name(byte: u8, at: usize) -> HeadError {
    HeadError::Malformed(match byte {
        b' ' | b'\t' if at == 0 => "white space before a field name, or a folded line",
        b' ' | b'\t' => "white space in or after a field name",
        b':' => "field without a name",
        b'\r' | b'\n' => "field line without a colon",
        _ => "invalid byte in a field name",
    })
}

#[cold]
fn refuse_value(byte: u8) -> HeadError {
    match byte {
        b'\n' => LINE_FEED,
        b'\r' => CARRIAGE_RETURN,
        _ => HeadError::Malformed("control character in a field value"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &[u8]) -> (&[u8], &[u8]) {
        let (field, len) = LineReader::default().read(line, 0).expect("valid").expect("whole");
        assert_eq!(len, line.len());
        (field.name.of(line), field.value.of(line))
    }

    #[test]
    fn a_line_is_a_name_and_a_trimmed_value() {
        assert_eq!(
            parse(b"accept:\t text/html , */* \t\r\n"),
            (&b"accept"[..], &b"text/html , */*"[..])
        );
        assert_eq!(parse(b"a:b\r\n"), (&b"a"[..], &b"b"[..]));
    }

    #[test]
    fn a_value_may_be_empty_and_may_hold_bytes_beyond_ascii() {
        assert_eq!(parse(b"x-empty: \t\r\n").1, b"");
        assert_eq!(parse(b"x-empty:\r\n").1, b"");
        assert_eq!(parse(b"x:\xff\x80 \xe2\x80\xa8\r\n").1, b"\xff\x80 \xe2\x80\xa8");
    }

    #[test]
    fn a_malformed_line_says_what_is_wrong_with_it() {
        for (line, reason) in [
            (&b" x: y\r\n"[..], "white space before a field name, or a folded line"),
            (b"\tfolded\r\n", "white space before a field name, or a folded line"),
            (b"x : y\r\n", "white space in or after a field name"),
            (b"a b: y\r\n", "white space in or after a field name"),
            (b": y\r\n", "field without a name"),
            (b"xy\r\n", "field line without a colon"),
            (b"x\x00: y\r\n", "invalid byte in a field name"),
            (b"x\xc3\xa9: y\r\n", "invalid byte in a field name"),
            (b"x(y): y\r\n", "invalid byte in a field name"),
            (b"x: a\x00b\r\n", "control character in a field value"),
            (b"x: a\rb\r\n", "carriage return without line feed"),
            (b"x: a\r\r\n", "carriage return without line feed"),
            (b"x: a\n", "line feed without carriage return"),
            (b"x: a\x7fb\r\n", "control character in a field value"),
            (b"x: a\x0bb\r\n", "control character in a field value"),
        ] {
            assert_eq!(
                LineReader::default().read(line, 0),
                Err(HeadError::Malformed(reason)),
                "{}",
                line.escape_ascii()
            );
        }
    }

    #[test]
    fn a_line_may_come_a_byte_at_a_time() {
        let line = b"x-a: a b\r\n";
        let mut reader = LineReader::default();
        for end in 0..line.len() {
            assert_eq!(reader.read(&line[..end], 7), Ok(None));
        }
        assert_eq!(reader.read(line, 7), LineReader::default().read(line, 7));
    }
}
