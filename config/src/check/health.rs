//! `health_check` and `passive_health`.

use std::ops::RangeInclusive;
use std::sync::Arc;

use http::uri::PathAndQuery;

use super::header::host_value;
use crate::fields::{Check, Fields};
use crate::model::{CheckKind, HealthCheck, PassiveHealth, UpstreamServer};
use crate::problem::Report;
use crate::raw::{CHECK, HEALTH_CHECK, PASSIVE_HEALTH};
use crate::read::{self, bad};
use crate::tree::Node;

/// `health_check.type`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Type {
    Http,
    Tcp,
    Grpc,
}

impl Type {
    fn read(name: &str) -> Option<Self> {
        match name {
            "http" => Some(Self::Http),
            "tcp" => Some(Self::Tcp),
            "grpc" => Some(Self::Grpc),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Tcp => "tcp",
            Self::Grpc => "grpc",
        }
    }

    /// The keys that mean nothing to it, each with a type that it does mean something to.
    fn meaningless(self) -> &'static [(&'static str, Self)] {
        match self {
            Self::Http => &[("service", Self::Grpc)],
            Self::Tcp => &[
                ("path", Self::Http),
                ("host", Self::Http),
                ("expect", Self::Http),
                ("service", Self::Grpc),
            ],
            Self::Grpc => &[("path", Self::Http), ("expect", Self::Http)],
        }
    }
}

/// `health_check`. `unix` is a server of the upstream that has no port to check, if there is one.
pub(super) fn health_check(cx: &Check<'_>, node: &Node, unix: Option<&UpstreamServer>) -> Option<HealthCheck> {
    let fields = Fields::open(cx, node, &HEALTH_CHECK)?;
    let kind = fields.read("type", |cx, node| read::one_of(cx, node, &CHECK, Type::read));
    let path = fields.optional("path", path);
    let host = fields.optional("host", host_value);
    let service = fields.optional("service", read::text);
    let expect = fields.optional("expect", expect);
    let port = fields.optional("port", |cx, node| read::integer(cx, node, fields.bounds("port")));
    let interval = fields.read("interval", read::timeout);
    let timeout = fields.read("timeout", read::timeout);
    let rise = fields.count("rise");
    let fall = fields.count("fall");
    let meaningless = kind.map_or(0, |kind| report_meaningless(&fields, kind));
    if let (Some(port), Some(_)) = (fields.get("port"), unix) {
        cx.report(Report::at(port.at, "`port` has no meaning for a server on a Unix socket"));
        return None;
    }
    if meaningless > 0 {
        return None;
    }
    let kind = match kind? {
        Type::Http => CheckKind::Http {
            path: path?.unwrap_or_else(|| "/".into()),
            host: host?,
            expect: expect?.unwrap_or(200..=299),
        },
        Type::Tcp => CheckKind::Tcp,
        Type::Grpc => CheckKind::Grpc {
            service: service?.unwrap_or_default().into(),
            host: host?,
        },
    };
    let port = match port? {
        Some(port) => Some(u16::try_from(port).ok()?),
        None => None,
    };
    Some(HealthCheck {
        kind,
        port,
        interval: interval?,
        timeout: timeout?,
        rise: rise?,
        fall: fall?,
    })
}

/// Nothing is read and ignored: a connection that opens has no path and no status. How many keys are reported for it.
fn report_meaningless(fields: &Fields<'_>, kind: Type) -> usize {
    let keys = kind.meaningless().iter();
    let given: Vec<_> = keys.filter_map(|(name, other)| Some((name, other, fields.get(name)?))).collect();
    for (name, other, node) in &given {
        let report = Report::at(node.at, format!("`{name}` has no meaning for type = \"{}\"", kind.name()));
        fields
            .cx
            .report(report.help(format!("leave it out, or write type = \"{}\"", other.name())));
    }
    given.len()
}

/// Path and query of a request.
fn path(cx: &Check<'_>, node: &Node) -> Option<Arc<str>> {
    let text = read::text(cx, node)?;
    if !text.starts_with('/') || text.contains('#') || text.parse::<PathAndQuery>().is_err() {
        cx.report(bad(node, "path", &text).expected(r#"a path such as "/ready""#));
        return None;
    }
    Some(text.into())
}

/// "200" or "200-399".
fn expect(cx: &Check<'_>, node: &Node) -> Option<RangeInclusive<u16>> {
    let text = read::text(cx, node)?;
    let (first, last) = text.split_once('-').unwrap_or((&text, &text));
    let status = |text: &str| text.parse().ok().filter(|status| text.len() == 3 && (100..=599).contains(status));
    match (status(first), status(last)) {
        (Some(first), Some(last)) if first <= last => Some(first..=last),
        _ => {
            cx.report(bad(node, "range of statuses", &text).expected(r#""200", "200-399" or any other statuses from 100 to 599"#));
            None
        }
    }
}

/// `passive_health`.
pub(super) fn passive_health(cx: &Check<'_>, node: &Node) -> Option<PassiveHealth> {
    let fields = Fields::open(cx, node, &PASSIVE_HEALTH)?;
    let failures = fields.count("failures");
    let window = fields.read("window", read::timeout);
    let eject = fields.read("eject", read::timeout);
    let max_ejected_percent = fields.integer("max_ejected_percent");
    Some(PassiveHealth {
        failures: failures?,
        window: window?,
        eject: eject?,
        max_ejected_percent: max_ejected_percent?,
    })
}
