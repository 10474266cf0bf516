//! The engine for HTTP/1.1: bytes from the client's connection to the server's and back.
//!
//! A request goes through here as follows, and every decision on the way is the [`exchange`](crate::exchange)'s:
//!
//! 1. The connection has read a head, strictly ([`h1`](super::h1)). The exchange looks at it where it lies, as offsets into the bytes received.
//! 2. It is answered from here ([`answer`]), or goes to a server ([`forward`]) over a connection that was idle ([`pool`]) or is new.
//! 3. The head for the server is the one received, less what the exchange takes away, with what it puts in ([`edit`]). The body follows
//!    as it comes ([`upload`]).
//! 4. The answer's head is read as strictly, edited in the same way, and sent in one write with what there is of the body; the rest
//!    follows ([`download`]), moved by the kernel where it is long and nobody has to see it ([`splice`]).
//!
//! Everything happens in the task of the client's connection, on the one thread of its worker: no channel, no other task, no lock that
//! anybody else wants. Memory is bounded by a read or two for each direction.

mod answer;
mod asking;
mod connect;
mod date;
mod download;
mod edit;
mod forward;
mod heads;
mod hedge;
mod mirror;
mod pool;
mod refresh;
mod spare;
mod splice;
mod transport;
mod tunnel;
mod upload;
mod upstream;

use std::future::poll_fn;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::StatusCode;

use super::h1::{ClientStream, Request};
use crate::cache::Waiting;
use crate::exchange::{Decision, Exchange, Origin, Outcome};
use crate::proxy::Proxy;
pub use mirror::{Message, Mirror};
use pool::Pool;

/// One worker's engine. Cheap to clone.
#[derive(Clone)]
pub struct Relay {
    proxy: Arc<Proxy>,
    pool: Arc<Pool>,
    mirror: Mirror,
}

/// How a request ended.
#[derive(Debug, Default)]
struct Ended {
    /// What the client was told.
    status: Option<StatusCode>,
    /// Bytes of content that it was sent.
    sent: u64,
    /// It left before the end.
    client_left: bool,
    /// Another request may follow.
    keep_alive: bool,
}

impl Ended {
    /// The client left.
    fn left(status: Option<StatusCode>, sent: u64) -> Self {
        Self {
            status,
            sent,
            client_left: true,
            keep_alive: false,
        }
    }
}

impl Relay {
    /// An engine for the worker whose runtime this is called in.
    pub fn new(proxy: Arc<Proxy>) -> Self {
        let pool = Arc::new(Pool::default());
        tokio::spawn(pool.clone().keep_swept());
        let mirror = Mirror::new(pool.clone());
        Self { proxy, pool, mirror }
    }

    /// What sends copies of requests, for whoever serves requests on this worker.
    pub fn mirror(&self) -> &Mirror {
        &self.mirror
    }

    /// Serves the request whose head `client` has read. Whether another one may follow.
    pub async fn serve(&self, client: &mut ClientStream, origin: &Origin) -> bool {
        let Some(request) = client.take_request() else { return false };
        let mut exchange = Exchange::new(&self.proxy, origin.clone());
        let ended = self.answer(client, &request, &mut exchange).await;
        let outcome = Outcome {
            status: ended.status,
            sent: ended.sent,
            client_left: ended.client_left,
            read: true,
        };
        exchange.record(&request.head(), outcome);
        client.end_request(request);
        ended.keep_alive
    }

    async fn answer(&self, client: &mut ClientStream, request: &Request, exchange: &mut Exchange) -> Ended {
        let mut decision = exchange.request(&request.head());
        loop {
            match decision {
                Decision::Forward => return self.forward(client, request, exchange).await,
                Decision::Hit(hit) => {
                    if let Some(fetch) = exchange.refresh(&request.head()) {
                        self.refresh(&request.head(), fetch);
                    }
                    return self.hit(client, request, exchange, &hit).await;
                }
                Decision::Stream(reader) => return self.stream(client, request, exchange, reader).await,
                Decision::Refuse(refusal) => return self.refuse(client, request, exchange, &refusal).await,
                Decision::Respond(reply) => return self.respond(client, request, exchange, &reply).await,
                Decision::Delay(delay) => match pause(client, delay).await {
                    true => decision = exchange.delayed(&request.head()),
                    false => return Ended::left(None, 0),
                },
                Decision::Wait(waiting) => match Box::pin(wait(client, request, exchange, waiting)).await {
                    Some(next) => decision = next,
                    None => return Ended::left(None, 0),
                },
            }
        }
    }

    /// Whether the client's connection may carry another request, as far as the request and this process are concerned.
    fn keeps(&self, request: &Request) -> bool {
        request.parsed().keep_alive() && !self.proxy.draining()
    }
}

/// Waits. Whether the client is still there.
async fn pause(client: &mut ClientStream, delay: Duration) -> bool {
    tokio::select! {
        () = tokio::time::sleep(delay) => true,
        () = poll_fn(|cx| client.poll_gone(cx)) => false,
    }
}

/// Waits for whoever may have the object; `None` where the client goes away first.
async fn wait(client: &mut ClientStream, request: &Request, exchange: &mut Exchange, waiting: Waiting) -> Option<Decision> {
    let head = request.head();
    let deadline = exchange.deadline();
    let joined = tokio::select! {
        joined = waiting.wait(&head) => joined,
        () = poll_fn(|cx| client.poll_gone(cx)) => return None,
        () = passed(deadline) => return Some(Decision::Refuse(exchange.late())),
    };
    Some(exchange.joined(joined, &head))
}

/// Returns at a moment, if there is one.
async fn passed(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment.into()).await,
        None => std::future::pending().await,
    }
}
