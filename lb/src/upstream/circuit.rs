//! When to stop asking an upstream altogether, and when to ask again: the circuit breaker (Nygard, *Release It!*, 2007).
//!
//! Passive health takes out a server that fails. Where all of them fail, for a reason that they share, there is nobody to turn to, and each
//! further request only adds to the trouble and makes its client wait for a failure. So while too many tries of the whole upstream fail, the
//! circuit is open, and requests are refused at once:
//!
//! ```text
//!            error_percent of min_requests fail            `open` is over
//!   closed ------------------------------------> open ----------------------> half-open
//!     ^                                           ^                            |   |
//!     |                                           +-------- its try fails -----+   |
//!     +------------------------------------------------ its try succeeds ---------+
//! ```
//!
//! Half-open, one request at a time is let through as a probe. One that ends without an outcome, because its client has left, makes room for
//! another.
//!
//! Each change of state makes a new round, and a [`Ticket`] is good for the round that it was given in. A slow failure from before the circuit
//! opened can so neither be taken for a probe's, nor open it again after it has closed.
//!
//! The window slides in twentieths: what counts is no older than `window`, and the oldest twentieth of it goes as a whole.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use lb_config::CircuitBreaker;

/// Parts of the window.
const PARTS: u32 = 20;

/// See the module.
#[derive(Debug)]
pub(super) struct Circuit {
    settings: CircuitBreaker,
    phase: Phase,
    round: u64,
    /// In order of time.
    parts: VecDeque<Part>,
}

/// What has happened from this moment on, until the next part begins.
#[derive(Debug)]
struct Part {
    start: Instant,
    tries: u64,
    errors: u64,
}

/// Whether requests pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// All do.
    Closed,
    /// None does, for some time from this moment on.
    Open(Instant),
    /// One at a time does; whether one is under way.
    HalfOpen(bool),
}

/// The right to make one try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticket {
    pub(super) round: u64,
}

impl Circuit {
    /// Closed. Its rounds begin with this one.
    pub(super) fn new(settings: CircuitBreaker, round: u64) -> Self {
        Self {
            settings,
            phase: Phase::Closed,
            round,
            parts: VecDeque::new(),
        }
    }

    pub(super) fn settings(&self) -> &CircuitBreaker {
        &self.settings
    }

    /// What was seen and what is stays; the new settings judge it from now on.
    pub(super) fn set(&mut self, settings: CircuitBreaker) {
        self.settings = settings;
    }

    pub(super) fn phase(&self) -> Phase {
        self.phase
    }

