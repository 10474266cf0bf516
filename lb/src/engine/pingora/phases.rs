//! The phases of a request in pingora: each asks the exchange and does what it says.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderValue, StatusCode, Version, header};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::protocols::Digest;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorSource, ErrorType, Result};
use pingora_proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};

use super::copy::Gathered;
use super::heads::{Body, Request, Response, bodyless, edit_request, edit_response, hop};
use super::{Connection, failure, of_http2, peer, presence, reply};
use crate::cache::{Hit, Waiting};
use crate::engine::relay::Relay;
use crate::exchange::{Decision, Exchange, Means, Outcome, Sent, Turn, Verdict};
use crate::filter;
use crate::proxy::Proxy;
use crate::reject::Refusal;

/// The answer that was to be retried, in pingora's terms: an error that it retries.
const RETRY_STATUS: ErrorType = ErrorType::Custom("the server's answer is retried");
/// A stored object is served instead of the server's answer.
const STORED: ErrorType = ErrorType::Custom("a stored object is served");
/// A decision of the exchange's that ends the request.
const REFUSED: ErrorType = ErrorType::Custom("refused");

/// pingora's callbacks.
pub(super) struct Phases {
    proxy: Arc<Proxy>,
    relay: Relay,
}

/// What one request carries through the phases.
#[derive(Default)]
pub(super) struct Context {
    connection: Option<Box<Connection>>,
    exchange: Option<Exchange>,
    client_left: bool,
    answer_begun: bool,
    gathered: Gathered,
    /// What the client gets in place of an answer.
    instead: Option<Hit>,
}

impl Phases {
    pub(super) fn new(proxy: Arc<Proxy>, relay: Relay) -> Phases {
        Phases { proxy, relay }
    }

    fn begin(&self, session: &Session, ctx: &mut Context) {
        let origin = match &ctx.connection {
            Some(connection) => connection.origin.clone(),
            None => of_http2(session),
        };
        ctx.exchange = Some(Exchange::new(&self.proxy, origin));
    }

    /// Reads what is left of a body that nobody wants, so that an answer is not lost to a reset, and so that its limit holds.
    async fn drain(session: &mut Session, exchange: &mut Exchange) -> Result<Option<Refusal>> {
        while let Some(piece) = session.as_downstream_mut().read_request_body().await? {
            if let Err(refusal) = exchange.request_body(piece.len()) {
                return Ok(Some(refusal));
            }
        }
        Ok(None)
    }

    /// Waits for whoever may have the object, unless the client goes away first.
    async fn wait(session: &mut Session, exchange: &mut Exchange, waiting: Waiting) -> Result<Decision> {
        // The session watches the client meanwhile, so the head is needed apart from it.
        let head = session.req_header().clone();
        let request = Request(&head, Body::Announced);
        let late = exchange.within_deadline(Duration::MAX);
        match presence::unless_gone(session, tokio::time::timeout(late, waiting.wait(&request))).await? {
            Ok(joined) => Ok(exchange.joined(joined, &request)),
            Err(_) => Ok(Decision::Refuse(exchange.late())),
        }
    }
}

/// Whether the answer that was begun says itself where it ends.
fn framed(session: &Session) -> bool {
    let says = |head: &ResponseHeader| {
        [header::CONTENT_LENGTH, header::TRANSFER_ENCODING]
            .iter()
            .any(|name| head.headers.contains_key(name))
    };
    session.response_written().is_some_and(says)
}

#[async_trait]
impl ProxyHttp for Phases {
    type CTX = Context;

    fn new_ctx(&self) -> Context {
        Context::default()
    }

    /// None: what changes bodies is decided elsewhere.
    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    fn on_connection_reuse(&self, _session: &mut Session, ctx: &mut Context, connection: Box<dyn std::any::Any + Send + Sync>) {
        ctx.connection = connection.downcast().ok();
    }

    async fn early_request_filter(&self, session: &mut Session, ctx: &mut Context) -> Result<()> {
        self.begin(session, ctx);
        if let Some(exchange) = &ctx.exchange {
            let timeout = Some(exchange.snapshot().config.limits.body_timeout);
            session.set_read_timeout(timeout);
            session.set_write_timeout(timeout);
            session.set_total_drain_timeout(timeout);
        }
        Ok(())
    }

