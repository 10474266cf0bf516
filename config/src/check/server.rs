//! `[server]`, `[limits]` and `[cache]`.

use std::net::SocketAddr;
use std::num::NonZeroUsize;

use super::{redis, tls};
use crate::fields::{Check, Fields};
use crate::interpolate::is_reference;
use crate::model::{AccessLog, Admin, Cache, Coherence, Engine, Limits, LogFormat, LogLevel, LogPath, Secret, Server};
use crate::problem::Report;
use crate::raw::{ACCESS_LOG, ADMIN, CACHE, COHERENCE, ENGINE, LIMITS, LOG_FORMAT, LOG_LEVEL, MAX_THREADS, SERVER};
use crate::read::{self, bad};
use crate::source::Place;
use crate::suggest::nearest;
use crate::tree::{Node, Value};

/// `[server]`.
pub(super) fn server(cx: &Check<'_>, node: &Node) -> Option<Server> {
    let fields = Fields::open(cx, node, &SERVER)?;
    let tls = fields.optional("tls", tls::listeners);
    let listen = listen(&fields);
    let admin = fields.read("admin", admin);
    let threads = fields.read("threads", threads);
    let grace_period = fields.read("grace_period", read::duration);
    let access_log = fields.read("access_log", |cx, node| read::off_or_table(cx, node, access_log));
    let log_level = fields.read("log_level", |cx, node| read::one_of(cx, node, &LOG_LEVEL, log_level));
    let trusted_proxies = fields.read("trusted_proxies", |cx, node| read::list(cx, node, read::network));
    let engine = fields.read("engine", |cx, node| {
        read::one_of(cx, node, &ENGINE, |name| match name {
            "relay" => Some(Engine::Relay),
            "pingora" => Some(Engine::Pingora),
            _ => None,
        })
    });
    let admin_at = fields.get("admin").map(|node| node.at);
    let known: Vec<_> = listen.iter().flatten().flatten().copied().collect();
    twice(cx, &known, admin.as_ref().and_then(Option::as_ref), admin_at);
    let over_tls: Vec<_> = tls.iter().flatten().flatten().filter_map(|entry| entry.listen).collect();
    tls::plain_too(cx, &over_tls, &known, admin.as_ref().and_then(Option::as_ref));
    Some(Server {
        listen: listen?.into_iter().map(|placed| Some(placed?.0)).collect::<Option<_>>()?,
        tls: tls?
            .unwrap_or_default()
            .into_iter()
            .map(|entry| entry.whole)
            .collect::<Option<_>>()?,
        admin: admin?,
        threads: threads?,
        grace_period: grace_period?,
        access_log: access_log?,
        log_level: log_level?,
        trusted_proxies: trusted_proxies?,
        engine: engine?,
    })
}

/// `listen`, which only `tls` can stand in for.
fn listen(fields: &Fields<'_>) -> Option<Vec<Option<(SocketAddr, Place)>>> {
    let tls = fields
        .get("tls")
        .is_some_and(|node| !matches!(&node.value, Value::Array(list) if list.is_empty()));
    match fields.get("listen") {
        Some(node) if tls => read::each(fields.cx, node, placed_socket),
        Some(node) => read::filled_each(fields.cx, node, placed_socket),
        None if tls => Some(Vec::new()),
        None => {
            fields.missing("listen");
            None
        }
    }
}

/// Reports addresses that are listened on twice, the admin address among them. Port 0 is another port each time.
fn twice(cx: &Check<'_>, listen: &[(SocketAddr, Place)], admin: Option<&Admin>, admin_at: Option<Place>) {
    for (index, (address, at)) in listen.iter().enumerate().filter(|(_, (address, _))| address.port() != 0) {
        if let Some((_, first)) = listen[..index].iter().find(|(other, _)| other == address) {
            let report = Report::at(*at, format!("{address} is listened on twice")).found(address.to_string());
            cx.report(report.help(format!("the first is at {}", cx.source(*first).show(*first))));
        } else if admin.is_some_and(|admin| admin.listen == *address) {
            let report =
                Report::at(admin_at.unwrap_or(*at), format!("{address} is the admin address and in `listen`")).found(address.to_string());
            cx.report(report.help("give one of them another port, or set admin = \"off\""));
        }
    }
}

fn placed_socket(cx: &Check<'_>, node: &Node) -> Option<(SocketAddr, Place)> {
    socket(cx, node).map(|address| (address, node.at))
}

