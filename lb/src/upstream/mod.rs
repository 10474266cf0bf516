//! Upstreams: servers with their live state, and the right to use them.
//!
//! An [`Upstream`] is what one configuration says about a group of servers, and never changes. Beneath it lies live state, which a
//! configuration only refers to: counts and ejections by the upstream's name and the server's address, health by the address and what is
//! asked. So a reload that keeps a server keeps all that is known about it, and a request that began under one configuration may end
//! under another.
//!
//! From the way in to the way down: a [`Registry`] builds upstreams from [resolved](resolve()) addresses; [`Upstream::pick`] gives a
//! [`Lease`] on a [`Server`]; behind both stands the `pool` with the lock, each configuration's `view` of it, and the
//! algorithms of [`crate::balance`].

mod address;
mod breaker;
mod budget;
mod check;
mod circuit;
mod discovery;
mod eject;
mod epoch;
mod hedge;
mod latency;
mod lease;
mod limit;
mod locked;
mod orders;
mod pool;
mod queue;
mod registry;
mod resolve;
mod server;
mod simulated;
mod slot;
mod slow_start;
mod standing;
mod sticky;
mod view;
mod wanted;

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use address::ResolvedAddress;
pub use breaker::CircuitState;
pub use budget::RetryPermit;
pub use check::{CheckReport, LastCheck, Status as CheckStatus};
pub use discovery::{Discovery, SourceStatus, check_files};
pub use lease::Lease;
pub use limit::Heard;
pub use orders::Order;
pub use queue::{Granted, Place};
pub use registry::Registry;
pub use resolve::{ResolveError, ResolvedUpstream, resolve};
pub use server::{Server, ServerId, ServerStatus, State};
pub use standing::Duty;
pub use sticky::Cookies;
pub use wanted::Wanted;

use breaker::{Pass, Refused};
use hedge::Delay;
use pool::Pool;
use sticky::OwnKey;
use view::{Placed, Plan};

/// Why there is no server for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoServer {
    /// This request has tried every server that could serve it.
    #[error("every server has been tried")]
    AllTried,
    /// No server is healthy.
    #[error("no server is healthy")]
    NoneHealthy,
    /// All that could serve it are at their limit: `max_connections`, or the one that was learned.
    #[error("every server is at its limit")]
    AllFull,
    /// Besides, as many wait as may.
    #[error("the queue is full")]
    QueueFull,
    /// It has waited for a server as long as it may.
    #[error("it has waited for too long")]
    TooLong,
    /// Too many tries of the upstream fail: nobody is asked for a while.
    #[error("the circuit is open")]
    CircuitOpen,
}

impl From<Refused> for NoServer {
    fn from(_: Refused) -> Self {
        NoServer::CircuitOpen
    }
}

/// What comes of lining up.
#[derive(Debug)]
pub enum Entry {
    /// There was a server after all.
    Lease(Lease),
    /// A place in the line.
    Place(Place),
}

/// See the module.
pub struct Upstream {
    config: lb_config::Upstream,
    pool: Arc<Pool>,
    view: u64,
    servers: Vec<Arc<Server>>,
    /// Where the server of a slot stands in `servers`.
    by_slot: Vec<u32>,
    cookies: Option<Cookies>,
    delay: Delay,
}

impl Upstream {
    fn new(config: lb_config::Upstream, pool: Arc<Pool>, servers: Vec<Arc<Server>>, own: &OwnKey) -> Self {
        let placed = |server: &'_ Arc<Server>| server.id().slot();
        let mut by_slot = vec![0; servers.iter().map(|server| placed(server) + 1).max().unwrap_or(0)];
        for (n, server) in (0u32..).zip(&servers) {
            by_slot[placed(server)] = n;
        }
        let placed = |server: &Arc<Server>| Placed {
            slot: placed(server),
            weight: server.weight(),
            limit: server.max_connections().map_or(u32::MAX, NonZeroU32::get),
            backup: server.backup(),
            name: server.name().clone(),
            check: server.check().cloned(),
        };
        let view = pool.open_view(Plan {
            balance: config.balance.clone(),
            panic_percent: config.panic_percent,
            slow_start: slow_start::lasts(&config),
            adaptive: config.adaptive_concurrency,
            servers: servers.iter().map(placed).collect(),
        });
        let cookies = config.sticky.as_ref();
        let cookies = cookies.map(|sticky| Cookies::new(&config.name, sticky, own, &servers));
        Self {
            cookies,
            config,
            pool,
            view,
            servers,
            by_slot,
            delay: Delay::new(Instant::now()),
        }
    }

    /// Its name in routes, metrics and logs.
    pub fn name(&self) -> &Arc<str> {
        &self.config.name
    }

    /// What the file says about it.
    pub fn config(&self) -> &lb_config::Upstream {
        &self.config
    }

    /// Its servers in file order, a host name's addresses in order.
    pub fn servers(&self) -> &[Arc<Server>] {
        &self.servers
    }

    /// The cookies by which clients stay with a server, if they do.
    pub fn cookies(&self) -> Option<&Cookies> {
        self.cookies.as_ref()
    }

