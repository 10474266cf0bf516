//! The second tier: responses in Redis, for every `lb` that shares it.
//!
//! What enters the store is written there as well, off the path of requests ([`keeper`]). A request that would have to ask the origin asks there
//! first; those who wait for it wait for that, too. What it finds goes the way of an origin's answer: it is judged by this `lb`'s rules, stored, and
//! purged if a purge comes in between. Before that, [`super::gate`] has said that no purge came since it was true.
//!
//! Of several `lb` that miss the same one asks the origin. It holds a claim, a key in Redis that lapses by itself; the others look again until there is something, or the
//! claim is gone, or they have waited for long enough.
//!
//! Redis answers in time or not at all: after a failure nobody asks it for a while.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::HeaderValue;
use redis::RedisResult;
use tokio::sync::{Notify, mpsc};

use super::link::Link;
use super::record::{self, Found, Record};
use crate::cache::key::StoredKey;
use crate::cache::object::Object;
use crate::cache::policy::judge;
use crate::cache::purge::tag_hash;
use crate::cache::vary::Selector;
use crate::cache::{Answered, CACHE_TAG, Cache, Follower, Joined, Lead, Now, Rules, fields};
use crate::exchange::head::{Fields, RequestHead};

/// How long a request waits for an answer of Redis.
const ANSWER: Duration = Duration::from_millis(100);
/// How long nobody asks after a failure.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a request waits for what another `lb` fetches, and how often it looks.
const PATIENCE: (Duration, Duration) = (Duration::from_secs(2), Duration::from_millis(20));
/// How long a claim lives that is not given up.
const CLAIM: Duration = Duration::from_secs(3);
/// What waits to be written, at most.
const QUEUE: usize = 1024;
const QUEUE_BYTES: usize = 64 << 20;

/// KEYS: response, claim. ARGV: who claims, for how long, whether also where there is a response. Returns the response, and 1 with the claim.
const ASK: &str = r"
local found, claimed = redis.call('GET', KEYS[1]), 0
if (not found or ARGV[3] == '1') and redis.call('SET', KEYS[2], ARGV[1], 'NX', 'PX', ARGV[2]) then claimed = 1 end
return {found, claimed}
";

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Tier {
    link: Mutex<Option<Link>>,
    /// The link has failed.
    pub(super) broken: Notify,
    work: Mutex<Option<mpsc::Sender<Work>>>,
    /// Bytes of bodies that wait to be written.
    queued: AtomicUsize,
    /// Nobody asks before this moment.
    paused: AtomicU64,
}

/// What is done off the path of requests.
#[derive(Debug)]
pub(super) enum Work {
    Keep(Box<Keep>),
    Release(Release),
}

/// A response to be written, as long as it is in the store.
#[derive(Debug)]
pub(super) struct Keep {
    pub(super) object: Arc<Object>,
    pub(super) original: Original,
}

/// A claim to be given up.
#[derive(Debug)]
pub(super) struct Release {
    pub(super) place: String,
    pub(super) token: String,
}

/// What has to be known of an answer beside what is stored of it.
#[derive(Debug)]
pub(in crate::cache) struct Original {
    /// Its `Cache-Tag`.
    pub(super) tags: Vec<HeaderValue>,
    pub(super) claim: Option<Claim>,
}

/// The right to ask the origin for all who share. Given up on drop.
#[derive(Debug)]
pub(in crate::cache) struct Claim {
    cache: Arc<Cache>,
    release: Option<Release>,
}

impl Claim {
    /// It will be given up together with what is written.
    pub(super) fn take(mut self) -> Option<Release> {
        self.release.take()
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some(release) = self.release.take() {
            self.cache.shared.tier.enqueue(Work::Release(release));
        }
    }
}

impl Tier {
    pub(super) fn new() -> Self {
        Self {
            link: Mutex::new(None),
            broken: Notify::new(),
            work: Mutex::new(None),
            queued: AtomicUsize::new(0),
            paused: AtomicU64::new(0),
        }
    }

