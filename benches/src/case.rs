//! What is measured.

use anyhow::bail;

/// A kind of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Case {
    /// 1 KiB answers from the origins over kept connections.
    Proxy,
    /// One stored answer of 1 KiB.
    Hit,
    /// 10,000 stored answers of 1 KiB.
    HitMany,
    /// 1 KiB answers from the origins, a new client connection each.
    NewConnection,
    /// 1 MiB answers from the origins.
    Large,
    /// As [`Case::Proxy`], over TLS.
    Tls,
    /// 1 KiB answers over TLS, a new connection with a full handshake each.
    TlsNew,
    /// As [`Case::Proxy`], with an access log.
    ProxyLog,
    /// As [`Case::Hit`], with an access log.
    HitLog,
    /// Requests at half of nginx's peak rate, whatever the answers do.
    Latency,
    /// Connections that have made a request and wait.
    Idle,
    /// 100,000 stored answers of 1 KiB, and the memory that they take.
    Stored,
    /// Requests beside thousands of sockets that never finish theirs.
    Slowloris,
    /// As [`Case::Proxy`], over so many servers.
    Servers(usize),
    /// As [`Case::HitMany`], over so many keys.
    Keys(usize),
    /// One user of the API at a time, in turns.
    ApiUser,
    /// The first ten users of the API, and how many there are.
    ApiList,
}

/// The name of both cases of the API together.
const API: &str = "api";

/// Keys of [`Case::HitMany`].
pub const KEYS: usize = 10_000;

/// Keys of [`Case::Stored`].
pub const STORED: usize = 100_000;

/// Users of [`Case::ApiUser`] that are asked for, of all that there are: so few that even a slow server has seen each of them soon.
const USERS: usize = 1_000;

/// Servers of every case but [`Case::Servers`].
pub const SERVERS: usize = 3;

/// How a case is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// As fast as answers come, by wrk.
    Closed,
    /// As fast as answers come, a full TLS handshake each.
    Handshakes,
    /// At a fixed rate.
    Paced,
    /// Not at all, once the connections are there.
    Idle,
    /// Until each key was asked for.
    Fill,
    /// At a fixed rate, without and with sockets that never finish a request.
    Slowloris,
}

impl Case {
    /// All of them, in the order of the table.
    pub fn all() -> [Case; 22] {
        use Case::*;
        [
            Proxy,
            Hit,
            HitMany,
            NewConnection,
            Large,
            Tls,
            TlsNew,
            Latency,
            Idle,
            Stored,
            Slowloris,
            ProxyLog,
            HitLog,
            Servers(3),
            Servers(100),
            Servers(1000),
            Keys(1),
            Keys(1000),
            Keys(10_000),
            Keys(100_000),
            ApiUser,
            ApiList,
        ]
    }

    /// Its name on the command line.
    pub fn name(self) -> String {
        match self {
            Case::Proxy => "proxy".into(),
            Case::Hit => "hit".into(),
            Case::HitMany => "hit-many".into(),
            Case::NewConnection => "new-connection".into(),
            Case::Large => "large".into(),
            Case::Tls => "tls".into(),
            Case::TlsNew => "tls-new".into(),
            Case::ProxyLog => "proxy-log".into(),
            Case::HitLog => "hit-log".into(),
            Case::Latency => "latency".into(),
            Case::Idle => "idle".into(),
            Case::Stored => "stored".into(),
            Case::Slowloris => "slowloris".into(),
            Case::Servers(count) => format!("servers-{count}"),
            Case::Keys(count) => format!("keys-{count}"),
            Case::ApiUser => "api-user".into(),
            Case::ApiList => "api-list".into(),
        }
    }

