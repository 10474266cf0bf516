//! How long the body is: `Content-Length` and `Transfer-Encoding` (RFC 9112 §6).

use super::list;
use crate::engine::h1::chars::is_token;
use crate::engine::h1::error::HeadError;

/// Digits only: no sign, no list, no blank, and nothing that a server with signed 64-bit lengths would read as another number.
pub(in crate::engine::h1) fn parse_length(value: &[u8]) -> Result<u64, HeadError> {
    const REFUSED: HeadError = HeadError::Malformed("invalid Content-Length");
    if value.is_empty() {
        return Err(REFUSED);
    }
    let mut length: i64 = 0;
    for &byte in value {
        if !byte.is_ascii_digit() {
            return Err(REFUSED);
        }
        let digit = i64::from(byte - b'0');
        length = length.checked_mul(10).and_then(|length| length.checked_add(digit)).ok_or(REFUSED)?;
    }
    Ok(length.unsigned_abs())
}

/// `chunked`, once, alone. Other codings than that are well-formed but unknown here (RFC 9112 §6.1: 501).
pub(in crate::engine::h1) fn check_coding(value: &[u8]) -> Result<(), HeadError> {
    if value.eq_ignore_ascii_case(b"chunked") {
        return Ok(());
    }
    let mut unknown = false;
    for coding in list::elements(value) {
        let name = coding.split(|&byte| matches!(byte, b';' | b' ' | b'\t')).next().unwrap_or_default();
        if !is_token(name) {
            return Err(HeadError::Malformed("invalid Transfer-Encoding"));
        }
        unknown |= !name.eq_ignore_ascii_case(b"chunked");
    }
    if unknown {
        Err(HeadError::NotImplemented("transfer coding not implemented"))
    } else {
        Err(HeadError::Malformed("Transfer-Encoding is not exactly chunked"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::StatusCode;
    use proptest::prelude::*;

    #[test]
    fn a_length_is_digits_that_fit_into_63_bits() {
        assert_eq!(parse_length(b"0"), Ok(0));
        assert_eq!(parse_length(b"0042"), Ok(42));
        assert_eq!(parse_length(b"9223372036854775807"), Ok(i64::MAX as u64));
        for value in [
            &b""[..],
            b"+1",
            b"-1",
            b"1 ",
            b"1,1",
            b"0x10",
            b"1e3",
            b"1.0",
            b"1_000",
            b"\xd9\xa1",
            b"9223372036854775808",
            b"18446744073709551616",
        ] {
            assert!(parse_length(value).is_err(), "{}", value.escape_ascii());
        }
    }

    #[test]
    fn the_only_coding_is_chunked_once() {
        for value in [&b"chunked"[..], b"Chunked", b"CHUNKED"] {
            assert_eq!(check_coding(value), Ok(()));
        }
        for (value, status) in [
            (&b"gzip"[..], 501),
            (b"identity", 501),
            (b"gzip, chunked", 501),
            (b"chunked, gzip", 501),
            (b"xchunked", 501),
            (b"chunked-x", 501),
            (b"chunked, chunked", 400),
            (b"chunked,", 400),
            (b",chunked", 400),
            (b"", 400),
            (b"chunked;q=1", 400),
            (b"chunked;", 400),
            (b"\"chunked\"", 400),
            (b"chunked\x0b", 400),
            (b"chunk\xffed", 400),
            (b"'chunked'", 501),
        ] {
            let error = check_coding(value).expect_err("refused");
            assert_eq!(
                error.status(),
                StatusCode::from_u16(status).expect("status"),
                "{}",
                value.escape_ascii()
            );
        }
    }

    proptest! {
        #[test]
        fn lengths_read_as_the_standard_library_reads_them(length in 0..=i64::MAX) {
            prop_assert_eq!(parse_length(length.to_string().as_bytes()), Ok(length.unsigned_abs()));
        }
    }
}
