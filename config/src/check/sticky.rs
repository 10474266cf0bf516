//! `sticky`.

use crate::fields::{Check, Fields};
use crate::model::{Secret, Sticky};
use crate::problem::Report;
use crate::raw::STICKY;
use crate::read;
use crate::tree::Node;

/// What is shorter can be guessed by whoever has a cookie and tries.
const SHORTEST_SECRET: usize = 16;

/// `sticky`.
pub(super) fn sticky(cx: &Check<'_>, node: &Node) -> Option<Sticky> {
    let fields = Fields::open(cx, node, &STICKY)?;
    let cookie = fields.read("cookie", |cx, node| {
        let name = read::text(cx, node)?;
        // A cookie's name is a token, as a header's is, but its case matters.
        read::header_name(cx, node.at, &name).map(|_| name.into())
    });
    let ttl = fields.optional("ttl", read::timeout);
    let secret = fields.optional("secret", secret);
    Some(Sticky {
        cookie: cookie?,
        ttl: ttl?,
        secret: secret?,
    })
}

/// It is never shown.
fn secret(cx: &Check<'_>, node: &Node) -> Option<Secret> {
    let secret = read::text(cx, node)?;
    if secret.len() < SHORTEST_SECRET {
        cx.report(Report::at(node.at, "the secret is too short").expected("16 characters or more"));
        return None;
    }
    Some(Secret(secret))
}
