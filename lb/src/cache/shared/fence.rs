//! Who has to have done a purge before a write is answered.
//!
//! The writing half of the protocol that [the module](super) describes, without Redis and without a clock of its own.
//!
//! Nobody's clock is compared with anybody else's. A lease is a number that its holder renews; here it has lapsed when the same number has been
//! seen for [`LAPSE`], by this end's own monotonic clock. Its holder has stopped to trust it by then, because it counts a shorter time from an
//! earlier moment: from when it asked for it.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

/// How long a lease is waited for that is not renewed.
pub(super) const LAPSE: Duration = Duration::from_secs(2);
/// Two tries that failed and are further apart say nothing of the time between them: Redis may have been there, and given a lease to somebody.
pub(super) const GAP: Duration = Duration::from_secs(1);

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Fence {
    me: String,
    /// The life of the log, and when it was first seen here.
    epoch: Option<(String, Instant)>,
    /// When each lease's number was first seen.
    seen: HashMap<String, (u64, Instant)>,
    waiting: VecDeque<Waiting>,
    /// Since when tries have failed one after the other, and when the last one did.
    away: Option<(Instant, Instant)>,
}

#[derive(Debug)]
struct Waiting {
    ticket: u64,
    epoch: String,
    number: u64,
}

/// A lease as Redis has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lease {
    pub(super) member: String,
    /// Another one at each renewal.
    pub(super) count: u64,
    /// The last purge that its holder has done.
    pub(super) done: u64,
}

impl Fence {
    pub(super) fn new(me: &str) -> Self {
        Self {
            me: me.to_owned(),
            epoch: None,
            seen: HashMap::new(),
            waiting: VecDeque::new(),
            away: None,
        }
    }

    /// Whether a purge waits for others.
    pub(super) fn waits(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// A purge stands in the log under that number.
    pub(super) fn appended(&mut self, now: Instant, epoch: String, number: u64, ticket: u64) {
        self.met(now, &epoch);
        self.waiting.push_back(Waiting { ticket, epoch, number });
    }

    /// Redis has told the leases. The last ticket that is done by now.
    pub(super) fn looked(&mut self, now: Instant, epoch: &str, leases: &[Lease]) -> Option<u64> {
        let since = self.met(now, epoch);
        self.seen.retain(|member, _| leases.iter().any(|lease| lease.member == *member));
        for lease in leases {
            let seen = self.seen.entry(lease.member.clone()).or_insert((lease.count, now));
            if seen.0 != lease.count {
                *seen = (lease.count, now);
            }
        }
        if now < since + LAPSE {
            // There may be leases of the life before, of which nothing is known here.
            return None;
        }
        let mut done = None;
        while let Some(first) = self.waiting.front() {
            let behind = |lease: &Lease| lease.member != self.me && lease.done < first.number;
            if first.epoch == epoch && leases.iter().any(behind) {
                break;
            }
            done = self.waiting.pop_front().map(|first| first.ticket);
        }
        done
    }

    /// The leases that have lapsed: to be taken away from whoever has not renewed them in this very moment.
    pub(super) fn lapsed(&self, now: Instant) -> Vec<(String, u64)> {
        let lapsed = self
            .seen
            .iter()
            .filter(|(member, (_, since))| **member != self.me && now >= *since + LAPSE);
        lapsed.map(|(member, (count, _))| (member.clone(), *count)).collect()
    }

    /// A try to reach Redis has failed. Whether it has been away for so long that nobody can have a lease: then nothing has to be waited for.
    pub(super) fn failed(&mut self, now: Instant) -> bool {
        let since = match self.away {
            Some((since, last)) if now <= last + GAP => since,
            _ => now,
        };
        self.away = Some((since, now));
        let gives_up = now >= since + LAPSE;
        if gives_up {
            self.waiting.clear();
        }
        gives_up
    }

    /// Whether its last try failed, not so long ago that it says nothing.
    #[cfg(test)]
    pub(super) fn is_trying(&self, now: Instant) -> bool {
        self.away.is_some_and(|(_, last)| now <= last + GAP)
    }

    fn met(&mut self, now: Instant, epoch: &str) -> Instant {
        self.away = None;
        match &self.epoch {
            Some((known, since)) if known == epoch => *since,
            _ => {
                self.seen.clear();
                self.epoch = Some((epoch.to_owned(), now));
                now
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(member: &str, count: u64, done: u64) -> Lease {
        Lease {
            member: member.to_owned(),
            count,
            done,
        }
    }

    #[test]
    fn a_purge_waits_for_every_other_lease() {
        let start = Instant::now();
        let mut fence = Fence::new("me");
        assert_eq!(fence.looked(start, "a", &[]), None);
        let now = start + LAPSE;
        fence.appended(now, "a".to_owned(), 5, 50);
        fence.appended(now, "a".to_owned(), 6, 60);
        assert_eq!(
            fence.looked(now, "a", &[lease("me", 1, 0), lease("x", 2, 4), lease("y", 3, 5)]),
            None
        );
        assert_eq!(
            fence.looked(now, "a", &[lease("me", 1, 0), lease("x", 4, 5), lease("y", 5, 6)]),
            Some(50)
        );
        assert_eq!(fence.looked(now, "a", &[lease("me", 1, 0), lease("y", 5, 6)]), Some(60));
        assert!(!fence.waits());
    }

    #[test]
    fn a_lease_lapses_when_it_was_seen_unrenewed_for_long_enough() {
        let start = Instant::now();
        let mut fence = Fence::new("me");
        fence.looked(start, "a", &[lease("me", 1, 0), lease("x", 2, 0)]);
        let later = start + LAPSE;
        fence.looked(later - Duration::from_millis(1), "a", &[lease("me", 1, 0), lease("x", 2, 0)]);
        assert_eq!(fence.lapsed(later - Duration::from_millis(1)), []);
        assert_eq!(fence.lapsed(later), [("x".to_owned(), 2)]);
        fence.looked(later, "a", &[lease("x", 3, 0)]);
        assert_eq!(fence.lapsed(later), []);
    }

    #[test]
    fn leases_of_a_life_before_are_waited_out() {
        let start = Instant::now();
        let mut fence = Fence::new("me");
        fence.looked(start, "a", &[]);
        let now = start + 2 * LAPSE;
        fence.appended(now, "a".to_owned(), 5, 50);
        assert_eq!(fence.looked(now, "b", &[]), None);
        assert_eq!(
            fence.looked(now + LAPSE, "b", &[lease("x", 1, 0)]),
            Some(50),
            "who is in this life has dropped everything"
        );
    }

    #[test]
    fn when_redis_is_away_for_long_enough_nobody_has_a_lease() {
        let now = Instant::now();
        let mut fence = Fence::new("me");
        fence.appended(now, "a".to_owned(), 5, 50);
        let at = |millis| now + Duration::from_millis(millis);
        assert!(!fence.failed(at(0)) && !fence.failed(at(1000)) && !fence.failed(at(1999)));
        assert!(fence.waits());
        assert!(fence.failed(at(2000)) && !fence.waits());
        assert!(!fence.failed(at(3001)), "it may have been there in between");
        assert!(!fence.failed(at(4000)) && !fence.failed(at(5000)) && fence.failed(at(5001)));
    }
}
