//! Addresses of a Redis: `redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE]`, the same with `rediss` over TLS, and the forms for several hosts.

use super::is_host_name;
use crate::fields::Check;
use crate::model::{Redis, RedisKind, Secret};
use crate::problem::Report;
use crate::read;
use crate::tree::Node;

const EXPECTED: &str =
    "redis://HOST:PORT, redis-cluster://HOST:PORT,HOST:PORT or redis-sentinel://HOST:PORT,HOST:PORT/NAME; rediss for TLS";

/// `redis`.
pub(super) fn redis(cx: &Check<'_>, node: &Node) -> Option<Redis> {
    let text = read::filled(cx, node)?;
    match parse(&text) {
        Ok(redis) => Some(redis),
        Err(why) => {
            // The address may hold a password, so it is not shown.
            let report = Report::at(node.at, format!("bad address of a Redis: {why}")).expected(EXPECTED);
            cx.report(report);
            None
        }
    }
}

fn parse(text: &str) -> Result<Redis, &'static str> {
    let (scheme, rest) = text.split_once("://").ok_or("it has no scheme")?;
    let (tls, kind) = match scheme {
        "redis" => (false, ""),
        "rediss" => (true, ""),
        _ => match scheme.split_once('-') {
            Some(("redis", kind @ ("cluster" | "sentinel"))) => (false, kind),
            Some(("rediss", kind @ ("cluster" | "sentinel"))) => (true, kind),
            _ => return Err("the scheme is unknown"),
        },
    };
    if rest.contains(['?', '#']) {
        return Err("it has parameters");
    }
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (login, hosts) = match authority.rsplit_once('@') {
        Some((login, hosts)) => (Some(login), hosts),
        None => (None, authority),
    };
    let (user, password) = match login {
        Some(login) => {
            let (user, password) = login
                .split_once(':')
                .ok_or("the login has no password: USER:PASSWORD@ or :PASSWORD@")?;
            (
                Some(decoded(user)?).filter(|user| !user.is_empty()),
                Some(Secret(decoded(password)?)),
            )
        }
        None => (None, None),
    };
    let default_port = if kind == "sentinel" { 26379 } else { 6379 };
    let nodes = hosts
        .split(',')
        .map(|host| node_of(host, default_port))
        .collect::<Result<Vec<_>, _>>()?;
    let kind = match kind {
        "cluster" if path.is_empty() => RedisKind::Cluster,
        "cluster" => return Err("a cluster has no databases"),
        "sentinel" => {
            let (name, number) = path.split_once('/').unwrap_or((path, ""));
            if name.is_empty() {
                return Err("the name that the sentinels know the primary by is missing");
            }
            RedisKind::Sentinel {
                name: decoded(name)?,
                database: database(number)?,
            }
        }
        _ if nodes.len() > 1 => return Err("it names several hosts: of a cluster (redis-cluster) or of sentinels (redis-sentinel)?"),
        _ => RedisKind::Server { database: database(path)? },
    };
    Ok(Redis {
        kind,
        tls,
        user,
        password,
        nodes,
    })
}

fn database(text: &str) -> Result<i64, &'static str> {
    match text {
        "" => Ok(0),
        _ => text.parse::<u16>().map(i64::from).map_err(|_| "the database is no number"),
    }
}

fn node_of(text: &str, default_port: u16) -> Result<(String, u16), &'static str> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or("the host has no closing bracket")?;
            host.parse::<std::net::Ipv6Addr>()
                .map_err(|_| "the host in brackets is no IPv6 address")?;
            (host, port.strip_prefix(':').or(port.is_empty().then_some("")))
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, Some("")),
        },
    };
    let port = match port {
        Some("") => default_port,
        Some(port) => port
            .parse()
            .ok()
            .filter(|port| *port > 0)
            .ok_or("the port is no number from 1 to 65535")?,
        None => return Err("something stands behind the host"),
    };
    if host.is_empty() {
        return Err("a host is missing");
    }
    if host.parse::<std::net::IpAddr>().is_err() && !is_host_name(host) {
        return Err("a host is neither an IP address nor a host name");
    }
    Ok((host.to_owned(), port))
}

/// Text with its `%XX` replaced.
fn decoded(text: &str) -> Result<String, &'static str> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
        let (Some(high), Some(low)) = (digit(rest.next()), digit(rest.next())) else {
            return Err("a % is not followed by two hexadecimal digits: write %25");
        };
        bytes.push((high * 16 + low) as u8);
    }
    String::from_utf8(bytes).map_err(|_| "it is not UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        match parse(text) {
            Ok(redis) => redis.to_string(),
            Err(why) => format!("error: {why}"),
        }
    }

    #[test]
    fn every_form_is_read_and_shown_without_its_password() {
        for (text, expected) in [
            ("redis://127.0.0.1:6379", "redis://127.0.0.1:6379"),
            ("redis://cache", "redis://cache:6379"),
            ("redis://cache/3", "redis://cache:6379/3"),
            ("rediss://u:p%40@[::1]:7000", "rediss://[::1]:7000"),
            ("redis-cluster://:p@a:1,b", "redis-cluster://a:1,b:6379"),
            ("redis-sentinel://a,b:5/main/2", "redis-sentinel://a:26379,b:5/main/2"),
        ] {
            assert_eq!(shown(text), expected);
        }
        let redis = parse("rediss://u:p%40@[::1]:7000").unwrap();
        assert_eq!((redis.user.as_deref(), redis.password), (Some("u"), Some(Secret("p@".to_owned()))));
        assert_eq!(parse("redis://:p@a").unwrap().user, None);
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "127.0.0.1:6379",
            "http://a",
            "redis://",
            "redis://a,b",
            "redis://a/x",
            "redis://a?db=1",
            "redis://a:0",
            "redis://a:99999",
            "redis://u@a",
            "redis://u:%4@a",
            "redis://[::1",
            "redis://[a]",
            "redis://[::1]7000",
            "redis-cluster://a/1",
            "redis-cluster://a,",
            "redis-sentinel://a",
            "redis-other://a",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
