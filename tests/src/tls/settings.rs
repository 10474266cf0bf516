//! What clients and servers are set up with.

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};

use super::{Authority, Pair, provider};

/// How a client goes about a handshake.
#[derive(Debug, Clone)]
pub struct ClientTls {
    roots: RootCertStore,
    versions: Vec<&'static SupportedProtocolVersion>,
    alpn: Vec<Vec<u8>>,
    certificate: Option<Arc<Pair>>,
    sni: bool,
}

fn roots(authority: &Authority) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add(authority.der()).expect("the authority's certificate");
    roots
}

impl ClientTls {
    /// Trusts that authority, speaks TLS 1.2 and 1.3, and offers no protocol by ALPN.
    pub fn trusting(authority: &Authority) -> ClientTls {
        ClientTls {
            roots: roots(authority),
            versions: vec![&rustls::version::TLS13, &rustls::version::TLS12],
            alpn: Vec::new(),
            certificate: None,
            sni: true,
        }
    }

    /// Speaks TLS 1.2 only.
    pub fn tls12(mut self) -> ClientTls {
        self.versions = vec![&rustls::version::TLS12];
        self
    }

    /// Speaks TLS 1.3 only.
    pub fn tls13(mut self) -> ClientTls {
        self.versions = vec![&rustls::version::TLS13];
        self
    }

    /// Offers these protocols.
    pub fn alpn(mut self, protocols: &[&str]) -> ClientTls {
        self.alpn = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        self
    }

    /// Shows this certificate when asked for one.
    pub fn certificate(mut self, pair: Pair) -> ClientTls {
        self.certificate = Some(Arc::new(pair));
        self
    }

    /// Does not say which name it wants.
    pub fn without_sni(mut self) -> ClientTls {
        self.sni = false;
        self
    }

    /// For rustls. Clones share its memory of sessions.
    pub fn build(&self) -> Arc<ClientConfig> {
        let config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&self.versions)
            .expect("versions that are known")
            .with_root_certificates(self.roots.clone());
        let mut config = match &self.certificate {
            None => config.with_no_client_auth(),
            Some(pair) => config
                .with_client_auth_cert(vec![pair.der.clone()], pair.private_key())
                .expect("a certificate and its key"),
        };
        config.alpn_protocols.clone_from(&self.alpn);
        config.enable_sni = self.sni;
        config.resumption = Resumption::in_memory_sessions(16);
        Arc::new(config)
    }
}

/// What a scripted server is set up with.
#[derive(Debug, Clone)]
pub struct ServerTls {
    pair: Arc<Pair>,
    clients: Option<RootCertStore>,
    /// Whether it says goodbye before it closes.
    pub(crate) says_goodbye: bool,
}

impl ServerTls {
    /// Shows this certificate.
    pub fn showing(pair: Pair) -> ServerTls {
        ServerTls {
            pair: Arc::new(pair),
            clients: None,
            says_goodbye: true,
        }
    }

    /// Takes only clients with a certificate of this authority's.
    pub fn asking(mut self, authority: &Authority) -> ServerTls {
        self.clients = Some(roots(authority));
        self
    }

    /// Closes without `close_notify`, as an attacker does who cuts a connection.
    pub fn without_goodbye(mut self) -> ServerTls {
        self.says_goodbye = false;
        self
    }

    /// For rustls.
    pub(crate) fn build(&self) -> Arc<ServerConfig> {
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("the usual versions");
        let config = match &self.clients {
            None => config.with_no_client_auth(),
            Some(roots) => {
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots.clone()), provider());
                config.with_client_cert_verifier(verifier.build().expect("a verifier"))
            }
        };
        let config = config.with_single_cert(vec![self.pair.der.clone()], self.pair.private_key());
        Arc::new(config.expect("a certificate and its key"))
    }
}
