//! The rule by which a limit follows a server: from what was known and what a window of time has shown to what is known now.
//!
//! Let a server work on up to N requests at once; what comes beyond waits inside of it. By Little's law (1961) `requests = throughput × latency`.
//! Below N more requests bring more throughput at the same latency; above it they bring nothing but latency, until answers come later than
//! anybody waits for them. The rule looks for the knee between the two:
//!
//! - **Gradient.** While answers take up to [`TOLERANCE`] times what is *usual* (what one takes that does not wait for others), the limit
//!   grows by its square root a window; it doubles as long as nothing speaks against it, as in TCP's slow start. Where they take longer, it shrinks in
//!   proportion, to a half at most. That is the rule of Netflix's `Gradient2Limit` and of Envoy's adaptive concurrency filter, and the square root is
//!   Envoy's. What it stands and falls with is what is usual: an average over a long time creeps up under a lasting overload, and the limit with it.
//! - **Trial.** So what is usual is never learned from a server in full use, but measured. From time to time, and whenever it has fallen by half, the limit is
//!   on trial: it is halved again and again until throughput falls as well, by a quarter at least. Then no request waits for another, and what answers take
//!   now is what is usual; times the throughput from before it is N, so that the limit is where it belongs at once.
//!   Envoy drops to 3 requests for that, once a minute; BBR (Cardwell et al., 2016) to 4 packets, every 10 s. Halving ends where it begins to cost
//!   something. It also tells a server that has become slower, but can do as much at once as before, from one that has too much to do.
//! - **Losses.** Timeouts and answers that say "too much" shrink the limit by half their share.
//!
//! Only a window in which the limit was reached may raise it, since what was not tried is not known; and only one in which it was used by half at least
//! may lower it for latency alone, because what few requests take differs by chance.

/// Answers may take so many times what is usual.
const TOLERANCE: f64 = 1.5;
/// The steepest fall of one window.
const HALF: f64 = 0.5;
/// Below this share of the throughput before, no request waits for another one.
const KNEE: f64 = 0.75;
/// Quicker answers are averaged in by this share …
const QUICKER: f64 = 0.25;
/// … and slower ones, of a server in little use, by this one.
const SLOWER: f64 = 0.1;
/// Fewer losses than this share may be chance: they count only where the limit is in use.
const CHANCE: f64 = 0.1;
/// A server gets at least one request at a time: without any, nothing could be learned of it.
pub(super) const LEAST: f64 = 1.0;
/// Where nothing is known.
const START: f64 = 10.0;
/// What nobody reaches.
const MOST: f64 = 1e6;

/// What is known of a server.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Learned {
    /// Requests at once.
    pub(super) limit: f64,
    /// Seconds that an answer takes which waits for no other.
    pub(super) usual: Option<f64>,
    /// Below this the limit doubles.
    steep: f64,
    /// The highest limit since the last trial.
    peak: f64,
    falls: bool,
    trial: Option<Trial>,
}

/// How it was before the limit was halved.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Trial {
    limit: f64,
    /// Answers a second.
    throughput: f64,
}

/// What was seen for some time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Window {
    /// Seconds that good answers took, on average; `None`: there was none.
    pub(super) latency: Option<f64>,
    /// Good answers a second.
    pub(super) throughput: f64,
    /// Requests that waited for an answer, at most.
    pub(super) most: u32,
    /// The share of losses.
    pub(super) lost: f64,
    /// The limit has not been on trial for long.
    pub(super) due: bool,
}

impl Default for Learned {
    fn default() -> Self {
        Self {
            limit: START,
            usual: None,
            steep: f64::INFINITY,
            peak: START,
            falls: false,
            trial: None,
        }
    }
}

impl Learned {
    /// Whether the limit has never had a reason to fall.
    pub(super) fn is_fresh(&self) -> bool {
        self.steep.is_infinite()
    }

    pub(super) fn is_on_trial(&self) -> bool {
        self.trial.is_some()
    }

    /// The rule.
    #[must_use]
    pub(super) fn next(self, window: &Window) -> Self {
        let most = f64::from(window.most);
        let (used, full) = (most >= self.limit * HALF, most >= self.limit.floor());
        if let Some(trial) = self.trial {
            return self.tried(trial, window);
        }
        // Where nothing is known yet, what a full server takes is not what is usual.
        let due = window.due || self.usual.is_none() || self.limit <= self.peak * HALF;
        if due && full && self.limit > LEAST {
            return self.try_less(window.throughput);
        }
        let kept = if used || window.lost >= CHANCE {
            1.0 - window.lost / 2.0
        } else {
            1.0
        };
        let Some(latency) = window.latency else {
            return self.to(self.limit * kept);
        };
        let usual = self.usual(latency, used);
        let gradient = if used {
            (TOLERANCE * usual / latency).clamp(HALF, 1.0)
        } else {
            1.0
        };
        let room = if full && window.lost < CHANCE {
            self.headroom(gradient)
        } else {
            0.0
        };
        let usual = Some(usual);
        Self { usual, ..self }.to(self.limit * (gradient * kept).max(HALF) + room)
    }

    fn try_less(self, throughput: f64) -> Self {
        let limit = self.limit;
        Self {
            trial: Some(Trial { limit, throughput }),
            limit: (limit * HALF).max(LEAST),
            ..self
        }
    }

    /// What comes of a window of a trial: it ends, or the limit is halved once more.
    fn tried(self, trial: Trial, window: &Window) -> Self {
        let fell = window.throughput < KNEE * trial.throughput && window.lost < HALF;
        match window.latency {
            Some(latency) if fell || self.limit <= LEAST => self.found(trial, latency),
            _ if self.limit <= LEAST => self.end(LEAST),
            _ => Self {
                limit: (self.limit * HALF).max(LEAST),
                ..self
            },
        }
    }

    /// What is usual is found, and so is what the server can do at once.
    fn found(self, trial: Trial, latency: f64) -> Self {
        let most = TOLERANCE * trial.throughput * latency;
        let limit = (most + most.sqrt()).min(trial.limit).max(self.limit);
        let usual = Some(latency);
        Self { usual, ..self }.end(limit)
    }

    fn end(self, limit: f64) -> Self {
        Self {
            limit,
            peak: limit,
            trial: None,
            ..self
        }
    }

    fn usual(&self, latency: f64, used: bool) -> f64 {
        match self.usual {
            None => latency,
            Some(usual) if latency < usual => usual + QUICKER * (latency - usual),
            Some(usual) if used => usual,
            Some(usual) => usual + SLOWER * (latency - usual),
        }
    }

    /// What the limit grows by.
    fn headroom(&self, gradient: f64) -> f64 {
        let doubles = gradient >= 1.0 && self.limit < self.steep;
        let double = if doubles { self.limit.min(self.steep - self.limit) } else { 0.0 };
        double.max(self.limit.sqrt())
    }

    fn to(self, limit: f64) -> Self {
        let limit = limit.clamp(LEAST, MOST);
        let falls = limit < self.limit;
        let steep = if falls && !self.falls {
            (self.limit * HALF).max(LEAST)
        } else {
            self.steep
        };
        Self {
            limit,
            falls,
            steep,
            peak: self.peak.max(limit),
            ..self
        }
    }
}
