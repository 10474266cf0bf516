//! Faults on purpose: requests that wait, or get an error, because the configuration says so.
//!
//! What a service does when its servers are slow or failing is known only once they were. A drill makes them so for a share of the requests,
//! chosen by chance, each on its own. The fault comes first of all that is done for a request that a route takes and that may come: before
//! the cache, before an upstream is chosen. So requests are hit that the cache would have answered, and no server sees one that gets an error.

use lb_config::Fault;

use super::Exchange;
use super::head::RequestHead;
use super::request::Decision;
use crate::reject::Refusal;
use crate::route::Target;

impl Exchange {
    /// What the route's fault does to this request, if it is one that is hit.
    pub(super) fn inject(&mut self, fault: &Fault) -> Option<Decision> {
        if !chance(fault.percent) {
            return None;
        }
        self.injected = true;
        match (fault.delay, fault.abort) {
            (Some(delay), _) => Some(Decision::Delay(delay)),
            (None, Some(status)) => Some(Decision::Refuse(self.refuse(Refusal::Fault(status)))),
            (None, None) => None,
        }
    }

    /// The wait that [`Decision::Delay`] asked for is over.
    pub fn delayed(&mut self, head: &impl RequestHead) -> Decision {
        let snapshot = self.snapshot.clone();
        let route = self.route.map(|index| &snapshot.routes[index].config);
        let next = match (route, route.and_then(|route| route.fault.as_ref()?.abort)) {
            (_, Some(status)) => Err(Refusal::Fault(status)),
            (Some(route), None) => self.act(head, &Target::parse(head.target()), &route.action),
            (None, None) => Err(Refusal::NoRoute),
        };
        next.unwrap_or_else(|refusal| Decision::Refuse(self.refuse(refusal)))
    }
}

/// True so many times in a hundred.
pub(super) fn chance(percent: f64) -> bool {
    rand::random_range(0.0..100.0) < percent
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_is_never_and_always_is_always() {
        assert!((0..10_000).all(|_| chance(100.0) && !chance(0.0)));
        let hits = (0..10_000).filter(|_| chance(10.0)).count();
        assert!(hits.abs_diff(1_000) < 200, "{hits}");
    }
}
