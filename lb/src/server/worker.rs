//! A worker: one thread with a runtime of its own, its own listening sockets, its own idle upstream connections. Nothing moves between
//! workers but what must be exact across them (loads, health, the cache), so a request stays on one core from accept to log line.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener, TcpStream as StdStream};
use std::sync::Arc;
use std::thread::JoinHandle;

use rustix::event::{PollFd, PollFlags, Timespec};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::connection;
use super::connections::Slot;
use crate::engine::pingora::Engine;
use crate::engine::relay::Relay;
use crate::proxy::Proxy;

/// What a worker serves requests with.
pub struct Engines {
    /// HTTP/1.1.
    pub relay: Relay,
    /// HTTP/2, and HTTP/1.1 where the configuration says so.
    pub pingora: Engine,
    /// What both share.
    pub proxy: Arc<Proxy>,
}

impl Engines {
    fn new(proxy: &Arc<Proxy>, shutdown: &watch::Receiver<bool>) -> Arc<Self> {
        Arc::new(Self {
            relay: Relay::new(proxy.clone(), shutdown.clone()),
            pingora: Engine::new(proxy.clone(), pool(proxy)),
            proxy: proxy.clone(),
        })
    }

    /// Whether the relay is to serve HTTP/1.1.
    pub fn relays(&self) -> bool {
        self.proxy.peek().config.server.engine == lb_config::Engine::Relay
    }
}

/// Starts a worker that accepts from `listeners` until `shutdown` turns true, and then until its last connection ends.
///
/// # Errors
/// When the thread or its runtime cannot be made.
pub fn start(index: usize, proxy: Arc<Proxy>, listeners: Vec<StdListener>, shutdown: watch::Receiver<bool>) -> io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
        runtime.block_on(async move {
            let engines = Engines::new(&proxy, &shutdown);
            let accepting = listeners
                .into_iter()
                .map(|listener| tokio::spawn(accept(listener, proxy.clone(), engines.clone(), shutdown.clone())));
            futures::future::join_all(accepting.collect::<Vec<_>>()).await;
            engines.pingora.stop().await;
            // The process ends when its connections have, or when the grace period has: not this thread's business.
            std::future::pending::<()>().await;
        });
    })
}

/// Idle upstream connections that a worker keeps: what every server may have, all together. The pool evicts the least recently used.
fn pool(proxy: &Proxy) -> usize {
    let each = |state: &crate::snapshot::UpstreamState| state.upstream.config().keepalive * state.upstream.servers().len();
    proxy.snapshot().upstreams.iter().map(each).sum::<usize>().max(1)
}

/// Accepts until the shutdown, and then what the kernel holds already: those clients were let in before anybody was turned away.
async fn accept(listener: StdListener, proxy: Arc<Proxy>, engines: Arc<Engines>, mut shutdown: watch::Receiver<bool>) {
    #[expect(
        deprecated,
        reason = "the other way is unsafe; a TcpListener's descriptor is open for as long as it lives, which is all that is asked"
    )]
    let listener = match AsyncFd::with_interest(listener, Interest::READABLE) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "cannot watch a listening socket"),
    };
    while let Some((slot, accepted)) = unless(&mut shutdown, next(&listener, &proxy)).await {
        match accepted {
            Ok((stream, address)) => serve(stream, address, slot, &engines, &shutdown),
            Err(error) => accept_failed(&error).await,
        }
    }
    while let Ok((stream, address)) = listener.get_ref().accept() {
        serve(stream, address, proxy.connections.place().await, &engines, &shutdown);
    }
}

/// A connection, and its place. The place comes first: whom there is no room for waits in the kernel's queue.
async fn next(listener: &AsyncFd<StdListener>, proxy: &Proxy) -> (Slot, io::Result<(StdStream, SocketAddr)>) {
    loop {
        let mut ready = match listener.readable().await {
            Ok(ready) => ready,
            Err(error) => return (proxy.connections.place().await, Err(error)),
        };
        let slot = match proxy.connections.try_place() {
            Some(slot) => slot,
            // Nobody is to make room for a connection that is not there.
            None if !is_waiting(listener.get_ref()) => {
                ready.clear_ready();
                continue;
            }
            None => proxy.connections.place().await,
        };
        if let Ok(accepted) = ready.try_io(|listener| listener.get_ref().accept()) {
            return (slot, accepted);
        }
    }
}

/// Whether a connection waits to be accepted. Readiness as the runtime knows it is from the last time that somebody looked.
fn is_waiting(listener: &StdListener) -> bool {
    let mut look = [PollFd::new(listener, PollFlags::IN)];
    matches!(rustix::event::poll(&mut look, Some(&Timespec::default())), Ok(1..))
}

/// What comes, unless the shutdown comes first.
async fn unless<T>(shutdown: &mut watch::Receiver<bool>, future: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        _ = shutdown.wait_for(|stop| *stop) => None,
        value = future => Some(value),
    }
}

fn serve(stream: StdStream, address: SocketAddr, slot: Slot, engines: &Arc<Engines>, shutdown: &watch::Receiver<bool>) {
    let adopted = stream
        .set_nonblocking(true)
        .and_then(|()| stream.set_nodelay(true))
        .and_then(|()| TcpStream::from_std(stream));
    match adopted {
        Ok(stream) => {
            tokio::spawn(connection::serve(stream, address, slot, engines.clone(), shutdown.clone()));
        }
        Err(error) => tracing::debug!(%error, client = %address, "a connection ended before it was served"),
    }
}

/// A client that is gone already is nothing; without descriptors or memory a pause lets connections end.
async fn accept_failed(error: &io::Error) {
    match error.kind() {
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted => {}
        _ => {
            tracing::error!(%error, "cannot accept a connection");
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }
}