    /// Takes work from now on.
    pub(super) fn open(&self) -> mpsc::Receiver<Work> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        *self.work.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender);
        receiver
    }

    /// Takes none any more.
    pub(super) fn close(&self) {
        *self.work.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.set_link(None);
    }

    pub(super) fn set_link(&self, link: Option<Link>) {
        *self.link.lock().unwrap_or_else(PoisonError::into_inner) = link;
    }

    fn link(&self) -> Option<Link> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn enqueue(&self, work: Work) -> bool {
        let bytes = work.bytes();
        if self.queued.fetch_add(bytes, Ordering::Relaxed) + bytes > QUEUE_BYTES {
            self.queued.fetch_sub(bytes, Ordering::Relaxed);
            return false;
        }
        let sender = self.work.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let sent = sender.is_some_and(|sender| sender.try_send(work).is_ok());
        if !sent {
            self.queued.fetch_sub(bytes, Ordering::Relaxed);
        }
        sent
    }

    pub(super) fn dequeued(&self, bytes: usize) {
        self.queued.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Work {
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Keep(keep) => keep.object.length().unwrap_or(0) as usize,
            Self::Release(_) => 0,
        }
    }
}

/// Where the answers to a key are in Redis. All of it is on one node of a cluster.
pub(super) struct Place(String);

impl Place {
    pub(super) fn of(upstream: &[u8], rendered: &[u8]) -> Self {
        Self(format!(
            "{{lb:{}}}",
            hex(&[&(upstream.len() as u64).to_le_bytes(), upstream, rendered])
        ))
    }

    pub(super) fn response(&self) -> String {
        format!("{}:r", self.0)
    }

    pub(super) fn variant(&self, selector: &Selector, values: &[u8]) -> String {
        let note = record::write_selector(selector);
        format!("{}:v:{}", self.0, hex(&[&note, values]))
    }
}

/// A hash that everybody computes alike, and nobody can find another text for.
fn hex(parts: &[&[u8]]) -> String {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    parts.iter().for_each(|part| context.update(part));
    let digest = context.finish();
    digest.as_ref()[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A request that waits before it fetches.
#[derive(Debug)]
pub enum Waiting {
    /// For what another request of this `lb` fetches.
    Follower(Follower),
    /// For what there is in Redis.
    Others(Box<Asking>),
}

impl Waiting {
    /// Waits. `request` is the one that was looked up. May be dropped at any moment, and be given a time limit.
    pub async fn wait(self, request: &impl RequestHead) -> Joined {
        match self {
            Self::Follower(follower) => follower.wait(request).await,
            Self::Others(asking) => asking.wait(request).await,
        }
    }
}

/// A request that looks in Redis before it asks the origin.
#[derive(Debug)]
pub struct Asking {
    lead: Lead,
    rules: Rules,
}

impl Asking {
    pub(in crate::cache) fn new(lead: Lead, rules: Rules) -> Self {
        Self { lead, rules }
    }

    /// Looks. May be dropped at any moment: then whoever else waits takes over.
    pub(in crate::cache) async fn wait(mut self, request: &impl RequestHead) -> Joined {
        let cache = Arc::clone(self.lead.cache());
        let key = self.lead.key().clone();
        let search = Search {
            cache: &cache,
            key: &key,
            rules: &self.rules,
            newer: self.lead.has_stored(),
        };
        match search.run(request).await {
            Ok(record) => {
                let now = Now::read();
                // What is not stored all the same (no room, purged in this moment) is fetched, and not looked for again.
                if let Answered::Store(mut filler) = self.lead.answer(request, &record.head_at(now.millis()), &self.rules, now.mono, now) {
                    filler = filler.found();
                    filler.push(record.body.clone());
                    filler.finish();
                }
                cache.shared.counts.tier_hits.add(1);
                Joined::Again
            }
            Err(claim) => {
                cache.shared.counts.tier_misses.add(1);
                self.lead.claim = claim;
                Joined::Lead(self.lead)
            }
        }
    }
}

struct Search<'a> {
    cache: &'a Arc<Cache>,
    key: &'a StoredKey,
    rules: &'a Rules,
    /// Something stale is here already: only what is fresh is of use.
    newer: bool,
}

impl Search<'_> {
    /// What there is and may be served, or the duty to fetch it, by a claim where others are to wait for that.
    async fn run(&self, request: &impl RequestHead) -> Result<Record, Option<Claim>> {
        let tier = &self.cache.shared.tier;
        let (place, begun) = (Place::of(self.key.upstream(), self.key.rendered()), Instant::now());
        let (mut at, mut anyway, mut depends) = (place.response(), false, None);
        loop {
            let Some(mut link) = tier.link() else { return Err(None) };
            let token = format!("{:032x}", rand::random::<u128>());
            let (found, claimed) = match ask(&mut link, &at, &token, anyway).await {
                Ok(answer) => answer,
                Err(error) => {
                    self.cache.shared.tier_failed(&error);
                    return Err(None);
                }
            };
            let claim = claimed.then(|| Claim {
                cache: Arc::clone(self.cache),
                release: Some(Release { place: at.clone(), token }),
            });
            let something = found.is_some();
            match found.and_then(|bytes| record::read(&bytes, self.cache.max_object())) {
                Some(Found::Selector(selector)) if depends.is_none() => {
                    at = place.variant(&selector, &record::values(&selector, request));
                    depends = Some(selector);
                    continue;
                }
                Some(Found::Response(record)) if self.serves(&record, depends.as_ref(), request) => return Ok(*record),
                _ => {}
            }
            if claim.is_some() {
                return Err(claim);
            }
            if something && !anyway {
                // There is something that is no good: to be replaced by whoever has the claim.
                anyway = true;
                continue;
            }
            anyway = true;
            if begun.elapsed() > PATIENCE.0 {
                return Err(None);
            }
            tokio::time::sleep(PATIENCE.1).await;
        }
    }

    fn serves(&self, record: &Record, depends: Option<&Selector>, request: &impl RequestHead) -> bool {
        let (now, shared) = (Now::read(), &self.cache.shared);
        let head = record.head_at(now.millis());
        let tags: Vec<u64> = fields::tags(head.all(&CACHE_TAG))
            .map(|tag| tag_hash(&self.cache.hashing, tag))
            .collect();
        let values = depends.map(|selector| record::values(selector, request)).unwrap_or_default();
        record.upstream == self.key.upstream()
            && record.key == self.key.rendered()
            && record.values == values
            && Selector::of(&head, &self.rules.vary_on).as_ref() == Some(depends.unwrap_or(&Selector::NONE))
            && judge(request, &head, self.rules, now.mono, now)
                .is_ok_and(|permit| permit.shareable && (!self.newer || permit.freshness.left(now).is_some()))
            && (tags.is_empty() || shared.trusts(now))
            && shared.gate.passes(&record.epoch, record.end, self.key, &tags)
    }
}

