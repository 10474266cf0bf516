//! Two servers with one request.
//!
//! The first one is asked as ever. When it has not answered by the time that the exchange names, a second one is asked as well, over a connection of
//! its own, and both are listened to in the one task of the client's connection. The first good answer goes to the client; for the other one a task
//! waits a while, so that its server counts as busy for as long as it is. Then that connection is closed, since an answer that nobody reads would spoil it. What this costs (a few allocations) is paid by upstreams that hedge, and not by the
//! others.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use super::asking::{Asking, Trouble};
use super::connect::dial;
use super::forward::{INTERIM, begin, is_final, means};
use super::pool::Key;
use super::spare::Spare;
use super::upload::Upload;
use super::upstream::Connection;
use super::{Relay, answer, mirror};
use crate::cache::Hit;
use crate::engine::h1::{ClientStream, Request};
use crate::exchange::head::ResponseHead;
use crate::exchange::{Exchange, Failure, Fall, Loser, Verdict, failure_status};

/// A server that has the request.
pub(super) struct Lane {
    pub(super) key: Key,
    pub(super) connection: Connection,
    pub(super) upload: Upload,
    asking: Asking,
}

/// What came of it.
pub(super) enum Raced {
    /// An answer to pass on.
    Won(Box<Lane>),
    /// The answer was set aside or thrown away, and a server is to be asked.
    Again,
    /// A stored object goes to the client instead.
    Stored(Hit),
    /// Nobody is left: how the last one failed, and whether its connection had served before.
    Lost(Trouble, bool),
}

type Dial = Pin<Box<dyn Future<Output = Result<Connection, Failure>> + Send>>;

/// The second server.
enum Second {
    /// It is not time yet.
    NotYet(tokio::time::Instant),
    Dialling(Key, Dial),
    Asked(Box<Lane>),
    /// It has failed, or there is none.
    None,
}

/// What happens in a race.
enum Event {
    /// It is time for a second server.
    Due,
    /// There is a connection to it, or none.
    Dialled(Result<Connection, Failure>),
    /// The first server's, or the second one's, head is there, or is not to come.
    Heard { second: bool, heard: Result<(), Trouble> },
}

struct Race {
    first: Option<Box<Lane>>,
    second: Second,
}

impl Lane {
    pub(super) fn new(key: Key, connection: Connection, stall: Duration) -> Self {
        Self {
            key,
            connection,
            upload: Upload::new(stall),
            asking: Asking::default(),
        }
    }

    fn poll(&mut self, client: &mut ClientStream, exchange: &mut Exchange, cx: &mut Context<'_>) -> Poll<Result<(), Trouble>> {
        self.asking.poll(client, &mut self.connection, exchange, &mut self.upload, cx)
    }

    fn set_aside(self) -> Box<Spare> {
        Box::new(Spare::new(self.key, self.connection, self.upload.is_done()))
    }
}

impl Race {
    /// The request on its way, to the one and to the other.
    fn uploads(&self) -> impl Iterator<Item = &Upload> {
        let second = match &self.second {
            Second::Asked(lane) => Some(&lane.upload),
            _ => None,
        };
        self.first.iter().map(|lane| &lane.upload).chain(second)
    }

    fn poll(&mut self, client: &mut ClientStream, exchange: &mut Exchange, cx: &mut Context<'_>) -> Poll<Event> {
        if let Some(first) = &mut self.first
            && let Poll::Ready(heard) = first.poll(client, exchange, cx)
        {
            return Poll::Ready(Event::Heard { second: false, heard });
        }
        match &mut self.second {
            Second::None => Poll::Pending,
            Second::NotYet(at) => {
                ready!(client.poll_passed(*at, Duration::ZERO, cx));
                Poll::Ready(Event::Due)
            }
            Second::Asked(lane) => lane.poll(client, exchange, cx).map(|heard| Event::Heard { second: true, heard }),
            Second::Dialling(_, dial) => {
                if let Poll::Ready(dialled) = dial.as_mut().poll(cx) {
                    return Poll::Ready(Event::Dialled(dialled));
                }
                // Where the first one is still there, it watches the client.
                if self.first.is_none() && client.has_client() && client.poll_gone(cx).is_ready() {
                    if !exchange.leads() {
                        let heard = Err(Trouble::Gone);
                        return Poll::Ready(Event::Heard { second: true, heard });
                    }
                    client.give_up();
                }
                Poll::Pending
            }
        }
    }

    /// The lane that something was heard on, while it is in the race.
    fn lane(&mut self, second: bool) -> Option<&mut Lane> {
        match (second, &mut self.second) {
            (false, _) => self.first.as_deref_mut(),
            (true, Second::Asked(lane)) => Some(lane),
            (true, _) => None,
        }
    }

    /// Takes that lane out.
    fn take(&mut self, second: bool) -> Option<Box<Lane>> {
        if !second {
            return self.first.take();
        }
        match std::mem::replace(&mut self.second, Second::None) {
            Second::Asked(lane) => Some(lane),
            _ => None,
        }
    }

    /// Whether the other server than this one is in the race, too.
    fn has_other(&self, second: bool) -> bool {
        match second {
            true => self.first.is_some(),
            false => matches!(self.second, Second::Dialling(..) | Second::Asked(_)),
        }
    }
}