/// An IP address and a port to listen on.
pub(super) fn socket(cx: &Check<'_>, node: &Node) -> Option<SocketAddr> {
    let text = read::text(cx, node)?;
    let address = text.parse().ok();
    if address.is_none() {
        let port = text.rsplit(':').next().filter(|port| port.parse::<u16>().is_ok());
        let help = match (text.rsplit_once(':'), port) {
            (Some(("" | "*", _)), Some(port)) => Some(format!("write \"0.0.0.0:{port}\"")),
            (Some(("localhost", _)), Some(port)) => Some(format!("write \"127.0.0.1:{port}\"")),
            (None, Some(port)) => Some(format!("write \"0.0.0.0:{port}\"")),
            _ if text.parse::<std::net::Ipv4Addr>().is_ok() => Some(format!("the port is missing: \"{text}:8080\"")),
            _ if text.trim_matches(['[', ']']).parse::<std::net::Ipv6Addr>().is_ok() => {
                Some(format!("the port is missing: \"[{}]:8080\"", text.trim_matches(['[', ']'])))
            }
            _ => None,
        };
        cx.report(
            bad(node, "address", &text)
                .expected(r#"an IP address and a port, such as "0.0.0.0:8080" or "[::]:8080""#)
                .maybe_help(help),
        );
    }
    address
}

/// `admin`: an address, `"off"`, or a table.
fn admin(cx: &Check<'_>, node: &Node) -> Option<Option<Admin>> {
    match &node.value {
        Value::Table(_) => admin_table(cx, node).map(Some),
        Value::String(text) if cx.expand(node, text)? == "off" => Some(None),
        Value::String(text) if !text.contains([':', '.', '$']) => {
            cx.report(
                bad(node, "admin", text)
                    .expected("an address, \"off\" or a table")
                    .did_you_mean(nearest(text, ["off"])),
            );
            None
        }
        Value::String(_) => {
            let listen = socket(cx, node)?;
            loopback_or_token(cx, node, listen, None).map(Some)
        }
        _ => {
            cx.wrong_kind(node, "an address, \"off\" or a table with `listen` and `token`");
            None
        }
    }
}

fn admin_table(cx: &Check<'_>, node: &Node) -> Option<Admin> {
    let fields = Fields::open(cx, node, &ADMIN)?;
    let listen = fields.read("listen", socket);
    let token = fields.optional("token", token);
    let at = fields.get("listen").unwrap_or(node);
    loopback_or_token(cx, at, listen?, token?)
}

/// Whoever reaches the admin address rules the proxy: so either only this machine does, or who knows the token.
fn loopback_or_token(cx: &Check<'_>, node: &Node, listen: SocketAddr, token: Option<Secret>) -> Option<Admin> {
    if token.is_none() && !listen.ip().is_loopback() {
        let report = Report::at(node.at, format!("{listen} can be reached from elsewhere, and has no token")).found(listen.to_string());
        let help = format!("write admin = {{ listen = \"{listen}\", token = \"${{LB_ADMIN_TOKEN}}\" }}");
        cx.report(report.expected("a loopback address, or a token").help(help));
        return None;
    }
    Some(Admin { listen, token })
}

/// A token must fit into a header; it is never shown.
fn token(cx: &Check<'_>, node: &Node) -> Option<Secret> {
    let token = read::text(cx, node)?;
    if token.is_empty() || !token.bytes().all(|b| b.is_ascii_graphic()) {
        let message = if token.is_empty() {
            "the token is empty"
        } else {
            "the token does not fit into a header"
        };
        cx.report(Report::at(node.at, message).expected("visible ASCII characters without spaces"));
        return None;
    }
    Some(Secret(token))
}

/// `threads`: `"auto"`, or a number.
fn threads(cx: &Check<'_>, node: &Node) -> Option<Option<NonZeroUsize>> {
    let expected = format!("\"auto\" or a whole number from 1 to {MAX_THREADS}");
    match &node.value {
        Value::String(text) => {
            let value = cx.expand(node, text)?;
            if value == "auto" {
                return Some(None);
            }
            if !is_reference(text) || value.parse::<u64>().is_err() {
                cx.report(
                    bad(node, "threads", &value)
                        .expected(expected)
                        .did_you_mean(nearest(&value, ["auto"])),
                );
                return None;
            }
        }
        Value::Integer(_) => {}
        _ => {
            cx.wrong_kind(node, &expected);
            return None;
        }
    }
    let number = read::integer(cx, node, 1..=MAX_THREADS)?;
    Some(NonZeroUsize::new(usize::try_from(number).ok()?))
}

fn access_log(cx: &Check<'_>, node: &Node) -> Option<AccessLog> {
    let fields = Fields::open(cx, node, &ACCESS_LOG)?;
    let path = fields.read("path", log_path);
    let format = fields.read("format", |cx, node| {
        read::one_of(cx, node, &LOG_FORMAT, |name| match name {
            "json" => Some(LogFormat::Json),
            "combined" => Some(LogFormat::Combined),
            _ => None,
        })
    });
    Some(AccessLog {
        path: path?,
        format: format?,
    })
}

fn log_path(cx: &Check<'_>, node: &Node) -> Option<LogPath> {
    match read::filled(cx, node)?.as_str() {
        "stdout" => Some(LogPath::Stdout),
        text @ ("stderr" | "off" | "syslog") => {
            let help = if text == "off" {
                "write access_log = \"off\""
            } else {
                "lb's own log goes to standard error"
            };
            cx.report(
                bad(node, "path", text)
                    .expected("\"stdout\" or a file")
                    .help(format!("{help}; a file of that name is \"./{text}\"")),
            );
            None
        }
        _ => read::file(cx, node).map(LogPath::File),
    }
}

fn log_level(name: &str) -> Option<LogLevel> {
    match name {
        "error" => Some(LogLevel::Error),
        "warn" => Some(LogLevel::Warn),
        "info" => Some(LogLevel::Info),
        "debug" => Some(LogLevel::Debug),
        "trace" => Some(LogLevel::Trace),
        _ => None,
    }
}

/// `[limits]`.
pub(super) fn limits(cx: &Check<'_>, node: &Node) -> Option<Limits> {
    let fields = Fields::open(cx, node, &LIMITS)?;
    let header_timeout = fields.read("header_timeout", read::timeout);
    let body_timeout = fields.read("body_timeout", read::timeout);
    let idle_timeout = fields.read("idle_timeout", read::timeout);
    let max_body = fields.read("max_body", read::size);
    let max_header_bytes = fields.read("max_header_bytes", read::size_above_0);
    let max_headers = fields.integer("max_headers");
    let max_connections = fields.count("max_connections");
    let max_connections_per_ip = fields.integer("max_connections_per_ip").map(NonZeroUsize::new);
    Some(Limits {
        header_timeout: header_timeout?,
        body_timeout: body_timeout?,
        idle_timeout: idle_timeout?,
        max_body: max_body?,
        max_header_bytes: usize::try_from(max_header_bytes?).ok()?,
        max_headers: max_headers?,
        max_connections: max_connections?.try_into().ok()?,
        max_connections_per_ip: max_connections_per_ip?,
    })
}

/// `[cache]`. An object larger than the memory cannot be stored, whatever `max_object` says.
pub(super) fn cache(cx: &Check<'_>, node: &Node) -> Option<Cache> {
    let fields = Fields::open(cx, node, &CACHE)?;
    let memory = fields.read("memory", read::size_above_0);
    let max_object = fields.read("max_object", read::size_above_0);
    let file = fields.optional("file", read::file);
    let redis = fields.optional("redis", redis::redis);
    let coherence = fields.read("coherence", |cx, node| {
        read::one_of(cx, node, &COHERENCE, |name| match name {
            "fast" => Some(Coherence::Fast),
            "strict" => Some(Coherence::Strict),
            _ => None,
        })
    });
    if let (Some(at), Some(None)) = (fields.get("coherence"), &redis) {
        let report = Report::at(at.at, "`coherence` without `redis`: there are no others to agree with");
        cx.report(report.help("add redis = \"redis://HOST:PORT\", or remove coherence"));
    }
    if let (Some(at), Some(Some(_))) = (fields.get("file"), &redis) {
        let report = Report::at(
            at.at,
            "`file` together with `redis`: another lb may have purged what is in the file",
        );
        cx.report(report.help("remove file: what is kept in Redis is there after a restart, too"));
    }
    let memory = memory?;
    Some(Cache {
        memory,
        max_object: max_object?.min(memory),
        file: file?,
        redis: redis?,
        coherence: coherence?,
    })
}
