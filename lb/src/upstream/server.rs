//! A server, as one configuration has it, with a view of its live state.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lb_config::PassiveHealth;

use super::ResolvedAddress;
use super::check::{Check, CheckReport, Status};
use super::pool::Pool;
use super::resolve::ResolvedServer;

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
}

impl State {
    /// As it stands in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
            Self::Unchecked => "unchecked",
            Self::Ejected => "ejected",
        }
    }
}

/// All that is known about a server at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerStatus {
    /// Whether it may get requests.
    pub state: State,
    /// Requests in flight.
    pub in_flight: u32,
    /// How often it was ejected.
    pub ejections: u64,
    /// What is left of an ejection.
    pub ejected_for: Option<Duration>,
    /// Failures charged to it since its last good answer.
    pub consecutive_failures: u32,
    /// What its checks say; `None`: there are none.
    pub check: Option<CheckReport>,
}

/// See the module.
pub struct Server {
    id: ServerId,
    name: Arc<str>,
    config: ResolvedServer,
    passive: Option<PassiveHealth>,
    check: Option<Arc<Check>>,
    pool: Arc<Pool>,
}

impl Server {
    pub(super) fn new(pool: &Arc<Pool>, config: ResolvedServer, passive: Option<PassiveHealth>, check: Option<Arc<Check>>) -> Self {
        let (id, name) = (pool.pin(&config.address), config.address.to_string().into());
        Self {
            id,
            name,
            config,
            passive,
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

    /// Its share.
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
        let glance = self.pool.glance(self.id, now);
        let state = match self.check.as_ref().map_or(Status::Healthy, |check| check.status()) {
            Status::Unhealthy => State::Unhealthy,
            _ if glance.ejected_for.is_some() => State::Ejected,
            Status::Unchecked => State::Unchecked,
            Status::Healthy => State::Healthy,
        };
        ServerStatus {
            state,
            in_flight: glance.in_flight,
            ejections: glance.ejections,
            ejected_for: glance.ejected_for,
            consecutive_failures: glance.consecutive_failures,
            check: None,
        }
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

    /// What a try has taught about it. Nothing goes by that yet.
    pub(super) fn observed_at(&self, _latency: Duration, _ok: bool, _now: Instant) {}

    pub(super) fn release(&self, succeeded: bool) {
        self.pool.release(self.id, succeeded);
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
