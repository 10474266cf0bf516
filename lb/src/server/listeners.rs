//! The set of addresses at which clients are accepted, and how a reload changes it.
//!
//! All or nothing, in three steps. [`bind`](Listeners::bind) opens what is new; only this can fail, and then nothing has changed.
//! [`retire`](Listeners::retire) tells what goes by which configuration it ends. Then the caller swaps the configuration in, and
//! [`switch`](Listeners::switch) hands the new sockets to the workers and has the old ones stop: what the kernel has let in there already
//! is still accepted and served. An address that stays keeps its sockets, so nobody who connects meanwhile is refused.
//!
//! Neither is anybody where an address becomes wider or narrower. Linux resets a client whose handshake ends in the moment that a socket of
//! its address is closed (see `tcp_migrate_req` in its documentation), and gives a client to the socket with the narrowest address. So the
//! sockets of a narrow address stay where a wider one takes its place, and serve as that one; those of a wide address, which a narrower one
//! takes the clients from, stay until the handshakes are over that had begun there.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

use super::listener::{self, BindError, ListenerSpec, covers, overlap};
use crate::proxy::Proxy;
use crate::snapshot::Snapshot;

/// How long a reload waits for the end of the sockets that it removed. It is there for who takes the address over right after it.
const CLOSING: Duration = Duration::from_secs(1);

/// How long a handshake may take that began at a wide address just before a narrower one took it over.
const HANDSHAKE: Duration = Duration::from_millis(300);

/// Sockets of an address.
pub struct Listener {
    /// As configured: the port may be 0.
    pub address: SocketAddr,
    /// As bound.
    pub local: SocketAddr,
    /// Set where a reload removes it: the last configuration that has it.
    last: OnceLock<Arc<Snapshot>>,
    stop: watch::Sender<bool>,
}

impl Listener {
    /// The configuration in force, as far as this listener goes, and the address in it that the listener serves: always one that it has.
    pub fn serves(&self, proxy: &Proxy) -> (Arc<Snapshot>, SocketAddr) {
        // In this order: `last` is set before the configuration that lacks this listener comes into force.
        let current = proxy.snapshot();
        let snapshot = self.last.get().cloned().unwrap_or(current);
        let address = served(self.address, listener::addresses(&snapshot.config.server)).unwrap_or(self.address);
        (snapshot, address)
    }

    /// Turns true when no more than what the kernel has let in is to be accepted.
    pub fn stopped(&self) -> watch::Receiver<bool> {
        self.stop.subscribe()
    }
}

/// Which of `wanted` the sockets of `address` serve: itself, or the one that covers it.
fn served(address: SocketAddr, wanted: impl Iterator<Item = SocketAddr> + Clone) -> Option<SocketAddr> {
    let mut others = wanted.clone();
    let itself = wanted.into_iter().find(|&other| other == address);
    itself.or_else(|| others.find(|&other| covers(other, address)))
}

/// A worker's socket for a listener.
pub struct Socket {
    /// It listens.
    pub socket: TcpListener,
    /// What it is for.
    pub listener: Arc<Listener>,
    /// Dropped when the socket is closed.
    pub open: mpsc::Sender<Infallible>,
}

/// See the [module](self).
pub struct Listeners {
    workers: usize,
    state: Mutex<State>,
}

struct State {
    /// Where a worker gets its sockets from; nowhere once the process stops.
    inboxes: Vec<mpsc::UnboundedSender<Socket>>,
    /// In the order of their beginning.
    open: Vec<Open>,
    /// All that have a socket open, those among them that were removed.
    alive: Vec<Weak<Listener>>,
}

struct Open {
    listener: Arc<Listener>,
    /// Ends when all of its sockets are closed.
    closed: mpsc::Receiver<Infallible>,
}

/// A change that is prepared. Dropped, it has never been.
pub struct Change {
    added: Vec<(Open, Vec<Socket>)>,
    removed: Vec<Arc<Listener>>,
    /// Whether one that is added takes clients from one that is removed.
    narrower: bool,
}

impl Listeners {
    /// None yet, and where each worker gets its sockets from.
    pub fn new(workers: usize) -> (Listeners, Vec<mpsc::UnboundedReceiver<Socket>>) {
        let (inboxes, outboxes) = (0..workers).map(|_| mpsc::unbounded_channel()).unzip();
        let state = State {
            inboxes,
            open: Vec::new(),
            alive: Vec::new(),
        };
        let state = Mutex::new(state);
        (Listeners { workers, state }, outboxes)
    }

