//! From what the files say to what the program may assume: every rule of the configuration, every breach of it reported.
//!
//! One function reads one table. What concerns several tables (which upstreams there are, which routes are the same) is found here.

mod address;
mod header;
mod health;
mod hedge;
mod matching;
mod overload;
mod redis;
mod route;
mod server;
mod servers;
mod sticky;
mod tls;
mod traffic;
mod upstream;

pub(crate) use address::is_host_name;
pub(crate) use servers::file as servers_file;
pub(crate) use upstream::{balance, upstream};

use crate::fields::{Check, Fields};
use crate::model::{Action, Config, HostMatch, PathMatch, Rewrite, Route, Split, Upstream};
use crate::problem::Report;
use crate::raw::ROOT;
use crate::read;
use crate::tree::{Entry, Node, Value};

/// Reads the whole configuration. `None` after at least one report.
pub(crate) fn config(cx: &Check<'_>, root: &Node) -> Option<Config> {
    let fields = Fields::open(cx, root, &ROOT)?;
    // `include` has been followed when the files were read.
    fields.get("include");
    let empty = matches!(&root.value, Value::Table(table) if table.entries.is_empty());
    if empty {
        let report = Report::at(root.at, "the file says nothing: there is nothing to listen on");
        cx.report_missing(report.expected("[server] with `listen`, and an upstream or routes"));
        return None;
    }
    let server = fields.read("server", server::server);
    let limits = fields.read("limits", server::limits);
    let cache = fields.read("cache", server::cache);
    let names = upstream_names(fields.get("upstreams"));
    let upstreams = fields.optional("upstreams", upstreams);
    let routes = match fields.get("routes") {
        Some(node) => route::routes(cx, node, &names),
        None => only_route(&fields, &names),
    };
    Some(Config {
        sources: Vec::new(),
        server: server?,
        limits: limits?,
        upstreams: upstreams?.unwrap_or_default(),
        routes: routes?,
        cache: cache?,
        mentions: Default::default(),
    })
}

/// The names of the upstreams in the order in which [`upstreams`] gives them, those with problems too.
fn upstream_names(node: Option<&Node>) -> Vec<&str> {
    let mut names: Vec<&str> = match node.map(|node| &node.value) {
        Some(Value::Table(table)) => table
            .entries
            .iter()
            .filter(|entry| matches!(entry.node.value, Value::Table(_)))
            .map(|entry| entry.key.as_str())
            .collect(),
        _ => Vec::new(),
    };
    names.sort_unstable();
    names
}

/// `[upstreams]`, in the order of their names.
fn upstreams(cx: &Check<'_>, node: &Node) -> Option<Vec<Upstream>> {
    if !matches!(node.value, Value::Table(_)) {
        cx.wrong_kind(node, "a table for each upstream, [upstreams.NAME]");
        return None;
    }
    let mut upstreams = read::map(cx, node, named_upstream)?;
    upstreams.sort_by(|one, other| one.name.cmp(&other.name));
    Some(upstreams)
}

fn named_upstream(cx: &Check<'_>, entry: &Entry) -> Option<Upstream> {
    let name = entry.key.as_str();
    if !matches!(entry.node.value, Value::Table(_) | Value::Broken) {
        if matches!(&entry.node.value, Value::Array(list) if list.iter().any(|entry| matches!(entry.value, Value::Table(_)))) {
            cx.wrong_kind(&entry.node, &format!("a table: [upstreams.{name}]"));
        } else {
            let report = Report::at(entry.key_at, format!("`{name}` stands where the name of an upstream is due"));
            cx.report(report.expected("[upstreams.NAME] above the keys of an upstream").found(name));
        }
        return None;
    }
    let upstream = upstream(cx, &entry.node, name);
    // The name stands in URLs of the admin API and in labels of metrics.
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-') {
        cx.report(
            Report::at(entry.key_at, "bad name of an upstream")
                .expected("letters, digits, _ and -")
                .found(name),
        );
        return None;
    }
    upstream
}

/// What a file without routes means: one upstream gets everything.
fn only_route(fields: &Fields<'_>, names: &[&str]) -> Option<Vec<Route>> {
    let upstreams = fields.get("upstreams");
    let at = upstreams.map_or(fields.node.at, |node| node.at);
    match names {
        [_] => Some(vec![Route {
            name: "/".into(),
            host: HostMatch::Any,
            path: PathMatch::Prefix("/".into()),
            methods: Vec::new(),
            headers: Vec::new(),
            action: Action::Forward {
                split: Split::whole(0),
                rewrite: Rewrite::default(),
            },
            request_headers: Default::default(),
            response_headers: Default::default(),
            mirror: None,
            fault: None,
            cache: None,
            retry_idempotency_key: false,
            max_body: None,
            allow: Vec::new(),
            deny: Vec::new(),
        }]),
        // Something stands there that was meant for an upstream, and has been reported.
        [] if upstreams.is_some_and(|node| !matches!(&node.value, Value::Table(table) if table.entries.is_empty())) => None,
        [] => {
            fields.cx.report_missing_table(
                Report::at(at, "there is neither an upstream nor a route").expected("[upstreams.NAME] with `servers`, or [[routes]]"),
            );
            None
        }
        names => {
            let report = Report::at(at, format!("{} upstreams and no route: which gets what?", names.len()));
            fields
                .cx
                .report_missing_table(report.expected(format!("[[routes]] with `upstream`, for {}", names.join(" and "))));
            None
        }
    }
}
