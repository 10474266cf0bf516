//! A copy of a request for a mirror, as its body passes.
//!
//! pingora shows a body in pieces without its framing, which are gathered here: at most as much as it keeps itself for another try. What is
//! sent is plain HTTP/1.1, whatever the client speaks.

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, header};
use pingora::http::RequestHeader;

use super::heads::{Body, Request};
use crate::engine::relay::{Message, Mirror};
use crate::exchange::Exchange;
use crate::exchange::head::RequestHead;

/// Bytes of a body that are kept.
const KEPT: usize = 64 << 10;

/// What was gathered of a body. `None`: nothing is.
#[derive(Default)]
pub(super) struct Gathered(Option<BytesMut>);

impl Gathered {
    /// The request goes to a server, perhaps once more, from its beginning.
    pub(super) fn restart(&mut self, exchange: &Exchange) {
        self.0 = exchange.is_copied().then(BytesMut::new);
    }

    /// A piece of the body on its way to the server; `end`: the last one. Then the copy is sent.
    pub(super) fn pass(&mut self, piece: Option<&Bytes>, end: bool, head: &RequestHeader, exchange: &mut Exchange, mirror: &Mirror) {
        let Some(body) = &mut self.0 else { return };
        let received = Request(head, Body::Announced);
        let piece = piece.map_or(&[][..], |piece| piece);
        if body.len() + piece.len() > KEPT {
            self.0 = None;
            exchange.copy(&received, false);
            return;
        }
        body.extend_from_slice(piece);
        if !end {
            return;
        }
        let body = self.0.take().unwrap_or_default().freeze();
        let Some(copy) = exchange.copy(&received, true) else { return };
        let mut fields = head.headers.clone();
        name_host(&mut fields, received.authority());
        exchange.edit_copy(&copy, &received, &mut fields);
        frame(&mut fields, body.len());
        if copy.kept_connections() == 0 {
            fields.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        let target = exchange.forwarded_target(&received);
        let target = target.as_deref().unwrap_or_else(|| received.target());
        let message = Message {
            head: written(&head.method, target, &fields),
            body,
            is_head: head.method == Method::HEAD,
        };
        mirror.send(copy, message);
    }
}

/// What HTTP/2 says of the host beside the fields, and of cookies in several of them, is one field each (RFC 9113 §8.2.3, §8.3.1).
fn name_host(fields: &mut HeaderMap, authority: &[u8]) {
    if !fields.contains_key(header::HOST)
        && !authority.is_empty()
        && let Ok(host) = HeaderValue::from_bytes(authority)
    {
        fields.insert(header::HOST, host);
    }
    let cookies: Vec<&[u8]> = fields.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if cookies.len() > 1
        && let Ok(cookie) = HeaderValue::from_bytes(&cookies.join(&b"; "[..]))
    {
        fields.insert(header::COOKIE, cookie);
    }
}

/// The body has a length now, however it came.
fn frame(fields: &mut HeaderMap, length: usize) {
    let was_chunked = fields.remove(header::TRANSFER_ENCODING).is_some();
    if was_chunked || length > 0 {
        fields.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
}

fn written(method: &Method, target: &[u8], fields: &HeaderMap) -> Bytes {
    let mut head = BytesMut::with_capacity(1 << 10);
    for part in [method.as_str().as_bytes(), b" ", target, b" HTTP/1.1\r\n"] {
        head.put_slice(part);
    }
    for (name, value) in fields {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            head.put_slice(part);
        }
    }
    head.put_slice(b"\r\n");
    head.freeze()
}
