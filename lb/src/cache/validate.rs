//! Asking whether what is stored is still right.
//!
//! A fetch for something that is stored already carries its validators (RFC 9111 §4.3.1). An answer of 304 then says which stored response is still
//! right: the one whose validator it names, or, where it names none, the only one that was asked about (§4.3.4). That response is stored
//! anew: with the fields of the 304 in place of its own of the same names (§3.2), judged as if it had just come with them, and with the body
//! that is there, of which nothing is copied. A 304 that is about nothing that was asked for helps nobody; then the origin is asked again, without
//! conditions.
//!
//! The head that answers a `HEAD` says as much as a 304, if it bears a validator of what is stored (§4.3.5).

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::{
    CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, DATE, ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED, SET_COOKIE,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::fields::{CACHE_TAG, is_of_this_hop};
use super::flight::Stored;
use super::freshness::{Freshness, Grace};
use super::hit::Hit;
use super::lead::Lead;
use super::marks;
use super::object::{Body, Object};
use super::policy::{Permit, Refusal, Rules, judge};
use super::room::Charge;
use super::shared::Original;
use super::store::{Found, Removed};
use super::vary::Variant;
use super::{Cache, Key, Now, http_date};
use crate::exchange::head::{Editor, Fields, RequestHead, ResponseHead};

impl Object {
    /// Whether another answer bears its entity tag or its date.
    fn is_named_by(&self, answer: &impl Fields) -> bool {
        let same = |name: &HeaderName, own: Option<&[u8]>| own.is_some() && own == answer.get(name).map(<[u8]>::trim_ascii);
        same(&ETAG, self.etag()) || same(&LAST_MODIFIED, self.last_modified())
    }

    /// Whether the head of another answer is that of another representation: by what both say of it (RFC 9111 §4.3.5).
    fn differs(&self, answer: &impl Fields) -> bool {
        let mut digits = itoa::Buffer::new();
        let length = self.content_length().map(|length| digits.format(length).as_bytes());
        let own = [(ETAG, self.etag()), (LAST_MODIFIED, self.last_modified()), (CONTENT_LENGTH, length)];
        own.iter().any(|(name, own)| {
            let both = own.zip(answer.get(name));
            both.is_some_and(|(own, theirs)| own != theirs.trim_ascii())
        })
    }
}

/// What a fetch asks.
#[derive(Debug)]
pub struct Conditions {
    tags: Option<HeaderValue>,
    since: Option<HeaderValue>,
}

impl Conditions {
    /// About these; `None`: none of them has a validator.
    fn about(stored: &Stored) -> Option<Self> {
        let tags: Vec<&[u8]> = stored.objects().iter().filter_map(|object| object.etag()).collect();
        let since = match stored {
            Stored::This(object) => object.last_modified().and_then(|date| HeaderValue::from_bytes(date).ok()),
            Stored::Nothing | Stored::Variants(_) => None,
        };
        let tags = match tags.is_empty() {
            true => None,
            false => HeaderValue::from_bytes(&tags.join(&b", "[..])).ok(),
        };
        (tags.is_some() || since.is_some()).then_some(Self { tags, since })
    }

    /// Puts them into a request.
    pub fn put(&self, out: &mut impl Editor) {
        for (name, value) in [(IF_NONE_MATCH, &self.tags), (IF_MODIFIED_SINCE, &self.since)] {
            if let Some(value) = value {
                out.set(&name, value.clone());
            }
        }
    }
}

/// What became of a 304.
#[derive(Debug)]
pub enum Validated {
    /// This is right, and answers the request.
    Right(Hit),
    /// It was about nothing that is stored: the origin is to be asked again, without conditions.
    AskAgain(Lead),
}

impl Lead {
    /// What the request asks in place of its own conditions.
    pub fn conditions(&self) -> Option<Conditions> {
        Conditions::about(&self.stored)
    }

    /// The head of a 304 has come, for a request that bore [`Self::conditions`]. Arguments are those of [`Self::answer`].
    pub fn validated(
        mut self,
        request: &impl RequestHead,
        response: &impl ResponseHead,
        rules: &Rules,
        requested: Instant,
        now: Now,
    ) -> Validated {
        let Some(stored) = chosen(&self.stored, response).cloned() else {
            self.stored = Stored::Nothing;
            return Validated::AskAgain(self);
        };
        let merged = Merged::of(&stored, response);
        Validated::Right(self.freshen(&stored, request, (response, &merged), rules, (requested, now)))
    }
}

impl Lead {
    /// What is stored is still right, and is stored anew with the head that came for it, which is `merged` with its own.
    fn freshen(
        mut self,
        stored: &Arc<Object>,
        request: &impl RequestHead,
        (response, merged): (&impl Fields, &impl ResponseHead),
        rules: &Rules,
        (requested, now): (Instant, Now),
    ) -> Hit {
        let judged = judge(request, merged, rules, requested, now);
        let kept = judged.is_ok();
        // What one client gets by its `Authorization` says nothing of what others get without.
        let goes = judged.as_ref().is_err_and(|refusal| *refusal != Refusal::Authorization);
        let permit = judged.unwrap_or_else(|_| for_one_client(stored, now));
        let (cache, key) = (Arc::clone(&self.cache), self.flight.key.clone());
        let began = self.flight.lock().began;
        let object = cache.renewed(stored, request, (response, merged), permit, (began, now));
        let charge = kept.then(|| cache.charged(&object)).flatten();
        let hit = Hit::new(&object);
        let mark = (!object.shareable).then(|| now.mono + marks::UNSHARED);
        let shared = object.shareable.then_some(&hit);
        let claim = self.claim.take();
        let mut stored_anew = false;
        self.end(mark, shared, |shard| match charge {
            _ if goes => shard.take(stored),
            Some(charge) if !cache.log().hits(began, &key, &object.tags) => {
                let removed = cache.put(shard, &object, charge);
                stored_anew = removed.is_some();
                removed.unwrap_or_default()
            }
            _ => Removed::default(),
        });
        // Of tags that came with an earlier answer only hashes are known.
        let tells = object.tags.is_empty() || response.get(&CACHE_TAG).is_some();
        if stored_anew && tells && (claim.is_some() || cache.shared.has_tier()) {
            cache.shared.keep(Original::new(response, claim), &object);
        }
        hit
    }
}

impl Cache {
    /// What is stored, with another head.
    fn renewed(
        &self,
        stored: &Object,
        request: &impl Fields,
        (response, merged): (&impl Fields, &impl ResponseHead),
        permit: Permit,
        (began, now): (u64, Now),
    ) -> Arc<Object> {
        let variant = Variant::of(permit.selector.clone(), request);
        let tags = match response.get(&CACHE_TAG) {
            Some(_) => self.tags(response),
            None => stored.tags.clone(),
        };
        let object = Object::new(merged, permit, &stored.key, &variant, tags, began, &self.commons, now);
        object.complete(Body::new(stored.chunks().to_vec()));
        Arc::new(object)
    }

    /// Room for it, if there is.
    fn charged(&self, object: &Object) -> Option<Charge> {
        let size = object.size();
        self.make_room(size).then(|| Charge::new(&self.room, size))
    }

    /// The origin has answered a `HEAD` with 200, of which nothing was served from the store. What is stored for the request is renewed by that head if
    /// it is the same by a validator; if it is something else by its entity tag, date or length, it counts as stale (RFC 9111 §4.3.5). `began` is
    /// [`Cache::next_number`] of when it was looked for, `requested` when the origin was asked.
    pub fn head_answered(
        &self,
        key: &Key<'_>,
        request: &impl RequestHead,
        response: &impl ResponseHead,
        rules: &Rules,
        (began, requested, now): (u64, Instant, Now),
    ) {
        let hash = self.hashing.hash_one(key);
        let stored = match self.shard(hash).find(hash, key, request) {
            Found::Object(stored) if stored.began < began => Arc::clone(stored),
            _ => return,
        };
        if stored.differs(response) {
            stored.mark_stale();
            return;
        }
        if !stored.is_named_by(response) {
            return;
        }
        let merged = Merged::of(&stored, response);
        let object = match judge(request, &merged, rules, requested, now) {
            Ok(permit) => self.renewed(&stored, request, (response, &merged), permit, (began, now)),
            // That is about this one client.
            Err(Refusal::Authorization) => return,
            Err(_) => {
                stored.mark_stale();
                return;
            }
        };
        let Some(charge) = self.charged(&object) else { return };
        let mut shard = self.shard(hash);
        let removed = match self.log().hits(began, &object.key, &object.tags) {
            true => Removed::default(),
            false => self.put(&mut shard, &object, charge).unwrap_or_default(),
        };
        drop(shard);
        self.let_go(removed);
    }
}

/// What a stored response is, once it is not for the store any more.
fn for_one_client(stored: &Object, now: Now) -> Permit {
    Permit {
        freshness: Freshness {
            received: now.mono,
            initial_age: Duration::ZERO,
            lifetime: Duration::ZERO,
        },
        grace: Grace::default(),
        shareable: false,
        selector: stored.variant().selector().clone(),
        hidden: Vec::new(),
        length: None,
    }
}

/// Which of the stored responses a 304 is about.
fn chosen<'a>(stored: &'a Stored, response: &impl Fields) -> Option<&'a Arc<Object>> {
    if let Some(tag) = response.get(&ETAG) {
        let mut objects = stored.objects().iter();
        return objects.find(|object| object.etag().is_some_and(|known| opaque(known) == opaque(tag)));
    }
    let Stored::This(object) = stored else { return None };
    let differs = match (response.get(&LAST_MODIFIED), object.last_modified()) {
        (Some(said), Some(known)) => said != known && http_date::read(said) != http_date::read(known),
        _ => false,
    };
    (!differs).then_some(object)
}

