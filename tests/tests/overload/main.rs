//! More requests than the servers can take: who waits, who is refused, and that nothing is lost meanwhile.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "these are tests")]

mod adaptive;
mod circuit;
mod queue;
mod waiting;

use lb_tests::client::{Connection, Request};
use lb_tests::lb::Lb;
use lb_tests::origin::Origin;
use lb_tests::wait::until;

/// An upstream `app` of these with so much room each, with these settings besides.
fn limited(origins: &[&Origin], limit: usize, settings: &str) -> String {
    let server = |origin: &&Origin| format!("{{ address = \"{}\", max_connections = {limit} }}", origin.addr());
    let list: Vec<String> = origins.iter().map(server).collect();
    format!(
        "[upstreams.app]\npassive_health = \"off\"\nservers = [{}]\n{settings}\n",
        list.join(", ")
    )
}

/// Sends a request and leaves it under way.
async fn begin(lb: &Lb, request: &Request) -> Connection {
    let mut connection = lb.connect().await;
    connection.write(request.bytes()).await;
    connection
}

/// Sends a request that has to wait, as one of so many.
async fn begin_waiting(lb: &Lb, request: &Request, count: usize) -> Connection {
    let connection = begin(lb, request).await;
    wait_until_queued(lb, count).await;
    connection
}

async fn wait_until_queued(lb: &Lb, count: usize) {
    until("so many wait", async || queued(lb).await == Some(count as u64)).await;
}

/// How many requests wait.
async fn queued(lb: &Lb) -> Option<u64> {
    lb.status().await["upstreams"][0]["queued"].as_u64()
}
