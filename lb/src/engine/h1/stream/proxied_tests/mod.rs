//! A connection in pingora's hands: what the engine makes of a stream that gives it one request at a time.

mod origin;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ::pingora::apps::{HttpServerApp, ServerApp};
use ::pingora::http::ResponseHeader;
use ::pingora::protocols::http::ServerSession;
use ::pingora::proxy::{FailToProxy, HttpProxy, ProxyHttp, Session, http_proxy};
use ::pingora::server::configuration::ServerConf;
use ::pingora::upstreams::peer::HttpPeer;
use ::pingora::{Error, Result};
use async_trait::async_trait;
use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::timeout;

use super::tests::{LIMITS, PATIENT, SOON, pair};
use super::*;
use origin::{Origin, origin};

/// A proxy without a will of its own.
struct Front {
    origin: SocketAddr,
    outlive: bool,
    seen_whole: Arc<AtomicBool>,
    failed_for: Arc<std::sync::Mutex<String>>,
}

#[async_trait]
impl ProxyHttp for Front {
    type CTX = Option<Arc<ClientControl>>;

    fn new_ctx(&self) -> Self::CTX {
        None
    }

    fn on_connection_reuse(&self, _: &mut Session, ctx: &mut Self::CTX, control: Box<dyn Any + Send + Sync>) {
        *ctx = control.downcast().ok().map(|control| *control);
    }

    async fn upstream_peer(&self, _: &mut Session, _: &mut Self::CTX) -> Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.origin, false, String::new())))
    }

    async fn response_filter(&self, _: &mut Session, response: &mut ResponseHeader, ctx: &mut Self::CTX) -> Result<()> {
        if let Some(control) = ctx
            && response.status == 101
        {
            control.upgrade();
        }
        Ok(())
    }

    async fn request_filter(&self, _: &mut Session, ctx: &mut Self::CTX) -> Result<bool> {
        if let Some(control) = ctx
            && self.outlive
        {
            control.outlive();
        }
        Ok(false)
    }

    fn response_body_filter(&self, _: &mut Session, _: &mut Option<Bytes>, end: bool, _: &mut Self::CTX) -> Result<Option<Duration>> {
        if end {
            self.seen_whole.store(true, Ordering::SeqCst);
        }
        Ok(None)
    }

    async fn fail_to_proxy(&self, session: &mut Session, error: &Error, ctx: &mut Self::CTX) -> FailToProxy {
        *self.failed_for.lock().expect("no panic") = error.to_string();
        let error_code = if ctx.as_ref().is_some_and(|control| control.is_body_malformed()) {
            400
        } else {
            502
        };
        let _ = session.respond_error(error_code).await;
        FailToProxy {
            error_code,
            can_reuse_downstream: false,
        }
    }
}

struct Setup {
    client: TcpStream,
    origin: Arc<Origin>,
    seen_whole: Arc<AtomicBool>,
    failed_for: Arc<std::sync::Mutex<String>>,
    serving: tokio::task::JoinHandle<u64>,
}

/// A client before an accept loop's innermost part, before pingora, before an origin.
async fn set_up(outlive: bool) -> Setup {
    let (address, origin) = origin().await;
    let (stream, client) = pair().await;
    let seen_whole = Arc::new(AtomicBool::new(false));
    let failed_for = Arc::default();
    let front = Front {
        origin: address,
        outlive,
        seen_whole: Arc::clone(&seen_whole),
        failed_for: Arc::clone(&failed_for),
    };
    let proxy = Arc::new(http_proxy(&Arc::new(ServerConf::default()), front));
    let serving = tokio::spawn(serve(stream, proxy));
    Setup {
        client,
        origin,
        seen_whole,
        failed_for,
        serving,
    }
}

/// How many requests were served.
async fn serve(stream: ClientStream, proxy: Arc<HttpProxy<Front>>) -> u64 {
    let (_stay, shutdown) = watch::channel(false);
    let mut stream = Box::new(stream);
    loop {
        let served = stream.requests();
        match stream.read_head(&LIMITS, &PATIENT).await {
            Ok(HeadRead::Request) => {}
            Ok(HeadRead::Http2) => {
                proxy.process_new(stream, &shutdown).await;
                return served;
            }
            _ => return served,
        }
        let control = Arc::clone(stream.control());
        let head = stream.begin();
        let mut session = ServerSession::new_http1(stream);
        session.set_keepalive(Some(0));
        session.set_connection_user_context(Some(Box::new(control)));
        session.set_pipelined_prefix(head);
        let Some(reused) = proxy.process_new_http(session, &shutdown).await else {
            return served + 1;
        };
        stream = ClientStream::recover(reused.consume().0).expect("the same stream");
    }
}

