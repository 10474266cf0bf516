//! `[server]`, `[limits]` and `[cache]`.

use super::Shape::{Duration, Either, Integer, List, OneOf, Pattern, Size, Table, Text};
use super::{Choice, Key, MANY, NETWORK, OFF, Preset, SOCKET, Shape, TableDef, key};

/// `log_level`.
pub(crate) const LOG_LEVEL: Choice = Choice {
    what: "log_level",
    names: &["error", "warn", "info", "debug", "trace"],
    later: &[],
};
/// `access_log.format`.
pub(crate) const LOG_FORMAT: Choice = Choice {
    what: "format",
    names: &["json", "combined"],
    later: &[],
};
/// `coherence`.
pub(crate) const COHERENCE: Choice = Choice {
    what: "coherence",
    names: &["fast", "strict"],
    later: &[],
};
/// `engine`.
pub(crate) const ENGINE: Choice = Choice {
    what: "engine",
    names: &["relay", "pingora"],
    later: &[],
};
/// The most worker threads.
pub(crate) const MAX_THREADS: u64 = 1024;

const ADMIN_SHAPES: &[Shape] = &[OFF, SOCKET, Table(&ADMIN)];
const THREADS_SHAPES: &[Shape] = &[OneOf(&["auto"]), Integer(1, MAX_THREADS)];
const ACCESS_LOG_SHAPES: &[Shape] = &[OFF, Table(&ACCESS_LOG)];

/// `[server]`.
pub(crate) static SERVER: TableDef = TableDef {
    title: "[server]",
    about: "Where lb listens, and how its process behaves.",
    keys: &[
        key(
            "listen",
            List(&SOCKET),
            "Where clients are accepted without TLS: HTTP/1.1, and HTTP/2 with prior knowledge. Needed unless there is a [[server.tls]].",
        ),
        key(
            "tls",
            List(&Table(&SERVER_TLS)),
            "Where clients are accepted with TLS: HTTP/2 and HTTP/1.1. Entries with the same address are chosen by the name that a client asks for.",
        ),
        key(
            "admin",
            Either(ADMIN_SHAPES),
            "The admin address: status, metrics, reload, purge. Any other than a loopback address needs a token.",
        )
        .text("127.0.0.1:9901"),
        key("threads", Either(THREADS_SHAPES), "Worker threads; \"auto\": one for each core.").text("auto"),
        key("grace_period", Duration, "How long requests under way may take at shutdown.").text("30s"),
        key("access_log", Either(ACCESS_LOG_SHAPES), "Where each request is logged, and how.").default(Preset::Table),
        key(
            "log_level",
            OneOf(LOG_LEVEL.names),
            "The least severe message of lb's own log, on standard error.",
        )
        .text("info"),
        key(
            "trusted_proxies",
            List(&NETWORK),
            "Clients whose X-Forwarded-* and X-Request-ID headers are believed.",
        )
        .default(Preset::List(&[])),
        key(
            "engine",
            OneOf(ENGINE.names),
            "What moves the bytes of HTTP/1.1: lb's own engine, or pingora as a way back.",
        )
        .text("relay"),
    ],
    later: &["proxy_protocol"],
};

/// `[[server.tls]]`.
pub(crate) static SERVER_TLS: TableDef = TableDef {
    title: "[[server.tls]]",
    about: "A certificate, and the address that it is shown at. Its files are read again when they change.",
    keys: &[
        key("listen", SOCKET, "Where clients are accepted.").required(),
        key("certificate", Text, "The certificate and its intermediates, in PEM.").required(),
        key("key", Text, "The certificate's private key, in PEM.").required(),
        key(
            "client_ca",
            Text,
            "Certificates in PEM, one of which must have signed the certificate that every client then needs.",
        ),
    ],
    later: &[],
};

/// `server.admin` as a table.
pub(crate) static ADMIN: TableDef = TableDef {
    title: "[server.admin]",
    about: "The admin address with a token.",
    keys: &[
        key("listen", SOCKET, "The admin address.").text("127.0.0.1:9901"),
        key(
            "token",
            Text,
            "What every path but /healthz and /readyz asks for, as `Authorization: Bearer`.",
        ),
    ],
    later: &[],
};

/// `server.access_log` as a table.
pub(crate) static ACCESS_LOG: TableDef = TableDef {
    title: "[server.access_log]",
    about: "Where each request is logged, and how.",
    keys: &[
        key("path", Text, "\"stdout\", or a file, which is opened again at SIGUSR1.").text("stdout"),
        key(
            "format",
            OneOf(LOG_FORMAT.names),
            "One JSON object a line, or the combined format of Apache and nginx.",
        )
        .text("json"),
    ],
    later: &[],
};

/// `[limits]`.
pub(crate) static LIMITS: TableDef = TableDef {
    title: "[limits]",
    about: "What a client may ask of lb.",
    keys: LIMIT_KEYS,
    later: &[],
};

const LIMIT_KEYS: &[Key] = &[
    key(
        "header_timeout",
        Duration,
        "For a whole request head, on every request of a connection: 408 beyond.",
    )
    .text("10s"),
    key("body_timeout", Duration, "Between two reads of a request body: 408 beyond.").text("30s"),
    key("idle_timeout", Duration, "Of a client connection between two requests.").text("75s"),
    key("max_body", Size, "The largest request body: 413 beyond.").text("10MB"),
    key(
        "max_header_bytes",
        Size,
        "The largest request head: 431 beyond; 414 where the target alone is beyond.",
    )
    .text("64KiB"),
    key(
        "max_headers",
        Integer(1, 65_535),
        "The most header fields of a request: 431 beyond.",
    )
    .integer(128),
    key(
        "max_connections",
        Integer(1, MANY),
        "Client connections at once. Over it the longest idle one is closed; with none idle a new one waits to be accepted.",
    )
    .integer(10_000),
    key(
        "max_connections_per_ip",
        Integer(0, MANY),
        "Client connections at once from one address; 0: no limit.",
    )
    .integer(0),
];

/// `[cache]`.
pub(crate) static CACHE: TableDef = TableDef {
    title: "[cache]",
    about: "The store of cached responses, shared by all routes.",
    keys: &[
        key(
            "memory",
            Size,
            "The most memory that stored responses take, all that they cost counted.",
        )
        .text("256MiB"),
        key("max_object", Size, "The largest body that is stored.").text("8MiB"),
        key(
            "file",
            Text,
            "Where stored responses are kept over a restart; not together with redis.",
        ),
        key(
            "redis",
            Pattern("^rediss?(-cluster|-sentinel)?://"),
            "A Redis by which several lb tell each other what is not true any more: redis://HOST:PORT, redis-cluster://HOST:PORT,HOST:PORT or \
             redis-sentinel://HOST:PORT,HOST:PORT/NAME; rediss for TLS.",
        ),
        key(
            "coherence",
            OneOf(COHERENCE.names),
            "With redis: the others have purged within 100 ms; or a write's answer waits until they have.",
        )
        .text("fast"),
    ],
    later: &[],
};
