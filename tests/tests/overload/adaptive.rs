//! A server gets as many requests at once as it is found to take.

use std::time::Duration;

use lb_tests::client::Request;
use lb_tests::lb::Lb;
use lb_tests::origin::{Origin, Reply, Step};
use lb_tests::wait::until;

use super::{begin, begin_waiting};

/// What is given to a server of which nothing is known.
const START: usize = 10;

fn adaptive(origins: &[&Origin], settings: &str) -> String {
    let list: Vec<String> = origins.iter().map(|origin| format!("\"{}\"", origin.addr())).collect();
    format!(
        "[upstreams.app]\npassive_health = \"off\"\nservers = [{}]\nadaptive_concurrency = true\n{settings}\n",
        list.join(", ")
    )
}

async fn limit(lb: &Lb) -> Option<u64> {
    lb.status().await["upstreams"][0]["servers"][0]["concurrency_limit"].as_u64()
}

#[tokio::test]
async fn beyond_the_limit_it_is_503_at_once_and_with_a_queue_one_waits() {
    let origin = Origin::held("held").await;
    let mut lb = Lb::start(&adaptive(&[&origin], "")).await;
    let mut held = Vec::new();
    for _ in 0..START {
        held.push(begin(&lb, &Request::get("/")).await);
    }
    origin.wait_for(START).await;
    let refused = lb.get("/").await;
    refused.assert_problem(503);
    assert_eq!(refused.header("retry-after"), "1");
    lb.reload(&adaptive(&[&origin], "queue = { size = 5, timeout = \"30s\" }")).await;
    let mut waiting = begin_waiting(&lb, &Request::get("/"), 1).await;
    assert_eq!(origin.count(), START);
    origin.release_all();
    assert_eq!(waiting.response("GET").await.unwrap().text(), "held");
    for mut connection in held {
        assert_eq!(connection.response("GET").await.unwrap().text(), "held");
    }
    lb.wait_until_idle().await;
}

#[tokio::test]
async fn a_full_server_is_passed_over_and_a_failed_request_finds_another_one() {
    let failing = Origin::start(|_| Reply::new(503)).await;
    let held = Origin::held("held").await;
    let lb = Lb::start(&adaptive(&[&failing, &held], "")).await;
    let mut connections = Vec::new();
    for _ in 0..START {
        connections.push(begin(&lb, &Request::get("/")).await);
    }
    held.wait_for(START).await;
    let answer = lb.get("/").await;
    assert_eq!(
        (answer.status, answer.text().as_str()),
        (503, ""),
        "the server's own: nobody is left to ask"
    );
    assert_eq!(held.count(), START);
    held.release_all();
    for mut connection in connections {
        assert_eq!(connection.response("GET").await.unwrap().text(), "held");
    }
    lb.wait_until_idle().await;
}

#[tokio::test]
async fn answers_that_have_begun_take_no_room() {
    let begun = [
        Step::write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n"),
        Step::Hold,
        Step::write("body"),
    ];
    let origin = Origin::start(move |_| Reply::script(begun.to_vec())).await;
    let lb = Lb::start(&adaptive(&[&origin], "")).await;
    let mut streams = Vec::new();
    for _ in 0..2 * START + 1 {
        let mut connection = begin(&lb, &Request::get("/")).await;
        assert_eq!(connection.head("GET").await.unwrap().status, 200);
        streams.push(connection);
    }
    assert_eq!(origin.active(), 2 * START + 1);
    origin.release_all();
    drop(streams);
    lb.wait_until_idle().await;
}

#[tokio::test]
async fn a_server_that_says_too_much_gets_less_and_a_reload_forgets_nothing() {
    let origin = Origin::start(|_| Reply::new(503)).await;
    let settings = "retry = \"off\"";
    let mut lb = Lb::start(&adaptive(&[&origin], settings)).await;
    assert_eq!(limit(&lb).await, Some(START as u64));
    until("one at a time is left", async || {
        assert_eq!(lb.get("/").await.status, 503);
        limit(&lb).await == Some(1)
    })
    .await;
    let metrics = lb.metrics().await;
    let server = origin.addr().to_string();
    let labels = [("upstream", "app"), ("server", server.as_str())];
    assert_eq!(metrics.value("lb_upstream_concurrency_limit", &labels), Some(1.0));
    lb.reload(&adaptive(&[&origin], &format!("{settings}\nkeepalive = 4"))).await;
    assert_eq!(limit(&lb).await, Some(1));
    lb.reload(&adaptive(&[&origin], settings).replace("adaptive_concurrency = true", ""))
        .await;
    assert_eq!(limit(&lb).await, None);
    assert_eq!(lb.metrics().await.value("lb_upstream_concurrency_limit", &labels), None);
}

#[tokio::test]
async fn a_limit_that_is_reached_grows_while_answers_are_quick() {
    let quick = Duration::from_millis(20);
    let origin = Origin::start(move |_| Reply::text("quick").after(quick)).await;
    let lb = Lb::start(&adaptive(&[&origin], "queue = { size = 1000, timeout = \"30s\" }")).await;
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..40 {
        let mut connection = lb.connect().await;
        clients.spawn(async move {
            for _ in 0..50 {
                assert_eq!(connection.send(&Request::get("/")).await.unwrap().text(), "quick");
            }
        });
    }
    clients.join_all().await;
    assert!(origin.most_active() > START, "{}", origin.most_active());
    assert!(limit(&lb).await > Some(START as u64));
}
