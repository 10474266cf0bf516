//! `slow_start`: who comes back gets its weight little by little.
//!
//! A server that has just started is slower than it will be: caches are cold, pools of connections empty, code is not compiled yet. If it got
//! its whole share at once, or under `least_conn` everything until it is as busy as the others, it might fail again under it. So its weight
//! grows from nearly nothing to the whole over the configured time, linearly, as with nginx plus and HAProxy.
//!
//! Weights are whole numbers, and a weight of 1 could not grow. Where there is a slow start, all weights are therefore [`SCALE`] times
//! what the file says, at all times: if that came and went, the turns of [smooth weighted round robin](crate::balance), which are debts in
//! weights, would change their worth.
//!
//! Since when a server is back belongs to the server, and survives reloads. How long it takes belongs to the configuration. It is brought up to
//! date when somebody picks, at most once in [`STEP`], and costs nothing while nobody warms up.
//!
//! Not everybody who begins starts slowly. While nobody else is in use, holding back would only refuse requests, or do nothing. When a
//! process starts, all servers are as new as each other; whose first check ends a moment later than another's is not late.

use std::time::{Duration, Instant};

use lb_config::Balance;

use super::slot::Slot;
use super::view::View;

/// In how many steps a weight of 1 grows, and by how much weights are multiplied for that.
pub(super) const SCALE: u32 = 16;
/// How often weights are brought up to date.
pub(super) const STEP: Duration = Duration::from_millis(100);

/// For how long servers start slowly. With the hash algorithms never: a key has one place, and another one for a while would leave both
/// servers colder than before.
pub(super) fn lasts(config: &lb_config::Upstream) -> Option<Duration> {
    let by_weight = !matches!(config.balance, Balance::Hash(_) | Balance::Maglev(_));
    config.slow_start.filter(|_| by_weight)
}

/// The weight at this age, of one that will be `whole` after `lasts`. Never less than 1, so that the server gets something.
pub(super) fn weight(whole: u32, age: Duration, lasts: Duration) -> u32 {
    if age >= lasts {
        return whole;
    }
    // `age < lasts`, so this is below `whole`.
    let grown = u128::from(whole) * age.as_nanos() / lasts.as_nanos();
    u32::try_from(grown).unwrap_or(whole).max(1).min(whole)
}

/// How a server stands in a configuration, as far as that decides whether it comes back one day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Presence {
    /// It is not there, or something speaks against it.
    Out,
    /// Its first check has not ended, while others have passed theirs.
    Waiting,
    /// It may be chosen.
    InUse,
}

/// Where a server is between out and warm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Warmth {
    /// It has been out, or is new where others were in use before.
    away: bool,
    in_use: bool,
    since: Option<Instant>,
}

impl Warmth {
    /// Of a server that is new; `late`: others are in use already.
    pub(super) fn new(late: bool) -> Self {
        Self {
            away: late,
            ..Self::default()
        }
    }

    /// When it came back to others that were in use.
    pub(super) fn since(self) -> Option<Instant> {
        self.since
    }

    /// What becomes of it, seen like this; `others`: somebody else was in use before.
    fn seen(self, presence: Presence, others: bool, now: Instant) -> Self {
        match presence {
            Presence::Out => Self::new(true),
            Presence::Waiting => Self { in_use: false, ..self },
            Presence::InUse if self.away => Self {
                away: false,
                in_use: true,
                since: others.then_some(now),
            },
            Presence::InUse => Self { in_use: true, ..self },
        }
    }
}

/// Looks who has come and gone, after views have worked out who may be used.
pub(super) fn look(slots: &mut [Slot], views: &[View], now: Instant) {
    // Those who are needed so badly that an ejection does not count are needed at once.
    let panic = views.last().is_some_and(|view| view.panic);
    let tier = |slot: usize| views.iter().rev().find_map(|view| view.tier_of(slot)).unwrap_or_default();
    let mut in_use = [false; 2];
    for (n, _) in slots.iter().enumerate().filter(|(_, slot)| slot.warmth.in_use) {
        in_use[tier(n)] = true;
    }
    for (n, slot) in slots.iter_mut().enumerate() {
        let presence = views.iter().map(|view| view.presence(n)).max();
        slot.warmth = slot.warmth.seen(presence.unwrap_or(Presence::Out), in_use[tier(n)] && !panic, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn it_grows_from_nearly_nothing_to_the_whole() {
        let at = |tenths: u32| weight(SCALE, tenths * SECOND, 10 * SECOND);
        assert_eq!([0, 1, 2, 5, 9, 10, 11].map(at), [1, 1, 3, 8, 14, 16, 16]);
        assert_eq!(weight(0, SECOND, 10 * SECOND), 0, "who has no weight gets none");
    }

    #[test]
    fn whoever_was_away_starts_slowly_when_others_were_there() {
        let now = Instant::now();
        let away = Warmth::default().seen(Presence::InUse, true, now).seen(Presence::Out, true, now);
        assert_eq!(away.since(), None);
        let back = away.seen(Presence::InUse, true, now + SECOND);
        assert_eq!(back.since(), Some(now + SECOND));
        assert_eq!(
            back.seen(Presence::InUse, true, now + 2 * SECOND),
            back,
            "it goes on from where it was"
        );
        assert_eq!(away.seen(Presence::InUse, false, now).since(), None, "it is alone");
    }

    #[test]
    fn whose_first_check_takes_a_moment_longer_is_not_late() {
        let now = Instant::now();
        let waits = Warmth::new(false)
            .seen(Presence::InUse, false, now)
            .seen(Presence::Waiting, true, now);
        assert_eq!(waits.seen(Presence::InUse, true, now).since(), None);
        let failed = waits.seen(Presence::Out, true, now);
        assert_eq!(failed.seen(Presence::InUse, true, now).since(), Some(now));
        let late = Warmth::new(true).seen(Presence::Waiting, true, now);
        assert_eq!(late.seen(Presence::InUse, true, now).since(), Some(now), "a new one among others");
    }

    proptest! {
        #[test]
        fn it_never_shrinks_and_is_never_far_from_its_line(whole in 1u32..=65_535 * SCALE, lasts in 1u64..100_000, a in 0u64..100_000, b in 0u64..100_000) {
            let (lasts, a, b) = (Duration::from_millis(lasts), Duration::from_millis(a.min(b)), Duration::from_millis(a.max(b)));
            let at = |age| weight(whole, age, lasts);
            prop_assert!(1 <= at(a) && at(a) <= at(b) && at(b) <= whole);
            let line = f64::from(whole) * (a.as_secs_f64() / lasts.as_secs_f64()).min(1.0);
            prop_assert!((f64::from(at(a)) - line).abs() <= 1.001);
            prop_assert_eq!(at(lasts), whole);
        }

        #[test]
        fn nobody_warms_who_is_not_in_use(steps in prop::collection::vec((0usize..3, any::<bool>()), 1..20), late: bool) {
            let now = Instant::now();
            let mut warmth = Warmth::new(late);
            for (presence, others) in steps {
                let presence = [Presence::Out, Presence::Waiting, Presence::InUse][presence];
                warmth = warmth.seen(presence, others, now);
                prop_assert_eq!(warmth.in_use, presence == Presence::InUse);
                prop_assert!(presence != Presence::Out || warmth == Warmth::new(true));
            }
        }
    }
}
