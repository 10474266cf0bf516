//! The [circuit](super::circuit) of an upstream, shared by all its requests.
//!
//! What a request has to know is in one word that is read without a lock: whether there is a circuit at all, whether it is closed, and its round.
//! Only outcomes, and requests that find it open, take the lock. It is never held together with the pool's.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lb_config::CircuitBreaker;

use super::circuit::{Circuit, Phase, Ticket};

/// The two lower bits of the word; the round is above them.
const OFF: u64 = 0;
const CLOSED: u64 = 1;
const OPEN: u64 = 2;
const HALF_OPEN: u64 = 3;

/// One for each upstream name; it outlives configurations.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    word: AtomicU64,
    /// `None`: off.
    circuit: Mutex<Option<Circuit>>,
}

impl Breaker {
    fn lock(&self) -> MutexGuard<'_, Option<Circuit>> {
        self.circuit.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with the circuit, if there is one.
    fn with<T>(&self, act: impl FnOnce(&mut Circuit) -> T) -> Option<T> {
        let mut circuit = self.lock();
        let circuit = circuit.as_mut()?;
        let done = act(circuit);
        self.publish(circuit);
        Some(done)
    }

    fn publish(&self, circuit: &Circuit) {
        let mode = match circuit.phase() {
            Phase::Closed => CLOSED,
            Phase::Open(_) => OPEN,
            Phase::HalfOpen(_) => HALF_OPEN,
        };
        self.word.store(circuit.round() << 2 | mode, Ordering::Release);
    }

    fn word(&self) -> (u64, u64) {
        let word = self.word.load(Ordering::Acquire);
        (word >> 2, word & 3)
    }

    /// These settings hold from now on; what was seen stays.
    pub(super) fn configure(&self, settings: Option<CircuitBreaker>) {
        let mut circuit = self.lock();
        match (settings, &mut *circuit) {
            (Some(settings), Some(circuit)) if *circuit.settings() != settings => circuit.set(settings),
            (Some(settings), slot @ None) => {
                // Past what an earlier one has given tickets for.
                let fresh = Circuit::new(settings, self.word().0 + 1);
                self.publish(&fresh);
                *slot = Some(fresh);
            }
            (None, slot @ Some(_)) => {
                self.word.store(self.word().0 << 2 | OFF, Ordering::Release);
                *slot = None;
            }
            _ => {}
        }
    }

    /// Lets a request make a try; `Err`: it may not. `None`: there is nothing to keep count of.
    pub(super) fn admit(self: &Arc<Self>, now: Instant) -> Result<Option<Pass>, Refused> {
        let ticket = match self.word() {
            (_, OFF) => return Ok(None),
            (round, CLOSED) => Ticket { round },
            _ => match self.with(|circuit| circuit.admit(now)) {
                None => return Ok(None),
                Some(ticket) => ticket.ok_or(Refused)?,
            },
        };
        Ok(Some(Pass {
            breaker: self.clone(),
            ticket,
            told: AtomicBool::new(false),
        }))
    }

    /// Whether a request would pass.
    pub(super) fn admits(&self, now: Instant) -> bool {
        matches!(self.word().1, OFF | CLOSED) || self.with(|circuit| circuit.admits(now)).unwrap_or(true)
    }

    /// Whether nobody passes but, when its time has come, a first probe.
    pub(super) fn is_open(&self) -> bool {
        self.word().1 == OPEN
    }

    /// How long until a probe may pass.
    pub(super) fn left(&self, now: Instant) -> Duration {
        self.with(|circuit| circuit.left(now)).unwrap_or_default()
    }

    /// For people; `None`: there is no circuit.
    pub(super) fn state(&self) -> Option<CircuitState> {
        match self.word().1 {
            OFF => None,
            CLOSED => Some(CircuitState::Closed),
            OPEN => Some(CircuitState::Open),
            _ => Some(CircuitState::HalfOpen),
        }
    }
}

/// The circuit is open.
#[derive(Debug)]
pub(super) struct Refused;

/// What a circuit does, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CircuitState {
    /// Requests pass.
    Closed,
    /// They are refused, until a probe may pass.
    Open,
    /// One at a time passes.
    HalfOpen,
}

impl CircuitState {
    /// As the status shows it.
    pub fn as_str(self) -> &'static str {
        match self {
            CircuitState::Closed => "closed",
            CircuitState::Open => "open",
            CircuitState::HalfOpen => "half-open",
        }
    }
}

/// The right to make one try. Dropped without a word, it tells nothing, and another may probe.
#[derive(Debug)]
#[must_use = "a probe is under way only while this is held"]
pub(super) struct Pass {
    breaker: Arc<Breaker>,
    ticket: Ticket,
    told: AtomicBool,
}

impl Pass {
    /// What the try has come to; only the first word counts. The phase that begins by it, if one does.
    pub(super) fn tell(&self, ok: bool, now: Instant) -> Option<Phase> {
        if self.told.swap(true, Ordering::Relaxed) {
            return None;
        }
        self.breaker.with(|circuit| circuit.ended(self.ticket, ok, now)).flatten()
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        // A ticket of a closed circuit owes nothing.
        if !*self.told.get_mut() && self.breaker.word() == (self.ticket.round, HALF_OPEN) {
            self.breaker.with(|circuit| circuit.abandoned(self.ticket));
        }
    }
}