    /// Opens what is in `wanted` and not open. An address is the same where it is written the same, port 0 too.
    ///
    /// # Errors
    /// Every address that cannot be listened on. Then nothing has changed.
    pub fn bind(&self, wanted: &[ListenerSpec]) -> Result<Change, Vec<BindError>> {
        let mut state = self.state();
        state.alive.retain(|listener| listener.strong_count() > 0);
        let mut ours: Vec<SocketAddr> = state
            .alive
            .iter()
            .filter_map(Weak::upgrade)
            .map(|listener| listener.local)
            .collect();
        let (mut added, mut errors) = (Vec::new(), Vec::new());
        for &spec in wanted {
            if state.open.iter().any(|open| open.listener.address == spec.address) {
                continue;
            }
            let beside_ours = ours.iter().any(|&other| overlap(other, spec.address));
            match self.open(spec.address, beside_ours) {
                Ok(opened) => {
                    ours.push(opened.0.listener.local);
                    added.push(opened);
                }
                Err(error) => errors.push(BindError { spec, error }),
            }
        }
        let wanted = wanted.iter().map(|spec| spec.address);
        let removed: Vec<_> = state
            .open
            .iter()
            .map(|open| &open.listener)
            .filter(|listener| served(listener.address, wanted.clone()).is_none())
            .cloned()
            .collect();
        let takes = |(open, _): &(Open, _)| removed.iter().any(|listener| covers(listener.address, open.listener.address));
        let narrower = added.iter().any(takes);
        if errors.is_empty() {
            Ok(Change { added, removed, narrower })
        } else {
            Err(errors)
        }
    }

    fn open(&self, address: SocketAddr, beside_ours: bool) -> io::Result<(Open, Vec<Socket>)> {
        let sockets = listener::bind(address, self.workers, beside_ours)?;
        let local = sockets.first().map_or(Ok(address), TcpListener::local_addr)?;
        let listener = Arc::new(Listener {
            address,
            local,
            last: OnceLock::new(),
            stop: watch::Sender::new(false),
        });
        let (open, closed) = mpsc::channel(1);
        let each = |socket| Socket {
            socket,
            listener: listener.clone(),
            open: open.clone(),
        };
        let sockets = sockets.into_iter().map(each).collect();
        Ok((Open { listener, closed }, sockets))
    }

    /// Before the configuration changes from `old`: what goes keeps that one.
    pub fn retire(&self, change: &Change, old: &Arc<Snapshot>) {
        for listener in &change.removed {
            // It is set once only: what was removed before is not open, and so not in a change.
            let _ = listener.last.set(old.clone());
        }
    }

    /// After the configuration has changed: lets the workers accept at what is new, and stop at what goes.
    pub async fn switch(&self, change: Change) {
        let narrower = change.narrower;
        let mut closing = self.apply(change);
        if narrower {
            sleep(HANDSHAKE).await;
        }
        for open in &closing {
            open.listener.stop.send_replace(true);
        }
        let closed = async {
            for open in &mut closing {
                open.closed.recv().await;
            }
        };
        if timeout(CLOSING, closed).await.is_err() {
            tracing::warn!("a listener that was removed still has clients to accept: there are too many connections");
        }
    }

    fn apply(&self, change: Change) -> Vec<Open> {
        let mut state = self.state();
        for (open, sockets) in change.added {
            state.alive.push(Arc::downgrade(&open.listener));
            state.open.push(open);
            for (inbox, socket) in state.inboxes.iter().zip(sockets) {
                // Nobody takes it where the process stops, or has none to take it.
                let _ = inbox.send(socket);
            }
        }
        let is_removed = |open: &mut Open| change.removed.iter().any(|listener| Arc::ptr_eq(listener, &open.listener));
        state.open.extract_if(.., is_removed).collect()
    }

