//! The way in: listeners, workers, signals, drain.
//!
//! The main thread keeps a small runtime for everything that is no request: health checks, the admin address, reloads, signals. Workers
//! ([`worker`]) serve the requests.

mod accept;
mod connection;
mod connections;
mod limit;
mod listener;
mod listeners;
mod pin;
mod rediscover;
pub mod reload;
mod signals;
mod worker;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use lb_config::Config;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

pub use connections::Connections;
pub use listeners::Listeners;

use crate::cache::saved::{Loaded, Place};
use crate::cache::{Cache, Now};
use crate::observe::{AccessLog, Metrics, log};
use crate::proxy::{Parts, Proxy};
use crate::snapshot::{Snapshot, resolve_all};
use crate::tls::{self, Tls};
use crate::upstream::{Discovery, Registry};

/// Runs the proxy until it is told to stop. `file` is read again at a reload.
pub fn run(config: Config, tls: Tls, file: PathBuf) -> ExitCode {
    let log = match log::init(config.server.log_level) {
        Ok(log) => log,
        Err(error) => {
            eprintln!("lb: cannot set up the log: {error}");
            return ExitCode::FAILURE;
        }
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("lb: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(serve(config, Arc::new(tls), file, log));
    // What is still under way after the grace period ends here.
    runtime.shutdown_background();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lb: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(config: Config, tls: Arc<Tls>, file: PathBuf, log: log::Handle) -> anyhow::Result<()> {
    let threads = threads(&config);
    let (listeners, sockets) = Listeners::new(threads);
    let first = listeners
        .bind(&listener::specs(&config.server))
        .map_err(|errors| anyhow::anyhow!(lines(&errors)))?;
    let admin = match &config.server.admin {
        Some(admin) => Some(crate::admin::bind(admin).with_context(|| format!("server.admin: cannot listen on {}", admin.listen))?),
        None => None,
    };
    let (cache, saved) = open_cache(&config.cache)?;
    let proxy = prepare(config, tls, file, log, listeners, cache).await?;
    let (stop, stopping) = watch::channel(false);
    let mut signals = signals::Signals::new().context("cannot handle signals")?;
    proxy.snapshot().tls.warn_of_expiry();
    let watched = proxy.clone();
    tokio::spawn(tls::watch(move || watched.snapshot().tls.clone()));
    tokio::spawn(rediscover::rediscover(proxy.clone()));
    if let Some(admin) = admin {
        tokio::spawn(crate::admin::serve(admin, proxy.clone()));
    }
    let cores = pin::plan(threads);
    for (index, sockets) in sockets.into_iter().enumerate() {
        let core = cores.get(index).copied();
        worker::start(index, core, proxy.clone(), sockets, stopping.clone()).context("cannot start a worker")?;
    }
    proxy.listeners.switch(first).await;
    announce(&proxy, threads);
    signals.until_stopped(&proxy).await;
    tokio::select! {
        () = drain(&proxy, &stop, saved) => {}
        () = signals.stopped() => tracing::warn!("told to stop again: not waiting any longer"),
    }
    Ok(())
}

async fn prepare(
    config: Config,
    tls: Arc<Tls>,
    file: PathBuf,
    log: log::Handle,
    listeners: Listeners,
    cache: Arc<Cache>,
) -> anyhow::Result<Arc<Proxy>> {
    let metrics = Metrics::new();
    let registry = Registry::new();
    let connections = Connections::new(config.limits.max_connections.get(), threads(&config));
    let discovery = Discovery::new(metrics.clone());
    let resolved = resolve_all(&config, &discovery)
        .await
        .map_err(|errors| anyhow::anyhow!(lines(&errors)))?;
    let access_log = AccessLog::open(config.server.access_log.as_ref(), metrics.access_log_dropped()).context("server.access_log")?;
    let snapshot = Snapshot::build(config, tls, resolved, &registry, &metrics, access_log);
    let proxy = Proxy::new(
        file,
        snapshot,
        Parts {
            cache,
            registry,
            discovery,
            metrics,
            connections,
            listeners,
            log,
        },
    );
    reload::apply(&proxy, proxy.snapshot());
    Ok(proxy)
}

/// The cache, with what its file has.
fn open_cache(config: &lb_config::Cache) -> anyhow::Result<(Arc<Cache>, Option<Place>)> {
    let Some(path) = &config.file else {
        return Ok((Cache::new(config.memory, config.max_object), None));
    };
    let (cache, place, loaded) = Place::open(path.clone(), config.memory, config.max_object, Now::read())
        .with_context(|| format!("cache.file: cannot read or write {}", path.display()))?;
    match loaded {
        Loaded::Nothing => {}
        Loaded::Responses(responses) => tracing::info!(responses, bytes = cache.bytes(), "the cache has what it had before"),
        Loaded::Unused(reason) => tracing::info!(file = %path.display(), reason, "the cache begins empty"),
    }
    Ok((cache, Some(place)))
}

/// Writes what is stored to its file.
async fn save_cache(place: Place, cache: Arc<Cache>) {
    let file = place.path().display().to_string();
    match tokio::task::spawn_blocking(move || place.save(&cache, Now::read())).await {
        Ok(Ok(Some(responses))) => tracing::info!(responses, "the cache is saved"),
        Ok(Ok(None)) => tracing::info!(file, "the cache is not saved: another lb has taken its file"),
        Ok(Err(error)) => tracing::warn!(file, %error, "the cache cannot be saved"),
        Err(error) => tracing::warn!(file, %error, "the cache is not saved"),
    }
}

fn threads(config: &Config) -> usize {
    match config.server.threads {
        Some(threads) => threads.get(),
        None => std::thread::available_parallelism().map_or(1, usize::from),
    }
}

/// Errors, one on each line.
fn lines<T: ToString>(errors: &[T]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn announce(proxy: &Proxy, threads: usize) {
    let server = &proxy.snapshot().config.server;
    let listen: Vec<_> = listener::specs(server).iter().map(|spec| spec.address).collect();
    tracing::info!(
        ?listen,
        admin = server.admin.as_ref().map(|admin| admin.listen.to_string()),
        threads,
        "lb is ready"
    );
}

/// Lets what is under way end: no new connection, no further request on an old one, and the end as soon as the last one is through.
async fn drain(proxy: &Arc<Proxy>, stop: &watch::Sender<bool>, saved: Option<Place>) {
    let snapshot = proxy.snapshot();
    let grace = snapshot.config.server.grace_period;
    tracing::info!(connections = proxy.connections.open(), ?grace, "stopping");
    proxy.drain();
    stop.send_replace(true);
    proxy.connections.stop();
    let deadline = Instant::now() + grace;
    // Whom the kernel has let in is no connection yet, and is served like the others.
    let _ = timeout_at(deadline, proxy.listeners.stop()).await;
    while proxy.connections.open() > 0 && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    proxy.cache.leave().await;
    let left = proxy.connections.open();
    if left > 0 {
        tracing::warn!(connections = left, "the grace period is over");
    }
    if let Some(place) = saved {
        save_cache(place, Arc::clone(&proxy.cache)).await;
    }
    let lost = snapshot.access_log.flush(Duration::from_secs(1));
    if lost > 0 {
        tracing::warn!(lines = lost, "the access log's reader does not read: lines are lost");
    }
    tracing::info!("stopped");
    proxy.log.flush(Duration::from_secs(1));
}
