//! What a listening address serves by.
//!
//! Most listeners have one `ServerConfig`, in which rustls asks a resolver for the certificate. Whether clients need certificates of their
//! own is a matter of the `ServerConfig`, though. So where entries differ in that, there is one for each *group* of entries with the same
//! authorities, and the client's hello is read first to choose among them.
//!
//! A *session ticket* (RFC 8446 §4.6.1) lets a client come back without the costly half of a handshake. It stands for all that was proved
//! in the first one, so a ticket of one group must be worth nothing in another: each group has keys for tickets of its own. They outlive
//! certificates, which renew without anybody's session ending, but not a change of the authorities.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::Ticketer;
use rustls::server::{Acceptor, ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::server::TlsStream;
use tokio_rustls::{LazyConfigAcceptor, TlsAcceptor};

use super::entry::{Entry, Loaded};
use super::names::Names;
use super::pair::Certificate;
use super::trust::Authorities;
use super::{ALPN, Fault};

/// See the [module](self).
pub struct ServerTls {
    listen: SocketAddr,
    provider: Arc<CryptoProvider>,
    entries: Mutex<Vec<Entry>>,
    serving: ArcSwap<Serving>,
}

/// All entries, as they are served; replaced whole when one of them changes.
struct Serving {
    entries: Vec<Loaded>,
    names: Arc<Names>,
    /// The group of each entry.
    group_of: Vec<usize>,
    groups: Vec<Group>,
}

/// Entries that ask the same of clients.
struct Group {
    client_ca: Option<Arc<Authorities>>,
    config: Arc<ServerConfig>,
}

impl ServerTls {
    /// Loads those of `entries` that are for this address. Sessions of `before` go on where they may.
    pub(super) fn load(
        listen: SocketAddr,
        entries: &[lb_config::ServerTls],
        provider: &Arc<CryptoProvider>,
        before: Option<&Arc<ServerTls>>,
    ) -> Result<ServerTls, Vec<Fault>> {
        let (mut loaded, mut faults) = (Vec::new(), Vec::new());
        for (index, entry) in entries.iter().enumerate().filter(|(_, entry)| entry.listen == listen) {
            match Entry::load(index, entry, provider) {
                Ok(entry) => loaded.push(entry),
                Err(found) => faults.extend(found),
            }
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let before = before.map(|before| before.serving.load());
        let serving = Serving::build(&loaded, before.as_deref().map(Arc::as_ref), provider);
        let serving = serving.map_err(|error| {
            vec![Fault {
                key: "server.tls".into(),
                message: format!("cannot serve {listen}: {error}"),
            }]
        })?;
        Ok(ServerTls {
            listen,
            provider: provider.clone(),
            entries: Mutex::new(loaded),
            serving: ArcSwap::from_pointee(serving),
        })
    }

    /// The address, as it stands in the file.
    pub fn listen(&self) -> SocketAddr {
        self.listen
    }

    /// The certificates in use, in file order.
    pub fn certificates(&self) -> Vec<Certificate> {
        self.serving.load().entries.iter().map(|entry| entry.pair.about.clone()).collect()
    }

    /// Shakes hands with a client. What is spoken then is in `get_ref().1.alpn_protocol()`; without, it is HTTP/1.1.
    ///
    /// The caller bounds the time: the future may be dropped at any moment, and the connection with it.
    ///
    /// # Errors
    /// When the client is gone, speaks no TLS that is spoken here, or has not the certificate that is asked for.
    pub async fn accept<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S) -> io::Result<TlsStream<S>> {
        if let Some(config) = self.only_config() {
            return TlsAcceptor::from(config).accept(stream).await;
        }
        let start = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
        let config = {
            let serving = self.serving.load();
            let group = serving.group(start.client_hello().server_name());
            serving.groups[group].config.clone()
        };
        start.into_stream(config).await
    }

    fn only_config(&self) -> Option<Arc<ServerConfig>> {
        match self.serving.load().groups.as_slice() {
            [only] => Some(only.config.clone()),
            _ => None,
        }
    }

    /// Whether a request is for a host whose rules for clients are others than those that its connection was let in by: the answer to that
    /// is 421 (RFC 9110 §15.5.20). `name` is what the client asked for in its handshake, `host` what the request says, with its port or
    /// without.
    pub fn is_misdirected(&self, name: Option<&str>, host: &[u8]) -> bool {
        let serving = self.serving.load();
        if serving.groups.len() == 1 {
            return false;
        }
        let host = std::str::from_utf8(host).map(|host| without_port(host).to_ascii_lowercase());
        serving.group(name) != serving.group(host.as_deref().ok())
    }

    /// Looks whether files have changed, and loads them anew. Blocks, as reading files does.
    pub(super) fn look(&self) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let mut changed = false;
        for entry in entries.iter_mut() {
            changed |= entry.look(&self.provider);
        }
        if changed {
            match Serving::build(&entries, Some(&self.serving.load()), &self.provider) {
                Ok(serving) => self.serving.store(Arc::new(serving)),
                Err(error) => tracing::error!(listen = %self.listen, %error, "cannot serve new certificates; the old ones stay in use"),
            }
        }
    }
}

