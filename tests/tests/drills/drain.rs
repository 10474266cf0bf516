//! SIGTERM with 50 slow requests under way.

use std::time::{Duration, Instant};

use lb_tests::client::{Connection, Failure, Request};
use lb_tests::lb::Lb;
use lb_tests::origin::{Origin, Reply, Step};
use lb_tests::report::{full, row};
use lb_tests::servers;
use lb_tests::wait::{throughout, until};

/// How long after the slowest request it may take to end. The promise is a second; a machine that runs other tests beside gets more.
fn margin() -> Duration {
    Duration::from_secs(if full() { 1 } else { 3 })
}

#[tokio::test]
async fn fifty_slow_requests_finish_while_new_connections_are_refused() {
    // half of them wait for their head, half for the rest of their body
    let origin = Origin::start(|seen| {
        if seen.target == "/body" {
            return Reply::script(vec![
                Step::write("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nfirst"),
                Step::Hold,
                Step::write("last"),
            ]);
        }
        Reply::text("firstlast").held()
    })
    .await;
    let mut lb = Lb::start(&format!("[upstreams.app]\nservers = [{}]\n", servers(&[origin.addr()]))).await;
    let mut slow = Vec::new();
    for number in 0..50 {
        let mut connection = lb.connect().await;
        connection
            .write(Request::get(if number % 2 == 0 { "/head" } else { "/body" }).bytes())
            .await;
        slow.push(connection);
    }
    let mut idle: Vec<Connection> = Vec::new();
    for _ in 0..10 {
        idle.push(lb.connect().await);
    }
    until("all fifty are under way", async || origin.active() == 50).await;
    lb.terminate();
    let listen = lb.listen();
    until("new connections are refused", async || {
        matches!(Connection::open(listen).await, Err(Failure::Connect(_)))
    })
    .await;
    throughout(Duration::from_millis(300), "it goes on and takes nobody new", async || {
        lb.process.ended().is_none() && Connection::open(listen).await.is_err()
    })
    .await;
    assert_eq!(origin.active(), 50, "no request was given up");
    // the last one a little after the others
    origin.release(49);
    until("forty-nine are done at the origin", async || origin.active() == 1).await;
    assert!(lb.process.ended().is_none(), "it ended before the slowest request did");
    origin.release(1);
    let mut failed = 0;
    for connection in &mut slow {
        let answer = connection.response("GET").await;
        let good = answer
            .as_ref()
            .is_ok_and(|answer| answer.status == 200 && !answer.cut && answer.text() == "firstlast");
        if !good {
            eprintln!("{answer:?}");
            failed += 1;
        }
    }
    let finished = Instant::now();
    assert_eq!(failed, 0, "{failed} of 50 requests failed");
    let status = lb.exit_within(Duration::from_secs(20)).await;
    let took = finished.elapsed();
    assert_eq!(status.code(), Some(0), "{status:?}");
    assert!(took <= margin(), "it took {took:?} to end after the slowest request");
    row(
        "SIGTERM with 50 slow requests under way",
        50,
        failed,
        None,
        &format!("exit code 0, {took:.2?} after the slowest one"),
    );
}

#[tokio::test]
async fn what_takes_longer_than_the_grace_period_is_cut() {
    let origin = Origin::held("never").await;
    let server = "[server]\nlisten = [\"@LISTEN@\"]\nadmin = \"@ADMIN@\"\ngrace_period = \"1s\"\n\n";
    let mut lb = Lb::start(&format!("{server}[upstreams.app]\nservers = [{}]\n", servers(&[origin.addr()]))).await;
    let mut connection = lb.connect().await;
    connection.write(Request::get("/").bytes()).await;
    origin.wait_for(1).await;
    let start = Instant::now();
    lb.terminate();
    let status = lb.exit_within(Duration::from_secs(20)).await;
    assert!(
        start.elapsed() >= Duration::from_millis(900),
        "it waited {:?} only",
        start.elapsed()
    );
    assert!(status.code().is_some(), "it ended by itself: {status:?}");
}