async fn ask(link: &mut Link, at: &str, token: &str, anyway: bool) -> RedisResult<(Option<Vec<u8>>, bool)> {
    let mut command = redis::cmd("EVAL");
    command.arg(ASK).arg(2).arg(at).arg(format!("{at}:c")).arg(token);
    command.arg(CLAIM.as_millis() as u64).arg(u8::from(anyway));
    link.ask(&command, ANSWER).await
}

impl super::Shared {
    /// Whether a miss is looked for in Redis.
    pub(in crate::cache) fn has_tier(&self) -> bool {
        let is_open = self.tier.link.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        is_open && self.moment(Instant::now()) >= self.tier.paused.load(Ordering::Relaxed)
    }

    fn tier_failed(&self, error: &redis::RedisError) {
        self.counts.errors.add(1);
        tracing::debug!(%error, "Redis does not answer: responses are not looked for there");
        self.tier.paused.store(self.moment(Instant::now() + PAUSE), Ordering::Relaxed);
        self.tier.set_link(None);
        self.tier.broken.notify_one();
    }

    /// Has a response that was just stored be written to Redis, if there is room in the queue.
    pub(in crate::cache) fn keep(&self, original: Original, object: &Arc<Object>) {
        let keep = Keep {
            object: Arc::clone(object),
            original,
        };
        if !self.tier.enqueue(Work::Keep(Box::new(keep))) {
            self.counts.tier_dropped.add(1);
        }
    }
}

impl Original {
    /// Of an answer that will be stored.
    pub(in crate::cache) fn new(response: &impl Fields, claim: Option<Claim>) -> Self {
        Self {
            tags: response
                .all(&CACHE_TAG)
                .filter_map(|line| HeaderValue::from_bytes(line).ok())
                .collect(),
            claim,
        }
    }
}
