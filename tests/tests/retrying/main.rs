//! What is tried again, where, and how often.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "these are tests")]

mod answers;
mod bodies;
mod budget;
mod charges;
mod deadline;
mod hedging;
mod keys;
mod rules;
mod storms;

use lb_tests::origin::{Origin, Reply, Seen};
use lb_tests::servers;

/// So many origins that answer like this.
async fn origins(count: usize, answer: impl Fn(&Seen) -> Reply + Clone + Send + Sync + 'static) -> Vec<Origin> {
    let mut all = Vec::new();
    for _ in 0..count {
        all.push(Origin::start(answer.clone()).await);
    }
    all
}

/// An upstream `app` of these, without ejection so that only retries are at work, with these settings besides.
fn app(origins: &[Origin], settings: &str) -> String {
    let addresses: Vec<_> = origins.iter().map(Origin::addr).collect();
    format!(
        "[upstreams.app]\nservers = [{}]\npassive_health = \"off\"\n{settings}\n",
        servers(&addresses)
    )
}

fn counts(origins: &[Origin]) -> Vec<usize> {
    origins.iter().map(Origin::count).collect()
}
