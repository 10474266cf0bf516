//! Configurations for tests.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use lb_config::{Address, Balance, CheckKind, HealthCheck, PassiveHealth, Protocol, Retry, RetryOn, Timeouts, UpstreamServer};

use super::resolve::{Layout, ResolvedServer};
use super::{Lease, Registry, ResolvedAddress, ResolvedUpstream, Server, ServerId, Upstream, Wanted};

pub(super) fn ip(address: &str) -> ResolvedAddress {
    ResolvedAddress::Ip(address.parse().expect("an address"))
}

pub(super) fn number(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).expect("a number above 0")
}

/// A server at an IP address.
pub(super) fn server(address: &str, weight: u32) -> UpstreamServer {
    UpstreamServer {
        address: Address::Ip(address.parse().expect("an address")),
        weight,
        max_connections: None,
        backup: false,
    }
}

/// Servers 10.0.0.1:80 and so on.
pub(super) fn servers(weights: &[u32]) -> Vec<UpstreamServer> {
    weights
        .iter()
        .enumerate()
        .map(|(n, weight)| server(&format!("10.0.{}.{}:80", n / 250, n % 250 + 1), *weight))
        .collect()
}

/// The upstream `users`: least_conn, no checks, and the defaults beside.
pub(super) fn config(servers: Vec<UpstreamServer>) -> lb_config::Upstream {
    let second = Duration::from_secs(1);
    lb_config::Upstream {
        name: "users".into(),
        balance: Balance::LeastConn,
        servers,
        protocol: Protocol::Http,
        tls: None,
        host: None,
        health_check: None,
        passive_health: Some(PassiveHealth {
            failures: number(5),
            window: 10 * second,
            eject: 10 * second,
            max_ejected_percent: 50,
        }),
        timeouts: Timeouts {
            connect: second,
            read: 30 * second,
            write: 30 * second,
            idle: 60 * second,
            request: None,
        },
        retry: Some(Retry {
            attempts: number(3),
            on: RetryOn::default(),
            budget_percent: 20,
        }),
        queue: None,
        circuit_breaker: None,
        adaptive_concurrency: false,
        sticky: None,
        slow_start: None,
        hedge: None,
        keepalive: 128,
        panic_percent: 0,
    }
}

/// By TCP, rise 2, fall 3.
pub(super) fn health_check(interval_millis: u64) -> HealthCheck {
    let timeout = Duration::from_secs(1);
    HealthCheck {
        kind: CheckKind::Tcp,
        port: None,
        interval: Duration::from_millis(interval_millis),
        timeout,
        rise: number(2),
        fall: number(3),
    }
}

/// What looking up would give, for servers at IP addresses.
pub(super) fn resolved(config: &lb_config::Upstream) -> ResolvedUpstream {
    let resolved = |server: &UpstreamServer| {
        let Address::Ip(address) = server.address else {
            panic!("not an IP address: {server:?}")
        };
        let (weight, max_connections, backup) = (server.weight, server.max_connections, server.backup);
        ResolvedServer {
            address: ResolvedAddress::Ip(address),
            weight,
            max_connections,
            backup,
            tls_name: config.tls_name(&server.address),
        }
    };
    ResolvedUpstream {
        layout: Layout::default(),
        servers: config.servers.iter().map(resolved).collect(),
    }
}

/// Built, with a registry of its own.
pub(super) fn upstream(config: &lb_config::Upstream) -> Arc<Upstream> {
    build(&Registry::new(), config)
}

pub(super) fn build(registry: &Arc<Registry>, config: &lb_config::Upstream) -> Arc<Upstream> {
    registry.build(config, &resolved(config), None)
}

/// A request that has tried these.
pub(super) fn after(tried: &[ServerId]) -> Wanted<'_> {
    Wanted {
        tried,
        ..Wanted::default()
    }
}

/// Takes so many leases.
pub(super) fn leases(upstream: &Upstream, n: usize) -> Vec<Lease> {
    (0..n).map(|_| upstream.pick(&Wanted::default()).expect("a server")).collect()
}

/// How many of these are on each server.
pub(super) fn spread(upstream: &Upstream, leases: &[Lease]) -> Vec<usize> {
    let on = |server: &Server| leases.iter().filter(|lease| lease.server().id() == server.id()).count();
    upstream.servers().iter().map(|server| on(server)).collect()
}

pub(super) fn in_flight(upstream: &Upstream) -> Vec<u32> {
    upstream.servers().iter().map(|server| server.in_flight()).collect()
}

/// Requests one at a time, each answered before the next: how many each server got.
pub(super) fn one_at_a_time(upstream: &Upstream, n: usize) -> Vec<usize> {
    let mut counts = vec![0; upstream.servers().len()];
    for _ in 0..n {
        let lease = upstream.pick(&Wanted::default()).expect("a server");
        let chosen = upstream.servers().iter().position(|server| server.id() == lease.server().id());
        counts[chosen.expect("one of its servers")] += 1;
    }
    counts
}
