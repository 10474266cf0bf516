//! `lb explain`: what would become of a request, found by the same code that serves requests, without sending anything.

mod cache;
mod traffic;

use std::fmt::Write;
use std::net::IpAddr;
use std::process::ExitCode;

use clap::Args;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version, header};
use lb_config::{Action, Config, HashOn, HostMatch, PathMatch, Route, Upstream};

use super::{FileArgs, WRONG, print};
use crate::exchange::head::{Fields, RequestHead};
use crate::route::{Found, Router, Target, Verdict, location, rewrite};

/// Arguments of `lb explain`.
#[derive(Args)]
pub(super) struct ExplainArgs {
    #[command(flatten)]
    file: FileArgs,
    /// The method
    #[arg(short = 'X', long, default_value = "GET")]
    method: String,
    /// A header field; may repeat
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// The client's address, which a split goes by
    #[arg(long, value_name = "ADDRESS")]
    client: Option<IpAddr>,
    /// The URL that a client would ask for
    url: String,
}

/// Prints what would become of the request.
pub(super) fn run(args: &ExplainArgs) -> ExitCode {
    let request = match Asked::parse(args) {
        Ok(request) => request,
        Err(wrong) => {
            eprintln!("lb: {wrong}");
            return ExitCode::from(WRONG);
        }
    };
    match super::load(&args.file.file) {
        Ok(config) => {
            let mut out = String::new();
            // Writing to a String cannot fail.
            let _ = explain(&mut out, &config, &request);
            print(&out)
        }
        Err(code) => code,
    }
}

/// The request that is asked about.
struct Asked {
    method: Method,
    client: Option<IpAddr>,
    port: u16,
    scheme: &'static str,
    authority: HeaderValue,
    target: String,
    fields: HeaderMap,
}

impl Asked {
    fn parse(args: &ExplainArgs) -> Result<Asked, String> {
        let method = Method::from_bytes(args.method.as_bytes()).map_err(|_| format!("expected a method, found {:?}", args.method))?;
        let url = || format!("expected a URL such as http://api.example.com:8080/users, found {:?}", args.url);
        let uri: Uri = args.url.parse().map_err(|_| url())?;
        let scheme = match uri.scheme_str() {
            Some("http") => "http",
            Some("https") => "https",
            _ => return Err(url()),
        };
        let authority = uri.authority().ok_or_else(url)?;
        let mut fields = HeaderMap::new();
        for line in &args.headers {
            let (name, value) = field(line).ok_or_else(|| format!("expected a header as 'Name: value', found {line:?}"))?;
            fields.append(name, value);
        }
        let authority = match fields.get(header::HOST) {
            Some(host) => host.clone(),
            None => HeaderValue::from_str(authority.as_str()).map_err(|_| url())?,
        };
        fields.insert(header::HOST, authority.clone());
        let default_port = if scheme == "https" { 443 } else { 80 };
        Ok(Asked {
            method,
            client: args.client.map(|client| client.to_canonical()),
            port: uri.port_u16().unwrap_or(default_port),
            scheme,
            authority,
            // As it was written: `Uri` keeps what is percent-encoded.
            target: uri.path_and_query().map_or("/", |target| target.as_str()).to_string(),
            fields,
        })
    }
}

fn field(line: &str) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = line.split_once(':')?;
    Some((
        HeaderName::from_bytes(name.trim().as_bytes()).ok()?,
        HeaderValue::from_str(value.trim()).ok()?,
    ))
}

fn explain(out: &mut String, config: &Config, request: &Asked) -> std::fmt::Result {
    let target = Target::parse(request.target.as_bytes());
    writeln!(
        out,
        "request    {} {}://{}{}",
        request.method,
        request.scheme,
        text(request.authority.as_bytes()),
        request.target
    )?;
    if target.path() != target.forward() || target.is_changed() {
        writeln!(out, "           matched as {}", text(target.path()))?;
    }
    listener(out, config, request)?;
    let router = Router::new(&config.routes);
    match router.find(request, &target) {
        Found::Route(index) => {
            let route = &config.routes[index];
            writeln!(
                out,
                "route      {} (number {} of {}): {}",
                route.name,
                index + 1,
                config.routes.len(),
                conditions(route)
            )?;
            others(out, &router, request, &target)?;
            admission(out, config, route)?;
            if let Some(fault) = &route.fault {
                traffic::fault(out, fault)?;
            }
            action(out, config, route, request, &target)
        }
        Found::MethodNotAllowed(allowed) => {
            let allowed: Vec<&str> = allowed.iter().map(Method::as_str).collect();
            writeln!(
                out,
                "route      none: the path matches, the method does not; 405 with Allow: {}",
                allowed.join(", ")
            )?;
            others(out, &router, request, &target)
        }
        Found::None => {
            writeln!(out, "route      none: 404")?;
            others(out, &router, request, &target)
        }
    }
}

fn listener(out: &mut String, config: &Config, request: &Asked) -> std::fmt::Result {
    let (with, mut listen) = match request.scheme {
        "https" => (" with TLS", config.server.tls.iter().map(|entry| entry.listen).collect()),
        _ => ("", config.server.listen.clone()),
    };
    listen.dedup();
    if let Some(address) = listen.iter().find(|address| address.port() == request.port) {
        return writeln!(out, "listener   {address}{with}");
    }
    write!(out, "listener   none{with} on port {}; ", request.port)?;
    match listen.iter().map(ToString::to_string).reduce(|all, next| format!("{all}, {next}")) {
        Some(all) => writeln!(out, "taken as if it came by one of {all}"),
        None => writeln!(out, "taken as if there were one"),
    }
}

