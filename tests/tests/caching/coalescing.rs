//! Many misses at once make one request.

use std::time::{Duration, Instant};

use futures::future::join_all;
use lb_tests::client::{Connection, Request};
use lb_tests::framing::chunked;
use lb_tests::lb::Lb;
use lb_tests::origin::{Reply, Step};
use lb_tests::wait::{throughout, until, until_within};

use super::{fill, fresh, start};

/// Opens so many connections and sends the request on each.
async fn ask(lb: &Lb, count: usize, target: &str) -> Vec<Connection> {
    let mut all = Vec::new();
    for _ in 0..count {
        let mut connection = lb.connect().await;
        connection.write(Request::get(target).bytes()).await;
        all.push(connection);
    }
    all
}

async fn connections(lb: &Lb) -> usize {
    lb.metrics().await.sum("lb_connections", &[]) as usize
}

#[tokio::test]
async fn fifty_misses_at_once_are_one_request() {
    let (lb, origin) = start(|_| fresh("shared").held()).await;
    let mut all = ask(&lb, 50, "/").await;
    until("all are with lb", async || connections(&lb).await == 50).await;
    throughout(Duration::from_millis(200), "the origin is asked once", async || origin.count() <= 1).await;
    until("it is asked", async || origin.count() == 1).await;
    origin.release_all();
    for connection in &mut all {
        let answer = connection.response("GET").await.unwrap();
        assert_eq!((answer.status, answer.text().as_str(), answer.cut), (200, "shared", false));
        assert!(answer.headers.has("cache-status"));
    }
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn misses_for_other_things_do_not_wait() {
    let (lb, origin) = start(|seen| {
        if seen.target == "/slow" {
            fresh("slow").held()
        } else {
            fresh("quick")
        }
    })
    .await;
    let mut slow = ask(&lb, 3, "/slow").await;
    origin.wait_for(1).await;
    assert_eq!(lb.get("/quick").await.text(), "quick");
    origin.release_all();
    for connection in &mut slow {
        assert_eq!(connection.response("GET").await.unwrap().text(), "slow");
    }
}

#[tokio::test]
async fn c12_what_cannot_be_stored_does_not_queue() {
    for directive in ["no-store", "private"] {
        let (lb, origin) = start(move |_| {
            Reply::text("own")
                .header("Cache-Control", directive)
                .after(Duration::from_millis(300))
        })
        .await;
        let wave = async |count| {
            let start = Instant::now();
            let requests: Vec<_> = (0..count).map(|_| Request::get("/")).collect();
            let answers = join_all(requests.iter().map(|request| lb.try_send(request))).await;
            assert!(
                answers
                    .into_iter()
                    .all(|answer| answer.is_ok_and(|answer| answer.text() == "own" && !answer.is_hit()))
            );
            start.elapsed()
        };
        // one after the other would take 6 s
        let first = wave(20).await;
        assert!(first < Duration::from_secs(3), "{directive}: the first wave took {first:?}");
        assert_eq!(origin.count(), 20);
        let second = wave(20).await;
        assert!(second < Duration::from_secs(2), "{directive}: the second wave took {second:?}");
        // it is remembered: nobody waits for the first one
        origin.set(move |_| Reply::text("own").header("Cache-Control", directive).held());
        let mut third = ask(&lb, 20, "/").await;
        until("all twenty are at the origin", async || origin.active() == 20).await;
        origin.release_all();
        for connection in &mut third {
            assert_eq!(connection.response("GET").await.unwrap().text(), "own");
        }
        origin.set(|_| fresh("now it may"));
        fill(&lb, &Request::get("/")).await;
        assert_eq!(lb.get("/").await.text(), "now it may");
    }
}

#[tokio::test]
async fn c13_when_the_leader_and_most_waiters_hang_up_the_last_one_is_served() {
    let (lb, origin) = start(|_| fresh("at last").held()).await;
    let leader = ask(&lb, 1, "/").await;
    origin.wait_for(1).await;
    let mut waiters = ask(&lb, 50, "/").await;
    until("all are with lb", async || connections(&lb).await == 51).await;
    drop(leader);
    let last = waiters.pop();
    drop(waiters);
    until_within(Duration::from_secs(5), "those that hung up are gone", async || {
        connections(&lb).await == 1
    })
    .await;
    // from the first request, or from one that a waiter started at once
    until("a request for it is under way", async || origin.active() == 1).await;
    origin.release_all();
    let answer = last.unwrap().response("GET").await.unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (200, "at last"));
    assert!(origin.count() <= 2, "{} requests at the origin", origin.count());
}

