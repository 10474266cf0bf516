//! The field section of a head as a whole.

use std::ops::Range;

use http::HeaderName;

use super::{Field, packed};

/// The field lines of a head that is in order, beside their bytes.
///
/// Lines follow each other without a gap, so that lines which go out as they came in are one run of bytes, however many they are. Where line
/// `len()` would begin they end: there stands the empty line of a head that was parsed.
#[derive(Debug, Clone, Copy)]
pub struct Lines<'a> {
    buf: &'a [u8],
    places: Places<'a>,
    /// Where the last line ends.
    end: usize,
}

/// Where the lines stand.
#[derive(Debug, Clone, Copy)]
enum Places<'a> {
    /// As a parser found them.
    Parsed(&'a [Field]),
    /// In the table of [`super::Rendered`].
    Packed(&'a [u8]),
}

impl Default for Lines<'_> {
    fn default() -> Self {
        Self {
            buf: &[],
            places: Places::Parsed(&[]),
            end: 0,
        }
    }
}

impl<'a> Lines<'a> {
    /// `head_end` is behind the empty line.
    pub(in crate::engine::h1) const fn new(buf: &'a [u8], fields: &'a [Field], head_end: usize) -> Self {
        Self {
            buf,
            places: Places::Parsed(fields),
            end: head_end.saturating_sub("\r\n".len()),
        }
    }

    /// The lines that [`super::Rendered`] has made of text and table.
    #[must_use]
    pub const fn rendered(text: &'a [u8], table: &'a [u8]) -> Self {
        Self {
            buf: text,
            places: Places::Packed(table),
            end: text.len(),
        }
    }

    /// How many.
    #[must_use]
    pub const fn len(self) -> usize {
        match self.places {
            Places::Parsed(fields) => fields.len(),
            Places::Packed(table) => table.len() / packed::PLACE,
        }
    }

    /// Whether the head has no field.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.len() == 0
    }

    #[inline]
    fn field(self, index: usize) -> Option<Field> {
        match self.places {
            Places::Parsed(fields) => fields.get(index).copied(),
            Places::Packed(table) => packed::field(table, index, self.end),
        }
    }

    /// Every field in order: its index, its name as it came, its value without the blanks around it.
    pub fn iter(self) -> impl Iterator<Item = (usize, &'a [u8], &'a [u8])> {
        let fields = (0..self.len()).filter_map(move |index| Some((index, self.field(index)?)));
        fields.map(move |(index, field)| (index, field.name.of(self.buf), field.value.of(self.buf)))
    }

    /// Where line `index` begins in the buffer; from the last line on, where that one ends.
    #[must_use]
    pub fn start(self, index: usize) -> usize {
        match self.places {
            Places::Parsed(fields) => fields.get(index).map(|field| field.name.start()),
            Places::Packed(table) => packed::place(table, index).map(|(start, _)| start),
        }
        .unwrap_or(self.end)
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
    pub fn values(self, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
        let name = name.as_str().as_bytes();
        (0..self.len())
            .filter_map(move |index| self.field(index))
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
