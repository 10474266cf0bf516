//! Clients that leave.

use super::*;

#[tokio::test]
async fn reads_after_the_body_end_when_the_client_does() {
    let (mut stream, mut client) = pair().await;
    client.write_all(GET).await.expect("write");
    begin(&mut stream).await;
    assert!(waits(&mut stream).await);
    assert!(!stream.control().client_gone());
    drop(client);
    assert_eq!(timeout(SOON, stream.read(&mut [0; 9])).await.expect("in time").expect("an end"), 0);
    assert!(stream.control().client_gone());
    assert_eq!(next(&mut stream).await.expect("closed"), HeadRead::Closed);
}

#[tokio::test]
async fn a_client_that_hangs_up_within_a_body_ends_the_reads() {
    let (mut stream, mut client) = pair().await;
    client
        .write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhel")
        .await
        .expect("write");
    begin(&mut stream).await;
    stream.control().outlive();
    drop(client);
    let mut body = Vec::new();
    timeout(SOON, stream.read_to_end(&mut body))
        .await
        .expect("in time")
        .expect("an end");
    assert_eq!(body, b"hel");
    assert!(matches!(next(&mut stream).await, Err(HeadFailure::Unfinished)));
}

#[tokio::test]
async fn ends_between_requests_and_within_one_are_told_apart() {
    let (mut stream, client) = pair().await;
    drop(client);
    assert_eq!(next(&mut stream).await.expect("closed"), HeadRead::Closed);

    let (mut stream, mut client) = pair().await;
    client.write_all(b"\r\n").await.expect("write");
    drop(client);
    assert_eq!(next(&mut stream).await.expect("closed"), HeadRead::Closed);

    let (mut stream, mut client) = pair().await;
    client.write_all(b"GET / HT").await.expect("write");
    drop(client);
    assert!(matches!(next(&mut stream).await, Err(HeadFailure::CutOff)));

    let (mut stream, mut client) = pair().await;
    client.write_all(b"PRI * HT").await.expect("write");
    drop(client);
    assert!(matches!(next(&mut stream).await, Err(HeadFailure::CutOff)));
}

#[tokio::test]
async fn an_exchange_can_outlive_its_client() {
    let (mut stream, mut client) = pair().await;
    let closed = flag(&mut stream);
    let control = Arc::clone(stream.control());
    client.write_all(GET).await.expect("write");
    begin(&mut stream).await;
    control.outlive();
    stream.write_all(b"begin").await.expect("write");
    stream.flush().await.expect("flush");
    let mut begin = [0; 5];
    client.read_exact(&mut begin).await.expect("the client is still served");
    drop(client);
    while !control.client_gone() {
        assert!(waits(&mut stream).await, "the end is not reported");
    }
    assert!(closed.load(Ordering::Acquire), "the connection is closed");
    for _ in 0..100 {
        stream.write_all(&[0; 100_000]).await.expect("swallowed");
    }
    stream.flush().await.expect("swallowed");
    assert!(waits(&mut stream).await);
    assert_eq!(next(&mut stream).await.expect("closed"), HeadRead::Closed);
}

#[tokio::test]
async fn a_client_that_is_given_up_is_cut_off_and_a_blocked_write_goes_on() {
    let (mut stream, mut client) = pair().await;
    let control = Arc::clone(stream.control());
    client.write_all(GET).await.expect("write");
    begin(&mut stream).await;
    let blocked = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn({
        let blocked = Arc::clone(&blocked);
        async move {
            let write = stream.write_all(&[0; 64 << 20]);
            tokio::pin!(write);
            std::future::poll_fn(|cx| {
                let polled = write.as_mut().poll(cx);
                blocked.store(polled.is_pending(), Ordering::Release);
                polled
            })
            .await
            .expect("swallowed");
            assert!(waits(&mut stream).await);
        }
    });
    while !blocked.load(Ordering::Acquire) {
        tokio::task::yield_now().await;
    }
    control.detach();
    timeout(SOON, writer).await.expect("woken").expect("done");
    assert!(control.client_gone());
    let received = rest(&mut client).await.unwrap_or_default();
    assert!(received.len() < 64 << 20);
}

#[tokio::test]
async fn nothing_follows_a_request_that_asked_to_close() {
    for head in [
        &b"GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\nConnection: close\r\n\r\n"[..],
        b"GET / HTTP/1.0\r\n\r\n",
    ] {
        let (mut stream, mut client) = pair().await;
        client.write_all(&[head, GET].concat()).await.expect("write");
        begin(&mut stream).await;
        stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.expect("write");
        assert_eq!(next(&mut stream).await.expect("closed"), HeadRead::Closed);
        drop(stream);
        assert_eq!(rest(&mut client).await.expect("no reset"), b"HTTP/1.1 204 No Content\r\n\r\n");
    }
}

#[tokio::test]
async fn decisions_are_forgotten_with_the_next_request() {
    let (mut stream, mut client) = pair().await;
    client.write_all(&GET.repeat(2)).await.expect("write");
    begin(&mut stream).await;
    stream.control().outlive();
    begin(&mut stream).await;
    drop(client);
    assert_eq!(
        timeout(SOON, stream.read(&mut [0; 9]))
            .await
            .expect("in time")
            .expect("an end is an end again"),
        0
    );
}
