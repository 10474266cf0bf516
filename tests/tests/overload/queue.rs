//! `queue`: order, bounds, and what a reload or a death does to those who wait.

use std::time::{Duration, Instant};

use lb_tests::client::{Request, send};
use lb_tests::lb::Lb;
use lb_tests::origin::{Origin, Reply, Seen};
use lb_tests::wait::until;

use super::{begin, begin_waiting, limited, queued, wait_until_queued};

/// So long that it never is what a test is about, on any machine.
const LONG: &str = "queue = { size = 1000, timeout = \"5m\" }";

#[tokio::test]
async fn who_waits_is_served_in_order_of_arrival() {
    let origin = Origin::held("held").await;
    let lb = Lb::start(&limited(&[&origin], 1, LONG)).await;
    let mut clients = vec![begin(&lb, &Request::get("/0")).await];
    origin.wait_for(1).await;
    for number in 1..=4 {
        clients.push(begin_waiting(&lb, &Request::get(&format!("/{number}")), number).await);
    }
    for (number, client) in clients.iter_mut().enumerate() {
        origin.wait_for(number + 1).await;
        assert_eq!(origin.count(), number + 1, "one at a time");
        origin.release(1);
        assert_eq!(client.response("GET").await.unwrap().status, 200);
    }
    let targets: Vec<String> = origin.requests().into_iter().map(|seen| seen.target).collect();
    assert_eq!(targets, ["/0", "/1", "/2", "/3", "/4"]);
    lb.wait_until_idle().await;
    assert_eq!(queued(&lb).await, Some(0));
}

#[tokio::test]
async fn beyond_its_size_it_is_503_at_once_and_beyond_its_time_503_later() {
    let origin = Origin::held("held").await;
    let lb = Lb::start(&limited(&[&origin], 1, "queue = { size = 2, timeout = \"3s\" }")).await;
    let _held = begin(&lb, &Request::get("/")).await;
    origin.wait_for(1).await;
    let start = Instant::now();
    let mut waiting = begin_waiting(&lb, &Request::get("/"), 1).await;
    let mut other = begin_waiting(&lb, &Request::post("/", "body"), 2).await;
    let refused = lb.get("/").await;
    refused.assert_problem(503);
    assert_eq!(refused.header("retry-after"), "1");
    let metrics = lb.metrics().await;
    assert_eq!(metrics.value("lb_queue_overflows_total", &[("upstream", "app")]), Some(1.0));
    assert!(metrics.value("lb_queue_requests", &[("upstream", "app")]).is_some());
    let late = waiting.response("GET").await.unwrap();
    late.assert_problem(503);
    assert_eq!(late.header("retry-after"), "1");
    assert!(start.elapsed() >= Duration::from_secs(3), "{:?}", start.elapsed());
    other.response("POST").await.unwrap().assert_problem(503);
    let metrics = lb.metrics().await;
    assert_eq!(metrics.value("lb_queue_timeouts_total", &[("upstream", "app")]), Some(2.0));
    assert_eq!(metrics.value("lb_queue_requests", &[("upstream", "app")]), Some(0.0));
    assert_eq!(origin.count(), 1, "none of them was sent on");
}

#[tokio::test]
async fn a_client_that_leaves_gives_its_place_up() {
    let origin = Origin::held("held").await;
    let lb = Lb::start(&limited(&[&origin], 1, LONG)).await;
    let mut first = begin(&lb, &Request::get("/first")).await;
    origin.wait_for(1).await;
    let leaves = begin_waiting(&lb, &Request::get("/leaves"), 1).await;
    let mut stays = begin_waiting(&lb, &Request::get("/stays"), 2).await;
    drop(leaves);
    wait_until_queued(&lb, 1).await;
    origin.release_all();
    assert_eq!(first.response("GET").await.unwrap().status, 200);
    assert_eq!(stays.response("GET").await.unwrap().status, 200);
    assert_eq!(origin.count_of("/leaves"), 0);
}

#[tokio::test]
async fn a_body_waits_with_its_request() {
    let answer = |seen: &Seen| match seen.method.as_str() {
        "GET" => Reply::text("held").held(),
        _ => Reply::echo(),
    };
    let origin = Origin::start(answer).await;
    let lb = Lb::start(&limited(&[&origin], 1, LONG)).await;
    let _first = begin(&lb, &Request::get("/")).await;
    origin.wait_for(1).await;
    let body = "x".repeat(300_000);
    let mut post = begin_waiting(&lb, &Request::post("/", body.clone()), 1).await;
    origin.release_all();
    assert_eq!(post.response("POST").await.unwrap().text(), body);
}

