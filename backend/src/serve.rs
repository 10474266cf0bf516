//! The life of the server: listen, prepare the database, serve, drain, end.
//!
//! It listens first and prepares the database then, so that a database that is still starting is waited for, with `/ready`
//! answering 503. Told to stop, it goes through three phases:
//!
//! 1. For the drain delay `/ready` answers 503 and everything else is served as before, but with `Connection: close` and `X-LB-Drain: 1`: whoever
//!    balances the load learns that this server is going, and no connection is left on which a request could cross with its end.
//! 2. It stops accepting, and lets what is under way finish. Idle connections are closed.
//! 3. It closes its connections to the database, and hands the last spans to the collector, if there is one.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::{TcpListener, TcpSocket, TcpStream, lookup_host};
use tokio::time::{sleep, timeout};
use tracing::{error, info, warn};

use crate::auth::Auth;
use crate::cache::Cache;
use crate::http::{App, Service};
use crate::log::Log;
use crate::settings::{AuthSettings, Settings, Who};
use crate::store::{self, MigrationError, Redis, Sessions, Store};
use crate::trace::Traces;

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 4096;
/// Most fields in a request's head. `lb` takes 128, and adds some of its own.
const FIELDS: usize = 256;
/// How long a connection may be silent before a request's head is whole. Longer than load balancers keep idle connections (lb: 60 s,
/// nginx: 60 s), so that it is them who close, and never this side while a request is on its way.
const HEAD_TIMEOUT: Duration = Duration::from_secs(90);
/// How long what is under way may take once no more is accepted.
const GRACE: Duration = Duration::from_secs(30);
/// Pause when the system cannot give another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Pause between two tries to prepare the database.
const PREPARE_PAUSE: Duration = Duration::from_secs(1);
/// Pause between two times that what is over is removed.
const SWEEP_PAUSE: Duration = Duration::from_secs(600);

/// Serves until `stop` says why to stop.
pub async fn serve(settings: Settings, log: Log, stop: impl Future<Output = &'static str>) -> anyhow::Result<()> {
    raise_limit_of_files();
    let (host, port) = (settings.host.as_str(), settings.port);
    let listener = listen(host, port)
        .await
        .with_context(|| format!("cannot listen on {host} port {port}"))?;
    let addr = listener.local_addr()?;
    info!(%addr, "listening on {addr}");
    if settings.http.who == Who::Nobody {
        warn!("AUTH=off: everybody who reaches this address may change everything");
    }
    let store = store::open(&settings.database);
    let auth = settings
        .auth
        .map(|auth| logins(auth, settings.redis.as_ref(), &store))
        .transpose()?;
    let cache = settings.redis.filter(|_| settings.database.outbox);
    let cache = cache.map(|redis| Arc::new(Cache::start(redis, Arc::clone(&store), settings.http.cache_ttl)));
    let traces = settings.trace.as_ref().map(Traces::start).transpose()?;
    let app = App::new(Arc::clone(&store), auth, cache, &settings.http, log).traced(traces.as_ref().map(Traces::tracer));
    let app = Arc::new(app);
    let drain = async {
        let why = stop.await;
        info!(drain_delay = ?settings.drain_delay, "stopping because of {why}");
        app.drain();
        sleep(settings.drain_delay).await;
    };
    let mut prepared = pin!(prepare(store.as_ref(), settings.migrate));
    let mut served = pin!(run(listener, Arc::clone(&app), drain));
    tokio::select! {
        outcome = &mut prepared => {
            outcome?;
            tokio::select! {
                () = sweep(store.as_ref()) => {}
                () = &mut served => {}
            }
        }
        () = &mut served => {}
    }
    store.close().await;
    if let Some(traces) = traces {
        traces.finish().await;
    }
    info!("stopped");
    Ok(())
}

/// A connection is a file, and the usual limit of 1024 is one that every process may raise to what the administrator allows.
fn raise_limit_of_files() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let raised = Rlimit { current: maximum, maximum };
    if let Err(e) = setrlimit(Resource::Nofile, raised) {
        warn!("cannot raise the limit of open files: {e}");
    }
}

