//! `[server]`, `[limits]` and what belongs to the process.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

/// `[server]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Server {
    /// Where clients are accepted without TLS; none twice. Empty only where there is TLS.
    pub listen: Vec<SocketAddr>,
    /// `[[server.tls]]` in file order. Entries with one address share a listener, which is none of [`Server::listen`].
    pub tls: Vec<ServerTls>,
    /// The admin address; `None` when it is `"off"`.
    pub admin: Option<Admin>,
    /// Worker threads; `None` is `"auto"`: one for each core that the process may run on.
    pub threads: Option<NonZeroUsize>,
    /// How long requests under way may take at shutdown.
    pub grace_period: Duration,
    /// The access log; `None` when it is `"off"`.
    pub access_log: Option<AccessLog>,
    /// The least severe message of `lb`'s own log that is written.
    pub log_level: LogLevel,
    /// The clients whose `X-Forwarded-*` and `X-Request-ID` are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// What moves the bytes of HTTP/1.1.
    pub engine: Engine,
}

/// One of `[[server.tls]]`. That the files are there and fit each other is for whoever reads them to find out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerTls {
    /// Where clients are accepted.
    pub listen: SocketAddr,
    /// A certificate and its intermediates; no other entry with this address has the same file.
    pub certificate: PathBuf,
    /// The certificate's private key.
    pub key: PathBuf,
    /// Whom every client's certificate must be signed by; `None`: clients need none.
    pub client_ca: Option<PathBuf>,
}

/// `engine`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Engine {
    /// `lb`'s own, on raw bytes.
    #[default]
    Relay,
    /// pingora, as a way back.
    Pingora,
}

/// Where the admin API listens, and who may use it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// A loopback address unless there is a token.
    pub listen: SocketAddr,
    /// The bearer token that every path but `/healthz` and `/readyz` asks for.
    pub token: Option<Secret>,
}

/// A string that never shows in a debug print.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// `access_log`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessLog {
    /// Where the lines go.
    pub path: LogPath,
    /// How a line looks.
    pub format: LogFormat,
}

/// Where log lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogPath {
    /// Standard output.
    Stdout,
    /// A file, opened for appending and again at SIGUSR1.
    File(PathBuf),
}

/// How an access log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// The combined log format of Apache and nginx.
    Combined,
}

/// `log_level`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// Only what failed.
    Error,
    /// And what is suspicious.
    Warn,
    /// And what an operator wants to know.
    Info,
    /// And what a developer wants to know.
    Debug,
    /// Everything.
    Trace,
}

/// `[limits]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// For a whole request head, from its first byte: 408 beyond.
    pub header_timeout: Duration,
    /// Between two reads of a request body: 408 beyond.
    pub body_timeout: Duration,
    /// Of a client connection between two requests.
    pub idle_timeout: Duration,
    /// Bytes of a request body: 413 beyond.
    pub max_body: u64,
    /// Bytes of a request head: 431 beyond; 414 where the target alone is beyond.
    pub max_header_bytes: usize,
    /// Header fields of a request: 431 beyond.
    pub max_headers: usize,
    /// Client connections at once, all listeners together.
    pub max_connections: NonZeroUsize,
    /// Client connections at once from one address; `None`: no limit.
    pub max_connections_per_ip: Option<NonZeroUsize>,
}
