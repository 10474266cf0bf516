//! A request to a server, and its answer to the client: as often as the exchange says, until one server has answered.

use std::future::poll_fn;
use std::io::IoSlice;
use std::task::Poll;

use http::{Method, StatusCode, Version};

use super::answer::stall;
use super::asking::{Asking, Trouble};
use super::connect::{ConnectError, NoTurn};
use super::download::{Download, DownloadError, Form};
use super::heads::{answer_head, form, interim_head, write_request};
use super::hedge::{Lane, Raced};
use super::pool::Key;
use super::spare::Spare;
use super::upload::{Upload, UploadError};
use super::upstream::Connection;
use super::{Ended, Relay, tunnel};
use crate::engine::h1::{ClientStream, Request, ResponseFraming};
use crate::exchange::{Exchange, Failure, Means, Next, Sent, Verdict};
use crate::filter;
use crate::reject::Refusal;

/// Interim answers to one request. A server that sends more is out of its mind.
pub(super) const INTERIM: usize = 64;

impl Relay {
    /// Has the request answered by a server. What happens seldom is boxed here and below: a connection that waits has room for whatever its requests may
    /// come to.
    pub(super) async fn forward(&self, client: &mut ClientStream, request: &Request, exchange: &mut Exchange) -> Ended {
        exchange.forwarding(&request.head());
        // The client is told to go on at once, as by nginx: a server that does not say so would leave both waiting.
        if request.parsed().expect_continue() && !client.is_body_done() {
            let go_on = b"HTTP/1.1 100 Continue\r\n\r\n";
            if client.send_all(&mut [IoSlice::new(go_on)], stall(exchange)).await.is_err() {
                return Ended::left(None, 0);
            }
        }
        let mut upload = Upload::new(stall(exchange));
        let mut spare = None;
        loop {
            let server = match Self::server(client, exchange).await {
                Ok(server) => server,
                Err(NoTurn::Refused(refusal)) => return Box::pin(self.last_word(client, request, exchange, refusal, spare, upload)).await,
                Err(NoTurn::Gone) => return Ended::left(None, 0),
            };
            let key = Self::key(exchange, &server);
            let (trouble, reused) = match self.connect(client, exchange, &server, &key).await {
                Ok(connection) if exchange.may_hedge() => {
                    let first = Lane::new(key, connection, stall(exchange));
                    match Box::pin(self.race(client, request, exchange, first, &mut spare)).await {
                        Raced::Won(lane) => {
                            drop(spare);
                            let Lane {
                                key,
                                mut connection,
                                mut upload,
                                ..
                            } = *lane;
                            let passed = Box::pin(self.pass_on(client, request, exchange, &mut connection, &mut upload)).await;
                            return self.passed(exchange, key, connection, passed);
                        }
                        Raced::Again => continue,
                        Raced::Stored(hit) => {
                            exchange.settled().await;
                            return Box::pin(self.hit(client, request, exchange, &hit)).await;
                        }
                        Raced::Lost(trouble, reused) => (trouble, reused),
                    }
                }
                Ok(mut connection) => match self.ask(client, request, exchange, &mut connection, &mut upload).await {
                    Ok(Verdict::Retry) => {
                        spare = Some(Box::new(Spare::new(key, connection, upload.is_done())));
                        continue;
                    }
                    Ok(Verdict::Relay) => {
                        drop(spare);
                        let passed = self.pass_on(client, request, exchange, &mut connection, &mut upload).await;
                        return self.passed(exchange, key, connection, passed);
                    }
                    Ok(Verdict::AskAgain) => {
                        self.keep_unread(request, exchange, key, connection);
                        continue;
                    }
                    Ok(Verdict::Serve(hit)) => {
                        drop(spare);
                        self.keep_unread(request, exchange, key, connection);
                        exchange.settled().await;
                        return Box::pin(self.hit(client, request, exchange, &hit)).await;
                    }
                    Err(trouble) => (trouble, connection.reused),
                },
                Err(ConnectError::Server(failure)) => (Trouble::Server(failure), false),
                Err(ConnectError::Gone) => (Trouble::Gone, false),
            };
            let failure = match trouble {
                Trouble::Gone => return Ended::left(None, 0),
                Trouble::Refused(refusal) => {
                    let refusal = exchange.refuse(refusal);
                    return Box::pin(self.refuse(client, request, exchange, &refusal)).await;
                }
                Trouble::Server(failure) => failure,
            };
            let sent = Sent {
                reused,
                replayable: upload.is_replayable(),
            };
            if let Next::GiveUp(refusal) = exchange.failed(failure, sent) {
                return Box::pin(self.last_word(client, request, exchange, refusal, spare, upload)).await;
            }
        }
    }

