//! `queue` of an upstream: what holds when its servers have enough to do.

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
