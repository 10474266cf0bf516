//! Answers that come from no server: refusals, replies, stored objects. All are written through pingora's session, so that framing and
//! keep-alive stay its business.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header};
use pingora::{Error, ErrorType, OrErr, Result};
use pingora_proxy::Session;

use super::heads::{Body, Request, response};
use crate::cache::{Hit, Now, Object, Portion, Reader};
use crate::exchange::{Exchange, Reply};
use crate::reject::Refusal;

/// Sends the problem that stands for a refusal. The connection is closed after those that leave the rest of the request unread.
pub(super) async fn refuse(session: &mut Session, exchange: &Exchange, refusal: &Refusal) -> Result<()> {
    let problem = exchange.problem(refusal);
    if refusal.closes() {
        session.set_keepalive(None);
    }
    own(session, exchange, problem.status, &problem.headers, problem.body).await
}

/// Sends an answer of `lb`'s own.
pub(super) async fn reply(session: &mut Session, exchange: &Exchange, reply: Reply) -> Result<()> {
    own(session, exchange, reply.status, &reply.fields, reply.body).await
}

async fn own(
    session: &mut Session,
    exchange: &Exchange,
    status: StatusCode,
    fields: &[(HeaderName, HeaderValue)],
    body: Bytes,
) -> Result<()> {
    let mut fields = collect(fields);
    fields.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    exchange.edit_own(&mut fields);
    let bodyless = session.req_header().method == Method::HEAD || body.is_empty();
    session.write_response_header(Box::new(response(status, fields)), bodyless).await?;
    if !bodyless {
        session.write_response_body(Some(body), true).await?;
    }
    Ok(())
}

/// Sends a stored object, a part of it, or says that the client has it.
pub(super) async fn hit(session: &mut Session, exchange: &Exchange, hit: &Hit) -> Result<()> {
    let object = hit.object();
    let portion = exchange.portion(&Request(session.req_header(), Body::Announced), object);
    let part;
    let body: &[Bytes] = match &portion {
        _ if session.req_header().method == Method::HEAD => &[],
        Portion::Whole => hit.body(),
        _ => {
            part = portion.body(object);
            &part
        }
    };
    stored_head(session, exchange, object, &portion, hit.age(), body.is_empty()).await?;
    if !body.is_empty() {
        for piece in body {
            session.write_response_body(Some(piece.clone()), false).await?;
        }
        session.write_response_body(None, true).await?;
    }
    Ok(())
}

/// Sends an object while it arrives. An object that breaks off ends the connection, so that nobody takes a part for the whole.
pub(super) async fn stream(session: &mut Session, exchange: &Exchange, mut reader: Reader) -> Result<()> {
    let object = reader.object();
    let portion = exchange.portion(&Request(session.req_header(), Body::Announced), object);
    let bodyless = session.req_header().method == Method::HEAD || matches!(portion, Portion::NotModified);
    stored_head(session, exchange, object, &portion, object.age(Now::read()), bodyless).await?;
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

/// Fields as a map, with room for those that come.
fn collect(fields: &[(HeaderName, HeaderValue)]) -> HeaderMap {
    let mut map = HeaderMap::with_capacity(fields.len() + 8);
    for (name, value) in fields {
        map.append(name, value.clone());
    }
    map
}

async fn stored_head(
    session: &mut Session,
    exchange: &Exchange,
    object: &Object,
    portion: &Portion,
    age: u64,
    bodyless: bool,
) -> Result<()> {
    let mut fields = object.head().to_map();
    exchange.edit_stored(object, portion, age, &mut fields);
    if !bodyless && object.content_length().is_none() {
        // How the end of the body is known: by chunks, by the end of the connection, or by the frames of HTTP/2.
        match session.req_header().version {
            Version::HTTP_11 => drop(fields.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"))),
            Version::HTTP_10 => session.set_keepalive(None),
            _ => {}
        }
    }
    session
        .write_response_header(Box::new(response(portion.status(object), fields)), bodyless)
        .await
}
