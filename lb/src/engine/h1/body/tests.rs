//! Bodies, whole and in pieces, and what is wrong with some.

use proptest::prelude::*;

use super::*;

/// How many bytes of the input are the body's, and how many are content; `None` where it does not end.
fn read(framing: Framing, input: &[u8]) -> Result<Option<(usize, u64)>, BodyError> {
    let mut body = Body::new(framing);
    let taken = body.advance(input)?;
    Ok(body.is_done().then_some((taken, body.decoded())))
}

#[test]
fn nothing_belongs_to_a_request_without_a_body() {
    assert_eq!(read(Framing::None, b"GET /"), Ok(Some((0, 0))));
    assert_eq!(read(Framing::Length(0), b"GET /"), Ok(Some((0, 0))));
}

#[test]
fn a_length_takes_as_many_bytes() {
    assert_eq!(read(Framing::Length(5), b"helloGET /"), Ok(Some((5, 5))));
    assert_eq!(read(Framing::Length(5), b"hell"), Ok(None));
    assert_eq!(read(Framing::Length(u64::MAX), b"hell"), Ok(None));
}

#[test]
fn chunks_end_with_the_empty_one_and_its_trailers() {
    for (input, taken, decoded) in [
        (&b"0\r\n\r\nGET /"[..], 5, 0),
        (b"5\r\nhello\r\n0\r\n\r\nGET /", 15, 5),
        (b"05\r\nhello\r\n000\r\n\r\n", 18, 5),
        (b"a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n", 35, 20),
        (b"5;a=b;c=\"d;e\"\r\nhello\r\n0;x\r\n\r\n", 29, 5),
        (b"2\r\n\r\n\r\n0\r\n\r\n", 12, 2),
        (b"0\r\nX-Checksum: 1\r\ny: \r\n\r\nrest", 25, 0),
    ] {
        assert_eq!(
            read(Framing::Chunked, input),
            Ok(Some((taken, decoded))),
            "{}",
            input.escape_ascii()
        );
    }
}

#[test]
fn malformed_chunks_are_refused() {
    for (name, input) in [
        ("no digits", &b"\r\n"[..]),
        ("extension without size", b";a\r\n"),
        ("sign", b"+5\r\nhello\r\n"),
        ("negative", b"-5\r\nhello\r\n"),
        ("hexadecimal prefix", b"0x5\r\nhello\r\n"),
        ("space before", b" 5\r\nhello\r\n"),
        ("space after", b"5 \r\nhello\r\n"),
        ("space before an extension", b"5 ;a\r\nhello\r\n"),
        ("tab after", b"5\t\r\nhello\r\n"),
        ("underscore", b"1_0\r\n"),
        ("no hexadecimal digit", b"g\r\n"),
        ("overflow", b"10000000000000005\r\nhello\r\n"),
        ("many zeros", b"00000000000000005\r\nhello\r\n"),
        ("bare LF after the size", b"5\nhello\r\n"),
        ("bare CR after the size", b"5\rhello\r\n"),
        ("bare LF in an extension", b"5;a\nhello\r\n"),
        ("bare CR in an extension", b"5;a\rb\r\nhello\r\n"),
        ("NUL in an extension", b"5;a\0\r\nhello\r\n"),
        ("data longer than size", b"5\r\nhello!\r\n"),
        ("data shorter than size", b"5\r\nhell\r\n0\r\n\r\n"),
        ("bare LF after the data", b"5\r\nhello\n0\r\n\r\n"),
        ("bare CR after the data", b"5\r\nhello\r0\r\n\r\n"),
        ("bare LF at the end", b"0\r\n\n"),
        ("bare CR at the end", b"0\r\n\rGET"),
        ("bare LF after a trailer", b"0\r\na: b\n\r\n"),
        ("bare CR in a trailer", b"0\r\na: b\rc\r\n\r\n"),
        ("trailer without colon", b"0\r\na\r\n\r\n"),
        ("trailer without name", b"0\r\n: a\r\n\r\n"),
        ("trailer with a space before the colon", b"0\r\na : b\r\n\r\n"),
        ("folded trailer", b"0\r\na: b\r\n c\r\n\r\n"),
        ("NUL in a trailer", b"0\r\na: \0\r\n\r\n"),
        ("forbidden Content-Length", b"0\r\nContent-Length: 5\r\n\r\n"),
        ("forbidden Transfer-Encoding", b"0\r\ntransfer-encoding: chunked\r\n\r\n"),
        ("forbidden Host", b"0\r\nHost: b\r\n\r\n"),
        ("forbidden Authorization", b"0\r\nAUTHORIZATION: x\r\n\r\n"),
        ("forbidden with an underscore", b"0\r\ncontent_length: 5\r\n\r\n"),
    ] {
        assert!(read(Framing::Chunked, input).is_err(), "{name}: {}", input.escape_ascii());
    }
}

