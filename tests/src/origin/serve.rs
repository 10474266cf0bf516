//! The connections of an origin.

use std::io;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;

use super::reply::{Reply, Step};
use super::{CHECK_PATH, Seen};
use crate::framing::{Framing, Headers, Taken};
use crate::tls::ServerTls;

type Answer = Arc<dyn Fn(&Seen) -> Reply + Send + Sync>;

/// What the connections of an origin share.
pub(super) struct Shared {
    pub(super) answer: Mutex<Answer>,
    pub(super) check: Mutex<Reply>,
    pub(super) seen: Mutex<Vec<Seen>>,
    pub(super) raw: Mutex<Vec<Vec<u8>>>,
    pub(super) gate: Semaphore,
    pub(super) open: Arc<Gauge>,
    pub(super) active: Arc<Gauge>,
}

impl Shared {
    pub(super) fn new(answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Shared {
        Shared {
            answer: Mutex::new(Arc::new(answer)),
            check: Mutex::new(Reply::text("ok")),
            seen: Mutex::default(),
            raw: Mutex::default(),
            gate: Semaphore::new(0),
            open: Arc::default(),
            active: Arc::default(),
        }
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shared")
    }
}

/// A count that goes back by itself, and the most that it ever was.
#[derive(Debug, Default)]
pub(super) struct Gauge {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Gauge {
    pub(super) fn now(&self) -> usize {
        self.now.load(Ordering::SeqCst)
    }

    pub(super) fn most(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }

    fn enter(self: &Arc<Gauge>) -> Entered {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        Entered(self.clone())
    }
}

struct Entered(Arc<Gauge>);

impl Drop for Entered {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::SeqCst);
    }
}