fn conditions(route: &Route) -> String {
    let mut all = Vec::new();
    match &route.host {
        HostMatch::Any => {}
        HostMatch::Exact(host) => all.push(format!("host is {host}")),
        HostMatch::Wildcard(suffix) => all.push(format!("host is below *{suffix}")),
    }
    all.push(match &route.path {
        PathMatch::Prefix(prefix) => format!("path is {prefix} or below"),
        PathMatch::Exact(path) => format!("path is exactly {path}"),
        PathMatch::Regex(regex) => format!("path matches ~{regex}"),
    });
    if !route.methods.is_empty() {
        let methods: Vec<&str> = route.methods.iter().map(Method::as_str).collect();
        all.push(format!("method is one of {}", methods.join(", ")));
    }
    all.extend(
        route
            .headers
            .iter()
            .map(|(name, value)| format!("{name} is {:?}", text(value.as_bytes()))),
    );
    all.join("; ")
}

fn others(out: &mut String, router: &Router, request: &Asked, target: &Target<'_>) -> std::fmt::Result {
    for route in router.explain(request, target) {
        match route.verdict {
            Verdict::Taken => {}
            Verdict::LessSpecific => writeln!(
                out,
                "           not {}: it matches, but is less specific or later in the file",
                route.name
            )?,
            Verdict::Failed(why) => {
                let why: Vec<String> = why.iter().map(ToString::to_string).collect();
                writeln!(out, "           not {}: {}", route.name, why.join("; "))?;
            }
        }
    }
    Ok(())
}

fn admission(out: &mut String, config: &Config, route: &Route) -> std::fmt::Result {
    let limits = &config.limits;
    let max_body = route.max_body.unwrap_or(limits.max_body);
    writeln!(
        out,
        "limits     head up to {} bytes and {} fields, body up to {max_body} bytes",
        limits.max_header_bytes, limits.max_headers
    )?;
    let list = |nets: &[ipnet::IpNet]| nets.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let access = match (route.allow.is_empty(), route.deny.is_empty()) {
        (true, true) => String::from("everybody"),
        (false, true) => format!("only {}", list(&route.allow)),
        (true, false) => format!("everybody but {}", list(&route.deny)),
        (false, false) => format!("only {}, but not {}", list(&route.allow), list(&route.deny)),
    };
    writeln!(out, "access     {access}; no authentication")
}

fn action(out: &mut String, config: &Config, route: &Route, request: &Asked, target: &Target<'_>) -> std::fmt::Result {
    match &route.action {
        Action::Respond {
            status,
            body,
            content_type,
        } => {
            writeln!(
                out,
                "responds   {status}, {} bytes of {}",
                body.len(),
                text(content_type.as_bytes())
            )
        }
        Action::Redirect { to, status } => {
            match location(to, request.scheme, request.authority.as_bytes(), target.forward(), target.query()) {
                Some(location) => writeln!(out, "redirects  {status} to {}", text(location.as_bytes())),
                None => writeln!(out, "redirects  nowhere: the request names no host"),
            }
        }
        Action::Forward { split, rewrite: rule } => {
            let upstreams = traffic::split(out, config, split, request.client)?;
            let upstreams: Vec<&Upstream> = upstreams.into_iter().map(|index| &config.upstreams[index]).collect();
            cache::cache(out, route, &upstreams, request, target)?;
            if let Some(path) = rewrite(rule, target) {
                writeln!(out, "forwards   as {}", text(&path))?;
            }
            for upstream in upstreams {
                servers(out, upstream)?;
            }
            route.mirror.as_ref().map_or(Ok(()), |mirror| traffic::mirror(out, config, mirror))
        }
    }
}

fn servers(out: &mut String, upstream: &Upstream) -> std::fmt::Result {
    let hashed = match upstream.balance.hash_on() {
        None => String::new(),
        Some(HashOn::ClientIp) => String::from(" on the client's address"),
        Some(HashOn::Path) => String::from(" on the path"),
        Some(HashOn::Header(name)) => format!(" on the header {name}"),
        Some(HashOn::Cookie(name)) => format!(" on the cookie {name}"),
    };
    writeln!(out, "upstream   {}: {}{hashed}", upstream.name, upstream.balance.name())?;
    for server in &upstream.servers {
        write!(out, "           {} weight {}", server.address, server.weight)?;
        if let Some(max) = server.max_connections {
            write!(out, ", at most {max} requests at once")?;
        }
        writeln!(out, "{}", if server.backup { ", backup" } else { "" })?;
    }
    if upstream.adaptive_concurrency {
        writeln!(out, "           each gets as many requests at once as it is found to take")?;
    }
    Ok(())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

impl Fields for Asked {
    fn get(&self, name: &HeaderName) -> Option<&[u8]> {
        Fields::get(&self.fields, name)
    }

    fn all<'a>(&'a self, name: &'a HeaderName) -> impl Iterator<Item = &'a [u8]> {
        self.fields.all(name)
    }

    fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        Fields::iter(&self.fields)
    }
}

impl RequestHead for Asked {
    fn method(&self) -> &Method {
        &self.method
    }

    fn version(&self) -> Version {
        Version::HTTP_11
    }

    fn target(&self) -> &[u8] {
        self.target.as_bytes()
    }

    fn authority(&self) -> &[u8] {
        self.authority.as_bytes()
    }
}
