//! `[upstreams.NAME]`.

use std::num::NonZeroU32;

use super::address::address;
use super::header::host_value;
use super::health::{health_check, passive_health};
use super::hedge::hedge;
use super::sticky::sticky;
use super::tls;
use crate::fields::{Check, Fields};
use crate::model::{Address, Balance, HashOn, Protocol, Retry, RetryOn, Timeouts, Upstream, UpstreamServer};
use crate::problem::Report;
use crate::raw::{BALANCE, PROTOCOL, RETRY, RETRY_ON, SERVER_ENTRY, TIMEOUTS, UPSTREAM};
use crate::read::{self, bad};
use crate::source::Place;
use crate::suggest::nearest;
use crate::tree::{Node, Value};

/// The upstream of this name.
pub(crate) fn upstream(cx: &Check<'_>, node: &Node, name: &str) -> Option<Upstream> {
    let fields = Fields::open(cx, node, &UPSTREAM)?;
    let hash_on = fields.read("hash_on", hash_on);
    let balance = fields.read("balance", |cx, node| {
        read::one_of(cx, node, &BALANCE, |name| balance(name, &hash_on))
    });
    let servers = fields.read("servers", servers);
    let protocol = fields.read("protocol", |cx, node| read::one_of(cx, node, &PROTOCOL, protocol));
    let tls = fields.optional("tls", |cx, node| tls::upstream(cx, node, name));
    let host = fields.optional("host", host_value);
    let verifiable = tls::is_verifiable(&fields, protocol, &tls, &host, &servers);
    let unix = servers.iter().flatten().find(|server| matches!(server.address, Address::Unix(_)));
    let health_check = fields.optional("health_check", |cx, node| health_check(cx, node, unix));
    let passive_health = fields.read("passive_health", |cx, node| read::off_or_table(cx, node, passive_health));
    let panic_percent = fields.integer("panic_percent");
    let timeouts = fields.read("timeouts", timeouts);
    let retry = fields.read("retry", |cx, node| read::off_or_table(cx, node, retry));
    let sticky = fields.optional("sticky", sticky);
    let hedge = fields.optional("hedge", hedge);
    let slow_start = fields.optional("slow_start", read::timeout);
    let keepalive = fields.integer("keepalive");
    Some(Upstream {
        name: name.into(),
        balance: balance.filter(|_| hash_on.is_some())?,
        servers: servers.filter(|_| verifiable)?,
        protocol: protocol?,
        tls: tls?,
        host: host?,
        health_check: health_check?,
        passive_health: passive_health?,
        panic_percent: panic_percent?,
        timeouts: timeouts?,
        retry: retry?,
        sticky: sticky?,
        hedge: hedge?,
        slow_start: slow_start?,
        keepalive: keepalive?,
    })
}

/// An algorithm by its name. A `hash_on` with problems has been reported, so that any other does until it is right.
pub(crate) fn balance(name: &str, hash_on: &Option<HashOn>) -> Option<Balance> {
    match name {
        "least_conn" => Some(Balance::LeastConn),
        "round_robin" => Some(Balance::RoundRobin),
        "random" => Some(Balance::Random),
        "p2c" => Some(Balance::P2c),
        "ewma" => Some(Balance::Ewma),
        "hash" => Some(Balance::Hash(hash_on.clone().unwrap_or(HashOn::ClientIp))),
        "maglev" => Some(Balance::Maglev(hash_on.clone().unwrap_or(HashOn::ClientIp))),
        _ => None,
    }
}

fn protocol(name: &str) -> Option<Protocol> {
    match name {
        "http" => Some(Protocol::Http),
        "https" => Some(Protocol::Https),
        _ => None,
    }
}

