//! Header names and values: matches, edits, and the `Host` that servers get.

use http::uri::Authority;
use http::{HeaderName, HeaderValue, header};

use super::upstream::first_is_at;
use crate::fields::{Check, Fields};
use crate::model::HeaderEdits;
use crate::problem::Report;
use crate::raw::HEADER_EDITS;
use crate::read::{self, bad};
use crate::source::Place;
use crate::tree::Node;

/// Fields that say how a message is framed or a connection is used (RFC 9110 §7.6.1, RFC 9112 §6). Only `lb` itself may write them: one
/// that disagrees with the body would let a request be read as two.
const FRAMING: &[&str] = &[
    "connection",
    "content-length",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// A value for `Host`: a name or address, with a port or without.
pub(super) fn host_value(cx: &Check<'_>, node: &Node) -> Option<HeaderValue> {
    let text = read::text(cx, node)?;
    let right = text
        .parse::<Authority>()
        .is_ok_and(|authority| !authority.as_str().contains('@') && !authority.host().is_empty());
    if !right {
        cx.report(bad(node, "host", &text).expected(r#"a host such as "users.internal" or "users.internal:8080""#));
        return None;
    }
    HeaderValue::from_str(&text).ok()
}

/// A table of header names and values. None may stand there twice, in whatever case.
pub(super) fn headers(cx: &Check<'_>, node: &Node) -> Option<Vec<(HeaderName, HeaderValue)>> {
    headers_but(cx, node, |_| None)
}

/// As [`headers`], without names that `why_not` gives a reason against.
fn headers_but(
    cx: &Check<'_>,
    node: &Node,
    why_not: impl Fn(&HeaderName) -> Option<&'static str>,
) -> Option<Vec<(HeaderName, HeaderValue)>> {
    let mut seen: Vec<(HeaderName, Place)> = Vec::new();
    read::map(cx, node, |cx, entry| {
        let value = read::header_value(cx, &entry.node);
        let name = name_but(cx, entry.key_at, &entry.key, &why_not)?;
        if let Some((_, first)) = seen.iter().find(|(other, _)| *other == name) {
            let help = format!("names are the same in upper and lower case; {}", first_is_at(cx, *first));
            cx.report(
                Report::at(entry.key_at, format!("`{name}` is given twice"))
                    .found(&entry.key)
                    .help(help),
            );
            return None;
        }
        seen.push((name.clone(), entry.key_at));
        Some((name, value?))
    })
}

/// The name of a header that there is no reason against.
fn name_but(cx: &Check<'_>, at: Place, text: &str, why_not: impl Fn(&HeaderName) -> Option<&'static str>) -> Option<HeaderName> {
    let name = read::header_name(cx, at, text)?;
    match why_not(&name) {
        None => Some(name),
        Some(why) => {
            cx.report(Report::at(at, format!("`{name}` cannot be edited")).found(text).help(why));
            None
        }
    }
}

/// `request_headers`. `Host` is not edited here, because it also decides what a server makes of the request.
pub(super) fn request_headers(cx: &Check<'_>, node: &Node) -> Option<HeaderEdits> {
    edits(cx, node, |name| {
        if *name == header::HOST {
            Some("set `host` of the upstream instead")
        } else {
            framing(name)
        }
    })
}

/// `response_headers`.
pub(super) fn response_headers(cx: &Check<'_>, node: &Node) -> Option<HeaderEdits> {
    edits(cx, node, framing)
}

fn framing(name: &HeaderName) -> Option<&'static str> {
    FRAMING.contains(&name.as_str()).then_some("lb writes it itself")
}

fn edits(cx: &Check<'_>, node: &Node, why_not: impl Fn(&HeaderName) -> Option<&'static str>) -> Option<HeaderEdits> {
    let fields = Fields::open(cx, node, &HEADER_EDITS)?;
    let [set, add] = ["set", "add"].map(|name| fields.read(name, |cx, node| headers_but(cx, node, &why_not)));
    let remove = fields.read("remove", |cx, node| {
        read::list(cx, node, |cx, node| {
            read::text(cx, node).and_then(|name| name_but(cx, node.at, &name, &why_not))
        })
    });
    Some(HeaderEdits {
        set: set?,
        add: add?,
        remove: remove?,
    })
}
