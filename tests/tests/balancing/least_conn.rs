//! Least connections: the lowest in flight ÷ weight, ties by smooth weighted rotation.

use std::time::Duration;

use lb_tests::client::{Connection, Request};
use lb_tests::lb::Lb;
use lb_tests::origin::{Origin, Reply};
use lb_tests::wait::until;
use tokio::task::JoinSet;

use super::{app, begin, counts, held, one_at_a_time, quick, weighted};

#[tokio::test]
async fn c01_counts_survive_a_reload_that_adds_a_server() {
    let origins = held(3).await;
    let mut lb = Lb::start(&app(&origins[..2], "")).await;
    let mut open: Vec<Connection> = Vec::new();
    for count in 1..=4 {
        open.push(begin(&lb).await);
        until("it is at a server", async || {
            origins.iter().map(Origin::active).sum::<usize>() == count
        })
        .await;
    }
    assert_eq!(counts(&origins), [2, 2, 0]);
    lb.reload(&app(&origins, "")).await;
    for count in 5..=6 {
        open.push(begin(&lb).await);
        until("it is at a server", async || {
            origins.iter().map(Origin::active).sum::<usize>() == count
        })
        .await;
    }
    assert_eq!(counts(&origins), [2, 2, 2], "both new ones go to the new server");
    for origin in &origins {
        origin.release_all();
    }
    for mut connection in open {
        assert_eq!(connection.response("GET").await.unwrap().text(), "held");
    }
    lb.wait_until_idle().await;
    one_at_a_time(&lb, 30).await;
    for count in counts(&origins) {
        assert!((11..=13).contains(&count), "no penalty is left over: {:?}", counts(&origins));
    }
}

#[tokio::test]
async fn c01_sessions_of_an_upgrade_count_as_requests_do() {
    let mut origins = Vec::new();
    for _ in 0..3 {
        origins.push(Origin::start(|_| Reply::tunnel("websocket")).await);
    }
    let mut lb = Lb::start(&app(&origins[..2], "")).await;
    let upgrade = Request::get("/").header("Connection", "Upgrade").header("Upgrade", "websocket");
    let mut open: Vec<Connection> = Vec::new();
    for count in 1..=6 {
        if count == 5 {
            lb.reload(&app(&origins, "")).await;
        }
        let mut connection = lb.connect().await;
        assert_eq!(connection.send(&upgrade).await.unwrap().status, 101);
        open.push(connection);
    }
    assert_eq!(counts(&origins), [2, 2, 2], "both new ones go to the new server");
    drop(open);
    lb.wait_until_idle().await;
}

#[tokio::test]
async fn c02_an_idle_pool_is_filled_evenly() {
    let origins = quick(5).await;
    let lb = Lb::start(&app(&origins, "")).await;
    one_at_a_time(&lb, 50).await;
    assert!(
        counts(&origins).iter().all(|count| (9..=11).contains(count)),
        "{:?}",
        counts(&origins)
    );
}

#[tokio::test]
async fn c02_an_idle_pool_is_filled_by_weight() {
    let origins = quick(2).await;
    let lb = Lb::start(&weighted(&origins, &[3, 1], "")).await;
    one_at_a_time(&lb, 40).await;
    let counts = counts(&origins);
    assert!((28..=32).contains(&counts[0]), "30 and 10 are due: {counts:?}");
}

#[tokio::test]
async fn as_many_arrivals_as_servers_give_one_to_each() {
    let origins = held(5).await;
    let lb = Lb::start(&app(&origins, "")).await;
    for round in 1..=3 {
        let mut open = JoinSet::new();
        let address = lb.listen();
        for _ in 0..5 {
            open.spawn(async move { lb_tests::client::send(address, &Request::get("/")).await.unwrap().status });
        }
        until("all are at a server", async || {
            origins.iter().map(Origin::active).sum::<usize>() == 5
        })
        .await;
        assert_eq!(origins.iter().map(Origin::active).collect::<Vec<_>>(), [1; 5], "round {round}");
        origins.iter().for_each(|origin| origin.release(1));
        assert!(open.join_all().await.iter().all(|status| *status == 200));
        lb.wait_until_idle().await;
    }
}

#[tokio::test]
async fn requests_under_way_are_shared_out_by_weight() {
    let origins = held(3).await;
    let lb = Lb::start(&weighted(&origins, &[3, 2, 1], "")).await;
    let mut open = Vec::new();
    for _ in 0..12 {
        open.push(begin(&lb).await);
    }
    until("all are at a server", async || {
        origins.iter().map(Origin::active).sum::<usize>() == 12
    })
    .await;
    assert_eq!(counts(&origins), [6, 4, 2]);
    origins.iter().for_each(Origin::release_all);
}

#[tokio::test]
async fn a_slow_server_gets_less() {
    let slow = Origin::start(|_| Reply::text("slow").after(Duration::from_millis(200))).await;
    let fast = Origin::start(|_| Reply::text("fast").after(Duration::from_millis(10))).await;
    let origins = [slow, fast];
    let lb = Lb::start(&app(&origins, "")).await;
    let mut workers = JoinSet::new();
    for _ in 0..8 {
        let mut connection = lb.connect().await;
        workers.spawn(async move {
            for _ in 0..40 {
                assert_eq!(connection.send(&Request::get("/")).await.unwrap().status, 200);
            }
        });
    }
    workers.join_all().await;
    let counts = counts(&origins);
    assert_eq!(counts.iter().sum::<usize>(), 320);
    assert!(
        counts[0] * 3 < counts[1],
        "the slow one got {} and the fast one {}",
        counts[0],
        counts[1]
    );
    assert!(counts[0] > 0, "the slow one is not left out");
}

#[tokio::test]
async fn the_next_request_goes_where_the_fewest_are() {
    let origins = held(2).await;
    let lb = Lb::start(&app(&origins, "")).await;
    let mut open = Vec::new();
    for count in 1..=4 {
        open.push(begin(&lb).await);
        until("it is at a server", async || {
            origins.iter().map(Origin::active).sum::<usize>() == count
        })
        .await;
    }
    // two leave the first: the next two go there
    origins[0].release(2);
    until("the first is idle", async || {
        lb.server("app", origins[0].addr()).await.in_flight == 0
    })
    .await;
    for count in 3..=4 {
        open.push(begin(&lb).await);
        until("it is at a server", async || {
            origins.iter().map(Origin::active).sum::<usize>() == count
        })
        .await;
    }
    assert_eq!(origins.iter().map(Origin::active).collect::<Vec<_>>(), [2, 2]);
    origins.iter().for_each(Origin::release_all);
}
