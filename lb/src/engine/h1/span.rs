//! Where something stands in a head.

/// A range of a head's bytes: an offset instead of a reference, so that it outlives a move of the buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Span {
    start: u32,
    len: u32,
}

impl Span {
    /// Heads are bounded far below 4 GiB: [`super::head::HeadLimits`] caps them.
    pub(super) const fn new(start: usize, len: usize) -> Self {
        Self {
            start: start as u32,
            len: len as u32,
        }
    }

    pub(super) const fn start(self) -> usize {
        self.start as usize
    }

    pub(super) const fn end(self) -> usize {
        self.start() + self.len()
    }

    pub(super) const fn len(self) -> usize {
        self.len as usize
    }

    /// Without its first `count` bytes.
    pub(super) const fn skip(self, count: usize) -> Self {
        Self::new(self.start() + count, self.len() - count)
    }

    /// Its first `count` bytes.
    pub(super) const fn take(self, count: usize) -> Self {
        Self::new(self.start(), count)
    }

    /// The bytes, or none where `buf` is not the buffer that the span was made for.
    pub(super) fn of(self, buf: &[u8]) -> &[u8] {
        buf.get(self.start()..self.end()).unwrap_or_default()
    }
}
