//! `servers` of an upstream, in the configuration or in a file of its own.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::time::Duration;

use super::address::address;
use super::upstream::first_is_at;
use crate::fields::{Check, Fields};
use crate::model::{Address, Protocol, Upstream, UpstreamServer};
use crate::problem::Report;
use crate::raw::{SERVER_ENTRY, SERVERS_FILE};
use crate::read::{self, bad};
use crate::tree::{Node, Value};

/// The longest time between two looks at a name, where nothing else is said.
pub(super) const REFRESH: Duration = Duration::from_secs(30);

/// `servers`: none of them twice, and one that takes requests.
pub(super) fn servers(cx: &Check<'_>, node: &Node) -> Option<Vec<UpstreamServer>> {
    let servers = read::filled_each(cx, node, |cx, node| server(cx, node).map(|server| (server, node.at)))?;
    let mut right = true;
    let known: Vec<_> = servers.iter().flatten().collect();
    for (index, (server, at)) in known.iter().enumerate() {
        if let Some((_, first)) = known[..index].iter().find(|(other, _)| are_same(&other.address, &server.address)) {
            cx.report(Report::at(*at, "the same server twice").help(first_is_at(cx, *first)));
            right = false;
        }
    }
    let servers: Vec<_> = servers.into_iter().collect::<Option<_>>()?;
    if servers.iter().all(|(server, _)| server.weight == 0) {
        cx.report(Report::at(node.at, "every server has the weight 0: none takes requests").expected("a weight above 0 for one of them"));
        right = false;
    }
    right.then(|| servers.into_iter().map(|(server, _)| server).collect())
}

fn are_same(one: &Address, other: &Address) -> bool {
    match (one, other) {
        (Address::Dns(one), Address::Dns(other)) => (&one.name, one.port) == (&other.name, other.port),
        _ => one == other,
    }
}

/// A file of servers of this upstream, by the same rules as in the configuration.
pub(crate) fn file(cx: &Check<'_>, root: &Node, upstream: &Upstream) -> Option<Vec<UpstreamServer>> {
    let fields = Fields::open(cx, root, &SERVERS_FILE)?;
    let servers = fields.read("servers", servers)?;
    let Some(Value::Array(nodes)) = fields.get("servers").map(|node| &node.value) else {
        return None;
    };
    let mut right = true;
    let mut wrong = |node: &Node, why: &str, help: String| {
        right = false;
        cx.report(Report::at(node.at, why).found(cx.source(node.at).slice(node.at)).help(help));
    };
    let name = &upstream.name;
    let by_tls = upstream.protocol == Protocol::Https;
    let checked_port = upstream.health_check.as_ref().and_then(|check| check.port);
    for (server, node) in servers.iter().zip(nodes) {
        match &server.address {
            Address::File(_) => wrong(
                node,
                "a file of servers cannot name another one",
                format!("name it in [upstreams.{name}]"),
            ),
            Address::Unix(_) if checked_port.is_some() => wrong(
                node,
                "a server on a Unix socket has no port to check",
                format!("[upstreams.{name}.health_check] says `port`"),
            ),
            address if by_tls && upstream.tls_name(address).is_none() => wrong(
                node,
                "no name to verify this server's certificate by",
                format!("write `sni` in [upstreams.{name}.tls], or that name as `host`"),
            ),
            _ => {}
        }
    }
    right.then_some(servers)
}

/// One of `servers`: an address, or a table.
fn server(cx: &Check<'_>, node: &Node) -> Option<UpstreamServer> {
    match node.value {
        Value::String(_) => {
            let address = address(cx, node)?;
            mention(cx, node, &address);
            Some(UpstreamServer {
                address,
                weight: 1,
                max_connections: None,
                backup: false,
            })
        }
        Value::Table(_) => entry(cx, node),
        _ => {
            cx.wrong_kind(node, "a string with an address, or a table with `address`");
            None
        }
    }
}

fn entry(cx: &Check<'_>, node: &Node) -> Option<UpstreamServer> {
    let fields = Fields::open(cx, node, &SERVER_ENTRY)?;
    let address = fields.read("address", address);
    let weight = fields.integer("weight");
    // 0 is "no limit", as in nginx and HAProxy.
    let max_connections = fields.integer("max_connections").map(NonZeroU32::new);
    let backup = fields.read("backup", read::boolean);
    let nameserver = fields.optional("nameserver", nameserver);
    let refresh = fields.optional("refresh", refresh);
    let mut address = address?;
    let (others, why): (&[&str], _) = match &address {
        Address::Dns(_) => (&[], ""),
        Address::File(_) => (
            &["weight", "max_connections", "backup", "nameserver", "refresh"],
            "each server of the file has its own",
        ),
        _ => (&["nameserver", "refresh"], "only a dns:// name is looked up while lb runs"),
    };
    let meaningless: Vec<_> = others.iter().filter_map(|name| Some((name, fields.get(name)?))).collect();
    for (name, node) in &meaningless {
        cx.report(Report::at(node.at, format!("`{name}` has no meaning for \"{address}\"")).help(why));
    }
    if !meaningless.is_empty() {
        return None;
    }
    if let Address::Dns(name) = &mut address {
        name.nameserver = nameserver?;
        name.refresh = refresh?.unwrap_or(REFRESH);
    }
    mention(cx, fields.get("address").unwrap_or(node), &address);
    Some(UpstreamServer {
        address,
        weight: weight?,
        max_connections: max_connections?,
        backup: backup?,
    })
}

/// Whoever reads a file of servers may have something to say of it.
fn mention(cx: &Check<'_>, node: &Node, address: &Address) {
    if let Address::File(_) = address {
        cx.mention(address.to_string(), node.at);
    }
}

/// An IP address, with a port where that is not 53.
fn nameserver(cx: &Check<'_>, node: &Node) -> Option<SocketAddr> {
    let text = read::text(cx, node)?;
    let address = text.parse().ok();
    let address = address.or_else(|| Some(SocketAddr::new(text.parse::<IpAddr>().ok()?, 53)));
    let address = address.filter(|address| address.port() != 0);
    if address.is_none() {
        cx.report(bad(node, "address of a name server", &text).expected(r#"an IP address such as "10.0.0.2" or "127.0.0.1:8600""#));
    }
    address
}

fn refresh(cx: &Check<'_>, node: &Node) -> Option<Duration> {
    let refresh = read::duration(cx, node)?;
    if refresh < Duration::from_secs(1) {
        let report = Report::at(node.at, "`refresh` is too short: a name is looked up at most once a second");
        cx.report(report.expected("a duration from \"1s\""));
        return None;
    }
    Some(refresh)
}
