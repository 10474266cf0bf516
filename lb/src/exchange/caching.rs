//! The cache's part in a request: what is looked up, what is filled, what is taken out.

use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, StatusCode, header};

use super::head::{Editor, RequestHead, ResponseHead};
use super::request::Decision;
use super::{Exchange, Verdict};
use crate::admit::Scheme;
use crate::cache::policy::CONDITIONAL;
use crate::cache::{
    Ahead, Answered, Beside, Bypass, CACHE_STATUS, Filler, Hit, Joined, Key, Lead, Lookup, Miss, Now, Object, Portion, Reader, Rules,
    Settled, Status, Validated, Waiting, pause,
};
use crate::reject::Refusal;
use crate::route::{Target, render};
use crate::snapshot::CacheState;

/// What the cache has to do with a request.
#[derive(Default)]
pub(super) struct Caching {
    lead: Option<Lead>,
    /// To fetch anew what the request is served stale.
    pub(super) refresh: Option<Box<Lead>>,
    filler: Option<Filler>,
    /// What the answer has purged, and others have still to purge before it begins.
    pub(super) settled: Option<Settled>,
    /// The second tier was asked.
    asked: bool,
    /// It is a `HEAD` for which nothing was served from the store: its answer tells of what is stored. When that was, in the cache's order.
    pub(super) head_missed: Option<u64>,
    /// What may stand in for an error, of a request that went past the cache.
    beside: Option<Beside>,
    pub(super) status: Option<Status>,
}

/// A key that outlives the request head.
pub(super) struct Rendered {
    key: Vec<u8>,
    /// `None`: the same.
    uri: Option<Vec<u8>>,
}

impl Rendered {
    pub(super) fn of(cached: &CacheState, scheme: Scheme, authority: &[u8], target: &Target<'_>) -> Self {
        let render = |template| {
            let mut out = Vec::with_capacity(24 + authority.len() + target.forward().len() + target.query().map_or(0, <[u8]>::len));
            render(template, scheme.as_str(), authority, target.forward(), target.query(), &mut out);
            out
        };
        Self {
            key: render(&cached.key),
            uri: cached.uri.as_ref().map(render),
        }
    }

    pub(super) fn key<'a>(&'a self, upstream: &'a str) -> Key<'a> {
        Key::new(upstream, &self.key, self.uri.as_deref().unwrap_or(&self.key))
    }
}

