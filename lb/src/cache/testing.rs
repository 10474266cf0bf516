//! Heads for tests.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};

use super::{Answered, Cache, Filler, Hit, Key, Lead, Lookup, Now, Refusal, Rules};
use crate::exchange::head::{Fields, RequestHead, ResponseHead};

/// A request or response head.
#[derive(Debug, Clone)]
pub(super) struct Head {
    method: Method,
    status: StatusCode,
    pub(super) fields: HeaderMap,
}

pub(super) fn get() -> Head {
    Head {
        method: Method::GET,
        status: StatusCode::OK,
        fields: HeaderMap::new(),
    }
}

/// An answer with `Cache-Control` as given.
pub(super) fn answer(cache_control: &str) -> Head {
    get().with("cache-control", cache_control)
}

impl Head {
    pub(super) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.fields
            .append(HeaderName::from_static(name), HeaderValue::from_bytes(value.as_bytes()).unwrap());
        self
    }

    pub(super) fn method(mut self, method: Method) -> Self {
        self.method = method;
        self
    }

    pub(super) fn status(mut self, status: u16) -> Self {
        self.status = StatusCode::from_u16(status).unwrap();
        self
    }
}

impl Fields for Head {
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

impl RequestHead for Head {
    fn method(&self) -> &Method {
        &self.method
    }

    fn version(&self) -> Version {
        Version::HTTP_11
    }

    fn target(&self) -> &[u8] {
        b"/"
    }

    fn authority(&self) -> &[u8] {
        b"h"
    }
}

impl ResponseHead for Head {
    fn status(&self) -> StatusCode {
        self.status
    }
}

pub(super) fn key(uri: &str) -> Key<'_> {
    Key::new("users", uri.as_bytes(), uri.as_bytes())
}

pub(super) fn second() -> Duration {
    Duration::from_secs(1)
}

/// What tests do over and over.
pub(super) trait Steps {
    fn ask(&self, uri: &str, request: &Head, now: Now) -> Lookup;

    fn lead(&self, uri: &str, request: &Head, now: Now) -> Lead {
        match self.ask(uri, request, now) {
            Lookup::Lead(lead) | Lookup::Alone(lead) => lead,
            other => panic!("{other:?}"),
        }
    }

    fn hit(&self, uri: &str, request: &Head, now: Now) -> Option<Hit> {
        match self.ask(uri, request, now) {
            Lookup::Hit(hit, None) => Some(hit),
            _ => None,
        }
    }

    /// Fetches and stores.
    fn store(&self, uri: &str, request: &Head, answer: &Head, body: &[u8], now: Now) {
        let mut filler = fill(self.lead(uri, request, now), request, answer, now);
        filler.push(Bytes::copy_from_slice(body));
        filler.finish();
    }
}

impl Steps for Arc<Cache> {
    fn ask(&self, uri: &str, request: &Head, now: Now) -> Lookup {
        self.look_up(&key(uri), request, now)
    }
}

pub(super) fn fill(lead: Lead, request: &Head, answer: &Head, now: Now) -> Filler {
    match lead.answer(request, answer, &Rules::default(), now.mono, now) {
        Answered::Store(filler) => filler,
        Answered::Pass(refusal) => panic!("{refusal:?}"),
    }
}

pub(super) fn pass(lead: Lead, request: &Head, answer: &Head, now: Now) -> Refusal {
    match lead.answer(request, answer, &Rules::default(), now.mono, now) {
        Answered::Store(_) => panic!("stored"),
        Answered::Pass(refusal) => refusal,
    }
}
