//! What may be stored, and for how long: RFC 9111 as a shared cache, in pure functions over plain data.
//!
//! Two questions. [`admit`] asks whether a request may be answered from a store at all. [`judge`] asks of an answer's head whether it may be
//! kept and shared, and how fresh it is (§3, §4.2): its *lifetime* is `s-maxage`, else `max-age`, else `Expires` minus `Date`, else what the
//! route gives to answers that say nothing; its *age* on arrival is what `Age`, `Date` and the time on the way say, whichever is more. It is
//! fresh while its age is below its lifetime, and nothing that is not fresh on arrival is kept.
//!
//! Where the origin sends a valid `CDN-Cache-Control` (RFC 9213), that one speaks and `Cache-Control` and `Expires` are not heard, whatever
//! they say.

use std::time::{Duration, Instant, SystemTime};

use http::header::{AGE, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, DATE, EXPIRES, SET_COOKIE, TRANSFER_ENCODING};
use http::{HeaderName, Method, StatusCode};

use super::cache_control::{Directives, MAX_DELTA, Scope, delta_seconds};
use super::clock::Now;
use super::unkeyed;
use super::vary::Selector;
use crate::exchange::head::{RequestHead, ResponseHead};

const CDN_CACHE_CONTROL: HeaderName = HeaderName::from_static("cdn-cache-control");

/// The request fields that a fetch for the store must not carry: the answer to them (304) would be for one client only.
pub const CONDITIONAL: [HeaderName; 3] = [http::header::IF_NONE_MATCH, http::header::IF_MODIFIED_SINCE, http::header::IF_RANGE];

/// What a route says about caching.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// The lifetime of an answer that says nothing about it, if its status is one of `statuses`.
    pub ttl: Duration,
    /// The statuses that get `ttl`.
    pub statuses: Vec<StatusCode>,
    /// Request fields that answers depend on, whatever their `Vary` says.
    pub vary_on: Vec<HeaderName>,
}

impl From<&lb_config::RouteCache> for Rules {
    fn from(route: &lb_config::RouteCache) -> Self {
        Self {
            ttl: route.ttl,
            statuses: route.statuses.clone(),
            vary_on: route.vary_on.clone(),
        }
    }
}

/// Why a request goes past the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bypass {
    /// Neither `GET` nor `HEAD`.
    Method,
    /// The request has a body, which is no part of the key.
    Body,
    /// It wants another protocol.
    Upgrade,
    /// It asks for a part of what is not stored.
    Range,
    /// `If-Match` or `If-Unmodified-Since`, which only the origin can tell (RFC 9111 §4.3.2).
    Precondition,
    /// `Cache-Control: no-store`.
    NoStore,
    /// It claims another method than its own, or hides fields from the origin by `Connection`.
    Ambiguous,
    /// A `HEAD` for which nothing is stored: its answer has no body to store.
    HeadMiss,
}

/// What a look-up has to know of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask {
    /// `HEAD`
    pub head: bool,
    /// It has `Authorization`.
    pub authorized: bool,
    /// It asks for a part.
    pub range: bool,
}

/// Whether a request may be answered from the store. One pass over its fields.
///
/// A body that HTTP/2 announces by no field cannot be seen here: the caller knows, and does not ask.
pub fn admit(request: &impl RequestHead) -> Result<Ask, Bypass> {
    let head = request.method() == Method::HEAD;
    if !head && request.method() != Method::GET {
        return Err(Bypass::Method);
    }
    let (mut authorized, mut range) = (false, false);
    for (name, value) in request.iter() {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        match name.len() {
            // Of GET only: for other methods it means nothing (RFC 9110 §14.2).
            5 if is("range") => range = !head,
            7 if is("upgrade") => return Err(Bypass::Upgrade),
            8 if is("if-match") => return Err(Bypass::Precondition),
            13 if is("authorization") => authorized = true,
            13 if is("cache-control") && asks_no_store(value) => return Err(Bypass::NoStore),
            10 if is("connection") && unkeyed::hides(value) => return Err(Bypass::Ambiguous),
            13 | 17 | 22 if unkeyed::claims_method(name) => return Err(Bypass::Ambiguous),
            14 if is("content-length") && value.trim_ascii() != b"0" => return Err(Bypass::Body),
            17 if is("transfer-encoding") => return Err(Bypass::Body),
            19 if is("if-unmodified-since") => return Err(Bypass::Precondition),
            _ => {}
        }
    }
    Ok(Ask { head, authorized, range })
}

/// Most values are not worth parsing: the word is not in them.
fn asks_no_store(line: &[u8]) -> bool {
    line.windows(8).any(|word| word.eq_ignore_ascii_case(b"no-store")) && Directives::parse([line].into_iter()).no_store
}

/// Why an answer is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// A status that is never stored.
    Status,
    /// A part of something.
    Partial,
    /// `no-store`
    NoStore,
    /// `private`
    Private,
    /// `no-cache`: it would have to be asked again each time.
    NoCache,
    /// An answer to `Authorization` that is not declared shareable (RFC 9111 §3.5).
    Authorization,
    /// `Set-Cookie` without `public` or `s-maxage`.
    SetCookie,
    /// `Vary: *`
    VaryAny,
    /// Nothing makes it fresh, or its time is over on arrival.
    NotFresh,
    /// Its length cannot be read.
    Framing,
    /// Longer than `max_object`.
    TooLarge,
    /// No memory left beside what is arriving.
    NoRoom,
    /// A purge that came after the fetch began hit it.
    Purged,
    /// The same is being stored by another request.
    Duplicate,
}

