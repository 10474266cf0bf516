//! Servers that come and go while `lb` runs: names in DNS, looked up again at their TTL, and files, read again when they change.
//!
//! Each such entry of `servers` is a [`Source`], which knows its **last good set**. Whatever goes wrong with a look (no answer, an error,
//! a name that is gone, a file that is broken), that set stays: whoever serves it may well outlive who names it. A task for each source in
//! use looks again and again; when a set has changed, [`Discovery::changed`] tells whoever builds snapshots, and the next one is built of
//! the same configuration and what is known by then. A set that is the same changes nothing, whatever the order of its records.
//!
//! A source that is not there yet is looked at once before it is used, for a limited time: a name without an address stops nobody.

mod dns;
mod file;
mod names;
mod source;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use lb_config::Address;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::timeout;

pub(super) use dns::FoundServer;
pub use file::check_files;
pub use source::SourceStatus;
pub(super) use source::{Found, Source};

use super::resolve::{ResolvedUpstream, lay_out};
use crate::observe::Metrics;
use names::Names;
use source::What;

/// For one look at a name, with all questions that it takes.
const LOOK_UP: Duration = Duration::from_secs(10);
/// So long is waited for the first set of a name before it is done without.
const FIRST_LOOK: Duration = Duration::from_secs(2);

/// All sources in use. See the module.
pub struct Discovery {
    names: Names,
    metrics: Arc<Metrics>,
    running: Mutex<HashMap<(Arc<str>, String), Running>>,
    changed: Notify,
}

struct Running {
    source: Arc<Source>,
    task: AbortHandle,
}

impl Discovery {
    /// Without any source. Failures are counted in `metrics`.
    pub fn new(metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self {
            names: Names::default(),
            metrics,
            running: Mutex::default(),
            changed: Notify::new(),
        })
    }

    fn running(&self) -> MutexGuard<'_, HashMap<(Arc<str>, String), Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until a source has another set than before. Changes that come together are told once.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// The source that this entry of an upstream's `servers` is. One that runs is found again; one that runs with other settings gives
    /// what it knows to the new one. Nothing is started.
    pub(super) fn source(&self, upstream: &Arc<lb_config::Upstream>, address: &Address) -> Option<Arc<Source>> {
        let what = match address {
            Address::Dns(name) => What::Name(name.clone()),
            Address::File(path) => What::file(path.clone(), upstream.clone()),
            Address::Ip(_) | Address::Host(..) | Address::Unix(_) => return None,
        };
        let name = &upstream.name;
        let running = self.running();
        let known = running.get(&(name.clone(), address.to_string())).map(|running| &running.source);
        Some(match known {
            Some(known) if known.what.is_same(&what) => known.clone(),
            known => Arc::new(Source::new(
                name.clone(),
                what,
                self.metrics.upstream(name),
                known.map(|known| &**known),
            )),
        })
    }

    /// Sees to it that a source has a set, if it can have one. For a file that cannot be used, why; of a name it is enough to know that
    /// it will be looked up.
    pub(super) async fn prepare(self: &Arc<Self>, source: &Arc<Source>) -> Result<(), String> {
        if source.found().is_some() {
            return Ok(());
        }
        match &source.what {
            What::Name(_) => {
                if timeout(FIRST_LOOK, self.look(source)).await.is_err() {
                    source.failed("the name server has not answered yet".into());
                }
                Ok(())
            }
            What::File(..) => {
                self.look(source).await;
                source.error().map_or(Ok(()), Err)
            }
        }
    }

    /// Makes the sources of these upstreams the ones that are looked at: starts what is new, on `runtime`, and stops what nobody uses any
    /// more.
    pub fn commit<'a>(self: &Arc<Self>, live: impl Iterator<Item = &'a ResolvedUpstream>, runtime: &Handle) {
        let wanted = live.flat_map(|upstream| upstream.layout.sources());
        let mut running = self.running();
        let mut before = std::mem::take(&mut *running);
        for source in wanted {
            let key = (source.upstream.clone(), source.what.to_string());
            let kept = before.remove(&key).filter(|running| {
                let keep = Arc::ptr_eq(&running.source, &source);
                if !keep {
                    running.task.abort();
                }
                keep
            });
            let start = || Running {
                task: runtime.spawn(follow(Arc::downgrade(self), source.clone())).abort_handle(),
                source: source.clone(),
            };
            running.insert(key, kept.unwrap_or_else(start));
        }
        before.values().for_each(|gone| gone.task.abort());
    }

    /// Has every source looked at now, as whoever asks for a reload expects.
    pub fn look_now(&self) {
        self.running().values().for_each(|running| running.source.wake.notify_one());
    }

    /// One look.
    async fn look(self: &Arc<Self>, source: &Arc<Source>) {
        let changed = match &source.what {
            What::Name(name) => {
                let last = source.found();
                let last = match last.as_deref() {
                    Some(Found::Servers(servers)) => servers.as_slice(),
                    _ => &[],
                };
                match timeout(LOOK_UP, dns::look(&self.names, name, last)).await {
                    Ok(Ok(answer)) => source.learned(Found::Servers(answer.servers), answer.ttl, answer.failed),
                    Ok(Err(why)) => source.failed(why),
                    Err(_) => source.failed(format!("no answer within {LOOK_UP:?}")),
                }
            }
            What::File(_, upstream, file) => {
                let first = source.found().is_none();
                let file = file.clone();
                // A file system may be slow, or gone.
                let read = tokio::task::spawn_blocking(move || {
                    let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
                    if first { Some(file.read()) } else { file.look() }
                });
                match read.await {
                    Ok(Some(news)) => self.take(source, upstream, news).await,
                    Ok(None) => source.unchanged(),
                    Err(error) => source.failed(error.to_string()),
                }
            }
        };
        if changed {
            self.changed.notify_one();
        }
    }

    /// Takes what a file says, once all names in it have been looked up.
    async fn take(self: &Arc<Self>, source: &Source, upstream: &Arc<lb_config::Upstream>, news: file::News) -> bool {
        let servers = match news.servers {
            Ok(servers) => servers,
            Err(why) => {
                let is_news = source.file().is_some_and(|mut file| file.refused(news.fingerprint));
                return if is_news { source.failed(why) } else { source.unchanged() };
            }
        };
        // A file names names, but no files: this goes no deeper.
        match lay_out(upstream, &servers, self).await {
            Ok(layout) => {
                source.file().iter_mut().for_each(|file| file.taken(news.fingerprint));
                source.learned(Found::Layout(layout), Duration::ZERO, None)
            }
            Err(error) => {
                source.file().iter_mut().for_each(|file| file.try_again());
                source.failed(error.to_string())
            }
        }
    }
}

impl Drop for Discovery {
    fn drop(&mut self) {
        self.running().values().for_each(|running| running.task.abort());
    }
}

/// Looks again and again, for as long as somebody wants to know.
async fn follow(discovery: Weak<Discovery>, source: Arc<Source>) {
    loop {
        tokio::select! {
            () = tokio::time::sleep_until(source.next()) => {}
            () = source.wake.notified() => {}
        }
        let Some(discovery) = discovery.upgrade() else { return };
        discovery.look(&source).await;
    }
}
