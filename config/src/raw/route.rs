//! `[[routes]]` and its tables.

use super::Shape::{Boolean, Duration, Integer, List, Number, Pattern, Size, Table, Text};
use super::{FAULT, HEADERS, Key, MIRROR, NETWORK, Preset, SPLIT, TableDef, URL_PATH, key};

/// `redirect.status`.
pub(crate) const REDIRECTS: &[u64] = &[301, 302, 303, 307, 308];
/// The names in `{}` of a template.
pub(crate) const PLACEHOLDERS: &[&str] = &["scheme", "host", "path", "query"];

/// One of `[[routes]]`.
pub(crate) static ROUTE: TableDef = TableDef {
    title: "[[routes]]",
    about: "What is done with which requests. All conditions must hold; one of upstream, split, redirect and respond says what is done.",
    keys: ROUTE_KEYS,
    later: &["rate_limit", "auth", "compress", "error_pages"],
};

const ROUTE_KEYS: &[Key] = &[
    key("name", Text, "Its label in metrics and logs; without it, host and path as written."),
    key(
        "host",
        Text,
        "\"api.example.com\", or \"*.example.com\" for every name below; without it, every host.",
    ),
    key(
        "path",
        Pattern("^(/|=/|~)"),
        "\"/users\": it and what is below; \"=/users\": it alone; '~^/u/[0-9]+$': what the regular expression finds something in.",
    )
    .text("/"),
    key("methods", List(&Text), "The methods that it takes; without it, every one."),
    key("headers", HEADERS, "Headers that the request must have, with exactly these values.").default(Preset::Table),
    key("upstream", Text, "The upstream that the request goes to."),
    key(
        "split",
        SPLIT,
        "The upstreams that the requests go to, with relative weights. A client keeps to its upstream as long as the weights stay.",
    ),
    key("redirect", Table(&REDIRECT), "Sends the client elsewhere."),
    key("respond", Table(&RESPOND), "Answers the client at once."),
    key(
        "rewrite",
        Table(&REWRITE),
        "How the path is changed before the request goes to the upstream.",
    ),
    key("request_headers", Table(&HEADER_EDITS), "Edits of the request's headers."),
    key("response_headers", Table(&HEADER_EDITS), "Edits of the response's headers."),
    key("mirror", Table(&MIRROR), "Sends a copy of requests to another upstream."),
    key("fault", Table(&FAULT), "Delays or refuses requests on purpose, for drills."),
    key("cache", Table(&ROUTE_CACHE), "Caches responses. Off without it."),
    key(
        "retry_idempotency_key",
        Boolean,
        "A POST or PATCH with an Idempotency-Key is tried again as if its method were idempotent.",
    )
    .default(Preset::Boolean(false)),
    key("max_body", Size, "The largest request body here; without it, as in [limits]."),
    key("allow", List(&NETWORK), "The only clients that may come."),
    key("deny", List(&NETWORK), "Clients that may not come, even if allowed.").default(Preset::List(&[])),
];

/// `redirect`.
pub(crate) static REDIRECT: TableDef = TableDef {
    title: "[routes.redirect]",
    about: "Sends the client elsewhere.",
    keys: &[
        key(
            "to",
            Text,
            "The URL, with {scheme}, {host}, {path} and {query} from the request; {query} has its `?`.",
        )
        .required(),
        key("status", Number(REDIRECTS), "301, 302, 303, 307 or 308.").integer(308),
    ],
    later: &[],
};

/// `respond`.
pub(crate) static RESPOND: TableDef = TableDef {
    title: "[routes.respond]",
    about: "Answers the client at once.",
    keys: &[
        key("status", Integer(200, 599), "The status.").integer(200),
        key("body", Text, "The body.").text(""),
        key("content_type", Text, "The Content-Type.").text("text/plain"),
    ],
    later: &[],
};

/// `rewrite`.
pub(crate) static REWRITE: TableDef = TableDef {
    title: "[routes.rewrite]",
    about: "How the path is changed before the request goes to the upstream.",
    keys: &[
        key(
            "strip_prefix",
            URL_PATH,
            "Taken off the path where it starts with it, by whole segments.",
        ),
        key("add_prefix", URL_PATH, "Then put before the path."),
    ],
    later: &[],
};

/// `request_headers` and `response_headers`.
pub(crate) static HEADER_EDITS: TableDef = TableDef {
    title: "[routes.request_headers] or [routes.response_headers]",
    about: "Edits of headers: removed first, then set, then added.",
    keys: &[
        key("set", HEADERS, "Headers that replace what is there.").default(Preset::Table),
        key("add", HEADERS, "Headers that come beside what is there.").default(Preset::Table),
        key("remove", List(&Text), "Headers that are taken away.").default(Preset::List(&[])),
    ],
    later: &[],
};

/// `cache` of a route.
pub(crate) static ROUTE_CACHE: TableDef = TableDef {
    title: "[routes.cache]",
    about: "Caches responses, as RFC 9111 has it for a shared cache.",
    keys: &[
        key(
            "ttl",
            Duration,
            "The freshness of responses that say nothing themselves; \"0s\": only what the origin makes fresh. Without it, a tenth of the time since they were modified.",
        ),
        key("statuses", List(&Integer(200, 599)), "The statuses that get this freshness.").default(Preset::List(&[
            Preset::Integer(200),
            Preset::Integer(203),
            Preset::Integer(301),
            Preset::Integer(308),
        ])),
        key(
            "min_uses",
            Integer(1, 1000),
            "Requests for a key from which on its responses are stored; 2 keeps out what is asked for once.",
        )
        .integer(1),
        key("key", Text, "What tells one object from another, besides its upstream.").text("{scheme}://{host}{path}{query}"),
        key(
            "vary_on",
            List(&Text),
            "Request headers that responses depend on, whatever their Vary says.",
        )
        .default(Preset::List(&[])),
        key(
            "bypass_on",
            List(&Text),
            "Requests that have one of these go past the cache: header:NAME or cookie:NAME.",
        )
        .default(Preset::List(&[])),
        key(
            "stale_while_revalidate",
            Duration,
            "How long past its freshness a response is served while it is fetched anew, where the origin does not say.",
        )
        .text("0s"),
        key(
            "stale_if_error",
            Duration,
            "How long past its freshness a response is served where the origin gives no good answer, where the origin does not say.",
        )
        .text("0s"),
    ],
    later: &[],
};
