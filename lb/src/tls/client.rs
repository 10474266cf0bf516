//! How the servers of an upstream are met.
//!
//! A server has to show a certificate that leads back to an authority that is trusted here and that bears the name that it is known by
//! (RFC 9525): `tls.sni`, else its host name in the file, else the `host` that it gets, else its IP address. There is no way to do without.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use lb_config::{Protocol, Upstream};
use rustls::ClientConfig;
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::fallback::Fallback;
use super::pair::{Certificate, Pair, PairFiles};
use super::trust::{Authorities, System};
use super::{Fault, pem};
use crate::upstream::{ResolvedAddress, Server};

/// Sessions to come back to that are kept for one server. rustls takes it as 8 tickets.
const SESSIONS: usize = 8;
/// Servers whose sessions are kept. Host names may come to have ever other addresses.
const SERVERS: usize = 1024;

/// See the [module](self).
pub struct UpstreamTls {
    authorities: Arc<Authorities>,
    client: Option<Pair>,
    /// What both of them say.
    trust: u64,
    config: ClientConfig,
    /// The same for each server, but for its sessions: a ticket is worth nothing to another server of the same name.
    servers: RwLock<HashMap<ResolvedAddress, Arc<ClientConfig>>>,
    pub(super) fallback: OnceLock<Fallback>,
}

impl UpstreamTls {
    /// Loads what an upstream names; `None` where it is met without TLS.
    pub(super) fn load(
        upstream: &Upstream,
        provider: &Arc<CryptoProvider>,
        system: &mut System,
    ) -> Result<Option<UpstreamTls>, Vec<Fault>> {
        if upstream.protocol == Protocol::Http {
            return Ok(None);
        }
        let tls = upstream.tls.as_ref();
        let fault = |key: &str, message| Fault {
            key: format!("upstreams.{}.{key}", upstream.name),
            message,
        };
        let authorities = match tls.and_then(|tls| tls.ca.as_deref()) {
            Some(path) => pem::read(path)
                .and_then(|bytes| Authorities::parse(path, &bytes))
                .map(Arc::new)
                .map_err(|why| fault("tls.ca", why)),
            None => system.authorities().map_err(|why| fault("protocol", why)),
        };
        let table = format!("upstreams.{}.tls", upstream.name);
        let client = tls.and_then(|tls| tls.client.as_ref()).map(|client| {
            let files = PairFiles {
                certificate: &client.certificate,
                key: &client.key,
                table: &table,
            };
            files.load(provider)
        });
        match (authorities, client.transpose()) {
            (Ok(authorities), Ok(client)) => Self::new(authorities, client, provider)
                .map(Some)
                .map_err(|error| vec![fault("protocol", error.to_string())]),
            (authorities, client) => Err(authorities.err().into_iter().chain(client.err().into_iter().flatten()).collect()),
        }
    }

    fn new(authorities: Arc<Authorities>, client: Option<Pair>, provider: &Arc<CryptoProvider>) -> Result<UpstreamTls, rustls::Error> {
        let builder = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
        let verifier = WebPkiServerVerifier::builder_with_provider(authorities.store().clone(), provider.clone()).build();
        let builder = builder.with_webpki_verifier(verifier.map_err(|error| rustls::Error::General(error.to_string()))?);
        let mut config = match &client {
            None => builder.with_no_client_auth(),
            Some(pair) => builder.with_client_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(pair.certified.clone()))),
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let mut trust = DefaultHasher::new();
        let shown = client.iter().flat_map(|pair| &pair.certified.cert);
        for certificate in authorities.certificates().iter().chain(shown) {
            certificate.as_ref().hash(&mut trust);
        }
        Ok(UpstreamTls {
            trust: trust.finish(),
            authorities,
            client,
            config,
            servers: RwLock::default(),
            fallback: OnceLock::new(),
        })
    }

    /// Shakes hands with a server over a connection to it, and verifies that it is the one that was meant.
    ///
    /// The caller bounds the time: the future may be dropped at any moment, and the connection with it.
    ///
    /// # Errors
    /// When the server is gone, speaks no TLS that is spoken here, or is not who it has to be.
    pub async fn connect<S: AsyncRead + AsyncWrite + Unpin>(&self, server: &Server, stream: S) -> io::Result<TlsStream<S>> {
        self.meet(server.address(), server.tls_name(), stream).await
    }

    /// As [`UpstreamTls::connect`], with a server that is somebody else's, as for a check of its health.
    pub(crate) async fn meet<S>(&self, address: &ResolvedAddress, name: Option<&str>, stream: S) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let name = name.and_then(|name| ServerName::try_from(name.to_owned()).ok());
        let nobody = || {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                "there is no name to verify the server's certificate by",
            )
        };
        TlsConnector::from(self.config_for(address))
            .connect(name.ok_or_else(nobody)?, stream)
            .await
    }

    /// For servers that are asked over HTTP/2 (RFC 9113 §3.2), one server each.
    pub(crate) fn http2(&self) -> Arc<ClientConfig> {
        let mut config = self.config.clone();
        config.resumption = Resumption::in_memory_sessions(SESSIONS);
        config.alpn_protocols = vec![b"h2".to_vec()];
        Arc::new(config)
    }

    /// As [`UpstreamTls::connect`], by such a configuration.
    pub(crate) async fn meet_by<S>(config: Arc<ClientConfig>, name: &str, stream: S) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let name = ServerName::try_from(name.to_owned()).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        TlsConnector::from(config).connect(name, stream).await
    }

    fn config_for(&self, address: &ResolvedAddress) -> Arc<ClientConfig> {
        let known = self.servers.read().unwrap_or_else(PoisonError::into_inner).get(address).cloned();
        known.unwrap_or_else(|| {
            let mut servers = self.servers.write().unwrap_or_else(PoisonError::into_inner);
            if servers.len() >= SERVERS {
                servers.clear();
            }
            let fresh = || {
                let mut config = self.config.clone();
                config.resumption = Resumption::in_memory_sessions(SESSIONS);
                Arc::new(config)
            };
            servers.entry(address.clone()).or_insert_with(fresh).clone()
        })
    }

    /// Tells connections of different trust apart: one may be used again only for a server with the same address and identity. It changes
    /// with the name that is verified, the authorities, and the certificate that is shown.
    pub fn identity(&self, server: &Server) -> u64 {
        self.identity_of(server.tls_name())
    }

    /// As [`UpstreamTls::identity`], for whoever has this name.
    pub(crate) fn identity_of(&self, name: Option<&str>) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.trust, name).hash(&mut hasher);
        hasher.finish()
    }

    /// The certificate that is shown to servers, if there is one.
    pub fn certificate(&self) -> Option<&Certificate> {
        self.client.as_ref().map(|pair| &pair.about)
    }

    /// Whether the same servers are trusted, and the same certificate is shown to them.
    pub(super) fn is_same(&self, other: &UpstreamTls) -> bool {
        let shown = |tls: &UpstreamTls| tls.client.as_ref().map(|pair| pair.certified.cert.clone());
        self.authorities == other.authorities && shown(self) == shown(other)
    }

    pub(super) fn authorities(&self) -> &Authorities {
        &self.authorities
    }

    pub(super) fn client(&self) -> Option<&Pair> {
        self.client.as_ref()
    }
}
