//! The same trust in pingora's terms, for requests that go to servers by its connector.
//!
//! pingora's connector has ways to trust too much: an empty name switches verification off, and its pool does not tell connections by the
//! authorities that they were verified by. It also makes a configuration anew for each connection, so that none resumes a session. Nothing
//! of that can be set better from outside, but everything can be given so that none of it matters: always a name, always our own
//! authorities, and an identity as the pool's group.

use std::io;
use std::sync::Arc;

use pingora::protocols::tls::CaType;
use pingora::upstreams::peer::{HttpPeer, Scheme};
use pingora::utils::tls::{CertKey, WrappedX509, parse_x509};

use super::UpstreamTls;
use crate::upstream::Server;

/// A file without certificates, for `ServerConf::ca_file`.
///
/// Each connector reads the system's authorities when it is made, a hundred and more, and panics over one that it cannot use. No connection
/// of ours ever needs them. With this file there is nothing to read, and a peer that was not [prepared](UpstreamTls::prepare) is refused.
pub const NO_ROOTS: &str = "/dev/null";

/// Authorities and certificate as pingora takes them.
pub(super) struct Fallback {
    ca: Arc<CaType>,
    client: Option<Arc<CertKey>>,
}

impl UpstreamTls {
    /// Makes a peer one that is met by TLS and verified as by [`UpstreamTls::connect`].
    ///
    /// # Errors
    /// When there is no name to verify the server by.
    pub fn prepare(&self, server: &Server, peer: &mut HttpPeer) -> io::Result<()> {
        let nobody = || {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                "there is no name to verify the server's certificate by",
            )
        };
        let name = server.tls_name().filter(|name| !name.is_empty()).ok_or_else(nobody)?;
        let fallback = self.fallback.get_or_init(|| Fallback::new(self));
        peer.scheme = Scheme::HTTPS;
        peer.sni = name.to_owned();
        peer.client_cert_key = fallback.client.clone();
        peer.options.ca = Some(fallback.ca.clone());
        peer.options.verify_cert = true;
        peer.options.verify_hostname = true;
        peer.group_key = self.identity(server);
        Ok(())
    }
}

impl Fallback {
    /// Every certificate here was parsed by the same parser when it was loaded.
    fn new(tls: &UpstreamTls) -> Fallback {
        let authorities = tls.authorities().certificates().iter();
        let ca: Vec<_> = authorities
            .map(|certificate| WrappedX509::new(certificate.to_vec(), parse_x509))
            .collect();
        let client = tls.client().map(|pair| {
            let chain = pair.certified.cert.iter().map(|certificate| certificate.to_vec()).collect();
            Arc::new(CertKey::new(chain, pair.key.secret_der().to_vec()))
        });
        Fallback { ca: ca.into(), client }
    }
}
