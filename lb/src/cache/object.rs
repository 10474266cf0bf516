//! A response as it is kept.
//!
//! Everything a hit needs is made once, when the response is stored: the fields that are sent on, all values in one piece of memory, without
//! what belongs to one connection or is made anew for each client; the length; the body as one or a few [`Bytes`]. A hit clones an [`Arc`] and
//! copies nothing.
//!
//! An object is made from an answer's head and gets its body when the last byte has come, so that those who read along have the head at once.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderName, HeaderValue, StatusCode};

use super::clock::Now;
use super::fields::kept;
use super::key::StoredKey;
use super::policy::{Freshness, Permit};
use super::vary::Variant;
use crate::engine::h1::Prepared;
use crate::exchange::head::ResponseHead;

/// What the tables, the queues and the allocator take for one object beside what is counted byte by byte.
const BOOKKEEPING: usize = 256;
/// What they take for each of its tags.
const TAG: usize = 48;
/// What a piece of a body costs beside its bytes.
pub(super) const PIECE: usize = 64;

/// A response as it is kept. What a look-up reads comes first, so that it reads few lines of memory.
#[derive(Debug)]
#[repr(C)]
pub struct Object {
    pub(super) freshness: Freshness,
    /// How often it was hit of late, 0 to 3.
    hits: AtomicU8,
    pub(super) variant: Variant,
    /// When its fetch began, in the cache's own order of fetches and purges.
    pub(super) began: u64,
    pub(super) key: StoredKey,
    /// Hashes of its tags.
    pub(super) tags: Box<[u64]>,
    status: StatusCode,
    fields: Box<[(HeaderName, HeaderValue)]>,
    /// Bytes that `fields` point to.
    text: usize,
    declared: Option<u64>,
    body: OnceLock<Body>,
}

/// A whole body, and what is rendered from head and length together.
#[derive(Debug)]
pub(super) struct Body {
    chunks: Chunks,
    length: u64,
    content_length: HeaderValue,
    prepared: Prepared,
}

#[derive(Debug)]
enum Chunks {
    One(Bytes),
    Many(Box<[Bytes]>),
}

impl Body {
    pub(super) fn new(object: &Object, mut pieces: Vec<Bytes>) -> Self {
        let length = pieces.iter().map(|piece| piece.len() as u64).sum();
        let chunks = match pieces.pop() {
            Some(piece) if pieces.is_empty() => Chunks::One(piece),
            Some(piece) => {
                pieces.push(piece);
                Chunks::Many(pieces.into())
            }
            None => Chunks::Many(Box::default()),
        };
        let content_length = number(length);
        let length_field = (object.status != StatusCode::NO_CONTENT).then_some((&CONTENT_LENGTH, &content_length));
        let fields = object.fields.iter().map(|(name, value)| (name, value)).chain(length_field);
        let body = Self {
            prepared: Prepared::new(object.status, fields),
            chunks,
            length,
            content_length,
        };
        // The first clone of a `Bytes` allocates what the later ones share: better now than on a hit.
        body.chunks().iter().for_each(|chunk| drop(chunk.clone()));
        drop(body.content_length.clone());
        body
    }

    pub(super) fn chunks(&self) -> &[Bytes] {
        match &self.chunks {
            Chunks::One(chunk) => std::slice::from_ref(chunk),
            Chunks::Many(chunks) => chunks,
        }
    }

    /// Bytes of memory.
    pub(super) fn size(&self) -> u64 {
        let chunks: u64 = self.chunks().iter().map(|chunk| (chunk.len() + PIECE) as u64).sum();
        chunks + self.prepared.size()
    }
}

