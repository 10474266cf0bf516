//! What is stored, for how long, for whom, and what takes it out again.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "these are tests")]

mod admission;
mod bounds;
mod coalescing;
mod conditions;
mod demands;
mod errors;
mod invalidation;
mod keys;
mod large;
mod policy;
mod purge;
mod ranges;
mod refreshing;
mod restart;
mod safety;
mod store;
mod tags;
mod users;
mod validation;

use std::time::Duration;

use lb_tests::client::{Request, Response};
use lb_tests::lb::Lb;
use lb_tests::origin::{Origin, Reply, Seen};
use lb_tests::servers;
use lb_tests::wait::{until, until_some};

/// How long something that is due is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// Everything to one origin, cached by what it says itself.
fn cached(origin: &Origin) -> String {
    cached_as(origin, "ttl = \"0s\"")
}

/// Everything to one origin, cached like this.
fn cached_as(origin: &Origin, cache: &str) -> String {
    format!(
        "[upstreams.app]\nservers = [{}]\npassive_health = \"off\"\nretry = \"off\"\n\n[[routes]]\npath = \"/\"\nupstream = \"app\"\ncache = {{ {cache} }}\n\n",
        servers(&[origin.addr()])
    )
}

/// An `lb` before a caching origin that answers like this.
async fn start(answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> (Lb, Origin) {
    let origin = Origin::start(answer).await;
    let lb = Lb::start(&cached(&origin)).await;
    (lb, origin)
}

/// An answer that stays fresh for a minute.
fn fresh(text: &str) -> Reply {
    Reply::text(text).header("Cache-Control", "max-age=60")
}

/// Asks until the answer comes from the store. Meanwhile the origin may be asked once.
async fn fill(lb: &Lb, request: &Request) {
    until(&format!("{request:?} is a hit"), async || lb.send(request).await.is_hit()).await;
}

/// Asks until the answer has this text.
async fn until_text(lb: &Lb, request: &Request, text: &str) -> Response {
    let got = async || Some(lb.send(request).await).filter(|answer| answer.text() == text);
    until_some(PATIENCE, &format!("{request:?} gives {text:?}"), got).await
}

/// Asks until the answer is something stale from the store.
async fn until_stale(lb: &Lb, request: &Request) -> Response {
    let is_stale = |answer: &Response| answer.headers.get("cache-status").is_some_and(|status| status.contains("; ttl=-"));
    let got = async || Some(lb.send(request).await).filter(is_stale);
    until_some(PATIENCE, &format!("{request:?} is served stale"), got).await
}