    /// No server is left to ask: what is stored stands in, if it may; or the answer that was set aside stands, if it can still be had; else the client is
    /// told why there is none.
    async fn last_word(
        &self,
        client: &mut ClientStream,
        request: &Request,
        exchange: &mut Exchange,
        refusal: Refusal,
        spare: Option<Box<Spare>>,
        mut upload: Upload,
    ) -> Ended {
        if let Some(hit) = exchange.stale() {
            return self.hit(client, request, exchange, &hit).await;
        }
        let is_head = request.parsed().method() == Method::HEAD;
        if let Some((key, mut connection, whole)) = spare.and_then(|spare| spare.take(is_head)) {
            exchange.stands(&request.head(), &connection.head());
            upload.leave(whole);
            let passed = self.pass_on(client, request, exchange, &mut connection, &mut upload).await;
            return self.passed(exchange, key, connection, passed);
        }
        let refusal = exchange.refuse(refusal);
        self.refuse(client, request, exchange, &refusal).await
    }

    /// Sends the request and waits for the head of the final answer.
    async fn ask(
        &self,
        client: &mut ClientStream,
        request: &Request,
        exchange: &mut Exchange,
        connection: &mut Connection,
        upload: &mut Upload,
    ) -> Result<Verdict, Trouble> {
        begin(request, exchange, upload);
        for _ in 0..INTERIM {
            let mut asking = Asking::default();
            poll_fn(|cx| {
                let answered = asking.poll(client, connection, exchange, upload, cx);
                self.copy(request, exchange, upload);
                answered
            })
            .await?;
            if is_final(request, connection)? {
                return Ok(exchange.answer(&request.head(), &connection.head(), means(upload)));
            }
            self.pass_on_interim(client, request, exchange, connection).await?;
        }
        Err(Trouble::Server(Failure::Invalid))
    }

    /// Passes on an interim answer whose head has come, and makes ready for the next one.
    pub(super) async fn pass_on_interim(
        &self,
        client: &mut ClientStream,
        request: &Request,
        exchange: &Exchange,
        connection: &mut Connection,
    ) -> Result<(), Trouble> {
        // The client was told to go on already. HTTP/1.0 knows no interim answers.
        let is_welcome = connection.parsed().status() != StatusCode::CONTINUE && request.parsed().version() == Version::HTTP_11;
        if is_welcome && client.has_client() {
            let head = interim_head(connection);
            if client.send_all(&mut [IoSlice::new(&head)], stall(exchange)).await.is_err() {
                return Err(Trouble::Gone);
            }
        }
        connection.expect_another();
        Ok(())
    }