#[tokio::test]
async fn c32_when_the_last_active_server_dies_those_who_wait_go_to_the_backup_at_once() {
    let (active, backup) = (Origin::held("active").await, Origin::named("backup").await);
    let config = format!(
        "[upstreams.app]\npassive_health = \"off\"\n\
         servers = [{{ address = \"{}\", max_connections = 1 }}, {{ address = \"{}\", max_connections = 1, backup = true }}]\n\
         health_check = {{ type = \"http\", path = \"/check\", interval = \"100ms\", timeout = \"10s\", rise = 1, fall = 2 }}\n{LONG}\n",
        active.addr(),
        backup.addr()
    );
    let lb = Lb::start(&config).await;
    lb.wait_for_state("app", active.addr(), "healthy").await;
    lb.wait_for_state("app", backup.addr(), "healthy").await;
    let _held = begin(&lb, &Request::get("/")).await;
    active.wait_for(1).await;
    let mut waiting = Vec::new();
    for count in 1..=5 {
        waiting.push(begin_waiting(&lb, &Request::get("/"), count).await);
    }
    assert_eq!(backup.count(), 0, "it is no overflow");
    active.set_check(Reply::new(500));
    for client in &mut waiting {
        assert_eq!(client.response("GET").await.unwrap().text(), "backup");
    }
    assert_eq!((active.count(), backup.most_active()), (1, 1));
}

#[tokio::test]
async fn when_no_server_is_left_nobody_waits_any_longer() {
    let origin = Origin::held("held").await;
    let check = "health_check = { type = \"http\", path = \"/check\", interval = \"100ms\", timeout = \"10s\", rise = 1, fall = 2 }";
    let lb = Lb::start(&limited(&[&origin], 1, &format!("{check}\n{LONG}"))).await;
    lb.wait_for_state("app", origin.addr(), "healthy").await;
    let _held = begin(&lb, &Request::get("/")).await;
    origin.wait_for(1).await;
    let mut waiting = begin_waiting(&lb, &Request::get("/"), 1).await;
    origin.set_check(Reply::new(500));
    let refused = waiting.response("GET").await.unwrap();
    refused.assert_problem(503);
    assert!(refused.header("retry-after").parse::<u32>().is_ok());
}

#[tokio::test]
async fn a_reload_that_adds_a_server_or_room_serves_those_who_wait() {
    let (old, new) = (Origin::held("old").await, Origin::named("new").await);
    let mut lb = Lb::start(&limited(&[&old], 1, LONG)).await;
    let _held = begin(&lb, &Request::get("/")).await;
    old.wait_for(1).await;
    let mut waiting = begin_waiting(&lb, &Request::get("/"), 1).await;
    lb.reload(&limited(&[&old, &new], 1, LONG)).await;
    assert_eq!(waiting.response("GET").await.unwrap().text(), "new");
    lb.reload(&limited(&[&old], 1, LONG)).await;
    let mut waiting = begin_waiting(&lb, &Request::get("/"), 1).await;
    lb.reload(&limited(&[&old], 2, LONG)).await;
    old.wait_for(2).await;
    old.release_all();
    assert_eq!(waiting.response("GET").await.unwrap().text(), "old");
}

#[tokio::test]
async fn c32_the_limit_is_exact_while_servers_come_and_go_and_everybody_is_served() {
    let mut origins = Vec::new();
    for _ in 0..3 {
        origins.push(Origin::start(|_| Reply::text("a").after(Duration::from_millis(30))).await);
    }
    // the third is a backup
    let config = |active: &[usize]| {
        let server = |index: usize| {
            let address = origins[index].addr();
            format!("{{ address = \"{address}\", max_connections = 5, backup = {} }}", index == 2)
        };
        let list: Vec<String> = active.iter().chain(&[2]).map(|index| server(*index)).collect();
        format!(
            "[upstreams.app]\npassive_health = \"off\"\nservers = [{}]\n{LONG}\n",
            list.join(", ")
        )
    };
    let mut lb = Lb::start(&config(&[0, 1])).await;
    let listen = lb.listen();
    let clients: Vec<_> = (0..60)
        .map(|_| {
            tokio::spawn(async move {
                for _ in 0..20 {
                    assert_eq!(send(listen, &Request::get("/")).await.unwrap().status, 200);
                }
            })
        })
        .collect();
    for active in [&[0][..], &[0, 1], &[1], &[0, 1], &[0], &[0, 1]] {
        lb.reload(&config(active)).await;
        let before: usize = origins.iter().map(Origin::count).sum();
        until("the servers in force were asked", async || {
            origins.iter().map(Origin::count).sum::<usize>() > before + 10 || clients.iter().all(|client| client.is_finished())
        })
        .await;
    }
    for client in clients {
        client.await.unwrap();
    }
    for origin in &origins {
        assert!(origin.most_active() <= 5, "{} at once", origin.most_active());
    }
    assert_eq!(origins.iter().map(Origin::count).sum::<usize>(), 60 * 20);
    lb.wait_until_idle().await;
}
