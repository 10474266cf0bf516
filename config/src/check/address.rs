//! Where a server is: an IP address, a host name or a Unix socket.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use super::servers::REFRESH;
use crate::fields::Check;
use crate::model::{Address, DnsName};
use crate::problem::quote;
use crate::read::{self, bad};
use crate::tree::Node;

/// What an address looks like.
const EXPECTED: &str =
    r#"an address such as "127.0.0.1:3001", "[::1]:3001", "name:3001", "dns://name:3001", "file://servers.toml" or "unix:/run/x.sock""#;

/// An address of a server.
pub(super) fn address(cx: &Check<'_>, node: &Node) -> Option<Address> {
    let text = read::text(cx, node)?;
    if let Some(path) = text.strip_prefix("unix:") {
        return unix(cx, node, path);
    }
    if let Some(path) = text.strip_prefix("file://") {
        return file(cx, node, path);
    }
    if let Some(name) = text.strip_prefix("dns://") {
        return dns(cx, node, name);
    }
    if let Some((_, rest)) = text.split_once("://") {
        let help = format!("leave out {}", quote(&text[..text.len() - rest.len()]));
        cx.report(bad(node, "address", &text).expected(EXPECTED).help(help));
        return None;
    }
    match network(&text) {
        Ok(address) => Some(address),
        Err(help) => {
            cx.report(bad(node, "address", &text).expected(EXPECTED).maybe_help(help));
            None
        }
    }
}

/// A socket's path. A relative one starts at the file's folder.
fn unix(cx: &Check<'_>, node: &Node, path: &str) -> Option<Address> {
    // What the kernel has room for, with a 0 at the end.
    const LONGEST: usize = 107;
    let full = cx.source(node.at).folder().join(path);
    if path.is_empty() || full.as_os_str().len() > LONGEST {
        let help = if path.is_empty() {
            "the path is missing".into()
        } else {
            format!("the path is longer than {LONGEST} bytes")
        };
        cx.report(bad(node, "address", &format!("unix:{path}")).expected(EXPECTED).help(help));
        return None;
    }
    Some(Address::Unix(full))
}

/// A file's path. A relative one starts at the file's folder.
fn file(cx: &Check<'_>, node: &Node, path: &str) -> Option<Address> {
    if path.trim().is_empty() {
        let report = bad(node, "address", &format!("file://{path}")).expected(r#""file://servers.toml""#);
        cx.report(report.help("the path is missing"));
        return None;
    }
    Some(Address::File(cx.source(node.at).folder().join(path)))
}

/// "users.internal:3000", or the name of a service, which has no port of its own.
fn dns(cx: &Check<'_>, node: &Node, text: &str) -> Option<Address> {
    match dns_name(text) {
        Ok((name, port)) => Some(Address::Dns(DnsName {
            name: name.to_ascii_lowercase().into(),
            port,
            nameserver: None,
            refresh: REFRESH,
        })),
        Err(help) => {
            let expected = r#""dns://users.internal:3000", or "dns://_http._tcp.users.internal" for a name with SRV records"#;
            cx.report(bad(node, "address", &format!("dns://{text}")).expected(expected).maybe_help(help));
            None
        }
    }
}

/// A name and its port, or a service's name; else what may help.
fn dns_name(text: &str) -> Result<(&str, Option<u16>), Option<String>> {
    match text.rsplit_once(':') {
        Some((name, port)) if is_service(name) && port.parse::<u16>().is_ok() => Err(Some(format!(
            "the SRV records of a service say each server's port: leave out {}",
            quote(&format!(":{port}"))
        ))),
        None if is_host_name(text) && text.starts_with('_') => Ok((text, None)),
        None if is_host_name(text) => Err(Some(format!("the port is missing: {}", quote(&format!("dns://{text}:3000"))))),
        _ => match network(text)? {
            Address::Host(..) => Ok(text.rsplit_once(':').map_or((text, None), |(name, port)| (name, port.parse().ok()))),
            _ => Err(Some(format!("an IP address is not looked up: write {}", quote(text)))),
        },
    }
}

/// `_http._tcp.users.internal` (RFC 2782).
fn is_service(name: &str) -> bool {
    let mut labels = name.split('.');
    let (service, protocol) = (labels.next(), labels.next());
    let is_protocol = |label: &str| label.eq_ignore_ascii_case("_tcp") || label.eq_ignore_ascii_case("_udp");
    service.is_some_and(|label| label.starts_with('_')) && protocol.is_some_and(is_protocol) && is_host_name(name)
}

/// "127.0.0.1:3001", "[::1]:3001" or "name:3001"; else what may help.
fn network(text: &str) -> Result<Address, Option<String>> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return if address.port() == 0 {
            Err(Some("the port cannot be 0".into()))
        } else {
            Ok(Address::Ip(address))
        };
    }
    if let Some((address, port)) = text
        .rsplit_once(':')
        .filter(|(address, port)| address.parse::<Ipv6Addr>().is_ok() && port.parse::<u16>().is_ok())
    {
        return Err(Some(format!("an IPv6 address stands in brackets: \"[{address}]:{port}\"")));
    }
    let inside = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    if inside.parse::<Ipv6Addr>().is_ok() {
        return Err(Some(format!("the port is missing: \"[{inside}]:3000\"")));
    }
    let Some((name, port)) = text.rsplit_once(':') else {
        let missing = || format!("the port is missing: {}", quote(&format!("{text}:3000")));
        return Err((text.parse::<IpAddr>().is_ok() || is_host_name(text)).then(missing));
    };
    match port.parse::<u16>() {
        _ if !is_host_name(name) && name.parse::<IpAddr>().is_err() => Err(None),
        Ok(port) if port > 0 => Ok(Address::Host(name.to_ascii_lowercase().into(), port)),
        _ => Err(Some("a port is a number from 1 to 65535".into())),
    }
}

