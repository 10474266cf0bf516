//! A body on its way: written at one end, read by many, from wherever each of them stands.
//!
//! Large chunks are kept as they come and handed on without a copy. Small ones are gathered in a tail first, so that an origin that dribbles
//! byte by byte does not cost a pointer a byte. Positions are bytes since the body's start, so that readers need not know how the bytes are
//! cut. What nobody needs any more can be forgotten from the front.

use std::collections::VecDeque;

use bytes::Bytes;

use super::object::PIECE;

/// From this length on a chunk is kept as it is.
const LARGE: usize = 4 << 10;
/// The tail is closed at this length.
const TAIL: usize = 16 << 10;
/// A body up to this length ends as one piece, of just its size.
const ONE_PIECE: u64 = 64 << 10;

#[derive(Debug, Default)]
pub(super) struct Buffer {
    pieces: VecDeque<Piece>,
    tail: Vec<u8>,
    /// Bytes in `pieces`.
    closed: u64,
    /// Where the body ends so far.
    end: u64,
}

#[derive(Debug)]
struct Piece {
    start: u64,
    bytes: Bytes,
}

/// What a reader finds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// These bytes come next.
    Bytes(Bytes),
    /// Nothing yet.
    Nothing,
    /// They are forgotten.
    Forgotten,
}

impl Buffer {
    /// What [`Buffer::push`] of that many bytes will add to [`Buffer::held`].
    pub(super) fn cost(&self, length: usize) -> u64 {
        let closes = !self.tail.is_empty() && (length >= LARGE || self.tail.len() + length > TAIL);
        let pieces = usize::from(length >= LARGE) + usize::from(closes);
        (length + pieces * PIECE) as u64
    }

    pub(super) fn push(&mut self, chunk: Bytes) {
        if chunk.len() >= LARGE || self.tail.len() + chunk.len() > TAIL {
            self.close_tail();
        }
        self.end += chunk.len() as u64;
        if chunk.len() >= LARGE {
            self.add(chunk, self.end);
        } else {
            self.tail.extend_from_slice(&chunk);
        }
    }

    fn close_tail(&mut self) {
        if !self.tail.is_empty() {
            let tail = std::mem::take(&mut self.tail);
            self.add(Bytes::from(tail.into_boxed_slice()), self.end);
        }
    }

    fn add(&mut self, bytes: Bytes, end: u64) {
        let start = end - bytes.len() as u64;
        self.closed += bytes.len() as u64;
        self.pieces.push_back(Piece { start, bytes });
    }

    /// What stands at a position. Bytes in the tail are copied, all others shared.
    pub(super) fn read(&self, position: u64) -> Found {
        let tail = self.end - self.tail.len() as u64;
        if position >= self.end {
            return Found::Nothing;
        }
        if position >= tail {
            return Found::Bytes(Bytes::copy_from_slice(&self.tail[(position - tail) as usize..]));
        }
        let after = self.pieces.partition_point(|piece| piece.start <= position);
        match after.checked_sub(1).and_then(|at| self.pieces.get(at)) {
            // What is forgotten is forgotten from the front, so that pieces have no gaps between them.
            Some(piece) => Found::Bytes(piece.bytes.slice((position - piece.start) as usize..)),
            None => Found::Forgotten,
        }
    }

    /// Lets go of pieces that end at or before a position.
    pub(super) fn forget(&mut self, position: u64) {
        while let Some(piece) = self.pieces.front() {
            if piece.start + piece.bytes.len() as u64 > position {
                return;
            }
            self.closed -= piece.bytes.len() as u64;
            self.pieces.pop_front();
        }
        if position >= self.end {
            self.tail = Vec::new();
        }
    }

    /// Lets go of the oldest pieces until no more than that many bytes are held, or only the tail is.
    pub(super) fn shrink(&mut self, held: u64) {
        while self.held() > held {
            let Some(piece) = self.pieces.front() else { return };
            self.forget(piece.start + piece.bytes.len() as u64);
        }
    }

    /// Where what is not forgotten begins.
    pub(super) fn start(&self) -> u64 {
        self.pieces.front().map_or(self.end - self.tail.len() as u64, |piece| piece.start)
    }

    /// Where the body ends so far.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// Bytes of memory.
    pub(super) fn held(&self) -> u64 {
        self.closed + (self.pieces.len() * PIECE + self.tail.len()) as u64
    }

