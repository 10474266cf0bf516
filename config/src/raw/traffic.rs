//! What a route does with its traffic beside passing it on: `split`, `mirror`, `fault`.

use super::Shape::{Duration, Integer, Percent, Text};
use super::{MAX_WEIGHT, Shape, TableDef, key};

/// `split`: relative weights by the names of upstreams.
pub(crate) const SPLIT: Shape = Shape::Map(&Integer(0, MAX_WEIGHT));

/// `mirror`.
pub(crate) static MIRROR: TableDef = TableDef {
    title: "[routes.mirror]",
    about: "Sends a copy of requests to another upstream, whose answers nobody waits for.",
    keys: &[
        key("upstream", Text, "The name of the upstream that gets the copies.").required(),
        key(
            "percent",
            Percent,
            "How many of the route's requests are copied, in percent; a fraction may be given.",
        )
        .integer(100),
    ],
    later: &[],
};

/// `fault`.
pub(crate) static FAULT: TableDef = TableDef {
    title: "[routes.fault]",
    about: "Delays or refuses requests on purpose, for drills.",
    keys: &[
        key(
            "delay",
            Duration,
            "How long a request waits before anything else is done with it; without it, not at all.",
        ),
        key(
            "abort",
            Integer(400, 599),
            "The status of the error that is answered then; without it, the request goes on.",
        ),
        key(
            "percent",
            Percent,
            "How many of the route's requests are hit, in percent; a fraction may be given.",
        )
        .integer(100),
    ],
    later: &[],
};
