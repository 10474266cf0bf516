//! Large objects stream, and are not stored.

use std::time::{Duration, Instant};

use bytes::Bytes;
use lb_tests::client::{Connection, Request};
use lb_tests::engine::lacks;
use lb_tests::lb::Lb;
use lb_tests::origin::{Origin, Reply, Step};
use tokio::time::{sleep, timeout};

use super::{cached, fill, fresh};

const MIB: usize = 1024 * 1024;
/// How long a client may read nothing, by default.
const STALL: Duration = Duration::from_secs(30);

#[tokio::test]
async fn an_object_over_max_object_passes_and_is_not_stored() {
    let body = "x".repeat(2 * MIB);
    let answer = move |seen: &lb_tests::origin::Seen| {
        if seen.target == "/chunks" {
            let pieces: Vec<&str> = (0..32).map(|piece| &body[piece * 65536..][..65536]).collect();
            return Reply::new(200).header("Cache-Control", "max-age=60").chunked(&pieces);
        }
        fresh(&body)
    };
    let origin = Origin::start(answer).await;
    let lb = Lb::start(&format!("[cache]\nmax_object = \"1MiB\"\n\n{}", cached(&origin))).await;
    for target in ["/length", "/chunks"] {
        for round in 1..=3 {
            let answer = lb.get(target).await;
            assert_eq!((answer.body.len(), answer.is_hit()), (2 * MIB, false), "{target}");
            assert_eq!(origin.count_of(target), round, "{target}");
        }
    }
    assert_eq!(lb.metrics().await.value("lb_cache_objects", &[]), Some(0.0));
}

#[tokio::test]
async fn whoever_reads_along_slowly_what_is_too_long_gets_it_whole() {
    const PIECES: usize = 64;
    let piece = "x".repeat(MIB);
    let origin = Origin::start(move |_| {
        let head = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n";
        let chunk = Bytes::from(format!("{MIB:x}\r\n{piece}\r\n"));
        let mut steps = vec![Step::write(head), Step::Hold];
        steps.extend((0..PIECES).map(|_| Step::Write(chunk.clone())));
        steps.push(Step::write("0\r\n\r\n"));
        Reply::script(steps)
    })
    .await;
    let lb = Lb::start(&format!("[cache]\nmax_object = \"1MiB\"\n\n{}", cached(&origin))).await;
    let ask = async || {
        let mut connection = lb.connect().await;
        connection.write(Request::get("/").bytes()).await;
        assert_eq!(connection.head("GET").await.unwrap().status, 200);
        connection
    };
    let (mut leader, mut follower) = (ask().await, ask().await);
    assert_eq!(origin.count(), 1);
    origin.release(1);
    let all = async |connection: &mut Connection, pause: Duration| {
        let (mut length, mut rested) = (0, 0);
        while let Some(data) = connection.data().await.expect("it is not cut off") {
            length += data.len();
            if length / MIB > rested {
                rested = length / MIB;
                sleep(pause).await;
            }
        }
        length
    };
    let slowly = Duration::from_millis(30);
    let lengths = tokio::join!(all(&mut leader, Duration::ZERO), all(&mut follower, slowly));
    assert_eq!((lengths, origin.count()), ((PIECES * MIB, PIECES * MIB), 1));
}

