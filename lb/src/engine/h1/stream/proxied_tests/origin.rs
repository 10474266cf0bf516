//! An origin that says what it received.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::Notify;

use super::super::tests::{LIMITS, PATIENT};
use super::super::{ClientStream, HeadRead};
use crate::engine::h1::parsed::Framing;
use crate::exchange::head::RequestHead as _;

/// What the origin saw and may do.
#[derive(Default)]
pub(super) struct Origin {
    pub(super) requests: AtomicUsize,
    pub(super) arrived: Notify,
    pub(super) release: Notify,
    pub(super) hung_up: Notify,
}

/// Starts an origin that answers with method, target and content of what it received.
pub(super) async fn origin() -> (SocketAddr, Arc<Origin>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = listener.local_addr().expect("address");
    let origin = Arc::new(Origin::default());
    tokio::spawn({
        let origin = Arc::clone(&origin);
        async move {
            while let Ok((tcp, peer)) = listener.accept().await {
                tokio::spawn(serve_origin(ClientStream::new(tcp, peer, address), Arc::clone(&origin)));
            }
        }
    });
    (address, origin)
}

async fn serve_origin(mut stream: ClientStream, origin: Arc<Origin>) {
    while let Ok(HeadRead::Request) = stream.read_head(&LIMITS, &PATIENT).await {
        let head = stream.head().expect("a head");
        let name = format!("{} {}", head.method(), String::from_utf8_lossy(head.target()));
        let framing = head.parsed().framing();
        stream.begin();
        origin.requests.fetch_add(1, Ordering::SeqCst);
        origin.arrived.notify_one();
        let body = match framing {
            Framing::Chunked => read_chunked(&mut stream).await,
            Framing::Length(len) => {
                let mut body = vec![0; len as usize];
                stream.read_exact(&mut body).await.map(|_| body)
            }
            Framing::None => Ok(Vec::new()),
        };
        let Ok(body) = body else {
            origin.hung_up.notify_one();
            return;
        };
        if name.contains("/ws") {
            stream
                .write_all(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
                .await
                .expect("write");
            stream.flush().await.expect("flush");
            stream.control().upgrade();
            let mut buf = [0; 512];
            while let Ok(read @ 1..) = stream.read(&mut buf).await {
                stream.write_all(&buf[..read]).await.expect("write");
                stream.flush().await.expect("flush");
            }
            origin.hung_up.notify_one();
            return;
        }
        if name.contains("/held") {
            tokio::select! {
                () = origin.release.notified() => {}
                _ = stream.read_u8() => {
                    origin.hung_up.notify_one();
                    return;
                }
            }
        }
        let mut answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{name}:", name.len() + 1 + body.len()).into_bytes();
        answer.extend_from_slice(&body);
        stream.write_all(&answer).await.expect("write");
        stream.flush().await.expect("flush");
    }
}

async fn read_chunked(stream: &mut ClientStream) -> std::io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            line.push(stream.read_u8().await?);
        }
        let size = String::from_utf8_lossy(&line[..line.len() - 2]).into_owned();
        let size = usize::from_str_radix(&size, 16).expect("a size");
        let mut chunk = vec![0; size + 2];
        stream.read_exact(&mut chunk).await?;
        if size == 0 {
            return Ok(body);
        }
        body.extend_from_slice(&chunk[..size]);
    }
}
