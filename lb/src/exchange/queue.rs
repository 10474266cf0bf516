//! The wait for a server that has room.

use std::sync::Arc;
use std::time::Instant;

use super::{Exchange, Turn, Wait};
use crate::snapshot::{Snapshot, UpstreamState};
use crate::upstream::{Entry, Granted, Lease, NoServer, Place};

/// A place in the line, and for how long it is kept.
pub(super) struct Waiting {
    place: Arc<Place>,
    until: Instant,
}

/// An upstream of a configuration that came while the request waited. Its servers are those that it then gets.
pub(super) struct Moved {
    snapshot: Arc<Snapshot>,
    index: usize,
}

impl Moved {
    pub(super) fn upstream(&self) -> &UpstreamState {
        &self.snapshot.upstreams[self.index]
    }
}

impl Exchange {
    /// All servers are full: the request waits for one, if there is a queue and room in it. `until`: when it has waited before.
    pub(super) fn line_up(&mut self, until: Option<Instant>) -> Result<Lease, Turn> {
        let entry = match self.upstream() {
            Some(state) => state.upstream.line_up(&self.wanted(&self.tries.tried)),
            None => Err(NoServer::NoneHealthy),
        };
        match entry {
            Ok(Entry::Lease(lease)) => Ok(lease),
            Ok(Entry::Place(place)) => {
                let queue = self.upstream().and_then(|state| state.upstream.config().queue);
                let timeout = queue.map(|queue| queue.timeout).unwrap_or_default();
                let until = until.unwrap_or_else(|| Instant::now() + self.within_deadline(timeout));
                let place = Arc::new(place);
                Err(self.wait_on(Waiting { place, until }))
            }
            // It has opened since a server was looked for.
            Err(NoServer::CircuitOpen) if self.tries.count == 0 && self.turn_to_another() => self.next_lease(Instant::now()),
            Err(why) => {
                if why == NoServer::QueueFull
                    && let Some(state) = self.upstream()
                {
                    state.metrics.queue_overflowed();
                }
                Err(Turn::Refuse(self.no_server(why)))
            }
        }
    }

    fn wait_on(&mut self, waiting: Waiting) -> Turn {
        let wait = Wait::for_server(&waiting.place, waiting.until);
        self.tries.waiting = Some(waiting);
        Turn::Wait(wait)
    }

    /// What has come of the waiting.
    pub(super) fn waited(&mut self, waiting: Waiting) -> Result<Lease, Turn> {
        match waiting.place.outcome() {
            Some(Ok(granted)) => match self.take_over(granted) {
                Some(lease) => Ok(lease),
                // A configuration has come between handing it over and now; the request begins again where it stands now.
                None => self.line_up(Some(waiting.until)),
            },
            Some(Err(_)) if self.tries.count == 0 && self.turn_to_another() => self.next_lease(Instant::now()),
            Some(Err(why)) => Err(Turn::Refuse(self.no_server(why))),
            None if Instant::now() < waiting.until => Err(self.wait_on(waiting)),
            None => {
                if let Some(state) = self.upstream() {
                    state.metrics.queue_timed_out();
                }
                Err(Turn::Refuse(self.no_server(NoServer::TooLong)))
            }
        }
    }

    fn take_over(&mut self, granted: Granted) -> Option<Lease> {
        let state = self.upstream()?;
        if state.upstream.granted(&granted) {
            return state.upstream.lease(granted);
        }
        let snapshot = self.proxy.snapshot();
        let handed_in =
            |candidate: &UpstreamState| candidate.upstream.name() == state.upstream.name() && candidate.upstream.granted(&granted);
        let index = snapshot.upstreams.iter().position(handed_in)?;
        let lease = snapshot.upstreams[index].upstream.lease(granted);
        self.moved = Some(Moved { snapshot, index });
        lease
    }
}
