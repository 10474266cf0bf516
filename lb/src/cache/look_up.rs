//! Looking for an answer, and what follows where there is none: joining who fetches it, or fetching it.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::flight::{Flight, Phase, Stored};
use super::follow::Follower;
use super::freshness::{Need, Use, Why};
use super::hit::Hit;
use super::key::{Key, StoredKey};
use super::lead::Lead;
use super::marks::Mark;
use super::policy::{self, Ask, Bypass};
use super::stand_in::Beside;
use super::status::Miss;
use super::store::{Found, Shard};
use super::vary::Variant;
use super::{Cache, Lookup, Now};
use crate::exchange::head::RequestHead;

/// Fetches of one key that may be joined: one for each variant that is asked for at once.
const FLIGHTS: usize = 64;
/// Variants of which a fetch for another one asks whether they are right for it as well.
const ASKED_FOR: usize = 8;

impl Cache {
    /// Looks for an answer. The request must be well-formed and, if it came over HTTP/2, without a body.
    pub fn look_up(self: &Arc<Self>, key: &Key<'_>, request: &impl RequestHead, now: Now) -> Lookup {
        let ask = match policy::admit(request) {
            Ok(ask) => ask,
            Err(bypass) => return Lookup::Bypass(bypass),
        };
        let hash = self.hashing.hash_one(key);
        let mut shard = self.shard(hash);
        let demands = ask.demands.as_ref();
        let (miss, stored) = match shard.find(hash, key, request) {
            Found::Nothing => (Miss::Uri, Stored::Nothing),
            Found::OtherVariants => (Miss::Vary, Stored::Nothing),
            // Nor may it stand in for an error.
            Found::Object(object) if !self.trusts(object, now) => (Miss::Stale, Stored::Nothing),
            Found::Object(object) => match object.judge_use(demands, now) {
                Use::Fresh(left) => {
                    object.hit();
                    return Lookup::Hit(Hit::fresh(object, left, now), None);
                }
                Use::Stale(over, why) => {
                    object.hit();
                    let hit = Hit::stale(object, over, why, now);
                    let lead = self.refresh(&mut shard, key.store(hash), ask, &hit, now);
                    return Lookup::Hit(hit, lead);
                }
                Use::Ask(Need::Stale) => (Miss::Stale, Stored::This(Arc::clone(object))),
                Use::Ask(Need::Demanded) => (Miss::Request, Stored::This(Arc::clone(object))),
            },
        };
        if demands.is_some_and(|demands| demands.only_if_cached) {
            return Lookup::Unsatisfied;
        }
        if ask.head || ask.range {
            let why = if ask.head { Bypass::HeadMiss } else { Bypass::Range };
            return match &stored {
                Stored::This(object) if demands.is_none_or(|demands| !demands.no_cache) => Lookup::Beside(why, Beside::new(self, object)),
                _ => Lookup::Bypass(why),
            };
        }
        self.join_or_lead(&mut shard, key.store(hash), ask, request, miss, stored, now)
    }

    /// The lead to fetch anew in the background what is served stale; `None`: somebody does, or it is not time to.
    fn refresh(self: &Arc<Self>, shard: &mut Shard, key: StoredKey, ask: Ask, hit: &Hit, now: Now) -> Option<Box<Lead>> {
        let object = &hit.object;
        let wanted = hit.stale.is_some_and(|stale| stale.why != Why::OnRequest) && object.may_be_asked(now);
        let flights = shard.flights.get(&key.hash).map(Vec::as_slice).unwrap_or_default();
        if !wanted || flights.len() >= FLIGHTS || flights.iter().any(|flight| flight.may_bring(object)) {
            return None;
        }
        let stored = Stored::This(Arc::clone(object));
        let flight = Flight::new(key, ask.authorized, now.mono, self.next_number(), stored);
        let mut state = flight.lock();
        state.expected = Some(object.variant().to_owned());
        flight.list(shard, &mut state);
        drop(state);
        Some(Box::new(Lead::new(self, flight, Miss::Stale, false)))
    }

