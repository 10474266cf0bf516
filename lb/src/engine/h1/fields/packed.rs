//! Field lines that are sent again and again.

use http::HeaderName;

use super::{Field, Lines};
use crate::engine::h1::span::Span;

/// Bytes of a line's place: where it begins, in four, and how long its name is, in two, both little-endian.
pub(super) const PLACE: usize = 6;
/// Between name and value.
const COLON: &[u8] = b": ";
const END: &[u8] = b"\r\n";

/// Field lines in the bytes of HTTP/1.1, rendered once, and a table of where they stand: what is sent of them is a copy of a few runs. Both are plain
/// bytes, to be kept wherever there is room for them; [`Lines::rendered`] reads them there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Rendered {
    text: Vec<u8>,
    table: Vec<u8>,
}

impl Rendered {
    /// Adds a line.
    pub fn add(&mut self, name: &HeaderName, value: &[u8]) {
        // Names are shorter than 64 KiB by their type, and heads than 4 GiB by their limits.
        self.table.extend_from_slice(&(self.text.len() as u32).to_le_bytes());
        self.table.extend_from_slice(&(name.as_str().len() as u16).to_le_bytes());
        for part in [name.as_str().as_bytes(), COLON, value, END] {
            self.text.extend_from_slice(part);
        }
    }

    /// The lines.
    #[must_use]
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// Where they stand.
    #[must_use]
    pub fn table(&self) -> &[u8] {
        &self.table
    }

    /// Both.
    #[must_use]
    pub fn lines(&self) -> Lines<'_> {
        Lines::rendered(&self.text, &self.table)
    }
}

/// Where a line begins, and how long its name is.
#[inline]
pub(super) fn place(table: &[u8], index: usize) -> Option<(usize, usize)> {
    let [a, b, c, d, e, f] = *table.get(index * PLACE..)?.first_chunk::<PLACE>()?;
    Some((u32::from_le_bytes([a, b, c, d]) as usize, u16::from_le_bytes([e, f]).into()))
}

/// A line's name and value; the last line ends at `end`.
#[inline]
pub(super) fn field(table: &[u8], index: usize, end: usize) -> Option<Field> {
    let (start, name) = place(table, index)?;
    let next = place(table, index + 1).map_or(end, |(next, _)| next);
    let value = start + name + COLON.len();
    Some(Field {
        name: Span::new(start, name),
        value: Span::new(value, next.saturating_sub(value + END.len())),
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;
    use crate::engine::h1::{HeadLimits, ResponseParser};

    proptest! {
        #[test]
        fn lines_are_where_a_parser_finds_them(fields in proptest::collection::vec(("[a-z][a-z0-9-]{0,20}", "([!-~]([ -~]{0,40}[!-~])?)?"), 0..12)) {
            let fields: Vec<_> = fields
                .iter()
                .map(|(name, value)| (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_bytes(value.as_bytes()).unwrap()))
                .filter(|(name, _)| name != "content-length" && name != "transfer-encoding")
                .collect();
            let mut rendered = Rendered::default();
            fields.iter().for_each(|(name, value)| rendered.add(name, value.as_bytes()));
            let head = [b"HTTP/1.1 200 OK\r\n", rendered.text(), b"\r\n"].concat();
            let mut parser = ResponseParser::default();
            prop_assert_eq!(parser.advance(&head, &HeadLimits::new(10_000, 20)), Ok(true));
            prop_assert_eq!(parser.parsed().len(), head.len());
            let lines = rendered.lines();
            let found: Vec<_> = lines.iter().map(|(_, name, value)| (name.to_vec(), value.to_vec())).collect();
            let expected: Vec<_> = fields.iter().map(|(name, value)| (name.as_str().as_bytes().to_vec(), value.as_bytes().to_vec())).collect();
            prop_assert_eq!(found, expected);
            prop_assert_eq!(lines.run(0..lines.len()), rendered.text());
            for (index, (name, value)) in fields.iter().enumerate() {
                let line = [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat();
                prop_assert_eq!(lines.run(index..index + 1), &line[..]);
            }
            prop_assert_eq!(lines.end(lines.len()), rendered.text().len());
        }
    }
}
