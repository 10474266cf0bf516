//! A response as it is kept.
//!
//! Everything a hit needs is made once, when the response is stored: its lines as HTTP/1.1 has them, without what belongs to one connection or is
//! made anew for each client; the body as one or a few [`Bytes`]. A hit clones an [`Arc`] and copies nothing.
//!
//! An object is made from an answer's head and gets its body when the last byte has come, so that those who read along have the head at once.
//! It takes few allocations and little memory: behind the bytes of its key stand those of its variant and of its head, except for what it shares with
//! others ([`super::common`]).

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::StatusCode;
use http::header::{ETAG, LAST_MODIFIED};

use super::clock::Now;
use super::common::{Common, Commons, is_alike};
use super::demands::Demands;
use super::fields::kept;
use super::freshness::{Freshness, Grace, Use, judge_use};
use super::key::StoredKey;
use super::policy::Permit;
use super::stored_head::StoredHead;
use super::vary::{Variant, VariantRef};
use crate::engine::h1::{Lines, Rendered};
use crate::exchange::head::ResponseHead;

/// What the tables and the queues take for one object.
const BOOKKEEPING: usize = 128;
/// What they take for each of its tags.
const TAG: usize = 48;
/// What the pieces of a body cost beside their bytes, each.
pub(super) const PIECE: usize = 64;
/// What a body costs beside its bytes that is one piece: the count of those who have it.
const ONE_PIECE: usize = 32;
/// The length is not known yet.
const UNKNOWN: u64 = u64::MAX;

/// A response as it is kept. What a look-up reads comes first, so that it reads few lines of memory.
#[derive(Debug)]
#[repr(C)]
pub struct Object {
    pub(super) freshness: Freshness,
    /// How often it was hit of late, 0 to 3.
    hits: AtomicU8,
    /// It counts as stale, however young it is.
    marked: AtomicBool,
    /// Those who ask while it arrives may have it.
    pub(super) shareable: bool,
    /// Its key, and behind it: its variant's values, its own lines, and the table of where these stand.
    pub(super) key: StoredKey,
    common: Arc<Common>,
    variant: u64,
    /// Where in the bytes behind the key the values end, and where the lines do.
    values: u32,
    lines: u32,
    /// When its fetch began, in the cache's own order of fetches and purges.
    pub(super) began: u64,
    pub(super) grace: Grace,
    /// Milliseconds after its receipt at which the origin may be asked again in the background, twice; and one more if it failed when it was asked last.
    asked_again: AtomicU64,
    /// Of the body: known once that is whole, and before where the origin told it.
    length: AtomicU64,
    body: OnceLock<Body>,
    /// Hashes of its tags.
    pub(super) tags: Box<[u64]>,
}

/// A whole body.
#[derive(Debug)]
pub(super) enum Body {
    One(Bytes),
    Many(Box<[Bytes]>),
}

impl Body {
    pub(super) fn new(mut pieces: Vec<Bytes>) -> Self {
        let body = match pieces.pop() {
            Some(piece) if pieces.is_empty() => Self::One(piece),
            Some(piece) => {
                pieces.push(piece);
                Self::Many(pieces.into())
            }
            None => Self::Many(Box::default()),
        };
        // The first clone of a `Bytes` allocates what the later ones share: better now than on a hit.
        body.pieces().iter().for_each(|piece| drop(piece.clone()));
        body
    }

    pub(super) fn pieces(&self) -> &[Bytes] {
        match self {
            Self::One(piece) => std::slice::from_ref(piece),
            Self::Many(pieces) => pieces,
        }
    }

    fn length(&self) -> u64 {
        self.pieces().iter().map(|piece| piece.len() as u64).sum()
    }

    /// Bytes of memory.
    pub(super) fn size(&self) -> u64 {
        let each = match self {
            Self::One(_) => ONE_PIECE,
            Self::Many(_) => PIECE,
        };
        self.pieces().iter().map(|piece| (allocated(piece.len()) + each) as u64).sum()
    }
}

/// What an allocation of that many bytes takes: mimalloc has four classes of sizes between each power of two and the next, and of the pages at the end
/// of a large one it uses what it needs.
fn allocated(bytes: usize) -> usize {
    let step = (bytes.next_power_of_two() / 8).clamp(16, 4096);
    bytes.next_multiple_of(step)
}

