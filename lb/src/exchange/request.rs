//! From the request head to the decision what to do with it: limits, route, admission, cache.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use lb_config::{Action, HashOn};

use super::head::RequestHead;
use super::{Exchange, repeat, unix_millis};
use crate::admit::{self, Client, RequestId};
use crate::balance::{hash_address, hash_key};
use crate::cache::{Follower, Hit, Reader};
use crate::filter;
use crate::reject::Refusal;
use crate::route::{Found, Target, location, rewrite};

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
    /// It is to wait so long, then tell [`Exchange::delayed`].
    Delay(Duration),
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
        self.client = Client::of(
            &self.origin.peer,
            &self.snapshot.config.server.trusted_proxies,
            self.origin.scheme,
            head,
        );
        if self.client.is_proxied {
            self.id = RequestId::of(&self.client, head, unix_millis(), rand::random());
        }
        match self.admit(head) {
            Ok(decision) => decision,
            Err(refusal) => Decision::Refuse(self.refuse(refusal)),
        }
    }

    fn admit(&mut self, head: &impl RequestHead) -> Result<Decision, Refusal> {
        self.check_head(head)?;
        if let Some(handshake) = &self.origin.handshake
            && handshake.listener.is_misdirected(handshake.name.as_deref(), head.authority())
        {
            return Err(Refusal::Misdirected);
        }
        let target = Target::parse(head.target());
        let snapshot = self.snapshot.clone();
        let index = match snapshot.router.find(head, &target) {
            Found::Route(index) => index,
            Found::MethodNotAllowed(allow) => return Err(Refusal::MethodNotAllowed(allow)),
            Found::None => return Err(Refusal::NoRoute),
        };
        self.route = Some(index);
        let route = &snapshot.routes[index].config;
        if !admit::may_come(&route.allow, &route.deny, self.client.address) {
            return Err(Refusal::Forbidden);
        }
        self.max_body = route.max_body.unwrap_or(snapshot.config.limits.max_body);
        if content_length(head).is_some_and(|length| length > self.max_body) {
            return Err(Refusal::BodyTooLarge);
        }
        if let Some(decision) = route.fault.as_ref().and_then(|fault| self.inject(fault)) {
            return Ok(decision);
        }
        self.act(head, &target, &route.action)
    }

    /// Does what the route is there for.
    pub(super) fn act(&mut self, head: &impl RequestHead, target: &Target<'_>, action: &Action) -> Result<Decision, Refusal> {
        match action {
            Action::Forward { .. } => {
                self.arrive(head, target);
                Ok(self.look_up(head))
            }
            Action::Redirect { to, status } => {
                let to = location(to, self.client.scheme.as_str(), head.authority(), target.forward(), target.query());
                let to = to.ok_or(Refusal::BadRequest("The redirect needs the Host that the request does not name."))?;
                Ok(Decision::Respond(Reply {
                    status: *status,
                    fields: vec![(header::LOCATION, to)],
                    body: Bytes::new(),
                }))
            }
            Action::Respond {
                status,
                body,
                content_type,
            } => Ok(Decision::Respond(Reply {
                status: *status,
                fields: vec![(header::CONTENT_TYPE, content_type.clone())],
                body: Bytes::from_owner(Shared(body.clone())),
            })),
        }
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
            Method::CONNECT => Err(Refusal::NotImplemented("CONNECT is not supported.")),
            Method::TRACE => Err(Refusal::NotImplemented("TRACE is not supported.")),
            _ => Ok(()),
        }
    }

    /// The request is one for its upstream.
    fn arrive(&mut self, head: &impl RequestHead, target: &Target<'_>) {
        self.choose_upstream();
        self.prepare(head, target);
    }

    /// Finds out what its upstream has to know of it.
    pub(super) fn prepare(&mut self, head: &impl RequestHead, target: &Target<'_>) {
        let Some(upstream) = self.upstream() else { return };
        upstream.upstream.request_seen();
        let cookies = upstream.upstream.cookies();
        let sticky = cookies.and_then(|cookies| cookies.server(filter::cookie(head, cookies.name())?));
        // A client that stays with a server must not be taken from it by whoever is faster.
        let hedges = upstream.upstream.config().hedge.is_some() && sticky.is_none() && self.is_hedgeable(head);
        let hash = upstream.hash_on.as_ref().map_or(0, |on| self.hash(on, head, target));
        self.tries.sticky = sticky;
        let by_key = self.route().is_some_and(|route| route.config.retry_idempotency_key);
        self.repeatable = repeat::idempotent(&self.method) || (by_key && repeat::promised(&self.method, head));
        self.tries.hedges = hedges;
        self.tries.hash = hash;
        self.set_deadline();
    }

    pub(super) fn hash(&self, on: &HashOn, head: &impl RequestHead, target: &Target<'_>) -> u64 {
        match on {
            HashOn::ClientIp => hash_address(self.client.address),
            HashOn::Path => hash_key(target.forward()),
            HashOn::Header(name) => hash_key(head.get(name).unwrap_or_default()),
            HashOn::Cookie(name) => hash_key(filter::cookie(head, name).unwrap_or_default()),
        }
    }

    /// The path and query that the server is asked for; `None`: as received.
    pub fn forwarded_target(&self, head: &impl RequestHead) -> Option<Vec<u8>> {
        let Action::Forward { rewrite: rule, .. } = &self.route()?.config.action else {
            return None;
        };
        rewrite(rule, &Target::parse(head.target()))
    }
}

/// A shared string as the owner of a body.
struct Shared(std::sync::Arc<str>);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

fn content_length(head: &impl RequestHead) -> Option<u64> {
    std::str::from_utf8(head.get(&header::CONTENT_LENGTH)?).ok()?.trim().parse().ok()
}
