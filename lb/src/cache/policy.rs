//! What may be stored, and for how long: RFC 9111 as a shared cache, in pure functions over plain data.
//!
//! Two questions. [`admit`] asks whether a request may be answered from a store at all, and what it demands. [`judge`] asks of an answer's head
//! whether it may be kept, and how long it is good (§3, §4.2): its *lifetime* is `s-maxage`, else `max-age`, else `Expires` minus `Date`, else what
//! the route gives to answers that say nothing, else a tenth of the time since `Last-Modified` (§4.2.2); its *age* on arrival is what `Age`, `Date`
//! and the time on the way say, whichever is more. It is fresh while its age is below its lifetime. What is not fresh is kept only where it may be
//! served all the same (RFC 5861), or where its origin speaks of caching and can be asked whether it is still right: `no-cache` with an `ETag`.
//!
//! Such an answer is kept, but it is not shared with others who ask at the same time ([`Permit::shareable`]): each of them has the right to have it
//! validated for its own request.
//!
//! Where the origin sends a valid `CDN-Cache-Control` (RFC 9213), that one speaks and `Cache-Control` and `Expires` are not heard, whatever
//! they say.

use std::time::{Duration, Instant, SystemTime};

use http::header::{
    AGE, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, DATE, ETAG, EXPIRES, LAST_MODIFIED, SET_COOKIE, TRANSFER_ENCODING,
};
use http::{HeaderName, Method, StatusCode};

use super::cache_control::{Directives, MAX_DELTA, Scope, delta_seconds};
use super::clock::Now;
use super::demands::Demands;
use super::freshness::{Freshness, Grace};
use super::http_date;
use super::unkeyed;
use super::vary::Selector;
use crate::exchange::head::{RequestHead, ResponseHead};

const CDN_CACHE_CONTROL: HeaderName = HeaderName::from_static("cdn-cache-control");

/// The request fields that a fetch for the store must not carry: the answer to them (304, 206) would be for one client only.
pub const CONDITIONAL: [HeaderName; 4] = [
    http::header::IF_NONE_MATCH,
    http::header::IF_MODIFIED_SINCE,
    http::header::IF_RANGE,
    http::header::RANGE,
];

/// A guess from `Last-Modified` is for so long at most.
const LONGEST_GUESS: Duration = Duration::from_secs(24 * 60 * 60);

/// What a route says about caching.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// The lifetime of an answer that says nothing about it, if its status is one of `statuses`. `None`: what can be guessed.
    pub ttl: Option<Duration>,
    /// The statuses that get `ttl`.
    pub statuses: Vec<StatusCode>,
    /// Requests for a key from which on its responses are stored; 0 and 1: from the first.
    pub min_uses: u32,
    /// Request fields that answers depend on, whatever their `Vary` says.
    pub vary_on: Vec<HeaderName>,
    /// For how long an answer may be served after its lifetime, while it is fetched anew, where the origin says nothing of that.
    pub stale_while_revalidate: Duration,
    /// The same, where the origin gives no good answer.
    pub stale_if_error: Duration,
}

