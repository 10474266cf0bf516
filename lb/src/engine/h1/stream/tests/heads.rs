//! Heads, and the time that they take.

use super::*;

#[tokio::test]
async fn a_malformed_head_is_refused_and_can_be_logged() {
    let (mut stream, mut client) = pair().await;
    client.write_all(b"GET /x HTTP/1.1\r\nHost : a\r\n\r\n").await.expect("write");
    assert!(matches!(
        next(&mut stream).await,
        Err(HeadFailure::Refused(HeadError::Malformed(_)))
    ));
    assert_eq!(crate::engine::h1::head::glimpse(stream.received()), (&b"GET"[..], &b"/x"[..]));
}

#[tokio::test]
async fn no_more_than_the_limit_and_a_read_is_taken_of_a_head_too_large() {
    let (mut stream, mut client) = pair().await;
    let flood = tokio::spawn(async move { client.write_all(&[b'a'; 4 << 20]).await });
    let head = HeadLimits::new(8192, 32);
    let failure = timeout(SOON, stream.read_head(&head, &PATIENT))
        .await
        .expect("in time")
        .expect_err("a refusal");
    assert!(matches!(failure, HeadFailure::Refused(HeadError::NotImplemented(_))), "{failure}");
    assert!(stream.received().len() <= 8192 + 4096);
    flood.abort();
}

/// Sends a byte at a time, slowly, until the other side is bored.
fn drip(mut client: TcpStream, bytes: &'static [u8]) -> tokio::task::JoinHandle<TcpStream> {
    tokio::spawn(async move {
        for byte in bytes.chunks(1).cycle() {
            tokio::time::sleep(Duration::from_millis(20)).await;
            if client.write_all(byte).await.is_err() {
                break;
            }
        }
        client
    })
}

#[tokio::test]
async fn one_deadline_holds_for_a_whole_head_on_the_first_and_on_later_requests() {
    let timeouts = HeadTimeouts {
        head: Duration::from_millis(300),
        idle: SOON,
    };
    for requests_before in [0, 1] {
        let (mut stream, mut client) = pair().await;
        for _ in 0..requests_before {
            client.write_all(GET).await.expect("write");
            begin(&mut stream).await;
        }
        let dripping = drip(client, b"GET / HTTP/1.1\r\nHost: a\r\nX: ");
        let start = Instant::now();
        let failure = stream.read_head(&LIMITS, &timeouts).await.expect_err("too slow");
        let took = start.elapsed();
        assert!(matches!(failure, HeadFailure::TimedOut), "{failure}");
        assert!(took >= Duration::from_millis(300) && took < Duration::from_secs(2), "{took:?}");
        dripping.abort();
    }
}

#[tokio::test]
async fn the_deadline_goes_on_across_cancelled_reads() {
    let timeouts = HeadTimeouts {
        head: Duration::from_millis(300),
        idle: SOON,
    };
    let (mut stream, client) = pair().await;
    let dripping = drip(client, b"GET / HTTP/1.1\r\nHost: a\r\nX: ");
    let start = Instant::now();
    let failure = loop {
        match timeout(Duration::from_millis(10), stream.read_head(&LIMITS, &timeouts)).await {
            Err(_) => assert!(start.elapsed() < SOON),
            Ok(answer) => break answer.expect_err("too slow"),
        }
    };
    assert!(matches!(failure, HeadFailure::TimedOut), "{failure}");
    assert!(start.elapsed() >= Duration::from_millis(300) && start.elapsed() < Duration::from_secs(2));
    dripping.abort();
}

#[tokio::test]
async fn silence_is_no_request_and_stray_empty_lines_are_none_either() {
    let timeouts = HeadTimeouts {
        head: Duration::from_millis(60),
        idle: Duration::from_millis(150),
    };
    let (mut stream, mut client) = pair().await;
    client.write_all(b"\r\n\r").await.expect("write");
    let start = Instant::now();
    assert_eq!(stream.read_head(&LIMITS, &timeouts).await.expect("idle"), HeadRead::Idle);
    assert!(start.elapsed() >= Duration::from_millis(60));
    assert!(stream.is_idle());

    client.write_all(b"\n").await.expect("write");
    client.write_all(GET).await.expect("write");
    begin(&mut stream).await;
    client.write_all(b"\r\n").await.expect("write");
    let start = Instant::now();
    assert_eq!(stream.read_head(&LIMITS, &timeouts).await.expect("idle"), HeadRead::Idle);
    assert!(
        start.elapsed() >= Duration::from_millis(150),
        "the time between requests counts, and not that of a head"
    );
}

#[tokio::test]
async fn a_waiting_connection_knows_whether_a_request_has_begun_and_holds_no_memory() {
    let (mut stream, mut client) = pair().await;
    for _ in 0..3 {
        assert!(
            timeout(Duration::from_millis(5), stream.read_head(&LIMITS, &PATIENT))
                .await
                .is_err()
        );
        assert!(stream.is_idle());
        assert!(stream.inbox.is_unallocated() && stream.outbox.is_unallocated());
        client.write_all(b"G").await.expect("write");
        while stream.is_idle() {
            assert!(
                timeout(Duration::from_millis(5), stream.read_head(&LIMITS, &PATIENT))
                    .await
                    .is_err()
            );
        }
        client.write_all(&GET[1..]).await.expect("write");
        begin(&mut stream).await;
        stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.expect("write");
    }
    assert!(size_of::<ClientStream>() <= 1024, "{}", size_of::<ClientStream>());
}

#[tokio::test]
async fn http_2_is_recognized_by_its_preface_and_passes_whole() {
    let (mut stream, mut client) = pair().await;
    client.write_all(b"PRI * HTTP/2.0\r\n\r\nSM").await.expect("write");
    while stream.received().len() < 20 {
        assert!(
            timeout(Duration::from_millis(5), stream.read_head(&LIMITS, &PATIENT))
                .await
                .is_err()
        );
    }
    assert!(!stream.is_idle());
    client.write_all(b"\r\n\r\nframes").await.expect("write");
    assert_eq!(next(&mut stream).await.expect("a preface"), HeadRead::Http2);
    assert!(::pingora::protocols::Ssl::selected_alpn_proto(&stream).is_some());
    assert_eq!(read_until(&mut stream, 30).await, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nframes");
}

#[tokio::test]
async fn what_only_looks_like_the_preface_or_comes_late_is_no_http_2() {
    for (before, bytes) in [
        (false, &b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n"[..]),
        (true, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ] {
        let (mut stream, mut client) = pair().await;
        if before {
            client.write_all(GET).await.expect("write");
            begin(&mut stream).await;
        }
        client.write_all(bytes).await.expect("write");
        assert!(matches!(next(&mut stream).await, Err(HeadFailure::Refused(HeadError::Version))));
    }
}
