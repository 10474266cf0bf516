//! One deadline for a request: `timeouts.request`, from its head to the head of its answer.
//!
//! The other timeouts bound one thing each: a connection, a read. A request that meets slow servers one after the other, or waits in a
//! queue, or for another request's answer, may take many of them. This one bounds all of it together: whatever is waited for, it is waited
//! for no longer than what is left. Once it is over nothing is tried again, and the client gets a 504, or the answer that stands.
//!
//! Whose failure is it? A server that had the request for at least half of the time is charged with a timeout: without that, one that hangs
//! would never be ejected where this deadline is shorter than `timeouts.read`. A server that got it late, after others or after a queue, did
//! nothing wrong; nor did one that waited for the rest of the client's body.

use std::time::{Duration, Instant};

use super::{Exchange, Failure};
use crate::reject::Refusal;

/// What the client is told.
pub(super) const LATE: Refusal = Refusal::GatewayTimeout("The request was not answered within its time.");

impl Exchange {
    /// Sets the deadline of a request that goes to its upstream.
    pub(super) fn set_deadline(&mut self) {
        let limit = self.timeouts().and_then(|timeouts| timeouts.request);
        self.deadline = limit.map(|limit| self.started + limit);
    }

    /// When the request must have its answer's head; `None`: there is no limit.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// What of a wait that begins now fits before the deadline.
    pub fn within_deadline(&self, wait: Duration) -> Duration {
        match self.deadline {
            Some(deadline) => wait.min(deadline.saturating_duration_since(Instant::now())),
            None => wait,
        }
    }

    /// Whether the deadline is over.
    pub fn is_late(&self) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= Instant::now())
    }

    /// The deadline is over while no server is at work: what the client is told.
    pub fn late(&mut self) -> Refusal {
        self.refuse(LATE)
    }

    /// Whether a failure is the server's that has the request, and not only the deadline's.
    pub(super) fn is_to_blame(&self, failure: Failure, late: bool) -> bool {
        match failure {
            Failure::Unfinished => false,
            Failure::Timeout | Failure::ConnectTimeout if late => self.had_half(),
            _ => true,
        }
    }

    /// Whether the try that is under way had at least half of the request's time.
    fn had_half(&self) -> bool {
        let (Some(asked), Some(deadline)) = (self.tries.asked_at, self.deadline) else {
            return true;
        };
        asked.elapsed() * 2 >= deadline.saturating_duration_since(self.started)
    }
}