    #[expect(clippy::too_many_arguments, reason = "all of what a look-up has found out so far")]
    fn join_or_lead(
        self: &Arc<Self>,
        shard: &mut Shard,
        key: StoredKey,
        ask: Ask,
        request: &impl RequestHead,
        miss: Miss,
        stored: Stored,
        now: Now,
    ) -> Lookup {
        // Whoever wants the origin's word wants one that it gives from now on.
        let joins = miss != Miss::Request && ask.demands.is_none_or(|demands| !demands.no_cache);
        let flights = shard.flights.get(&key.hash).map(Vec::as_slice).unwrap_or_default();
        if joins && let Some(joined) = flights.iter().find_map(|flight| self.join(flight, &key, ask, request, miss, now)) {
            return joined;
        }
        let stored = match stored {
            Stored::Nothing if miss == Miss::Vary => variants(shard, &key),
            stored => stored,
        };
        let mark = shard.marks.get(&key, ask.authorized, now);
        if !joins || flights.len() >= FLIGHTS || mark.is_some() {
            let own = mark == Some(Mark::Unshared) && stored.objects().is_empty();
            let flight = Flight::new(key, ask.authorized, now.mono, self.next_number(), stored);
            let strict = ask.demands.is_some_and(|demands| demands.no_cache);
            return Lookup::Alone(Lead::new(self, flight, miss, true).strict(strict).of_one_client(own));
        }
        let selector = shard
            .selector(&key)
            .or_else(|| flights.iter().find_map(|flight| flight.selector(&key)));
        let flight = Flight::new(key, ask.authorized, now.mono, self.next_number(), stored);
        let mut state = flight.lock();
        state.expected = selector.map(|selector| Variant::of(selector, request));
        flight.list(shard, &mut state);
        drop(state);
        Lookup::Lead(Lead::new(self, flight, miss, false))
    }

    /// Joins a listed flight, if what it brings is for this request as far as one can tell. Under the shard's lock.
    fn join(
        self: &Arc<Self>,
        flight: &Arc<Flight>,
        key: &StoredKey,
        ask: Ask,
        request: &impl RequestHead,
        miss: Miss,
        now: Now,
    ) -> Option<Lookup> {
        if !flight.key.same(key) {
            return None;
        }
        let mut state = flight.lock();
        match &state.phase {
            Phase::Arriving(object) => {
                let object = Arc::clone(object);
                let usable = || match object.judge_use(ask.demands.as_ref(), now) {
                    Use::Fresh(_) => true,
                    Use::Stale(_, why) => why == Why::WhileRevalidate,
                    Use::Ask(_) => false,
                };
                (object.shareable && object.variant().matches(request) && usable() && self.trusts(&object, now))
                    .then(|| Lookup::Stream(flight.reader(&mut state, &object, miss)))
            }
            Phase::Asked => {
                let likely = state.expected.as_ref().is_none_or(|variant| variant.view().matches(request));
                (likely && flight.authorized == ask.authorized).then(|| {
                    let (sender, word) = oneshot::channel();
                    let id = state.next_id();
                    state.waiting.insert(id, sender);
                    let wary = !self.shared.trusts(now);
                    Lookup::Wait(Follower::new(self, flight, miss, id, word, wary))
                })
            }
            Phase::Whole | Phase::Over => None,
        }
    }

    /// The lead of one who has waited for this flight in vain, which nobody can join.
    pub(super) fn lead_after(self: &Arc<Self>, flight: &Flight, miss: Miss) -> Lead {
        let own = Flight::new(
            flight.key.clone(),
            flight.authorized,
            flight.asked,
            self.next_number(),
            flight.stored.clone(),
        );
        Lead::new(self, own, miss, true)
    }
}

/// Stored variants that a fetch of another one may turn out to be the same as: the newest that have an entity tag.
fn variants(shard: &Shard, key: &StoredKey) -> Stored {
    let mut tagged: Vec<_> = shard.variants(key).filter(|object| object.etag().is_some()).cloned().collect();
    tagged.sort_unstable_by_key(|object| std::cmp::Reverse(object.began));
    tagged.truncate(ASKED_FOR);
    Stored::Variants(tagged)
}
