//! Until when a server may trust what is in Redis.
//!
//! A server whose write could not be told to Redis has no way to reach the others but the database: the write's note is in the outbox. So
//! every server reads the outbox a few times a second, tells Redis what it finds there, and may then trust Redis for [`LIFETIME`], counted
//! from when it began to read. A write that Redis could not be told of is answered when that time is over, counted from its commit
//! ([`super::Cache::written`]): by then every server has told Redis itself, or has stopped trusting it.
//!
//! A round is complete when everything that was found has been told *and* removed. While the lease holds, each complete round renews it. A
//! lease that has lapsed comes back only with the second of two complete rounds in a row. That makes a note that nobody can deliver a sign
//! to all: while it lies there, and has done so for [`BLOCKED`], nobody has a lease, and nobody will have one before the note is gone. For
//! let the note be there at some moment, and a server have a lease at that moment or later that was granted by a round from before it. The
//! round began less than `LIFETIME` before that moment, so it found the note, and was not complete before the note was gone. Then the lease
//! held until that moment without it: by a round before, of which the same is true, and so on; or it came back then, by a second round
//! whose first began at most `LIFETIME` earlier, found the note too, and removed it before the second began: so the second one began after
//! that moment. So while Redis is away, the first writes wait for the leases of the others, and later ones only look whether the note is
//! still there.
//!
//! **The limit.** While the primary cannot be reached, the outbox cannot be read. The lease then lives on as long as Redis answers, since
//! else a primary that is away would take the reads along; also when it goes in the midst of a round, but only once before the next complete one: a primary that
//! answers again and again, and then removes nothing, is not away. So two failures at once can show something old: a server that has lost Redis,
//! with Redis there for others, writes, and within the second in which the others would have found its note they lose the primary.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long a complete round is good for.
pub(super) const LIFETIME: Duration = Duration::from_secs(1);

/// What clocks and schedulers may be off by.
pub(super) const MARGIN: Duration = Duration::from_millis(150);

/// A note as old as this, by the clock of whoever has written it, is a sign to all.
pub(super) const BLOCKED: Duration = Duration::from_millis(2_300);

/// A lease. Whoever renews it is one task; whoever looks at it is any.
pub(super) struct Lease {
    born: Instant,
    /// In microseconds since then.
    until: AtomicU64,
}

/// The rounds, as the task that makes them remembers them.
#[derive(Default)]
pub(super) struct Rounds {
    /// When the last round began, if it was complete.
    complete: Option<Instant>,
    /// A round since the last complete one has lost the primary.
    has_lost: bool,
}

impl Lease {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            born: now,
            until: AtomicU64::new(0),
        }
    }

    /// Whether what is in Redis may be used.
    pub(super) fn holds(&self, now: Instant) -> bool {
        self.micros(now) < self.until.load(Ordering::Acquire)
    }

    fn micros(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.born).as_micros()).unwrap_or(u64::MAX)
    }

    fn set(&self, until: Instant) {
        self.until.store(self.micros(until), Ordering::Release);
    }
}

impl Rounds {
    /// A round that began at `began` is complete `now`. Whether the lease holds.
    pub(super) fn complete(&mut self, lease: &Lease, began: Instant, now: Instant) -> bool {
        let second = self
            .complete
            .is_some_and(|first| began.saturating_duration_since(first) <= LIFETIME);
        self.complete = Some(began);
        self.has_lost = false;
        if second || lease.holds(now) {
            lease.set(began + LIFETIME);
        }
        lease.holds(now)
    }

    /// A round was not complete.
    pub(super) fn failed(&mut self) {
        self.complete = None;
    }

    /// The primary is away, and Redis answers. Whoever has no lease gets none by that.
    pub(super) fn primary_away(&mut self, lease: &Lease, now: Instant) {
        self.complete = None;
        if lease.holds(now) {
            lease.set(now + LIFETIME);
        }
    }

