//! A response as it is kept.
//!
//! Everything a hit needs is made once, when the response is stored: the fields that are sent on, all values in one piece of memory, without
//! what belongs to one connection or is made anew for each client; the length; the body as one or a few [`Bytes`]. A hit clones an [`Arc`] and
//! copies nothing.
//!
//! An object is made from an answer's head and gets its body when the last byte has come, so that those who read along have the head at once.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, ETAG, LAST_MODIFIED};
use http::{HeaderName, HeaderValue, StatusCode};

use super::clock::Now;
use super::demands::Demands;
use super::fields::kept;
use super::freshness::{Freshness, Grace, Use, Why, judge_use};
use super::key::StoredKey;
use super::policy::Permit;
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
    /// It counts as stale, however young it is.
    marked: AtomicBool,
    pub(super) variant: Variant,
    /// When its fetch began, in the cache's own order of fetches and purges.
    pub(super) began: u64,
    pub(super) key: StoredKey,
    pub(super) grace: Grace,
    /// Milliseconds after its receipt at which the origin may be asked again in the background, twice; and one more if it failed when it was asked last.
    asked_again: AtomicU64,
    /// Those who ask while it arrives may have it.
    pub(super) shareable: bool,
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
            grace: permit.grace,
            shareable: permit.shareable,
            tags,
            began,
            hits: AtomicU8::new(0),
            marked: AtomicBool::new(false),
            asked_again: AtomicU64::new(0),
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

    /// From now on it counts as stale: it is served as what is stale is, and a fetch that brings it anew makes it fresh.
    /// Whether it did not before.
    pub fn mark_stale(&self) -> bool {
        !self.marked.swap(true, Ordering::Relaxed)
    }

    /// Whether [`Self::mark_stale`] was called.
    pub fn is_marked(&self) -> bool {
        self.marked.load(Ordering::Relaxed)
    }

    /// What may be done with it for a request with these demands.
    pub(super) fn judge_use(&self, demands: Option<&Demands>, now: Now) -> Use {
        if demands.is_none()
            && !self.is_marked()
            && let Some(left) = self.freshness.left(now)
        {
            return Use::Fresh(left);
        }
        let failing = self.asked_again.load(Ordering::Relaxed) & 1 == 1;
        judge_use(&self.freshness, self.grace, self.is_marked(), failing, demands, now)
    }

    /// Whether it is fresh.
    pub(super) fn is_fresh(&self, now: Now) -> bool {
        matches!(self.judge_use(None, now), Use::Fresh(_))
    }

    /// For how long it may stand in for an error has not passed.
    pub(super) fn stands_in(&self, now: Now) -> bool {
        self.grace.if_error(self.freshness.over(now))
    }

    /// What the origin said does not take its place: it is asked again in the background from `at` on. `failed`: it gave no good answer, so that
    /// this is served meanwhile, where it may be.
    pub(super) fn not_before(&self, at: Instant, failed: bool) {
        let after = at.saturating_duration_since(self.freshness.received).as_millis();
        let after = u64::try_from(after).unwrap_or(u64::MAX).min(u64::MAX >> 1);
        self.asked_again.store((after << 1) | u64::from(failed), Ordering::Relaxed);
    }

    /// Whether the origin may be asked for it in the background.
    pub(super) fn may_be_asked(&self, now: Now) -> bool {
        let after = Duration::from_millis(self.asked_again.load(Ordering::Relaxed) >> 1);
        now.mono.saturating_duration_since(self.freshness.received) >= after
    }

    /// Its entity tag.
    pub(super) fn etag(&self) -> Option<&HeaderValue> {
        self.field(&ETAG)
    }

    /// When it was last modified, as the origin wrote it.
    pub(super) fn last_modified(&self) -> Option<&HeaderValue> {
        self.field(&LAST_MODIFIED)
    }

    fn field(&self, name: &HeaderName) -> Option<&HeaderValue> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, value)| value)
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

    /// For how long it is good for something to others; `None`: not at all.
    pub(super) fn kept_for(&self, now: Now) -> Option<Duration> {
        let grace = Duration::from_secs(self.grace.while_revalidate.max(self.grace.if_error).into());
        let left = (self.freshness.lifetime + grace).checked_sub(self.freshness.age(now))?;
        (self.shareable && !self.is_marked() && !left.is_zero()).then_some(left)
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

    /// Bytes of memory.
    pub(super) fn size(&self) -> u64 {
        self.head_size() + self.body.get().map_or(0, Body::size)
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

/// A response from the store.
#[derive(Debug, Clone)]
pub struct Hit {
    pub(super) object: Arc<Object>,
    pub(super) age: u64,
    pub(super) ttl: u64,
    pub(super) stale: Option<Stale>,
}

/// How stale something is that is served all the same, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stale {
    /// Seconds past its lifetime, begun ones included.
    pub over: u64,
    /// Why it is served.
    pub why: Why,
}

impl Hit {
    pub(super) fn fresh(object: &Arc<Object>, left: Duration, now: Now) -> Self {
        Self {
            object: Arc::clone(object),
            age: object.age(now),
            ttl: left.as_secs(),
            stale: None,
        }
    }

    pub(super) fn stale(object: &Arc<Object>, over: Duration, why: Why, now: Now) -> Self {
        let over = over.as_secs() + u64::from(over.subsec_nanos() > 0);
        Self {
            object: Arc::clone(object),
            age: object.age(now),
            ttl: 0,
            stale: Some(Stale { over, why }),
        }
    }

    /// What has come just now.
    pub(super) fn new(object: &Arc<Object>) -> Self {
        let freshness = &object.freshness;
        let ttl = freshness.lifetime.saturating_sub(freshness.initial_age);
        Self {
            object: Arc::clone(object),
            age: freshness.initial_age.as_secs(),
            ttl: ttl.as_secs(),
            stale: None,
        }
    }

    /// Whether, and why, it is served although stale.
    pub fn staleness(&self) -> Option<Stale> {
        self.stale
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
