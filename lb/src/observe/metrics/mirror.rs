//! What becomes of the copies of a route's requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Counter, RouteMetrics};

/// What became of one copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MirrorOutcome {
    /// It was answered, with whatever status.
    Sent,
    /// There was no server, no connection, or no whole head of an answer.
    Failed,
    /// It was never sent: a bound says so, or the request itself did not go whole to a server.
    Dropped,
}

impl MirrorOutcome {
    pub(super) const ALL: [Self; 3] = [Self::Sent, Self::Failed, Self::Dropped];

    /// As it stands in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Failed => "failed",
            Self::Dropped => "dropped",
        }
    }
}

/// The copies of one route's requests.
#[derive(Debug, Default)]
pub(super) struct Mirrored {
    pub(super) outcomes: [Counter; MirrorOutcome::ALL.len()],
    under_way: AtomicUsize,
}

impl RouteMetrics {
    /// Counts a copy that is over.
    pub fn mirrored(&self, outcome: MirrorOutcome) {
        self.mirrored.outcomes[outcome as usize].add(1);
    }

    /// Room for one copy more, unless `most` are under way.
    pub fn begin_mirroring(self: &Arc<Self>, most: usize) -> Option<Mirroring> {
        let before = self.mirrored.under_way.fetch_add(1, Ordering::Relaxed);
        let begun = Mirroring(Arc::clone(self));
        (before < most).then_some(begun)
    }
}

/// A copy that is under way, until this is dropped.
#[must_use = "the copy counts as under way only while this is held"]
pub struct Mirroring(Arc<RouteMetrics>);

impl Mirroring {
    /// Counts what became of it.
    pub fn over(self, outcome: MirrorOutcome) {
        self.0.mirrored(outcome);
    }
}

impl Drop for Mirroring {
    fn drop(&mut self) {
        self.0.mirrored.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_for_so_many_and_it_comes_back() {
        let route = Arc::new(RouteMetrics::default());
        let held: Vec<_> = (0..3).map(|_| route.begin_mirroring(3)).collect();
        assert!(held.iter().all(Option::is_some));
        assert!(route.begin_mirroring(3).is_none());
        drop(held);
        let held: Vec<_> = (0..3).filter_map(|_| route.begin_mirroring(3)).collect();
        assert_eq!(held.len(), 3);
        held.into_iter().for_each(|one| one.over(MirrorOutcome::Sent));
        assert_eq!(route.mirrored.outcomes[0].get(), 3);
    }
}
