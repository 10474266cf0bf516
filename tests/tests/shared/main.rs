//! Several `lb` that share what they know of their caches through a Redis.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "these are tests")]

mod fast;
mod strict;
mod tier;
mod users;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lb_tests::client::Request;
use lb_tests::lb::Lb;
use lb_tests::origin::{Origin, Reply};
use lb_tests::redis::Redis;
use lb_tests::servers;
use lb_tests::wait::until;

/// An origin with one number, which a write increments, and several `lb` before it.
struct Group {
    redis: Redis,
    origin: Origin,
    lbs: Vec<Lb>,
    number: Arc<AtomicU64>,
}

impl Group {
    async fn start(count: usize, coherence: &str) -> Group {
        Group::with(Redis::start().await, count, coherence).await
    }

    async fn with(redis: Redis, count: usize, coherence: &str) -> Group {
        let url = redis.url();
        Group::at(&url, redis, count, coherence).await
    }

    async fn at(url: &str, redis: Redis, count: usize, coherence: &str) -> Group {
        let number = Arc::new(AtomicU64::new(0));
        let shared = Arc::clone(&number);
        let origin = Origin::start(move |seen| match (seen.method.as_str(), seen.target.as_str()) {
            ("GET", "/plain") => number_of(&shared),
            ("GET", _) => number_of(&shared).header("Cache-Tag", "number, other"),
            // Both ways of purging, so that either is seen to travel.
            (_, "/plain") => written(&shared),
            _ => written(&shared).header("Cache-Purge", "number"),
        })
        .await;
        let mut lbs = Vec::new();
        for _ in 0..count {
            lbs.push(lb_at(url, &origin, coherence).await);
        }
        let group = Group {
            redis,
            origin,
            lbs,
            number,
        };
        for lb in &group.lbs {
            until("lb has met Redis", async || {
                lb.status().await["cache"]["redis"]["connected"] == true
            })
            .await;
        }
        group
    }

    /// Has every `lb` keep an answer.
    async fn fill(&self, target: &str) {
        for lb in &self.lbs {
            until(&format!("{target} is a hit"), async || lb.get(target).await.is_hit()).await;
        }
    }

    /// Writes through one of them.
    async fn write(&self, through: usize, target: &str) -> u64 {
        let answer = self.lbs[through].send(&Request::post(target, "x")).await;
        assert_eq!(answer.status, 200);
        answer.text().parse().unwrap()
    }

    /// The number of the last purge in the log.
    async fn told(&self) -> u64 {
        let answer = self.redis.ask(&["HGET", "{lb}:bus", "end"]).await;
        answer.lines().nth(1).and_then(|number| number.parse().ok()).expect("a number")
    }

    /// Waits until all of them show what was written.
    async fn until_all_show(&self, target: &str, number: u64) {
        for lb in &self.lbs {
            until(&format!("{target} shows {number}"), async || read(lb, target).await == number).await;
        }
    }
}

fn number_of(number: &AtomicU64) -> Reply {
    Reply::text(&number.load(Ordering::SeqCst).to_string()).header("Cache-Control", "max-age=600")
}

fn written(number: &AtomicU64) -> Reply {
    Reply::text(&(number.fetch_add(1, Ordering::SeqCst) + 1).to_string())
}

/// An `lb` of a group.
async fn lb(redis: &Redis, origin: &Origin, coherence: &str) -> Lb {
    lb_at(&redis.url(), origin, coherence).await
}

async fn lb_at(url: &str, origin: &Origin, coherence: &str) -> Lb {
    let servers = servers(&[origin.addr()]);
    Lb::start(&format!(
        "[cache]\nredis = \"{url}\"\ncoherence = \"{coherence}\"\n\n[upstreams.app]\nservers = [{servers}]\n\n\
         [[routes]]\npath = \"/\"\nupstream = \"app\"\n\n[routes.cache]\nttl = \"0s\"\n\n"
    ))
    .await
}

/// The number that an `lb` shows.
async fn read(lb: &Lb, target: &str) -> u64 {
    let answer = lb.get(target).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.text().parse().unwrap()
}
