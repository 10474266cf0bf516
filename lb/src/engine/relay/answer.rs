//! Answers that come from no server: refusals, replies, stored objects.

use std::future::poll_fn;
use std::io::IoSlice;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderName, HeaderValue, Method, StatusCode, Version};

use super::edit::HeadEditor;
use super::{Ended, Relay, date};
use crate::cache::{Hit, Now, Object, Portion, Reader};
use crate::engine::h1::{ClientStream, Lines, Request};
use crate::exchange::head::Editor;
use crate::exchange::{Exchange, Reply};
use crate::reject::Refusal;

/// Of a body that nobody wants, so much is read for the sake of the next request on the connection.
const DRAINED: u64 = 1 << 20;
/// Pieces of one write.
const PIECES: usize = 16;

impl Relay {
    /// Tells the client that its request is refused.
    pub(super) async fn refuse(&self, client: &mut ClientStream, request: &Request, exchange: &mut Exchange, refusal: &Refusal) -> Ended {
        let problem = exchange.problem(refusal);
        let keep = !refusal.closes() && self.keeps(request) && may_drain(client, request);
        let answer = Own {
            status: problem.status,
            fields: &problem.headers,
            body: &problem.body,
        };
        let mut ended = self.own(client, request, exchange, answer, keep).await;
        ended.keep_alive = ended.keep_alive && drain(client, exchange).await.is_ok();
        ended
    }

    /// Sends an answer that a route has in its configuration.
    pub(super) async fn respond(&self, client: &mut ClientStream, request: &Request, exchange: &mut Exchange, reply: &Reply) -> Ended {
        // A client that waits for "100 Continue" is not told to send what nobody wants. Of others the body is read, so that its limit holds.
        let waits = request.parsed().expect_continue() && !client.is_body_done();
        if !waits {
            match drain(client, exchange).await {
                Ok(()) => {}
                Err(Some(refusal)) => return Box::pin(self.refuse(client, request, exchange, &refusal)).await,
                Err(None) => return Ended::left(None, 0),
            }
        }
        let answer = Own {
            status: reply.status,
            fields: &reply.fields,
            body: &reply.body,
        };
        self.own(client, request, exchange, answer, self.keeps(request) && !waits).await
    }

    async fn own(&self, client: &mut ClientStream, request: &Request, exchange: &Exchange, answer: Own<'_>, keep: bool) -> Ended {
        let mut head = BytesMut::with_capacity(512);
        status_line(&mut head, answer.status, reason(answer.status));
        let mut editor = HeadEditor::new(&mut head, Lines::default());
        editor.put("date", &date::now());
        for (name, value) in answer.fields {
            editor.add(name, value.clone());
        }
        editor.put("content-length", itoa::Buffer::new().format(answer.body.len()).as_bytes());
        exchange.edit_own(&mut editor);
        connection(&mut editor, request, keep);
        editor.finish();
        let body = if request.parsed().method() == Method::HEAD {
            &[]
        } else {
            answer.body
        };
        let sent = client
            .send_all(&mut [IoSlice::new(&head), IoSlice::new(body)], stall(exchange))
            .await;
        Ended {
            status: Some(answer.status),
            sent: body.len() as u64,
            client_left: sent.is_err(),
            keep_alive: keep && sent.is_ok(),
        }
    }

    /// Sends a stored object, a part of it, or says that the client has it.
    pub(super) async fn hit(&self, client: &mut ClientStream, request: &Request, exchange: &Exchange, hit: &Hit) -> Ended {
        let object = hit.object();
        let keep = self.keeps(request);
        let portion = exchange.portion(&request.head(), object);
        let status = portion.status(object);
        let head = stored_head(request, exchange, object, &portion, hit.age(), keep, false);
        let part;
        let body: &[Bytes] = match &portion {
            _ if request.parsed().method() == Method::HEAD => &[],
            Portion::Whole => hit.body(),
            _ => {
                part = portion.body(object);
                &part
            }
        };
        let sent = send_with(client, &head, body, stall(exchange)).await;
        Ended {
            status: Some(status),
            sent: body.iter().map(|piece| piece.len() as u64).sum(),
            client_left: sent.is_err(),
            keep_alive: keep && sent.is_ok(),
        }
    }

    /// Sends an object while it arrives. One that breaks off ends the connection, so that nobody takes a part for the whole.
    pub(super) async fn stream(&self, client: &mut ClientStream, request: &Request, exchange: &Exchange, mut reader: Reader) -> Ended {
        let object = reader.object();
        let portion = exchange.portion(&request.head(), object);
        let status = portion.status(object);
        let bodyless = request.parsed().method() == Method::HEAD || matches!(portion, Portion::NotModified);
        let framed = object.content_length().is_some() || bodyless || status == StatusCode::NO_CONTENT;
        let chunked = !framed && request.parsed().version() == Version::HTTP_11;
        let keep = self.keeps(request) && (framed || chunked);
        let head = stored_head(request, exchange, object, &portion, object.age(Now::read()), keep, chunked);
        let mut ended = Ended {
            status: Some(status),
            ..Ended::default()
        };
        let mut piece = Bytes::new();
        let mut before = head.freeze();
        let whole = loop {
            let (line, after) = match (chunked, piece.is_empty()) {
                (true, false) => (format!("{:x}\r\n", piece.len()), &b"\r\n"[..]),
                _ => (String::new(), &b""[..]),
            };
            let mut pieces = [
                IoSlice::new(&before),
                IoSlice::new(line.as_bytes()),
                IoSlice::new(&piece),
                IoSlice::new(after),
            ];
            if client.send_all(&mut pieces, stall(exchange)).await.is_err() {
                ended.client_left = true;
                return ended;
            }
            ended.sent += piece.len() as u64;
            before = Bytes::new();
            if bodyless {
                break true;
            }
            let next = tokio::select! {
                next = reader.next() => next,
                () = poll_fn(|cx| client.poll_gone(cx)) => {
                    ended.client_left = true;
                    return ended;
                }
            };
            match next {
                Ok(Some(next)) => piece = next,
                Ok(None) => break true,
                Err(_) => break false,
            }
        };
        if whole && chunked && client.send_all(&mut [IoSlice::new(b"0\r\n\r\n")], stall(exchange)).await.is_err() {
            ended.client_left = true;
            return ended;
        }
        if !whole {
            client.cut();
            if !framed && !chunked {
                client.abort();
            }
        }
        ended.keep_alive = keep && whole;
        ended
    }
}

