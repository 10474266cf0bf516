//! All live state of the process: what reloads find, and what they leave.
//!
//! Building is free of effects: names are looked up by [`resolve`](super::resolve()), and [`Registry::build`] makes an [`Upstream`] that
//! shares the live state of the one before it, but no check starts or stops until the new configuration is in use and
//! [`Registry::commit`] is called. An upstream that is built and dropped leaves nothing behind.
//!
//! The registry holds live state weakly. What keeps it are configurations in use and requests under way.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use super::check::{self, Check, CheckKey, Secured, Status};
use super::epoch::Epoch;
use super::pool::Pool;
use super::{ResolvedUpstream, Server, Upstream};
use crate::tls::UpstreamTls;

/// See the module. One for the process.
#[derive(Default)]
pub struct Registry {
    epoch: Arc<Epoch>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    pools: HashMap<Arc<str>, Weak<Pool>>,
    checks: HashMap<CheckKey, Weak<Check>>,
    tasks: HashMap<CheckKey, AbortHandle>,
}

impl Registry {
    /// Without anything in it.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The upstream that `config` describes, over the live state that its name and its servers' addresses have. `tls` is how its servers
    /// are met, where that is by TLS.
    pub fn build(
        self: &Arc<Self>,
        config: &lb_config::Upstream,
        resolved: ResolvedUpstream,
        tls: Option<&Arc<UpstreamTls>>,
    ) -> Arc<Upstream> {
        let mut inner = self.inner();
        let pool = inner.pool(&config.name, &self.epoch);
        let server = |server: super::resolve::ResolvedServer| {
            let secured = tls.zip(server.tls_name.as_ref()).map(|(tls, name)| Secured::new(tls, name));
            let key = config
                .health_check
                .as_ref()
                .map(|check| CheckKey::new(&server.address, check, config.host.as_ref(), secured.as_ref()));
            let check = key.map(|key| inner.check(key, secured, &self.epoch));
            Arc::new(Server::new(&pool, server, config, check))
        };
        let servers = resolved.servers.into_iter().map(server).collect();
        drop(inner);
        Arc::new(Upstream::new(config.clone(), pool, servers))
    }

    /// Makes these upstreams the ones in force. Those who wait for a server get theirs; and their checks are the ones that run: what is new
    /// is started, on `runtime`, and what nobody uses any more is stopped.
    pub fn commit(self: &Arc<Self>, live: &[Arc<Upstream>], runtime: &Handle) {
        live.iter().for_each(|upstream| upstream.make_current());
        let servers = live.iter().flat_map(|upstream| upstream.servers());
        let wanted: HashMap<_, _> = servers
            .filter_map(|server| server.check())
            .map(|check| (check.key.clone(), check.clone()))
            .collect();
        let mut inner = self.inner();
        inner.tasks.retain(|key, task| {
            let keep = wanted.contains_key(key) && !task.is_finished();
            if !keep {
                task.abort();
            }
            keep
        });
        for (key, check) in wanted {
            inner.tasks.entry(key).or_insert_with(|| start(check, runtime));
        }
        inner.pools.retain(|_, pool| pool.strong_count() > 0);
        inner.checks.retain(|_, check| check.strong_count() > 0);
    }

    /// How many checks run.
    pub fn checks(&self) -> usize {
        self.inner().tasks.len()
    }
}

fn start(check: Arc<Check>, runtime: &Handle) -> AbortHandle {
    if check.status() != Status::Unchecked {
        // It ran before, and requests of an older configuration still hold it.
        check.forget();
    }
    runtime.spawn(check::watch(check)).abort_handle()
}

impl Inner {
    fn pool(&mut self, name: &Arc<str>, epoch: &Arc<Epoch>) -> Arc<Pool> {
        if let Some(pool) = self.pools.get(name).and_then(Weak::upgrade) {
            return pool;
        }
        let pool = Arc::new(Pool::new(name.clone(), epoch.clone(), Instant::now()));
        self.pools.insert(name.clone(), Arc::downgrade(&pool));
        epoch.tell(Arc::downgrade(&pool));
        pool
    }

    fn check(&mut self, key: CheckKey, tls: Option<Secured>, epoch: &Arc<Epoch>) -> Arc<Check> {
        if let Some(check) = self.checks.get(&key).and_then(Weak::upgrade) {
            return check;
        }
        let check = Arc::new(Check::new(key.clone(), tls, epoch.clone()));
        self.checks.insert(key, Arc::downgrade(&check));
        check
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        for task in self.inner().tasks.values() {
            task.abort();
        }
    }
}
