//! Checks of servers that are met by TLS: they verify what requests verify, or they would call a server healthy that no request can use.

use std::fmt;
use std::sync::Arc;

use pingora::{Error, ErrorType};
use rustls::ClientConfig;

use super::tcp::Connection;
use crate::tls::UpstreamTls;
use crate::upstream::ResolvedAddress;

/// How a server is met, and the name that its certificate must bear.
#[derive(Clone)]
pub(in crate::upstream) struct Secured {
    tls: Arc<UpstreamTls>,
    name: Arc<str>,
}

impl Secured {
    pub(in crate::upstream) fn new(tls: &Arc<UpstreamTls>, name: &Arc<str>) -> Self {
        Self {
            tls: tls.clone(),
            name: name.clone(),
        }
    }

    /// What tells it from others.
    pub(super) fn identity(&self) -> u64 {
        self.tls.identity_of(Some(&self.name))
    }

    pub(super) async fn meet(&self, address: &ResolvedAddress, connection: Box<dyn Connection>) -> pingora::Result<Box<dyn Connection>> {
        match self.tls.meet(address, Some(&self.name), connection).await {
            Ok(stream) => Ok(Box::new(stream)),
            Err(error) => failed(&error),
        }
    }
}

/// As [`Secured`], for one server that is asked over HTTP/2.
pub(super) struct SecuredHttp2 {
    config: Arc<ClientConfig>,
    name: Arc<str>,
}

impl SecuredHttp2 {
    pub(super) fn new(secured: &Secured) -> Self {
        Self {
            config: secured.tls.http2(),
            name: secured.name.clone(),
        }
    }

    pub(super) async fn meet(&self, connection: Box<dyn Connection>) -> pingora::Result<Box<dyn Connection>> {
        match UpstreamTls::meet_by(self.config.clone(), &self.name, connection).await {
            Ok(stream) => Ok(Box::new(stream)),
            Err(error) => failed(&error),
        }
    }
}

fn failed<T>(error: &std::io::Error) -> pingora::Result<T> {
    Error::e_explain(ErrorType::TLSHandshakeFailure, format!("TLS handshake failed: {error}"))
}

impl fmt::Debug for Secured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secured({})", self.name)
    }
}
