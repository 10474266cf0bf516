//! A worker: one thread with a runtime of its own, its own listening sockets, its own idle upstream connections. Nothing moves between
//! workers but what must be exact across them (loads, health, the cache), so a request stays on one core from accept to log line.

use std::io;
use std::net::TcpListener as StdListener;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::LocalSet;

use super::connection;
use crate::engine::pingora::Engine;
use crate::proxy::Proxy;

/// Starts a worker that accepts from `listeners` until `shutdown` turns true, and then until its last connection ends.
///
/// # Errors
/// When the thread or its runtime cannot be made.
pub fn start(index: usize, proxy: Arc<Proxy>, listeners: Vec<StdListener>, shutdown: watch::Receiver<bool>) -> io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
        let local = LocalSet::new();
        runtime.block_on(local.run_until(async move {
            let engine = Arc::new(Engine::new(proxy.clone()));
            let accepting = listeners.into_iter().map(|listener| {
                tokio::task::spawn_local(accept(listener, proxy.clone(), engine.clone(), shutdown.clone()))
            });
            futures::future::join_all(accepting.collect::<Vec<_>>()).await;
            engine.stop().await;
            // The process ends when its connections have, or when the grace period has: not this thread's business.
            std::future::pending::<()>().await;
        }));
    })
}

/// Accepts until the shutdown, and then what the kernel holds already: those clients were let in before anybody was turned away.
async fn accept(listener: StdListener, proxy: Arc<Proxy>, engine: Arc<Engine>, mut shutdown: watch::Receiver<bool>) {
    let listener = match AsyncFd::with_interest(listener, Interest::READABLE) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "cannot watch a listening socket"),
    };
    loop {
        let stopping = tokio::select! {
            biased;
            _ = shutdown.wait_for(|stop| *stop) => true,
            ready = listener.readable() => {
                if let Ok(mut ready) = ready {
                    // The place comes before the accept: whom there is no room for waits in the kernel's queue.
                    let slot = tokio::select! {
                        slot = proxy.connections.place() => slot,
                        _ = shutdown.wait_for(|stop| *stop) => continue,
                    };
                    match ready.try_io(|listener| listener.get_ref().accept()) {
                        Ok(Ok((stream, address))) => serve(stream, address, slot, &engine, &shutdown),
                        Ok(Err(error)) => accept_failed(&error).await,
                        Err(_would_block) => {}
                    }
                }
                false
            }
        };
        if stopping {
            break;
        }
    }
    while let Ok((stream, address)) = listener.get_ref().accept() {
        serve(stream, address, proxy.connections.place().await, &engine, &shutdown);
    }
}

fn serve(
    stream: std::net::TcpStream,
    address: std::net::SocketAddr,
    slot: super::connections::Slot,
    engine: &Arc<Engine>,
    shutdown: &watch::Receiver<bool>,
) {
    let adopted = stream.set_nonblocking(true).and_then(|()| stream.set_nodelay(true)).and_then(|()| TcpStream::from_std(stream));
    match adopted {
        Ok(stream) => {
            tokio::task::spawn_local(connection::serve(stream, address, slot, engine.clone(), shutdown.clone()));
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
