//! The request that fetches, until the answer's head has come.
//!
//! A [`Lead`] ends in one of four ways: with an answer, which is either shared from then on ([`Filler`]) or for its client alone; with what is stored,
//! because that is still right ([`Lead::validated`]) or stands in for an error; with a failure, which is nobody else's; or dropped, because its
//! client went away, and then it is handed over.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::oneshot;

use super::filler::Filler;
use super::flight::{Flight, Phase, Stored};
use super::follow::Word;
use super::hit::Hit;
use super::key::StoredKey;
use super::marks::{self, Mark};
use super::object::Object;
use super::policy::{Refusal, Rules, judge};
use super::room::Charge;
use super::shared::{Claim, Original};
use super::status::Miss;
use super::store::{Removed, Shard};
use super::vary::Variant;
use super::{Cache, Now};
use crate::exchange::head::{Fields, RequestHead, ResponseHead};

/// The right and the duty to fetch. Dropped without an answer, it goes to whoever has waited longest, or ends with nobody waiting.
#[derive(Debug)]
pub struct Lead {
    pub(super) cache: Arc<Cache>,
    pub(super) flight: Arc<Flight>,
    miss: Miss,
    /// What is stored already, and may turn out to be still right.
    pub(super) stored: Stored,
    /// It never had followers: there was no use in waiting for it.
    alone: bool,
    /// Its client takes nothing that the origin has not confirmed.
    pub(super) strict: bool,
    /// See [`Self::is_of_one_client`].
    of_one_client: bool,
    waited: bool,
    open: bool,
    /// That others who share the second tier wait for this one.
    pub(super) claim: Option<Claim>,
}

/// What becomes of an answer.
#[derive(Debug)]
pub enum Answered {
    /// It may be shared: every chunk of its body is to go through the filler.
    Store(Filler),
    /// It is for this client only.
    Pass(Refusal),
}

impl Lead {
    pub(super) fn new(cache: &Arc<Cache>, flight: Arc<Flight>, miss: Miss, alone: bool) -> Self {
        Self {
            cache: Arc::clone(cache),
            stored: flight.stored.clone(),
            flight,
            miss,
            alone,
            strict: false,
            of_one_client: false,
            waited: false,
            open: true,
            claim: None,
        }
    }

    pub(super) fn strict(mut self, strict: bool) -> Self {
        self.strict = strict;
        self
    }

    pub(super) fn of_one_client(mut self, of_one_client: bool) -> Self {
        self.of_one_client = of_one_client;
        self
    }

    /// Nothing is stored, and what came last was not for the store either: then the client's own conditions are worth more than what they would keep out
    /// of it.
    pub fn is_of_one_client(&self) -> bool {
        self.of_one_client
    }

    /// The same for another request than the one that it was made for.
    pub(super) fn of(mut self, request: &impl Fields) -> Self {
        if let Stored::This(object) = &self.stored
            && !object.variant().matches(request)
        {
            self.stored = Stored::Nothing;
        }
        self
    }

    pub(super) fn after_waiting(mut self) -> Self {
        self.waited = true;
        self
    }

    pub(super) fn cache(&self) -> &Arc<Cache> {
        &self.cache
    }

    /// Whether there is something stored that is stale.
    pub(super) fn has_stored(&self) -> bool {
        !self.stored.objects().is_empty()
    }

    pub(super) fn key(&self) -> &StoredKey {
        &self.flight.key
    }

    /// Why the store had nothing.
    pub fn miss(&self) -> Miss {
        self.miss
    }

    /// Whether it waited for another's answer before it had to fetch.
    pub fn waited(&self) -> bool {
        self.waited
    }

