//! What the cache is for when something is away: the origin, Redis, or `lb` itself.

mod crowd;
mod origin_down;
mod redis;
mod restarts;

use std::time::Duration;

use lb_tests::lb::Lb;
use lb_tests::origin::{Origin, Reply};
use lb_tests::redis::Redis;
use lb_tests::servers;
use lb_tests::wait::until;

/// How long an `lb` may take to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// A cached route to one origin, with these settings.
fn cached(origin: &Origin, settings: &str) -> String {
    let servers = servers(&[origin.addr()]);
    format!(
        "[upstreams.app]\nservers = [{servers}]\npassive_health = \"off\"\n\n\
         [[routes]]\npath = \"/\"\nupstream = \"app\"\ncache = {{ {settings} }}\n"
    )
}

/// An `lb` that shares a Redis with others, once it has met it.
async fn sharing(redis: &Redis, upstream: &str, coherence: &str) -> Lb {
    let lb = Lb::start(&format!(
        "[cache]\nredis = \"{}\"\ncoherence = \"{coherence}\"\n\n{upstream}",
        redis.url()
    ))
    .await;
    until_met(&lb, true).await;
    lb
}

/// Waits until an `lb` has met its Redis, or has noticed that it is away.
async fn until_met(lb: &Lb, met: bool) {
    until("lb knows how its Redis is", async || {
        lb.status().await["cache"]["redis"]["connected"] == met
    })
    .await;
}

/// An answer that bears its own target, so that a wrong one is told.
fn own(target: &str, cache_control: &str) -> Reply {
    Reply::text(target).header("Cache-Control", cache_control)
}
