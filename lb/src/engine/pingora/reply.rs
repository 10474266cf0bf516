//! Answers that come from no server: refusals, replies, stored objects. All are written through pingora's session, so that framing and
//! keep-alive stay its business.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use pingora::http::ResponseHeader;
use pingora::{Error, ErrorType, OrErr, Result};
use pingora_proxy::Session;

use super::heads::{Body, Request, ResponseOut};
use crate::cache::{Hit, Now, Object, Reader};
use crate::exchange::head::Editor;
use crate::exchange::{Exchange, Reply};
use crate::reject::Refusal;

/// Sends the problem that stands for a refusal. The connection is closed after those that leave the rest of the request unread.
pub(super) async fn refuse(session: &mut Session, exchange: &Exchange, refusal: &Refusal) -> Result<()> {
    let problem = exchange.problem(refusal);
    if refusal.closes() {
        session.set_keepalive(None);
    }
    let mut head = build(problem.status, problem.headers.iter(), Some(problem.body.len()))?;
    exchange.edit_own(&mut ResponseOut(&mut head));
    send(session, head, problem.body).await
}

/// Sends an answer of `lb`'s own.
pub(super) async fn reply(session: &mut Session, exchange: &Exchange, reply: Reply) -> Result<()> {
    let mut head = build(reply.status, reply.fields.iter(), Some(reply.body.len()))?;
    exchange.edit_own(&mut ResponseOut(&mut head));
    send(session, head, reply.body).await
}

/// Sends a stored object, or says that the client has it.
pub(super) async fn hit(session: &mut Session, exchange: &Exchange, hit: &Hit) -> Result<()> {
    let object = hit.object();
    if exchange.not_modified(&Request(session.req_header(), Body::Announced), object) {
        let head = build(StatusCode::NOT_MODIFIED, object.fields().iter(), None)?;
        return stored_head(session, exchange, head, object, hit.age(), true).await;
    }
    let head = build(object.status(), object.fields().iter(), None)?;
    let bodyless = session.req_header().method == Method::HEAD || hit.body().is_empty();
    stored_head(session, exchange, head, object, hit.age(), bodyless).await?;
    if !bodyless {
        for piece in hit.body() {
            session.write_response_body(Some(piece.clone()), false).await?;
        }
        session.write_response_body(None, true).await?;
    }
    Ok(())
}

/// Sends an object while it arrives. An object that breaks off ends the connection, so that nobody takes a part for the whole.
pub(super) async fn stream(session: &mut Session, exchange: &Exchange, mut reader: Reader) -> Result<()> {
    let object = reader.object();
    let mut head = build(object.status(), object.fields().iter(), None)?;
    if object.content_length().is_none() {
        head.insert_header(header::TRANSFER_ENCODING, "chunked")?;
    }
    let bodyless = session.req_header().method == Method::HEAD;
    stored_head(session, exchange, head, object, object.age(Now::read()), bodyless).await?;
    if bodyless {
        return Ok(());
    }
    loop {
        let next = tokio::select! {
            next = reader.next() => next,
            // Watching the client sends what was written so far on its way, too.
            left = session.as_downstream_mut().read_body_or_idle(true) => {
                return Err(match left {
                    Err(error) => error.into_down(),
                    Ok(_) => Error::new_down(ErrorType::ConnectionClosed),
                });
            }
        };
        match next {
            Ok(Some(piece)) => session.write_response_body(Some(piece), false).await?,
            Ok(None) => return session.write_response_body(None, true).await,
            Err(broken) => return Err(broken).or_err(ErrorType::InternalError, "the stored answer broke off as it arrived"),
        }
    }
}

async fn stored_head(
    session: &mut Session,
    exchange: &Exchange,
    mut head: ResponseHeader,
    object: &Object,
    age: u64,
    bodyless: bool,
) -> Result<()> {
    exchange.edit_stored(object, age, &mut ResponseOut(&mut head));
    if head.status == StatusCode::NOT_MODIFIED {
        head.remove_header(&header::CONTENT_LENGTH);
    }
    session.write_response_header(Box::new(head), bodyless).await
}

fn build<'a>(
    status: StatusCode,
    fields: impl ExactSizeIterator<Item = &'a (HeaderName, HeaderValue)>,
    length: Option<usize>,
) -> Result<ResponseHeader> {
    let mut head = ResponseHeader::build_no_case(status, Some(fields.len() + 6))?;
    for (name, value) in fields {
        ResponseOut(&mut head).add(name, value.clone());
    }
    if let Some(length) = length {
        head.insert_header(header::CONTENT_LENGTH, length)?;
    }
    Ok(head)
}

async fn send(session: &mut Session, head: ResponseHeader, body: Bytes) -> Result<()> {
    let bodyless = session.req_header().method == Method::HEAD || body.is_empty();
    session.write_response_header(Box::new(head), bodyless).await?;
    if !bodyless {
        session.write_response_body(Some(body), true).await?;
    }
    Ok(())
}
