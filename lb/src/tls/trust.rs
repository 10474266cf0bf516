//! Whom to believe: the authorities that a certificate must lead back to (RFC 5280 §6).

use std::path::Path;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;

use super::pem;

/// Certificates of authorities, each of which can be one.
#[derive(Debug)]
pub(super) struct Authorities {
    certificates: Vec<CertificateDer<'static>>,
    store: Arc<RootCertStore>,
}

impl Authorities {
    /// What a file says.
    pub(super) fn parse(path: &Path, bytes: &[u8]) -> Result<Authorities, String> {
        let certificates = pem::certificates(path, bytes)?;
        let mut store = RootCertStore::empty();
        for (index, certificate) in certificates.iter().enumerate() {
            let refused = |error| format!("certificate {} in {} cannot be an authority: {error}", index + 1, path.display());
            store.add(certificate.clone()).map_err(refused)?;
        }
        Ok(Authorities {
            certificates,
            store: Arc::new(store),
        })
    }

    /// As rustls wants them.
    pub(super) fn store(&self) -> &Arc<RootCertStore> {
        &self.store
    }

    /// As they were read.
    pub(super) fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.certificates
    }
}

/// Two are the same when they say the same, from whatever file.
impl PartialEq for Authorities {
    fn eq(&self, other: &Self) -> bool {
        self.certificates == other.certificates
    }
}

/// The authorities that the system trusts, read when they are first wanted.
#[derive(Default)]
pub(super) struct System(Option<Result<Arc<Authorities>, String>>);

impl System {
    /// All of them that can be used: a machine's collection often has a few that cannot.
    pub(super) fn authorities(&mut self) -> Result<Arc<Authorities>, String> {
        self.0.get_or_insert_with(read_system).clone()
    }
}

fn read_system() -> Result<Arc<Authorities>, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut store = RootCertStore::empty();
    let mut certificates = found.certs;
    certificates.retain(|certificate| pem::parsed(certificate).is_some() && store.add(certificate.clone()).is_ok());
    if certificates.is_empty() {
        let why = found.errors.first().map_or_else(String::new, |error| format!(": {error}"));
        return Err(format!(
            "there are no certificates of authorities on this system{why}; install them (ca-certificates), or name a file as `ca`"
        ));
    }
    Ok(Arc::new(Authorities {
        certificates,
        store: Arc::new(store),
    }))
}
