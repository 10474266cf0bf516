//! One connection.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::stream::Stream;
use super::{Failure, Head, Request, Response};
use crate::framing::{Framing, Taken};

/// How long a single read, write or connect may take unless [`Connection::patience`] says otherwise.
const PATIENCE: Duration = Duration::from_secs(20);

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// In order.
    Closed,
    /// By a reset.
    Reset,
}

/// A connection to the proxy.
#[derive(Debug)]
pub struct Connection {
    stream: Stream,
    buffer: BytesMut,
    framing: Framing,
    trailers: Vec<String>,
    patience: Duration,
}

impl Connection {
    /// Connects.
    pub async fn open(to: SocketAddr) -> Result<Connection, Failure> {
        Connection::by(TcpStream::connect(to)).await
    }

    /// Connects from that address of this machine: all of 127.0.0.0/8 is.
    pub async fn open_from(from: IpAddr, to: SocketAddr) -> Result<Connection, Failure> {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind((from, 0).into()).expect("an address of this machine");
        Connection::by(socket.connect(to)).await
    }

    /// Connects and speaks TLS, to a server of that name.
    pub async fn open_tls(to: SocketAddr, tls: &Arc<ClientConfig>, name: &str) -> Result<Connection, Failure> {
        let mut connection = Connection::open(to).await?;
        let Stream::Plain(stream) = connection.stream else {
            return Ok(connection);
        };
        let name = ServerName::try_from(name.to_owned()).expect("a name or an address");
        let handshake = TlsConnector::from(tls.clone()).connect(name, stream);
        let stream = match timeout(PATIENCE, handshake).await {
            Err(_) => return Err(Failure::Timeout),
            Ok(Err(error)) => return Err(Failure::Handshake(error.to_string())),
            Ok(Ok(stream)) => stream,
        };
        connection.stream = Stream::Tls(Box::new(stream));
        Ok(connection)
    }

    /// What was agreed on in the handshake; fails the test where there was none.
    pub fn tls(&self) -> &ClientConnection {
        match &self.stream {
            Stream::Plain(_) => panic!("a connection without TLS"),
            Stream::Tls(stream) => stream.get_ref().1,
        }
    }

    async fn by(connecting: impl Future<Output = std::io::Result<TcpStream>>) -> Result<Connection, Failure> {
        let stream = match timeout(PATIENCE, connecting).await {
            Err(_) => return Err(Failure::Timeout),
            Ok(Err(error)) => return Err(Failure::Connect(error.to_string())),
            Ok(Ok(stream)) => stream,
        };
        let _ = stream.set_nodelay(true);
        let (buffer, trailers) = (BytesMut::new(), Vec::new());
        Ok(Connection {
            stream: Stream::Plain(stream),
            buffer,
            framing: Framing::NONE,
            trailers,
            patience: PATIENCE,
        })
    }

    /// Sets how long one read may take.
    pub fn patience(mut self, patience: Duration) -> Connection {
        self.patience = patience;
        self
    }

    /// Writes bytes. An error is not reported: the answer that explains it may be there to read, and if not, reading fails too.
    pub async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        let writing = async {
            self.stream.write_all(bytes.as_ref()).await?;
            self.stream.flush().await
        };
        let _ = timeout(self.patience, writing).await;
    }

    /// Sends a request and reads its answer.
    pub async fn send(&mut self, request: &Request) -> Result<Response, Failure> {
        self.write(request.bytes()).await;
        self.response(request.method()).await
    }

    /// Reads the answer to a request of that method, interim ones included. A body that ends too early is no failure here:
    /// [`Response::cut`] says so.
    pub async fn response(&mut self, method: &str) -> Result<Response, Failure> {
        let mut interim = Vec::new();
        let head = loop {
            let head = self.head(method).await?;
            if head.status >= 200 || head.status == 101 {
                break head;
            }
            interim.push(head.status);
        };
        let mut body = Vec::new();
        let cut = loop {
            match self.data().await {
                Ok(Some(data)) => body.extend_from_slice(&data),
                Ok(None) => break false,
                Err(Failure::Cut) => break true,
                Err(failure) => return Err(failure),
            }
        };
        let (keeps_alive, trailers) = (head.keeps_alive(method) && !cut, std::mem::take(&mut self.trailers));
        Ok(Response {
            status: head.status,
            headers: head.headers,
            body,
            cut,
            interim,
            trailers,
            keeps_alive,
        })
    }

    /// Reads the next head, interim or final; the body comes by [`Connection::data`].
    pub async fn head(&mut self, method: &str) -> Result<Head, Failure> {
        loop {
            if let Some(head) = Head::take(&mut self.buffer)? {
                self.framing = head.framing(method);
                return Ok(head);
            }
            if self.fill().await? == 0 {
                return Err(Failure::Reset);
            }
        }
    }

    /// Reads the next piece of the body; `None` when it is over.
    pub async fn data(&mut self) -> Result<Option<Bytes>, Failure> {
        loop {
            match self.framing.take(&mut self.buffer).map_err(Failure::Malformed)? {
                Taken::Data(data) => return Ok(Some(data)),
                Taken::End(trailers) => {
                    self.trailers = trailers;
                    return Ok(None);
                }
                Taken::More => match self.fill().await {
                    Ok(0) if self.framing == Framing::UntilClose => return Ok(None),
                    Ok(0) | Err(Failure::Reset) => return Err(Failure::Cut),
                    Ok(_) => {}
                    Err(failure) => return Err(failure),
                },
            }
        }
    }

    /// Reads exactly so many bytes, whatever they mean: for tunnels.
    pub async fn exactly(&mut self, count: usize) -> Result<Bytes, Failure> {
        while self.buffer.len() < count {
            if self.fill().await? == 0 {
                return Err(Failure::Cut);
            }
        }
        Ok(self.buffer.split_to(count).freeze())
    }

    /// Waits for the other side to end the connection, ignoring what it still sends; `None` when it has not within `time`.
    pub async fn ended_within(&mut self, time: Duration) -> Option<Ending> {
        let end = async {
            let mut rest = [0; 4096];
            loop {
                match self.stream.read(&mut rest).await {
                    Ok(0) => return Ending::Closed,
                    Ok(_) => {}
                    Err(_) => return Ending::Reset,
                }
            }
        };
        timeout(time, end).await.ok()
    }

    /// Whether something can be read within `time`: bytes, or the end of the connection. Nothing is taken.
    pub async fn ready_within(&mut self, time: Duration) -> bool {
        !self.buffer.is_empty() || timeout(time, self.stream.tcp().peek(&mut [0])).await.is_ok()
    }

    /// Closes at once by a reset, as a client does that crashes.
    pub fn reset(self) {
        let _ = self.stream.tcp().set_zero_linger();
    }

    /// Closes the writing side: no more requests.
    pub async fn finish_writing(&mut self) {
        let _ = self.stream.shutdown().await;
    }

    async fn fill(&mut self) -> Result<usize, Failure> {
        // Room for what one write brings, so that where a piece ends is not chance.
        self.buffer.reserve(4 << 10);
        match timeout(self.patience, self.stream.read_buf(&mut self.buffer)).await {
            Err(_) => Err(Failure::Timeout),
            Ok(Err(_)) => Err(Failure::Reset),
            Ok(Ok(count)) => Ok(count),
        }
    }
}
