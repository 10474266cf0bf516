//! A certificate with its private key: usable only when the one belongs to the other.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use time::macros::format_description;

use super::{Fault, pem};

/// From this long before its end on, a certificate is worth a warning.
const SOON: Duration = Duration::from_secs(14 * 24 * 3600);

/// What a certificate says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The file that it was read from.
    pub file: PathBuf,
    /// The DNS names that it is for, in lower case; `*.example.com` is one of them.
    pub names: Vec<Box<str>>,
    /// The last moment at which it is valid.
    pub not_after: SystemTime,
    /// Its serial number, in hexadecimal.
    pub serial: String,
}

/// A certificate that has been loaded with its key.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) certified: Arc<CertifiedKey>,
    /// The private key once more, since rustls does not give it back.
    pub(super) key: PrivateKeyDer<'static>,
    pub(super) about: Certificate,
}

/// What a file says, or why that is not known.
type Contents = Result<Vec<u8>, String>;

/// The files of a pair, and the keys of the configuration that name them.
#[derive(Debug)]
pub(super) struct PairFiles<'a> {
    pub(super) certificate: &'a Path,
    pub(super) key: &'a Path,
    /// `server.tls[0]`, or `upstreams.users.tls`.
    pub(super) table: &'a str,
}

impl PairFiles<'_> {
    pub(super) fn fault(&self, key: &str, message: String) -> Fault {
        Fault {
            key: format!("{}.{key}", self.table),
            message,
        }
    }

    /// Reads both files and puts them together.
    pub(super) fn load(&self, provider: &CryptoProvider) -> Result<Pair, Vec<Fault>> {
        self.join(pem::read(self.certificate), pem::read(self.key), provider)
    }

    /// Puts together what the files say, or why that is not known.
    pub(super) fn join(&self, certificate: Contents, key: Contents, provider: &CryptoProvider) -> Result<Pair, Vec<Fault>> {
        let chain = certificate
            .and_then(|bytes| pem::certificates(self.certificate, &bytes))
            .map_err(|why| self.fault("certificate", why));
        let key = key
            .and_then(|bytes| pem::private_key(self.key, &bytes))
            .map_err(|why| self.fault("key", why));
        let (chain, key) = match (chain, key) {
            (Ok(chain), Ok(key)) => (chain, key),
            (chain, key) => return Err([chain.err(), key.err()].into_iter().flatten().collect()),
        };
        let unusable = |error: Error| vec![self.fault("key", format!("the private key in {} cannot be used: {error}", self.key.display()))];
        let signing = provider.key_provider.load_private_key(key.clone_key()).map_err(unusable)?;
        let about = self.about(&chain[0])?;
        let certified = CertifiedKey::new(chain, signing);
        match certified.keys_match() {
            // A key that cannot tell its public half is taken at its word.
            Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(Pair {
                certified: Arc::new(certified),
                key,
                about,
            }),
            Err(Error::InconsistentKeys(_)) => {
                let (certificate, key) = (self.certificate.display(), self.key.display());
                Err(vec![self.fault(
                    "key",
                    format!("the private key in {key} does not belong to the certificate in {certificate}"),
                )])
            }
            Err(error) => Err(vec![self.fault("certificate", self.refused(&error.to_string()))]),
        }
    }

    fn refused(&self, why: &str) -> String {
        format!("the certificate in {} cannot be used: {why}", self.certificate.display())
    }

    fn about(&self, certificate: &CertificateDer<'_>) -> Result<Certificate, Vec<Fault>> {
        let refused = |why: &str| vec![self.fault("certificate", self.refused(why))];
        let usable = webpki::EndEntityCert::try_from(certificate).map_err(|error| refused(&error.to_string()))?;
        let parsed = pem::parsed(certificate).ok_or_else(|| refused("it is no X.509 certificate"))?;
        let seconds = u64::try_from(parsed.validity().not_after.timestamp()).unwrap_or(0);
        Ok(Certificate {
            file: self.certificate.to_owned(),
            names: usable.valid_dns_names().map(|name| name.to_ascii_lowercase().into()).collect(),
            not_after: SystemTime::UNIX_EPOCH + Duration::from_secs(seconds),
            serial: parsed.raw_serial().iter().map(|byte| format!("{byte:02x}")).collect(),
        })
    }
}

impl Certificate {
    /// Says so in the log, if it has expired or soon will.
    pub(super) fn warn_of_expiry(&self) {
        let file = self.file.display();
        match self.not_after.duration_since(SystemTime::now()) {
            Err(_) => tracing::warn!(%file, not_after = self.until(), "certificate has expired: clients will refuse it"),
            Ok(left) if left < SOON => tracing::warn!(%file, not_after = self.until(), "certificate expires within 14 days"),
            Ok(_) => {}
        }
    }

    /// The end of its validity, for people.
    pub(super) fn until(&self) -> String {
        let format = format_description!("[year]-[month]-[day] [hour]:[minute]:[second] UTC");
        time::OffsetDateTime::from(self.not_after).format(&format).unwrap_or_default()
    }
}
