//! pingora's heads as the exchange knows them.

use http::uri::Authority;
use http::{HeaderName, HeaderValue, Method, StatusCode, Version, header};
use pingora::http::{RequestHeader, ResponseHeader};

use crate::exchange::head::{Editor, Fields, RequestHead, ResponseHead};

/// A request head as pingora has read it.
pub(super) struct Request<'a>(pub(super) &'a RequestHeader, pub(super) Body);

/// What a session knows of a request's body beside its head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Body {
    /// The head says whether there is one.
    Announced,
    /// There is one, whatever the head says.
    Follows,
}

/// A response head as pingora has read it.
pub(super) struct Response<'a>(pub(super) &'a ResponseHeader);

/// A request head on its way to a server.
pub(super) struct RequestOut<'a>(pub(super) &'a mut RequestHeader);

/// A response head on its way to the client.
pub(super) struct ResponseOut<'a>(pub(super) &'a mut ResponseHeader);

macro_rules! fields {
    ($type:ident) => {
        impl Fields for $type<'_> {
            fn get(&self, name: &HeaderName) -> Option<&[u8]> {
                Fields::get(&self.0.headers, name)
            }

            fn all<'a>(&'a self, name: &'a HeaderName) -> impl Iterator<Item = &'a [u8]> {
                self.0.headers.all(name)
            }

            fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
                Fields::iter(&self.0.headers)
            }
        }
    };
}

fields!(Request);
fields!(Response);

impl RequestHead for Request<'_> {
    fn method(&self) -> &Method {
        &self.0.method
    }

    fn version(&self) -> Version {
        self.0.version
    }

    fn target(&self) -> &[u8] {
        let raw = self.0.raw_path();
        if raw.starts_with(b"/") || raw == b"*" {
            return raw;
        }
        // Absolute form: what stands behind the authority. It was checked against Host when the head was read.
        let path = memchr(raw).map_or(&b""[..], |start| &raw[start..]);
        if path.is_empty() { b"/" } else { path }
    }

    fn authority(&self) -> &[u8] {
        match self.0.uri.authority().map(Authority::as_str) {
            Some(authority) if self.0.version == Version::HTTP_2 => authority.as_bytes(),
            _ => Fields::get(&self.0.headers, &header::HOST).unwrap_or_default(),
        }
    }

    fn has_unannounced_body(&self) -> bool {
        self.1 == Body::Follows
    }
}

/// Where the path or the query of an absolute-form target begins.
fn memchr(raw: &[u8]) -> Option<usize> {
    let authority = raw.windows(3).position(|window| window == b"://")? + 3;
    raw[authority..]
        .iter()
        .position(|byte| matches!(byte, b'/' | b'?'))
        .map(|at| authority + at)
}

impl ResponseHead for Response<'_> {
    fn status(&self) -> StatusCode {
        self.0.status
    }
}

impl Editor for RequestOut<'_> {
    fn set(&mut self, name: &HeaderName, value: HeaderValue) {
        // It fails only where a name or a value is invalid, and these are typed.
        let _ = self.0.insert_header(name.clone(), value);
    }

    fn add(&mut self, name: &HeaderName, value: HeaderValue) {
        let _ = self.0.append_header(name.clone(), value);
    }

    fn remove(&mut self, name: &HeaderName) {
        self.0.remove_header(name);
    }
}

impl Editor for ResponseOut<'_> {
    fn set(&mut self, name: &HeaderName, value: HeaderValue) {
        let _ = self.0.insert_header(name.clone(), value);
    }

    fn add(&mut self, name: &HeaderName, value: HeaderValue) {
        let _ = self.0.append_header(name.clone(), value);
    }

    fn remove(&mut self, name: &HeaderName) {
        self.0.remove_header(name);
    }
}

/// Edits that were found by looking at the head that they change, and are made once nobody looks any more. Mostly there are none.
#[derive(Default)]
pub(super) struct Edits(Vec<Edit>);

enum Edit {
    Set(HeaderName, HeaderValue),
    Add(HeaderName, HeaderValue),
    Remove(HeaderName),
}

impl Edits {
    /// Makes them.
    pub(super) fn apply(self, out: &mut impl Editor) {
        for edit in self.0 {
            match edit {
                Edit::Set(name, value) => out.set(&name, value),
                Edit::Add(name, value) => out.add(&name, value),
                Edit::Remove(name) => out.remove(&name),
            }
        }
    }
}

impl Editor for Edits {
    fn set(&mut self, name: &HeaderName, value: HeaderValue) {
        self.0.push(Edit::Set(name.clone(), value));
    }

    fn add(&mut self, name: &HeaderName, value: HeaderValue) {
        self.0.push(Edit::Add(name.clone(), value));
    }

    fn remove(&mut self, name: &HeaderName) {
        self.0.push(Edit::Remove(name.clone()));
    }
}
