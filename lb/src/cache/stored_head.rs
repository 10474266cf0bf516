//! The head of what is stored, as whoever sends it or judges by it sees it.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::common::Common;
use crate::engine::h1::Lines;
use crate::exchange::head::{Fields, ResponseHead};

/// The head of an [`Object`](super::Object): lines that it shares with others, and its own.
#[derive(Debug, Clone, Copy)]
pub struct StoredHead<'a> {
    common: &'a Common,
    own: Lines<'a>,
}

impl<'a> StoredHead<'a> {
    pub(super) fn new(common: &'a Common, own: Lines<'a>) -> Self {
        Self { common, own }
    }

    /// `HTTP/1.1 200 OK`, with its CRLF.
    pub fn status_line(self) -> &'a [u8] {
        self.common.status_line()
    }

    /// All lines, each of some name before or behind all others of it.
    pub fn lines(self) -> [Lines<'a>; 2] {
        [self.common.lines(), self.own]
    }

    /// Those that no other response has.
    pub(super) fn own(self) -> Lines<'a> {
        self.own
    }

    /// The fields as a map, all their values in one piece of memory.
    pub fn to_map(self) -> HeaderMap {
        let fields = || self.lines().into_iter().flat_map(Lines::iter);
        let text: Vec<u8> = fields().flat_map(|(_, _, value)| value).copied().collect();
        let text = Bytes::from(text);
        let mut map = HeaderMap::with_capacity(fields().count() + 8);
        let mut start = 0;
        for (_, name, value) in fields() {
            let end = start + value.len();
            if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_maybe_shared(text.slice(start..end))) {
                map.append(name, value);
            }
            start = end;
        }
        map
    }
}

impl Fields for StoredHead<'_> {
    fn get(&self, name: &HeaderName) -> Option<&[u8]> {
        self.lines().into_iter().find_map(|lines| lines.values(name).next())
    }

    fn all<'a>(&'a self, name: &'a HeaderName) -> impl Iterator<Item = &'a [u8]> {
        self.lines().into_iter().flat_map(|lines| lines.values(name))
    }

    fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let lines = self.lines().into_iter().flat_map(Lines::iter);
        lines.map(|(_, name, value)| (name, value))
    }
}

impl ResponseHead for StoredHead<'_> {
    fn status(&self) -> StatusCode {
        self.common.status
    }
}
