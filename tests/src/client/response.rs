//! What comes back.

use bytes::BytesMut;
use serde_json::Value;

use super::Failure;
use crate::framing::{Framing, Headers};

/// A response head.
#[derive(Debug, Clone)]
pub struct Head {
    /// The status.
    pub status: u16,
    /// The minor version: 0 or 1.
    pub version: u8,
    /// The fields.
    pub headers: Headers,
}

impl Head {
    /// Takes a head out of what was read; `None` when it is not all there.
    pub(super) fn take(buffer: &mut BytesMut) -> Result<Option<Head>, Failure> {
        let mut fields = [httparse::EMPTY_HEADER; 256];
        let mut parsed = httparse::Response::new(&mut fields);
        let malformed = |error: &dyn std::fmt::Display| Failure::Malformed(format!("{error}: {:?}", String::from_utf8_lossy(buffer)));
        match parsed.parse(buffer).map_err(|error| malformed(&error))? {
            httparse::Status::Partial => Ok(None),
            httparse::Status::Complete(length) => {
                let (Some(status), Some(version)) = (parsed.code, parsed.version) else {
                    return Err(malformed(&"no status"));
                };
                let head = Head {
                    status,
                    version,
                    headers: Headers::from_parsed(parsed.headers),
                };
                let _ = buffer.split_to(length);
                Ok(Some(head))
            }
        }
    }

    /// How the body of this answer to `method` ends (RFC 9112 §6.3).
    pub(super) fn framing(&self, method: &str) -> Framing {
        if method == "HEAD" || self.status < 200 || self.status == 204 || self.status == 304 {
            return Framing::NONE;
        }
        self.headers.framing().unwrap_or(Framing::UntilClose)
    }

    /// Whether the server will take another request on this connection after this answer to `method`.
    pub fn keeps_alive(&self, method: &str) -> bool {
        let wanted = if self.version == 0 {
            self.headers.lists("connection", "keep-alive")
        } else {
            !self.headers.lists("connection", "close")
        };
        wanted && self.framing(method) != Framing::UntilClose
    }
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// The fields.
    pub headers: Headers,
    /// The body, as far as it came.
    pub body: Vec<u8>,
    /// Whether the body ended too early.
    pub cut: bool,
    /// The statuses of the interim answers before it.
    pub interim: Vec<u16>,
    /// Trailer lines after a chunked body.
    pub trailers: Vec<String>,
    /// Whether another request may follow on the connection.
    pub keeps_alive: bool,
}

impl Response {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON; fails the test when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("no JSON ({error}) with status {}: {:?}", self.status, self.text()))
    }

    /// The value of a field; fails the test when it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .unwrap_or_else(|| panic!("no {name} in the answer {} {:?}", self.status, self.headers))
    }

    /// Whether `Cache-Status` says that this came from the store.
    pub fn is_hit(&self) -> bool {
        self.headers
            .all("cache-status")
            .any(|value| value.split(';').any(|part| part.trim() == "hit"))
    }

    /// Checks that this is an error of the proxy's own: that status, as `application/problem+json` (RFC 9457), with the request ID.
    #[track_caller]
    pub fn assert_problem(&self, status: u16) {
        assert_eq!(self.status, status, "{:?} {}", self.headers, self.text());
        let kind = self.header("content-type");
        assert!(kind.starts_with("application/problem+json"), "content-type {kind:?} of {status}");
        assert!(!self.cut, "the body of the error was cut");
        if !self.body.is_empty() {
            let problem = self.json();
            assert_eq!(problem["status"], status, "{problem}");
            assert!(problem["title"].as_str().is_some_and(|title| !title.is_empty()), "{problem}");
            assert_eq!(problem["request_id"], self.header("x-request-id"), "{problem}");
        }
    }
}
