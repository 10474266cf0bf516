//! A response as it is kept in Redis.
//!
//! It is what is stored of an answer, with its tags, the values of the request fields that its `Vary` names and the time since, so that the `lb` that
//! finds it judges it by its own rules as it would judge an answer of the origin. Besides, the whole key, because the name in Redis is only a hash of it, and where the log of
//! purges ended when it was known to be true.
//!
//! The first byte is the version. What has another one is as good as nothing, as is what cannot be read.

use bytes::Bytes;
use http::header::{AGE, CONTENT_LENGTH};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::cache::CACHE_TAG;
use crate::cache::object::Object;
use crate::cache::vary::{Selector, Variant};
use crate::cache::wire::{length, number, part, put, put_length, put_number};
use crate::exchange::head::{Fields, ResponseHead};

/// Of the format.
const VERSION: u8 = 1;
/// What stands under a key whose answers depend on request fields: which.
const SELECTOR: u8 = 1;
const RESPONSE: u8 = 2;
/// The body as it is, or by zstd.
const PLAIN: u8 = 0;
const ZSTD: u8 = 1;
/// From this length on it is tried whether a body gets smaller.
const COMPRESS: usize = 4 << 10;

/// An answer's head and what has to be known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) upstream: Vec<u8>,
    pub(super) key: Vec<u8>,
    /// The life of the log of purges, and its last number, when this was true.
    pub(super) epoch: String,
    pub(super) end: u64,
    /// When it was written, in milliseconds of the wall clock.
    pub(super) at: u64,
    /// How old it was then, in milliseconds.
    pub(super) age: u64,
    /// The values of the request fields that it depends on.
    pub(super) values: Vec<u8>,
    pub(super) head: Head,
    pub(super) body: Bytes,
}

/// A response head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) status: StatusCode,
    pub(super) fields: HeaderMap,
}

/// What stands in Redis under a name.
#[derive(Debug)]
pub(super) enum Found {
    /// A response.
    Response(Box<Record>),
    /// Responses stand under other names, which depend on these fields of a request.
    Selector(Selector),
}

impl Head {
    /// What is stored of an answer, and its tags.
    pub(super) fn of(object: &Object, tags: Vec<HeaderValue>) -> Self {
        let mut fields = object.head().to_map();
        for tag in tags {
            fields.append(CACHE_TAG, tag);
        }
        Self {
            status: object.status(),
            fields,
        }
    }
}

impl Fields for Head {
    fn get(&self, name: &HeaderName) -> Option<&[u8]> {
        Fields::get(&self.fields, name)
    }

    fn all<'a>(&'a self, name: &'a HeaderName) -> impl Iterator<Item = &'a [u8]> {
        self.fields.all(name)
    }

    fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        Fields::iter(&self.fields)
    }
}

impl ResponseHead for Head {
    fn status(&self) -> StatusCode {
        self.status
    }
}

impl Record {
    /// The head as it would come from the origin at that moment.
    pub(super) fn head_at(&self, wall: u64) -> Head {
        let age = self.age + wall.saturating_sub(self.at);
        let mut head = self.head.clone();
        head.fields.insert(AGE, HeaderValue::from(age.div_ceil(1000)));
        head.fields.insert(CONTENT_LENGTH, HeaderValue::from(self.body.len()));
        head
    }

    /// As bytes.
    pub(super) fn write(&self) -> Vec<u8> {
        let mut out = vec![VERSION, RESPONSE];
        for text in [&*self.upstream, &self.key, self.epoch.as_bytes(), &self.values] {
            put(&mut out, text);
        }
        for number in [self.end, self.at, self.age, self.head.status.as_u16().into()] {
            put_number(&mut out, number);
        }
        put_length(&mut out, self.head.fields.len());
        for (name, value) in &self.head.fields {
            put(&mut out, name.as_str().as_bytes());
            put(&mut out, value.as_bytes());
        }
        let packed = (self.body.len() >= COMPRESS)
            .then(|| zstd::bulk::compress(&self.body, 1).ok())
            .flatten();
        // What is compressed already only gets longer, or hardly shorter.
        match packed.filter(|packed| packed.len() < self.body.len() / 10 * 9) {
            Some(packed) => {
                out.push(ZSTD);
                put_number(&mut out, self.body.len() as u64);
                out.extend_from_slice(&packed);
            }
            None => {
                out.push(PLAIN);
                out.extend_from_slice(&self.body);
            }
        }
        out
    }
}

/// The note that the answers to a key depend on these fields.
pub(super) fn write_selector(selector: &Selector) -> Vec<u8> {
    let mut out = vec![VERSION, SELECTOR];
    put_length(&mut out, selector.names().len());
    selector.names().iter().for_each(|name| put(&mut out, name.as_str().as_bytes()));
    out
}

