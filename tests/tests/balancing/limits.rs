//! `max_connections` of a server is never exceeded.

use std::time::{Duration, Instant};

use futures::future::join_all;
use lb_tests::client::{Request, send};
use lb_tests::lb::Lb;
use lb_tests::origin::{Origin, Reply};
use lb_tests::wait::until;

use super::{begin, held};

fn limited(origins: &[Origin], limit: usize, balance: &str) -> String {
    let list: Vec<String> = origins
        .iter()
        .map(|origin| format!("{{ address = \"{}\", max_connections = {limit} }}", origin.addr()))
        .collect();
    format!("[upstreams.app]\nbalance = \"{balance}\"\nservers = [{}]\n", list.join(", "))
}

#[tokio::test]
async fn when_all_are_full_it_is_503_at_once_and_nothing_is_sent_on() {
    let origins = held(2).await;
    let lb = Lb::start(&limited(&origins, 2, "least_conn")).await;
    let mut open = Vec::new();
    for _ in 0..4 {
        open.push(begin(&lb).await);
    }
    until("all four are at a server", async || {
        origins.iter().map(Origin::active).sum::<usize>() == 4
    })
    .await;
    let start = Instant::now();
    let answer = lb.get("/").await;
    answer.assert_problem(503);
    assert!(
        answer.header("retry-after").parse::<u32>().is_ok(),
        "{}",
        answer.header("retry-after")
    );
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    assert_eq!(origins.iter().map(Origin::count).sum::<usize>(), 4);
    origins.iter().for_each(Origin::release_all);
    for mut connection in open {
        assert_eq!(connection.response("GET").await.unwrap().status, 200);
    }
    lb.wait_until_idle().await;
    assert_eq!(lb.get("/").await.status, 200);
}

#[tokio::test]
async fn no_server_ever_sees_more_than_its_limit_whatever_the_algorithm() {
    for balance in ["least_conn", "round_robin", "random", "p2c", "hash"] {
        let mut origins = Vec::new();
        for _ in 0..2 {
            origins.push(Origin::start(|_| Reply::text("a").after(Duration::from_millis(20))).await);
        }
        let more = if balance == "hash" { "hash_on = \"path\"\n" } else { "" };
        let lb = Lb::start(&format!("{}{more}", limited(&origins, 3, balance))).await;
        let mut statuses = Vec::new();
        for round in 0..5 {
            let requests: Vec<_> = (0..24).map(|number| Request::get(&format!("/{round}/{number}"))).collect();
            let answers = join_all(requests.iter().map(|request| send(lb.listen(), request))).await;
            statuses.extend(answers.into_iter().map(|answer| answer.unwrap().status));
        }
        for origin in &origins {
            assert!(origin.most_active() <= 3, "{balance}: {} at once", origin.most_active());
        }
        assert!(statuses.iter().all(|status| [200, 503].contains(status)), "{balance}: {statuses:?}");
        let good = statuses.iter().filter(|status| **status == 200).count();
        assert!(good >= 30, "{balance}: only {good} of {} were served", statuses.len());
        assert_eq!(
            good,
            origins.iter().map(Origin::count).sum::<usize>(),
            "{balance}: a refused request was sent on"
        );
        lb.wait_until_idle().await;
    }
}

#[tokio::test]
async fn a_full_server_is_passed_over_for_one_that_is_not() {
    let origins = held(2).await;
    let lb = Lb::start(&format!(
        "[upstreams.app]\nbalance = \"round_robin\"\nservers = [{{ address = \"{}\", max_connections = 1 }}, \"{}\"]\n",
        origins[0].addr(),
        origins[1].addr()
    ))
    .await;
    let mut open = Vec::new();
    for count in 1..=5 {
        open.push(begin(&lb).await);
        until("it is at a server", async || {
            origins.iter().map(Origin::active).sum::<usize>() == count
        })
        .await;
    }
    assert_eq!(origins.iter().map(Origin::active).collect::<Vec<_>>(), [1, 4]);
    origins.iter().for_each(Origin::release_all);
}

#[tokio::test]
async fn c32_no_server_sees_more_than_its_limit_while_servers_come_and_go() {
    let mut origins = Vec::new();
    for _ in 0..3 {
        origins.push(Origin::start(|_| Reply::text("a").after(Duration::from_millis(30))).await);
    }
    // the third is a backup
    let config = |active: &[usize]| {
        let server = |index: usize, backup: bool| {
            let address = origins[index].addr();
            format!("{{ address = \"{address}\", max_connections = 5, backup = {backup} }}")
        };
        let mut list: Vec<String> = active.iter().map(|index| server(*index, false)).collect();
        list.push(server(2, true));
        format!("[upstreams.app]\npassive_health = \"off\"\nservers = [{}]\n", list.join(", "))
    };
    let mut lb = Lb::start(&config(&[0, 1])).await;
    let listen = lb.listen();
    let clients: Vec<_> = (0..60)
        .map(|_| {
            tokio::spawn(async move {
                let mut statuses = Vec::new();
                for _ in 0..30 {
                    statuses.push(send(listen, &Request::get("/")).await.map(|answer| answer.status));
                }
                statuses
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
        for status in client.await.unwrap() {
            assert!(matches!(status, Ok(200 | 503)), "{status:?}");
        }
    }
    for origin in &origins {
        assert!(origin.most_active() <= 5, "{} at once", origin.most_active());
    }
    lb.wait_until_idle().await;
    // when the last active one is gone, the backup serves at once
    let backup = origins[2].count();
    origins[0].stop().await;
    origins[1].stop().await;
    let start = Instant::now();
    assert_eq!(lb.get("/").await.status, 200);
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    assert_eq!(origins[2].count(), backup + 1);
}