    pub(super) fn round(&self) -> u64 {
        self.round
    }

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.round += 1;
        self.parts.clear();
    }

    /// How long until a probe may pass; zero: one may now, or as soon as another has ended.
    pub(super) fn left(&self, now: Instant) -> Duration {
        match self.phase {
            Phase::Open(since) => self.settings.open.saturating_sub(now.saturating_duration_since(since)),
            Phase::Closed | Phase::HalfOpen(_) => Duration::ZERO,
        }
    }

    /// Whether a request would pass.
    pub(super) fn admits(&self, now: Instant) -> bool {
        match self.phase {
            Phase::Closed | Phase::HalfOpen(false) => true,
            Phase::Open(_) => self.left(now).is_zero(),
            Phase::HalfOpen(true) => false,
        }
    }

    /// Lets a request pass, or not. Whoever passes owes [`Circuit::ended`] or [`Circuit::abandoned`].
    pub(super) fn admit(&mut self, now: Instant) -> Option<Ticket> {
        if !self.admits(now) {
            return None;
        }
        if self.phase != Phase::Closed {
            self.enter(Phase::HalfOpen(true));
        }
        Some(Ticket { round: self.round })
    }

    /// A try has come to this. The phase that begins by it, if one does.
    pub(super) fn ended(&mut self, ticket: Ticket, ok: bool, now: Instant) -> Option<Phase> {
        if ticket.round != self.round {
            return None;
        }
        let next = match self.phase {
            Phase::Closed => {
                self.count(ok, now);
                self.is_too_much().then_some(Phase::Open(now))
            }
            Phase::HalfOpen(true) if ok => Some(Phase::Closed),
            Phase::HalfOpen(true) => Some(Phase::Open(now)),
            // Nobody has a ticket of such a round.
            Phase::HalfOpen(false) | Phase::Open(_) => None,
        };
        if let Some(next) = next {
            self.enter(next);
        }
        next
    }

    /// A try has come to nothing that would tell anything.
    pub(super) fn abandoned(&mut self, ticket: Ticket) {
        if ticket.round == self.round && self.phase == Phase::HalfOpen(true) {
            self.enter(Phase::HalfOpen(false));
        }
    }

    fn count(&mut self, ok: bool, now: Instant) {
        let (window, width) = (self.settings.window, self.settings.window / PARTS);
        let age = |part: &Part| now.saturating_duration_since(part.start);
        while self.parts.front().is_some_and(|part| age(part) >= window) {
            self.parts.pop_front();
        }
        if self.parts.back().is_none_or(|part| age(part) >= width) {
            self.parts.push_back(Part {
                start: now,
                tries: 0,
                errors: 0,
            });
        }
        if let Some(part) = self.parts.back_mut() {
            part.tries += 1;
            part.errors += u64::from(!ok);
        }
    }

    fn is_too_much(&self) -> bool {
        let tries: u64 = self.parts.iter().map(|part| part.tries).sum();
        let errors: u64 = self.parts.iter().map(|part| part.errors).sum();
        tries >= u64::from(self.settings.min_requests.get()) && errors * 100 >= tries * u64::from(self.settings.error_percent)
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use proptest::prelude::*;

    use super::*;

    const SETTINGS: CircuitBreaker = CircuitBreaker {
        error_percent: 50,
        min_requests: NonZeroU32::new(4).unwrap(),
        window: Duration::from_secs(10),
        open: Duration::from_secs(5),
    };

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Tries, one after the other, that all pass.
    fn tries(circuit: &mut Circuit, now: Instant, outcomes: &[bool]) {
        for ok in outcomes {
            let ticket = circuit.admit(now).expect("it passes");
            circuit.ended(ticket, *ok, now);
        }
    }

    fn opened(now: Instant) -> Circuit {
        let mut circuit = Circuit::new(SETTINGS, 0);
        tries(&mut circuit, now, &[false; 4]);
        assert_eq!(circuit.phase(), Phase::Open(now));
        circuit
    }

    #[test]
    fn it_opens_at_the_share_and_not_below() {
        let (now, mut circuit) = (Instant::now(), Circuit::new(SETTINGS, 0));
        tries(&mut circuit, now, &[true, true, true, false, false]);
        assert_eq!(circuit.phase(), Phase::Closed);
        tries(&mut circuit, now, &[false]);
        assert_eq!(circuit.phase(), Phase::Open(now));
        assert_eq!(circuit.admit(now + seconds(5) - Duration::from_nanos(1)), None);
        assert_eq!(circuit.left(now + seconds(2)), seconds(3));
    }

    #[test]
    fn what_is_older_than_the_window_does_not_count() {
        let (now, mut circuit) = (Instant::now(), Circuit::new(SETTINGS, 0));
        tries(&mut circuit, now, &[false; 3]);
        tries(&mut circuit, now + seconds(10), &[false]);
        assert_eq!(circuit.phase(), Phase::Closed);
        tries(&mut circuit, now + seconds(19), &[false; 3]);
        assert_eq!(circuit.phase(), Phase::Open(now + seconds(19)));
    }

    #[test]
    fn a_probe_that_succeeds_closes_it_and_the_window_begins_anew() {
        let now = Instant::now();
        let (mut circuit, later) = (opened(now), now + seconds(5));
        tries(&mut circuit, later, &[true]);
        assert_eq!(circuit.phase(), Phase::Closed);
        tries(&mut circuit, later, &[false; 3]);
        assert_eq!(circuit.phase(), Phase::Closed);
    }

    #[test]
    fn a_probe_that_fails_opens_it_for_as_long_again() {
        let now = Instant::now();
        let (mut circuit, later) = (opened(now), now + seconds(7));
        let probe = circuit.admit(later).expect("a probe");
        assert_eq!(circuit.admit(later), None);
        assert_eq!(
            circuit.ended(probe, false, later + seconds(1)),
            Some(Phase::Open(later + seconds(1)))
        );
        assert!(!circuit.admits(later + seconds(5)));
        assert!(circuit.admits(later + seconds(6)));
    }

    #[test]
    fn a_try_from_before_has_no_say_in_what_comes_after() {
        let (now, mut circuit) = (Instant::now(), Circuit::new(SETTINGS, 0));
        let slow = circuit.admit(now).expect("it passes");
        tries(&mut circuit, now, &[false; 4]);
        let later = now + seconds(5);
        let probe = circuit.admit(later).expect("a probe");
        assert_eq!(circuit.ended(slow, true, later), None);
        circuit.abandoned(slow);
        assert_eq!(circuit.phase(), Phase::HalfOpen(true));
        circuit.abandoned(probe);
        let next = circuit.admit(later).expect("another probe");
        assert_eq!(circuit.ended(probe, false, later), None);
        assert_eq!(circuit.ended(next, true, later), Some(Phase::Closed));
    }

    #[test]
    fn other_settings_hold_at_once() {
        let now = Instant::now();
        let mut circuit = opened(now);
        circuit.set(CircuitBreaker {
            open: seconds(1),
            ..SETTINGS
        });
        assert!(circuit.admits(now + seconds(1)));
    }

    #[derive(Debug, Clone, Copy)]
    enum Step {
        Pass(u64),
        Ask,
        End(usize, bool),
        Leave(usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            (0..3000_u64).prop_map(Step::Pass),
            Just(Step::Ask),
            Just(Step::Ask),
            (any::<usize>(), any::<bool>()).prop_map(|(which, ok)| Step::End(which, ok)),
            any::<usize>().prop_map(Step::Leave),
        ];
        prop::collection::vec(step, 0..300)
    }

    proptest! {
        #[test]
        fn one_probe_at_most_and_there_is_always_another(min in 1..8_u32, error_percent in 1..=100_u8, steps in steps()) {
            let min_requests = NonZeroU32::new(min).unwrap();
            let settings = CircuitBreaker { min_requests, error_percent, ..SETTINGS };
            let (mut now, mut circuit) = (Instant::now(), Circuit::new(settings, 0));
            let mut tickets = Vec::new();
            // Of the phase that it is closed in now.
            let mut seen = 0;
            for step in steps {
                let before = circuit.phase();
                match step {
                    Step::Pass(millis) => now += Duration::from_millis(millis),
                    Step::Ask => tickets.extend(circuit.admit(now)),
                    Step::End(which, ok) if !tickets.is_empty() => {
                        let ticket = tickets.swap_remove(which % tickets.len());
                        seen += u32::from(ticket.round == circuit.round());
                        circuit.ended(ticket, ok, now);
                    }
                    Step::Leave(which) if !tickets.is_empty() => circuit.abandoned(tickets.swap_remove(which % tickets.len())),
                    Step::End(..) | Step::Leave(_) => {}
                }
                let after = circuit.phase();
                if before == Phase::Closed && after != before {
                    prop_assert!(seen >= min, "it opened after {seen} tries of {min}");
                }
                if after != before {
                    seen = 0;
                }
                let probes = tickets.iter().filter(|ticket| ticket.round == circuit.round()).count();
                match after {
                    Phase::Closed => prop_assert!(circuit.admits(now)),
                    Phase::Open(_) => prop_assert_eq!(probes, 0),
                    Phase::HalfOpen(busy) => prop_assert_eq!(probes, usize::from(busy)),
                }
            }
            tickets.into_iter().for_each(|ticket| circuit.abandoned(ticket));
            prop_assert!(circuit.admit(now + settings.open).is_some());
        }
    }
}