    async fn request_filter(&self, session: &mut Session, ctx: &mut Context) -> Result<bool> {
        if ctx.connection.as_ref().is_some_and(|connection| !connection.keep_alive) {
            session.set_keepalive(None);
        }
        let Some(exchange) = ctx.exchange.as_mut() else {
            return Err(Error::new_in(REFUSED));
        };
        let unannounced = session.req_header().version == Version::HTTP_2 && !session.as_downstream_mut().is_body_empty();
        let body = if unannounced { Body::Follows } else { Body::Announced };
        let mut decision = exchange.request(&Request(session.req_header(), body));
        loop {
            decision = match decision {
                Decision::Wait(waiting) => Phases::wait(session, exchange, waiting).await?,
                Decision::Delay(delay) => {
                    presence::unless_gone(session, tokio::time::sleep(delay)).await?;
                    exchange.delayed(&Request(session.req_header(), body))
                }
                _ => break,
            };
        }
        match decision {
            Decision::Forward => {
                exchange.forwarding(&Request(session.req_header(), body));
                // Others may come to wait for what this request fetches.
                if exchange.leads()
                    && let Some(connection) = &ctx.connection
                {
                    connection.control.outlive();
                }
                // The client is told to go on at once, as by nginx: a server that does not say so would leave both waiting.
                if session.req_header().version == Version::HTTP_11 && session.get_header(header::EXPECT).is_some() {
                    session.as_downstream_mut().write_continue_response().await?;
                }
                return Ok(false);
            }
            Decision::Refuse(refusal) => reply::refuse(session, exchange, &refusal).await?,
            // A client that waits for "100 Continue" is not told to send what nobody wants.
            Decision::Respond(answer) if session.get_header(header::EXPECT).is_some() => {
                session.set_keepalive(None);
                reply::reply(session, exchange, answer).await?;
            }
            Decision::Respond(answer) => match Phases::drain(session, exchange).await? {
                None => reply::reply(session, exchange, answer).await?,
                Some(refusal) => reply::refuse(session, exchange, &refusal).await?,
            },
            Decision::Hit(hit) => {
                let request = Request(session.req_header(), body);
                if let Some(fetch) = exchange.refresh(&request) {
                    self.relay.refresh(&request, fetch);
                }
                reply::hit(session, exchange, &hit).await?;
            }
            Decision::Stream(reader) => reply::stream(session, exchange, reader).await?,
            Decision::Wait(_) | Decision::Delay(_) => return Err(Error::new_in(REFUSED)),
        }
        Ok(true)
    }

    async fn upstream_peer(&self, session: &mut Session, ctx: &mut Context) -> Result<Box<HttpPeer>> {
        let Some(exchange) = ctx.exchange.as_mut() else {
            return Err(Error::new_in(REFUSED));
        };
        let server = loop {
            match exchange.server() {
                Turn::Ask(server) => break server,
                Turn::Refuse(refusal) => {
                    failure::give_up(exchange, refusal, &mut ctx.instead);
                    return Err(Error::new_in(REFUSED));
                }
                Turn::Wait(wait) => presence::unless_gone(session, wait.over()).await?,
            }
        };
        peer::of(exchange, &server)
    }

    fn fail_to_connect(&self, session: &mut Session, _peer: &HttpPeer, ctx: &mut Context, mut error: Box<Error>) -> Box<Error> {
        let sent = Sent {
            reused: false,
            replayable: !session.as_downstream().retry_buffer_truncated(),
        };
        let again = ctx
            .exchange
            .as_mut()
            .is_some_and(|exchange| failure::goes_on(exchange, failure::connecting(&error), sent, &mut ctx.instead));
        error.set_retry(again);
        error
    }

    async fn connected_to_upstream(
        &self,
        _session: &mut Session,
        _reused: bool,
        _peer: &HttpPeer,
        _fd: std::os::unix::io::RawFd,
        _digest: Option<&Digest>,
        ctx: &mut Context,
    ) -> Result<()> {
        if let Some(exchange) = ctx.exchange.as_mut() {
            exchange.connected();
        }
        Ok(())
    }

