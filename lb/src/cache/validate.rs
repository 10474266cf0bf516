//! Asking whether what is stored is still right.
//!
//! A fetch for something that is stored already carries its validators (RFC 9111 §4.3.1). An answer of 304 then says which stored response is still
//! right: the one whose validator it names, or, where it names none, the only one that was asked about (§4.3.4). That response is stored
//! anew: with the fields of the 304 in place of its own of the same names (§3.2), judged as if it had just come with them, and with the body
//! that is there, of which nothing is copied. A 304 that is about nothing that was asked for helps nobody; then the origin is asked again, without
//! conditions.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use http::header::{
    CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, DATE, ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED, SET_COOKIE,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::fields::{CACHE_TAG, is_of_this_hop};
use super::flight::Stored;
use super::freshness::{Freshness, Grace};
use super::lead::Lead;
use super::marks;
use super::object::{Body, Hit, Object};
use super::policy::{Permit, Rules, judge};
use super::room::Charge;
use super::store::Removed;
use super::vary::Variant;
use super::{Now, http_date};
use crate::exchange::head::{Editor, Fields, RequestHead, ResponseHead};

impl Object {
    /// Whether the head of another answer is that of another representation: by what both say of it (RFC 9111 §4.3.5).
    pub(super) fn differs(&self, answer: &impl Fields) -> bool {
        let length = self.content_length();
        let own = [
            (ETAG, self.etag()),
            (LAST_MODIFIED, self.last_modified()),
            (CONTENT_LENGTH, length.as_ref()),
        ];
        own.iter().any(|(name, own)| {
            let both = own.zip(answer.get(name));
            both.is_some_and(|(own, theirs)| own.as_bytes() != theirs.trim_ascii())
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
        let tags: Vec<&[u8]> = stored
            .objects()
            .iter()
            .filter_map(|object| Some(object.etag()?.as_bytes()))
            .collect();
        let since = match stored {
            Stored::This(object) => object.last_modified().cloned(),
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
        let merged = Merged {
            status: stored.status(),
            fields: merged(&stored, response),
        };
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
        let permit = judged.unwrap_or_else(|_| for_one_client(stored, now));
        let variant = Variant::of(self.cache.one_of(permit.selector.clone()), request);
        let tags = match response.get(&CACHE_TAG) {
            Some(_) => self.tags(response),
            None => stored.tags.clone(),
        };
        let began = self.flight.lock().began;
        let object = Arc::new(Object::new(merged, permit, self.flight.key.clone(), variant, tags, began, now));
        let body = Body::new(&object, stored.chunks().to_vec());
        let size = object.head_size() + body.size();
        object.complete(body);
        let mut charge = (kept && self.cache.make_room(size)).then(|| Charge::new(&self.cache.room, size));
        let (cache, key) = (Arc::clone(&self.cache), self.flight.key.clone());
        let hit = Hit::new(&object);
        let mark = (!object.shareable).then(|| now.mono + marks::UNSHARED);
        let shared = object.shareable.then_some(&hit);
        self.end(mark, shared, |shard| match &mut charge {
            _ if !kept => shard.take(stored),
            Some(charge) if !cache.log().hits(began, &key, &object.tags) => match shard.insert(&object, size) {
                Some(removed) => {
                    charge.settle();
                    cache.objects.fetch_add(1, Ordering::Relaxed);
                    removed
                }
                None => Removed::default(),
            },
            _ => Removed::default(),
        });
        hit
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
        selector: stored.variant.selector().clone(),
        hidden: Vec::new(),
        length: None,
    }
}

/// Which of the stored responses a 304 is about.
fn chosen<'a>(stored: &'a Stored, response: &impl Fields) -> Option<&'a Arc<Object>> {
    if let Some(tag) = response.get(&ETAG) {
        let mut objects = stored.objects().iter();
        return objects.find(|object| object.etag().is_some_and(|known| opaque(known.as_bytes()) == opaque(tag)));
    }
    let Stored::This(object) = stored else { return None };
    let differs = match (response.get(&LAST_MODIFIED), object.last_modified()) {
        (Some(said), Some(known)) => said != known.as_bytes() && http_date::read(said) != http_date::read(known.as_bytes()),
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

fn merged(stored: &Object, response: &impl Fields) -> HeaderMap {
    let mut fields = HeaderMap::with_capacity(stored.fields().len() + 8);
    for (name, value) in stored.fields() {
        fields.append(name, value.clone());
    }
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
