//! What the runs of a body are.

use proptest::prelude::*;

use super::tests::chunked;
use super::*;

/// Every piece of an input that comes at once, and how it ends.
fn pieces(body: &mut Body, mut input: &[u8]) -> Vec<Piece> {
    let mut pieces = Vec::new();
    loop {
        let piece = body.next(input).expect("in order");
        pieces.push(piece);
        if piece.is_empty() {
            return pieces;
        }
        input = &input[piece.len()..];
    }
}

#[test]
fn chunk_lines_are_one_run_up_to_the_next_content() {
    let mut body = Body::new(Framing::Chunked);
    assert_eq!(
        pieces(&mut body, b"5\r\nhello\r\n1;a\r\nx\r\n0\r\nA: b\r\n\r\nHTTP"),
        [
            Piece::Frame(3),
            Piece::Data(5),
            Piece::Frame(7),
            Piece::Data(1),
            Piece::Frame(5),
            Piece::Trailers(8),
            Piece::Done
        ]
    );
    assert_eq!((body.decoded(), body.remaining()), (6, Some(0)));
}

#[test]
fn the_empty_line_belongs_to_the_trailers_even_where_there_are_none() {
    let mut body = Body::new(Framing::Chunked);
    assert_eq!(pieces(&mut body, b"0\r\n"), [Piece::Frame(3), Piece::More]);
    assert!(!body.is_done());
    assert_eq!(pieces(&mut body, b"\r\n"), [Piece::Trailers(2), Piece::Done]);
}

#[test]
fn a_length_is_one_run_and_what_follows_is_not_touched() {
    let mut body = Body::from_response(ResponseFraming::Length(5));
    assert_eq!((body.remaining(), body.ends_with_connection()), (Some(5), false));
    assert_eq!(pieces(&mut body, b"he"), [Piece::Data(2), Piece::More]);
    assert_eq!(body.remaining(), Some(3));
    assert_eq!(pieces(&mut body, b"lloHTTP/1.1"), [Piece::Data(3), Piece::Done]);
    assert_eq!(body.remaining(), Some(0));
}

#[test]
fn a_body_that_ends_with_the_connection_takes_everything_and_is_never_done() {
    let mut body = Body::from_response(ResponseFraming::UntilClose);
    assert_eq!(pieces(&mut body, b"HTTP/1.1 200 OK\r\n"), [Piece::Data(17), Piece::More]);
    assert_eq!((body.remaining(), body.is_done(), body.ends_with_connection()), (None, false, true));
    body.consume(1 << 40);
    assert_eq!(body.decoded(), (1 << 40) + 17);
}

#[test]
fn a_response_without_a_body_is_done_before_its_first_byte() {
    for framing in [ResponseFraming::None, ResponseFraming::Length(0)] {
        let mut body = Body::from_response(framing);
        assert!(body.is_done() && !body.ends_with_connection());
        assert_eq!(pieces(&mut body, b"HTTP"), [Piece::Done]);
    }
}

#[test]
fn what_was_moved_unseen_counts_as_content() {
    let mut body = Body::from_response(ResponseFraming::Length(10));
    body.consume(4);
    assert_eq!((body.remaining(), body.decoded()), (Some(6), 4));
    body.consume(6);
    assert!(body.is_done());
    body.consume(1);
    assert_eq!(body.decoded(), 10);
}

#[test]
fn nothing_of_a_chunked_body_can_be_moved_unseen() {
    let mut body = Body::new(Framing::Chunked);
    body.consume(3);
    assert_eq!(pieces(&mut body, b"3\r\nabc"), [Piece::Frame(3), Piece::Data(3), Piece::More]);
    assert_eq!((body.decoded(), body.remaining()), (3, None));
}

/// The content, the trailers, and where the body ends, from an input that comes in pieces of these lengths, over and over.
fn decode(input: &[u8], lengths: &[usize]) -> Result<(Vec<u8>, Vec<u8>, usize), BodyError> {
    let mut body = Body::new(Framing::Chunked);
    let (mut data, mut trailers, mut at) = (Vec::new(), Vec::new(), 0);
    for length in lengths.iter().cycle() {
        let end = input.len().min(at + length);
        loop {
            let piece = body.next(&input[at..end])?;
            let run = &input[at..at + piece.len()];
            match piece {
                Piece::Data(_) => data.extend_from_slice(run),
                Piece::Trailers(_) => trailers.extend_from_slice(run),
                Piece::Frame(_) => {}
                Piece::More | Piece::Done => break,
            }
            at += piece.len();
        }
        if body.is_done() || at == input.len() {
            break;
        }
    }
    Ok((data, trailers, at))
}

proptest! {
    #[test]
    fn runs_give_the_content_however_the_bytes_are_cut((raw, data) in chunked(), lengths in prop::collection::vec(1usize..50, 1..5)) {
        let (decoded, trailers, taken) = decode(&raw, &lengths).expect("in order");
        prop_assert_eq!((&decoded, taken), (&data, raw.len()));
        prop_assert!(raw.ends_with(&trailers) && trailers.ends_with(b"\r\n"));
        prop_assert!(raw[..raw.len() - trailers.len()].ends_with(b"0\r\n"));
        prop_assert_eq!(decode(&raw, &[1]), decode(&raw, &[usize::MAX / 2]));
    }
}
