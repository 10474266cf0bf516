//! `[upstreams.NAME]` and its tables.

use super::Shape::{Boolean, Duration, Either, Integer, List, OneOf, Pattern, Table, Text};
use super::{CIRCUIT_BREAKER, Choice, HEDGE, Key, MANY, OFF, Preset, QUEUE, Shape, TableDef, URL_PATH, key};

/// `balance`.
pub(crate) const BALANCE: Choice = Choice {
    what: "balance",
    names: &["least_conn", "round_robin", "random", "p2c", "ewma", "hash", "maglev"],
    later: &[],
};
/// `protocol`.
pub(crate) const PROTOCOL: Choice = Choice {
    what: "protocol",
    names: &["http", "https"],
    later: &["h2c", "h2"],
};
/// `health_check.type`.
pub(crate) const CHECK: Choice = Choice {
    what: "type",
    names: &["http", "tcp", "grpc"],
    later: &[],
};
/// `retry.on`.
pub(crate) const RETRY_ON: Choice = Choice {
    what: "reason to retry",
    names: &["connect", "reset", "timeout", "invalid", "502", "503", "504"],
    later: &[],
};
/// The largest weight.
pub(crate) const MAX_WEIGHT: u64 = 65_535;

/// `[upstreams.NAME]`.
pub(crate) static UPSTREAM: TableDef = TableDef {
    title: "[upstreams.NAME]",
    about: "Servers that do the same, and how requests are spread over them.",
    keys: UPSTREAM_KEYS,
    later: &[],
};

const UPSTREAM_KEYS: &[Key] = &[
    key(
        "balance",
        OneOf(BALANCE.names),
        "How a server is chosen: the least busy by its weight, smooth weighted round robin, at random by weight, the less busy of two, the one of two that is likely to answer sooner, or by the hash of something, on a ring or in Maglev's table.",
    )
    .text("least_conn"),
    key("hash_on", Pattern("^(client_ip|path|header:.+|cookie:.+)$"), "What balance = \"hash\" and \"maglev\" go by.").text("client_ip"),
    key(
        "servers",
        List(&SERVER_SHAPE),
        "The servers: \"127.0.0.1:3001\", \"[::1]:3001\", \"unix:/run/users.sock\", \"name:3000\", \"dns://name:3000\" (looked up again and again), \"file://servers.toml\" (read again when it changes), or a table with more about one.",
    )
    .required(),
    key("protocol", OneOf(PROTOCOL.names), "What is spoken with the servers.").text("http"),
    key("tls", Table(&UPSTREAM_TLS), "Whom to trust and who to be, with protocol = \"https\"."),
    key("host", Text, "The Host header that servers get; without it, they get the client's."),
    key("health_check", Table(&HEALTH_CHECK), "Active checks of each server. Without it, every server counts as healthy from the start."),
    key(
        "passive_health",
        Either(PASSIVE_SHAPES),
        "Takes a server out for a while when its answers fail. On unless it is \"off\".",
    )
    .default(Preset::Table),
    key(
        "panic_percent",
        Integer(0, 100),
        "Below that share of healthy servers, those that passive health has ejected are used again.",
    )
    .integer(0),
    key("timeouts", Table(&TIMEOUTS), "Timeouts towards the servers.").default(Preset::Table),
    key("retry", Either(RETRY_SHAPES), "Tries a request again on another server. On unless it is \"off\".")
        .default(Preset::Table),
    key("circuit_breaker", Table(&CIRCUIT_BREAKER), CIRCUIT_BREAKER.about),
    key(
        "queue",
        Table(&QUEUE),
        "Where requests wait while every server is at its limit. Without it, they get 503 at once.",
    ),
    key(
        "adaptive_concurrency",
        Boolean,
        "Finds out how many requests at once each server can take, and gives it no more.",
    )
    .default(Preset::Boolean(false)),
    key("sticky", Table(&super::STICKY), super::STICKY.about),
    key("hedge", Table(&HEDGE), HEDGE.about),
    key(
        "slow_start",
        Duration,
        "For how long the weight of a server that comes back, or is new among others, grows to the whole; at once without it.",
    ),
    key("keepalive", Integer(0, 65_535), "Idle connections that are kept for each server.").integer(128),
];

/// Where a server is.
const ADDRESS: Shape = Pattern(r"^((unix:|dns://|file://).+|.+:\d{1,5})$");
const SERVER_SHAPE: Shape = Either(&[ADDRESS, Table(&SERVER_ENTRY)]);
const PASSIVE_SHAPES: &[Shape] = &[OFF, Table(&PASSIVE_HEALTH)];
const RETRY_SHAPES: &[Shape] = &[OFF, Table(&RETRY)];

