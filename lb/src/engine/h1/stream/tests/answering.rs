//! Answers, and last words.

use super::*;

#[tokio::test]
async fn the_pieces_of_a_small_answer_leave_together() {
    let (mut stream, mut client) = pair().await;
    client.write_all(GET).await.expect("write");
    begin(&mut stream).await;
    stream
        .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
        .await
        .expect("write");
    stream.write_all(b"hello").await.expect("write");
    assert_eq!(stream.outbox.waiting().len(), 43);
    stream.flush().await.expect("flush");
    assert!(stream.outbox.waiting().is_empty());
    let mut answer = [0; 99];
    assert_eq!(timeout(SOON, client.read(&mut answer)).await.expect("in time").expect("read"), 43);
}

#[tokio::test]
async fn a_large_answer_arrives_whole_and_waits_in_the_socket_rather_than_in_memory() {
    let (mut stream, mut client) = pair().await;
    client.write_all(GET).await.expect("write");
    begin(&mut stream).await;
    let body: Vec<u8> = (0..8u32 << 20).map(|index| (index % 251) as u8).collect();
    let expected = body.clone();
    let reader = tokio::spawn(async move {
        let all = rest(&mut client).await.expect("read");
        assert!(all == expected);
    });
    for (index, piece) in body.chunks(37_003).enumerate() {
        let (small, large) = piece.split_at(piece.len() / (index % 9 + 1));
        let mut pieces = bytes::Buf::chain(small, large);
        stream.write_all_buf(&mut pieces).await.expect("write");
        assert!(stream.outbox.waiting().len() <= 16 << 10);
    }
    stream.flush().await.expect("flush");
    AsyncWriteExt::shutdown(&mut stream).await.expect("shutdown");
    timeout(SOON, reader).await.expect("in time").expect("the same bytes");
}

#[tokio::test]
async fn a_refused_client_sees_the_answer_although_it_is_still_sending() {
    let (mut stream, mut client) = pair().await;
    let closed = flag(&mut stream);
    client
        .write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n")
        .await
        .expect("write");
    assert!(next(&mut stream).await.is_err());
    let refusing = tokio::spawn(stream.refuse(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"));
    client.write_all(&vec![0; 8 << 20]).await.expect("the body is taken");
    client.shutdown().await.expect("shutdown");
    let answer = rest(&mut client).await.expect("no reset");
    assert!(answer.starts_with(b"HTTP/1.1 400 "));
    timeout(SOON, refusing).await.expect("in time").expect("done");
    assert!(closed.load(Ordering::Acquire));
}

#[tokio::test]
async fn a_refused_client_that_stays_is_closed_all_the_same() {
    let (stream, mut client) = pair().await;
    let start = Instant::now();
    let refusing = tokio::spawn(stream.refuse(b"HTTP/1.1 408 Request Timeout\r\n\r\n"));
    assert!(rest(&mut client).await.expect("an orderly end").starts_with(b"HTTP/1.1 408 "));
    timeout(SOON, refusing).await.expect("in time").expect("done");
    assert!(start.elapsed() < Duration::from_secs(6));
}

#[tokio::test]
async fn an_early_answer_survives_the_end_of_the_stream() {
    let (mut stream, mut client) = pair().await;
    let closed = flag(&mut stream);
    client
        .write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 8388608\r\n\r\n")
        .await
        .expect("write");
    begin(&mut stream).await;
    stream
        .write_all(b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\n\r\n")
        .await
        .expect("write");
    drop(stream);
    assert!(!closed.load(Ordering::Acquire), "it counts until it is closed");
    client.write_all(&vec![0; 8 << 20]).await.expect("the body is taken");
    assert!(rest(&mut client).await.expect("no reset").starts_with(b"HTTP/1.1 413 "));
    drop(client);
    timeout(SOON, async {
        while !closed.load(Ordering::Acquire) {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("closed");
}

#[tokio::test]
async fn an_answer_that_must_not_look_whole_ends_with_a_reset() {
    let (mut stream, mut client) = pair().await;
    client.write_all(GET).await.expect("write");
    begin(&mut stream).await;
    stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nhalf").await.expect("write");
    stream.flush().await.expect("flush");
    let mut head = [0; 23];
    client.read_exact(&mut head).await.expect("read");
    stream.control().abort();
    AsyncWriteExt::shutdown(&mut stream).await.expect("nothing");
    drop(stream);
    let error = rest(&mut client).await.expect_err("cut");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}
