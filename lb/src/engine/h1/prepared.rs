//! A response head that is sent again and again.

use http::{HeaderName, HeaderValue, StatusCode};

use super::fields::{Field, Lines};
use super::span::Span;

/// A head in the bytes of HTTP/1.1, rendered once, with its lines known: what is sent of it is a copy of a few runs.
#[derive(Debug)]
pub struct Prepared {
    /// From the status line to the empty line.
    bytes: Box<[u8]>,
    fields: Box<[Field]>,
    /// Where the first field line begins.
    first: usize,
}

impl Prepared {
    /// The head of these fields.
    pub fn new<'a>(status: StatusCode, fields: impl Iterator<Item = (&'a HeaderName, &'a HeaderValue)>) -> Self {
        let mut bytes = Vec::with_capacity(512);
        for part in [
            "HTTP/1.1 ",
            status.as_str(),
            " ",
            status.canonical_reason().unwrap_or_default(),
            "\r\n",
        ] {
            bytes.extend_from_slice(part.as_bytes());
        }
        let first = bytes.len();
        let mut spans = Vec::with_capacity(16);
        for (name, value) in fields {
            let name_at = bytes.len();
            bytes.extend_from_slice(name.as_str().as_bytes());
            bytes.extend_from_slice(b": ");
            let value_at = bytes.len();
            bytes.extend_from_slice(value.as_bytes());
            bytes.extend_from_slice(b"\r\n");
            spans.push(Field {
                name: Span::new(name_at, name.as_str().len()),
                value: Span::new(value_at, value.len()),
            });
        }
        bytes.extend_from_slice(b"\r\n");
        Self {
            bytes: bytes.into(),
            fields: spans.into(),
            first,
        }
    }

    /// The status line, with its CRLF.
    #[must_use]
    pub fn status_line(&self) -> &[u8] {
        &self.bytes[..self.first]
    }

    /// The field lines.
    #[must_use]
    pub fn lines(&self) -> Lines<'_> {
        Lines::new(&self.bytes, &self.fields, self.bytes.len())
    }

    /// Bytes of memory.
    #[must_use]
    pub fn size(&self) -> u64 {
        (self.bytes.len() + size_of_val(&*self.fields)) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::h1::{HeadLimits, ResponseParser};

    #[test]
    fn it_is_a_head_and_its_lines_are_where_a_parser_finds_them() {
        let fields = [
            (HeaderName::from_static("content-type"), HeaderValue::from_static("text/plain")),
            (HeaderName::from_static("x-empty"), HeaderValue::from_static("")),
            (HeaderName::from_static("content-length"), HeaderValue::from_static("5")),
        ];
        let prepared = Prepared::new(StatusCode::OK, fields.iter().map(|(name, value)| (name, value)));
        let mut parser = ResponseParser::default();
        assert_eq!(parser.advance(&prepared.bytes, &HeadLimits::new(1000, 10)), Ok(true));
        assert_eq!(parser.parsed().len(), prepared.bytes.len());
        assert_eq!(prepared.status_line(), b"HTTP/1.1 200 OK\r\n");
        let lines = prepared.lines();
        let found: Vec<_> = lines.iter().map(|(_, name, value)| (name.to_vec(), value.to_vec())).collect();
        let expected: Vec<_> = fields
            .iter()
            .map(|(name, value)| (name.as_str().as_bytes().to_vec(), value.as_bytes().to_vec()))
            .collect();
        assert_eq!(found, expected);
        assert_eq!(lines.run(1..3), b"x-empty: \r\ncontent-length: 5\r\n");
    }
}
