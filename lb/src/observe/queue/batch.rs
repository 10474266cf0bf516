//! Lines that leave in one write, and how far it has come.

/// Formatted lines.
#[derive(Default)]
pub(super) struct Batch {
    /// What is written. Every line ends with its only line feed.
    pub(super) bytes: Vec<u8>,
    /// So many bytes of it have been.
    written: usize,
    /// What the lines counted for in the queue.
    pub(super) lines: u64,
    pub(super) weight: u64,
}

impl Batch {
    /// What is left to write.
    pub(super) fn rest(&self) -> &[u8] {
        self.bytes.get(self.written..).unwrap_or_default()
    }

    /// Takes note of a write.
    pub(super) fn advance(&mut self, bytes: usize) {
        self.written += bytes;
    }

    /// Starts the line that is half written once more: the other half would stand in another file.
    pub(super) fn back_to_line_start(&mut self) {
        let written = self.bytes.get(..self.written).unwrap_or_default();
        self.written = written.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
    }

    /// How many lines are not written, or only in part. A notice of lost lines may stand before them, and is none of them.
    pub(super) fn unfinished(&self) -> u64 {
        let ends = self.rest().iter().filter(|&&byte| byte == b'\n').count() as u64;
        ends.min(self.lines)
    }

    /// Makes it empty, and keeps its memory unless that has grown unusually large.
    pub(super) fn clear(&mut self) {
        if self.bytes.capacity() > 1 << 20 {
            self.bytes = Vec::new();
        }
        self.bytes.clear();
        (self.written, self.lines, self.weight) = (0, 0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_half_written_line_is_unfinished_and_can_be_started_again() {
        let mut batch = Batch {
            bytes: b"one\ntwo\nthree\n".to_vec(),
            lines: 3,
            ..Batch::default()
        };
        batch.back_to_line_start();
        assert_eq!(batch.rest(), b"one\ntwo\nthree\n");
        batch.advance(6);
        assert_eq!((batch.rest(), batch.unfinished()), (&b"o\nthree\n"[..], 2));
        batch.back_to_line_start();
        assert_eq!(batch.rest(), b"two\nthree\n");
        batch.advance(4);
        batch.back_to_line_start();
        assert_eq!((batch.rest(), batch.unfinished()), (&b"three\n"[..], 1));
    }
}
