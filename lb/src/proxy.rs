//! What lives as long as the process and is shared by its threads: the one snapshot in force, and the live state that reloads keep.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Instant, SystemTime};

use arc_swap::ArcSwap;

use crate::cache::Cache;
use crate::observe::{Metrics, log};
use crate::server::{Connections, Listeners};
use crate::snapshot::Snapshot;
use crate::upstream::{Discovery, Registry};

/// The process's shared state. See the [module](self).
pub struct Proxy {
    snapshot: ArcSwap<Snapshot>,
    file: PathBuf,
    /// Stored responses.
    pub cache: Arc<Cache>,
    /// Servers: how busy they are and how well.
    pub registry: Arc<Registry>,
    /// Where servers are found that come and go.
    pub discovery: Arc<Discovery>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Client connections.
    pub connections: Arc<Connections>,
    /// Where they come in.
    pub listeners: Listeners,
    /// `lb`'s own log.
    pub log: log::Handle,
    /// When the process began to serve.
    pub started: Instant,
    loaded_at: ArcSwap<SystemTime>,
    draining: AtomicBool,
    /// Held while the snapshot is replaced by another one, from the first look at the one before.
    pub(crate) reloading: tokio::sync::Mutex<()>,
}

impl Proxy {
    /// Puts the parts together.
    pub fn new(file: PathBuf, snapshot: Snapshot, parts: Parts) -> Arc<Proxy> {
        let Parts {
            cache,
            registry,
            discovery,
            metrics,
            connections,
            listeners,
            log,
        } = parts;
        Arc::new(Proxy {
            snapshot: ArcSwap::from_pointee(snapshot),
            file,
            cache,
            registry,
            discovery,
            metrics,
            connections,
            listeners,
            log,
            started: Instant::now(),
            loaded_at: ArcSwap::from_pointee(SystemTime::now()),
            draining: AtomicBool::new(false),
            reloading: tokio::sync::Mutex::new(()),
        })
    }

    /// The configuration in force, pinned for as long as the caller keeps it.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// The configuration in force, for a look at it now: cheaper than to pin it, and not to be kept.
    pub fn peek(&self) -> arc_swap::Guard<Arc<Snapshot>> {
        self.snapshot.load()
    }

    /// The one atomic swap of a reload.
    pub fn swap(&self, snapshot: Arc<Snapshot>) {
        self.snapshot.store(snapshot);
        self.loaded_at.store(Arc::new(SystemTime::now()));
    }

    /// The same configuration over other servers.
    pub fn replace_servers(&self, snapshot: Arc<Snapshot>) {
        self.snapshot.store(snapshot);
    }

    /// The configuration file.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// When the configuration in force was loaded.
    pub fn loaded_at(&self) -> SystemTime {
        **self.loaded_at.load()
    }

    /// Says that the process is about to end.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// Whether the process is about to end.
    pub fn draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Whether it would serve traffic: not draining, and every upstream has a server, or one has where there are several.
    pub fn ready(&self) -> bool {
        let snapshot = self.snapshot.load();
        !self.draining() && (snapshot.upstreams.is_empty() || snapshot.upstreams.iter().any(|state| state.upstream.has_server()))
    }
}

/// The live state that [`Proxy`] is made of.
pub struct Parts {
    /// See [`Proxy::cache`].
    pub cache: Arc<Cache>,
    /// See [`Proxy::registry`].
    pub registry: Arc<Registry>,
    /// See [`Proxy::discovery`].
    pub discovery: Arc<Discovery>,
    /// See [`Proxy::metrics`].
    pub metrics: Arc<Metrics>,
    /// See [`Proxy::connections`].
    pub connections: Arc<Connections>,
    /// See [`Proxy::listeners`].
    pub listeners: Listeners,
    /// See [`Proxy::log`].
    pub log: log::Handle,
}
