//! `[upstreams.NAME]`.

use super::header::host_value;
use super::health::{health_check, passive_health};
use super::hedge::hedge;
use super::overload::{circuit_breaker, queue};
use super::servers::servers;
use super::sticky::sticky;
use super::tls;
use crate::fields::{Check, Fields};
use crate::model::{Address, Balance, HashOn, Protocol, Retry, RetryOn, Timeouts, Upstream};
use crate::problem::Report;
use crate::raw::{BALANCE, PROTOCOL, RETRY, RETRY_ON, TIMEOUTS, UPSTREAM};
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
    let queue = fields.optional("queue", queue);
    let circuit_breaker = fields.optional("circuit_breaker", circuit_breaker);
    let adaptive_concurrency = fields.read("adaptive_concurrency", read::boolean);
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
        queue: queue?,
        circuit_breaker: circuit_breaker?,
        adaptive_concurrency: adaptive_concurrency?,
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

/// Where the first of two stands.
pub(super) fn first_is_at(cx: &Check<'_>, first: Place) -> String {
    format!("the first is at {}", cx.source(first).show(first))
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
