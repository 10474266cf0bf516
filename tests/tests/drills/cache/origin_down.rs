//! The origin goes down and comes back: what is fresh is served, what may be stale stands in, and what may not is an error at once.

use lb_tests::client::Request;
use lb_tests::lb::Lb;
use lb_tests::load::Load;
use lb_tests::origin::Origin;
use lb_tests::report::{full, length, row};
use lb_tests::wait::until;

use super::{cached, own};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fresh_stale_and_expired_each_behave() {
    let origin = Origin::start(|seen| match seen.target.split('/').nth(1) {
        Some("fresh") => own(&seen.target, "max-age=6000"),
        Some("kept") => own(&seen.target, "max-age=1, stale-if-error=6000"),
        _ => own(&seen.target, "max-age=1, must-revalidate"),
    })
    .await;
    let lb = Lb::start(&cached(&origin, "ttl = \"0s\"")).await;
    let targets = |kind: &str| (0..20).map(|number| format!("/{kind}/{number}")).collect::<Vec<_>>();
    let served = [targets("fresh"), targets("kept")].concat();
    for target in served.iter().chain(&targets("strict")) {
        assert_eq!(&lb.get(target).await.text(), target);
    }
    let load = Load::new(lb.listen(), &served)
        .connections(32)
        .check(|target, answer| answer.text() == target);
    let (mut stale, mut refused, mut requests) = (0, 0, 0);
    for _ in 0..if full() { 3 } else { 1 } {
        let load = load.clone().start();
        load.go_on(length(1, 5), 200).await;
        origin.stop().await;
        for target in targets("strict") {
            until("it is stale, and not served", async || lb.get(&target).await.status != 200).await;
            lb.send(&Request::get(&target)).await.assert_problem(502);
            refused += 1;
        }
        load.go_on(length(1, 10), 500).await;
        for target in targets("kept") {
            let answer = lb.get(&target).await;
            let status = answer.header("Cache-Status");
            assert!(answer.text() == target && status.contains("ttl=-"), "{answer:?}");
            stale += 1;
        }
        origin.restart().await;
        for target in targets("strict") {
            until("the origin is asked again", async || lb.get(&target).await.status == 200).await;
        }
        load.go_on(length(1, 5), 200).await;
        let counts = load.stop().await;
        counts.assert_none_failed();
        requests += counts.total();
    }
    let notes = format!(
        "half of the keys fresh, half kept by stale-if-error ({stale} of {stale} looked at were stale); {refused} of {refused} expired ones answered 502"
    );
    row("the origin of cached answers down, and back", requests, 0, None, &notes);
}
