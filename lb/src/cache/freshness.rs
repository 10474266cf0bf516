//! How long what is stored is good, and for what.
//!
//! A stored response is *fresh* while its age is below its lifetime (RFC 9111 §4.2). Past that it may still be served: for a while after, when
//! its origin or its route says so (RFC 5861), or when a client asks for it (`max-stale`). Whoever says `no-cache`, `max-age` or `min-fresh` in a
//! request wants more than freshness. [`Freshness`], [`Grace`] and [`Demands`] say all of that in numbers, and [`judge_use`] puts them together.

use std::time::{Duration, Instant};

use super::clock::Now;
use super::demands::Demands;

/// How long a stored answer is fresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Freshness {
    /// When it came.
    pub received: Instant,
    /// How old it was then.
    pub initial_age: Duration,
    /// How old it may be. Nothing, where it has to be validated each time.
    pub lifetime: Duration,
}

impl Freshness {
    /// Its age (RFC 9111 §4.2.3).
    pub fn age(&self, now: Now) -> Duration {
        self.initial_age.saturating_add(now.mono.saturating_duration_since(self.received))
    }

    /// What is left of its lifetime; `None` once it is stale.
    pub fn left(&self, now: Now) -> Option<Duration> {
        self.lifetime.checked_sub(self.age(now)).filter(|left| !left.is_zero())
    }

    /// For how long it has been stale.
    pub fn over(&self, now: Now) -> Duration {
        self.age(now).saturating_sub(self.lifetime)
    }
}

/// What a stored answer is good for once it is stale. Seconds, counted from the end of its lifetime.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Grace {
    /// It may be served while it is fetched anew.
    pub while_revalidate: u32,
    /// It may be served where the origin gives no good answer.
    pub if_error: u32,
    /// It may be served to clients who say that they take it.
    pub on_request: bool,
}

impl Grace {
    /// Whether it may be served while it is fetched anew, so long after its lifetime.
    pub fn while_revalidate(&self, over: Duration) -> bool {
        within(over, self.while_revalidate)
    }

    /// Whether it may be served in place of an error, so long after its lifetime.
    pub fn if_error(&self, over: Duration) -> bool {
        within(over, self.if_error)
    }
}

fn within(over: Duration, window: u32) -> bool {
    window > 0 && over <= Duration::from_secs(window.into())
}

/// What may be done with a stored answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// It is served; it stays fresh for so long.
    Fresh(Duration),
    /// It is served, although it has been stale for so long.
    Stale(Duration, Why),
    /// The origin is asked first.
    Ask(Need),
}

/// Why something stale is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// It is being fetched anew.
    WhileRevalidate,
    /// The origin gave no good answer.
    IfError,
    /// The client takes it.
    OnRequest,
}

/// Why the origin is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// It is stale.
    Stale,
    /// The client wants more than freshness.
    Demanded,
}

/// What may be done with a stored answer. `marked`: it counts as stale, however young it is. `failing`: when the origin was asked last, it gave no
/// good answer.
pub fn judge_use(freshness: &Freshness, grace: Grace, marked: bool, failing: bool, demands: Option<&Demands>, now: Now) -> Use {
    let left = if marked { None } else { freshness.left(now) };
    let Some(demands) = demands else {
        return match left {
            Some(left) => Use::Fresh(left),
            None => stale(freshness.over(now), grace, failing),
        };
    };
    let too_old = demands.max_age.is_some_and(|most| freshness.age(now) > Duration::from_secs(most));
    let over = freshness.over(now);
    let takes_it = !marked && grace.on_request && demands.max_stale.is_some_and(|most| over <= Duration::from_secs(most));
    if demands.no_cache || too_old {
        return Use::Ask(Need::Demanded);
    }
    let least = Duration::from_secs(demands.min_fresh.unwrap_or(0));
    match left {
        Some(left) if left >= least => Use::Fresh(left),
        _ if demands.min_fresh.is_some() => Use::Ask(Need::Demanded),
        _ if takes_it => Use::Stale(over, Why::OnRequest),
        _ => stale(over, grace, failing),
    }
}