    /// Where a server of this upstream stands in [`Upstream::servers`].
    pub fn position(&self, server: &Server) -> usize {
        self.by_slot[server.id().slot()] as usize
    }

    /// Chooses a server and counts the request, in one step.
    ///
    /// # Errors
    /// Why there is none.
    pub fn pick(&self, wanted: &Wanted<'_>) -> Result<Lease, NoServer> {
        self.pick_at(wanted, Instant::now())
    }

    /// As [`Upstream::pick`], at this time.
    ///
    /// # Errors
    /// Why there is none.
    pub fn pick_at(&self, wanted: &Wanted<'_>, now: Instant) -> Result<Lease, NoServer> {
        let pass = self.pool.breaker.admit(now)?;
        let slot = self.pool.take(self.view, wanted, now)?;
        Ok(self.lease_on(slot, pass))
    }

    /// As [`Upstream::pick`], for a request that waits where all are full.
    ///
    /// # Errors
    /// Why there is none; [`NoServer::AllFull`] where the configuration has no queue.
    pub fn line_up(&self, wanted: &Wanted<'_>) -> Result<Entry, NoServer> {
        self.line_up_at(wanted, Instant::now())
    }

    pub(crate) fn line_up_at(&self, wanted: &Wanted<'_>, now: Instant) -> Result<Entry, NoServer> {
        let Some(queue) = &self.config.queue else {
            return self.pick_at(wanted, now).map(Entry::Lease);
        };
        let size = queue.size.get() as usize;
        // Who has to wait passes when there is a server.
        let pass = self.pool.breaker.admit(now)?;
        Ok(match self.pool.take_or_join(self.view, wanted, size, now)? {
            Ok(slot) => Entry::Lease(self.lease_on(slot, pass)),
            Err(ticket) => Entry::Place(Place::new(self.pool.clone(), ticket)),
        })
    }

    /// Whether this is the upstream that the server was handed over in.
    pub fn granted(&self, granted: &Granted) -> bool {
        granted.handed().view == self.view
    }

    /// Takes over a server that was handed to somebody who waited; `None`, and it goes to the next, if that was in another upstream or the
    /// circuit has opened.
    pub fn lease(&self, granted: Granted) -> Option<Lease> {
        if !self.granted(&granted) {
            return None;
        }
        let pass = self.pool.breaker.admit(Instant::now()).ok()?;
        let lease = self.lease_on(granted.handed().slot, pass);
        granted.take_over();
        Some(lease)
    }

    fn lease_on(&self, slot: usize, pass: Option<Pass>) -> Lease {
        Lease::new(self.servers[self.by_slot[slot] as usize].clone(), pass)
    }

    /// How many requests wait for a server; `None`: the configuration has no queue.
    pub fn queued(&self) -> Option<usize> {
        self.config.queue.map(|_| self.pool.queued())
    }

    /// Whether there is a server to send requests to, now or when it is less full.
    pub fn has_server(&self) -> bool {
        self.pool.any_usable(self.view, Instant::now())
    }

    /// Whether there is one, and requests are sent on.
    pub fn takes_requests(&self) -> bool {
        self.has_server() && self.pool.breaker.admits(Instant::now())
    }

    /// What the circuit does; `None`: the configuration in force has none.
    pub fn circuit(&self) -> Option<CircuitState> {
        self.pool.breaker.state()
    }

    /// How long until the circuit lets a request through again; zero where it does already, if to one at a time.
    pub fn circuit_left(&self) -> Duration {
        self.pool.breaker.left(Instant::now())
    }

    /// Whether ejected servers are used because too few others are healthy, and how often that has begun.
    pub fn panics(&self) -> (bool, u64) {
        self.pool.panics(Instant::now())
    }

    /// This is the configuration in force from now on: what it says of a server that it did not say before ends what was ordered there, and those who
    /// wait get its servers.
    fn in_force(&self) {
        let said: HashMap<_, _> = self.servers.iter().map(|server| (server.id().slot(), server.config())).collect();
        self.pool.agree(&said);
        self.pool.breaker.configure(self.config.circuit_breaker);
        self.pool.make_current(self.view);
    }

    /// Counts a request for the retry budget: each once, when it arrives.
    pub fn request_seen(&self) {
        self.request_seen_at(Instant::now());
    }

    pub(crate) fn request_seen_at(&self, now: Instant) {
        self.pool.budget.request_seen(now);
    }

    /// Permission for one retry; `None` when retries are off or the budget is used up.
    pub fn try_retry(&self) -> Option<RetryPermit> {
        self.try_retry_at(Instant::now())
    }

    pub(crate) fn try_retry_at(&self, now: Instant) -> Option<RetryPermit> {
        let retry = self.config.retry.as_ref()?;
        self.pool.budget.try_retry(retry.budget_percent, now)
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.pool.close_view(self.view);
    }
}

impl std::fmt::Debug for Upstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upstream")
            .field("name", self.name())
            .field("servers", &self.servers)
            .finish_non_exhaustive()
    }
}