    /// Has all of them stop, and waits until they have, and what the kernel had let in is accepted.
    pub async fn stop(&self) {
        let mut closing = {
            let mut state = self.state();
            state.inboxes.clear();
            std::mem::take(&mut state.open)
        };
        for open in &closing {
            open.listener.stop.send_replace(true);
        }
        for open in &mut closing {
            open.closed.recv().await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    fn spec(address: &str) -> ListenerSpec {
        let address = address.parse().unwrap();
        ListenerSpec { address, tls: false }
    }

    /// Sockets that a worker has got so far.
    fn taken(outbox: &mut mpsc::UnboundedReceiver<Socket>) -> Vec<Socket> {
        std::iter::from_fn(|| outbox.try_recv().ok()).collect()
    }

    #[tokio::test]
    async fn each_worker_gets_a_socket_of_each_address() {
        let (listeners, mut outboxes) = Listeners::new(2);
        let change = listeners.bind(&[spec("127.0.0.1:0"), spec("127.0.0.2:0")]).unwrap();
        listeners.switch(change).await;
        for outbox in &mut outboxes {
            assert_eq!(taken(outbox).len(), 2);
        }
    }

    #[tokio::test]
    async fn what_is_written_the_same_keeps_its_sockets() {
        let (listeners, mut outboxes) = Listeners::new(1);
        let wanted = [spec("127.0.0.1:0")];
        listeners.switch(listeners.bind(&wanted).unwrap()).await;
        let first = taken(&mut outboxes[0]);
        let change = listeners
            .bind(&[spec("127.0.0.2:0"), ListenerSpec { tls: true, ..wanted[0] }])
            .unwrap();
        assert!(change.removed.is_empty());
        listeners.switch(change).await;
        assert_eq!(taken(&mut outboxes[0]).len(), 1);
        assert!(!*first[0].listener.stopped().borrow());
    }

    #[tokio::test]
    async fn the_sockets_of_a_narrow_address_stay_where_a_wider_one_takes_its_place() {
        let (listeners, mut outboxes) = Listeners::new(1);
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let (narrow, wide) = (spec(&free.to_string()), spec(&format!("0.0.0.0:{}", free.port())));
        listeners.switch(listeners.bind(&[narrow]).unwrap()).await;
        let first = taken(&mut outboxes[0]);
        for wanted in [&[wide][..], &[narrow, wide], &[wide]] {
            let change = listeners.bind(wanted).unwrap();
            assert!(change.removed.is_empty() && !change.narrower);
            listeners.switch(change).await;
            assert!(!*first[0].listener.stopped().borrow());
        }
        assert_eq!(taken(&mut outboxes[0]).len(), 1, "it is bound once");
        assert_eq!(listeners.bind(&[]).unwrap().removed.len(), 2);
        assert_eq!(listeners.bind(&[narrow]).unwrap().removed[0].address, wide.address);
    }

    #[test]
    fn a_socket_serves_its_own_address_before_the_one_that_covers_it() {
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        let (narrow, wide) = (address("127.0.0.1:80"), address("0.0.0.0:80"));
        let other = address("127.0.0.2:80");
        assert_eq!(served(narrow, [wide, narrow].into_iter()), Some(narrow));
        assert_eq!(served(narrow, [other, wide].into_iter()), Some(wide));
        assert_eq!(served(narrow, [other].into_iter()), None);
        assert_eq!(served(wide, [narrow].into_iter()), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_wide_address_accepts_until_the_handshakes_are_over_that_a_narrower_one_did_not_get() {
        let (listeners, mut outboxes) = Listeners::new(1);
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let (narrow, wide) = (spec(&free.to_string()), spec(&format!("0.0.0.0:{}", free.port())));
        listeners.switch(listeners.bind(&[wide]).unwrap()).await;
        let socket = taken(&mut outboxes[0]).remove(0);
        let mut stopped = socket.listener.stopped();
        let begin = tokio::time::Instant::now();
        let worker = async {
            stopped.wait_for(|stop| *stop).await.unwrap();
            drop(socket);
            begin.elapsed()
        };
        let change = listeners.bind(&[narrow]).unwrap();
        let ((), took) = tokio::join!(listeners.switch(change), worker);
        assert!(took >= HANDSHAKE, "{took:?}");
    }

    #[tokio::test]
    async fn one_that_cannot_be_bound_leaves_none_bound() {
        let (listeners, _outboxes) = Listeners::new(1);
        let foreign = TcpListener::bind("127.0.0.1:0").unwrap();
        let taken = foreign.local_addr().unwrap();
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let errors = listeners.bind(&[spec(&free.to_string()), spec(&taken.to_string())]).err().unwrap();
        assert_eq!(errors.len(), 1);
        assert!(errors[0].to_string().contains(&taken.to_string()), "{}", errors[0]);
        assert!(TcpStream::connect(free).is_err());
    }

    #[tokio::test]
    async fn what_is_removed_is_told_to_stop_and_its_end_is_waited_for() {
        let (listeners, mut outboxes) = Listeners::new(1);
        listeners.switch(listeners.bind(&[spec("127.0.0.1:0")]).unwrap()).await;
        let socket = taken(&mut outboxes[0]).remove(0);
        let mut stopped = socket.listener.stopped();
        let worker = async {
            stopped.wait_for(|stop| *stop).await.unwrap();
            // A reload in between that wants it again is not told that the address is in use.
            listeners.bind(&[spec(&socket.listener.local.to_string())]).unwrap();
            drop(socket);
        };
        let change = listeners.bind(&[]).unwrap();
        tokio::join!(listeners.switch(change), worker);
    }

    #[tokio::test]
    async fn nothing_begins_once_the_process_stops() {
        let (listeners, mut outboxes) = Listeners::new(1);
        listeners.stop().await;
        let change = listeners.bind(&[spec("127.0.0.1:0")]).unwrap();
        let address = change.added[0].0.listener.local;
        listeners.switch(change).await;
        assert!(outboxes[0].recv().await.is_none());
        assert!(TcpStream::connect(address).is_err());
    }
}
