//! `[[server.tls]]`, and `tls` of an upstream.
//!
//! The files that they name are not opened here; see [`crate::Mentions`].

use std::net::{IpAddr, SocketAddr};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use http::HeaderValue;

use super::address::is_host_name;
use super::server::socket;
use super::upstream::first_is_at;
use crate::fields::{Check, Fields};
use crate::model::{Address, Admin, ClientCertificate, Protocol, ServerTls, UpstreamServer, UpstreamTls, tls_name};
use crate::problem::{Report, quote};
use crate::raw::{SERVER_TLS, UPSTREAM_TLS};
use crate::read::{self, bad};
use crate::source::Place;
use crate::tree::{Node, Value};

/// One of `[[server.tls]]`, as far as it could be read: what is right of one that is wrong is compared with the others all the same.
#[derive(Default)]
pub(super) struct Listener {
    pub(super) listen: Option<(SocketAddr, Place)>,
    certificate: Option<(PathBuf, Place)>,
    pub(super) whole: Option<ServerTls>,
}

/// `[[server.tls]]`. No two with one address have the same certificate.
pub(super) fn listeners(cx: &Check<'_>, node: &Node) -> Option<Vec<Listener>> {
    if let Value::Table(_) = node.value {
        let report = Report::at(node.at, "`tls` cannot be a table").expected("a list of tables");
        cx.report(report.found("a table").help("write [[server.tls]]"));
        return None;
    }
    let mut index = 0..;
    let entries: Vec<Listener> = read::each(cx, node, |cx, node| listener(cx, node, index.next().unwrap_or(0)))?
        .into_iter()
        .map(Option::unwrap_or_default)
        .collect();
    let shown = |entry: &Listener| Some((entry.listen?.0, entry.certificate.clone()?));
    let known: Vec<_> = entries.iter().filter_map(shown).collect();
    for (index, (listen, (certificate, at))) in known.iter().enumerate() {
        let same = |(other, (file, _)): &&(SocketAddr, (PathBuf, Place))| other == listen && plain(file).eq(plain(certificate));
        if let Some((_, (_, first))) = known[..index].iter().find(same) {
            let report = Report::at(*at, format!("the same certificate twice for {listen}"));
            cx.report(report.help(first_is_at(cx, *first)));
        }
    }
    Some(entries)
}

/// A path without what changes nothing: "./a.pem" is "a.pem".
fn plain(path: &Path) -> impl Iterator<Item = Component<'_>> {
    path.components().filter(|part| *part != Component::CurDir)
}

fn listener(cx: &Check<'_>, node: &Node, index: usize) -> Option<Listener> {
    let fields = Fields::open(cx, node, &SERVER_TLS)?;
    let key = |name: &str| format!("server.tls[{index}].{name}");
    let listen = fields.read("listen", |cx, node| Some((socket(cx, node)?, node.at)));
    let certificate = fields.read("certificate", |cx, node| Some((file(cx, node, key("certificate"))?, node.at)));
    let private = fields.read("key", |cx, node| file(cx, node, key("key")));
    let client_ca = fields.optional("client_ca", |cx, node| file(cx, node, key("client_ca")));
    let whole = || {
        Some(ServerTls {
            listen: listen?.0,
            certificate: certificate.clone()?.0,
            key: private?,
            client_ca: client_ca?,
        })
    };
    Some(Listener {
        whole: whole(),
        listen,
        certificate,
    })
}

/// A file that is read by others, who may have something to say of it.
fn file(cx: &Check<'_>, node: &Node, key: String) -> Option<PathBuf> {
    let path = read::file(cx, node)?;
    cx.mention(key, node.at);
    Some(path)
}

