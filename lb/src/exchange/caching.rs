//! The cache's part in a request: what is looked up, what is filled, what is taken out.

use std::time::Instant;

use bytes::Bytes;
use http::{StatusCode, header};

use super::Exchange;
use super::head::{Editor, RequestHead, ResponseHead};
use super::request::Decision;
use crate::cache::policy::CONDITIONAL;
use crate::cache::{
    Answered, Bypass, CACHE_PURGE, CACHE_STATUS, Filler, Hit, Joined, Key, Lead, Lookup, Now, Object, Purge, Reader, Rules, Settled, Status, Waiting,
};
use crate::route::{Target, render};
use crate::snapshot::CacheState;

/// What the cache has to do with a request.
#[derive(Default)]
pub(super) struct Caching {
    /// What an unsafe request may invalidate.
    key: Option<Rendered>,
    lead: Option<Lead>,
    filler: Option<Filler>,
    /// What the answer has purged, and others have still to purge before it begins.
    settled: Option<Settled>,
    /// The second tier was asked.
    asked: bool,
    pub(super) status: Option<Status>,
}

/// A key that outlives the request head.
struct Rendered {
    key: Vec<u8>,
    /// `None`: the same.
    uri: Option<Vec<u8>>,
}

impl Rendered {
    fn key<'a>(&'a self, upstream: &'a str) -> Key<'a> {
        Key::new(upstream, &self.key, self.uri.as_deref().unwrap_or(&self.key))
    }
}

impl Caching {
    /// There will be no answer: those who wait for it go their own ways.
    pub(super) fn give_up(&mut self) {
        if let Some(lead) = self.lead.take() {
            lead.failed(Now::read());
        }
    }

    /// Whoever waits for what this request fetches takes over, or is cut off as this client is.
    pub(super) fn let_go(&mut self) {
        self.lead = None;
        self.filler = None;
    }
}

impl Exchange {
    /// What the cache has for a request of a cached route.
    pub(super) fn look_up(&mut self, head: &impl RequestHead) -> Decision {
        let snapshot = self.snapshot.clone();
        let (Some(route), Some(upstream)) = (self.route.map(|index| &snapshot.routes[index]), self.upstream()) else {
            return Decision::Forward;
        };
        let Some(cached) = &route.cache else {
            return Decision::Forward;
        };
        if head.has_unannounced_body() {
            self.caching.status = Some(Status::Bypass);
            return Decision::Forward;
        }
        let name = upstream.upstream.name().clone();
        let rendered = self.rendered(cached, head);
        let found = self.proxy.cache.look_up(&rendered.key(&name), head, Now::read());
        match found {
            Lookup::Hit(hit) => self.hit(hit),
            Lookup::Stream(reader) => self.stream(reader),
            Lookup::Wait(follower) => {
                self.caching.status = Some(Status::Collapsed(follower.miss()));
                Decision::Wait(Waiting::Follower(follower))
            }
            Lookup::Lead(lead) => self.ask_others(lead, &cached.rules),
            Lookup::Alone(lead) => self.lead(lead),
            Lookup::Bypass(why) => {
                self.caching.status = Some(if why == Bypass::Method { Status::Method } else { Status::Bypass });
                self.caching.key = (!head.method().is_safe()).then_some(rendered);
                Decision::Forward
            }
        }
    }

    fn rendered(&self, cached: &CacheState, head: &impl RequestHead) -> Rendered {
        let target = Target::parse(head.target());
        let render = |template| {
            let mut out = Vec::with_capacity(16 + head.authority().len() + head.target().len());
            render(
                template,
                self.client.scheme.as_str(),
                head.authority(),
                target.forward(),
                target.query(),
                &mut out,
            );
            out
        };
        Rendered {
            key: render(&cached.key),
            uri: cached.uri.as_ref().map(render),
        }
    }

    /// What came of the waiting that [`Decision::Wait`] asked for.
    pub fn joined(&mut self, joined: Joined, head: &impl RequestHead) -> Decision {
        match joined {
            Joined::Hit(hit) => Decision::Hit(hit),
            Joined::Stream(reader) => Decision::Stream(reader),
            Joined::Lead(lead) | Joined::Alone(lead) => self.lead(lead),
            Joined::Again => self.look_up(head),
        }
    }

    fn hit(&mut self, hit: Hit) -> Decision {
        self.caching.status = Some(Status::Hit(hit.ttl()));
        Decision::Hit(hit)
    }

    fn stream(&mut self, reader: Reader) -> Decision {
        // It was on its way before this request came, so this one caused nothing.
        self.caching.status.get_or_insert(Status::Collapsed(crate::cache::Miss::Uri));
        Decision::Stream(reader)
    }

