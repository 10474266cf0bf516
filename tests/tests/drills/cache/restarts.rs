//! Every `lb` is restarted in turn, with the Redis tier or with its own file: the hit ratio stays.

use lb_tests::lb::Lb;
use lb_tests::origin::Origin;
use lb_tests::redis::Redis;
use lb_tests::report::{full, row};
use lb_tests::wait::until;
use tempfile::TempDir;

use super::{PATIENCE, cached, own, sharing};

const LBS: usize = 3;

/// Hits and requests.
#[derive(Default)]
struct Ratio {
    hits: usize,
    asked: usize,
}

impl Ratio {
    async fn round(&mut self, lbs: &[Lb], targets: &[String], from: usize) {
        for (number, target) in targets.iter().enumerate() {
            let answer = lbs[(number + from) % lbs.len()].get(target).await;
            assert_eq!((answer.status, &answer.text()), (200, target));
            self.hits += usize::from(answer.is_hit());
            self.asked += 1;
        }
    }

    fn percent(&self) -> f64 {
        self.hits as f64 / self.asked as f64 * 100.0
    }
}

fn targets() -> Vec<String> {
    (0..if full() { 1000 } else { 100 }).map(|number| format!("/{number}")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_tier_in_redis_keeps_the_hit_ratio() {
    let redis = Redis::start().await;
    let origin = Origin::start(|seen| own(&seen.target, "max-age=6000").header("Cache-Tag", "all")).await;
    let upstream = cached(&origin, "ttl = \"0s\"");
    let mut lbs = Vec::new();
    for _ in 0..LBS {
        lbs.push(sharing(&redis, &upstream, "fast").await);
    }
    let targets = targets();
    Ratio::default().round(&lbs, &targets, 0).await;
    until("all of it is in Redis", async || {
        let keys = redis.ask(&["DBSIZE"]).await;
        keys.trim_start_matches(':').trim().parse::<usize>().unwrap() >= targets.len()
    })
    .await;
    let mut ratio = Ratio::default();
    for at in 0..LBS {
        lbs[at].terminate();
        assert!(lbs[at].exit_within(PATIENCE).await.success());
        lbs[at] = sharing(&redis, &upstream, "fast").await;
        // Another one is asked for each, so that memory alone would not do.
        ratio.round(&lbs, &targets, at).await;
        ratio.round(&lbs, &targets, at + 1).await;
    }
    assert!(ratio.percent() > 80.0, "{} hits of {}", ratio.hits, ratio.asked);
    let notes = format!(
        "{LBS} lb; {:.1} % hits; {} requests at the origin for {} keys",
        ratio.percent(),
        origin.count(),
        targets.len()
    );
    row(
        "a restart of every lb in turn, with the tier in Redis",
        ratio.asked,
        0,
        None,
        &notes,
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_keeps_the_hit_ratio() {
    let folder = TempDir::new().unwrap();
    let origin = Origin::start(|seen| own(&seen.target, "max-age=6000")).await;
    let file = folder.path().join("cache");
    let config = format!(
        "[cache]\nfile = \"{}\"\n\n{}",
        file.display(),
        cached(&origin, "ttl = \"0s\", key = \"{path}\"")
    );
    let targets = targets();
    let mut lbs = vec![Lb::start(&config).await];
    Ratio::default().round(&lbs, &targets, 0).await;
    let (mut ratio, rounds) = (Ratio::default(), if full() { 10 } else { 2 });
    for _ in 0..rounds {
        lbs[0].terminate();
        assert!(lbs[0].exit_within(PATIENCE).await.success());
        lbs[0] = Lb::start(&config).await;
        ratio.round(&lbs, &targets, 0).await;
    }
    assert_eq!(ratio.hits, ratio.asked, "of {}", ratio.asked);
    let notes = format!("{rounds} restarts; {:.1} % hits", ratio.percent());
    row("restarts of lb, with the cache in a file", ratio.asked, 0, None, &notes);
}
