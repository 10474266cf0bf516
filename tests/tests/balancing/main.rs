//! Which server gets a request, and that every count comes back.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "these are tests")]

mod algorithms;
mod ewma;
mod gauges;
mod leases;
mod least_conn;
mod limits;
mod slow_start;
mod sticky;

use lb_tests::client::{Connection, Request};
use lb_tests::lb::Lb;
use lb_tests::origin::Origin;
use lb_tests::servers;

/// So many origins that answer at once.
async fn quick(count: usize) -> Vec<Origin> {
    let mut origins = Vec::new();
    for _ in 0..count {
        origins.push(Origin::named("quick").await);
    }
    origins
}

/// So many origins that answer when they are released.
async fn held(count: usize) -> Vec<Origin> {
    let mut origins = Vec::new();
    for _ in 0..count {
        origins.push(Origin::held("held").await);
    }
    origins
}

/// An upstream `app` of these, with these settings besides.
fn app(origins: &[Origin], settings: &str) -> String {
    let addresses: Vec<_> = origins.iter().map(Origin::addr).collect();
    format!("[upstreams.app]\nservers = [{}]\n{settings}\n", servers(&addresses))
}

/// An upstream `app` of servers with these weights, with these settings besides.
fn weighted(origins: &[Origin], weights: &[u32], settings: &str) -> String {
    let list: Vec<String> = origins
        .iter()
        .zip(weights)
        .map(|(origin, weight)| format!("{{ address = \"{}\", weight = {weight} }}", origin.addr()))
        .collect();
    format!("[upstreams.app]\nservers = [{}]\n{settings}\n", list.join(", "))
}

/// How many requests each has seen.
fn counts(origins: &[Origin]) -> Vec<usize> {
    origins.iter().map(Origin::count).collect()
}

/// Sends requests one at a time: the next one when `lb` has counted the one before as done, which is a moment after its last byte came.
async fn one_at_a_time(lb: &Lb, count: usize) {
    let mut connection = lb.connect().await;
    for _ in 0..count {
        let answer = connection.send(&Request::get("/")).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        lb.wait_until_idle().await;
    }
}

/// Sends a request and leaves it under way.
async fn begin(lb: &Lb) -> Connection {
    let mut connection = lb.connect().await;
    connection.write(Request::get("/").bytes()).await;
    connection
}