/// What an answer of `lb`'s own is made of.
struct Own<'a> {
    status: StatusCode,
    fields: &'a [(HeaderName, HeaderValue)],
    body: &'a [u8],
}

/// How long a client may read nothing.
pub(super) fn stall(exchange: &Exchange) -> Duration {
    exchange.snapshot().config.limits.body_timeout
}

/// `HTTP/1.1 200 OK`
pub(super) fn status_line(out: &mut BytesMut, status: StatusCode, reason: &[u8]) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.as_str().as_bytes());
    out.extend_from_slice(b" ");
    out.extend_from_slice(reason);
    out.extend_from_slice(b"\r\n");
}

/// What the status is called.
fn reason(status: StatusCode) -> &'static [u8] {
    status.canonical_reason().unwrap_or_default().as_bytes()
}

/// Says whether the connection goes on, where the client does not know it by itself (RFC 9112 §9.3).
pub(super) fn connection(editor: &mut HeadEditor<'_>, request: &Request, keep: bool) {
    match (keep, request.parsed().version()) {
        (false, _) => editor.put("connection", b"close"),
        (true, Version::HTTP_10) => editor.put("connection", b"keep-alive"),
        (true, _) => {}
    }
}

fn stored_head(
    request: &Request,
    exchange: &Exchange,
    object: &Object,
    portion: &Portion,
    age: u64,
    keep: bool,
    chunked: bool,
) -> BytesMut {
    let mut head = BytesMut::with_capacity(1 << 10);
    let stored = object.head();
    match portion {
        Portion::Whole => head.extend_from_slice(stored.status_line()),
        _ => {
            let status = portion.status(object);
            status_line(&mut head, status, reason(status));
        }
    }
    let mut editor = HeadEditor::of_both(&mut head, stored.lines());
    exchange.edit_stored(object, portion, age, &mut editor);
    if chunked {
        editor.put("transfer-encoding", b"chunked");
    }
    connection(&mut editor, request, keep);
    editor.finish();
    head
}

/// Sends a head and a body in pieces, in as few writes as there may be.
async fn send_with(client: &mut ClientStream, head: &[u8], body: &[Bytes], stall: Duration) -> std::io::Result<()> {
    let (first, rest) = body.split_at(body.len().min(PIECES - 1));
    let mut pieces = [IoSlice::new(&[]); PIECES];
    pieces[0] = IoSlice::new(head);
    for (place, piece) in pieces[1..].iter_mut().zip(first) {
        *place = IoSlice::new(piece);
    }
    client.send_all(&mut pieces[..=first.len()], stall).await?;
    for some in rest.chunks(PIECES) {
        let mut pieces = [IoSlice::new(&[]); PIECES];
        for (place, piece) in pieces.iter_mut().zip(some) {
            *place = IoSlice::new(piece);
        }
        client.send_all(&mut pieces[..some.len()], stall).await?;
    }
    Ok(())
}

/// Whether what is left of a body that nobody wants is worth reading, to keep the connection.
fn may_drain(client: &mut ClientStream, request: &Request) -> bool {
    if client.is_body_done() {
        return true;
    }
    // A client that was not told to go on may send its body or not: nobody knows what comes next.
    let left = client.body().and_then(|body| body.remaining());
    !request.parsed().expect_continue() && left.is_none_or(|left| left <= DRAINED)
}

/// Reads what is left of a body, up to its limit.
///
/// # Errors
/// What the client is told, or nothing where it is gone.
async fn drain(client: &mut ClientStream, exchange: &mut Exchange) -> Result<(), Option<Refusal>> {
    let stall = stall(exchange);
    let (mut counted, mut since) = (client.body_decoded(), None);
    loop {
        let taken = client
            .advance_body()
            .map_err(|_| exchange.refuse(Refusal::BadRequest("The request's body is malformed.")))?;
        client.discard(taken);
        let more = client.body_decoded() - counted;
        counted += more;
        exchange.request_body(usize::try_from(more).unwrap_or(usize::MAX)).map_err(Some)?;
        if client.is_body_done() {
            return Ok(());
        }
        let read = poll_fn(|cx| client.poll_unless_stalled(&mut since, stall, cx, |client, cx| client.poll_more(16 << 10, cx))).await;
        match read {
            Ok(1..) => {}
            Err(error) if error.kind() == std::io::ErrorKind::TimedOut => {
                return Err(Some(
                    exchange.refuse(Refusal::RequestTimeout("The request's body did not arrive in time.")),
                ));
            }
            Ok(0) | Err(_) => return Err(None),
        }
    }
}
