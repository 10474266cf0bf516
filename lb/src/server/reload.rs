//! Reload: all or nothing. The new file is loaded, checked, resolved and built beside the old one; only when all of that has worked is it
//! swapped in, at once, and then what it no longer needs is let go.

use std::fmt;
use std::sync::Arc;

use lb_config::{Config, Problems};
use serde::Serialize;

use super::listener;
use crate::observe::access_log::OpenError;
use crate::proxy::Proxy;
use crate::snapshot::{Snapshot, resolve_all};
use crate::tls;
use crate::upstream::{ResolveError, check_files};

/// Why a reload changed nothing.
#[derive(Debug)]
pub enum ReloadError {
    /// The file is wrong.
    File(Problems),
    /// Host names that could not be resolved.
    Resolve(Vec<ResolveError>),
    /// What only a restart can change.
    NeedsRestart(Vec<String>),
    /// The access log cannot be opened.
    AccessLog(OpenError),
    /// Addresses that cannot be listened on.
    Listen(Vec<listener::BindError>),
    /// Loading died.
    Internal(String),
}

impl fmt::Display for ReloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReloadError::File(problems) => write!(f, "{problems}"),
            ReloadError::Resolve(errors) => lines(f, errors.iter()),
            ReloadError::NeedsRestart(reasons) => lines(f, reasons.iter()),
            ReloadError::AccessLog(error) => write!(f, "server.access_log: {error}"),
            ReloadError::Listen(errors) => lines(f, errors.iter()),
            ReloadError::Internal(error) => f.write_str(error),
        }
    }
}

fn lines<T: fmt::Display>(f: &mut fmt::Formatter<'_>, items: impl Iterator<Item = T>) -> fmt::Result {
    for (index, item) in items.enumerate() {
        if index > 0 {
            f.write_str("\n")?;
        }
        write!(f, "{item}")?;
    }
    Ok(())
}

/// What a reload changed, by name.
#[derive(Debug, Default, Serialize)]
pub struct Changes {
    /// Listeners that are new, changed or gone.
    pub listeners: Delta,
    /// Upstreams that are new, changed or gone.
    pub upstreams: Delta,
    /// Routes that are new, changed or gone.
    pub routes: Delta,
}

/// Names that are new, changed or gone.
#[derive(Debug, Default, Serialize)]
pub struct Delta {
    /// Were not there before.
    pub added: Vec<String>,
    /// Are not as before.
    pub changed: Vec<String>,
    /// Are there no more.
    pub removed: Vec<String>,
}

/// Reloads the file that `proxy` was started with. The caller sees to it that only one reload runs at a time.
///
/// # Errors
/// Whatever is wrong; then everything is as it was.
pub async fn reload(proxy: &Arc<Proxy>) -> Result<Changes, ReloadError> {
    let result = try_reload(proxy).await;
    proxy.metrics.reloaded(result.is_ok());
    match &result {
        Ok(changes) => tracing::info!(?changes, "configuration reloaded"),
        Err(error) => tracing::error!(%error, "configuration not reloaded; the old one stays in force"),
    }
    result
}

async fn try_reload(proxy: &Arc<Proxy>) -> Result<Changes, ReloadError> {
    let file = proxy.file().to_path_buf();
    let old = proxy.snapshot();
    let before = old.tls.clone();
    let load = move || {
        let config = lb_config::load(&file)?;
        let tls = tls::load(&config, Some(&before))?;
        check_files(&config, true)?;
        Ok((tls, config))
    };
    let (tls, config) = tokio::task::spawn_blocking(load)
        .await
        .map_err(|error| ReloadError::Internal(error.to_string()))?
        .map_err(ReloadError::File)?;
    needs_restart(&old.config, &config)?;
    let resolved = resolve_all(&config, &proxy.discovery).await.map_err(ReloadError::Resolve)?;
    let access_log = old
        .access_log
        .reload(config.server.access_log.as_ref())
        .map_err(ReloadError::AccessLog)?;
    let changes = compare(&old.config, &config);
    let snapshot = Arc::new(Snapshot::build(
        config,
        Arc::new(tls),
        resolved,
        &proxy.registry,
        &proxy.metrics,
        access_log,
    ));
    let listeners = proxy
        .listeners
        .bind(&listener::specs(&snapshot.config.server))
        .map_err(ReloadError::Listen)?;
    // From here on nothing fails.
    proxy.listeners.retire(&listeners, &old);
    apply(proxy, snapshot);
    proxy.discovery.look_now();
    proxy.listeners.switch(listeners).await;
    Ok(changes)
}

