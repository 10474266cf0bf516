//! A server, as one configuration has it, with a view of its live state.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lb_config::{Balance, PassiveHealth};

use super::ResolvedAddress;
use super::breaker::Pass;
use super::check::{Check, CheckReport, Status};
use super::circuit::Phase;
use super::limit::Heard;
use super::orders::Order;
use super::pool::Pool;
use super::resolve::ResolvedServer;
use super::standing::{Duty, Facts, Standing};

/// Tells the servers of one upstream apart, also across configurations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ServerId {
    slot: u32,
    generation: u32,
}

impl ServerId {
    pub(super) fn new(slot: usize, generation: u32) -> Self {
        Self {
            slot: u32::try_from(slot).unwrap_or(u32::MAX),
            generation,
        }
    }

    pub(super) fn slot(self) -> usize {
        self.slot as usize
    }

    pub(super) fn generation(self) -> u32 {
        self.generation
    }
}

/// Whether a server may get requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It passes its checks, or there are none, and it is not ejected.
    Healthy,
    /// It fails its checks.
    Unhealthy,
    /// Its first check has not ended.
    Unchecked,
    /// Its answers failed, and it is out for a while.
    Ejected,
    /// It ends what it has and gets nothing new: an operator wants it so, or it has announced that by itself.
    Draining,
    /// An operator has taken it out.
    Down,
}

impl State {
    /// As it stands in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
            Self::Unchecked => "unchecked",
            Self::Ejected => "ejected",
            Self::Draining => "draining",
            Self::Down => "down",
        }
    }
}

impl From<Facts> for State {
    fn from(facts: Facts) -> Self {
        match facts.standing() {
            Some(Standing::Passing) => Self::Healthy,
            Some(Standing::Unchecked) => Self::Unchecked,
            Some(Standing::Draining) => Self::Draining,
            Some(Standing::Ejected) => Self::Ejected,
            Some(Standing::Failing) => Self::Unhealthy,
            None if facts.duty == Duty::Down => Self::Down,
            None => Self::Draining,
        }
    }
}

/// All that is known about a server at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerStatus {
    /// Whether it may get requests.
    pub state: State,
    /// What an operator wants of it.
    pub duty: Duty,
    /// Its share: an operator's word, else the file's.
    pub weight: u32,
    /// Requests in flight.
    pub in_flight: u32,
    /// How often it was ejected.
    pub ejections: u64,
    /// What is left of an ejection.
    pub ejected_for: Option<Duration>,
    /// Failures charged to it since its last good answer.
    pub consecutive_failures: u32,
    /// The requests at once that it can take, as far as is known; `None`: nobody asks.
    pub concurrency_limit: Option<u32>,
    /// What its checks say; `None`: there are none.
    pub check: Option<CheckReport>,
}

/// What is learned from how long a server takes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Learns {
    /// Its latency, for `balance = "ewma"`.
    pub(super) latency: bool,
    /// How many requests at once it can take.
    pub(super) limit: bool,
}

/// See the module.
pub struct Server {
    id: ServerId,
    name: Arc<str>,
    config: ResolvedServer,
    passive: Option<PassiveHealth>,
    learns: Learns,
    check: Option<Arc<Check>>,
    pool: Arc<Pool>,
}

impl Server {
    pub(super) fn new(pool: &Arc<Pool>, config: ResolvedServer, upstream: &lb_config::Upstream, check: Option<Arc<Check>>) -> Self {
        let (id, name) = (pool.pin(&config.address), config.address.to_string().into());
        Self {
            id,
            name,
            config,
            passive: upstream.passive_health.clone(),
            learns: Learns {
                latency: upstream.balance == Balance::Ewma,
                limit: upstream.adaptive_concurrency,
            },
            check,
            pool: pool.clone(),
        }
    }

    /// Which one it is, among those of its upstream.
    pub fn id(&self) -> ServerId {
        self.id
    }

    /// Where it is.
    pub fn address(&self) -> &ResolvedAddress {
        &self.config.address
    }

    /// Its address as the configuration file writes it: its label in metrics and logs.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// What `Host` says to it where the client named none.
    pub fn host(&self) -> &str {
        match self.config.address {
            ResolvedAddress::Ip(_) => &self.name,
            ResolvedAddress::Unix(_) => "localhost",
        }
    }

