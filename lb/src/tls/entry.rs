//! One `[[server.tls]]`: its files, what was last loaded from them, and whether they have changed since.
//!
//! A renewal is not one moment, and certificate and key are two files: what [changed](crate::watched) is taken only when it is whole and
//! fits together. Until then, and as long as it does not, the last good pair stays in use.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;

use super::pair::{Pair, PairFiles};
use super::trust::Authorities;
use super::{Fault, pem};
use crate::watched::{Look, fingerprint};

/// See the module.
pub(super) struct Entry {
    files: Files,
    loaded: Loaded,
    look: Look,
}

/// What was loaded from an entry's files.
#[derive(Clone)]
pub(super) struct Loaded {
    pub(super) pair: Arc<Pair>,
    pub(super) client_ca: Option<Arc<Authorities>>,
}

struct Files {
    certificate: PathBuf,
    key: PathBuf,
    client_ca: Option<PathBuf>,
    /// `server.tls[0]`.
    table: String,
}

/// What files say, or why that is not known.
#[derive(Hash)]
struct Contents {
    certificate: Result<Vec<u8>, String>,
    key: Result<Vec<u8>, String>,
    client_ca: Option<Result<Vec<u8>, String>>,
}

impl Entry {
    /// Reads the files of the entry with this index.
    pub(super) fn load(index: usize, config: &lb_config::ServerTls, provider: &CryptoProvider) -> Result<Entry, Vec<Fault>> {
        let files = Files {
            certificate: config.certificate.clone(),
            key: config.key.clone(),
            client_ca: config.client_ca.clone(),
            table: format!("server.tls[{index}]"),
        };
        let contents = files.read();
        let look = Look::new(fingerprint(&contents));
        Ok(Entry {
            loaded: files.parse(contents, provider)?,
            files,
            look,
        })
    }

    pub(super) fn loaded(&self) -> &Loaded {
        &self.loaded
    }

    /// Looks at the files again. Whether something else was loaded from them.
    pub(super) fn look(&mut self, provider: &CryptoProvider) -> bool {
        let Self { files, look, .. } = self;
        let Some(changed) = look.again(files.all(), || files.read()) else {
            return false;
        };
        match self.files.parse(changed.contents, provider) {
            Ok(loaded) => {
                let about = &loaded.pair.about;
                tracing::info!(file = %about.file.display(), serial = about.serial, not_after = about.until(), "certificate loaded anew");
                about.warn_of_expiry();
                self.loaded = loaded;
                self.look.taken(changed.fingerprint);
                true
            }
            Err(faults) => {
                if self.look.refused(changed.fingerprint) {
                    for Fault { key, message } in faults {
                        tracing::warn!(
                            key,
                            error = message,
                            "a changed certificate or key cannot be used; the last good ones stay in use"
                        );
                    }
                }
                false
            }
        }
    }
}

impl Files {
    fn all(&self) -> impl Iterator<Item = &Path> {
        [&self.certificate, &self.key]
            .into_iter()
            .chain(&self.client_ca)
            .map(PathBuf::as_path)
    }

    fn read(&self) -> Contents {
        Contents {
            certificate: pem::read(&self.certificate),
            key: pem::read(&self.key),
            client_ca: self.client_ca.as_deref().map(pem::read),
        }
    }

    fn parse(&self, contents: Contents, provider: &CryptoProvider) -> Result<Loaded, Vec<Fault>> {
        let files = PairFiles {
            certificate: &self.certificate,
            key: &self.key,
            table: &self.table,
        };
        let pair = files.join(contents.certificate, contents.key, provider);
        let client_ca = match (&self.client_ca, contents.client_ca) {
            (Some(path), Some(bytes)) => bytes
                .and_then(|bytes| Authorities::parse(path, &bytes))
                .map(|authorities| Some(Arc::new(authorities)))
                .map_err(|why| files.fault("client_ca", why)),
            _ => Ok(None),
        };
        match (pair, client_ca) {
            (Ok(pair), Ok(client_ca)) => Ok(Loaded {
                pair: Arc::new(pair),
                client_ca,
            }),
            (pair, client_ca) => Err(pair.err().into_iter().flatten().chain(client_ca.err()).collect()),
        }
    }
}