impl Object {
    #[expect(clippy::too_many_arguments, reason = "all that becomes one")]
    pub(super) fn new(
        response: &impl ResponseHead,
        permit: Permit,
        key: &StoredKey,
        variant: &Variant,
        tags: Box<[u64]>,
        began: u64,
        commons: &Commons,
        now: Now,
    ) -> Self {
        let (mut alike, mut own) = (Rendered::default(), Rendered::default());
        kept(response, &permit.hidden, now, |name, value| {
            if is_alike(name) { &mut alike } else { &mut own }.add(name, value);
        });
        let variant = variant.view();
        let values = variant.values().len();
        Self {
            key: key.with(&[variant.values(), own.text(), own.table()]),
            common: commons.one_of(variant.selector(), response.status(), alike),
            variant: variant.hash(),
            // Both are parts of a request's head and of an answer's, which are far shorter than 4 GiB.
            values: values as u32,
            lines: (values + own.text().len()) as u32,
            freshness: permit.freshness,
            grace: permit.grace,
            shareable: permit.shareable,
            tags,
            began,
            hits: AtomicU8::new(0),
            marked: AtomicBool::new(false),
            asked_again: AtomicU64::new(0),
            length: AtomicU64::new(permit.length.unwrap_or(UNKNOWN)),
            body: OnceLock::new(),
        }
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.common.status
    }

    /// The head to send, without `Content-Length` and `Age`.
    pub fn head(&self) -> StoredHead<'_> {
        let (text, table) = self.key.behind().split_at(self.lines as usize);
        StoredHead::new(&self.common, Lines::rendered(&text[self.values as usize..], table))
    }

    /// Which variant of its key it is.
    pub(super) fn variant(&self) -> VariantRef<'_> {
        VariantRef {
            selector: &self.common.selector,
            hash: self.variant,
            values: &self.key.behind()[..self.values as usize],
        }
    }

    /// The body's length in bytes: known once the body is whole, and before where the origin told it.
    pub fn length(&self) -> Option<u64> {
        Some(self.length.load(Ordering::Relaxed)).filter(|&length| length != UNKNOWN)
    }

    /// What `Content-Length` says, unless it is not known yet or the status has none (RFC 9110 §8.6).
    pub fn content_length(&self) -> Option<u64> {
        self.length().filter(|_| self.status() != StatusCode::NO_CONTENT)
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
    pub(super) fn etag(&self) -> Option<&[u8]> {
        self.head().own().values(&ETAG).next()
    }

    /// When it was last modified, as the origin wrote it.
    pub(super) fn last_modified(&self) -> Option<&[u8]> {
        self.head().own().values(&LAST_MODIFIED).next()
    }

    /// The age in whole seconds, for `Age`.
    pub fn age(&self, now: Now) -> u64 {
        self.freshness.age(now).as_secs()
    }

    /// The body, in order; empty while it is still arriving.
    pub(super) fn chunks(&self) -> &[Bytes] {
        self.body.get().map(Body::pieces).unwrap_or_default()
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

    pub(super) fn is_whole(&self) -> bool {
        self.body.get().is_some()
    }

    /// Gives it its body, once.
    pub(super) fn complete(&self, body: Body) {
        self.length.store(body.length(), Ordering::Relaxed);
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
        let counts = 2 * size_of::<usize>();
        let parts = allocated(size_of::<Self>() + counts)
            + allocated(self.key.size())
            + self.tags.len() * (size_of::<u64>() + TAG)
            + self.common.size()
            + BOOKKEEPING;
        parts as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_small() {
        // With the two counts of its `Arc`, a class of the allocator's.
        assert!(size_of::<Object>() <= 208, "{}", size_of::<Object>());
    }

    #[test]
    fn sizes_are_those_of_the_allocator() {
        for (bytes, taken) in [
            (0, 0),
            (1, 16),
            (100, 112),
            (208, 224),
            (1024, 1024),
            (1025, 1280),
            (1300, 1536),
            (100_000, 102_400),
        ] {
            assert_eq!(allocated(bytes), taken, "{bytes}");
        }
    }
}