    async fn upstream_request_filter(&self, session: &mut Session, out: &mut RequestHeader, ctx: &mut Context) -> Result<()> {
        let Some(exchange) = ctx.exchange.as_ref() else {
            return Err(Error::new_in(REFUSED));
        };
        ctx.gathered.restart(exchange);
        let received = Request(session.req_header(), Body::Announced);
        edit_request(out, |fields| {
            exchange.edit_request(&received, fields);
            if exchange.kept_connections() == 0 {
                fields.insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
        })?;
        match exchange.forwarded_target(&received) {
            Some(target) => out.set_raw_path(&target),
            None => Ok(()),
        }
    }

    async fn request_body_filter(&self, session: &mut Session, body: &mut Option<Bytes>, end: bool, ctx: &mut Context) -> Result<()> {
        if end && body.as_ref().is_some_and(Bytes::is_empty) {
            // pingora would write it as the last chunk, and then the last chunk.
            *body = None;
        }
        let Some(exchange) = ctx.exchange.as_mut() else { return Ok(()) };
        if session.was_upgraded() {
            return Ok(());
        }
        if let Some(piece) = body {
            exchange.request_body(piece.len()).map_err(|_| Error::new_down(REFUSED))?;
        }
        ctx.gathered
            .pass(body.as_ref(), end, session.req_header(), exchange, self.relay.mirror());
        Ok(())
    }

    async fn upstream_response_filter(&self, session: &mut Session, answer: &mut ResponseHeader, ctx: &mut Context) -> Result<()> {
        let Some(exchange) = ctx.exchange.as_mut() else {
            return Err(Error::new_in(REFUSED));
        };
        let upgrade = answer.status == StatusCode::SWITCHING_PROTOCOLS;
        if answer.status.is_informational() && !upgrade {
            let edits = hop(answer);
            return edit_response(answer, |fields| edits.apply(fields));
        }
        if upgrade && !filter::is_upgrade(&Request(session.req_header(), Body::Announced)) {
            // Nobody asked for it: what follows is no answer.
            return Err(Error::new_up(ErrorType::InvalidHTTPHeader));
        }
        let means = Means {
            replayable: !session.as_downstream().retry_buffer_truncated(),
            keeps: false,
        };
        match exchange.answer(&Request(session.req_header(), Body::Announced), &Response(answer), means) {
            Verdict::Relay => {}
            Verdict::Retry | Verdict::AskAgain => return Err(Error::new_up(RETRY_STATUS)),
            Verdict::Serve(hit) => {
                exchange.settled().await;
                ctx.instead = Some(hit);
                return Err(Error::new_in(STORED));
            }
        }
        exchange.settled().await;
        ctx.answer_begun = true;
        if let Some(connection) = &ctx.connection {
            if upgrade {
                connection.control.upgrade();
            } else if !exchange.feeds_others() {
                connection.control.depend();
                if connection.control.client_gone() {
                    return Err(Error::new_down(ErrorType::ConnectionClosed));
                }
            }
        }
        if upgrade {
            session.set_read_timeout(None);
        }
        let edits = hop(answer);
        edit_response(answer, |fields| {
            edits.apply(fields);
            exchange.edit_answer(fields);
        })?;
        if bodyless(answer, session.req_header()) {
            exchange.answer_end();
        }
        Ok(())
    }

    /// pingora frames an answer without a length by chunks, which HTTP/1.0 does not know (RFC 9112 §7.1).
    async fn response_filter(&self, session: &mut Session, answer: &mut ResponseHeader, ctx: &mut Context) -> Result<()> {
        let http10 = ctx.connection.as_ref().is_some_and(|connection| connection.http10);
        if http10 && answer.remove_header(&header::TRANSFER_ENCODING).is_some() {
            session.set_keepalive(None);
        }
        Ok(())
    }

    fn response_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        end: bool,
        ctx: &mut Context,
    ) -> Result<Option<Duration>> {
        let Some(exchange) = ctx.exchange.as_mut() else { return Ok(None) };
        let mut pause = None;
        if let Some(piece) = body {
            exchange.answer_body(piece);
            pause = exchange.pause(piece.len());
        }
        if end {
            exchange.answer_end();
        }
        Ok(pause.filter(|_| !end))
    }