/// Brings the schema up to date, as soon as there is a database.
async fn prepare(store: &dyn Store, migrate: bool) -> anyhow::Result<()> {
    if !migrate {
        return Ok(());
    }
    loop {
        match store.migrate().await {
            Ok(()) => {
                info!("the database's schema is up to date");
                return Ok(());
            }
            Err(MigrationError::Unavailable(why)) => warn!("waiting for the database: {why}"),
            Err(refused) => return Err(refused.into()),
        }
        sleep(PREPARE_PAUSE).await;
    }
}

/// Sessions are kept in Redis, or where the users are.
fn logins(settings: AuthSettings, redis: Option<&redis::Client>, store: &Arc<dyn Store>) -> anyhow::Result<Auth> {
    let sessions: Arc<dyn Sessions> = match redis {
        Some(client) => Arc::new(Redis::new(client.clone())?),
        None => Arc::clone(store) as _,
    };
    Ok(Auth::new(Arc::clone(store), sessions, settings.secret.as_bytes()))
}

/// Removes what is over, now and then and for ever. That several servers do so disturbs nobody.
async fn sweep(store: &dyn Store) {
    loop {
        sleep(SWEEP_PAUSE).await;
        if let Err(e) = store.sweep().await {
            warn!("cannot remove what is over: {e}");
        }
    }
}

/// Listens on the first address of `host` that can be had.
pub async fn listen(host: &str, port: u16) -> anyhow::Result<TcpListener> {
    let mut failure = anyhow::anyhow!("the name has no address");
    for addr in lookup_host((host, port)).await? {
        match listen_on(addr) {
            Ok(listener) => return Ok(listener),
            Err(e) => failure = e.into(),
        }
    }
    Err(failure)
}

fn listen_on(addr: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if addr.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    socket.listen(BACKLOG)
}

/// Accepts and serves connections until `drain` is over, and then finishes what is under way.
pub async fn run(listener: TcpListener, app: Arc<App>, drain: impl Future<Output = ()>) {
    let connections = Connections::new(app);
    let mut drain = pin!(drain);
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => connections.serve(stream, peer),
                Err(e) => {
                    error!("cannot accept a connection: {e}");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
            () = &mut drain => break,
        }
    }
    connections.accept_waiting(listener);
    connections.finish().await;
}

/// The connections of the server, and how each is served.
struct Connections {
    http: Builder<TokioExecutor>,
    service: Service,
    graceful: GracefulShutdown,
}

impl Connections {
    fn new(app: Arc<App>) -> Self {
        let mut http = Builder::new(TokioExecutor::new());
        let mut http1 = http.http1();
        http1.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_headers(FIELDS);
        http.http2().timer(TokioTimer::new());
        Self {
            http,
            service: Service::new(app),
            graceful: GracefulShutdown::new(),
        }
    }

    fn serve(&self, stream: TcpStream, peer: SocketAddr) {
        // Without it the last part of an answer may wait for an acknowledgement. Where it cannot be set, that is all that happens.
        let _ = stream.set_nodelay(true);
        let connection = self
            .http
            .serve_connection(TokioIo::new(stream), self.service.for_peer(peer.ip()))
            .into_owned();
        let connection = self.graceful.watch(connection);
        tokio::spawn(async move {
            // An error here is a client that went away or does not speak HTTP; hyper has answered if it could.
            if let Err(e) = connection.await {
                tracing::debug!("connection from {peer}: {e}");
            }
        });
    }

    /// Connections that are established already and only wait to be accepted would be reset with the listener.
    fn accept_waiting(&self, listener: TcpListener) {
        let Ok(listener) = listener.into_std() else { return };
        while let Ok((stream, peer)) = listener.accept() {
            if stream.set_nonblocking(true).is_ok()
                && let Ok(stream) = TcpStream::from_std(stream)
            {
                self.serve(stream, peer);
            }
        }
    }

    async fn finish(self) {
        let open = self.graceful.count();
        if timeout(GRACE, self.graceful.shutdown()).await.is_err() {
            warn!("some of {open} connections were cut off after {GRACE:?}");
        }
    }
}
