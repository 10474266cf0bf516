//! Where a Redis is.

use std::fmt;

use super::Secret;

/// A Redis, a cluster of them, or the sentinels that know which one it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redis {
    /// What stands at the addresses.
    pub kind: RedisKind,
    /// Whether it is spoken to over TLS.
    pub tls: bool,
    /// Who logs in; `None`: the default user, if there is a password.
    pub user: Option<String>,
    /// How they do.
    pub password: Option<Secret>,
    /// Hosts and ports; at least one, and of a server just one.
    pub nodes: Vec<(String, u16)>,
}

/// What stands at the addresses of a [`Redis`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RedisKind {
    /// One server.
    Server {
        /// The number of the database.
        database: i64,
    },
    /// Nodes of a cluster, which tell of the others.
    Cluster,
    /// Sentinels, which tell where the primary is.
    Sentinel {
        /// The name that they know it by.
        name: String,
        /// The number of the database.
        database: i64,
    },
}

/// How several `lb` agree about what they store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coherence {
    /// The others hear of a purge at once, and nobody waits for that.
    Fast,
    /// A write's answer waits until they have heard of it.
    Strict,
}

/// As in the file, without the password.
impl fmt::Display for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            RedisKind::Server { .. } => "",
            RedisKind::Cluster => "-cluster",
            RedisKind::Sentinel { .. } => "-sentinel",
        };
        write!(f, "redis{}{kind}://", if self.tls { "s" } else { "" })?;
        for (index, (host, port)) in self.nodes.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            match host.contains(':') {
                true => write!(f, "{comma}[{host}]:{port}")?,
                false => write!(f, "{comma}{host}:{port}")?,
            }
        }
        match &self.kind {
            RedisKind::Server { database: 0 } | RedisKind::Cluster => Ok(()),
            RedisKind::Server { database } => write!(f, "/{database}"),
            RedisKind::Sentinel { name, database: 0 } => write!(f, "/{name}"),
            RedisKind::Sentinel { name, database } => write!(f, "/{name}/{database}"),
        }
    }
}