impl Caching {
    /// Of a request that fetches, and does nothing else.
    pub(super) fn leading(lead: Lead) -> Self {
        Self {
            lead: Some(lead),
            ..Self::default()
        }
    }

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
        if self.bypasses(route.config.cache.as_ref().map_or(&[], |cache| &cache.bypass_on[..]), head) {
            self.caching.status = Some(match *head.method() {
                Method::GET | Method::HEAD => Status::Bypass,
                _ => Status::Method,
            });
            return Decision::Forward;
        }
        let name = upstream.upstream.name().clone();
        let rendered = Rendered::of(cached, self.client.scheme, head.authority(), &Target::parse(head.target()));
        let found = self.proxy.cache.look_up(&rendered.key(&name), head, Now::read());
        match found {
            Lookup::Hit(hit, refresh) => {
                self.caching.refresh = refresh;
                self.hit(hit)
            }
            Lookup::Stream(reader) => self.stream(reader),
            Lookup::Wait(follower) => {
                self.caching.status = Some(Status::Collapsed(follower.miss()));
                Decision::Wait(Waiting::Follower(follower))
            }
            Lookup::Lead(lead) => self.ask_others(lead, &cached.rules),
            Lookup::Alone(lead) => self.lead(lead),
            Lookup::Beside(why, beside) => {
                self.caching.beside = Some(beside);
                self.bypass(why)
            }
            Lookup::Bypass(why) => self.bypass(why),
            Lookup::Unsatisfied => {
                self.caching.status = Some(Status::Unsatisfied);
                Decision::Refuse(self.refuse(Refusal::GatewayTimeout("Nothing that is stored may answer this request.")))
            }
        }
    }

    /// What came of the waiting that [`Decision::Wait`] asked for.
    pub fn joined(&mut self, joined: Joined, head: &impl RequestHead) -> Decision {
        match joined {
            Joined::Hit(hit) => {
                if let (Some(stale), Some(Status::Collapsed(miss))) = (hit.staleness(), self.caching.status) {
                    self.caching.status = Some(Status::Failed { miss, status: None, stale });
                }
                Decision::Hit(hit)
            }
            Joined::Stream(reader) => Decision::Stream(reader),
            Joined::Lead(lead) | Joined::Alone(lead) => self.lead(lead),
            Joined::Again => self.look_up(head),
        }
    }

    fn bypass(&mut self, why: Bypass) -> Decision {
        self.caching.head_missed = (why == Bypass::HeadMiss).then(|| self.proxy.cache.next_number());
        self.caching.status = Some(if why == Bypass::Method { Status::Method } else { Status::Bypass });
        Decision::Forward
    }

    fn hit(&mut self, hit: Hit) -> Decision {
        self.caching.status = Some(hit.staleness().map_or(Status::Hit(hit.ttl()), Status::Stale));
        Decision::Hit(hit)
    }

    fn stream(&mut self, reader: Reader) -> Decision {
        // It was on its way before this request came, so this one caused nothing.
        self.caching.status.get_or_insert(Status::Collapsed(Miss::Uri));
        Decision::Stream(reader)
    }

    /// A request that leads looks in the second tier first, once.
    fn ask_others(&mut self, lead: Lead, rules: &Rules) -> Decision {
        // Whoever wants the origin's own word gets it.
        if lead.miss() == Miss::Request || std::mem::replace(&mut self.caching.asked, true) {
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

    /// Takes what would make the answer one for this client only off a request that fetches for the store, and asks whether what is stored is still
    /// right.
    pub(super) fn edit_fetch(&self, out: &mut impl Editor) {
        if let Some(lead) = &self.caching.lead {
            if !lead.is_of_one_client() {
                CONDITIONAL.iter().for_each(|name| out.remove(name));
            }
            if let Some(conditions) = lead.conditions() {
                conditions.put(out);
            }
        }
    }

    /// What is done with an answer that is about what is stored: one of 304 that was asked for, and an error that something stored stands in for.
    pub(super) fn answer_from_store(&mut self, request: &impl RequestHead, response: &impl ResponseHead) -> Option<Verdict> {
        let status = response.status();
        if matches!(status.as_u16(), 500 | 502..=504) {
            let hit = self.stand_in(Some(status))?;
            self.purge(request, response);
            return Some(Verdict::Serve(hit));
        }
        if status != StatusCode::NOT_MODIFIED {
            return None;
        }
        self.validate(request, response)
    }

    fn validate(&mut self, request: &impl RequestHead, response: &impl ResponseHead) -> Option<Verdict> {
        let snapshot = self.snapshot.clone();
        let cached = self.route.and_then(|index| snapshot.routes[index].cache.as_ref())?;
        let lead = self.caching.lead.take_if(|lead| lead.conditions().is_some())?;
        self.purge(request, response);
        let (miss, asked) = (lead.miss(), self.tries.asked_at.unwrap_or_else(Instant::now));
        match lead.validated(request, response, &cached.rules, asked, Now::read()) {
            Validated::Right(hit) => {
                self.caching.status = Some(Status::Revalidated { miss, ttl: hit.ttl() });
                self.release();
                Some(Verdict::Serve(hit))
            }
            Validated::AskAgain(lead) => {
                self.caching.lead = Some(lead);
                Some(Verdict::AskAgain)
            }
        }
    }

    /// There is no answer. What is stored stands in, where it may: it is served in place of the refusal.
    pub fn stale(&mut self) -> Option<Hit> {
        self.stand_in(None)
    }

    fn stand_in(&mut self, status: Option<StatusCode>) -> Option<Hit> {
        let Some(lead) = self.caching.lead.take() else {
            let hit = self.caching.beside.take()?.stands_in(Now::read())?;
            if let Some(stale) = hit.staleness() {
                let miss = Miss::Stale;
                self.caching.status = Some(Status::Failed { miss, status, stale });
            }
            self.release();
            return Some(hit);
        };
        let miss = lead.miss();
        match lead.stands_in(Now::read()) {
            Ok(hit) => {
                if let Some(stale) = hit.staleness() {
                    self.caching.status = Some(Status::Failed { miss, status, stale });
                }
                self.release();
                Some(hit)
            }
            Err(lead) => {
                self.caching.lead = Some(lead);
                None
            }
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

    /// Room for what has come of the answer's body and has not gone to the client yet, where it comes at the origin's pace.
    pub fn ahead(&self) -> Ahead {
        self.proxy.cache.ahead()
    }

    /// Ready when more of the body may come, as far as others who read it along are concerned: see [`Filler::poll_readers`].
    pub fn poll_readers(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.caching
            .filler
            .as_ref()
            .map_or(Poll::Ready(()), |filler| filler.poll_readers(cx))
    }

    /// How long to wait for them at most after a piece of that many bytes, where one cannot listen to them.
    pub fn pause(&self, bytes: usize) -> Option<Duration> {
        let waits = self.poll_readers(&mut Context::from_waker(Waker::noop())).is_pending();
        waits.then(|| pause(bytes))
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

    /// How much of a stored object, whole or arriving, answers the request.
    pub fn portion(&self, head: &impl RequestHead, object: &Object) -> Portion {
        Portion::of(head, object)
    }

    /// Edits the head of a stored object, whole or arriving, for the client, who is sent so much of it.
    pub fn edit_stored(&self, object: &Object, portion: &Portion, age: u64, out: &mut impl Editor) {
        portion.edit(object, out);
        // No stored head has one.
        out.put_text(&header::AGE, itoa::Buffer::new().format(age).as_bytes());
        self.edit_cache_status(out);
        self.edit_outgoing(out);
    }
}
