//! A worker: one thread with a runtime of its own, its own listening sockets, its own idle upstream connections. Nothing moves between
//! workers but what must be exact across them (loads, health, the cache), so a request stays on one core from accept to log line.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::accept::{Accepted, accept};
use super::connection::{self, Incoming};
use super::limit;
use super::listeners::Socket;
use super::pin;
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
    fn new(proxy: &Arc<Proxy>) -> Arc<Self> {
        let relay = Relay::new(proxy.clone());
        Arc::new(Self {
            pingora: Engine::new(proxy.clone(), relay.clone(), pool(proxy)),
            relay,
            proxy: proxy.clone(),
        })
    }

    /// Whether the relay is to serve HTTP/1.1.
    pub fn relays(&self) -> bool {
        self.proxy.peek().config.server.engine == lb_config::Engine::Relay
    }
}

/// Starts worker number `index`, which accepts from the sockets that it is sent until there will be no more, and they have been told to
/// stop; its connections go on until they end. `core`: where its thread runs; anywhere if there is none.
///
/// # Errors
/// When the thread or its runtime cannot be made.
pub fn start(
    index: usize,
    core: Option<usize>,
    proxy: Arc<Proxy>,
    mut sockets: mpsc::UnboundedReceiver<Socket>,
    shutdown: watch::Receiver<bool>,
) -> io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
        if let Some(core) = core {
            pin::pin(core);
        }
        runtime.block_on(async move {
            let engines = Engines::new(&proxy);
            let mut accepting = JoinSet::new();
            while let Some(socket) = sockets.recv().await {
                let (proxy, engines, shutdown) = (proxy.clone(), engines.clone(), shutdown.clone());
                let connections = proxy.connections.clone();
                let serve = move |accepted| serve(accepted, &proxy, &engines, &shutdown);
                accepting.spawn(accept(socket, connections, index, serve));
                // Those that a reload has ended.
                while accepting.try_join_next().is_some() {}
            }
            while accepting.join_next().await.is_some() {}
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

/// Serves a connection in a task of its own, unless its client has too many.
fn serve(accepted: Accepted, proxy: &Proxy, engines: &Arc<Engines>, shutdown: &watch::Receiver<bool>) {
    let Accepted {
        stream,
        peer,
        listener,
        slot,
    } = accepted;
    let (snapshot, listen) = listener.serves(proxy);
    if let Err(limit) = limit::admit(&snapshot.config, peer.ip(), &slot) {
        tracing::debug!(client = %peer.ip(), limit, "a connection is refused: max_connections_per_ip");
        proxy.metrics.connection_limited();
        return;
    }
    match TcpStream::from_std(stream) {
        Ok(stream) => {
            let incoming = Incoming {
                stream,
                peer,
                local: listener.local,
                listen,
                snapshot,
            };
            tokio::spawn(connection::serve(incoming, slot, engines.clone(), shutdown.clone()));
        }
        Err(error) => tracing::debug!(%error, client = %peer, "a connection ended before it was served"),
    }
}
