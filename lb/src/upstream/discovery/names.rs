//! Whom to ask about a name, and which names to ask for.
//!
//! The system's rules are those of `resolv.conf(5)` and `hosts(5)`: a name with fewer dots than `ndots` is first tried below each of the
//! `search` domains, any other first as it is; what `/etc/hosts` has needs no question. Both files may change under a running program
//! (a container joins another network), so they are read again when they have. Where the configuration names a name server, it alone is
//! asked, for the name as it is.
//!
//! Nothing is remembered between two looks: they come at the TTL as it is.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::{Name, Record, RecordType};
use hickory_resolver::system_conf::read_system_conf;
use hickory_resolver::{Hosts, Resolver, TokioResolver};

use crate::watched::Stamp;

/// What the system's rules stand in.
const SYSTEM: [&str; 2] = ["/etc/resolv.conf", "/etc/hosts"];

/// Everybody who can be asked.
#[derive(Default)]
pub(super) struct Names {
    system: Mutex<Option<(Stamps, Arc<Asked>)>>,
    others: Mutex<HashMap<SocketAddr, Arc<Asked>>>,
}

type Stamps = [Option<Stamp>; 2];

/// One who can be asked, and how.
pub(super) struct Asked {
    /// Or why nobody can be asked.
    pub(super) resolver: Result<TokioResolver, String>,
    search: Vec<Name>,
    ndots: usize,
    hosts: Hosts,
}

impl Names {
    /// Whom to ask: this name server, or whom the system asks.
    pub(super) fn of(&self, nameserver: Option<SocketAddr>) -> Arc<Asked> {
        if let Some(address) = nameserver {
            let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
            return others.entry(address).or_insert_with(|| Arc::new(Asked::at(address))).clone();
        }
        let stamps = SYSTEM.map(|path| std::fs::metadata(path).ok().map(Stamp::of));
        let mut system = self.system.lock().unwrap_or_else(PoisonError::into_inner);
        match &*system {
            Some((then, asked)) if *then == stamps => asked.clone(),
            _ => system.insert((stamps, Arc::new(Asked::by_system()))).1.clone(),
        }
    }
}

impl Asked {
    fn at(address: SocketAddr) -> Self {
        let mut connections = vec![ConnectionConfig::udp(), ConnectionConfig::tcp()];
        connections.iter_mut().for_each(|connection| connection.port = address.port());
        let server = NameServerConfig::new(address.ip(), true, connections);
        let mut options = ResolverOpts::default();
        options.timeout = Duration::from_secs(2);
        Self {
            resolver: resolver(ResolverConfig::from_parts(None, Vec::new(), vec![server]), options),
            search: Vec::new(),
            ndots: 0,
            hosts: Hosts::default(),
        }
    }

    fn by_system() -> Self {
        let hosts = Hosts::from_system().unwrap_or_default();
        match read_system_conf() {
            Ok((config, options)) => {
                let search = match config.search() {
                    [] => config.domain().into_iter().cloned().collect(),
                    search => search.to_vec(),
                };
                Self {
                    search,
                    ndots: options.ndots,
                    hosts,
                    resolver: resolver(config, options),
                }
            }
            Err(error) => Self {
                resolver: Err(format!("{}: {error}", SYSTEM[0])),
                search: Vec::new(),
                ndots: 1,
                hosts,
            },
        }
    }

    /// What the hosts file has for a name; where it has anything, nobody is asked.
    pub(super) fn hosts(&self, name: &Name) -> Option<Vec<Record>> {
        let of = |kind| self.hosts.lookup_static_host(&Query::query(name.clone(), kind));
        let found = [RecordType::A, RecordType::AAAA].map(of);
        let records = found.iter().flatten().flat_map(|lookup| lookup.answers().iter().cloned());
        found.iter().any(Option::is_some).then(|| records.collect())
    }

    /// The names to ask for, one after the other until one has something.
    pub(super) fn candidates(&self, name: &str) -> Result<Vec<Name>, String> {
        let name = Name::from_str_relaxed(name).map_err(|error| format!("this is no name in DNS: {error}"))?;
        Ok(candidates(&name, &self.search, self.ndots))
    }
}

fn resolver(config: ResolverConfig, options: ResolverOpts) -> Result<TokioResolver, String> {
    let mut builder = Resolver::builder_with_config(config, TokioRuntimeProvider::default());
    let set = builder.options_mut();
    *set = options;
    set.cache_size = 0;
    // The TTL of an alias counts as well.
    set.preserve_intermediates = true;
    set.use_hosts_file = ResolveHosts::Never;
    builder.build().map_err(|error| error.to_string())
}

fn candidates(name: &Name, search: &[Name], ndots: usize) -> Vec<Name> {
    let mut whole = name.clone();
    whole.set_fqdn(true);
    if name.is_fqdn() {
        return vec![whole];
    }
    let below = |domain: &Name| {
        let mut name = name.clone().append_domain(domain).ok()?;
        name.set_fqdn(true);
        Some(name)
    };
    let mut names: Vec<_> = search.iter().filter_map(below).filter(|name| *name != whole).collect();
    let dots = usize::from(name.num_labels()).saturating_sub(1);
    names.insert(if dots >= ndots { 0 } else { names.len() }, whole);
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tried(name: &str, search: &[&str], ndots: usize) -> Vec<String> {
        let parse = |text: &&str| Name::from_str_relaxed(text).expect("a name");
        let search: Vec<_> = search.iter().map(parse).collect();
        candidates(&parse(&name), &search, ndots).iter().map(Name::to_string).collect()
    }

    #[test]
    fn a_name_is_searched_for_as_the_system_does() {
        assert_eq!(tried("app", &[], 1), ["app."]);
        assert_eq!(
            tried("app", &["a.internal", "b.internal"], 1),
            ["app.a.internal.", "app.b.internal.", "app."]
        );
        assert_eq!(tried("app.x", &["a.internal"], 1), ["app.x.", "app.x.a.internal."]);
        assert_eq!(tried("app.x", &["a.internal"], 5), ["app.x.a.internal.", "app.x."]);
        assert_eq!(tried("app.x.", &["a.internal"], 5), ["app.x."]);
        assert_eq!(tried("_http._tcp.x", &["."], 0), ["_http._tcp.x."]);
    }
}
