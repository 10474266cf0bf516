//! A response as it stands in a cache's file: everything that was decided when it was stored, its head, and its body as the rest of the record.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};

use crate::cache::freshness::{Freshness, Grace};
use crate::cache::object::{Body, Object};
use crate::cache::policy::Permit;
use crate::cache::vary::{Selector, Variant};
use crate::cache::wire::{length, number, part, put, put_length, put_number, text};
use crate::cache::{Cache, Key, Now};
use crate::exchange::head::{Fields, ResponseHead};

const SHAREABLE: u64 = 1;
const STALE: u64 = 2;
const ON_REQUEST: u64 = 4;

/// Everything but the body.
pub(super) fn write(object: &Object, hits: u8, now: Now) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    for part in [
        object.key.upstream(),
        object.key.rendered(),
        object.key.uri(),
        object.variant().values(),
    ] {
        put(&mut out, part);
    }
    let names = object.variant().selector().names();
    put_length(&mut out, names.len());
    names.iter().for_each(|name| put(&mut out, name.as_str().as_bytes()));
    let flag = |is: bool, flag: u64| if is { flag } else { 0 };
    let flags = flag(object.shareable, SHAREABLE) | flag(object.is_marked(), STALE) | flag(object.grace.on_request, ON_REQUEST);
    let numbers = [
        object.status().as_u16().into(),
        flags,
        hits.into(),
        millis(object.freshness.age(now)),
        millis(object.freshness.lifetime),
        object.grace.while_revalidate.into(),
        object.grace.if_error.into(),
    ];
    numbers.into_iter().for_each(|number| put_number(&mut out, number));
    put_length(&mut out, object.tags.len());
    object.tags.iter().for_each(|&tag| put_number(&mut out, tag));
    let head = object.head();
    put_length(&mut out, head.iter().count());
    for (name, value) in head.iter() {
        put(&mut out, name);
        put(&mut out, value);
    }
    out
}

/// A response of a record. `began` is its place among fetches and purges, `away` how long ago it was written. `None`: it is not what was written.
pub(super) fn read(record: Vec<u8>, cache: &Cache, began: u64, away: Duration, now: Now) -> Option<Object> {
    let record = Bytes::from(record);
    let rest = &mut &record[..];
    let (upstream, rendered, uri, values) = (text(rest)?, part(rest)?, part(rest)?, part(rest)?);
    let names = (0..length(rest)?).map(|_| HeaderName::from_bytes(part(rest)?).ok());
    let selector = Selector::from_names(names.collect::<Option<Vec<_>>>()?);
    let status = StatusCode::from_u16(number(rest)?.try_into().ok()?).ok()?;
    let (flags, hits) = (number(rest)?, u8::try_from(number(rest)?).ok()?);
    let freshness = Freshness {
        received: now.mono,
        initial_age: Duration::from_millis(number(rest)?).saturating_add(away),
        lifetime: Duration::from_millis(number(rest)?),
    };
    let grace = Grace {
        while_revalidate: number(rest)?.try_into().ok()?,
        if_error: number(rest)?.try_into().ok()?,
        on_request: flags & ON_REQUEST != 0,
    };
    let tags = (0..length(rest)?).map(|_| number(rest)).collect::<Option<Box<[u64]>>>()?;
    let mut fields = Vec::new();
    for _ in 0..length(rest)? {
        fields.push((
            HeaderName::from_bytes(part(rest)?).ok()?,
            HeaderValue::from_bytes(part(rest)?).ok()?,
        ));
    }
    // A copy, so that the head's bytes are let go of.
    let body = Bytes::copy_from_slice(rest);
    let permit = Permit {
        freshness,
        grace,
        shareable: flags & SHAREABLE != 0,
        selector: selector.clone(),
        hidden: Vec::new(),
        length: Some(body.len() as u64),
    };
    let key = Key::new(upstream, rendered, uri);
    let key = key.store(cache.hashing.hash_one(key));
    let variant = Variant::restored(selector, values);
    let object = Object::new(&Head { status, fields }, permit, &key, &variant, tags, began, &cache.commons, now);
    let pieces = if body.is_empty() { Vec::new() } else { vec![body] };
    object.complete(Body::new(pieces));
    object.set_hits(hits);
    if flags & STALE != 0 {
        object.mark_stale();
    }
    Some(object)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A head as it was stored.
struct Head {
    status: StatusCode,
    fields: Vec<(HeaderName, HeaderValue)>,
}

impl Fields for Head {
    fn get(&self, name: &HeaderName) -> Option<&[u8]> {
        let named = self.fields.iter().find(|(known, _)| known == name);
        named.map(|(_, value)| value.as_bytes())
    }

    fn all<'a>(&'a self, name: &'a HeaderName) -> impl Iterator<Item = &'a [u8]> {
        let named = self.fields.iter().filter(move |(known, _)| known == name);
        named.map(|(_, value)| value.as_bytes())
    }

    fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.fields.iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()))
    }
}

impl ResponseHead for Head {
    fn status(&self) -> StatusCode {
        self.status
    }
}
