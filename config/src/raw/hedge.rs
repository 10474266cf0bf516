//! `[upstreams.NAME.hedge]`.

use super::Shape::{Integer, Pattern};
use super::{TableDef, key};

/// `hedge`.
pub(crate) static HEDGE: TableDef = TableDef {
    title: "[upstreams.NAME.hedge]",
    about: "Asks a second server as well where the first one is slow to answer a GET, HEAD or OPTIONS; the first good answer counts.",
    keys: &[
        key(
            "after",
            Pattern(r"^(p[5-9]\d|\d+(ms|s|m|h|d))$"),
            "How long the first server has: what so many percent of the answers take at most, p50 to p99, or a duration.",
        )
        .text("p95"),
        key(
            "max_percent",
            Integer(1, 100),
            "Second servers as a share of the requests of the last 10 s.",
        )
        .integer(5),
    ],
    later: &[],
};
