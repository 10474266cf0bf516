//! How much of a stored response answers a request: all of it, nothing because the client has it, or a part.
//!
//! The order is that of RFC 9110 §13.2.2. What comes first there, `If-Match` and `If-Unmodified-Since`, only the origin can judge (RFC 9111
//! §4.3.2), so that a request with one never comes here. A part is made of slices of what is stored; nothing is copied.

use std::ops::Range;

use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, EXPIRES, LAST_MODIFIED, RANGE,
    SET_COOKIE,
};
use http::{HeaderName, Method, StatusCode};

use super::conditional::{is_current, not_modified};
use super::object::Object;
use super::range::{self, Asked};
use crate::exchange::head::{Editor, Fields, RequestHead};

/// What is sent of a stored response.
#[derive(Debug)]
pub enum Portion {
    /// All.
    Whole,
    /// Nothing: the client has it.
    NotModified,
    /// These bytes.
    Part(Range<u64>),
    /// Several parts.
    Parts(Multipart),
    /// Nothing: the client asks for bytes that are not there.
    NotThere,
}

/// A body of `multipart/byteranges` (RFC 9110 §14.6).
#[derive(Debug)]
pub struct Multipart {
    parts: Vec<Range<u64>>,
    boundary: String,
    /// What stands before each part, and after the last one.
    heads: Vec<Bytes>,
}

impl Portion {
    /// What of a response answers a request. An object that is still arriving is sent whole, or not at all.
    pub fn of(request: &impl RequestHead, object: &Object) -> Self {
        let said = Said::by(request);
        if said.nothing || !object.status().is_success() {
            return Self::Whole;
        }
        if not_modified(request, &object.head()) {
            return Self::NotModified;
        }
        let length = object.length().filter(|_| object.is_whole());
        match length {
            Some(length) if said.range && *request.method() == Method::GET && object.status() == StatusCode::OK => {
                Self::ranges(request, object, length)
            }
            _ => Self::Whole,
        }
    }

    fn ranges(request: &impl RequestHead, object: &Object, length: u64) -> Self {
        let mut lines = request.all(&RANGE);
        let (Some(line), None) = (lines.next(), lines.next()) else {
            return Self::Whole;
        };
        if !is_current(request, &object.head()) {
            return Self::Whole;
        }
        match range::read(line, length) {
            Asked::Whole => Self::Whole,
            Asked::Nothing => Self::NotThere,
            Asked::Parts(mut parts) => match (parts.pop(), parts.is_empty()) {
                (Some(part), true) => Self::Part(part),
                (last, _) => {
                    parts.extend(last);
                    Self::Parts(Multipart::new(parts, object, length))
                }
            },
        }
    }

    /// The answer's status.
    pub fn status(&self, object: &Object) -> StatusCode {
        match self {
            Self::Whole => object.status(),
            Self::NotModified => StatusCode::NOT_MODIFIED,
            Self::Part(_) | Self::Parts(_) => StatusCode::PARTIAL_CONTENT,
            Self::NotThere => StatusCode::RANGE_NOT_SATISFIABLE,
        }
    }

    /// Edits the stored response's fields, so that they are about what is sent.
    pub fn edit(&self, object: &Object, out: &mut impl Editor) {
        match self {
            Self::Whole => {
                if let Some(length) = object.content_length() {
                    out.put_text(&CONTENT_LENGTH, itoa::Buffer::new().format(length).as_bytes());
                }
            }
            Self::NotModified => {
                METADATA.iter().for_each(|name| out.remove(name));
                // §15.4.5: of the validators the better one is enough.
                if object.etag().is_some() {
                    out.remove(&LAST_MODIFIED);
                }
            }
            Self::Part(part) => {
                set(out, &CONTENT_RANGE, &content_range(part, object));
                set(out, &CONTENT_LENGTH, &(part.end - part.start).to_string());
            }
            Self::Parts(multipart) => {
                set(
                    out,
                    &CONTENT_TYPE,
                    &format!("multipart/byteranges; boundary={}", multipart.boundary),
                );
                set(out, &CONTENT_LENGTH, &multipart.length().to_string());
            }
            Self::NotThere => {
                METADATA.iter().chain(&OF_THE_WHOLE).for_each(|name| out.remove(name));
                set(out, &CONTENT_RANGE, &format!("bytes */{}", object.length().unwrap_or(0)));
                set(out, &CONTENT_LENGTH, "0");
            }
        }
    }

    /// What is sent as the body, in order.
    pub fn body(&self, object: &Object) -> Vec<Bytes> {
        match self {
            Self::Whole => object.chunks().to_vec(),
            Self::NotModified | Self::NotThere => Vec::new(),
            Self::Part(part) => slices(object.chunks(), part).collect(),
            Self::Parts(multipart) => multipart.body(object.chunks()),
        }
    }
}

