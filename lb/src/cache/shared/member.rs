//! One `lb` among those that hear of purges: what it has heard of, and whether it may trust what it stores.
//!
//! This is the reading half of the protocol that [the module](super) describes, without Redis and without a clock: it is told what came and
//! says what follows, so that a test can put it into any order of events.

use std::time::{Duration, Instant};

/// How long a member trusts its lease after it has asked for it. Shorter than [`super::fence::LAPSE`], so that it always gives up first.
pub(super) const HOLD: Duration = Duration::from_millis(1500);

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Member {
    leases: bool,
    /// The life of the log that it follows; empty: none yet, or not any more.
    epoch: String,
    /// The last purge that it has done.
    last: u64,
    /// The last purge in the log, as far as it knows.
    end: u64,
    /// Where the log ended when its lease began: from there on the others wait for it.
    joined: Option<u64>,
}

/// What Redis says to a member that reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Report {
    pub(super) epoch: String,
    /// The last purge in the log.
    pub(super) end: u64,
    /// Whether there was a lease of it all the time since the last report.
    pub(super) kept: bool,
}

/// What follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// It may have missed a purge: what it has stored is to be dropped, and then it has to report again.
    Drop,
    /// What it has stored may be served until then.
    Trust(Instant),
    /// Nothing.
    GoOn,
}

impl Member {
    /// `leases`: it asks for a lease.
    pub(super) fn new(leases: bool) -> Self {
        Self {
            leases,
            epoch: String::new(),
            last: 0,
            end: 0,
            joined: None,
        }
    }

    pub(super) fn epoch(&self) -> &str {
        &self.epoch
    }

    pub(super) fn last(&self) -> u64 {
        self.last
    }

    pub(super) fn leases(&self) -> bool {
        self.leases
    }

    /// Redis has answered its report, which was sent at that moment.
    pub(super) fn reported(&mut self, sent: Instant, report: Report) -> Next {
        if report.epoch != self.epoch {
            // What it drops now was fetched after all purges up to the end, or is dropped.
            self.epoch = report.epoch;
            self.last = report.end;
            self.end = report.end;
            self.joined = None;
            return Next::Drop;
        }
        self.end = report.end;
        if !self.leases {
            return Next::GoOn;
        }
        if !report.kept || self.joined.is_none() {
            self.joined = Some(report.end);
        }
        match self.joined {
            Some(joined) if self.last >= joined => Next::Trust(sent + HOLD),
            _ => Next::GoOn,
        }
    }

    /// A purge of that number has come out of the log. Whether it is the next one; if not, some are missing, and it is cut off.
    pub(super) fn read(&mut self, number: u64) -> bool {
        if number != self.last + 1 {
            self.cut_off();
            return false;
        }
        self.last = number;
        self.end = self.end.max(number);
        true
    }

    /// Nothing has come although it was waited for. Whether that is right; if there should have been something, it is cut off.
    pub(super) fn read_nothing(&mut self) -> bool {
        if self.end > self.last {
            self.cut_off();
            return false;
        }
        true
    }

    fn cut_off(&mut self) {
        self.epoch.clear();
        self.joined = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(epoch: &str, end: u64, kept: bool) -> Report {
        Report {
            epoch: epoch.to_owned(),
            end,
            kept,
        }
    }

    #[test]
    fn it_begins_by_dropping_what_it_has() {
        let now = Instant::now();
        let mut member = Member::new(false);
        assert_eq!(member.reported(now, report("a", 7, false)), Next::Drop);
        assert_eq!((member.last(), member.reported(now, report("a", 7, false))), (7, Next::GoOn));
        assert!(member.read(8) && member.read(9));
        assert!(!member.read(11), "10 is missing");
        assert_eq!(member.reported(now, report("a", 12, false)), Next::Drop);
        assert!(member.read(13));
    }

    #[test]
    fn another_life_of_the_log_cuts_it_off() {
        let now = Instant::now();
        let mut member = Member::new(true);
        assert_eq!(member.reported(now, report("a", 7, false)), Next::Drop);
        assert_eq!(member.reported(now, report("b", 9, false)), Next::Drop);
        assert_eq!(member.last(), 9);
    }

    #[test]
    fn a_log_that_gives_nothing_where_something_should_be_cuts_it_off() {
        let now = Instant::now();
        let mut member = Member::new(false);
        member.reported(now, report("a", 7, false));
        assert!(member.read_nothing());
        member.reported(now, report("a", 8, false));
        assert!(!member.read_nothing());
        assert_eq!(member.reported(now, report("a", 8, false)), Next::Drop);
    }

    #[test]
    fn a_lease_counts_once_all_is_done_that_was_before_it() {
        let now = Instant::now();
        let mut member = Member::new(true);
        member.reported(now, report("a", 7, false));
        assert_eq!(member.reported(now, report("a", 8, false)), Next::GoOn, "purge 8 waits for nobody");
        assert!(member.read(8));
        assert_eq!(
            member.reported(now, report("a", 9, true)),
            Next::Trust(now + HOLD),
            "purge 9 waits for us"
        );
        assert_eq!(
            member.reported(now, report("a", 9, false)),
            Next::GoOn,
            "it was taken away in between"
        );
        assert!(member.read(9));
        assert_eq!(member.reported(now, report("a", 9, true)), Next::Trust(now + HOLD));
    }
}