/// Reports addresses that are to speak TLS and are taken already. Port 0 is another port each time.
pub(super) fn plain_too(cx: &Check<'_>, tls: &[(SocketAddr, Place)], listen: &[(SocketAddr, Place)], admin: Option<&Admin>) {
    for (address, at) in tls.iter().filter(|(address, _)| address.port() != 0) {
        let report = |what: &str| Report::at(*at, format!("{address} is {what} and in [[server.tls]]")).found(address.to_string());
        if let Some((_, plain)) = listen.iter().find(|(other, _)| other == address) {
            let help = format!(
                "an address speaks TLS or does not; the other is at {}",
                cx.source(*plain).show(*plain)
            );
            cx.report(report("in `listen`").help(help));
        } else if admin.is_some_and(|admin| admin.listen == *address) {
            cx.report(report("the admin address").help("give one of them another port, or set admin = \"off\""));
        }
    }
}

/// `tls` of the upstream with this name.
pub(super) fn upstream(cx: &Check<'_>, node: &Node, name: &str) -> Option<UpstreamTls> {
    let fields = Fields::open(cx, node, &UPSTREAM_TLS)?;
    let key = |field: &str| format!("upstreams.{name}.tls.{field}");
    let sni = fields.optional("sni", sni);
    let [ca, certificate, private] = ["ca", "certificate", "key"].map(|name| fields.optional(name, |cx, node| file(cx, node, key(name))));
    let client = match (certificate?, private?) {
        (Some(certificate), Some(key)) => Some(ClientCertificate { certificate, key }),
        (None, None) => None,
        (certificate, _) => {
            let (there, missing) = if certificate.is_some() {
                ("certificate", "key")
            } else {
                ("key", "certificate")
            };
            let at = fields.get(there).map_or(node.at, |node| node.at);
            let report = Report::at(at, format!("`{there}` without `{missing}`"));
            cx.report(report.expected("`certificate` and `key`, or neither"));
            return None;
        }
    };
    Some(UpstreamTls {
        sni: sni?,
        ca: ca?,
        client,
    })
}

/// What a certificate can be for: a name, or an IP address.
fn sni(cx: &Check<'_>, node: &Node) -> Option<Arc<str>> {
    let text = read::text(cx, node)?;
    if !is_host_name(&text) && text.parse::<IpAddr>().is_err() {
        let help = text
            .rsplit_once(':')
            .filter(|(name, _)| is_host_name(name))
            .map(|(name, _)| format!("leave out the port: {}", quote(name)));
        cx.report(
            bad(node, "name", &text)
                .expected(r#"a name such as "users.internal", or an IP address"#)
                .maybe_help(help),
        );
        return None;
    }
    Some(text.trim_end_matches('.').to_ascii_lowercase().into())
}

/// Whether every server can be verified, if that is due; and `tls` stands only where it has a meaning.
pub(super) fn is_verifiable(
    fields: &Fields<'_>,
    protocol: Option<Protocol>,
    tls: &Option<Option<UpstreamTls>>,
    host: &Option<Option<HeaderValue>>,
    servers: &Option<Vec<UpstreamServer>>,
) -> bool {
    match protocol {
        Some(Protocol::Http) => {
            let meaningless = fields.get("tls");
            if let Some(node) = meaningless {
                let report = Report::at(node.at, "`tls` has no meaning for protocol = \"http\"");
                fields.cx.report(report.help("leave it out, or write protocol = \"https\""));
            }
            meaningless.is_none()
        }
        Some(Protocol::Https) => {
            if let Some(node) = fields.get("protocol") {
                fields.cx.mention(format!("{}.protocol", fields.node.path), node.at);
            }
            let (Some(tls), Some(host), Some(servers), Some(node)) = (tls, host, servers, fields.get("servers")) else {
                return true;
            };
            let Value::Array(nodes) = &node.value else { return true };
            let nameless: Vec<_> = servers
                .iter()
                .zip(nodes)
                // Those in a file are judged when it is read.
                .filter(|(server, _)| !matches!(server.address, Address::File(_)))
                .filter(|(server, _)| tls_name(tls.as_ref(), host.as_ref(), &server.address).is_none())
                .collect();
            for (_, node) in &nameless {
                let report = Report::at(node.at, "no name to verify this server's certificate by");
                let help = "write tls = { sni = \"users.internal\" }, or that name as `host`";
                fields.cx.report(report.expected("a name that its certificate bears").help(help));
            }
            nameless.is_empty()
        }
        None => true,
    }
}