impl From<&lb_config::RouteCache> for Rules {
    fn from(route: &lb_config::RouteCache) -> Self {
        Self {
            ttl: route.ttl,
            statuses: route.statuses.clone(),
            min_uses: route.min_uses,
            vary_on: route.vary_on.clone(),
            stale_while_revalidate: route.stale_while_revalidate,
            stale_if_error: route.stale_if_error,
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
    /// What its `Cache-Control` or `Pragma` demands; `None`: nothing.
    pub demands: Option<Demands>,
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
    let (mut demands, mut pragma, mut speaks) = (Demands::default(), Demands::default(), false);
    for (name, value) in request.iter() {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        match name.len() {
            // Of GET only: for other methods it means nothing (RFC 9110 §14.2).
            5 if is("range") => range = !head,
            6 if is("pragma") => pragma.read_pragma(value),
            7 if is("upgrade") => return Err(Bypass::Upgrade),
            8 if is("if-match") => return Err(Bypass::Precondition),
            13 if is("authorization") => authorized = true,
            13 if is("cache-control") => {
                speaks = true;
                demands.read(value);
            }
            10 if is("connection") && unkeyed::hides(value) => return Err(Bypass::Ambiguous),
            13 | 17 | 22 if unkeyed::claims_method(name) => return Err(Bypass::Ambiguous),
            14 if is("content-length") && value.trim_ascii() != b"0" => return Err(Bypass::Body),
            17 if is("transfer-encoding") => return Err(Bypass::Body),
            19 if is("if-unmodified-since") => return Err(Bypass::Precondition),
            _ => {}
        }
    }
    if !speaks {
        demands = pragma;
    }
    if demands.no_store {
        return Err(Bypass::NoStore);
    }
    let demands = (demands != Demands::default()).then_some(demands);
    Ok(Ask {
        head,
        authorized,
        range,
        demands,
    })
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
    /// An answer to `Authorization` that is not declared shareable (RFC 9111 §3.5).
    Authorization,
    /// `Set-Cookie` without `public` or `s-maxage`.
    SetCookie,
    /// `Vary: *`, or a field that is another one for each client.
    VaryAny,
    /// A stream of events, which has no end.
    Endless,
    /// Nothing makes it fresh, or its time is over on arrival; and it is good for nothing else.
    NotFresh,
    /// Its length cannot be read.
    Framing,
    /// Longer than `max_object`.
    TooLarge,
    /// No memory left beside what is arriving.
    NoRoom,
    /// A purge that came after the fetch began hit it.
    Purged,
    /// It was not asked for often enough.
    FewUses,
    /// The same is being stored by another request.
    Duplicate,
    /// An error, where something better is stored and may be served yet.
    Worse,
}

/// An answer that may be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permit {
    /// How long it is fresh.
    pub freshness: Freshness,
    /// What it is good for after that.
    pub grace: Grace,
    /// Whether those who ask meanwhile may have it, too.
    pub shareable: bool,
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
    let is_targeted = targeted.is_some();
    let expires = if is_targeted { None } else { response.get(&EXPIRES) };
    let said = targeted.unwrap_or_else(|| Directives::parse(response.all(&CACHE_CONTROL)));
    forbidden(&said, status)?;
    let shareable = said.public || said.s_maxage.is_some();
    if !shareable && !said.must_revalidate && request.get(&http::header::AUTHORIZATION).is_some() {
        return Err(Refusal::Authorization);
    }
    let hidden = [said.private.fields(), said.no_cache.fields()].concat();
    if !shareable && response.get(&SET_COOKIE).is_some() && !hidden.contains(&SET_COOKIE) {
        return Err(Refusal::SetCookie);
    }
    if response.get(&CONTENT_TYPE).is_some_and(is_event_stream) {
        return Err(Refusal::Endless);
    }
    let selector = Selector::of(response, &rules.vary_on).ok_or(Refusal::VaryAny)?;
    if selector.names().iter().any(|name| OF_EACH_CLIENT.contains(name)) {
        return Err(Refusal::VaryAny);
    }
    let date = response.get(&DATE).and_then(http_date::read);
    let stated = lifetime(&said, expires, date.unwrap_or(now.wall));
    let freshness = Freshness {
        received: now.mono,
        initial_age: initial_age(response, date, requested, now),
        lifetime: match said.no_cache {
            Scope::Whole => Duration::ZERO,
            _ => stated
                .or_else(|| rules.ttl.filter(|_| rules.statuses.contains(&status)))
                .or_else(|| (!is_targeted).then(|| guess(response, &said, status, date.unwrap_or(now.wall))))
                .unwrap_or_default(),
        },
    };
    let grace = grace(&said, rules, freshness.lifetime);
    let over = freshness.over(now);
    let shareable = freshness.left(now).is_some() || grace.while_revalidate(over);
    // Who says nothing of caching may have meant anything by its ETag.
    let speaks = stated.is_some() || said.public || (said.no_cache == Scope::Whole && is_guessable(status));
    let validated = speaks && (response.get(&ETAG).is_some() || response.get(&LAST_MODIFIED).is_some());
    if !shareable && !validated && !grace.if_error(over) {
        return Err(Refusal::NotFresh);
    }
    Ok(Permit {
        freshness,
        grace,
        shareable,
        selector,
        hidden,
        length: length(response)?,
    })
}

/// What `lb` itself tells an origin of each client: a request that has the same field from its client may come to another answer, and one without it to the
/// same.
const OF_EACH_CLIENT: [HeaderName; 4] = [
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-real-ip"),
    HeaderName::from_static("x-request-id"),
];

/// `text/event-stream`, with or without parameters.
fn is_event_stream(kind: &[u8]) -> bool {
    let kind = kind.split(|&byte| byte == b';').next().unwrap_or_default();
    kind.trim_ascii().eq_ignore_ascii_case(b"text/event-stream")
}

/// Statuses that explicit freshness can make storable. Those that answer a condition or a range are not understood yet (RFC 9111 §3), and
/// RFC 6585 forbids some.
fn may_be_stored(status: StatusCode) -> bool {
    !status.is_informational() && !matches!(status.as_u16(), 206 | 304 | 412 | 416 | 428 | 429 | 431 | 511)
}

/// Statuses whose answers may be stored without a word about it (RFC 9110 §15.1), but for the one that answers a range.
fn is_guessable(status: StatusCode) -> bool {
    matches!(status.as_u16(), 200 | 203 | 204 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501)
}

/// Statuses that mean nothing to a cache but what is done with them here (RFC 9111 §5.2.2.3).
fn is_understood(status: StatusCode) -> bool {
    is_guessable(status)
        || matches!(
            status.as_u16(),
            201 | 202 | 302 | 303 | 307 | 400 | 401 | 403 | 500 | 502 | 503 | 504
        )
}

fn forbidden(said: &Directives, status: StatusCode) -> Result<(), Refusal> {
    if said.must_understand && !is_understood(status) {
        Err(Refusal::Status)
    } else if said.no_store && !said.must_understand {
        Err(Refusal::NoStore)
    } else if said.private == Scope::Whole {
        Err(Refusal::Private)
    } else {
        Ok(())
    }
}

/// What it is good for after its lifetime. A route speaks only where the origin does not, and of answers that were ever fresh: it must not make
/// one fresh by another name that its origin wants to have validated each time.
fn grace(said: &Directives, rules: &Rules, lifetime: Duration) -> Grace {
    if said.must_revalidate || said.proxy_revalidate || said.no_cache == Scope::Whole {
        return Grace::default();
    }
    let lax = said.s_maxage.is_none() && !lifetime.is_zero();
    let window = |said: Option<u64>, route: Duration| {
        let route = if lax { route.as_secs() } else { 0 };
        u32::try_from(said.unwrap_or(route)).unwrap_or(u32::MAX)
    };
    Grace {
        while_revalidate: window(said.stale_while_revalidate, rules.stale_while_revalidate),
        if_error: window(said.stale_if_error, rules.stale_if_error),
        on_request: lax,
    }
}

/// A lifetime for an answer that states none (RFC 9111 §4.2.2): a tenth of the time for which it has not changed.
fn guess(response: &impl ResponseHead, said: &Directives, status: StatusCode, date: SystemTime) -> Duration {
    if !said.public && !is_guessable(status) {
        return Duration::ZERO;
    }
    let modified = response.get(&LAST_MODIFIED).and_then(http_date::read);
    let unchanged = modified.and_then(|modified| date.duration_since(modified).ok()).unwrap_or_default();
    (unchanged / 10).min(LONGEST_GUESS)
}

/// RFC 9111 §4.2.1, for a shared cache; `None` where the origin says nothing. An `Expires` that is no date is in the past (§5.3).
fn lifetime(said: &Directives, expires: Option<&[u8]>, date: SystemTime) -> Option<Duration> {
    if let Some(seconds) = said.s_maxage.or(said.max_age) {
        return Some(Duration::from_secs(seconds));
    }
    let expires = http_date::read(expires?);
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