    /// The answer's head has come. `request` is the one that was looked up; `requested` is when it was sent to the origin, `now` when the head
    /// came. If the answer may be shared, everybody who waits gets it now; if not, they all go their own ways at once.
    pub fn answer(
        mut self,
        request: &impl RequestHead,
        response: &impl ResponseHead,
        rules: &Rules,
        requested: Instant,
        now: Now,
    ) -> Answered {
        let object = match self.object(request, response, rules, requested, now) {
            Ok(object) => Arc::new(object),
            Err(refusal) => {
                self.put_off(now, refusal == Refusal::Worse);
                self.supersede(response, refusal);
                let mark = if response.status().is_server_error() {
                    marks::FAILED
                } else {
                    marks::UNSHARED
                };
                self.release_followers(Some(now.mono + mark));
                return Answered::Pass(refusal);
            }
        };
        let size = object.head_size();
        if !self.cache.make_room(size) {
            self.release_followers(None);
            return Answered::Pass(Refusal::NoRoom);
        }
        let charge = Charge::new(&self.cache.room, size);
        let claim = self.claim.take();
        let original = (claim.is_some() || self.cache.shared.has_tier()).then(|| Original::new(response, claim));
        match self.fill(object, charge, rules, now) {
            Answered::Store(filler) => Answered::Store(filler.keeping(original)),
            other => other,
        }
    }

    /// There will be no answer to share: everybody who waits goes their own way at once, rather than one after the other into the same wall.
    pub fn failed(mut self, now: Now) {
        self.put_off(now, true);
        self.release_followers(Some(now.mono + marks::FAILED));
    }

    fn object(
        &self,
        request: &impl RequestHead,
        response: &impl ResponseHead,
        rules: &Rules,
        requested: Instant,
        now: Now,
    ) -> Result<Object, Refusal> {
        let permit = judge(request, response, rules, requested, now)?;
        if self.is_worse(response, now) {
            return Err(Refusal::Worse);
        }
        if permit.length.is_some_and(|length| length > self.cache.max_object()) {
            return Err(Refusal::TooLarge);
        }
        let variant = Variant::of(permit.selector.clone(), request);
        let tags = self.cache.tags(response);
        let began = self.flight.lock().began;
        Ok(Object::new(
            response,
            permit,
            &self.flight.key,
            &variant,
            tags,
            began,
            &self.cache.commons,
            now,
        ))
    }

    /// Lists the flight as one whose body arrives, unless what it brings must not be stored; then it goes on only for those who wait.
    fn fill(mut self, object: Arc<Object>, charge: Charge, rules: &Rules, now: Now) -> Answered {
        let mut shard = self.cache.shard(self.flight.key.hash);
        let refusal = self
            .refusal(&shard, &object, now)
            .or_else(|| self.is_rare(&mut shard, rules).then_some(Refusal::FewUses));
        let mut state = self.flight.lock();
        self.open = false;
        match refusal {
            Some(refusal) => {
                self.flight.unlist(&mut shard, &mut state);
                if state.waiting.is_empty() || !object.shareable {
                    let waiting = std::mem::take(&mut state.waiting);
                    state.cut();
                    drop(state);
                    drop(shard);
                    tell(waiting, None);
                    return Answered::Pass(refusal);
                }
            }
            None => {
                self.flight.list(&mut shard, &mut state);
                let (key, authorized) = (&self.flight.key, self.flight.authorized);
                match object.shareable {
                    true => shard.marks.clear(key, authorized),
                    false => shard.marks.set(key, authorized, Mark::Unshared, now.mono + marks::UNSHARED),
                }
            }
        }
        state.phase = Phase::Arriving(Arc::clone(&object));
        state.charge = Some(charge);
        state.window = self.cache.max_object();
        let waiting = std::mem::take(&mut state.waiting);
        let words: Vec<_> = waiting
            .into_values()
            .map(|follower| match object.shareable {
                true => (follower, Word::Stream(self.flight.reader(&mut state, &object, self.miss))),
                false => (follower, Word::Alone),
            })
            .collect();
        drop(state);
        drop(shard);
        for (follower, word) in words {
            // One that is gone by now gives its reader back, which is dropped here.
            drop(follower.send(word));
        }
        Answered::Store(Filler::new(&self.cache, &self.flight, object))
    }

    /// Why it must not be stored, although its head allows it.
    fn refusal(&self, shard: &Shard, object: &Object, now: Now) -> Option<Refusal> {
        if self.cache.log().hits(object.began, &object.key, &object.tags) {
            return Some(Refusal::Purged);
        }
        if object.length().is_none() && shard.marks.get(&object.key, self.flight.authorized, now) == Some(Mark::TooLong) {
            return Some(Refusal::TooLarge);
        }
        self.is_duplicate(shard, object, now).then_some(Refusal::Duplicate)
    }