#[tokio::test]
async fn c13_when_all_hang_up_the_next_one_starts_afresh() {
    let (lb, origin) = start(|_| fresh("again").held()).await;
    let all = ask(&lb, 5, "/").await;
    origin.wait_for(1).await;
    drop(all);
    until("they are gone", async || connections(&lb).await == 0).await;
    origin.release_all();
    assert_eq!(lb.get("/").await.text(), "again");
    assert!(origin.count() <= 2, "{} requests at the origin", origin.count());
}

#[tokio::test]
async fn a_waiter_streams_while_the_object_arrives() {
    let (lb, origin) = start(|_| {
        let wire = chunked(&["first", "last"]);
        let head = Step::write("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n");
        Reply::script(vec![head, Step::write(&wire[..10]), Step::Hold, Step::write(&wire[10..])])
    })
    .await;
    let mut both = ask(&lb, 2, "/").await;
    for connection in &mut both {
        assert_eq!(connection.head("GET").await.unwrap().status, 200);
        assert_eq!(connection.data().await.unwrap().unwrap(), "first");
    }
    // and so does one that comes later
    let mut late = ask(&lb, 1, "/").await.remove(0);
    assert_eq!(late.head("GET").await.unwrap().status, 200);
    assert_eq!(late.data().await.unwrap().unwrap(), "first");
    origin.release_all();
    for connection in both.iter_mut().chain([&mut late]) {
        assert_eq!(connection.data().await.unwrap().unwrap(), "last");
        assert_eq!(connection.data().await.unwrap(), None);
    }
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn an_object_that_breaks_off_is_cut_for_everybody_and_not_stored() {
    let (lb, origin) = start(|_| {
        let head = Step::write("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 100\r\n\r\nstart");
        Reply::script(vec![head, Step::Hold, Step::Close])
    })
    .await;
    let mut both = ask(&lb, 2, "/").await;
    for connection in &mut both {
        assert_eq!(connection.head("GET").await.unwrap().status, 200);
    }
    origin.release_all();
    for connection in &mut both {
        // how much of the beginning still came does not matter: it must not end as if it were whole
        let mut came = Vec::new();
        let end = loop {
            match connection.data().await {
                Ok(Some(data)) => came.extend_from_slice(&data),
                end => break end,
            }
        };
        assert_eq!(end, Err(lb_tests::client::Failure::Cut));
        assert!(b"start".starts_with(&came), "{came:?}");
    }
    origin.set(|_| fresh("whole"));
    let answer = lb.get("/").await;
    assert_eq!((answer.text().as_str(), answer.is_hit()), ("whole", false));
}

#[tokio::test]
async fn a_failing_origin_fails_everybody_and_nothing_is_stored() {
    let (lb, origin) = start(|_| Reply::new(503).body("busy").held()).await;
    let mut all = ask(&lb, 10, "/").await;
    until("all are with lb", async || connections(&lb).await == 10).await;
    origin.wait_for(1).await;
    origin.release_all();
    for connection in &mut all {
        let answer = connection.response("GET").await.unwrap();
        assert_eq!((answer.status, answer.text().as_str()), (503, "busy"));
    }
    origin.set(|_| fresh("good"));
    assert_eq!(lb.get("/").await.text(), "good");
}

#[tokio::test]
async fn a_leader_that_leaves_in_the_body_leaves_the_others_whole() {
    let (lb, origin) = start(|_| {
        let head = Step::write("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 9\r\n\r\nfirst");
        Reply::script(vec![head, Step::Hold, Step::write("last")])
    })
    .await;
    let mut leader = ask(&lb, 1, "/").await.remove(0);
    assert_eq!(leader.head("GET").await.unwrap().status, 200);
    let mut follower = ask(&lb, 1, "/").await.remove(0);
    assert_eq!(follower.head("GET").await.unwrap().status, 200);
    leader.reset();
    until("the leader is gone", async || connections(&lb).await == 1).await;
    origin.release_all();
    let mut body = Vec::new();
    while let Some(data) = follower.data().await.unwrap() {
        body.extend_from_slice(&data);
    }
    assert_eq!(body, b"firstlast");
    assert_eq!(origin.count(), 1);
}