#[tokio::test]
async fn a_server_that_hangs_is_found_out_whoever_is_waited_for() {
    const PIECE: usize = MIB / 4;
    let origin = Origin::start(|_| {
        let head = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n";
        let chunk = Bytes::from(format!("{PIECE:x}\r\n{}\r\n", "x".repeat(PIECE)));
        let mut steps = vec![Step::write(head)];
        steps.extend((0..200).flat_map(|_| [Step::Hold, Step::Write(chunk.clone())]));
        Reply::script(steps)
    })
    .await;
    let config = cached(&origin).replace("retry = \"off\"", "retry = \"off\"\ntimeouts = { read = \"1s\" }");
    let lb = Lb::start(&format!("[cache]\nmax_object = \"1MiB\"\n\n{config}")).await;
    let ask = async || {
        let mut connection = lb.connect().await;
        connection.write(Request::get("/").bytes()).await;
        assert_eq!(connection.head("GET").await.unwrap().status, 200);
        connection
    };
    let (mut leader, follower) = (ask().await, ask().await);
    // Until the follower, which reads nothing, is so far behind that the fetch waits for it.
    let mut length = 0;
    for pieces in 1..=200 {
        origin.release(1);
        let reading = async {
            while length < pieces * PIECE {
                length += leader.data().await.unwrap().unwrap().len();
            }
        };
        if timeout(Duration::from_millis(300), reading).await.is_err() {
            break;
        }
    }
    let stopped = Instant::now();
    while let Ok(data) = leader.data().await {
        assert!(data.is_some(), "it is not whole");
    }
    assert!(stopped.elapsed() < STALL / 2, "{:?}", stopped.elapsed());
    drop(follower);
}

#[tokio::test]
async fn an_object_just_below_it_is_stored() {
    let origin = Origin::start(|_| fresh(&"x".repeat(MIB - 1))).await;
    let lb = Lb::start(&format!("[cache]\nmax_object = \"1MiB\"\n\n{}", cached(&origin))).await;
    fill(&lb, &Request::get("/")).await;
    assert_eq!(lb.get("/").await.body.len(), MIB - 1);
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn a_miss_of_100_mib_reaches_the_client_before_its_last_byte_was_sent() {
    let piece: Bytes = (0..MIB)
        .map(|index| (index.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect::<Vec<_>>()
        .into();
    let expected = piece.clone();
    let origin = Origin::start(move |_| {
        let head = format!(
            "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: {}\r\n\r\n",
            100 * MIB
        );
        let mut steps = vec![Step::write(head), Step::Write(piece.clone()), Step::Hold];
        steps.extend((0..99).map(|_| Step::Write(piece.clone())));
        Reply::script(steps)
    })
    .await;
    let lb = Lb::start(&cached(&origin)).await;
    let before = lb.process.footprint().resident_kib;
    let mut connection = lb.connect().await;
    connection.write(Request::get("/").bytes()).await;
    assert_eq!(connection.head("GET").await.unwrap().status, 200);
    let mut length = connection.data().await.unwrap().unwrap().len();
    assert!(
        length > 0 && origin.active() == 1,
        "the first byte is here while the origin still waits"
    );
    origin.release(1);
    let mut all_right = true;
    while let Some(data) = connection.data().await.unwrap() {
        let start = length % MIB;
        let until = (start + data.len()).min(MIB);
        all_right &= expected[start..until] == data[..until - start];
        length += data.len();
    }
    assert_eq!(length, 100 * MIB);
    assert!(all_right, "the body was changed on its way");
    let grown = lb.process.footprint().resident_kib.saturating_sub(before);
    assert!(grown < 64 * 1024, "lb grew by {grown} KiB for an object that it does not keep");
}

#[tokio::test]
async fn a_client_that_reads_slowly_keeps_nobody_waiting_who_comes_after_it() {
    if lacks("fetches at the server's pace") {
        return;
    }
    let origin = Origin::start(|_| fresh(&"x".repeat(7 * MIB))).await;
    let lb = Lb::start(&cached(&origin)).await;
    let mut slow = Connection::open(lb.listen()).await.unwrap();
    slow.write(Request::get("/").bytes()).await;
    // It reads nothing behind the head.
    assert_eq!(slow.head("GET").await.unwrap().status, 200);
    let asked = Instant::now();
    let answer = lb.get("/").await;
    assert_eq!((answer.body.len(), origin.count()), (7 * MIB, 1));
    assert!(asked.elapsed() < STALL / 2, "{:?}", asked.elapsed());
    assert_eq!(slow.exactly(7 * MIB).await.unwrap().len(), 7 * MIB);
}
