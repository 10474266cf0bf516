//! A second server for a request whose first one is slow.
//!
//! For as long as both work, the exchange has a current try and a rival. What the engine tells is about the current one; what it has to say about
//! the rival it says [as the rival](Exchange::as_rival). Whichever gives a good answer first is [settled on](Exchange::settle): the other one is charged
//! with nothing. It works on all the same, most likely: so it [counts](Loser) until it has answered. If a slow server that has lost counted as free,
//! `least_conn` would send the next request there, and the one after. One that fails [falls out](Exchange::fell_out), and leaves the other as the current one, as if
//! it had been alone; a failure's status that it gave is set aside, and stands should the other one come to nothing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Method, StatusCode, header};

use super::forward::Spare;
use super::head::RequestHead;
use super::record::client_closed_request;
use super::{Exchange, Failure, failure_status};
use crate::filter;
use crate::upstream::{Lease, Server};

/// The try that is not the current one.
pub(super) struct Rival {
    lease: Lease,
    asked_at: Option<Instant>,
}

impl Rival {
    /// Nobody waits for it any longer.
    pub(super) fn leave(self) {
        if let Some(asked) = self.asked_at {
            self.lease.unanswered(asked.elapsed());
        }
    }
}

/// The try that was not quick enough. Its server counts it until this is dropped: when it has answered, or after [`Loser::PATIENCE`].
#[derive(Debug)]
pub struct Loser {
    lease: Lease,
    asked_at: Option<Instant>,
    answered: bool,
}

impl Loser {
    /// So long at most: a server that hangs must not cost a connection for each request that it has lost.
    pub const PATIENCE: Duration = Duration::from_secs(5);

    /// It has answered now.
    pub fn answered(mut self, status: StatusCode) {
        self.answered = true;
        if let Some(asked) = self.asked_at {
            self.lease.observed(asked.elapsed(), status.into());
        }
    }
}

impl Drop for Loser {
    fn drop(&mut self) {
        if let (Some(asked), false) = (self.asked_at, self.answered) {
            self.lease.unanswered(asked.elapsed());
        }
    }
}

/// How a try ended while another one goes on.
#[derive(Debug, Clone, Copy)]
pub enum Fall {
    /// Without an answer.
    Failed {
        /// How.
        failure: Failure,
        /// The connection had served another request before.
        reused: bool,
    },
    /// By a status that counts as a failure. The engine keeps the answer.
    Answered(StatusCode),
}

impl Exchange {
    /// Whether the request is of a kind that two servers may be asked for: safe, without a body, and no upgrade.
    pub(super) fn is_hedgeable(&self, head: &impl RequestHead) -> bool {
        let safe = matches!(self.method, Method::GET | Method::HEAD | Method::OPTIONS);
        let bodyless = head.get(&header::CONTENT_LENGTH).is_none_or(|length| length.trim_ascii() == b"0")
            && head.get(&header::TRANSFER_ENCODING).is_none()
            && !head.has_unannounced_body();
        safe && bodyless && !filter::is_upgrade(head)
    }

    /// Whether a second server may be asked if the one that was chosen is slow.
    pub fn may_hedge(&self) -> bool {
        self.tries.hedges && self.tries.count == 0
    }

    /// When that is, if it is known what is slow.
    pub fn hedge_at(&self) -> Option<Instant> {
        Some(self.tries.asked_at? + self.upstream()?.upstream.hedge_delay()?)
    }

    /// That time has come: the second server, if there is one that could take the request, and if there may be another such request.
    pub fn hedge(&mut self) -> Option<Arc<Server>> {
        self.tries.hedges = false;
        let (upstream, first) = (self.upstream()?, self.tries.lease.as_ref()?);
        let mut tried = self.tries.tried.clone();
        tried.push(first.server().id());
        let lease = self.pick_beside(&tried, Instant::now()).ok()?;
        // A backup is for when the others are down, and not for when they are slow.
        if (lease.server().backup() && !first.server().backup()) || !upstream.upstream.try_hedge() {
            return None;
        }
        upstream.metrics.hedged();
        let server = lease.server().clone();
        self.tries.rival = Some(Rival {
            lease,
            asked_at: Some(Instant::now()),
        });
        Some(server)
    }

    /// Does something with the rival in place of the current try.
    pub fn as_rival<T>(&mut self, act: impl FnOnce(&mut Self) -> T) -> T {
        self.change_places();
        let result = act(self);
        self.change_places();
        result
    }

    fn change_places(&mut self) {
        if let (Some(lease), Some(rival)) = (&mut self.tries.lease, &mut self.tries.rival) {
            std::mem::swap(lease, &mut rival.lease);
            std::mem::swap(&mut self.tries.asked_at, &mut rival.asked_at);
        }
    }

    /// One of two has given a good answer: it is the current try from now on, and the only one. `rival`: it is the rival's. The other one, for whoever
    /// waits for its answer; `None`: there was none.
    #[must_use = "its server counts it only while this is held"]
    pub fn settle(&mut self, rival: bool) -> Option<Loser> {
        if rival {
            self.change_places();
        }
        let loser = self.tries.rival.take()?;
        if let Some(upstream) = self.upstream() {
            upstream.of(loser.lease.server()).done(client_closed_request());
            // Of the one that was asked first it is known that it takes longer than most; of the other one, nothing.
            if let (true, Some(asked)) = (rival, loser.asked_at) {
                upstream.upstream.took(asked.elapsed());
            }
        }
        Some(Loser {
            lease: loser.lease,
            asked_at: loser.asked_at,
            answered: false,
        })
    }

    /// One of two has failed; the other one is the current try from now on, and the only one. `rival`: it was the rival.
    pub fn fell_out(&mut self, rival: bool, fall: Fall) {
        if rival {
            self.change_places();
        }
        match fall {
            // The server had closed it while nobody used it, most likely.
            Fall::Failed {
                failure: Failure::Reset,
                reused: true,
            } => self.forget_current(),
            Fall::Failed { failure, .. } => self.charge(failure, self.is_late()),
            Fall::Answered(status) => self.set_aside(status),
        }
        if let Some(other) = self.tries.rival.take() {
            self.tries.lease = Some(other.lease);
            self.tries.asked_at = other.asked_at;
            self.tries.awaited = true;
        }
    }

    fn forget_current(&mut self) {
        self.answered(Failure::Reset.status(), true);
        if let Some(lease) = self.tries.lease.take() {
            self.tries.tried.push(lease.server().id());
        }
    }

    fn set_aside(&mut self, status: StatusCode) {
        debug_assert!(failure_status(status), "{status} is no failure");
        self.answered(status, true);
        self.tried(false);
        self.charge_once();
        let Some(lease) = self.tries.lease.take() else { return };
        self.tries.tried.push(lease.server().id());
        self.tries.spare = Some(Spare {
            lease,
            asked_at: self.tries.asked_at,
            answered_after: self.tries.answered_after,
        });
    }
}
