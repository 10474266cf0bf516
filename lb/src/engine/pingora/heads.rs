//! pingora's heads as the exchange knows them.

use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header};
use pingora::Result;
use pingora::http::{RequestHeader, ResponseHeader};

use crate::exchange::head::{Editor, Fields, RequestHead, ResponseHead};
use crate::filter;

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

/// Edits a request head on its way to a server.
///
/// pingora keeps every name as the client spelled it in a second map beside the fields, and parses each name that is set anew. Names
/// compare without case, so that map is left behind, and the fields are edited as they are.
pub(super) fn edit_request(head: &mut RequestHeader, edit: impl FnOnce(&mut HeaderMap)) -> Result<()> {
    let placeholder = RequestHeader::from(http::Request::new(()).into_parts().0);
    let full = std::mem::replace(head, placeholder);
    let in_uri = full.uri.path_and_query().map(|target| target.as_str().as_bytes());
    // What is no URI (bytes beyond ASCII) is kept as it came.
    let raw = (in_uri != Some(full.raw_path())).then(|| full.raw_path().to_vec());
    let mut parts = http::request::Parts::from(full);
    edit(&mut parts.headers);
    *head = RequestHeader::from(parts);
    raw.map_or(Ok(()), |raw| head.set_raw_path(&raw))
}

/// Edits a response head on its way to the client. See [`edit_request`].
pub(super) fn edit_response(head: &mut ResponseHeader, edit: impl FnOnce(&mut HeaderMap)) -> Result<()> {
    let placeholder = ResponseHeader::from(http::Response::new(()).into_parts().0);
    let full = std::mem::replace(head, placeholder);
    let reason = full
        .get_reason_phrase()
        .filter(|reason| Some(*reason) != full.status.canonical_reason())
        .map(str::to_owned);
    let mut parts = http::response::Parts::from(full);
    edit(&mut parts.headers);
    *head = ResponseHeader::from(parts);
    reason.map_or(Ok(()), |reason| head.set_reason_phrase(Some(&reason)))
}

/// A response head of these fields.
pub(super) fn response(status: StatusCode, fields: HeaderMap) -> ResponseHeader {
    let (mut parts, ()) = http::Response::new(()).into_parts();
    parts.status = status;
    parts.headers = fields;
    ResponseHeader::from(parts)
}

/// The edits that take from an answer what was for this hop only.
pub(super) fn hop(answer: &ResponseHeader) -> Edits {
    let mut edits = Edits::default();
    filter::response_hop(&Response(answer), &mut edits);
    edits
}

/// Whether an answer ends with its head (RFC 9112 §6.3), so that no piece of a body will say that it is over.
pub(super) fn bodyless(answer: &ResponseHeader, request: &RequestHeader) -> bool {
    let empty = answer
        .headers
        .get(header::CONTENT_LENGTH)
        .is_some_and(|length| length.as_bytes() == b"0");
    empty || request.method == Method::HEAD || matches!(answer.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
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