impl Relay {
    /// Asks the first server, a second one if it must be, and takes the first good answer.
    pub(super) async fn race(
        &self,
        client: &mut ClientStream,
        request: &Request,
        exchange: &mut Exchange,
        mut first: Lane,
        spare: &mut Option<Box<Spare>>,
    ) -> Raced {
        begin(request, exchange, &mut first.upload);
        let second = exchange.hedge_at().map_or(Second::None, |at| Second::NotYet(at.into()));
        let mut race = Race {
            first: Some(Box::new(first)),
            second,
        };
        let mut interims = 0;
        loop {
            let event = poll_fn(|cx| {
                let event = race.poll(client, exchange, cx);
                race.uploads().for_each(|upload| self.copy(request, exchange, upload));
                event
            });
            match event.await {
                Event::Due => race.second = self.second(exchange),
                Event::Dialled(Ok(connection)) => race.second = second_lane(&mut race, request, exchange, connection),
                Event::Dialled(Err(failure)) => {
                    race.second = Second::None;
                    if race.first.is_none() {
                        return Raced::Lost(Trouble::Server(failure), false);
                    }
                    exchange.fell_out(true, Fall::Failed { failure, reused: false });
                }
                Event::Heard { second, heard } => {
                    let has_other = race.has_other(second);
                    let Some(lane) = race.lane(second) else {
                        return Raced::Lost(Trouble::Gone, false);
                    };
                    let heard = match heard.and_then(|()| is_final(request, &lane.connection)) {
                        Ok(false) if interims == INTERIM => Err(Trouble::Server(Failure::Invalid)),
                        other => other,
                    };
                    match heard {
                        Ok(true) => match self.finish(request, exchange, &mut race, second, spare) {
                            Some(raced) => return raced,
                            None => continue,
                        },
                        Ok(false) => {
                            interims += 1;
                            if let Err(trouble) = self.interim(client, request, exchange, &mut race, second).await {
                                return Raced::Lost(trouble, false);
                            }
                        }
                        Err(Trouble::Server(failure)) if has_other => {
                            let reused = lane.connection.reused;
                            exchange.fell_out(second, Fall::Failed { failure, reused });
                            drop(race.take(second));
                        }
                        Err(trouble) => return Raced::Lost(trouble, lane.connection.reused),
                    }
                }
            }
        }
    }

    /// Begins to ask a second server, if there is one.
    fn second(&self, exchange: &mut Exchange) -> Second {
        let Some(server) = exchange.hedge() else { return Second::None };
        let key = Self::key(exchange, &server);
        if let Some(connection) = self.pool.take(&key, false) {
            let ready = Box::pin(std::future::ready(Ok(connection)));
            return Second::Dialling(key, ready);
        }
        let limit = exchange.timeouts().map(|timeouts| timeouts.connect).unwrap_or_default();
        let (limit, tls) = (exchange.within_deadline(limit), exchange.upstream_tls().cloned());
        Second::Dialling(key, Box::pin(async move { dial(&server, tls.as_ref(), limit).await }))
    }

    /// An interim answer, of which the client gets those that come before a second server is asked: after that nobody knows whose answer it will get.
    async fn interim(
        &self,
        client: &mut ClientStream,
        request: &Request,
        exchange: &Exchange,
        race: &mut Race,
        second: bool,
    ) -> Result<(), Trouble> {
        let alone = !race.has_other(second);
        let Some(lane) = race.lane(second) else { return Ok(()) };
        lane.asking = Asking::default();
        if alone {
            return self.pass_on_interim(client, request, exchange, &mut lane.connection).await;
        }
        lane.connection.expect_another();
        Ok(())
    }

    /// A final answer's head is there. `None`: it is a failure's, and the other server may do better.
    fn finish(
        &self,
        request: &Request,
        exchange: &mut Exchange,
        race: &mut Race,
        second: bool,
        spare: &mut Option<Box<Spare>>,
    ) -> Option<Raced> {
        let has_other = race.has_other(second);
        let Some(lane) = race.take(second) else {
            return Some(Raced::Lost(Trouble::Gone, false));
        };
        let status = lane.connection.head().status();
        if has_other && failure_status(status) {
            exchange.fell_out(second, Fall::Answered(status));
            *spare = Some(lane.set_aside());
            return None;
        }
        if has_other && let Some(loser) = exchange.settle(second) {
            let within = exchange
                .timeouts()
                .map_or(Loser::PATIENCE, |timeouts| timeouts.read.min(Loser::PATIENCE));
            if let Some(lane) = race.take(!second).filter(|lane| lane.upload.is_done()) {
                tokio::spawn(hear_out(lane.connection, loser, within));
            }
        }
        match exchange.answer(&request.head(), &lane.connection.head(), means(&lane.upload)) {
            Verdict::Relay => Some(Raced::Won(lane)),
            Verdict::Retry => {
                *spare = Some(lane.set_aside());
                Some(Raced::Again)
            }
            Verdict::AskAgain => Some(Raced::Again),
            Verdict::Serve(hit) => Some(Raced::Stored(hit)),
        }
    }
}

/// Waits for the answer of the one that was not quick enough.
async fn hear_out(mut connection: Connection, loser: Loser, within: Duration) {
    if let Ok(Ok(status)) = tokio::time::timeout(within, mirror::head(&mut connection)).await {
        loser.answered(status);
    }
}

/// The second server has a connection for the request.
fn second_lane(race: &mut Race, request: &Request, exchange: &mut Exchange, connection: Connection) -> Second {
    let Second::Dialling(key, _) = std::mem::replace(&mut race.second, Second::None) else {
        return Second::None;
    };
    let mut lane = Lane::new(key, connection, answer::stall(exchange));
    match race.first {
        Some(_) => exchange.as_rival(|exchange| begin(request, exchange, &mut lane.upload)),
        None => begin(request, exchange, &mut lane.upload),
    }
    Second::Asked(Box::new(lane))
}