/// How long a stored answer is good. Stale-while-revalidate, stale-if-error and must-revalidate will stand here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Freshness {
    /// When it came.
    pub received: Instant,
    /// How old it was then.
    pub initial_age: Duration,
    /// How old it may be.
    pub lifetime: Duration,
}

impl Freshness {
    /// Its age (RFC 9111 §4.2.3).
    pub fn age(&self, now: Now) -> Duration {
        self.initial_age.saturating_add(now.mono.saturating_duration_since(self.received))
    }

    /// What is left of its lifetime; `None` once it is stale.
    pub fn left(&self, now: Now) -> Option<Duration> {
        self.lifetime.checked_sub(self.age(now)).filter(|left| !left.is_zero())
    }
}

/// An answer that may be kept and shared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permit {
    /// How long.
    pub freshness: Freshness,
    /// With whom.
    pub selector: Selector,
    /// Without these fields (qualified `private` and `no-cache`).
    pub hidden: Vec<HeaderName>,
    /// The body's length where the head tells it.
    pub length: Option<u64>,
}

/// Judges an answer by its head. `requested` is when its request was sent, `now` when its head came.
pub fn judge(
    request: &impl RequestHead,
    response: &impl ResponseHead,
    rules: &Rules,
    requested: Instant,
    now: Now,
) -> Result<Permit, Refusal> {
    let status = response.status();
    if !may_be_stored(status) {
        return Err(Refusal::Status);
    }
    if response.get(&CONTENT_RANGE).is_some() {
        return Err(Refusal::Partial);
    }
    let targeted = Directives::parse_targeted(response.all(&CDN_CACHE_CONTROL));
    let expires = if targeted.is_some() { None } else { response.get(&EXPIRES) };
    let said = targeted.unwrap_or_else(|| Directives::parse(response.all(&CACHE_CONTROL)));
    forbidden(&said)?;
    let shareable = said.public || said.s_maxage.is_some();
    if !shareable && !said.must_revalidate && request.get(&http::header::AUTHORIZATION).is_some() {
        return Err(Refusal::Authorization);
    }
    let hidden = [said.private.fields(), said.no_cache.fields()].concat();
    if !shareable && response.get(&SET_COOKIE).is_some() && !hidden.contains(&SET_COOKIE) {
        return Err(Refusal::SetCookie);
    }
    let selector = Selector::of(response, &rules.vary_on).ok_or(Refusal::VaryAny)?;
    let date = response.get(&DATE).and_then(http_date);
    let lifetime = lifetime(&said, expires, date.unwrap_or(now.wall))
        .or_else(|| rules.statuses.contains(&status).then_some(rules.ttl))
        .unwrap_or(Duration::ZERO);
    let freshness = Freshness {
        received: now.mono,
        initial_age: initial_age(response, date, requested, now),
        lifetime,
    };
    if freshness.left(now).is_none() {
        return Err(Refusal::NotFresh);
    }
    Ok(Permit {
        freshness,
        selector,
        hidden,
        length: length(response)?,
    })
}

/// Statuses that explicit freshness can make storable. Those that answer a condition or a range are not understood yet (RFC 9111 §3), and
/// RFC 6585 forbids some.
fn may_be_stored(status: StatusCode) -> bool {
    !status.is_informational() && !matches!(status.as_u16(), 206 | 304 | 412 | 416 | 428 | 429 | 431 | 511)
}

fn forbidden(said: &Directives) -> Result<(), Refusal> {
    if said.no_store {
        Err(Refusal::NoStore)
    } else if said.private == Scope::Whole {
        Err(Refusal::Private)
    } else if said.no_cache == Scope::Whole {
        Err(Refusal::NoCache)
    } else {
        Ok(())
    }
}

/// RFC 9111 §4.2.1, for a shared cache; `None` where the origin says nothing. An `Expires` that is no date is in the past (§5.3).
fn lifetime(said: &Directives, expires: Option<&[u8]>, date: SystemTime) -> Option<Duration> {
    if let Some(seconds) = said.s_maxage.or(said.max_age) {
        return Some(Duration::from_secs(seconds));
    }
    let expires = http_date(expires?);
    Some(
        expires
            .and_then(|expires| expires.duration_since(date).ok())
            .unwrap_or_default()
            .min(Duration::from_secs(MAX_DELTA)),
    )
}

/// RFC 9111 §4.2.3. `Date` has whole seconds, so that the first one after it may still be the same moment.
fn initial_age(response: &impl ResponseHead, date: Option<SystemTime>, requested: Instant, now: Now) -> Duration {
    let apparent = date
        .and_then(|date| now.wall.duration_since(date).ok())
        .unwrap_or_default()
        .saturating_sub(Duration::from_secs(1));
    let stated = response
        .get(&AGE)
        .and_then(|line| delta_seconds(line.split(|&byte| byte == b',').next()?.trim_ascii()));
    let delay = now.mono.saturating_duration_since(requested);
    apparent.max(Duration::from_secs(stated.unwrap_or(0)) + delay)
}

/// `Content-Length` where it frames the body.
fn length(response: &impl ResponseHead) -> Result<Option<u64>, Refusal> {
    if response.get(&TRANSFER_ENCODING).is_some() {
        return Ok(None);
    }
    let Some(line) = response.get(&CONTENT_LENGTH) else {
        return Ok(None);
    };
    let text = std::str::from_utf8(line).map_err(|_| Refusal::Framing)?.trim();
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Refusal::Framing);
    }
    text.parse().map(Some).map_err(|_| Refusal::Framing)
}

fn http_date(line: &[u8]) -> Option<SystemTime> {
    httpdate::parse_http_date(std::str::from_utf8(line).ok()?.trim()).ok()
}