/// A tag without its mark of weakness: a 304 answers `If-None-Match`, which compares weakly (RFC 9110 §13.1.2).
fn opaque(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

/// A stored response as if it had come with the fields of a 304.
struct Merged {
    status: StatusCode,
    fields: HeaderMap,
}

/// Fields of a 304 that change nothing: they are about the body as it is sent, and that one is stored; or about this one client.
const NOT_UPDATED: [HeaderName; 4] = [CONTENT_ENCODING, CONTENT_RANGE, HeaderName::from_static("content-md5"), SET_COOKIE];

impl Merged {
    fn of(stored: &Object, response: &impl Fields) -> Self {
        Self {
            status: stored.status(),
            fields: merged(stored, response),
        }
    }
}

fn merged(stored: &Object, response: &impl Fields) -> HeaderMap {
    let mut fields = stored.head().to_map();
    // Of the same moment as all else that the 304 says, and no older.
    fields.remove(DATE);
    let named: Vec<&[u8]> = response
        .all(&CONNECTION)
        .flat_map(|line| line.split(|&byte| byte == b','))
        .map(<[u8]>::trim_ascii)
        .collect();
    let mut replaced: Vec<HeaderName> = Vec::new();
    for (name, value) in response.iter() {
        let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) else {
            continue;
        };
        let of_this_hop = is_of_this_hop(&name) && name != http::header::AGE;
        if of_this_hop || NOT_UPDATED.contains(&name) || named.iter().any(|named| named.eq_ignore_ascii_case(name.as_str().as_bytes())) {
            continue;
        }
        if replaced.contains(&name) {
            fields.append(name, value);
        } else {
            fields.insert(&name, value);
            replaced.push(name);
        }
    }
    fields
}

impl Fields for Merged {
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

impl ResponseHead for Merged {
    fn status(&self) -> StatusCode {
        self.status
    }
}