    /// Its name in the table.
    pub fn describe(self) -> String {
        match self {
            Case::Proxy => "proxied, 1 KiB, keep-alive".into(),
            Case::Hit => "cache hit, 1 KiB, one key".into(),
            Case::HitMany => "cache hit, 1 KiB, 10,000 keys".into(),
            Case::NewConnection => "proxied, 1 KiB, a new connection each".into(),
            Case::Large => "proxied, 1 MiB, keep-alive".into(),
            Case::Tls => "TLS, proxied, 1 KiB, keep-alive".into(),
            Case::TlsNew => "TLS, proxied, 1 KiB, a full handshake each".into(),
            Case::ProxyLog => "proxied, 1 KiB, keep-alive, access log on".into(),
            Case::HitLog => "cache hit, 1 KiB, one key, access log on".into(),
            Case::Latency => "proxied, 1 KiB, at half of nginx's peak rate".into(),
            Case::Idle => "idle connections after one request".into(),
            Case::Stored => "100,000 stored answers of 1 KiB".into(),
            Case::Slowloris => "proxied, 1 KiB, beside 5,000 slow sockets".into(),
            Case::Servers(count) => format!("proxied, 1 KiB, {count} servers"),
            Case::Keys(count) => format!("cache hit, 1 KiB, {count} keys"),
            Case::ApiUser => "GET /users/{id}".into(),
            Case::ApiList => "GET /users?page=1&limit=10".into(),
        }
    }

    /// How it is loaded.
    pub fn work(self) -> Work {
        match self {
            Case::TlsNew => Work::Handshakes,
            Case::Latency => Work::Paced,
            Case::Idle => Work::Idle,
            Case::Stored => Work::Fill,
            Case::Slowloris => Work::Slowloris,
            _ => Work::Closed,
        }
    }

    /// Whether answers come from the cache.
    pub fn cached(self) -> bool {
        matches!(self, Case::Hit | Case::HitMany | Case::HitLog | Case::Keys(_) | Case::Stored)
    }

    /// Whether clients speak TLS.
    pub fn tls(self) -> bool {
        matches!(self, Case::Tls | Case::TlsNew)
    }

    /// Whether each request leaves a line in an access log.
    pub fn logged(self) -> bool {
        matches!(self, Case::ProxyLog | Case::HitLog)
    }

    /// Whether more connections are open than a proxy takes without being told.
    pub fn crowded(self) -> bool {
        matches!(self, Case::Idle | Case::Slowloris)
    }

    /// Whether it says how a proxy's own cost grows with what it holds. Only lb is measured, unless others are named.
    pub fn scale(self) -> bool {
        matches!(self, Case::Servers(_) | Case::Keys(_))
    }

    /// Whether the two are compared with each other, and so are measured in turns.
    pub fn beside(self, other: Case) -> bool {
        matches!((self, other), (Case::Servers(_), Case::Servers(_)) | (Case::Keys(_), Case::Keys(_)))
    }

    /// How many servers there are.
    pub fn servers(self) -> usize {
        if let Case::Servers(count) = self { count } else { SERVERS }
    }

    /// How many keys are asked for in turns, where it is more than one path.
    pub fn keys(self) -> Option<usize> {
        match self {
            Case::HitMany => Some(KEYS),
            Case::Stored => Some(STORED),
            Case::Keys(count) => Some(count),
            Case::ApiUser => Some(USERS),
            _ => None,
        }
    }

    /// Whether servers of the users API are compared, and no proxies.
    pub fn api(self) -> bool {
        matches!(self, Case::ApiUser | Case::ApiList)
    }

    /// The path that is asked for; with a key behind it, where there are several.
    pub fn path(self) -> &'static str {
        match self {
            Case::Large => "/1m",
            Case::HitMany | Case::Keys(_) | Case::Stored => "/1k?key=",
            Case::ApiUser => "/users/",
            Case::ApiList => "/users?page=1&limit=10",
            _ => "/1k",
        }
    }

    /// The case of that name, or those of a name for several.
    pub fn parse(name: &str) -> anyhow::Result<Vec<Case>> {
        let is_named = |case: &Case| case.name() == name || (name == API && case.api());
        let found: Vec<Case> = Case::all().into_iter().filter(is_named).collect();
        if found.is_empty() {
            let known = Case::all().map(Case::name).join(", ");
            bail!("unknown case {name:?}: expected one of {known}, or {API} for both of the API");
        }
        Ok(found)
    }
}
