//! From the servers that the file names to addresses.
//!
//! A plain host name stands for every address that it has, each a server of its own with the weight and bounds of the name. It is looked
//! up at start and at reload, through the system's resolver, behind the `ServiceDiscovery` trait of pingora-load-balancing. What comes and
//! goes while `lb` runs (`dns://`, `file://`) is a source of [`Discovery`].
//!
//! So there are two steps. [`lay_out`] asks about everything that has to be asked about, once. What it gives, a [`Layout`], is made into
//! servers by [`Layout::servers`], at once and as often as a source has changed.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
use lb_config::{Address, UpstreamServer};
use pingora::{Error, ErrorType};
use pingora_load_balancing::Backend;
use pingora_load_balancing::discovery::ServiceDiscovery;

use super::ResolvedAddress;
use super::discovery::{Discovery, Found, FoundServer, Source, SourceStatus};

/// For one name. The system's resolver may try several times within it.
const LOOK_UP: Duration = Duration::from_secs(10);

/// The servers of an upstream, each at an address; none twice.
pub struct ResolvedUpstream {
    pub(super) layout: Layout,
    pub(super) servers: Vec<ResolvedServer>,
}

/// What an upstream's `servers` stand for, entry by entry.
#[derive(Clone, Default, PartialEq)]
pub(super) struct Layout(Vec<(UpstreamServer, Place)>);

#[derive(Clone)]
enum Place {
    /// At these addresses until the next reload.
    Fixed(Vec<ResolvedAddress>),
    /// Where they are found by now.
    Found(Arc<Source>),
}

impl PartialEq for Place {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Place::Fixed(here), Place::Fixed(there)) => here == there,
            (Place::Found(here), Place::Found(there)) => Arc::ptr_eq(here, there),
            _ => false,
        }
    }
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
pub async fn resolve(config: &lb_config::Upstream, discovery: &Arc<Discovery>) -> Result<ResolvedUpstream, ResolveError> {
    let layout = lay_out(&Arc::new(config.clone()), &config.servers, discovery).await?;
    let servers = layout.servers(config);
    Ok(ResolvedUpstream { layout, servers })
}

impl ResolvedUpstream {
    /// The same upstream where its servers are by now; `None`: where they were.
    pub fn again(&self, config: &lb_config::Upstream) -> Option<ResolvedUpstream> {
        if self.layout.sources().is_empty() {
            return None;
        }
        let servers = self.layout.servers(config);
        (servers != self.servers).then(|| ResolvedUpstream {
            layout: self.layout.clone(),
            servers,
        })
    }

    /// What there is to say of the entries that stand for servers which come and go.
    pub fn sources(&self) -> Vec<SourceStatus> {
        self.layout.sources().iter().map(|source| source.status()).collect()
    }

    /// How many servers there are.
    #[allow(clippy::len_without_is_empty, reason = "nobody asks for that")]
    pub fn len(&self) -> usize {
        self.servers.len()
    }

    /// Who is new here, and who is gone, by address.
    pub fn differs(&self, before: &ResolvedUpstream) -> (Vec<String>, Vec<String>) {
        let names = |one: &Self, other: &Self| {
            let others: HashSet<_> = other.servers.iter().map(|server| &server.address).collect();
            let only = one
                .servers
                .iter()
                .map(|server| &server.address)
                .filter(|address| !others.contains(address));
            only.map(ResolvedAddress::to_string).collect()
        };
        (names(self, before), names(before, self))
    }
}

/// Asks about everything that these entries stand for, as an upstream's `servers` or in a file of its own.
pub(super) fn lay_out<'a>(
    config: &'a Arc<lb_config::Upstream>,
    servers: &'a [UpstreamServer],
    discovery: &'a Arc<Discovery>,
) -> BoxFuture<'a, Result<Layout, ResolveError>> {
    async move {
        let places = join_all(servers.iter().map(|server| place(config, server, discovery))).await;
        let mut layout = Vec::with_capacity(places.len());
        let mut failures = Vec::new();
        for (server, place) in servers.iter().zip(places) {
            match place {
                Ok(place) => layout.push((server.clone(), place)),
                Err(why) => failures.push((server.address.to_string(), why)),
            }
        }
        if failures.is_empty() {
            Ok(Layout(layout))
        } else {
            Err(ResolveError {
                upstream: config.name.clone(),
                servers: failures,
            })
        }
    }
    .boxed()
}

async fn place(config: &Arc<lb_config::Upstream>, server: &UpstreamServer, discovery: &Arc<Discovery>) -> Result<Place, String> {
    match discovery.source(config, &server.address) {
        Some(source) => discovery.prepare(&source).await.map(|()| Place::Found(source)),
        None => addresses(&server.address).await.map(Place::Fixed),
    }
}

impl Layout {
    /// Every source, those that a file names included.
    pub(super) fn sources(&self) -> Vec<Arc<Source>> {
        let mut sources = Vec::new();
        for (_, place) in &self.0 {
            if let Place::Found(source) = place {
                sources.push(source.clone());
                if let Some(Found::Layout(layout)) = source.found().as_deref() {
                    sources.extend(layout.sources());
                }
            }
        }
        sources
    }

    /// The servers as far as they are known now.
    fn servers(&self, config: &lb_config::Upstream) -> Vec<ResolvedServer> {
        let mut gathered = Gathered {
            config,
            servers: Vec::new(),
            seen: HashSet::new(),
        };
        gathered.layout(self);
        gathered.servers
    }
}

