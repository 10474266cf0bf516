//! The Redis by which several `lb` share their caches is killed, or hangs, and comes back.

use lb_tests::backend::{Backends, create_user};
use lb_tests::client::Request;
use lb_tests::load::Load;
use lb_tests::redis::Redis;
use lb_tests::report::{full, length, row};
use lb_tests::servers;
use lb_tests::wait::until;

use super::{sharing, until_met};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_fails_while_it_is_away() {
    let backends = Backends::start(2).await;
    let users = backends.seed(20).await;
    let upstream = format!(
        "[upstreams.users]\nservers = [{}]\n\n[[routes]]\npath = \"/\"\nupstream = \"users\"\ncache = {{ ttl = \"0s\" }}\n",
        servers(&backends.addrs())
    );
    let mut redis = Redis::start().await;
    let lbs = [sharing(&redis, &upstream, "fast").await, sharing(&redis, &upstream, "fast").await];
    let targets: Vec<String> = users.iter().map(|user| format!("/users/{}", user["id"])).collect();
    let ids = users.iter().map(|user| user["id"].clone()).collect::<Vec<_>>();
    let loads: Vec<_> = lbs
        .iter()
        .map(|lb| {
            let ids = ids.clone();
            let load = Load::new(lb.listen(), &targets).connections(16);
            load.check(move |_, answer| ids.contains(&answer.json()["id"])).start()
        })
        .collect();
    let (rounds, mut written) = (if full() { 8 } else { 2 }, 0);
    for round in 0..rounds {
        match round % 2 {
            0 => redis.crash(),
            _ => redis.pause(),
        }
        for lb in &lbs {
            // Through either: each shows at once what was written through itself.
            let user = create_user(lb.listen(), &format!("user{written}")).await.json();
            let list = lb.send(&Request::get("/users?page=1&limit=100")).await.json();
            assert!(list["users"].as_array().unwrap().contains(&user), "{list}");
            written += 1;
        }
        until_met(&lbs[0], false).await;
        loads[0].go_on(length(1, 5), 100).await;
        match round % 2 {
            0 => redis.restart().await,
            _ => redis.go_on(),
        }
        for lb in &lbs {
            until_met(lb, true).await;
        }
        let total = users.len() + written;
        for lb in &lbs {
            until("both show all that was written", async || {
                lb.get("/users?page=1&limit=100").await.json()["total"] == total
            })
            .await;
        }
    }
    let mut requests = 0;
    for load in loads {
        let counts = load.stop().await;
        counts.assert_none_failed();
        requests += counts.total();
    }
    let notes = format!(
        "two lb; killed and stopped in turn, {rounds} times; {written} writes meanwhile, each shown at once at the same lb, and at both after"
    );
    row("the Redis between two lb killed, and back", requests, 0, None, &notes);
}
