//! An upstream without sockets, for [`crate::simulate`]: the same pool, views and algorithms, in a time that somebody else keeps.
//!
//! Two things make a run repeatable: the generator that ties and draws come from starts from a seed, and every function that looks at the
//! clock has a form that is told the time (`…_at`). Nothing is looked up: each server of the configuration is one server. Nothing is asked
//! either: what checks would have found is told, and means what it means.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lb_config::{Address, UpstreamServer};

use super::check::{Check, CheckKey};
use super::pool::Pool;
use super::resolve::ResolvedServer;
use super::sticky::OwnKey;
use super::{ResolvedAddress, Server, Upstream};

impl Upstream {
    /// The upstream that `config` describes, with state of its own; [`Upstream::servers`] are its servers in file order. `start` is the
    /// earliest time that it will be told.
    pub(crate) fn simulated(config: &lb_config::Upstream, seed: u64, start: Instant) -> Self {
        let pool = Arc::new(Pool::seeded(config.name.clone(), start, seed));
        let server = |server: &UpstreamServer| {
            let server = stand_in(server);
            let key = config
                .health_check
                .as_ref()
                .map(|check| CheckKey::new(&server.address, check, None, None));
            let check = key.map(|key| Arc::new(Check::new(key, None, pool.epoch.clone())));
            Arc::new(Server::new(&pool, server, config, check))
        };
        let servers = config.servers.iter().map(server).collect();
        Self::new(config.clone(), pool, servers, &OwnKey::default())
    }

    /// A check of the server at this position has ended.
    pub(crate) fn checked(&self, position: usize, passed: bool) {
        let check = self.servers.get(position).and_then(|server| server.check());
        let (Some(check), Some(config)) = (check, &self.config.health_check) else {
            return;
        };
        let (rise, fall) = (config.rise.get() as usize, config.fall.get() as usize);
        check.note(check.begin(), (!passed).then(|| "down".into()), Duration::ZERO, rise, fall);
    }

    /// What time it is for those who [wait](Upstream::line_up) for a server.
    pub(crate) fn tell_time(&self, now: Instant) {
        self.pool.tell_time(now);
    }
}

/// A server as if it had been looked up.
fn stand_in(server: &UpstreamServer) -> ResolvedServer {
    let address = match &server.address {
        Address::Ip(address) => ResolvedAddress::Ip(*address),
        // What stands in the file tells it from the others, which is all that is asked of it.
        other => ResolvedAddress::Unix(PathBuf::from(other.to_string())),
    };
    ResolvedServer {
        address,
        weight: server.weight,
        max_connections: server.max_connections,
        backup: server.backup,
        tls_name: None,
    }
}
