//! Servers that are found while lb runs.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// A name in DNS that is looked up again and again: a server for each address that it has at the time.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DnsName {
    /// The name, in lower case.
    pub name: Arc<str>,
    /// The servers' port. `None`: the name has `SRV` records, which say each server's (RFC 2782).
    pub port: Option<u16>,
    /// Whom to ask; `None`: whom the system asks.
    pub nameserver: Option<SocketAddr>,
    /// The longest time between two looks, whatever the TTL of the records. At least 1 s.
    pub refresh: Duration,
}

impl DnsName {
    /// What a server's certificate must bear. The records are not to be trusted with that, so for a service it is the name of the domain
    /// that was asked about (RFC 6125 §6.2.1): `users.internal` for `_http._tcp.users.internal`.
    pub(crate) fn host(&self) -> &str {
        let mut rest = &*self.name;
        while let (None, Some(below)) = (self.port, rest.strip_prefix('_')) {
            let Some((_, domain)) = below.split_once('.') else { break };
            rest = domain;
        }
        rest.trim_end_matches('.')
    }
}

impl fmt::Display for DnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "dns://{}", self.name)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_verified_by_its_domain() {
        let name = |name: &str, port| DnsName {
            name: name.into(),
            port,
            nameserver: None,
            refresh: Duration::from_secs(1),
        };
        assert_eq!(name("_http._tcp.users.internal.", None).host(), "users.internal");
        assert_eq!(name("_users", None).host(), "_users");
        assert_eq!(name("_users.internal", Some(80)).host(), "_users.internal");
        assert_eq!(name("_users.internal", Some(80)).to_string(), "dns://_users.internal:80");
        assert_eq!(name("_http._tcp.users", None).to_string(), "dns://_http._tcp.users");
    }
}