/// Swaps a snapshot in and lets go of what it does not need.
pub fn apply(proxy: &Arc<Proxy>, snapshot: Arc<Snapshot>) {
    let config = &snapshot.config;
    proxy.cache.set_bounds(config.cache.memory, config.cache.max_object);
    proxy
        .cache
        .share(config.cache.redis.as_ref().map(|redis| (redis, config.cache.coherence)));
    proxy.connections.set_max(config.limits.max_connections.get());
    proxy.connections.count_by_address(config.limits.max_connections_per_ip.is_some());
    proxy.log.set_level(config.server.log_level);
    proxy.swap(snapshot.clone());
    settle(proxy, &snapshot);
}

/// Starts what a snapshot needs that is in use now, and lets go of what it does not need.
pub fn settle(proxy: &Proxy, snapshot: &Snapshot) {
    let runtime = tokio::runtime::Handle::current();
    proxy.registry.commit(&snapshot.live(), &runtime);
    let resolved = snapshot.upstreams.iter().map(|state| &*state.resolved);
    proxy.discovery.commit(resolved, &runtime);
    forget_others(proxy, snapshot);
}

/// Drops the counters of what `snapshot` does not have.
fn forget_others(proxy: &Proxy, snapshot: &Snapshot) {
    let upstream = |name: &str| snapshot.upstreams.iter().find(|state| &**state.upstream.name() == name);
    proxy.metrics.retain(
        |name| snapshot.routes.iter().any(|route| &*route.config.name == name),
        |name| upstream(name).is_some(),
        |of, name| upstream(of).is_some_and(|state| state.upstream.servers().iter().any(|server| &**server.name() == name)),
    );
}

fn needs_restart(old: &Config, new: &Config) -> Result<(), ReloadError> {
    let mut reasons = Vec::new();
    let mut differs = |what: &str, before: String, after: String| {
        if before != after {
            reasons.push(format!(
                "{what} cannot change while lb runs: it is {before}, the file says {after}; restart lb, or put it back"
            ));
        }
    };
    differs("server.admin", admin(&old.server), admin(&new.server));
    differs("server.threads", threads(&old.server), threads(&new.server));
    differs("cache.file", cache_file(old), cache_file(new));
    if reasons.is_empty() {
        Ok(())
    } else {
        Err(ReloadError::NeedsRestart(reasons))
    }
}

fn cache_file(config: &Config) -> String {
    let file = config.cache.file.as_ref();
    file.map_or_else(|| "not set".to_owned(), |file| file.display().to_string())
}

fn admin(server: &lb_config::Server) -> String {
    match &server.admin {
        Some(admin) => admin.listen.to_string(),
        None => "off".to_string(),
    }
}

fn threads(server: &lb_config::Server) -> String {
    match server.threads {
        Some(threads) => threads.to_string(),
        None => "auto".to_string(),
    }
}

fn compare(old: &Config, new: &Config) -> Changes {
    let (before, after) = (listener::specs(&old.server), listener::specs(&new.server));
    Changes {
        listeners: delta(&before, &after, |spec| spec.address.to_string(), |a, b| a == b),
        upstreams: delta(&old.upstreams, &new.upstreams, |upstream| upstream.name.to_string(), |a, b| a == b),
        routes: delta(
            &old.routes,
            &new.routes,
            |route| route.name.to_string(),
            |a, b| format!("{a:?}") == format!("{b:?}"),
        ),
    }
}

fn delta<T>(old: &[T], new: &[T], name: impl Fn(&T) -> String, same: impl Fn(&T, &T) -> bool) -> Delta {
    let find = |list: &'_ [T], wanted: &str| list.iter().position(|item| name(item) == wanted);
    let mut delta = Delta::default();
    for item in new {
        match find(old, &name(item)) {
            None => delta.added.push(name(item)),
            Some(index) if !same(&old[index], item) => delta.changed.push(name(item)),
            Some(_) => {}
        }
    }
    delta.removed = old.iter().map(&name).filter(|wanted| find(new, wanted).is_none()).collect();
    delta
}
