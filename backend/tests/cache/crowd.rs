//! Many readers at once.

use std::time::Duration;

use futures::future::join_all;

use crate::common::{Cached, until};
use crate::on_two;

on_two!(a_crowd_asks_the_database_once, the_list_under_load_makes_a_tenth_of_the_queries);

async fn a_crowd_asks_the_database_once(cached: Cached) {
    let id = cached.user(0, "ada").await;
    for path in ["/users".to_owned(), "/users?after=0".into(), format!("/users/{id}")] {
        for round in 0..5 {
            cached.rename(round % 2, id, &format!("ada-{round}")).await;
            let misses = || -> u64 { cached.servers.iter().map(|server| server.cache.counts().misses.get()).sum() };
            let before = misses();
            let asks = (0..200).map(|number| cached.servers[number % 2].get(&path).into_future());
            for answer in join_all(asks).await {
                assert_eq!(answer.status, 200);
                assert!(answer.text().contains(&format!("ada-{round}")), "{}", answer.text());
            }
            // One, unless a note that was found in the meantime has taken it out again.
            let fetched = misses() - before;
            assert!((1..=4).contains(&fetched), "{fetched} fetches for one crowd at {path}");
        }
    }
}

/// Writes come in between, as they do.
async fn the_list_under_load_makes_a_tenth_of_the_queries(cached: Cached) {
    for number in 0..30 {
        cached.user(0, &format!("user-{number}")).await;
    }
    until("the notes are removed", async || {
        cached.database.number("SELECT count(*) FROM outbox").await == 0
    })
    .await;
    let before = cached.statements();
    let reads = 4000;
    let read = async |reader: usize| {
        for number in 0..reads / 20 {
            let path = ["/users", "/users?page=2&limit=10", "/users?after=0&limit=20"][number % 3];
            assert_eq!(cached.servers[reader % 2].get(path).await.status, 200);
        }
    };
    let write = async {
        for number in 0..5 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            cached.rename(number % 2, 1, &format!("name-{number}")).await;
        }
    };
    tokio::join!(join_all((0..20).map(read)), write);
    let sent = cached.statements() - before;
    assert!(sent * 10 <= reads as u64, "{sent} statements for {reads} reads and 5 writes");
}
