//! From the request head to the decision what to do with it: limits, route, admission, cache.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use lb_config::{Action, HashOn};

use super::head::RequestHead;
use super::{CONDITIONAL, Exchange};
use crate::admit;
use crate::balance::hash_of;
use crate::cache::{CacheStatus, Follower, Hit, Joined, Key, Lookup, Now, Reader};
use crate::filter;
use crate::reject::Refusal;
use crate::route::{Found, Target, render};
use crate::snapshot::RouteState;

/// What is done with a request.
pub enum Decision {
    /// It is refused.
    Refuse(Refusal),
    /// `lb` answers it.
    Respond(Reply),
    /// A stored object answers it.
    Hit(Hit),
    /// An object that is still arriving answers it.
    Stream(Reader),
    /// Another request is fetching the answer: wait for it, then tell [`Exchange::joined`].
    Wait(Follower),
    /// A server answers it.
    Forward,
}

/// An answer of `lb`'s own that is no error.
pub struct Reply {
    /// The status.
    pub status: StatusCode,
    /// Its fields, without framing.
    pub fields: Vec<(HeaderName, HeaderValue)>,
    /// The body.
    pub body: Bytes,
}

impl Exchange {
    /// Takes the request head and decides.
    pub fn request(&mut self, head: &impl RequestHead) -> Decision {
        self.method = head.method().clone();
        let trusted = &self.snapshot.config.server.trusted_proxies;
        self.client = admit::client(self.peer.address.ip(), trusted, head);
        self.id = admit::request_id(self.peer.address.ip(), trusted, head);
        match self.admit(head) {
            Ok(decision) => decision,
            Err(refusal) => Decision::Refuse(self.refuse(refusal)),
        }
    }

    fn admit(&mut self, head: &impl RequestHead) -> Result<Decision, Refusal> {
        self.check_head(head)?;
        let target = Target::parse(head.target());
        let snapshot = self.snapshot.clone();
        let index = match snapshot.router.find(head, &target) {
            Found::Route(index) => index,
            Found::MethodNotAllowed(allow) => return Err(Refusal::MethodNotAllowed(allow)),
            Found::None => return Err(Refusal::NoRoute),
        };
        self.route = Some(index);
        let route = &snapshot.routes[index];
        if !admit::address(&route.config.allow, &route.config.deny, self.client) {
            return Err(Refusal::Forbidden);
        }
        self.max_body = route.config.max_body.unwrap_or(snapshot.config.limits.max_body);
        if content_length(head).is_some_and(|length| length > self.max_body) {
            return Err(Refusal::BodyTooLarge);
        }
        Ok(match &route.config.action {
            Action::Forward { .. } => self.forward(route, head, &target),
            Action::Redirect { to, status } => self.redirect(to, *status, head, &target)?,
            Action::Respond { status, body, content_type } => Decision::Respond(Reply {
                status: *status,
                fields: vec![(header::CONTENT_TYPE, content_type.clone())],
                body: Bytes::from_owner(OwnedBody(body.clone())),
            }),
        })
    }

    /// The limits of a head. An engine that reads bytes has refused a larger head before it was whole; this holds for HTTP/2 as well.
    fn check_head(&self, head: &impl RequestHead) -> Result<(), Refusal> {
        let limits = &self.snapshot.config.limits;
        if head.target().len() > limits.max_header_bytes {
            return Err(Refusal::UriTooLong);
        }
        let (mut count, mut bytes) = (0, head.target().len());
        for (name, value) in head.iter() {
            count += 1;
            bytes += name.len() + value.len() + 4;
        }
        if count > limits.max_headers || bytes > limits.max_header_bytes {
            return Err(Refusal::HeadTooLarge);
        }
        match *head.method() {
            Method::CONNECT => Err(Refusal::NotImplemented("CONNECT is not supported")),
            Method::TRACE => Err(Refusal::NotImplemented("TRACE is not supported")),
            _ => Ok(()),
        }
    }

    fn redirect(&self, to: &lb_config::Template, status: StatusCode, head: &impl RequestHead, target: &Target<'_>) -> Result<Decision, Refusal> {
        let mut location = Vec::new();
        render(to, self.peer.scheme.as_str(), head.authority(), &target.forward, target.query, &mut location);
        let location = HeaderValue::from_maybe_shared(Bytes::from(location))
            .map_err(|_| Refusal::BadRequest("the target has characters that a Location cannot carry"))?;
        Ok(Decision::Respond(Reply { status, fields: vec![(header::LOCATION, location)], body: Bytes::new() }))
    }

