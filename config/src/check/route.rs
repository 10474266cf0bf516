//! `[[routes]]`.

use http::{HeaderName, HeaderValue, StatusCode};

use super::header::{headers, request_headers, response_headers};
use super::matching::{host, method, path, url_path};
use super::traffic;
use super::upstream::first_is_at;
use crate::fields::{Check, Fields};
use crate::model::{Action, BypassOn, HostMatch, PathMatch, Rewrite, Route, RouteCache, Split, Template};
use crate::problem::{Report, any_of, quote};
use crate::raw::{PLACEHOLDERS, REDIRECT, REDIRECTS, RESPOND, REWRITE, ROUTE, ROUTE_CACHE};
use crate::read::{self, bad};
use crate::source::Place;
use crate::suggest::nearest;
use crate::template::{self, TemplateError};
use crate::tree::{Node, Value};

/// All routes; `names` are the upstreams', in the order of their indices.
pub(super) fn routes(cx: &Check<'_>, node: &Node, names: &[&str]) -> Option<Vec<Route>> {
    if !matches!(node.value, Value::Array(_)) {
        cx.wrong_kind(node, "[[routes]], with two brackets, above each route");
        return None;
    }
    let mut seen = Vec::new();
    read::filled_list(cx, node, |cx, node| route(cx, node, names, &mut seen))
}

/// One route. What it takes is added to `seen`, where no other may take the same.
fn route(cx: &Check<'_>, node: &Node, names: &[&str], seen: &mut Vec<(Condition, Place)>) -> Option<Route> {
    let fields = Fields::open(cx, node, &ROUTE)?;
    let name = fields.optional("name", read::filled);
    let host = fields.optional("host", |cx, node| host(cx, node).zip(read::text(cx, node)));
    let path = fields.read("path", |cx, node| path(cx, node).zip(read::text(cx, node)));
    let methods = fields
        .optional("methods", |cx, node| read::filled_list(cx, node, method))
        .map(Option::unwrap_or_default);
    let match_headers = fields.read("headers", headers);
    let action = action(&fields, names);
    let mirror = fields.optional("mirror", |cx, node| traffic::mirror(cx, node, names));
    let fault = fields.optional("fault", traffic::fault);
    let request_headers = fields.optional("request_headers", request_headers).map(Option::unwrap_or_default);
    let response_headers = fields.optional("response_headers", response_headers).map(Option::unwrap_or_default);
    let cache = fields.optional("cache", cache);
    let retry_idempotency_key = fields.read("retry_idempotency_key", read::boolean);
    let max_body = fields.optional("max_body", read::size);
    let allow = fields
        .optional("allow", |cx, node| read::filled_list(cx, node, read::network))
        .map(Option::unwrap_or_default);
    let deny = fields.read("deny", |cx, node| read::list(cx, node, read::network));

    let ((path, written_path), host) = (path?, host?);
    let (host, written_host) = host.unwrap_or((HostMatch::Any, String::new()));
    let (mut methods, match_headers) = (methods?, match_headers?);
    methods.sort_unstable_by(|one, other| one.as_str().cmp(other.as_str()));
    methods.dedup();
    let is_new = only_once(cx, node, Condition::new(&host, &path, &methods, &match_headers), seen);
    Some(Route {
        name: name?.unwrap_or_else(|| format!("{written_host}{written_path}")).into(),
        host,
        path,
        methods,
        headers: match_headers,
        action: action.filter(|_| is_new)?,
        mirror: mirror?,
        fault: fault?,
        request_headers: request_headers?,
        response_headers: response_headers?,
        cache: cache?,
        retry_idempotency_key: retry_idempotency_key?,
        max_body: max_body?,
        allow: allow?,
        deny: deny?,
    })
}

