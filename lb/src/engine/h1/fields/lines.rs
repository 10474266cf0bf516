//! The field section of a head as a whole.

use std::ops::Range;

use http::HeaderName;

use super::Field;

/// The field lines of a head that is in order, beside their bytes.
///
/// Lines follow each other without a gap, so that lines which go out as they came in are one run of bytes, however many they are. Where line
/// `len()` would begin stands the empty line that ends the head.
#[derive(Debug, Clone, Copy, Default)]
pub struct Lines<'a> {
    buf: &'a [u8],
    fields: &'a [Field],
    /// Where the empty line stands.
    end: usize,
}

impl<'a> Lines<'a> {
    /// `head_end` is behind the empty line.
    pub(in crate::engine::h1) const fn new(buf: &'a [u8], fields: &'a [Field], head_end: usize) -> Self {
        Self {
            buf,
            fields,
            end: head_end.saturating_sub("\r\n".len()),
        }
    }

    /// How many.
    #[must_use]
    pub const fn len(self) -> usize {
        self.fields.len()
    }

    /// Whether the head has no field.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.fields.is_empty()
    }

    /// Every field in order: its index, its name as it came, its value without the blanks around it.
    pub fn iter(self) -> impl Iterator<Item = (usize, &'a [u8], &'a [u8])> {
        let name_and_value = move |(index, field): (usize, &Field)| (index, field.name.of(self.buf), field.value.of(self.buf));
        self.fields.iter().enumerate().map(name_and_value)
    }

    /// Where line `index` begins in the buffer; from the last line on, where the empty line begins.
    #[must_use]
    pub fn start(self, index: usize) -> usize {
        self.fields.get(index).map_or(self.end, |field| field.name.start())
    }

    /// Where line `index` ends, its CRLF included.
    #[must_use]
    pub fn end(self, index: usize) -> usize {
        self.start(index.saturating_add(1))
    }

    /// Lines as they came, each with its CRLF: those of one index after another.
    #[must_use]
    pub fn run(self, indices: Range<usize>) -> &'a [u8] {
        self.buf.get(self.start(indices.start)..self.start(indices.end)).unwrap_or_default()
    }

    /// The values of that name, in order.
    pub(in crate::engine::h1) fn values(self, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
        let name = name.as_str().as_bytes();
        self.fields
            .iter()
            .filter(move |field| field.name.len() == name.len() && field.name.of(self.buf).eq_ignore_ascii_case(name))
            .map(move |field| field.value.of(self.buf))
    }
}

#[cfg(test)]
mod tests {
    use crate::engine::h1::head::parse;
    use crate::engine::h1::{Head, HeadLimits};

    const HEAD: &[u8] = b"\r\nGET / HTTP/1.1\r\nHost: a\r\nX-A:1 \r\nx-empty:\r\n\r\nbody";

    #[test]
    fn lines_follow_each_other_up_to_the_empty_one() {
        let parsed = parse(HEAD, &HeadLimits::new(1000, 10)).expect("valid").expect("whole");
        let lines = Head::new(HEAD, &parsed).lines();
        assert_eq!(
            lines.iter().collect::<Vec<_>>(),
            [
                (0, &b"Host"[..], &b"a"[..]),
                (1, &b"X-A"[..], &b"1"[..]),
                (2, &b"x-empty"[..], &b""[..])
            ]
        );
        assert_eq!(lines.run(0..1), b"Host: a\r\n");
        assert_eq!(lines.run(1..3), b"X-A:1 \r\nx-empty:\r\n");
        assert_eq!(&HEAD[..lines.start(0)], b"\r\nGET / HTTP/1.1\r\n");
        assert_eq!((lines.end(0), lines.end(2)), (lines.start(1), lines.start(3)));
        assert_eq!(&HEAD[lines.start(3)..], b"\r\nbody");
    }

    #[test]
    fn indices_beyond_the_last_line_stand_at_the_empty_one() {
        let parsed = parse(HEAD, &HeadLimits::new(1000, 10)).expect("valid").expect("whole");
        let lines = Head::new(HEAD, &parsed).lines();
        assert_eq!((lines.start(7), lines.end(usize::MAX)), (lines.start(3), lines.start(3)));
        assert_eq!(lines.run(2..9), b"x-empty:\r\n");
        assert_eq!(lines.run(3..4), b"");
    }
}