fn hash_on(cx: &Check<'_>, node: &Node) -> Option<HashOn> {
    let text = read::text(cx, node)?;
    match text.split_once(':') {
        Some(("header", name)) => return read::header_name(cx, node.at, name).map(HashOn::Header),
        // A cookie's name is a token, as a header's is (RFC 6265 §4.1.1), but its case matters.
        Some(("cookie", name)) => return read::header_name(cx, node.at, name).map(|_| HashOn::Cookie(name.into())),
        _ => {}
    }
    match text.as_str() {
        "client_ip" => Some(HashOn::ClientIp),
        "path" => Some(HashOn::Path),
        _ => {
            let report = Report::at(node.at, format!("unknown hash_on \"{text}\"")).expected("client_ip, path, header:NAME or cookie:NAME");
            cx.report(report.found(&text).did_you_mean(nearest(&text, ["client_ip", "path"])));
            None
        }
    }
}

/// `servers`: none of them twice, and one that takes requests.
fn servers(cx: &Check<'_>, node: &Node) -> Option<Vec<UpstreamServer>> {
    let servers = read::filled_each(cx, node, |cx, node| server(cx, node).map(|server| (server, node.at)))?;
    let mut right = true;
    let known: Vec<_> = servers.iter().flatten().collect();
    for (index, (server, at)) in known.iter().enumerate() {
        if let Some((_, first)) = known[..index].iter().find(|(other, _)| other.address == server.address) {
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

/// Where the first of two stands.
pub(super) fn first_is_at(cx: &Check<'_>, first: Place) -> String {
    format!("the first is at {}", cx.source(first).show(first))
}

/// One of `servers`: an address, or a table.
fn server(cx: &Check<'_>, node: &Node) -> Option<UpstreamServer> {
    match node.value {
        Value::String(_) => Some(UpstreamServer {
            address: address(cx, node)?,
            weight: 1,
            max_connections: None,
            backup: false,
        }),
        Value::Table(_) => {
            let fields = Fields::open(cx, node, &SERVER_ENTRY)?;
            let address = fields.read("address", address);
            let weight = fields.integer("weight");
            // 0 is "no limit", as in nginx and HAProxy.
            let max_connections = fields.integer("max_connections").map(NonZeroU32::new);
            let backup = fields.read("backup", read::boolean);
            Some(UpstreamServer {
                address: address?,
                weight: weight?,
                max_connections: max_connections?,
                backup: backup?,
            })
        }
        _ => {
            cx.wrong_kind(node, "a string with an address, or a table with `address`");
            None
        }
    }
}

fn timeouts(cx: &Check<'_>, node: &Node) -> Option<Timeouts> {
    let fields = Fields::open(cx, node, &TIMEOUTS)?;
    let [connect, read, write, idle] = ["connect", "read", "write", "idle"].map(|name| fields.read(name, read::timeout));
    let request = fields.optional("request", read::timeout);
    Some(Timeouts {
        connect: connect?,
        read: read?,
        write: write?,
        idle: idle?,
        request: request?,
    })
}

fn retry(cx: &Check<'_>, node: &Node) -> Option<Retry> {
    let fields = Fields::open(cx, node, &RETRY)?;
    let attempts = fields.count("attempts");
    let on = fields.read("on", |cx, node| read::list(cx, node, reason));
    let budget_percent = fields.integer("budget_percent");
    let mut chosen = RetryOn::default();
    on?.into_iter().for_each(|set| set(&mut chosen));
    Some(Retry {
        attempts: attempts?,
        on: chosen,
        budget_percent: budget_percent?,
    })
}

/// One of `retry.on`, as what it switches on.
fn reason(cx: &Check<'_>, node: &Node) -> Option<fn(&mut RetryOn)> {
    if let Value::Integer(status) = node.value {
        cx.report(
            bad(node, RETRY_ON.what, &status.to_string())
                .expected("a string")
                .help(format!("write \"{status}\"")),
        );
        return None;
    }
    read::one_of(cx, node, &RETRY_ON, |name| {
        let set: fn(&mut RetryOn) = match name {
            "connect" => |on| on.connect = true,
            "reset" => |on| on.reset = true,
            "timeout" => |on| on.timeout = true,
            "invalid" => |on| on.invalid = true,
            "502" => |on| on.status_502 = true,
            "503" => |on| on.status_503 = true,
            "504" => |on| on.status_504 = true,
            _ => return None,
        };
        Some(set)
    })
}