    /// A request that leads looks in the second tier first, once.
    fn ask_others(&mut self, lead: Lead, rules: &Rules) -> Decision {
        if std::mem::replace(&mut self.caching.asked, true) {
            return self.lead(lead);
        }
        match self.proxy.cache.ask_others(lead, rules) {
            Ok(waiting) => Decision::Wait(waiting),
            Err(lead) => self.lead(*lead),
        }
    }

    fn lead(&mut self, lead: Lead) -> Decision {
        self.caching.status = Some(Status::Fetched {
            miss: lead.miss(),
            stored: false,
            waited: lead.waited(),
        });
        self.caching.lead = Some(lead);
        Decision::Forward
    }

    /// Takes what would make the answer one for this client only off a request that fetches for the store.
    pub(super) fn edit_fetch(&self, out: &mut impl Editor) {
        if self.caching.lead.is_some() {
            CONDITIONAL.iter().for_each(|name| out.remove(name));
        }
    }

    /// Takes out what an answer says is not true any more. It is gone when this returns, and so before the client sees the answer.
    pub(super) fn purge(&mut self, response: &impl ResponseHead) {
        let Some(upstream) = self.upstream() else { return };
        let name = upstream.upstream.name();
        self.proxy.cache.purge_for(name, response);
        let succeeded = response.status().is_success() || response.status().is_redirection();
        let mut purges = response.get(&CACHE_PURGE).is_some();
        if let (Some(rendered), true) = (&self.caching.key, succeeded) {
            self.proxy.cache.purge(&Purge::Key(&rendered.key(name)));
            purges = true;
        }
        if purges {
            self.caching.settled = self.proxy.cache.settled();
        }
    }

    /// Returns when the answer may begin: at once, unless it has purged something and others have to do so first.
    pub async fn settled(&mut self) {
        if let Some(settled) = self.caching.settled.take() {
            // Boxed, because hardly any request has one.
            Box::pin(self.proxy.cache.settle(settled)).await;
        }
    }

    /// Begins to store an answer, if it may be.
    pub(super) fn store(&mut self, request: &impl RequestHead, response: &impl ResponseHead, asked: Instant) {
        let Some(lead) = self.caching.lead.take() else { return };
        let snapshot = self.snapshot.clone();
        let Some(cached) = self.route.and_then(|index| snapshot.routes[index].cache.as_ref()) else {
            return;
        };
        if let Answered::Store(filler) = lead.answer(request, response, &cached.rules, asked, Now::read()) {
            if let Some(Status::Fetched { stored, .. }) = &mut self.caching.status {
                *stored = filler.stores();
            }
            self.caching.filler = Some(filler);
        }
    }

    /// Whether anybody looks at the pieces of the answer's body.
    pub fn stores(&self) -> bool {
        self.caching.filler.is_some()
    }

    /// A piece of the answer's body, on its way to the client.
    pub fn answer_body(&mut self, piece: &Bytes) {
        if let Some(filler) = &mut self.caching.filler {
            filler.push(piece.clone());
        }
    }

    /// The answer has come whole: the server is done with it, and what was to be stored is stored.
    pub fn answer_end(&mut self) {
        if let Some(filler) = self.caching.filler.take() {
            filler.finish();
        }
        self.release();
    }

    /// Whether others may be waiting for what this request fetches.
    pub fn leads(&self) -> bool {
        self.caching.lead.is_some()
    }

    /// Whether somebody else needs what this request fetches, so that it goes on when its client leaves.
    pub fn feeds_others(&self) -> bool {
        self.caching.filler.as_ref().is_some_and(Filler::is_needed)
    }

    /// Says what the cache did, on a route that has one.
    pub(super) fn edit_cache_status(&self, out: &mut impl Editor) {
        if let Some(status) = self.caching.status {
            status.tell(|text| out.add_text(&CACHE_STATUS, text));
        }
    }

    /// Edits the head of a stored object, whole or arriving, for the client.
    pub fn edit_stored(&self, object: &Object, age: u64, out: &mut impl Editor) {
        if let Some(length) = object.content_length() {
            out.set(&header::CONTENT_LENGTH, length);
        }
        self.edit_prepared(age, out);
    }

    /// Edits the head of a stored object that is whole, `Content-Length` included, for the client.
    pub fn edit_prepared(&self, age: u64, out: &mut impl Editor) {
        out.set_text(&header::AGE, itoa::Buffer::new().format(age).as_bytes());
        self.edit_cache_status(out);
        self.edit_outgoing(out);
    }

    /// Whether the client has what is stored already (RFC 9110 §13.1.2, §13.1.3): then it gets a 304.
    pub fn not_modified(&self, head: &impl RequestHead, object: &Object) -> bool {
        object.status() == StatusCode::OK && crate::cache::not_modified(head, object.fields())
    }
}