impl Object {
    pub(super) fn new(
        response: &impl ResponseHead,
        permit: Permit,
        key: StoredKey,
        variant: Variant,
        tags: Box<[u64]>,
        began: u64,
        now: Now,
    ) -> Self {
        let (fields, text) = kept(response, &permit.hidden, now);
        let (key, variant) = variant.beside(&key);
        Self {
            key,
            variant,
            freshness: permit.freshness,
            tags,
            began,
            hits: AtomicU8::new(0),
            status: response.status(),
            fields,
            text,
            declared: permit.length,
            body: OnceLock::new(),
        }
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The fields to send, without `Content-Length` and `Age`.
    pub fn fields(&self) -> &[(HeaderName, HeaderValue)] {
        &self.fields
    }

    /// The body's length: known once the body is whole, and before where the origin told it.
    pub fn length(&self) -> Option<u64> {
        self.body.get().map(|body| body.length).or(self.declared)
    }

    /// `Content-Length`, unless it is not known yet or the status has none (RFC 9110 §8.6).
    pub fn content_length(&self) -> Option<HeaderValue> {
        if self.status == StatusCode::NO_CONTENT {
            return None;
        }
        self.body
            .get()
            .map(|body| body.content_length.clone())
            .or_else(|| self.declared.map(number))
    }

    /// The age in whole seconds, for `Age`.
    pub fn age(&self, now: Now) -> u64 {
        self.freshness.age(now).as_secs()
    }

    /// The body, in order; empty while it is still arriving.
    pub(super) fn chunks(&self) -> &[Bytes] {
        self.body.get().map(Body::chunks).unwrap_or_default()
    }

    /// The body in one piece.
    pub(super) fn whole_body(&self) -> Bytes {
        match self.chunks() {
            [one] => one.clone(),
            chunks => chunks.concat().into(),
        }
    }

    /// For how long it is worth keeping; `None`: no longer.
    pub(super) fn kept_for(&self, now: Now) -> Option<Duration> {
        self.freshness.left(now)
    }

    pub(super) fn declared(&self) -> Option<u64> {
        self.declared
    }

    pub(super) fn is_whole(&self) -> bool {
        self.body.get().is_some()
    }

    /// Gives it its body, once.
    pub(super) fn complete(&self, body: Body) {
        // A second body cannot come: there is one filler, and finishing consumes it.
        let _ = self.body.set(body);
    }

    pub(super) fn hit(&self) {
        // Lost increments only make it look a little colder.
        let hits = self.hits.load(Ordering::Relaxed);
        if hits < 3 {
            self.hits.store(hits + 1, Ordering::Relaxed);
        }
    }

    pub(super) fn hits(&self) -> u8 {
        self.hits.load(Ordering::Relaxed)
    }

    pub(super) fn set_hits(&self, hits: u8) {
        self.hits.store(hits, Ordering::Relaxed);
    }

    /// Bytes of memory, without the body.
    pub(super) fn head_size(&self) -> u64 {
        let parts = size_of::<Self>()
            + self.key.size()
            + size_of_val(&*self.fields)
            + self.text
            + self.tags.len() * (size_of::<u64>() + TAG)
            + BOOKKEEPING;
        parts as u64
    }
}

/// A fresh response from the store.
#[derive(Debug, Clone)]
pub struct Hit {
    pub(super) object: Arc<Object>,
    pub(super) age: u64,
    pub(super) ttl: u64,
}

impl Hit {
    /// `None` once it is stale.
    pub(super) fn fresh(object: &Arc<Object>, now: Now) -> Option<Self> {
        let left = object.freshness.left(now)?;
        Some(Self {
            object: Arc::clone(object),
            age: object.age(now),
            ttl: left.as_secs(),
        })
    }

    /// Head and length.
    pub fn object(&self) -> &Object {
        &self.object
    }

    /// The body, in order.
    pub fn body(&self) -> &[Bytes] {
        self.object.chunks()
    }

    /// The head as HTTP/1.1 has it, with everything but what belongs to one answer alone.
    pub fn prepared(&self) -> Option<&Prepared> {
        self.object.body.get().map(|body| &body.prepared)
    }

    /// Seconds.
    pub fn age(&self) -> u64 {
        self.age
    }

    /// Whole seconds for which it stays fresh.
    pub fn ttl(&self) -> u64 {
        self.ttl
    }
}

/// A number as a field's value, in one allocation.
fn number(number: u64) -> HeaderValue {
    // Digits are always a value; the other way of making one takes an allocation more.
    HeaderValue::from_str(itoa::Buffer::new().format(number)).unwrap_or_else(|_| HeaderValue::from(number))
}
