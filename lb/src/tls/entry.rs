//! One `[[server.tls]]`: its files, what was last loaded from them, and whether they have changed since.
//!
//! A renewal is not one moment. Certificate and key are two files that are written one after the other, in pieces, or appear together as
//! a link is swapped (Kubernetes swaps `..data`). So files are looked at from time to time, by their names, which works for links,
//! mounts and network file systems alike, and what they say is taken only when it has said the same twice running, is whole, and fits
//! together. Until then, and as long as it does not, the last good pair stays in use.

use std::fs::Metadata;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::crypto::CryptoProvider;

use super::pair::{Pair, PairFiles};
use super::trust::Authorities;
use super::{Fault, pem};

/// File systems tell times this coarsely: a file that was changed so shortly before it was read may change again within the same time.
const COARSE: Duration = Duration::from_secs(2);

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

/// What was seen when the files were last looked at.
#[derive(Default)]
struct Look {
    stamps: Vec<Option<Stamp>>,
    /// Whether contents that differ from those seen would have other stamps.
    certain: bool,
    /// The contents in use.
    used: u64,
    /// Other contents that were seen last.
    seen: Option<u64>,
    /// Contents whose faults are in the log.
    told: Option<u64>,
}

/// What tells that a file has changed, without reading it.
#[derive(PartialEq, Eq, Clone, Copy)]
struct Stamp {
    file: (u64, u64),
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
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
        let look = Look {
            used: contents.hash(),
            ..Look::default()
        };
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
        let now = SystemTime::now();
        let stamps = self.files.stamps();
        if self.look.certain && stamps == self.look.stamps {
            return false;
        }
        self.look.certain = stamps
            .iter()
            .all(|stamp| stamp.is_some_and(|stamp| stamp.is_older_than(now, COARSE)));
        self.look.stamps = stamps;
        let contents = self.files.read();
        let hash = contents.hash();
        if hash == self.look.used {
            (self.look.seen, self.look.told) = (None, None);
            return false;
        }
        if self.look.seen.replace(hash) != Some(hash) {
            // They may still be being written.
            self.look.certain = false;
            return false;
        }
        match self.files.parse(contents, provider) {
            Ok(loaded) => {
                let about = &loaded.pair.about;
                tracing::info!(file = %about.file.display(), serial = about.serial, not_after = about.until(), "certificate loaded anew");
                about.warn_of_expiry();
                self.loaded = loaded;
                (self.look.used, self.look.seen, self.look.told) = (hash, None, None);
                true
            }
            Err(faults) => {
                if self.look.told.replace(hash) != Some(hash) {
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

    fn stamps(&self) -> Vec<Option<Stamp>> {
        self.all().map(|path| std::fs::metadata(path).ok().map(Stamp::of)).collect()
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

impl Contents {
    /// Only ever compared with those of the same files.
    fn hash(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        Hash::hash(self, &mut hasher);
        hasher.finish()
    }
}

impl Stamp {
    fn of(metadata: Metadata) -> Stamp {
        Stamp {
            file: (metadata.dev(), metadata.ino()),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    fn is_older_than(self, now: SystemTime, age: Duration) -> bool {
        let since = |(seconds, _): (i64, i64)| Some(now.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs() as i64 - seconds);
        [self.modified, self.changed]
            .into_iter()
            .all(|time| since(time).is_some_and(|since| since > age.as_secs() as i64))
    }
}