    /// Passes the answer on whose head has come. Whether the connection may serve again, too.
    async fn pass_on(
        &self,
        client: &mut ClientStream,
        request: &Request,
        exchange: &mut Exchange,
        server: &mut Connection,
        upload: &mut Upload,
    ) -> (Ended, bool) {
        exchange.settled().await;
        let status = server.parsed().status();
        if !client.has_client() && !exchange.feeds_others() {
            return (Ended::left(None, 0), false);
        }
        if status == StatusCode::SWITCHING_PROTOCOLS {
            let head = answer_head(request, exchange, server, Form::Content, true);
            server.drop_head();
            return (Box::pin(tunnel::run(client, exchange, server, head)).await, false);
        }
        let framing = server.parsed().framing(request.parsed().method() == Method::HEAD);
        let form = form(request, framing);
        // What is still to come of the request when its answer is there may never come.
        let keep = self.keeps(request) && upload.is_done() && !(form == Form::Content && framing != ResponseFraming::None);
        let head = answer_head(request, exchange, server, form, keep);
        server.drop_head();
        let read_timeout = exchange.timeouts().map(|timeouts| timeouts.read).unwrap_or_default();
        let mut download = Download::new(head, framing, form, read_timeout, stall(exchange));
        let mut sending = upload.goes_on();
        let result = poll_fn(|cx| {
            if sending {
                match upload.poll(client, server, exchange, cx) {
                    Poll::Pending => {}
                    Poll::Ready(Ok(())) => {
                        sending = false;
                        self.copy(request, exchange, upload);
                    }
                    Poll::Ready(Err(UploadError::Server | UploadError::Stalled)) => sending = false,
                    Poll::Ready(Err(UploadError::Gone)) if exchange.feeds_others() => {
                        sending = false;
                        client.give_up();
                    }
                    Poll::Ready(Err(UploadError::Gone)) => return Poll::Ready(Err(DownloadError::Gone)),
                    Poll::Ready(Err(UploadError::Refused(_))) => return Poll::Ready(Err(DownloadError::Cut)),
                }
            }
            download.poll(client, server, exchange, cx)
        })
        .await;
        let clean = result.is_ok() && download.is_clean() && upload.is_done();
        let mut ended = Ended {
            status: Some(status),
            sent: download.sent,
            client_left: !client.has_client(),
            keep_alive: keep && client.has_client(),
        };
        match result {
            Ok(()) => {}
            Err(DownloadError::Gone) => ended = Ended::left(Some(status), download.sent),
            Err(DownloadError::Cut) => {
                ended.keep_alive = false;
                Box::pin(download.last_words(client, server)).await;
                // An answer without a length ends where the connection ends, and must not look whole. One with a length shows that it is cut, and
                // a reset would only take from the client what it has been sent.
                client.cut();
                if form == Form::Content || (framing == ResponseFraming::UntilClose && form != Form::Chunks) {
                    client.abort();
                }
            }
        }
        (ended, clean)
    }

    /// What [`Self::pass_on`] has said is done with the connection.
    fn passed(&self, exchange: &Exchange, key: Key, server: Connection, (ended, clean): (Ended, bool)) -> Ended {
        if clean {
            self.keep(exchange, key, server);
        }
        ended
    }

    /// Keeps a connection by which an answer has come that nobody reads, if there is nothing more to read of it.
    fn keep_unread(&self, request: &Request, exchange: &Exchange, key: Key, mut server: Connection) {
        if server.parsed().framing(request.parsed().method() == Method::HEAD) == ResponseFraming::None {
            server.drop_head();
            self.keep(exchange, key, server);
        }
    }

    /// Keeps a connection that has served, if it may serve again.
    fn keep(&self, exchange: &Exchange, key: Key, server: Connection) {
        let most = exchange.kept_connections();
        if most == 0 || !server.parsed().keep_alive() || !server.received().is_empty() {
            return;
        }
        if let Some(timeouts) = exchange.timeouts() {
            self.pool.give(key, server, most, timeouts.idle);
        }
    }
}

/// A connection is there: the request begins to go there.
pub(super) fn begin(request: &Request, exchange: &mut Exchange, upload: &mut Upload) {
    exchange.connected();
    write_request(&mut upload.head, request, exchange);
    upload.restart(exchange.timeouts().map(|timeouts| timeouts.write).unwrap_or_default());
}

/// Whether the answer whose head has come is the final one, and not an interim one.
pub(super) fn is_final(request: &Request, connection: &Connection) -> Result<bool, Trouble> {
    let status = connection.parsed().status();
    if status == StatusCode::SWITCHING_PROTOCOLS {
        return match filter::is_upgrade(&request.head()) {
            true => Ok(true),
            false => Err(Trouble::Server(Failure::Invalid)),
        };
    }
    Ok(!status.is_informational())
}

/// What could be done instead of passing an answer on.
pub(super) fn means(upload: &Upload) -> Means {
    Means {
        replayable: upload.is_replayable(),
        keeps: true,
    }
}
