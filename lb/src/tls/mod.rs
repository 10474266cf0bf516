//! TLS, towards clients and towards servers.
//!
//! A TLS handshake (RFC 8446, and RFC 5246 for version 1.2) settles two things before the first byte of HTTP: keys that nobody else has,
//! and who is at the other end. The second is what this module is about. A *certificate* binds names to a public key and is signed by an
//! authority; whoever holds the *private key* proves to be meant. One address may have many certificates, so a client says first which
//! name it wants (SNI, RFC 6066 §3), and [`names`] finds the certificate for it. ALPN (RFC 7301) settles on the way what is spoken then,
//! HTTP/2 or HTTP/1.1.
//!
//! - [`ServerTls`] is what one listening address serves by: its certificates, read again when their files change ([`watch()`]).
//! - [`UpstreamTls`] is how the servers of one upstream are met: whom to trust, and who to be. They are verified always; a server
//!   without a name to verify is an error and never an exception.
//!
//! Both are built by [`load`] from a whole configuration, or not at all. Cryptography is *ring*'s, the protocol rustls'.

mod client;
mod entry;
mod fallback;
mod names;
mod pair;
mod pem;
mod server;
#[cfg(test)]
mod tests;
mod trust;
mod watch;

use std::net::SocketAddr;
use std::sync::Arc;

use lb_config::{Config, Problems};
use rustls::crypto::CryptoProvider;

pub use client::UpstreamTls;
pub use fallback::NO_ROOTS;
pub use pair::Certificate;
pub use server::ServerTls;
pub use watch::watch;

/// What can be spoken with clients, the better one first.
const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// What of a configuration has to do with TLS, loaded.
pub struct Tls {
    listeners: Vec<Arc<ServerTls>>,
    upstreams: Vec<Option<Arc<UpstreamTls>>>,
}

/// What is wrong with a file, or with what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Fault {
    /// The key that names the file, such as `server.tls[0].certificate`.
    key: String,
    /// What is wrong, with the file's name.
    message: String,
}

/// Reads every certificate and key that a configuration names. Blocks, as reading files does.
///
/// What `before` knows of sessions is kept where it still holds: certificates may change under a session, whom clients or servers have
/// to be signed by may not.
///
/// # Errors
/// Everything that is wrong, each at the place of the value that names the file.
pub fn load(config: &Config, before: Option<&Tls>) -> Result<Tls, Problems> {
    let provider = provider();
    let (mut listeners, mut upstreams, mut faults) = (Vec::new(), Vec::new(), Vec::new());
    for address in addresses(config) {
        let before = before.and_then(|before| before.listener(address));
        match ServerTls::load(address, &config.server.tls, &provider, before) {
            Ok(listener) => listeners.push(Arc::new(listener)),
            Err(found) => faults.extend(found),
        }
    }
    let mut system = trust::System::default();
    for upstream in &config.upstreams {
        match UpstreamTls::load(upstream, &provider, &mut system) {
            Ok(loaded) => upstreams.push(loaded.map(|loaded| kept(before, loaded))),
            Err(found) => faults.extend(found),
        }
    }
    let problem = |fault: Fault| config.mentions.problem(&fault.key, fault.message, None);
    match Problems::of(faults.into_iter().map(problem).collect()) {
        None => Ok(Tls { listeners, upstreams }),
        Some(problems) => Err(problems),
    }
}

/// The addresses of `[[server.tls]]`, in file order, each once.
fn addresses(config: &Config) -> Vec<SocketAddr> {
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for entry in &config.server.tls {
        if !addresses.contains(&entry.listen) {
            addresses.push(entry.listen);
        }
    }
    addresses
}

/// The one before, with its sessions, where it is the same in all that matters.
fn kept(before: Option<&Tls>, loaded: UpstreamTls) -> Arc<UpstreamTls> {
    let mut known = before.into_iter().flat_map(|before| before.upstreams.iter().flatten());
    known
        .find(|known| known.is_same(&loaded))
        .cloned()
        .unwrap_or_else(|| Arc::new(loaded))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

impl Tls {
    /// What a listening address serves by, by its address in the file; `None` where it does without TLS.
    pub fn listener(&self, listen: SocketAddr) -> Option<&Arc<ServerTls>> {
        self.listeners.iter().find(|listener| listener.listen() == listen)
    }

    /// One a listening address, in file order.
    pub fn listeners(&self) -> &[Arc<ServerTls>] {
        &self.listeners
    }

    /// How the servers of an upstream are met, by its index in the configuration; `None` where that is without TLS.
    pub fn upstream(&self, index: usize) -> Option<&Arc<UpstreamTls>> {
        self.upstreams.get(index)?.as_ref()
    }

    /// Warns of certificates that have expired or soon will.
    pub fn warn_of_expiry(&self) {
        for listener in &self.listeners {
            for certificate in listener.certificates() {
                certificate.warn_of_expiry();
            }
        }
        for certificate in self.upstreams.iter().flatten().filter_map(|upstream| upstream.certificate()) {
            certificate.warn_of_expiry();
        }
    }
}