/// A name that DNS could know (RFC 1123 §2.1; underscores too, which container networks use), and not a misspelt IP address.
pub(crate) fn is_host_name(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    let numeric_end = name.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
    name.len() <= 253 && name.split('.').all(label) && !numeric_end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_in_dns_has_a_port_or_is_a_service() {
        assert_eq!(dns_name("Users.internal:3000"), Ok(("Users.internal", Some(3000))));
        assert_eq!(dns_name("users.internal.:3000"), Ok(("users.internal.", Some(3000))));
        assert_eq!(dns_name("_app:3000"), Ok(("_app", Some(3000))));
        assert_eq!(dns_name("_http._tcp.users.internal"), Ok(("_http._tcp.users.internal", None)));
        assert_eq!(dns_name("_users.service.consul"), Ok(("_users.service.consul", None)));
        for text in ["", ":3000", "a b:1", "-a:1", "_http._tcp..internal", "-_a"] {
            assert_eq!(dns_name(text), Err(None), "{text}");
        }
        for text in [
            "users.internal",
            "users.internal:0",
            "users.internal:70000",
            "127.0.0.1:3000",
            "[::1]:3000",
            "_http._tcp.users.internal:80",
            "users:3000/x",
        ] {
            assert!(matches!(dns_name(text), Err(Some(_))), "{text}");
        }
    }

    #[test]
    fn an_address_has_a_host_and_a_port() {
        assert_eq!(network("127.0.0.1:3001"), Ok(Address::Ip(([127, 0, 0, 1], 3001).into())));
        assert_eq!(network("[::1]:3001"), Ok(Address::Ip((Ipv6Addr::LOCALHOST, 3001).into())));
        assert_eq!(network("App_1.internal:3001"), Ok(Address::Host("app_1.internal".into(), 3001)));
        for text in [
            "",
            ":",
            ":3001",
            "a b:1",
            "127.0.0.300:80",
            "1.2.3:80",
            "[::1:80",
            "-a:1",
            "a..b:1",
            "ü:1",
            "127.0.0.256:3001",
        ] {
            assert_eq!(network(text), Err(None), "{text}");
        }
        for text in [
            "127.0.0.1",
            "127.0.0.1:x",
            "::1:3001",
            "::1",
            "[::1]",
            "app",
            "app:",
            "app:0",
            "app:70000",
            "app:3001/x",
            "127.0.0.1:0",
        ] {
            assert!(matches!(network(text), Err(Some(_))), "{text}");
        }
    }
}