/// Reads one answer: its head, and its content by length.
async fn answer(client: &mut TcpStream) -> (String, String) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(timeout(SOON, client.read_u8()).await.expect("in time").expect("an answer"));
    }
    let head = String::from_utf8(head).expect("text").to_ascii_lowercase();
    let length = head
        .split("content-length: ")
        .nth(1)
        .and_then(|rest| rest.split("\r\n").next())
        .map_or(0, |len| len.parse().expect("length"));
    let mut body = vec![0; length];
    timeout(SOON, client.read_exact(&mut body)).await.expect("in time").expect("a body");
    (head, String::from_utf8(body).expect("text"))
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(SOON, future).await.expect("in time")
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_their_order() {
    let Setup {
        mut client,
        origin,
        serving,
        ..
    } = set_up(false).await;
    client
        .write_all(
            b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n\
              POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello\
              POST /3 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nhel\r\n2\r\nlo\r\n0\r\nx-t: 1\r\n\r\n\
              HEAD /4 HTTP/1.1\r\nHost: a\r\n\r\n\
              \r\nGET http://a/5 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        )
        .await
        .expect("write");
    for expected in ["GET /1:", "POST /2:hello", "POST /3:hello"] {
        assert_eq!(answer(&mut client).await.1, expected);
    }
    let mut rest = String::new();
    soon(client.read_to_string(&mut rest)).await.expect("an orderly end");
    assert!(rest.starts_with("HTTP/1.1 200 OK\r\n") && rest.ends_with("GET /5:"), "{rest}");
    assert_eq!(rest.matches("HTTP/1.1 200 OK").count(), 2, "HEAD has no body: {rest}");
    assert_eq!(soon(serving).await.expect("served"), 5);
    assert_eq!(origin.requests.load(Ordering::SeqCst), 5);
}

#[tokio::test]
async fn a_body_in_odd_pieces_arrives_whole() {
    let Setup { mut client, .. } = set_up(false).await;
    let chunked =
        b"POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\nA\r\n0123456789\r\n0\r\nx-t: 1\r\n\r\n";
    let length = b"POST /l HTTP/1.1\r\nHost: a\r\nContent-Length: 13\r\n\r\nabc0123456789";
    for (request, target) in [(&chunked[..], "c"), (length, "l")] {
        for size in [1, 2, 3, 7, 64] {
            for piece in request.chunks(size) {
                client.write_all(piece).await.expect("write");
                tokio::task::yield_now().await;
            }
            assert_eq!(answer(&mut client).await.1, format!("POST /{target}:abc0123456789"));
        }
    }
}

#[tokio::test]
async fn a_megabyte_passes_both_ways() {
    let Setup { client, .. } = set_up(false).await;
    let body = "0123456789abcdef".repeat(1 << 16);
    let (mut reader, mut writer) = client.into_split();
    let request = format!(
        "POST /m HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let writing = tokio::spawn(async move { writer.write_all(request.as_bytes()).await.map(|()| writer) });
    let mut all = String::new();
    soon(reader.read_to_string(&mut all)).await.expect("an orderly end");
    assert!(all.ends_with(&format!("\r\n\r\nPOST /m:{body}")));
    soon(writing).await.expect("done").expect("written");
}

#[tokio::test]
async fn a_request_that_comes_early_does_not_disturb_the_one_under_way() {
    let Setup { mut client, origin, .. } = set_up(false).await;
    client.write_all(b"GET /held HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("write");
    soon(origin.arrived.notified()).await;
    client.write_all(b"GET /next HTTP/1.1\r\nHo").await.expect("write");
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    client.write_all(b"st: a\r\n\r\n").await.expect("write");
    origin.release.notify_one();
    assert_eq!(answer(&mut client).await.1, "GET /held:");
    assert_eq!(answer(&mut client).await.1, "GET /next:");
}

#[tokio::test]
async fn a_client_that_hangs_up_frees_the_origin_even_by_halves() {
    for by_halves in [false, true] {
        let Setup {
            mut client,
            origin,
            failed_for,
            serving,
            ..
        } = set_up(false).await;
        client.write_all(b"GET /held HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("write");
        soon(origin.arrived.notified()).await;
        if by_halves {
            client.shutdown().await.expect("shutdown");
        } else {
            drop(client);
        }
        soon(origin.hung_up.notified()).await;
        assert_eq!(soon(serving).await.expect("served"), 1);
        let failed_for = failed_for.lock().expect("no panic");
        assert!(failed_for.contains("ConnectionClosed"), "{failed_for}");
    }
}

#[tokio::test]
async fn an_answer_is_taken_whole_for_others_when_its_client_has_left() {
    let Setup {
        mut client,
        origin,
        seen_whole,
        serving,
        ..
    } = set_up(true).await;
    client.write_all(b"GET /held HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("write");
    soon(origin.arrived.notified()).await;
    drop(client);
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    origin.release.notify_one();
    assert_eq!(soon(serving).await.expect("served"), 1);
    assert!(seen_whole.load(Ordering::SeqCst));
}

#[tokio::test]
async fn an_upgraded_connection_passes_bytes_both_ways_until_an_end() {
    let Setup {
        mut client,
        origin,
        serving,
        ..
    } = set_up(false).await;
    client
        .write_all(b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n\x81early")
        .await
        .expect("write");
    let (head, _) = answer(&mut client).await;
    assert!(head.starts_with("http/1.1 101 "), "{head}");
    for bytes in [&b"\x81early"[..], b"GET / HTTP/1.1\r\n\r\n", b"\0\0\0"] {
        if bytes != b"\x81early" {
            client.write_all(bytes).await.expect("write");
        }
        let mut echo = vec![0; bytes.len()];
        soon(client.read_exact(&mut echo)).await.expect("an echo");
        assert_eq!(echo, bytes);
    }
    drop(client);
    soon(origin.hung_up.notified()).await;
    assert_eq!(soon(serving).await.expect("served"), 1);
}

#[tokio::test]
async fn a_malformed_body_never_ends_at_the_origin_and_gets_400() {
    let Setup {
        mut client,
        origin,
        serving,
        ..
    } = set_up(false).await;
    client
        .write_all(b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        .await
        .expect("write");
    soon(origin.arrived.notified()).await;
    client
        .write_all(b"0 \r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .expect("write");
    let mut all = String::new();
    soon(client.read_to_string(&mut all)).await.expect("an orderly end");
    assert!(all.starts_with("HTTP/1.1 400 ") && all.matches("HTTP/1.1").count() == 1, "{all}");
    soon(origin.hung_up.notified()).await;
    assert_eq!(soon(serving).await.expect("served"), 1);
    assert_eq!(origin.requests.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn an_answer_leaves_in_one_piece() {
    let Setup { mut client, .. } = set_up(false).await;
    client.write_all(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("write");
    let mut buf = [0; 4096];
    let read = soon(client.read(&mut buf)).await.expect("an answer");
    assert!(buf[..read].ends_with(b"GET /1:"), "{}", buf[..read].escape_ascii());
}

#[tokio::test]
async fn http_1_0_stays_open_only_where_the_client_asked() {
    let Setup { mut client, .. } = set_up(false).await;
    client
        .write_all(b"GET /1 HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n")
        .await
        .expect("write");
    let (head, body) = answer(&mut client).await;
    assert!(head.contains("connection: keep-alive") && body == "GET /1:", "{head}");
    client.write_all(b"GET /2 HTTP/1.0\r\nHost: a\r\n\r\n").await.expect("write");
    let mut all = String::new();
    soon(client.read_to_string(&mut all)).await.expect("an orderly end");
    assert!(all.ends_with("GET /2:"), "{all}");
}

#[tokio::test]
async fn http_2_with_prior_knowledge_goes_to_pingora_whole() {
    let Setup { client, serving, .. } = set_up(false).await;
    let io = hyper_util::rt::TokioIo::new(client);
    let (mut sender, connection) = hyper::client::conn::http2::handshake(hyper_util::rt::TokioExecutor::new(), io)
        .await
        .expect("handshake");
    let connection = tokio::spawn(connection);
    for _ in 0..3 {
        let request = http::Request::get("http://a/h2")
            .body(http_body_util::Empty::<Bytes>::new())
            .expect("request");
        let response = soon(sender.send_request(request)).await.expect("an answer");
        assert_eq!(response.status(), 200);
        let body = soon(http_body_util::BodyExt::collect(response.into_body()))
            .await
            .expect("a body")
            .to_bytes();
        assert_eq!(body, "GET /h2:");
    }
    drop(sender);
    soon(connection).await.expect("done").expect("an orderly end");
    soon(serving).await.expect("served");
}
