//! What the upstream's circuit is told of a request's tries, and what the client is told where no server takes its request.

use std::time::Duration;

use super::Exchange;
use crate::reject::Refusal;
use crate::upstream::NoServer;

impl Exchange {
    /// What a try has come to, for the upstream's circuit.
    pub(super) fn tried(&self, ok: bool) {
        if let Some(lease) = &self.tries.lease {
            lease.tried(ok);
        }
    }

    /// What the client is told.
    pub(super) fn no_server(&mut self, why: NoServer) -> Refusal {
        let retry_after = self.upstream().map_or(1, |upstream| upstream.retry_after);
        let probed_in = || {
            self.upstream()
                .map_or(1, |upstream| whole_seconds(upstream.upstream.circuit_left()))
        };
        let unavailable = |why, retry_after| Refusal::Unavailable { why, retry_after };
        let refusal = match why {
            NoServer::AllFull => unavailable("Every server is at its limit.", 1),
            NoServer::QueueFull => unavailable("Every server is at its limit, and the queue is full.", 1),
            NoServer::TooLong => unavailable("Every server stayed at its limit for too long.", 1),
            NoServer::CircuitOpen => unavailable("Too many requests have failed: the circuit is open.", probed_in()),
            NoServer::NoneHealthy | NoServer::AllTried => unavailable("No server is up.", retry_after),
        };
        // Where a server had failed before, that is what the client is told.
        self.tries.failure.take().unwrap_or(refusal)
    }
}

/// For `Retry-After`: 1 at least.
fn whole_seconds(time: Duration) -> u32 {
    u32::try_from(time.as_millis().div_ceil(1000)).unwrap_or(u32::MAX).max(1)
}
