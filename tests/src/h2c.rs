//! A client that speaks HTTP/2, with prior knowledge (RFC 9113 §3.3) or over TLS, by hyper.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use hyper::client::conn::http2::{SendRequest, handshake};
pub use hyper::{HeaderMap, Request, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::wait::DEADLINE;

/// One HTTP/2 connection; clones share it.
#[derive(Debug, Clone)]
pub struct Client {
    sender: SendRequest<BoxBody<Bytes, Infallible>>,
}

/// An answer over HTTP/2.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The fields.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Answer {
    /// The value of a field; fails the test when it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_else(|| panic!("no {name} in {:?}", self.headers))
    }
}

impl Client {
    /// Connects and exchanges the prefaces.
    pub async fn connect(to: SocketAddr) -> Client {
        let stream = TcpStream::connect(to).await.expect("a connection");
        let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .expect("an HTTP/2 handshake");
        tokio::spawn(connection);
        Client { sender }
    }

    /// Connects by TLS to a server of that name, which has to agree to HTTP/2.
    pub async fn connect_tls(to: SocketAddr, tls: &Arc<ClientConfig>, name: &str) -> Client {
        let stream = TcpStream::connect(to).await.expect("a connection");
        let name = ServerName::try_from(name.to_owned()).expect("a name or an address");
        let stream = TlsConnector::from(tls.clone())
            .connect(name, stream)
            .await
            .expect("a TLS handshake");
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
        let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .expect("an HTTP/2 handshake");
        tokio::spawn(connection);
        Client { sender }
    }

    /// Sends a request and reads the whole answer.
    pub async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Answer, hyper::Error> {
        self.exchange(request.map(BodyExt::boxed)).await
    }

    /// `POST` of a body in so many frames whose length is not said, and whose end is an empty frame of its own.
    pub async fn post_frames(&mut self, path: &str, frames: &[&'static str]) -> Result<Answer, hyper::Error> {
        let frames: Vec<_> = frames
            .iter()
            .map(|text| Ok(Frame::data(Bytes::from_static(text.as_bytes()))))
            .collect();
        let body = StreamBody::new(futures::stream::iter(frames)).boxed();
        let request = Request::builder().method("POST").uri(format!("http://lb.test{path}"));
        self.exchange(request.body(body).expect("a valid request")).await
    }

    async fn exchange(&mut self, request: Request<BoxBody<Bytes, Infallible>>) -> Result<Answer, hyper::Error> {
        let exchange = async {
            self.sender.ready().await?;
            let (head, body) = self.sender.send_request(request).await?.into_parts();
            let body = body.collect().await?.to_bytes();
            Ok(Answer {
                status: head.status.as_u16(),
                headers: head.headers,
                body,
            })
        };
        timeout(DEADLINE, exchange).await.expect("an answer within the deadline")
    }

    /// A request of that method, with a body.
    pub async fn request(&mut self, method: &str, path: &str, body: &'static [u8]) -> Answer {
        let request = Request::builder().method(method).uri(format!("http://lb.test{path}"));
        self.send(request.body(Full::new(Bytes::from_static(body))).expect("a valid request"))
            .await
            .expect("an answer")
    }
}
