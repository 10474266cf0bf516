//! Who may be used: what is known about each server, folded into one order, as plain data.
//!
//! Four things speak about a server: the operator ([`Duty`]), its checks ([`Status`]), the failures of its answers (an ejection), and the
//! server itself, which may announce that it is about to leave. The operator has the last word: who is off duty does not stand in the
//! order at all. Of the others those that stand best are used, and nobody else, so that each kind is the last resort of those before it.

use super::check::Status;

/// What an operator has a server do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Duty {
    /// It serves, as far as it can.
    #[default]
    Ready,
    /// It ends what it has and gets nothing new.
    Drain,
    /// The same, for good: whoever looks sees that it is meant to be away.
    Down,
}

impl Duty {
    /// As it stands in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Drain => "drain",
            Self::Down => "down",
        }
    }
}

/// How good a server is, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    /// Nothing speaks against it.
    Passing,
    /// Its first check has not ended.
    Unchecked,
    /// It has announced that it is about to leave, and still answers.
    Draining,
    /// Its answers failed. An ejection must never be what leaves no server at all.
    Ejected,
    /// It fails its checks, and is never used.
    Failing,
}

/// What is known about a server that has a share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Facts {
    pub(super) duty: Duty,
    pub(super) status: Status,
    pub(super) ejected: bool,
    /// It has announced a drain by itself, and no check keeps count of that.
    pub(super) announced: bool,
}

impl Facts {
    /// Whether its drain is its own announcement.
    pub(super) fn is_announced(self) -> bool {
        self.announced || self.status == Status::Draining
    }

    /// `None`: it is off duty.
    pub(super) fn standing(self) -> Option<Standing> {
        (self.duty == Duty::Ready).then_some(match self.status {
            Status::Unhealthy => Standing::Failing,
            _ if self.ejected => Standing::Ejected,
            _ if self.is_announced() => Standing::Draining,
            Status::Unchecked => Standing::Unchecked,
            Status::Healthy | Status::Draining => Standing::Passing,
        })
    }

    /// As if it had not been ejected.
    pub(super) fn readmitted(self) -> Self {
        Self { ejected: false, ..self }
    }
}

/// Whether so few of these are healthy that the ejected ones are needed: below `percent`, and some are ejected.
///
/// The fewer servers are left, the more the load that each has to bear, until what was a fault of a few becomes one of all. Below some
/// share it is better to spread requests over doubtful servers than to crush the good ones (Envoy calls it the panic threshold).
pub(super) fn panics(standings: impl Iterator<Item = Standing>, percent: u8) -> bool {
    let (mut total, mut healthy, mut ejected) = (0usize, 0usize, 0usize);
    for standing in standings {
        total += 1;
        healthy += usize::from(standing == Standing::Passing);
        ejected += usize::from(standing == Standing::Ejected);
    }
    ejected > 0 && healthy * 100 < total * usize::from(percent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn facts() -> impl Strategy<Value = Facts> {
        let duty = prop_oneof![Just(Duty::Ready), Just(Duty::Drain), Just(Duty::Down)];
        let status = (0u8..4).prop_map(Status::from_u8);
        (duty, status, any::<bool>(), any::<bool>()).prop_map(|(duty, status, ejected, announced)| Facts {
            duty,
            status,
            ejected,
            announced,
        })
    }

    proptest! {
        #[test]
        fn the_operator_has_the_last_word(facts in facts()) {
            prop_assert_eq!(facts.standing().is_none(), facts.duty != Duty::Ready);
        }

        #[test]
        fn readmission_never_helps_one_that_fails_its_checks_or_is_off_duty(facts in facts()) {
            let readmitted = facts.readmitted().standing();
            prop_assert!(readmitted <= facts.standing());
            if facts.status == Status::Unhealthy {
                prop_assert!(readmitted.is_none_or(|standing| standing == Standing::Failing));
            }
        }

        #[test]
        fn panic_needs_somebody_to_readmit_and_begins_below_the_share(passing in 0usize..9, ejected in 0usize..9, failing in 0usize..9, percent in 0u8..=100) {
            let of = |standing, count| std::iter::repeat_n(standing, count);
            let all = of(Standing::Passing, passing).chain(of(Standing::Ejected, ejected)).chain(of(Standing::Failing, failing));
            let total = passing + ejected + failing;
            let below = total > 0 && (passing as f64) < total as f64 * f64::from(percent) / 100.0;
            prop_assert_eq!(panics(all, percent), ejected > 0 && below);
        }
    }

    #[test]
    fn at_0_percent_nobody_panics() {
        assert!(!panics([Standing::Ejected; 3].into_iter(), 0));
        assert!(panics([Standing::Ejected; 3].into_iter(), 1));
    }
}
