//! The budget holds when all fail together.

use std::time::{Duration, Instant};

use lb_tests::client::{Request, send};
use lb_tests::lb::Lb;
use lb_tests::origin::Reply;
use lb_tests::wait::until_within;
use tokio::task::JoinSet;

use super::{app, counts, origins};

#[tokio::test]
async fn c10_a_hundred_that_fail_together_make_few_retries() {
    let origins = origins(3, |_| Reply::new(503).body("mine").after(Duration::from_millis(200))).await;
    let lb = Lb::start(&app(&origins, "retry = { attempts = 3, budget_percent = 20 }")).await;
    let start = Instant::now();
    let mut requests = JoinSet::new();
    for _ in 0..100 {
        let address = lb.listen();
        requests.spawn(async move { send(address, &Request::get("/")).await.unwrap() });
    }
    for answer in requests.join_all().await {
        assert_eq!(
            (answer.status, answer.text().as_str()),
            (503, "mine"),
            "a refused retry passes the answer on"
        );
    }
    let took = start.elapsed();
    let total: usize = counts(&origins).iter().sum();
    // 20 % of 100, and ten a second
    let most = 100 + 20 + 10 * (took.as_secs() as usize + 2);
    assert!(total <= most, "{total} tries in {took:?} where {most} are the most");
    assert!(total > 100, "nothing was retried");
    let retries = lb.metrics().await.sum("lb_retries_total", &[("upstream", "app")]);
    assert_eq!(retries as usize, total - 100);
    // a few that come alone may be retried, if not at once then soon
    until_within(Duration::from_secs(20), "a lone request is retried", async || {
        let before: usize = counts(&origins).iter().sum();
        assert_eq!(lb.get("/").await.status, 503);
        counts(&origins).iter().sum::<usize>() > before + 1
    })
    .await;
}

#[tokio::test]
async fn a_budget_of_100_percent_lets_all_be_retried() {
    let origins = origins(2, |_| Reply::new(503).after(Duration::from_millis(50))).await;
    let lb = Lb::start(&app(&origins, "retry = { attempts = 2, budget_percent = 100 }")).await;
    let mut requests = JoinSet::new();
    for _ in 0..50 {
        let address = lb.listen();
        requests.spawn(async move { send(address, &Request::get("/")).await.unwrap().status });
    }
    assert!(requests.join_all().await.iter().all(|status| *status == 503));
    assert_eq!(counts(&origins), [50, 50]);
}
