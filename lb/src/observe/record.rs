//! What the access log knows of one request.
//!
//! A [`Record`] is plain data: numbers, names that are shared with the snapshot, and one allocation ([`Text`]) with what the client sent.
//! Nothing in it is formatted; the log's own thread does that.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::header::{REFERER, USER_AGENT};
use http::{Method, StatusCode, Version};

use crate::admit::TraceId;
use crate::exchange::head::RequestHead;

/// One request, for one line.
#[derive(Debug, Clone)]
pub struct Record {
    /// When the request arrived.
    pub time: SystemTime,
    /// What the client sent.
    pub text: Text,
    /// The trace that it is part of; `None` where no server was asked and the client named none.
    pub trace: Option<TraceId>,
    /// Whose request it is: where trusted proxies are in between, the address that they name.
    pub client: IpAddr,
    /// Who is at the other end of the connection. Shown only where it is not the client itself.
    pub peer: IpAddr,
    /// The method; `None` where no request head could be read.
    pub method: Option<Method>,
    /// `http` or `https`.
    pub scheme: &'static str,
    /// The version; `None` where no request head could be read.
    pub version: Option<Version>,
    /// The status of the response; 499 where the client left before there was one.
    pub status: StatusCode,
    /// Bytes of the response's body that were sent; of a tunnel, all that went to the client.
    pub bytes_sent: u64,
    /// Bytes of the request's body that were received; of a tunnel, all that came from the client.
    pub bytes_received: u64,
    /// From the first byte of the request to the end of the response.
    pub duration: Duration,
    /// The route; `None` where none matched.
    pub route: Option<Arc<str>>,
    /// The upstream; `None` where none was asked.
    pub upstream: Option<Arc<str>>,
    /// The server that was tried last.
    pub server: Option<Arc<str>>,
    /// How many tries there were; 0 where no server was asked.
    pub tries: u8,
    /// How long the last server took, to the end of its response's head.
    pub upstream_duration: Option<Duration>,
    /// What the cache did, as in [`crate::observe::CacheOutcome::name`]; `None` on a route without one.
    pub cache: Option<&'static str>,
    /// What went wrong, in a few fixed words.
    pub error: Option<&'static str>,
}

/// Text of a request as the client sent it, in any bytes: one allocation of just the size. What is absent is empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    bytes: Box<[u8]>,
    /// Where request ID, host, target and referer end. The user agent ends with the bytes.
    ends: [usize; 4],
}

impl Text {
    /// Copies what a line shows of a request head.
    pub fn of(request_id: &[u8], head: &impl RequestHead) -> Self {
        let [referer, user_agent] = [&REFERER, &USER_AGENT].map(|name| head.get(name).unwrap_or_default());
        Self::new(request_id, head.authority(), head.target(), referer, user_agent)
    }

    /// Copies the parts themselves.
    pub fn new(request_id: &[u8], host: &[u8], target: &[u8], referer: &[u8], user_agent: &[u8]) -> Self {
        let parts = [request_id, host, target, referer, user_agent];
        let mut bytes = Vec::with_capacity(parts.iter().map(|part| part.len()).sum());
        let ends = [request_id, host, target, referer].map(|part| {
            bytes.extend_from_slice(part);
            bytes.len()
        });
        bytes.extend_from_slice(user_agent);
        Self {
            bytes: bytes.into_boxed_slice(),
            ends,
        }
    }

    /// `X-Request-ID`: the client's own where it is trusted, else ours.
    pub fn request_id(&self) -> &[u8] {
        self.part(0, self.ends[0])
    }

    /// `Host` or `:authority`.
    pub fn host(&self) -> &[u8] {
        self.part(self.ends[0], self.ends[1])
    }

    /// Path and query.
    pub fn target(&self) -> &[u8] {
        self.part(self.ends[1], self.ends[2])
    }

    /// `Referer`.
    pub fn referer(&self) -> &[u8] {
        self.part(self.ends[2], self.ends[3])
    }

    /// `User-Agent`.
    pub fn user_agent(&self) -> &[u8] {
        self.part(self.ends[3], self.bytes.len())
    }

    /// Bytes of all parts together.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether every part is empty.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    fn part(&self, from: usize, to: usize) -> &[u8] {
        self.bytes.get(from..to).unwrap_or_default()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::admit::Trace;
    use crate::test_head::TestHead;

    const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    pub(crate) fn text(parts: [&[u8]; 5]) -> Text {
        let [request_id, host, target, referer, user_agent] = parts;
        Text::new(request_id, host, target, referer, user_agent)
    }

    /// A request with every part present.
    pub(crate) fn example() -> Record {
        Record {
            time: SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_042),
            text: text([
                b"01890a5d",
                b"api.example.com:8080",
                b"/users?page=1",
                b"https://example.com/",
                b"curl/8.5.0",
            ]),
            trace: Trace::given(&TestHead::get("", "/").with("traceparent", TRACEPARENT)).map(Trace::id),
            client: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)),
            peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
            method: Some(Method::GET),
            scheme: "http",
            version: Some(Version::HTTP_11),
            status: StatusCode::OK,
            bytes_sent: 512,
            bytes_received: 0,
            duration: Duration::from_micros(1_234),
            route: Some("users".into()),
            upstream: Some("users".into()),
            server: Some("127.0.0.1:3001".into()),
            tries: 1,
            upstream_duration: Some(Duration::from_micros(987)),
            cache: Some("miss"),
            error: None,
        }
    }

    #[test]
    fn text_gives_each_part_back() {
        let text = text([b"id", b"", b"/", b"r\xff", b"agent"]);
        assert_eq!(
            [text.request_id(), text.host(), text.target(), text.referer(), text.user_agent()],
            [&b"id"[..], b"", b"/", b"r\xff", b"agent"]
        );
        assert_eq!(text.len(), 10);
    }
}