    /// Everything, in a form to be kept: a short body as one piece. It is copied even where it is one already, because a chunk may be the
    /// small visible part of a large read buffer, which would then be kept alive uncounted.
    pub(super) fn pieces(&self) -> Vec<Bytes> {
        if self.end <= ONE_PIECE {
            let parts = self.pieces.iter().map(|piece| &*piece.bytes).chain([&*self.tail]);
            let whole = parts.fold(Vec::with_capacity(self.end as usize), |mut whole, part| {
                whole.extend_from_slice(part);
                whole
            });
            return if whole.is_empty() { Vec::new() } else { vec![Bytes::from(whole)] };
        }
        let tail = (!self.tail.is_empty()).then(|| Bytes::copy_from_slice(&self.tail));
        self.pieces.iter().map(|piece| piece.bytes.clone()).chain(tail).collect()
    }

    /// Exchanges what it holds for the same bytes in other pieces.
    pub(super) fn share(&mut self, pieces: &[Bytes]) {
        let end = self.end;
        *self = Self::default();
        for piece in pieces {
            self.end += piece.len() as u64;
            self.add(piece.clone(), self.end);
        }
        debug_assert_eq!(self.end, end);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read_all(buffer: &Buffer) -> Vec<u8> {
        let mut all = Vec::new();
        while let Found::Bytes(bytes) = buffer.read(all.len() as u64) {
            all.extend_from_slice(&bytes);
        }
        all
    }

    #[test]
    fn large_chunks_are_not_copied() {
        let chunk = Bytes::from(vec![7; LARGE]);
        let mut buffer = Buffer::default();
        (0..20).for_each(|_| buffer.push(chunk.clone()));
        let Found::Bytes(read) = buffer.read(0) else { panic!() };
        assert_eq!(read.as_ptr(), chunk.as_ptr());
        assert!(buffer.pieces().iter().all(|piece| piece.as_ptr() == chunk.as_ptr()));
    }

    #[test]
    fn a_dribble_does_not_cost_a_piece_a_byte() {
        let mut buffer = Buffer::default();
        (0..100_000).for_each(|_| buffer.push(Bytes::from_static(b"x")));
        assert!(buffer.held() < 101_000, "{}", buffer.held());
        assert!(buffer.pieces().len() < 8);
    }

    #[test]
    fn what_is_forgotten_says_so() {
        let mut buffer = Buffer::default();
        buffer.push(Bytes::from(vec![1; LARGE]));
        buffer.push(Bytes::from(vec![2; LARGE]));
        buffer.forget(LARGE as u64 + 5);
        assert_eq!(buffer.read(0), Found::Forgotten);
        assert_eq!(buffer.read(LARGE as u64 + 5), Found::Bytes(Bytes::from(vec![2; LARGE - 5])));
        buffer.forget(2 * LARGE as u64);
        assert_eq!((buffer.held(), buffer.read(2 * LARGE as u64)), (0, Found::Nothing));
    }

    proptest! {
        #[test]
        fn bytes_come_out_as_they_went_in(lengths in proptest::collection::vec(0_usize..20_000, 0..20), forget in 0_u64..200_000) {
            let mut buffer = Buffer::default();
            let mut all = Vec::new();
            for (number, length) in lengths.into_iter().enumerate() {
                let chunk = vec![number as u8; length];
                all.extend_from_slice(&chunk);
                let expected = buffer.held() + buffer.cost(length);
                buffer.push(Bytes::from(chunk));
                prop_assert_eq!(buffer.held(), expected);
            }
            prop_assert_eq!(&read_all(&buffer), &all);
            prop_assert_eq!(&buffer.pieces().concat(), &all);
            prop_assert!(all.len() > ONE_PIECE as usize || buffer.pieces().len() <= 1);
            let mut shared = Buffer { end: buffer.end, ..Buffer::default() };
            shared.share(&buffer.pieces());
            prop_assert_eq!(&read_all(&shared), &all);
            buffer.forget(forget);
            if (forget as usize) < all.len() {
                let Found::Bytes(bytes) = buffer.read(forget) else { return Err(TestCaseError::fail("kept")) };
                prop_assert_eq!(bytes[0], all[forget as usize]);
            }
        }
    }
}