    /// The primary answered, and then no longer.
    pub(super) fn primary_lost(&mut self, lease: &Lease, now: Instant) {
        if std::mem::replace(&mut self.has_lost, true) {
            self.failed();
        } else {
            self.primary_away(lease, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(start: Instant, millis: u64) -> Instant {
        start + Duration::from_millis(millis)
    }

    #[test]
    fn the_first_lease_needs_two_complete_rounds_in_a_row() {
        let start = Instant::now();
        let (lease, mut rounds) = (Lease::new(start), Rounds::default());
        assert!(!lease.holds(start));
        assert!(!rounds.complete(&lease, start, at(start, 10)));
        rounds.failed();
        assert!(!rounds.complete(&lease, at(start, 250), at(start, 260)));
        assert!(rounds.complete(&lease, at(start, 500), at(start, 510)));
        assert!(lease.holds(at(start, 1_499)));
        assert!(!lease.holds(at(start, 1_500)), "from the round's beginning on");
    }

    #[test]
    fn two_rounds_far_from_each_other_are_not_in_a_row() {
        let start = Instant::now();
        let (lease, mut rounds) = (Lease::new(start), Rounds::default());
        rounds.complete(&lease, start, at(start, 10));
        assert!(!rounds.complete(&lease, at(start, 1_001), at(start, 1_002)));
        assert!(rounds.complete(&lease, at(start, 1_900), at(start, 1_902)));
    }

    #[test]
    fn a_lease_that_holds_is_renewed_by_each_round_and_lapses_without() {
        let start = Instant::now();
        let (lease, mut rounds) = (Lease::new(start), Rounds::default());
        rounds.complete(&lease, start, start);
        rounds.complete(&lease, at(start, 100), at(start, 100));
        rounds.failed();
        assert!(rounds.complete(&lease, at(start, 600), at(start, 700)));
        rounds.failed();
        // This one ended too late: the lease had lapsed meanwhile.
        assert!(!rounds.complete(&lease, at(start, 1_500), at(start, 1_600)));
        assert!(!lease.holds(at(start, 1_600)));
    }

    #[test]
    fn while_the_primary_is_away_a_lease_lives_on_and_none_begins() {
        let start = Instant::now();
        let (lease, mut rounds) = (Lease::new(start), Rounds::default());
        rounds.primary_away(&lease, start);
        assert!(!lease.holds(start));
        rounds.complete(&lease, start, start);
        rounds.complete(&lease, start, start);
        for millis in (500..5_000).step_by(500) {
            rounds.primary_away(&lease, at(start, millis));
            assert!(lease.holds(at(start, millis + 900)));
        }
        rounds.primary_away(&lease, at(start, 6_000));
        assert!(!lease.holds(at(start, 6_001)));
    }

    #[test]
    fn a_primary_that_is_lost_again_and_again_is_not_away() {
        let start = Instant::now();
        let (lease, mut rounds) = (Lease::new(start), Rounds::default());
        rounds.complete(&lease, start, start);
        rounds.complete(&lease, start, start);
        rounds.primary_lost(&lease, at(start, 500));
        assert!(lease.holds(at(start, 1_400)));
        // Being away in between changes nothing.
        rounds.primary_away(&lease, at(start, 1_000));
        rounds.primary_lost(&lease, at(start, 1_900));
        assert!(!lease.holds(at(start, 2_000)));
        rounds.complete(&lease, at(start, 2_100), at(start, 2_100));
        rounds.complete(&lease, at(start, 2_200), at(start, 2_200));
        rounds.primary_lost(&lease, at(start, 2_300));
        assert!(lease.holds(at(start, 3_200)), "it was all right in between");
    }

    /// What the module's documentation claims of a note that lies there, tried on many histories: rounds of random length begin at random
    /// moments, and find the note from its commit on until somebody has removed it.
    #[test]
    fn while_a_note_has_lain_long_enough_nobody_has_a_lease_from_before() {
        use proptest::prelude::*;
        let history = (
            proptest::collection::vec((0u64..1_200, 1u64..900, any::<bool>()), 1..40),
            0u64..8_000,
            0u64..20_000,
        );
        proptest!(|((steps, commit, gone) in history)| {
            let start = Instant::now();
            let gone = commit + gone;
            let (lease, mut rounds) = (Lease::new(start), Rounds::default());
            let (mut clock, mut grants) = (0, Vec::new());
            for (pause, length, redis_answers) in steps {
                let began = clock + pause;
                clock = began + length;
                if (commit..gone).contains(&began) {
                    if !redis_answers {
                        rounds.failed();
                        continue;
                    }
                    // It is complete when the note is gone, whoever has removed it.
                    clock = clock.max(gone);
                }
                let before = lease.until.load(Ordering::Relaxed);
                rounds.complete(&lease, at(start, began), at(start, clock));
                if lease.until.load(Ordering::Relaxed) != before {
                    grants.push((began, clock));
                }
            }
            for sign in (commit + 2_300..gone).step_by(10) {
                for (began, ended) in &grants {
                    prop_assert!(*began >= sign || began + 1_000 <= sign.max(*ended), "{began} to {ended} was trusted at {sign}");
                }
            }
        });
    }
}
