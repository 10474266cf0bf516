//! An upstream without sockets, for [`crate::simulate`]: the same pool, views and algorithms, in a time that somebody else keeps.
//!
//! Two things make a run repeatable: the generator that ties and draws come from starts from a seed, and every function that looks at the
//! clock has a form that is told the time (`…_at`). Nothing is looked up and nothing is checked: each server of the configuration is one
//! server, and healthy as far as checks go.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use lb_config::{Address, UpstreamServer};

use super::pool::Pool;
use super::resolve::ResolvedServer;
use super::{ResolvedAddress, Server, Upstream};

impl Upstream {
    /// The upstream that `config` describes, with state of its own; [`Upstream::servers`] are its servers in file order. `start` is the
    /// earliest time that it will be told.
    pub(crate) fn simulated(config: &lb_config::Upstream, seed: u64, start: Instant) -> Self {
        let pool = Arc::new(Pool::seeded(config.name.clone(), start, seed));
        let servers = config.servers.iter().map(stand_in);
        let server = |server| Arc::new(Server::new(&pool, server, config, None));
        let servers = servers.map(server).collect();
        Self::new(config.clone(), pool, servers)
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
