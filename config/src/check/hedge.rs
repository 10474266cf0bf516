//! `hedge`.

use crate::fields::{Check, Fields};
use crate::model::{Hedge, HedgeAfter};
use crate::raw::HEDGE;
use crate::read::{self, bad};
use crate::tree::Node;

/// `hedge` of an upstream.
pub(super) fn hedge(cx: &Check<'_>, node: &Node) -> Option<Hedge> {
    let fields = Fields::open(cx, node, &HEDGE)?;
    let after = fields.read("after", after);
    let max_percent = fields.integer("max_percent");
    Some(Hedge {
        after: after?,
        max_percent: max_percent?,
    })
}

/// "p95", or a duration.
fn after(cx: &Check<'_>, node: &Node) -> Option<HedgeAfter> {
    let text = read::text(cx, node)?;
    let Some(percent) = text.strip_prefix('p') else {
        return read::timeout(cx, node).map(HedgeAfter::Delay);
    };
    let known = percent.parse().ok().filter(|known| percent.len() == 2 && (50..=99).contains(known));
    if known.is_none() {
        cx.report(bad(node, "percentile", &text).expected(r#"p50 to p99, or a duration such as "50ms""#));
    }
    known.map(HedgeAfter::Percentile)
}
