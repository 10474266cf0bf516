//! Chunked bodies: one content and one end, whole or in pieces, by whomever.

use super::super::body::{Body, BodyError, Piece};
use super::super::parsed::Framing;

/// A chunked body and what follows it.
pub fn chunked_body(bytes: &[u8]) {
    let whole = decode(bytes, usize::MAX);
    let cut = 2 + usize::from(bytes.first().copied().unwrap_or_default() % 13);
    for length in [1, cut] {
        assert_eq!(decode(bytes, length), whole, "cuts change the reading");
    }
    let mut body = Body::new(Framing::Chunked);
    let taken = body.advance(bytes);
    assert_eq!(taken, whole.as_ref().map(|whole| whole.taken).map_err(|&error| error));
    let Ok(Decoded { content, taken, done }) = whole else { return };
    assert_eq!((body.decoded(), body.is_done()), (content.len() as u64, done));
    if done {
        assert_eq!(decode_naively(bytes), Some((content.clone(), taken)));
        let again = [format!("{:X}\r\n", content.len()).as_bytes(), &content, b"\r\n0\r\n\r\n"].concat();
        let again = if content.is_empty() { b"0\r\n\r\n".to_vec() } else { again };
        let taken = again.len();
        assert_eq!(decode(&again, cut), Ok(Decoded { content, taken, done }));
    } else {
        assert_eq!(taken, bytes.len(), "bytes of an unfinished body were left");
    }
}

/// What was read of an input.
#[derive(Debug, PartialEq, Eq)]
struct Decoded {
    content: Vec<u8>,
    taken: usize,
    done: bool,
}

/// Reads an input that comes so many bytes at a time.
fn decode(input: &[u8], length: usize) -> Result<Decoded, BodyError> {
    let mut body = Body::new(Framing::Chunked);
    let (mut content, mut taken, mut in_trailers) = (Vec::new(), 0, false);
    for part in input.chunks(length.max(1)) {
        let mut rest = part;
        loop {
            let piece = body.next(rest)?;
            let (run, after) = rest.split_at(piece.len());
            assert!(!in_trailers || matches!(piece, Piece::Trailers(_) | Piece::More | Piece::Done));
            match piece {
                Piece::Data(_) => content.extend_from_slice(run),
                Piece::Trailers(_) => in_trailers = true,
                Piece::Frame(_) => {}
                Piece::More | Piece::Done => break,
            }
            assert!(!run.is_empty());
            rest = after;
            taken += run.len();
        }
        if body.is_done() {
            break;
        }
        assert!(rest.is_empty());
    }
    let done = body.is_done();
    Ok(Decoded { content, taken, done })
}

/// Content and end as the grammar has them, if the body is whole. It accepts a good deal that is refused elsewhere.
fn decode_naively(input: &[u8]) -> Option<(Vec<u8>, usize)> {
    let line_end = |at: usize| Some(at + input[at..].windows(2).position(|pair| pair == b"\r\n")?);
    let (mut content, mut at) = (Vec::new(), 0);
    loop {
        let end = line_end(at)?;
        let size = input[at..end].split(|&byte| byte == b';').next()?;
        let size = usize::from_str_radix(std::str::from_utf8(size).ok()?, 16).ok()?;
        at = end + 2;
        if size == 0 {
            break;
        }
        content.extend_from_slice(input.get(at..at.checked_add(size)?)?);
        at += size;
        at += input[at..].starts_with(b"\r\n").then_some(2)?;
    }
    while !input[at..].starts_with(b"\r\n") {
        at = line_end(at)? + 2;
    }
    Some((content, at + 2))
}
