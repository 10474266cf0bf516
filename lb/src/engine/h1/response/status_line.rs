//! The first line: version, status, reason (RFC 9112 §4).

use http::{StatusCode, Version};

use super::error::ResponseError;
use crate::engine::h1::chars::find_control;
use crate::engine::h1::error::{CARRIAGE_RETURN, LINE_FEED};
use crate::engine::h1::span::Span;

/// A status line that is in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StatusLine {
    pub(super) version: Version,
    pub(super) status: StatusCode,
    /// Empty where the server gave none, with or without the blank before it.
    pub(super) reason: Span,
}

/// As long is the part that is the same in every status line.
const FIXED: usize = "HTTP/1.1 200".len();

/// Reads the line at the start of `buf`. `None`: it does not end there yet. Up to `searched` nothing needs to be looked at again.
///
/// Bytes are judged in their order and each as soon as it comes, so that a server which speaks something else is found out at once.
pub(super) fn read(buf: &[u8], searched: &mut usize) -> Result<Option<StatusLine>, ResponseError> {
    let Some((version, status)) = read_fixed(buf)? else {
        return Ok(None);
    };
    let reason_at = match buf[FIXED..] {
        [b' ', ..] => FIXED + 1,
        [b'\r', ..] | [] => FIXED,
        [b'\n', ..] => return Err(LINE_FEED.into()),
        _ => return Err(ResponseError::Malformed("status is not three digits and a blank")),
    };
    let from = reason_at.max(*searched);
    let end = find_control(&buf[from..]).map_or(buf.len(), |found| from + found);
    match buf[end..] {
        [b'\r', b'\n', ..] => {}
        [] | [b'\r'] => {
            *searched = end;
            return Ok(None);
        }
        [b'\r', ..] => return Err(CARRIAGE_RETURN.into()),
        [b'\n', ..] => return Err(LINE_FEED.into()),
        _ => return Err(ResponseError::Malformed("control character in the reason phrase")),
    }
    let reason = Span::new(reason_at, end - reason_at);
    Ok(Some(StatusLine { version, status, reason }))
}

fn read_fixed(buf: &[u8]) -> Result<Option<(Version, StatusCode)>, ResponseError> {
    let [b'H', b'T', b'T', b'P', b'/', b'1', b'.', minor @ (b'0' | b'1'), b' ', status @ ..] = buf else {
        return check_beginning(buf).map(|()| None);
    };
    let Some(status) = status.first_chunk::<3>() else {
        return check_beginning(buf).map(|()| None);
    };
    let version = if *minor == b'0' { Version::HTTP_10 } else { Version::HTTP_11 };
    match StatusCode::from_bytes(status) {
        Ok(status) => Ok(Some((version, status))),
        Err(_) => Err(ResponseError::Malformed("invalid status")),
    }
}

/// Whether what there is can still become a status line, as far as the part goes that is the same in each.
#[cold]
fn check_beginning(buf: &[u8]) -> Result<(), ResponseError> {
    for (at, &byte) in buf.iter().enumerate().take(FIXED) {
        match at {
            0..5 if byte != b"HTTP/"[at] => return Err(ResponseError::Malformed("no status line")),
            5 | 7 if !byte.is_ascii_digit() => return Err(ResponseError::Malformed("invalid HTTP version")),
            5 if byte != b'1' => return Err(ResponseError::Version),
            6 if byte != b'.' => return Err(ResponseError::Malformed("invalid HTTP version")),
            7 if byte > b'1' => return Err(ResponseError::Version),
            8 if byte != b' ' => return Err(ResponseError::Malformed("no blank between version and status")),
            9 if !matches!(byte, b'1'..=b'9') => return Err(ResponseError::Malformed("invalid status")),
            10 | 11 if !byte.is_ascii_digit() => return Err(ResponseError::Malformed("invalid status")),
            _ => {}
        }
    }
    Ok(())
}