/// Reads what stands in Redis; a body is no longer than that.
pub(super) fn read(bytes: &[u8], max_body: u64) -> Option<Found> {
    let rest = &mut bytes.strip_prefix(&[VERSION])?;
    let (&kind, after) = rest.split_first()?;
    *rest = after;
    match kind {
        SELECTOR => {
            let names = (0..length(rest)?).map(|_| HeaderName::from_bytes(part(rest)?).ok());
            Some(Found::Selector(Selector::from_names(names.collect::<Option<Vec<_>>>()?)))
        }
        RESPONSE => response(rest, max_body).map(|record| Found::Response(Box::new(record))),
        _ => None,
    }
}

fn response(rest: &mut &[u8], max_body: u64) -> Option<Record> {
    let (upstream, key) = (part(rest)?.to_vec(), part(rest)?.to_vec());
    let epoch = std::str::from_utf8(part(rest)?).ok()?.to_owned();
    let values = part(rest)?.to_vec();
    let (end, at, age) = (number(rest)?, number(rest)?, number(rest)?);
    let status = StatusCode::from_u16(u16::try_from(number(rest)?).ok()?).ok()?;
    let mut fields = HeaderMap::new();
    for _ in 0..length(rest)? {
        let name = HeaderName::from_bytes(part(rest)?).ok()?;
        fields.try_append(name, HeaderValue::from_bytes(part(rest)?).ok()?).ok()?;
    }
    let (&coding, after) = rest.split_first()?;
    *rest = after;
    let body = match coding {
        PLAIN if rest.len() as u64 <= max_body => Bytes::copy_from_slice(rest),
        ZSTD => {
            let length = number(rest)?;
            let room = usize::try_from(length).ok().filter(|_| length <= max_body)?;
            let body = zstd::bulk::decompress(rest, room).ok()?;
            (body.len() == room).then(|| Bytes::from(body))?
        }
        _ => return None,
    };
    Some(Record {
        upstream,
        key,
        epoch,
        end,
        at,
        age,
        values,
        head: Head { status, fields },
        body,
    })
}

/// The values that tell variants apart, of a request.
pub(super) fn values(selector: &Selector, request: &impl Fields) -> Vec<u8> {
    Variant::of(selector.clone(), request).view().values().to_vec()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(body: &[u8]) -> Record {
        let mut fields = HeaderMap::new();
        fields.append("cache-control", HeaderValue::from_static("max-age=60"));
        fields.append("x-a", HeaderValue::from_bytes(b"\xe9").unwrap());
        fields.append("x-a", HeaderValue::from_static("2"));
        Record {
            upstream: b"users".to_vec(),
            key: b"http://h/".to_vec(),
            epoch: "e".to_owned(),
            end: 7,
            at: 1_700_000_000_000,
            age: 1500,
            values: b"\x01gzip\0".to_vec(),
            head: Head {
                status: StatusCode::OK,
                fields,
            },
            body: Bytes::copy_from_slice(body),
        }
    }

    fn again(bytes: &[u8]) -> Option<Record> {
        match read(bytes, 1 << 20)? {
            Found::Response(record) => Some(*record),
            Found::Selector(_) => None,
        }
    }

    #[test]
    fn what_gets_smaller_is_compressed() {
        let record = record(&[b'x'; 100_000]);
        let bytes = record.write();
        assert!(bytes.len() < 1000, "{}", bytes.len());
        assert_eq!(again(&bytes), Some(record));
    }

    #[test]
    fn it_grows_older_where_it_lies() {
        let record = record(b"a");
        let head = record.head_at(record.at + 60_000);
        assert_eq!(Fields::get(&head, &AGE), Some(&b"62"[..]), "rounded up");
        assert_eq!(
            Fields::get(&record.head_at(0), &AGE),
            Some(&b"2"[..]),
            "a clock that is behind makes nothing younger"
        );
    }

    #[test]
    fn what_it_depends_on_is_kept() {
        let selector = Selector::from_names(vec![HeaderName::from_static("accept"), HeaderName::from_static("x-a")]);
        let Some(Found::Selector(read)) = read(&write_selector(&selector), 0) else {
            panic!()
        };
        assert_eq!(read, selector);
    }

    #[test]
    fn what_is_too_long_or_of_another_version_is_nothing() {
        let mut bytes = record(&[b'x'; 5000]).write();
        assert!(read(&bytes, 4999).is_none() && read(&bytes, 5000).is_some());
        bytes[0] += 1;
        assert!(read(&bytes, 5000).is_none());
    }

    proptest! {
        #[test]
        fn every_body_comes_back(body in proptest::collection::vec(any::<u8>(), 0..9000)) {
            let record = record(&body);
            prop_assert_eq!(again(&record.write()), Some(record));
        }

        #[test]
        fn no_bytes_make_it_fail(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), at in 0_usize..150, cut in 0_usize..300) {
            read(&bytes, 1 << 20);
            let mut whole = record(b"body").write();
            let at = at % whole.len();
            whole[at] ^= 0x55;
            read(&whole, 1 << 20);
            whole.truncate(cut);
            read(&whole, 1 << 20);
            bytes.splice(0..0, [VERSION, RESPONSE]);
            read(&bytes, 1 << 20);
        }
    }
}