    fn forward(&mut self, route: &RouteState, head: &impl RequestHead, target: &Target<'_>) -> Decision {
        if let Some(upstream) = self.upstream() {
            upstream.upstream.request_seen();
            self.tries.hash = upstream.hash_on.as_ref().map_or(0, |on| self.hash_key(on, head, target));
        }
        let Some(policy) = &route.cache else { return Decision::Forward };
        let Some(upstream) = self.upstream() else { return Decision::Forward };
        let mut rendered = Vec::with_capacity(128);
        render(&policy.key, self.peer.scheme.as_str(), head.authority(), &target.forward, target.query, &mut rendered);
        let key = Key::new(upstream.upstream.name(), &rendered);
        if has_body(head) {
            self.caching.status = Some(CacheStatus::Bypass);
            self.caching.key = Some(key);
            return Decision::Forward;
        }
        let found = self.proxy.cache.look_up(&key, head, Now::now());
        self.caching.key = Some(key);
        self.looked_up(found, head)
    }

    fn looked_up(&mut self, found: Lookup, head: &impl RequestHead) -> Decision {
        match found {
            Lookup::Hit(hit) => self.hit(hit),
            Lookup::Stream(reader) => {
                self.caching.status = Some(CacheStatus::Collapsed);
                Decision::Stream(reader)
            }
            Lookup::Wait(follower) => Decision::Wait(follower),
            Lookup::Lead(lead) | Lookup::Alone(lead) => {
                self.lead(lead, head);
                Decision::Forward
            }
            Lookup::Bypass(_) => {
                self.caching.status = Some(CacheStatus::Bypass);
                Decision::Forward
            }
        }
    }

    fn hit(&mut self, hit: Hit) -> Decision {
        self.caching.status = Some(CacheStatus::Hit);
        Decision::Hit(hit)
    }

    fn lead(&mut self, lead: crate::cache::Lead, head: &impl RequestHead) {
        self.caching.status = Some(CacheStatus::Miss);
        self.caching.lead = Some(lead);
        self.conditional_stripped = CONDITIONAL.iter().any(|name| head.get(name).is_some());
    }

    /// What came of the waiting that [`Decision::Wait`] asked for.
    pub fn joined(&mut self, joined: Joined, head: &impl RequestHead) -> Decision {
        match joined {
            Joined::Hit(hit) => self.hit(hit),
            Joined::Stream(reader) => {
                self.caching.status = Some(CacheStatus::Collapsed);
                Decision::Stream(reader)
            }
            Joined::Lead(lead) | Joined::Alone(lead) => {
                self.lead(lead, head);
                Decision::Forward
            }
        }
    }

    fn hash_key(&self, on: &HashOn, head: &impl RequestHead, target: &Target<'_>) -> u64 {
        match on {
            HashOn::ClientIp => match self.client {
                std::net::IpAddr::V4(ip) => hash_of(&ip.octets()),
                std::net::IpAddr::V6(ip) => hash_of(&ip.octets()),
            },
            HashOn::Path => hash_of(&target.forward),
            HashOn::Header(name) => hash_of(head.get(name).unwrap_or_default()),
            HashOn::Cookie(name) => hash_of(filter::cookie(head, name).unwrap_or_default()),
        }
    }

    /// The path and query that the server is asked for; `None`: as received.
    pub fn rewritten(&self, head: &impl RequestHead) -> Option<Vec<u8>> {
        let Action::Forward { rewrite, .. } = &self.route()?.config.action else { return None };
        let target = Target::parse(head.target());
        crate::route::rewrite(rewrite, &target)
    }
}

/// A shared string as the owner of a body.
struct OwnedBody(std::sync::Arc<str>);

impl AsRef<[u8]> for OwnedBody {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

fn content_length(head: &impl RequestHead) -> Option<u64> {
    std::str::from_utf8(head.get(&header::CONTENT_LENGTH)?).ok()?.trim().parse().ok()
}

fn has_body(head: &impl RequestHead) -> bool {
    head.get(&header::TRANSFER_ENCODING).is_some() || content_length(head).is_some_and(|length| length > 0)
}