/// A host's name, of `name:port` or `name`.
fn without_port(host: &str) -> &str {
    let port = |(_, port): &(&str, &str)| port.bytes().all(|byte| byte.is_ascii_digit());
    host.rsplit_once(':')
        .filter(port)
        .map_or(host, |(name, _)| name)
        .trim_end_matches('.')
}

impl Serving {
    fn build(entries: &[Entry], before: Option<&Serving>, provider: &Arc<CryptoProvider>) -> Result<Serving, rustls::Error> {
        let entries: Vec<Loaded> = entries.iter().map(|entry| entry.loaded().clone()).collect();
        let names = entries.iter().map(|entry| entry.pair.about.names.iter().map(|name| &**name));
        let names = Arc::new(Names::new(names));
        let mut asked: Vec<Option<Arc<Authorities>>> = Vec::new();
        let mut group_of = Vec::with_capacity(entries.len());
        for entry in &entries {
            let known = asked.iter().position(|other| *other == entry.client_ca);
            group_of.push(known.unwrap_or(asked.len()));
            if known.is_none() {
                asked.push(entry.client_ca.clone());
            }
        }
        let mut groups = Vec::with_capacity(asked.len());
        for (index, client_ca) in asked.into_iter().enumerate() {
            let certificates = entries
                .iter()
                .zip(&group_of)
                .map(|(entry, group)| (*group == index).then(|| entry.pair.certified.clone()));
            let resolver = Resolver {
                names: names.clone(),
                certificates: certificates.collect(),
            };
            let before = before.and_then(|before| before.groups.iter().find(|group| group.client_ca == client_ca));
            groups.push(Group::build(client_ca, resolver, before, provider)?);
        }
        Ok(Serving {
            entries,
            names,
            group_of,
            groups,
        })
    }

    /// The group of the entry that this name chooses.
    fn group(&self, name: Option<&str>) -> usize {
        let first = name.and_then(|name| self.names.find(name).first());
        self.group_of[first.copied().unwrap_or(0)]
    }
}

impl Group {
    fn build(
        client_ca: Option<Arc<Authorities>>,
        resolver: Resolver,
        before: Option<&Group>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Group, rustls::Error> {
        let builder = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
        let builder = match &client_ca {
            None => builder.with_no_client_auth(),
            Some(authorities) => {
                let verifier = WebPkiClientVerifier::builder_with_provider(authorities.store().clone(), provider.clone()).build();
                builder.with_client_cert_verifier(verifier.map_err(|error| rustls::Error::General(error.to_string()))?)
            }
        };
        let mut config = builder.with_cert_resolver(Arc::new(resolver));
        config.alpn_protocols = ALPN.iter().map(|protocol| protocol.to_vec()).collect();
        config.ticketer = match before {
            Some(before) => before.config.ticketer.clone(),
            None => Ticketer::new()?,
        };
        // Tickets are kept by clients. A store here would be one lock for all workers, for clients that know no tickets.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(Group {
            client_ca,
            config: Arc::new(config),
        })
    }
}

/// Finds the certificate for a client.
#[derive(Debug)]
struct Resolver {
    names: Arc<Names>,
    /// By entry; `None` where the entry is another group's.
    certificates: Vec<Option<Arc<CertifiedKey>>>,
}

impl ResolvesServerCert for Resolver {
    /// The first that bears the name and has a key of a kind that the client knows: there may be one with an RSA key and one with an
    /// ECDSA key for the same name.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let named = hello.server_name().map_or(&[][..], |name| self.names.find(name));
        let mut named = named.iter().filter_map(|&entry| self.certificates[entry].as_ref());
        let fits = |certificate: &&Arc<CertifiedKey>| certificate.key.choose_scheme(hello.signature_schemes()).is_some();
        let fitting = named.clone().find(fits);
        fitting
            .or_else(|| named.next())
            .or_else(|| self.certificates.iter().flatten().next())
            .cloned()
    }
}