/// What a route takes, so that two can be compared.
#[derive(PartialEq)]
struct Condition {
    host: HostMatch,
    path: String,
    methods: Vec<http::Method>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Condition {
    fn new(host: &HostMatch, path: &PathMatch, methods: &[http::Method], headers: &[(HeaderName, HeaderValue)]) -> Self {
        let path = match path {
            PathMatch::Prefix(path) => path.to_string(),
            PathMatch::Exact(path) => format!("={path}"),
            PathMatch::Regex(regex) => format!("~{}", regex.as_str()),
        };
        let mut headers = headers.to_vec();
        headers.sort_by(|one, other| one.0.as_str().cmp(other.0.as_str()));
        Self {
            host: host.clone(),
            path,
            methods: methods.to_vec(),
            headers,
        }
    }
}

/// Reports a route that takes the same as an earlier one, and would never get a request.
fn only_once(cx: &Check<'_>, node: &Node, condition: Condition, seen: &mut Vec<(Condition, Place)>) -> bool {
    if let Some((_, first)) = seen.iter().find(|(other, _)| *other == condition) {
        let report = Report::at(node.at, "the same route twice: host, path, methods and headers are equal").found(&condition.path);
        cx.report_missing(report.help(first_is_at(cx, *first)));
        return false;
    }
    seen.push((condition, node.at));
    true
}

/// The one of `upstream`, `split`, `redirect` and `respond` that the route has.
fn action(fields: &Fields<'_>, names: &[&str]) -> Option<Action> {
    const ACTIONS: &[&str] = &["upstream", "split", "redirect", "respond"];
    let rewrite = fields.optional("rewrite", rewrite).map(Option::unwrap_or_default);
    let upstream = fields.optional("upstream", |cx, node| upstream(cx, node, names));
    let split = fields.optional("split", |cx, node| traffic::split(cx, node, names));
    let redirect = fields.optional("redirect", redirect);
    let respond = fields.optional("respond", respond);
    let given: Vec<(&str, &Node)> = ACTIONS.iter().filter_map(|name| Some((*name, fields.get(name)?))).collect();
    match given.as_slice() {
        [] => no_action(fields),
        [("upstream" | "split", _)] => {}
        [_] => only_with_upstream(fields)?,
        [(first, _), others @ ..] => {
            for (other, node) in others {
                let report = Report::at(node.at, format!("`{other}` beside `{first}`: a route does one thing")).found(*other);
                fields.cx.report(report.expected(format!("one of {}", any_of(ACTIONS))));
            }
            return None;
        }
    }
    let (rewrite, upstream, split, redirect, respond) = (rewrite?, upstream?, split?, redirect?, respond?);
    split
        .or(upstream.map(Split::whole))
        .map(|split| Action::Forward { split, rewrite })
        .or(redirect)
        .or(respond)
}

/// A route that does nothing.
fn no_action(fields: &Fields<'_>) {
    let report = Report::at(fields.node.at, "the route does nothing");
    fields
        .cx
        .report_missing(report.expected("`upstream`, `split`, `redirect` or `respond`"));
}

/// Nothing is read and ignored: without an upstream there is no request to change, and no answer to cache.
fn only_with_upstream(fields: &Fields<'_>) -> Option<()> {
    let mut right = Some(());
    for name in ["rewrite", "request_headers", "cache", "mirror", "retry_idempotency_key"] {
        if let Some(node) = fields.get(name) {
            fields
                .cx
                .report(Report::at(node.at, format!("`{name}` has no meaning without `upstream` or `split`")).found(name));
            right = None;
        }
    }
    right
}

/// An upstream by its name; as its index.
pub(super) fn upstream(cx: &Check<'_>, node: &Node, names: &[&str]) -> Option<usize> {
    let name = read::text(cx, node)?;
    upstream_named(cx, node.at, &name, names)
}

/// The upstream of a name that stands at this place.
pub(super) fn upstream_named(cx: &Check<'_>, at: Place, name: &str, names: &[&str]) -> Option<usize> {
    let index = names.iter().position(|known| *known == name);
    if index.is_none() {
        let expected = if names.is_empty() {
            "[upstreams.NAME], of which there is none".into()
        } else {
            any_of(names)
        };
        let report = Report::at(at, format!("unknown upstream {}", quote(name))).expected(expected);
        cx.report_missing_table(report.found(name).did_you_mean(nearest(name, names.iter().copied())));
    }
    index
}

fn rewrite(cx: &Check<'_>, node: &Node) -> Option<Rewrite> {
    let fields = Fields::open(cx, node, &REWRITE)?;
    let [strip_prefix, add_prefix] = ["strip_prefix", "add_prefix"].map(|name| fields.optional(name, prefix));
    Some(Rewrite {
        strip_prefix: strip_prefix?.flatten(),
        add_prefix: add_prefix?.flatten(),
    })
}

/// A prefix without its last slash; "/" is none.
fn prefix(cx: &Check<'_>, node: &Node) -> Option<Option<Box<str>>> {
    let text = read::text(cx, node)?;
    let path = url_path(cx, node, &text)?;
    let prefix = path.trim_end_matches('/');
    Some((!prefix.is_empty()).then(|| prefix.into()))
}

fn cache(cx: &Check<'_>, node: &Node) -> Option<RouteCache> {
    let fields = Fields::open(cx, node, &ROUTE_CACHE)?;
    let ttl = fields.optional("ttl", read::duration);
    let statuses = fields.read("statuses", |cx, node| read::list(cx, node, cached_status));
    let key = fields.read("key", template);
    let min_uses = fields.read("min_uses", |cx, node| read::integer(cx, node, 1..=1000));
    let vary_on = fields.read("vary_on", |cx, node| read::list(cx, node, vary_on));
    let bypass_on = fields.read("bypass_on", |cx, node| read::list(cx, node, bypass_on));
    let stale_while_revalidate = fields.read("stale_while_revalidate", read::duration);
    let stale_if_error = fields.read("stale_if_error", read::duration);
    Some(RouteCache {
        ttl: ttl?,
        statuses: statuses?,
        // At most 1000.
        min_uses: u32::try_from(min_uses?).unwrap_or(u32::MAX),
        key: key?,
        vary_on: vary_on?,
        bypass_on: bypass_on?,
        stale_while_revalidate: stale_while_revalidate?,
        stale_if_error: stale_if_error?,
    })
}

fn vary_on(cx: &Check<'_>, node: &Node) -> Option<HeaderName> {
    read::header_name(cx, node.at, &read::text(cx, node)?)
}

fn bypass_on(cx: &Check<'_>, node: &Node) -> Option<BypassOn> {
    let text = read::text(cx, node)?;
    match text.split_once(':') {
        Some(("header", name)) => read::header_name(cx, node.at, name).map(BypassOn::Header),
        // A cookie's name is a token, as a header's is (RFC 6265 §4.1.1), but its case matters.
        Some(("cookie", name)) => read::header_name(cx, node.at, name).map(|_| BypassOn::Cookie(name.into())),
        _ => {
            cx.report(
                Report::at(node.at, format!("unknown bypass_on \"{text}\""))
                    .expected("header:NAME or cookie:NAME")
                    .found(&text),
            );
            None
        }
    }
}

/// A status that may be stored as it is: a part of an object (206) and "nothing new" (304) may not.
fn cached_status(cx: &Check<'_>, node: &Node) -> Option<StatusCode> {
    let status = read::integer(cx, node, 200..=599)?;
    if status == 206 || status == 304 {
        cx.report(Report::at(node.at, format!("a response with status {status} cannot be cached")).found(status.to_string()));
        return None;
    }
    status_code(status)
}

pub(super) fn status_code(status: u64) -> Option<StatusCode> {
    StatusCode::from_u16(u16::try_from(status).ok()?).ok()
}

fn redirect(cx: &Check<'_>, node: &Node) -> Option<Action> {
    let fields = Fields::open(cx, node, &REDIRECT)?;
    let to = fields.read("to", location);
    let status = fields.read("status", |cx, node| {
        let status = read::integer(cx, node, 0..=u64::MAX)?;
        if !REDIRECTS.contains(&status) {
            let expected = any_of(&REDIRECTS.iter().map(u64::to_string).collect::<Vec<_>>());
            cx.report(
                Report::at(node.at, format!("{status} does not redirect"))
                    .expected(expected)
                    .found(status.to_string()),
            );
            return None;
        }
        status_code(status)
    });
    Some(Action::Redirect { to: to?, status: status? })
}

/// The template of a `Location`: a URL or a path, fit for a header.
fn location(cx: &Check<'_>, node: &Node) -> Option<Template> {
    let text = read::text(cx, node)?;
    let whole = ["/", "http://", "https://", "{scheme}://", "{path}"]
        .iter()
        .any(|start| text.starts_with(start));
    if !whole || !text.bytes().all(|b| b.is_ascii_graphic()) {
        cx.report(bad(node, "URL", &text).expected(r#"a URL or path such as "https://{host}{path}{query}", without spaces"#));
        return None;
    }
    template(cx, node)
}

fn template(cx: &Check<'_>, node: &Node) -> Option<Template> {
    let text = read::filled(cx, node)?;
    let names: Vec<String> = PLACEHOLDERS.iter().map(|name| format!("{{{name}}}")).collect();
    let report = match template::parse(&text) {
        Ok(template) => return Some(template),
        Err(TemplateError::Unmatched(brace)) => Report::at(node.at, format!("a `{brace}` that stands alone")).found(&text),
        Err(TemplateError::Unknown(name)) => Report::at(node.at, format!("unknown name `{{{name}}}`"))
            .did_you_mean(nearest(&name, PLACEHOLDERS.iter().copied()))
            .found(name),
    };
    cx.report(report.expected(any_of(&names)));
    None
}

fn respond(cx: &Check<'_>, node: &Node) -> Option<Action> {
    let fields = Fields::open(cx, node, &RESPOND)?;
    let status = fields.integer("status").and_then(status_code);
    let body = fields.read("body", read::text);
    let content_type = fields.read("content_type", |cx, node| {
        read::filled(cx, node).and_then(|_| read::header_value(cx, node))
    });
    let (status, body) = (status?, body?);
    if !body.is_empty() && matches!(status.as_u16(), 204 | 205 | 304) {
        let at = fields.get("body").map_or(node.at, |node| node.at);
        cx.report(Report::at(at, format!("a response with status {} has no body", status.as_u16())));
        return None;
    }
    Some(Action::Respond {
        status,
        body: body.into(),
        content_type: content_type?,
    })
}