fn stale(over: Duration, grace: Grace, failing: bool) -> Use {
    if grace.while_revalidate(over) {
        Use::Stale(over, Why::WhileRevalidate)
    } else if failing && grace.if_error(over) {
        Use::Stale(over, Why::IfError)
    } else {
        Use::Ask(Need::Stale)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Received now, `lifetime` to live.
    fn fresh(lifetime: u64) -> (Freshness, Now) {
        let now = Now::read();
        let freshness = Freshness {
            received: now.mono,
            initial_age: Duration::ZERO,
            lifetime: seconds(lifetime),
        };
        (freshness, now)
    }

    const GRACE: Grace = Grace {
        while_revalidate: 10,
        if_error: 20,
        on_request: true,
    };

    fn wants(text: &str) -> Demands {
        let mut demands = Demands::default();
        demands.read(text.as_bytes());
        demands
    }

    #[test]
    fn a_client_may_want_more_than_freshness() {
        let (freshness, now) = fresh(60);
        let at = |text: &str, age: u64| judge_use(&freshness, Grace::default(), false, false, Some(&wants(text)), now + seconds(age));
        assert_eq!(at("max-age=30", 30), Use::Fresh(seconds(30)));
        for (text, age) in [
            ("max-age=30", 31),
            ("max-age=0", 1),
            ("min-fresh=31", 30),
            ("no-cache", 0),
            ("no-cache, max-stale", 0),
        ] {
            assert_eq!(at(text, age), Use::Ask(Need::Demanded), "{text}");
        }
        assert_eq!(at("min-fresh=30", 30), Use::Fresh(seconds(30)));
        assert_eq!(at("min-fresh=1", 60), Use::Ask(Need::Demanded));
        assert_eq!(at("max-stale", 61), Use::Ask(Need::Stale), "nobody allows it");
    }

    #[test]
    fn a_client_may_take_less_than_freshness_where_nobody_forbids_it() {
        let (freshness, now) = fresh(60);
        let at = |text: &str, age: u64| judge_use(&freshness, GRACE, false, false, Some(&wants(text)), now + seconds(age));
        assert_eq!(at("max-stale", 600), Use::Stale(seconds(540), Why::OnRequest));
        assert_eq!(at("max-stale=40", 100), Use::Stale(seconds(40), Why::OnRequest));
        assert_eq!(at("max-stale=39", 100), Use::Ask(Need::Stale));
        assert_eq!(at("max-age=30, max-stale=40", 100), Use::Ask(Need::Demanded));
        assert_eq!(at("max-age=30", 65), Use::Ask(Need::Demanded), "not even while it is fetched anew");
    }

    #[test]
    fn what_is_marked_is_stale_however_young() {
        let (freshness, now) = fresh(60);
        let used = |grace, failing| judge_use(&freshness, grace, true, failing, None, now + seconds(1));
        assert_eq!(used(Grace::default(), true), Use::Ask(Need::Stale));
        assert_eq!(used(GRACE, false), Use::Stale(Duration::ZERO, Why::WhileRevalidate));
        let only_errors = Grace {
            while_revalidate: 0,
            ..GRACE
        };
        assert_eq!(used(only_errors, false), Use::Ask(Need::Stale));
        assert_eq!(used(only_errors, true), Use::Stale(Duration::ZERO, Why::IfError));
        let taken = judge_use(&freshness, only_errors, true, false, Some(&wants("max-stale")), now);
        assert_eq!(taken, Use::Ask(Need::Stale));
    }

    proptest! {
        #[test]
        fn staleness_is_served_within_its_windows_only(
            lifetime in 0_u64..100, age in 0_u64..300, while_revalidate in 0_u32..100, if_error in 0_u32..100, failing in any::<bool>()
        ) {
            let (freshness, now) = fresh(lifetime);
            let grace = Grace { while_revalidate, if_error, on_request: true };
            let over = age.saturating_sub(lifetime);
            match judge_use(&freshness, grace, false, failing, None, now + seconds(age)) {
                Use::Fresh(left) => prop_assert_eq!(left, seconds(lifetime - age)),
                Use::Stale(by, why) => {
                    prop_assert_eq!(by, seconds(over));
                    let window = if why == Why::WhileRevalidate { while_revalidate } else { if_error };
                    prop_assert!(age >= lifetime && over <= window.into() && (why == Why::WhileRevalidate || failing));
                }
                Use::Ask(need) => {
                    prop_assert_eq!(need, Need::Stale);
                    prop_assert!(while_revalidate == 0 || over > while_revalidate.into());
                    prop_assert!(!failing || if_error == 0 || over > if_error.into());
                }
            }
        }

        #[test]
        fn demands_only_ever_take_freshness_away(
            lifetime in 0_u64..100, age in 0_u64..200,
            max_age in proptest::option::of(0_u64..200), min_fresh in proptest::option::of(0_u64..200), no_cache in any::<bool>()
        ) {
            let (freshness, now) = fresh(lifetime);
            let demands = Demands { max_age, min_fresh, no_cache, ..Demands::default() };
            let with = judge_use(&freshness, Grace::default(), false, false, Some(&demands), now + seconds(age));
            if let Use::Fresh(left) = with {
                prop_assert!(!no_cache && max_age.is_none_or(|most| age <= most) && min_fresh.is_none_or(|least| left >= seconds(least)));
                prop_assert_eq!(with, judge_use(&freshness, Grace::default(), false, false, None, now + seconds(age)));
            }
        }
    }
}