/// Fields about a body, which an answer without one has not: RFC 9110 §15.4.5 asks for none of them in a 304.
const METADATA: [HeaderName; 5] = [CONTENT_TYPE, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_RANGE];
/// Fields of the stored response that a refusal must not seem to have.
const OF_THE_WHOLE: [HeaderName; 6] = [
    ETAG,
    LAST_MODIFIED,
    CACHE_CONTROL,
    HeaderName::from_static("cdn-cache-control"),
    EXPIRES,
    SET_COOKIE,
];

/// What a request says about how much it wants. One pass over its fields: most say nothing.
struct Said {
    nothing: bool,
    range: bool,
}

impl Said {
    fn by(request: &impl RequestHead) -> Self {
        let mut said = Self {
            nothing: true,
            range: false,
        };
        for (name, _) in request.iter() {
            let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
            match name.len() {
                5 if is("range") => (said.nothing, said.range) = (false, true),
                13 if is("if-none-match") => said.nothing = false,
                17 if is("if-modified-since") => said.nothing = false,
                _ => {}
            }
        }
        said
    }
}

impl Multipart {
    fn new(parts: Vec<Range<u64>>, object: &Object, length: u64) -> Self {
        // Long enough that no body has it but by intent, and nobody knows it before.
        let boundary = format!("{:032x}", rand::random::<u128>());
        let head = object.head();
        let kind = head.get(&CONTENT_TYPE);
        let mut heads: Vec<Bytes> = parts.iter().map(|part| part_head(&boundary, kind, part, length)).collect();
        heads.push(format!("\r\n--{boundary}--\r\n").into());
        Self { parts, boundary, heads }
    }

    fn length(&self) -> u64 {
        let heads: usize = self.heads.iter().map(Bytes::len).sum();
        heads as u64 + self.parts.iter().map(|part| part.end - part.start).sum::<u64>()
    }

    fn body(&self, chunks: &[Bytes]) -> Vec<Bytes> {
        let mut body = Vec::with_capacity(3 * self.parts.len() + 1);
        for (head, part) in self.heads.iter().zip(&self.parts) {
            body.push(head.clone());
            body.extend(slices(chunks, part));
        }
        body.extend(self.heads.last().cloned());
        body
    }
}

fn part_head(boundary: &str, kind: Option<&[u8]>, part: &Range<u64>, length: u64) -> Bytes {
    let mut head = format!("\r\n--{boundary}\r\n").into_bytes();
    if let Some(kind) = kind {
        head.extend_from_slice(b"Content-Type: ");
        head.extend_from_slice(kind);
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(format!("Content-Range: bytes {}-{}/{length}\r\n\r\n", part.start, part.end - 1).as_bytes());
    head.into()
}

fn content_range(part: &Range<u64>, object: &Object) -> String {
    format!("bytes {}-{}/{}", part.start, part.end - 1, object.length().unwrap_or(part.end))
}

fn set(out: &mut impl Editor, name: &HeaderName, value: &str) {
    out.set_text(name, value.as_bytes());
}

/// The bytes of a range, as slices of the chunks that they are in.
fn slices<'a>(chunks: &'a [Bytes], part: &Range<u64>) -> impl Iterator<Item = Bytes> + use<'a> {
    let part = part.clone();
    let mut start = 0;
    chunks.iter().filter_map(move |chunk| {
        let begin = start;
        start += chunk.len() as u64;
        let (from, to) = (part.start.max(begin), part.end.min(start));
        (from < to).then(|| chunk.slice((from - begin) as usize..(to - begin) as usize))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn slices_share_the_memory_of_what_is_stored() {
        let chunk = Bytes::from(vec![1_u8; 100]);
        let mut found = slices(std::slice::from_ref(&chunk), &(10..20));
        assert_eq!(
            found.next().map(|slice| (slice.as_ptr(), slice.len())),
            Some((chunk[10..].as_ptr(), 10))
        );
        assert!(found.next().is_none());
    }

    proptest! {
        #[test]
        fn a_range_is_the_same_however_the_body_is_cut(lengths in proptest::collection::vec(0_usize..50, 1..8), from in 0_u64..200, more in 0_u64..200) {
            let mut next = 0_u8;
            let chunks: Vec<Bytes> = lengths.iter().map(|&length| {
                (0..length).map(|_| { next = next.wrapping_add(1); next }).collect::<Vec<_>>().into()
            }).collect();
            let whole = chunks.concat();
            let (from, to) = (from.min(whole.len() as u64), (from + more).min(whole.len() as u64));
            let found: Vec<Bytes> = slices(&chunks, &(from..to)).collect();
            prop_assert_eq!(found.concat(), &whole[from as usize..to as usize]);
            prop_assert!(found.iter().all(|slice| !slice.is_empty()));
        }
    }
}
