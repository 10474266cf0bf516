//! What a row of passes and failures means.
//!
//! The first result decides at once: a server that has just been added neither waits for `rise` passes nor gets traffic for `fall`
//! failures. From then on it takes `fall` failures in a row to be unhealthy, and `rise` passes in a row to be healthy again.
//!
//! A server may also say by itself that it is about to leave. That takes as many passes to forget as a failure does, and if it does
//! leave, as many failures as ever to conclude that it is gone.

/// What checks have found out about a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum Status {
    /// No check has ended yet.
    #[default]
    Unchecked = 0,
    /// It passes.
    Healthy = 1,
    /// It fails.
    Unhealthy = 2,
    /// It has announced that it is about to leave.
    Draining = 3,
}

impl Status {
    pub(in crate::upstream) fn from_u8(status: u8) -> Self {
        match status {
            1 => Self::Healthy,
            2 => Self::Unhealthy,
            3 => Self::Draining,
            _ => Self::Unchecked,
        }
    }
}

/// Passes and failures in a row, and what follows from them.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tally {
    pub(super) status: Status,
    pub(super) passes: u32,
    pub(super) failures: u32,
}

impl Tally {
    /// Notes a result. The new status, if that changed it.
    pub(super) fn note(&mut self, passed: bool, rise: usize, fall: usize) -> Option<Status> {
        (self.passes, self.failures) = if passed {
            (self.passes.saturating_add(1), 0)
        } else {
            (0, self.failures.saturating_add(1))
        };
        let status = match (self.status, passed) {
            (Status::Unchecked, true) => Status::Healthy,
            (Status::Unchecked, false) => Status::Unhealthy,
            (Status::Unhealthy | Status::Draining, true) if self.passes as usize >= rise => Status::Healthy,
            (Status::Healthy | Status::Draining, false) if self.failures as usize >= fall => Status::Unhealthy,
            (status, _) => status,
        };
        self.turn(status)
    }

    /// Notes that the server is about to leave. The new status, if that changed it.
    pub(super) fn announce(&mut self) -> Option<Status> {
        self.passes = 0;
        self.turn(match self.status {
            Status::Unhealthy => Status::Unhealthy,
            _ => Status::Draining,
        })
    }

    /// Notes that it stays after all. The new status, if that changed it.
    pub(super) fn retract(&mut self) -> Option<Status> {
        self.turn(match self.status {
            Status::Draining => Status::Healthy,
            other => other,
        })
    }

    fn turn(&mut self, status: Status) -> Option<Status> {
        let changed = status != self.status;
        self.status = status;
        changed.then_some(status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn statuses(results: &[bool], rise: usize, fall: usize) -> Vec<Status> {
        let mut tally = Tally::default();
        let noted = results.iter().map(|passed| {
            tally.note(*passed, rise, fall);
            tally.status
        });
        noted.collect()
    }

    #[test]
    fn the_first_result_decides() {
        assert_eq!(statuses(&[true], 9, 9), [Status::Healthy]);
        assert_eq!(statuses(&[false], 9, 9), [Status::Unhealthy]);
    }

    #[test]
    fn later_it_takes_a_row() {
        use Status::{Healthy as H, Unhealthy as U};
        assert_eq!(
            statuses(&[true, false, false, true, false, false, false], 2, 3),
            [H, H, H, H, H, H, U]
        );
        assert_eq!(statuses(&[false, true, false, true, true, false], 2, 3), [U, U, U, U, H, H]);
    }

    #[test]
    fn an_announced_drain_is_forgotten_after_a_row_of_passes_or_ends_as_failed() {
        let mut tally = Tally::default();
        tally.note(true, 2, 3);
        assert_eq!(tally.announce(), Some(Status::Draining));
        assert_eq!(tally.announce(), None, "it is known already");
        assert_eq!(tally.note(true, 2, 3), None);
        tally.announce();
        assert_eq!(tally.note(true, 2, 3), None, "the row begins anew");
        assert_eq!(tally.note(true, 2, 3), Some(Status::Healthy));
        tally.announce();
        let failed: Vec<_> = (0..3).map(|_| tally.note(false, 2, 3)).collect();
        assert_eq!(failed, [None, None, Some(Status::Unhealthy)]);
        assert_eq!(tally.announce(), None, "it is no better for saying so");
    }

    proptest! {
        #[test]
        fn a_status_changes_only_after_a_whole_row(results: Vec<bool>, rise in 1usize..5, fall in 1usize..5) {
            let statuses = statuses(&results, rise, fall);
            for n in 1..statuses.len() {
                if statuses[n] != statuses[n - 1] {
                    let row = if results[n] { rise } else { fall };
                    prop_assert!(n >= row && results[n + 1 - row..=n].iter().all(|result| *result == results[n]));
                }
            }
        }
    }
}
