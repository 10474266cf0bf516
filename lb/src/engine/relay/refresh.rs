//! Fetches anew what clients are served stale, for both engines: each in a task of its own, on the way that every request goes, without a client.
//!
//! A request whose client goes away while others need its answer goes on without one. This is such a request from the start.

use super::Relay;
use crate::engine::h1::{ClientStream, Request};
use crate::exchange::Exchange;
use crate::exchange::head::RequestHead;

impl Relay {
    /// Begins such a fetch, as `head` asks. Returns at once.
    pub fn refresh(&self, head: &impl RequestHead, mut exchange: Exchange) {
        let Some(request) = Request::get(head) else { return };
        let relay = self.clone();
        tokio::spawn(async move {
            let mut nobody = ClientStream::nobodys(&request);
            relay.forward(&mut nobody, &request, &mut exchange).await;
            exchange.end();
        });
    }
}
