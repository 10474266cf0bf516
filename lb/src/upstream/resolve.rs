//! From the servers that the file names to addresses.
//!
//! A host name stands for every address that it has, each a server of its own with the weight and bounds of the name. Names are looked
//! up at start and at reload, through the system's resolver, behind the `ServiceDiscovery` trait of pingora-load-balancing, which is
//! where other ways of finding servers come in.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;
use lb_config::Address;
use pingora::{Error, ErrorType};
use pingora_load_balancing::Backend;
use pingora_load_balancing::discovery::ServiceDiscovery;

use super::ResolvedAddress;

/// For one name. The system's resolver may try several times within it.
const LOOK_UP: Duration = Duration::from_secs(10);

/// The servers of an upstream, each at an address; none twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedUpstream {
    pub(super) servers: Vec<ResolvedServer>,
}

/// One server of a [`ResolvedUpstream`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ResolvedServer {
    pub(super) address: ResolvedAddress,
    pub(super) weight: u32,
    pub(super) max_connections: Option<NonZeroU32>,
    pub(super) backup: bool,
    /// The name that its certificate must bear; `None` where TLS is not spoken.
    pub(super) tls_name: Option<Arc<str>>,
}

/// Servers of an upstream that have no address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolveError {
    /// The upstream's name.
    pub upstream: Arc<str>,
    /// Each server as the file has it, and what is wrong.
    pub servers: Vec<(String, String)>,
}

impl fmt::Display for ResolveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, (server, why)) in self.servers.iter().enumerate() {
            let comma = if n > 0 { "; " } else { "" };
            write!(f, "{comma}upstream {}: server {server}: {why}", self.upstream)?;
        }
        Ok(())
    }
}

impl std::error::Error for ResolveError {}

/// Finds the address or addresses of every server; all names are looked up at once, and all that fail are reported.
pub async fn resolve(config: &lb_config::Upstream) -> Result<ResolvedUpstream, ResolveError> {
    let found = join_all(config.servers.iter().map(|server| addresses(&server.address))).await;
    let mut servers = Vec::with_capacity(found.len());
    let mut failures = Vec::new();
    let mut seen = HashSet::new();
    for (server, found) in config.servers.iter().zip(found) {
        match found {
            Err(why) => failures.push((as_written(&server.address), why)),
            Ok(addresses) => {
                for address in addresses {
                    if !seen.insert(address.clone()) {
                        tracing::warn!(upstream = %config.name, server = as_written(&server.address), %address, "server found twice, the first entry stands");
                        continue;
                    }
                    let (weight, max_connections, backup) = (server.weight, server.max_connections, server.backup);
                    servers.push(ResolvedServer {
                        address,
                        weight,
                        max_connections,
                        backup,
                        tls_name: config.tls_name(&server.address),
                    });
                }
            }
        }
    }
    if failures.is_empty() {
        Ok(ResolvedUpstream { servers })
    } else {
        Err(ResolveError {
            upstream: config.name.clone(),
            servers: failures,
        })
    }
}

fn as_written(address: &Address) -> String {
    match address {
        Address::Ip(address) => address.to_string(),
        Address::Host(host, port) => format!("{host}:{port}"),
        Address::Unix(path) => format!("unix:{}", path.display()),
    }
}

async fn addresses(address: &Address) -> Result<Vec<ResolvedAddress>, String> {
    match address {
        Address::Ip(address) => Ok(vec![ResolvedAddress::Ip(*address)]),
        Address::Unix(path) => {
            let address = ResolvedAddress::Unix(path.clone());
            address
                .backend()
                .map_err(|error| format!("not a path that a socket can have: {error}"))?;
            Ok(vec![address])
        }
        Address::Host(host, port) => {
            let found = HostName {
                host: host.clone(),
                port: *port,
            }
            .discover()
            .await;
            let (backends, _) = found.map_err(|error| {
                error
                    .context
                    .map_or_else(|| error.etype.as_str().into(), |context| context.to_string())
            })?;
            let mut addresses: Vec<_> = backends.iter().filter_map(ResolvedAddress::from_backend).collect();
            addresses.sort();
            Ok(addresses)
        }
    }
}

/// All addresses of a host name, as the system's resolver (`/etc/hosts`, DNS) has them now.
struct HostName {
    host: Arc<str>,
    port: u16,
}

#[async_trait]
impl ServiceDiscovery for HostName {
    async fn discover(&self) -> pingora::Result<(BTreeSet<Backend>, HashMap<u64, bool>)> {
        let failed = |why: String| Error::explain(ErrorType::ConnectError, why);
        let asked = tokio::time::timeout(LOOK_UP, tokio::net::lookup_host((&*self.host, self.port))).await;
        let found = asked.map_err(|_| failed(format!("no answer about this host name within {LOOK_UP:?}")))?;
        let found = found.map_err(|error| failed(format!("cannot look up the host name: {error}")))?;
        let backends: BTreeSet<_> = found.filter_map(|address| ResolvedAddress::Ip(address).backend().ok()).collect();
        if backends.is_empty() {
            return Err(failed("the host name has no address".into()));
        }
        Ok((backends, HashMap::new()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{config, server};
    use super::*;

    fn host(name: &str) -> Address {
        Address::Host(name.into(), 3000)
    }

    #[tokio::test]
    async fn a_host_name_gives_a_server_for_each_address() {
        let mut server = server("10.0.0.1:80", 3);
        server.address = host("localhost");
        server.backup = true;
        let resolved = resolve(&config(vec![server])).await.expect("localhost");
        assert!(!resolved.servers.is_empty());
        for server in &resolved.servers {
            let ResolvedAddress::Ip(address) = &server.address else {
                panic!("no IP address: {server:?}")
            };
            assert!(address.ip().is_loopback() && address.port() == 3000 && server.weight == 3 && server.backup);
        }
        let mut sorted = resolved.servers.clone();
        sorted.sort_by(|a, b| a.address.cmp(&b.address));
        sorted.dedup_by(|a, b| a.address == b.address);
        assert_eq!(sorted, resolved.servers);
    }

    #[tokio::test]
    async fn an_address_that_comes_twice_is_one_server() {
        let mut named = server("10.0.0.1:80", 3);
        named.address = host("127.0.0.9");
        let resolved = resolve(&config(vec![server("127.0.0.9:3000", 2), named])).await.expect("addresses");
        assert_eq!(resolved.servers.len(), 1);
        assert_eq!(resolved.servers[0].weight, 2);
    }

    #[tokio::test]
    async fn every_server_without_an_address_is_named_with_its_upstream() {
        let mut servers = vec![server("10.0.0.1:80", 1), server("10.0.0.2:80", 1), server("10.0.0.3:80", 1)];
        servers[0].address = host("no-such-host.invalid");
        servers[2].address = Address::Unix("x".repeat(200).into());
        let error = resolve(&config(servers)).await.expect_err("no addresses");
        assert_eq!(error.servers.len(), 2);
        let text = error.to_string();
        assert!(text.contains("upstream users: server no-such-host.invalid:3000: "), "{text}");
        assert!(text.contains("; upstream users: server unix:xxx"), "{text}");
    }
}