    /// The name that its certificate must bear; `None` where TLS is not spoken with it.
    pub fn tls_name(&self) -> Option<&str> {
        self.config.tls_name.as_deref()
    }

    /// The name of its upstream.
    pub fn upstream(&self) -> &Arc<str> {
        self.pool.name()
    }

    /// Its share, as the file has it.
    pub fn weight(&self) -> u32 {
        self.config.weight
    }

    /// Requests at once; `None`: no limit.
    pub fn max_connections(&self) -> Option<NonZeroU32> {
        self.config.max_connections
    }

    /// Whether it is used only while no other is usable.
    pub fn backup(&self) -> bool {
        self.config.backup
    }

    /// Requests in flight, those of earlier configurations included.
    pub fn in_flight(&self) -> u32 {
        self.status_at(Instant::now()).in_flight
    }

    /// Whether it may get requests.
    pub fn state(&self) -> State {
        self.status_at(Instant::now()).state
    }

    /// Whether it is [`State::Healthy`].
    pub fn healthy(&self) -> bool {
        self.state() == State::Healthy
    }

    /// How often it was ejected.
    pub fn ejections(&self) -> u64 {
        self.status_at(Instant::now()).ejections
    }

    /// All that is known about it.
    pub fn status(&self) -> ServerStatus {
        let check = self.check.as_ref().map(|check| check.report());
        ServerStatus {
            check,
            ..self.status_at(Instant::now())
        }
    }

    /// Without the report of its checks, which takes another lock.
    pub(super) fn status_at(&self, now: Instant) -> ServerStatus {
        let status = self.check.as_ref().map_or(Status::Healthy, |check| check.status());
        let glance = self.pool.glance(self.id, status, now);
        ServerStatus {
            state: glance.facts.into(),
            duty: glance.facts.duty,
            weight: glance.weight.unwrap_or(self.config.weight),
            in_flight: glance.in_flight,
            ejections: glance.ejections,
            ejected_for: glance.ejected_for,
            consecutive_failures: glance.consecutive_failures,
            concurrency_limit: self.learns.limit.then_some(glance.limit),
            check: None,
        }
    }

    /// Carries out what an operator wants of it. It holds until the configuration file says something new about this server.
    pub fn order(&self, order: Order) {
        if order.duty == Some(Duty::Ready) {
            // The operator knows better than the server's last word.
            self.pool.retract(self.id);
            if let Some(check) = &self.check {
                check.retract();
            }
        }
        self.pool.order(self.id, order);
        tracing::info!(upstream = %self.pool.name(), server = %self.name, duty = ?order.duty, weight = order.weight, "ordered by hand");
    }

    pub(super) fn check(&self) -> Option<&Arc<Check>> {
        self.check.as_ref()
    }

    pub(super) fn config(&self) -> &ResolvedServer {
        &self.config
    }

    pub(super) fn failed_at(&self, now: Instant) {
        self.pool.failed(self.id, self.passive.as_ref(), now);
    }

    pub(super) fn announced_drain_at(&self, now: Instant) {
        match &self.check {
            Some(check) => check.announce(),
            None => self.pool.announce(self.id, now),
        }
    }

    /// Whether anybody wants to know how fast it is.
    pub(super) fn learns(&self) -> bool {
        self.learns.latency || self.learns.limit
    }

    pub(super) fn observed_at(&self, latency: Duration, heard: Heard, now: Instant) {
        self.pool.observed(self.id, self.learns, heard, latency, now);
    }

    pub(super) fn unanswered_at(&self, after: Duration, now: Instant) {
        self.pool.unanswered(self.id, self.learns, after, now);
    }

    /// A try of the upstream's has come to this.
    pub(super) fn tried_at(&self, pass: &Pass, ok: bool, now: Instant) {
        let name = self.pool.name();
        match pass.tell(ok, now) {
            Some(Phase::Open(_)) => {
                tracing::warn!(upstream = %name, "too many tries fail: the circuit is open");
                self.pool.refuse_waiters();
            }
            Some(_) => tracing::info!(upstream = %name, "a try has succeeded: the circuit is closed"),
            None => {}
        }
    }

    /// `answered`: it was [observed](Self::observed_at).
    pub(super) fn release(&self, succeeded: bool, answered: bool) {
        self.pool.release(self.id, succeeded, answered && self.learns.limit);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.pool.unpin(self.id);
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("upstream", self.pool.name())
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