    /// Whether the key was asked for too seldom for its answers to be stored. Counts those who get this one. Where something is stored already, it was
    /// asked for often enough, whatever is remembered of that.
    fn is_rare(&self, shard: &mut Shard, rules: &Rules) -> bool {
        if rules.min_uses <= 1 || matches!(self.stored, Stored::This(_)) {
            return false;
        }
        let waiting = self.flight.lock().waiting.len();
        let uses = u32::try_from(waiting).unwrap_or(u32::MAX).saturating_add(1);
        shard.uses.count(self.flight.key.hash, uses) < rules.min_uses
    }

    /// Whether somebody else has brought, or is bringing, what this one would store.
    fn is_duplicate(&self, shard: &Shard, object: &Object, now: Now) -> bool {
        let as_good = |other: &Object| {
            other.variant().same(object.variant())
                && (other.began > object.began || (self.alone && self.miss != Miss::Request && other.is_fresh(now)))
        };
        let flights = shard.flights.get(&object.key.hash).into_iter().flatten();
        let mut others = flights.filter(|flight| !Arc::ptr_eq(flight, &self.flight) && flight.key.same(&object.key));
        shard.get(&object.key, object.variant()).is_some_and(|stored| as_good(stored))
            || others.any(|flight| matches!(&flight.lock().phase, Phase::Arriving(arriving) if as_good(arriving)))
    }

    /// Ends the flight without a body to share. `until`: so long, whoever asks is not to wait either.
    fn release_followers(&mut self, until: Option<Instant>) {
        self.end(until, None, |_| Removed::default());
    }

    /// Ends the flight: everybody who waits gets `hit`, or goes their own way. `change` is made at the same moment.
    pub(super) fn end(&mut self, until: Option<Instant>, hit: Option<&Hit>, change: impl FnOnce(&mut Shard) -> Removed) {
        let mut shard = self.cache.shard(self.flight.key.hash);
        let removed = change(&mut shard);
        let mut state = self.flight.lock();
        self.open = false;
        self.flight.unlist(&mut shard, &mut state);
        state.phase = Phase::Over;
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        let (key, authorized) = (&self.flight.key, self.flight.authorized);
        match until {
            Some(until) => shard.marks.set(key, authorized, Mark::Unshared, until),
            None if hit.is_some() => shard.marks.clear(key, authorized),
            None => {}
        }
        drop(shard);
        self.cache.let_go(removed);
        tell(waiting, hit);
    }
}

/// Tells those who have waited that this is the answer, or that there is none for them.
fn tell(waiting: BTreeMap<u64, oneshot::Sender<Word>>, hit: Option<&Hit>) {
    for follower in waiting.into_values() {
        drop(follower.send(hit.map_or(Word::Alone, |hit| Word::Hit(hit.clone()))));
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        if self.open {
            self.cache.hand_over(&self.flight, self.miss);
        }
    }
}

impl Cache {
    /// Gives a lead that was dropped to the follower who has waited longest, or ends the flight. Whoever asks meanwhile either joins before
    /// this and is among those who wait, or comes after it and finds the new leader, or no flight.
    fn hand_over(self: &Arc<Self>, flight: &Arc<Flight>, miss: Miss) {
        loop {
            let mut shard = self.shard(flight.key.hash);
            let mut state = flight.lock();
            // A flight that a purge took off the list is not joined any more: its followers had better begin anew, together with the others.
            let next = if state.listed { state.waiting.pop_first() } else { None };
            let Some((_, follower)) = next else {
                flight.unlist(&mut shard, &mut state);
                state.phase = Phase::Over;
                let waiting = std::mem::take(&mut state.waiting);
                drop(state);
                drop(shard);
                // Closing their channels sends them to look up again.
                drop(waiting);
                return;
            };
            state.began = self.next_number();
            drop(state);
            drop(shard);
            let lead = Lead::new(self, Arc::clone(flight), miss, false).after_waiting();
            match follower.send(Word::Lead(lead)) {
                // That follower has gone in this very moment: the next one then, without going through this lead's drop.
                Err(Word::Lead(mut lead)) => lead.open = false,
                _ => return,
            }
        }
    }
}
