//! A client connection's life: wait for a head, have the engine serve the request, again, until either side has had enough.

use std::net::SocketAddr;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, Method, Version};
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::connections::Slot;
use crate::engine::h1::{ClientStream, HeadRead, ReadLimits};
use crate::engine::pingora::Engine;
use crate::exchange::head::{Fields, RequestHead};
use crate::exchange::{Outcome, Peer, Scheme};
use crate::reject::Refusal;

/// Serves a connection until it ends.
pub async fn serve(stream: TcpStream, address: SocketAddr, slot: Slot, engine: Arc<Engine>, mut shutdown: watch::Receiver<bool>) {
    let peer = Peer { address, scheme: Scheme::Http };
    let mut stream = ClientStream::new(stream, address);
    loop {
        let limits = engine.snapshot().config.limits.clone();
        slot.idle();
        let waiting = tokio::time::timeout(limits.idle_timeout, stream.readable());
        let came = tokio::select! {
            biased;
            came = waiting => matches!(came, Ok(Ok(true))),
            () = slot.asked_to_leave() => false,
            _ = shutdown.wait_for(|stop| *stop) => false,
        };
        if !came {
            return;
        }
        slot.busy();
        let read_limits = ReadLimits { bytes: limits.max_header_bytes, fields: limits.max_headers, timeout: limits.header_timeout };
        match stream.read_head(&read_limits).await {
            Ok(HeadRead::Request(request)) => match engine.serve(stream, &request, peer, &shutdown).await {
                Some(back) => stream = back,
                None => return,
            },
            Ok(HeadRead::Http2) => return engine.serve_http2(stream, &shutdown).await,
            Ok(HeadRead::Closed) | Err(None) => return,
            Err(Some(refusal)) => return refuse(stream, &engine, peer, refusal).await,
        }
    }
}

/// Tells the client what is wrong with a head that was never whole or never valid, and closes.
async fn refuse(mut stream: ClientStream, engine: &Engine, peer: Peer, refusal: Refusal) {
    let mut exchange = engine.exchange(peer);
    let problem = exchange.refuse_unread(refusal);
    let sent = problem.body.len() as u64;
    let status = problem.status;
    let delivered = stream.write_and_close(&problem.to_http1()).await.is_ok();
    exchange.record(&Unread, Outcome { status: Some(status), sent, client_left: !delivered });
}

/// The head of a request that has none.
struct Unread;

impl Fields for Unread {
    fn get(&self, _name: &HeaderName) -> Option<&[u8]> {
        None
    }

    fn all<'a>(&'a self, _name: &'a HeaderName) -> impl Iterator<Item = &'a [u8]> {
        std::iter::empty()
    }

    fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        std::iter::empty()
    }
}

impl RequestHead for Unread {
    fn method(&self) -> &Method {
        &Method::GET
    }

    fn version(&self) -> Version {
        Version::HTTP_11
    }

    fn target(&self) -> &[u8] {
        b"-"
    }

    fn authority(&self) -> &[u8] {
        b"-"
    }
}