/// One of `servers` as a table.
pub(crate) static SERVER_ENTRY: TableDef = TableDef {
    title: "an entry of `servers`",
    about: "One server.",
    keys: &[
        key("address", ADDRESS, "Where it is.").required(),
        key(
            "weight",
            Integer(0, MAX_WEIGHT),
            "Its share among the others; 0 gets no new request.",
        )
        .integer(1),
        key("max_connections", Integer(0, MANY), "The most requests at once; 0: no limit.").integer(0),
        key("backup", Boolean, "Used only while no other server is eligible.").default(Preset::Boolean(false)),
        key(
            "nameserver",
            Pattern(r"^(\d{1,3}(\.\d{1,3}){3}(:\d{1,5})?|[0-9A-Fa-f:.]+|\[[0-9A-Fa-f:.]+\]:\d{1,5})$"),
            "Whom to ask about a dns:// name; without it, whom the system asks.",
        ),
        key(
            "refresh",
            Duration,
            "The longest time between two looks at a dns:// name, from \"1s\"; a shorter TTL is followed. \"30s\" without it.",
        ),
    ],
    later: &[],
};

/// A file that `servers` names by file://.
pub(crate) static SERVERS_FILE: TableDef = TableDef {
    title: "a file of servers",
    about: "Servers of an upstream, in a file of their own.",
    keys: &[key("servers", List(&SERVER_SHAPE), "The servers, as in [upstreams.NAME].").required()],
    later: &[],
};

/// `tls` of an upstream.
pub(crate) static UPSTREAM_TLS: TableDef = TableDef {
    title: "[upstreams.NAME.tls]",
    about: "Whom to trust and who to be, with protocol = \"https\". A server's certificate is always verified.",
    keys: &[
        key(
            "sni",
            Text,
            "The name that servers are asked for, and that their certificates must bear; without it, the server's host name, else `host`, else its IP address.",
        ),
        key(
            "ca",
            Text,
            "Certificates in PEM, one of which must have signed a server's; without it, those that the system trusts.",
        ),
        key("certificate", Text, "The certificate to show to servers that ask for one, in PEM."),
        key("key", Text, "The certificate's private key, in PEM."),
    ],
    later: &[],
};

/// `health_check`.
pub(crate) static HEALTH_CHECK: TableDef = TableDef {
    title: "[upstreams.NAME.health_check]",
    about: "Active checks of each server.",
    keys: &[
        key(
            "type",
            OneOf(CHECK.names),
            "A GET whose status is judged, a connection that opens, or a question to grpc.health.v1.Health.",
        )
        .text("http"),
        key("path", URL_PATH, "The path of the GET; \"/\" without it."),
        key(
            "host",
            Text,
            "The Host header of the GET, or the :authority of the question; without it, the upstream's, else the server's address.",
        ),
        key(
            "service",
            Text,
            "The service that gRPC asks about; \"\" without it: the server as a whole.",
        ),
        key(
            "port",
            Integer(1, 65_535),
            "The port that is checked; without it, the server's own.",
        ),
        key("interval", Duration, "Between two checks of one server.").text("2s"),
        key("timeout", Duration, "For one whole check.").text("1s"),
        key("rise", Integer(1, 1000), "Passes in a row that make a server healthy.").integer(2),
        key("fall", Integer(1, 1000), "Failures in a row that make a server unhealthy.").integer(3),
        key(
            "expect",
            Pattern(r"^\d{3}(-\d{3})?$"),
            "The statuses that pass: \"200\", or \"200-399\"; \"200-299\" without it.",
        ),
    ],
    later: &[],
};

/// `passive_health`.
pub(crate) static PASSIVE_HEALTH: TableDef = TableDef {
    title: "[upstreams.NAME.passive_health]",
    about: "Takes a server out for a while when its answers fail.",
    keys: &[
        key("failures", Integer(1, MANY), "So many failures …").integer(5),
        key("window", Duration, "… within this time …").text("10s"),
        key("eject", Duration, "… take the server out for so long.").text("10s"),
        key(
            "max_ejected_percent",
            Integer(0, 100),
            "The most servers that are out at once, rounded down; never the last one.",
        )
        .integer(50),
    ],
    later: &[],
};

/// `timeouts`.
pub(crate) static TIMEOUTS: TableDef = TableDef {
    title: "[upstreams.NAME.timeouts]",
    about: "Timeouts towards the servers.",
    keys: &[
        key("connect", Duration, "For a connection.").text("1s"),
        key("read", Duration, "Between two reads of an answer, and until its first byte.").text("30s"),
        key("write", Duration, "Between two writes of a request.").text("30s"),
        key("idle", Duration, "Of a kept connection that nobody uses.").text("60s"),
        key(
            "request",
            Duration,
            "From a request's head to the head of its answer, all tries and waits together; no limit without it.",
        ),
    ],
    later: &[],
};

/// `retry`.
pub(crate) static RETRY: TableDef = TableDef {
    title: "[upstreams.NAME.retry]",
    about: "Tries a request again on another server.",
    keys: &[
        key("attempts", Integer(1, 1000), "All tries together, the first included.").integer(3),
        key(
            "on",
            List(&OneOf(RETRY_ON.names)),
            "What is tried again: no connection, closed early, too slow, malformed, or a status.",
        )
        .default(Preset::List(&[
            Preset::Text("connect"),
            Preset::Text("reset"),
            Preset::Text("timeout"),
            Preset::Text("invalid"),
            Preset::Text("502"),
            Preset::Text("503"),
            Preset::Text("504"),
        ])),
        key(
            "budget_percent",
            Integer(0, 100),
            "Retries as a share of the requests of the last 10 s, plus 10 a second.",
        )
        .integer(20),
    ],
    later: &[],
};
