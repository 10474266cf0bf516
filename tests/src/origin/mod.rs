//! A server that does as it is told and remembers what it was sent.
//!
//! The proxy's other side has to misbehave on demand: close without a byte, cut a body, answer garbage, or hold an answer back until the
//! test has looked. An [`Origin`] is given a function from request to [`Reply`], and keeps every request, with the number of the
//! connection that it came on. Requests for [`CHECK_PATH`] are health checks: they are answered by [`Origin::set_check`] and counted
//! apart.

mod reply;
mod serve;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use bytes::Bytes;
pub use reply::{Reply, Step};
use serve::{Listener, Shared};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener};
use tokio::task::AbortHandle;

use crate::framing::Headers;
use crate::ports::Port;
use crate::tls::ServerTls;
use crate::wait::until;

/// Health checks ask for this.
pub const CHECK_PATH: &str = "/check";

/// A request that an origin was sent.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The number of the connection that it came on, from 0.
    pub connection: usize,
    /// When its head was whole.
    pub at: Instant,
    /// The method.
    pub method: String,
    /// The target as received.
    pub target: String,
    /// The minor version.
    pub version: u8,
    /// The fields.
    pub headers: Headers,
    /// The head, byte by byte.
    pub raw_head: Bytes,
    /// The body, as far as it came, without its framing.
    pub body: Vec<u8>,
    /// Whether the body came to its end.
    pub whole: bool,
    /// The name that the client asked for in its TLS handshake.
    pub sni: Option<String>,
    /// The certificate that the client showed in its TLS handshake.
    pub client_certificate: Option<Vec<u8>>,
}

impl Seen {
    /// The value of a field; fails the test when it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .unwrap_or_else(|| panic!("no {name} in {} {} {:?}", self.method, self.target, self.headers))
    }

    fn is_check(&self) -> bool {
        self.target.starts_with(CHECK_PATH)
    }
}

/// A scripted server.
#[derive(Debug)]
pub struct Origin {
    shared: Arc<Shared>,
    place: Place,
    tls: Option<ServerTls>,
    accepting: Mutex<Option<AbortHandle>>,
}

#[derive(Debug)]
enum Place {
    Tcp(Port),
    Unix(PathBuf),
}

