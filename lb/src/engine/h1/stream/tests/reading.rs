//! Requests and their bodies, as an engine reads them.

use super::*;

#[tokio::test]
async fn a_request_is_handed_out_head_first_and_then_its_body_alone() {
    let (mut stream, mut client) = pair().await;
    client
        .write_all(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhelloGET /y HTTP/1.1\r\nHost: b\r\n\r\n")
        .await
        .expect("write");
    assert_eq!(next(&mut stream).await.expect("a head"), HeadRead::Request);
    let head = stream.head().expect("a head");
    assert_eq!((head.target(), head.authority()), (&b"/x"[..], &b"a"[..]));
    assert_eq!(stream.parsed().framing(), Framing::Length(5));
    assert_eq!(stream.begin(), &b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n"[..]);
    assert!(stream.head().is_none());
    assert_eq!(read_until(&mut stream, 5).await, b"hello");
    assert!(waits(&mut stream).await);
    assert_eq!(begin(&mut stream).await, &b"GET /y HTTP/1.1\r\nHost: b\r\n\r\n"[..]);
    assert_eq!(stream.requests(), 2);
}

#[tokio::test]
async fn pipelined_requests_come_out_one_by_one() {
    let (mut stream, mut client) = pair().await;
    client.write_all(&GET.repeat(50)).await.expect("write");
    for _ in 0..50 {
        assert_eq!(begin(&mut stream).await, GET);
        assert!(waits(&mut stream).await);
    }
    assert!(stream.received().is_empty());
}

#[tokio::test]
async fn early_bytes_are_kept_within_bounds() {
    let (mut stream, mut client) = pair().await;
    client.write_all(GET).await.expect("write");
    begin(&mut stream).await;
    let flood = tokio::spawn(async move { client.write_all(&GET.repeat(1_000_000)).await });
    while stream.received().len() < 16 << 10 {
        assert!(waits(&mut stream).await);
    }
    for _ in 0..100 {
        assert!(waits(&mut stream).await);
    }
    assert!(stream.received().len() <= 24 << 10, "{}", stream.received().len());
    assert!(!flood.is_finished());
    assert_eq!(begin(&mut stream).await, GET);
    flood.abort();
}

#[tokio::test]
async fn a_malformed_chunk_is_an_error_and_not_a_byte_of_it_passes() {
    let (mut stream, mut client) = pair().await;
    client
        .write_all(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        .await
        .expect("write");
    begin(&mut stream).await;
    assert_eq!(read_until(&mut stream, 10).await, b"5\r\nhello\r\n");
    client.write_all(b"0\n\nGET / HTTP/1.1\r\n").await.expect("write");
    let error = timeout(SOON, stream.read(&mut [0; 99]))
        .await
        .expect("in time")
        .expect_err("refused");
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
    assert!(stream.control().is_body_malformed() && !stream.control().client_gone());
    assert!(timeout(SOON, stream.read(&mut [0; 99])).await.expect("in time").is_err());
    assert!(matches!(next(&mut stream).await, Err(HeadFailure::Unfinished)));
}

#[tokio::test]
async fn after_an_upgrade_bytes_pass_as_they_are_those_that_came_early_first() {
    let (mut stream, mut client) = pair().await;
    client
        .write_all(b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nearly")
        .await
        .expect("write");
    begin(&mut stream).await;
    assert!(stream.parsed().upgrade());
    assert!(waits(&mut stream).await);
    stream.control().upgrade();
    assert_eq!(read_until(&mut stream, 5).await, b"early");
    client.write_all(b"\x00late").await.expect("write");
    assert_eq!(read_until(&mut stream, 5).await, b"\x00late");
    stream.write_all(b"back").await.expect("write");
    stream.flush().await.expect("flush");
    let mut back = [0; 4];
    client.read_exact(&mut back).await.expect("read");
    client.shutdown().await.expect("shutdown");
    assert_eq!(stream.read(&mut [0; 9]).await.expect("an end"), 0);
    assert!(
        matches!(next(&mut stream).await, Err(HeadFailure::Unfinished)),
        "nothing follows an upgrade"
    );
}

/// A request, as its raw bytes, and its raw body.
fn request() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let chunk = prop::collection::vec(any::<u8>(), 1..2000);
    prop_oneof![
        Just((b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(), Vec::new())),
        prop::collection::vec(any::<u8>(), 0..5000).prop_map(|body| {
            (
                format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes(),
                body,
            )
        }),
        prop::collection::vec(chunk, 0..4).prop_map(|chunks| {
            let mut body = Vec::new();
            for chunk in chunks {
                body.extend_from_slice(format!("{:x};e=1\r\n", chunk.len()).as_bytes());
                body.extend_from_slice(&chunk);
                body.extend_from_slice(b"\r\n");
            }
            body.extend_from_slice(b"0\r\nx-t: 1\r\n\r\n");
            (b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec(), body)
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn however_requests_are_cut_each_comes_out_whole_and_alone(
        requests in prop::collection::vec(request(), 1..6),
        pieces in prop::collection::vec(1usize..3000, 1..6),
        room in 1usize..5000,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
        runtime.block_on(async {
            let (mut stream, mut client) = pair().await;
            let sent: Vec<u8> = requests.iter().flat_map(|(head, body)| [&head[..], body].concat()).collect();
            tokio::spawn(async move {
                let mut rest = &sent[..];
                for piece in pieces.iter().cycle() {
                    let (now, later) = rest.split_at(rest.len().min(*piece));
                    client.write_all(now).await.expect("write");
                    tokio::task::yield_now().await;
                    rest = later;
                    if rest.is_empty() {
                        break;
                    }
                }
                // Closing is left to the end of the test.
                std::future::pending::<()>().await;
                drop(client);
            });
            for (head, body) in &requests {
                assert_eq!(begin(&mut stream).await, &head[..]);
                let mut received = Vec::new();
                while received.len() < body.len() {
                    let mut buf = vec![0; room];
                    let read = timeout(SOON, stream.read(&mut buf)).await.expect("in time").expect("the body");
                    assert!(read > 0);
                    received.extend_from_slice(&buf[..read]);
                }
                assert_eq!(&received, body);
                assert!(waits(&mut stream).await);
            }
        });
    }
}
