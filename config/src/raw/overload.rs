//! `queue` and `circuit_breaker` of an upstream: what holds when its servers have enough to do, or too much.

use super::Shape::{Duration, Integer};
use super::{MANY, TableDef, key};

/// `queue`.
pub(crate) static QUEUE: TableDef = TableDef {
    title: "[upstreams.NAME.queue]",
    about: "Where requests wait, in order of arrival, while every server is at its limit.",
    keys: &[
        key("size", Integer(1, MANY), "The most requests that wait; one more gets 503 at once.").integer(1000),
        key("timeout", Duration, "How long one waits before it gets 503.").text("1s"),
    ],
    later: &[],
};

/// `circuit_breaker`.
pub(crate) static CIRCUIT_BREAKER: TableDef = TableDef {
    title: "[upstreams.NAME.circuit_breaker]",
    about: "Refuses requests at once, for a while, when too many tries of the whole upstream fail.",
    keys: &[
        key("error_percent", Integer(1, 100), "So many of a hundred tries fail …").integer(50),
        key("min_requests", Integer(1, MANY), "… of at least so many …").integer(20),
        key("window", Duration, "… within this time …").text("10s"),
        key(
            "open",
            Duration,
            "… and requests get 503 at once for so long; then one at a time tries whether it is over.",
        )
        .text("5s"),
    ],
    later: &[],
};
