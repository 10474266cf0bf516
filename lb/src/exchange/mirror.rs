//! Copies of requests, for an upstream that is to see real traffic before clients see its answers.
//!
//! A copy is made when the request itself has gone whole to a server, so the client has lost nothing by it; from then on the copy has a task,
//! a server and a connection of its own, and nobody waits for it. What bounds it:
//!
//! - a body is at most as long as an engine keeps anyway for another try: a longer one is not copied;
//! - so many copies of a route's requests are under way at once ([`MOST`]), and each server takes `max_connections` of all that it gets;
//! - each step has the mirror's own timeouts, there is one try, and of an answer's body so much is read and no more.
//!
//! Whatever does not fit is dropped and counted. A mirror whose servers hang costs that many tasks, and no client anything.
//!
//! Not copied are requests that no server is asked for (answers from the store, errors, requests that share another's fetch), and those that
//! ask for another protocol.

use std::sync::Arc;
use std::time::Instant;

use http::{HeaderName, HeaderValue, StatusCode};
use lb_config::Timeouts;

use super::fault::chance;
use super::head::{Editor, RequestHead};
use super::{Exchange, Failure, failure_status};
use crate::admit::Trace;
use crate::filter;
use crate::observe::{MirrorOutcome, Mirroring};
use crate::route::Target;
use crate::snapshot::{Snapshot, UpstreamState};
use crate::tls::UpstreamTls;
use crate::upstream::{Lease, NoServer, Server, Wanted};

/// Copies of one route's requests that are under way at once.
const MOST: usize = 256;
/// Says to a server that nobody waits for its answer.
const X_LB_MIRROR: HeaderName = HeaderName::from_static("x-lb-mirror");

/// A copy of a request: the right to send it, and to whom.
pub struct Copy {
    snapshot: Arc<Snapshot>,
    /// Index into the snapshot's upstreams.
    upstream: usize,
    lease: Lease,
    place: Mirroring,
    begun: Instant,
}

impl Exchange {
    /// The request is about to go to a server. Decides what trace it belongs to there, and whether a copy of it is to be made.
    pub fn forwarding(&mut self, head: &impl RequestHead) {
        self.trace = Some(Trace::of(head, rand::random));
        let mirror = self.route().and_then(|route| route.config.mirror.as_ref());
        self.copies = mirror.is_some_and(|mirror| chance(mirror.percent) && !filter::is_upgrade(head));
    }

    /// Whether [`Exchange::copy`] is still to be asked for.
    pub fn is_copied(&self) -> bool {
        self.copies
    }

    /// The request has gone whole to a server. Now its copy may go, if there is room for it. `kept`: the engine still has the whole body.
    pub fn copy(&mut self, head: &impl RequestHead, kept: bool) -> Option<Copy> {
        if !std::mem::take(&mut self.copies) {
            return None;
        }
        let snapshot = self.snapshot.clone();
        let route = self.route.map(|index| &snapshot.routes[index])?;
        let upstream = route.config.mirror.as_ref()?.upstream;
        let state = &snapshot.upstreams[upstream];
        let place = kept.then(|| route.metrics.begin_mirroring(MOST)).flatten();
        let Some(place) = place else {
            route.metrics.mirrored(MirrorOutcome::Dropped);
            return None;
        };
        let hash = state
            .hash_on
            .as_ref()
            .map_or(0, |on| self.hash(on, head, &Target::parse(head.target())));
        let wanted = Wanted { hash, ..Wanted::default() };
        match state.upstream.pick(&wanted) {
            Ok(lease) => Some(Copy {
                lease,
                place,
                upstream,
                begun: Instant::now(),
                snapshot,
            }),
            Err(NoServer::AllFull | NoServer::CircuitOpen) => {
                place.over(MirrorOutcome::Dropped);
                None
            }
            Err(_) => {
                place.over(MirrorOutcome::Failed);
                None
            }
        }
    }

    /// The request is over. A copy that was to be made, and was not, is counted.
    pub(super) fn drop_copy(&mut self) {
        if std::mem::take(&mut self.copies)
            && let Some(route) = self.route()
        {
            route.metrics.mirrored(MirrorOutcome::Dropped);
        }
    }

    /// Makes the head of a copy, as [`Exchange::edit_request`] makes that of the request.
    pub fn edit_copy(&self, copy: &Copy, received: &impl RequestHead, out: &mut impl Editor) {
        self.edit_for(Some(copy.state()), Some(copy.server()), received, out);
        out.set(&X_LB_MIRROR, HeaderValue::from_static("1"));
        self.edit_by_route(out);
    }
}

impl Copy {
    fn state(&self) -> &UpstreamState {
        &self.snapshot.upstreams[self.upstream]
    }

    /// Where it goes.
    pub fn server(&self) -> &Arc<Server> {
        self.lease.server()
    }

    /// How the server is met, where that is by TLS.
    pub fn tls(&self) -> Option<&Arc<UpstreamTls>> {
        self.state().tls.as_ref()
    }

    /// The mirror's own.
    pub fn timeouts(&self) -> &Timeouts {
        &self.state().upstream.config().timeouts
    }

    /// Idle connections that are kept for the server.
    pub fn kept_connections(&self) -> usize {
        self.state().upstream.config().keepalive
    }

    /// The head of an answer has come.
    pub fn answered(&self, status: StatusCode) {
        self.observed(status);
        self.lease.tried(!failure_status(status));
        if failure_status(status) {
            self.lease.failed();
        } else {
            self.lease.succeeded();
        }
    }

    /// The end, after an answer.
    pub fn over(self) {
        self.place.over(MirrorOutcome::Sent);
    }

    /// The end, without an answer. `reused`: the connection had served before, so that the server may just have closed it.
    pub fn failed(self, failure: Failure, reused: bool) {
        self.observed(failure.status());
        if !(reused && failure == Failure::Reset) {
            self.lease.tried(false);
            self.lease.failed();
        }
        tracing::debug!(server = &**self.server().name(), "a copy of a request: {}", failure.label());
        self.place.over(MirrorOutcome::Failed);
    }

    fn observed(&self, status: StatusCode) {
        let elapsed = self.begun.elapsed();
        self.lease.observed(elapsed, status.into());
        self.state().metrics.answered(elapsed);
        self.state().of(self.server()).done(status);
    }
}