pub(super) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// Accepts until it is dropped; the connections end with it.
pub(super) async fn accept(listener: Listener, tls: Option<ServerTls>, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    let tls = tls.map(|tls| (TlsAcceptor::from(tls.build()), tls.says_goodbye));
    loop {
        match &listener {
            Listener::Tcp(listener) => {
                let Ok((stream, _)) = listener.accept().await else { continue };
                let _ = stream.set_nodelay(true);
                if let Some((acceptor, says_goodbye)) = &tls {
                    connections.spawn(speak_tls(acceptor.clone(), *says_goodbye, stream, shared.clone()));
                    continue;
                }
                let (read, write) = stream.into_split();
                connections.spawn(Connection::new(read, write, shared.clone()).run(|write| {
                    let _ = write.as_ref().set_zero_linger();
                    // without this, the half would say goodbye in order before the reset
                    write.forget();
                }));
            }
            Listener::Unix(listener) => {
                let Ok((stream, _)) = listener.accept().await else { continue };
                let (read, write) = stream.into_split();
                connections.spawn(Connection::new(read, write, shared.clone()).run(|_| {}));
            }
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn speak_tls(acceptor: TlsAcceptor, says_goodbye: bool, stream: TcpStream, shared: Arc<Shared>) {
    let Ok(stream) = acceptor.accept(stream).await else { return };
    let state = stream.get_ref().1;
    let sni = state.server_name().map(str::to_owned);
    let client_certificate = state
        .peer_certificates()
        .and_then(|chain| chain.first())
        .map(|first| first.to_vec());
    let (read, write) = tokio::io::split(stream);
    let mut connection = Connection::new(read, write, shared);
    (connection.sni, connection.client_certificate, connection.says_goodbye) = (sni, client_certificate, says_goodbye);
    connection.run(|_| {}).await;
}

struct Connection<R, W> {
    number: usize,
    read: R,
    write: W,
    buffer: BytesMut,
    shared: Arc<Shared>,
    sni: Option<String>,
    client_certificate: Option<Vec<u8>>,
    /// Whether closing takes more than to let go of the socket.
    says_goodbye: bool,
    _open: Entered,
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Connection<R, W> {
    fn new(read: R, write: W, shared: Arc<Shared>) -> Self {
        let mut raw = shared.raw.lock().unwrap();
        raw.push(Vec::new());
        let number = raw.len() - 1;
        drop(raw);
        let open = shared.open.enter();
        Connection {
            number,
            read,
            write,
            buffer: BytesMut::new(),
            shared,
            sni: None,
            client_certificate: None,
            says_goodbye: false,
            _open: open,
        }
    }

    /// Takes requests until either side ends; `reset` prepares the socket for closing by a reset.
    async fn run(mut self, reset: impl FnOnce(W)) {
        while let Ok(Some((index, seen))) = self.request().await {
            let check = seen.target.starts_with(CHECK_PATH);
            let active = (!check).then(|| self.shared.active.enter());
            let reply = if check {
                self.shared.check.lock().unwrap().clone()
            } else {
                let answer = self.shared.answer.lock().unwrap().clone();
                answer(&seen)
            };
            let framing = seen.headers.framing().unwrap_or(Framing::NONE);
            let early = reply.early;
            if !early && self.body(index, framing.clone()).await.is_err() {
                break;
            }
            match self.play(index, reply.steps(&seen.method)).await {
                Ok(ControlFlow::Continue(())) => {}
                Ok(ControlFlow::Break(Step::Reset)) => return reset(self.write),
                _ => break,
            }
            drop(active);
            if early && self.body(index, framing).await.is_err() {
                break;
            }
        }
        if self.says_goodbye {
            let _ = self.write.shutdown().await;
        }
    }

    /// Reads the next request's head; `None` when there is none.
    async fn request(&mut self) -> io::Result<Option<(usize, Seen)>> {
        loop {
            if let Some(seen) = self.parse()? {
                let mut all = self.shared.seen.lock().unwrap();
                all.push(seen.clone());
                return Ok(Some((all.len() - 1, seen)));
            }
            if self.fill().await? == 0 {
                return Ok(None);
            }
        }
    }

    fn parse(&mut self) -> io::Result<Option<Seen>> {
        let mut fields = [httparse::EMPTY_HEADER; 256];
        let mut parsed = httparse::Request::new(&mut fields);
        let httparse::Status::Complete(length) = parsed.parse(&self.buffer).map_err(io::Error::other)? else {
            return Ok(None);
        };
        let mut seen = Seen {
            connection: self.number,
            at: Instant::now(),
            method: parsed.method.unwrap_or_default().to_owned(),
            target: parsed.path.unwrap_or_default().to_owned(),
            version: parsed.version.unwrap_or_default(),
            headers: Headers::from_parsed(parsed.headers),
            raw_head: Bytes::new(),
            body: Vec::new(),
            whole: false,
            sni: self.sni.clone(),
            client_certificate: self.client_certificate.clone(),
        };
        seen.raw_head = self.buffer.split_to(length).freeze();
        Ok(Some(seen))
    }

    /// Reads the request's body, and keeps it.
    async fn body(&mut self, index: usize, mut framing: Framing) -> io::Result<()> {
        loop {
            match framing.take(&mut self.buffer).map_err(io::Error::other)? {
                Taken::Data(data) => self.shared.seen.lock().unwrap()[index].body.extend_from_slice(&data),
                Taken::End(_) => {
                    self.shared.seen.lock().unwrap()[index].whole = true;
                    return Ok(());
                }
                Taken::More => {
                    if self.fill().await? == 0 {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
            }
        }
    }

    async fn play(&mut self, index: usize, steps: Vec<Step>) -> io::Result<ControlFlow<Step>> {
        let shared = self.shared.clone();
        for step in steps {
            match step {
                Step::Write(bytes) => self.send(&bytes).await?,
                Step::Pause(time) => self.unless_gone(sleep(time)).await?,
                Step::Hold => {
                    self.unless_gone(async { shared.gate.acquire().await.expect("the gate is never closed").forget() })
                        .await?
                }
                Step::Stall => shared.gate.acquire().await.expect("the gate is never closed").forget(),
                Step::ReadToEnd => while self.fill().await? > 0 {},
                Step::FinishWriting => self.write.shutdown().await?,
                Step::Echo => {
                    let body = shared.seen.lock().unwrap()[index].body.clone();
                    let head = format!(
                        "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: {}\r\n\r\n",
                        body.len()
                    );
                    self.send(&[head.as_bytes(), &body].concat()).await?;
                }
                Step::Tunnel => return self.tunnel().await,
                Step::Close | Step::Reset => return Ok(ControlFlow::Break(step)),
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    async fn tunnel(&mut self) -> io::Result<ControlFlow<Step>> {
        loop {
            let bytes = self.buffer.split();
            self.send(&bytes).await?;
            if self.fill().await? == 0 {
                return Ok(ControlFlow::Break(Step::Close));
            }
        }
    }

    /// Waits for `event`, unless the peer goes away first.
    async fn unless_gone(&mut self, event: impl Future<Output = ()>) -> io::Result<()> {
        tokio::pin!(event);
        loop {
            tokio::select! {
                () = &mut event => return Ok(()),
                read = self.fill() => {
                    if read? == 0 {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
            }
        }
    }

    async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write.write_all(bytes).await?;
        self.write.flush().await
    }

    async fn fill(&mut self) -> io::Result<usize> {
        let before = self.buffer.len();
        let count = self.read.read_buf(&mut self.buffer).await?;
        self.shared.raw.lock().unwrap()[self.number].extend_from_slice(&self.buffer[before..]);
        Ok(count)
    }
}
