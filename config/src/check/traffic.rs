//! `split`, `mirror` and `fault` of a route.

use super::route::{status_code, upstream, upstream_named};
use crate::fields::{Check, Fields};
use crate::model::{Fault, Mirror, Share, Split};
use crate::problem::Report;
use crate::raw::{FAULT, MAX_WEIGHT, MIRROR};
use crate::read;
use crate::tree::{Node, Value};

/// `split`: upstreams that there are, and a weight above 0 for one of them.
pub(super) fn split(cx: &Check<'_>, node: &Node, names: &[&str]) -> Option<Split> {
    if matches!(&node.value, Value::Table(table) if table.entries.is_empty()) {
        cx.report(
            Report::at(node.at, "`split` is empty")
                .expected("a weight for at least one upstream")
                .found("{}"),
        );
        return None;
    }
    let shares = read::map(cx, node, |cx, entry| {
        let upstream = upstream_named(cx, entry.key_at, &entry.key, names);
        let weight = read::integer(cx, &entry.node, 0..=MAX_WEIGHT).and_then(|weight| u32::try_from(weight).ok());
        Some(Share {
            upstream: upstream?,
            weight: weight?,
        })
    })?;
    if shares.iter().all(|share| share.weight == 0) {
        cx.report(Report::at(node.at, "every upstream has the weight 0: none gets requests").expected("a weight above 0 for one of them"));
        return None;
    }
    Some(Split::new(shares))
}

/// `mirror`.
pub(super) fn mirror(cx: &Check<'_>, node: &Node, names: &[&str]) -> Option<Mirror> {
    let fields = Fields::open(cx, node, &MIRROR)?;
    let upstream = fields.read("upstream", |cx, node| upstream(cx, node, names));
    let percent = fields.read("percent", read::percent);
    Some(Mirror {
        upstream: upstream?,
        percent: percent?,
    })
}

/// `fault`: a delay, an error, or the one and then the other.
pub(super) fn fault(cx: &Check<'_>, node: &Node) -> Option<Fault> {
    let fields = Fields::open(cx, node, &FAULT)?;
    let delay = fields.optional("delay", read::timeout);
    let bounds = fields.bounds("abort");
    let abort = fields.optional("abort", |cx, node| read::integer(cx, node, bounds).and_then(status_code));
    let percent = fields.read("percent", read::percent);
    if fields.get("delay").or(fields.get("abort")).is_none() {
        cx.report(Report::at(node.at, "`fault` does nothing").expected("`delay`, `abort` or both"));
        return None;
    }
    Some(Fault {
        delay: delay?,
        abort: abort?,
        percent: percent?,
    })
}