#[test]
fn a_name_that_only_begins_like_a_forbidden_one_passes() {
    for name in [
        "hosts",
        "content-length-2",
        "x-content-length",
        "content-lengt",
        "a-name-longer-than-every-forbidden-one",
    ] {
        let input = format!("0\r\n{name}: 1\r\n\r\n");
        assert_eq!(read(Framing::Chunked, input.as_bytes()), Ok(Some((input.len(), 0))), "{name}");
    }
}

#[test]
fn lines_and_trailers_are_bounded() {
    let extension = |len: usize| format!("5;{}\r\nhello\r\n0\r\n\r\n", "a".repeat(len));
    assert!(read(Framing::Chunked, extension(4000).as_bytes()).is_ok_and(|end| end.is_some()));
    assert!(read(Framing::Chunked, extension(4096).as_bytes()).is_err());
    let trailers = |len: usize| format!("0\r\na: {}\r\n\r\n", "b".repeat(len));
    assert!(read(Framing::Chunked, trailers(65_000).as_bytes()).is_ok_and(|end| end.is_some()));
    assert!(read(Framing::Chunked, trailers(65_536).as_bytes()).is_err());
}

#[test]
fn many_extensions_around_little_data_are_refused_and_small_chunks_alone_are_not() {
    let padded = format!("1;{}\r\na\r\n", "x".repeat(1000)).repeat(30) + "0\r\n\r\n";
    assert_eq!(
        read(Framing::Chunked, padded.as_bytes()),
        Err(BodyError("more chunk extensions than data"))
    );
    let small = "1\r\na\r\n".repeat(100_000) + "0\r\n\r\n";
    assert_eq!(read(Framing::Chunked, small.as_bytes()), Ok(Some((small.len(), 100_000))));
}

#[test]
fn a_malformed_body_stays_malformed() {
    let mut body = Body::new(Framing::Chunked);
    let error = body.advance(b"x").expect_err("refused");
    assert_eq!(body.advance(b"0\r\n\r\n"), Err(error));
    assert!(!body.is_done());
}

/// A valid chunked body and what it holds.
pub(super) fn chunked() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let chunk = (
        prop::collection::vec(any::<u8>(), 1..60),
        "(;[a-z]{1,5}(=[a-z\"; ]{0,5})?)?",
        any::<bool>(),
    );
    (prop::collection::vec(chunk, 0..8), "(x-[a-z]{1,20}: [ -~]{0,10}\r\n){0,3}").prop_map(|(chunks, trailers)| {
        let (mut raw, mut data) = (Vec::new(), Vec::new());
        for (bytes, extension, upper) in chunks {
            let size = if upper {
                format!("{:X}", bytes.len())
            } else {
                format!("{:03x}", bytes.len())
            };
            raw.extend_from_slice(format!("{size}{extension}\r\n").as_bytes());
            raw.extend_from_slice(&bytes);
            raw.extend_from_slice(b"\r\n");
            data.extend_from_slice(&bytes);
        }
        raw.extend_from_slice(format!("0\r\n{trailers}\r\n").as_bytes());
        (raw, data)
    })
}

/// Pieces of the lengths given, over and over, until the body is done or the input is.
fn in_pieces(input: &[u8], lengths: &[usize]) -> Result<(usize, u64, bool), BodyError> {
    let mut body = Body::new(Framing::Chunked);
    let mut taken = 0;
    for length in lengths.iter().cycle() {
        if body.is_done() || taken == input.len() {
            break;
        }
        let piece = &input[taken..input.len().min(taken + length)];
        taken += body.advance(piece)?;
    }
    Ok((taken, body.decoded(), body.is_done()))
}

proptest! {
    #[test]
    fn a_valid_body_ends_where_it_was_written_to_end((raw, data) in chunked(), next in prop::collection::vec(any::<u8>(), 0..20), lengths in prop::collection::vec(1usize..50, 1..5)) {
        let input = [&raw[..], &next].concat();
        prop_assert_eq!(in_pieces(&input, &lengths), Ok((raw.len(), data.len() as u64, true)));
        prop_assert_eq!(in_pieces(&input, &[1]), Ok((raw.len(), data.len() as u64, true)));
    }

    #[test]
    fn any_bytes_in_pieces_give_what_they_give_at_once((raw, _) in chunked(), change in any::<(prop::sample::Index, u8)>(), lengths in prop::collection::vec(1usize..50, 1..5)) {
        let mut input = raw;
        let at = change.0.index(input.len());
        input[at] = change.1;
        prop_assert_eq!(in_pieces(&input, &lengths), in_pieces(&input, &[usize::MAX / 2]));
    }

    #[test]
    fn httparse_reads_the_same_sizes(size in any::<u64>(), extension in "(;[a-z]{1,5})?") {
        let line = format!("{size:x}{extension}\r\n");
        let mut body = Body::new(Framing::Chunked);
        prop_assert_eq!(body.advance(line.as_bytes()), Ok(line.len()));
        prop_assert_eq!(httparse::parse_chunk_size(line.as_bytes()), Ok(httparse::Status::Complete((line.len(), size))));
    }
}