struct Gathered<'a> {
    config: &'a lb_config::Upstream,
    servers: Vec<ResolvedServer>,
    seen: HashSet<ResolvedAddress>,
}

impl Gathered<'_> {
    fn layout(&mut self, layout: &Layout) {
        for (entry, place) in &layout.0 {
            match place {
                Place::Fixed(addresses) => addresses
                    .iter()
                    .for_each(|address| self.add(entry, address.clone(), entry.weight, false)),
                Place::Found(source) => match source.found().as_deref() {
                    None => {}
                    Some(Found::Layout(layout)) => self.layout(layout),
                    Some(Found::Servers(found)) => {
                        for (server, weight) in found.iter().zip(shares(entry.weight, found)) {
                            self.add(entry, ResolvedAddress::Ip((server.ip, server.port).into()), weight, server.backup);
                        }
                    }
                },
            }
        }
    }

    fn add(&mut self, entry: &UpstreamServer, address: ResolvedAddress, weight: u32, backup: bool) {
        let config = self.config;
        if !self.seen.insert(address.clone()) {
            tracing::warn!(upstream = %config.name, server = %entry.address, %address, "server found twice, the first entry stands");
            return;
        }
        self.servers.push(ResolvedServer {
            address,
            weight,
            max_connections: entry.max_connections,
            backup: entry.backup || backup,
            tls_name: config.tls_name(&entry.address),
        });
    }
}

/// The weights of what an entry with this weight has found. A record's 0 is the smallest share there is and not none (RFC 2782). Where the
/// products are beyond what a weight can be, all are made smaller by the same factor.
fn shares(entry: u32, found: &[FoundServer]) -> Vec<u32> {
    const MOST: u64 = 65_535;
    let product = |server: &FoundServer| u64::from(entry) * u64::from(server.weight.max(1));
    let largest = found.iter().map(product).max().unwrap_or(0).max(MOST);
    let scaled = |server: &FoundServer| {
        let least = u64::from(entry.min(1));
        u32::try_from((product(server) * MOST / largest).max(least)).unwrap_or(u32::MAX)
    };
    found.iter().map(scaled).collect()
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
        // Sources are found elsewhere.
        Address::Dns(_) | Address::File(_) => Ok(Vec::new()),
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
    use proptest::prelude::*;

    use super::super::fixture::{config, server};
    use super::*;
    use crate::observe::Metrics;

    async fn resolve(config: &lb_config::Upstream) -> Result<Vec<ResolvedServer>, ResolveError> {
        let resolved = super::resolve(config, &Discovery::new(Metrics::new())).await?;
        Ok(resolved.servers)
    }

    fn found(weights: &[u16]) -> Vec<FoundServer> {
        let server = |weight: &u16| FoundServer {
            ip: [10, 0, 0, 1].into(),
            port: 80,
            weight: *weight,
            backup: false,
            host: "a.".into(),
        };
        weights.iter().map(server).collect()
    }

    #[test]
    fn a_record_of_weight_0_has_the_smallest_share() {
        assert_eq!(shares(1, &found(&[0, 1, 7])), [1, 1, 7]);
        assert_eq!(shares(3, &found(&[0, 0])), [3, 3]);
        assert_eq!(shares(0, &found(&[0, 7])), [0, 0]);
        assert_eq!(shares(10, &found(&[0, 6_554, 65_535])), [1, 6_554, 65_535]);
    }

    proptest! {
        #[test]
        fn shares_are_weights_in_the_order_of_the_records(entry in 0_u32..=65_535, weights in prop::collection::vec(any::<u16>(), 1..20)) {
            let shares = shares(entry, &found(&weights));
            for (share, weight) in shares.iter().zip(&weights) {
                prop_assert!(*share <= 65_535 && (*share == 0) == (entry == 0));
                for (other, heavier) in shares.iter().zip(&weights) {
                    prop_assert!(heavier < weight || other >= share);
                }
            }
        }
    }

    fn host(name: &str) -> Address {
        Address::Host(name.into(), 3000)
    }

    #[tokio::test]
    async fn a_host_name_gives_a_server_for_each_address() {
        let mut server = server("10.0.0.1:80", 3);
        server.address = host("localhost");
        server.backup = true;
        let resolved = resolve(&config(vec![server])).await.expect("localhost");
        assert!(!resolved.is_empty());
        for server in &resolved {
            let ResolvedAddress::Ip(address) = &server.address else {
                panic!("no IP address: {server:?}")
            };
            assert!(address.ip().is_loopback() && address.port() == 3000 && server.weight == 3 && server.backup);
        }
        let mut sorted = resolved.clone();
        sorted.sort_by(|a, b| a.address.cmp(&b.address));
        sorted.dedup_by(|a, b| a.address == b.address);
        assert_eq!(sorted, resolved);
    }

    #[tokio::test]
    async fn an_address_that_comes_twice_is_one_server() {
        let mut named = server("10.0.0.1:80", 3);
        named.address = host("127.0.0.9");
        let resolved = resolve(&config(vec![server("127.0.0.9:3000", 2), named])).await.expect("addresses");
        assert_eq!(resolved.len(), 1);
        assert_eq!(resolved[0].weight, 2);
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