impl Origin {
    /// Starts one on a port of 127.0.0.1.
    pub async fn start(answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Origin {
        Origin::at(Place::Tcp(Port::pick()), None, answer).await
    }

    /// Starts one that speaks TLS.
    pub async fn tls(tls: ServerTls, answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Origin {
        Origin::at(Place::Tcp(Port::pick()), Some(tls), answer).await
    }

    /// Starts one that answers everything by 200 and its name.
    pub async fn named(name: &'static str) -> Origin {
        Origin::start(move |_| Reply::text(name)).await
    }

    /// Starts one that answers by its name when [`Origin::release`] lets it.
    pub async fn held(name: &'static str) -> Origin {
        Origin::start(move |_| Reply::text(name).held()).await
    }

    /// Starts one on a Unix socket.
    pub async fn unix(path: &Path, answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Origin {
        Origin::at(Place::Unix(path.to_owned()), None, answer).await
    }

    async fn at(place: Place, tls: Option<ServerTls>, answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Origin {
        let origin = Origin {
            shared: Arc::new(Shared::new(answer)),
            place,
            tls,
            accepting: Mutex::new(None),
        };
        origin.restart().await;
        origin
    }

    /// Its address.
    pub fn addr(&self) -> SocketAddr {
        match &self.place {
            Place::Tcp(port) => port.address(),
            Place::Unix(path) => panic!("{} has no IP address", path.display()),
        }
    }

    /// Listens (again) on its old address. Does nothing when it does already.
    pub async fn restart(&self) {
        if self.accepting.lock().unwrap().is_some() {
            return;
        }
        let listener = match &self.place {
            Place::Tcp(port) => Listener::Tcp(port.listen().await.expect("the origin's port")),
            Place::Unix(path) => Listener::Unix(UnixListener::bind(path).expect("the origin's socket")),
        };
        let task = tokio::spawn(serve::accept(listener, self.tls.clone(), self.shared.clone()));
        *self.accepting.lock().unwrap() = Some(task.abort_handle());
    }

    /// Stops as a crash does: no more connections, and those there are end.
    pub async fn stop(&self) {
        if let Some(task) = self.accepting.lock().unwrap().take() {
            task.abort();
        }
        until("a stopped origin has no connections", async || self.open_connections() == 0).await;
        // the listener's socket is closed when the task was dropped; until then a connection would be accepted and forgotten
        if let Place::Tcp(port) = &self.place {
            until("a stopped origin refuses", async || {
                TcpStream::connect(port.address()).await.is_err()
            })
            .await;
        }
    }

    /// Changes what it answers from the next request on.
    pub fn set(&self, answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static) {
        *self.shared.answer.lock().unwrap() = Arc::new(answer);
    }

    /// Changes what it answers to health checks; 200 at first.
    pub fn set_check(&self, reply: Reply) {
        *self.shared.check.lock().unwrap() = reply;
    }

    /// Lets so many held answers go, now or when they come.
    pub fn release(&self, count: usize) {
        self.shared.gate.add_permits(count);
    }

    /// Lets every held answer go, and those to come.
    pub fn release_all(&self) {
        self.release(1_000_000);
    }

    /// The requests so far, without health checks.
    pub fn requests(&self) -> Vec<Seen> {
        self.shared
            .seen
            .lock()
            .unwrap()
            .iter()
            .filter(|seen| !seen.is_check())
            .cloned()
            .collect()
    }

    /// How many there were.
    pub fn count(&self) -> usize {
        self.shared.seen.lock().unwrap().iter().filter(|seen| !seen.is_check()).count()
    }

    /// How many there were for exactly this target.
    pub fn count_of(&self, target: &str) -> usize {
        self.shared.seen.lock().unwrap().iter().filter(|seen| seen.target == target).count()
    }

    /// The health checks so far.
    pub fn checks(&self) -> Vec<Seen> {
        self.shared
            .seen
            .lock()
            .unwrap()
            .iter()
            .filter(|seen| seen.is_check())
            .cloned()
            .collect()
    }

    /// The last request; fails the test when there was none.
    pub fn last(&self) -> Seen {
        let seen = self.shared.seen.lock().unwrap();
        let last = seen.iter().rev().find(|seen| !seen.is_check());
        last.cloned().expect("a request at the origin")
    }

    /// How much of the last request's body has come so far, and whether that is all of it: without a copy, so for bodies of any size.
    pub fn received(&self) -> (usize, bool) {
        let seen = self.shared.seen.lock().unwrap();
        let last = seen.iter().rev().find(|seen| !seen.is_check());
        last.map_or((0, false), |last| (last.body.len(), last.whole))
    }

    /// Waits until there were so many requests.
    pub async fn wait_for(&self, count: usize) {
        until(&format!("{count} requests at the origin"), async || self.count() >= count).await;
    }

    /// Requests under way, without health checks.
    pub fn active(&self) -> usize {
        self.shared.active.now()
    }

    /// The most that were ever under way at once.
    pub fn most_active(&self) -> usize {
        self.shared.active.most()
    }

    /// Open connections.
    pub fn open_connections(&self) -> usize {
        self.shared.open.now()
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> usize {
        self.shared.raw.lock().unwrap().len()
    }

    /// Every byte that came on a connection so far.
    pub fn raw(&self, connection: usize) -> Vec<u8> {
        self.shared.raw.lock().unwrap().get(connection).cloned().unwrap_or_default()
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        if let Some(task) = self.accepting.lock().unwrap().take() {
            task.abort();
        }
    }
}

/// An address at which connecting is refused, and where nobody else starts to listen.
#[derive(Debug)]
pub struct Refusing {
    port: Port,
    _bound: TcpSocket,
}

impl Refusing {
    /// Takes a port, and never listens on it.
    pub fn start() -> Refusing {
        let port = Port::pick();
        let bound = TcpSocket::new_v4().expect("a socket");
        bound.set_reuseaddr(true).expect("an option");
        bound.bind(port.address()).expect("the port");
        Refusing { port, _bound: bound }
    }

    /// Its address.
    pub fn addr(&self) -> SocketAddr {
        self.port.address()
    }
}

/// An address at which connecting takes for ever: its queue of connections is full and nobody accepts.
#[derive(Debug)]
pub struct Deaf {
    port: Port,
    _listener: TcpListener,
    _queue: Vec<TcpStream>,
}

impl Deaf {
    /// Listens with the shortest queue there is, and fills it.
    pub async fn start() -> io::Result<Deaf> {
        let port = Port::pick();
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(port.address())?;
        let listener = socket.listen(1)?;
        let mut queue = Vec::new();
        let full = std::time::Duration::from_millis(300);
        while let Ok(stream) = tokio::time::timeout(full, TcpStream::connect(port.address())).await {
            queue.push(stream?);
        }
        Ok(Deaf {
            port,
            _listener: listener,
            _queue: queue,
        })
    }

    /// Its address.
    pub fn addr(&self) -> SocketAddr {
        self.port.address()
    }
}