    fn error_while_proxy(
        &self,
        _peer: &HttpPeer,
        session: &mut Session,
        mut error: Box<Error>,
        ctx: &mut Context,
        reused: bool,
    ) -> Box<Error> {
        if *error.etype() == RETRY_STATUS {
            error.set_retry(true);
            return error;
        }
        let sent = Sent {
            reused,
            replayable: !session.as_downstream().retry_buffer_truncated(),
        };
        let again = match (failure::answering(&error), ctx.exchange.as_mut()) {
            (Some(failure), Some(exchange)) if !ctx.answer_begun => failure::goes_on(exchange, failure, sent, &mut ctx.instead),
            _ => false,
        };
        error.set_retry(again);
        error
    }

    async fn fail_to_proxy(&self, session: &mut Session, error: &Error, ctx: &mut Context) -> FailToProxy {
        if let (Some(hit), Some(exchange)) = (ctx.instead.take(), ctx.exchange.as_ref()) {
            session.set_keepalive(None);
            ctx.client_left = reply::hit(session, exchange, &hit).await.is_err();
            return FailToProxy {
                error_code: 0,
                can_reuse_downstream: false,
            };
        }
        let begun = session.response_written().is_some_and(|head| !head.status.is_informational());
        let malformed = ctx
            .connection
            .as_ref()
            .is_some_and(|connection| connection.control.is_body_malformed());
        let refusal = match ctx.exchange.as_mut() {
            Some(exchange) => match exchange.refusal() {
                Some(refusal) => Some(refusal.clone()),
                None if malformed => Some(Refusal::BadRequest("The request's body is malformed.")),
                None if *error.esource() == ErrorSource::Downstream => failure::client(error),
                None => Some(Refusal::BadGateway("The server's answer could not be passed on.")),
            },
            None => None,
        };
        ctx.client_left = *error.esource() == ErrorSource::Downstream && refusal.is_none();
        // pingora does not use the connection again, so the client is told.
        session.set_keepalive(None);
        if let (Some(refusal), Some(exchange), false) = (refusal, ctx.exchange.as_mut(), begun) {
            exchange.refuse(refusal.clone());
            if let Err(error) = reply::refuse(session, exchange, &refusal).await {
                tracing::debug!(%error, "the client left before it was told");
            }
        }
        // An answer without a length ends where the connection ends, and must not look whole. One with a length shows that it is cut, and
        // a reset would only take from the client what it has been sent.
        if let (true, Some(connection)) = (begun, &ctx.connection) {
            connection.control.cut();
            if !framed(session) {
                connection.control.abort();
            }
        }
        FailToProxy {
            error_code: 0,
            can_reuse_downstream: false,
        }
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, ctx: &mut Context) {
        let Some(mut exchange) = ctx.exchange.take() else { return };
        let detached_gone = ctx.connection.as_ref().is_some_and(|connection| connection.control.client_gone());
        let lost = error.is_some_and(|error| *error.esource() == ErrorSource::Downstream && failure::client(error).is_none());
        // Either side may end a tunnel; and who was told why is not one that left.
        let told = exchange.refusal().is_some() && session.response_written().is_some();
        let left = !session.was_upgraded() && !told && (ctx.client_left || detached_gone || lost);
        let outcome = Outcome {
            status: session.response_written().map(|head| head.status),
            sent: session.body_bytes_sent() as u64,
            client_left: left,
            read: true,
        };
        exchange.record(&Request(session.req_header(), Body::Announced), outcome);
    }

    /// The exchange says it better.
    fn suppress_error_log(&self, _session: &Session, _ctx: &Context, _error: &Error) -> bool {
        true
    }

    fn suppress_proxy_warn_log(&self, _session: &Session, _ctx: &Context, _error: &Error, _context: ProxyWarnLogContext) -> bool {
        true
    }
}
